"""`texturenets train`: trains a style on a painting and photos, or a texture on an exemplar, to a model file."""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from texturenets.cli.arguments import Option
from texturenets.cli.command_line import Group
from texturenets.cli.common import warn
from texturenets.cli.flags import given, optional_flags, user_chose_networks, with_descriptor
from texturenets.cli.styles import check_no_model
from texturenets.errors import UserError, counted, duration
from texturenets.train import into, presets, require
from texturenets.train.configuration import (
    GalleryConfig,
    PerceptualConfig,
    StyleConfig,
    TextureConfig,
    model_file,
    replaced,
)
from texturenets.train.trainer_config import TrainerConfig
from texturenets.train.unused_options import check_used

if TYPE_CHECKING:
    from texturenets.noise import Wave
    from texturenets.train.style_task import StyleTask
    from texturenets.train.task import Task
    from texturenets.train.trainer import Trainer

C = TypeVar("C", StyleConfig, GalleryConfig, TextureConfig)

OutputFlag = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        help="Model file to write [default: the image's name with .safetensors]. A folder NAME.run beside it gets "
        "the checkpoints, the best and the last model, example images, records.jsonl and TensorBoard's event "
        "files.",
    ),
]
GalleryFile = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        help="Model file to write. A folder NAME.run beside it gets the same files as for `train style`.",
    ),
]
PerceptualFile = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        help="File of weights to write, in half precision. A folder NAME.run beside it gets the same files as for "
        "`train style`.",
    ),
]
Preset = Annotated[
    str,
    Option(
        help="Named set of defaults to start from: default; quick, for a style: fewer steps, from the weights of the "
        "style wave if the generator is the default one; paper, as in the Texture Networks papers (arXiv 1603.03417 "
        "and 1701.02096); readme, as in the README of their original Torch implementation, texture_nets. Other flags "
        "override it; --init none starts from nothing."
    ),
]
DescriptorFlag = Annotated[
    str | None,
    Option(
        help="Network whose features the losses use, at its default layers: a pretrained one, for example vgg19, "
        "own (small, comes with the package; one that `train perceptual` made is given with --weights own=FILE), or "
        "random (untrained filters, no download)."
    ),
]
Resume = Annotated[
    bool,
    Option(
        help="Continue an interrupted run of the same command from its checkpoint; with more --steps or --minutes, "
        "continue a finished one."
    ),
]
Quiet = Annotated[bool, Option(help="No progress bar.")]
StyleFlags: Any = optional_flags(StyleConfig, "Training options")
# Without the options that `GalleryConfig` refuses, and those that have an effect only with them.
GalleryFlags: Any = optional_flags(
    GalleryConfig, "Training options", without=("diversity_weight", "diversity_layer", "texture_photos")
)
TextureFlags: Any = optional_flags(TextureConfig, "Training options")
# Without padding and pooling: `own` learns the teacher's. Without --accumulate: the losses compare the images of a
# whole batch.
PerceptualFlags: Any = optional_flags(
    PerceptualConfig, "Training options", without=("accumulate", "descriptor_padding", "pool")
)
PerceptualTrainerFlags: Any = optional_flags(
    TrainerConfig, "Run options", without=("into", "unfreeze", "engine")
)
StyleTrainerFlags: Any = optional_flags(TrainerConfig, "Run options")
TrainerFlags: Any = optional_flags(TrainerConfig, "Run options", without=("into", "unfreeze"))


def style(
    images: list[Path],
    /,
    *,
    content: Path | None = None,
    output: OutputFlag = None,
    preset: Preset = "default",
    descriptor: DescriptorFlag = None,
    resume: Resume = False,
    quiet: Quiet = False,
    options: StyleFlags | None = None,
    trainer: StyleTrainerFlags | None = None,
) -> int:
    """Train a generator, a network that stylizes photos like a painting.

    Parameters
    ----------
    images
        The painting; several images are taken as one style.
    content
        Folder of photos, with all its subfolders; or a content feature file, which `texturenets cache` writes. A few
        hundred of your own are enough, or COCO's val2017 (5,000 photos, 1 GB).
    """
    flags = _flags(options, StyleConfig, descriptor)
    run_flags = given(trainer, TrainerConfig)
    if not {"init", "into"} & run_flags.keys():
        run_flags["init"] = presets.start_of(
            preset, dataclasses.replace(presets.style_preset(preset), **flags)
        )
    trainer_config = TrainerConfig(**run_flags)
    if trainer_config.into:
        flags |= into.defaults(flags, unfreeze=trainer_config.unfreeze)
    config = dataclasses.replace(presets.style_preset(preset), **flags)
    check_used(config, given(options, StyleConfig))
    out = _model_file(output, images)
    require()

    from texturenets.train.gallery_task import style_task

    def made(config: StyleConfig) -> Trainer:
        task = style_task(config, images, _content(content), trainer_config.into)
        return _trainer(task, out, trainer_config, resume=resume, quiet=quiet)

    trainer_made = _with_own(
        made, config, out, flags, chosen=user_chose_networks(descriptor, preset, flags), resume=resume
    )
    return _train_on_photos(trainer_made, quiet)


def gallery(
    images: list[Path],
    /,
    *,
    content: Path | None = None,
    output: GalleryFile = Path("gallery.safetensors"),
    descriptor: DescriptorFlag = None,
    resume: Resume = False,
    quiet: Quiet = False,
    options: GalleryFlags | None = None,
    trainer: TrainerFlags | None = None,
) -> int:
    """Train one generator that stylizes photos like several paintings, each at two strengths and two stroke sizes.

    Parameters
    ----------
    images
        The paintings; each becomes a style named after its file.
    content
        Folder of photos, or a content feature file, as for `train style`.
    """
    flags = _flags(options, GalleryConfig, descriptor)
    config = GalleryConfig(**flags)
    check_used(config, given(options, GalleryConfig))
    trainer_config = TrainerConfig(**given(trainer, TrainerConfig))
    out = _model_file(output, images)
    require()

    from texturenets.train.gallery_task import GalleryTask

    def made(config: GalleryConfig) -> Trainer:
        task = GalleryTask(config, images, _content(content))
        return _trainer(task, out, trainer_config, resume=resume, quiet=quiet)

    chosen = user_chose_networks(descriptor, "default", flags)
    return _train_on_photos(_with_own(made, config, out, flags, chosen=chosen, resume=resume), quiet)


def texture(
    images: list[Path],
    /,
    *,
    output: OutputFlag = None,
    preset: Preset = "default",
    descriptor: DescriptorFlag = None,
    resume: Resume = False,
    quiet: Quiet = False,
    options: TextureFlags | None = None,
    trainer: TrainerFlags | None = None,
) -> int:
    """Train a generator, a network that makes images of a texture from noise, or all maps of a material in register.

    Parameters
    ----------
    images
        The exemplar, an image of the texture; several images are taken as examples of one texture. A folder is a
        material: its images are maps, whose names end in color, normal, roughness, metallic, height or occlusion, or
        in the names of Blender, Unreal and glTF.
    """
    flags = _flags(options, TextureConfig, descriptor)
    config = dataclasses.replace(presets.texture_preset(preset), **flags)
    check_used(config, given(options, TextureConfig))
    out = _model_file(output, images, folders=True)
    require()

    from texturenets.train.material_task import texture_task

    trainer_config = TrainerConfig(**given(trainer, TrainerConfig))

    def made(config: TextureConfig) -> Trainer:
        task = texture_task(config, images)
        trainer_made = _trainer(task, out, trainer_config, resume=resume, quiet=quiet)
        if task.waves and not quiet:
            _say_periods(task.waves)
        return trainer_made

    chosen = user_chose_networks(descriptor, preset, flags)
    return _train(_with_own(made, config, out, flags, chosen=chosen, resume=resume), quiet)


def perceptual(
    folders: list[Path],
    /,
    *,
    output: PerceptualFile = Path("own.safetensors"),
    resume: Resume = False,
    quiet: Quiet = False,
    options: PerceptualFlags | None = None,
    trainer: PerceptualTrainerFlags | None = None,
) -> int:
    """Train a small descriptor network, one whose features losses compare, in place of VGG-16 and
    SqueezeNet, from which it is distilled: for `--descriptor own --weights own=FILE`.

    Parameters
    ----------
    folders
        Folders of images, with all their subfolders: photos, paintings, textures. They take turns: a folder of ten
        images counts as much as one of ten thousand.
    """
    config = PerceptualConfig(**_flags(options, PerceptualConfig, None))
    check_used(config, given(options, PerceptualConfig))
    trainer_config = TrainerConfig(**given(trainer, TrainerConfig))
    out = model_file(output)
    require()

    from texturenets.train.distillation.task import DistillationTask

    task = DistillationTask(config, folders)
    return _train(_trainer(task, out, trainer_config, resume=resume, quiet=quiet), quiet)


COMMANDS = Group(
    "Train a style on a painting, a gallery on several, or a texture on an exemplar.",
    {"style": style, "gallery": gallery, "texture": texture, "perceptual": perceptual},
)


def _content(content: Path | None) -> Path:
    """The folder of photos. Raises UserError if none is given."""
    if content is None:
        from texturenets.train.data import PHOTO_SOURCES

        raise UserError(f"--content FOLDER is missing: a style is learned on photos; {PHOTO_SOURCES}")
    return content


def _with_own(
    make: Callable[[C], Trainer], config: C, out: Path, flags: Collection[str], *, chosen: bool, resume: bool
) -> Trainer:
    """The trainer for `config`; if weights are missing, for `config` with the fallback descriptor network `own`."""
    from texturenets.train.fallback import with_own
    from texturenets.train.run_folder import RunFolder

    resumed = RunFolder(out).path if resume else None
    return with_own(make, config, chosen=chosen, resumed=resumed, say=warn, given=flags)


def _train_on_photos(made: Trainer, quiet: bool) -> int:
    from texturenets.train import data

    photos = cast("StyleTask", made.task).photos
    if made.fabric.is_global_zero and (few := data.few(photos.readable, photos.held)):
        print(f"texturenets: {few}", file=sys.stderr)
    return _train(made, quiet)


def _flags(options: Any, kind: type, descriptor: str | None) -> dict[str, Any]:
    """The configuration fields given on the command line, with the default layers of `descriptor` unless layers are
    given."""
    chosen = given(options, kind)
    if chosen.get("minutes") and "steps" in chosen:
        raise UserError("--minutes and --steps both end the training: give only one of them")
    return with_descriptor(chosen, descriptor, kind)


def _model_file(output: Path | None, images: list[Path], *, folders: bool = False) -> Path:
    """The model file to write, by default named after the first of `images`. `folders`: folders among them are
    materials. Raises UserError for a name of another suffix, and if `images` holds a model or, without `folders`, a
    folder."""
    check_no_model(images)
    if not folders:
        _check_no_folder(images)
    return model_file(output or Path(images[0].absolute().stem + ".safetensors"))


def _check_no_folder(images: list[Path]) -> None:
    """Raise UserError for a folder among the images to learn, with the pattern that names the images in it."""
    from texturenets import image

    for folder in images:
        if folder.is_dir():
            suffix = next(
                (file.suffix for file in sorted(folder.iterdir()) if image.has_image_suffix(file)), ".jpg"
            )
            raise UserError(
                f"{folder} is a folder, not an image: name the images in it, for example {folder / f'*{suffix}'}"
            )


def _trainer(task: Task, out: Path, config: TrainerConfig, *, resume: bool, quiet: bool) -> Trainer:
    from texturenets.train.trainer import Trainer

    made = Trainer(task, out, config, resume=resume, progress=_download_bar(quiet))
    _note_there(out, resume=resume, quiet=quiet)
    return made


def _say_periods(waves: Sequence[Wave]) -> None:
    """Print with which periods the exemplar repeats."""
    lengths = " and ".join(f"{1 / math.hypot(*wave):.1f}" for wave in waves)
    print(f"it repeats every {lengths} pixels, and so will the samples (--no-periodic: not)", file=sys.stderr)


def _note_there(out: Path, *, resume: bool, quiet: bool) -> None:
    if not resume and not quiet and (text := replaced(out)):
        print(text, file=sys.stderr)


def _train(trainer: Trainer, quiet: bool) -> int:
    """Train to the end and print the result; returns the exit status."""
    begun = trainer.state.step
    try:
        status = follow(trainer, quiet)
    finally:
        trainer.leave()
    if not trainer.fabric.is_global_zero:
        return 0
    made = None if status else trainer.finish()  # before anything is printed, perhaps to a closed terminal
    _tell(trainer, begun, status, made)
    return status


def _tell(trainer: Trainer, begun: int, status: int, made: Path | None) -> None:
    """Print how a training ended that `begun` after that step, with the exit status `status` and the model `made`."""
    options, state = trainer.task.config, trainer.state
    if trainer.unreadable:
        were = "was" if len(trainer.unreadable) == 1 else "were"
        print(
            f"{counted(len(trainer.unreadable), 'photo')} cannot be read and {were} skipped", file=sys.stderr
        )
    if made is None:
        minutes = f", {state.seconds / 60:.1f} of {options.minutes:g} minutes"
        far = minutes if options.minutes else f" of {options.steps}"
        print(
            f"stopped after step {state.step}{far}, checkpoint saved; the same command with --resume continues, and "
            f"{trainer.run_folder.last} is the model so far",
            file=sys.stderr,
        )
        print(trainer.folder)
        return
    if begun and state.step == begun:
        print(
            f"the run was already finished, after step {begun}: more --steps (or --minutes) continue it",
            file=sys.stderr,
        )
    _note_short(trainer)
    best = f"the best model of the run is that of step {state.best_step}"
    if state.best is None:
        best = f"the model is that of step {state.best_step}, as nothing was validated"
    print(f"{duration(state.seconds)}; {best}", file=sys.stderr)
    print(made)


def _note_short(trainer: Trainer) -> None:
    """Print a note if a training without --init has ended before a tenth of the default number of steps."""
    step, usual = trainer.state.step, type(trainer.task.config)().steps
    if step < usual / 10 and not (trainer.config.init or trainer.config.into):
        print(
            f"texturenets: note: {counted(step, 'step')} {'is' if step == 1 else 'are'} few, {usual} are usual: the "
            "same command with --resume and more --steps (or --minutes) continues the training",
            file=sys.stderr,
        )


def _download_bar(quiet: bool) -> Any:
    if quiet or not sys.stderr.isatty():
        return None
    from texturenets.cli.common import download_progress

    return download_progress()


def follow(trainer: Trainer, quiet: bool) -> int:
    """Train to the end, with a progress bar and messages on standard error. Returns the exit status: 0; 130 after
    Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    from texturenets.cli.training_progress import TrainingProgress
    from texturenets.train.interruption import interruptible

    shown = TrainingProgress(trainer, quiet)
    with interruptible(trainer, say=shown.say) as received, shown.visible():
        for record in trainer:
            shown(record)
    if trainer.progress(trainer.state.step) >= 1:
        return 0
    # As a shell reports it. If there was no signal here, another process of the training got it.
    return 128 + (received[0] if received else signal.SIGINT)
