"""What a command shows of a picture that is painted piece by piece."""

from __future__ import annotations

import atexit
import functools
from typing import TYPE_CHECKING

from texturenets.cli.common import complain
from texturenets.cli.report import Sparingly

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from texturenets.stylize.style import Style


def follow(style: Style, quiet: bool, *, bar: bool) -> None:
    """Have `style` say what a large picture will take, and with `bar` show how far it is."""
    if quiet:
        return
    bars: list[Progress] = []

    def stop() -> None:
        while bars:
            bars.pop().stop()

    # A run that fails ends without a last call, and a bar that is never stopped leaves no cursor.
    atexit.register(stop)

    sparingly, name = Sparingly(), style.name  # not the style, which would hold itself

    @functools.cache
    def terminal() -> Console:
        from rich.console import Console  # late: most photos are done by the time that it takes

        return Console(stderr=True)

    def progress(share: float) -> None:
        console = terminal()
        if not bar or not console.is_terminal:
            sparingly(f"{name}: {share:.0%} of the picture")
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

    style.pieces.announce, style.pieces.progress = complain, progress
