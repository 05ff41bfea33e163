"""Standard streams and signals: standard output that is closed, full or cannot encode non-ASCII characters;
SIGTERM."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from texturenets.errors import UserError


class Terminated(KeyboardInterrupt):
    """Raised for SIGTERM: the work ends as after Ctrl-C, so that no half-written file stays."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises `Terminated` in the block; a second one ends the process at once.

    The block is left by `Terminated` also where a library has caught it and raised another exception instead.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    received = threading.Event()

    def end(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        received.set()
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Exception as error:  # libraries turn what is raised within them into errors of their own
        # A UserError is this package's own, so no library has made it of `Terminated`: it is still to be reported.
        if received.is_set() and not isinstance(error, UserError):
            raise Terminated from None
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _as_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encoding error handler: undecodable bytes of file names (surrogates) are written back as bytes; other
    characters that the stream cannot encode are backslash-escaped."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    if all("\udc80" <= letter <= "\udcff" for letter in text):
        return text.encode("ascii", "surrogateescape"), error.end
    return codecs.backslashreplace_errors(error)


codecs.register_error("texturenets", _as_bytes)


def prepare() -> None:
    """Replace closed stdout and stderr by os.devnull, and install the error handler."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # else the next file that is opened would be standard output
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="texturenets")


def drop_output() -> None:
    """Redirect stdout to os.devnull, so that Python's final flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
