"""What the clock says of work to come: how long images of about that size took of late."""

from __future__ import annotations

import time
from collections import defaultdict, deque

KEPT = 8
"""Images of each model that are remembered."""

FRESH = 120.0
"""Seconds after which an image's time says nothing any more: the machine may have been busy then."""

FLOOR = 2**20
"""Pixels below which a smaller image does not take less in proportion."""


class Pace:
    """Seconds that images took in the engine, by model."""

    def __init__(self) -> None:
        self.seen: defaultdict[str, deque[tuple[float, int, float]]] = defaultdict(lambda: deque(maxlen=KEPT))

    def took(self, key: str, pixels: int, seconds: float) -> None:
        """An image of so many pixels took so long."""
        self.seen[key].append((time.monotonic(), pixels, seconds))

    def least(self, key: str, pixels: int) -> float:
        """Seconds that one of `pixels` will take at least; 0 where nothing is known.

        Only smaller ones are asked, the fastest of them: it takes their time in proportion, or longer where it does
        not fit in memory.
        """
        now = time.monotonic()
        times = [
            seconds * max(1.0, pixels / max(size, FLOOR))
            for when, size, seconds in list(self.seen.get(key, ()))
            if size <= 1.25 * pixels and now - when < FRESH
        ]
        return min(times, default=0.0)
