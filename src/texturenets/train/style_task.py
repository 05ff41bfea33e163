"""Learning to stylize photos like a painting."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from texturenets import noise
from texturenets.errors import UserError
from texturenets.losses import Loss, Objective, Targets, build, layers_of
from texturenets.losses.user_losses import check_user_losses
from texturenets.train import data, style_images, temporal_consistency
from texturenets.train.configuration import StyleConfig
from texturenets.train.data import Batch
from texturenets.train.generator_task import GeneratorTask
from texturenets.train.microbatch import Microbatch, to_device
from texturenets.train.photos import CachedPhotos, FolderPhotos, workers_for
from texturenets.train.progress import Progress
from texturenets.train.setup import Setup
from texturenets.train.task import Forward, StepResult
from texturenets.train.temporal_consistency import Moved

VALIDATION_CROPS = 16  # enough for a mean that orders checkpoints; a second of work on two cores


class StyleTask(GeneratorTask):
    """`train style`: the inputs of the network are crops of photos and, if it has noise inputs, noise."""

    kind: Literal["style"] = "style"
    config: StyleConfig

    def __init__(
        self, config: StyleConfig, paintings: Sequence[Path], content: Path, losses: Sequence[Loss] = ()
    ) -> None:
        """`content`: a folder of photos, or a content feature file. `losses`: the user's, in addition to those of
        `config`.

        Raises UserError for a painting that is too small or of one color, and if there are too few photos.
        """
        self.config = config
        user_losses = check_user_losses(losses)
        self.losses = [*build(dataclasses.asdict(config)), *user_losses]
        self.layers = layers_of(self.losses)
        self.paintings = [
            style_images.opaque(style_images.read_painting(path, config.style_size), path)
            for path in paintings
        ]
        is_cache = content.is_file() and not data.is_photo(content)
        self.photos = CachedPhotos(content, config) if is_cache else FolderPhotos(content, config)
        self.unreadable: Sequence[str] = ()
        self.fingerprint: dict[str, Any] = {
            "photos": self.photos.digest,
            **style_images.fingerprint(paintings),
            "losses": [loss.name for loss in user_losses],
        }
        # User-defined losses may do anything, and shifts of photos are Python numbers.
        self.fixed_kernels = not user_losses and not config.temporal_weight

    def _prepare_losses(self, setup: Setup) -> None:
        self.objectives = self._objectives(setup)
        self.photos.check(setup, self.objectives[0].photo_layers)
        self.held_out, self.unreadable = self.photos.held_out(VALIDATION_CROPS)

    def _objectives(self, setup: Setup) -> list[Objective]:
        """The objective of each condition."""
        styles = [painting.to(self.device) for painting in self.paintings]
        return [Objective(setup.networks, self.losses, styles, scales=self.config.pyramid_loss)]

    def _objective(self, microbatch: Microbatch) -> Objective:
        return self.objectives[microbatch.condition or 0]

    def _check_generator(self, generator: nn.Module) -> None:
        config = self.config
        if not getattr(generator, "photo", True):
            raise UserError(
                f"the generator {config.generator} draws from noise and takes no photo: "
                "use `texturenets train texture`, or another `generator`"
            )
        if config.diversity_weight and not self.noise:
            raise UserError("`diversity_weight` wants noise for results to differ by: add `noise_depth` 3")
        least = temporal_consistency.MIN_SIDE
        if config.temporal_weight and config.image_size < least:
            raise UserError(
                f"`temporal_weight` compares the inner part of images: `image_size` {config.image_size} is too "
                f"small, {least} is the least"
            )

    def batches(self, steps: range, slots: range, workers: int | None) -> Iterator[Batch]:
        """Crops of photos, decoded ahead."""
        on_gpu = self.device.type == "cuda"
        return data.loader(
            self._crops(slots), steps, workers_for(self.device) if workers is None else workers, on_gpu
        )

    def _crops(self, slots: range) -> Dataset[Batch]:
        config = self.config
        if config.diversity_weight:
            # Diversity across different photos is meaningless: the batch repeats one photo.
            return self.photos.crops(1, range(1))
        if config.texture_photos:
            half = config.batch_size // 2
            few = self.photos.crops(half, range(half), config.texture_photos)
            return data.Joined([few, self.photos.crops(half, range(half))])
        return self.photos.crops(config.batch_size, slots)

    def microbatches(self, batch: Batch, slots: range) -> list[Microbatch]:
        """As `Task`."""
        config, side = self.config, self.config.image_size
        photos = batch.photos.to(self.device, non_blocking=True)
        content = {k: to_device(v, self.device) for k, v in (batch.content or {}).items()}
        if config.diversity_weight:
            photos = photos.expand(len(slots), -1, -1, -1)
            content = {k: v.expand(len(slots), -1, -1, -1) for k, v in content.items()}
        maps = noise.for_training(self.noise, config.seed, batch.step, slots, side, side)
        there = [to_device(m, self.device) for m in maps]
        moved = self._moved(photos, [(config.seed, 3, batch.step, slot) for slot in slots])
        made, begin = [], 0
        for part in photos.chunk(config.accumulate):
            these = slice(begin, begin + len(part))
            begin += len(part)
            known = [{k: v[these] for k, v in content.items()}] if content else None
            mine = [m[these] for m in there]
            made.append(Microbatch(len(part), part, mine, known, moved and moved[these]))
        return made

    def _moved(self, photos: Tensor, keys: Sequence[tuple[int, ...]]) -> Moved | None:
        return temporal_consistency.move(photos, keys) if self.config.temporal_weight else None

    def _images_and_targets(
        self, forward: Forward, microbatch: Microbatch, progress: Progress
    ) -> tuple[Tensor, Targets]:
        photos, moved = microbatch.photos, microbatch.moved
        assert photos is not None
        images = forward(photos, microbatch.noise, microbatch.condition).float()
        content = microbatch.content or self._objective(microbatch).targets(photos).content
        if moved is None:
            return images, Targets(photos, content, progress=progress.share, step=progress.step)
        again = forward(moved.photos, microbatch.noise, microbatch.condition).float()
        return images, Targets(photos, content, again, moved.shifts, progress.share, progress.step)

    def training_step(self, forward: Forward, microbatch: Microbatch, progress: Progress) -> StepResult:
        """As `Task`."""
        images, targets = self._images_and_targets(forward, microbatch, progress)
        if not self.config.texture_photos:
            return images, self._objective(microbatch)(images, targets)
        # "...both texture and content losses on a fixed set of 16 images and only content loss on the big number
        # of images" (README of branch texture_nets_v1).
        first, second = slice(0, len(images) // 2), slice(len(images) // 2, len(images))
        objective = self._objective(microbatch)
        losses = objective(images[first], targets[first])
        of_style = [loss.name for loss in objective.losses if loss.compares_style]
        for name, value in objective(images[second], targets[second], without=of_style).items():
            losses[name] = (losses[name] + value) / 2
        return images, losses

    def validation_microbatches(self) -> list[Microbatch]:
        """Crops of the photos that were held out."""
        config, side = self.config, self.config.image_size
        made, begin = [], 0
        for crops in torch.split(self.held_out, config.batch_size // config.accumulate):
            if not len(crops):
                continue
            photos = crops.to(self.device)
            places = range(begin, begin + len(photos))
            begin += len(photos)
            maps = [to_device(m, self.device) for m in noise.draw(self.noise, places, side, side)]
            moved = self._moved(photos, [(config.seed, 4, place) for place in places])
            made.append(Microbatch(len(photos), photos, maps, moved=moved))
        return made

    def validation_step(self, forward: Forward, microbatch: Microbatch) -> StepResult:
        """As `Task`; without the diversity loss, because the held-out photos, and so their images, differ."""
        images, targets = self._images_and_targets(forward, microbatch, Progress())
        return images, self._objective(microbatch)(images, targets, without=("diversity",))

    def example_images(self, batch: Batch, images: Tensor) -> Tensor:
        """Photos above, the network's images below."""
        return torch.stack([batch.photos[:4].expand_as(images), images])
