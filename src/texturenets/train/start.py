"""Training from Python: `texturenets.train_style` and `texturenets.train_texture`."""

from __future__ import annotations

import dataclasses
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from texturenets import arguments, loading
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.losses import Loss
from texturenets.stylize import style
from texturenets.textures import Texture
from texturenets.train import into, presets, require
from texturenets.train.configuration import (
    GalleryConfig,
    RunConfig,
    StyleConfig,
    TextureConfig,
    model_file,
    replaced,
)
from texturenets.train.trainer_config import TrainerConfig
from texturenets.train.unused_options import check_used

require()

from texturenets.train import data  # noqa: E402
from texturenets.train.fallback import with_own  # noqa: E402
from texturenets.train.gallery_task import style_task  # noqa: E402
from texturenets.train.generator_task import GeneratorTask  # noqa: E402
from texturenets.train.interruption import interruptible  # noqa: E402
from texturenets.train.material_task import texture_task  # noqa: E402
from texturenets.train.records import Record  # noqa: E402
from texturenets.train.run_folder import RunFolder  # noqa: E402
from texturenets.train.trainer import Trainer  # noqa: E402

PathLike = str | Path
C = TypeVar("C", StyleConfig, TextureConfig)
RecordCallback = Callable[[Record], object]


def train_style(
    paintings: PathLike | Sequence[PathLike],
    content: PathLike,
    output: PathLike,
    *,
    config: StyleConfig | str = "default",
    trainer: TrainerConfig | None = None,
    losses: Sequence[Loss] = (),
    progress: RecordCallback | None = None,
    resume: bool = False,
) -> style.Style:
    """Train a network that stylizes photos like a painting; the style, loaded from the model file `output`.

    `paintings`: an image file, or several that form one style. `content`: a folder of photos, or a file that
    `texturenets cache` wrote, a content feature file. `output`: must end in .safetensors; a folder NAME.run is
    created next to it (docs/training.md). `config`: the training options, a preset's name ("default", "quick",
    "paper", "readme"), with the steps and rate of `texturenets train style --into` where `trainer` has a model
    to train into, or a `StyleConfig`; `trainer`: device, weights, intervals of saving. `losses`: your own, in
    addition to those of `config` (`texturenets.losses.Loss`). `progress`: called with a record after each step: its
    `step` counted from 1, `losses` by name (tensors), `seconds` of training so far, `validation` (numbers by name, or
    None), `pictures` occasionally. If it returns the string "stop", the training ends after that step with a
    checkpoint: the returned style is the last model, and `output` is not written. Ctrl-C and exceptions raised in it
    also end the training with a checkpoint, and are raised. `resume`: continue a stopped training, or, with more
    steps or minutes, a finished one. Warnings are issued for few photos, for unreadable photos, and if the file
    `output` will be replaced. Raises UserError as the command line does.
    """
    chosen = presets.style_preset(config) if isinstance(config, str) else config
    _check(chosen, StyleConfig, trainer, losses)
    if isinstance(chosen, GalleryConfig):
        raise UserError("`config` is a GalleryConfig, for `texturenets train gallery`: give a StyleConfig")
    trainer = trainer or TrainerConfig()
    if isinstance(config, str) and not (trainer.init or trainer.into):
        trainer = dataclasses.replace(trainer, init=presets.start_of(config, chosen))
    if trainer.into and isinstance(config, str):
        chosen = dataclasses.replace(chosen, **into.defaults((), unfreeze=trainer.unfreeze))
    _check_run(progress, resume)
    out = model_file(_path("output", output))
    base = trainer.into
    images, photos = _paths("paintings", paintings), _path("content", content)

    def made_of(config: StyleConfig) -> Trainer:
        task = style_task(config, images, photos, base, losses)
        if few := data.few(task.photos.readable, task.photos.held):
            warnings.warn(few, stacklevel=5)
        return Trainer(task, out, trainer, resume=resume)

    made = _made(made_of, chosen, config, out, resume)
    path = _run(made, progress)
    return loading.load_style(path, EngineOptions(device=made.config.device, generator=_user_code(made)))


def train_texture(
    exemplars: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    config: TextureConfig | str = "default",
    trainer: TrainerConfig | None = None,
    losses: Sequence[Loss] = (),
    progress: RecordCallback | None = None,
    resume: bool = False,
) -> Texture:
    """Train a network that generates a texture from noise; the texture, loaded from the model file `output`.

    `exemplars`: an image file, or several examples of one texture; or a folder of maps, of which a `Material` is
    learned (docs/materials.md). `config`: a preset's name
    ("default", "paper", "readme") or a `TextureConfig`. Other arguments, and errors, as in `train_style`.
    """
    chosen = presets.texture_preset(config) if isinstance(config, str) else config
    _check(chosen, TextureConfig, trainer, losses)
    _check_run(progress, resume)
    out = model_file(_path("output", output))
    images = _paths("exemplars", exemplars)

    def made_of(config: TextureConfig) -> Trainer:
        return Trainer(texture_task(config, images, losses), out, trainer, resume=resume)

    made = _made(made_of, chosen, config, out, resume)
    path = _run(made, progress)
    return loading.load_drawn(path, EngineOptions(device=made.config.device, generator=_user_code(made)))


def _check(config: RunConfig, kind: type, trainer: object, losses: object) -> None:
    """Raise UserError for an argument of another type, and for options that change nothing."""
    wanted = f"a preset's name or {kind.__name__}(...)"
    arguments.instance("config", config, kind, wanted)
    check_used(config)
    arguments.instance("trainer", trainer, TrainerConfig | None, "TrainerConfig(...)")
    arguments.instance("losses", losses, list | tuple, "a list of instances, [MyLoss()]")


def _check_run(progress: object, resume: object) -> None:
    arguments.instance("progress", progress, Callable | None, "a function that takes a record")
    arguments.flag("resume", resume)


def _path(name: str, given: object) -> Path:
    arguments.instance(name, given, str | Path, "the path of a file or folder")
    return Path(given)  # type: ignore[arg-type]


def _paths(name: str, given: object) -> list[Path]:
    if isinstance(given, list | tuple):
        return [_path(name, one) for one in given]
    return [_path(name, given)]


def _warn_of_unreadable(record: Record) -> None:
    for problem in record.unreadable:
        warnings.warn(f"skipped: {problem}", stacklevel=4)


def _made(make: Callable[[C], Trainer], config: C, given: object, out: Path, resume: bool) -> Trainer:
    """The trainer for `config`; if `given`, a preset's name, allows it and weights are missing, with the fallback
    descriptor `own`."""
    trainer = with_own(
        make,
        config,
        chosen=given not in presets.REPLACEABLE,
        resumed=RunFolder(out).path if resume else None,
        say=lambda text: warnings.warn(text, stacklevel=5),
    )
    if not resume and (text := replaced(out)):  # not before: the trainer refuses where a run is there
        warnings.warn(text, stacklevel=3)
    return trainer


def _user_code(trainer: Trainer) -> str | None:
    """The code of the network, if it is the user's own: training it was consent to run it."""
    return cast(GeneratorTask, trainer.task).custom


def _signals() -> list[signal.Signals]:
    """Ctrl-C, unless another handler is installed."""
    return [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []


def _run(trainer: Trainer, progress: RecordCallback | None) -> Path:
    """Train to the end, or until `progress` stops it; returns the model file. Ctrl-C and exceptions of `progress`
    also end it with a checkpoint. Raises UserError for several processes: all of them would write the same files."""
    try:
        if trainer.fabric.world_size > 1:
            raise UserError(
                "several processes train by the command line: torchrun -m texturenets train style"
            )
        with interruptible(trainer, _signals()) as come:
            for record in trainer:
                _warn_of_unreadable(record)
                try:
                    if progress is not None and arguments.stops(progress(record)):
                        trainer.stop = True
                except BaseException:
                    trainer.save()
                    raise
        if come:
            raise KeyboardInterrupt(f"saved after step {trainer.state.step}; continue with `resume`")
        if trainer.progress(trainer.state.step) >= 1:
            return trainer.finish()
        return trainer.run_folder.last
    finally:
        trainer.leave()
