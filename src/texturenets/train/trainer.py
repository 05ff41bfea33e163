"""The trainer: yields a record a step, saves checkpoints, and never prints. What is learned is a task's business.

A step: a batch of the task goes to the device in microbatches; the network makes images of each, the task's losses
of them are added up and their gradient is accumulated; the optimizer steps; a record says what came of it, and
goes to the callbacks. Every so many steps the network is validated and a checkpoint is written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenets.engines.devices import is_out_of_memory
from texturenets.errors import DiskFullError, UserError, cannot_write
from texturenets.modelfiles import modelfile
from texturenets.train import allocator, checkpoint, fingerprint, optimizer, processes
from texturenets.train.callbacks import DEFAULT, MakeCallback
from texturenets.train.cuda_graph import CudaGraphStep
from texturenets.train.data import Batch
from texturenets.train.microbatch import Microbatch
from texturenets.train.progress import Progress
from texturenets.train.records import Record
from texturenets.train.run_folder import RunFolder
from texturenets.train.schedule import learning_rate
from texturenets.train.setup import set_up
from texturenets.train.task import Provenance, Task
from texturenets.train.trainer_config import TrainerConfig

CHECKED_EVERY = 20  # steps between two looks at the losses on a GPU
ENDLESS = 2**40  # steps of a run that ends by the clock


class Trainer:
    """Trains the network of a task: iterate it for its records, then `finish()`; `leave()` in any case."""

    def __init__(
        self,
        task: Task,
        out: Path,
        config: TrainerConfig | None = None,
        *,
        callbacks: Sequence[MakeCallback] = DEFAULT,
        resume: bool = False,
        progress: Any = None,
    ) -> None:
        """Everything that can be wrong is found here, before the first step: UserError.

        `out`: the model file; beside it is the run's folder, NAME.run. `progress`: called with bytes done and in all
        while weights are fetched.
        """
        self.task, self.out, self.config = task, out, config or TrainerConfig()
        self.run_folder, self.callbacks = RunFolder(out), callbacks
        self.folder = self.run_folder.path
        self.run_folder.check_new(task.config, resume)
        task.check(self.config)
        setup = set_up(task.config, task.layers, self.config, progress)
        self.device = setup.device
        if self.device.type == "cpu":
            allocator.keep_freed_memory()
        # Half precision multiplies the loss by a number that it adapts: part of the run's state.
        self.scaler = torch.amp.GradScaler(self.device.type) if setup.precision == "fp16" else None
        self.fabric = processes.make_fabric(self.device, setup.precision, self.scaler)
        self.fabric.launch()
        processes.check_processes(task.config, self.fabric.world_size)
        self.fingerprint = fingerprint.of_training(task, setup, self.config)
        self.network = task.prepare(setup, self.config, resume)
        self.takes_noise = bool(getattr(self.network, "noise", ()))
        self.cuda_graph = CudaGraphStep(self._compute_step) if self._has_fixed_kernels() else None
        self.optimizer = optimizer.make(task.config, self.network, self.device, self.cuda_graph is not None)
        self.state = checkpoint.TrainingState(0, 0.0, None, 0, self.fingerprint)
        self.saved_step = 0  # of the last checkpoint; 0: none
        try:
            if self.fabric.is_global_zero:
                self.run_folder.take(task.config, resume)
            if resume:
                self._resume()
            self.module, self.optimizer = self.fabric.setup(self.network, self.optimizer)
        except BaseException:
            self.run_folder.release()  # who catches the error may hold on to it, and to this trainer
            raise
        self.stop = False
        self.unreadable: set[str] = set()  # messages of photos, each reported once

    def _has_fixed_kernels(self) -> bool:
        """Whether a step is the same kernels each time, so that a CUDA graph can hold it."""
        return (
            self.device.type == "cuda"
            and self.fabric.world_size == 1
            and self.scaler is None  # looks at the gradients before it decides on a step
            and self.task.fixed_kernels
        )

    def _resume(self) -> None:
        state = checkpoint.read_state(self.folder)
        if changed := fingerprint.differences(state.fingerprint, self.fingerprint):
            raise UserError(
                f"`resume`: not the run that {self.folder} holds; what changed: {', '.join(changed)}; "
                "give what the first run was given, or leave `resume` out and start anew with another `output`"
            )
        options = self.task.config
        if not options.minutes and options.steps < state.step:
            raise UserError(
                f"`resume`: {self.folder} has {state.step} steps already: `steps` {options.steps} is less"
            )
        checkpoint.restore(self.folder, self.network, self.optimizer)
        if self.scaler and state.scaler:
            self.scaler.load_state_dict(state.scaler)
        self.state, self.saved_step = state, state.step
        state.fingerprint = self.fingerprint  # it may go on for longer than it was begun for

    def progress(self, step: int) -> float:
        """The share of the run that is done after `step` steps: of its steps, or of its minutes."""
        options = self.task.config
        if options.minutes:
            return min(1.0, self.state.seconds / (60 * options.minutes))
        return step / options.steps

    def __iter__(self) -> Iterator[Record]:
        """Records from the next step on, each after the callbacks had it. Set `stop` to end after the step at hand,
        saved. Raises UserError, where the disk is full with what is kept and how to go on."""
        wanted = self.callbacks if self.fabric.is_global_zero else ()
        callbacks = [make(self.folder, self.state.step) for make in wanted]
        with self._failures_told():
            try:
                for record in self._records():
                    for callback in callbacks:
                        callback(record)
                    yield record
            finally:
                for callback in callbacks:
                    callback.close()

    @contextmanager
    def _failures_told(self) -> Iterator[None]:
        """Say of a full disk or a killed worker in the block what is kept of the training, and how to go on."""
        try:
            yield
            return
        except DiskFullError as error:
            failure: UserError = DiskFullError(f"{error}; {self._kept()}free room, then {self._again()}")
        except OSError as error:  # of a callback
            full = cannot_write(self.folder, error)
            if not isinstance(full, DiskFullError):
                raise
            failure = DiskFullError(f"{full}; {self._kept()}free room, then {self._again()}")
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            failure = UserError(
                "a process that reads photos was killed, as where memory runs out (fewer `workers` take less); "
                f"{self._kept()}{self._again()}"
            )
        raise failure from None

    def _kept(self) -> str:
        last = self.run_folder.last
        return f"{last} is the model so far; " if last.exists() else ""

    def _again(self) -> str:
        begun = (self.folder / checkpoint.NAME).exists()
        return "the same command with `resume` goes on" if begun else "start anew"

    def _records(self) -> Iterator[Record]:
        options, fabric = self.task.config, self.fabric
        if self.progress(self.state.step) >= 1:
            return
        share = options.batch_size // fabric.world_size
        slots = range(fabric.global_rank * share, (fabric.global_rank + 1) * share)
        steps = range(self.state.step, ENDLESS if options.minutes else options.steps)
        before = self.state.seconds
        started = mark = time.perf_counter()
        for batch in self.task.batches(steps, slots, self.config.workers):
            waited = time.perf_counter() - mark
            rate = learning_rate(options, batch.step, self.progress(batch.step))
            optimizer.set_rate(self.optimizer, rate)
            losses, images = self._step(self.task.microbatches(batch, slots))
            self.state.step = step = batch.step + 1
            self.state.seconds = before + time.perf_counter() - started
            last = self.progress(step) >= 1
            if self._losses_are_checked(step) or last or self.stop:
                self._check_losses(step, losses, rate)
            self._agree_on_stop()
            unreadable = sorted({*self.task.unreadable, *batch.unreadable} - self.unreadable)
            self.unreadable.update(unreadable)
            record = Record(step, losses, rate, 0.0, waited, unreadable)
            if fabric.is_global_zero:
                self._look_at(record, batch, images, last)
            record.seconds = self.state.seconds = before + time.perf_counter() - started
            if _due(step, self.config.save_every) or last or self.stop:
                record.saved = self.save()
            yield record
            if self.stop and not record.saved:  # a signal that came while the record was written down
                self.save()
            if last or self.stop:
                return
            mark = time.perf_counter()

    def _agree_on_stop(self) -> None:
        """The signal may have come to one process between two steps of the other."""
        if self.fabric.world_size > 1:
            asked = torch.tensor(float(self.stop), device=self.fabric.device)
            self.stop = bool(self.fabric.all_reduce(asked, reduce_op="max"))

    def _losses_are_checked(self, step: int) -> bool:
        """On the processor after each step, else before anything is written.

        To look at a number waits for the device, which then waits for the next step's kernels.
        """
        how = self.config
        each = (how.pictures_every, how.validate_every, how.snapshot_every, how.save_every, CHECKED_EVERY)
        return self.device.type == "cpu" or any(_due(step, every) for every in each)

    def _check_losses(self, step: int, losses: dict[str, Tensor], rate: float) -> None:
        """Raises UserError where a loss is not finite; what was saved before stays as it is."""
        total = float(torch.stack(list(losses.values())).sum())
        if math.isfinite(total):
            return
        worst = [name for name, value in losses.items() if not math.isfinite(float(value))]
        last = self.run_folder.last
        kept = f"; the last good model is {last}" if last.exists() else ""
        raise UserError(
            f"the training diverged: {', '.join(worst[:3]) or 'the loss'} is {total} at step {step} with a "
            f"learning rate of {rate:.3g}; start anew with a lower `learning_rate`{kept}"
        )

    def _step(self, microbatches: Sequence[Microbatch]) -> tuple[dict[str, Tensor], Tensor]:
        """One step of the optimizer; the mean losses, and the images that the network made."""
        step = self.state.step
        number = torch.tensor(step).to(self.device, non_blocking=True)
        progress = Progress(self.progress(step + 1), number)
        try:
            if self.cuda_graph:
                return self.cuda_graph(microbatches, progress)
            return self._compute_step(microbatches, progress)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                options = self.task.config
                raise UserError(
                    f"out of memory at `batch_size` {options.batch_size} and "
                    f"`image_size` {options.image_size}: lower one, or split the batch with `accumulate` 2"
                ) from None
            raise

    def _compute_step(
        self, microbatches: Sequence[Microbatch], progress: Progress
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The work of a step; on a GPU it waits for nothing."""
        count = len(microbatches)
        totals: dict[str, Tensor] = {}
        drawn = []
        self.optimizer.zero_grad()
        for i, microbatch in enumerate(microbatches):
            more = i < count - 1
            with self.fabric.no_backward_sync(self.module) if more else nullcontext():
                images, losses = self.task.training_step(self._draw, microbatch, progress)
                self.fabric.backward(torch.stack(list(losses.values())).sum() / count)
            for name, value in losses.items():
                mean = value.detach() / count
                totals[name] = totals[name] + mean if name in totals else mean
            drawn.append(images.detach())
        self.optimizer.step()
        return totals, torch.cat(drawn)

    def _draw(self, photos: Tensor | None, noise: Sequence[Tensor], condition: int | None) -> Any:
        """The network in training."""
        return self.module(*self._given(photos, noise, condition))

    def _given(
        self, photos: Tensor | None, noise: Sequence[Tensor], condition: int | None
    ) -> tuple[Any, ...]:
        """What the network takes."""
        if condition is not None:
            return photos, noise if self.takes_noise else None, condition
        return (photos, noise) if self.takes_noise else (photos,)

    @torch.no_grad()
    def _draw_eval(self, photos: Tensor | None, noise: Sequence[Tensor], condition: int | None) -> Any:
        """The network as users will have it. Not the wrapped one, which may wait there for the other processes."""
        self.network.eval()
        with self.fabric.autocast():
            made = self.network(*self._given(photos, noise, condition))
        self.network.train()
        return made

    def _look_at(self, record: Record, batch: Batch, images: Tensor, last: bool) -> None:
        """Images, validation and a snapshot, where the step is one for them."""
        step, how = record.step, self.config
        if _due(step, how.pictures_every) or last or step == 1:
            record.pictures = self.task.shown(batch, images[:4].float().cpu())
        if _due(step, how.validate_every) or last:
            self._validate(record, last)
        if _due(step, how.snapshot_every):
            self.save_model(self.run_folder.snapshot(step))

    @torch.no_grad()
    def _validate(self, record: Record, last: bool) -> None:
        microbatches = self.task.validation_microbatches()
        if not microbatches:
            record.best = last
            self.state.best_step = record.step
        else:
            sums: dict[str, float] = {}
            count = sum(microbatch.count for microbatch in microbatches)
            for microbatch in microbatches:
                _, losses = self.task.validation_step(self._draw_eval, microbatch)
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * microbatch.count / count
            record.validation = sums
            total = sum(sums.values())
            record.best = math.isfinite(total) and (self.state.best is None or total < self.state.best)
            if record.best:
                self.state.best, self.state.best_step = total, record.step
        if record.best:
            self.save_model(self.run_folder.best)

    def save(self) -> Path:
        """Checkpoint and last model; the checkpoint's path."""
        path = self.folder / checkpoint.NAME
        if self.fabric.is_global_zero:
            self.save_model(self.run_folder.last)
            self.state.scaler = self.scaler.state_dict() if self.scaler else None
            path = checkpoint.save(self.folder, self.state, self.network, self.optimizer)
        self.saved_step = self.state.step
        return path

    def save_model(self, path: Path) -> None:
        """The network as it is now, as the file that the task makes of it."""
        provenance = Provenance(self.out.stem, self.config, self.state)
        self.task.save(path, self.network, self._draw_eval, provenance)

    def leave(self) -> None:
        """Release the folder, and leave the other processes; one that ends while still joined to them aborts."""
        self.run_folder.release()
        processes.leave()

    def finish(self) -> Path:
        """The best model, by validation, put under the name asked for; the model that it needs too, if that lies
        elsewhere."""
        with self._failures_told():
            path = self.run_folder.finish()
        if self.config.base:
            modelfile.keep_base(path, modelfile.find(self.config.base))
        return path


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
