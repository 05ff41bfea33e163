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

from texturenets.cli.arguments import Option
from texturenets.errors import UserError, counted

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress, TaskID

    from texturenets.engines import Engine

Device = Annotated[
    Literal["auto", "cpu", "cuda", "mps"],
    Option(help="Device to compute on: auto (the fastest one available), cpu, cuda or mps."),
]
EngineName = Annotated[
    str,  # auto, torch, or one of `texturenets.engines.BACKENDS`, which is not imported for a help text
    Option(
        help="Engine that runs the network: torch, openvino or onnx; auto takes the fastest that is installed for "
        "the device."
    ),
]
PrecisionFlag = Annotated[
    Literal["auto", "float32", "bf16", "fp16"],
    Option(
        help="Floating-point precision; auto takes half precision where the device supports it, but float32 "
        "for PyTorch on a CPU."
    ),
]
NetworkCode = Annotated[
    str | None,
    Option(
        help="FILE.py:CLASS: code of a network of your own, executed by PyTorch in place of the graph in the model "
        "file; needed only for a model file that contains no graph."
    ),
]
_ADDRESS = re.compile(r"local|auto|ray://\S+|([\w.-]+|\[[\da-fA-F:]+\]):\d+")  # of a Ray cluster
_PARAMETER = re.compile(r"`([a-z]+(?:_[a-z]+)*)`")
_MAX_NAMED = 3  # maximum number of ignored files that are named


def picture_size(text: str) -> tuple[int, int]:
    """Parse "WIDTHxHEIGHT", or one number for a square, to (H, W). Raises UserError for other text."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--size {text} is not a size: give pixels, for example 512 or 640x480")
    return int(parts[-1]), int(parts[0])


def cluster_words(words: Sequence[str]) -> list[str]:
    """The words of a command line, with `local` inserted after a `--cluster` that is not followed by an address."""
    found = []
    for word, following in itertools.zip_longest(words, words[1:], fillvalue=""):
        found.append(word)
        if word == "--cluster" and not _ADDRESS.fullmatch(following):
            found.append("local")
    return found


def json_line(value: Any, indent: int | None = None) -> str:
    """JSON for standard output, escaped if its encoding cannot represent all characters."""
    utf8 = (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=not utf8)


def print_json(value: Any) -> None:
    """Print a JSON document, indented."""
    print(json_line(value, indent=2))


def with_flags(message: str) -> str:
    """An error's text with its parameters as flags: `batch_size` is --batch-size."""
    return _PARAMETER.sub(lambda found: "--" + found[1].replace("_", "-"), message)


_unnamed: ContextVar[re.Pattern[str] | None] = ContextVar("_unnamed", default=None)


@contextmanager
def not_named(folder: Path) -> Iterator[None]:
    """In the block, messages name files in the temporary `folder` and its numbered subfolders without the folder."""
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
    """Print one line on standard error."""
    text = place.sub("", str(message)) if (place := _unnamed.get()) else str(message)
    print(f"texturenets: {with_flags(' '.join(text.split()))}", file=sys.stderr)


def engine_note(engine: Engine) -> None:
    """Print on standard error which engine `auto` chose."""
    print(f"engine: {engine.name}, {engine.precision}", file=sys.stderr)


def check_quality(quality: int | None) -> None:
    """Raises UserError for a `--quality` out of its range."""
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"--quality {quality} is not between 1 and 100")


def note_quality(quality: int | None, results: Iterable[Path]) -> None:
    """Print on standard error for which files `--quality` changes nothing."""
    if quality is None:
        return
    from texturenets import image, video

    lossy = image.lossy_suffixes() | video.WRITTEN.keys()
    if without := sorted({path.suffix.lower() for path in results} - lossy):
        warn(f"note: --quality {quality} changes nothing in files that end in {', '.join(without)}")


def note_ignored(files: Sequence[Path | str]) -> None:
    """Print in one line which files among the photos are ignored because they cannot be read."""
    if not files:
        return
    from texturenets import image

    more = f" and {len(files) - _MAX_NAMED} more" if len(files) > _MAX_NAMED else ""
    warn(
        f"note: {counted(len(files), 'file')} {'is' if len(files) == 1 else 'are'} ignored: no images that can "
        f"be read here ({image.readable_formats_text()}): {', '.join(map(str, files[:_MAX_NAMED]))}{more}"
    )


class Hidden:
    """A progress bar that shows nothing, and does not import rich, which takes as long as stylizing a small photo."""

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

    `unit`: the unit that is counted per second, as in "12.0 frames/s". It shows nothing if `quiet`, for a single
    photo, or if standard error is not a terminal; then `disable` of the result is true.
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
        redirect_stdout=False,  # else rich sends everything printed there to standard error
        disable=not console.is_terminal,
    )


def download_progress(what: str = "weights") -> Callable[[int, int], None]:
    """A callback that takes (bytes done, bytes in total) and shows a bar on standard error until `what` is
    downloaded.

    It can be used for several files, one after the other. A file of unknown size gets no bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    running: list[Progress] = []

    def stop() -> None:
        while running:
            running.pop().stop()

    # A failed transfer ends without a last call, and a bar that is never stopped leaves the cursor hidden.
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
