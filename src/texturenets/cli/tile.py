"""`texturenets tile`: an image made to tile seamlessly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from texturenets.cli.arguments import Option
from texturenets.cli.resynthesis import LossFlags, Options, TrainerFlags, resynthesize

if TYPE_CHECKING:
    from texturenets.image import Picture
    from texturenets.resynthesis.jobs import Job


def tile(
    image: Path,
    /,
    *,
    output: Annotated[str | None, Option("--output", "-o")] = None,
    options: Options | None = None,
    losses: LossFlags | None = None,
    trainer: TrainerFlags | None = None,
) -> int:
    """Make an image tile seamlessly: left meets right and top meets bottom.

    Only the central rectangle, half as wide and half as high as the image, stays as it is. All around it may change:
    it is filled with patches of the image, and L-BFGS optimizes its pixels until they have the image's texture.
    Ctrl-C ends it early and writes the current image, once the first iteration is done.

    Parameters
    ----------
    image
        Image to make tileable.
    output
        Image to write; or a folder: one that exists, a name that ends in / or has no suffix; - writes to standard
        output. An existing image is replaced [default: IMAGE-tile.png].
    """

    def prepare(source: Picture) -> Job:
        from texturenets.resynthesis import jobs

        return jobs.edges(source)

    return resynthesize(image, output, "tile", prepare, options=options, losses=losses, trainer=trainer)
