"""The network that is to be trained: built, checked, and started from another model's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.networks import GeneratorSpec, build, make_spec, network_files
from texturenets.networks.custom import Custom
from texturenets.networks.trace_code import trace_code
from texturenets.train.configuration import TaskConfig
from texturenets.train.trainer_config import TrainerConfig


@dataclass(frozen=True)
class Built:
    """A network on its device, its spec, and `generator` as "FILE.py:CLASS" where it is the user's own code."""

    network: nn.Module
    spec: GeneratorSpec
    custom: str | None


def make(options: TaskConfig, config: TrainerConfig, device: torch.device) -> Built:
    """The network of `options`, initialized by its seed or with the weights of `config.init`.

    Sets torch's random state. Raises UserError where the network does not draw images of the size asked for,
    cannot be written down as a graph, or is not that of the model to start from.
    """
    spec = make_spec(options.generator, options.settings)
    torch.manual_seed(options.seed)
    # Who names a file of their own to be trained wants its code to be run.
    custom = options.generator if isinstance(spec, Custom) else None
    network = build(spec, custom=custom).to(device)
    _check_image_size(network, options)
    if custom is not None and config.engine != "torch":
        trace_code(network)  # what no graph can hold is told now, and not when the model is written
    if device.type in ("cpu", "cuda"):
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    built = Built(network, spec, custom)
    if config.init:
        _load_weights(built, modelfile.find(config.init))
    return built


def _check_image_size(network: nn.Module, options: TaskConfig) -> None:
    stride, side = getattr(network, "stride", 1), options.image_size
    if side % stride:
        below = side // stride * stride
        near = f"{below} or {below + stride}" if below else str(stride)
        raise UserError(
            f"`image_size` {side} is not a multiple of {stride}, as the generator "
            f"{options.generator} wants it: use {near}"
        )


def _load_weights(built: Built, path: Path) -> None:
    spec = network_files.spec_of(modelfile.read_header(path))
    if spec != built.spec:
        raise UserError(f"`init` {path}: its network is {spec}, this training's is {built.spec}")
    other, _ = network_files.load(path, built.custom)
    built.network.load_state_dict(other.state_dict())
