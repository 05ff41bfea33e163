"""`texturenets cache`: content features of a folder, computed once."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from texturenets import presets, runs, training
from texturenets.cli.common import Flag
from texturenets.cli.flags import given, optional
from texturenets.errors import UserError
from texturenets.training.logistics import Logistics

StyleFlags: Any = optional(runs.StyleRun, "Of the training that will use it")
LogisticsFlags: Any = optional(Logistics, "How it is carried out")


def cache(
    *,
    content: Path,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    variants: int = 1,
    preset: str = "default",
    quiet: Flag = False,
    options: StyleFlags = None,
    logistics: LogisticsFlags = None,
) -> int:
    """Write the content features of a folder of photos to an HDF5 file, for `train style --content FILE`.

    Parameters
    ----------
    content
        Folder of photos, searched through and through.
    output
        File to write.
    variants
        Crops of each photo, each cut, scaled and mirrored at random.
    preset
        Recipe of the training that will use it; the flags below change it.
    quiet
        No progress bar.
    """
    if variants < 1:
        raise UserError(f"--variants {variants} is not above 0")
    run = dataclasses.replace(presets.style_preset(preset), **given(options, runs.StyleRun))
    how = Logistics(**given(logistics, Logistics))
    training.require()

    from rich.console import Console
    from rich.progress import track

    from texturenets import data
    from texturenets.training import cache as writer
    from texturenets.training.setup import describe, descriptor_facts

    photos = data.scan(content, run.val_share, run.seed)
    described = describe(run, run.content_layers, how)
    jobs = writer.write(
        output,
        photos,
        described.networks,
        described.layers,
        image_size=run.image_size,
        variants=variants,
        seed=run.seed,
        flip=run.flip,
        val_share=run.val_share,
        descriptor=descriptor_facts(run, described.layers, described),
        device=described.device,
    )
    unreadable: list[str] = []
    total = -(-(len(photos.train) * variants + len(photos.val)) // 4)
    console = Console(stderr=True)
    for _, _, problems in track(
        jobs, "caching", total, console=console, disable=quiet or not console.is_terminal
    ):
        unreadable = problems
    for problem in unreadable:
        print(f"skipped: {problem}", file=sys.stderr)
    print(output)
    return 0
