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

HALF_A_MINUTE = 30.0
NO_FACTS: Mapping[str, object] = MappingProxyType({})


class Report:
    """Prints the outcome of `total` results. `goes_on`: how to continue an interrupted run, for the message; the
    summary names at most `named` failed files. `as_json`: results and failures are JSON objects, one a line."""

    def __init__(
        self,
        total: int,
        quiet: bool,
        goes_on: str = "the same command with --skip-existing continues",
        named: int = 5,
        *,
        as_json: bool = False,
    ) -> None:
        self.total, self.quiet, self.goes_on, self.named = total, quiet, goes_on, named
        self.as_json = as_json
        self.done = self.there = 0
        self.failed: list[str] = []
        self._bar: Progress | None = None
        self._later: list[str] = []
        self._told: set[str] = set()

    @contextmanager
    def bar(self, number: int, name: str) -> Iterator[None]:
        """A bar for the next `number` results, where standard error is a terminal."""
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
                error.args = (f"{self.done + self.there} of {self.total} done; {self.goes_on}",)
            raise

    def result(self, result: object, facts: Mapping[str, object] = NO_FACTS, *, there: bool = False) -> None:
        """One that has been made, or was `there` already. `facts`: what JSON says of it besides."""
        self.there += there
        self.done += not there
        status = "skipped" if there else "done"
        self.tell(str(result), {"status": status, "result": str(result), **facts})
        if not there:
            self._advance()

    def tell(self, line: str, facts: Mapping[str, object]) -> None:
        """Print `line`, or as JSON `facts`; on a terminal with a bar, which it would tear, when the bar is gone."""
        told = json_line(dict(facts)) if self.as_json else line
        if self._bar is None or not sys.stdout.isatty():
            print(told, flush=True)
        else:
            self._later.append(told)

    def failure(self, source: object, reason: object, facts: Mapping[str, object] = NO_FACTS) -> None:
        """A result that there is not, for a `reason` in which `source` is named; each is told once."""
        if str(reason) not in self._told:  # a bad photo fails alike in each style
            warn(reason)
            self._told.add(str(reason))
        self.failed.append(str(source))
        if self.as_json:
            self.tell("", {"status": "failed", "source": str(source), "error": str(reason), **facts})
        self._advance()

    def _advance(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def end(self, see: str = "") -> int:
        """The last line, where there are several results, or one that was skipped; the exit status."""
        parts = [f"{self.done} done"]
        if self.there:
            parts.append(f"{self.there} skipped, made before")
        if self.failed:
            files = list(dict.fromkeys(self.failed))  # once, in however many styles they failed
            more = len(files) - self.named
            names = ", ".join(files[: self.named]) + (f" and {more} more{see}" if more > 0 else "")
            parts.append(f"{len(files)} failed: {names}")
        if self.total > 1 and self.failed:
            warn(", ".join(parts))
        elif (self.total > 1 or self.there) and not self.quiet:
            print(", ".join(parts), file=sys.stderr)
        return 2 if self.failed else 0


@contextmanager
def whole_file(path: Path) -> Iterator[None]:
    """On Ctrl-C and SIGTERM in the block, which writes one file atomically, say that it is not written."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.args = (f"{path} is not written",)
        raise


class Sparingly:
    """Says how far a long work is, once in half a minute: where no bar shows it."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        """Say `text`, if it is time again."""
        if time.monotonic() - self._last >= HALF_A_MINUTE:
            warn(text)
            self._last = time.monotonic()
