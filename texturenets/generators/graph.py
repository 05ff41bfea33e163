"""Any feed-forward network, as a list of operations: what carries networks that other programs published."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets import noise, specs
from texturenets.graph import Graph, Node, parse
from texturenets.layers import InstanceNorm, max_pool, max_unpool, pad, torch7_init


class Affine(nn.Module):
    """A scale and a shift a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class BatchNorm(Affine):
    """Normalization by statistics that are given: `mean` and `var`."""

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return F.batch_norm(x, self.mean, self.var, self.weight, self.bias, eps=self.eps)


class Pad(nn.Module):
    """Pixels more on each side, by its own amount each."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.sides, self.mode = node.settings["amount"], node.settings["mode"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H + top + bottom, W + left + right)."""
        top, bottom, left, right = self.sides
        if self.mode in ("zero", "lowest"):
            return F.pad(x, (left, right, top, bottom), value=0.0 if self.mode == "zero" else -math.inf)
        height, width = x.shape[2:]
        if max(self.sides) >= min(height, width) and max(top, bottom) < height and max(left, right) < width:
            return F.pad(x, (left, right, top, bottom), mode=self.mode)
        # The largest amount on all sides, and what is too much cut off: any map, however small, will do.
        amount = max(self.sides)
        return crop(pad(x, amount, self.mode), [amount - side for side in self.sides])


class Deconv(nn.ConvTranspose2d):
    """Transposed convolution, cropped by an amount of its own on each side."""

    def __init__(self, inputs: int, node: Node) -> None:
        settings = node.settings
        least = min(settings["crop"])
        super().__init__(
            inputs,
            node.channels,
            settings["kernel"],
            settings["stride"],
            padding=least,
            bias="bias" in node.weights,
        )
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


def _select(x: Tensor, first: int, count: int, step: int) -> Tensor:
    if step == 1:
        return x[:, first : first + count]
    return x[:, list(range(first, first + count * step, step))]


def _upsample_rows(x: Tensor, matrix: Tensor, factor: int) -> Tensor:
    size = x.shape[2], x.shape[3] * factor
    return matrix @ F.interpolate(x, size, mode="bilinear", align_corners=True)


def unshuffle(x: Tensor, factor: int, order: str) -> Tensor:
    """Space to depth; channels counted (channel, row, column), or (row, column, channel) for the order "places"."""
    x = F.pixel_unshuffle(x, factor)
    return x if order == "channels" else x.unflatten(1, (-1, factor**2)).transpose(1, 2).flatten(1, 2)  # type: ignore[no-untyped-call]


def shuffle(x: Tensor, factor: int, order: str) -> Tensor:
    """Depth to space, the inverse of `unshuffle`."""
    if order == "places":
        x = x.unflatten(1, (factor**2, -1)).transpose(1, 2).flatten(1, 2)  # type: ignore[no-untyped-call]
    return F.pixel_shuffle(x, factor)


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
        "div": lambda x, y: x / y,
        "silu": F.silu,
        "gelu": lambda x: F.gelu(x, approximate=s["approximate"]),
        "select": lambda x: _select(x, s["first"], s["count"], s["step"]),
        "global_pool": lambda x: x.mean((2, 3), True) if s["mode"] == "average" else x.amax((2, 3), True),
        "stack": lambda *maps: torch.cat(maps, 2),
        "upsample_rows": lambda x, matrix: _upsample_rows(x, matrix, factor),
        "concat": lambda *maps: torch.cat(maps, 1),
        "avg_pool": lambda x: F.avg_pool2d(x, kernel, step),
        "max_pool": lambda x: F.max_pool2d(x, kernel, step),
        "shuffle": lambda x: shuffle(x, factor, s["order"]),
        "unshuffle": lambda x: unshuffle(x, factor, s["order"]),
    }
    if node.operation == "upsample":
        return _upsample(factor, s["mode"])
    return functions[node.operation]


# `GraphGenerator.forward` does these itself.
_INPUTS = ("photo", "noise", "input", "unpool")


def _layer(node: Node, inputs: int) -> nn.Module:
    s = node.settings
    if node.operation in _INPUTS:
        return nn.Identity()
    if node.operation == "conv":
        return nn.Conv2d(
            inputs, node.channels, s["kernel"], s["stride"],
            dilation=s["dilation"], groups=s["groups"], bias="bias" in node.weights,
        )  # fmt: skip
    makers: dict[str, Callable[[], nn.Module]] = {
        "deconv": lambda: Deconv(inputs, node),
        "norm": lambda: (
            nn.GroupNorm(s["groups"], inputs, s["eps"]) if s["groups"] else InstanceNorm(inputs, s["eps"])
        ),
        "batch_norm": lambda: BatchNorm(inputs, s["eps"]),
        "affine": lambda: Affine(inputs),
        "prelu": lambda: nn.PReLU(inputs),
        "pad": lambda: Pad(node),
    }
    return makers[node.operation]() if node.operation in makers else Function(_plain(node))


class GraphGenerator(nn.Module):
    """The operations of a graph, one after the other; every map is dropped after its last use.

    `stride`: what height and width must be multiples of. `noise`: the maps of noise that it takes. `photo`:
    whether it takes a photo. `margin`: as `NoiseFed` has it; published networks are run as they were.
    """

    def __init__(self, spec: specs.Graph | Graph) -> None:
        """`spec`: lines, whose weights are drawn anew; or a graph, whose weights are taken."""
        super().__init__()
        given = spec if isinstance(spec, Graph) else Graph(list(parse(spec.nodes, unnamed=True)))
        self.nodes, self.margin, self.stride = tuple(given.nodes), given.margin, given.stride
        self.photo, self.noise = given.photo, given.noise
        if given.fixed:
            self.size = given.stride
        self.layers = nn.ModuleList(
            _layer(node, self.nodes[node.sources[0]].channels if node.sources else 0) for node in self.nodes
        )
        self._last_use = {source: i for i, node in enumerate(self.nodes) for source in node.sources}
        self._unpooled = {node.sources[1] for node in self.nodes if node.operation == "unpool"}
        if isinstance(spec, Graph):
            self._take(spec)
        else:
            torch7_init(self)

    @torch.no_grad()
    def _take(self, graph: Graph) -> None:
        """The weights of `graph`; those that it does not have are ones that change nothing."""
        for number, layer in enumerate(self.layers):
            found = graph.node_weights(number)
            for role, value in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
                if role in found:
                    value.copy_(torch.tensor(found[role]))
                else:
                    value.fill_(role == "weight")

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(channels, height, width) of every map of noise for a picture of that size."""
        return noise.shapes(self.noise, height, width)

    def forward(
        self,
        x: Tensor | None,
        noises: Sequence[Tensor] | None = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to a picture of the same kind.

        `noises` are maps (N, channels, height, width) of the shapes that `noise_shapes(H, W)` gives, as
        `texturenets.noise.draw` makes them; without them those of seed 0 are used. `x` may be None where the
        network takes no photo and the noises are given. `inputs`: the other inputs by
        name. Nothing is clamped. Raises ValueError where what the
        network needs is missing.
        """
        if self.photo and x is None:
            raise ValueError("this network repaints photos: give it one")
        if noises is not None and len(noises) != len(self.noise):
            raise ValueError(f"{len(noises)} maps of noise for a network that takes {len(self.noise)}")
        last = len(self.nodes) - 1
        return self.maps(x, self._noises(x) if noises is None else noises, inputs or {}, [last])[last]

    def maps(
        self, x: Tensor | None, noises: Sequence[Tensor], inputs: Mapping[str, Tensor], wanted: Sequence[int]
    ) -> dict[int, Tensor]:
        """The maps of the nodes `wanted`, by number; the rest as `forward` has it."""
        remaining = iter(noises)
        maps: dict[int, Tensor] = {}
        where: dict[int, Tensor] = {}
        for i, (node, layer) in enumerate(zip(self.nodes, self.layers, strict=True)):
            sources = [maps[source] for source in node.sources]
            if node.operation == "photo":
                maps[i] = x  # type: ignore[assignment]
            elif node.operation == "noise":
                maps[i] = next(remaining) * node.settings["scale"]
            elif node.operation == "input":
                maps[i] = inputs[node.settings["name"]]
            elif node.operation == "unpool":
                maps[i] = max_unpool(sources[0], where[node.sources[1]])
            elif i in self._unpooled:
                maps[i], where[i] = max_pool(sources[0])
            else:
                maps[i] = layer(*sources)
            for source in set(node.sources):
                if self._last_use[source] == i and source not in wanted:
                    del maps[source]
        return {number: maps[number] for number in wanted}

    def _noises(self, x: Tensor | None) -> Sequence[Tensor]:
        """Those of seed 0, for every picture of the batch the same."""
        if x is None:
            raise ValueError("without a photo the noises have to be given: their size is the picture's")
        drawn = noise.draw(self.noise, [0], x.shape[2], x.shape[3], device=x.device)
        return [one.to(x.dtype).expand(x.shape[0], -1, -1, -1) for one in drawn]
