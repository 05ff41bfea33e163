"""Stylize a video: one frame is decoded, one stylized and one encoded at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from texturenets.modelfiles.conditions import between
from texturenets.overlap import overlapped
from texturenets.video.frame import Frame, FrameSource, Pixels, Sink
from texturenets.video.steady import Steady

if TYPE_CHECKING:
    from texturenets.stylize.options import StylizeOptions
    from texturenets.stylize.style import Style

StylizeFrame = Callable[[Pixels], Pixels]


def frame_stylizer(style: Style, options: StylizeOptions, count: int = 0) -> StylizeFrame:
    """A function that stylizes one frame after the other of a video of `count` frames.

    A style that takes noise gets the same noise for every frame. The mixture of styles changes evenly from that of
    `options.mix` in the first frame to that of `options.mix_end` in the last. With `options.steady` above 0 each
    frame is blended with the previous result. Raises UserError for a `steady` outside [0, 1), or without OpenCV.
    """
    numbers = itertools.count()
    steadied = Steady(options.steady) if options.steady else None

    def stylize_frame(pixels: Pixels) -> Pixels:
        arguments = options.stylize_arguments
        number = next(numbers)
        if options.mix_end:
            share = min(1.0, number / (count - 1)) if count > 1 else 1.0
            arguments["mix"] = between(options.mix or {}, options.mix_end, share)
        stylized = style(pixels, **arguments)
        return steadied(pixels, stylized) if steadied else stylized

    return stylize_frame


def stylize_video(
    source: FrameSource, sink: Sink, stylize: StylizeFrame, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Stylize every frame of `source` and write it to `sink`; returns the number of frames.

    At most five frames are in memory, and what `stylize` keeps, however long the video is. `progress` is called with
    the number of frames done. Raises UserError for a frame that cannot be read or written; the video is then
    incomplete.
    """
    frames = iter(source)
    ended, written = False, 0

    def decode(_: int) -> Frame | None:
        nonlocal ended
        frame = next(frames, None)
        ended = frame is None
        return frame

    def compute(_: int, frame: Frame | None) -> Frame | None:
        return None if frame is None else replace(frame, pixels=stylize(frame.pixels))

    def encode(_: int, frame: Frame | None) -> None:
        nonlocal written
        if frame is not None:
            sink.write(frame)
            written += 1

    jobs = itertools.takewhile(lambda _: not ended, itertools.count())
    with closing(overlapped(jobs, decode, compute, encode)) as outcomes:
        for _, error in outcomes:
            if error is not None:
                raise error
            progress(written)
    sink.finish(source.trailing)
    return written
