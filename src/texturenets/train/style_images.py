"""Reads and checks the images to learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from texturenets import image
from texturenets.errors import UserError
from texturenets.fetch import digest
from texturenets.train.min_size import too_small

FLAT = 1 / 255  # standard deviation of the channels below which an image counts as of one color


def read(path: Path, longer: int) -> image.Picture:
    """The image, its longer side `longer` pixels, 0 for its own size. Raises UserError for one that is too small
    or of one color."""
    picture = image.read(path, longer=longer or None)
    if picture.several:
        warnings.warn(f"{path} holds several images, of which the first is learned", stacklevel=3)
    if message := too_small(*picture.size):
        raise UserError(f"{path}: {message} (enlarge it with `style_size`)")
    check(picture, path)
    return picture


def read_painting(path: Path, longer: int) -> image.Picture:
    """As `read`; also refuses an image that is too small before it is enlarged to `longer`."""
    info = image.read_header(path)
    if info is not None and (message := too_small(*info.upright)):
        raise UserError(f"{path}: {message}: give a larger one")
    return read(path, longer)


def check(picture: image.Picture, name: Path | str) -> None:
    """Raises UserError, in which the image is called `name`, for one of one color."""
    if float(picture.on_white.flatten(2).std(2).max()) < FLAT:
        raise UserError(f"{name} is of one color: there is nothing to learn from it")


def check_opaque(picture: image.Picture, name: Path | str) -> None:
    """Raises UserError, in which the image is called `name`, for one with transparent pixels."""
    if picture.transparent:
        raise UserError(
            f"{name} has transparent pixels, whose colors are undefined: crop it, or put it on a background"
        )


def opaque(picture: image.Picture, path: Path) -> Tensor:
    """The painting of the file `path`, (1, 3, H, W), its transparent pixels white; a warning says so."""
    if picture.transparent:
        warnings.warn(f"{path} has transparent pixels, which are learned as white", stacklevel=3)
    return picture.on_white


def fingerprint(paths: Sequence[Path]) -> dict[str, Any]:
    """Names and hashes of the files."""
    return {
        "styles": [path.name for path in paths],
        "styles_sha256": [digest(path, "sha256") for path in paths],
    }
