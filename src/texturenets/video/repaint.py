"""Stylize a film: the next frame read, this one painted and the one before written, at the same time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from texturenets.overlap import overlapped
from texturenets.video.frame import Frame, FrameSource, Pixels, Sink

if TYPE_CHECKING:
    from texturenets.stylize.options import StylizeOptions
    from texturenets.stylize.style import Style

Paint = Callable[[Pixels], Pixels]


def painting(style: Style, options: StylizeOptions) -> Paint:
    """What `style` makes of one frame after the other; noise, where it takes any, is the same in all."""

    def paint(pixels: Pixels) -> Pixels:
        return style(pixels, **options.painting)

    return paint


def repaint(
    source: FrameSource, sink: Sink, paint: Paint, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Take every frame of `source` through `paint` to `sink`; the number of frames.

    At most five frames are in memory, however long the film is. `progress` is called with the number of frames done.
    Raises UserError for what is wrong with a frame; the film is then not whole.
    """
    frames = iter(source)
    ended, written = False, 0

    def decode(_: int) -> Frame | None:
        nonlocal ended
        frame = next(frames, None)
        ended = frame is None
        return frame

    def compute(_: int, frame: Frame | None) -> Frame | None:
        return None if frame is None else replace(frame, pixels=paint(frame.pixels))

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
