"""Commands are functions: their parameters are what the command line takes.

A parameter by position is a word without an option, a keyword-only one is the option `--its-name`, one that is both
can be given in both ways. The annotation is the type; the help is in the docstring, under "Parameters" (numpydoc), or
in an `Option` in the annotation. A parameter whose type is a dataclass stands for its fields.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from texturenets.errors import UserError

OPTIONS = "Options"
"""The group of options that name none."""

_WHAT = {int: "a whole number", float: "a number, for example 0.5", bool: "yes or no"}

_SWITCH = dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True)
_SWITCH |= dict.fromkeys(("0", "false", "f", "no", "n", "off"), False)


class Option:
    """How a parameter is given, in its annotation: Annotated[str, Option("--output", "-o")].

    `names`: in place of --its-name. `help`: in place of the docstring's. `group`: heading in the help. `several`:
    several values may follow the option, as in --preload wave udnie.
    """

    def __init__(self, *names: str, help: str = "", group: str = OPTIONS, several: bool = False) -> None:  # noqa: A002
        self.names, self.help, self.group, self.several = names, help, group, several


class Argument(NamedTuple):
    """A parameter of a command, or a field of one that is a dataclass."""

    name: str
    """Of the parameter or field."""
    names: tuple[str, ...]
    """Of the option; () if it is given by position only."""
    kind: type | tuple[Any, ...]
    """bool, int, float, str or Path; or the words to choose from."""
    repeated: bool
    """Whether there may be several values, which are then a list."""
    by_position: bool
    required: bool
    default: Any
    option: Option
    field_of: tuple[str, type] | None = None
    """Name and class of the parameter if this is a field of it."""

    @property
    def called(self) -> str:
        """Its name in messages."""
        return self.names[0] if self.names else self.name.upper()

    @property
    def help(self) -> str:
        """What it is for; with its default, if that says something."""
        text = self.option.help
        if self.required:
            return f"{text} [required]" if self.names else text
        quiet = self.kind is bool or self.default is None or self.default in ("", ()) or "[default" in text
        return text if quiet else f"{text} [default: {self.default}]"

    @property
    def off(self) -> str:
        """Of a flag: the option that turns it off; empty if not giving it does."""
        return f"--no-{self.names[0][2:]}" if self.kind is bool and self.default is not False else ""

    @property
    def choices(self) -> str:
        """`a, b or c`, if it is one of several words."""
        if not isinstance(self.kind, tuple):
            return ""
        *words, last = map(str, self.kind)
        return f"{', '.join(words)} or {last}" if words else last

    def read(self, text: str, called: str) -> Any:
        """The value that a word stands for. Raises UserError with the name `called` for one that is none."""
        if not text.strip():
            raise UserError(
                f"{called} is empty: give it a value{'' if self.required else ', or leave it out'}"
            )
        try:
            if self.kind is bool:
                return _SWITCH[text.lower()]
            if isinstance(self.kind, tuple):
                return {str(choice): choice for choice in self.kind}[text]
            return _whole(text) if self.kind is int else self.kind(text)
        except (KeyError, ValueError):
            wrong = f": choose {self.choices}" if self.choices else f" is not {_WHAT[self.kind]}"  # type: ignore[index]
            raise UserError(f"{called} {text}{wrong}{self.explained}") from None

    def value(self, words: Sequence[str], called: str) -> Any:
        """What the words given for it stand for: of a repeated argument a list. Raises UserError as `read`."""
        values = [self.read(word, called) for word in words]
        return values if self.repeated else values[0]

    @property
    def explained(self) -> str:
        """The help up to its default, to be appended to an error."""
        text = self.option.help.partition(" [default")[0].removesuffix(".").removesuffix(", ..")
        text = text.replace("`", "")  # in an error they would turn the word into a flag
        first = text.partition(" ")[0]
        named = first != first.capitalize()  # such as WIDTHxHEIGHT
        return f": {text if named else text[:1].lower() + text[1:]}" if text else ""


def arguments_of(command: Callable[..., Any]) -> list[Argument]:
    """The arguments of a command, in their order."""
    hints, helps = get_type_hints(command, include_extras=True), described(command)[1]
    found = []
    for parameter in inspect.signature(command).parameters.values():
        hint, option = _unwrapped(hints[parameter.name])
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            found += _fields(hint, parameter.name)
            continue
        empty = parameter.default is parameter.empty
        by_position = parameter.kind is not parameter.KEYWORD_ONLY
        several = parameter.kind is parameter.VAR_POSITIONAL
        made = _argument(
            parameter.name,
            list[hint] if several else hint,  # type: ignore[valid-type]
            option,
            None if empty else parameter.default,
            helps.get(parameter.name, ""),
        )
        found.append(
            made._replace(
                by_position=by_position,
                names=() if several or parameter.kind is parameter.POSITIONAL_ONLY else made.names,
                required=empty and not several,
            )
        )
    return found


def described(command: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The text of a command's docstring, and the help of each parameter."""
    text, _, below = inspect.cleandoc(command.__doc__ or "").partition("\n\nParameters\n----------\n")
    parts = re.split(r"^(\w+)\n", below, flags=re.M)
    return text, {name: " ".join(help_.split()) for name, help_ in zip(parts[1::2], parts[2::2], strict=True)}


def _fields(cls: Any, parameter: str) -> list[Argument]:
    """The fields of a dataclass, all of which have defaults."""
    hints = get_type_hints(cls, include_extras=True)
    return [
        _argument(field.name, *_unwrapped(hints[field.name]), field.default, "")._replace(
            field_of=(parameter, cls)
        )
        for field in dataclasses.fields(cls)
    ]


def _argument(name: str, hint: Any, option: Option | None, default: Any, text: str) -> Argument:
    option = option or Option()
    if not option.help:
        option = Option(*option.names, help=text, group=option.group, several=option.several)
    repeated = get_origin(hint) is list
    kind = get_args(hint)[0] if repeated else hint
    if get_origin(kind) is Literal:
        kind = get_args(kind)
    names = option.names or (f"--{name.replace('_', '-')}",)
    return Argument(
        name, names, kind, repeated, by_position=False, required=False, default=default, option=option
    )


def _unwrapped(hint: Any) -> tuple[Any, Option | None]:
    """A type without what is annotated and without None, and its `Option`."""
    option = None
    while get_origin(hint) in (Annotated, Union, types.UnionType):
        if get_origin(hint) is Annotated:
            hint, *notes = get_args(hint)
            option = option or next((note for note in notes if isinstance(note, Option)), None)
        else:
            (hint,) = (one for one in get_args(hint) if one is not type(None))
    return hint, option


def _whole(text: str) -> int:
    """A whole number, also as 512.0. Raises ValueError for other text."""
    try:
        return int(text)
    except ValueError:
        if not float(text).is_integer():
            raise
        return int(float(text))
