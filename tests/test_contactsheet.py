"""Images land where they belong, whole, and the sheet is as large as it has to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from texturenets.image.contact_sheet import GAP, folded
from texturenets.image.contact_sheet import sheet as array_sheet


def sheet(*rows: Any, **options: Any) -> Tensor:
    return torch.from_numpy(array_sheet(*rows, **options))


def plain(height: int, width: int, *rgb: float) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, height, width).contiguous()


def count(result: Tensor, *rgb: float) -> int:
    return int(((result[0] - torch.tensor(rgb, dtype=torch.float32).view(3, 1, 1)).abs() < 0.01).all(0).sum())


def test_every_picture_is_there_in_its_own_shape() -> None:
    rows = [[plain(50, 100, 1, 0, 0), plain(50, 100, 0, 1, 0)], [plain(30, 20, 0, 0, 1)]]
    result = sheet(rows, ["photo", "wave"], cell=100)
    assert result.shape[:2] == (1, 3)
    assert result.shape[3] == GAP + 2 * (100 + GAP)
    assert count(result, 1, 0, 0) == 50 * 100
    assert count(result, 0, 1, 0) == 50 * 100
    assert count(result, 0, 0, 1) == 100 * 67  # 30 x 20 enlarged to 100 pixels
    red, green = ((result[0, c] == 1) & (result[0].sum(0) == 1) for c in (0, 1))
    assert red.nonzero()[:, 1].max() < green.nonzero()[:, 1].min()
    assert torch.equal(red.any(1), green.any(1))


def test_names_are_written_above_their_columns_and_fit_them() -> None:
    rows = [[plain(60, 60, 1, 0, 0), plain(60, 60, 0, 1, 0)]]
    for names in (["photo", ""], ["a name much longer than its column is wide", ""]):
        result = sheet(rows, names, cell=60)
        dark = (result[0].amax(0) < 0.5).nonzero()
        assert len(dark)
        assert dark[:, 1].max() < GAP + 60 + GAP
        assert dark[:, 0].max() < (result[0, 0] == 1).logical_and(result[0, 1] == 0).nonzero()[:, 0].min()
    assert sheet(rows, ["a", "b"], ["row"], cell=60).shape[2] > sheet(rows, ["a", "b"], cell=60).shape[2]


def test_the_images_of_one_photo_are_folded_into_rows() -> None:
    row = [plain(20, 30, 0, 0, i / 20) for i in range(13)]
    result = torch.from_numpy(folded(row, [f"style{i}" for i in range(13)], 6, cell=30))
    assert result.shape[3] == GAP + 5 * (30 + GAP)
    assert result.shape[2] == 3 * sheet([row[:5]], ["a"] * 5, cell=30).shape[2]
    assert count(result, 0, 0, 12 / 20) == 20 * 30
    assert count(result[..., -30 - GAP :, -2 * 30 - 2 * GAP :], 1, 1, 1) == (30 + GAP) * 2 * (30 + GAP)


def test_what_does_not_fit() -> None:
    picture = plain(4, 4, 0, 0, 0)
    with pytest.raises(ValueError, match="at least one image"):
        sheet([], [])
    with pytest.raises(ValueError, match="1 column names"):
        sheet([[picture, picture]], ["photo"])
    with pytest.raises(ValueError, match="2 row names"):
        sheet([[picture]], ["photo"], ["a", "b"])
