"""The images that `texturenets optimize` works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from texturenets import image
from texturenets.cli.common import picture_size, warn
from texturenets.errors import UserError
from texturenets.image import luminance
from texturenets.image.operations import check_fits
from texturenets.image.sizes import fit_longer
from texturenets.optimization import match_color, match_luminance, scale_sizes, white_noise
from texturenets.train.configuration import StyleConfig
from texturenets.train.style_images import opaque

DEFAULT_MAX_SIDE = 512  # longer side if --size is not given: minutes, not hours, on a CPU


@dataclass
class OptimizeInputs:
    """Images (1, 3, H, W) for `synthesize`, and the conversion of its result to the image that is written."""

    styles: list[Tensor]
    photo: Tensor | None
    start: Tensor
    size: tuple[int, int]
    result: image.Picture
    finish: Callable[[Tensor], Tensor]


def prepare(
    run: StyleConfig,
    style: Sequence[Path],
    content: Path | None,
    *,
    size: str | None,
    style_size: int | None,
    start: str | None,
    scales: int,
    preserve_color: str | None,
    out: Path,
) -> OptimizeInputs:
    """Read the input images of the command; `out`: the file of the result. Raises UserError for one that cannot be
    read or is too small, and for options that want a photo without one."""
    if preserve_color and content is None:
        raise UserError("--preserve-color keeps the colours of a photo: give one with --content")
    if start == "photo" and content is None:
        raise UserError("--start photo wants a photo: give one with --content")
    if style_size is None:
        style_size = run.style_size if content else 0
    styles = [opaque(_style(path, style_size or None), path) for path in style]
    source = image.read(content) if content else None
    for what in image.lost_by_stylizing(source, image.kept_bits(out, source.bits)) if source else ():
        warn(f"note: {content} holds {what}")
    original = source.size if source else (int(styles[0].shape[2]), int(styles[0].shape[3]))
    here = _size(size, original, keep=source is not None)
    check_fits(3, here)
    resized = image.resize_picture(source, here) if source else None
    photo = resized.rgb if resized else None
    result = resized or image.Picture(styles[0])

    colors, grey = photo, preserve_color == "luminance"
    if preserve_color and photo is not None:
        match = match_luminance if grey else match_color
        styles = [match(one, photo) for one in styles]
    if grey and photo is not None:
        photo = _grey(photo).contiguous()

    if start == "noise" or (start is None and photo is None):
        begin = white_noise(run.seed, scale_sizes(here, scales)[0])
    elif start is None or start == "photo":
        assert photo is not None
        begin = photo
    else:
        begin = image.read(start).rgb
        begin = _grey(begin) if grey else begin

    def finish(picture: Tensor) -> Tensor:
        picture = image.resize(picture, here)  # result of a coarse scale
        return image.preserve_color(picture, colors) if grey and colors is not None else picture

    return OptimizeInputs(styles, photo, begin, here, result, finish)


def _style(path: Path, longer: int | None) -> image.Picture:
    """The image at `path`, and a word where it is the first of several."""
    picture = image.read(path, longer=longer)
    if picture.several:
        warn(f"note: {path} holds several images, of which the first is taken")
    return picture


def _grey(picture: Tensor) -> Tensor:
    return luminance(picture).clamp(0, 1).expand(-1, 3, -1, -1)


def _size(text: str | None, original: tuple[int, int], *, keep: bool) -> tuple[int, int]:
    """(H, W) for `--size`; with `keep`, in the aspect ratio of the image's size `original`."""
    if text is None:
        return fit_longer(original, min(max(original), DEFAULT_MAX_SIDE))
    requested = picture_size(text)
    if not keep:
        return requested
    if "x" in text.lower():
        raise UserError(f"--size {text}: the photo keeps its shape; give only its longer side")
    return fit_longer(original, requested[1])
