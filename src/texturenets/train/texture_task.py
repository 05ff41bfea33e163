"""The task of learning a texture from noise."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from texturenets import image, noise
from texturenets.errors import UserError
from texturenets.losses import Loss, Objective, Targets, build, layers_of
from texturenets.losses.user_losses import check_user_losses
from texturenets.noise import Wave
from texturenets.train import style_images, waves
from texturenets.train.configuration import PERIODIC_GENERATORS, TEXTURE_GENERATORS, TextureConfig
from texturenets.train.data import Batch
from texturenets.train.generator_task import GeneratorTask
from texturenets.train.microbatch import Microbatch, to_device
from texturenets.train.progress import Progress
from texturenets.train.setup import Setup
from texturenets.train.task import Forward, StepResult
from texturenets.train.trainer_config import TrainerConfig

VALIDATION_SAMPLES = 8  # seeds 0 to 7, as `texturenets sample` draws them


class TextureTask(GeneratorTask):
    """`train texture`: the network's only input is noise."""

    kind: Literal["style", "texture", "material"] = "texture"
    config: TextureConfig
    unreadable: Sequence[str] = ()
    waves: Sequence[Wave] = ()
    """Those found in the exemplar, which the network gets as an input."""

    def __init__(self, config: TextureConfig, exemplars: Sequence[Path], losses: Sequence[Loss] = ()) -> None:
        """`losses`: the user's, in addition to those of `config`.

        Raises UserError for an exemplar that is too small, of one color or transparent.
        """
        self.config = config
        user_losses = check_user_losses(losses)
        self.losses = [*build(dataclasses.asdict(config)), *user_losses]
        self.layers = layers_of(self.losses)
        self.exemplars = self._read(exemplars)
        self.fingerprint: dict[str, Any] = {
            **style_images.fingerprint(self._files(exemplars)),
            "losses": [loss.name for loss in user_losses],
        }
        self.fixed_kernels = not user_losses

    def check(self, config: TrainerConfig) -> None:
        """As `Task`; the generator gets the waves of the first exemplar, if it repeats."""
        options = self.config
        given = {option.partition("=")[0] for option in options.set}
        wanted = options.periodic and options.generator in PERIODIC_GENERATORS and "waves" not in given
        if wanted and not config.init:
            self.waves = waves.find(self.exemplars[0][0].numpy())
        if self.waves:
            numbers = ",".join(f"{number:.6g}" for number in itertools.chain(*self.waves))
            self.config = dataclasses.replace(options, set=(*options.set, f"waves={numbers}"))
        super().check(config)

    def _read(self, paths: Sequence[Path]) -> list[Tensor]:
        """The exemplars (1, C, H, W), in [0, 1]."""
        return [_exemplar(path, self.config.style_size).rgb for path in paths]

    def _files(self, paths: Sequence[Path]) -> Sequence[Path]:
        """The image files that `paths` name."""
        return paths

    def _prepare_losses(self, setup: Setup) -> None:
        self._make_objective(setup, [exemplar.to(self.device) for exemplar in self.exemplars])
        side = self.config.image_size
        maps = noise.draw(self.noise, range(VALIDATION_SAMPLES), side, side)
        self.held_out = self._split(
            maps, range(VALIDATION_SAMPLES), self.config.batch_size // self.config.accumulate
        )

    def _make_objective(self, setup: Setup, exemplars: Sequence[Tensor]) -> None:
        self.objective = Objective(setup.networks, self.losses, exemplars, scales=self.config.pyramid_loss)

    def _check_generator(self, generator: nn.Module) -> None:
        if not self.noise or getattr(generator, "photo", True):
            raise UserError(
                f"the generator {self.config.generator} with these options stylizes photos; textures are drawn from "
                f"noise by one of: {', '.join(TEXTURE_GENERATORS)}"
            )
        size = getattr(generator, "size", None)
        if size not in (None, self.config.image_size):
            raise UserError(
                f"the generator {self.config.generator} draws {size} x {size} pixels and no other size: use "
                f"`image_size` {size}, or another number of channels with `set`"
            )

    def batches(self, steps: range, slots: range, workers: int | None) -> Iterator[Batch]:
        """The numbers of the steps: the noise is generated from them."""
        for step in steps:
            yield Batch(step, torch.zeros(0, 3, 0, 0), [])

    def microbatches(self, batch: Batch, slots: range) -> list[Microbatch]:
        """As `Task`."""
        config, side = self.config, self.config.image_size
        maps = noise.for_training(self.noise, config.seed, batch.step, slots, side, side)
        return self._split(maps, slots, len(slots) // config.accumulate)

    def _split(self, maps: Sequence[Tensor], slots: range, size: int) -> list[Microbatch]:
        there = [to_device(m, self.device) for m in maps]
        chunks = zip(*(torch.split(m, size) for m in there), strict=True)
        return [
            Microbatch(len(chunk[0]), None, list(chunk), slot=slot)
            for slot, chunk in zip(slots[::size], chunks, strict=True)
        ]

    def training_step(self, forward: Forward, microbatch: Microbatch, progress: Progress) -> StepResult:
        """As `Task`."""
        images = forward(None, microbatch.noise, None).float()
        return images, self.objective(images, Targets(progress=progress.share, step=progress.step))

    def validation_microbatches(self) -> list[Microbatch]:
        """Noise that is not used in training: that of `texturenets.noise.draw`."""
        return self.held_out

    def validation_step(self, forward: Forward, microbatch: Microbatch) -> StepResult:
        """As `Task`."""
        return self.training_step(forward, microbatch, Progress())

    def example_images(self, batch: Batch, images: Tensor) -> Tensor:
        """Only the images."""
        return images[None]


def _exemplar(path: Path, longer: int) -> image.Picture:
    picture = style_images.read(path, longer)
    style_images.check_opaque(picture, path)
    return picture
