"""The losses of a hole: features inside the hole are compared with features of the exemplar outside it."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.errors import UserError
from texturenets.losses import Features, Loss, LossSettings, Objective, Targets, build, layers_of
from texturenets.losses.base import Maps, at_scale
from texturenets.losses.gram import mean_products
from texturenets.losses.objective import shrink
from texturenets.losses.sliced_wasserstein import SlicedWassersteinLoss
from texturenets.losses.style import StyleLoss
from texturenets.optimization import white_noise
from texturenets.perceptual import Descriptors
from texturenets.resynthesis.holes import MARGIN, Hole, continued
from texturenets.resynthesis.rectangle import largest_rectangle

MIN_CHANGE = 0.1
"""A position of a feature map counts as inside the hole if its features change by more than this share of the
features' root mean square when the hole's content changes. Receptive fields are larger, but their outer parts hardly
matter."""
MIN_POSITIONS = 16  # minimum positions of a feature map: statistics over fewer are unreliable

SHIFTS = tuple((i / 8 % 1, 3 * i / 8 % 1) for i in range(1, 8))
"""How far a hole is moved to find real parts, in shares of the maps' sides: a grid of seven shifts."""

Places = Sequence[Mapping[str, Tensor]]
"""Positions of the maps by layer, as indices into H W, for each scale of the loss pyramid."""


class HoleObjective(Objective):
    """Free pixels (1, 3, 1, P) to {name: weighted loss}, otherwise like `Objective`.

    Gram matrices and sliced Wasserstein distances compare positions: those inside the hole with those of the exemplar
    outside it. Losses that compare neighbouring positions (shifted Gram, autocorrelation) use whole maps: of the
    whole image, and of the largest usable rectangle of the exemplar.

    No part of an image has exactly the statistics of the rest. So the first two losses count only as far as they
    exceed those of unmodified parts: the exemplar's positions under shifted copies of the hole (`allowed`). Otherwise
    a small hole would have to contain some of everything.
    """

    def __init__(
        self, descriptors: Descriptors, losses: Sequence[Loss], hole: Hole, shown: Places, known: Places
    ) -> None:
        """`shown`, `known`: positions of the image's maps, and of the exemplar's, that are compared."""
        self.hole, self.shown, self.known = hole, shown, known
        super().__init__(descriptors, losses, [hole.exemplar], scales=len(shown))
        self.allowed = self._of_real_parts()

    @classmethod
    def of(cls, descriptors: Descriptors, settings: LossSettings, hole: Hole) -> Self:
        """The objective with the losses and scales of a configuration, on the layers with enough known positions of
        the exemplar. Raises UserError if there is none.
        """
        layers, scales = layers_of(build(settings)), int(settings["pyramid_loss"])
        image = _positions(descriptors, layers, scales, hole.image, hole.changed(), wraps=hole.wraps)
        shown = [{k: shows for k, (shows, _) in maps.items()} for maps in image]
        exemplar = _positions(descriptors, layers, scales, hole.exemplar, 1 - hole.usable)
        known = [{k: rest for k, (_, rest) in maps.items()} for maps in exemplar]
        few = [
            k
            for k in layers
            if min(len(maps[k]) for maps in known) < MIN_POSITIONS or not all(len(m[k]) for m in shown)
        ]
        losses = build(_without(settings, few))
        if few and not any(loss.compares_style for loss in losses):
            raise UserError(
                f"the known part is too small for the layers {', '.join(few)}: use a smaller hole, a larger image "
                "or earlier `style_layers`"
            )
        if few:
            height, width = hole.image.shape[2:]
            warnings.warn(
                f"left out at {width} x {height}, as the known part is too small for "
                f"{'it' if len(few) == 1 else 'them'}: {', '.join(few)}",
                stacklevel=2,
            )
        return cls(descriptors, losses, hole, shown, known)

    @torch.no_grad()
    def _of_real_parts(self) -> dict[str, float]:
        """The mean of each loss that compares positions over real parts of the exemplar."""
        losses = [loss for loss in self.losses if _compares_positions(loss)]
        layers = tuple(dict.fromkeys(layer for loss in losses for layer in loss.layers))
        maps = self._maps(continued(self.hole.exemplar, wraps=False), layers) if layers else []
        found: dict[str, list[float]] = {}
        for shift in SHIFTS:
            parts = [
                {
                    k: self._moved(self.shown[i][k], self.known[i][k], x.shape[2:], shift)
                    for k, x in scale.items()
                }
                for i, scale in enumerate(maps)
            ]
            full = [{k: at[k] if len(at[k]) else self.known[i][k] for k in at} for i, at in enumerate(parts)]
            seen = _gathered(maps, full)
            grams = [{k: _gram(x) for k, x in scale.items()} for scale in seen]
            for loss in losses:
                values = loss(Features(self.hole.exemplar, seen, grams), Targets())
                for i, at in enumerate(parts):
                    for layer in loss.layers:
                        if count := len(at[layer]):
                            name = at_scale(f"{loss.name}/{layer}", i)
                            more = _apart(len(self.shown[i][layer]), count, len(self.known[i][layer]))
                            found.setdefault(name, []).append(more * float(values[name]))
        return {name: sum(values) / len(values) for name, values in found.items()}

    def _moved(self, shown: Tensor, known: Tensor, size: Sequence[int], shift: tuple[float, float]) -> Tensor:
        """The positions `shown` of maps of `size` (H, W) moved by shares of the image's sides, as far as they are
        `known`; none if that leaves less than half of them, or if they are nearly all known positions."""
        moved = []
        rows = zip((shown // size[1], shown % size[1]), size, self.hole.image.shape[2:], shift, strict=True)
        for place, positions, side, share in rows:
            first = round(positions * MARGIN / (side + 2 * MARGIN))
            inside = positions - 2 * first
            moved.append(first + (place - first + round(share * inside)) % inside)
        there = moved[0] * size[1] + moved[1]
        there = there[torch.isin(there, known)]
        return there if len(shown) <= 2 * len(there) <= 1.8 * len(known) else there[:0]

    def _styles(
        self, loss: Loss, styles: Sequence[Tensor], shares: Sequence[float]
    ) -> Iterator[tuple[float, Features]]:
        if _compares_positions(loss):
            maps = self._maps(continued(self.hole.exemplar, wraps=False), loss.layers)
            yield 1.0, Features(self.hole.exemplar, _gathered(maps, self.known))
        else:
            top, left, height, width = largest_rectangle(self.hole.usable[0, 0] > 0)
            part = self.hole.exemplar[:, :, top : top + height, left : left + width]
            yield 1.0, Features(part, self._maps(part, loss.layers))

    def forward(
        self, images: Tensor, targets: Targets | None = None, *, without: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """Free pixels (1, 3, 1, P), RGB in [0, 1], to {name: weighted loss, a scalar}."""
        losses = [loss for loss in self.losses if loss.name not in without]
        image = self.hole.pasted(images)
        surrounded = continued(image, wraps=self.hole.wraps)
        layers = tuple(dict.fromkeys(layer for loss in losses for layer in loss.layers))
        maps = self._maps(surrounded, layers) if layers else []
        gathered = _gathered(maps, self.shown)
        grams = [{k: _gram(x) for k, x in scale.items()} for scale in gathered]
        values: dict[str, Tensor] = {}
        for loss in losses:
            seen = gathered if _compares_positions(loss) else maps
            values.update(loss(Features(image, seen, grams), targets or Targets()))
        return {name: F.relu(value - self.allowed.get(name, 0.0)) for name, value in values.items()}


def _compares_positions(loss: Loss) -> bool:
    return isinstance(loss, StyleLoss | SlicedWassersteinLoss)


def _apart(hole: int, part: int, known: int) -> float:
    """How much larger the distance between the mean of `hole` positions and that of `known` others is than the
    distance between the mean of `part` of these and that of all.

    In expectation, squared and for independent positions: variances of means are as one over their numbers, and a
    part is in the mean that it is compared with.
    """
    return (1 / hole + 1 / known) / (1 / part - 1 / known)


def _without(settings: LossSettings, layers: Collection[str]) -> dict[str, Any]:
    """The settings, with these layers removed from the losses that compare positions."""
    names = ["style_layers", *(["structure_layers"] if settings["sliced_weight"] else [])]
    kept = {name: tuple(k for k in settings[name] if k not in layers) for name in names}
    return {**settings, **kept}


def _gathered(maps: Sequence[Maps], places: Places) -> list[Maps]:
    """The given positions of maps (1, C, H, W), as (1, C, P, 1)."""
    return [
        {k: x.flatten(2)[:, :, at[k], None] for k, x in scale.items()}
        for scale, at in zip(maps, places, strict=bool(maps))
    ]


def _gram(gathered: Tensor) -> Tensor:
    rows = gathered[..., 0].transpose(1, 2)
    return mean_products(rows, rows)


@torch.no_grad()
def _positions(
    descriptors: Descriptors,
    layers: Sequence[str],
    scales: int,
    image: Tensor,
    mask: Tensor,
    *,
    wraps: bool = False,
) -> list[dict[str, tuple[Tensor, Tensor]]]:
    """Of the maps of `image`, continued: the positions inside it that show what is under `mask` (1, 1, H, W), and
    those that do not; by layer, for each scale."""
    noise = white_noise(0, (image.shape[2], image.shape[3])).to(image)
    pair = [continued(torch.where(mask > 0, x, image), wraps=wraps) for x in (image, noise)]
    inside = F.pad(torch.ones_like(mask), (MARGIN,) * 4)
    found = []
    for scale in range(scales):
        # One after the other: the features of a large image take much memory.
        before, after = (descriptors(shrink(x, 2**scale), layers) for x in pair)
        found.append({k: _split(before[k], after[k], inside) for k in layers})
    return found


def _split(before: Tensor, after: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Positions `inside` the image where two maps (1, C, h, w) differ, and those where they do not, as indices."""
    change = (after.float() - before.float()).square().mean(1)[0]
    within = F.interpolate(inside, before.shape[2:], mode="area")[0, 0] > 0.5
    level = before.float().square().mean(1)[0][within].mean()
    shows = change > MIN_CHANGE**2 * level
    return (shows & within).flatten().nonzero()[:, 0], (~shows & within).flatten().nonzero()[:, 0]
