"""A descriptor network that needs no download: one layer of random filters of several sizes, and ReLU.

Ustyuzhaninov, Brendel, Gatys and Bethge, "What does it take to generate natural textures?", ICLR 2017,
section 2: their multi-scale model. Every size of filter is a layer: `conv3`, `conv5` ... `conv55`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets import noise
from texturenets.errors import UserError, unknown
from texturenets.perceptual import weights
from texturenets.perceptual.preprocessing import Preprocessing

SIZES: Final = (3, 5, 7, 11, 15, 23, 37, 55)  # of the filters in pixels: section 2 of the paper
FILTERS: Final = 128  # of each size: section 2 of the paper
LAYERS: Final = tuple(f"conv{size}" for size in SIZES)

# From this size on the Fourier transform is faster than the sum: measured on two cores at 128 and 256 pixels.
_LARGE: Final = 15
_CHUNK: Final = 32  # filters transformed at once: bounds the memory that their spectra take


def filters(size: int, seed: int = 0) -> Tensor:
    """Filters (128, 3, size, size), uniform within the bounds of Glorot and Bengio (2010, equation 16).

    They depend only on the seed and the size: the same on every machine.
    """
    bound = (6 / ((3 + FILTERS) * size * size)) ** 0.5
    values = noise.uniform(seed, size, 0, 0, size, size, FILTERS * 3).view(FILTERS, 3, size, size)
    drawn: Tensor = (2 * values - 1) * bound
    return drawn


def _fast(length: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5: fast to transform."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


class _Correlation(torch.autograd.Function):
    """`F.conv2d` without padding by Fourier transforms, filters a chunk at a time; they get no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        height, width = x.shape[2:]
        size = _fast(height), _fast(width)
        ctx.save_for_backward(w)
        ctx.size, ctx.shape = size, (height, width)
        spectrum = torch.fft.rfft2(x, s=size)
        parts = []
        for chunk in torch.split(w, _CHUNK):
            product = torch.einsum("nihw,oihw->nohw", spectrum, torch.fft.rfft2(chunk, s=size).conj())
            correlation = torch.fft.irfft2(product, s=size)
            parts.append(correlation[:, :, : height - w.shape[2] + 1, : width - w.shape[3] + 1])
        return torch.cat(parts, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (w,) = ctx.saved_tensors
        (height, width), size = ctx.shape, ctx.size
        total: Tensor | None = None
        for grad, chunk in zip(torch.split(grads[0], _CHUNK, 1), torch.split(w, _CHUNK), strict=True):
            spectra = torch.fft.rfft2(grad, s=size), torch.fft.rfft2(chunk, s=size)
            part = torch.einsum("nohw,oihw->nihw", *spectra)
            total = part if total is None else total + part
        assert total is not None
        return torch.fft.irfft2(total, s=size)[:, :, :height, :width], None


def correlate(x: Tensor, w: Tensor, padding: int) -> Tensor:
    """`F.conv2d(x, w, padding=padding)`, by the faster method for the size of the filters."""
    if w.shape[2] < _LARGE:
        return F.conv2d(x, w, padding=padding)
    result: Tensor = _Correlation.apply(F.pad(x, (padding,) * 4), w)  # type: ignore[no-untyped-call]
    return result


class RandomFilters(nn.Module):
    """The network, with the layers asked for; it is called as `Descriptor` is.

    Input: BGR on the 0..255 scale minus the ImageNet mean, as for VGG. No bias, stride 1; zero padding keeps
    the size.
    """

    def __init__(
        self,
        layers: Iterable[str] = LAYERS,
        *,
        seed: int = 0,
        padding: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`padding=False`: feature maps lose size - 1 pixels. `dtype` is that of the features.

        Raises UserError for unknown layers.
        """
        super().__init__()
        self.name, self.padding, self.dtype = "random", padding, dtype
        self.sha256 = f"none: drawn with the seed {seed}"
        self.layers = tuple(layers)
        for layer in self.layers:
            if layer not in LAYERS:
                raise unknown(f"layer of {self.name}", layer, LAYERS)
            self.register_buffer(layer, filters(int(layer.removeprefix("conv")), seed), persistent=False)
        self.preprocess = Preprocessing(weights.CONVENTIONS["vgg16"])

    def forward(self, x: Tensor, layers: Sequence[str] | None = None, tap: Any = None) -> dict[str, Tensor]:
        """Images (N, 3, H, W), RGB in [0, 1], to {layer: features (N, 128, H, W)}, as `Descriptor.forward`.

        Raises UserError for an image smaller than an unpadded filter.
        """
        wanted = self.layers if layers is None else tuple(n for n in self.layers if n in layers)
        out: dict[str, Tensor] = {}
        with torch.autocast(x.device.type, enabled=False):
            x = self.preprocess(x)
            for layer in wanted:
                w = self.get_buffer(layer)
                if not self.padding and min(x.shape[2:]) < w.shape[2]:
                    raise UserError(
                        f"an image of {x.shape[3]} x {x.shape[2]} is too small for {self.name}'s layer {layer}; "
                        "use a larger image or smaller filters"
                    )
                # The transforms and the sums of large filters need float32.
                features = F.relu(correlate(x, w.to(x.dtype), w.shape[2] // 2 if self.padding else 0))
                features = features.to(self.dtype) if x.dtype == torch.float32 else features
                out[layer] = features if tap is None else tap(layer, features)
        return out
