"""Two textures in one image: where each is seen, and what the transition follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from texturenets import textures
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.loading import load_texture
from texturenets.networks.multiscale import Multiscale
from texturenets.texture_blending import TexturePair, blended, softened

RANDOM = np.random.default_rng(0)


def picture(height: int = 24, width: int = 32) -> np.ndarray:
    return RANDOM.random((1, 3, height, width), np.float32)


def test_only_one_is_seen_where_the_mask_is_white_or_black() -> None:
    first, second = picture(), picture()
    share = np.zeros((24, 32), np.float32)
    share[:, :16] = 1
    made = blended(first, second, share)
    np.testing.assert_allclose(made[..., :16], first[..., :16], rtol=1e-6)
    np.testing.assert_allclose(made[..., 16:], second[..., 16:], rtol=1e-6)


def test_the_brighter_one_wins_in_the_middle_of_a_transition() -> None:
    first, second = picture(), picture()
    made = blended(first, second, np.full((24, 32), 0.5, np.float32))
    weights = np.array([0.299, 0.587, 0.114])
    difference = np.tensordot(weights, first[0] - second[0], 1)
    clear = np.abs(difference) > 0.4  # more than the depth in which both are mixed
    expected = np.where(difference > 0, first, second)
    np.testing.assert_allclose(made[..., clear], expected[..., clear], rtol=1e-5)


@pytest.mark.parametrize(("tileable", "across"), [(False, 0.0), (True, 0.5), ("y", 0.5), ("x", 0.0)])
def test_edges_of_masks_are_softened(tileable: textures.Tileable, across: float) -> None:
    mask = np.zeros((64, 64), np.float32)
    mask[32:] = 1
    assert softened(mask, 0, tileable) is mask
    soft = softened(mask, 16, tileable)
    assert soft.shape == mask.shape
    assert soft[16, 5] < 0.01
    assert soft[24, 5] < 0.05
    assert soft[31:33, 5].mean() == pytest.approx(0.5, abs=0.02)
    assert soft[40, 5] > 0.95
    assert soft[0, 5] == pytest.approx(across, abs=0.1)  # the mask's other edge, over the wrap edge


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TexturePair:
    monkeypatch.setattr(textures, "MIN_SAMPLE_SIDE", 32)
    tiny.working_folder(
        tmp_path,
        monkeypatch,
        {},
        {
            "bark": Multiscale(channels=(4, 4, 3), noise_depth=2),
            "moss": Multiscale(channels=(4, 3), noise_depth=2),
        },
    )
    first, second = (load_texture(name, EngineOptions("torch")) for name in ("bark", "moss"))
    return TexturePair(first, second, "left-to-right", 0)


def test_a_pair_draws_as_its_textures_do(pair: TexturePair) -> None:
    made = list(pair.draws(20, 30, [3, 4]))
    assert [one.shape for one in made] == [(1, 3, 20, 30)] * 2
    alone = pair.first.draw(20, 30, 3), pair.second.draw(20, 30, 3)
    np.testing.assert_allclose(made[0][..., 0], alone[0][..., 0], rtol=1e-6)
    np.testing.assert_allclose(made[0][..., -1], alone[1][..., -1], rtol=1e-6)
    assert pair.name == "bark+moss"
    assert pair.stride == 4


def test_sizes_that_tile_with_both(pair: TexturePair) -> None:
    size = pair.rounded(21, 30, True)
    columns, rows = map(int, size.split("x"))
    assert rows % pair.stride == columns % pair.stride == 0
    (made,) = pair.draws(rows, columns, [0], tileable=True)
    assert made.shape == (1, 3, rows, columns)


def test_bad_input(pair: TexturePair) -> None:
    with pytest.raises(UserError, match="`transition` -1 is not a number of pixels of at least 0"):
        TexturePair(pair.first, pair.second, pair.mask, -1)
    other = TexturePair(pair.first, pair.second, np.zeros((10, 40)))
    with pytest.raises(UserError, match="of another shape than the image's 30 x 20"):
        next(other.draws(20, 30, [0]))
