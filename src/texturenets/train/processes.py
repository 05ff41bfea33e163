"""Distributed training: the processes that `torchrun` starts, or this one alone."""

from __future__ import annotations

import os
import time

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.precision import MixedPrecision, Precision

from texturenets.errors import UserError
from texturenets.networks import make_spec
from texturenets.train.configuration import RunConfig, StyleConfig, TaskConfig

GIL_RELEASE_SECONDS = 0.2  # time for another thread to run, which waits for the interpreter lock


def make_fabric(device: torch.device, precision: str, scaler: torch.amp.GradScaler | None) -> Fabric:
    """Lightning's Fabric for this device and precision; the weights stay in float32."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    return Fabric(
        accelerator=device.type,
        devices=local if device.index is None else [device.index],
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        # Alone it is alone, also in a job of SLURM with several tasks, which Fabric would otherwise ask for.
        plugins=[_precision(precision, device, scaler), *([LightningEnvironment()] if world == 1 else [])],
    )


def _precision(name: str, device: torch.device, scaler: torch.amp.GradScaler | None) -> Precision:
    if name == "float32":
        return Precision()
    return MixedPrecision("16-mixed" if name == "fp16" else "bf16-mixed", device.type, scaler)


def check_whole_batch(config: RunConfig, count: int) -> None:
    """Raises UserError if the batch cannot be divided among `count` processes, or a loss or normalization needs all
    of it and it is divided, among them or by `accumulate`."""
    if config.batch_size % (count * config.accumulate):
        raise UserError(
            f"`batch_size` {config.batch_size} does not divide among {count} processes "
            f"of {config.accumulate} microbatches"
        )
    if count > 1:
        _check_several(config)
    if (count > 1 or config.accumulate > 1) and isinstance(config, TaskConfig):
        whole = {
            "`normalize_gradients`": config.normalize_gradients,
            "normalization=batch": _normalization(config) == "batch",
        }
        way_out = "train in one process" if count > 1 else "leave `accumulate` out"
        for name, given in whole.items():
            if given:
                raise UserError(f"{name} needs the whole batch: {way_out}")


def _check_several(config: RunConfig) -> None:
    """Raises UserError for what does not work in several processes."""
    if config.minutes:
        raise UserError("`minutes` works in one process only: with several, give `steps`")
    if not isinstance(config, TaskConfig):
        raise UserError(
            "a descriptor network is trained by comparing the images of a whole batch: train it in one process"
        )
    whole = {
        "`diversity_weight`": config.diversity_weight,
        "`texture_photos`": isinstance(config, StyleConfig) and config.texture_photos,
    }
    for name, given in whole.items():
        if given:
            raise UserError(f"{name} needs the whole batch: train in one process")


def _normalization(config: TaskConfig) -> str:
    return str(getattr(make_spec(config.generator, config.generator_options), "normalization", ""))


def leave() -> None:
    """Leave the process group, if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        # The thread of the last exchange needs the interpreter lock to free its tensors, while the thread that frees
        # the process group holds the lock and waits for it: a deadlock (PyTorch 2.13, Gloo).
        time.sleep(GIL_RELEASE_SECONDS)
