"""What goes through the network at once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from texturenets.training.stability import Disturbed


@dataclass
class Part:
    """What goes through the network at once: photos (N, 3, H, W) or None, maps of noise, and what photos hold.

    `count` is N. `content` are the photos' features, by level of the loss pyramid. `disturbed`: the photos once more,
    for the stability loss.
    """

    count: int
    x: Tensor | None
    noises: list[Tensor]
    content: list[dict[str, Tensor]] | None = None
    disturbed: Disturbed | None = None
