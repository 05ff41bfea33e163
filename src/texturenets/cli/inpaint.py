"""`texturenets inpaint`: a hole in an image, filled from the rest of the image."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from texturenets.cli.arguments import Option
from texturenets.cli.resynthesis import LossFlags, Options, TrainerFlags, resynthesize

if TYPE_CHECKING:
    from texturenets.image import Picture
    from texturenets.resynthesis.jobs import Job
    from texturenets.stylize.regions import MaskFile


def inpaint(
    image: Path,
    /,
    *,
    mask: Path,
    output: Annotated[str | None, Option("--output", "-o")] = None,
    context: int | None = None,
    options: Options | None = None,
    losses: LossFlags | None = None,
    trainer: TrainerFlags | None = None,
) -> int:
    """Fill a hole in an image with the texture of its surroundings.

    Pixels outside the mask stay as they are. The hole is filled with patches of the surroundings, and L-BFGS
    optimizes its pixels until they have the texture of the surroundings. Ctrl-C ends it early and writes the current
    image, once the first iteration is done.

    Parameters
    ----------
    image
        Image with something to remove.
    mask
        Image with the same aspect ratio, scaled to its size: white where the hole is.
    output
        Image to write; or a folder: one that exists, a name that ends in / or has no suffix; - writes to standard
        output. An existing image is replaced [default: IMAGE-inpaint.png].
    context
        Pixels around the hole, on each side, from which the texture is learned [default: 128, or more if the hole
        with its surroundings would be smaller than 512 x 512].
    """

    @functools.cache
    def checked_mask() -> MaskFile:
        from texturenets.image import read
        from texturenets.resynthesis.mask import check_mask
        from texturenets.stylize.regions import MaskFile, mask_luminance

        file = MaskFile(str(mask), read(mask))
        check_mask(mask_luminance(file.picture))
        return file

    def prepare(source: Picture) -> Job:
        from texturenets.resynthesis import jobs

        return jobs.hole(source, checked_mask(), context)

    return resynthesize(
        image,
        output,
        "inpaint",
        prepare,
        check=checked_mask,
        inputs=[mask],
        options=options,
        losses=losses,
        trainer=trainer,
    )
