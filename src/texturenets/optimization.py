"""Iterative optimization: a texture, or a photo in a painting's style, by changing its pixels.

Textures: Gatys, Ecker and Bethge, arXiv 1505.07376. Stylization: the same authors, arXiv 1508.06576. Colour
matching: Gatys et al., arXiv 1606.05897. Feed-forward networks replace this; `evaluate` compares them with it.

Projected L-BFGS keeps pixels in [0, 1]. The loss is that of the clamped image, which is the one that is saved. A
pixel at a bound whose gradient points outward is fixed for that iteration, and after every iteration pixels beyond a
bound are clamped. Unlike a sigmoid parametrization this does not distort the gradient between the bounds, and any
image can be the start.
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
from texturenets.image import luminance, resize
from texturenets.losses import LossSettings, Objective, Targets
from texturenets.perceptual import Descriptors

LineSearch = Literal["strong_wolfe", "fixed"]

HISTORY = 20  # update pairs of L-BFGS (history_size); each takes the memory of two images
SEARCHES = 25  # most evaluations of the loss in one line search, PyTorch's default
MIN_COARSEST_SIDE = 16  # pixels of the shorter side at the coarsest scale; deep layers need as much


@dataclass
class IterationRecord:
    """The state after one iteration; iteration 0 is the start.

    `image` (1, 3, H, W): RGB in [0, 1]. `losses`: its weighted losses, by the names that `Objective` gives them.
    `iteration`, `evaluations` (of the loss and its gradient) and `seconds` count from the first scale on. `scale`: 0
    at the full size, 1 at half of it, and so on.
    """

    iteration: int
    losses: dict[str, float]
    image: Tensor
    evaluations: int
    seconds: float
    scale: int = 0

    @property
    def loss(self) -> float:
        """The sum of the losses."""
        return sum(self.losses.values())


@dataclass
class _Point:
    """An image, its losses and their gradient."""

    image: Tensor
    losses: dict[str, float]
    gradient: Tensor  # of the summed losses with respect to the image, ignoring the bounds

    @property
    def loss(self) -> float:
        return sum(self.losses.values())


class _Problem:
    """The loss as a function of unbounded pixels, rescaled for `torch.optim.LBFGS`.

    The first step of PyTorch's L-BFGS has an L1 norm of at most 1, and its thresholds are absolute. So the parameter
    is the image times `pixel_unit`, which makes the first step 1/255 a pixel on average, and the loss is multiplied
    by `loss_unit`, which makes it about 1000 at the start. Both are powers of two, which is exact in floating point.
    """

    def __init__(self, objective: Objective, targets: Targets | None, start: Tensor) -> None:
        self.objective, self.targets = objective, targets
        self.evaluations = 0
        # Points to reuse: a line search ends at one of its latest points, and the next iteration begins there.
        self.latest: deque[_Point] = deque(maxlen=4)
        self.at = self.point(start.detach().float().clamp(0, 1))
        self.pixel_unit = 2.0 ** round(math.log2(255 / start.numel()))
        self.loss_unit = 2.0 ** round(math.log2(1000 / self.at.loss)) if self.at.loss > 0 else 1.0
        self.free = self.at.image * self.pixel_unit
        self.fixed = self._active_bounds(self.at)

    def point(self, image: Tensor) -> _Point:
        """The losses and gradient at `image` (1, 3, H, W) in [0, 1]; not computed again for a recent image."""
        for known in self.latest:
            if torch.equal(known.image, image):
                return known
        leaf = image.clone().requires_grad_()
        with torch.enable_grad():
            losses = self.objective(leaf, self.targets)
            total = torch.stack([value.float() for value in losses.values()]).sum()
            (gradient,) = torch.autograd.grad(total, leaf)
        self.evaluations += 1
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(sum(values.values())) or not bool(gradient.isfinite().all()):
            raise UserError("the loss is no longer a number; use `precision` float32, or smaller weights")
        point = _Point(image.clone(), values, gradient.contiguous())  # LBFGS needs contiguous gradients
        self.latest.append(point)
        return point

    @staticmethod
    def _active_bounds(point: _Point) -> Tensor:
        """Mask (1, 3, H, W) of the values at a bound whose descent direction points beyond it."""
        low = (point.image <= 0) & (point.gradient > 0)
        return low | ((point.image >= 1) & (point.gradient < 0))

    def _clamped(self) -> Tensor:
        """The image of the current parameter, with fixed values as they were."""
        return torch.where(self.fixed, self.at.image, (self.free / self.pixel_unit).clamp(0, 1))

    def closure(self) -> Tensor:
        """For torch.optim.LBFGS: set the gradient of `free`, 0 where fixed or beyond a bound; return the loss."""
        point = self.point(self._clamped())
        outside = (self.free < 0) | (self.free > self.pixel_unit) | self.fixed
        self.free.grad = (point.gradient * (self.loss_unit / self.pixel_unit)).masked_fill_(outside, 0)
        return point.gradient.new_tensor(point.loss * self.loss_unit)

    def project(self) -> bool:
        """End an iteration: clamp the parameter to the bounds. Whether the image has changed."""
        before = self.at
        self.at = self.point(self._clamped())
        self.free.copy_(self.at.image * self.pixel_unit)
        self.fixed = self._active_bounds(self.at)
        return not torch.equal(self.at.image, before.image)


def minimize(
    objective: Objective,
    start: Tensor,
    targets: Targets | None = None,
    *,
    steps: int,
    line_search: LineSearch = "strong_wolfe",
) -> Iterator[IterationRecord]:
    """L-BFGS on the pixels of `start` (1, 3, H, W), RGB in [0, 1]; yields the start and every iteration.

    `targets`: `objective.targets` of the photo, which has the size of `start`. `steps`: most iterations; it stops
    earlier if no step lowers the loss. `line_search`: "strong_wolfe" takes 1 to 2 evaluations an iteration, and the
    loss never rises; "fixed" takes full steps with one evaluation each, as neural-style does.

    Raises UserError if the loss or its gradient is no longer finite.
    """
    begun = time.perf_counter()
    problem = _Problem(objective, targets, start)

    def record(iteration: int) -> IterationRecord:
        at = problem.at
        return IterationRecord(
            iteration, at.losses, at.image, problem.evaluations, time.perf_counter() - begun
        )

    yield record(0)
    optimizer, fresh = _lbfgs(problem.free, line_search), True
    for iteration in range(1, steps + 1):
        optimizer.step(problem.closure)  # type: ignore[no-untyped-call]
        moved = problem.project()
        if not moved and fresh:
            return
        if not moved:  # the history gives no descent direction: restart with steepest descent
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
    """`weights` divided by their sum; None gives equal shares.

    Raises UserError unless they are `count` numbers of 0 and more, not all of them 0.
    """
    weights = [1.0] * count if weights is None else list(weights)
    if len(weights) != count:
        raise UserError(
            f"`style_blend_weights` holds {counted(len(weights), 'number')} for {counted(count, 'style')}"
        )
    total = sum(weights)
    if not all(0 <= w < math.inf for w in weights) or not 0 < total < math.inf:
        shown = ",".join(f"{w:g}" for w in weights)
        raise UserError(f"`style_blend_weights` {shown}: numbers of 0 and more, not all of them 0")
    return [w / total for w in weights]


def scale_sizes(size: tuple[int, int], scales: int) -> list[tuple[int, int]]:
    """The image size (H, W) at every scale, coarse to fine; each is twice the one before, the last is `size`.

    Raises UserError if the coarsest image is smaller than `MIN_COARSEST_SIDE` pixels.
    """
    if scales < 1:
        raise UserError(f"`scales` {scales} is not above 0")
    sizes = [halved(size, scale) for scale in range(min(scales, 64))][::-1]
    if min(sizes[0]) < MIN_COARSEST_SIDE and scales > 1:
        raise UserError(
            f"`scales` {scales}: the coarsest image would be {sizes[0][1]} x {sizes[0][0]}, and {MIN_COARSEST_SIDE} "
            "is the least; use fewer scales or a larger size"
        )
    return sizes


def halved(size: tuple[int, int], scale: int) -> tuple[int, int]:
    """`size` (H, W) halved `scale` times, rounded."""
    return max(1, round(size[0] / 2**scale)), max(1, round(size[1] / 2**scale))


def synthesize(
    networks: Descriptors,
    styles: Sequence[Tensor],
    settings: LossSettings,
    start: Tensor,
    size: tuple[int, int],
    *,
    photo: Tensor | None = None,
    style_blend_weights: Sequence[float] | None = None,
    scales: int = 1,
    steps: int = 500,
    line_search: LineSearch = "strong_wolfe",
) -> Iterator[IterationRecord]:
    """Optimize an image of `size` (H, W) for the style of `styles` and the content of `photo`, coarse to fine.

    `styles`, `start` and `photo`: images (1, 3, h, w) of any size, RGB in [0, 1]; without `photo` there is no content
    loss. `settings`: the losses and their weights. The coarsest scale begins with `start`, resized; every further
    scale with the result of the one before. Styles are reduced with the image: structures larger than the receptive
    fields of the descriptor network are formed at coarse scales. `steps`: iterations at each scale.

    Yields a record an iteration; the image of the last one is the result. Raises UserError for `settings`, `scales`
    and `style_blend_weights` that do not work.
    """
    check_settings(settings, line_search)
    parts = shares(len(styles), style_blend_weights)
    sizes = scale_sizes(size, scales)

    def at_scale(scale: int, begin: Tensor) -> Iterator[IterationRecord]:
        here = (begin.shape[2], begin.shape[3])
        small = [resize(s, halved((s.shape[2], s.shape[3]), scale)) for s in styles]
        objective = Objective.from_settings(networks, settings, small, shares=parts)
        targets = None if photo is None else objective.targets(resize(photo, here))
        return minimize(objective, begin, targets, steps=steps, line_search=line_search)

    return coarse_to_fine(at_scale, start, sizes)


def coarse_to_fine(
    at_scale: Callable[[int, Tensor], Iterator[IterationRecord]],
    start: Tensor,
    sizes: Sequence[tuple[int, int]],
) -> Iterator[IterationRecord]:
    """The records of the optimizations `at_scale(scale, start)` at `sizes` (H, W), each begun with the image of the
    one before, resized; counted as one."""
    iteration, evaluations, seconds = 0, 0, 0.0
    for index, here in enumerate(sizes):
        scale = len(sizes) - 1 - index
        last: Any = None
        for record in at_scale(scale, resize(start, here)):
            record.iteration += iteration
            record.evaluations += evaluations
            record.seconds += seconds
            record.scale, last = scale, record
            if record.iteration > iteration or index == 0:
                yield record
        start = last.image
        iteration, evaluations, seconds = last.iteration, last.evaluations, last.seconds


def check_settings(settings: LossSettings, line_search: LineSearch) -> None:
    """Raise UserError for losses that pixels cannot be optimized by."""
    if settings["normalize_gradients"] and line_search != "fixed":
        raise UserError(
            "`normalize_gradients` is no gradient of any loss: a line search fails; use `line_search` fixed"
        )
    if settings["diversity_weight"]:
        raise UserError("`diversity_weight` compares several images, and one is optimized: leave it out")


def white_noise(seed: int, size: tuple[int, int]) -> Tensor:
    """An image (1, 3, H, W) of noise uniform in [0, 1), the same for a seed on every machine."""
    return noise.uniform(seed, 0, 0, 0, *size, 3)[None]


@torch.no_grad()
def total(objective: Objective, image: Tensor, targets: Targets | None = None) -> float:
    """The sum of the losses of `image` (1, 3, H, W), clamped to [0, 1] as in `minimize`."""
    losses = objective(image.detach().float().clamp(0, 1), targets)
    return sum(float(value) for value in losses.values())


def match_color(style: Tensor, photo: Tensor) -> Tensor:
    """`style` with its mean colour and colour covariance changed to those of `photo`, clamped to [0, 1].

    Both (1, 3, h, w), RGB in [0, 1]; the result has the size of `style`. Gatys et al., arXiv 1606.05897, "Color
    histogram matching", with symmetric square roots of the covariance matrices (as in image analogies), which they
    prefer to Cholesky factors. Colour directions in which the style does not vary get the mean.
    """
    s, p = (x[0].flatten(1).double() for x in (style, photo))
    mean_s, mean_p = (x.mean(1, keepdim=True) for x in (s, p))
    values, vectors = torch.linalg.eigh(_covariance(s))
    # Standard deviations below a hundredth of a grey level are rounding errors.
    significant = values > (0.01 / 255) ** 2
    inverse = torch.where(significant, values.clamp_min(1e-30).rsqrt(), 0)
    whiten = vectors @ torch.diag(inverse) @ vectors.T
    values, vectors = torch.linalg.eigh(_covariance(p))
    color = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    mapped: Tensor = color @ whiten @ (s - mean_s) + mean_p
    return mapped.view_as(style[0])[None].to(style.dtype).clamp(0, 1)


def _covariance(pixels: Tensor) -> Tensor:
    centred = pixels - pixels.mean(1, keepdim=True)
    return centred @ centred.T / pixels.shape[1]


def match_luminance(style: Tensor, photo: Tensor) -> Tensor:
    """The luminance of `style` as a grey image (1, 3, H, W), its mean and standard deviation changed to those of
    the luminance of `photo`, clamped to [0, 1].

    Gatys et al., arXiv 1606.05897, "Luminance-only transfer".
    """
    s, p = luminance(style), luminance(photo)
    deviation = s.std(correction=0).clamp_min(1e-6)
    matched = (s - s.mean()) * (p.std(correction=0) / deviation) + p.mean()
    return matched.clamp(0, 1).expand(-1, 3, -1, -1)
