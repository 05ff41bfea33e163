"""The patch loss: the finest details have the style's distribution."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from texturenets.errors import UserError
from texturenets.losses import Features, Targets
from texturenets.losses.laplacian import laplacian_pyramid
from texturenets.losses.patches import DIRECTIONS, LEVELS, SIDE, STREAM, PatchLoss, details
from texturenets.losses.sliced_wasserstein import directions


def picture(seed: int, side: int = 40) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def loss(style: Tensor, weight: float = 1.0) -> PatchLoss:
    made = PatchLoss(weight=weight, seed=0)
    made.prepare(iter([(1.0, Features(style))]))
    return made


def value(made: PatchLoss, image: Tensor, step: int | None = None) -> float:
    return float(made(Features(image), Targets(step=None if step is None else torch.tensor(step)))["patches"])


def test_the_style_itself_has_no_loss_and_an_image_without_detail_has_1() -> None:
    style = picture(0)
    assert value(loss(style), style) == pytest.approx(0, abs=1e-6)
    assert value(loss(style), torch.full((1, 3, 40, 40), 0.3)) == pytest.approx(1, abs=1e-3)
    assert value(loss(style, 0.5), torch.zeros(1, 3, 40, 40)) == pytest.approx(0.5, abs=1e-3)


def test_it_is_the_formula_in_numpy() -> None:
    style, image, total = picture(0), picture(1), 0.0
    for level in range(LEVELS):
        axes = directions(0, None, STREAM + level, DIRECTIONS, 3 * SIDE**2).double().numpy()
        rows = []
        for one in (image, style):
            here = laplacian_pyramid(one, LEVELS + 1)[level][0].numpy()
            windows = np.lib.stride_tricks.sliding_window_view(here, (SIDE, SIDE), (1, 2))
            patches = windows.transpose(1, 2, 0, 3, 4).reshape(-1, 3 * SIDE**2).astype(np.float64)
            rows.append(np.sort(axes @ patches.T, 1))
        total += np.abs(rows[0] - rows[1]).mean() / np.abs(rows[1]).mean() / LEVELS
    assert value(loss(style), image) == pytest.approx(total, rel=1e-4)


def test_brightness_and_broad_changes_do_not_count_and_a_hatch_does() -> None:
    style = picture(0, 64)
    broad = style + 0.2 * torch.sin(torch.arange(64) * 2 * np.pi / 64)
    hatch = style + 0.2 * (-1.0) ** torch.arange(64)
    assert value(loss(style), broad) < 0.02
    assert value(loss(style), hatch) > 0.1


def test_an_image_without_room_for_a_patch_is_told() -> None:
    with pytest.raises(UserError, match="an image of 12 x 9 is below 10 pixels"):
        details(torch.zeros(1, 3, 9, 12))
    assert details(torch.zeros(1, 3, 10, 12))[1].shape[3] == 2


def test_images_of_other_sizes_and_each_step_its_directions() -> None:
    made = loss(picture(0, 64))
    image = picture(1)
    assert len({round(value(made, image, step), 7) for step in (1, 2, 3)}) == 3
    assert value(made, image, 5) == value(made, image, 5)
    assert value(made, image) == value(made, image)
    assert [x.shape[1] for x in details(image)] == [3 * SIDE**2] * LEVELS


def test_a_texture_is_trained_with_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    studio = tiny.Studio(tmp_path_factory.mktemp("studio"))
    result = studio.texture(patch_weight=0.3)
    assert result.status == 0, result.error
    assert 0 < result.losses["patches"] < 10
    assert result.header.training["run"]["patch_weight"] == 0.3
