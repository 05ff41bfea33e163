"""Several textures in one image: masks say where each goes, and transitions follow their details. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from texturenets import image
from texturenets.errors import UserError, counted
from texturenets.stylize.regions import read_mask
from texturenets.textures import Array, Levels, Texture, Tileable

DEPTH = 0.2
"""Difference in height below which textures are mixed, so that edges are not jagged: that of the article which
`blended` follows."""

TRANSITION = 32.0
"""Default width of a transition in pixels: about a pebble or a pepper of the shipped textures."""

EMPTY = 1e-3
"""Sum of all masks below which a pixel counts as black in each."""

MAX_ROUNDS = 16
"""Of rounding a size for one texture after the other, until it fits all."""


@dataclass
class TextureRegions:
    """Draws several textures into one image, each where its mask is white; used like a `Texture`.

    `masks`: of the first textures, in their order; each as `stylize.regions.read_mask` takes it. One texture may have
    none, the last: it goes where the others do not. `transition`: pixels over which one texture changes into another;
    0 cuts at the edges of the masks. Raises UserError if that is below 0, and for another number of masks.
    """

    textures: Sequence[Texture]
    masks: Sequence[Any]
    transition: float = TRANSITION

    def __post_init__(self) -> None:
        count, given = len(self.textures), len(self.masks)
        if given not in (count - 1, count) or not given:
            raise UserError(
                f"{counted(given, 'mask')} for {count} textures: they take {count - 1} or {count}"
            )
        if not 0 <= self.transition < math.inf:
            raise UserError(f"`transition` {self.transition:g} is not a number of pixels of at least 0")

    @property
    def name(self) -> str:
        """Their names, joined by plus signs."""
        return "+".join(texture.path.stem for texture in self.textures)

    @property
    def stride(self) -> int:
        """The least common multiple of their strides."""
        return math.lcm(*(texture.stride for texture in self.textures))

    def rounded(self, height: int, width: int, tileable: Tileable) -> str:
        """The smallest size that all can tile and that is at least `height` x `width`, "WIDTHxHEIGHT".

        Raises UserError if there is none near.
        """
        size = f"{width}x{height}"
        for _ in range(MAX_ROUNDS):
            before = size
            for texture in self.textures:
                columns, rows = map(int, size.split("x"))
                size = texture.rounded(rows, columns, tileable)
            if size == before:
                return size
        raise UserError(f"{self.name}: no size near {width}x{height} tiles with all of these textures")

    def canvas(self, height: int, width: int, tileable: Tileable = False) -> None:
        """Raise UserError for a size that one of them cannot draw."""
        for texture in self.textures:
            texture.canvas(height, width, tileable)

    def check(self, noise_level: Levels, hold: Sequence[int] = ()) -> None:
        """As `Texture.check`, of all."""
        for texture in self.textures:
            texture.check(noise_level, hold)

    def draws(
        self, height: int, width: int, seeds: Sequence[int], *, tileable: Tileable = False, **options: Any
    ) -> Iterator[Array]:
        """An image (1, 3, `height`, `width`), float32 RGB in [0, 1], for each of `seeds`, which all textures take.

        Arguments as for `Texture.draws`. With `tileable` the masks must tile, too. Raises UserError, also for a mask
        of another aspect ratio.
        """
        shares = self._shares((height, width), tileable)
        drawn = (
            texture.draws(height, width, seeds, tileable=tileable, **options) for texture in self.textures
        )
        for images in zip(*drawn, strict=True):
            yield blended(images, shares)

    def _shares(self, size: tuple[int, int], tileable: Tileable) -> list[Array]:
        """The share (H, W) of each texture, with soft edges; they sum to 1."""
        named = zip(self.textures, self.masks, strict=False)  # the last may have none
        masks = [read_mask(mask, texture.name, size, "image") for texture, mask in named]
        if len(masks) < len(self.textures):
            masks.append((1 - np.add.reduce(masks)).clip(0, 1))
        total = np.add.reduce(masks)
        empty = total < EMPTY  # there the last texture goes
        masks = [np.where(empty, 0, mask / np.maximum(total, EMPTY)) for mask in masks]
        masks[-1] = masks[-1] + empty
        return [softened(mask.astype(np.float32), self.transition, tileable) for mask in masks]


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


def blended(images: Sequence[Array], shares: Sequence[Array], depth: float = DEPTH) -> Array:
    """`images`, (1, 3, H, W) each, in one, by the share of each, (H, W); they sum to 1.

    At each pixel the highest texture wins, luminance being the height, raised by its share: so the transition follows
    stones and joints instead of fading. Height blending: Mishkinis, "Advanced terrain texture splatting", 2013. Where
    a share is 1 only that texture is seen.
    """
    raised = [_height(one) + share * (1 + depth) for one, share in zip(images, shares, strict=True)]
    floor = np.maximum.reduce(raised) - depth
    weights = [np.maximum(height - floor, 0) for height in raised]
    total = sum(one * weight for one, weight in zip(images, weights, strict=True))
    result: Array = (total / np.add.reduce(weights)).astype(np.float32)
    return result


def _height(picture: Array) -> Array:
    """The luminance (H, W), stretched so that nearly all of it is between 0 and 1."""
    luminance = image.luminance(picture)[0, 0]
    low, high = np.quantile(luminance, (0.02, 0.98))
    height: Array = ((luminance - low) / max(high - low, 1e-6)).clip(0, 1).astype(np.float32)
    return height
