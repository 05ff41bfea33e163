"""Images larger than memory, read and written strip by strip."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets import image
from texturenets.errors import UserError, cannot_write, install, reason
from texturenets.files import atomic_write, remove_stale
from texturenets.image.picture import Picture
from texturenets.image.sizes import fit_longer
from texturenets.image.streams import PNGStream, TIFFStream
from texturenets.image.writing import png_metadata
from texturenets.tiled.rows import Interval, Size
from texturenets.tiled.sources import OnDisk
from texturenets.tiled.spool import SpooledImage

WRITTEN: Final = ("JPEG", "PNG", "TIFF")
"""Formats that can be written strip by strip; the encoders of the others need the whole image in memory."""

_STRIP: Final = 16 * 2**20  # bytes read at a time
_BUFFER: Final = 64 * 2**20  # maximum bytes that wait for the encoder
_LONGEST: Final = {"JPEG": 65500, "PNG": 2**31 - 1, "TIFF": 2**31 - 1}  # pixels; libjpeg's JPEG_MAX_DIMENSION


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
    return reason(error)[-300:]


def _rgb_of_inks(source: Any) -> Any:
    """CMYK without a profile as sRGB, as `image.read` has it: libvips has a profile of its own."""
    most = 65535 if source.format == "ushort" else 255
    rgb = (most - source[:3]) * (most - source[3]) / most
    return rgb.rint().cast(source.format).copy(interpretation="rgb16" if most > 255 else "srgb")


class _GrowingImage(SpooledImage):
    """An image that one thread writes from the top while others read it: they wait for their rows."""

    def __init__(self, folder: Path, channels: int, size: Size, kind: str) -> None:
        super().__init__(folder, channels, size, kind)
        # Now, so that others who ask what is free do not count on it.
        self.reserved = self.file.reserve(size[0] * size[1] * channels * self.type.itemsize)
        self._changed = threading.Condition()
        self._written = 0
        self._error: Exception | None = None

    @property
    def stopped(self) -> bool:
        """Whether nobody reads any more."""
        return self._error is not None

    def stop(self) -> None:
        """As `SpooledImage.stop`: reads that wait raise UserError."""
        self.fail(UserError("the photo is no longer needed"))

    def write(self, rows: Interval, values: NDArray[Any]) -> None:
        """As `SpooledImage.write`, of the rows after the last ones."""
        super().write(rows, values)
        with self._changed:
            self._written = rows[1]
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """No more rows will come: reading raises `error`."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def read(self, rows: Interval, columns: Interval | None = None) -> NDArray[Any]:
        """As `SpooledImage.read`, as soon as `rows` are there. Raises what the writer failed with."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._written >= rows[1])
            if self._error is not None:
                raise self._error
        return super().read(rows, columns)


class LargePhoto:
    """A photo that is decoded to a file on disk (the spool) and read from there strip by strip.

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
        self._spool: _GrowingImage | None = None
        self._thread: threading.Thread | None = None

    @property
    def most_bytes(self) -> int:
        """Maximum number of bytes that `decode` writes: four channels of 16 bits."""
        return 8 * self.stored[0] * self.stored[1]

    def decode(self, folder: Path) -> None:
        """Decode the photo to a temporary file in `folder`, in a thread of its own: `rgb` and `alpha` wait for the
        rows that they read, and raise UserError for a damaged photo.
        """
        pyvips = vips()
        try:
            source = self._srgb(pyvips)
        except pyvips.Error as error:  # its header was read: a format or colours that libvips does not know
            raise NotInStripsError(f"{self.path} cannot be read strip by strip ({_reason(error)})") from None
        kind = "uint16" if source.format == "ushort" else "uint8"
        self._spool = _GrowingImage(folder, source.bands, self.stored, kind)
        self._thread = threading.Thread(
            target=self._decode, args=(pyvips, source, self._spool), name="texturenets-decode", daemon=True
        )
        self._thread.start()
        if not self._spool.reserved:  # else it would be counted as free when the feature maps get their place
            self._thread.join()

    def _decode(self, pyvips: Any, source: Any, spool: _GrowingImage) -> None:
        height, width = self.stored
        rows = max(1, _STRIP // (width * source.bands * spool.type.itemsize))
        try:
            region = pyvips.Region.new(source)
            for top in range(0, height, rows):
                if spool.stopped:
                    return
                count = min(rows, height - top)
                raw = region.fetch(0, top, width, count)
                strip = np.frombuffer(raw, spool.type).reshape(count, width, source.bands)
                spool.write((top, top + count), strip)
        except pyvips.Error as error:
            spool.fail(UserError(f"{self.path} is damaged or cut short: {_reason(error)}"))
        except Exception as error:  # noqa: BLE001  `read` raises it in the threads that wait
            spool.fail(error)

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
        """Stop decoding and delete the temporary file."""
        if self._spool is not None:
            self._spool.stop()
        if self._thread is not None:
            self._thread.join()
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
    found = image.metadata_lost_by_format(path, metadata.exif, metadata.texts)
    if image.output_format(path) == "JPEG" and "Comment" in metadata.texts:
        found.append(f"a comment, which is not kept in strips in {path.suffix}")
    return found


class _Rows:
    """Rows of pixels on their way from one thread to another: `put` blocks while more than `_BUFFER` bytes wait."""

    def __init__(self) -> None:
        self._queue: deque[NDArray[Any]] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def put(self, rows: NDArray[Any]) -> None:
        """Append `rows`; blocks while too many wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or sum(r.nbytes for r in self._queue) < _BUFFER)
            if not self._ended:
                self._queue.append(rows)
            self._changed.notify_all()

    def end(self) -> None:
        """No more rows will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def discard(self) -> None:
        """Drop the rows that wait, from either side, and take no more: `put` no longer blocks."""
        with self._changed:
            self._ended = True
            self._queue.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[NDArray[Any]]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue) or self._ended)
                if not self._queue:
                    return
                rows = self._queue.popleft()
                self._changed.notify_all()
            yield rows


class StripWriter:
    """Writes an image strip by strip, from the top, in a separate thread; JPEG with libvips.

    `part`: the file to write, which becomes `path`; `name`: its format; `size` (H, W). `bits`: per channel, 8 or 16;
    JPEG has 8. `quality`: 1 to 100, for JPEG. The file is complete after `finish`.
    """

    def __init__(
        self,
        path: Path,
        part: Path,
        name: str,
        size: Size,
        *,
        alpha: bool,
        bits: int,
        quality: int | None,
        metadata: Metadata,
    ) -> None:
        self._vips = vips() if name == "JPEG" else None
        self._path, self._part, self._name, self._size = path, part, name, size
        self.alpha, self.bits, self._quality, self._metadata = alpha, bits, quality, metadata
        self._rows, self._count = _Rows(), 0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._encode, name="texturenets-encode", daemon=True)
        self._thread.start()

    def write(self, rows: NDArray[Any]) -> None:
        """Write the next rows, uint8 or uint16 (rows, W, 3), or (rows, W, 4) with alpha. Raises UserError as `finish`
        does."""
        self._rows.put(rows)
        if self._error is not None:
            self.finish()

    def finish(self) -> None:
        """Wait until the file is complete. Raises UserError if it cannot be written."""
        self._rows.end()
        self._thread.join()
        if isinstance(self._error, OSError):
            raise cannot_write(self._path, self._error) from self._error
        if self._error is not None:
            raise UserError(f"cannot write {self._path}: {_reason(self._error)}") from self._error

    def abandon(self) -> None:
        """Stop writing: the file is not complete."""
        self._rows.discard()
        self._thread.join()

    def _encode(self) -> None:
        try:
            encode = {"JPEG": self._jpeg, "PNG": self._png, "TIFF": self._tiff}[self._name]
            encode()
        except Exception as error:  # noqa: BLE001  `finish` raises it in the caller's thread
            self._error = error
        finally:
            self._rows.discard()

    @property
    def _channels(self) -> int:
        return 4 if self.alpha else 3

    def _arriving(self) -> Iterator[NDArray[Any]]:
        """All rows. Raises ValueError if there are fewer than the image has."""
        for rows in self._rows:
            self._count += len(rows)
            yield rows
        if self._count != self._size[0]:
            raise ValueError(f"{self._count} of {self._size[0]} rows")

    def _png(self) -> None:
        meta = self._metadata
        like = Picture(np.zeros((1, 3, 1, 1), np.float32), dpi=meta.dpi, texts=meta.texts)
        stream = PNGStream(self._size, self._channels, self.bits, metadata=png_metadata(like, meta.exif))
        with self._part.open("wb") as file:
            file.write(stream.start)
            for rows in self._arriving():
                file.write(stream.rows(rows))
            file.write(stream.end())

    def _tiff(self) -> None:
        meta, profile = self._metadata, image.srgb_profile()
        with self._part.open("wb") as file:
            stream = TIFFStream(
                file,
                self._size,
                self._channels,
                f"uint{self.bits}",
                exif=meta.exif,
                dpi=meta.dpi,
                profile=profile,
            )
            for rows in self._arriving():
                stream.write(rows)
            stream.finish()

    def _jpeg(self) -> None:
        """libvips reads the image as a PNG: the only format that every build of it reads as a stream, at any size."""
        waiting, pieces = memoryview(b""), self._plain_png()
        failed: list[Exception] = []

        def read(size: int) -> bytes:
            nonlocal waiting
            try:
                waiting = waiting or memoryview(next(pieces, b""))
            except Exception as error:  # noqa: BLE001  raised below: here libvips would print it, and go on
                failed.append(error)
            part, waiting = waiting[:size], waiting[size:]
            return bytes(part)

        try:
            self._save_jpeg(read)
            for _ in pieces:  # libvips stops at the last row
                pass
        except Exception:
            if failed:
                raise failed[0] from None
            raise

    def _save_jpeg(self, read: Callable[[int], bytes]) -> None:
        """Encode what `read` gives, the bytes of a PNG."""
        assert self._vips is not None
        source = self._vips.SourceCustom()
        source.on_read(read)
        output = self._vips.Image.new_from_source(
            source, "", access="sequential", fail_on="error", unlimited=True
        ).copy(interpretation="srgb")
        kept, blob = self._vips.enums.ForeignKeep, self._vips.GValue.blob_type
        output.set_type(blob, "icc-profile-data", image.srgb_profile())
        keep = kept.ICC
        if self._metadata.exif is not None:
            output.set_type(blob, "exif-data", self._metadata.exif)
        if self._metadata.dpi is not None:
            across, down = self._metadata.dpi
            output = output.copy(xres=across / 25.4, yres=down / 25.4)  # libvips counts pixels a millimetre
        # Without either libvips would make EXIF, and 72 dpi, of its own.
        if self._metadata.exif is not None or self._metadata.dpi is not None:
            keep |= kept.EXIF
        quality = self._quality or image.JPEG_QUALITY
        output.jpegsave(str(self._part), Q=quality, subsample_mode="off", keep=keep)

    def _plain_png(self) -> Iterator[bytes]:
        stream = PNGStream(self._size, self._channels, plain=True)
        yield stream.start
        for rows in self._arriving():
            yield stream.rows(rows)
        yield stream.end()


@contextmanager
def writing(
    path: Path,
    size: Size,
    *,
    alpha: bool = False,
    bits: int = 8,
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
        metadata = metadata or Metadata()
        writer = StripWriter(
            path, part, name, size, alpha=alpha, bits=bits, quality=quality, metadata=metadata
        )
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise
        writer.finish()
