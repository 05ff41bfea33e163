"""What a user can put right: raised anywhere, shown by the command line as one line, exit status 2."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final


class UserError(Exception):
    """A mistake in the input or in the machine's state; its text names the value and the way out.

    Parameters are named as `batch_size`, which the command line shows as its flags, --batch-size.
    """


class DamagedError(UserError):
    """A file is damaged or cut short: no other machine or option would help."""


class MissingError(UserError):
    """What is wanted needs a package that is not installed."""


class WeightsMissingError(UserError):
    """Weights are not at hand and cannot be fetched: `text` says where they are put, `options` which options of a
    training do without that."""

    def __init__(self, text: str, options: str) -> None:
        super().__init__(text + options)
        self.text = text


class DiskFullError(UserError):
    """No room is left where something is to be written."""


DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, 112)
"""Numbers of an OSError that say so; 112 is Windows' ERROR_DISK_FULL."""


def cannot_write(where: object, error: OSError) -> UserError:
    """The error for what cannot be written at `where`."""
    kind = DiskFullError if error.errno in DISK_FULL else UserError
    return kind(f"cannot write {where}: {reason(error)}")


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a table, with the nearest one that is.

    `kind` is the word for what was looked up ("generator"), `name` what was asked for.
    """
    import difflib  # seldom wanted

    names = sorted(known)
    folded = {one.casefold(): one for one in names}  # WAVE is near to wave
    near = difflib.get_close_matches(name, names, n=1)
    near = near or [folded[one] for one in difflib.get_close_matches(name.casefold(), folded, n=1)]
    listed = "known: " + ", ".join(names) if names else "none are there"
    hint = f"did you mean {near[0]!r}?" if near else listed
    return UserError(f"unknown {kind} {name!r}; {hint}")


@contextmanager
def naming(what: object) -> Iterator[None]:
    """A UserError of the block names `what`: before its text, unless that does so already."""
    try:
        yield
    except UserError as error:
        if str(what) not in str(error):
            error.args = (f"{what}: {error}",)
        raise


def reason(error: BaseException) -> str:
    """The text of `error` in one line; of an OSError without number and path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def shortened(text: str, most: int) -> str:
    """`text`, of which at most `most` characters are left: a cut in the middle, as what to do stands at the end."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def install(extra: str) -> str:
    """The command that installs an extra of this package, or of the clone that it runs from."""
    clone = Path(__file__).parents[2]
    if not (clone / "pyproject.toml").is_file():
        return f"pip install 'texturenets[{extra}]'"
    return f"pip install -e '{'.' if clone.samefile('.') else clone}[{extra}]'"


def counted(number: int, thing: str) -> str:
    """Of 1 and "photo" "1 photo", of 2 "2 photos"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def duration(seconds: float) -> str:
    """Rounded, in words: "2 seconds", "1 minute", "3 hours"; never 0."""
    for unit, length in (("second", 1), ("minute", 60)):
        if round(seconds / length) < 90:
            return counted(max(1, round(seconds / length)), unit)
    return counted(round(seconds / 3600), "hour")


def ignore_pillows_warnings() -> None:
    """Keep warnings of Pillow off standard error, in a process that is the program's own.

    It warns of damaged EXIF and the like without the name of a file; where the image itself is damaged, it raises.
    """
    # Not around each call: images are read in several threads, and filters belong to all of them.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
