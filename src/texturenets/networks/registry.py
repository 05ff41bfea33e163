"""The registry of generators: each file of this package registers its spec and its class."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from torch import nn

from texturenets.errors import UserError, unknown
from texturenets.networks.spec import GeneratorSpec, parse_value

SPECS: dict[str, type[GeneratorSpec]] = {}
"""The spec of each network, by its name."""

BUILDERS: dict[str, Callable[[Any], nn.Module]] = {}
"""The function that builds a network from a spec, by the same name."""

B = TypeVar("B", bound=Callable[..., Any])


def register(*specs: type[GeneratorSpec]) -> Callable[[B], B]:
    """Decorator: registers a class for these `specs`, from one of which it is built."""

    def enter(builder: B) -> B:
        for spec in specs:
            SPECS[spec.name], BUILDERS[spec.name] = spec, builder
        return builder

    return enter


def make(name: str, settings: Iterable[str] = ()) -> GeneratorSpec:
    """The spec called `name` with `settings` of the form "key=value" applied.

    Raises UserError for an unknown name, key or value (with the nearest known one).
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
        if typing.get_origin(hints[key]) is Literal and text not in map(str, typing.get_args(hints[key])):
            raise unknown(f"{key} of the {name} generator", text, map(str, typing.get_args(hints[key])))
        try:
            values[key] = parse_value(text, hints[key])
        except ValueError as expected:
            raise UserError(f"{name} generator: {key}={text!r} is not {expected}") from None
    return cls(**values)


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
