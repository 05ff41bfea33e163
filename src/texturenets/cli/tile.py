"""`texturenets tile`: an image made to tile seamlessly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from texturenets.cli.resynthesis import LossFlags, Options, TrainerFlags, resynthesize

if TYPE_CHECKING:
    from texturenets.image import Picture
    from texturenets.resynthesis.jobs import Job


def tile(
    photo: Path,
    /,
    *,
    output: Annotated[str | None, Parameter(name=["--output", "-o"])] = None,
    options: Options | None = None,
    losses: LossFlags | None = None,
    trainer: TrainerFlags | None = None,
) -> int:
    """Make an image tile seamlessly: its edges are replaced so that left meets right and top meets bottom.

    The central rectangle, half as wide and half as high as the image, stays as it is. The rest is filled with patches
    of the image, and L-BFGS optimizes its pixels until they have the image's texture. Ctrl-C ends it early and writes
    the current image, once the first iteration is done.

    Parameters
    ----------
    photo
        Image to make tileable.
    output
        Image to write; or a folder: one that exists, a name that ends in / or has no suffix; - writes to standard
        output. An existing image is replaced [default: PHOTO-tile.png].
    """

    def prepare(source: Picture) -> Job:
        from texturenets.resynthesis import jobs

        return jobs.edges(source)

    return resynthesize(photo, output, "tile", prepare, options=options, losses=losses, trainer=trainer)
