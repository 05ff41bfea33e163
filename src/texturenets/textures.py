"""Textures: networks that generate images from noise."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from texturenets import arguments, noise
from texturenets.arrays import A, to_numpy
from texturenets.engines import Engine, devices, peak
from texturenets.errors import DamagedError, UserError
from texturenets.image import resize_wrapped
from texturenets.memory import budget
from texturenets.modelfiles.modelfile import Header
from texturenets.noise import NoiseInput

Array = NDArray[np.float32]
Tileable = bool | Literal["x", "y"]
Levels = float | Mapping[int, float]

MIN_SAMPLE_SIDE = 256
"""Minimum side in pixels of generated images, which are then cropped: for instance normalization the maps of the
coarsest scale must be about as large as in training, else its statistics are those of a few pixels."""

MARGIN = 256
"""Pixels generated around a tile, and cropped, for networks that do not wrap around: more than their receptive
field."""

MIN_SCALE, MAX_SCALE = 1 / 16, 16
"""Limits of `Texture.scaled`: at the smallest 256 times the pixels are drawn."""


class Texture:
    """A network that draws samples of a texture, from `texturenets.load`.

    `name` is the texture's name, `path` the model file, `header` its header, `engine` the engine that runs the
    network, with its `name` and `precision`. `scales`: the scales of its noise inputs, in pixels, the coarsest first.
    `scale`: the size of what is drawn over the exemplar's, see `scaled`.
    """

    scale = 1.0

    def __init__(self, engine: Engine, header: Header, path: Path) -> None:
        self.engine, self.header, self.path = engine, header, path
        io_spec = engine.io_spec
        self.inputs: tuple[NoiseInput, ...] = io_spec.noise
        self.stride = io_spec.stride
        self.fixed: int | None = io_spec.stride if io_spec.fixed_size else None
        self.periodic = io_spec.periodic
        self.scales = tuple(sorted({n.stride for n in self.inputs}, reverse=True))
        if not self.inputs or io_spec.channels:
            raise DamagedError(f"{path}: its network takes a photo, it does not draw from noise")

    @property
    def name(self) -> str:
        """The texture's name, from its header."""
        return self.header.name

    def __repr__(self) -> str:
        return f"Texture({self.name!r}, {self.header.generator['name']}, {self.engine.name} {self.engine.precision})"

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """A texture cannot stylize images: raises UserError."""
        raise UserError(
            f"{self.name} is a {self.header.kind}, which cannot stylize images: `sample()` draws from it; to stylize "
            "load a style"
        )

    stylize = __call__

    def scaled(self, scale: float) -> Self:
        """The same texture with everything in it `scale` times as large: 0.5 makes pebbles half as large.

        Samples are drawn larger or smaller and resized, antialiased; above 1 they are blurred, as no network draws
        details that its exemplar does not have. Every size can then tile. Raises UserError for a scale below 1/16 or
        above 16.
        """
        if not MIN_SCALE <= arguments.number("scale", scale) <= MAX_SCALE:
            raise UserError(f"`scale` {scale:g} is not between 1/16 and 16")
        made = copy.copy(self)
        made.scale = float(scale)
        return made

    def sample(
        self,
        size: int | tuple[int, int] = 256,
        *,
        seed: int = 0,
        count: int | None = None,
        batch: int = 1,
        tileable: Tileable = False,
        noise_level: Levels = 1.0,
        hold: Sequence[int] = (),
    ) -> Any:
        """A PIL image of `size` pixels, (width, height) or one number for a square; with `count` a list of them.

        One `seed` gives one image, whatever `count`: the i-th has the seed `seed` + i. `tileable`: True, or "x"
        or "y" for one axis; sides must then be multiples of the network's `stride`. `noise_level`: factor on the
        noise, 1 as in training, 0 for none; one number, or {scale: factor}. `hold`: scales that keep the noise of
        `seed` in all samples. `batch`: batch size, see `draws`.

        Raises UserError for invalid sizes, scales and levels, and when memory runs out.
        """
        sides = size if isinstance(size, tuple | list) else (size, size)
        if len(sides) != 2 or isinstance(size, str):
            raise UserError(f"`size` {size!r} is neither a number of pixels nor (width, height)")
        width, height = (arguments.integer("size", side) for side in sides)
        seed = arguments.integer("seed", seed)
        if count is not None and arguments.integer("count", count) < 1:
            raise UserError(f"`count` {count} is not above 0")
        seeds = range(seed, seed + (1 if count is None else count))
        drawn = self.draws(
            height,
            width,
            seeds,
            batch=batch,
            tileable=tileable,
            noise_level=noise_level,
            hold=hold,
            held=seed,
        )
        results = [self._result(y) for y in drawn]
        return results[0] if count is None else results

    def _result(self, drawn: Array) -> Any:
        """What `sample` returns of an array of `draw`: a PIL image."""
        from PIL import Image

        return Image.fromarray((drawn[0] * 255).round().astype(np.uint8).transpose(1, 2, 0))

    def draw(
        self,
        height: int,
        width: int,
        seed: int = 0,
        *,
        tileable: Tileable = False,
        noise_level: Levels = 1.0,
        hold: Sequence[int] = (),
        held: int = 0,
    ) -> Array:
        """One sample, an array (1, 3, `height`, `width`), float32 RGB in [0, 1].

        `held`: the seed of the scales in `hold`. Other arguments and errors as in `sample`.
        """
        options: Any = {"tileable": tileable, "noise_level": noise_level, "hold": hold, "held": held}
        return next(self.draws(height, width, [seed], **options))

    def draws(
        self,
        height: int,
        width: int,
        seeds: Sequence[int],
        *,
        batch: int = 1,
        tileable: Tileable = False,
        noise_level: Levels = 1.0,
        hold: Sequence[int] = (),
        held: int = 0,
    ) -> Iterator[Array]:
        """A sample for each of the seeds, as from `draw`. `batch`: number of samples computed at once, to use a GPU
        fully. Engines then round differently, so an image may differ by some 255ths from the one computed alone.
        """
        if arguments.integer("batch", batch) < 1:
            raise UserError(f"batch {batch} is not above 0")
        arguments.instance("seeds", seeds, Sequence | np.ndarray, "a list of whole numbers")
        if not isinstance(seeds, range):  # which may be long
            seeds = [arguments.integer("seed", seed) for seed in seeds]
        held = arguments.integer("held", held)
        canvas = self.canvas(height, width, tileable)
        self._check_memory(*canvas, min(batch, len(seeds)))
        self._check_scales(hold)
        for begin in range(0, len(seeds), batch):
            some = seeds[begin : begin + batch]
            maps = self._noise(some, canvas)
            if hold:
                held_maps = self._noise([held] * len(some), canvas)
                maps = [
                    k if n.stride in hold else m for m, k, n in zip(maps, held_maps, self.inputs, strict=True)
                ]
            pictures = self._drawn(self._levelled(maps, noise_level), height, width, tileable)
            for i in range(len(some)):
                yield pictures[i : i + 1]

    def between(
        self,
        height: int,
        width: int,
        first: int,
        last: int,
        frames: int,
        *,
        tileable: Tileable = False,
        noise_level: Levels = 1.0,
    ) -> Iterator[Array]:
        """`frames` images, as from `draw`, from the sample of seed `first` to that of `last`. The noise is
        interpolated along a quarter of a circle, so that it keeps its distribution at every step; uniform noise is
        interpolated as normal noise.
        """
        if arguments.integer("frames", frames) < 2:
            raise UserError(f"frames {frames}: from one seed to another takes at least 2")
        for frame in range(frames):
            share = frame / (frames - 1)
            yield self.mix(height, width, first, last, share, tileable=tileable, noise_level=noise_level)

    def mix(
        self,
        height: int,
        width: int,
        first: int,
        last: int,
        share: float,
        *,
        tileable: Tileable = False,
        noise_level: Levels = 1.0,
    ) -> Array:
        """One image of the interpolation of `between`: at `share` 0 the sample of `first`, at 1 that of `last`.

        Raises UserError as `draw` does, and for a share outside [0, 1].
        """
        if not 0 <= arguments.number("share", share) <= 1:  # also for NaN
            raise UserError(f"share {share} is not between 0 (the first seed) and 1 (the last)")
        canvas = self.canvas(height, width, tileable)
        seeds = arguments.integer("first", first), arguments.integer("last", last)
        ends = [noise.draw_arrays(self.inputs, [seed], *canvas) for seed in seeds]
        angle = share * math.pi / 2
        maps = [_mixed(a, b, angle, n.distribution) for a, b, n in zip(*ends, self.inputs, strict=True)]
        return self._drawn(self._levelled(maps, noise_level), height, width, tileable)

    def canvas(self, height: int, width: int, tileable: Tileable = False) -> tuple[int, int]:
        """Rows and columns of the generated image, before cropping, for an image of that size. Raises UserError for
        an impossible size."""
        height, width = arguments.integer("height", height), arguments.integer("width", width)
        if min(height, width) < 1:
            raise UserError(f"size {width} x {height}: both sides are at least 1 pixel")
        if self.fixed is not None:
            if tileable:
                raise UserError(f"{self.name} cannot tile: its network draws from a vector, of one size")
            most = int(self.fixed * self.scale)
            if max(height, width) > most:
                raise UserError(
                    f"size {width} x {height}: the network of {self.name} draws {most} x {most} pixels and no more"
                )
            return self.fixed, self.fixed
        sides = []
        inner = self._unscaled(height, width, tileable)
        for side, name, wraps in zip(inner, "yx", self._axes(tileable), strict=True):
            if wraps and side % self.stride:
                raise UserError(
                    f"size {width} x {height} cannot tile along {name}: {side} is not a multiple of "
                    f"{self.stride}; {self.rounded(height, width, tileable)} can"
                )
            least = max(MIN_SAMPLE_SIDE, self.engine.io_spec.min_side)
            padded = -(-max(side, 1 if wraps else least) // self.stride) * self.stride
            # Wrapped around by itself, a side that is not to tile would.
            sides.append(padded + (self.stride if tileable and not wraps and padded == side else 0))
        self._check_memory(sides[0], sides[1])
        return sides[0], sides[1]

    def _unscaled(self, height: int, width: int, tileable: Tileable) -> tuple[int, int]:
        """Rows and columns that the network draws for an image of that size, which `scale` then makes of them."""
        if self.scale == 1:
            return height, width
        rows, columns = (max(1, math.ceil(side / self.scale)) for side in (height, width))
        wraps = self._axes(tileable)
        multiples = [-(-side // self.stride) * self.stride for side in (rows, columns)]
        return (multiples[0] if wraps[0] else rows), (multiples[1] if wraps[1] else columns)

    def _check_memory(self, rows: int, columns: int, batch: int = 1) -> None:
        """Raise UserError for samples that do not fit in memory: the system may kill the program without a
        message."""
        free = budget.free(getattr(self.engine, "device", None))
        pixels = rows * columns
        if peak.MAX_BYTES_PER_PIXEL * pixels * batch <= free:  # whatever the network: no estimate is needed
            return
        needed = self.engine.peak((rows, columns))
        if needed * batch <= free:
            return
        if batch > 1:
            raise UserError(
                f"batch {batch}: so many samples of {columns} x {rows} take some {needed * batch / 2**30:.0f} GiB, "
                f"where {free / 2**30:.0f} are free: at most {max(1, free // needed)}"
            )
        side = int(math.sqrt(pixels * free / needed))
        raise UserError(
            f"size {columns} x {rows}: samples are drawn whole, which takes some {needed / 2**30:.0f} GiB, where "
            f"{free / 2**30:.0f} are free: at most {side} x {side}"
        )

    def rounded(self, height: int, width: int, tileable: Tileable) -> str:
        """The nearest larger size that tiles, as WIDTHxHEIGHT."""
        if self.scale != 1:
            return f"{width}x{height}"
        sides = [
            -(-side // self.stride) * self.stride if wraps else side
            for side, wraps in zip((height, width), self._axes(tileable), strict=True)
        ]
        return f"{sides[1]}x{sides[0]}"

    @staticmethod
    def _axes(tileable: Tileable) -> tuple[bool, bool]:
        """Whether rows and columns wrap around."""
        if tileable not in (True, False, "x", "y"):
            raise UserError(f"tileable {tileable!r} is none of True, False, 'x' and 'y'")
        return tileable in (True, "y"), tileable in (True, "x")

    def _noise(self, seeds: Sequence[int], canvas: tuple[int, int]) -> list[Any]:
        """The noise maps, made on the GPU if the engine uses one, so that they need not be copied."""
        device = getattr(self.engine, "device", None)
        if device is not None and device.type == "cuda":
            return [*noise.draw(self.inputs, seeds, *canvas, device=device)]
        return [*noise.draw_arrays(self.inputs, seeds, *canvas)]

    def _check_scales(self, scales: Sequence[int]) -> None:
        arguments.instance("hold", scales, list | tuple | range, "a list of scales, as (32, 16)")
        strange = [scale for scale in scales if scale not in self.scales]
        if strange:
            known = ", ".join(map(str, self.scales))
            raise UserError(f"scale {strange[0]}: {self.name} takes noise at the scales {known} (pixels)")

    def check(self, noise_level: Levels, hold: Sequence[int] = ()) -> Mapping[int, float]:
        """The level of each scale. Raises UserError for invalid levels and scales."""
        self._check_scales(hold)
        each = noise_level if isinstance(noise_level, Mapping) else dict.fromkeys(self.scales, noise_level)
        self._check_scales(list(each))
        for scale, value in each.items():
            if not 0 <= arguments.number("noise_level", value) < math.inf:
                raise UserError(f"noise level {value} at scale {scale} is below 0 or no number")
        return each

    def _levelled(self, maps: Sequence[Any], noise_level: Levels) -> list[Any]:
        """The noise maps with their distances from the mean times the level of their scale."""
        each = self.check(noise_level)
        return noise.levelled(maps, self.inputs, [each.get(n.stride, 1.0) for n in self.inputs])

    def _drawn(self, maps: Sequence[Any], height: int, width: int, tileable: Tileable) -> Array:
        """The network's image of `maps`, cropped to size, scaled and clamped."""
        rows, columns = self._axes(tileable)
        size, (height, width) = (height, width), self._unscaled(height, width, tileable)
        around = (0, 0)
        if tileable and not self.periodic:
            extra = -(-MARGIN // self.stride) * self.stride
            around = (extra if rows else 0, extra if columns else 0)
            maps = [
                _continued(m, around[0] // n.stride, around[1] // n.stride)
                for m, n in zip(maps, self.inputs, strict=True)
            ]
        elif tileable:
            # A tile smaller than the engine's minimum is computed several times: the network wraps around, so it
            # repeats.
            least = self.engine.io_spec.min_side
            times = (-(-least // height) if rows else 1, -(-least // width) if columns else 1)
            maps = [
                _indexed(m, *(np.arange(n * side) for n, side in zip(times, m.shape[2:], strict=True)))
                for m in maps
            ]
        advice = f"not enough memory for {width} x {height} pixels: ask for a smaller image"
        with devices.memory_errors(advice):
            y = to_numpy(self.engine(None, maps))
        drawn = y[:, :, around[0] : around[0] + height, around[1] : around[1] + width].clip(0, 1)
        return resize_wrapped(drawn, size, "y" * rows + "x" * columns)


def _continued(x: A, rows: int, columns: int) -> A:
    """`x` (N, C, H, W) continued periodically by `rows` and `columns` at both ends."""
    height, width = x.shape[2:]
    return _indexed(x, np.arange(-rows, height + rows), np.arange(-columns, width + columns))


def _indexed(x: A, rows: NDArray[Any], columns: NDArray[Any]) -> A:
    """Those rows and columns of `x`, which goes on periodically."""
    height, width = x.shape[2:]
    return x[:, :, rows % height][:, :, :, columns % width]


def _mixed(a: Array, b: Array, angle: float, distribution: noise.Distribution) -> Array:
    if angle in (0.0, math.pi / 2):
        return a if angle == 0 else b
    if distribution != "uniform":
        mixed = math.cos(angle) * a + math.sin(angle) * b
        return _waves_of(mixed) if distribution == "waves" else mixed
    places, shares = _normal_shares()
    # Half a step of the 24 bits that the numbers have keeps 0 away from the tail's end.
    normal = [np.interp(x + 2.0**-25, shares, places) for x in (a.astype(np.float64), b.astype(np.float64))]
    mixed = math.cos(angle) * normal[0] + math.sin(angle) * normal[1]
    return np.interp(mixed, places, shares).astype(np.float32)


def _waves_of(mixed: Array) -> Array:
    """Sums of waves of one frequency (N, 2 per wave, H, W) with the amplitude 1, so that only their phase moves."""
    pairs = mixed.reshape(len(mixed), -1, 2, *mixed.shape[2:])
    length = np.maximum(np.sqrt(np.square(pairs).sum(2, keepdims=True)), np.float32(1e-6))
    waves: Array = (pairs / length).reshape(mixed.shape)
    return waves


@functools.cache
def _normal_shares() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places x and the share of a normal distribution below each.

    Between them it is a line up to 1e-9. Numbers of 24 bits lie within 5.5 of the mean, a mixture of two within 8.
    """
    places = np.linspace(-8, 8, 2**17)
    return places, np.array([math.erfc(-x / math.sqrt(2)) / 2 for x in places])
