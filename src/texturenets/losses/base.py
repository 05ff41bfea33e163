"""What a loss is: the contract `Loss`, what it is given, and the table of the losses of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeVar

from torch import Tensor

Scaling = Literal["relative", "paper"]
"""Of style and content losses. "relative": each layer's squared distance is divided by the target's square, so that
layers and images count alike, and a loss of 1 means "as far off as nothing at all". "paper": the arithmetic of the
Torch7 program (`texture_loss.lua`, `content_loss.lua`, branch master): mean squared differences."""

Maps = Mapping[str, Tensor]
"""Tensors by layer, {"network:layer": ...}."""

Settings = Mapping[str, Any]
"""The fields of a training configuration by name (`train.configuration`)."""


@dataclass(frozen=True)
class Features:
    """A batch of images, and what the descriptor networks see in it. Computed once a step, for all losses.

    `images` (N, 3, H, W), RGB in [0, 1] or a little outside. `maps`: feature maps (N, C, h, w) by layer, a mapping
    for each scale of the loss pyramid, the full size first; in the precision of the descriptor networks. `grams`:
    Gram matrices (N, C, C) in the same way, of the layers that a loss names in `gram_layers`.
    """

    images: Tensor
    maps: Sequence[Maps] = ()
    grams: Sequence[Maps] = ()


@dataclass(frozen=True)
class Targets:
    """What the images of a batch are compared with; the style is known to the losses by `Loss.prepare`.

    `photos` (N, 3, H, W), RGB in [0, 1]: what the network was given; None for textures. `content`: features of the
    photos by layer, a mapping for each scale, as `Features.maps`. `moved` (N, 3, H, W): what the network makes of the
    photos moved by `shifts` (down, right) in pixels, for the temporal consistency loss. `progress`: the share of the
    training that is behind this step, 0 to 1; a tensor inside a CUDA graph.
    """

    photos: Tensor | None = None
    content: Sequence[Maps] = ()
    moved: Tensor | None = None
    shifts: Sequence[tuple[int, int]] = field(default=())
    progress: float | Tensor = 1.0

    def __getitem__(self, these: slice) -> Targets:
        """Those of some of the images."""
        return Targets(
            None if self.photos is None else self.photos[these],
            [{layer: target[these] for layer, target in maps.items()} for maps in self.content],
            None if self.moved is None else self.moved[these],
            self.shifts[these],
            self.progress,
        )


class Loss(Protocol):
    """A named loss; derive from it for one of your own.

    `name`: stands in logs and checkpoints. `layers`: "network:layer" of the descriptor networks whose features it
    takes from `Features.maps`; `gram_layers`: those of them whose Gram matrices it takes from `Features.grams`;
    `photo_layers`: layers that it takes from `Targets.content`.
    """

    name: str
    layers: tuple[str, ...] = ()
    gram_layers: tuple[str, ...] = ()
    photo_layers: tuple[str, ...] = ()

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """Take from the style images what is needed of them; called once, before the first step.

        `styles`: the share of each image in the style, and its features in `layers`, one after the other.
        """
        return  # a body of its own: type checkers take it for optional

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """{name: scalar}, each times the loss's weight and with a gradient; all are added up.

        The names are `name`, or begin with it: "content/vgg16:relu3_3". A mean over the images of the batch, so that
        half of a batch on each of two processes has the gradient of the whole.
        """
        ...


class ConfiguredLoss(Loss, Protocol):
    """A loss of this package."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """As the configuration wants it; None where its weight is 0. Raises UserError for layers that do not
        exist."""
        ...


LOSSES: list[type[ConfiguredLoss]] = []
"""The losses that a training configuration can ask for."""

L = TypeVar("L", bound=type[ConfiguredLoss])


def register(loss: L) -> L:
    """A class decorator: puts a loss into the table."""
    LOSSES.append(loss)
    return loss


def at_scale(name: str, scale: int) -> str:
    """The name of a loss at a scale of the pyramid: `name@1` at half the size; the full size has no suffix."""
    return f"{name}@{scale}" if scale else name
