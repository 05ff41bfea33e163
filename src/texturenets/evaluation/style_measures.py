"""Quality measures of stylized photos that do not depend on the training options, so that models can be compared.

Every measure is also computed for the unchanged photo, as a baseline: it has perfect structure and poor texture.
Images are (1, 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets import image
from texturenets.image.sizes import fit_longer
from texturenets.losses.gram import gram
from texturenets.perceptual import Descriptors

SHALLOW_STYLE: Final = tuple(f"vgg16:relu{n}" for n in ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3"))
DEEP_STYLE: Final = ("vgg16:relu4_1", "vgg16:relu4_3")
STRUCTURE: Final = "vgg16:relu4_2"
LAYERS: Final = (*SHALLOW_STYLE, *DEEP_STYLE, STRUCTURE)


@dataclass(frozen=True)
class MeasuredLayers:
    """The layers for texture (shallow and deep), and for the photo's structure."""

    shallow: tuple[str, ...]
    deep: tuple[str, ...]
    structure: str

    @property
    def all(self) -> tuple[str, ...]:
        """All layers."""
        return (*self.shallow, *self.deep, self.structure)


MEASURED: Final = {
    "vgg16": MeasuredLayers(SHALLOW_STYLE, DEEP_STYLE, STRUCTURE),
    "own": MeasuredLayers(
        ("own:map_relu1_2", "own:map_relu2_2", "own:map_relu3_3"), ("own:map_relu4_3",), "own:map_relu4_2"
    ),
}
"""Measured layers by descriptor network; values of different networks are not comparable."""

SIZES: Final = (0.5, 0.75, 1.0, 1.5)
"""Sizes of the painting relative to the image (longer sides): the best match counts, whatever the stroke size."""

FINE, COARSE = 1.5, 8.0
"""Standard deviations in pixels of the difference of Gaussians that extracts strokes: periods of 8 to 40 pixels."""

BORDER, INNER_BORDER = 8, 32
"""Widths in pixels of the border, and of the strip inside it that it is compared with."""

MIN_AMPLITUDE: Final = 0.5
"""Least amplitude of a painting that strokes are compared with, in 8-bit levels: below it is rounding."""

MIN_SIDE: Final = 96
"""Smallest shorter side in pixels for the measures that do not use VGG-16."""

MIN_PAINTING_SIDE: Final = 16
"""Smallest longer side in pixels to which the painting is scaled."""

MARGIN: Final = 16
"""Pixels at each border that `calm_amplitude` leaves out: two standard deviations of the wider Gaussian."""

PERIODS: Final = (2, 4, 8, 16)
"""Periods in pixels of checkerboard artifacts of strided layers and upsampling."""


class StyleMeasures:
    """Computes the measures of photos stylized like `painting` (1, 3, H, W). `networks`: the one called `descriptor`
    with its layers in `MEASURED`."""

    def __init__(self, networks: Descriptors, painting: Tensor, descriptor: str = "vgg16") -> None:
        self.networks, self.painting = networks, painting
        self.layers = MEASURED[descriptor]
        self._grams: dict[int, list[dict[str, Tensor]]] = {}

    @torch.no_grad()
    def __call__(self, photo: Tensor, result: Tensor) -> dict[str, float]:
        """The measures of `result`, the stylized `photo`. Lower is better, except for `calm`.

        `texture`, `deep`: relative squared distances of Gram matrices to the painting's (arXiv 1508.06576), summed
        over VGG-16's layers `SHALLOW_STYLE` and `DEEP_STYLE`; the smallest over the painting's `SIZES`. Also each
        layer, by its name, at that size of the painting. `structure`: relative squared distance to the photo's
        features at relu4_2, the content layer of that paper. `calm`: stroke amplitude in the smoothest quarter of the
        photo, relative to the painting (`calm_amplitude`). `checkerboard`, `border`: in dB, see these functions.
        """
        shallow, deep, structure = self.layers.shallow, self.layers.deep, self.layers.structure
        mine, theirs = self.networks(result, self.layers.all), self.networks(photo, (structure,))
        grams = {layer: gram(mine[layer].float()) for layer in (*shallow, *deep)}
        distances = [
            {layer: _relative(grams[layer], target[layer]) for layer in grams}
            for target in self._targets(max(result.shape[2:]))
        ]
        values: dict[str, float] = {}
        for name, layers in (("texture", shallow), ("deep", deep)):
            best = min(distances, key=lambda at: sum(at[layer] for layer in layers))
            values[name] = sum(best[layer] for layer in layers)
            values |= {layer: best[layer] for layer in layers}
        values["structure"] = _relative(mine[structure].float(), theirs[structure].float())
        if min(result.shape[2:]) >= MIN_SIDE:
            values["calm"] = calm_amplitude(photo, result, self._painting(max(result.shape[2:])))
            values["checkerboard"], values["border"] = checkerboard(result), border(result)
        return values

    def _painting(self, longer: int) -> Tensor:
        return image.resize(
            self.painting, fit_longer((self.painting.shape[2], self.painting.shape[3]), longer)
        )

    def _targets(self, longer: int) -> list[dict[str, Tensor]]:
        """Gram matrices of the painting at each size, for an image whose longer side is `longer`."""
        if longer not in self._grams:
            self._grams = {
                longer: [
                    {
                        layer: gram(features.float())
                        for layer, features in self.networks(
                            self._painting(max(MIN_PAINTING_SIDE, round(share * longer))),
                            (*self.layers.shallow, *self.layers.deep),
                        ).items()
                    }
                    for share in SIZES
                ]
            }
        return self._grams[longer]


def means(rows: list[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each measure that all rows have."""
    return {
        name: sum(row[name] for row in rows) / len(rows) for name in rows[0] if all(name in r for r in rows)
    }


def calm_amplitude(photo: Tensor, result: Tensor, painting: Tensor) -> float:
    """Stroke amplitude of `result` where the photo is smooth, relative to the painting: 1 means as much as there.

    The median `amplitude` of `result` in the quarter of the pixels where that of the photo is lowest, divided by the
    median of the whole painting. `photo` and `result` have the same size; the border is left out.
    """
    inside = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    photo_amplitude = amplitude(photo)[inside]
    quarter = photo_amplitude.flatten().kthvalue(max(1, photo_amplitude.numel() // 4)).values
    smooth = amplitude(result)[inside][photo_amplitude <= quarter]
    return float(smooth.median() / amplitude(painting).median().clamp_min(MIN_AMPLITUDE))


def levels(x: Tensor) -> Tensor:
    """Luminance (1, 1, H, W) of RGB (1, 3, H, W) in [0, 1], in 8-bit levels: 0 to 255."""
    return 255 * image.luminance(x.float())


def amplitude(x: Tensor) -> Tensor:
    """Local amplitude (1, 1, H, W) of the luminance between two Gaussians, of `FINE` and `COARSE` pixels."""
    y = levels(x)
    return blur((blur(y, FINE) - blur(y, COARSE)).square(), COARSE).clamp_min(0).sqrt()


def blur(y: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels over (1, 1, H, W), with reflection padding."""
    radius = min(round(4 * sigma), min(y.shape[2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, device=y.device, dtype=y.dtype)
    weight = torch.exp(-0.5 * (offsets / sigma).square())
    weight = (weight / weight.sum()).view(1, 1, -1, 1)
    y = F.conv2d(F.pad(y, (0, 0, radius, radius), mode="reflect"), weight)
    return F.conv2d(F.pad(y, (radius, radius, 0, 0), mode="reflect"), weight.transpose(2, 3))


def checkerboard(x: Tensor) -> float:
    """By how many dB the strongest spectral line of a grid with a period of `PERIODS` pixels exceeds its
    surroundings. Photos have 8 to 15 dB, and 20 with visible JPEG blocks: compare with the value of the photo.
    """
    y = levels(x)[0, 0]
    height, width = (side // 32 * 32 for side in y.shape)
    window = torch.hann_window(height, device=y.device)[:, None] * torch.hann_window(width, device=y.device)
    y = y[:height, :width]
    power = 10 * torch.log10(torch.fft.fft2((y - y.mean()) * window).abs().square() + 1e-9)
    near = torch.arange(-9, 10, device=y.device)
    core = near.abs() <= 3  # a line is up to three bins wide under that window
    ring = ~(core[:, None] & core)
    worst = -float("inf")
    for period in PERIODS:
        v, u = height // period, width // period
        for row, column in ((0, u), (v, 0), (v, u), (v, width - u)):
            around = power[(row + near)[:, None] % height, (column + near) % width]
            worst = max(worst, float(around[8:11, 8:11].max() - around[ring].median()))
    return worst


def border(x: Tensor) -> float:
    """By how many dB the fine detail of the outermost 8 pixels differs from that of the next 32."""
    y = levels(x)
    kernel = y.new_tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]]).view(1, 1, 3, 3)
    detail = F.conv2d(y, kernel).abs()[0, 0]
    outer = torch.ones_like(detail, dtype=torch.bool)
    outer[BORDER:-BORDER, BORDER:-BORDER] = False
    inner = ~outer
    inner[BORDER + INNER_BORDER : -BORDER - INNER_BORDER, BORDER + INNER_BORDER : -BORDER - INNER_BORDER] = (
        False
    )
    return float((20 * torch.log10((detail[outer].mean() + 1e-6) / (detail[inner].mean() + 1e-6))).abs())


def _relative(mine: Tensor, target: Tensor) -> float:
    return float((mine - target).square().mean() / target.square().mean())
