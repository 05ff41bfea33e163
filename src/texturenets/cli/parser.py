"""The parsers of commands, by argparse: for reading options, for the text of --help, and for completion."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from texturenets.cli.arguments import Argument, arguments_of, described
from texturenets.errors import UserError

MAX_WIDTH = 100
"""Longest line of a help text."""

SHELLS = ("bash", "zsh", "fish", "powershell")
"""Shells that complete commands."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UserError(message)


class _ReadAction(argparse.Action):
    """Reads the words given for an argument."""

    def __init__(self, *, argument: Argument, **named: Any) -> None:
        super().__init__(**named)
        self.argument = argument

    def __call__(self, _: object, given: argparse.Namespace, words: Any, option: str | None = None) -> None:
        argument = self.argument
        called = option or argument.called
        if argument.kind is bool:
            setattr(given, self.dest, option != argument.off)
            return
        read = argument.value(words if isinstance(words, list) else [words], called)
        if self.dest in given:
            if not argument.repeated:
                raise UserError(f"{called} is given more than once: give it once")
            read = [*getattr(given, self.dest), *read]
        setattr(given, self.dest, read)


def command_parser(command: Callable[..., Any], chain: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of a command, for its help and for completion: `command_line` reads what is given by position."""
    known = arguments_of(command)
    made = parser_of(known, chain)
    made.description = described(command)[0]
    by_position = [one for one in known if one.by_position]
    places = "".join(f" {_place(one)}" for one in by_position)
    required = "".join(f" {one.names[0]} {_metavar(one)}" for one in known if one.required and one.names)
    add_help(made)
    made.usage = f"{made.prog}{required} [OPTIONS]{places}"
    return made


def add_help(made: argparse.ArgumentParser) -> Any:
    """Add --help, which is looked for before anything is parsed, to a parser; returns its group."""
    others = made.add_argument_group("Others")
    others.add_argument("--help", "-h", action="store_true", help="Print this text.")
    return others


def _place(argument: Argument) -> str:
    """An argument by position in the line of usage."""
    name = f"{argument.name.upper()}{'...' if argument.repeated else ''}"
    return name if argument.required else f"[{name}]"


def parser_of(known: Sequence[Argument], chain: Sequence[str]) -> argparse.ArgumentParser:
    """A parser of these arguments, of the command that `chain` names. It raises argparse.ArgumentError for an option
    without a value, and UserError for a value that does not fit."""
    made = _Parser(
        prog=" ".join(["texturenets", *chain]),
        formatter_class=_Formatter,
        allow_abbrev=False,
        add_help=False,
        exit_on_error=False,
        argument_default=argparse.SUPPRESS,
    )
    groups: dict[str, Any] = {}
    for argument in known:
        title = argument.option.group if argument.names else "Arguments"
        if title not in groups:
            groups[title] = made.add_argument_group(title)
        _add(groups[title], argument)
    return made


def _add(group: Any, argument: Argument) -> None:
    """Add an argument to a group of argparse's."""
    text = argument.help.replace("%", "%%")
    if not argument.names:
        group.add_argument(argument.name, nargs="*", metavar=argument.name.upper(), help=text)
        return
    names = [*argument.names, *([argument.off] if argument.off else [])]
    nargs: Any = 0 if argument.kind is bool else "+" if argument.option.several else None
    made = group.add_argument(
        *names, action=_ReadAction, argument=argument, dest=argument.name, nargs=nargs, help=text
    )
    made.metavar = _metavar(argument)


def _metavar(argument: Argument) -> str:
    if isinstance(argument.kind, tuple):
        return f"{{{','.join(map(str, argument.kind))}}}"
    return argument.kind.__name__.upper()


class _Formatter(argparse.HelpFormatter):
    """Paragraphs stay apart, and each option's value is named once, after all its names."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, MAX_WIDTH) - 2
        super().__init__(prog, max_help_position=26, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (self._split_lines(one, width) for one in text.split("\n\n"))
        return "\n\n".join("\n".join(lines) for lines in paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        import textwrap

        # At hyphens there would be breaks within names, as left-to-right.
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        return f"{names} {action.metavar}" if action.option_strings and action.nargs != 0 else names
