"""The optimization of a hole's pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from texturenets.losses import LossSettings
from texturenets.optimization import (
    IterationRecord,
    LineSearch,
    check_settings,
    coarse_to_fine,
    minimize,
    scale_sizes,
)
from texturenets.perceptual import Descriptors
from texturenets.resynthesis import patches
from texturenets.resynthesis.holes import Hole
from texturenets.resynthesis.objective import HoleObjective


def fill(
    networks: Descriptors,
    settings: LossSettings,
    hole: Hole,
    *,
    steps: int = 200,
    scales: int = 1,
    line_search: LineSearch = "strong_wolfe",
) -> Iterator[IterationRecord]:
    """Optimize the free pixels of `hole`, starting from patches of the exemplar (`patches.start`).

    `settings`: the losses and their weights, those of textures. `scales`: number of sizes, coarse to fine, each twice
    the previous one; `steps`: maximum number of L-BFGS iterations at each. The networks are on the hole's device.

    Yields a record for each iteration, with the whole image; the last one is the result. All pixels that are not free
    are those of the hole's image. Raises UserError if the known part is too small, and for invalid `scales`.
    """
    check_settings(settings, line_search)
    size = (int(hole.image.shape[2]), int(hole.image.shape[3]))
    sizes = scale_sizes(size, scales)
    with torch.no_grad():
        begin = patches.start(hole, settings["seed"])
    if hole.in_exemplar:
        hole = hole.over(begin)  # so that the old content affects no feature

    def at_scale(scale: int, start: Tensor) -> Iterator[IterationRecord]:
        here = hole.resized((start.shape[2], start.shape[3]))
        objective = HoleObjective.of(networks, settings, here)
        for record in minimize(objective, here.pixels(start), steps=steps, line_search=line_search):
            yield replace(record, image=here.pasted(record.image))

    return coarse_to_fine(at_scale, begin, sizes)
