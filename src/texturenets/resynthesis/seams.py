"""Removes seams between copied patches: Perez, Gangnet and Blake, "Poisson image editing" (2003).

The pixels are those whose steps from one to the next are, in the least squares' sense, as near as can be to steps of
the exemplar, while known pixels stay. Within a patch that is the patch; across a seam the steps are what the patches
on both sides go on with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from texturenets.resynthesis.holes import Hole

ITERATIONS = 300  # maximum iterations of conjugate gradients
TOLERANCE = 1e-6  # relative to the squared residual at the start

Places = tuple[Tensor, Tensor]
"""Rows and columns of the exemplar that pixels are copied from, (H, W) each."""


def closed(hole: Hole, image: Tensor, places: Places, unknown: Tensor) -> Tensor:
    """`image` (1, 3, H, W), whose pixels `unknown` (1, 1, H, W) were copied from `places`, without seams."""
    steps, known = zip(*(_steps(hole, places, axis) for axis in (2, 3)), strict=True)
    edges = [_edge(unknown, a, hole.wraps) * k for a, k in zip((2, 3), known, strict=True)]
    wanted = [s * e for s, e in zip(steps, edges, strict=True)]
    free = unknown.to(image)

    def applied(x: Tensor) -> Tensor:
        return free * _back([_ahead(x, a) * e for a, e in zip((2, 3), edges, strict=True)])

    start = [_ahead(image, a) * e for a, e in zip((2, 3), edges, strict=True)]
    residual = free * _back([w - s for w, s in zip(wanted, start, strict=True)])
    change, direction = torch.zeros_like(image), residual
    power = first = residual.square().sum()
    for _ in range(ITERATIONS):
        if not bool(power > TOLERANCE * first):
            break
        along = applied(direction)
        length = power / (direction * along).sum()
        change = change + length * direction
        residual = residual - length * along
        before, power = power, residual.square().sum()
        direction = residual + power / before * direction
    return torch.where(unknown, (image + change).clamp(0, 1), image)


def _ahead(x: Tensor, axis: int) -> Tensor:
    """From each pixel to the next one."""
    return x.roll(-1, axis) - x


def _back(steps: list[Tensor]) -> Tensor:
    """The adjoint of `_ahead`, along both axes."""
    return sum(
        (s.roll(1, axis) - s for axis, s in zip((2, 3), steps, strict=True)), torch.zeros_like(steps[0])
    )


def _edge(unknown: Tensor, axis: int, wraps: bool) -> Tensor:
    """Which steps count, as 0 and 1: those at an unknown pixel, and across the image's edge where it wraps."""
    counted = (unknown | unknown.roll(-1, axis)).float()
    if not wraps:
        counted.narrow(axis, counted.shape[axis] - 1, 1).zero_()
    return counted


def _steps(hole: Hole, places: Places, axis: int) -> tuple[Tensor, Tensor]:
    """The mean (1, 3, H, W) of the steps that the exemplar takes from each pixel's place and to the next one's, and
    if there is any, as 0 and 1."""
    move = [int(axis == 2), int(axis == 3)]
    nexts = [p.roll(-1, axis - 2) for p in places]
    here, known = _step(hole, [p + m for p, m in zip(places, move, strict=True)], places)
    there, known_there = _step(hole, nexts, [p - m for p, m in zip(nexts, move, strict=True)])
    number = known + known_there
    return (here * known + there * known_there) / number.clamp_min(1), number.clamp_max(1)


def _step(hole: Hole, to: list[Tensor] | Places, since: list[Tensor] | Places) -> tuple[Tensor, Tensor]:
    """The exemplar at `to` less that at `since`, and whether it can be used at both, as 0 and 1."""
    rows, columns = hole.exemplar.shape[2:]
    values, known = [], torch.ones((), device=hole.exemplar.device)
    for down, right in (to, since):
        inside = (down >= 0) & (down < rows) & (right >= 0) & (right < columns)
        at = down.clamp(0, rows - 1), right.clamp(0, columns - 1)
        values.append(hole.exemplar[:, :, at[0], at[1]])
        known = known * hole.usable[:, :, at[0], at[1]] * inside
    return values[0] - values[1], known
