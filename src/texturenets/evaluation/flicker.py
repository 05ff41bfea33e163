"""Flicker: how much a stylized video changes where the original only moves.

Each frame is compared with the one before along the input's optical flow (DIS: Kroeger et al., ECCV 2016, OpenCV's).
Pixels that are hidden or come into view cannot be compared and are left out: those where the backward flow does not
lead back to the start of the forward flow (Sundaram et al., ECCV 2010, as Ruder et al., arXiv 1604.08610, section
4.2, use it).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError, install
from texturenets.video.frame import Pixels

Flow = NDArray[np.float32]


def load_cv2() -> Any:
    """OpenCV. Raises UserError if it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"optical flow needs OpenCV: {install('video')} ({str(error).splitlines()[0]})"
        ) from None
    return cv2


def moved(pixels: NDArray[Any], flow: Flow) -> NDArray[np.float32]:
    """`pixels` (H, W, C) sampled bilinearly at the positions to which `flow` (H, W, 2; right, down, in pixels) leads:
    (H, W, C)."""
    cv2 = load_cv2()
    down, right = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    where = np.stack([right, down], 2) + flow
    result: NDArray[np.float32] = cv2.remap(
        pixels.astype(np.float32), where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return result


def visible(forth: Flow, back: Flow) -> NDArray[np.bool_]:
    """Where a pixel of the first frame is seen in the second, too: (H, W).

    `forth`: the flow from the first frame to the second, `back` from the second to the first.
    """
    height, width = forth.shape[:2]
    returned = moved(back, forth)
    gap = np.square(forth + returned).sum(2)
    size = np.square(forth).sum(2) + np.square(returned).sum(2)
    down, right = np.mgrid[:height, :width]
    x, y = right + forth[..., 0], down + forth[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    seen: NDArray[np.bool_] = (gap < 0.01 * size + 0.5) & inside
    return seen


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
        self.cv2 = load_cv2()
        self.dis = self.cv2.DISOpticalFlow_create(self.cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def take(self, video: Pixels, stylized: Pixels) -> None:
        """Add the next frame of the video and of its stylized version, both (H, W, 3), 8-bit RGB, of the same
        size."""
        grey = self.cv2.cvtColor(video, self.cv2.COLOR_RGB2GRAY)
        if self._before is not None:
            video_before, grey_before, stylized_before = self._before
            forth = self.dis.calc(grey_before, grey, None)
            mask = visible(forth, self.dis.calc(grey, grey_before, None))
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
