"""Runs that learn to draw a texture from noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from texturenets import data, image, runs
from texturenets.errors import UserError
from texturenets.training.loop import Training
from texturenets.training.parts import Part

VALIDATION_SAMPLES = 8  # seeds 0 to 7, as `texturenets sample` draws them


class TextureTraining(Training[runs.TextureRun]):
    """A run of `train texture`: fed with noise alone."""

    kind = "texture"

    def _picture(self, path: Path) -> image.Picture:
        """An exemplar. Raises UserError for one that is too small, of one colour or transparent."""
        picture = super()._picture(path)
        if picture.alpha is not None and bool((picture.alpha < 1).any()):
            raise UserError(
                f"{path} has transparent pixels, whose colours are nobody's choice: crop it, or put it on a ground"
            )
        return picture

    def _check_network(self) -> None:
        super()._check_network()
        if not self.noise or getattr(self.network, "photo", True):
            raise UserError(
                f"the generator {self.run.generator} with these options repaints photos; textures are drawn from "
                f"noise by one of: {', '.join(runs.TEXTURE_GENERATORS)}"
            )
        size = getattr(self.network, "size", None)
        if size not in (None, self.run.image_size):
            raise UserError(
                f"the generator {self.run.generator} draws {size} x {size} pixels and no other size: use "
                f"--image-size {size}, or another number of --set channels"
            )

    def _batches(self, steps: range, slots: range) -> Iterator[data.Batch]:
        for step in steps:
            yield data.Batch(step, torch.zeros(0, 3, 0, 0), [])

    def _parts(self, batch: data.Batch, slots: range) -> list[Part]:
        return self._cut(self._training_noise(batch.step, slots))

    def _cut(self, noises: list[Tensor]) -> list[Part]:
        size = self.run.batch_size // self.run.accumulate // self.fabric.world_size
        pieces = zip(*(torch.split(m, size) for m in noises), strict=True)
        return [Part(len(maps[0]), None, list(maps)) for maps in pieces]

    def _hold_out(self) -> None:
        self.held = self._cut(self._held_noise(range(VALIDATION_SAMPLES)))

    def validation_parts(self) -> list[Part]:
        return self.held

    def _shown(self, batch: data.Batch, y: Tensor) -> Tensor:
        return y[None]
