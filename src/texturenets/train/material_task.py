"""The task of learning a material, several maps in register, from noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from texturenets.errors import UserError
from texturenets.losses import Loss, Targets
from texturenets.losses.material import MaterialObjective
from texturenets.materials import maps, reading
from texturenets.train import style_images
from texturenets.train.configuration import MATERIAL_GENERATORS, TextureConfig
from texturenets.train.data import Batch
from texturenets.train.microbatch import Microbatch
from texturenets.train.min_size import too_small
from texturenets.train.progress import Progress
from texturenets.train.setup import Setup
from texturenets.train.task import Forward, StepResult
from texturenets.train.texture_task import TextureTask

JOINT_WEIGHT = 12.0
"""Of the distribution of all channels at a pixel. 4, 12 and the mutual information of maps with them:
docs/measurements.md, "Materials"."""


def texture_task(
    config: TextureConfig, exemplars: Sequence[Path], losses: Sequence[Loss] = ()
) -> TextureTask:
    """The task of `train texture`: of images a texture, of folders of maps a material. Arguments as `TextureTask`;
    raises UserError, also for both at once."""
    materials = [path for path in exemplars if reading.is_material(path)]
    if not materials:
        return TextureTask(config, exemplars, losses)
    if images := [path for path in exemplars if path not in materials]:
        raise UserError(
            f"{images[0]} is an image, and {materials[0]} a folder of maps: give one or the other"
        )
    return MaterialTask(config, exemplars, losses)


class MaterialTask(TextureTask):
    """`train texture` of a folder of maps: one network draws the channels of all."""

    kind: Literal["style", "texture", "material"] = "material"

    def __init__(self, config: TextureConfig, exemplars: Sequence[Path], losses: Sequence[Loss] = ()) -> None:
        """As `TextureTask`. `exemplars`: folders, or beginnings of names (`reading.is_material`), that have the same
        maps."""
        if config.generator not in MATERIAL_GENERATORS and ":" not in config.generator:
            raise UserError(
                f"`generator` {config.generator} draws the three channels of an image; the maps of a material are "
                f"drawn by {', '.join(MATERIAL_GENERATORS)}, or by code of your own with an argument outputs"
            )
        if config.diversity_weight:
            raise UserError(
                "`diversity_weight` compares images, not the maps of a material: leave it out; networks with noise "
                "at every scale do without"
            )
        super().__init__(config, exemplars, losses)
        outputs = f"outputs={self.channels}"
        self.config = dataclasses.replace(config, set=(*config.set, outputs))
        self.fixed_kernels = False  # the losses see other channels in each step

    def _read(self, paths: Sequence[Path]) -> list[Tensor]:
        materials = [_exemplar(path, self.config.style_size) for path in paths]
        self.maps = materials[0].names
        for path, material in zip(paths, materials, strict=True):
            if material.names != self.maps:
                raise UserError(
                    f"{path} has the maps {', '.join(material.names)}, and {paths[0]} {', '.join(self.maps)}: "
                    "examples of one material have the same"
                )
        self.channels = maps.count(self.maps)
        return [torch.from_numpy(material.values) for material in materials]

    def _files(self, paths: Sequence[Path]) -> list[Path]:
        return reading.paths_of(paths)

    def _make_objective(self, setup: Setup, exemplars: Sequence[Tensor]) -> None:
        places = maps.channels(self.maps)
        self.material_objective = MaterialObjective(
            setup.networks,
            self.losses,
            exemplars,
            scales=self.config.pyramid_loss,
            whole=[place.start for place in places.values() if place.stop - place.start == 3],
            joint_weight=JOINT_WEIGHT,
            seed=self.config.seed,
        )

    def training_step(self, forward: Forward, microbatch: Microbatch, progress: Progress) -> StepResult:
        """As `Task`."""
        images = forward(None, microbatch.noise, None).float()
        slots = range(microbatch.slot, microbatch.slot + microbatch.count)
        targets = Targets(progress=progress.share, step=progress.step)
        return images, self.material_objective(images, targets, slots)

    def example_images(self, batch: Batch, images: Tensor) -> Tensor:
        """A row for each map."""
        rows = [images[:, place] for place in maps.channels(self.maps).values()]
        return torch.stack([row.expand(-1, 3, -1, -1) for row in rows])


def _exemplar(path: Path, longer: int) -> maps.Maps:
    material = reading.read(path, longer)
    if message := too_small(*material.size):
        raise UserError(f"{path}: {message} (enlarge it with `style_size`)")
    if float(material.values.std((2, 3)).max()) < style_images.FLAT:
        raise UserError(f"{path}: each of its maps has one value: there is nothing to learn from them")
    return material
