"""`texturenets train`: a painting and a folder of photos, or the exemplar of a texture, to a model file."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from texturenets import presets, runs
from texturenets.cli.common import Flag
from texturenets.cli.flags import given, optional
from texturenets.cli.styles import check_no_model
from texturenets.errors import UserError, counted, duration
from texturenets.training import require
from texturenets.training.logistics import Logistics

if TYPE_CHECKING:
    from texturenets.training.loop import Training as AnyTraining
    from texturenets.training.style import StyleTraining

    Training = AnyTraining[Any]

app = App(
    name="train",
    help="Train a model on a picture.",
)

Images = Annotated[list[Path], Parameter(negative_iterable=())]
Output = Annotated[Path | None, Parameter(name=["--output", "-o"])]
StyleFlags: Any = optional(runs.StyleRun, "What it comes to")
TextureFlags: Any = optional(runs.TextureRun, "What it comes to")
LogisticsFlags: Any = optional(Logistics, "How it is carried out")


@app.command
def style(
    images: Images,
    /,
    *,
    content: Path | None = None,
    output: Output = None,
    preset: str = "default",
    descriptor: str | None = None,
    resume: Flag = False,
    quiet: Flag = False,
    options: StyleFlags = None,
    logistics: LogisticsFlags = None,
) -> int:
    """Train a network that repaints photos like a painting.

    Parameters
    ----------
    images
        The painting; several pictures are taken as one style.
    content
        Folder of photos, searched through and through; or a file that `texturenets cache` wrote. A few hundred of
        your own will do, or COCO's val2017 (5,000 photos, 1 GB).
    output
        Model file to write [default: the painting's name with .safetensors]. Beside it grows a folder NAME.run with
        checkpoints, the best and the last model, live pictures, records.jsonl and TensorBoard's events.
    preset
        Recipe to start from: default, paper or readme; flags change it.
    descriptor
        Descriptor network whose usual layers are taken, as vgg19 or random (which needs no download).
    resume
        Go on where an interrupted run of the same command stopped; with more --steps or --minutes train a finished
        one further.
    quiet
        No progress bar.
    """
    run = dataclasses.replace(presets.style_preset(preset), **_flags(options, runs.StyleRun, descriptor))
    out = _model_file(output, images)
    require()
    if content is None:
        from texturenets.data import WHENCE

        raise UserError(f"--content FOLDER is missing: a style is learned on photos; {WHENCE}")

    from texturenets.training.style import StyleTraining

    how = Logistics(**given(logistics, Logistics))
    training = StyleTraining(run, images, content, out, how, resume=resume, progress=_download_bar(quiet))
    _warn(training)
    return _carry_out(training, quiet)


@app.command
def texture(
    images: Images,
    /,
    *,
    output: Output = None,
    preset: str = "default",
    descriptor: str | None = None,
    resume: Flag = False,
    quiet: Flag = False,
    options: TextureFlags = None,
    logistics: LogisticsFlags = None,
) -> int:
    """Train a network that draws a texture from noise.

    Parameters
    ----------
    images
        The exemplar; several pictures are taken as examples of one texture.
    output
        Model file to write [default: the exemplar's name with .safetensors]. Beside it grows a folder NAME.run with
        checkpoints, the best and the last model, live pictures, records.jsonl and TensorBoard's events.
    preset
        Recipe to start from: default, paper or readme; flags change it.
    descriptor
        Descriptor network whose usual layers are taken, as vgg19 or random (which needs no download).
    resume
        Go on where an interrupted run of the same command stopped; with more --steps or --minutes train a finished
        one further.
    quiet
        No progress bar.
    """
    run = dataclasses.replace(presets.texture_preset(preset), **_flags(options, runs.TextureRun, descriptor))
    out = _model_file(output, images)
    require()

    from texturenets.training.texture import TextureTraining

    how = Logistics(**given(logistics, Logistics))
    training = TextureTraining(run, images, out, how, resume=resume, progress=_download_bar(quiet))
    return _carry_out(training, quiet)


def _flags(options: Any, kind: type, descriptor: str | None) -> dict[str, Any]:
    """The fields of a run that were given, the layers of `descriptor` where none were."""
    chosen = given(options, kind)
    if chosen.get("minutes") and "steps" in chosen:
        raise UserError("--minutes ends a run by the clock, --steps by their number: give one of them")
    if descriptor is None:
        return chosen
    from texturenets.descriptors import recommended

    style, content = recommended(descriptor)
    usual = {"style_layers": style, "content_layers": content}
    known = {f.name for f in dataclasses.fields(kind)}
    return {**{k: v for k, v in usual.items() if k in known}, **chosen}


def _model_file(output: Path | None, images: list[Path]) -> Path:
    """Where the model goes that is learned from `images`. Raises UserError."""
    check_no_model(images)
    return runs.model_file(output or Path(images[0].stem + ".safetensors"))


def _carry_out(training: Training, quiet: bool) -> int:
    """Run `training` to its end and say what came of it; the exit status."""
    begun = training.state.step
    try:
        finished = follow(training, quiet)
    finally:
        training.leave()
    if not training.fabric.is_global_zero:
        return 0
    if not finished:
        minutes = f", {training.state.seconds / 60:.1f} of {training.run.minutes:g} minutes"
        far = minutes if training.run.minutes else f" of {training.run.steps}"
        print(
            f"stopped after step {training.state.step}{far}, saved; the same command with --resume goes on, and "
            f"{training.folder / 'last.safetensors'} is what it has learned so far",
            file=sys.stderr,
        )
        print(training.folder)
        return 130
    if begun and training.state.step == begun:
        print(
            f"the run was finished, after step {begun}: more --steps (or --minutes) train it further",
            file=sys.stderr,
        )
    _note_short(training)
    best = training.state.best_step
    print(f"{duration(training.state.seconds)}; the best of the run is step {best}", file=sys.stderr)
    print(training.finish())
    return 0


def _note_short(training: Training) -> None:
    """Say so where a training from nothing has ended before a tenth of what the recipe takes."""
    step, usual = training.state.step, type(training.run)().steps
    if step < usual / 10 and not training.logistics.init:
        print(
            f"texturenets: note: after {counted(step, 'step')} the model has hardly learned, {usual} are usual: the "
            "same command with --resume and more --steps (or --minutes) trains it further",
            file=sys.stderr,
        )


def _warn(training: StyleTraining) -> None:
    from texturenets.data import SMALL_SET, readable

    count = training.count
    if count < SMALL_SET and training.cached is None:
        count = len(readable(training.photos.train))
    if count < SMALL_SET and training.fabric.is_global_zero:
        them = "these" if count > 1 else "it"
        print(
            f"texturenets: only {counted(count, 'photo')}: the network will know {them} better than others "
            f"(docs/training.md shows what it costs; {SMALL_SET} and more are fine)",
            file=sys.stderr,
        )


def _download_bar(quiet: bool) -> Any:
    if quiet or not sys.stderr.isatty():
        return None
    from texturenets.cli.common import download_progress

    return download_progress()


@contextmanager
def interruptible(training: Training) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run after the step at hand; a second Ctrl-C ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: Any) -> None:
        if training.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        training.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(training: Training, quiet: bool) -> bool:
    """Run `training` to its end with bar, pictures, log and TensorBoard. False where it was interrupted."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from texturenets.training.listeners import mean_losses, usual

    first = training.fabric.is_global_zero
    start, run = training.state.step, training.run
    listeners = usual(training.folder, start) if first else []
    budget = 60 * run.minutes
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=quiet or not first or not console.is_terminal,
    )
    begun = training.state.seconds
    estimated = starved = False
    with interruptible(training), bar:
        task = bar.add_task(
            training.out.stem,
            total=int(budget) or run.steps,
            completed=int(begun) if budget else start,
            rate="",
        )
        for record in training:
            for listener in listeners:
                listener(record)
            done = record.step - start
            rate = done * run.batch_size / max(record.seconds - begun, 1e-9)
            bar.update(
                task, completed=int(record.seconds) if budget else record.step, rate=f"{rate:.1f} images/s"
            )
            for problem in record.unreadable:
                console.print(f"skipped: {problem}", highlight=False, markup=False, soft_wrap=True)
            if first and not quiet and not estimated and done >= min(10, run.steps):
                estimated = True
                console.print(
                    _forecast(training, record.step, done, record.seconds - begun) + f" on {training.device}",
                    highlight=False,
                )
            if first and not starved and done > 10 and record.waited > 0.5:
                starved = True
                console.print(
                    f"the disk starves the step: {record.waited:.1f} s waited for photos; raise --workers",
                    highlight=False,
                )
            if first and record.validation and not quiet:
                losses = mean_losses([record])
                console.print(
                    f"step {record.step}: training {sum(losses.values()):.3f}, "
                    f"validation {sum(record.validation.values()):.3f}" + (" (best)" if record.best else ""),
                    highlight=False,
                )
    for listener in listeners:
        listener.close()
    return bool(training.done(training.state.step) >= 1)


def _forecast(training: Training, step: int, done: int, seconds: float) -> str:
    """What is left after `step`: `done` steps took this process `seconds`. Validations, of which none has been yet,
    look forward alone: a third of a step's work each batch."""
    run, every = training.run, training.logistics.validate_every
    pace = seconds / done
    batches = sum(part.count for part in training.validation_parts()) / run.batch_size
    if run.minutes:
        left = max(0.0, 60 * run.minutes - training.state.seconds)
        steps = left / max(pace * (1 + batches / 3 / every if every else 1), 1e-9)
        return f"about {step + steps:.0f} steps in {duration(60 * run.minutes)}"
    looks = 1 + ((run.steps - 1) // every - step // every if every else 0)
    left = (run.steps - step) * pace + looks * batches * pace / 3
    return f"about {duration(left)} for {counted(run.steps, 'step')}"
