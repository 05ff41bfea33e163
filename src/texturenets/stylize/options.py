"""The options of a stylization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from texturenets.graph.wrapping import Wrap
from texturenets.stylize.stroke import Stroke


@dataclass(frozen=True)
class StylizeOptions:
    """The options of `texturenets stylize`, named as its flags; `mix` and `masks` as in `Style.stylize`.

    `mix_end`: for a video, the mixture of the last frame; `mix` is that of the first. `steady`: for a video, the
    share of the previous result in each frame, in [0, 1).
    """

    size: int | None = None
    quality: int | None = None
    strength: float = 1.0
    preserve_color: bool = False
    keep_gps: bool = False
    seed: int = 0
    noise_level: float = 1.0
    stroke: Stroke = 1
    wrap: Wrap = ""
    mix: Mapping[str, float] | None = None
    mix_end: Mapping[str, float] | None = None
    masks: Mapping[str, Any] | None = None
    steady: float = 0.0

    @property
    def stylize_arguments(self) -> dict[str, Any]:
        """The keyword arguments of `Style.stylize`."""
        names = ("strength", "preserve_color", "seed", "noise_level", "stroke", "wrap", "mix", "masks")
        return {name: getattr(self, name) for name in names}
