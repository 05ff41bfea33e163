"""Estimates how long an image will take in the engine, from the times of recent images of about its size."""

from __future__ import annotations

import time
from collections import defaultdict, deque

REMEMBERED = 8
"""Number of recent images remembered for each model."""

MAX_AGE_SECONDS = 120.0
"""Older times are ignored: the machine may have been busy then."""

MIN_PIXELS = 2**20
"""Below this number of pixels, smaller images do not take proportionally less time."""


class TimeEstimate:
    """Seconds that recent images took in the engine, by model."""

    def __init__(self) -> None:
        self.times: defaultdict[str, deque[tuple[float, int, float]]] = defaultdict(
            lambda: deque(maxlen=REMEMBERED)
        )

    def record(self, key: str, pixels: int, seconds: float) -> None:
        """Remember the time of an image of `pixels` pixels by the model `key`."""
        self.times[key].append((time.monotonic(), pixels, seconds))

    def lower_bound(self, key: str, pixels: int) -> float:
        """Minimum seconds that an image of `pixels` will take; 0 if unknown.

        From the fastest of the images that were no larger: it takes as long in proportion to its pixels, or longer if
        it does not fit in memory.
        """
        now = time.monotonic()
        times = [
            seconds * max(1.0, pixels / max(size, MIN_PIXELS))
            for when, size, seconds in list(self.times.get(key, ()))
            if size <= 1.25 * pixels and now - when < MAX_AGE_SECONDS
        ]
        return min(times, default=0.0)
