"""Inputs and output of a graph: sizes, channels, noise, padding. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from texturenets.noise import NoiseInput


@dataclass(frozen=True)
class NamedInput:
    """An input other than the photo and noise: `channels` channels at 1/`stride` of the image's resolution.

    `stride` 0: one pixel, whatever the image's size.
    """

    name: str
    channels: int
    stride: int = 1

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of its feature map for an image of that size."""
        return (height // self.stride, width // self.stride) if self.stride else (1, 1)


@dataclass(frozen=True)
class IOSpec:
    """Inputs and output of a network.

    `stride`: height and width must be multiples of it. `min_side`: the smallest height and width; below it reflection
    padding would exceed a feature map. `channels`: channels of the first input, 3 for a photo, or 0 for a network
    with only noise inputs. `noise`: its noise inputs. `fixed_size`: its output is always `stride` x `stride` pixels.
    `margin`: pixels of reflection padding that a photo needs on each side, cropped from the result, against border
    artifacts. `outputs`: channels of the output. `inputs`: further inputs. `buffers`, `live`: for an ONNX file,
    elements of its feature maps in memory per pixel of the image, estimated by two models of memory use
    (`texturenets.engines.peak`). `periodic`: the output tiles seamlessly (`texturenets.graph.periodic`).
    """

    stride: int = 1
    min_side: int = 1
    channels: int = 3
    noise: tuple[NoiseInput, ...] = ()
    fixed_size: bool = False
    margin: int = 0
    outputs: int = 3
    inputs: tuple[NamedInput, ...] = ()
    buffers: float = 0.0
    live: float = 0.0
    periodic: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs by their names, in order: the photo, the noise maps, and the others."""
        photo = ("photo",) if self.channels else ()
        noises = (f"noise{i}" for i in range(len(self.noise)))
        return (*photo, *noises, *(named.name for named in self.inputs))
