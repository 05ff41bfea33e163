"""Shared by several commands: parameter types, messages on standard error, progress bars."""

from __future__ import annotations

import atexit
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, cast

from cyclopts import Parameter

from texturenets.errors import UserError, counted

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress, TaskID

    from texturenets.engines import Engine

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    Parameter(help="Device to compute on: auto (the fastest one available), cpu, cuda or mps."),
]
EngineName = Annotated[
    str,  # auto, torch, or one of `texturenets.engines.BACKENDS`, which is not imported for a help text
    Parameter(
        help="Engine that runs the network: torch, openvino or onnx; auto takes the fastest that is installed for "
        "the device."
    ),
]
PrecisionFlag = Annotated[
    Literal["auto", "float32", "bf16", "fp16"],
    Parameter(
        help="Floating-point precision; auto takes half precision where the device supports it, but float32 "
        "for PyTorch on a CPU."
    ),
]
NetworkCode = Annotated[
    str | None,
    Parameter(
        help="FILE.py:CLASS: code of a network of your own, executed by PyTorch in place of the graph in the model "
        "file; only a model without a graph needs it."
    ),
]
_ADDRESS = re.compile(r"local|auto|ray://\S+|([\w.-]+|\[[\da-fA-F:]+\]):\d+")  # of a Ray cluster
_PARAMETER = re.compile(r"`([a-z]+(?:_[a-z]+)*)`")
_MAX_NAMED = 3  # most files that are named of those that are ignored
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def picture_size(text: str) -> tuple[int, int]:
    """(H, W) of "WIDTHxHEIGHT", or of one number for a square. Raises UserError."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--size {text} is no size: give pixels, as 512 or 640x480")
    return int(parts[-1]), int(parts[0])


def cluster_words(words: Sequence[str]) -> list[str]:
    """The words of a command line, with `local` after a `--cluster` that no address follows."""
    found = []
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        found.append(word)
        if word == "--cluster" and not _ADDRESS.fullmatch(following):
            found.append("local")
    return found


def json_line(value: Any, indent: int | None = None) -> str:
    """For programs: JSON for standard output, escaped where that does not take all letters."""
    utf8 = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=not utf8)


def print_json(value: Any) -> None:
    """A whole document for programs, indented."""
    print(json_line(value, indent=2))


def with_flags(message: str) -> str:
    """An error's text with its parameters as flags: `batch_size` is --batch-size."""
    return _PARAMETER.sub(lambda found: "--" + found[1].replace("_", "-"), message)


_unnamed: ContextVar[re.Pattern[str] | None] = ContextVar("_unnamed", default=None)


@contextmanager
def not_named(folder: Path) -> Iterator[None]:
    """Within, messages name files in `folder`, a temporary one, and its numbered folders, by their names alone."""
    place = re.compile(rf"{re.escape(str(folder))}[/\\](\d+[/\\])?")
    token = _unnamed.set(place)
    try:
        yield
    except UserError as error:
        error.args = (place.sub("", str(error)),)
        raise
    finally:
        _unnamed.reset(token)


def warn(message: object) -> None:
    """One line on standard error."""
    text = place.sub("", str(message)) if (place := _unnamed.get()) else str(message)
    print(f"texturenets: {with_flags(' '.join(text.split()))}", file=sys.stderr)


def engine_note(engine: Engine) -> None:
    """Which engine `auto` took, on standard error."""
    print(f"engine: {engine.name}, {engine.precision}", file=sys.stderr)


def check_quality(quality: int | None) -> None:
    """Raises UserError for a `--quality` out of its range."""
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"--quality {quality} is not between 1 and 100")


def note_quality(quality: int | None, results: Iterable[Path]) -> None:
    """Say on standard error where `--quality` changes nothing."""
    if quality is None:
        return
    from texturenets import image, video

    lossy = image.lossy_suffixes() | video.WRITTEN.keys()
    if without := sorted({path.suffix.lower() for path in results} - lossy):
        warn(f"note: --quality {quality} changes nothing in files that end in {', '.join(without)}")


def note_ignored(files: Sequence[Path | str]) -> None:
    """Say which files among the photos are none that can be read, in one line."""
    if not files:
        return
    from texturenets import image

    more = f" and {len(files) - _MAX_NAMED} more" if len(files) > _MAX_NAMED else ""
    warn(
        f"note: {counted(len(files), 'file')} {'is' if len(files) == 1 else 'are'} ignored: no images that can "
        f"be read here ({image.readable()}): {', '.join(map(str, files[:_MAX_NAMED]))}{more}"
    )


class Hidden:
    """A progress bar that is not shown, without importing rich: that takes as long as stylizing a small photo."""

    disable = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add_task(self, *_: object, **__: object) -> TaskID:
        """As the bars of rich."""
        return cast("TaskID", 0)

    def advance(self, *_: object, **__: object) -> None:
        """As the bars of rich."""

    def update(self, *_: object, **__: object) -> None:
        """As the bars of rich."""


def photo_progress(total: int, quiet: bool, unit: str = "") -> Progress | Hidden:
    """A bar on standard error with photos per minute and the time left, for `total` photos.

    `unit`: what is counted by the second, as in "12.0 frames/s". It shows nothing when `quiet`, for a single photo,
    and where standard error is no terminal; `disable` of the result says so.
    """
    if quiet or total < 2:
        return Hidden()
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            if not speed:
                return Text("")
            counted = f" {unit}" if unit else ""
            return Text(f"{60 * speed:.0f}{counted}/min" if speed < 1 else f"{speed:.1f}{counted}/s")

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        redirect_stdout=False,  # rich would send what is printed there to standard error
        disable=not console.is_terminal,
    )


def download_progress(what: str = "weights") -> Callable[[int, int], None]:
    """Called with (bytes done, bytes in all), shows a bar on standard error until all of `what` are there.

    It serves any number of files, one after the other. What does not say how large it is gets no bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    running: list[Progress] = []

    def stop() -> None:
        while running:
            running.pop().stop()

    # A transfer that fails ends without a last call, and a bar that is never stopped leaves no cursor.
    atexit.register(stop)

    def advance(done: int, whole: int) -> None:
        if whole <= 0:
            return
        if not running:
            bar = Progress(
                TextColumn(f"fetching {what}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                redirect_stdout=False,
                transient=True,
            )
            bar.add_task("")
            bar.start()
            running.append(bar)
        running[0].update(running[0].task_ids[0], completed=done, total=whole)
        if done >= whole:
            stop()

    return advance
