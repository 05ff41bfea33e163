"""What a generator is, as plain frozen data: no torch, nothing heavy.

A spec is all that is needed to build a network, and it travels in the header of a model file.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from texturenets.errors import UserError, unknown

Normalization = Literal["instance", "batch", "none"]
Padding = Literal["reflect", "replicate", "circular", "zero"]


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """Base of all generator specs. `name` is the key in `GENERATORS` and in a model file's header."""

    name: ClassVar[str]

    normalization: Normalization = "instance"
    padding: Padding = "reflect"


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
    lattice is built in. A fifth of johnson's arithmetic.
    """

    name: ClassVar[str] = "residual"

    channels: int = 64
    blocks: int = 5


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
        if text.lower() in ("true", "yes", "1"):
            return True
        if text.lower() in ("false", "no", "0"):
            return False
        raise ValueError("true or false")
    try:
        return annotation(text)
    except ValueError:
        raise ValueError({int: "a whole number", float: "a number"}.get(annotation, annotation.__name__)) from None


def make(name: str, settings: Iterable[str] = ()) -> GeneratorSpec:
    """The spec called `name` with `settings` of the form "key=value" applied.

    Raises UserError for an unknown name or key (with the nearest known one) and for a bad value.
    """
    if name not in SPECS:
        raise unknown("generator", name, SPECS)
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
        try:
            values[key] = parse_value(text, hints[key])
        except ValueError as expected:
            raise UserError(f"{name} generator: {key}={text!r} is not {expected}") from None
    return cls(**values)


def to_dict(spec: GeneratorSpec) -> dict[str, Any]:
    """A JSON-ready dictionary: the fields and "name"."""
    return {"name": spec.name, **dataclasses.asdict(spec)}


def from_dict(data: Mapping[str, Any]) -> GeneratorSpec:
    """The inverse of `to_dict`. Raises UserError for unknown names and fields."""
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
        values[key] = tuple(value) if is_tuple else value
    return cls(**values)
