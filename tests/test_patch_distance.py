"""The patch distance against a plain reading of the paper in numpy, and on images whose answer is known."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from texturenets.evaluation import patches as module
from texturenets.evaluation.patches import LEVELS, MIN_SIDE, NAMES, descriptors, patch_distance
from texturenets.losses import laplacian
from texturenets.losses.laplacian import laplacian_pyramid

Array = np.ndarray[Any, Any]
pytestmark = pytest.mark.usefixtures("few_patches")


WEIGHTS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def mirror(i: int, n: int) -> int:
    """The pixel of n that lies at i, mirrored about the outermost ones."""
    i = abs(i)
    return i if i < n else 2 * (n - 1) - i


def smooth(image: Array) -> Array:
    """(H, W), pixel by pixel."""
    height, width = image.shape
    made = np.zeros_like(image)
    for y, x in itertools.product(range(height), range(width)):
        for (i, a), (j, b) in itertools.product(enumerate(WEIGHTS, -2), repeat=2):
            made[y, x] += a * b * image[mirror(y + i, height), mirror(x + j, width)]
    return made


def pyramid(image: Array, levels: int) -> list[Array]:
    made = []
    for _ in range(levels - 1):
        small = smooth(image)[::2, ::2]
        large = np.zeros((2 * small.shape[0], 2 * small.shape[1]))
        large[::2, ::2] = small
        made.append(image - 4 * smooth(large)[: image.shape[0], : image.shape[1]])
        image = small
    return [*made, image]


def patches(level: Array, places: Array) -> Array:
    """Normalized descriptors (count, 3, 7, 7) of a level (3, H, W) at the places, numbered along the rows."""
    columns = level.shape[2] - 6
    found = np.stack([level[:, p // columns :, p % columns :][:, :7, :7] for p in places])
    for c in range(3):
        found[:, c] = (found[:, c] - found[:, c].mean()) / found[:, c].std()
    return found


def distance(a: Array, b: Array, axes: Array) -> float:
    """Of two sets of descriptors along the columns of `axes`, one after the other."""
    rows = [x.reshape(len(x), -1) for x in (a, b)]
    apart = [
        np.abs(np.sort(rows[0] @ v) - np.sort(rows[1] @ v)).mean()
        for v in (axes / np.linalg.norm(axes, axis=0)).T
    ]
    return float(np.mean(apart))


def test_it_is_the_papers_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.descriptors, "__defaults__", (40,))
    monkeypatch.setattr(module.sliced_distance, "__defaults__", (5,))
    sample, exemplar = (torch.rand(1, 3, h, w) for h, w in ((56, 49), (52, 64)))
    found = patch_distance([sample], exemplar, seed=3)
    both = [[pyramid(c, 4) for c in x[0].double().numpy()] for x in (sample, exemplar)]
    random = torch.Generator().manual_seed(3)
    wanted = []
    for level, name in enumerate(NAMES):
        sides = []
        for channels in both:
            stack = np.stack([c[level] for c in channels])
            count = (stack.shape[1] - 6) * (stack.shape[2] - 6)
            sides.append(patches(stack, torch.randint(count, (40,), generator=random).numpy()))
        axes = torch.randn(147, 5, generator=random).double().numpy()
        wanted.append(1e3 * distance(sides[0], sides[1], axes))
        assert found[name] == pytest.approx(wanted[-1], rel=1e-4)
    assert found["mean"] == pytest.approx(np.mean(wanted), rel=1e-4)


def test_the_pyramid_adds_up_to_the_image() -> None:
    image = torch.rand(1, 3, 53, 70)
    levels = laplacian_pyramid(image, LEVELS)
    assert [tuple(x.shape[2:]) for x in levels] == [(53, 70), (27, 35), (14, 18), (7, 9)]
    rest = levels.pop()
    while levels:
        level = levels.pop()
        rest = level + laplacian._double(rest, (level.shape[2], level.shape[3]))
    torch.testing.assert_close(rest, image)


def test_patches_come_from_all_images() -> None:
    images = [torch.full((1, 3, 8, 9), float(i)) for i in range(3)]
    drawn = descriptors(images, torch.Generator().manual_seed(0), 3000)
    values, counts = drawn[:, 0].unique(return_counts=True)
    assert len(values) == 3
    assert counts.min() > 900
    torch.testing.assert_close(drawn.mean(), torch.tensor(0.0), rtol=0, atol=1e-5)


def noise_of(grain: int, seed: int, side: int = 128) -> Tensor:
    small = torch.rand(1, 3, side // grain, side // grain, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, scale_factor=grain, mode="bicubic")


def test_the_same_texture_is_near_and_another_far() -> None:
    own, other, coarse = noise_of(4, 0), noise_of(4, 1), noise_of(16, 2)
    near, far = patch_distance([other], own), patch_distance([coarse], own)
    assert all(near[name] < 0.7 * far[name] for name in ("1", "1/2", "mean"))
    # brightness and contrast of a channel do not count
    assert patch_distance([0.5 * other + 0.1], own)["1"] == pytest.approx(near["1"], rel=1e-3)


def test_the_seed_draws_and_nothing_else_does() -> None:
    a, b = torch.rand(2, 1, 3, 64, 64)
    assert patch_distance([a], b, 5) == patch_distance([a], b, 5)
    assert patch_distance([a], b, 5) != patch_distance([a], b, 6)


def test_images_that_are_too_small_are_refused() -> None:
    enough, small = torch.rand(1, 3, MIN_SIDE, MIN_SIDE), torch.rand(1, 3, MIN_SIDE, MIN_SIDE - 1)
    assert patch_distance([enough], enough)
    with pytest.raises(ValueError, match=f"below {MIN_SIDE} pixels"):
        patch_distance([enough], small)
