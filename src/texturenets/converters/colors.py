"""Colour encodings of published networks, and their conversion to RGB in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.networks.layers import CAFFE_MEAN


@dataclass(frozen=True)
class ColorEncoding:
    """Order, range, mean and deviation of three channels y: `matrix` y + `shift` is RGB in [0, 1]."""

    matrix: tuple[tuple[float, float, float], ...]
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def even(self) -> bool:
        """Whether the channels keep their order and are all scaled and shifted alike."""
        scale = self.matrix[0][0]
        same = all(self.matrix[i][j] == (scale if i == j else 0.0) for i in range(3) for j in range(3))
        return same and len(set(self.shift)) == 1

    @property
    def black_is_zero(self) -> bool:
        """Whether black is zero in all channels, so that zeros around an image are black."""
        return not any(self.shift)

    def inverse(self) -> ColorEncoding:
        """The conversion from RGB in [0, 1] to this encoding."""
        back = np.linalg.inv(np.asarray(self.matrix, np.float64))
        return _colors(back, -back @ np.asarray(self.shift, np.float64))

    def after(self, first: ColorEncoding) -> ColorEncoding:
        """The composition: `first`, then this."""
        matrix = np.asarray(self.matrix, np.float64)
        shift = matrix @ np.asarray(first.shift, np.float64) + np.asarray(self.shift, np.float64)
        return _colors(matrix @ np.asarray(first.matrix, np.float64), shift)


def _colors(matrix: NDArray[Any], shift: NDArray[Any]) -> ColorEncoding:
    rows = tuple((float(a), float(b), float(c)) for a, b, c in matrix)
    return ColorEncoding(rows, (float(shift[0]), float(shift[1]), float(shift[2])))


def _diagonal(red: float, green: float, blue: float) -> tuple[tuple[float, float, float], ...]:
    return (red, 0.0, 0.0), (0.0, green, 0.0), (0.0, 0.0, blue)


_K: Final = 1 / 255
_BGR: Final = ((0.0, 0.0, _K), (0.0, _K, 0.0), (_K, 0.0, 0.0))
_RED, _GREEN, _BLUE = CAFFE_MEAN

RGB = ColorEncoding(_diagonal(1, 1, 1))
"""RGB in [0, 1]."""
RGB255 = ColorEncoding(_diagonal(_K, _K, _K))
"""RGB, 0 to 255."""
BGR255 = ColorEncoding(_BGR)
"""BGR, 0 to 255."""
CAFFE = ColorEncoding(_BGR, (_RED * _K, _GREEN * _K, _BLUE * _K))
"""BGR, 0 to 255, minus the mean of the Oxford networks."""
# Mean and deviation of ImageNet's colours for residual networks, RGB in [0, 1] (fb.resnet.torch)
IMAGENET = ColorEncoding(_diagonal(0.229, 0.224, 0.225), (0.485, 0.456, 0.406))
"""RGB in [0, 1], minus the mean of ImageNet, over its deviation."""
SIGNED = ColorEncoding(_diagonal(0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""RGB in [-1, 1]."""

COLORS: Final[dict[str, ColorEncoding]] = {
    "rgb": RGB,
    "rgb255": RGB255,
    "bgr255": BGR255,
    "caffe": CAFFE,
    "imagenet": IMAGENET,
    "signed": SIGNED,
}
"""By the names used on the command line."""
