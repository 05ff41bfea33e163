"""Frees the rows of feature maps on disk that no strip will read again, while a pass reads them. No torch."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from texturenets.tiled.plan import ImagePass, PlannedNetwork, plan_steps
from texturenets.tiled.rows import Interval
from texturenets.tiled.spool import FeatureMap


class Releases:
    """`maps`: the feature maps, by node, that `image_pass` is the last to read, in `strips`, which may be read in any
    order.
    """

    def __init__(
        self,
        network: PlannedNetwork,
        image_pass: ImagePass,
        strips: Sequence[Interval],
        maps: Mapping[int, FeatureMap],
    ) -> None:
        self.maps = maps
        self.lows = self._first_rows(network, image_pass, strips) if maps else []
        self._read: set[int] = set()
        self._next = 0
        self._lock = threading.Lock()

    def _first_rows(
        self, network: PlannedNetwork, image_pass: ImagePass, strips: Sequence[Interval]
    ) -> list[dict[int, int]]:
        """For each strip the first row of each feature map that it or a later one reads: where images wrap around,
        the last strip reads the first rows.
        """
        lows = [{i: feature_map.size[0] for i, feature_map in self.maps.items()}]
        for strip in reversed(strips):
            low = dict(lows[-1])
            for step in plan_steps(network, image_pass, strip):
                if step.node in low:
                    low[step.node] = min(low[step.node], *(rows[0] for rows in step.rows))
            lows.append(low)
        return lows[::-1]

    def after(self, number: int) -> None:
        """Free what is no longer needed once strip `number` has been read, too."""
        with self._lock:
            self._read.add(number)
            while self._next in self._read:
                self._read.remove(self._next)
                self._next += 1
            for i, row in self.lows[self._next].items() if self.lows else ():
                self.maps[i].release(row)
