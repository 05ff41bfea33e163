"""`texturenets stylize --webcam`: the camera's image, stylized live in a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from texturenets.cli.common import engine_note, warn
from texturenets.cli.streams import Terminated
from texturenets.errors import UserError

if TYPE_CHECKING:
    from texturenets.stylize.options import StylizeOptions
    from texturenets.stylize.style import Style

SIZE = 480
"""Default longer side in pixels: small enough for several frames per second on a CPU."""


def show(
    load: Callable[[], Style],
    names: Sequence[str],
    options: StylizeOptions,
    quiet: bool,
    *,
    virtual: bool = False,
) -> int:
    """Stylize the camera's frames in a window until it is closed; returns the exit status.

    `names`: at most one camera. `virtual`: to a virtual camera, until Ctrl-C, in place of the window. Raises
    UserError if there is no camera, no display, no virtual camera.
    """
    from texturenets.video import camera as live
    from texturenets.video import virtual_camera
    from texturenets.video.stylization import frame_stylizer

    if len(names) > 1:
        raise UserError(f"--webcam shows one camera, and {len(names)} are named")
    if names and Path(names[0]).is_file():
        raise UserError(f"--webcam: {names[0]} is a file, not a camera: leave out --webcam to stylize it")
    say = (lambda _: None) if quiet else warn
    frames = live.camera(names[0] if names else None, options.size or SIZE)
    window: live.PreviewWindow = (
        virtual_camera.VirtualCamera(say) if virtual else live.TkWindow("texturenets")
    )
    style = load()
    if not quiet:
        engine_note(style.engine)
    try:
        live.watch(frames, frame_stylizer(style, options), window, style.name)
    except Terminated:
        raise
    except KeyboardInterrupt:  # the usual end of a virtual camera
        if not virtual:
            raise
    return 0
