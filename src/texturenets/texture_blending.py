"""Two textures in one image: a mask says where each goes, and the transition follows their details. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from texturenets import image
from texturenets.errors import UserError
from texturenets.stylize.regions import read_mask
from texturenets.textures import Array, Levels, Texture, Tileable

DEPTH = 0.2
"""Difference in height below which both textures are mixed, so that edges are not jagged: that of the article which
`blended` follows."""

TRANSITION = 32.0
"""Default width of a transition in pixels: about a pebble or a pepper of the shipped textures."""

MAX_ROUNDS = 16
"""Of rounding a size for one texture, then for the other, until it fits both."""


@dataclass
class TexturePair:
    """Draws two textures into one image; used like a `Texture`.

    `mask`: as `stylize.regions.read_mask` takes it; white is `first`, black is `second`. `transition`: pixels over
    which one texture changes into the other; 0 cuts at the edge of the mask. Raises UserError if it is below 0.
    """

    first: Texture
    second: Texture
    mask: Any
    transition: float = TRANSITION

    def __post_init__(self) -> None:
        if not 0 <= self.transition < math.inf:
            raise UserError(f"`transition` {self.transition:g} is not a number of pixels of at least 0")

    @property
    def name(self) -> str:
        """Both names, joined by a plus sign."""
        return f"{self.first.path.stem}+{self.second.path.stem}"

    @property
    def stride(self) -> int:
        """The least common multiple of both strides."""
        return math.lcm(self.first.stride, self.second.stride)

    def rounded(self, height: int, width: int, tileable: Tileable) -> str:
        """The smallest size that both can tile and that is at least `height` x `width`, "WIDTHxHEIGHT".

        Raises UserError if there is none near.
        """
        size = f"{width}x{height}"
        for _ in range(MAX_ROUNDS):
            before = size
            for texture in (self.first, self.second):
                columns, rows = map(int, size.split("x"))
                size = texture.rounded(rows, columns, tileable)
            if size == before:
                return size
        raise UserError(f"{self.name}: no size near {width}x{height} tiles with both textures")

    def canvas(self, height: int, width: int, tileable: Tileable = False) -> None:
        """Raise UserError for a size that one of them cannot draw."""
        for texture in (self.first, self.second):
            texture.canvas(height, width, tileable)

    def check(self, noise_level: Levels, hold: Sequence[int] = ()) -> None:
        """As `Texture.check`, of both."""
        for texture in (self.first, self.second):
            texture.check(noise_level, hold)

    def draws(
        self, height: int, width: int, seeds: Sequence[int], *, tileable: Tileable = False, **options: Any
    ) -> Iterator[Array]:
        """An image (1, 3, `height`, `width`), float32 RGB in [0, 1], for each of `seeds`, which both textures take.

        Arguments as for `Texture.draws`. With `tileable` the mask must tile, too. Raises UserError, also for a mask
        of another aspect ratio.
        """
        share = read_mask(self.mask, self.first.name, (height, width), "image")
        soft = softened(share, self.transition, tileable)
        pairs = (
            texture.draws(height, width, seeds, tileable=tileable, **options)
            for texture in (self.first, self.second)
        )
        for one, other in zip(*pairs, strict=True):
            yield blended(one, other, soft)


def softened(mask: Array, pixels: float, tileable: Tileable) -> Array:
    """`mask` (H, W), 0 to 1, with edges that are `pixels` wide; along the axes of `tileable` it wraps around."""
    if not pixels:
        return mask
    # Four standard deviations of the Gaussian hold the step from 2 % to 98 %.
    radius = pixels / 4
    border = min(math.ceil(3 * radius), *mask.shape)
    padded = mask
    for axis, wraps in enumerate((tileable in (True, "y"), tileable in (True, "x"))):
        amounts = [(border, border) if i == axis else (0, 0) for i in (0, 1)]
        padded = np.pad(padded, amounts, mode="wrap" if wraps else "edge")
    blurred = Image.fromarray(np.rint(padded * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    values = np.asarray(blurred, np.float32)[border:-border, border:-border] / 255
    return np.ascontiguousarray(values)


def blended(first: Array, second: Array, share: Array, depth: float = DEPTH) -> Array:
    """`first` and `second` (1, 3, H, W) in one image, by the `share` (H, W), 0 to 1, of the first.

    At each pixel the higher texture wins, luminance being the height, and the share raises the first over the
    second: so the transition follows stones and joints instead of fading. Height blending: Mishkinis, "Advanced
    terrain texture splatting", 2013. Where the share is 0 or 1 only one texture is seen.
    """
    raised = _height(first) + (2 * share - 1) * (1 + depth)
    other = _height(second)
    floor = np.maximum(raised, other) - depth
    weights = np.maximum(raised - floor, 0), np.maximum(other - floor, 0)
    result: Array = (first * weights[0] + second * weights[1]) / (weights[0] + weights[1])
    return result.astype(np.float32)


def _height(picture: Array) -> Array:
    """The luminance (H, W), stretched so that nearly all of it is between 0 and 1."""
    luminance = image.luminance(picture)[0, 0]
    low, high = np.quantile(luminance, (0.02, 0.98))
    height: Array = ((luminance - low) / max(high - low, 1e-6)).clip(0, 1).astype(np.float32)
    return height
