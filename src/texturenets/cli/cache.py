"""`texturenets cache`: writes a content feature file, the content features of a folder's photos, computed once."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

from texturenets import train
from texturenets.cli.arguments import Option
from texturenets.cli.flags import given, optional_flags
from texturenets.errors import UserError
from texturenets.train.configuration import StyleConfig
from texturenets.train.presets import style_preset
from texturenets.train.trainer_config import TrainerConfig

StyleFlags: Any = optional_flags(StyleConfig, "Training options, as they will be given to train style")
TrainerFlags: Any = optional_flags(TrainerConfig, "Run options", ("weights", "offline", "device"))

SUFFIXES = (".h5", ".hdf5")


def cache(
    *,
    content: Path,
    output: Annotated[Path, Option("--output", "-o")],
    crops_per_photo: int = 1,
    preset: str = "default",
    quiet: bool = False,
    options: StyleFlags | None = None,
    trainer: TrainerFlags | None = None,
) -> int:
    """Write a content feature file (HDF5): crops of a folder's photos and their content features, for `train style
    --content FILE`, which then does not compute them.

    Of the training options, --content-layers, --image-size, --flip, --val-share, --seed, --descriptor-padding, --pool
    and --precision change the file, given as such or by --preset; the others change nothing. Give what the training
    will have: it refuses a file that was made with other ones, except for --seed.

    Parameters
    ----------
    content
        Folder of photos, searched with all its subfolders.
    output
        File to write, NAME.h5; an existing one is replaced.
    crops_per_photo
        Random crops of each photo, with random scale and mirroring.
    preset
        Named set of defaults of the training that will use the file: default; paper, as in the Texture Networks
        papers (arXiv 1603.03417 and 1701.02096); or readme, as in the README of their original Torch implementation,
        texture_nets; the training options below override it.
    quiet
        No progress bar.
    """
    if crops_per_photo < 1:
        raise UserError(f"--crops-per-photo {crops_per_photo} is not above 0")
    if output.suffix.lower() not in SUFFIXES:  # never replace a file of another format that has the same name
        raise UserError(f"--output {output}: the format is HDF5: give a name such as {output.stem}.h5")
    config = dataclasses.replace(style_preset(preset), **given(options, StyleConfig))
    trainer_config = TrainerConfig(**given(trainer, TrainerConfig))
    train.require("cache")

    from rich.console import Console
    from rich.progress import track

    from texturenets.train import data
    from texturenets.train import feature_cache as writer
    from texturenets.train.setup import descriptor_fingerprint, set_up

    photos = data.scan(content, config.val_share, config.seed)
    setup = set_up(config, config.content_layers, trainer_config)
    jobs = writer.write(
        output,
        photos,
        setup.networks,
        setup.layers,
        image_size=config.image_size,
        crops_per_photo=crops_per_photo,
        seed=config.seed,
        flip=config.flip,
        val_share=config.val_share,
        descriptor=descriptor_fingerprint(config, setup.layers, setup),
        device=setup.device,
    )
    unreadable: list[str] = []
    total = -(-(len(photos.train) * crops_per_photo + len(photos.val)) // 4)
    console = Console(stderr=True)
    for _, _, problems in track(
        jobs, "caching", total, console=console, disable=quiet or not console.is_terminal
    ):
        unreadable = problems
    for problem in unreadable:
        print(f"skipped: {problem}", file=sys.stderr)
    print(output)
    return 0
