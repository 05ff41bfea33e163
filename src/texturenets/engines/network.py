"""The interface of networks in PyTorch: the attributes that engines and training read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from texturenets.graph import IOSpec
from texturenets.noise import NoiseInput


class Network(Protocol):
    """An `nn.Module` that makes images (N, 3, H, W), RGB in [0, 1], of photos of that kind, of noise, or of both.

    Attributes that it does not have are as they stand here. `stride`: what height and width must be multiples of.
    `margin`: pixels by which a photo is to be reflection-padded on each side, and the image cropped. `noise`: the
    noise maps that it takes as its second argument. `photo`: whether it takes a photo; else the first argument is
    None. One that draws a single size has a `size`, in pixels, which is its stride.
    """

    stride: int = 1
    margin: int = 0
    noise: tuple[NoiseInput, ...] = ()
    photo: bool = True

    def __call__(self, x: Tensor | None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """(N, 3, H, W) to the same."""


def declared(network: nn.Module, name: str, default: int) -> int:
    """What `network` says of itself in an attribute: a whole number, where it is not PyTorch's of that name."""
    value = getattr(network, name, default)
    return value if isinstance(value, int) else default


def is_fixed(network: nn.Module) -> bool:
    """Whether `network` draws images of one size: its stride, which it says again as its `size`."""
    size = getattr(network, "size", None)
    return not getattr(network, "photo", True) and size is not None and size == getattr(network, "stride", 1)


def io_spec_of(network: nn.Module) -> IOSpec:
    """What `network` takes and gives, as far as its attributes say it."""
    known: Any = getattr(network, "io_spec", None)
    if isinstance(known, IOSpec):
        return known
    noise = tuple(getattr(network, "noise", ()))
    channels = 3 if getattr(network, "photo", True) else 0
    stride, margin = declared(network, "stride", 1), declared(network, "margin", 0)
    return IOSpec(stride, 1, channels, noise, is_fixed(network), margin)
