"""Training from Python: `texturenets.train_style` and `texturenets.train_texture`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from texturenets import api, presets, runs
from texturenets.errors import UserError
from texturenets.losses import Loss
from texturenets.textures import Texture
from texturenets.training import require
from texturenets.training.logistics import Logistics

require()

from texturenets.training.listeners import usual  # noqa: E402
from texturenets.training.loop import Record, Training  # noqa: E402
from texturenets.training.style import StyleTraining  # noqa: E402
from texturenets.training.texture import TextureTraining  # noqa: E402

PathLike = str | Path
Progress = Callable[[Record], object]


def train_style(
    paintings: PathLike | Sequence[PathLike],
    content: PathLike,
    output: PathLike,
    *,
    run: runs.StyleRun | str = "default",
    logistics: Logistics | None = None,
    losses: Sequence[Loss] = (),
    progress: Progress | None = None,
    resume: bool = False,
) -> api.Style:
    """Train a network that repaints photos like a painting; the style, loaded from the model file `output`.

    `paintings`: a picture's file, or several that are taken as one style. `content`: a folder of photos, or a file
    that `texturenets cache` wrote. `output`: ends in .safetensors; beside it grows a folder NAME.run, as
    docs/training.md says. `run`: what is learned and how, a recipe's name ("default", "paper", "readme") or a
    `StyleRun`; `logistics`: how it is carried out. `losses`: of your own, beside those of the run
    (`texturenets.losses.Loss`).

    `progress`: called with a record each step: its `step` counted from 1, `losses` by name (tensors), `seconds` of
    training so far, `validation` (numbers by name, or None), `pictures` every now and then; where it returns True the
    run ends after that step, saved, and the style is the last model. `resume`: go on with a run that was stopped, or,
    with more steps or minutes, with one that was finished.

    Raises UserError for what the command line would refuse.
    """
    chosen = presets.style_preset(run) if isinstance(run, str) else run
    out = runs.model_file(Path(output))
    training = StyleTraining(
        chosen, _paths(paintings), Path(content), out, logistics, resume=resume, losses=losses
    )
    path = _carry_out(training, progress)
    return api.load_style(path, training.logistics.device, generator=training.custom)


def train_texture(
    exemplars: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    run: runs.TextureRun | str = "default",
    logistics: Logistics | None = None,
    losses: Sequence[Loss] = (),
    progress: Progress | None = None,
    resume: bool = False,
) -> Texture:
    """Train a network that draws a texture from noise; the texture, loaded from the model file `output`.

    `exemplars`: a picture's file, or several that are taken as examples of one texture. `run`: a recipe's name
    ("default", "paper", "readme") or a `TextureRun`. The rest, and errors, as in `train_style`.
    """
    chosen = presets.texture_preset(run) if isinstance(run, str) else run
    out = runs.model_file(Path(output))
    training = TextureTraining(chosen, _paths(exemplars), out, logistics, resume=resume, losses=losses)
    path = _carry_out(training, progress)
    return api.load_texture(path, training.logistics.device, generator=training.custom)


def _paths(given: PathLike | Sequence[PathLike]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | Path) else [Path(one) for one in given]


def _carry_out(training: Training[Any], progress: Progress | None) -> Path:
    """Run it to its end, or until `progress` says so; the model file. Raises UserError for several processes: all of
    them would write the same files."""
    if training.fabric.world_size > 1:
        training.leave()
        raise UserError("several processes train by the command line: torchrun -m texturenets train style")
    listeners = usual(training.folder, training.state.step)
    try:
        for record in training:
            for listener in listeners:
                listener(record)
            if progress is not None and progress(record) is True:
                training.stop = True
        if training.done(training.state.step) >= 1:
            return training.finish()
        return training.folder / "last.safetensors"
    finally:
        for listener in listeners:
            listener.close()
        training.leave()
