"""Iterative optimization: a texture, or a photo in a painting's style, by changing its pixels.

Textures: Gatys, Ecker and Bethge, arXiv 1505.07376; stylization: the same, arXiv 1508.06576; colours:
Gatys et al., arXiv 1606.05897. It is what feed-forward networks replace, and the yardstick for them.

Pixels stay in [0, 1] by projection: the loss is taken on the clamped image, which is the one that is saved;
a pixel at its bound that the gradient pushes outward stays there for that iteration, and after every iteration
what went past a bound is put back on it. So no loss is hidden where a file cannot hold it, any image can be
the start as it is, and inside the bounds nothing bends the gradient, as a sigmoid would.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from texturenets import noise
from texturenets.errors import UserError, counted
from texturenets.image import resize
from texturenets.losses import Objective, Settings, Targets
from texturenets.perceptual import Descriptors

LineSearch = Literal["strong_wolfe", "fixed"]

HISTORY = 20  # pairs that L-BFGS remembers: twice an image each in memory
SEARCHES = 25  # evaluations of one line search at most, PyTorch's own bound
SMALLEST = 16  # pixels of a side at the coarsest scale; below it hardly a layer has features


@dataclass
class IterationRecord:
    """The state after one iteration; iteration 0 is the start.

    `picture` (1, 3, H, W), RGB in [0, 1]; `losses` are those of it, weighted, by the names of `Objective`.
    `iteration` and `evaluations` (of the loss and its gradient) count over all scales; `scale` is 0 for the
    full size, 1 for half of it...
    """

    iteration: int
    losses: dict[str, float]
    picture: Tensor
    evaluations: int
    seconds: float
    scale: int = 0

    @property
    def loss(self) -> float:
        """The sum of the losses."""
        return sum(self.losses.values())


@dataclass
class _Point:
    """The loss at one image."""

    picture: Tensor
    losses: dict[str, float]
    gradient: Tensor  # by the image's values, without regard to the bounds

    @property
    def loss(self) -> float:
        return sum(self.losses.values())


class _Problem:
    """The loss as a function of pixels that may leave [0, 1], in units in which L-BFGS behaves.

    PyTorch's first step has an L1 norm of at most 1 and its thresholds are absolute. The unit of pixels is
    chosen so that the first step moves each by 1/255 on average, that of the loss so that it starts at about
    1000. Powers of two: not a bit of a picture changes. No later step depends on either.
    """

    def __init__(self, objective: Objective, targets: Targets | None, start: Tensor) -> None:
        self.objective, self.targets = objective, targets
        self.evaluations = 0
        # A line search ends at one of its latest points, and the next iteration begins there.
        self.latest: deque[_Point] = deque(maxlen=4)
        self.at = self.point(start.detach().float().clamp(0, 1))
        self.pixel_unit = 2.0 ** round(math.log2(255 / start.numel()))
        self.loss_unit = 2.0 ** round(math.log2(1000 / self.at.loss)) if self.at.loss > 0 else 1.0
        self.free = self.at.picture * self.pixel_unit
        self.held = self._pushed_out(self.at)

    def point(self, picture: Tensor) -> _Point:
        """The loss at `picture` in [0, 1], from memory where it was just taken."""
        for known in self.latest:
            if torch.equal(known.picture, picture):
                return known
        leaf = picture.clone().requires_grad_()
        with torch.enable_grad():
            losses = self.objective(leaf, self.targets)
            total = torch.stack([value.float() for value in losses.values()]).sum()
            (gradient,) = torch.autograd.grad(total, leaf)
        self.evaluations += 1
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(sum(values.values())) or not bool(gradient.isfinite().all()):
            raise UserError("the loss is no longer a number; use `precision` float32, or smaller weights")
        found = _Point(picture.clone(), values, gradient.contiguous())  # LBFGS asks for it
        self.latest.append(found)
        return found

    @staticmethod
    def _pushed_out(point: _Point) -> Tensor:
        low = (point.picture <= 0) & (point.gradient > 0)
        return low | ((point.picture >= 1) & (point.gradient < 0))

    def _visible(self) -> Tensor:
        return torch.where(self.held, self.at.picture, (self.free / self.pixel_unit).clamp(0, 1))

    def closure(self) -> Tensor:
        """What torch.optim.LBFGS calls: sets the gradient of the free pixels, returns the loss."""
        point = self.point(self._visible())
        outside = (self.free < 0) | (self.free > self.pixel_unit) | self.held
        self.free.grad = (point.gradient * (self.loss_unit / self.pixel_unit)).masked_fill_(outside, 0)
        return point.gradient.new_tensor(point.loss * self.loss_unit)

    def settle(self) -> bool:
        """Take the image that is there now, and put the free pixels on it. False where it has not changed."""
        before = self.at
        self.at = self.point(self._visible())
        self.free.copy_(self.at.picture * self.pixel_unit)
        self.held = self._pushed_out(self.at)
        return not torch.equal(self.at.picture, before.picture)


def minimize(
    objective: Objective,
    start: Tensor,
    targets: Targets | None = None,
    *,
    steps: int,
    line_search: LineSearch = "strong_wolfe",
) -> Iterator[IterationRecord]:
    """L-BFGS on the pixels of `start` (1, 3, H, W), RGB in [0, 1]; yields the start and every iteration.

    `targets`: what `objective.targets` gave for the photo, of the same size. "strong_wolfe" searches along each
    direction, 1 to 2 evaluations an iteration, and the loss never rises; "fixed" takes one evaluation and the
    step as it comes, as neural-style does. It ends before `steps` where no step lowers the loss.

    Raises UserError where the loss stops being a number.
    """
    begun = time.perf_counter()
    problem = _Problem(objective, targets, start)

    def record(iteration: int) -> IterationRecord:
        at = problem.at
        return IterationRecord(
            iteration, at.losses, at.picture, problem.evaluations, time.perf_counter() - begun
        )

    yield record(0)
    optimizer, fresh = _lbfgs(problem.free, line_search), True
    for iteration in range(1, steps + 1):
        optimizer.step(problem.closure)  # type: ignore[no-untyped-call]
        moved = problem.settle()
        if not moved and fresh:
            return
        if not moved:  # what it remembers points nowhere any more: start over from the gradient
            optimizer = _lbfgs(problem.free, line_search)
        fresh = not moved
        yield record(iteration)


def _lbfgs(pixels: Tensor, line_search: LineSearch) -> torch.optim.LBFGS:
    return torch.optim.LBFGS(
        [pixels],
        lr=1.0,
        max_iter=1,
        max_eval=1 + SEARCHES,
        tolerance_grad=0,
        tolerance_change=0,
        history_size=HISTORY,
        line_search_fn="strong_wolfe" if line_search == "strong_wolfe" else None,
    )


def shares(count: int, weights: Sequence[float] | None) -> list[float]:
    """The part of the whole that each of `count` styles has. Raises UserError for weights that do not fit."""
    weights = [1.0] * count if weights is None else list(weights)
    if len(weights) != count:
        raise UserError(
            f"`style_weights` holds {counted(len(weights), 'number')} for {counted(count, 'style')}"
        )
    total = sum(weights)
    if not all(0 <= w < math.inf for w in weights) or not 0 < total < math.inf:
        shown = ",".join(f"{w:g}" for w in weights)
        raise UserError(f"`style_weights` {shown}: numbers of 0 and more, not all of them 0")
    return [w / total for w in weights]


def scale_sizes(size: tuple[int, int], scales: int) -> list[tuple[int, int]]:
    """`size` (H, W) at every scale, coarse to fine, each twice the one before.

    Raises UserError where the coarsest would be too small.
    """
    if scales < 1:
        raise UserError(f"`scales` {scales} is not above 0")
    sizes = [_part(size, scale) for scale in range(min(scales, 64))][::-1]
    if min(sizes[0]) < SMALLEST and scales > 1:
        raise UserError(
            f"`scales` {scales}: the coarsest image would be {sizes[0][1]} x {sizes[0][0]}, and {SMALLEST} "
            "is the least; use fewer scales or a larger size"
        )
    return sizes


def _part(size: tuple[int, int], scale: int) -> tuple[int, int]:
    return max(1, round(size[0] / 2**scale)), max(1, round(size[1] / 2**scale))


def synthesize(
    networks: Descriptors,
    styles: Sequence[Tensor],
    settings: Settings,
    start: Tensor,
    size: tuple[int, int],
    *,
    photo: Tensor | None = None,
    style_weights: Sequence[float] | None = None,
    scales: int = 1,
    steps: int = 500,
    line_search: LineSearch = "strong_wolfe",
) -> Iterator[IterationRecord]:
    """A picture of `size` (H, W) with the styles' statistics and, with `photo`, its content, coarse to fine.

    Pictures are (1, 3, h, w), RGB in [0, 1]. `start` is resized to the coarsest scale; every further scale starts
    from what the one before came to. Styles shrink with the picture, so that structures larger than the
    descriptor's sight find their place first. `steps` iterations a scale; the last record is the result.

    Raises UserError for sizes and weights that do not work.
    """
    if settings["normalize_gradients"] and line_search != "fixed":
        raise UserError(
            "`normalize_gradients` is no gradient of any loss: a line search fails; use `line_search` fixed"
        )
    parts = shares(len(styles), style_weights)
    sizes = scale_sizes(size, scales)

    def problem(scale: int, here: tuple[int, int]) -> tuple[Objective, Targets | None]:
        small = [resize(s, _part((s.shape[2], s.shape[3]), scale)) for s in styles]
        objective = Objective.from_settings(networks, settings, small, shares=parts)
        return objective, None if photo is None else objective.targets(resize(photo, here))

    return _coarse_to_fine(problem, start, sizes, steps, line_search)


def _coarse_to_fine(
    problem: Callable[[int, tuple[int, int]], tuple[Objective, Targets | None]],
    start: Tensor,
    sizes: Sequence[tuple[int, int]],
    steps: int,
    line_search: LineSearch,
) -> Iterator[IterationRecord]:
    iteration, evaluations, seconds = 0, 0, 0.0
    for index, here in enumerate(sizes):
        scale = len(sizes) - 1 - index
        objective, targets = problem(scale, here)
        last: Any = None
        for record in minimize(objective, resize(start, here), targets, steps=steps, line_search=line_search):
            record.iteration += iteration
            record.evaluations += evaluations
            record.seconds += seconds
            record.scale, last = scale, record
            if record.iteration > iteration or index == 0:
                yield record
        start = last.picture
        iteration, evaluations, seconds = last.iteration, last.evaluations, last.seconds


def white_noise(seed: int, size: tuple[int, int]) -> Tensor:
    """An image (1, 3, H, W) of noise uniform in [0, 1), the same for a seed on every machine."""
    return noise.uniform(seed, 0, 0, 0, *size, 3)[None]


def iterations_to_reach(
    objective: Objective,
    loss: float,
    start: Tensor,
    targets: Targets | None = None,
    *,
    cap: int = 500,
    line_search: LineSearch = "strong_wolfe",
) -> int | None:
    """Iterations of L-BFGS from `start` (1, 3, H, W) to a total of the objective no higher than `loss`.

    With `loss` that of a feed-forward network's image this is what the network saves; Johnson et al., arXiv
    1603.08155, section 4.1, give 50 to 100. 0: the start is no worse. None: not within `cap`.
    """
    for record in minimize(objective, start, targets, steps=cap, line_search=line_search):
        if record.loss <= loss:
            return record.iteration
    return None


@torch.no_grad()
def total(objective: Objective, picture: Tensor, targets: Targets | None = None) -> float:
    """The sum of the losses of `picture` (1, 3, H, W), clamped to [0, 1] as `minimize` takes it."""
    losses = objective(picture.detach().float().clamp(0, 1), targets)
    return sum(float(value) for value in losses.values())


def match_color(style: Tensor, photo: Tensor) -> Tensor:
    """`style` with the mean and covariance of the colours of `photo`, both (1, 3, H, W) in [0, 1], clamped.

    Gatys et al., arXiv 1606.05897, "Color histogram matching": the linear map by symmetric square roots, that of
    image analogies, which they prefer to the one by Cholesky factors. Colours that the style does not vary stay
    at the mean.
    """
    s, p = (x[0].flatten(1).double() for x in (style, photo))
    mean_s, mean_p = (x.mean(1, keepdim=True) for x in (s, p))
    values, vectors = torch.linalg.eigh(_covariance(s))
    # Below a hundredth of a grey level a direction is rounding, not colour.
    kept = values > (0.01 / 255) ** 2
    inverse = torch.where(kept, values.clamp_min(1e-30).rsqrt(), 0)
    whiten = vectors @ torch.diag(inverse) @ vectors.T
    values, vectors = torch.linalg.eigh(_covariance(p))
    color = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    mapped: Tensor = color @ whiten @ (s - mean_s) + mean_p
    return mapped.view_as(style[0])[None].to(style.dtype).clamp(0, 1)


def _covariance(pixels: Tensor) -> Tensor:
    centred = pixels - pixels.mean(1, keepdim=True)
    return centred @ centred.T / pixels.shape[1]


def luminance(x: Tensor) -> Tensor:
    """Luminance (1, 1, H, W) of an image (1, 3, H, W): Y of YIQ, weights of ITU-R BT.601."""
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def match_luminance(style: Tensor, photo: Tensor) -> Tensor:
    """The luminance of `style` in grey (1, 3, H, W), with the mean and deviation of that of `photo`, clamped.

    Gatys et al., arXiv 1606.05897, "Luminance-only transfer".
    """
    s, p = luminance(style), luminance(photo)
    deviation = s.std(correction=0).clamp_min(1e-6)
    matched = (s - s.mean()) * (p.std(correction=0) / deviation) + p.mean()
    return matched.clamp(0, 1).expand(-1, 3, -1, -1)
