"""The inputs of a call of an engine by name, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from texturenets.arrays import A
from texturenets.errors import UserError
from texturenets.graph import IOSpec


def feed(spec: IOSpec, photo: A | None, noises: Sequence[A], inputs: Mapping[str, A] | None) -> dict[str, A]:
    """All inputs by name, in the order of `spec.names`.

    Raises UserError if an input is missing, unknown, or has the wrong number of channels.
    """
    given: dict[str, A] = {} if photo is None else {"photo": photo}
    given |= {f"noise{i}": noise_map for i, noise_map in enumerate(noises)} | dict(inputs or {})
    channels = {"photo": spec.channels} | {f"noise{i}": noise.channels for i, noise in enumerate(spec.noise)}
    channels |= {named.name: named.channels for named in spec.inputs}
    for name in spec.names:
        if name not in given:
            raise UserError(f"the network takes {name}, which is missing")
    for name, value in given.items():
        if name not in spec.names:
            raise UserError(f"the network takes no {name}, but {', '.join(spec.names)}")
        if value.ndim != 4 or value.shape[1] != channels[name]:
            shape = tuple(value.shape)
            raise UserError(f"{name} has the shape {shape}, not (N, {channels[name]}, H, W)")
    return {name: given[name] for name in spec.names}
