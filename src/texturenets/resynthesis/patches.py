"""The start of an optimization: a hole filled with patches that are copied from the known part around it, from the
rim of the hole inwards. Each window is copied from the place whose pixels best fit the known pixels in the window:
Criminisi, Perez and Toyama, "Region filling and object removal by exemplar-based image inpainting" (2004). One of the
places that fit nearly as well as the best is chosen at random, as in Efros and Leung, "Texture synthesis by
non-parametric sampling" (1999), section 2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.errors import UserError
from texturenets.image.sizes import periodic, take
from texturenets.resynthesis.holes import Hole
from texturenets.resynthesis.priorities import next_window
from texturenets.resynthesis.seams import closed

MAX_SEARCH_SIDE = 256  # longer side of the exemplar in pixels: a larger one is reduced for the search
PATCH = 9  # side of a window in these pixels, in a hole: as in Criminisi, Perez and Toyama
LEAST_PATCH = 4  # side of a window in these pixels
COST_TOLERANCE = (
    1.1  # times the least cost: patches up to it count as good as the best; Efros and Leung's 1 + 0.1
)


def start(hole: Hole, seed: int) -> Tensor:
    """The image (1, 3, H, W) with patches in place of the free pixels; if the image wraps, only of those that are
    entirely free. Raises UserError if no known part is as large as the smallest patch.
    """
    factor = math.ceil(max(hole.exemplar.shape[2:]) / MAX_SEARCH_SIDE)
    height, width = hole.image.shape[2:]
    small = hole.resized((math.ceil(height / factor), math.ceil(width / factor)))
    search = _Search(small, seed)
    search.run()
    down, right = _enlarged(search.sources, small, hole) if factor > 1 else search.sources
    rows, columns = hole.exemplar.shape[2:]
    copied = hole.exemplar[:, :, down.clamp(0, rows - 1), right.clamp(0, columns - 1)]
    unknown = _unknown(hole)
    return closed(hole, torch.where(unknown, copied, hole.image), (down, right), unknown)


def _unknown(hole: Hole) -> Tensor:
    """The pixels to fill with patches, (1, 1, H, W): of an image's edges only the part near the opposite edge has to
    be replaced."""
    return hole.free > (0.99 if hole.wraps else 0)


def _enlarged(sources: tuple[Tensor, Tensor], small: Hole, hole: Hole) -> tuple[Tensor, Tensor]:
    """Places in the exemplar, (down, right) of (h, w) each, for the pixels of the full size."""
    found = []
    for axis, source in zip((2, 3), sources, strict=True):
        shape = [1, 1]
        shape[axis - 2] = -1
        position = torch.arange(source.shape[axis - 2], device=source.device).view(shape)
        moved = (source - position)[None, None].float()  # the same for a whole patch
        factor = hole.image.shape[axis] / small.image.shape[axis]
        moved = F.interpolate(moved, hole.image.shape[2:], mode="nearest")[0, 0] * factor
        there = torch.arange(hole.image.shape[axis], device=source.device).view(shape)
        found.append(there + moved.round().long())
    return found[0], found[1]


class _Search:
    """The pixels of a hole, filled window by window; `sources` says where in the exemplar each of them is from."""

    def __init__(self, hole: Hole, seed: int) -> None:
        self.hole = hole
        self.image = hole.image.clone()
        self.known = (~_unknown(hole)).to(hole.image)
        self.random = torch.Generator().manual_seed(seed % 2**63)
        self.confidence = self.known.clone()
        height, width = self.image.shape[2:]
        # Where the image wraps, a window reaches over the new edges to the known part at both sides, and holds whole
        # objects. In a hole small ones follow edges that run into it.
        self.side, self.blocked = self._windows(min(height, width) * 3 // 8 if hole.wraps else PATCH)
        self.spectrum = torch.fft.rfft2(torch.cat([hole.exemplar.square(), hole.exemplar], 1))
        down, right = (torch.arange(n, device=self.image.device) for n in (height, width))
        self.sources = down[:, None].repeat(1, width), right[None].repeat(height, 1)

    def _windows(self, largest: int) -> tuple[int, Tensor]:
        """The side of a window, and which places in the exemplar hold none that is usable: (rows, columns)."""
        side = max(LEAST_PATCH, largest)
        while side >= LEAST_PATCH:
            if side <= min(self.hole.exemplar.shape[2:]):
                blocked = F.max_pool2d(1 - self.hole.usable, side, 1)[0, 0] > 0
                if not bool(blocked.all()):
                    return side, blocked
            side //= 2
        raise UserError(
            f"the known part is too small to learn from: it holds no square of {LEAST_PATCH} x {LEAST_PATCH} pixels; "
            "use a smaller hole or a larger image"
        )

    def run(self) -> None:
        """Fill windows until no pixel is unknown."""
        while not bool(self.known.all()):
            rows, columns = self._next_across() if self.hole.wraps else self._next()
            window = self.image[:, :, rows[:, None], columns]
            known = self.known[:, :, rows[:, None], columns]
            top, left = self._best(window, known, int(rows[0]), int(columns[0]))
            side = len(rows)
            copied = self.hole.exemplar[:, :, top : top + side, left : left + side]
            self.image[:, :, rows[:, None], columns] = torch.where(known > 0, window, copied)
            self._note(rows, columns, known[0, 0] > 0, (top, left))
            self.known[:, :, rows[:, None], columns] = 1

    def _note(self, rows: Tensor, columns: Tensor, known: Tensor, at: tuple[int, int]) -> None:
        for axis, (source, first) in enumerate(zip(self.sources, at, strict=True)):
            shape = [1, 1]
            shape[axis] = -1
            there = first + torch.arange(len(rows), device=source.device).view(shape).expand_as(known)
            source[rows[:, None], columns] = torch.where(known, source[rows[:, None], columns], there)

    def _next(self) -> tuple[Tensor, Tensor]:
        """Rows and columns of the next window by its priority; its unknown pixels are given its confidence."""
        place, confidence = next_window(self.image, self.known, self.confidence, self.side // 2 * 2 + 1)
        height, width = self.image.shape[2:]
        rows, columns = (
            min(max(at - self.side // 2, 0), side - self.side)
            + torch.arange(self.side, device=self.known.device)
            for at, side in ((place // width, height), (place % width, width))
        )
        there = self.confidence[:, :, rows[:, None], columns]
        known = self.known[:, :, rows[:, None], columns] > 0
        self.confidence[:, :, rows[:, None], columns] = there.masked_fill(~known, confidence)
        return rows, columns

    def _next_across(self) -> tuple[Tensor, Tensor]:
        """Where the image wraps: rows and columns of the window around the unknown pixel that is nearest to having
        half of it known; those on its edges come first, so that no seam lies along an edge.
        """
        height, width = self.image.shape[2:]
        before = self.side // 2
        around = self.known
        for axis, side in ((-2, height), (-1, width)):
            around = take(around, axis, periodic(side, before, side + self.side - 1))
        order = (F.avg_pool2d(around, self.side, 1)[0, 0] - 0.5).abs()
        order[0] -= 1
        order[:, 0] -= 1
        best = int(order.masked_fill(self.known[0, 0] > 0, 2).argmin())
        rows, columns = (
            (place - before + torch.arange(self.side, device=order.device)) % side
            for place, side in ((best // width, height), (best % width, width))
        )
        return rows, columns

    def _best(self, window: Tensor, known: Tensor, top: int, left: int) -> tuple[int, int]:
        """Where in the exemplar the best window is, or one nearly as good."""
        weight = known.expand(-1, 3, -1, -1)
        kernel = torch.cat([weight, -2 * weight * window], 1)
        size = self.hole.exemplar.shape[2:]
        product = (self.spectrum * torch.fft.rfft2(kernel, s=size).conj()).sum((0, 1))
        cost = torch.fft.irfft2(product, s=size)[: self.blocked.shape[0], : self.blocked.shape[1]]
        cost = (cost + (weight * window.square()).sum()).clamp_min(0)
        cost = cost.masked_fill(self.blocked, math.inf)
        if not self.hole.in_exemplar:  # the old content would fit best, and change nothing
            near = cost.clone()
            near[max(0, top - self.side) : top + self.side, max(0, left - self.side) : left + self.side] = (
                math.inf
            )
            cost = near if bool(near.isfinite().any()) else cost
        good = (cost <= COST_TOLERANCE * cost.min() + 1e-6).flatten().nonzero()[:, 0].cpu()
        one = int(good[torch.randint(len(good), (1,), generator=self.random)])
        return one // cost.shape[1], one % cost.shape[1]
