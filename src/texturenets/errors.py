"""Errors that the user can fix: raised anywhere, shown by the command line in one line, exit status 2."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final


class UserError(Exception):
    """An error in the input or in the machine's state; its text names the value and what to do. Parameters are
    written as `batch_size`; the command line shows them as flags, --batch-size.
    """


class DamagedError(UserError):
    """A file is damaged or cut short: no other machine or option would help."""


class NoBaseError(UserError):
    """The base model of a style is missing, or a different model lies in its place."""


class MissingError(UserError):
    """A package that is needed is not installed."""


class WeightsMissingError(UserError):
    """Weights are missing and cannot be fetched."""


class NotWritableError(UserError):
    """A file or folder cannot be written."""


class DiskFullError(NotWritableError):
    """The disk is full."""


DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, 112)
"""Values of `OSError.errno` for a full disk; 112 is ERROR_DISK_FULL of Windows."""


def cannot_write(where: object, error: OSError) -> UserError:
    """The error for a file or folder `where` that cannot be written."""
    kind = DiskFullError if error.errno in DISK_FULL else NotWritableError
    return kind(f"cannot write {where}: {reason(error)}")


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an unknown `name`, with the nearest of the `known` names. `kind`: the word for the thing
    ("generator").
    """
    import difflib  # rarely needed

    names = sorted(known)
    folded = {one.casefold(): one for one in names}  # WAVE is near to wave
    near = difflib.get_close_matches(name, names, n=1)
    near = near or [folded[one] for one in difflib.get_close_matches(name.casefold(), folded, n=1)]
    listed = "known: " + ", ".join(names) if names else "none are there"
    hint = f"did you mean {near[0]!r}?" if near else listed
    return UserError(f"unknown {kind} {name!r}; {hint}")


@contextmanager
def naming(what: object) -> Iterator[None]:
    """A UserError raised in the block names `what`: it is put before the text, unless the text contains it."""
    try:
        yield
    except UserError as error:
        if str(what) not in str(error):
            error.args = (f"{what}: {error}",)
        raise


def reason(error: BaseException) -> str:
    """The text of `error` in one line; for an OSError without number and path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def shortened(text: str, most: int) -> str:
    """`text`, shortened to at most `most` characters; cut in the middle, because the end says what to do."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def install(extra: str) -> str:
    """The command that installs an extra of this package, or of the clone from which it runs."""
    clone = Path(__file__).parents[2]
    if not (clone / "pyproject.toml").is_file():
        return f"pip install 'texturenets[{extra}]'"
    return f"pip install -e '{'.' if clone.samefile('.') else clone}[{extra}]'"


def counted(number: int, thing: str) -> str:
    """ "1 photo" for 1 and "photo", "2 photos" for 2."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """Rounded, in words: "2 seconds", "1 minute", "3 hours"; never 0."""
    for unit, length in (("second", 1), ("minute", 60)):
        if round(seconds / length) < 90:
            return counted(max(1, round(seconds / length)), unit)
    return counted(round(seconds / 3600), "hour")


def ignore_pillows_warnings() -> None:
    """Keep Pillow's warnings off standard error, in processes of the command line. It warns about damaged EXIF
    without naming the file; for a damaged image it raises.
    """
    # Not around each call: images are read in several threads, and filters belong to all of them.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
