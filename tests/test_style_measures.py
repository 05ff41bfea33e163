"""Measures of stylized photos: against numpy, and of images whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from texturenets import perceptual
from texturenets.evaluation import style_measures as measures


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> perceptual.Descriptors:
    folder = tmp_path_factory.mktemp("weights")
    tiny.weights_file(folder, "vgg16", until="relu4_3")
    return perceptual.build(measures.LAYERS, files=[folder], offline=True)


def smooth(height: int, width: int, seed: int, sigma: float = 3) -> Tensor:
    """Random colours without detail."""
    torch.manual_seed(seed)
    planes = [measures.blur(torch.rand(1, 1, height, width), sigma) for _ in range(3)]
    x = torch.cat(planes, 1)
    return (x - x.min()) / (x.max() - x.min())


def test_a_copy_of_the_photo_has_its_structure_and_no_texture(networks: perceptual.Descriptors) -> None:
    painting, photo = torch.rand(1, 3, 96, 128), smooth(96, 128, 1, 20)
    measure = measures.StyleMeasures(networks, painting)
    copy, stylized = measure(photo, photo), measure(photo, torch.rand(1, 3, 96, 128))
    assert copy["structure"] == 0
    assert stylized["structure"] > 0
    assert stylized["texture"] < copy["texture"]
    assert stylized["deep"] < copy["deep"]
    assert stylized["calm"] > 3 * copy["calm"]
    assert copy["texture"] == pytest.approx(sum(copy[layer] for layer in measures.SHALLOW_STYLE))


def test_the_painting_itself_has_no_distance_to_it(networks: perceptual.Descriptors) -> None:
    painting = smooth(96, 128, 3, 1)
    found = measures.StyleMeasures(networks, painting)(painting, painting)
    assert found["texture"] == pytest.approx(0, abs=1e-6)
    assert found["deep"] == pytest.approx(0, abs=1e-6)


def test_a_relative_distance_of_gram_matrices(networks: perceptual.Descriptors) -> None:
    painting, photo = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    found = measures.StyleMeasures(networks, painting)(photo, photo)
    layer = measures.DEEP_STYLE[0]

    def gram(x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        features = (
            networks(x, (layer,))[layer][0]
            .double()
            .numpy()
            .reshape(networks(x, (layer,))[layer].shape[1], -1)
        )
        return np.asarray(features @ features.T / features.shape[1])

    def distances(longer: int) -> float:
        target = gram(measures.image.resize(painting, (longer, longer)))
        return float(((gram(photo) - target) ** 2).mean() / (target**2).mean())

    sizes = [distances(round(64 * share)) for share in measures.SIZES]
    assert any(found[layer] == pytest.approx(value, rel=1e-3) for value in sizes)
    assert "calm" not in found  # too small


def test_grids_are_seen_and_grain_is_not() -> None:
    torch.manual_seed(0)
    grain = torch.rand(1, 3, 160, 192)
    assert measures.checkerboard(grain) < 16
    for period in (2, 4, 8):
        rows = torch.arange(160)[:, None] % period < period // 2
        columns = torch.arange(192) % period < period // 2
        grid = (rows ^ columns).float().expand(1, 3, 160, 192)
        assert measures.checkerboard(0.8 * grain + 0.2 * grid) > measures.checkerboard(grain) + 10, period


def test_a_blurred_border_is_seen() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 128, 128)
    assert measures.border(x) < 1
    soft = torch.cat([measures.blur(x[:, i : i + 1], 2) for i in range(3)], 1)
    soft[..., 8:-8, 8:-8] = x[..., 8:-8, 8:-8]
    assert measures.border(soft) > 10


def test_calm_counts_only_where_the_photo_is_calm() -> None:
    photo = smooth(128, 256, 1, 30)
    photo[..., 128:] = torch.rand(1, 3, 128, 128)
    painting = torch.rand(1, 3, 128, 128)
    busy = photo.clone()
    busy[..., 160:] = torch.rand(1, 3, 128, 96)
    assert measures.calm_amplitude(photo, busy, painting) < 0.2
    assert measures.calm_amplitude(photo, torch.rand(1, 3, 128, 256), painting) == pytest.approx(1, abs=0.15)
    flat = torch.full((1, 3, 128, 128), 0.5)  # a painting without strokes: rounding is no yardstick
    assert measures.calm_amplitude(photo, busy, flat) < 255 / measures.MIN_AMPLITUDE


def test_a_gaussian_keeps_the_mean_and_spreads_a_point() -> None:
    point = torch.zeros(1, 1, 65, 65)
    point[..., 32, 32] = 1
    spread = measures.blur(point, 4)[0, 0]
    assert float(spread.sum()) == pytest.approx(1, abs=1e-4)
    places = torch.arange(65) - 32.0
    assert float((spread.sum(0) * places.square()).sum().sqrt()) == pytest.approx(4, rel=0.02)


def test_means_are_of_what_all_rows_have(tmp_path: Path) -> None:
    assert measures.means([{"a": 1.0, "b": 2.0}, {"a": 3.0}]) == {"a": 2.0}
