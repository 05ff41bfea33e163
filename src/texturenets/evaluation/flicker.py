"""Flicker: how much a stylized video changes where the original only moves.

Each frame is compared with the one before along the input's optical flow (`texturenets.video.optical_flow`). Pixels
that are hidden or come into view cannot be compared and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError
from texturenets.video.frame import Pixels
from texturenets.video.optical_flow import Flow, OpticalFlow, moved, visible


def change(first: Pixels, second: Pixels, flow: Flow, mask: NDArray[np.bool_]) -> float:
    """Mean absolute difference of `first` and of `second` along `flow`, where `mask`, in 255ths."""
    difference = np.abs(moved(second, flow) - first.astype(np.float32)).mean(2)
    return float(difference[mask].mean())


@dataclass
class Flicker:
    """Takes the frames of a video and of its stylized version, and collects the mean changes."""

    changes: list[tuple[float, float]] = field(
        default_factory=list
    )  # (of the video, of its stylized version)
    shares: list[float] = field(default_factory=list)  # shares of pixels that could be compared
    _before: tuple[Pixels, NDArray[np.uint8], Pixels] | None = None

    def __post_init__(self) -> None:
        """Raises UserError if OpenCV is not installed."""
        self._flow = OpticalFlow()

    def take(self, video: Pixels, stylized: Pixels) -> None:
        """Add the next frame of the video and of its stylized version, both (H, W, 3), 8-bit RGB, of the same
        size."""
        grey = self._flow.grey(video)
        if self._before is not None:
            video_before, grey_before, stylized_before = self._before
            forth = self._flow.between(grey_before, grey)
            mask = visible(forth, self._flow.between(grey, grey_before))
            if mask.any():  # not at a cut
                self.changes.append(
                    (change(video_before, video, forth, mask), change(stylized_before, stylized, forth, mask))
                )
            self.shares.append(float(mask.mean()))
        self._before = video, grey, stylized

    @property
    def figures(self) -> dict[str, float]:
        """Means over the video: `video`, `stylized` (in 255ths), their `ratio`, and `compared`, a share of the
        pixels.

        Raises UserError if no two frames could be compared.
        """
        if not self.changes:
            raise UserError("flicker is between frames: the video has no two that can be compared")
        video, stylized = (float(n) for n in np.mean(self.changes, 0))
        return {
            "video": video,
            "stylized": stylized,
            "ratio": stylized / max(video, 1e-6),
            "compared": float(np.mean(self.shares)),
        }


def flicker(pairs: Iterable[tuple[Pixels, Pixels]]) -> dict[str, float]:
    """The figures of a video and of its stylized version, given frame by frame."""
    meter = Flicker()
    for video, stylized in pairs:
        meter.take(video, stylized)
    return meter.figures
