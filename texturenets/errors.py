"""What a user can put right: raised anywhere, shown by the command line as one line, exit status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in the input or in the machine's state; its text names the value and the way out."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a table, with the nearest one that is.

    `kind` is the word for what was looked up ("generator"), `name` what was asked for.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    listed = "known: " + ", ".join(names) if names else "none are there"
    hint = f"did you mean {near[0]!r}?" if near else listed
    return UserError(f"unknown {kind} {name!r}; {hint}")


def reason(error: BaseException) -> str:
    """The text of `error` in one line; of an OSError without number and path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
