"""`texturenets stylize --webcam`: the live image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from texturenets.cli.common import engine_note
from texturenets.errors import UserError

if TYPE_CHECKING:
    from texturenets.stylize.options import StylizeOptions
    from texturenets.stylize.style import Style

SIZE = 480
"""Pixels of the longer side, unless asked otherwise: what a processor stylizes some times a second."""


def show(load: Callable[[], Style], names: Sequence[str], options: StylizeOptions, quiet: bool) -> int:
    """Stylize what the camera sees in a window until it is closed; the exit status.

    `names`: the camera, where one is named. Raises UserError where there is no camera or no display.
    """
    from texturenets.video import camera as live
    from texturenets.video.repaint import painting

    if len(names) > 1:
        raise UserError(f"--webcam shows one camera, and {len(names)} are named")
    if names and Path(names[0]).is_file():
        raise UserError(f"--webcam: {names[0]} is a file, and no camera: leave out --webcam to stylize it")
    pictures = live.camera(names[0] if names else None, options.size or SIZE)
    window = live.TkWindow("texturenets")
    painter = load()
    if not quiet:
        engine_note(painter.engine)
    live.watch(pictures, painting(painter, options), window, painter.name)
    return 0
