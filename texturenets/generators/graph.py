"""Any feed-forward network, as a list of operations: what carries networks that other programs published."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets import nodes, noise
from texturenets.layers import InstanceNorm, max_pool, max_unpool, pad, torch7_init
from texturenets.nodes import Node
from texturenets.noise import NoiseInput
from texturenets.specs import Graph


class Affine(nn.Module):
    """A scale and a shift a channel: what normalization with fixed statistics amounts to."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Pad(nn.Module):
    """Pixels more on each side, by its own amount each."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.sides, self.mode = node.settings["amount"], node.settings["mode"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H + top + bottom, W + left + right)."""
        if self.mode == "zero":
            top, bottom, left, right = self.sides
            return F.pad(x, (left, right, top, bottom))
        # The largest amount on all sides, and what is too much cut off: any map, however small, will do.
        amount = max(self.sides)
        return crop(pad(x, amount, self.mode), [amount - side for side in self.sides])


class Deconv(nn.ConvTranspose2d):
    """Transposed convolution, cropped by an amount of its own on each side."""

    def __init__(self, inputs: int, node: Node) -> None:
        settings = node.settings
        least = min(settings["crop"])
        super().__init__(inputs, node.channels, settings["kernel"], settings["stride"], padding=least)
        self.sides = [side - least for side in settings["crop"]]

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, inputs, H, W) to (N, out, (H - 1) stride + kernel - top - bottom, likewise)."""
        return crop(super().forward(x, output_size), self.sides)


def crop(x: Tensor, sides: Sequence[int]) -> Tensor:
    top, bottom, left, right = sides
    if not any(sides):
        return x
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def _sum(*maps: Tensor) -> Tensor:
    total = maps[0]
    for other in maps[1:]:
        total = total + other
    return total


def _product(*maps: Tensor) -> Tensor:
    total = maps[0]
    for other in maps[1:]:
        total = total * other
    return total


class Function(nn.Module):
    """An operation without weights."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *maps: Tensor) -> Tensor:
        """What the function makes of its maps."""
        return self.function(*maps)


def _upsample(factor: int, mode: str) -> Callable[[Tensor], Tensor]:
    if mode == "nearest":
        return lambda x: F.interpolate(x, scale_factor=float(factor), mode="nearest")
    corners = mode == "bilinear_corners"
    return lambda x: F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=corners)


def _plain(node: Node) -> Callable[..., Tensor]:
    """The function of an operation without weights."""
    s = node.settings
    kernel, step, factor = s.get("kernel", 1), s.get("stride", 1), s.get("factor", 1)
    functions: dict[str, Callable[..., Tensor]] = {
        "crop": lambda x: crop(x, s["amount"]),
        "relu": F.relu,
        "leaky_relu": lambda x: F.leaky_relu(x, s["slope"]),
        "elu": lambda x: F.elu(x, s["alpha"]),
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "clamp": lambda x: x.clamp(s["low"], s["high"]),
        "linear": lambda x: x * s["by"] + s["add"],
        "add": _sum,
        "mul": _product,
        "concat": lambda *maps: torch.cat(maps, 1),
        "avg_pool": lambda x: F.avg_pool2d(x, kernel, step),
        "max_pool": lambda x: F.max_pool2d(x, kernel, step),
        "shuffle": lambda x: F.pixel_shuffle(x, factor),
        "unshuffle": lambda x: F.pixel_unshuffle(x, factor),
    }
    if node.operation == "upsample":
        return _upsample(factor, s["mode"])
    return functions[node.operation]


# `GraphGenerator.forward` does these itself.
_INPUTS = ("photo", "noise", "unpool")


def _layer(node: Node, inputs: int) -> nn.Module:
    s = node.settings
    if node.operation in _INPUTS:
        return nn.Identity()
    if node.operation == "conv":
        return nn.Conv2d(
            inputs, node.channels, s["kernel"], s["stride"], dilation=s["dilation"], groups=s["groups"]
        )
    makers: dict[str, Callable[[], nn.Module]] = {
        "deconv": lambda: Deconv(inputs, node),
        "norm": lambda: InstanceNorm(inputs, s["eps"]),
        "affine": lambda: Affine(inputs),
        "prelu": lambda: nn.PReLU(inputs),
        "pad": lambda: Pad(node),
    }
    return makers[node.operation]() if node.operation in makers else Function(_plain(node))


class GraphGenerator(nn.Module):
    """The operations of a `Graph` spec, one after the other; every map is dropped after its last use.

    `stride`: what height and width must be multiples of. `noise`: the maps of noise that it takes. `photo`:
    whether it takes a photo.
    """

    def __init__(self, spec: Graph) -> None:
        super().__init__()
        self.nodes = nodes.parse(spec.nodes)
        self.stride = nodes.stride(self.nodes)
        self.photo = any(node.operation == "photo" for node in self.nodes)
        self.noise = tuple(
            NoiseInput(node.channels, node.settings["stride"], node.settings["distribution"])
            for node in self.nodes
            if node.operation == "noise"
        )
        self.layers = nn.ModuleList(
            _layer(node, self.nodes[node.sources[0]].channels if node.sources else 0) for node in self.nodes
        )
        self._last_use = {source: i for i, node in enumerate(self.nodes) for source in node.sources}
        self._unpooled = {node.sources[1] for node in self.nodes if node.operation == "unpool"}
        torch7_init(self)

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(channels, height, width) of every map of noise for a picture of that size."""
        return noise.shapes(self.noise, height, width)

    def forward(self, x: Tensor | None, noises: Sequence[Tensor] | None = None) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to a picture of the same kind.

        `noises` are maps (N, channels, height, width) of the shapes that `noise_shapes(H, W)` gives, as
        `texturenets.noise.draw` makes them; without them those of seed 0 are used. `x` may be None where the
        network takes no photo and the noises are given. Nothing is clamped. Raises ValueError where what the
        network needs is missing.
        """
        if self.photo and x is None:
            raise ValueError("this network repaints photos: give it one")
        if noises is not None and len(noises) != len(self.noise):
            raise ValueError(f"{len(noises)} maps of noise for a network that takes {len(self.noise)}")
        remaining = iter(self._noises(x) if noises is None else noises)
        maps: dict[int, Tensor] = {}
        where: dict[int, Tensor] = {}
        for i, (node, layer) in enumerate(zip(self.nodes, self.layers, strict=True)):
            sources = [maps[source] for source in node.sources]
            if node.operation == "photo":
                maps[i] = x  # type: ignore[assignment]
            elif node.operation == "noise":
                maps[i] = next(remaining) * node.settings["scale"]
            elif node.operation == "unpool":
                maps[i] = max_unpool(sources[0], where[node.sources[1]])
            elif i in self._unpooled:
                maps[i], where[i] = max_pool(sources[0])
            else:
                maps[i] = layer(*sources)
            for source in set(node.sources):
                if self._last_use[source] == i:
                    del maps[source]
        return maps[len(self.nodes) - 1]

    def _noises(self, x: Tensor | None) -> Sequence[Tensor]:
        """Those of seed 0, for every picture of the batch the same."""
        if x is None:
            raise ValueError("without a photo the noises have to be given: their size is the picture's")
        drawn = noise.draw(self.noise, [0], x.shape[2], x.shape[3], device=x.device)
        return [one.to(x.dtype).expand(x.shape[0], -1, -1, -1) for one in drawn]
