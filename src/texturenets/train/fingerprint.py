"""What must be the same when a training is resumed, and what differs where it is not."""

from __future__ import annotations

import hashlib
from typing import Any

from texturenets.modelfiles import modelfile
from texturenets.train.configuration import to_dict
from texturenets.train.setup import Setup
from texturenets.train.task import Task


def of_training(task: Task, setup: Setup, init: str | None) -> dict[str, Any]:
    """Options and names and hashes of all that goes in, JSON-ready; also part of the model's header."""
    return {
        "run": to_dict(task.config),
        **task.fingerprint,
        "descriptors_sha256": setup.networks.sha256,
        "init": _identity(init),
        "precision": setup.precision,
    }


def _identity(model: str | None) -> str | None:
    """Name and hash of a model to start from: where its file lies says nothing to anyone else."""
    if model is None:
        return None
    path = modelfile.find(model)
    return f"{path.stem} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Options with both values, and all else by name. How long a training lasts is no difference."""
    before, now = old.get("run", {}), new["run"]
    options = [
        f"`{k}` {_json(before.get(k))} -> {_json(v)}"
        for k, v in now.items()
        if k not in ("steps", "minutes") and _json(before.get(k)) != _json(v)
    ]
    others = [k for k, v in new.items() if k != "run" and _json(old.get(k)) != _json(v)]
    return options + list(dict.fromkeys(k.removesuffix("_sha256") for k in others))


def _json(value: Any) -> Any:
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {k: _json(v) for k, v in value.items()}
    return [_json(v) for v in value] if isinstance(value, list | tuple) else value
