"""The largest rectangle in a mask."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from texturenets.image.sizes import Box


def largest_rectangle(mask: Tensor) -> Box:
    """(top, left, height, width) of the largest rectangle of pixels of `mask` (H, W) that are all True.

    Of height and width 0 if none is. Row by row it is the largest one under a histogram: how far up from each
    pixel the mask is True.
    """
    best: Box = (0, 0, 0, 0)
    heights = np.zeros(mask.shape[1] + 1, np.int64)  # the last stays 0, and ends all
    for row, line in enumerate(mask.cpu().numpy()):
        heights[:-1] = np.where(line, heights[:-1] + 1, 0)
        open_since: list[tuple[int, int]] = []  # (first column, height), of rising height
        for column, height in enumerate(heights.tolist()):
            first = column
            while open_since and open_since[-1][1] >= height:
                first, tall = open_since.pop()
                if tall * (column - first) > best[2] * best[3]:
                    best = (row - tall + 1, first, tall, column - first)
            open_since.append((first, height))
    return best
