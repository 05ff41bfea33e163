"""A painting given as a style: it is added to a model with several styles by a minute of training, and cached."""

from __future__ import annotations

import hashlib
import math
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from texturenets.cli.common import download_progress, warn
from texturenets.errors import UserError

if TYPE_CHECKING:
    from texturenets.cli.styles import ChosenStyle
    from texturenets.train.configuration import GalleryConfig
    from texturenets.train.trainer import Trainer

STYLE: Final = "painting"
"""The name of the style in its cached file: the image may be renamed."""

GALLERY: Final = "gallery"
"""The shipped or fetched model to which paintings are added by default."""

MINUTES: Final = 1.0

MAX_PHOTOS = 16
"""Maximum number of the photos to stylize that are used for training: they are decoded before the minute begins."""


def base_for(painting: str, into: str | None, photos: Sequence[str]) -> Path:
    """The file of the model to which `painting` is added: `into`, else a shipped or fetched gallery. Raises UserError
    for a model with one style, and if there is no such model.
    """
    from texturenets.modelfiles import modelfile
    from texturenets.train import into as training

    if into is None and GALLERY not in {**modelfile.fetched(), **modelfile.shipped()}:
        photo = photos[0] if photos and not Path(photos[0]).is_dir() else "PHOTO"
        raise UserError(
            f"--style {painting} is an image, not a trained style yet: with --into MODEL it is learned in a minute, "
            "into a model of several styles, which `texturenets train gallery` trains (none is shipped); "
            f"`texturenets train style {painting} --content FOLDER-OF-PHOTOS` trains one by itself, in minutes on a "
            f"GPU and up to two hours on a processor; `texturenets optimize --style {painting} --content {photo}` "
            "stylizes one photo without, in minutes"
        )
    return training.find(GALLERY if into is None else into)


def check_minutes(minutes: float) -> float:
    """Return `minutes`. Raises UserError if it is not above 0."""
    if not 0 < minutes < math.inf:
        raise UserError(f"--minutes {minutes:g} is not a number above 0")
    return minutes


def learned(style: ChosenStyle, photos: Sequence[str], device: str, *, quiet: bool) -> Path:
    """The model file of a style. A painting is trained first, unless it is in the cache. `photos`: the photos to
    stylize, for training. Raises UserError for a painting that cannot be learned, and without PyTorch.
    """
    from texturenets.modelfiles import modelfile

    if style.painting is None:
        return style.model
    kept = _kept(style.painting, style.model, style.minutes)
    if not modelfile.is_model(kept):
        from texturenets import train

        train.require(f"to learn {style.painting}")
        try:
            _learn(style, kept, photos, device, quiet=quiet)
        except KeyboardInterrupt as error:
            error.args = (f"{style.painting} is not learned, and nothing is kept",)
            raise
    return kept


def _kept(painting: Path, base: Path, minutes: float) -> Path:
    """The path in the cache for the style learned from `painting`: by the bytes of both files."""
    from texturenets.fetch import digest
    from texturenets.files import cache_folder
    from texturenets.modelfiles import modelfile

    identity = f"{modelfile.FORMAT} {float(minutes)} {digest(painting, 'sha256')}"
    name = hashlib.sha256(identity.encode()).hexdigest()[:32]
    return cache_folder() / "paintings" / digest(base, "sha256")[:32] / f"{name}.safetensors"


def _learn(style: ChosenStyle, kept: Path, photos: Sequence[str], device: str, *, quiet: bool) -> None:
    """Learn a painting and write the file `kept`; the base model is written next to it."""
    from texturenets.files import atomic_write, remove_stale
    from texturenets.modelfiles import modelfile
    from texturenets.train import into
    from texturenets.train.fallback import with_own

    painting, base = style.painting, style.model
    assert painting is not None
    config = into.configuration(base, style.minutes)
    modelfile.keep_base(
        kept, base
    )  # now: so that an unwritable cache is reported before the minute of training
    remove_stale(kept)
    with tempfile.TemporaryDirectory(prefix="texturenets-") as name:
        content = _content(Path(name) / "photos", photos, config.image_size)

        def made(config: GalleryConfig) -> Trainer:
            return _trainer(config, style, content, device, quiet=quiet)

        trainer = with_own(made, config, chosen=False, resumed=None, say=warn)
        if not quiet:  # only now: the painting is read and the weights are found
            time = f"{style.minutes:g} minute{'' if style.minutes == 1 else 's'}"
            print(f"learning {painting} into {base.stem} for {time}, once: it is kept", file=sys.stderr)
        file = _trained(trainer, quiet=quiet)
        with atomic_write(kept) as part:
            part.write_bytes(file.read_bytes())


def _trainer(
    config: GalleryConfig, style: ChosenStyle, content: Path, device: str, *, quiet: bool
) -> Trainer:
    """The training of a painting, at one strength and stroke size: a minute is short."""
    from texturenets.modelfiles import modelfile
    from texturenets.train.gallery_task import GalleryTask
    from texturenets.train.trainer import Trainer
    from texturenets.train.trainer_config import TrainerConfig

    painting = style.painting
    assert painting is not None
    # The full strength and the painting's stroke size only.
    first = modelfile.read_header(style.model).rows[0]
    task = GalleryTask(config, {STYLE: painting}, content, [(first.strength, first.stroke)])
    how = TrainerConfig(
        into=str(style.model), device=device, workers=0, save_every=0, validate_every=0, pictures_every=0
    )
    bar = None if quiet or not sys.stderr.isatty() else download_progress()
    out = content.with_name(f"{painting.stem}.safetensors")
    return Trainer(task, out, how, callbacks=(), progress=bar)


def _trained(trainer: Trainer, *, quiet: bool) -> Path:
    """Train to the end, with a progress bar; the model file."""
    from texturenets.cli.training_progress import TrainingProgress

    shown = TrainingProgress(trainer, quiet)
    try:
        with shown.bar:
            for record in trainer:
                shown(record)
        return trainer.finish()
    finally:
        trainer.leave()


def _content(folder: Path, photos: Sequence[str], side: int) -> Path:
    """Write a folder of training photos: at most MAX_PHOTOS of those to stylize, and those of the package. They are
    reduced to what crops of `side` pixels need, to be decoded fast; unreadable photos are left out.
    """
    from texturenets import image, video
    from texturenets.cli.demo import PHOTOS
    from texturenets.train.data import MAX_SCALE

    local = [name for name in photos if "://" not in name]
    found = [
        path
        for path in image.expand(local, recursive=True, empty=True, missing={})
        if not video.is_video(path)
    ]
    chosen = found[:: max(1, len(found) // MAX_PHOTOS)][:MAX_PHOTOS]
    for number, path in enumerate([*chosen, *map(Path, PHOTOS)]):
        info = image.read_header(path)
        large = info is not None and min(info.upright) > MAX_SCALE * side
        longer = round(max(info.upright) * MAX_SCALE * side / min(info.upright)) if info and large else None
        with suppress(UserError):  # reported later, when it is stylized
            image.write(folder / f"{number}.png", image.read(path, longer=longer).rgb)
    return folder
