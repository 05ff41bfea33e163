"""A graph run by PyTorch: its operations as modules, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets import noise
from texturenets.engines import kernels
from texturenets.engines.network import check_photos
from texturenets.engines.primitives import InstanceNorm, max_pool, max_unpool, pad, upsample2x
from texturenets.graph import Graph, Node


class Affine(nn.Module):
    """A learned scale and shift for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class BatchNorm(Affine):
    """Batch normalization by running statistics, `mean` and `var`."""

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
    """Padding with a separate amount for each side."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.sides, self.mode = node.settings["amount"], node.settings["mode"]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H + top + bottom, W + left + right)."""
        if self.mode in ("zero", "lowest"):
            top, bottom, left, right = self.sides
            return F.pad(x, (left, right, top, bottom), value=0.0 if self.mode == "zero" else -math.inf)
        if self.mode == "circular" and max(self.sides) <= min(x.shape[2:]):
            return _circular_pad(x, self.sides)
        amount = max(self.sides)
        rows, columns = max(self.sides[:2]), max(self.sides[2:])
        if (
            min(self.sides) < amount
            and self.mode != "circular"
            and rows < x.shape[2]
            and columns < x.shape[3]
        ):
            top, bottom, left, right = self.sides
            return F.pad(x, (left, right, top, bottom), mode=self.mode)
        # `F.pad` refuses padding as large as the map; `pad` repeats it but takes one amount for all sides. So uneven
        # sides that fit go to `F.pad`, all else is padded by the maximum and cropped.
        return crop(pad(x, amount, self.mode), [amount - side for side in self.sides])


def _circular_pad(x: Tensor, sides: Sequence[int]) -> Tensor:
    """`x` continued periodically, by at most its size."""
    for dim, before, after in ((2, *sides[:2]), (3, *sides[2:])):
        size = x.shape[dim]
        if before or after:
            x = torch.cat([x.narrow(dim, size - before, before), x, x.narrow(dim, 0, after)], dim)
    return x


class Deconv(nn.ConvTranspose2d):
    """Transposed convolution, cropped by a separate amount on each side."""

    def __init__(self, in_channels: int, node: Node) -> None:
        settings = node.settings
        least = min(settings["crop"])
        super().__init__(
            in_channels,
            node.channels,
            settings["kernel"],
            settings["stride"],
            padding=least,
            bias="bias" in node.weights,
        )
        self.sides = [side - least for side in settings["crop"]]

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, in_channels, H, W) to (N, out, (H - 1) stride + kernel - top - bottom, likewise)."""
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
    """Bilinear, aligned corners: columns by `factor`, rows by the weights `matrix` (rows out, rows in) of a strip."""
    size = x.shape[2], x.shape[3] * factor
    return matrix @ F.interpolate(x, size, mode="bilinear", align_corners=True)


def unshuffle(x: Tensor, factor: int, order: str) -> Tensor:
    """Space to depth. `order` of the channels: "CRD", (channel, row, column), or "DCR", (row, column, channel)."""
    x = F.pixel_unshuffle(x, factor)
    return x if order == "CRD" else x.unflatten(1, (-1, factor**2)).transpose(1, 2).flatten(1, 2)  # type: ignore[no-untyped-call]


def shuffle(x: Tensor, factor: int, order: str) -> Tensor:
    """Depth to space, the inverse of `unshuffle`."""
    if order == "CRD":
        return F.pixel_shuffle(x, factor)
    # One copy, which stays channels_last
    n, _, height, width = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, height, width, factor, factor, -1).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(n, factor * height, factor * width, -1).permute(0, 3, 1, 2)


class FunctionModule(nn.Module):
    """An operation without weights."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *maps: Tensor) -> Tensor:
        """Applies the function."""
        return self.function(*maps)


def _upsample(factor: int, mode: str) -> Callable[[Tensor], Tensor]:
    if factor == 2 and mode != "bilinear_corners":
        return lambda x: upsample2x(x, bilinear=mode == "bilinear")
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


# Operations computed in float32 after the last convolution, although the network runs in half precision.
_FLOAT32_TAIL = frozenset(
    ("linear", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "silu", "gelu", "clamp", "add", "mul", "div")
) | {"affine", "select", "concat", "crop", "shuffle"}


# `GraphNetwork.maps` does these itself.
_DONE_BY_NETWORK = ("photo", "noise", "input", "unpool")


def _layer(node: Node, in_channels: int) -> nn.Module:
    s = node.settings
    if node.operation in _DONE_BY_NETWORK:
        return nn.Identity()
    if node.operation == "conv":
        return nn.Conv2d(
            in_channels, node.channels, s["kernel"], s["stride"],
            dilation=s["dilation"], groups=s["groups"], bias="bias" in node.weights,
        )  # fmt: skip
    makers: dict[str, Callable[[], nn.Module]] = {
        "deconv": lambda: Deconv(in_channels, node),
        "norm": lambda: (
            nn.GroupNorm(s["groups"], in_channels, s["eps"])
            if s["groups"]
            else InstanceNorm(in_channels, s["eps"])
        ),
        "batch_norm": lambda: BatchNorm(in_channels, s["eps"]),
        "affine": lambda: Affine(in_channels),
        "prelu": lambda: nn.PReLU(in_channels),
        "pad": lambda: Pad(node),
    }
    return makers[node.operation]() if node.operation in makers else FunctionModule(_plain(node))


def _fusible_norms(nodes: Sequence[Node]) -> set[int]:
    """Instance normalizations whose only consumer is a ReLU: fused into one kernel on a GPU."""
    users: dict[int, list[Node]] = {}
    for node in nodes:
        for source in node.sources:
            users.setdefault(source, []).append(node)
    return {
        number
        for number, taken in users.items()
        if nodes[number].operation == "norm" and not nodes[number].settings["groups"]
        if [user.operation for user in taken] == ["relu"]
    }


class GraphNetwork(nn.Module):
    """The operations of a graph, one after the other; every feature map is dropped after its last use.

    `stride`: height and width must be multiples of it. `noise`: its noise inputs. `photo`: whether a photo is an
    input. `margin`: pixels by which photos must be reflection-padded on each side, and the image cropped. `io_spec`:
    its inputs and output. `size`: side of its images in pixels, only for a network with a fixed size.
    """

    def __init__(self, graph: Graph) -> None:
        """Its weights are those of `graph`; for a graph without weights, PyTorch's initialization."""
        super().__init__()
        self.nodes, self.margin, self.stride = tuple(graph.nodes), graph.margin, graph.stride
        self.photo, self.noise, self.io_spec = graph.photo, graph.noise, graph.io_spec
        if graph.fixed_size:  # then the stride is its only size
            self.size = graph.stride
        self.layers = nn.ModuleList(
            _layer(node, self.nodes[node.sources[0]].channels if node.sources else 0) for node in self.nodes
        )
        self._last_use = {source: i for i, node in enumerate(self.nodes) for source in node.sources}
        self._unpooled = {node.sources[1] for node in self.nodes if node.operation == "unpool"}
        self._fusible_norms = _fusible_norms(self.nodes)
        # the last operation before the tail
        before_tail = next(
            (i for i in range(len(self.nodes) - 1, -1, -1) if self.nodes[i].operation not in _FLOAT32_TAIL), 0
        )
        self._float32_from = before_tail if self.nodes[before_tail].operation in ("conv", "deconv") else -1
        if graph.weights:
            self._take(graph)

    @torch.no_grad()
    def _take(self, graph: Graph) -> None:
        """The weights of `graph`; a missing `weight` is 1, any other missing parameter 0."""
        for number, layer in enumerate(self.layers):
            weights = graph.node_weights(number)
            for role, value in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
                if role in weights:
                    value.copy_(torch.tensor(weights[role]))
                else:
                    value.fill_(role == "weight")

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(channels, height, width) of every noise map for an image of that size."""
        return noise.shapes(self.noise, height, width)

    def forward(
        self,
        x: Tensor | None,
        noises: Sequence[Tensor] | None = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Photo (N, 3, H, W), RGB in [0, 1], H and W multiples of `stride`, to an image of the same shape. `noises`
        are noise maps (N, channels, height, width) of the shapes that `noise_shapes(H, W)` gives, as
        `texturenets.noise.draw` makes them; without them those of seed 0 are used. `x` may be None if the network
        takes no photo and the noises are given. `inputs`: the other inputs by name, (N, channels, height, width). In
        half precision everything after the last convolution is computed in float32. Nothing is clamped. Raises
        ValueError if what the network needs is missing.
        """
        last = len(self.nodes) - 1
        return self.maps(x, noises, inputs, [last])[last]

    def maps(
        self,
        x: Tensor | None,
        noises: Sequence[Tensor] | None,
        inputs: Mapping[str, Tensor] | None,
        wanted: Sequence[int],
    ) -> dict[int, Tensor]:
        """The feature maps of the nodes `wanted`, by node index; the other arguments as in `forward`."""
        maps = self._given(x, noises, inputs or {})
        argmax_masks: dict[int, Tensor] = {}
        fused: set[int] = set()
        for i, (node, layer) in enumerate(zip(self.nodes, self.layers, strict=True)):
            if not node.sources:
                continue
            sources = [maps[source] for source in node.sources]
            if node.operation == "unpool":
                maps[i] = max_unpool(sources[0], argmax_masks[node.sources[1]])
            elif i in self._unpooled:
                maps[i], argmax_masks[i] = max_pool(sources[0])
            elif i in self._fusible_norms and i not in wanted and kernels.supports(sources[0]):
                fused.add(i)
                maps[i] = self._with_relu(sources[0], layer)
            elif node.operation == "relu" and node.sources[0] in fused:
                maps[i] = sources[0]
            else:
                maps[i] = layer(*sources)
            if i == self._float32_from and maps[i].dtype in (torch.float16, torch.bfloat16):
                maps[i] = maps[i].float()
            for source in set(node.sources):
                if self._last_use[source] == i and source not in wanted:
                    del maps[source]
        return {number: maps[number] for number in wanted}

    @staticmethod
    def _with_relu(x: Tensor, norm: Any) -> Tensor:
        return kernels.instance_norm(x, norm.weight, norm.bias, norm.eps, relu=True)

    def _given(
        self, x: Tensor | None, noises: Sequence[Tensor] | None, inputs: Mapping[str, Tensor]
    ) -> dict[int, Tensor]:
        """The inputs by node number. Raises ValueError if one is missing, and as `check_photos`."""
        check_photos(x, wanted=self.photo)
        if noises is not None and len(noises) != len(self.noise):
            raise ValueError(f"{len(noises)} noise maps for a network that takes {len(self.noise)}")
        remaining = iter(self._noises(x) if noises is None else noises)
        given: dict[int, Tensor] = {}
        for i, node in enumerate(self.nodes):
            if node.operation == "photo":
                given[i] = x  # type: ignore[assignment]
            elif node.operation == "noise":
                given[i] = next(remaining) * node.settings["scale"]
            elif node.operation == "input":
                name = node.settings["name"]
                if name not in inputs:
                    raise ValueError(f"this network takes {name}, which is missing")
                given[i] = inputs[name]
        return given

    def _noises(self, x: Tensor | None) -> Sequence[Tensor]:
        """The noise maps of seed 0, the same for every image of the batch."""
        if x is None:
            raise ValueError("without a photo the noises have to be given: their size is the image's")
        drawn = noise.draw(self.noise, [0], x.shape[2], x.shape[3], device=x.device)
        return [noise_map.to(x.dtype).expand(x.shape[0], -1, -1, -1) for noise_map in drawn]
