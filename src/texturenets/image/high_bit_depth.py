"""Images of more than 8 bits per channel to PNG and TIFF, whose colour Pillow writes only with 8."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

_STRIP: Final = 2**18  # bytes of a TIFF's strip
_MOST: Final = 4 * 10**9  # largest offset in bytes in a TIFF


def png(values: NDArray[np.uint16], like: bytes) -> bytes:
    """The PNG of `values` (H, W, 3 or 4), with all chunks of the PNG `like` but its header and pixels.

    `like` has one IDAT chunk; its size and colour type do not matter.
    """
    height, width, count = values.shape
    result, place = [like[:8]], 8
    while place < len(like):
        length = int.from_bytes(like[place : place + 4])
        kind, data = like[place + 4 : place + 8], like[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            data = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[count], 0, 0, 0)
        elif kind == b"IDAT":
            data = _idat(values)
        result.append(png_chunk(kind, data))
        place += 12 + length
    return b"".join(result)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG (section 5.3): length, type, data, checksum."""
    return len(data).to_bytes(4) + kind + data + zlib.crc32(data, zlib.crc32(kind)).to_bytes(4)


def _idat(values: NDArray[np.uint16]) -> bytes:
    """The compressed pixels of a PNG: differences to the left neighbour (PNG, section 9.2: Sub)."""
    height, width, count = values.shape
    lines = values.astype(">u2").view(np.uint8).reshape(height, width * count * 2)
    filtered = np.empty((height, 1 + lines.shape[1]), np.uint8)
    filtered[:, 0], filtered[:, 1:] = 1, lines
    filtered[:, 1 + 2 * count :] -= lines[:, : -2 * count]
    return zlib.compress(filtered.tobytes(), 6)


def tiff(
    values: NDArray[Any], *, exif: bytes | None, dpi: tuple[float, float] | None, profile: bytes
) -> bytes:
    """The TIFF of `values` (H, W, 3 or 4), uint16 or float32. Raises ValueError if it is too large for one."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2  # imported here, as that takes 10 ms

    height, width, count = values.shape
    if values.nbytes > _MOST:
        raise ValueError(f"a TIFF holds at most {_MOST} bytes")
    rows = max(1, _STRIP // (width * count * values.itemsize))
    strips = [zlib.compress(_strip_bytes(values[top : top + rows]), 6) for top in range(0, height, rows)]
    bits = 8 * values.itemsize
    directory: Any = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    _carry(directory, exif)
    # 256 width, 257 height, 258 bits, 259 compression (8: Deflate), 262 colours (2: RGB), 277 samples a pixel, 278
    # rows a strip, 284 layout (1: interleaved), 317 predictor, 339 sample format, 273, 279 places, lengths of strips
    for tag, value in (
        (256, width), (257, height), (258, (bits,) * count), (259, 8), (262, 2), (277, count), (278, rows),
        (284, 1), (317, 2 if bits == 16 else 1), (339, (1 if bits == 16 else 3,) * count),
        (273, tuple(int(n) for n in np.cumsum([0, *map(len, strips[:-1])]))), (279, tuple(map(len, strips))),
    ):  # fmt: skip
        directory[tag] = value
    if count == 4:
        directory[338] = (2,)  # unassociated alpha
    if dpi is not None:
        directory[282], directory[283], directory[296] = (*dpi, 2)  # pixels an inch, across and down
    directory.tagtype[34675], directory[34675] = 7, profile  # the ICC profile
    file = io.BytesIO()
    directory.save(file)  # which adds its own length to the offsets of the strips
    return file.getvalue() + b"".join(strips)


def _carry(directory: Any, exif: bytes | None) -> None:
    """Copy `exif` into a TIFF's directory."""
    if exif is None:
        return
    carried = Image.Exif()
    carried.load(exif)
    for tag, value in carried.items():
        directory[tag] = value
    for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if inner := carried.get_ifd(tag):
            directory[tag] = inner


def _strip_bytes(values: NDArray[Any]) -> bytes:
    """Little-endian samples; of whole numbers the differences from the pixel to the left (TIFF 6.0, section 14)."""
    if values.dtype != np.uint16:
        return values.astype("<f4").tobytes()
    difference = values.astype("<u2")
    difference[:, 1:] -= values[:, :-1]
    return difference.tobytes()
