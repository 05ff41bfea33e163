"""The interface of networks in PyTorch: the attributes that engines and training read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image
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


def check_photos(x: object, *, wanted: bool) -> None:
    """Check the first argument of a network. `wanted`: it takes photos; else only their size counts, or None.

    Raises ValueError for photos that are missing or not (N, 3, H, W), and TypeError for what is no tensor of floats.
    A value that is traced is not checked.
    """
    if wanted and x is None:
        raise ValueError("this network stylizes photos: give it one")
    if isinstance(x, np.ndarray | Image.Image):
        raise TypeError(
            f"photos are a tensor (N, 3, H, W) of floats, RGB in [0, 1], not {type(x).__name__}; what "
            "`texturenets.load` gives takes images and arrays"
        )
    if not isinstance(x, Tensor):
        return
    if x.ndim != 4 or x.shape[1] != 3:
        hint = ": `photo[None]` is a batch of one" if x.ndim == 3 else ""
        hint = "; put the channels first" if x.ndim in (3, 4) and x.shape[-1] == 3 != x.shape[-3] else hint
        raise ValueError(f"photos are a tensor (N, 3, H, W), not {tuple(x.shape)}{hint}")
    if not x.is_floating_point():
        raise TypeError(f"photos are floats in [0, 1], not {x.dtype}; of 0 to 255 make `photo / 255`")


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
