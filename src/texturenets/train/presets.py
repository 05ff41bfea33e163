"""Named presets (`--preset`): where they differ from the defaults in `configuration`. Every number has its source.

The preset `default` is those defaults; docs/models.md says how they were chosen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from texturenets.errors import unknown
from texturenets.train.configuration import (
    SQUEEZENET_LAYERS,
    VGG_LAYERS,
    StyleConfig,
    TaskConfig,
    TextureConfig,
)

C = TypeVar("C", bound=TaskConfig)

DEFAULT = StyleConfig()

# The arithmetic and the defaults of train.lua (texture_nets, branch master) with the generator of the second
# paper: VGG-19, Gram matrices over C H W, mean squares, plain Adam falling by 0.8 every 2000 steps, float32.
# The program's own default is `-model pyramid`. Photos are handled differently: train.lua crops them at their
# original size and skips smaller ones, here they are scaled first; neither mirrors them.
PAPER = StyleConfig(
    generator="johnson",
    style_size=256,
    batch_size=1,
    steps=50000,
    optimizer="adam",
    learning_rate=1e-3,
    schedule="step",
    warmup=0,
    style_layers=tuple(f"vgg19:relu{n}_1" for n in (1, 2, 3, 4)),
    content_layers=("vgg19:relu4_2",),
    style_weight=1.0,
    content_weight=1.0,
    checkerboard_weight=0.0,
    loss_scaling="paper",
    flip=False,
    precision="float32",
)

# The README of texture_nets: "these parameters work for me".
README = dataclasses.replace(
    PAPER,
    style_size=600,
    image_size=512,
    batch_size=4,
    learning_rate=1e-2,
    style_layers=tuple(f"vgg19:relu{n}_2" for n in (1, 2, 3, 4)),
    style_weight=10.0,
)

# Five minutes on two cores with AMX, from another style (docs/models.md says why from that one, and why not faster).
QUICK = dataclasses.replace(DEFAULT, steps=1500)

STYLE_PRESETS: dict[str, StyleConfig] = {"default": DEFAULT, "quick": QUICK, "paper": PAPER, "readme": README}

STARTS = {"quick": "wave"}
"""By preset, the shipped style whose weights the training starts from, unless `init` or `into` is given, or another
generator."""


def start_of(preset: str, config: StyleConfig) -> str | None:
    """The style in `STARTS` if a training by `config` can start from it."""
    from texturenets.modelfiles import modelfile  # numpy, which --help does without

    start = STARTS.get(preset)
    if start is None or not config.may_start_from(modelfile.read_header(modelfile.find(start)).generator):
        return None
    return start


REPLACEABLE = ("default", "quick")
"""Presets whose descriptor networks may be replaced by `own`, where their weights cannot be fetched."""


def style_preset(name: str) -> StyleConfig:
    """The preset called `name`; raises UserError with the nearest one."""
    if name not in STYLE_PRESETS:
        raise unknown("preset", name, STYLE_PRESETS)
    return STYLE_PRESETS[name]


TEXTURE = TextureConfig()

# The arithmetic and the defaults of texture_train.lua (branch texture_nets_v1), with the pyramid of the first paper:
# VGG-19, Gram matrices over C H W, mean squares, batch normalization, plain Adam falling by 0.8 every 300 steps.
PAPER_TEXTURE = TextureConfig(
    generator="pyramid",
    set=("normalization=batch", "activation=leaky_relu"),
    batch_size=16,
    steps=1500,
    optimizer="adam",
    learning_rate=1e-1,
    schedule="step",
    decay_every=300,
    warmup=0,
    style_layers=tuple(f"vgg19:relu{n}_1" for n in (1, 2, 3, 4, 5)),
    checkerboard_weight=0.0,
    loss_scaling="paper",
    precision="float32",
)

# What the README of that branch trains "close to what is presented in the paper".
README_TEXTURE = dataclasses.replace(
    PAPER_TEXTURE, batch_size=15, descriptor_padding=False, normalize_gradients=True
)

TEXTURE_PRESETS: dict[str, TextureConfig] = {
    "default": TEXTURE,
    "paper": PAPER_TEXTURE,
    "readme": README_TEXTURE,
}


def texture_preset(name: str) -> TextureConfig:
    """The preset for textures called `name`; raises UserError with the nearest one."""
    if name not in TEXTURE_PRESETS:
        raise unknown("preset", name, TEXTURE_PRESETS)
    return TEXTURE_PRESETS[name]


def _of(network: str, layers: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{network}:{layer.rpartition(':')[2]}" for layer in layers)


@dataclass(frozen=True)
class DescriptorLayers:
    """The layers, without the network's name, if the losses use only this descriptor network. `style`, `content`: of
    the style loss and the content loss; `structure`: of the structure losses. `style_weight`: weight of the style
    loss; None: that of the preset.
    """

    style: tuple[str, ...]
    content: str
    structure: tuple[str, ...]
    style_weight: float | None = None


RANDOM_SIZES = (3, 5, 7, 11, 15, 23, 37, 55)  # sizes of the filters in pixels: section 2 of the paper
_DEEP = ("relu3_1", "relu4_1")  # the structure layers of the default preset
_GATYS = DescriptorLayers(tuple(f"relu{block}_1" for block in range(1, 6)), "relu4_2", _DEEP)

# VGG-16: as in the default preset; VGG-19: Gatys et al., arXiv 1508.06576, section "Methods". SqueezeNet: all modules
# up to fire7 for the style, the last one before the second pooling for the content; structure in a module at a
# quarter of the image's size, and one at an eighth. random: all sizes for the style, for the content the one size
# that Ustyuzhaninov et al. use in their models of one scale; structure at a middle and a large size. own: the
# maps that stand for the default preset's layers; docs/models.md, "The quick preset", says what chose its weight.
_OWN_STYLE = ("relu1_2", "conv1", "relu2_2", "fire3", "fire4", "relu3_3", "fire5", "fire7", "relu4_3")
LAYERS: dict[str, DescriptorLayers] = {
    "vgg16": DescriptorLayers(VGG_LAYERS, "relu4_2", _DEEP),
    "vgg19": _GATYS,
    "vgg19_normalised": _GATYS,
    "squeezenet1_0": DescriptorLayers(SQUEEZENET_LAYERS, "fire4", ("fire4", "fire7")),
    "squeezenet1_1": DescriptorLayers(SQUEEZENET_LAYERS, "fire4", ("fire3", "fire5")),
    "own": DescriptorLayers(
        tuple(f"map_{layer}" for layer in _OWN_STYLE),
        "map_relu4_2",
        ("map_relu3_3", "map_relu4_3"),
        style_weight=2.4,
    ),
    "random": DescriptorLayers(tuple(f"conv{size}" for size in RANDOM_SIZES), "conv11", ("conv11", "conv37")),
}


def layers_of(network: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`network:layer` names for the style loss and the content loss of a training with only this network.

    Raises UserError, with the nearest known name, for one that does not exist.
    """
    if network not in LAYERS:
        raise unknown("descriptor network", network, LAYERS)
    layers = LAYERS[network]
    return _of(network, layers.style), _of(network, [layers.content])


def losses_of(network: str, kind: type) -> dict[str, Any]:
    """The fields of a configuration of this `kind` that differ in a training with only this network.

    Raises UserError for a network that does not exist.
    """
    style, content = layers_of(network)
    layers = LAYERS[network]
    fields: dict[str, Any] = {
        "style_layers": style,
        "content_layers": content,
        "structure_layers": _of(network, layers.structure),
    }
    if layers.style_weight is not None:
        fields["style_weight"] = layers.style_weight
    known = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in fields.items() if name in known}


def with_descriptor(config: C, network: str, given: Collection[str] = ()) -> C:
    """`config` with the layers and weights for `network`; a style weight set by the user stays: one in `given`, the
    names of the user's options, or one that is not the default.

    Raises UserError for a network that does not exist.
    """
    fields = losses_of(network, type(config))
    if "style_weight" in given or config.style_weight != type(config)().style_weight:
        fields.pop("style_weight", None)
    return dataclasses.replace(config, **fields)
