"""Finds with which waves an exemplar repeats: brick courses, weaves, rows. No torch.

Bergmann, Jetchev and Vollgraf ("Learning texture manifolds with the periodic spatial GAN", arXiv 1705.06566, section
3.2) let a network learn the frequencies of its waves; here they are read off the exemplar's spectrum. The figures
below are printed by benchmarks/periods.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from texturenets.noise import Wave

Array = NDArray[np.float64]

MAX_WAVES = 2
"""Two waves are every lattice: its other waves are sums and differences of theirs."""
STANDS_OUT = 100.0
"""Power of a wave, as a multiple of the median of its frequencies, from which an exemplar repeats. Of an image that
does not, the largest of 10,000 powers is some ln(10,000) / ln(2) = 13 times the median, as they are distributed
exponentially. Measured: 808 for brick_wall and 20,371 for cloth; of 31 other pictures at most 25, but for wood."""
FUNDAMENTAL = 20.0
"""The same for a half and a third of a wave that stands out: there an overtone's fundamental is expected, and the
largest of the few powers around is 5 times the median."""
STANDS_OUT_ALONG = 20.0
"""Power of a wave, as a multiple of the median along the line from the origin through it: grain that runs one way has
much power there, at every frequency. Measured: 64 and 3,603 for brick_wall and cloth, 3.5 for wood, where the other
quotient is 191."""
MAX_FREQUENCY = 0.1
"""Cycles a pixel: a wave is an input at a quarter of the resolution, where shorter ones would have fewer than 2.5
values a cycle."""
LEAST_CYCLES = 3
"""Cycles of a wave in an exemplar's shorter side: from fewer one cannot tell that it repeats."""
PEAK_WIDTH = 4  # half of it, in 1 / side: the window spreads a peak, whose slopes can be as high as others
STRONGEST = 8  # peaks that are looked at
BANDS_PER_OCTAVE = 4  # in which the median power is taken
PADDED = 2  # the exemplar's sides are so many times as long when it is transformed, with zeros


def find(picture: NDArray[np.float32]) -> tuple[Wave, ...]:
    """Up to two waves, in cycles a pixel, with which `picture` (C, H, W) repeats, the longer first; none if it does
    not. The range of its values does not matter."""
    spectrum = Spectrum(picture.mean(0))
    chosen: list[Wave] = []
    for wave in sorted(spectrum.peaks(), key=lambda wave: math.hypot(*wave)):
        if len(chosen) < MAX_WAVES and not _follows(wave, chosen, spectrum.resolution):
            chosen.append(wave)
    return tuple(chosen)


class Spectrum:
    """The power of the frequencies of an image (H, W). `resolution`: the least distance of two that are told apart,
    in cycles a pixel."""

    def __init__(self, gray: NDArray[np.floating]) -> None:
        height, width = gray.shape
        window = np.hanning(height)[:, None] * np.hanning(width)[None]
        padded = PADDED * height, PADDED * width
        values = gray.astype(np.float64)
        self.power: Array = np.abs(np.fft.fft2((values - values.mean()) * window, padded)) ** 2
        self.down, self.right = np.fft.fftfreq(padded[0])[:, None], np.fft.fftfreq(padded[1])[None]
        frequency = np.hypot(self.down, self.right)
        self.ratio = self.power / _medians(self.power, frequency)
        self.resolution = 1 / min(gray.shape)
        self.searched = (frequency >= LEAST_CYCLES * self.resolution) & (frequency <= MAX_FREQUENCY)

    def strongest(self) -> tuple[Wave, float, float]:
        """The wave of the most power that is looked at, its power over the median of frequencies as high, and over
        the median along its direction."""
        wave, place = self._highest(np.where(self.searched, self.power, 0))
        return wave, float(self.ratio[place]), self._along(wave)

    def peaks(self) -> Iterator[Wave]:
        """The waves that stand out, the strongest first, each with its opposite; fundamentals in place of their
        overtones."""
        left = np.where(self.searched, self.power, 0)
        for _ in range(STRONGEST):
            wave, place = self._highest(left)
            near = self._near(wave, PEAK_WIDTH)
            # Not the slope of a peak of too low or too high a frequency
            highest = left[place] == self.power[near].max()
            if highest and self.ratio[place] >= STANDS_OUT and self._along(wave) >= STANDS_OUT_ALONG:
                yield self._centred(self._fundamental(wave))
            left[near] = 0

    def _highest(self, power: Array) -> tuple[Wave, tuple[np.intp, ...]]:
        place = np.unravel_index(power.argmax(), power.shape)
        return (float(self.down[place[0], 0]), float(self.right[0, place[1]])), place

    def _near(self, wave: Wave, distance: float) -> NDArray[np.bool_]:
        """The frequencies less than `distance` times the resolution from `wave`."""
        apart = np.hypot(self.down - wave[0], self.right - wave[1])
        near: NDArray[np.bool_] = apart < distance * self.resolution
        return near

    def _fundamental(self, wave: Wave) -> Wave:
        """A third or a half of `wave` if that stands out as well; else `wave`."""
        for part in (3, 2):
            longer = wave[0] / part, wave[1] / part
            far = math.hypot(*longer) >= LEAST_CYCLES * self.resolution
            if far and self.ratio[self._near(longer, 1)].max() >= FUNDAMENTAL:
                return longer
        return wave

    def _centred(self, wave: Wave) -> Wave:
        """The centre of the power around `wave`, which is between two frequencies of the spectrum."""
        weights = np.where(self._near(wave, 1), self.power, 0)
        down, right = ((weights * axis).sum() / weights.sum() for axis in (self.down, self.right))
        return float(down), float(right)

    def _along(self, wave: Wave) -> float:
        """The power of `wave` over the median of those from half to one and a half of its frequency in its
        direction."""
        height, width = self.power.shape
        shares = np.append(np.linspace(0.5, 1.5, 100), 1.0)
        rows = np.round(shares * wave[0] * height).astype(int) % height
        columns = np.round(shares * wave[1] * width).astype(int) % width
        line = self.power[rows, columns]
        return float(line[-1] / max(np.median(line), np.finfo(float).tiny))


def _medians(power: Array, frequency: Array) -> Array:
    """The median power in the band of each frequency."""
    bands = np.round(np.log2(np.maximum(frequency, 1e-6)) * BANDS_PER_OCTAVE).astype(int)
    found = np.empty_like(power)
    for band in np.unique(bands):
        inside = bands == band
        found[inside] = np.median(power[inside])
    return np.maximum(found, np.finfo(float).tiny)


def _follows(wave: Wave, basis: Sequence[Wave], resolution: float) -> bool:
    """Whether `wave` is a sum of multiples of those in `basis`, as the overtones of a wave are."""
    for multiples in itertools.product(range(-STRONGEST, STRONGEST + 1), repeat=len(basis)):
        total = [sum(n * one[axis] for n, one in zip(multiples, basis, strict=True)) for axis in (0, 1)]
        if math.hypot(wave[0] - total[0], wave[1] - total[1]) < resolution:
            return True
    return False
