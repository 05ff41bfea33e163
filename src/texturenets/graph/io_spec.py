"""What a graph takes and gives, for those who feed it. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from texturenets.noise import NoiseInput


@dataclass(frozen=True)
class NamedInput:
    """An input that is neither photo nor noise: `channels` channels at 1/`stride` of the picture's resolution.

    A `stride` of 0: one pixel, whatever the picture's size.
    """

    name: str
    channels: int
    stride: int = 1

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of its map for a picture of that size."""
        return (height // self.stride, width // self.stride) if self.stride else (1, 1)


@dataclass(frozen=True)
class IOSpec:
    """What a network takes and gives.

    `stride`: what height and width are multiples of. `least`: the smallest height and width; below it a map would
    have to be mirrored more than once. `channels`: of the first input, 3 for a photo, or 0 for a network that draws
    from noise alone. `noise`: the maps of noise that it takes besides. `fixed`: it draws `stride` x `stride` pixels
    and no other size. `margin`: pixels by which a photo is to be mirrored on each side at least, and the picture cut,
    for a border like the rest. `outputs`: channels of the picture. `inputs`: what else it takes. `blocks`, `alive`:
    of an ONNX file, numbers a pixel that its maps take (`texturenets.engines.peak`). `periodic`: what it draws goes
    on at its other end (`texturenets.graph.periodic`).
    """

    stride: int = 1
    least: int = 1
    channels: int = 3
    noise: tuple[NoiseInput, ...] = ()
    fixed: bool = False
    margin: int = 0
    outputs: int = 3
    inputs: tuple[NamedInput, ...] = ()
    blocks: float = 0.0
    alive: float = 0.0
    periodic: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs by their names, in order: the photo, the maps of noise, and the others."""
        photo = ("photo",) if self.channels else ()
        noises = (f"noise{i}" for i in range(len(self.noise)))
        return (*photo, *noises, *(one.name for one in self.inputs))
