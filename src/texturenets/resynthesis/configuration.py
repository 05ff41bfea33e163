"""The losses of `texturenets tile` and `inpaint`, as options. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from texturenets.field_docs import with_attributes
from texturenets.train import presets
from texturenets.train.configuration import VGG_LAYERS, Precision, TextureConfig

NETWORK = "vgg16"
STEPS = 200  # less than half of the 500 of `optimize`, because it starts from patches, not noise


@with_attributes
@dataclass(frozen=True, kw_only=True)
class ResynthesisConfig(TextureConfig):
    """Options of `tile` and `inpaint`: the losses of a texture, with VGG-16 alone."""

    style_layers: tuple[str, ...] = VGG_LAYERS
    """Layers of the style loss, NETWORK:LAYER, separated by commas."""
    precision: Precision = "float32"
    """Floating-point precision: float32, or bf16, fp16, auto, which are faster and end at a slightly higher loss."""


def of_network(network: str = NETWORK) -> ResynthesisConfig:
    """The options for the layers of only this descriptor network. Raises UserError for one that does not exist."""
    return presets.with_descriptor(ResynthesisConfig(), network)
