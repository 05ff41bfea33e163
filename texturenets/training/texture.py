"""Runs that learn to draw a texture from noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from texturenets import data, image, runs
from texturenets.errors import UserError
from texturenets.training.loop import Part, Training

VALIDATION_SAMPLES = 8  # seeds 0 to 7, as `texturenets sample` draws them
SMALLEST = (
    32  # pixels of an exemplar's shorter side: the deepest layers of the default losses see two positions
)
FLAT = 1 / 255  # standard deviation of the channels below which a picture holds nothing to learn


class TextureTraining(Training[runs.TextureRun]):
    """A run of `train texture`: fed with noise alone."""

    kind = "texture"

    def _picture(self, path: Path) -> Tensor:
        """An exemplar (1, 3, H, W). Raises UserError for one that is too small, transparent or of one colour."""
        picture = image.read(path, longer=self.run.style_size or None)
        height, width = picture.size
        if min(height, width) < SMALLEST:
            raise UserError(
                f"{path}: an exemplar of {width} x {height} pixels holds too little to learn; {SMALLEST} x "
                f"{SMALLEST} is the least (enlarge it with --style-size)"
            )
        if picture.alpha is not None and bool((picture.alpha < 1).any()):
            raise UserError(
                f"{path} has transparent pixels, whose colours are nobody's choice: crop it, or put it on a ground"
            )
        if float(picture.rgb.flatten(2).std(2).max()) < FLAT:
            raise UserError(f"{path} is of one colour: there is no texture to learn")
        return picture.rgb

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

    def _validation_parts(self) -> list[Part]:
        return self.held

    def _shown(self, batch: data.Batch, y: Tensor) -> Tensor:
        return y[None]
