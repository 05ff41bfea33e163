"""The text format of a graph, one node per line: the table of operations, reading and writing. No torch.

A line is an operation, the numbers of the lines it takes its input from (from 0, all before it), settings, and the
names of its weights:

    photo
    noise channels=3 stride=16
    upsample 1 factor=16
    concat 0 2
    pad 3 amount=1:1:1:1 mode=circular
    conv 4 out=8 kernel=3 weight=entry.conv.weight bias=entry.conv.bias
    norm 5 weight=entry.norm.weight bias=entry.norm.bias

The last line is the image. Weights are named as in the network's `state_dict`. Feature maps are (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from texturenets.errors import UserError, unknown

MAX_NODES: Final = 2000
MAX_STRIDE: Final = 4096  # in pixels: images are padded to multiples of the stride
MAX_MIN_SIZE: Final = 8192  # in pixels: smaller images are padded to it
MAX_MARGIN: Final = 1024  # pixels by which a photo is reflection-padded on each side
MAX_EXTRA: Final = 1 << 14  # constant offset of a feature map's size from scale * H, in pixels
MAX_CHANNELS: Final = 8192  # output channels of a convolution
MAX_WINDOW: Final = 64  # rows and columns
MAX_MAP_CHANNELS: Final = 1 << 16  # channels of any feature map, also after a concatenation or an unshuffle
MAX_ELEMENTS: Final = 1 << 16  # elements of a feature map for each pixel of the image
MAX_SIDE: Final = 2**24  # rows or columns of an input of fixed size
MAX_WEIGHTS: Final = 100_000_000  # so that a damaged file cannot make the reader allocate more
MAX_LINE: Final = 1000


class Number(NamedTuple):
    """A setting that is a number from `low` to `high`; without `default` it has to be given."""

    kind: type[int] | type[float]
    low: float
    high: float
    default: float | None = None


class Choice(NamedTuple):
    """A setting that is one of several words; the first is the default."""

    words: tuple[str, ...]


class KernelSetting:
    """A setting of rows and columns, 1 to 64 each: 3, or 3:5. Its value is always a pair."""


class PadAmounts:
    """A setting of four numbers of pixels, 0 to 1024: top:bottom:left:right, not the order of `F.pad`."""


class NameSetting:
    """A setting that is a word of letters, digits and underscores."""


class WavesSetting:
    """A setting of pairs of numbers from -0.5 to 0.5, cycles a pixel down and to the right: 0.035:0,0:0.012; none by
    default."""


Setting = Number | Choice | KernelSetting | PadAmounts | NameSetting | WavesSetting


class Operation(NamedTuple):
    """One row of the table: the number of sources (at least, at most), the settings, the weights.

    A weight with a question mark may be missing.
    """

    settings: Mapping[str, Setting] = MappingProxyType({})
    sources: tuple[int, int] = (1, 1)
    weights: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles of the weights, without question marks."""
        return tuple(role.removesuffix("?") for role in self.weights)


def _integer(low: int, high: int, default: int | None = None) -> Number:
    return Number(int, low, high, default)


def _real(default: float | None = None, low: float = -1e6, high: float = 1e6) -> Number:
    return Number(float, low, high, default)


_CHANNELS: Final = _integer(1, MAX_CHANNELS)
_STRIDE: Final = _integer(1, 64, 1)
_FACTOR: Final[dict[str, Setting]] = {"factor": _integer(2, 64)}
_KERNEL: Final[dict[str, Setting]] = {"kernel": KernelSetting(), "stride": _STRIDE}
_SEVERAL: Final = (2, 64)

OPERATIONS: Final[dict[str, Operation]] = {
    # Inputs. A noise map is made by the program; `scale` multiplies it; `waves`: see `noise.NoiseInput`. An `input`
    # has 1 / `stride` of the image's height and width; with stride=0 it has a fixed size whatever the image's, `rows`
    # x `columns`, by default 1 x 1.
    "photo": Operation(sources=(0, 0)),
    "noise": Operation(
        {
            "channels": _integer(1, 4096),
            "stride": _integer(1, 65536),
            "distribution": Choice(("uniform", "normal", "waves")),
            "waves": WavesSetting(),
            "scale": _real(1.0),
        },
        (0, 0),
    ),
    "input": Operation(
        {
            "name": NameSetting(),
            "channels": _CHANNELS,
            "stride": _integer(0, 65536, 1),
            "rows": _integer(1, MAX_SIDE, 1),
            "columns": _integer(1, MAX_SIDE, 1),
        },
        (0, 0),
    ),
    # Padding and cropping. "lowest" is minus infinity, for a max_pool.
    "pad": Operation(
        {"amount": PadAmounts(), "mode": Choice(("zero", "reflect", "replicate", "circular", "lowest"))}
    ),
    "crop": Operation({"amount": PadAmounts()}),
    # Convolutions, without padding. weight: (out, in / groups, rows, columns); of deconv (in, out, rows, columns).
    # deconv: `F.conv_transpose2d` without padding, of whose output `crop` pixels are cut from each side
    "conv": Operation(
        {"out": _CHANNELS, **_KERNEL, "dilation": _STRIDE, "groups": _integer(1, 8192, 1)},
        weights=("weight", "bias?"),
    ),
    "deconv": Operation({"out": _CHANNELS, **_KERNEL, "crop": PadAmounts()}, weights=("weight", "bias?")),
    # Normalization by the statistics of the feature map: instance normalization (groups=0) or group normalization
    "norm": Operation(
        {"eps": _real(1e-5, 1e-12, 1.0), "groups": _integer(0, 8192, 0)}, weights=("weight?", "bias?")
    ),
    # By running statistics, which are weights
    "batch_norm": Operation({"eps": _real(1e-5, 0.0, 1.0)}, weights=("weight?", "bias?", "mean", "var")),
    # Times weight plus bias, one of each per channel
    "affine": Operation(weights=("weight?", "bias?")),
    # Elementwise. linear: x * by + add, by numbers, not a fully connected layer (`torch.nn.Linear`)
    "relu": Operation(),
    "leaky_relu": Operation({"slope": _real(0.01, -10, 10)}),
    "prelu": Operation(weights=("weight",)),
    "elu": Operation({"alpha": _real(1.0, -10, 10)}),
    "silu": Operation(),
    "gelu": Operation({"approximate": Choice(("none", "tanh"))}),
    "tanh": Operation(),
    "sigmoid": Operation(),
    "clamp": Operation({"low": _real(), "high": _real()}),
    "linear": Operation({"by": _real(1.0), "add": _real(0.0)}),
    # Elementwise, of several feature maps of one size; those of 1 x 1 pixels or of one channel are broadcast
    "add": Operation(sources=_SEVERAL),
    "mul": Operation(sources=_SEVERAL),
    "div": Operation(sources=(2, 2)),
    # Channels: `torch.cat(maps, 1)`; and x[:, first : first + count * step : step], with negative steps too, where
    # `torch.select` takes one index of a dimension
    "concat": Operation(sources=_SEVERAL),
    "select": Operation(
        {"first": _integer(0, 8191, 0), "count": _CHANNELS, "step": _integer(-8191, 8191, 1)}
    ),
    # Sizes
    "upsample": Operation({**_FACTOR, "mode": Choice(("nearest", "bilinear", "bilinear_corners"))}),
    "avg_pool": Operation(_KERNEL),
    "max_pool": Operation(_KERNEL),
    "global_pool": Operation({"mode": Choice(("average", "max"))}),
    # `F.max_unpool2d` of 2 x 2, with a max_pool of 2 x 2 as second source in place of the indices: elements go to
    # where its maxima were, zeros elsewhere
    "unpool": Operation(sources=(2, 2)),
    # Depth to space (`F.pixel_shuffle`, not `F.channel_shuffle`) and back. `order` of the channels at a position, in
    # ONNX's words: CRD, (channel, row, column), as in PyTorch; or DCR, (row, column, channel), as in
    # `passes.space_to_depth`
    "shuffle": Operation({**_FACTOR, "order": Choice(("CRD", "DCR"))}),
    "unshuffle": Operation({**_FACTOR, "order": Choice(("CRD", "DCR"))}),
    # For the strips of tiled inference, whose feature maps have a fixed size (`graph.stage`): `stack` is
    # `torch.cat(maps, 2)`, without the new dimension of `torch.stack`; `upsample_rows` is `upsample
    # mode=bilinear_corners` with the weights for rows as its second source, a matrix (rows of the result x rows of
    # the first source).
    "stack": Operation(sources=_SEVERAL),
    "upsample_rows": Operation(_FACTOR, (2, 2)),
}


@dataclass(frozen=True)
class Node:
    """A parsed line. For a photo of H x W pixels its feature map has `channels` channels, `scale` * H + `extra_rows`
    rows and `scale` * W + `extra_columns` columns.

    `weights`: the names of its weights by their role ("weight", "bias").
    """

    operation: str
    sources: tuple[int, ...]
    settings: dict[str, Any]
    weights: dict[str, str] = field(default_factory=dict)
    channels: int = 0
    scale: Fraction = Fraction(1)
    extra_rows: int = 0
    extra_columns: int = 0

    @property
    def size(self) -> tuple[Fraction, int, int]:
        """Scale, extra rows, extra columns: must be equal for feature maps that are added or concatenated."""
        return self.scale, self.extra_rows, self.extra_columns


def line(
    operation: str,
    sources: Sequence[int] = (),
    weights: Mapping[str, str] | None = None,
    **settings: Any,
) -> str:
    """The text of a line; settings that have their default are left out; `PadAmounts` are four numbers.

    Raises UserError if the name of a weight cannot be written in a line.
    """
    known = OPERATIONS[operation].settings
    words = [operation, *map(str, sources)]
    for key, value in settings.items():
        text = _written(known[key], value)
        if text is not None:
            words.append(f"{key}={text}")
    for role, name in (weights or {}).items():
        if not name or len(name.split()) != 1:
            raise UserError(f"a weight is called {name!r}: a graph needs names without spaces")
        words.append(f"{role}={name}")
    return " ".join(words)


def text_of(node: Node) -> str:
    """The line from which `node` was parsed."""
    return line(node.operation, node.sources, node.weights, **node.settings)


def _written(rule: Setting, value: Any) -> str | None:  # noqa: PLR0911 (one a kind)
    """A setting's value as text; None if it is the default."""
    if isinstance(rule, PadAmounts):
        return ":".join(map(str, value))
    if isinstance(rule, WavesSetting):
        return ",".join(f"{down!r}:{right!r}" for down, right in value) or None
    if isinstance(rule, KernelSetting):
        pair = _pair(value)
        return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}:{pair[1]}"
    if isinstance(rule, Number):
        if value == rule.default:
            return None
        return f"{value:g}" if float(f"{value:g}") == value else f"{value!r}"
    if isinstance(rule, Choice) and value == rule.words[0]:
        return None
    return str(value)


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = value if isinstance(value, Sequence) else (value, value)
    return int(rows), int(columns)


def read(text: str, number: int, *, unnamed: bool = False) -> Node:
    """Parse `text`, which follows `number` other lines, into a node without shape. Raises ValueError if it is
    invalid.

    `unnamed`: the line names no weights; it has all weights of its operation, named layers.NUMBER.weight and so on.
    """
    if len(text) > MAX_LINE:
        raise ValueError("too long")
    operation, *words = text.split() or [""]
    if operation not in OPERATIONS:
        raise ValueError(str(unknown("operation", operation, OPERATIONS)))
    rules = OPERATIONS[operation]
    sources = [int(word) for word in words if word.isdecimal() and len(word) < 6]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    if len(sources) + len(given) != len(words):
        raise ValueError("a word is neither a source nor a setting, or is repeated")
    low, high = rules.sources
    if not low <= len(sources) <= high:
        raise ValueError(f"{len(sources)} sources, not {low} to {high}")
    if any(source >= number for source in sources):
        raise ValueError("a source is not an earlier node")
    if unnamed:
        names = {role: f"layers.{number}.{role}" for role in rules.roles}
    else:
        names = {role: given.pop(role) for role in rules.roles if role in given}
        if not all(name.isprintable() for name in names.values()):
            raise ValueError("the name of a weight has unprintable characters")
    for key in given:
        known = tuple(rules.settings) if unnamed else (*rules.settings, *rules.roles)
        if key not in known:
            raise ValueError(str(unknown("setting", key, known)) if known else f"it takes no {key}")
    for role in rules.weights:
        if not role.endswith("?") and role not in names:
            raise ValueError(f"it names no {role}")
    settings = {key: _setting(key, rule, given.get(key)) for key, rule in rules.settings.items()}
    return Node(operation, tuple(sources), settings, names)


def _setting(key: str, rule: Setting, text: str | None) -> Any:  # noqa: PLR0911 (one a kind)
    if isinstance(rule, Choice):
        word = rule.words[0] if text is None else text
        if word not in rule.words:
            raise ValueError(str(unknown(key, word, rule.words)))
        return word
    if isinstance(rule, PadAmounts):
        return _numbers(key, text or "0:0:0:0", (4,), 0, 1024)
    if isinstance(rule, WavesSetting):
        return _waves(key, text or "")
    if text is None:
        if not isinstance(rule, Number) or rule.default is None:
            raise ValueError(f"{key} is missing")
        return rule.kind(rule.default)
    if isinstance(rule, NameSetting):
        if not text.isidentifier() or len(text) > 100:
            raise ValueError(f"{key}={text[:40]} may contain only letters, digits and underscores")
        if text in ("photo", "picture") or text.removeprefix("noise").isdecimal():
            raise ValueError(f"{key}={text} is the name of the photo, of the output or of a noise map")
        return text
    if isinstance(rule, KernelSetting):
        parts = _numbers(key, text, (1, 2), 1, MAX_WINDOW)
        return parts[0], parts[-1]
    value = rule.kind(text)
    if not rule.low <= value <= rule.high:
        raise ValueError(f"{key}={text} is not between {rule.low:g} and {rule.high:g}")
    return value


def _waves(key: str, text: str) -> tuple[tuple[float, float], ...]:
    waves = []
    for pair in text.split(",") if text else ():
        down, _, right = pair.partition(":")
        waves.append((float(down), float(right)))
        if not all(abs(number) <= 0.5 for number in waves[-1]):  # also for NaN
            raise ValueError(f"{key}={pair} is not two numbers from -0.5 to 0.5")
    return tuple(waves)


def _numbers(key: str, text: str, counts: tuple[int, ...], low: int, high: int) -> tuple[int, ...]:
    parts = tuple(int(part) for part in text.split(":"))
    if len(parts) not in counts or any(not low <= part <= high for part in parts):
        many = " or ".join({1: "one", 2: "two", 4: "four"}[count] for count in counts)
        raise ValueError(f"{key}={text} is not {many} numbers from {low} to {high}")
    return parts
