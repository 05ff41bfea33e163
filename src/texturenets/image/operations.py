"""Sizes and colours of images."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from texturenets.arrays import A, is_tensor, to_numpy, to_tensor
from texturenets.errors import UserError
from texturenets.image.picture import Picture
from texturenets.image.sizes import periodic, take
from texturenets.memory import budget

ASKED_FROM = 2**28
"""Bytes from which the system is asked how much memory is free: less is always there."""


def resize(x: A, size: tuple[int, int]) -> A:
    """Images (N, C, H, W) float32 in [0, 1] to `size` (H, W), antialiased, clamped to [0, 1].

    Bicubic with a filter that widens when shrinking (a = -0.5, as Pillow's BICUBIC). Not Lanczos: bicubic runs on the
    tensor's device, for whole batches, and the difference is not visible. Raises UserError for a size that cannot fit
    in memory.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    if not is_tensor(x) or x.device.type == "cpu":
        check_fits(int(x.shape[0] * x.shape[1]), size)
    if not is_tensor(x):
        planes = [Image.fromarray(plane) for plane in x.reshape(-1, *x.shape[2:]).astype(np.float32)]
        small = [np.asarray(p.resize((size[1], size[0]), Image.Resampling.BICUBIC)) for p in planes]
        return np.stack(small).reshape(*x.shape[:2], *size).clip(0, 1)
    import torch.nn.functional as F

    return F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def check_fits(planes: int, size: tuple[int, int]) -> None:
    """Raise UserError if so many planes of float32 of `size` (H, W) are more than the free memory. Systems grant more
    memory than they have, and end a process that uses it."""
    needed = 4 * planes * size[0] * size[1]
    if needed > ASKED_FROM and needed > budget.free():
        raise UserError(
            f"not enough memory for {size[1]} x {size[0]} pixels, which take {budget.amount(needed)}: ask for a "
            "smaller image"
        )


def resize_picture(picture: Picture, size: tuple[int, int], wrap: str = "") -> Picture:
    """A copy of `picture` resized to `size` (H, W), as `resize_wrapped`. Colours are multiplied by alpha and divided
    after, so that those of transparent pixels do not bleed."""
    rgb: Any = picture.pixels
    alpha: Any = picture.transparency
    if tuple(picture.size) == tuple(size):
        return picture
    if alpha is None:
        return picture.with_pixels(resize_wrapped(rgb, size, wrap), None)
    alpha = to_tensor(alpha).to(rgb.device) if is_tensor(rgb) else to_numpy(alpha)
    seen, opacity = resize_wrapped(rgb * alpha, size, wrap), resize_wrapped(alpha, size, wrap)
    return picture.with_pixels((seen / opacity.clip(1 / 65535)).clip(0, 1), opacity)


def resize_wrapped(x: A, size: tuple[int, int], wrap: str) -> A:
    """As `resize`, of images that wrap around along the axes of `wrap`: the filter continues across their edges."""
    for axis, name in ((-1, "x"), (-2, "y")):
        side, wanted = int(x.shape[axis]), size[axis]
        if name in wrap and side != wanted:
            repeated = take(x, axis, periodic(side, side, 3 * side))
            shape = [int(x.shape[-2]), int(x.shape[-1])]
            shape[axis] = 3 * wanted
            x = take(resize(repeated, (shape[0], shape[1])), axis, np.arange(wanted, 2 * wanted))
    return resize(x, size)


def luminance(rgb: A) -> A:
    """Luminance (N, 1, H, W) of RGB (N, 3, H, W): Y of YIQ, with the weights of ITU-R BT.601, in the same range."""
    result: A = 0.299 * rgb[:, :1] + 0.587 * rgb[:, 1:2] + 0.114 * rgb[:, 2:]
    return result


def preserve_color(stylized: A, photo: A) -> A:
    """The luminance of `stylized` with the colours of `photo`, both (N, 3, H, W) in [0, 1], same size.

    Luminance-only transfer in YIQ (Gatys et al., "Preserving Color in Neural Artistic Style Transfer",
    arXiv 1606.05897), clamped to [0, 1]. In the matrix from YIQ to RGB the column of Y is (1, 1, 1), so
    exchanging Y and keeping I and Q adds the difference of Y to each of R, G and B. Raises ValueError
    for different sizes.
    """
    if stylized.shape[1:] != photo.shape[1:]:
        raise ValueError(f"sizes differ: {tuple(stylized.shape)} and {tuple(photo.shape)}")
    result: A = (photo + luminance(stylized - photo)).clip(0, 1)
    return result
