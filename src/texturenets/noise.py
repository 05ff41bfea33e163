"""Noise that a generator takes as an input: every number depends only on the seed and its position.

Every number is a function of (seed, stream, channel, row, column), made by the counter-based generator
Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). So one seed gives one
image, in any batch, for any tile or crop of it, and on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from texturenets.arrays import A, to_tensor

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Distribution = Literal["uniform", "normal", "waves"]
Wave = tuple[float, float]
"""Cycles a pixel of the image, down and to the right."""

# Multipliers and key steps of Philox4x32, table 2 of the paper
_MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
_STEPS: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10
_LOW: Final = 0xFFFFFFFF
_VECTORS: Final = 0x80000000  # first stream of `normal_vectors`; groups of channels are counted from 0

Words = TypeVar("Words", NDArray[np.int64], "Tensor", int)
"""Words of 32 bits, in arrays or tensors of int64, or one word."""


@dataclass(frozen=True)
class NoiseInput:
    """One noise input of a generator: `channels` channels at 1/`stride` of the output's resolution.

    "uniform" is in [0, 1), "normal" has mean 0 and variance 1. "waves" are two channels for each of `waves`, its sine
    and its cosine, whose phase only is random (Bergmann, Jetchev and Vollgraf, "Learning texture manifolds with the
    periodic spatial GAN", arXiv 1705.06566, section 3.2).
    """

    channels: int
    stride: int
    distribution: Distribution = "uniform"
    waves: tuple[Wave, ...] = ()

    @property
    def mean(self) -> float:
        """Mean of the distribution: the value of the noise at level 0."""
        return 0.5 if self.distribution == "uniform" else 0.0


def philox(counter: Sequence[Words | int], key: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """Four random words of 32 bits for every `counter`: four words, as broadcastable arrays or tensors, or as
    numbers."""
    a, b, c, d = list[Any](counter)
    k, m = key
    for _ in range(_ROUNDS):
        # Products have 64 bits; the shift of a signed number repeats the sign, hence the mask.
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, c = ((second >> 32) & _LOW) ^ b ^ k, ((first >> 32) & _LOW) ^ d ^ m
        b, d = second & _LOW, first & _LOW
        k, m = (k + _STEPS[0]) & _LOW, (m + _STEPS[1]) & _LOW
    return a, b, c, d


def _place(top: int, left: int, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Absolute rows (height, 1) and columns (1, width), modulo 2^32: together a position for each pixel of a map."""
    rows = np.arange(top, top + height, dtype=np.int64) & _LOW
    columns = np.arange(left, left + width, dtype=np.int64) & _LOW
    return rows[:, None], columns[None]


def _key(seed: int) -> tuple[int, int]:
    """A seed as two words of 32 bits, the key of `philox`."""
    return seed & _LOW, (seed >> 32) & _LOW


def _words(place: tuple[Words, Words], seed: int, stream: int, count: int) -> list[Any]:
    """`count` channels of words, each (height, width). `place`: rows and columns, as `_place` returns them."""
    key = _key(seed)
    groups = [philox((*place, stream & _LOW, g), key) for g in range(-(-count // 4))]
    return [word for group in groups for word in group][:count]


def _even(channels: int) -> int:
    """The next even number: `_normal` makes two channels of two."""
    return 2 * -(-channels // 2)


def _normal(lib: Any, words: Any) -> Any:
    """(C, H, W) of words as float64, C even, to normal numbers (Box and Muller 1958). `lib`: numpy or torch."""
    radius = lib.sqrt(-2 * lib.log((words[0::2] + 0.5) / 2**32))
    angle = 2 * math.pi * words[1::2] / 2**32
    return lib.stack([radius * lib.cos(angle), radius * lib.sin(angle)], 1).reshape(words.shape)


def uniform_array(  # noqa: PLR0917 (a place and a size)
    seed: int, stream: int, top: int, left: int, height: int, width: int, channels: int
) -> NDArray[np.float32]:
    """Noise uniform in [0, 1): (channels, height, width).

    `stream`: index of the generator's input, from 0; `top` and `left` are the absolute
    row and column of the first pixel, may be negative. More channels do not change the first ones. `seed` counts
    modulo 2^64, rows and columns modulo 2^32.
    """
    if min(height, width, channels) < 1:
        return np.zeros((max(channels, 0), max(height, 0), max(width, 0)), np.float32)
    words = np.stack(_words(_place(top, left, height, width), seed, stream, channels))
    # 24 bits, all that a float32 holds below 1; the rest would round up to 1.
    return (words >> 8).astype(np.float32) / np.float32(2**24)


def normal_array(  # noqa: PLR0917 (a place and a size)
    seed: int, stream: int, top: int, left: int, height: int, width: int, channels: int
) -> NDArray[np.float32]:
    """Noise of mean 0 and variance 1 (Box and Muller 1958), else as `uniform_array`; within 6.7 of zero."""
    if min(height, width, channels) < 1:
        return np.zeros((max(channels, 0), max(height, 0), max(width, 0)), np.float32)
    words = np.stack(_words(_place(top, left, height, width), seed, stream, _even(channels)))
    values: NDArray[np.float32] = _normal(np, words.astype(np.float64))[:channels].astype(np.float32)
    return values


def _on_device(  # noqa: PLR0917 (a place and a size)
    noise: NoiseInput,
    seeds: Sequence[int],
    stream: int,
    top: int,
    left: int,
    height: int,
    width: int,
    device: torch.device,
) -> Tensor:
    """(N, channels, height, width) of the numbers of `uniform_array` or `normal_array`, made on `device`.

    Uniform ones are the same; normal ones may differ in the last digit, as logarithms and cosines do.
    """
    import torch

    if noise.distribution == "waves":
        made = [array(noise, seed, stream, top, left, height, width) for seed in seeds]
        return torch.from_numpy(np.stack(made)).to(device)
    rows, columns = (
        torch.from_numpy(coordinates).to(device) for coordinates in _place(top, left, height, width)
    )
    arrays = []
    for seed in seeds:
        words = torch.stack(_words((rows, columns), seed, stream, _even(noise.channels)))
        values = (
            (words >> 8).float() / 2**24
            if noise.distribution == "uniform"
            else _normal(torch, words.double())
        )
        arrays.append(values[: noise.channels].float())
    return torch.stack(arrays)


def array(  # noqa: PLR0917 (a place and a size)
    noise: NoiseInput, seed: int, stream: int, top: int, left: int, height: int, width: int
) -> NDArray[np.float32]:
    """The numbers of one input, (channels, height, width); arguments as for `uniform_array`."""
    if noise.distribution == "waves":
        phases = uniform_array(seed, stream, 0, 0, 1, 1, len(noise.waves))[:, 0, 0]
        return _waves(noise, phases.tolist(), top, left, height, width)
    make = uniform_array if noise.distribution == "uniform" else normal_array
    return make(seed, stream, top, left, height, width, noise.channels)


def _waves(  # noqa: PLR0917 (a place and a size)
    noise: NoiseInput, phases: Sequence[float], top: int, left: int, height: int, width: int
) -> NDArray[np.float32]:
    """Sine and cosine of each wave, (channels, height, width). `phases`: in cycles, one for each wave."""
    rows, columns = (
        noise.stride * (np.arange(first, first + count) + 0.5)
        for first, count in ((top, height), (left, width))
    )
    maps = []
    for (down, right), phase in zip(noise.waves, phases, strict=True):
        angle = 2 * math.pi * ((down * rows)[:, None] + (right * columns)[None] + phase)
        maps += [np.sin(angle), np.cos(angle)]
    return np.stack(maps).astype(np.float32)


def wrapped(noise: NoiseInput, height: int, width: int) -> NoiseInput:
    """`noise` with the nearest waves that have whole cycles in an image of `height` x `width` pixels, so that it can
    wrap around."""

    def whole(cycles: float, side: int) -> float:
        return math.floor(cycles * side + 0.5) / side  # not `round`, whose halves no other language rounds so

    return replace(
        noise, waves=tuple((whole(down, height), whole(right, width)) for down, right in noise.waves)
    )


def uniform(  # noqa: PLR0917 (a place and a size)
    seed: int, stream: int, top: int, left: int, height: int, width: int, channels: int
) -> Tensor:
    """`uniform_array` as a tensor on the CPU."""
    return to_tensor(uniform_array(seed, stream, top, left, height, width, channels))


def normal(  # noqa: PLR0917 (a place and a size)
    seed: int, stream: int, top: int, left: int, height: int, width: int, channels: int
) -> Tensor:
    """`normal_array` as a tensor on the CPU."""
    return to_tensor(normal_array(seed, stream, top, left, height, width, channels))


def shapes(inputs: Sequence[NoiseInput], height: int, width: int) -> list[tuple[int, int, int]]:
    """(channels, height, width) of every noise map for an output of `height` x `width` pixels. Raises ValueError if
    these are not multiples of each stride."""
    for noise in inputs:
        if height % noise.stride or width % noise.stride:
            raise ValueError(f"{height} x {width} pixels are not multiples of {noise.stride}")
    return [(noise.channels, height // noise.stride, width // noise.stride) for noise in inputs]


def levelled(maps: Sequence[A], inputs: Sequence[NoiseInput], levels: Sequence[float]) -> list[A]:
    """The maps, with their deviations from the mean of their distribution multiplied by a level for each map; 1
    changes nothing. Waves keep their amplitude: only their phase is random."""
    return [
        m if level == 1 or noise.waves else noise.mean + level * (m - noise.mean)
        for m, noise, level in zip(maps, inputs, levels, strict=True)
    ]


def for_training(  # noqa: PLR0917 (a place and a size)
    inputs: Sequence[NoiseInput], seed: int, step: int, slots: Sequence[int], height: int, width: int
) -> list[Tensor]:
    """All noise maps for the images at the indices `slots` of the batch of `step`: like `draw`, but faster, with one
    stream for each image. They depend only on (seed, step, slot), so a resumed run continues as if it had not been
    interrupted.
    """
    import torch

    maps: list[list[Tensor]] = [[] for _ in inputs]
    for slot in slots:
        key = _key(seed)
        low, high, _, _ = (int(w) for w in philox((step & 0xFFFFFFFF, slot, 0, 0xFFFFFFFF), key))
        generator = torch.Generator().manual_seed(high << 31 ^ low)
        for batch, noise, shape in zip(maps, inputs, shapes(inputs, height, width), strict=True):
            if noise.distribution == "waves":
                phases = torch.rand(len(noise.waves), generator=generator).tolist()
                drawn = _waves(wrapped(noise, height, width), phases, 0, 0, *shape[1:])
                batch.append(torch.from_numpy(drawn))
                continue
            make = torch.rand if noise.distribution == "uniform" else torch.randn
            batch.append(make(shape, generator=generator))
    return [torch.stack(batch) for batch in maps]


def normal_vectors(seed: int, step: Tensor, stream: int, count: int, dimensions: int) -> Tensor:
    """Numbers of mean 0 and variance 1, (count, dimensions), float32, different for each (seed, step, stream).

    `step` is a tensor, (), int64, on the device where they are made: in a CUDA graph it is an input. The noise inputs
    of networks use other counters.
    """
    import torch

    rows = torch.arange(count, device=step.device)[:, None]
    groups = torch.arange(-(-dimensions // 4), device=step.device)[None]
    key = _key(seed)
    words = philox((rows, groups, step & _LOW, _VECTORS + stream), key)
    drawn: Tensor = _normal(torch, torch.stack(words).double())
    return drawn.permute(1, 2, 0).flatten(1)[:, :dimensions].float()


def draw(
    inputs: Sequence[NoiseInput],
    seeds: Sequence[int],
    height: int,
    width: int,
    *,
    top: int = 0,
    left: int = 0,
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """All noise maps for a generator's output of `height` x `width` pixels, one image for each seed. Each is (N,
    channels, height / stride, width / stride), N the number of `seeds`; its stream is its index in `inputs`. `top`
    and `left`: position of the output in the infinite plane, in its pixels. Raises ValueError if a size or a position
    is not a multiple of a stride. Waves have whole cycles in `height` x `width`. On CUDA they are made on the GPU.
    """
    if not inputs:  # sizes may be unknown while a network is traced
        return []
    import torch

    device = torch.device(device)
    if device.type != "cuda":
        maps = draw_arrays(inputs, seeds, height, width, top=top, left=left)
        return [to_tensor(array).to(device) for array in maps]
    return [
        _on_device(noise, seeds, stream, *place, rows, columns, device)
        for stream, noise, place, (_, rows, columns) in _maps(inputs, height, width, top, left)
    ]


def _maps(
    inputs: Sequence[NoiseInput], height: int, width: int, top: int, left: int
) -> Iterator[tuple[int, NoiseInput, tuple[int, int], tuple[int, int, int]]]:
    """Stream, input, position (top, left) and shape of every noise map."""
    shapes(inputs, top, left)
    sizes = shapes(inputs, height, width)
    for stream, (one, shape) in enumerate(zip(inputs, sizes, strict=True)):
        noise = wrapped(one, height, width)
        yield stream, noise, (top // noise.stride, left // noise.stride), shape


def draw_arrays(
    inputs: Sequence[NoiseInput],
    seeds: Sequence[int],
    height: int,
    width: int,
    *,
    top: int = 0,
    left: int = 0,
) -> list[NDArray[np.float32]]:
    """As `draw`, but arrays."""
    maps = []
    for stream, noise, place, (_, rows, columns) in _maps(inputs, height, width, top, left):
        arrays = [array(noise, seed, stream, *place, rows, columns) for seed in seeds]
        maps.append(np.stack(arrays))
    return maps
