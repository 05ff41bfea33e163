"""Videos: frames in, frames out, one at a time. PyAV (the extra `video`) for videos, Pillow for animations.

A `FrameSource` yields frames with their times, a `Sink` writes them; `texturenets.video.stylization` stylizes them in
between. Inputs: videos (whatever FFmpeg decodes), animations (GIF, WebP, APNG), and frames as files. Outputs: the
suffixes of `WRITTEN`, animations, and frames as files (`frames/%05d.png`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from typing import Final

from texturenets.errors import UserError

WRITTEN: Final = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
"""{suffix of an output video: FFmpeg's name of the format}."""

READ: Final = frozenset(
    [
        *WRITTEN,
        ".avi",
        ".mpg",
        ".mpeg",
        ".ts",
        ".mts",
        ".m2ts",
        ".wmv",
        ".asf",
        ".flv",
        ".ogv",
        ".3gp",
        ".3g2",
    ]
)
"""Suffixes of videos that are read."""

MOVING: Final = frozenset([".gif", ".webp", ".png", ".apng"])
"""Suffixes of images that may be animated."""

SUFFIXES: Final = READ | MOVING
"""All suffixes of possible videos."""

_NUMBERED = re.compile(r"%0?\d{0,2}d")


def is_video(path: Path) -> bool:
    """Whether `path` is a video by its suffix, or an image that holds more than one frame."""
    suffix = path.suffix.lower()
    if suffix in READ:
        return True
    if suffix not in MOVING or not path.is_file():
        return False
    from texturenets.video.animated_image import is_animated_file

    return is_animated_file(path)


def is_numbered(name: str) -> bool:
    """Whether `name` is a pattern of numbered frames, such as `frames/%05d.png`."""
    return not name.endswith(("/", os.sep)) and _NUMBERED.search(Path(name).name) is not None


def check_numbered(name: str) -> None:
    """Raise UserError for a pattern of numbered frames that is invalid, or gives the same name for all."""
    last = Path(name).name
    if (
        len(_NUMBERED.findall(last)) != 1
        or last.replace("%%", "").count("%") != 1
        or "%" in str(Path(name).parent)
    ):
        raise UserError(
            f"`output` {name}: the name of numbered frames has one place for the number, as %05d, and no other %, "
            "nor has their folder, as in frames/%05d.png"
        )


def output_suffix(path: PurePath) -> str:
    """The suffix of the video that `path` becomes: its own if that format is written, else .mp4."""
    suffix = path.suffix.lower()
    return path.suffix if suffix in WRITTEN or suffix in MOVING else ".mp4"


def check_output(path: Path, source: Path) -> None:
    """Raise UserError if `source` cannot become a video of that name; call it before the work."""
    suffix = path.suffix.lower()
    if suffix == ".png" and source.suffix.lower() not in (".png", ".apng"):
        raise UserError(
            f"{path} is one image, and {source} has many: write %05d where their number belongs in the name, as "
            "in frames/%05d.png, or give a video (.mp4, .webm) or an animation (.gif, .webp, .apng)"
        )
    if suffix not in WRITTEN and suffix not in MOVING:
        known = ", ".join([*WRITTEN, ".gif", ".webp", ".apng"])
        problem = (
            f"the suffix {path.suffix!r} names no video that is written here"
            if suffix
            else "it has no suffix"
        )
        raise UserError(f"cannot write {path}: {problem}; known: {known}, and frames as frames/%05d.png")
