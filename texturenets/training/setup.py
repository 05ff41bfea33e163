"""What a run and the cache both need before they start: device, precision, descriptor networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from texturenets import descriptors, devices, runs
from texturenets.errors import UserError
from texturenets.losses import Terms
from texturenets.training.logistics import Logistics

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Described:
    """Descriptor networks on their device, the full names of the layers asked for, and the precision."""

    networks: descriptors.Descriptors
    layers: tuple[str, ...]
    device: torch.device
    precision: str


def choose_precision(name: runs.Precision, device: torch.device) -> str:
    """The precision that `auto` stands for: bf16 where the device computes in it, else float32.

    Raises UserError for fp16 on a processor.
    """
    if name == "fp16" and device.type == "cpu":
        raise UserError("--precision fp16 is for graphics cards; on the processor take bf16 or float32")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        return "bf16"
    return "float32"


def full_names(layers: Sequence[str]) -> tuple[str, ...]:
    """`network:layer` for each, VGG-16 where no network is named. Raises UserError for unknown ones."""
    return tuple(":".join(descriptors.split(layer, "vgg16")) for layer in layers)


def space(layer: str) -> str:
    """Where the diversity loss looks: `runs.PIXELS`, or a layer's full name. Raises UserError for unknown ones."""
    return layer if layer == runs.PIXELS else full_names([layer])[0]


def describe(run: runs.Run, layers: Sequence[str], how: Logistics, progress: Any = None) -> Described:
    """The descriptor networks that hold `layers`, as `run` wants them. Raises UserError."""
    device = devices.choose(how.device)
    precision = choose_precision(run.precision, device)
    networks = descriptors.build(
        full_names(layers),
        files=how.weights,
        offline=how.offline,
        padding=run.vgg_padding,
        pool=run.pool,
        dtype=DTYPES[precision],
        progress=progress,
    )
    return Described(networks.to(device), full_names(layers), device, precision)


def descriptor_facts(run: runs.Run, layers: Sequence[str], described: Described) -> dict[str, Any]:
    """What decides the features of a picture in `layers`, in full names."""
    networks = {layer.partition(":")[0] for layer in layers}
    hashes = {name: sha for name, sha in described.networks.sha256.items() if name in networks}
    return {
        "padding": run.vgg_padding,
        "pool": run.pool,
        "precision": described.precision,
        "weights": hashes,
    }


def terms(run: runs.Run) -> Terms:
    """The losses of a run."""
    values: dict[str, Any] = {
        f.name: getattr(run, f.name) for f in dataclasses.fields(Terms) if hasattr(run, f.name)
    }
    values["style_layers"] = full_names(run.style_layers)
    values["diversity_layer"] = space(run.diversity_layer)
    weight = getattr(run, "content_weight", 0.0)  # a texture has no content
    layers = full_names(run.content_layers) if isinstance(run, runs.StyleRun) and weight else ()
    return Terms(**{**values, "content_layers": layers, "content_weight": weight})
