"""What several commands share: kinds of flags, complaints, progress bars."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.progress import Progress

Device = Literal["auto", "cpu", "cuda", "mps"]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


def complain(message: object) -> None:
    """One line on standard error."""
    print(f"texturenets: {' '.join(str(message).split())}", file=sys.stderr)


def photo_progress(total: int, quiet: bool) -> Progress:
    """A bar on standard error with photos per minute and the time left, for `total` photos.

    It shows nothing when `quiet`, for a single photo, and where standard error is no terminal; `disable`
    of the result says so.
    """
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
            return Text("" if not speed else f"{60 * speed:.0f}/min" if speed < 1 else f"{speed:.1f}/s")

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        redirect_stdout=False,  # rich would send what is printed there to standard error
        disable=quiet or total < 2 or not console.is_terminal,
    )
