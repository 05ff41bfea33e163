"""Images larger than memory, read and written strip by strip through libvips."""

from __future__ import annotations

import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets import image
from texturenets.errors import UserError, install
from texturenets.files import atomic_write, remove_stale
from texturenets.image.high_bit_depth import png_chunk
from texturenets.image.sizes import fit_longer
from texturenets.tiled.rows import Size
from texturenets.tiled.sources import OnDisk
from texturenets.tiled.spool import SpooledImage

WRITTEN: Final = ("JPEG", "PNG", "TIFF")
"""Formats that can be written strip by strip; the encoders of the others need the whole image in memory."""

_STRIP: Final = 16 * 2**20  # bytes read at a time
_BUFFER: Final = 64 * 2**20  # maximum bytes that wait for the encoder
_LONGEST: Final = {"JPEG": 65500, "PNG": 2**31 - 1, "TIFF": 2**31 - 1}  # pixels; libjpeg's JPEG_MAX_DIMENSION
_BIG: Final = 4 * 10**9 - 10**8  # bytes beyond which a TIFF needs the offsets of BigTIFF


class NotInStripsError(UserError):
    """Raised for formats whose images must fit in memory; without libvips for all."""


def vips() -> Any:
    """The module pyvips. Raises UserError if it is not installed."""
    try:
        import pyvips
    except (ImportError, OSError):
        raise NotInStripsError(
            "this image is too large to be held in memory, and libvips, which reads it strip by strip, is not "
            f"here: {install('large')}, or ask for less with `size`"
        ) from None
    pyvips.cache_set_max(0)  # no operation is repeated, so its result cache only takes memory
    return pyvips


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[-300:]


def _rgb_of_inks(source: Any) -> Any:
    """CMYK without a profile as sRGB, as `image.read` has it: libvips has a profile of its own."""
    most = 65535 if source.format == "ushort" else 255
    rgb = (most - source[:3]) * (most - source[3]) / most
    return rgb.rint().cast(source.format).copy(interpretation="rgb16" if most > 255 else "srgb")


class LargePhoto:
    """A photo decoded to a file on disk (the spool) and read from there strip by strip.

    `size` (H, W): upright and resized. `header`: format, orientation and metadata. `decode` must be called before
    `rgb` (1, 3, H, W) and `alpha` (1, 1, H, W, or None) are read: rows of float32 in [0, 1]. `longer`: the longer
    side in pixels, None keeps the size. Raises UserError for a file that cannot be read.
    """

    def __init__(self, path: Path, *, longer: int | None = None, keep_gps: bool = False) -> None:
        header = image.read_header(path, keep_gps=keep_gps)
        if header is None:
            image.read(path)  # raises the error with the reason
            raise UserError(f"cannot read {path} strip by strip")
        self.path, self.header = path, header
        self.stored = header.size if longer is None else fit_longer(header.size, longer)
        self.size: Size = self.stored if header.orientation < 5 else (self.stored[1], self.stored[0])
        self._spool: SpooledImage | None = None

    @property
    def most_bytes(self) -> int:
        """Maximum number of bytes that `decode` writes: four channels of 16 bits."""
        return 8 * self.stored[0] * self.stored[1]

    def decode(self, folder: Path, progress: Callable[[float], None] = lambda _: None) -> None:
        """Decode the photo to a temporary file in `folder`; `progress` gets the share done, 0 to 1.

        Raises UserError for a damaged photo.
        """
        pyvips = vips()
        try:
            source = self._srgb(pyvips)
        except pyvips.Error as error:  # its header was read: a format or colours that libvips does not know
            raise NotInStripsError(f"{self.path} cannot be read strip by strip ({_reason(error)})") from None
        try:
            kind = "uint16" if source.format == "ushort" else "uint8"
            height, width = self.stored
            self._spool = SpooledImage(folder, source.bands, self.stored, kind)
            region = pyvips.Region.new(source)
            rows = max(1, _STRIP // (width * source.bands * self._spool.type.itemsize))
            for top in range(0, height, rows):
                count = min(rows, height - top)
                raw = region.fetch(0, top, width, count)
                strip = np.frombuffer(raw, self._spool.type).reshape(count, width, source.bands)
                self._spool.write((top, top + count), strip)
                progress((top + count) / height)
        except pyvips.Error as error:
            raise UserError(f"{self.path} is damaged or cut short: {_reason(error)}") from None

    def _srgb(self, pyvips: Any) -> Any:
        """The photo in sRGB, 8 or 16 bits, with or without alpha, resized to `stored`; not yet turned upright."""
        access = "random" if self._enlarged else "sequential"
        source = pyvips.Image.new_from_file(str(self.path), access=access, fail_on="error")
        if source.format not in ("uchar", "ushort"):
            raise UserError(
                f"cannot use {self.path}: its samples are {source.format}; save it as 8 or 16 bits"
            )
        deep = source.format == "ushort"
        space = "rgb16" if deep else "srgb"
        if source.get_typeof("icc-profile-data"):
            try:
                source = source.icc_transform(
                    "srgb",
                    embedded=True,
                    intent="relative",
                    black_point_compensation=True,
                    depth=16 if deep else 8,
                )
            except pyvips.Error:  # an image with a damaged profile is shown as sRGB, as viewers do
                source = source.colourspace(space)
        elif source.interpretation == "cmyk":
            source = _rgb_of_inks(source)
        else:
            source = source.colourspace(space)
        return self._resized(pyvips, source)

    def _resized(self, pyvips: Any, source: Any) -> Any:
        """`source` resized to `stored`, with premultiplied alpha: colours of transparent pixels do not bleed."""
        height, width = self.stored
        if (source.height, source.width) == self.stored:
            return source
        kind, alpha = source.format, source.hasalpha()
        source = source.premultiply() if alpha else source
        across, down = width / source.width, height / source.height
        if self._enlarged:
            source = source.affine(
                [across, 0, 0, down],
                interpolate=pyvips.Interpolate.new("bicubic"),
                odx=(across - 1) / 2,  # aligns pixel centres, not corners (align_corners=False)
                ody=(down - 1) / 2,
                oarea=[0, 0, width, height],
                extend="copy",
            )
        else:
            source = source.resize(across, vscale=down, kernel="lanczos3")
        return source.unpremultiply().cast(kind) if alpha else source

    @property
    def _enlarged(self) -> bool:
        return max(self.stored) > max(self.header.size)

    @property
    def rgb(self) -> OnDisk:
        """RGB (1, 3, H, W), float32 in [0, 1]. Only after `decode`."""
        assert self._spool is not None
        return OnDisk(self._spool, self.header.orientation, slice(0, 3))

    @property
    def alpha(self) -> OnDisk | None:
        """Alpha (1, 1, H, W), float32 in [0, 1]; None if the photo has none. Only after `decode`."""
        assert self._spool is not None
        if self._spool.channels < 4:
            return None
        return OnDisk(self._spool, self.header.orientation, slice(3, 4))

    def close(self) -> None:
        """Delete the temporary file."""
        if self._spool is not None:
            self._spool.close()


def output_format(path: Path, size: Size) -> str:
    """The format for an image of `size` (H, W) at `path`, by the suffix; checked before the network runs.

    Raises UserError if the format cannot be written strip by strip, or cannot hold this size.
    """
    name = image.output_format(path)
    if name not in WRITTEN:
        raise NotInStripsError(
            f"cannot write {path}: an image of {size[1]} x {size[0]} pixels does not fit in memory, and {name} is "
            "not written strip by strip; use .jpg, .png or .tif"
        )
    if max(size) > _LONGEST[name]:
        raise UserError(
            f"{name} holds at most {_LONGEST[name]} pixels per side, not {max(size)}; use .png or .tif"
        )
    return name


@dataclass(frozen=True)
class Metadata:
    """Metadata written in addition to pixels and profile; fields as in `image.Picture`."""

    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


def lost_by_format(path: Path, metadata: Metadata) -> list[str]:
    """Messages about the parts of `metadata` that the file `path`, written strip by strip, cannot hold."""
    name = image.output_format(path)
    found = image.metadata_lost_by_format(path, metadata.exif, metadata.texts)
    if name == "TIFF" and metadata.exif is not None:
        found.append(f"EXIF, which is not kept in strips in {path.suffix}")
    if name == "JPEG" and "Comment" in metadata.texts:
        found.append(f"a comment, which is not kept in strips in {path.suffix}")
    others = [key for key, text in metadata.texts.items() if not (key + text).isascii()]
    return found + [
        f"the text {key}, which is not kept in strips: it is not ASCII" for key in others if name == "PNG"
    ]


class _Pipe:
    """A byte queue between two threads: `put` blocks while more than `_BUFFER` bytes wait."""

    def __init__(self) -> None:
        self._queue: deque[memoryview] = deque()
        self._waiting = 0
        self._ended = False
        self._changed = threading.Condition()

    def put(self, data: bytes) -> None:
        """Append `data`; blocks while the queue is full."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._waiting < _BUFFER)
            self._queue.append(memoryview(data))
            self._waiting += len(data)
            self._changed.notify_all()

    def end(self) -> None:
        """Close the queue, from either side: `get` returns b"" once it is empty, `put` no longer blocks."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def get(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._queue) or self._ended)
            if not self._queue:
                return b""
            part = self._queue.popleft()
            if len(part) > size:
                self._queue.appendleft(part[size:])
            self._waiting -= min(size, len(part))
            self._changed.notify_all()
            return bytes(part[:size])


class _PNGStream:
    """Encodes rows of pixels as an uncompressed PNG, as input for libvips.

    PNG is the only format that every build of libvips reads as a stream, at any size, with and without alpha (PNG,
    second edition, sections 5 and 11.2).
    """

    def __init__(self, size: Size, channels: int) -> None:
        self._deflate = zlib.compressobj(0)
        kind = 6 if channels == 4 else 2
        header = struct.pack(">IIBBBBB", size[1], size[0], 8, kind, 0, 0, 0)
        self.start = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)

    def rows(self, values: NDArray[np.uint8]) -> bytes:
        """The PNG chunk of the next rows, uint8 (rows, W, channels)."""
        height, width, channels = values.shape
        # The first byte of a row is its filter type: 0, none.
        lines = np.zeros((height, 1 + width * channels), np.uint8)
        lines[:, 1:] = values.reshape(height, -1)
        return png_chunk(b"IDAT", self._deflate.compress(lines.tobytes()))

    def end(self) -> bytes:
        """The chunks after the last row."""
        return png_chunk(b"IDAT", self._deflate.flush()) + png_chunk(b"IEND", b"")


class StripWriter:
    """Writes an image strip by strip, from the top, with libvips in a separate thread.

    `part`: the file to write, `name`: its format, `size` (H, W). `quality`: 1 to 100, for JPEG. The file is complete
    after `finish`.
    """

    def __init__(
        self, part: Path, name: str, size: Size, *, alpha: bool, quality: int | None, metadata: Metadata
    ) -> None:
        self._vips = vips()
        self._part, self._name, self._size = part, name, size
        self.alpha, self._quality, self._metadata = alpha, quality, metadata
        self._pipe, self._stream = _Pipe(), _PNGStream(size, 4 if alpha else 3)
        self._pipe.put(self._stream.start)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._encode, name="texturenets-encode", daemon=True)
        self._thread.start()

    def write(self, rows: NDArray[np.uint8]) -> None:
        """Write the next rows, uint8 (rows, W, 3), or (rows, W, 4) with alpha. Raises UserError as `finish` does."""
        self._pipe.put(self._stream.rows(rows))
        if self._error is not None:
            self.finish()

    def finish(self) -> None:
        """Wait until the file is complete. Raises UserError if the encoder failed."""
        self._pipe.put(self._stream.end())
        self._pipe.end()
        self._thread.join()
        if self._error is not None:
            raise UserError(f"cannot write {self._name}: {_reason(self._error)}") from self._error

    def abandon(self) -> None:
        """Stop the encoder; the file is not complete."""
        self._pipe.end()
        self._thread.join()

    def _encode(self) -> None:
        try:
            source = self._vips.SourceCustom()
            source.on_read(self._pipe.get)
            output = self._vips.Image.new_from_source(
                source, "", access="sequential", fail_on="error", unlimited=True
            )
            output = output.copy(interpretation="srgb")
            blob = self._vips.GValue.blob_type
            output.set_type(blob, "icc-profile-data", image.srgb_profile())
            self._save(self._with_metadata(output), str(self._part))
        except Exception as error:  # noqa: BLE001  `finish` raises it in the caller's thread
            self._error = error
        finally:
            self._pipe.end()

    def _with_metadata(self, output: Any) -> Any:
        """`output`, a copy of this writer's own, with EXIF, resolution and texts as far as the format holds them."""
        if self._metadata.exif is not None:
            output.set_type(self._vips.GValue.blob_type, "exif-data", self._metadata.exif)
        if self._metadata.dpi is not None:
            across, down = self._metadata.dpi
            output = output.copy(xres=across / 25.4, yres=down / 25.4)  # libvips counts pixels a millimetre
        for number, (key, text) in enumerate(self._metadata.texts.items()):
            # libvips writes tEXt, which is Latin-1, as UTF-8; and no comments of JPEGs.
            if self._name == "PNG" and (key + text).isascii():
                output.set_type(self._vips.GValue.gstr_type, f"png-comment-{number}-{key}", text)
        return output

    def _save(self, output: Any, path: str) -> None:
        kept, metadata = self._vips.enums.ForeignKeep, self._metadata
        keep = kept.ICC | kept.OTHER
        # Without either libvips would make EXIF, and 72 dpi, of its own.
        if metadata.exif is not None or metadata.dpi is not None:
            keep |= kept.EXIF
        if self._name == "JPEG":
            quality = self._quality or image.JPEG_QUALITY
            output.jpegsave(path, Q=quality, subsample_mode="off", keep=keep)
        elif self._name == "PNG":
            output.pngsave(path, compression=6, filter="sub", keep=keep)
        else:
            big = self._size[0] * self._size[1] * output.bands > _BIG
            output.tiffsave(path, compression="deflate", predictor="horizontal", bigtiff=big)


@contextmanager
def writing(
    path: Path,
    size: Size,
    *,
    alpha: bool = False,
    quality: int | None = None,
    metadata: Metadata | None = None,
) -> Iterator[StripWriter]:
    """A writer for an image of `size` (H, W), which replaces `path` atomically when the block ends without an error.

    Removes temporary files that a killed run left next to `path`. Raises UserError as `output_format` does, and if
    the file cannot be written.
    """
    name = output_format(path, size)
    remove_stale(path)
    with atomic_write(path) as part:
        writer = StripWriter(part, name, size, alpha=alpha, quality=quality, metadata=metadata or Metadata())
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise
        writer.finish()
