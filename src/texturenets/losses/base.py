"""The interface of a loss (`Loss`), its inputs (`Features`, `Targets`), and the registry of the package's losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeVar

from torch import Tensor

Scaling = Literal["relative", "paper"]
"""Normalization of style and content losses. "relative": each layer's squared distance is divided by the mean square
of the target, so that all layers and images weigh the same, and features of zero have a loss of 1. "paper": mean
squared differences, as in the Torch7 program (`texture_loss.lua`, `content_loss.lua`, branch master)."""

Maps = Mapping[str, Tensor]
"""Feature maps or Gram matrices by layer, {"network:layer": tensor}."""

LossSettings = Mapping[str, Any]
"""The fields of a training configuration by name (`train.configuration`)."""


@dataclass(frozen=True)
class Features:
    """A batch of images and its features in the descriptor networks, computed once a step for all losses.

    `images` (N, 3, H, W): RGB, usually in [0, 1]; a generator's output may be slightly outside. `maps`: feature maps
    (N, C, h, w) in the dtype of the descriptor networks, by layer; one mapping for each scale of the loss pyramid,
    full size first. `grams`: Gram matrices (N, C, C) in the same structure, for the `gram_layers` of the losses.
    """

    images: Tensor
    maps: Sequence[Maps] = ()
    grams: Sequence[Maps] = ()


@dataclass(frozen=True)
class Targets:
    """The targets of one batch, except the style, which a loss gets once in `Loss.prepare`.

    `photos` (N, 3, H, W), RGB in [0, 1]: the network's input; None for textures. `content`: feature maps of the
    photos by layer, one mapping for each scale, as in `Features.maps`. For the temporal consistency loss, `moved`
    (N, 3, H, W): the network's output for shifted photos; `shifts`: (down, right) in pixels, one for each photo.
    `progress`: share of the training that is done, 0 to 1; a tensor inside a CUDA graph. `step`: number of the step,
    (), int64, which with a seed makes random numbers that differ between steps but are the same after a training is
    resumed; None in validation and in iterative optimization.
    """

    photos: Tensor | None = None
    content: Sequence[Maps] = ()
    moved: Tensor | None = None
    shifts: Sequence[tuple[int, int]] = field(default=())
    progress: float | Tensor = 1.0
    step: Tensor | None = None

    def __getitem__(self, these: slice) -> Targets:
        """The targets of a slice of the batch."""
        return Targets(
            None if self.photos is None else self.photos[these],
            [{layer: target[these] for layer, target in maps.items()} for maps in self.content],
            None if self.moved is None else self.moved[these],
            self.shifts[these],
            self.progress,
            self.step,
        )


class Loss(Protocol):
    """The interface of a loss. Derive a class from it for a loss of your own.

    `name`: its name in logs and checkpoints. `layers`: the layers, "network:layer", that it needs in `Features.maps`.
    `gram_layers`: those of them that it needs in `Features.grams`. `photo_layers`: the layers that it needs in
    `Targets.content`. `compares_style`: whether it compares with the style images, and not only with the photo or
    itself; `texture_photos` leaves it out on the other photos.
    """

    name: str
    layers: tuple[str, ...] = ()
    gram_layers: tuple[str, ...] = ()
    photo_layers: tuple[str, ...] = ()
    compares_style: bool = False

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """Compute targets from the style images; called once, before the first step. Optional.

        `styles`: pairs of an image's weight in the style (the weights add up to 1) and its features at `layers`.
        """
        return  # without a body type checkers would require subclasses to define it

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """The loss as {name: scalar tensor}, already multiplied by its weight; the trainer adds up all values.

        Each key is `name` or begins with it: "content/vgg16:relu3_3". Take the mean over the batch, not the sum, so
        that gradients averaged over processes are those of the whole batch.
        """
        ...


class ConfiguredLoss(Loss, Protocol):
    """A loss of this package, which is configured by training options."""

    @classmethod
    def from_settings(cls, settings: LossSettings) -> Self | None:
        """The loss for these settings, None if its weight is 0. Raises UserError for layers that do not exist."""
        ...


LOSSES: list[type[ConfiguredLoss]] = []
"""All losses of the package; each decides by `from_settings` whether a training uses it."""

L = TypeVar("L", bound=type[ConfiguredLoss])


def register(loss: L) -> L:
    """Class decorator that adds a loss to `LOSSES`."""
    LOSSES.append(loss)
    return loss


def at_scale(name: str, scale: int) -> str:
    """The name of a loss at a scale of the loss pyramid: `name` at full size, `name@1` at half of it, and so on."""
    return f"{name}@{scale}" if scale else name
