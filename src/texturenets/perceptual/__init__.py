"""Descriptor networks: fixed networks, trained on ImageNet, with random filters or distilled, whose features the
losses compare.

Layers have the papers' names (`relu4_2`, `fire4`); full names are `network:layer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.engines import space_to_depth_conv
from texturenets.errors import UserError, unknown
from texturenets.graph.passes.space_to_depth import FEW_CHANNELS
from texturenets.perceptual import random_filters, weights
from texturenets.perceptual.architectures import (
    PLANS,
    ConvLayer,
    DescriptorLayer,
    FireModule,
    LinearMap,
    PoolLayer,
)
from texturenets.perceptual.preprocessing import Preprocessing
from texturenets.perceptual.random_filters import RandomFilters

PoolMode = Literal["max", "average"]
Tap = Callable[[str, Tensor], Tensor]
"""Called with a layer's name and its features; what it returns takes their place in the rest of the network."""

LAYERS: dict[str, tuple[str, ...]] = {
    **{network: tuple(step.name for step in plan) for network, plan in PLANS.items()},
    "random": random_filters.LAYERS,
}
"""The layers of every network, in the order of evaluation."""


def split(layer: str, default: str) -> tuple[str, str]:
    """`network:layer` (or a bare layer of the network `default`) as the pair of names, both checked.

    Raises UserError, with the nearest known name, if either does not exist.
    """
    network, colon, name = layer.rpartition(":")
    network = network if colon else default
    if network not in LAYERS:
        raise unknown("descriptor network", network, LAYERS)
    if name not in LAYERS[network]:
        raise unknown(f"layer of {network}", name, LAYERS[network])
    return network, name


def full_names(layers: Iterable[str], default: str = "vgg16") -> tuple[str, ...]:
    """`network:layer` for each, of the network `default` if none is named. Raises UserError for unknown ones."""
    return tuple(":".join(split(layer, default)) for layer in layers)


class Descriptor(nn.Module):
    """One descriptor network, truncated after the last requested layer, evaluated in one pass. The weights are frozen
    buffers in the precision of `dtype`; the network's input preprocessing (channel order, scale, mean) is applied
    inside.
    """

    def __init__(
        self,
        pretrained: weights.Pretrained,
        layers: Iterable[str],
        *,
        padding: bool = True,
        pool: PoolMode = "max",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`padding=False` leaves out the convolutions' zero padding (`-vgg_no_pad` of the Torch7 program).

        Raises UserError if the weights lack a layer that is needed.
        """
        super().__init__()
        self.name, self.sha256 = pretrained.name, pretrained.sha256
        self.layers = tuple(layers)
        plan = PLANS[pretrained.name]
        known = [step.name for step in plan]
        for layer in self.layers:
            if layer not in known:
                raise unknown(f"layer of {self.name}", layer, known)
        self.plan: list[DescriptorLayer] = plan[: 1 + max(known.index(layer) for layer in self.layers)]
        self.padding, self.pool, self.dtype = padding, pool, dtype
        self.preprocess = Preprocessing(pretrained.convention)
        keys = [key for step in self.plan for key in _keys(step)]
        weights.require(pretrained, [f"{key}.{part}" for key in keys for part in ("weight", "bias")])
        for key in keys:
            weight, bias = (pretrained.tensors[f"{key}.{part}"].to(dtype) for part in ("weight", "bias"))
            weight = weight.contiguous(memory_format=torch.channels_last)
            self.register_buffer(_attribute(key, "weight"), weight, persistent=False)
            self.register_buffer(_attribute(key, "bias"), bias, persistent=False)

    def forward(
        self, x: Tensor, layers: Sequence[str] | None = None, tap: Tap | None = None
    ) -> dict[str, Tensor]:
        """Images (N, 3, H, W), RGB in [0, 1], to {layer: features (N, C, h, w)} in one pass.

        `layers`: a subset of the layers given to the constructor; evaluation ends after the last of them. `tap`:
        called for each of them.
        Raises UserError for an image that is too small to have these layers.
        """
        wanted = set(self.layers if layers is None else layers)
        out: dict[str, Tensor] = {}
        size = tuple(x.shape[2:])
        with torch.autocast(x.device.type, enabled=False):
            x = self.preprocess(x).to(self.dtype, memory_format=torch.channels_last)
            for step in self.plan:
                if isinstance(step, LinearMap) and step.name not in wanted:
                    continue  # a branch of its own (`own`): no later layer takes it as input
                try:
                    made = self._apply_step(step, x)
                except RuntimeError as error:
                    if min(x.shape[2:]) > 3 or "memory" in str(error):
                        raise
                    made = x[:, :, :0]  # the kernel is larger than the feature map: reported below
                if 0 in made.shape:
                    raise UserError(
                        f"an image of {size[1]} x {size[0]} is too small for {self.name}'s layer {step.name}; "
                        "use a larger image or earlier layers"
                    )
                if step.name in wanted:
                    if tap is not None:
                        made = tap(step.name, made)
                    out[step.name] = made
                    if len(out) == len(wanted):
                        break
                if not isinstance(step, LinearMap):
                    x = made
        return out

    def _apply_step(self, step: DescriptorLayer, x: Tensor) -> Tensor:
        if isinstance(step, PoolLayer):
            pool = F.max_pool2d if self.pool == "max" else F.avg_pool2d
            return pool(x, step.kernel, 2, step.padding)
        if isinstance(step, ConvLayer):
            return self._conv(step.key, x, step.stride, step.padding)
        if isinstance(step, LinearMap):
            weight, bias = (self.get_buffer(_attribute(step.key, part)) for part in ("weight", "bias"))
            return F.conv2d(x, weight, bias, step.stride)
        squeezed = self._conv(step.key + ".squeeze", x)
        expanded = [
            self._conv(step.key + ".expand1x1", squeezed),
            self._conv(step.key + ".expand3x3", squeezed, 1, 1),
        ]
        if not self.padding:  # the unpadded 3 x 3 lost a pixel at each side
            expanded[0] = expanded[0][:, :, 1:-1, 1:-1]
        return torch.cat(expanded, 1)

    def _conv(self, key: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = self.get_buffer(_attribute(key, "weight")), self.get_buffer(_attribute(key, "bias"))
        padding = padding if self.padding else 0
        odd = weight.shape[2] % 2 == 1
        if stride == 2 and odd and weight.shape[1] <= FEW_CHANNELS and space_to_depth_conv.supports(x):
            return F.relu_(space_to_depth_conv.strided_conv_from_few_channels(x, weight, bias, padding))
        return F.relu_(F.conv2d(x, weight, bias, stride, padding))


def _keys(step: DescriptorLayer) -> list[str]:
    """The names of the step's convolutions in the state dictionary; empty for a pooling."""
    if isinstance(step, ConvLayer | LinearMap):
        return [step.key]
    if isinstance(step, FireModule):
        return [f"{step.key}.{part}" for part in ("squeeze", "expand1x1", "expand3x3")]
    return []


def _named(tap: Tap, network: str) -> Tap:
    """`tap` for one network: called with `network:layer` instead of the layer's name."""
    return lambda layer, features: tap(f"{network}:{layer}", features)


def _attribute(key: str, part: str) -> str:
    """The name of a buffer: PyTorch allows no dots in it."""
    return f"{key}.{part}".replace(".", "_")


class Descriptors(nn.Module):
    """Several descriptor networks behind one call: layers are `network:layer`."""

    def __init__(self, networks: Iterable[Descriptor | RandomFilters]) -> None:
        super().__init__()
        all_networks = list(networks)
        self.networks = nn.ModuleDict({network.name: network for network in all_networks})
        self.layers = tuple(f"{network.name}:{layer}" for network in all_networks for layer in network.layers)
        self.sha256 = {network.name: network.sha256 for network in all_networks}
        """The hash of the file from which each network's weights were read."""

    def forward(
        self, x: Tensor, layers: Sequence[str] | None = None, tap: Tap | None = None
    ) -> dict[str, Tensor]:
        """As `Descriptor.forward`, with full names. Raises UserError for a layer that was not given to the
        constructor."""
        for layer in layers or ():
            if layer not in self.layers:
                raise unknown("layer of these networks", layer, self.layers)
        out: dict[str, Tensor] = {}
        for name, network in self.networks.items():
            mine = (
                None if layers is None else [n.partition(":")[2] for n in layers if n.startswith(name + ":")]
            )
            if mine is None or mine:
                inner = None if tap is None else _named(tap, name)
                out.update({f"{name}:{layer}": f for layer, f in network(x, mine, inner).items()})
        return out


def build(
    layers: Iterable[str],
    *,
    default: str = "vgg16",
    files: Sequence[Path | str] = (),
    offline: bool = False,
    padding: bool = True,
    pool: PoolMode = "max",
    dtype: torch.dtype = torch.float32,
    progress: weights.Progress | None = None,
    seed: int = 0,
) -> Descriptors:
    """The networks that `layers` name, their weights found by `weights.load`; `seed` is that of `random`.

    Raises UserError for unknown names and for weights that are not available.
    """
    wanted: dict[str, list[str]] = {}
    for layer in layers:
        network, name = split(layer, default)
        if name not in wanted.setdefault(network, []):
            wanted[network].append(name)

    def descriptor(network: str, names: list[str]) -> Descriptor | RandomFilters:
        if network == "random":
            return RandomFilters(names, seed=seed, padding=padding, dtype=dtype)
        pretrained = weights.load(network, files=files, offline=offline, progress=progress)
        return Descriptor(pretrained, names, padding=padding, pool=pool, dtype=dtype)

    return Descriptors(descriptor(network, names) for network, names in wanted.items())
