"""Stroke size: the sizes of the stages, and what each stage keeps and adds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from texturenets import image, loading
from texturenets.errors import UserError
from texturenets.image import blend
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.residual import Residual
from texturenets.stylize import stroke

TINY = Residual(channels=8, blocks=1)


def test_ladder() -> None:
    assert stroke.stylization_sizes((300, 400), 1) == [(300, 400)]
    assert stroke.stylization_sizes((300, 400), 2) == [(150, 200), (300, 400)]
    assert stroke.stylization_sizes((300, 400), 4) == [(75, 100), (150, 200), (300, 400)]
    assert stroke.stylization_sizes((300, 400), 0.5) == [(600, 800)]
    assert stroke.stylization_sizes((2048, 4096), "auto") == [
        (256, 512),
        (512, 1024),
        (1024, 2048),
        (2048, 4096),
    ]
    assert stroke.stylization_sizes((300, 512), "auto") == [(300, 512)]
    assert stroke.stylization_sizes((30, 50), "auto") == [(30, 50)]
    uneven = stroke.stylization_sizes((300, 400), 3)
    assert [s[1] for s in uneven] == [133, 231, 400]  # no step of more than two


def test_words() -> None:
    assert stroke.parse("auto") == "auto"
    assert stroke.parse("2.5") == 2.5
    for text in ("big", "0", "-1", "nan", "1e9"):
        with pytest.raises(UserError, match="stroke"):
            stroke.parse(text)
    with pytest.raises(UserError, match=r"use strokes of at most 3\.12"):
        stroke.stylization_sizes((100, 200), 5)


def test_what_is_wide_is_kept_and_what_is_fine_is_new() -> None:
    rows = torch.linspace(0, 12.56, 96)[:, None].expand(96, 64)
    wide = (0.5 + 0.3 * torch.sin(rows))[None, None].expand(1, 3, -1, -1)
    grain = 0.2 * (torch.arange(96)[:, None] + torch.arange(64)).remainder(2).float() - 0.1
    fine = 0.7 + grain.expand(1, 3, -1, -1)  # another colour, and a grain
    made = blend.blend(wide, fine)
    inside = (slice(None), slice(None), slice(12, -12), slice(12, -12))
    assert (made - (wide + grain))[inside].abs().max() < 0.03
    as_arrays = blend.blend(wide.numpy().copy(), fine.numpy().copy())
    np.testing.assert_allclose(as_arrays, made, atol=1e-5)


def test_a_painting_with_larger_strokes(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    network_files.save(build(TINY), Header(name="tiny", kind="style", generator=TINY), path)
    style = loading.load(path, "cpu", engine="torch")
    photo = image.resize(torch.rand(1, 3, 12, 16), (192, 256))
    plain, large = style.stylize(photo), style.stylize(photo, stroke=2)
    small = style.stylize(image.resize(photo, (96, 128)))
    assert plain.shape == large.shape == photo.shape
    assert torch.equal(style.stylize(photo, stroke=1), plain)
    assert torch.equal(style.stylize(photo, stroke="auto"), plain)  # below 512 pixels

    def distance(picture: torch.Tensor) -> float:
        return float((image.resize(picture, (96, 128)) - small).abs().mean())

    assert distance(large) < 0.7 * distance(plain)
    array = style.stylize(photo.numpy(), stroke=2)
    np.testing.assert_allclose(array, large, atol=2e-4)
