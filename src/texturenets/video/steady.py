"""Steadier videos: each stylized frame is blended with the previous result, moved along the video's optical flow.

The flow is that of the photo frames, as in the temporal losses of Ruder et al. (arXiv 1604.08610) and Lai et al.
(arXiv 1808.00449); nothing is trained.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from texturenets import arguments
from texturenets.errors import UserError
from texturenets.video.frame import Pixels
from texturenets.video.optical_flow import Flow, OpticalFlow, load_cv2, moved, visible

_BOX: Final = (5, 5)  # pixels over which the mask of what is seen and the difference of colours are averaged
_SHARPNESS: Final = 50.0  # alpha of Lai et al.'s mask, exp(-alpha |difference|^2), colours in [0, 1]


def check_steady(steady: float) -> None:
    """Raise UserError for a `steady` outside [0, 1), and for one above 0 if OpenCV is not installed."""
    arguments.number("steady", steady)
    if not 0 <= steady < 1:  # also for NaN
        raise UserError(f"`steady` {steady} is not from 0 (off) to below 1: 0.6 is a good value")
    if steady:
        load_cv2()


class Steady:
    """Steadies the frames of one video, given in order.

    result = stylized + steady * trust * (previous result along the flow - stylized), with `trust` from `trusted`. The
    first frame, and one of another size than the frame before, stays as it is. One frame and one result, as float,
    are kept in memory.
    """

    def __init__(self, steady: float) -> None:
        """`steady`: share of the previous result, in [0, 1). Raises as `check_steady`."""
        check_steady(steady)
        self._steady = steady
        self._flow = OpticalFlow()
        self._before: tuple[Pixels, NDArray[np.float32]] | None = None

    def __call__(self, frame: Pixels, stylized: Pixels) -> Pixels:
        """`stylized`, steadied. Both: (H, W, 3 or 4), 8-bit RGB, `frame` that of the video."""
        # Kept as float: rounded each time, it would stop changing before it is where a still video leads.
        result = stylized.astype(np.float32)
        if self._before is not None and self._before[0].shape == frame.shape:
            before, result_before = self._before
            first, second = self._flow.grey(before), self._flow.grey(frame)
            back, forth = self._flow.between(second, first), self._flow.between(first, second)
            earlier = moved(result_before, back, sharp=True).clip(0, 255)
            share = self._steady * trusted(before, frame, back, forth)[..., None]
            if frame.shape[2] == 4:  # what was transparent has no colour
                share = share * earlier[..., 3:] / 255
            result[..., :3] += share * (earlier - result)[..., :3]
        self._before = frame, result
        rounded: Pixels = np.rint(result).astype(np.uint8)
        return rounded


def trusted(before: Pixels, frame: Pixels, back: Flow, forth: Flow) -> NDArray[np.float32]:
    """How far each pixel of `frame` is the one in the frame `before` to which the flow `back` leads: (H, W), 0 to 1.

    0 where it was hidden (`visible`), with a soft edge, and less than 1 where the colours of the two differ, as at
    cuts and where the light changes. `forth`: the flow from `before` to `frame`.
    """
    cv2 = load_cv2()
    seen = cv2.blur(visible(back, forth).astype(np.float32), _BOX)
    difference = moved(before[..., :3], back) - frame[..., :3]
    difference = cv2.blur(difference, _BOX) / 255  # averaged, so that noise does not count
    alike = np.exp(-_SHARPNESS * np.square(difference).sum(2))
    trust: NDArray[np.float32] = seen * alike
    return trust
