"""The words of a command line, read by argparse, become the call of a command."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from texturenets.cli import refusals
from texturenets.cli.arguments import Argument, arguments_of, described
from texturenets.cli.parser import SHELLS, add_help, command_parser, parser_of
from texturenets.errors import UserError

ASKED = "_ARGCOMPLETE"
"""The environment variable by which a shell's script asks what may follow; its value is the number of the program's
first word."""

Command = Callable[..., Any]


class Group:
    """Commands under a name, as those of `texturenets train`, and what is called without the name of one.

    `commands`: functions, or where they are, "module:name", to be imported when they are needed.
    """

    def __init__(
        self, text: str, commands: Mapping[str, Command | Group | str], default: Command | None = None
    ) -> None:
        self.text, self.default = text, default
        self._commands = commands

    def __contains__(self, name: object) -> bool:
        return name in self._commands

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __getitem__(self, name: str) -> Command | Group:
        found = self._commands[name]
        if not isinstance(found, str):
            return found
        module, _, attribute = found.partition(":")
        loaded: Command | Group = getattr(importlib.import_module(module), attribute)
        return loaded


class Call(NamedTuple):
    """A command with its arguments. `variables`: options that an environment variable has set, with its name."""

    command: Command
    words: tuple[Any, ...]
    options: dict[str, Any]
    variables: Mapping[str, str]

    def run(self) -> Any:
        """Call the command. Errors name the environment variable in place of an option that it has set."""
        try:
            return self.command(*self.words, **self.options)
        except UserError as error:
            if self.variables:
                raise UserError(refusals.blaming(str(error), self.variables)) from None
            raise


def find(words: Sequence[str], root: Group) -> tuple[Command | Group, list[str], list[str]]:
    """The command, or the group, that `words` begin with, its name, and the words after it."""
    found: Command | Group = root
    chain, rest = [], list(words)
    while isinstance(found, Group) and rest and rest[0] in found:
        found = found[rest[0]]
        chain.append(rest.pop(0))
    return found, chain, rest


def parse(words: Sequence[str], root: Group) -> Call:
    """The call that `words` stand for. Raises UserError for words that do not fit."""
    command, chain, rest = find(words, root)
    try:
        if isinstance(command, Group):
            if command.default is None:
                raise UserError(refusals.no_command(rest[0] if rest else "", chain, list(command)))
            command = command.default
        return _bound(command, chain, rest)
    except UserError as error:
        raise refusals.refused(str(error), chain) from None


def _bound(command: Command, chain: Sequence[str], words: Sequence[str]) -> Call:
    """The call of `command` by the `words` after its name, `chain`."""
    known = arguments_of(command)
    end = words.index("--") if "--" in words else len(words)
    before, after = _joined(words[:end], known), list(words[end + 1 :])
    refusals.check_dashes(before, known)
    try:
        given, others = parser_of([one for one in known if one.names], chain).parse_known_args(before)
    except argparse.ArgumentError as error:
        raise UserError(refusals.no_value(error, words, known)) from None
    values = vars(given)
    unknown = [word for word in others if word.startswith("-") and len(word) > 1]
    left = unknown or _by_position([*others, *after], known, values)
    if left:
        raise UserError(refusals.not_taken(left, words, known, chain))
    variables = _set_by_variables(command, known, values)
    for argument in known:
        if argument.required and argument.name not in values:
            raise UserError(refusals.missing(argument, words))
    return Call(command, *_sorted(command, known, values), variables)


def _joined(words: Sequence[str], known: Sequence[Argument]) -> list[str]:
    """The words, with an option and a negative number after it as one: argparse takes -1e3 for an option."""
    options = {name for one in known if one.kind is not bool for name in one.names if name.startswith("--")}
    found: list[str] = []
    for word in words:
        if found and found[-1] in options and word.startswith("-") and _is_number(word):
            found[-1] += f"={word}"
        else:
            found.append(word)
    return found


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _by_position(words: list[str], known: Sequence[Argument], values: dict[str, Any]) -> list[str]:
    """Add the arguments that are given by position to `values`; returns the words that are left."""
    for argument in known:
        if not argument.by_position or argument.name in values or not words:
            continue
        taken = len(words) if argument.repeated else 1
        values[argument.name] = argument.value(words[:taken], argument.called)
        words = words[taken:]
    return words


def _sorted(
    command: Command, known: Sequence[Argument], values: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The values by position and by keyword; fields of a dataclass are put together."""
    words: list[Any] = []
    options: dict[str, Any] = {}
    fields: dict[str, dict[str, Any]] = {}
    classes: dict[str, type] = {}
    for argument in known:
        if argument.name not in values:
            continue
        given = values[argument.name]
        if argument.field_of:
            parameter, cls = argument.field_of
            classes[parameter] = cls
            fields.setdefault(parameter, {})[argument.name] = given
        elif argument.names:
            options[argument.name] = given
        else:
            kind = inspect.signature(command).parameters[argument.name].kind
            words += given if kind is inspect.Parameter.VAR_POSITIONAL else [given]
    options |= {parameter: classes[parameter](**inner) for parameter, inner in fields.items()}
    return tuple(words), options


def help_text(command: Command | Group, chain: Sequence[str]) -> str:
    """What --help prints."""
    if not isinstance(command, Group):
        return command_parser(command, chain).format_help()
    made = group_parser(command, chain)
    made.usage = f"{made.prog} {'[COMMAND]' if command.default else 'COMMAND'}"
    made.description = command.text
    made.epilog = f"`{made.prog} COMMAND --help` describes a command."
    commands = made.add_argument_group("Commands")
    for name in command:
        one = command[name]
        text = one.text if isinstance(one, Group) else described(one)[0].partition("\n\n")[0]
        commands.add_argument(name, help=text.replace("%", "%%"))
    return made.format_help()


def group_parser(group: Group, chain: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of what a group takes in place of a command."""
    if group.default:
        return command_parser(group.default, chain)
    made = parser_of((), chain)
    others = add_help(made)
    if not chain:
        others.add_argument("--version", action="store_true", help="Print the version.")
        others.add_argument(
            "--completion",
            choices=SHELLS,
            metavar="SHELL",
            help=f"Print the script for completion in a shell: {', '.join(SHELLS[:-1])} or {SHELLS[-1]}.",
        )
    return made


def environment(prefix: str) -> Callable[[Command], Command]:
    """A decorator: every option of the command can also be set by an environment variable, with the prefix PREFIX_
    --max-side by PREFIX_MAX_SIDE; several values are separated by blanks. The command line has the last word."""

    def decorated(command: Command) -> Command:
        command.variable_prefix = prefix  # type: ignore[attr-defined]
        return command

    return decorated


def _set_by_variables(command: Command, known: Sequence[Argument], values: dict[str, Any]) -> dict[str, str]:
    """Add to `values` what environment variables set; returns their names by option. Empty ones set nothing."""
    prefix = getattr(command, "variable_prefix", "")
    found = {}
    for argument in known if prefix else ():
        variable = prefix + argument.name.upper()
        text = os.environ.get(variable, "").strip()
        if not text or argument.name in values:
            continue
        found[argument.names[0]] = variable
        values[argument.name] = argument.value(text.split() if argument.repeated else [text], variable)
    return found
