"""The interface of networks in PyTorch: the attributes that engines and training read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from texturenets.graph import IOSpec
from texturenets.noise import NoiseInput


class Network(Protocol):
    """An `nn.Module` that computes images (N, 3, H, W), RGB in [0, 1], from photos of the same shape, from noise, or
    from both.

    The values here are the defaults of attributes that it does not define. `stride`: height and width must be
    multiples of it. `margin`: pixels by which a photo must be reflection-padded on each side, and the image cropped.
    `noise`: the noise maps that are its second argument. `photo`: whether its first argument is a photo; else that is
    None. `outputs`: channels of the image, of a material those of all its maps. A network with a fixed size also has
    `size`, in pixels, equal to its stride.
    """

    stride: int = 1
    margin: int = 0
    noise: tuple[NoiseInput, ...] = ()
    photo: bool = True
    outputs: int = 3

    def __call__(self, x: Tensor | None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """(N, 3, H, W) to the same."""


def check_batch(x: object) -> None:
    """Raise ValueError for a photo without a batch dimension; what is no tensor (None, or a value that is traced) is
    not checked."""
    if isinstance(x, Tensor) and x.ndim != 4:
        raise ValueError(
            f"photos are a tensor (N, 3, H, W), not {tuple(x.shape)}: `photo[None]` is a batch of one"
        )


def declared(network: nn.Module, name: str, default: int) -> int:
    """The integer attribute `name` that `network` declares, unless it is an attribute of PyTorch's; else
    `default`."""
    value = getattr(network, name, default)
    return value if isinstance(value, int) else default


def is_fixed(network: nn.Module) -> bool:
    """Whether `network` has a fixed size: then its `size` equals its stride."""
    size = getattr(network, "size", None)
    return not getattr(network, "photo", True) and size is not None and size == getattr(network, "stride", 1)


def io_spec_of(network: nn.Module) -> IOSpec:
    """The `IOSpec` of `network`, from its attributes."""
    known: Any = getattr(network, "io_spec", None)
    if isinstance(known, IOSpec):
        return known
    noise = tuple(getattr(network, "noise", ()))
    channels, outputs = 3 if getattr(network, "photo", True) else 0, declared(network, "outputs", 3)
    stride, margin = declared(network, "stride", 1), declared(network, "margin", 0)
    return IOSpec(stride, 1, channels, noise, is_fixed(network), margin, outputs)
