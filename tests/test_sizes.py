"""Sizes: rounding, reflection, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from texturenets.image.sizes import crop_back, fit_longer, pad_to_multiple


@pytest.mark.parametrize(
    ("size", "longer", "expected"),
    [
        ((600, 800), 400, (300, 400)),
        ((800, 600), 400, (400, 300)),
        ((321, 481), 512, (342, 512)),  # 341.69: enlarged as well
        ((3, 2), 5, (5, 3)),  # 3.33
        ((1000, 1), 10, (10, 1)),  # never 0
        ((1, 1), 7, (7, 7)),
        ((5, 4), 2, (2, 2)),  # 1.6
        ((1300, 900), 1300, (1300, 900)),
    ],
)
def test_fit_longer(size: tuple[int, int], longer: int, expected: tuple[int, int]) -> None:
    assert fit_longer(size, longer) == expected


@pytest.mark.parametrize(("size", "longer"), [((4, 4), 0), ((0, 4), 8)])
def test_fit_longer_refuses_nothing(size: tuple[int, int], longer: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        fit_longer(size, longer)


def test_reflection_equals_torch_where_torch_can() -> None:
    x = torch.rand(2, 3, 10, 13)
    padded, box = pad_to_multiple(x, 8)
    assert padded.shape == (2, 3, 16, 16)
    assert box == (3, 1, 10, 13)
    assert torch.equal(padded, F.pad(x, (1, 2, 3, 3), mode="reflect"))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (2, 1), (2, 2), (3, 2), (7, 4)])
@pytest.mark.parametrize("minimum", [1, 24])
def test_reflection_equals_numpy_for_tiny_pictures(height: int, width: int, minimum: int) -> None:
    x = torch.rand(1, 2, height, width)
    padded, (top, left, _, _) = pad_to_multiple(x, 8, minimum)
    rows, columns = padded.shape[2:]
    assert (rows, columns) == (max(8, minimum),) * 2
    after = ((0, 0), (0, 0), (top, rows - height - top), (left, columns - width - left))
    assert np.array_equal(padded.numpy(), np.pad(x.numpy(), after, mode="reflect"))  # repeats too


def test_smallest_multiple_centred_and_back() -> None:
    generator = torch.Generator().manual_seed(3)
    for stride in (1, 2, 4, 5, 32):
        for _ in range(12):
            h, w = (int(v) for v in torch.randint(1, 70, (2,), generator=generator))
            x = torch.rand(1, 3, h, w)
            padded, box = pad_to_multiple(x, stride, minimum=9)
            for total, side, before in ((padded.shape[2], h, box[0]), (padded.shape[3], w, box[1])):
                assert total % stride == 0
                assert total >= max(side, 9) > total - stride
                assert 0 <= (total - side - before) - before <= 1
            assert torch.equal(crop_back(padded, box), x)


def test_a_margin_is_added_on_both_sides() -> None:
    x = torch.rand(1, 3, 33, 64)
    padded, box = pad_to_multiple(x, 4, 64, 16)
    assert padded.shape == (1, 3, 68, 96)
    assert box == (17, 16, 33, 64)
    assert torch.equal(padded, F.pad(x, (16, 16, 17, 18), mode="reflect"))
    assert pad_to_multiple(x[:, :, :8, :8], 4, 64, 16)[0].shape[2:] == (64, 64)  # the minimum is enough


def test_nothing_is_copied_where_nothing_is_padded() -> None:
    x = torch.rand(1, 3, 16, 8)
    padded, box = pad_to_multiple(x, 4)
    assert padded is x
    assert box == (0, 0, 16, 8)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="0 x 4"):
        pad_to_multiple(torch.rand(1, 3, 0, 4), 4)
    with pytest.raises(ValueError, match="multiples of 0"):
        pad_to_multiple(torch.rand(1, 3, 4, 4), 0)
    with pytest.raises(ValueError, match="inside"):
        crop_back(torch.rand(1, 3, 8, 8), (2, 2, 7, 4))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 30), (64, 33)])
def test_arrays_and_tensors_are_padded_alike(height: int, width: int) -> None:
    array = np.random.default_rng(0).random((2, 3, height, width), np.float32)
    padded, box = pad_to_multiple(array, 8, 16)
    same, place = pad_to_multiple(torch.from_numpy(array), 8, 16)
    assert isinstance(padded, np.ndarray)
    assert box == place
    assert np.array_equal(padded, same.numpy())
    assert np.array_equal(crop_back(padded, box), array)
