"""The fingerprint of a training, which must be the same when it is resumed, and messages about differences."""

from __future__ import annotations

import hashlib
from typing import Any

from texturenets.modelfiles import modelfile
from texturenets.train.configuration import flag_text, to_dict
from texturenets.train.setup import Setup
from texturenets.train.task import Task
from texturenets.train.trainer_config import TrainerConfig


def of_training(task: Task, setup: Setup, config: TrainerConfig) -> dict[str, Any]:
    """Options, and names and hashes of all inputs, JSON-ready; also part of the model's header."""
    return {
        "run": to_dict(task.config),
        **task.fingerprint,
        "descriptors_sha256": setup.networks.sha256,
        "init": _identity(config.init),
        **({"into": _identity(config.into), "unfreeze": config.unfreeze} if config.into else {}),
        "precision": setup.precision,
    }


def _identity(model: str | None) -> str | None:
    """Name and hash of a model to start from; its path means nothing on other machines."""
    if model is None:
        return None
    path = modelfile.find(model)
    return f"{path.stem} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The differences, in words: options with both values. How long a training lasts is not a difference."""
    before, now = old.get("run", {}), new["run"]
    options = [
        k for k, v in now.items() if k not in ("steps", "minutes") and _json(before.get(k)) != _json(v)
    ]
    changed = [f"`{k}` {flag_text(before.get(k))} -> {flag_text(now[k])}" for k in options]
    others = {k for k, v in new.items() if k != "run" and _json(old.get(k)) != _json(v)}
    if {"seed", "val_share"} & set(options):
        others.discard("photos")  # their order and their parts come from these
    if {"set", "noise_depth"} & set(options) or "init" in others:
        others.discard("generator")  # which comes from these
    if "styles" in others:
        others.discard("styles_sha256")
    others -= set(options)  # as `precision`
    for key in (k for k in new if k in others):
        if key == "photos":
            changed.append("the photos in `content` (files were added, removed, renamed or changed)")
        elif key == "styles":
            changed.append(f"the image to learn, {flag_text(old.get(key))} -> {flag_text(new[key])}")
        elif key == "styles_sha256":
            changed.append(f"{flag_text(new['styles'])}, another image of that name")
        elif key == "descriptors_sha256":
            changed += _weights(old.get(key) or {}, new[key], any(k.endswith("_layers") for k in options))
        elif key == "losses":
            changed.append(f"`losses` {flag_text(old.get(key) or None)} -> {flag_text(new[key] or None)}")
        elif key == "generator":
            changed.append(_network(old.get(key), new[key]))
        elif key in ("init", "into"):
            changed.append(_model(key, old.get(key), new[key]))
        else:
            changed.append(f"`{key}` {flag_text(old.get(key))} -> {flag_text(new[key])}")
    return changed


def _weights(old: dict[str, Any], new: dict[str, Any], layers: bool) -> list[str]:
    """Networks with other weights, and unless `layers` of the options are others, which say so, those of one side."""
    changed = [f"the weights of {name} (`weights`)" for name in new if name in old and old[name] != new[name]]
    if not layers and (alone := sorted(old.keys() ^ new.keys())):
        changed.append(f"the descriptor networks of the losses ({', '.join(alone)})")
    return changed


def _network(old: dict[str, Any] | None, new: dict[str, Any]) -> str:
    """Of two networks of one name, the options that are not the same."""
    if old is None:
        return f"`generator` {new['name']}, whose options a run of an earlier version does not say"
    differ = [key for key, value in new.items() if _json(old.get(key)) != _json(value)]
    if differ == ["source"]:
        return f"the code of {new['target']}"
    before, now = (" ".join(f"{key}={flag_text(one.get(key))}" for key in differ) for one in (old, new))
    return f"`generator` {new['name']} with {before} -> {now}"


def _model(option: str, old: str | None, new: str | None) -> str:
    """Of models to start from, named by `option`, as `_identity` gives them, what is another."""
    names = [model.rpartition(" ")[0] if model else "none" for model in (old, new)]
    return (
        f"`{option}` {names[0]} -> {names[1]}"
        if names[0] != names[1]
        else f"`{option}` {names[0]}, another model of that name"
    )


def _json(value: Any) -> Any:
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {k: _json(v) for k, v in value.items()}
    return [_json(v) for v in value] if isinstance(value, list | tuple) else value
