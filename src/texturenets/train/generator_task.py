"""The base of the tasks for styles and textures: a generator is trained and saved as a model file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Condition
from texturenets.networks import network_files, spec
from texturenets.noise import NoiseInput
from texturenets.train import network
from texturenets.train.configuration import TaskConfig
from texturenets.train.microbatch import Microbatch
from texturenets.train.setup import Setup
from texturenets.train.task import Forward, Provenance
from texturenets.train.trainer_config import TrainerConfig


class GeneratorTask(ABC):
    """The generator of a `Task`: checked, built, and saved as a model file."""

    kind: Literal["style", "texture", "material"]
    config: TaskConfig
    conditions: tuple[Condition, ...] = ()
    """The conditions for which the network has rows of scales and shifts, if it learns several styles; else empty."""
    fingerprint: dict[str, Any]
    fixed_kernels: bool
    maps: tuple[str, ...] = ()
    """The maps whose channels the network draws (`materials.maps`); empty for the colors of an image."""
    channels: int = 3
    """Channels of the network's output."""

    def check(self, config: TrainerConfig) -> None:
        """As `Task`."""
        self.spec = network.check(self.config, config, self.kind)
        self.custom = network.user_code(self.spec, self.config)
        """`generator` as "FILE.py:CLASS" if it is the user's own code; else None."""
        self.fixed_kernels = self.fixed_kernels and self.custom is None  # the user's code may do anything
        # All options of the generator: those of `generator_options` are not among the training's own.
        self.fingerprint = {"generator": spec.to_dict(self.spec), **self.fingerprint}

    def prepare(self, setup: Setup, config: TrainerConfig, resume: bool) -> nn.Module:
        """As `Task`."""
        made = network.make(self.spec, self.config, config, setup.device, self.conditions)
        self.device = setup.device
        self.noise: tuple[NoiseInput, ...] = getattr(made, "noise", ())
        self._check_generator(made)
        self._check_channels(made)
        network.check_image_size(made, self.config)
        self._prepare_losses(setup)
        return made

    def _check_channels(self, generator: nn.Module) -> None:
        """Raise UserError for a network that does not draw as many channels as are learned."""
        outputs = getattr(generator, "outputs", 3)
        if outputs != self.channels:
            what = f"the maps {', '.join(self.maps)}" if self.maps else "an image"
            raise UserError(
                f"the generator {self.config.generator} draws {outputs} channels, and {what} has {self.channels}: "
                "leave out `set` outputs=..., and start from a model of the same maps"
            )

    @abstractmethod
    def _check_generator(self, generator: nn.Module) -> None:
        """Raise UserError for a generator of the other kind, and for options that it does not go with."""

    @abstractmethod
    def _prepare_losses(self, setup: Setup) -> None:
        """Compute the targets, and get the inputs for validation."""

    @abstractmethod
    def validation_microbatches(self) -> list[Microbatch]:
        """As `Task`."""

    def save(self, path: Path, generator: nn.Module, forward: Forward, provenance: Provenance) -> None:
        """As `Task`: a model file."""
        network_files.save(generator, self._header(forward, provenance), path)

    def _thumbnails(self, forward: Forward) -> dict[str, str]:
        """A thumbnail of each style, for a network with several styles."""
        return {}

    def _header(self, forward: Forward, provenance: Provenance) -> modelfile.Header:
        """The header of the model as it is now; its thumbnail is made of the first validation input."""
        config, state = provenance.config, provenance.state
        validation = self.validation_microbatches()
        example = torch.full((1, 3, 8, 8), 0.5)
        if validation:
            first = validation[0].first()
            example = forward(first.photos, first.noise, first.condition).float().cpu()
        return modelfile.Header(
            name=provenance.name,
            kind=self.kind,
            generator=self.spec,
            training={
                **state.fingerprint,
                "step": state.step,
                "seconds": round(state.seconds, 1),
                "validation": state.best,
                "processors": os.cpu_count(),
                "device": self.device.type,
            },
            licence=config.licence,
            terms=config.terms,
            thumbnail=modelfile.encode_thumbnail(example[:, :3]),
            thumbnails=self._thumbnails(forward),
            maps=self.maps,
            conditions=[condition._asdict() for condition in self.conditions],
            base=modelfile.identity(modelfile.find(config.base)) if config.base else {},
        )
