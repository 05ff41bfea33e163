"""Progress of an image that is stylized in strips."""

from __future__ import annotations

import atexit
import functools
from typing import TYPE_CHECKING

from texturenets.cli.common import warn
from texturenets.cli.report import ThrottledNote

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from texturenets.stylize.style import Style


def follow(style: Style, quiet: bool, *, bar: bool) -> None:
    """Print the memory and disk that a large image takes, and with `bar` show a progress bar."""
    if quiet:
        return
    bars: list[Progress] = []

    def stop() -> None:
        while bars:
            bars.pop().stop()

    # A failed run never calls with share 1, and a bar that is not stopped leaves the cursor hidden.
    atexit.register(stop)

    note = ThrottledNote()
    name = style.name  # `progress` must not refer to the style: a reference cycle would keep it in memory

    @functools.cache
    def terminal() -> Console:
        from rich.console import Console  # imported late: the import takes longer than most photos

        return Console(stderr=True)

    def progress(share: float) -> None:
        console = terminal()
        if not bar or not console.is_terminal:
            note(f"{name}: {share:.0%} of the image")
            return
        if not bars:
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            shown = Progress(
                TextColumn(name, markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=console,
                redirect_stdout=False,
            )
            shown.add_task("", total=1.0)
            shown.start()
            bars.append(shown)
        bars[0].update(bars[0].task_ids[0], completed=share)
        if share >= 1:
            stop()

    style.tiled.announce, style.tiled.progress = warn, progress
