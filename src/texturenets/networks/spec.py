"""What a network is built by: a spec, plain frozen data, which travels in the header of a model file.

Each network's spec stands beside its class; here is what all specs have in common.
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
Upsampling = Literal["full", "full4", "bilinear", "nearest"]
Distribution = Literal["uniform", "normal"]
Activation = Literal["relu", "leaky_relu"]


def integer(default: Any, low: int, high: int) -> Any:
    """A field of whole numbers from `low` to `high`: one, or a tuple of at least one."""
    return dataclasses.field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """Base of all generator specs. `name` is the network's, on the command line and in a model file's header.

    A value of the wrong type, not among a field's choices or out of its range raises UserError.
    """

    name: ClassVar[str]

    normalization: Normalization = "instance"
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            _check(self.name, field, getattr(self, field.name), hints[field.name])


@dataclass(frozen=True, kw_only=True)
class FedSpec(GeneratorSpec):
    """Base of the specs of networks that may be fed with a photo, with noise, or with both; one of them at least."""

    photo: bool = True
    """Whether it is fed with a photo; without one it draws textures from noise."""
    noise_depth: int = integer(0, 0, 64)
    """Channels of noise, after the photo's."""
    noise: Distribution = "uniform"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.photo and not self.noise_depth:
            raise UserError(f"{self.name} generator: without a photo it needs noise: noise_depth=3, say")


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


def to_dict(spec: GeneratorSpec) -> dict[str, Any]:
    """A JSON-ready dictionary: the fields and "name"."""
    return {"name": spec.name, **dataclasses.asdict(spec)}
