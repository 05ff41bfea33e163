"""The network for training: checks it, builds it, and initializes it, optionally with another model's weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from texturenets.errors import UserError
from texturenets.graph import ConversionError
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Condition
from texturenets.networks import GeneratorSpec, build, make_spec, network_files
from texturenets.networks.conditional import ConditionalNetwork
from texturenets.networks.custom import Custom, keyword_arguments
from texturenets.networks.graph import GraphSpec
from texturenets.networks.trace_code import example, trace_code
from texturenets.train.configuration import TaskConfig, flag_text
from texturenets.train.trainer_config import TrainerConfig

FAR_OUTSIDE = 10.0
"""Mean or standard deviation from which on the images of a network that is not trained yet are of another range.
Without an activation at its end they have a standard deviation of about 1 (He et al., arXiv 1502.01852); those of 0
to 255 have a mean of 128, or if they are centred a standard deviation of some 50."""


def user_code(spec: GeneratorSpec, options: TaskConfig) -> str | None:
    """The `generator` of `options`, "FILE.py:CLASS", if it is the user's own code; else None."""
    return options.generator if isinstance(spec, Custom) else None


def make(
    spec: GeneratorSpec,
    options: TaskConfig,
    config: TrainerConfig,
    device: torch.device,
    conditions: Sequence[Condition] = (),
) -> nn.Module:
    """The network of `spec` on `device`, initialized by the seed of `options` or with the weights of `config.init`.

    `spec`: the result of `check`. `conditions`: of the rows of its normalizations, for a network with several styles.
    Sets torch's random state. Raises UserError if the network cannot be converted to a graph.
    """
    torch.manual_seed(options.seed)
    # Naming a file for training is consent to run its code.
    custom = user_code(spec, options)
    network = _rows_for(config.into, conditions) if config.into else build(spec, custom=custom)
    if config.unfreeze:
        network.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError(
            f"`generator` {options.generator}: it has no parameters, so there is nothing to train"
        )
    if custom is not None and (
        config.engine != "torch" or conditions
    ):  # several styles run only from the graph
        trace_code(network)  # reports now, not when the model is written, what a graph cannot express
    if config.init:
        other, _ = network_files.load(modelfile.find(config.init), custom)
        network.load_state_dict(other.state_dict())
    if custom is not None:
        _check_range(network, options)
    if conditions and not config.into:
        network = ConditionalNetwork(network, len(conditions))
    network = network.to(device)
    if device.type in ("cpu", "cuda"):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _check_range(network: nn.Module, options: TaskConfig) -> None:
    """Raise UserError if the images of the user's code are far outside [0, 1], as those of 0 to 255 are."""
    try:
        _, images = example(network)
    except (
        ConversionError
    ):  # with `engine` torch it may be made for one size: its first step says what is wrong
        return
    if max(abs(float(images.mean())), float(images.std())) > FAR_OUTSIDE:
        low, high = float(images.min()), float(images.max())
        raise UserError(
            f"`generator` {options.generator} gives values from {low:.4g} to {high:.4g}, not 0 to 1: divide by 255?"
        )


def _rows_for(base: str, conditions: Sequence[Condition]) -> ConditionalNetwork:
    """The network of the model called `base`, with everything frozen except rows for `conditions`. A row is
    initialized to the mean of the model's rows of the same strength and stroke size. Raises UserError for a model
    that does not hold several styles.
    """
    network, header = network_files.load(modelfile.find(base))
    if not header.rows:
        raise UserError(
            f"`into` {base}: it does not hold several styles: name a model of `train gallery`, for `train style`"
        )
    if not isinstance(network, ConditionalNetwork):  # the user's own code, run from its graph
        raise UserError(f"`into` {base}: its network is code of its own, which takes no further style")
    known = header.rows
    for name in network.rows:
        table = network.network.get_parameter(name)
        alike = [
            [i for i, row in enumerate(known) if (row.strength, row.stroke) == (one.strength, one.stroke)]
            for one in conditions
        ]
        network.set_rows(name, torch.stack([table[rows].mean(0) for rows in alike]))
    return network


def check(options: TaskConfig, config: TrainerConfig, kind: str) -> GeneratorSpec:
    """The spec of the network of `options`, for a model of `kind`; with `config.init` that of the model, if it
    matches the options. Raises UserError for an unknown network, and for a different one in `config.init`.
    """
    spec = make_spec(options.generator, options.generator_options)
    start = config.init or config.into
    if not start:
        return spec
    keys = {option.partition("=")[0] for option in options.given_options}
    return _spec_of_start(spec, ("into" if config.into else "init", start), kind, keys)


def check_image_size(network: nn.Module, options: TaskConfig) -> None:
    """Raise UserError if the network cannot generate images of that size."""
    stride, side = getattr(network, "stride", 1), options.image_size
    if side % stride:
        below = side // stride * stride
        near = f"{below} or {below + stride}" if below else str(stride)
        raise UserError(
            f"`image_size` {side} is not a multiple of {stride}, as the generator "
            f"{options.generator} wants it: use {near}"
        )


def _spec_of_start(
    trained: GeneratorSpec, start: tuple[str, str], kind: str, keys: Collection[str]
) -> GeneratorSpec:
    """The spec of the model that `start` names, an option and its value. Raises UserError unless it has the values
    that `trained` has at `keys`."""
    option, name = start
    header = modelfile.read_header(modelfile.find(name))
    if header.rows and option == "init":
        raise UserError(
            f"`init` {name} holds several styles: name a model of one style, or train one more into it with `into`"
        )
    if header.kind != kind:
        raise UserError(
            f"`{option}` {name} is a {header.kind}, and what is trained here is a {kind}: name a {kind}"
        )
    spec = network_files.spec_of(header)
    if isinstance(spec, GraphSpec):
        raise UserError(
            f"`{option}` {name}: its network was converted from another program's file, and cannot be trained here: "
            f"name a model that was trained here, or leave `{option}` out"
        )
    if type(spec) is not type(trained):
        code = spec.target if isinstance(spec, Custom) else spec.name
        raise UserError(
            f"`{option}` {name}: its network is {code}, and what is trained here is "
            f"{trained.target if isinstance(trained, Custom) else trained.name}: name a model of that, or "
            f"`generator` {code}"
        )
    if isinstance(spec, Custom) and isinstance(trained, Custom) and spec.source != trained.source:
        raise UserError(
            f"`{option}` {name}: the code of its network, {spec.target}, is not that of {trained.target} as it is "
            "now: name another model"
        )
    has, here = _options_of(spec), _options_of(trained)
    differ = [key for key in here if key in keys and (key not in has or has[key] != here[key])]
    if differ:
        its = " ".join(
            f"{key}={flag_text(has[key])}" if key in has else f"the default {key}" for key in differ
        )
        wanted = " ".join(f"{key}={flag_text(here[key])}" for key in differ)
        raise UserError(
            f"`{option}` {name}: its network has {its}, and what is asked for is {wanted}: leave `set` out for the "
            f"network of {name}, or name another model"
        )
    return spec


def _options_of(spec: GeneratorSpec) -> dict[str, Any]:
    """The generator's options by their names: fields of its spec, or arguments of the user's code."""
    return keyword_arguments(spec.options) if isinstance(spec, Custom) else dataclasses.asdict(spec)
