"""Preparation of trainings and of the cache: device, precision, descriptor networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from texturenets import perceptual
from texturenets.engines import devices
from texturenets.engines.torch_engine import DTYPES
from texturenets.errors import UserError
from texturenets.perceptual import full_names
from texturenets.train.configuration import Precision, RunConfig
from texturenets.train.trainer_config import TrainerConfig


@dataclass(frozen=True)
class Setup:
    """Descriptor networks on their device, the full names of the layers asked for, and the precision."""

    networks: perceptual.Descriptors
    layers: tuple[str, ...]
    device: torch.device
    precision: str


def choose_precision(name: Precision, device: torch.device) -> str:
    """The precision for `auto`: bf16 if the device supports it, else float32. Raises UserError for fp16 on a CPU."""
    if name == "fp16" and device.type == "cpu":
        raise UserError("`precision` fp16 is for GPUs; on the processor take bf16 or float32")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        return "bf16"
    return "float32"


def set_up(
    config: RunConfig, layers: Sequence[str], trainer_config: TrainerConfig, progress: Any = None
) -> Setup:
    """The descriptor networks that have `layers`, with the settings of `config`; missing weights are fetched.
    `progress`: called with the bytes done and in total while weights are fetched. Raises UserError for unknown
    layers, unavailable weights, and an unavailable device or precision.
    """
    device = devices.choose(trainer_config.device)
    precision = choose_precision(config.precision, device)
    # Normalizing gradients undoes the scaling that fp16 needs.
    if precision == "fp16" and getattr(config, "normalize_gradients", False):
        if config.precision == "fp16":
            raise UserError("`normalize_gradients` does not go with `precision` fp16: take bf16 or float32")
        precision = "float32"
    networks = perceptual.build(
        full_names(layers),
        files=trainer_config.weights,
        offline=trainer_config.offline,
        padding=config.descriptor_padding,
        pool=config.pool,
        dtype=DTYPES[precision],
        progress=progress,
    )
    return Setup(networks.to(device), full_names(layers), device, precision)


def descriptor_fingerprint(config: RunConfig, layers: Sequence[str], setup: Setup) -> dict[str, Any]:
    """Everything that determines the features of an image in `layers` (full names)."""
    networks = {layer.partition(":")[0] for layer in layers}
    hashes = {name: sha for name, sha in setup.networks.sha256.items() if name in networks}
    return {
        "padding": config.descriptor_padding,
        "pool": config.pool,
        "precision": setup.precision,
        "weights": hashes,
    }
