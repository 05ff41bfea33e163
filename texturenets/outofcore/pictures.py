"""Repaint a photo that does not fit in memory: decoded into a spool, painted piece by piece, encoded as it comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from texturenets import image, large
from texturenets.api import Style
from texturenets.errors import UserError
from texturenets.outofcore.limits import Options
from texturenets.outofcore.regions import Region, Size
from texturenets.outofcore.sources import OnDisk, Resized, Source
from texturenets.outofcore.spool import Spool, choose_folder
from texturenets.stroke import ladder


def repaint(style: Style, photo: Path, result: Path, options: Options) -> None:
    """Repaint the file `photo` into the file `result`, which appears whole or not at all.

    Raises UserError for a damaged photo, a format that is not written strip by strip, and where memory or disk do
    not suffice.
    """
    source = large.Photo(photo, longer=options.size, keep_gps=options.keep_gps)
    large.output_format(result, source.size)
    if style.pieces.staged is None:
        raise UserError(
            f"{photo} does not fit in memory, and the network of {style.name} cannot be taken apart: ask for a "
            "smaller picture with --size"
        )
    beside = [result.parent] if result.parent.is_dir() else []
    folder = choose_folder(source.most_bytes, style.pieces.spool, beside)
    try:
        source.decode(folder)
        alpha = source.alpha
        with large.writing(
            result,
            source.size,
            alpha=alpha is not None and large.output_format(result, source.size) != "JPEG",
            quality=options.quality,
            exif=source.header.exif,
        ) as writer:
            bands = _Bands(source.size, writer.write, _Finish(source.rgb, alpha, options, writer.alpha))
            if options.strength == 0:
                bands.whole(source.rgb)
            else:
                _paint(style, source, bands, options, folder)
    finally:
        source.close()


def _paint(style: Style, photo: large.Photo, bands: _Bands, options: Options, folder: Path) -> None:
    """What `Style.stylize` does, with paintings on the way to larger ones in spools."""
    stages = ladder(photo.size, options.stroke)
    asked: dict[str, Any] = {"seed": options.seed, "level": options.noise_level, "folders": [folder]}
    source: Source = Resized(photo.rgb, photo.size, stages[0])
    with ExitStack() as stack:
        for number, stage in enumerate(stages):
            fine, following = number > 0, [*stages, photo.size][number + 1]
            if stage == photo.size:
                style.pieces.run(source, stage, bands.take, fine=fine, **asked)
                return
            spool = Spool(folder, 3, stage, "uint16")
            stack.callback(spool.close)

            def keep(place: Region, painted: Tensor, spool: Spool = spool) -> None:
                values = painted[0].to("cpu", torch.float32).clamp(0, 1).mul(65535).round_()
                spool.write(place, values.permute(1, 2, 0).numpy())

            style.pieces.run(source, stage, keep, fine=fine, **asked)
            source = Resized(OnDisk(spool), stage, following)
        bands.whole(source)


class _Finish:
    """Painted pieces to bytes: mixed with the photo as asked for, opacity beside or white behind them."""

    def __init__(self, photo: Source, alpha: Source | None, options: Options, beside: bool) -> None:
        self.photo, self.alpha, self.options, self.beside = photo, alpha, options, beside

    def __call__(self, place: Region, painted: Tensor) -> NDArray[np.uint8]:
        """(1, 3, height, width) at `place` to (height, width, 3 or 4)."""
        painted = painted.to("cpu", torch.float32)
        if not torch.isfinite(painted.sum()):
            raise UserError("the picture holds values that are not numbers (NaN)")
        painted = painted.clamp(0, 1)
        if self.options.preserve_color or self.options.strength != 1:
            photo = self.photo.read(place)
            if self.options.preserve_color:
                painted = image.preserve_color(painted, photo)
            painted = torch.lerp(photo, painted, self.options.strength)
        if self.alpha is not None:
            alpha = self.alpha.read(place)
            painted = torch.cat([painted, alpha], 1) if self.beside else painted * alpha + (1 - alpha)
        values: NDArray[np.uint8] = painted[0].mul(255).round_().byte().permute(1, 2, 0).contiguous().numpy()
        return values


class _Bands:
    """Puts pieces side by side until a band of rows is whole, and hands that on."""

    def __init__(self, size: Size, write: Callable[[NDArray[np.uint8]], Any], finish: _Finish) -> None:
        self.size, self.write, self.finish = size, write, finish
        self._band: NDArray[np.uint8] | None = None

    def take(self, place: Region, painted: Tensor) -> None:
        """The next piece, as `run` gives them."""
        values = self.finish(place, painted)
        if place.width == self.size[1]:
            self.write(values)
            return
        if self._band is None:
            self._band = np.empty((place.height, self.size[1], values.shape[2]), np.uint8)
        self._band[:, place.left : place.right] = values
        if place.right == self.size[1]:
            self.write(self._band)
            self._band = None

    def whole(self, picture: Source) -> None:
        """All of a picture."""
        height, width = self.size
        for top in range(0, height, 64):
            place = Region(top, min(top + 64, height), 0, width)
            self.take(place, picture.read(place))
