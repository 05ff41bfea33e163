"""From photo to file: read, stylize, write. Shared by the command line, clusters and the service."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from texturenets import image
from texturenets.arrays import to_numpy
from texturenets.errors import naming
from texturenets.files import check_unprotected
from texturenets.image import Picture
from texturenets.image.sizes import fit_longer
from texturenets.stylize import memory_limits
from texturenets.stylize.options import StylizeOptions
from texturenets.stylize.style import Style

PathPair = tuple[Path, Path]
"""A photo and its result."""


def stylize_picture(style: Style, picture: Picture, options: StylizeOptions) -> Picture:
    """Stylize `picture` in place: only its pixels change, not transparency and EXIF. Raises UserError as
    `Style.stylize`."""
    picture.pixels = style.stylize(to_numpy(picture.pixels), **options.stylize_arguments)
    return picture


def from_bytes(data: bytes, name: str, options: StylizeOptions, max_pixels: int) -> Picture:
    """Decode the photo in the bytes of a file, at the requested size; errors call it `name`. Raises UserError as
    `image.read`."""
    longer = None if options.wrap else options.size
    picture = image.from_bytes(data, name, longer=longer, max_pixels=max_pixels)
    if options.wrap and options.size is not None:
        picture = image.resize_picture(picture, fit_longer(picture.size, options.size), options.wrap)
    return picture


class Pipeline:
    """Stylizes image files in three steps (read, stylize, write), which `overlap.overlapped` runs in parallel.

    `options`: the options of each result, by its path. Consecutive jobs with the same photo read it once.
    `note(photo, what)` is called for each property that a result does not keep, such as EXIF or bit depth; `what`
    completes "PHOTO holds ...".
    """

    def __init__(
        self,
        style: Style,
        options: Mapping[Path, StylizeOptions],
        note: Callable[[Path, str], None] = lambda *_: None,
    ) -> None:
        self.style, self.options, self.note = style, options, note
        self._read_cached = functools.lru_cache(maxsize=1)(image.read)

    def read(self, job: PathPair) -> Picture | None:
        """Read the photo of a job; None for a photo larger than memory. Raises UserError if it cannot be read, or the
        result is write-protected."""
        photo, result = job
        check_unprotected(result)
        options = self.options[result]
        if memory_limits.too_large(self.style, photo, options.size):
            return None
        longer = None if options.wrap else options.size
        picture = copy.copy(self._read_cached(photo, longer=longer, keep_gps=options.keep_gps))
        if options.wrap and options.size is not None:
            picture = image.resize_picture(picture, fit_longer(picture.size, options.size), options.wrap)
        self._note_losses(photo, picture, image.kept_bits(result, picture.bits))
        return picture

    def stylize(self, job: PathPair, picture: Picture | None) -> Picture | None:
        """Stylize the photo. A photo larger than memory is written strip by strip at once, and None returned.

        Raises UserError, which names the photo, as `Style.stylize` and `large.stylize`.
        """
        photo, result = job
        options = self.options[result]
        if picture is not None:
            with naming(photo):
                return stylize_picture(self.style, picture, options)
        from texturenets.stylize import large

        with naming(photo):
            for what in large.stylize(self.style, photo, result, options):
                self.note(photo, what)
        if header := image.read_header(photo):
            self._note_losses(photo, header, image.kept_bits(result, header.bits))
        return None

    def write(self, job: PathPair, picture: Picture | None) -> None:
        """Write the result, unless it is already written. Raises UserError if it cannot be written."""
        if picture is not None:
            image.write(job[1], picture, quality=self.options[job[1]].quality)
            for what in image.lost_by_format(job[1], picture):
                self.note(job[0], what)

    def _note_losses(self, photo: Path, source: Picture | image.ImageInfo, bits: int) -> None:
        """Call `note` for each property that is lost by reading `source` and by writing it with `bits` bits per
        channel."""
        for what in image.lost_by_stylizing(source, bits):
            self.note(photo, what)
