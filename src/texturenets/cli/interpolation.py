"""A video that interpolates between two samples of a texture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from texturenets import video
from texturenets.cli.common import photo_progress
from texturenets.cli.outputs import names_folder
from texturenets.cli.video_jobs import RATE, written
from texturenets.errors import UserError
from texturenets.files import expanded
from texturenets.video.frame import Frame, VideoInfo

if TYPE_CHECKING:
    from texturenets.textures import Array


def video_of(output: str | None, to: int | None) -> Path | None:
    """The path if `output` names a video, None for images. Raises UserError for a video that cannot be written."""
    path = expanded(output or "")
    if (
        path.suffix.lower() not in video.READ | {".gif", ".apng"}
        or path.is_dir()
        or names_folder(output or "")
    ):
        return None
    if to is None:
        raise UserError(
            f"--output {output} is a video, and a sample is one image: give the seed of a second sample, to which "
            "the video interpolates, for example --to-seed 1"
        )
    video.check_output(path, path)
    return path


class InterpolationFrames:
    """A `FrameSource` of the images `images` (1, 3, H, W), RGB in [0, 1], at `RATE` frames per second.

    `size` (H, W); `count`: number of frames.
    """

    def __init__(self, images: Iterator[Array], size: tuple[int, int], count: int) -> None:
        self.images, self.trailing = images, list[Any]()
        self.info = VideoInfo(size=size, count=count, rate=Fraction(RATE), time_base=Fraction(1, RATE))

    def __iter__(self) -> Iterator[Frame]:
        for number, frame in enumerate(self.images):
            pixels = (frame[0] * 255).round().astype(np.uint8).transpose(1, 2, 0)
            yield Frame(np.ascontiguousarray(pixels), number * self.info.time_base, self.info.time_base)

    def close(self) -> None:
        """Does nothing: there is no file to close."""


def write(frames: InterpolationFrames, path: Path, quality: int | None, quiet: bool) -> None:
    """Write the video with a progress bar. Raises UserError if that fails; then no file is left."""
    with photo_progress(frames.info.count, quiet) as bar, written(frames, path, quality, quiet) as sink:
        task = bar.add_task(path.name, total=frames.info.count)
        for frame in frames:
            sink.write(frame)
            bar.advance(task)
        sink.finish([])
