"""Output of a command on many files: names of results as they are written, errors, and a summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from texturenets.cli.common import Hidden, json_line, photo_progress, warn

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress

NOTE_INTERVAL = 30.0
"""Minimum seconds between two notes of `ThrottledNote`."""

NO_FIELDS: Mapping[str, object] = MappingProxyType({})


class Report:
    """Prints the outcome of `total` results.

    `how_to_resume`: hint in the message of an interrupted run. `named`: maximum number of failed files named in the
    summary. `as_json`: print results and failures as JSON objects, one per line.
    """

    def __init__(
        self,
        total: int,
        quiet: bool,
        how_to_resume: str = "the same command with --skip-existing continues",
        named: int = 5,
        *,
        as_json: bool = False,
    ) -> None:
        self.total, self.quiet, self.how_to_resume, self.named = total, quiet, how_to_resume, named
        self.as_json = as_json
        self.done = self.skipped = 0
        self.failed: list[str] = []
        self._bar: Progress | None = None
        self._later: list[str] = []
        self._reported: set[str] = set()

    @contextmanager
    def bar(self, number: int, name: str) -> Iterator[None]:
        """A progress bar for the next `number` results, if standard error is a terminal."""
        bar = photo_progress(number, self.quiet)
        bar.add_task(name, total=number)
        try:
            with bar:
                self._bar = None if isinstance(bar, Hidden) or bar.disable else bar
                yield
        finally:
            self._bar = None
            for result in self._later:
                print(result)
            self._later.clear()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """On Ctrl-C and SIGTERM in the block, print how many results are done."""
        try:
            yield
        except KeyboardInterrupt as error:
            if self.total > 1:
                error.args = (f"{self.done + self.skipped} of {self.total} done; {self.how_to_resume}",)
            raise

    def result(
        self, result: object, fields: Mapping[str, object] = NO_FIELDS, *, skipped: bool = False
    ) -> None:
        """Print a result that has been written, or was `skipped`. `fields`: further fields of its JSON object."""
        self.skipped += skipped
        self.done += not skipped
        status = "skipped" if skipped else "done"
        self.print_line(str(result), {"status": status, "result": str(result), **fields})
        if not skipped:
            self._advance()

    def print_line(self, line: str, fields: Mapping[str, object]) -> None:
        """Print `line`, or `fields` as JSON; on a terminal with a progress bar only when that has ended."""
        text = json_line(dict(fields)) if self.as_json else line
        if self._bar is None or not sys.stdout.isatty():
            print(text, flush=True)
        else:
            self._later.append(text)

    def failure(self, source: object, reason: object, fields: Mapping[str, object] = NO_FIELDS) -> None:
        """Print an error, `reason`, which names `source`; the same text only once."""
        if str(reason) not in self._reported:  # a bad photo fails the same way in each style
            warn(reason)
            self._reported.add(str(reason))
        self.failed.append(str(source))
        if self.as_json:
            self.print_line("", {"status": "failed", "source": str(source), "error": str(reason), **fields})
        self._advance()

    def _advance(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def end(self, see: str = "") -> int:
        """Print the summary, if there are several results, or a skipped one; returns the exit status."""
        parts = [f"{self.done} done"]
        if self.skipped:
            parts.append(f"{self.skipped} skipped, made before")
        if self.failed:
            files = list(dict.fromkeys(self.failed))  # each file once, even if it failed in several styles
            more = len(files) - self.named
            names = ", ".join(files[: self.named]) + (f" and {more} more{see}" if more > 0 else "")
            parts.append(f"{len(files)} failed: {names}")
        if self.total > 1 and self.failed:
            warn(", ".join(parts))
        elif (self.total > 1 or self.skipped) and not self.quiet:
            print(", ".join(parts), file=sys.stderr)
        return 2 if self.failed else 0


@contextmanager
def whole_file(path: Path) -> Iterator[None]:
    """On Ctrl-C and SIGTERM in the block, which writes one file atomically, print that it was not written."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.args = (f"{path} is not written",)
        raise


class ThrottledNote:
    """Prints notes on the progress of long work, at most one in NOTE_INTERVAL: in place of a progress bar."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print `text`, if the last note was long enough ago."""
        if time.monotonic() - self._last >= NOTE_INTERVAL:
            warn(text)
            self._last = time.monotonic()
