"""The lines of which a graph spec consists: their grammar, and what each one's map is. No torch.

A line is an operation, the numbers of the lines it takes its input from (from 0, all before it), and settings:

    photo
    noise channels=3 stride=16
    concat 0 1
    pad 2 amount=1:1:1:1 mode=circular
    conv 3 out=8 kernel=3

The last line is the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from texturenets.errors import UserError, unknown

MAX_NODES: Final = 2000
MAX_WEIGHTS: Final = 100_000_000  # what a file says may not take more memory than this before it is read
MAX_LINE: Final = 300
MAX_STRIDE: Final = 4096  # pixels that sides are multiples of: a picture is padded to them


@dataclass(frozen=True)
class Number:
    """A setting that is a number from `low` to `high`; without `default` it has to be given."""

    kind: type[int] | type[float]
    low: float
    high: float
    default: float | None = None


@dataclass(frozen=True)
class Choice:
    """A setting that is one of some words, the first by default."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Sides:
    """A setting of four numbers of pixels, 0 to 1024: top:bottom:left:right."""


_KERNEL: Final = {"kernel": Number(int, 1, 64), "stride": Number(int, 1, 64, 1)}
_CHANNELS: Final = Number(int, 1, 8192)
_FACTOR: Final = Number(int, 2, 64)

# By operation: the number of sources (at least, at most) and the settings.
OPERATIONS: Final[dict[str, tuple[tuple[int, int], dict[str, Number | Choice | Sides]]]] = {
    "photo": ((0, 0), {}),
    "noise": (
        (0, 0),
        {
            "channels": Number(int, 1, 1024),
            "stride": Number(int, 1, 1024),
            "distribution": Choice(("uniform", "normal")),
            "scale": Number(float, -1e6, 1e6, 1.0),
        },
    ),
    "pad": ((1, 1), {"amount": Sides(), "mode": Choice(("zero", "reflect", "replicate", "circular"))}),
    "crop": ((1, 1), {"amount": Sides()}),
    "conv": (
        (1, 1),
        {
            "out": _CHANNELS,
            **_KERNEL,
            "dilation": Number(int, 1, 64, 1),
            "groups": Number(int, 1, 8192, 1),
        },
    ),
    "deconv": ((1, 1), {"out": _CHANNELS, **_KERNEL, "crop": Sides()}),
    "norm": ((1, 1), {"eps": Number(float, 1e-12, 1, 1e-5)}),
    "affine": ((1, 1), {}),
    "relu": ((1, 1), {}),
    "leaky_relu": ((1, 1), {"slope": Number(float, -10, 10, 0.01)}),
    "prelu": ((1, 1), {}),
    "elu": ((1, 1), {"alpha": Number(float, -10, 10, 1.0)}),
    "tanh": ((1, 1), {}),
    "sigmoid": ((1, 1), {}),
    "clamp": ((1, 1), {"low": Number(float, -1e6, 1e6), "high": Number(float, -1e6, 1e6)}),
    "linear": ((1, 1), {"by": Number(float, -1e6, 1e6, 1.0), "add": Number(float, -1e6, 1e6, 0.0)}),
    "add": ((2, 64), {}),
    "mul": ((2, 64), {}),
    "concat": ((2, 64), {}),
    "upsample": (
        (1, 1),
        {"factor": _FACTOR, "mode": Choice(("nearest", "bilinear", "bilinear_corners"))},
    ),
    "avg_pool": ((1, 1), dict(_KERNEL)),
    "max_pool": ((1, 1), dict(_KERNEL)),
    "unpool": ((2, 2), {}),
    "shuffle": ((1, 1), {"factor": _FACTOR}),
    "unshuffle": ((1, 1), {"factor": _FACTOR}),
}


@dataclass(frozen=True)
class Node:
    """One line, understood. Its map has `channels` channels and `scale` * H + `extra` rows (columns likewise:
    W, `extra_columns`), where the photo and the picture have H.
    """

    operation: str
    sources: tuple[int, ...]
    settings: dict[str, Any]
    channels: int = 0
    scale: Fraction = Fraction(1)
    extra: int = 0
    extra_columns: int = 0

    @property
    def size(self) -> tuple[Fraction, int, int]:
        """What must be equal of maps that are added or concatenated."""
        return self.scale, self.extra, self.extra_columns


def line(operation: str, sources: Sequence[int] = (), **settings: Any) -> str:
    """The text of a line; settings that have their default are left out, sides are four numbers."""
    known = OPERATIONS[operation][1]
    words = [operation, *map(str, sources)]
    for key, value in settings.items():
        rule = known[key]
        if isinstance(rule, Sides):
            words.append(f"{key}={':'.join(map(str, value))}")
        elif isinstance(rule, Number):
            if value != rule.default:
                words.append(f"{key}={value:g}" if float(f"{value:g}") == value else f"{key}={value!r}")
        elif value != rule.words[0]:
            words.append(f"{key}={value}")
    return " ".join(words)


def parse(lines: Sequence[str]) -> tuple[Node, ...]:
    """The nodes of a graph. Raises UserError, with the line's number, for a graph that cannot be built.

    Checked are the grammar, the ranges, that maps that meet have one size, that the last one is a picture as
    large as the photo, and that all weights together are at most `MAX_WEIGHTS`.
    """
    if not 1 <= len(lines) <= MAX_NODES:
        raise UserError(f"graph generator: {len(lines)} nodes are not between 1 and {MAX_NODES}")
    nodes: list[Node] = []
    total = 0
    for text in lines:
        node = understand(text, nodes)
        total += weights(node, nodes)
        if total > MAX_WEIGHTS:
            raise UserError(f"graph generator: more than {MAX_WEIGHTS} weights at node {len(nodes)}")
        nodes.append(node)
    last = nodes[-1]
    if last.channels != 3 or last.size != (Fraction(1), 0, 0):
        raise UserError("graph generator: its last node does not give three channels of the photo's size")
    if stride(nodes) > MAX_STRIDE:
        raise UserError(
            f"graph generator: sides would have to be multiples of {stride(nodes)} pixels; at most {MAX_STRIDE} "
            "will do"
        )
    return tuple(nodes)


def understand(text: str, nodes: Sequence[Node]) -> Node:
    """The node that the line `text` is behind `nodes`. Raises UserError where it cannot be one."""
    try:
        return _shape(_words(text, len(nodes)), nodes)
    except ValueError as error:
        raise UserError(f"graph generator: node {len(nodes)} ({text[:60]!r}): {error}") from None


def weights(node: Node, nodes: Sequence[Node]) -> int:
    """How many numbers a node has to learn."""
    channels = nodes[node.sources[0]].channels if node.sources else 0
    kernel = int(node.settings.get("kernel", 1))
    match node.operation:
        case "conv":
            return node.channels * (channels // int(node.settings["groups"]) * kernel**2 + 1)
        case "deconv":
            return node.channels * (channels * kernel**2 + 1)
        case "norm" | "affine":
            return 2 * channels
        case "prelu":
            return channels
    return 0


def stride(nodes: Sequence[Node]) -> int:
    """What height and width have to be multiples of, for every map to have a whole number of pixels."""
    return math.lcm(*(node.scale.denominator for node in nodes))


def _words(text: str, number: int) -> Node:
    if len(text) > MAX_LINE:
        raise ValueError("too long")
    operation, *words = text.split() or [""]
    if operation not in OPERATIONS:
        raise ValueError(str(unknown("operation", operation, OPERATIONS)))
    (low, high), rules = OPERATIONS[operation]
    sources = [int(word) for word in words if word.isdecimal() and len(word) < 6]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if len(sources) + len(given) != len(words):
        raise ValueError("a word in it is neither a source nor a setting, or comes twice")
    if not low <= len(sources) <= high:
        raise ValueError(f"{len(sources)} sources, not {low} to {high}")
    if any(source >= number for source in sources):
        raise ValueError("a source that does not come before it")
    for key in given:
        if key not in rules:
            raise ValueError(str(unknown("setting", key, rules)) if rules else f"it takes no {key}")
    return Node(
        operation, tuple(sources), {key: _setting(key, rule, given.get(key)) for key, rule in rules.items()}
    )


def _setting(key: str, rule: Number | Choice | Sides, text: str | None) -> Any:
    if isinstance(rule, Choice):
        word = rule.words[0] if text is None else text
        if word not in rule.words:
            raise ValueError(str(unknown(key, word, rule.words)))
        return word
    if isinstance(rule, Sides):
        parts = [int(part) for part in (text or "0:0:0:0").split(":")]
        if len(parts) != 4 or any(not 0 <= part <= 1024 for part in parts):
            raise ValueError(f"{key}={text} is not four numbers from 0 to 1024")
        return tuple(parts)
    if text is None:
        if rule.default is None:
            raise ValueError(f"{key} is missing")
        return rule.kind(rule.default)
    value = rule.kind(text)
    if not rule.low <= value <= rule.high:
        raise ValueError(f"{key}={text} is not between {rule.low:g} and {rule.high:g}")
    return value


def _shape(node: Node, nodes: Sequence[Node]) -> Node:
    """`node` with its channels and size filled in."""
    if node.operation == "photo":
        return replace(node, channels=3)
    if node.operation == "noise":
        return replace(node, channels=node.settings["channels"], scale=Fraction(1, node.settings["stride"]))
    channels, scale, extra, extra_columns = _RULES.get(node.operation, _same)(node, nodes)
    return replace(node, channels=channels, scale=scale, extra=extra, extra_columns=extra_columns)


_Shape = tuple[int, Fraction, int, int]


def _same(node: Node, nodes: Sequence[Node]) -> _Shape:
    first = nodes[node.sources[0]]
    return first.channels, *first.size


def _sides(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, scale, extra, extra_columns = _same(node, nodes)
    top, bottom, left, right = node.settings["amount"]
    sign = 1 if node.operation == "pad" else -1
    return channels, scale, extra + sign * (top + bottom), extra_columns + sign * (left + right)


def _window(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, scale, extra, extra_columns = _same(node, nodes)
    kernel, step = node.settings["kernel"], node.settings["stride"]
    if node.operation == "conv":
        out, groups = node.settings["out"], node.settings["groups"]
        if channels % groups or out % groups:
            raise ValueError(f"{channels} and {out} channels do not fall into {groups} groups")
        kernel, channels = node.settings["dilation"] * (kernel - 1) + 1, out
    return channels, scale / step, (extra - kernel) // step + 1, (extra_columns - kernel) // step + 1


def _deconv(node: Node, nodes: Sequence[Node]) -> _Shape:
    _, scale, extra, extra_columns = _same(node, nodes)
    kernel, step = node.settings["kernel"], node.settings["stride"]
    top, bottom, left, right = node.settings["crop"]
    rows = (extra - 1) * step + kernel - top - bottom
    columns = (extra_columns - 1) * step + kernel - left - right
    return node.settings["out"], scale * step, rows, columns


def _larger(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, scale, extra, extra_columns = _same(node, nodes)
    factor = node.settings["factor"]
    if node.operation == "shuffle":
        if channels % factor**2:
            raise ValueError(f"{channels} channels are not a multiple of {factor**2}")
        channels //= factor**2
    return channels, scale * factor, extra * factor, extra_columns * factor


def _unshuffle(node: Node, nodes: Sequence[Node]) -> _Shape:
    channels, scale, extra, extra_columns = _same(node, nodes)
    factor = node.settings["factor"]
    if extra % factor or extra_columns % factor:
        raise ValueError(f"its source's size is not a multiple of {factor}")
    return channels * factor**2, scale / factor, extra // factor, extra_columns // factor


def _joined(node: Node, nodes: Sequence[Node]) -> _Shape:
    maps = [nodes[source] for source in node.sources]
    if any(other.size != maps[0].size for other in maps):
        raise ValueError("its sources have different sizes")
    if node.operation == "concat":
        return sum(other.channels for other in maps), *maps[0].size
    if any(other.channels != maps[0].channels for other in maps):
        raise ValueError("its sources have different numbers of channels")
    return _same(node, nodes)


def _unpool(node: Node, nodes: Sequence[Node]) -> _Shape:
    first, pool = (nodes[source] for source in node.sources)
    if pool.operation != "max_pool" or (pool.settings["kernel"], pool.settings["stride"]) != (2, 2):
        raise ValueError("its second source is no max_pool of 2 x 2")
    if pool.channels != first.channels or pool.size != first.size:
        raise ValueError("its sources have different shapes")
    before = nodes[pool.sources[0]]
    if before.extra % 2 or before.extra_columns % 2:
        raise ValueError("the map that was pooled has an odd size")
    return first.channels, *before.size


_RULES: Final[dict[str, Callable[[Node, Sequence[Node]], _Shape]]] = {
    "pad": _sides,
    "crop": _sides,
    "conv": _window,
    "avg_pool": _window,
    "max_pool": _window,
    "deconv": _deconv,
    "upsample": _larger,
    "shuffle": _larger,
    "unshuffle": _unshuffle,
    "add": _joined,
    "mul": _joined,
    "concat": _joined,
    "unpool": _unpool,
}


__all__ = [
    "MAX_NODES",
    "MAX_WEIGHTS",
    "OPERATIONS",
    "Node",
    "line",
    "parse",
    "stride",
    "understand",
    "weights",
]
