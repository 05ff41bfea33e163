"""Completion by Tab: the shell, by a script of argcomplete's, asks the program what may follow."""

from __future__ import annotations

import os
from collections.abc import Sequence

import argcomplete
from argcomplete.shell_integration import shellcode

from texturenets.cli.command_line import ASKED, Group, find, group_parser
from texturenets.cli.parser import SHELLS, command_parser
from texturenets.errors import UserError, unknown


def print_script(words: Sequence[str]) -> int:
    """Print what a shell has to run to complete commands and flags; `words`: its name."""
    if len(words) != 1:
        raise UserError(f"--completion: name the shell, {', '.join(SHELLS[:-1])} or {SHELLS[-1]}")
    if words[0] not in SHELLS:
        raise unknown("shell", words[0], SHELLS)
    print(shellcode(["texturenets"], shell=words[0]))
    return 0


def complete(root: Group) -> None:
    """Answer the shell, and leave the program. Only the command that the line names is imported."""
    typed = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = typed.split(" ")[1:-1]  # the last one may go on
    command, chain, _ = find([word for word in words if word], root)
    os.environ[ASKED] = str(int(os.environ[ASKED]) + len(chain))
    if isinstance(command, Group):
        made = group_parser(command, chain)
        made.add_argument("command", choices=list(command))
    else:
        made = command_parser(command, chain)
    for action in made._actions:
        kind = getattr(getattr(action, "argument", None), "kind", None)
        if isinstance(kind, tuple):
            action.completer = lambda words=kind, **_: [str(word) for word in words]  # type: ignore[attr-defined]
    argcomplete.autocomplete(made)
