"""The state of a run in one safetensors file: tensors and JSON, nothing pickled, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from texturenets.errors import UserError
from texturenets.modelfile import save_whole

NAME = "checkpoint.safetensors"


@dataclass
class State:
    """What a checkpoint says beside its tensors.

    `step`: steps done; `seconds`: of training, summed over resumes; `best`: lowest validation loss so far and
    the step it was reached at; `facts`: what must be the same when the run goes on (options, list of files).
    """

    step: int
    seconds: float
    best: float | None
    best_step: int
    facts: dict[str, Any]
    scaler: dict[str, Any] | None = None


def save(folder: Path, state: State, network: nn.Module, optimizer: torch.optim.Optimizer) -> Path:
    """Write the checkpoint of `folder`; the one before stays until this one is whole."""
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for key, value in moments.items():
            tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    tensors["random"] = torch.get_rng_state()
    path = folder / NAME
    save_whole(tensors, path, {"state": json.dumps(vars(state))})
    return path


def read_state(folder: Path) -> State:
    """What the checkpoint of `folder` says. Raises UserError where there is none or it is not one."""
    path = folder / NAME
    try:
        with safe_open(path, "pt") as file:
            return State(**json.loads((file.metadata() or {})["state"]))
    except FileNotFoundError:
        raise UserError(f"nothing to resume: {path} does not exist; leave out --resume to start") from None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is not a checkpoint of texturenets ({error}); start anew without --resume"
        ) from None


def restore(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the checkpoint's tensors into network, optimizer and torch's random state.

    Raises UserError where they do not fit.
    """
    with safe_open(folder / NAME, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a mapping)
    try:
        random = tensors["random"]
        network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
    except (RuntimeError, KeyError) as error:
        raise UserError(
            f"{folder / NAME} does not fit the network: {' '.join(str(error).split())[:200]}"
        ) from None
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            like = parameters[int(index)]
            # In memory as the weights are: the same sums in the same order as without the interruption.
            fits = value.shape == like.shape
            state.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(value) if fits else value
    current = optimizer.state_dict()
    current["state"] = state
    optimizer.load_state_dict(current)
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                # In the parameter's own memory layout: kernels round differently where two layouts meet.
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    torch.set_rng_state(random)
