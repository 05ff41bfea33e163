"""The interface between the trainer and a task: `StyleTask`, `TextureTask` or `DistillationTask`.

The trainer (`trainer.Trainer`) handles device, optimizer, precision, processes, checkpoints and records; a task has
the network, its data and its losses. The trainer calls a task in this order, and a task never calls the trainer:

    check                                      once, before weights are downloaded
    prepare                                    once, before the first step
    batches -> microbatches -> training_step   each step
    validation_microbatches -> validation_step every so many steps
    example_images                             every so many steps
    save                                       whenever the network is written to a file
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from texturenets.train.checkpoint import TrainingState
from texturenets.train.configuration import RunConfig
from texturenets.train.data import Batch
from texturenets.train.microbatch import Microbatch
from texturenets.train.progress import Progress
from texturenets.train.setup import Setup
from texturenets.train.trainer_config import TrainerConfig

Forward = Callable[[Tensor | None, Sequence[Tensor], int | None], Any]
"""The network's forward pass, in the precision of the run.

From photos (N, 3, H, W) or None, noise maps, and the condition or None, to images (N, 3, H, W); of the
descriptor network `own`, which a distillation trains, to its features by name.
"""

StepResult = tuple[Tensor, dict[str, Tensor]]
"""The network's images of a microbatch, and their weighted losses by name."""


@dataclass(frozen=True)
class Provenance:
    """The record of the training in a model file: the model's name, the trainer's options and state."""

    name: str
    config: TrainerConfig
    state: TrainingState


class Task(Protocol):
    """A network to train (a generator, or the descriptor network `own`), with its data and losses. The constructor
    checks the input files and raises UserError."""

    @property
    def config(self) -> RunConfig:
        """The training options."""
        ...

    @property
    def layers(self) -> tuple[str, ...]:
        """ "network:layer" of all descriptor layers that the losses use."""
        ...

    @property
    def fixed_kernels(self) -> bool:
        """Whether each step launches the same kernels, so that a CUDA graph can replay it."""
        ...

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Data besides the options that must be the same when the training is resumed: names and hashes, for JSON."""
        ...

    @property
    def unreadable(self) -> Sequence[str]:
        """Messages about input files that `prepare` could not read."""
        ...

    def check(self, config: TrainerConfig) -> None:
        """Raise UserError for options that do not go with the network that is trained, before anything is
        downloaded."""

    def prepare(self, setup: Setup, config: TrainerConfig, resume: bool) -> nn.Module:
        """Build the network on the device, and prepare the losses; returns the network.

        With `resume` its weights come later, from a checkpoint. Sets torch's random state. Raises UserError if
        network and inputs do not fit together.
        """
        ...

    def batches(self, steps: range, slots: range, workers: int | None) -> Iterator[Batch]:
        """The batches of `steps`, counted from 0. `slots`: the indices within a batch that this process computes.

        `workers`: data loader processes; None for the device's default.
        """
        ...

    def microbatches(self, batch: Batch, slots: range) -> list[Microbatch]:
        """The batch on the device, split into the microbatches whose gradients are accumulated."""
        ...

    def training_step(self, forward: Forward, microbatch: Microbatch, progress: Progress) -> StepResult:
        """Images and losses of one microbatch."""
        ...

    def validation_microbatches(self) -> list[Microbatch]:
        """The validation data, on the device; empty if no photos were held out."""
        ...

    def validation_step(self, forward: Forward, microbatch: Microbatch) -> StepResult:
        """Images and losses of one validation microbatch."""
        ...

    def example_images(self, batch: Batch, images: Tensor) -> Tensor:
        """The example images of a step as rows: (rows, N, 3, H, W), on the CPU."""
        ...

    def save(self, path: Path, network: nn.Module, forward: Forward, provenance: Provenance) -> None:
        """Write `network`, as returned by `prepare`, to `path`; `forward`: its forward pass in evaluation mode.

        Raises UserError if a weight is not finite in half precision, and if the file cannot be written.
        """
