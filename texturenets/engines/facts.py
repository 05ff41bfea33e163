"""What must be known of a network to feed it, as plain data: kept beside converted graphs. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from texturenets.errors import UserError
from texturenets.noise import NoiseInput


class ConversionError(UserError):
    """A network that has no form as a graph: it runs by PyTorch alone."""


@dataclass(frozen=True)
class Facts:
    """What a network takes.

    `stride`: what height and width are multiples of. `least`: the smallest height and width; below it a
    converted graph would have to mirror a map more than once. `channels`: of the first input, 3 for a photo,
    or 0 for a network that draws from noise alone. `noise`: the maps of noise that it takes besides. `fixed`: it
    draws `stride` x `stride` pixels and no other size. `margin`: pixels by which a photo is to be mirrored on each
    side at least, and the picture cut, for a border like the rest. `blocks`, `alive`: of a converted network, numbers
    a pixel that its maps take (`texturenets.engines.peak`).
    """

    stride: int = 1
    least: int = 1
    channels: int = 3
    noise: tuple[NoiseInput, ...] = ()
    fixed: bool = False
    margin: int = 0
    blocks: float = 0.0
    alive: float = 0.0

    def to_json(self) -> str:
        """A line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """The inverse. Raises ValueError, KeyError or TypeError for anything else."""
        data = json.loads(text)
        noise = tuple(NoiseInput(**one) for one in data.pop("noise"))
        return cls(**data, noise=noise)
