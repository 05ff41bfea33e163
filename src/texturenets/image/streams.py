"""PNG and TIFF files written from the top, some rows at a time: images larger than memory, and those of more than 8
bits per channel, whose color Pillow writes only with 8."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

Size = tuple[int, int]

_STRIP: Final = 2**18  # bytes of a TIFF's strip before it is compressed
MAX_TIFF: Final = 4 * 10**9 - 10**8
"""Bytes beyond which a TIFF needs the offsets of BigTIFF."""
_LONG, _LONG8 = 4, 16  # types of offsets: 32 bits, and 64 in BigTIFF

_STRUCTURE: Final = frozenset(
    (*range(254, 260), 262, 266, 273, *range(277, 280), 284, 317, 320, *range(322, 326), 330, 338, 339, 347)
)
"""Tags that say how a TIFF's pixels are stored (sections 8, 14, 15, 18, technical notes 1 and 2): those of another
file do not hold."""

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def _deflater() -> Any:
    """Compresses without a search for repeats, which paintings hardly have: 2 % smaller, three to five times as fast
    (8 and 16 bits, floats; eight styles and textures)."""
    return zlib.compressobj(strategy=zlib.Z_RLE)


def _chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG (section 5.3): length, type, data, checksum."""
    return b"".join([len(data).to_bytes(4), kind, data, zlib.crc32(data, zlib.crc32(kind)).to_bytes(4)])


def other_chunks(png: bytes) -> bytes:
    """All chunks of a PNG but its header, its pixels and its end."""
    place, found = len(PNG_SIGNATURE), []
    while place < len(png):
        end = place + 12 + int.from_bytes(png[place : place + 4])
        if png[place + 4 : place + 8] not in (b"IHDR", b"IDAT", b"IEND"):
            found.append(png[place:end])
        place = end
    return b"".join(found)


class PNGStream:
    """The bytes of a PNG (second edition): `start`, then those of all `rows`, then `end`.

    `size` (H, W); `channels`: 3 or 4; `bits`: 8 or 16. `metadata`: chunks before the pixels. `plain`: neither
    filtered nor compressed.
    """

    def __init__(
        self, size: Size, channels: int, bits: int = 8, *, metadata: bytes = b"", plain: bool = False
    ) -> None:
        self._plain, self._deflate = plain, zlib.compressobj(0) if plain else _deflater()
        header = struct.pack(">IIBBBBB", size[1], size[0], bits, {3: 2, 4: 6}[channels], 0, 0, 0)
        self.start = PNG_SIGNATURE + _chunk(b"IHDR", header) + metadata

    def rows(self, values: NDArray[Any]) -> bytes:
        """The chunk of the next rows, uint8 or uint16 (n, W, channels)."""
        height, width, channels = values.shape
        each = channels * values.itemsize  # bytes of a pixel
        big_endian = values.astype(values.dtype.newbyteorder(">"), copy=False)
        lines = np.ascontiguousarray(big_endian).view(np.uint8).reshape(height, width * each)
        filtered = np.empty((height, 1 + width * each), np.uint8)
        filtered[:, 0], filtered[:, 1:] = 0 if self._plain else 1, lines
        if not self._plain:  # section 9.2, Sub: differences from the pixel to the left
            filtered[:, 1 + each :] -= lines[:, :-each]
        return _chunk(b"IDAT", self._deflate.compress(filtered.data))

    def end(self) -> bytes:
        """The chunks after the last row."""
        return _chunk(b"IDAT", self._deflate.flush()) + _chunk(b"IEND", b"")


def png(values: NDArray[Any], metadata: bytes) -> bytes:
    """The PNG of `values` (H, W, 3 or 4), uint8 or uint16, with those chunks before the pixels."""
    stream = PNGStream(values.shape[:2], values.shape[2], 8 * values.itemsize, metadata=metadata)
    return stream.start + stream.rows(values) + stream.end()


class TIFFStream:
    """Writes a TIFF (revision 6.0) to `file`, an empty one; as BigTIFF if it may need it.

    `size` (H, W); `channels`: 3 or 4; `kind`: uint8, uint16 or float32. `exif`: bytes as Pillow's, without the tags
    that say how pixels are stored; `dpi`: pixels an inch (across, down); `profile`: ICC. The file is complete after
    `finish`.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: Size,
        channels: int,
        kind: Any,
        *,
        exif: bytes | None,
        dpi: tuple[float, float] | None,
        profile: bytes,
    ) -> None:
        from PIL.TiffImagePlugin import ImageFileDirectory_v2  # imported here, as that takes 10 ms

        self._file, self._kind = file, np.dtype(kind).newbyteorder("<")
        line = size[1] * channels * self._kind.itemsize
        self._rows = max(1, _STRIP // line)
        big = size[0] * line > MAX_TIFF
        self._directory: Any = ImageFileDirectory_v2(
            b"II+\0\b\0\0\0" + bytes(8) if big else b"II*\0" + bytes(4)
        )
        self._describe(size, channels, exif, dpi, profile)
        self._lengths: list[int] = []
        self._rest = np.empty((0, size[1], channels), self._kind)
        # The directory, of a known length, is before the strips: Pillow counts their offsets from its end.
        count = -(-size[0] // self._rows)
        for tag in (273, 279):  # places and lengths of strips
            self._directory.tagtype[tag] = _LONG8 if big else _LONG
            self._directory[tag] = (0,) * count
        self._directory.save(file)

    def _describe(
        self, size: Size, channels: int, exif: bytes | None, dpi: tuple[float, float] | None, profile: bytes
    ) -> None:
        directory, bits, whole = self._directory, 8 * self._kind.itemsize, self._kind.kind == "u"
        _carry(directory, exif)
        # 256 width, 257 height, 258 bits, 259 compression (8: Deflate), 262 colors (2: RGB), 277 samples a pixel, 278
        # rows a strip, 284 layout (1: interleaved), 317 predictor, 339 sample format (1: whole numbers, 3: floats)
        for tag, value in (
            (256, size[1]), (257, size[0]), (258, (bits,) * channels), (259, 8), (262, 2), (277, channels),
            (278, self._rows), (284, 1), (317, 2 if whole else 1), (339, (1 if whole else 3,) * channels),
        ):  # fmt: skip
            directory[tag] = value
        if channels == 4:
            directory[338] = (2,)  # unassociated alpha
        if dpi is not None:
            directory[282], directory[283], directory[296] = (*dpi, 2)  # pixels an inch, across and down
        directory.tagtype[34675], directory[34675] = 7, profile  # the ICC profile

    def write(self, values: NDArray[Any]) -> None:
        """Write the next rows (n, W, channels)."""
        if len(self._rest):
            values = np.concatenate([self._rest, values])
        whole = len(values) // self._rows * self._rows
        for top in range(0, whole, self._rows):
            self._strip(values[top : top + self._rows])
        self._rest = values[whole:].copy()  # not a view, which would keep all rows in memory

    def finish(self) -> None:
        """Write the last rows, and where the strips are."""
        if len(self._rest):
            self._strip(self._rest)
        self._directory[273] = tuple(np.cumsum([0, *self._lengths[:-1]]).tolist())
        self._directory[279] = tuple(self._lengths)
        self._file.seek(0)
        self._directory.save(self._file)

    def _strip(self, values: NDArray[Any]) -> None:
        values = values.astype(self._kind)
        if self._kind.kind == "u":  # differences from the pixel to the left (section 14)
            values[:, 1:] = np.diff(values, axis=1)
        deflate = _deflater()
        data = deflate.compress(np.ascontiguousarray(values)) + deflate.flush()
        self._lengths.append(len(data))
        self._file.write(data)


def tiff(
    values: NDArray[Any], *, exif: bytes | None, dpi: tuple[float, float] | None, profile: bytes
) -> bytes:
    """The TIFF of `values` (H, W, 3 or 4), uint8, uint16 or float32."""
    file = io.BytesIO()
    stream = TIFFStream(
        file, values.shape[:2], values.shape[2], values.dtype, exif=exif, dpi=dpi, profile=profile
    )
    stream.write(values)
    stream.finish()
    return file.getvalue()


def _carry(directory: Any, exif: bytes | None) -> None:
    """Copy `exif` into a TIFF's directory."""
    if exif is None:
        return
    carried = Image.Exif()
    carried.load(exif)
    for tag, value in carried.items():
        if tag not in _STRUCTURE:
            directory[tag] = value
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if inner := carried.get_ifd(tag):
            directory[tag] = inner
