"""Flags made from dataclasses, so that each option is declared once."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from texturenets.cli.arguments import Option
from texturenets.errors import UserError
from texturenets.field_docs import field_docs
from texturenets.train.configuration import flag, flag_text
from texturenets.train.presets import REPLACEABLE, losses_of
from texturenets.train.unused_options import STRUCTURE_WEIGHTS

REPEATED = ("set", "weights")  # may be given several times; other lists are separated by commas


def optional_flags(
    cls: type,
    group: str,
    names: Collection[str] | None = None,
    *,
    without: Collection[str] = (),
    more: Mapping[str, str] | None = None,
) -> type:
    """A dataclass like `cls` in which every field is optional; None means not given on the command line.

    Each field's help is its doc string in `cls` and its default there. `names`: only these fields; `without`: all but
    these. `more`: text to append to the default in a field's help.
    """
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    made = []
    for f in dataclasses.fields(cls):
        if f.name in without or (names is not None and f.name not in names):
            continue
        hint: Any = hints[f.name]
        if typing.get_origin(hint) is tuple:
            hint = list[str] if f.name in REPEATED else str
        default = flag_text(f.default) + (more or {}).get(f.name, "")
        text = docs[f.name] + (f" [default: {default}]" if default not in ("", "none") else "")
        option = Option(help=text, group=group)
        made.append((f.name, Annotated[hint | None, option], dataclasses.field(default=None)))
    namespace = {"__doc__": "Options given on the command line."}
    return dataclasses.make_dataclass(cls.__name__, made, namespace=namespace, kw_only=True, frozen=True)


def given(options: Any, cls: type) -> dict[str, Any]:
    """The fields of an `optional_flags` dataclass that were given, as values for `cls`."""
    if options is None:
        return {}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for f in dataclasses.fields(options):
        value = getattr(options, f.name)
        if value is None:
            continue
        hint = hints[f.name]
        if typing.get_origin(hint) is tuple:
            value = (
                tuple(value)
                if f.name in REPEATED
                else tuple(part.strip() for part in value.split(",") if part.strip())
            )
            if not value:
                raise UserError(f"{flag(f.name)} is empty: give it a value, or leave it out")
        elif isinstance(hint, types.UnionType) and value == "none":
            value = None
        values[f.name] = value
    return values


def with_descriptor(
    chosen: Mapping[str, Any], descriptor: str | None, kind: type, *, bare: bool = False
) -> dict[str, Any]:
    """The fields `chosen` on the command line for a configuration of this `kind`, with the default layers of the
    network `descriptor` where no layers were given. `bare`: layers without a network's name are of that network, too.
    Raises UserError if it is neither."""
    if descriptor is None:
        return dict(chosen)
    of_network = losses_of(descriptor, kind)
    used = set(of_network)
    if not any(chosen.get(name) for name in STRUCTURE_WEIGHTS):
        used.discard("structure_layers")
    layers = [name for name in of_network if name in chosen and name.endswith("_layers")]
    named = all(":" in layer for name in layers for layer in chosen[name])
    if used <= chosen.keys() and (named or not bare):
        beside = " and ".join(map(flag, layers))
        raise UserError(f"--descriptor {descriptor} changes nothing beside {beside}: leave it out")
    return {**of_network, **chosen}


def user_chose_networks(descriptor: str | None, preset: str, changes: Mapping[str, Any]) -> bool:
    """Whether the command line says which networks the losses use; if so, they are never replaced by the fallback
    descriptor `own`."""
    layers = {"style_layers", "content_layers", "structure_layers", "diversity_layer"}
    return descriptor is not None or preset not in REPLACEABLE or bool(layers & changes.keys())
