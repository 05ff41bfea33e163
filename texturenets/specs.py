"""What a generator is, as plain frozen data: no torch, nothing heavy.

A spec is all that is needed to build a network, and it travels in the header of a model file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from texturenets.errors import UserError, unknown
from texturenets.graph import shapes

Normalization = Literal["instance", "batch", "none"]
Padding = Literal["reflect", "replicate", "circular", "zero"]
Output = Literal["caffe", "bounded", "clamped"]
Upsampling = Literal["full", "full4", "bilinear", "nearest"]
Distribution = Literal["uniform", "normal"]
Activation = Literal["relu", "leaky_relu"]

ENTRY_POINTS = "texturenets.generators"
"""The entry point group in which an installed package announces generators of its own."""


def whole(default: Any, low: int, high: int) -> Any:
    """A field of whole numbers from `low` to `high`: one, or a tuple of at least one."""
    return dataclasses.field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """Base of all generator specs. `name` is the key in `GENERATORS` and in a model file's header.

    A value of the wrong type, not among a field's choices or out of its range raises UserError.
    """

    name: ClassVar[str]

    normalization: Normalization = "instance"
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            _check(self.name, field, getattr(self, field.name), hints[field.name])


def _describe(annotation: Any) -> str:
    """What a value of the type `annotation` is called in an error."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return " or ".join(_describe(option) for option in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return f"a list, each {_describe(typing.get_args(annotation)[0])}"
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        types.NoneType: "none",
    }
    return words.get(annotation, str(annotation))


def _conforms(value: object, annotation: Any) -> bool:
    """Whether `value` is of the type `annotation`; a bool is no number."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin in (types.UnionType, typing.Union):
        return any(_conforms(value, option) for option in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_conforms(part, arguments[0]) for part in value)
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is annotation


def _check(name: str, field: dataclasses.Field[Any], value: object, annotation: Any) -> None:
    """Raise UserError unless `value` is one that `field` of the generator `name` can have."""
    if not _conforms(value, annotation):
        if typing.get_origin(annotation) is Literal:
            raise unknown(
                f"{field.name} of the {name} generator", str(value), map(str, typing.get_args(annotation))
            )
        raise UserError(f"{name} generator: {field.name}={value!r} is not {_describe(annotation)}")
    if "range" not in field.metadata:
        return
    low, high = field.metadata["range"]
    numbers = value if isinstance(value, tuple) else (value,)
    if not numbers:
        raise UserError(f"{name} generator: {field.name} needs at least one number")
    for number in numbers:
        if not low <= number <= high:
            raise UserError(f"{name} generator: {field.name}={number} is not between {low} and {high}")


def _check_fed(spec: Any) -> None:
    """Raise UserError where a network would be fed with nothing."""
    if not spec.photo and not spec.noise_depth:
        raise UserError(f"{spec.name} generator: without a photo it needs noise: noise_depth=3, say")


SPECS: dict[str, type[GeneratorSpec]] = {}
S = TypeVar("S", bound=type[GeneratorSpec])


def register(cls: S) -> S:
    """Enter a spec class into `SPECS` under its `name`."""
    SPECS[cls.name] = cls
    return cls


@register
@dataclass(frozen=True, kw_only=True)
class Residual(GeneratorSpec):
    """The default: a small residual network of ours at a quarter of the picture's resolution.

    The photo goes in by space-to-depth, which keeps every pixel, and comes out through bilinear
    upsampling and 3 x 3 convolutions: both phases of a bilinear doubling have the same weights, so no
    lattice is built in. At 512 x 512 it takes 9.0 G multiply-adds, where johnson takes 40.3 as the paper
    has it (arXiv 1603.08155) and 31.3 as the reference program has it.
    """

    name: ClassVar[str] = "residual"

    channels: int = whole(64, 4, 1024)
    blocks: int = whole(5, 0, 100)
    noise_depth: int = whole(0, 0, 64)
    """Channels of noise beside the photo's, at a quarter of its resolution."""
    noise: Distribution = "normal"


@register
@dataclass(frozen=True, kw_only=True)
class Johnson(GeneratorSpec):
    """The residual network of arXiv 1603.08155 as the reference program has it.

    It departs from the paper: 3 x 3 at the exit instead of 9 x 9, replication padding, and a third of the
    sizes named here. `REFERENCE` says which options make which of the reference's files;
    `Johnson(upsampling="nearest", decoder_norm=True, exit_kernel=9, padding="reflect")` is the network of
    most later programs.
    """

    name: ClassVar[str] = "johnson"

    padding: Padding = "replicate"
    upsampling: Upsampling = "full"
    """How the decoder doubles: "full" is a 3 x 3 transposed convolution, "full4" a 4 x 4 one after padding,
    "bilinear" and "nearest" an interpolation and a 3 x 3 convolution."""
    size: Literal["standard", "small", "small_down"] = "standard"
    """"small" has half the channels in its blocks; "small_down" also replaces the two strided convolutions
    by averaging 4 x 4 pixels before the first layer."""
    channels: int = whole(32, 1, 256)
    """Channels at full resolution; twice as many at a half, and at a quarter four times (two if small)."""
    blocks: int = whole(5, 0, 100)
    input_norm: bool = False
    """Instance normalization of the photo itself."""
    down_padding: Padding | None = None
    """Padding of the two strided convolutions; None is `padding`. Some reference files have zeros here."""
    decoder_norm: bool | None = None
    """Normalization in the decoder. None is the reference's: after transposed convolutions only."""
    exit_kernel: Literal[3, 9] = 3
    output: Output = "caffe"
    photo: bool = True
    """Whether it is fed with a photo; without one it draws textures from noise."""
    noise_depth: int = whole(0, 0, 64)
    """Channels of noise behind the photo's."""
    noise: Distribution = "uniform"
    """Of the noise; uniform in the reference."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fed(self)


@register
@dataclass(frozen=True, kw_only=True)
class Pyramid(GeneratorSpec):
    """The multi-scale network of arXiv 1603.03417, section 3.2, fed with photo or noise at every scale.

    Height and width are multiples of 2 to the power of (`scales` - 1). As the reference's branch
    texture_nets_v1 has it for textures: `REFERENCE["texture_nets_v1/pyramid"]`.
    """

    name: ClassVar[str] = "pyramid"

    padding: Padding = "replicate"
    scales: int = whole(6, 2, 8)
    channels: int = whole(8, 1, 128)
    """Channels that each scale adds."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    activation: Activation = "relu"
    output: Output = "caffe"
    photo: bool = True
    """Whether it is fed with a photo; without one it draws textures from noise."""
    noise_depth: int = whole(0, 0, 64)
    """Channels of noise at every scale, behind the photo's."""
    noise: Distribution = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fed(self)


@register
@dataclass(frozen=True, kw_only=True)
class Pyramid2(GeneratorSpec):
    """The reference's second pyramid: more channels at low resolution, 5 x 5 convolutions.

    Height and width are multiples of 2 to the power of (the number of `channels` - 1).
    """

    name: ClassVar[str] = "pyramid2"

    padding: Padding = "circular"
    channels: tuple[int, ...] = whole((128, 128, 64, 32, 16, 8), 1, 512)
    """Channels of each scale, the coarsest first."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    activation: Activation = "leaky_relu"
    output: Output = "caffe"
    photo: bool = False
    """Whether it is fed with a photo; without one it draws textures from noise."""
    noise_depth: int = whole(16, 0, 64)
    """Channels of noise at every scale; the reference advises 16 for this network."""
    noise: Distribution = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fed(self)


@register
@dataclass(frozen=True, kw_only=True)
class Skip(GeneratorSpec):
    """The encoder-decoder of branch texture_nets_v1: strided convolutions, skip connections, noise at the entry.

    Height and width are multiples of 2 to the power of the number of `channels`.
    """

    name: ClassVar[str] = "skip"

    padding: Padding = "circular"
    channels: tuple[int, ...] = whole((16, 32, 64, 128, 128), 1, 1024)
    """Channels of each level, the finest first."""
    skip_channels: int = whole(4, 1, 128)
    """Channels that go past each level."""
    level_noise: int = whole(0, 0, 64)
    """Channels of normal noise beside those, at every level."""
    upsampling: Literal["nearest", "bilinear"] = "nearest"
    activation: Activation = "leaky_relu"
    output: Output = "caffe"
    photo: bool = False
    """Whether it is fed with a photo; without one it draws textures from noise."""
    noise_depth: int = whole(3, 0, 64)
    """Channels of noise at the entry, behind the photo's."""
    noise: Distribution = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fed(self)


@register
@dataclass(frozen=True, kw_only=True)
class SkipNoise(Skip):
    """`skip` with noise at every level too: the reference's skip_noise."""

    name: ClassVar[str] = "skip_noise"

    level_noise: int = whole(2, 0, 64)


@register
@dataclass(frozen=True, kw_only=True)
class Multiscale(GeneratorSpec):
    """The default for textures, of ours: noise at every scale, joined from the coarsest to the finest.

    A 3 x 3 convolution takes what is coarser, doubled bilinearly, beside the noise of its scale; two residual blocks
    work at a quarter of the resolution, one convolution more at full. Padding is circular, so that samples tile;
    normalization is that of the picture itself. Height and width are multiples of 2 to the power of
    (the number of `channels` - 1).
    """

    name: ClassVar[str] = "multiscale"

    padding: Padding = "circular"
    channels: tuple[int, ...] = whole((40, 40, 40, 40, 32, 32), 1, 512)
    """Channels of each scale, the coarsest first."""
    blocks: int = whole(2, 0, 100)
    """Residual blocks at a quarter of the resolution, or at the coarsest."""
    upsampling: Literal["nearest", "bilinear"] = "bilinear"
    photo: bool = False
    """Whether it is fed with a photo; without one it draws textures from noise."""
    noise_depth: int = whole(3, 0, 64)
    """Channels of noise at every scale, behind the photo's."""
    noise: Distribution = "normal"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fed(self)


@register
@dataclass(frozen=True, kw_only=True)
class FullyConnected(GeneratorSpec):
    """The texture generator of arXiv 1701.02096, section 5: a vector of noise, two fully connected layers, doublings.

    Of one size: 4 times 2 to the power of the number of `channels`. The paper gives the vector's length, the
    4 x 4 map and the fractionally strided convolutions; the channels are ours.
    """

    name: ClassVar[str] = "fully_connected"

    padding: Padding = "zero"
    noise_depth: int = whole(256, 1, 4096)
    """Length of the vector of noise."""
    noise: Distribution = "uniform"
    hidden: int = whole(256, 1, 8192)
    """Outputs of the first fully connected layer."""
    channels: tuple[int, ...] = whole((128, 128, 64, 64, 32, 16), 1, 1024)
    """Channels from the 4 x 4 map on, one before each doubling."""
    upsampling: Upsampling = "full4"
    output: Output = "caffe"


@register
@dataclass(frozen=True, kw_only=True)
class SkipUnpool(GeneratorSpec):
    """The reference's encoder-decoder with max unpooling and skip connections; it adds to the photo.

    Height and width are multiples of 2 to the power of the number of `channels`.
    """

    name: ClassVar[str] = "skip_unpool"

    padding: Padding = "replicate"
    channels: tuple[int, ...] = whole((16, 32, 64, 128), 1, 1024)
    """Channels of each level, the finest first."""
    skip_channels: int = whole(4, 1, 128)
    """Channels that go past each level's pooling."""
    output: Output = "caffe"
    noise_depth: int = whole(0, 0, 64)
    """Channels of noise behind the photo's."""
    noise: Distribution = "uniform"


@register
@dataclass(frozen=True, kw_only=True)
class Custom(GeneratorSpec):
    """A network of the user's own: a Python file or an installed entry point. See `generators.custom`.

    `normalization` and `padding` mean nothing here: what the network wants to know goes into `options`.
    """

    name: ClassVar[str] = "custom"

    target: str = ""
    """"PATH.py:NAME", the class or function NAME in that file, or the name of an entry point in the group
    texturenets.generators."""
    options: tuple[str, ...] = ()
    """"key=value" each: keyword arguments of the class or function."""
    source: str = ""
    """What the code was when the model was made: the SHA-256 of the file's text, or the package's version."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.target or (self.target.endswith(".py") and split_target(self.target) is None):
            raise UserError(
                f"generator {self.target or 'custom'!r}: name a class or function in the file, "
                "as in path/to/file.py:MyNet"
            )
        for option in self.options:
            if "=" not in option:
                raise UserError(f"generator option {option!r} is not of the form key=value")


@register
@dataclass(frozen=True, kw_only=True)
class Graph(GeneratorSpec):
    """Any network, as a list of operations: for the networks of other programs. See `texturenets.graph`.

    `normalization` and `padding` mean nothing here. Raises UserError for a list that is no network.
    """

    name: ClassVar[str] = "graph"

    nodes: tuple[str, ...] = ("photo", "pad 0 amount=1:1:1:1 mode=reflect", "conv 1 out=3 kernel=3")

    def __post_init__(self) -> None:
        super().__post_init__()
        nodes = shapes.parse(self.nodes, unnamed=True)
        if nodes[-1].channels != 3:
            raise UserError("graph generator: its last node does not give three channels")


REFERENCE: dict[str, GeneratorSpec] = {
    "master/johnson": Johnson(),
    "master/pyramid": Pyramid(),
    "master/skip_unpool": SkipUnpool(),
    "diversity/johnson": Johnson(upsampling="full4"),
    "diversity/johnson_bilinear": Johnson(upsampling="bilinear"),
    "diversity/johnson_in_start": Johnson(input_norm=True, down_padding="zero"),
    "diversity/johnson_small": Johnson(size="small", upsampling="bilinear", down_padding="zero"),
    "diversity/johnson_small_down": Johnson(size="small_down", upsampling="bilinear"),
    "diversity/pyramid": Pyramid(),
    "diversity/skip_unpool": SkipUnpool(),
    "texture_nets_v1/pyramid": Pyramid(
        padding="circular", normalization="batch", activation="leaky_relu", photo=False, noise_depth=3
    ),
    "texture_nets_v1/pyramid2": Pyramid2(normalization="batch"),
    "texture_nets_v1/skip": Skip(normalization="batch"),
    "texture_nets_v1/skip_noise": SkipNoise(normalization="batch"),
}
"""The reference program's model files, "branch/file", as our specs; those of texture_nets_v1 as for textures."""


def split_target(target: str) -> tuple[Path, str] | None:
    """The file and the name in "PATH.py:NAME"; None where `target` is not of that form."""
    match = re.fullmatch(r"(.+\.py):([A-Za-z_]\w*)", target)
    return (Path(match[1]), match[2]) if match else None


def installed() -> dict[str, EntryPoint]:
    """The generators that installed packages announce, by name. Nothing of theirs is imported."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def read_source(path: Path) -> tuple[bytes, str]:
    """The text of a generator's file and what `Custom.source` says of it. Raises UserError if unreadable."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"generator file {str(path)!r} cannot be read: {error.strerror}") from None
    return text, "sha256:" + hashlib.sha256(text).hexdigest()


def package_source(point: EntryPoint) -> str:
    """What `Custom.source` says of an entry point: the name and version of its package."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _make_custom(target: str, settings: Iterable[str]) -> Custom | None:
    """The spec of the user's own generator `target`; None where `target` can be no such thing."""
    points = installed()
    if target in points:
        return Custom(target=target, options=tuple(settings), source=package_source(points[target]))
    if not (target.endswith(".py") or split_target(target)):
        return None
    spec = Custom(target=target, options=tuple(settings))
    split = split_target(target)
    return dataclasses.replace(spec, source=read_source(split[0])[1]) if split else spec


def parse_value(text: str, annotation: Any) -> Any:
    """`text` as a value of the type `annotation` (bool, int, float, str, Literal, tuple of these, None).

    Raises ValueError where it is none.
    """
    origin = typing.get_origin(annotation)
    if origin is Literal:
        choices = typing.get_args(annotation)
        for choice in choices:
            if text == str(choice):
                return choice
        raise ValueError("one of " + ", ".join(map(str, choices)))
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(annotation)
        if type(None) in options and text.lower() == "none":
            return None
        return parse_value(text, next(o for o in options if o is not type(None)))
    if origin is tuple:
        return tuple(parse_value(part, typing.get_args(annotation)[0]) for part in text.split(",") if part)
    if annotation is bool:
        if text.lower() not in ("true", "yes", "1", "false", "no", "0"):
            raise ValueError("true or false")
        return text.lower() in ("true", "yes", "1")
    try:
        return annotation(text)
    except ValueError:
        raise ValueError(
            {int: "a whole number", float: "a number"}.get(annotation, annotation.__name__)
        ) from None


def make(name: str, settings: Iterable[str] = ()) -> GeneratorSpec:
    """The spec called `name` with `settings` of the form "key=value" applied.

    `name` may also be a generator of the user's own, "PATH.py:NAME" or an installed entry point; then every
    setting is for that. Raises UserError for an unknown name, key or value (with the nearest known one).
    """
    if name not in SPECS:
        custom = _make_custom(name, settings)
        if custom is None:
            raise unknown("generator", name, {*SPECS, *installed()} - {Custom.name})
        return custom
    cls = SPECS[name]
    hints = typing.get_type_hints(cls)
    fields = [f.name for f in dataclasses.fields(cls)]
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"generator option {setting!r} is not of the form key=value")
        if key not in fields:
            raise unknown(f"option of the {name} generator", key, fields)
        if typing.get_origin(hints[key]) is Literal and text not in map(str, typing.get_args(hints[key])):
            raise unknown(f"{key} of the {name} generator", text, map(str, typing.get_args(hints[key])))
        try:
            values[key] = parse_value(text, hints[key])
        except ValueError as expected:
            raise UserError(f"{name} generator: {key}={text!r} is not {expected}") from None
    return cls(**values)


def to_dict(spec: GeneratorSpec) -> dict[str, Any]:
    """A JSON-ready dictionary: the fields and "name"."""
    return {"name": spec.name, **dataclasses.asdict(spec)}


def from_dict(data: Mapping[str, Any]) -> GeneratorSpec:
    """The inverse of `to_dict`. Raises UserError for unknown names and fields and for bad values."""
    name = data.get("name")
    if not isinstance(name, str) or name not in SPECS:
        raise unknown("generator", str(name), SPECS)
    cls = SPECS[name]
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key == "name":
            continue
        if key not in known:
            raise unknown(f"option of the {name} generator", key, known)
        is_tuple = typing.get_origin(hints[key]) is tuple
        values[key] = tuple(value) if is_tuple and isinstance(value, list) else value
    return cls(**values)
