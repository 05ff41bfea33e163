"""Progress of `texturenets train`: a progress bar, the expected time, and validation losses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich import progress
from rich.console import Console

from texturenets.errors import counted, duration
from texturenets.train.callbacks import mean_losses
from texturenets.train.records import Record
from texturenets.train.trainer import Trainer

FORECAST_AFTER = 10  # steps: the first ones are slower


class TrainingProgress:
    """Called with each record, inside `with progress.visible()`; writes to standard error."""

    def __init__(self, trainer: Trainer, quiet: bool) -> None:
        self.trainer, self.options, self.quiet = trainer, trainer.task.config, quiet
        self.first = trainer.fabric.is_global_zero
        self.step, self.seconds = trainer.state.step, trainer.state.seconds  # before this start
        self.console = Console(stderr=True)
        self.bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            disable=quiet or not self.first or not self.console.is_terminal,
        )
        self.budget = int(60 * self.options.minutes)
        self.line = self.bar.add_task(
            trainer.out.stem,
            total=self.budget or self.options.steps,
            completed=int(self.seconds) if self.budget else self.step,
            rate="",
        )
        self.forecast_made = self.waits_noted = self.closed = False

    @contextmanager
    def visible(self) -> Iterator[None]:
        """The bar is shown in the block."""
        self.bar.start()
        try:
            yield
        finally:
            with suppress(OSError, SystemExit):  # the terminal was closed
                self.bar.stop()

    def __call__(self, record: Record) -> None:
        """Show one record."""
        done = record.step - self.step
        rate = done * self.options.batch_size / max(record.seconds - self.seconds, 1e-9)
        completed = int(record.seconds) if self.budget else record.step
        self.bar.update(self.line, completed=completed, rate=f"{rate:.1f} images/s")
        for problem in record.unreadable:
            self._print(f"skipped: {problem}", markup=False)
        if not self.first:
            return
        if not self.waits_noted and done > FORECAST_AFTER and record.waited > 0.5:
            self.waits_noted = True
            self.say(f"a step waited {record.waited:.1f} s for photos to be read; raise --workers")
        if self.quiet:
            return
        if not self.forecast_made and done >= min(FORECAST_AFTER, self.options.steps):
            self.forecast_made = True
            message = forecast(self.trainer, record.step, done, record.seconds - self.seconds)
            self.say(f"{message} on {self.trainer.device}")
        if record.validation:
            training, validation = sum(mean_losses([record]).values()), sum(record.validation.values())
            best = " (best)" if record.best else ""
            self.say(f"step {record.step}: training {training:.3f}, validation {validation:.3f}{best}")

    def say(self, text: str) -> None:
        """Print a line above the bar, in the first process."""
        if self.first:
            self._print(text)

    def _print(self, text: str, *, markup: bool = True) -> None:
        """Print, unless standard error is closed, as of a terminal or a pipe: the training goes on without."""
        try:
            if not self.closed:
                self.console.print(text, highlight=False, markup=markup, soft_wrap=True)
        except (OSError, SystemExit):  # what rich makes of a broken pipe
            self.closed = True


def forecast(trainer: Trainer, step: int, done: int, seconds: float) -> str:
    """Print the expected time after `step`, from the `seconds` that `done` steps took in this process. Validations
    are not among these; they run the networks only forward: a third of a step for each batch.
    """
    options, every = trainer.task.config, trainer.config.validate_every
    pace = seconds / done
    batches = sum(one.count for one in trainer.task.validation_microbatches()) / options.batch_size
    if options.minutes:
        left = max(0.0, 60 * options.minutes - trainer.state.seconds)
        steps = left / max(pace * (1 + batches / 3 / every if every else 1), 1e-9)
        return f"about {step + steps:.0f} steps in {duration(60 * options.minutes)}"
    validations = 1 + ((options.steps - 1) // every - step // every if every else 0)
    left = (options.steps - step) * pace + validations * batches * pace / 3
    return f"about {duration(left)} for {counted(options.steps, 'step')}"
