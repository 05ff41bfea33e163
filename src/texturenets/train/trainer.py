"""The trainer: the training loop, which yields one record per step, saves checkpoints, and prints nothing.

Data and losses belong to the task (`texturenets.train.task`). A step: a batch of the task goes
to the device in microbatches; the network computes images of each, the task's losses of them are summed, and their
gradients accumulate; the optimizer steps; a record with the losses goes to the callbacks. Every so many steps the
network is validated and a checkpoint is written.
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
from texturenets.errors import DiskFullError, UserError, cannot_write, duration
from texturenets.memory.malloc import keep_freed_memory
from texturenets.modelfiles import modelfile
from texturenets.train import checkpoint, fingerprint, optimizer, processes
from texturenets.train.callbacks import DEFAULT, LOG_EVERY, Callback, MakeCallback
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

NO_STEP_LIMIT = 2**40  # steps of a run that ends after `minutes`


class Trainer:
    """Trains the network of a task: iterate over it for the records, then call `finish()`; in any case `leave()`."""

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
        """Checks everything before the first step: raises UserError for options that do not go together, files that
        cannot be read, missing weights, and a run that cannot be resumed.

        `out`: the model file; the folder of the run, NAME.run, is next to it. `progress`: called with the bytes done
        and in total while weights are downloaded.
        """
        self.task, self.out, self.config = task, out, config or TrainerConfig()
        self.run_folder, self.callbacks = RunFolder(out), callbacks
        self.folder = self.run_folder.path
        self.run_folder.check_new(task.config, resume)
        task.check(self.config)
        setup = set_up(task.config, task.layers, self.config, progress)
        self.device = setup.device
        if self.device.type == "cpu":
            keep_freed_memory()
        # The loss scaling of fp16, whose factor changes during the run and is part of its checkpoint.
        self.scaler = torch.amp.GradScaler(self.device.type) if setup.precision == "fp16" else None
        self.fabric = processes.make_fabric(self.device, setup.precision, self.scaler)
        self.fabric.launch()
        processes.check_whole_batch(task.config, self.fabric.world_size)
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
            self.run_folder.release()  # not left to the garbage collector: the traceback refers to this trainer
            raise
        self.stop = False
        self.unreadable: set[str] = set()  # messages of photos, each reported once

    def _has_fixed_kernels(self) -> bool:
        """Whether each step launches the same kernels, so that a CUDA graph can replay it."""
        return (
            self.device.type == "cuda"
            and self.fabric.world_size == 1
            and self.scaler is None  # the scaler skips the optimizer's step if a gradient is not finite
            and self.task.fixed_kernels
        )

    def _resume(self) -> None:
        state = checkpoint.read_state(self.folder)
        if changed := fingerprint.differences(state.fingerprint, self.fingerprint):
            raise UserError(
                f"`resume`: not the run that {self.folder} holds; what changed: {', '.join(changed)}; "
                "give what the first run was given, or leave `resume` out and start again with another `output`"
            )
        options = self.task.config
        if not options.minutes and options.steps < state.step:
            raise UserError(
                f"`resume`: {self.folder} has {state.step} steps already: `steps` {options.steps} is less"
            )
        before = state.fingerprint.get("run", {}).get("minutes")
        if 0 < 60 * options.minutes < state.seconds and options.minutes != before:
            raise UserError(
                f"`resume`: {self.folder} has {duration(state.seconds)} already: `minutes` {options.minutes:g} "
                "is less"
            )
        checkpoint.restore(self.folder, self.network, self.optimizer)
        if self.scaler and state.scaler:
            self.scaler.load_state_dict(state.scaler)
        self.state, self.saved_step = state, state.step
        state.fingerprint = (
            self.fingerprint
        )  # with the new `steps` or `minutes`, which may be more than before

    def progress(self, step: int) -> float:
        """The share of the run, 0 to 1, that is done after `step` steps: by its steps, or by its minutes."""
        options = self.task.config
        if options.minutes:
            return min(1.0, self.state.seconds / (60 * options.minutes))
        return step / options.steps

    def __iter__(self) -> Iterator[Record]:
        """Train, from the next step on; yields the record of each step, after the callbacks were called with it.

        Set `stop` to end after the current step, with a checkpoint. Raises UserError; if the disk is full, it says
        which model is kept and how to resume.
        """
        factories = self.callbacks if self.fabric.is_global_zero else ()
        callbacks: list[Callback] = []
        with self._explained_failures():
            try:
                callbacks += [make(self.folder, self.state.step) for make in factories]
                for record in self._records():
                    for callback in callbacks:
                        callback(record)
                    yield record
            finally:
                for callback in callbacks:
                    callback.close()

    @contextmanager
    def _explained_failures(self) -> Iterator[None]:
        """In the block, errors for a full disk or a killed worker say which model is kept and how to resume."""
        try:
            yield
            return
        except DiskFullError as error:
            failure: UserError = DiskFullError(
                f"{error}; {self._kept_model()}free space, then {self._how_to_resume()}"
            )
        except OSError as error:  # raised by a callback
            full = cannot_write(self.folder, error)
            if not isinstance(full, DiskFullError):
                raise
            failure = DiskFullError(f"{full}; {self._kept_model()}free space, then {self._how_to_resume()}")
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            failure = UserError(
                "a data loader process was killed, probably because memory ran out (fewer `workers` need less); "
                f"{self._kept_model()}{self._how_to_resume()}"
            )
        raise failure from None

    def _kept_model(self) -> str:
        last = self.run_folder.last
        return f"{last} is the model so far; " if last.exists() else ""

    def _how_to_resume(self) -> str:
        if (self.folder / checkpoint.NAME).exists():
            return "run the same command with `resume`"
        model = self.run_folder.model()
        return "start again" if model is None else checkpoint.anew(model)

    def _records(self) -> Iterator[Record]:
        options, fabric = self.task.config, self.fabric
        if self.progress(self.state.step) >= 1:
            return
        local_batch = options.batch_size // fabric.world_size
        slots = range(fabric.global_rank * local_batch, (fabric.global_rank + 1) * local_batch)
        steps = range(self.state.step, NO_STEP_LIMIT if options.minutes else options.steps)
        earlier_seconds = self.state.seconds
        started = step_ended = time.perf_counter()
        for batch in self.task.batches(steps, slots, self.config.workers):
            waited = time.perf_counter() - step_ended
            rate = learning_rate(options, batch.step, self.progress(batch.step))
            optimizer.set_rate(self.optimizer, rate)
            losses, images = self._step(self.task.microbatches(batch, slots))
            self.state.step = step = batch.step + 1
            self.state.seconds = earlier_seconds + time.perf_counter() - started
            last = self.progress(step) >= 1
            if self._must_check_losses(step) or last or self.stop:
                self._check_losses(step, losses, rate)
            stopping = self._stopping()
            unreadable = sorted({*self.task.unreadable, *batch.unreadable} - self.unreadable)
            self.unreadable.update(unreadable)
            record = Record(step, losses, rate, 0.0, waited, unreadable)
            if fabric.is_global_zero:
                self._evaluate(record, batch, images, last)
            record.seconds = self.state.seconds = earlier_seconds + time.perf_counter() - started
            if _due(step, self.config.save_every) or last or stopping:
                record.saved = self.save()
            yield record
            if fabric.world_size == 1:  # of several processes, all must end after the same step
                stopping = self.stop
            if stopping and not record.saved:  # a signal arrived while the caller handled the record
                self.save()
            if last or stopping:
                return
            step_ended = time.perf_counter()

    def _stopping(self) -> bool:
        """Whether to stop after this step: one answer for all processes, which a signal may reach in different
        steps."""
        if self.fabric.world_size == 1:
            return self.stop
        stop = torch.tensor(float(self.stop), device=self.fabric.device)
        return bool(self.fabric.all_reduce(stop, reduce_op="max"))

    def _must_check_losses(self, step: int) -> bool:
        """Whether to check the losses: on a CPU in each step, on a GPU before anything is written.

        Reading a number synchronizes with the GPU, which then idles until the next step's kernels are launched.
        """
        config = self.config
        intervals = (
            config.pictures_every,
            config.validate_every,
            config.snapshot_every,
            config.save_every,
            LOG_EVERY,
        )
        return self.device.type == "cpu" or any(_due(step, every) for every in intervals)

    def _check_losses(self, step: int, losses: dict[str, Tensor], rate: float) -> None:
        """Raises UserError if a loss is not finite; earlier checkpoints and models stay as they are."""
        total = float(torch.stack(list(losses.values())).sum())
        if math.isfinite(total):
            return
        worst = [name for name, value in losses.items() if not math.isfinite(float(value))]
        last = self.run_folder.last
        kept = f"; the last good model is {last}" if last.exists() else ""
        raise UserError(
            f"the training diverged: {', '.join(worst[:3]) or 'the loss'} is {total} at step {step} with a "
            f"learning rate of {rate:.3g}; start again with a lower `learning_rate`{kept}"
        )

    def _step(self, microbatches: Sequence[Microbatch]) -> tuple[dict[str, Tensor], Tensor]:
        """One step of the optimizer; returns the mean losses and the network's images."""
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
        """Forward and backward passes of all microbatches and the optimizer's step, without synchronizing a GPU."""
        count = len(microbatches)
        totals: dict[str, Tensor] = {}
        outputs = []
        self.optimizer.zero_grad()
        for i, microbatch in enumerate(microbatches):
            more = i < count - 1
            with self.fabric.no_backward_sync(self.module) if more else nullcontext():
                images, losses = self.task.training_step(self._forward, microbatch, progress)
                self.fabric.backward(torch.stack(list(losses.values())).sum() / count)
            for name, value in losses.items():
                mean = value.detach() / count
                totals[name] = totals[name] + mean if name in totals else mean
            outputs.append(images.detach())
        self.optimizer.step()
        return totals, torch.cat(outputs)

    def _forward(self, photos: Tensor | None, noise: Sequence[Tensor], condition: int | None) -> Any:
        """The network's output in training mode, by the module that Fabric has wrapped."""
        return self.module(*self._inputs(photos, noise, condition))

    def _inputs(
        self, photos: Tensor | None, noise: Sequence[Tensor], condition: int | None
    ) -> tuple[Any, ...]:
        """The positional arguments of the network."""
        if condition is not None:
            return photos, noise if self.takes_noise else None, condition
        return (photos, noise) if self.takes_noise else (photos,)

    @torch.no_grad()
    def _forward_eval(self, photos: Tensor | None, noise: Sequence[Tensor], condition: int | None) -> Any:
        """The network's output in evaluation mode; not by the wrapped module, which may wait for other processes."""
        self.network.eval()
        with self.fabric.autocast():
            output = self.network(*self._inputs(photos, noise, condition))
        self.network.train()
        return output

    def _evaluate(self, record: Record, batch: Batch, images: Tensor, last: bool) -> None:
        """Example images, validation and a snapshot, each if it is due in this step."""
        step, config = record.step, self.config
        if _due(step, config.pictures_every) or last or step == 1:
            record.pictures = self.task.example_images(batch, images[:4].float().cpu())
        if _due(step, config.validate_every) or last:
            self._validate(record, last)
        if _due(step, config.snapshot_every):
            self.save_model(self.run_folder.snapshot(step))

    @torch.no_grad()
    def _validate(self, record: Record, last: bool) -> None:
        """Compute the validation losses; save the model if it is the best (without validation data, the last)."""
        microbatches = self.task.validation_microbatches()
        if not microbatches:
            record.best = last
            self.state.best_step = record.step
        else:
            sums: dict[str, float] = {}
            count = sum(microbatch.count for microbatch in microbatches)
            for microbatch in microbatches:
                _, losses = self.task.validation_step(self._forward_eval, microbatch)
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
        """Save the checkpoint and the last model; returns the checkpoint's path."""
        path = self.folder / checkpoint.NAME
        if self.fabric.is_global_zero:
            self.save_model(self.run_folder.last)
            self.state.scaler = self.scaler.state_dict() if self.scaler else None
            path = checkpoint.save(self.folder, self.state, self.network, self.optimizer)
        self.saved_step = self.state.step
        return path

    def save_model(self, path: Path) -> None:
        """Save the network as it is now, in the task's file format; with `into` its base model is put next to it."""
        if self.config.base:
            modelfile.keep_base(path, modelfile.find(self.config.base))
        provenance = Provenance(self.out.stem, self.config, self.state)
        self.task.save(path, self.network, self._forward_eval, provenance)

    def leave(self) -> None:
        """Unlock the folder, and leave the process group: a process that exits while in one aborts."""
        self.run_folder.release()
        processes.leave()

    def finish(self) -> Path:
        """Copy the best model, by validation, to `out`, with `into` also its base model; returns `out`."""
        with self._explained_failures():
            path = self.run_folder.finish()
        if self.config.base:
            modelfile.keep_base(path, modelfile.find(self.config.base))
        return path


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
