"""The contract between the trainer and what is learned.

The trainer (`trainer.Trainer`) knows networks, optimizers, precision, processes, checkpoints and records; a task
knows what goes into the network and what its images are compared with. `StyleTask`, `TextureTask` and
`DistillationTask` are those there are. The trainer calls a task in this order, and a task never calls the trainer:

    check                                      once, before weights are fetched
    prepare                                    once, before the first step
    batches -> microbatches -> training_step   each step
    validation_microbatches -> validation_step every so many steps
    shown                                      for the live images
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

Draw = Callable[[Tensor | None, Sequence[Tensor], int | None], Any]
"""The network, in the precision of the run: photos (N, 3, H, W) or None, noise maps, and the condition where it has
several, to images (N, 3, H, W); a perceptual network: to its features by name."""

StepResult = tuple[Tensor, dict[str, Tensor]]
"""The images that the network made of a microbatch, and their weighted losses by name."""


@dataclass(frozen=True)
class Provenance:
    """What the file of a network says of its training: the model's name, the trainer's options and state."""

    name: str
    config: TrainerConfig
    state: TrainingState


class Task(Protocol):
    """What is learned, and from what. Its constructor finds the inputs, and raises UserError for what is wrong
    there."""

    @property
    def config(self) -> RunConfig:
        """The training options."""
        ...

    @property
    def layers(self) -> tuple[str, ...]:
        """ "network:layer" of all descriptor networks that the losses look at."""
        ...

    @property
    def fixed_kernels(self) -> bool:
        """Whether each step computes the same operations with other numbers, so that a CUDA graph can hold it."""
        ...

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What must be the same when the training is resumed, beside the options: names and hashes, JSON-ready."""
        ...

    @property
    def unreadable(self) -> Sequence[str]:
        """Messages about inputs that `prepare` passed over."""
        ...

    def check(self, config: TrainerConfig) -> None:
        """Decide on the network to train. Raises UserError for one that cannot be."""

    def prepare(self, setup: Setup, config: TrainerConfig, resume: bool) -> nn.Module:
        """Get ready for steps; the network, on the device. With `resume` its weights come from a checkpoint later.

        Sets torch's random state. Raises UserError where network and inputs do not fit together.
        """
        ...

    def batches(self, steps: range, slots: range, workers: int | None) -> Iterator[Batch]:
        """The batch of each step, counted from 0: the places `slots` of it, which are this process's.

        `workers`: processes that decode photos ahead; None for as many as suit the device.
        """
        ...

    def microbatches(self, batch: Batch, slots: range) -> list[Microbatch]:
        """The batch on the device, as the microbatches that its gradient is accumulated from."""
        ...

    def training_step(self, draw: Draw, microbatch: Microbatch, progress: Progress) -> StepResult:
        """Images and losses of one microbatch."""
        ...

    def validation_microbatches(self) -> list[Microbatch]:
        """What the task is validated on, on the device; none where nothing was held out."""
        ...

    def validation_step(self, draw: Draw, microbatch: Microbatch) -> StepResult:
        """Images and losses of one microbatch of them."""
        ...

    def shown(self, batch: Batch, images: Tensor) -> Tensor:
        """Rows of images for the live images: (rows, N, 3, H, W), on the CPU."""
        ...

    def save(self, path: Path, network: nn.Module, draw: Draw, provenance: Provenance) -> None:
        """Write `network`, the one that `prepare` gave, to `path`; `draw` calls it as users will have it.

        Raises UserError where a weight is not finite in half precision, and where the file cannot be written.
        """
