"""The training loop: yields a record a step, saves checkpoints, and never prints.

`Training` is what runs of styles (`training.style`) and of textures (`training.texture`) have in common.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision, Precision
from torch import Tensor, nn

from texturenets import data, image, modelfile, noise, runs, specs
from texturenets.devices import is_out_of_memory
from texturenets.errors import UserError
from texturenets.files import sweep, whole
from texturenets.generators import build
from texturenets.generators.trace import trace
from texturenets.losses import Loss, Objective, named
from texturenets.noise import NoiseInput
from texturenets.training import checkpoint, memory, setup
from texturenets.training.claim import Claim
from texturenets.training.logistics import Logistics
from texturenets.training.optimizer import Muon
from texturenets.training.parts import Part
from texturenets.training.recorded import Recorder
from texturenets.training.schedule import lattice_share, learning_rate

R = TypeVar("R", bound=runs.Run)


LETTING_GO = 0.2  # seconds in which other threads get the interpreter; they are waiting for it already
CHECKED_EVERY = 20  # steps between two looks at the losses on a graphics card
SMALLEST = 32  # pixels of the shorter side of what is learned: the deepest default layers see two positions
ENDLESS = 2**40  # steps of a run that ends by the clock
FLAT = 1 / 255  # standard deviation of the channels below which a picture holds nothing to learn


@dataclass
class Record:
    """One step: counted from 1, losses by name (weighted, on the device), and what happened beside it."""

    step: int
    losses: dict[str, Tensor]
    learning_rate: float
    seconds: float
    waited: float
    unreadable: list[str] = field(default_factory=list)
    validation: dict[str, float] | None = None
    best: bool = False
    pictures: Tensor | None = None
    saved: Path | None = None


class Training(Generic[R]):
    """One run: build it, iterate it for its records, then `finish()`. What goes in is the subclasses' business."""

    kind: ClassVar[Literal["style", "texture"]]

    def __init__(
        self,
        run: R,
        styles: Sequence[Path],
        out: Path,
        logistics: Logistics | None = None,
        *,
        resume: bool = False,
        progress: Any = None,
        losses: Sequence[Loss] = (),
    ) -> None:
        """Everything that can be wrong is found here, before the first step: UserError.

        `losses`: of the user's own, beside those of the run. `progress`: called with bytes done and in all while
        weights are fetched.
        """
        self.run, self.out, self.logistics = run, out, logistics or Logistics()
        self.folder = out.with_suffix(".run")
        # Before weights are fetched: a name misspelt is told at once.
        self.losses = named(losses)
        pictures = [self._picture(path).rgb for path in styles]
        self._find_inputs()
        self._check_new(resume)
        described = setup.describe(run, run.layers, self.logistics, progress)
        if described.device.type == "cpu":
            memory.keep_freed_memory()
        self.device, self.precision = described.device, described.precision
        self.fabric = self._fabric()
        self.fabric.launch()
        self._check_processes(run)
        self.spec = specs.make(run.generator, run.settings)
        self.facts = {
            "run": runs.to_dict(run),
            **self._inputs_facts(described),
            "styles": [path.name for path in styles],
            "styles_sha256": [_sha256(path) for path in styles],
            "descriptors_sha256": described.networks.sha256,
            "losses": list(self.losses),
            "init": _identity(self.logistics.init),
            "precision": self.precision,
        }
        self.objective = Objective(
            described.networks, [p.to(self.device) for p in pictures], setup.terms(run), self.losses
        ).to(self.device)
        torch.manual_seed(run.seed)
        # Who names a file of their own to be trained wants its code to be run.
        self.custom = run.generator if isinstance(self.spec, specs.Custom) else None
        self.network = build(self.spec, custom=self.custom).to(self.device)
        self.noise: tuple[NoiseInput, ...] = getattr(self.network, "noise", ())
        self._check_network()
        if self.custom is not None and self.logistics.engine != "torch":
            trace(self.network)  # what no graph can hold is told now, and not when the model is written
        if self.device.type in ("cpu", "cuda"):
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.logistics.init:
            self._start_from(modelfile.find(self.logistics.init))
        self.recorder = Recorder(self._apart) if self._can_record() else None
        self.optimizer = self._optimizer()
        self.state = checkpoint.State(0, 0.0, None, 0, self.facts)
        self.claim: Claim | None = None
        self._take_folder(resume)
        if resume:
            self._resume()
        self.module, self.optimizer = self.fabric.setup(self.network, self.optimizer)
        self.unreadable: list[str] = []
        self._hold_out()
        self.stop = False
        self.started = time.perf_counter()

    # What a subclass says.

    def _find_inputs(self) -> None:
        """Find what the network will be fed with. Raises UserError."""

    def _inputs_facts(self, described: setup.Described) -> dict[str, Any]:
        """What of it must be the same when the run goes on. Raises UserError where this run cannot use it."""
        return {}

    def _picture(self, path: Path) -> image.Picture:
        """A picture to learn. Raises UserError for one that is too small or of one colour."""
        picture = image.read(path, longer=self.run.style_size or None)
        height, width = picture.size
        if min(height, width) < SMALLEST:
            raise UserError(
                f"{path}: a picture of {width} x {height} pixels holds too little to learn; {SMALLEST} x "
                f"{SMALLEST} is the least (enlarge it with --style-size)"
            )
        if float(picture.rgb.flatten(2).std(2).max()) < FLAT:
            raise UserError(f"{path} is of one colour: there is nothing to learn from it")
        return picture

    def _check_network(self) -> None:
        """Raises UserError where this run cannot feed the network."""
        stride, side = getattr(self.network, "stride", 1), self.run.image_size
        if side % stride:
            below = side // stride * stride
            near = f"{below} or {below + stride}" if below else str(stride)
            raise UserError(
                f"--image-size {side} is not a multiple of {stride}, as the generator "
                f"{self.run.generator} wants it: use {near}"
            )

    def _hold_out(self) -> None:
        """Lay aside what the run is validated with."""

    def _batches(self, steps: range, slots: range) -> Iterator[data.Batch]:
        """What each of `steps` is fed with, the places `slots` of the batch, which are this process's."""
        raise NotImplementedError

    def _parts(self, batch: data.Batch, slots: range) -> list[Part]:
        """The batch on the device, in as many parts as the gradient is accumulated from."""
        raise NotImplementedError

    def validation_parts(self) -> list[Part]:
        """What was laid aside, on the device; none where there is nothing."""
        raise NotImplementedError

    def _shown(self, batch: data.Batch, y: Tensor) -> Tensor:
        """Rows of pictures for the live view: (rows, N, 3, H, W), on the CPU."""
        raise NotImplementedError

    def _losses(self, y: Tensor, part: Part) -> dict[str, Tensor]:
        """The weighted losses of the pictures `y` that the network made of `part`."""
        return self.objective(y, part.content)  # type: ignore[no-any-return]

    # What all have.

    def _check_new(self, resume: bool) -> None:
        if not resume and (self.folder / checkpoint.NAME).exists():
            raise UserError(f"{self.folder} holds a run already; go on with --resume, or remove the folder")

    def _take_folder(self, resume: bool) -> None:
        """Lock the run's folder, and remove what a run left in it that was killed while it wrote."""
        if not self.fabric.is_global_zero or (resume and not self.folder.exists()):
            return
        self.claim = Claim(self.folder)
        self._check_new(resume)  # once more: another run may have ended meanwhile
        for place in (self.folder, self.folder / "pictures", self.out):
            sweep(place)

    def done(self, step: int) -> float:
        """The share of the run that is behind it after `step` steps: of its steps, or of its minutes."""
        if self.run.minutes:
            return min(1.0, self.state.seconds / (60 * self.run.minutes))
        return step / self.run.steps

    def _draw(self, network: nn.Module, part: Part) -> Tensor:
        y: Tensor = network(part.x, part.noises) if self.noise else network(part.x)
        return y

    def _training_noise(self, step: int, slots: Sequence[int]) -> list[Tensor]:
        """Of the given places in the batch of `step`, on the device."""
        side = self.run.image_size
        maps = noise.for_training(self.noise, self.run.seed, step, slots, side, side)
        return [self._there(m) for m in maps]

    def _held_noise(self, seeds: Sequence[int]) -> list[Tensor]:
        """That of `texturenets.noise.draw`, which the run does not train on."""
        side = self.run.image_size
        return [self._there(m) for m in noise.draw(self.noise, seeds, side, side)]

    def _there(self, x: Tensor) -> Tensor:
        # Laid out as the networks give it: sums in another order differ in the last bits.
        return x.to(self.device, non_blocking=True, memory_format=torch.channels_last)

    def _fabric(self) -> Fabric:
        """The processes of `torchrun`, or this one; sets `scaler`."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
        # Half precision scales the loss by a number that it adapts: part of the run's state.
        self.scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        return Fabric(
            accelerator=self.device.type,
            devices=local if self.device.index is None else [self.device.index],
            num_nodes=max(1, world // local),
            strategy="ddp" if world > 1 else "auto",
            plugins=_precision(self.precision, self.device, self.scaler),
        )

    def _check_processes(self, run: runs.Run) -> None:
        world = self.fabric.world_size
        if run.batch_size % (world * run.accumulate):
            raise UserError(
                f"--batch-size {run.batch_size} does not divide among {world} processes "
                f"of {run.accumulate} parts"
            )
        if world > 1 and run.minutes:
            raise UserError("--minutes goes by one process's clock: of several, say --steps")
        if world > 1 and run.normalize_gradients:
            raise UserError("--normalize-gradients looks across the whole batch: run it in one process")
        if world > 1 and run.diversity_weight:
            raise UserError("--diversity-weight looks across the whole batch: run it in one process")
        if world > 1 and getattr(specs.make(run.generator, run.settings), "normalization", "") == "batch":
            raise UserError("normalization=batch looks across the whole batch: run it in one process")

    def _start_from(self, path: Path) -> None:
        header = modelfile.read_header(path)
        spec = header.spec()
        if spec != self.spec:
            raise UserError(f"--init {path}: its network is {spec}, this run's is {self.spec}")
        other, _ = modelfile.load(path, self.custom)
        self.network.load_state_dict(other.state_dict())

    def _resume(self) -> None:
        state = checkpoint.read_state(self.folder)
        if changed := _differences(state.facts, self.facts):
            raise UserError(
                f"--resume: not the run that {self.folder} holds; what changed: {', '.join(changed)}; "
                "give the flags of the first run again"
            )
        if not self.run.minutes and self.run.steps < state.step:
            raise UserError(
                f"--resume: {self.folder} has {state.step} steps already: --steps {self.run.steps} is less"
            )
        checkpoint.restore(self.folder, self.network, self.optimizer)
        if self.scaler and state.scaler:
            self.scaler.load_state_dict(state.scaler)
        self.state = state
        state.facts = self.facts  # it may go on for longer than it was begun for

    def __iter__(self) -> Iterator[Record]:
        """Records from the next step on. Set `stop` to end after the step at hand, saved."""
        run, fabric = self.run, self.fabric
        share = run.batch_size // fabric.world_size
        slots = range(fabric.global_rank * share, (fabric.global_rank + 1) * share)
        if self.done(self.state.step) >= 1:
            return
        batches = self._batches(range(self.state.step, ENDLESS if run.minutes else run.steps), slots)
        told: set[str] = set()  # each photo that cannot be read is reported once
        before = self.state.seconds
        self.started = mark = time.perf_counter()
        for batch in batches:
            waited = time.perf_counter() - mark
            rate = learning_rate(run, batch.step, self.done(batch.step))
            self._set_rate(rate)
            losses, y = self._step(self._parts(batch, slots))
            self.state.step = step = batch.step + 1
            self.state.seconds = before + time.perf_counter() - self.started
            last = self.done(step) >= 1
            if self._looked_at(step) or last or self.stop:
                self._check_losses(step, losses, rate)
            if fabric.world_size > 1:  # the signal may have come to one between two steps of the other
                asked = torch.tensor(float(self.stop), device=fabric.device)
                self.stop = bool(fabric.all_reduce(asked, reduce_op="max"))
            unreadable = sorted({*self.unreadable, *batch.unreadable} - told)
            told.update(unreadable)
            record = Record(step, losses, rate, 0.0, waited, unreadable)
            if fabric.is_global_zero:
                if _due(step, self.logistics.pictures_every) or last or step == 1:
                    record.pictures = self._shown(batch, y[:4].float().cpu())
                if _due(step, self.logistics.validate_every) or last:
                    self._validate(record, last)
                if _due(step, self.logistics.snapshot_every):
                    self.save_model(self.folder / f"{self.out.stem}-{step:06d}.safetensors")
            record.seconds = self.state.seconds = before + time.perf_counter() - self.started
            if _due(step, self.logistics.save_every) or last or self.stop:
                record.saved = self.save()
            yield record
            if last:
                return
            if self.stop:
                # The signal came after the step, while its record was being written down.
                if not record.saved:
                    self.save()
                return
            mark = time.perf_counter()

    def _check_losses(self, step: int, losses: dict[str, Tensor], rate: float) -> None:
        """Raises UserError where a loss is no number any more; what was saved before stays as it is."""
        total = float(torch.stack(list(losses.values())).sum())
        if math.isfinite(total):
            return
        worst = [name for name, value in losses.items() if not math.isfinite(float(value))]
        last = self.folder / "last.safetensors"
        kept = f"; the last good model is {last}" if last.exists() else ""
        raise UserError(
            f"the training came apart: {', '.join(worst[:3]) or 'the loss'} is {total} at step {step} with a "
            f"learning rate of {rate:.3g}; start anew with a lower --learning-rate{kept}"
        )

    def _looked_at(self, step: int) -> bool:
        """Whether the losses of `step` are checked: on the processor all, else those before anything is written.

        To look at a number waits for the device, which then waits for the next step's kernels.
        """
        how = self.logistics
        each = (how.pictures_every, how.validate_every, how.snapshot_every, how.save_every, CHECKED_EVERY)
        return self.device.type == "cpu" or any(_due(step, every) for every in each)

    def _step(self, parts: Sequence[Part]) -> tuple[dict[str, Tensor], Tensor]:
        """One step of the optimizer; the mean losses and the pictures drawn."""
        share = lattice_share(self.done(self.state.step + 1))
        try:
            if self.recorder:
                return self.recorder(parts, share)
            return self._apart(parts, share)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise UserError(
                    f"out of memory at --batch-size {self.run.batch_size} and "
                    f"--image-size {self.run.image_size}: lower one, or split the batch with --accumulate 2"
                ) from None
            raise

    def _apart(self, parts: Sequence[Part], lattice: float | Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The work of a step, which waits for nothing where it can be recorded; `lattice`: see `lattice_share`."""
        totals: dict[str, Tensor] = {}
        drawn = []
        self.optimizer.zero_grad()
        for i, part in enumerate(parts):
            later = i < len(parts) - 1
            guard = self.fabric.no_backward_sync(self.module) if later else nullcontext()
            with guard:
                y = self._draw(self.module, part)
                losses = self._losses(y, part)
                if "lattice" in losses:
                    losses["lattice"] = losses["lattice"] * lattice
                self.fabric.backward(torch.stack(list(losses.values())).sum() / len(parts))
            for name, value in losses.items():
                share = value.detach() / len(parts)
                totals[name] = totals[name] + share if name in totals else share
            drawn.append(y.detach())
        self.optimizer.step()
        return totals, torch.cat(drawn)

    def _can_record(self) -> bool:
        """Whether a step of this run is the same kernels each time, on a card that can be told them once."""
        return (
            self.device.type == "cuda"
            and self.fabric.world_size == 1
            and self.scaler is None  # looks at the gradients before it decides on a step
            and self.custom is None  # may do anything
            and not self.losses  # so may these
            and not getattr(self.run, "temporal", 0)  # shifts are numbers of the program
        )

    def _optimizer(self) -> torch.optim.Optimizer:
        rate: float | Tensor = self.run.learning_rate
        if self.recorder:
            rate = torch.tensor(rate, device=self.device)
        if self.run.optimizer == "muon":
            return Muon(self.network.parameters(), lr=rate)
        return torch.optim.Adam(self.network.parameters(), lr=rate, capturable=self.recorder is not None)

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    @torch.no_grad()
    def _validate(self, record: Record, last: bool) -> None:
        parts = self.validation_parts()
        if not parts:
            record.best = last
            self.state.best_step = record.step
        else:
            self.network.eval()
            sums: dict[str, float] = {}
            count = sum(part.count for part in parts)
            for part in parts:
                # Not the wrapped module, which may wait there for the other processes.
                with self.fabric.autocast():
                    y = self._draw(self.network, part)
                losses = self._losses(y.float(), part)
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * part.count / count
            self.network.train()
            record.validation = sums
            total = sum(sums.values())
            record.best = math.isfinite(total) and (self.state.best is None or total < self.state.best)
            if record.best:
                self.state.best, self.state.best_step = total, record.step
        if record.best:
            self.save_model(self.folder / "best.safetensors")

    def save(self) -> Path:
        """Checkpoint and last model."""
        path = self.folder / checkpoint.NAME
        if self.fabric.is_global_zero:
            self.save_model(self.folder / "last.safetensors")
            self.state.scaler = self.scaler.state_dict() if self.scaler else None
            path = checkpoint.save(self.folder, self.state, self.network, self.optimizer)
        return path

    def header(self) -> modelfile.Header:
        """The header of the model as it is now."""
        return modelfile.Header(
            name=self.out.stem,
            kind=self.kind,
            generator=self.spec,
            training={
                **self.facts,
                "step": self.state.step,
                "seconds": round(self.state.seconds, 1),
                "validation": self.state.best,
                "processors": os.cpu_count(),
                "device": self.device.type,
            },
            licence=self.logistics.licence,
            terms=self.logistics.terms,
            thumbnail=modelfile.encode_thumbnail(self._example()),
        )

    @torch.no_grad()
    def _example(self) -> Tensor:
        """What the network makes of the first that was laid aside."""
        parts = self.validation_parts()
        if not parts:
            return torch.full((1, 3, 8, 8), 0.5)
        first = parts[0]
        one = Part(1, None if first.x is None else first.x[:1], [m[:1] for m in first.noises])
        self.network.eval()
        y = self._draw(self.network, one)
        self.network.train()
        return y.cpu()

    def save_model(self, path: Path) -> None:
        """The network as it is now, as a model file."""
        modelfile.save(self.network, self.header(), path)

    def leave(self) -> None:
        """Let go of the folder, and of the other processes; one that ends while still joined to them aborts."""
        if self.claim:
            self.claim.release()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
            # The thread that did the last exchange needs the interpreter to let go of its tensors, and whoever frees
            # the group waits for that thread with the interpreter in hand: forever (PyTorch 2.13, Gloo).
            time.sleep(LETTING_GO)

    def finish(self) -> Path:
        """The best model, by validation, put under the name asked for."""
        best = self.folder / "best.safetensors"
        source = best if best.exists() else self.folder / "last.safetensors"
        with whole(self.out) as temporary:
            temporary.write_bytes(source.read_bytes())
        return self.out


def _precision(name: str, device: torch.device, scaler: torch.amp.GradScaler | None) -> Precision:
    """Fabric's way of computing in the precision `name`: the weights stay in float32."""
    if name == "float32":
        return Precision()
    return MixedPrecision("16-mixed" if name == "fp16" else "bf16-mixed", device.type, scaler)


def _identity(model: str | None) -> str | None:
    """Name and hash of a model to start from: where its file lies says nothing to anyone else."""
    if model is None:
        return None
    path = modelfile.find(model)
    return f"{path.stem} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _json(value: Any) -> Any:
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {k: _json(v) for k, v in value.items()}
    return [_json(v) for v in value] if isinstance(value, list | tuple) else value


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What makes another run of it: options as flags, and by name what else went in. How long it lasts does not."""
    before, now = old.get("run", {}), new["run"]
    options = [
        f"{runs.flag(k)} {_json(before.get(k))} -> {_json(v)}"
        for k, v in now.items()
        if k not in ("steps", "minutes") and _json(before.get(k)) != _json(v)
    ]
    others = [k for k, v in new.items() if k != "run" and _json(old.get(k)) != _json(v)]
    return options + list(dict.fromkeys(k.removesuffix("_sha256") for k in others))
