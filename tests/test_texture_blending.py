"""Two textures in one image: where each is seen, and what the transition follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from texturenets import image, textures
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.loading import load_texture
from texturenets.networks.multiscale import Multiscale
from texturenets.texture_blending import TextureRegions, blended, softened

RANDOM = np.random.default_rng(0)


def picture(height: int = 24, width: int = 32) -> np.ndarray:
    return RANDOM.random((1, 3, height, width), np.float32)


def test_only_one_is_seen_where_its_share_is_1() -> None:
    images = [picture() for _ in range(3)]
    shares = [np.zeros((24, 32), np.float32) for _ in range(3)]
    places = slice(16), slice(16, 24), slice(24, 32)
    for share, place in zip(shares, places, strict=True):
        share[:, place] = 1
    made = blended(images, shares)
    for one, place in zip(images, places, strict=True):
        np.testing.assert_allclose(made[..., place], one[..., place], rtol=1e-6)


def test_the_brighter_one_wins_in_the_middle_of_a_transition() -> None:
    first, second = picture(), picture()
    made = blended([first, second], [np.full((24, 32), 0.5, np.float32)] * 2)
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
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TextureRegions:
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
    loaded = [load_texture(name, EngineOptions("torch")) for name in ("bark", "moss")]
    return TextureRegions(loaded, ["left-to-right"], 0)


def test_a_pair_draws_as_its_textures_do(pair: TextureRegions) -> None:
    made = list(pair.draws(20, 30, [3, 4]))
    assert [one.shape for one in made] == [(1, 3, 20, 30)] * 2
    alone = [texture.draw(20, 30, 3) for texture in pair.textures]
    np.testing.assert_allclose(made[0][..., 0], alone[0][..., 0], rtol=1e-6)
    np.testing.assert_allclose(made[0][..., -1], alone[1][..., -1], rtol=1e-6)
    assert pair.name == "bark+moss"
    assert pair.stride == 4


def test_sizes_that_tile_with_both(pair: TextureRegions) -> None:
    size = pair.rounded(21, 30, True)
    columns, rows = map(int, size.split("x"))
    assert rows % pair.stride == columns % pair.stride == 0
    (made,) = pair.draws(rows, columns, [0], tileable=True)
    assert made.shape == (1, 3, rows, columns)


@pytest.mark.parametrize("every", [False, True])
def test_three_textures_lie_where_their_masks_say(pair: TextureRegions, every: bool) -> None:
    masks = np.zeros((3, 20, 30), np.float32)
    masks[0, :, :10] = masks[1, :, 10:20] = masks[2, :, 20:] = 1
    three = [*pair.textures, pair.textures[0].scaled(0.5)]
    drawn = TextureRegions(three, list(masks if every else masks[:2]), 0)
    (made,) = drawn.draws(20, 30, [3])
    for i, texture in enumerate(three):
        place = slice(10 * i, 10 * i + 10)
        alone = texture.draw(20, 30, 3)
        np.testing.assert_allclose(made[..., place], alone[..., place], rtol=1e-6)


def test_where_all_masks_are_black_the_last_goes(pair: TextureRegions) -> None:
    (made,) = TextureRegions(pair.textures, [np.zeros((20, 30))] * 2, 0).draws(20, 30, [3])
    np.testing.assert_allclose(made, pair.textures[1].draw(20, 30, 3), rtol=1e-6)


def test_a_texture_at_half_its_size_is_a_larger_sample_reduced(pair: TextureRegions) -> None:
    texture = pair.textures[0]
    small = texture.scaled(0.5)
    np.testing.assert_array_equal(small.draw(20, 30, 3), image.resize(texture.draw(40, 60, 3), (20, 30)))
    assert texture.scale == 1
    assert small.rounded(21, 30, True) == "30x21"  # every size tiles
    tile = small.draw(21, 30, 3, tileable=True)
    assert tile.shape == (1, 3, 21, 30)
    across, inner = np.abs(tile[..., 0] - tile[..., -1]).mean(), np.abs(np.diff(tile, axis=3)).mean()
    assert across < 2 * inner
    large = texture.scaled(2).draw(40, 60, 3)
    np.testing.assert_array_equal(large, image.resize(texture.draw(20, 30, 3), (40, 60)))
    for wrong in (0, -1, 17, float("nan")):
        with pytest.raises(UserError, match="is not between 1/16 and 16"):
            texture.scaled(wrong)


def test_bad_input(pair: TextureRegions) -> None:
    with pytest.raises(UserError, match="`transition` -1 is not a number of pixels of at least 0"):
        TextureRegions(pair.textures, pair.masks, -1)
    for masks in ([], [*pair.masks] * 3):
        with pytest.raises(UserError, match=f"{len(masks)} masks for 2 textures: they take 1 or 2"):
            TextureRegions(pair.textures, masks)
    other = TextureRegions(pair.textures, [np.zeros((10, 40))])
    with pytest.raises(UserError, match="of another shape than the image's 30 x 20"):
        next(other.draws(20, 30, [0]))
