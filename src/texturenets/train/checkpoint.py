"""The state of a run in one safetensors file: tensors and JSON, nothing pickled, written atomically."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from texturenets.errors import UserError, reason
from texturenets.networks.network_files import save_whole

NAME = "checkpoint.safetensors"


@dataclass
class TrainingState:
    """The state of a training besides its tensors.

    `step`: steps done; `seconds`: of training, summed over resumes; `best`: lowest validation loss so far and
    the step it was reached at; `fingerprint`: what must be the same when the run is resumed (options, list of
    files); `scaler`: the state of the gradient scaler, of fp16.
    """

    step: int
    seconds: float
    best: float | None
    best_step: int
    fingerprint: dict[str, Any]
    scaler: dict[str, Any] | None = None

    def invalid(self) -> str:
        """A message about an invalid value; empty if all are valid."""
        for name in ("step", "best_step"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 2**53:
                return f"its {name} is not a number of steps"
        for name in ("seconds", "best"):
            value = getattr(self, name)
            if not (value is None and name == "best") and not (
                type(value) in (int, float) and abs(value) < 2**53 and math.isfinite(value)
            ):
                return f"its {name} is not a number"
        if not isinstance(self.fingerprint, dict):
            return "its fingerprint is not an object"
        if not isinstance(self.scaler, dict | None):
            return "its scaler is not an object"
        return ""


def save(folder: Path, state: TrainingState, network: nn.Module, optimizer: torch.optim.Optimizer) -> Path:
    """Write the checkpoint of `folder`; the previous one stays until this one is complete."""
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for key, value in moments.items():
            tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    tensors["random"] = torch.get_rng_state()
    path = folder / NAME
    text = json.dumps(vars(state))
    save_whole(tensors, path, {"state": text, "sha256": _digest(text, tensors)})
    return path


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """The hash of a checkpoint's content, to recognize a damaged file."""
    state = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous()
        state.update(f"\n{name} {array.dtype} {tuple(array.shape)}\n".encode())
        state.update(array.flatten().view(torch.uint8).numpy().data if array.numel() else b"")
    return state.hexdigest()


def _read(folder: Path) -> tuple[TrainingState, dict[str, Tensor]]:
    """The state and the tensors of the checkpoint in `folder`. Raises UserError if it is missing or damaged."""
    path, start_again = folder / NAME, anew(folder / "last.safetensors")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            # Copies: tensors of safetensors keep the file memory-mapped, and Windows cannot replace a mapped file.
            tensors = {k: file.get_tensor(k).clone() for k in file.keys()}  # noqa: SIM118 (not a mapping)
        state = TrainingState(**json.loads(metadata["state"]))
        digest = metadata["sha256"]
    except FileNotFoundError:
        raise UserError(f"nothing to resume: {path} does not exist; leave out `resume` to start") from None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is not a checkpoint of texturenets ({reason(error)}); {start_again}"
        ) from None
    if digest != _digest(metadata["state"], tensors):
        raise UserError(f"{path} is damaged: its checksum does not match its content; {start_again}")
    if message := state.invalid():
        raise UserError(f"{path} is not a checkpoint of texturenets ({message}); {start_again}")
    return state, tensors


def anew(model: Path) -> str:
    """What to do if a run cannot be resumed, for error messages; `model`: the last model of the run."""
    return f"start again with another `output`, from the last model with `init` {model}"


def options_of(folder: Path) -> dict[str, Any]:
    """The options of the run in `folder`, from its checkpoint, unverified; empty if that is damaged."""
    try:
        with safe_open(folder / NAME, "pt") as file:
            return dict(json.loads((file.metadata() or {})["state"])["fingerprint"]["run"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError):
        return {}


def read_state(folder: Path) -> TrainingState:
    """The state in the checkpoint of `folder`. Raises UserError if it is missing, no checkpoint or damaged."""
    return _read(folder)[0]


def restore(folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Load the checkpoint's tensors into network, optimizer and torch's random state.

    Raises UserError if they do not fit, and if the checkpoint is damaged.
    """
    _, tensors = _read(folder)
    try:
        random = tensors["random"]
        network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
        _restore_optimizer(optimizer, tensors)
        torch.set_rng_state(random)
    except (RuntimeError, KeyError, ValueError, IndexError, TypeError) as error:
        raise UserError(f"{folder / NAME} does not fit the network: {reason(error)[:200]}") from None


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            like = parameters[int(index)]
            # In the memory format of the weights: kernels round differently where two formats meet, and a resumed
            # training would not be the uninterrupted one.
            fits = value.shape == like.shape
            state.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(value) if fits else value
    current = optimizer.state_dict()
    current["state"] = state
    optimizer.load_state_dict(current)
