"""Optical flow between frames (DIS: Kroeger et al., ECCV 2016, OpenCV's), and where it can be relied on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError, install
from texturenets.video.frame import Pixels

Flow = NDArray[np.float32]

MIN_SIDE: Final = 64
"""Frames with shorter sides are padded to this many pixels: OpenCV's DIS raises on sides below 12, and reads outside
of its arrays on some long and narrow ones, such as 24 x 400 (seen with OpenCV 5.0)."""


def load_cv2() -> Any:
    """OpenCV. Raises UserError if it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"optical flow needs OpenCV: {install('video')} ({str(error).splitlines()[0]})"
        ) from None
    return cv2


class OpticalFlow:
    """Computes DIS optical flow, with OpenCV's preset `medium`."""

    def __init__(self) -> None:
        """Raises UserError if OpenCV is not installed."""
        self._cv2 = load_cv2()
        self._dis = self._cv2.DISOpticalFlow_create(self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def grey(self, frame: Pixels) -> NDArray[np.uint8]:
        """A frame (H, W, 3 or 4), RGB, as brightness (H, W), which `between` takes."""
        found: NDArray[np.uint8] = self._cv2.cvtColor(
            np.ascontiguousarray(frame[..., :3]), self._cv2.COLOR_RGB2GRAY
        )
        return found

    def between(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
        """The flow from `first` to `second`, both (H, W): (H, W, 2), right and down, in pixels."""
        height, width = first.shape
        down, right = (max(0, MIN_SIDE - side) for side in (height, width))
        if down or right:
            first, second = (np.pad(grey, ((0, down), (0, right)), mode="edge") for grey in (first, second))
        flow: Flow = self._dis.calc(first, second, None)[:height, :width]
        return flow


def moved(pixels: NDArray[Any], flow: Flow, *, sharp: bool = False) -> NDArray[np.float32]:
    """`pixels` (H, W) or (H, W, C) at the positions to which `flow` (H, W, 2; right, down, in pixels) leads: an array
    of the same shape. Sampled bilinearly, or with `sharp` by Lanczos' kernel of 8 x 8 pixels, which blurs less when
    it is repeated and goes a little beyond the values at edges.
    """
    cv2 = load_cv2()
    down, right = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    where = np.stack([right, down], 2) + flow
    kernel = cv2.INTER_LANCZOS4 if sharp else cv2.INTER_LINEAR
    result: NDArray[np.float32] = cv2.remap(
        pixels.astype(np.float32), where, None, kernel, borderMode=cv2.BORDER_REPLICATE
    )
    return result


def visible(forth: Flow, back: Flow) -> NDArray[np.bool_]:
    """Where a pixel of the first frame is seen in the second, too: (H, W).

    That is where the flow back leads to the start of the flow forth (Sundaram et al., ECCV 2010, as Ruder et al.,
    arXiv 1604.08610, section 4.2, use it). `forth`: the flow from the first frame to the second, `back` from the
    second to the first.
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
