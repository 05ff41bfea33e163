"""Options that were given and change nothing, or contradict each other. No torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from texturenets.errors import UserError
from texturenets.train.configuration import PERIODIC_GENERATORS, RunConfig, StyleConfig, TaskConfig

CHECKERBOARD_SIDE = 64  # losses.checkerboard: pixels of an area
STRUCTURE_WEIGHTS = ("sliced_weight", "shifted_weight", "autocorrelation_weight")

_NEEDED: dict[str, tuple[Callable[[Any], object], str]] = {
    "checkerboard_weight": (
        lambda config: not config.checkerboard_weight or config.image_size >= CHECKERBOARD_SIDE,
        f"`image_size` {CHECKERBOARD_SIDE} or more",
    ),
    "decay": (lambda config: config.schedule == "step", "`schedule` step"),
    "decay_every": (lambda config: config.schedule == "step", "`schedule` step"),
    "diversity_layer": (lambda config: config.diversity_weight, "`diversity_weight`"),
    "max_shift": (lambda config: config.shifted_weight, "`shifted_weight`"),
    "periodic": (
        lambda config: config.generator in PERIODIC_GENERATORS,
        f"`generator` {' or '.join(PERIODIC_GENERATORS)}",
    ),
    "pyramid_decay": (lambda config: config.pyramid_loss > 1, "`pyramid_loss` 2 or more"),
    "structure_layers": (
        lambda config: any(getattr(config, name) for name in STRUCTURE_WEIGHTS),
        " or ".join(f"`{name}`" for name in STRUCTURE_WEIGHTS),
    ),
}
"""By option: whether it has an effect with the others of a configuration, and what it needs for that, in words."""

_LAYERS = ("style_layers", "content_layers", "structure_layers")


def check_used(config: RunConfig, given: Collection[str] | None = None) -> None:
    """Raise UserError for an option that has no effect with the others of `config`: one that needs another, content
    layers without a name, a layer named twice, noise channels said in two ways.

    `given`: the names of the options that the user gave; None: all that differ from the default. Not among the checks
    of `config` itself: a preset, or a model's header, may hold what another option has made idle.
    """
    names = changed(config) if given is None else given
    for name in names:
        if name in _NEEDED and not _NEEDED[name][0](config):
            raise UserError(
                f"`{name}` changes nothing without {_NEEDED[name][1]}: give that, or leave it out"
            )
        if name in _LAYERS:
            _check_layers(name, getattr(config, name))
    if "content_layers" in names and isinstance(config, StyleConfig):
        _check_content(config)
    if "noise_depth" in names and isinstance(config, TaskConfig):
        _check_noise(config)


def _check_content(config: StyleConfig) -> None:
    if not config.content_layers and config.content_weight:
        raise UserError("`content_layers` names no layer: give one, or `content_weight` 0")


def _check_noise(config: TaskConfig) -> None:
    keys = {option.partition("=")[0].strip() for option in config.set}
    if config.noise_depth and "noise_depth" in keys:
        raise UserError("`noise_depth` and `set` noise_depth=... say the same: give only one of them")


def changed(config: RunConfig) -> list[str]:
    """The names of the options of `config` that differ from the default."""
    default = type(config)()
    return [
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(default, field.name)
    ]


def _check_layers(name: str, layers: Collection[str]) -> None:
    """Raise UserError for a layer that is named twice; without a network it is one of VGG-16."""
    seen = set()
    for layer in layers:
        full = layer if ":" in layer else f"vgg16:{layer}"
        if full in seen:
            raise UserError(f"`{name}` names {full} twice: a layer counts once")
        seen.add(full)
