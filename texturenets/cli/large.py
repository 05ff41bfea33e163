"""What a command shows of a picture that is painted piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from texturenets.cli.common import complain

if TYPE_CHECKING:
    from texturenets.api import Style


def follow(style: Style, quiet: bool, *, bar: bool) -> None:
    """Have `style` say what a large picture will take, and with `bar` show how far it is."""
    if quiet:
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars: list[Progress] = []

    def announce(text: str) -> None:
        complain(text)

    def progress(share: float) -> None:
        if not bar or not console.is_terminal:
            return
        if not bars:
            shown = Progress(
                TextColumn(style.name, markup=False),
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
            bars.pop().stop()

    style.pieces.announce, style.pieces.progress = announce, progress
