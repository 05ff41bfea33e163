"""The fallback for weights of the default descriptor networks that are missing and cannot be fetched: `own`, which
comes with the package."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from texturenets.errors import UserError, WeightsMissingError, reason
from texturenets.train import checkpoint, presets
from texturenets.train.configuration import TaskConfig

C = TypeVar("C", bound=TaskConfig)
T = TypeVar("T")


def with_own(
    make: Callable[[C], T],
    config: C,
    *,
    chosen: bool,
    resumed: Path | None,
    say: Callable[[str], None],
    given: Collection[str] = (),
) -> T:
    """`make(config)`, or, if weights are missing, `make` of `config` with the layers of `own`, with a message.
    `chosen`: whether the user named a network or layers, which are then never replaced. `resumed`: the folder of a
    run to resume, with its original networks. `given`: the names of the user's options, which stay. Raises what
    `make` raises.
    """
    if chosen:
        return make(config)
    small = presets.with_descriptor(config, "own", given)
    if resumed is not None and _is_run_of(resumed, small):
        return make(small)
    try:
        return make(config)
    except WeightsMissingError as error:
        say(
            "weights are missing, so own is used, the small descriptor network of the package: strokes and colors "
            "are a little further from the painting's "
            f"(`descriptor` vgg16 insists): {reason(error)}"
        )
        return make(small)


def _is_run_of(folder: Path, config: TaskConfig) -> bool:
    """Whether the run in `folder` was begun with the layers of `config`."""
    try:
        run = checkpoint.read_state(folder).fingerprint.get("run", {})
    except UserError:  # reported when the run is resumed
        return False
    return list(run.get("style_layers", ())) == list(config.style_layers)
