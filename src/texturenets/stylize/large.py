"""Stylize a photo that does not fit in memory: decoded into a spool, stylized and encoded strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texturenets import image
from texturenets.errors import UserError
from texturenets.image.sizes import whole_periods
from texturenets.memory.budget import Budget
from texturenets.stylize.memory_limits import way_out
from texturenets.stylize.mixing import Selection
from texturenets.stylize.options import StylizeOptions
from texturenets.stylize.stroke import stylization_sizes
from texturenets.stylize.style import Style
from texturenets.tiled import large_files
from texturenets.tiled.rows import Interval, Size
from texturenets.tiled.sources import InMemory, OnDisk, Resized, RowSource
from texturenets.tiled.spool import SpooledImage, choose_folder

Array = NDArray[np.float32]

_MASK_BYTES = 16
"""Bytes a pixel that each style takes while masks are put together (`regions`): four float32 maps."""


def stylize(style: Style, photo: Path, result: Path, options: StylizeOptions) -> list[str]:
    """Stylize the file `photo` strip by strip; `result` is replaced atomically.

    Returns messages about properties of the photo that the result does not keep: transparency, metadata. Raises
    UserError for a damaged photo, a format that cannot be written strip by strip, and too little memory or disk
    space.
    """
    source = large_files.LargePhoto(photo, longer=options.size, keep_gps=options.keep_gps)
    try:
        return _stylize_strips(style, source, result, options)
    except large_files.NotInStripsError as error:
        raise UserError(f"{error}, {way_out(source.header, options.size)}") from None


def _stylize_strips(
    style: Style, source: large_files.LargePhoto, result: Path, options: StylizeOptions
) -> list[str]:
    large_files.output_format(result, source.size)
    if options.masks:
        _check_masks(style, source, options.masks)
    choice, style = style.chosen(
        source.size,
        options.mix,
        options.masks,
        strength=options.strength,
        stroke=options.stroke,
        wrap=options.wrap,
    )
    _check_wrap(style, source, options, choice)
    if style.tiled.network is None:
        raise UserError(
            f"{source.path} does not fit in memory, and the network of {style.name} cannot be taken apart: ask for a "
            "smaller image with `size`"
        )
    beside = [result.parent] if result.parent.is_dir() else []
    folder = choose_folder(source.most_bytes, style.tiled.spool, beside)
    try:
        source.decode(folder)
        alpha = source.alpha
        bits = image.kept_bits(result, source.header.bits)
        metadata = large_files.Metadata(source.header.exif, source.header.dpi, source.header.texts)
        with large_files.writing(
            result,
            source.size,
            alpha=alpha is not None and large_files.output_format(result, source.size) != "JPEG",
            quality=options.quality,
            metadata=metadata,
            bits=bits,
        ) as writer:
            bands = _Bands(source.size, writer.write, _Finish(source.rgb, alpha, options, choice, writer))
            if np.max(choice.stylized) == 0:
                bands.whole(source.rgb)
            else:
                _coarse_to_fine(style, source, bands, options, choice, folder=folder)
        flat = [image.laid_on_white_message(result)] if alpha is not None and not writer.alpha else []
        return [*flat, *large_files.lost_by_format(result, metadata)]
    finally:
        source.close()


def _coarse_to_fine(
    style: Style,
    photo: large_files.LargePhoto,
    bands: _Bands,
    options: StylizeOptions,
    choice: Selection,
    *,
    folder: Path,
) -> None:
    """As `Style.stylize`, with the intermediate images of coarse-to-fine stylization in spools."""
    stages = stylization_sizes(photo.size, choice.stroke)
    arguments: dict[str, Any] = {"seed": options.seed, "level": options.noise_level, "folders": [folder]}
    source: RowSource = Resized(photo.rgb, photo.size, stages[0])
    with ExitStack() as stack:
        for number, stage in enumerate(stages):
            fine, following = number > 0, [*stages, photo.size][number + 1]
            if choice.styles is not None:
                arguments["styles"] = Resized(InMemory(choice.styles), photo.size, stage)
            if stage == photo.size:
                style.tiled.run(source, stage, bands.take, fine=fine, **arguments)
                return
            spool = SpooledImage(folder, 3, stage, "uint16")
            stack.callback(spool.close)

            def keep(rows: Interval, stylized: Array, spool: SpooledImage = spool) -> None:
                spool.write(rows, np.rint(stylized[0].transpose(1, 2, 0).clip(0, 1) * 65535))

            style.tiled.run(source, stage, keep, fine=fine, **arguments)
            source = Resized(OnDisk(spool), stage, following)
        bands.whole(source)


def _check_masks(style: Style, photo: large_files.LargePhoto, masks: Mapping[str, Any]) -> None:
    """Raise UserError if the masks do not fit in memory: they are not processed in strips."""
    budget = Budget.of(style.tiled.memory)
    needed = _MASK_BYTES * (len(masks) + 1) * photo.size[0] * photo.size[1]
    if needed > budget.left():
        raise UserError(
            f"{photo.path} does not fit in memory, and neither do its masks, which take {budget.needed(needed)}: ask "
            "for a smaller image with `size`"
        )


def _check_wrap(
    style: Style, photo: large_files.LargePhoto, options: StylizeOptions, choice: Selection
) -> None:
    """Raise UserError for a photo that wraps around and would have to be resampled, which is not possible in
    strips."""
    wrap, stride = options.wrap, style.engine.io_spec.stride
    resampled = options.size is not None or len(stylization_sizes(photo.size, choice.stroke)) > 1
    if wrap and (resampled or whole_periods(photo.size, stride, wrap) != photo.size):
        height, width = photo.size
        raise UserError(
            f"{photo.path} does not fit in memory, and of such photos `wrap` {wrap} takes only those whose "
            f"sides are multiples of {stride}, without `size` and `stroke`: this one has {width} x {height} pixels"
        )


class _Finish:
    """Converts stylized strips to what `writer` writes: blended with the photo by the options, with alpha or on
    white."""

    def __init__(
        self,
        photo: RowSource,
        alpha: RowSource | None,
        options: StylizeOptions,
        choice: Selection,
        writer: large_files.StripWriter,
    ) -> None:
        self.photo, self.alpha, self.options, self.choice, self.writer = photo, alpha, options, choice, writer

    def __call__(self, rows: Interval, stylized: Array) -> NDArray[Any]:
        """(1, 3, height, W) at `rows` to (height, W, 3 or 4)."""
        share = self.choice.stylized
        if not isinstance(share, float):
            share = share[:, :, rows[0] : rows[1]]
        if self.options.preserve_color or np.min(share) != 1:
            stylized, photo = stylized.clip(0, 1), self.photo.read(rows)
            if self.options.preserve_color:
                stylized = image.preserve_color(stylized, photo)
            stylized = photo + np.asarray(share, np.float32) * (stylized - photo)
        if self.alpha is not None:
            stylized, alpha = stylized.clip(0, 1), self.alpha.read(rows)
            stylized = (
                np.concatenate([stylized, alpha], 1) if self.writer.alpha else stylized * alpha + (1 - alpha)
            )
        return image.as_integers(stylized, self.writer.bits)


class _Bands:
    """Passes the image's strips on as samples of the file."""

    def __init__(self, size: Size, write: Callable[[NDArray[Any]], Any], finish: _Finish) -> None:
        self.size, self.write, self.finish = size, write, finish

    def take(self, rows: Interval, stylized: Array) -> None:
        """The next strip, as `run` gives them."""
        self.write(self.finish(rows, stylized))

    def whole(self, picture: RowSource) -> None:
        """All of an image."""
        for top in range(0, self.size[0], 64):
            rows = top, min(top + 64, self.size[0])
            self.take(rows, picture.read(rows))
