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
"""The class of the spec of each generator, by its name."""

BUILDERS: dict[str, Callable[[Any], nn.Module]] = {}
"""What builds each generator from its spec, by the same name: its class (a function for the user's own code)."""

B = TypeVar("B", bound=Callable[..., Any])


def register(*specs: type[GeneratorSpec]) -> Callable[[B], B]:
    """Decorator: registers a generator's class for these `specs`, from one of which it is built."""

    def enter(builder: B) -> B:
        for spec in specs:
            SPECS[spec.name], BUILDERS[spec.name] = spec, builder
        return builder

    return enter


def registered_spec(name: str, options: Iterable[str] = ()) -> GeneratorSpec:
    """The spec of the generator `name` of this package, with `options` of the form "key=value", the others at their
    defaults.

    Raises UserError for an unknown generator, option or value (with the nearest known one).
    """
    if name not in SPECS:
        raise unknown("generator", name, SPECS)
    cls = SPECS[name]
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    values: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise UserError(f"generator option {option!r} is not of the form key=value")
        if key not in known:
            raise unknown(f"option of the {name} generator", key, known)
        if typing.get_origin(hints[key]) is Literal and text not in map(str, typing.get_args(hints[key])):
            raise unknown(f"{key} of the {name} generator", text, map(str, typing.get_args(hints[key])))
        try:
            values[key] = parse_value(text, hints[key])
        except ValueError as error:  # its text says what was expected, as "a whole number"
            raise UserError(f"{name} generator: {key}={text!r} is not {error}") from None
    return cls(**values)


def from_dict(data: Mapping[str, Any]) -> GeneratorSpec:
    """The inverse of `to_dict`. Raises UserError for an unknown generator or option, and for a bad value."""
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
