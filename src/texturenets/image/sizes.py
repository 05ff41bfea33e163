"""Sizes of images: fit into a longer side, pad to a network's stride and crop back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets.arrays import A, concatenate, is_tensor

Box = tuple[int, int, int, int]  # top, left, height, width


def fit_longer(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """`size` (H, W) scaled so that its longer side is `longer` pixels, the shape kept.

    The shorter side is rounded to the nearest pixel and is at least 1. Raises ValueError for a side or a
    `longer` below 1.
    """
    if longer < 1 or min(size) < 1:
        raise ValueError(f"cannot fit {size[0]} x {size[1]} into {longer} pixels: every side is at least 1")
    longest = max(size)
    height, width = (max(1, (2 * side * longer + longest) // (2 * longest)) for side in size)
    return height, width


def mirrored(size: int, before: int, total: int) -> NDArray[np.int64]:
    """Indices (total,) into a line of `size` pixels, from `before` pixels ahead of it, reflected at the ends.

    The end pixels are not repeated, as in `F.pad(mode="reflect")`; the line is reflected as often as it takes.
    """
    period = max(1, 2 * (size - 1))
    place = (np.arange(total) - before) % period
    return np.minimum(place, period - place) if size > 1 else np.zeros_like(place)


def periodic(size: int, before: int, total: int) -> NDArray[np.int64]:
    """As `mirrored`, but the line is repeated periodically."""
    return (np.arange(total) - before) % size


def take(x: Any, axis: int, places: NDArray[np.int64]) -> Any:
    """The rows or columns of `x` with the indices `places`."""
    if is_tensor(x):
        import torch

        return x.index_select(x.ndim + axis, torch.from_numpy(places).to(x.device))
    return np.take(x, places, axis)


def padding(
    size: tuple[int, int], stride: int, minimum: int = 1, margin: int = 0, wrap: str = ""
) -> tuple[tuple[int, int], Box]:
    """The padded size and the box that `pad_to_multiple` gives for an image of `size` (H, W)."""
    height, width = size
    if stride < 1 or min(height, width) < 1:
        raise ValueError(f"cannot pad an image of {height} x {width} pixels to multiples of {stride}")
    padded, before = [], []
    for axis, side in zip("yx", size, strict=True):
        if axis in wrap:
            whole = math.lcm(side, stride)
            padded.append(whole * -(-minimum // whole))
            before.append(0)
        else:
            padded.append(-(-max(side + 2 * margin, minimum) // stride) * stride)
            before.append((padded[-1] - side) // 2)
    return (padded[0], padded[1]), (before[0], before[1], height, width)


def whole_periods(size: tuple[int, int], stride: int, wrap: str) -> tuple[int, int]:
    """`size` (H, W), its sides along the axes of `wrap` rounded up to multiples of `stride`."""
    height, width = (
        -(-side // stride) * stride if axis in wrap else side for axis, side in zip("yx", size, strict=True)
    )
    return height, width


def continuation(size: int, before: int, total: int, *, wraps: bool) -> NDArray[np.int64]:
    """`periodic` along an axis along which the image wraps around, else `mirrored`."""
    return periodic(size, before, total) if wraps else mirrored(size, before, total)


def pad_to_multiple(x: A, stride: int, minimum: int = 1, margin: int = 0, wrap: str = "") -> tuple[A, Box]:
    """`x` (N, C, H, W) with reflection padding to multiples of `stride`, and the box where `x` lies in the result.

    The padded sides are the smallest multiples of `stride` that are at least the image's with `margin` pixels
    on either side, and at least `minimum`; half of what is added goes before the image, the rest after it. Along the
    axes of `wrap` ("x", "y", "xy") it is repeated as a whole instead: a side that is a multiple of `stride` stays a
    period of the result. The
    box (top, left, H, W) is for `crop_back`. Any H, W >= 1 are allowed: unlike `F.pad`, which limits reflection to
    the image's size, this reflects repeatedly. Raises ValueError for an empty image and a `stride` below 1.
    """
    padded, box = padding((x.shape[-2], x.shape[-1]), stride, minimum, margin, wrap)
    for name, axis, side, before, total in zip("yx", (-2, -1), box[2:], box[:2], padded, strict=True):
        if total != side:
            places = continuation(side, before, total, wraps=name in wrap)
            x = concatenate([take(x, axis, places[:before]), x, take(x, axis, places[before + side :])], axis)
    return x, box


def period(box: Box, total: tuple[int, int], wrap: str) -> tuple[int, int]:
    """The part (H, W) of an image padded to `total` that is repeated: along axes of `wrap` the image in `box`."""
    rows, columns = box[2] if "y" in wrap else total[0], box[3] if "x" in wrap else total[1]
    return rows, columns


def repeated(x: Any, size: tuple[int, int]) -> Any:
    """`x` (N, C, H, W) continued periodically to `size` at its bottom and right."""
    for axis, total in zip((-2, -1), size, strict=True):
        if x.shape[axis] != total:
            x = take(x, axis, periodic(x.shape[axis], 0, total))
    return x


def crop_back(x: A, box: Box) -> A:
    """The part of `x` (N, C, H', W') at `box` (top, left, H, W): (N, C, H, W), a view.

    Raises ValueError if the box does not lie inside `x`: the network changed the size.
    """
    top, left, height, width = box
    if top + height > x.shape[-2] or left + width > x.shape[-1]:
        raise ValueError(f"the box {box} does not lie inside {tuple(x.shape[-2:])} pixels")
    return x[..., top : top + height, left : left + width]
