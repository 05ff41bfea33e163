"""The losses of materials, whose images have more than three channels.

Descriptor networks take three channels, so they see three of a material's at a time: Chambon, Heitz and Belcour,
"Passing Multi-Channel Material Textures to a 3-Channel Loss", arXiv 2105.13012. Of random triplets the channels learn
to go together. What lies at one pixel must be exact for that, so its distribution over all channels is compared too,
by the sliced Wasserstein distance (arXiv 2006.07229, equations 4 to 6) of the pixels themselves: in the second half
of a training, as that distribution does not say where things are. Most of its directions are those of a channel of
one map and one of another: of all channels together, what two of them have in common hardly counts.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from texturenets.losses.base import Loss, Targets
from texturenets.losses.checkerboard import share
from texturenets.losses.objective import Objective
from texturenets.losses.sliced_wasserstein import directions, sliced_wasserstein
from texturenets.perceptual import Descriptors

Triplet = tuple[int, int, int]

VALIDATION_SEED = 2**31
"""In place of the step: validation sees the same triplets each time."""
AXES = 8  # directions of all channels on which the distribution is compared in a step
PAIR_AXES = 16  # and those of two channels
VISIBLE = (4 / 255) ** 2  # variances below this are not amplified: what is constant would count most
STREAM = 2**20  # of random numbers: no layer's (`losses.sliced_wasserstein`)


class MaterialObjective:
    """Descriptor networks and losses against one material: images of C channels to {name: weighted loss}."""

    def __init__(
        self,
        descriptors: Descriptors,
        losses: Sequence[Loss],
        exemplars: Sequence[Tensor],
        *,
        scales: int = 1,
        whole: Sequence[int] = (0,),
        joint_weight: float = 0.0,
        seed: int = 0,
    ) -> None:
        """`losses`: not prepared yet. `exemplars`: (1, C, H, W) in [0, 1]. `whole`: the first channels of maps that
        have three. `joint_weight`: of the distribution of all channels at a pixel. Other arguments as for
        `Objective`.
        """
        self.descriptors, self.losses, self.scales = descriptors, losses, scales
        self.exemplars, self.seed, self.joint_weight = exemplars, seed, joint_weight
        channels = exemplars[0].shape[1]
        self.whole: list[Triplet] = [(first, first + 1, first + 2) for first in whole]
        maps = [set(triplet) for triplet in self.whole]
        self.pairs = [
            pair
            for pair in itertools.combinations(range(channels), 2)
            if not any(map_ >= set(pair) for map_ in maps)
        ]
        self.triplets: list[Triplet] = list(itertools.combinations(range(channels), 3))
        self.objectives: dict[Triplet, Objective] = {}
        self.mean, self.deviation, self.whitening = _statistics(exemplars)
        self.pixels = [(1 / len(exemplars), self._centred(exemplar)) for exemplar in exemplars]

    def triplet(self, step: int, slot: int) -> Triplet:
        """The channels of the image in `slot` of the batch that the losses see in `step`: of every second image those
        of a map of three channels, which take turns, of the others any."""
        number = step + slot
        if number % 2 == 0:
            return self.whole[number // 2 % len(self.whole)]
        random = np.random.default_rng([self.seed, step, slot])
        return self.triplets[int(random.integers(len(self.triplets)))]

    def against(self, triplet: Triplet) -> Objective:
        """The objective for three channels; its targets are computed when it is first asked for."""
        if triplet not in self.objectives:
            styles = [exemplar[:, list(triplet)] for exemplar in self.exemplars]
            losses = copy.deepcopy(list(self.losses))  # each has targets of its own
            self.objectives[triplet] = Objective(self.descriptors, losses, styles, scales=self.scales)
        return self.objectives[triplet]

    def __call__(self, images: Tensor, targets: Targets, slots: range) -> dict[str, Tensor]:
        """Images (N, C, H, W) in [0, 1] to {name: weighted loss, a scalar}. `slots`: their places in the batch."""
        step = VALIDATION_SEED if targets.step is None else int(targets.step)
        totals: dict[str, Tensor] = {}
        for number, slot in enumerate(slots):
            triplet = self.triplet(step, slot)
            one = images[number : number + 1, list(triplet)].contiguous(memory_format=torch.channels_last)
            for name, value in self.against(triplet)(one, targets[number : number + 1]).items():
                totals[name] = totals.get(name, value.new_zeros(())) + value / len(images)
        if self.joint_weight:
            weight = self.joint_weight * float(share(targets.progress))
            totals["joint"] = weight * self._joint(images, targets.step) if weight else images.new_zeros(())
        return totals

    def _joint(self, images: Tensor, step: Tensor | None) -> Tensor:
        channels = images.shape[1]
        axes = directions(self.seed, step, STREAM, AXES, channels).to(images.device) @ self.whitening
        if self.pairs:
            pairs = self._pair_axes(step, channels).to(images.device) / self.deviation.T
            axes = torch.cat([axes, pairs])
        return sliced_wasserstein(self._centred(images), self.pixels, axes, "paper").mean()

    def _pair_axes(self, step: Tensor | None, channels: int) -> Tensor:
        """Random directions of two channels each, (PAIR_AXES, channels)."""
        random = np.random.default_rng([self.seed, STREAM, VALIDATION_SEED if step is None else int(step)])
        axes = np.zeros((PAIR_AXES, channels), np.float32)
        for axis, pair in zip(axes, random.integers(len(self.pairs), size=PAIR_AXES), strict=True):
            angle = random.uniform(0, np.pi)
            axis[list(self.pairs[pair])] = np.cos(angle), np.sin(angle)
        return torch.from_numpy(axes)

    def _centred(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) less the exemplars' mean."""
        return images.float() - self.mean[:, :, None]


def _statistics(exemplars: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The mean and the standard deviation (C, 1) of the exemplars' pixels, and the matrix (C, C) that makes their
    covariance that of noise."""
    pixels = torch.cat([exemplar.float().flatten(2)[0] for exemplar in exemplars], 1)
    covariance = torch.cov(pixels)
    values, vectors = torch.linalg.eigh(covariance)
    whitening = vectors.T / values.clamp_min(VISIBLE).sqrt()[:, None]
    deviation = covariance.diagonal().clamp_min(VISIBLE).sqrt()[:, None]
    return pixels.mean(1, keepdim=True), deviation, whitening
