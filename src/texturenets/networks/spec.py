"""Specs from which networks are built: frozen dataclasses of plain values, stored in the model file's header.

Each network's spec is in the file of its class; this file has what all specs share.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from texturenets.engines.primitives import Padding
from texturenets.errors import UserError, unknown

Normalization = Literal["instance", "batch", "none"]
Output = Literal["caffe", "bounded", "clamped"]
"""How the last layer scales the image; "bounded" is by tanh: see `layers.OutputScale`."""
Upsampling = Literal["full", "full4", "bilinear", "nearest"]
"""How the decoder upsamples by 2; "full" is a 3 x 3 transposed ("full") convolution, "full4" a 4 x 4 one: see
`johnson.Johnson`."""
Distribution = Literal["uniform", "normal"]
Activation = Literal["relu", "leaky_relu"]


def integer(default: Any, low: int, high: int) -> Any:
    """A field that holds an int from `low` to `high`, or a non-empty tuple of them."""
    return dataclasses.field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """Base of all generator specs. `name`: the network's name on the command line and in a model file's header.

    Raises UserError for a value of the wrong type, not among a field's choices, or out of range.
    """

    name: ClassVar[str]

    normalization: Normalization = "instance"
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            _check(self.name, field, getattr(self, field.name), hints[field.name])


@dataclass(frozen=True, kw_only=True)
class PhotoNoiseSpec(GeneratorSpec):
    """Base of the specs of networks whose input is a photo, noise, or both."""

    photo: bool = True
    """Whether a photo is an input; without one the network generates textures from noise."""
    noise_depth: int = integer(0, 0, 64)
    """Channels of the noise input, concatenated after the photo's."""
    noise: Distribution = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.photo and not self.noise_depth:
            raise UserError(
                f"{self.name} generator: without a photo it needs noise: set noise_depth, for example to 3"
            )


def _describe(annotation: Any) -> str:
    """The type `annotation` in words, for an error."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return " or ".join(_describe(option) for option in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return f"a list, each {_describe(typing.get_args(annotation)[0])}"
    words = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a string",
        types.NoneType: "none",
    }
    return words.get(annotation, str(annotation))


def _conforms(value: object, annotation: Any) -> bool:
    """Whether `value` is of the type `annotation`; a bool is not a number."""
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
    """Raise UserError unless `value` is valid for `field` of the generator `name`."""
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


def parse_value(text: str, annotation: Any) -> Any:
    """`text` as a value of the type `annotation` (bool, int, float, str, Literal, tuple of these, None).

    Raises ValueError if it is invalid; its message is what was expected ("one of ...", "true or false").
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


def to_dict(spec: GeneratorSpec) -> dict[str, Any]:
    """A JSON-ready dictionary: the fields and "name"."""
    return {"name": spec.name, **dataclasses.asdict(spec)}
