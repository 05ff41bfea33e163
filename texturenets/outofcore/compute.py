"""One operation on one region of its map, from pieces of its sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.engines.executor import shuffle, unshuffle
from texturenets.engines.primitives import max_pool, max_unpool
from texturenets.graph import Node
from texturenets.outofcore.regions import Axis, Interval, Region, Size, axes, needs, places

Weights = Mapping[str, Tensor]


def operate(  # noqa: PLR0911, PLR0912 (one a kind of operation)
    node: Node,
    region: Region,
    pieces: Sequence[Sequence[Tensor]],
    sizes: Sequence[Size],
    weights: Weights,
    *,
    disposable: bool = False,
) -> Tensor:
    """`region` of the map of `node`: (1, C, height, width).

    `pieces` are, for each source, the regions that `regions.wanted` names, `sizes` the sizes of the whole maps
    of the sources. For a normalization `weights` are "scale" and "shift", its statistics worked in.
    `disposable`: the first piece is nobody else's and may be overwritten.
    """
    first = pieces[0][0]
    if node.operation in _POINTWISE:
        return _POINTWISE[node.operation](node, [piece[0] for piece in pieces], weights, disposable)
    if node.operation == "unpool":
        whole = max_unpool(first, max_pool(pieces[1][0])[1])
        return _cut(whole, region, (region.top // 2 * 2, region.left // 2 * 2))
    vertical, horizontal = axes(node, sizes[0])
    rows, columns = (
        needs(vertical, region.top, region.bottom),
        needs(horizontal, region.left, region.right),
    )
    if node.operation == "pad":
        return _pad(node, region, pieces[0], (vertical, horizontal), (rows, columns))
    x, top, left = first, rows[0][0], columns[0][0]
    s = node.settings
    match node.operation:
        case "crop":
            return x
        case "conv":
            return F.conv2d(
                x, weights["weight"], weights.get("bias"), s["stride"], 0, s["dilation"], s["groups"]
            )
        case "avg_pool":
            return F.avg_pool2d(x, s["kernel"], s["stride"])
        case "max_pool":
            return F.max_pool2d(x, s["kernel"], s["stride"])
        case "deconv":
            made = F.conv_transpose2d(x, weights["weight"], weights.get("bias"), s["stride"])
            origin = top * s["stride"] - vertical.before, left * s["stride"] - horizontal.before
            return _cut(made, region, origin)
        case "upsample" if s["mode"] == "bilinear_corners":
            return _corners(
                _corners(x, vertical, region[:2], rows[0], -2), horizontal, region[2:], columns[0], -1
            )
        case "upsample":
            f = float(s["factor"])
            made = (
                F.interpolate(x, scale_factor=f, mode="nearest")
                if s["mode"] == "nearest"
                else F.interpolate(x, scale_factor=f, mode="bilinear", align_corners=False)
            )
            return _cut(made, region, (top * s["factor"], left * s["factor"]))
        case "shuffle":
            spread = shuffle(x, s["factor"], s["order"])
            return _cut(spread, region, (top * s["factor"], left * s["factor"]))
        case "unshuffle":
            return unshuffle(x, s["factor"], s["order"])
        case "global_pool":
            return x.mean((2, 3), True) if s["mode"] == "average" else x.amax((2, 3), True)
    raise AssertionError(node.operation)


def _cut(x: Tensor, region: Region, origin: tuple[int, int]) -> Tensor:
    """`region` of `x`, whose first pixel is the map's at `origin` (row, column)."""
    return x[
        :,
        :,
        region.top - origin[0] : region.bottom - origin[0],
        region.left - origin[1] : region.right - origin[1],
    ]


# ---- Pointwise ---------------------------------------------------------------------------------------


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]


def _normalize(_: Node, maps: list[Tensor], weights: Weights, disposable: bool) -> Tensor:
    x, scale, shift = maps[0], _column(weights["scale"]), _column(weights["shift"])
    return x.mul_(scale).add_(shift) if disposable else torch.addcmul(shift, x, scale)


def _affine(_: Node, maps: list[Tensor], weights: Weights, disposable: bool) -> Tensor:
    x = maps[0]
    if "weight" in weights:
        scale = _column(weights["weight"])
        x, disposable = (x.mul_(scale) if disposable else x * scale), True
    if "bias" in weights:
        shift = _column(weights["bias"])
        x = x.add_(shift) if disposable else x + shift
    return x


def _batch_norm(node: Node, maps: list[Tensor], weights: Weights, __: bool) -> Tensor:
    scale = torch.rsqrt(weights["var"] + node.settings["eps"])
    if "weight" in weights:
        scale = scale * weights["weight"]
    shift = weights.get("bias", 0) - weights["mean"] * scale
    return torch.addcmul(_column(shift), maps[0], _column(scale))


def _select(node: Node, maps: list[Tensor], _: Weights, __: bool) -> Tensor:
    first, count, step = (node.settings[key] for key in ("first", "count", "step"))
    if step == 1:
        return maps[0][:, first : first + count]
    return maps[0][:, list(range(first, first + count * step, step))]


def _add(_: Node, maps: list[Tensor], __: Weights, disposable: bool) -> Tensor:
    total = maps[0].add_(maps[1]) if disposable and maps[0].shape == maps[1].shape else maps[0] + maps[1]
    for other in maps[2:]:
        total = total + other
    return total


def _mul(_: Node, maps: list[Tensor], __: Weights, ___: bool) -> Tensor:
    total = maps[0] * maps[1]
    for other in maps[2:]:
        total = total * other
    return total


def _leaky(node: Node, maps: list[Tensor], _: Weights, disposable: bool) -> Tensor:
    return F.leaky_relu(maps[0], node.settings["slope"], disposable)


_Pointwise = Callable[[Node, list[Tensor], Weights, bool], Tensor]

_POINTWISE: Final[dict[str, _Pointwise]] = {
    "norm": _normalize,
    "affine": _affine,
    "batch_norm": _batch_norm,
    "select": _select,
    "silu": lambda _, maps, __, ___: F.silu(maps[0]),
    "gelu": lambda node, maps, _, __: F.gelu(maps[0], approximate=node.settings["approximate"]),
    "div": lambda _, maps, __, ___: maps[0] / maps[1],
    "relu": lambda _, maps, __, disposable: F.relu(maps[0], disposable),
    "leaky_relu": _leaky,
    "prelu": lambda _, maps, weights, __: F.prelu(maps[0], weights["weight"]),
    "elu": lambda node, maps, _, disposable: F.elu(maps[0], node.settings["alpha"], disposable),
    "tanh": lambda _, maps, __, ___: torch.tanh(maps[0]),
    "sigmoid": lambda _, maps, __, ___: torch.sigmoid(maps[0]),
    "clamp": lambda node, maps, _, __: maps[0].clamp(node.settings["low"], node.settings["high"]),
    "linear": lambda node, maps, _, __: maps[0] * node.settings["by"] + node.settings["add"],
    "add": _add,
    "mul": _mul,
    "concat": lambda _, maps, __, ___: torch.cat(maps, 1),
}


# ---- Padding and interpolation -----------------------------------------------------------------------


def _pad(
    node: Node,
    region: Region,
    pieces: Sequence[Tensor],
    both: tuple[Axis, Axis],
    intervals: tuple[list[Interval], list[Interval]],
) -> Tensor:
    rows, columns = intervals
    lines = [_joined(pieces[r * len(columns) : (r + 1) * len(columns)], 3) for r in range(len(rows))]
    x = _joined(lines, 2)
    vertical, horizontal = both
    # Several pieces (circular: from the other end) already stand in their places.
    if len(rows) == 1:
        x = _extended(x, vertical, region[:2], rows[0], 2)
    return _extended(x, horizontal, region[2:], columns[0], 3) if len(columns) == 1 else x


def _joined(pieces: Sequence[Tensor], dim: int) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(list(pieces), dim)


def _extended(x: Tensor, axis: Axis, want: tuple[int, int], have: Interval, dim: int) -> Tensor:
    """`x`, entries `have` of the source, as the entries `want` of the padded line."""
    start, end = want[0] - axis.before, want[1] - axis.before
    if start >= 0 and end <= axis.size:
        return x.narrow(dim, start - have[0], end - start)
    before, after = max(0, -start), max(0, end - axis.size)
    mode = axis.node.settings["mode"]
    inner = min(axis.size, end) - max(0, start)
    plain = mode in ("zero", "replicate", "lowest") and inner > 0
    edge = -math.inf if mode == "lowest" else 0.0
    if plain or (mode == "reflect" and inner > max(before, after)):
        x = x.narrow(dim, max(0, start) - have[0], inner)
        amounts = (0, 0, before, after) if dim == 2 else (before, after, 0, 0)
        if mode in ("zero", "lowest"):
            return F.pad(x, amounts, value=edge)
        return F.pad(x, amounts, mode=mode)
    index = torch.tensor(places(axis, *want))
    zeros = index < 0
    taken = x.index_select(dim, (index - have[0]).clamp(0, x.shape[dim] - 1).to(x.device))
    if zeros.any():
        taken.index_fill_(dim, zeros.nonzero()[:, 0].to(x.device), edge)
    return taken


def _corners(x: Tensor, axis: Axis, want: tuple[int, int], have: Interval, dim: int) -> Tensor:
    """Linear interpolation along one axis that keeps the corners in place (`align_corners`)."""
    factor, size = axis.node.settings["factor"], axis.size
    step = (size - 1) / max(1, factor * size - 1)
    place = torch.arange(*want, dtype=torch.float64) * step
    low = place.floor().long().clamp(max=size - 1)
    share = (place - low).to(x.dtype).to(x.device)
    high = (low + 1).clamp(max=size - 1)
    dim = x.ndim + dim
    below = x.index_select(dim, (low - have[0]).to(x.device))
    above = x.index_select(dim, (high - have[0]).to(x.device))
    return torch.lerp(below, above, share[:, None] if dim == x.ndim - 2 else share)
