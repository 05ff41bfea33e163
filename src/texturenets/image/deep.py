"""Colours of more than 8 bits per channel, read with Pillow, whose colour images hold only 8 bits. For 16 bits Pillow
unpacks the high bytes, or the low bytes if it is given the other byte order; so its decoders run twice. Floats of a
TIFF are unpacked as bytes, by declaring them grey.
"""

from __future__ import annotations

import io
import re
import struct
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from texturenets.errors import UserError

Array = NDArray[np.float32]

FLOATS: Final = "RGB;32F"
"""The raw mode of floats in colour, which Pillow does not support."""

_COLOURS: Final = re.compile(r"(RGB|RGBA|RGBX|RGBa);16([BLN])")
_GREY_ALPHA: Final = "LA;16B"
_OTHER: Final = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}

_KINDS: Final = ((3, (), "RGB"), (4, (0,), "RGB"), (4, (1,), "RGBA"), (4, (2,), "RGBA"))
_EXTRA_SAMPLES: Final = 338  # number of the tag
_NODES: Final = 52  # of a table of colours along each axis: 255 is 51 times 5, so that each is a whole number
_ROWS: Final = 64  # that go through the table at a time


def declare_tiff_modes() -> None:
    """Make Pillow open TIFF files of floats in colour, and of grey with associated alpha (TIFF 6.0, section 18:
    ExtraSamples 1). The latter is part of Pillow 13; earlier versions have the mode, but read such files only in
    colour.
    """
    from PIL import TiffImagePlugin  # imported here, as it takes as long as reading a small photo

    for order in (TiffImagePlugin.II, TiffImagePlugin.MM):
        TiffImagePlugin.OPEN_INFO.setdefault((order, 1, (1,), 1, (8, 8), (1,)), ("La", "La"))
        for count, samples, mode in _KINDS:
            key = (order, 2, (3,), 1, (32,) * count, samples)
            TiffImagePlugin.OPEN_INFO.setdefault(key, (mode, FLOATS))


def is_deep(raw: str) -> bool:
    """Whether the raw mode (Pillow's name of the samples' layout in the file) means colours of 16 bits or floats."""
    return raw in (FLOATS, _GREY_ALPHA) or _COLOURS.fullmatch(raw) is not None


def load(image: Image.Image, raw: str) -> Array:
    """The samples of an image of Pillow's, just opened: (3 or 4, H, W) in [0, 1], colours not multiplied by alpha.

    Raises UserError for floats beyond that range, and for floats that are not stored in strips.
    """
    if raw == FLOATS:
        values = _floats(image)
    elif raw == _GREY_ALPHA:
        pairs = _unpacked(image, "RGBA").astype(np.float32)
        values = (pairs[..., ::2] * 256 + pairs[..., 1::2])[..., [0, 0, 0, 1]] / np.float32(65535)
    else:
        values = _sixteen(image, raw)
    if raw.startswith("RGBa") or _extra(image) == 1:
        values[..., :3] /= np.maximum(values[..., 3:], np.float32(1 / 65535))
        values = values.clip(0, 1)
    planes: Array = np.ascontiguousarray(values.transpose(2, 0, 1))
    return planes


def check_layout(image: Image.Image) -> None:
    """Raise UserError for a TIFF of 16 bits whose channels lie one after the other without compression, which Pillow
    decodes as if they had 8."""
    if image.format != "TIFF":
        return
    from PIL import TiffImagePlugin  # only here: importing it takes as long as reading a small photo

    tags: Any = getattr(image, "tag_v2", {})
    planar = tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) == 2
    plain, bits = tags.get(TiffImagePlugin.COMPRESSION, 1) == 1, tags.get(TiffImagePlugin.BITSPERSAMPLE, (8,))
    if planar and plain and max(bits) == 16:
        raise UserError(
            "its 16 bits lie one color after the other; save it with the colors of a pixel together"
        )


def _extra(image: Image.Image) -> int | None:
    """The meaning of a TIFF's fourth sample; 1: associated alpha (TIFF 6.0, section 18)."""
    extra = getattr(image, "tag_v2", {}).get(_EXTRA_SAMPLES, ())
    return int(extra[0]) if extra else None


def _sixteen(image: Image.Image, raw: str) -> Array:
    kind, order = raw.replace("RGBa", "RGBA").split(";16")
    high, low = (_unpacked(image, f"{kind};16{o}") for o in (order, _OTHER[order]))
    values = high.astype(np.uint16) << 8 | low
    key = image.info.get("transparency")
    array = values.astype(np.float32) / np.float32(65535)
    if isinstance(key, tuple):
        opaque = (values != np.array(key)).any(-1, keepdims=True).astype(np.float32)
        array = np.concatenate([array, opaque], -1)
    return array


def _unpacked(image: Image.Image, raw: str) -> NDArray[np.uint8]:
    """The bytes (H, W, C) that Pillow decodes from the file of `image` if the raw mode is set to `raw`."""
    file: Any = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    file.seek(0)
    other: Any = Image.open(file, formats=[str(image.format)])
    other.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:]))
        for tile in other.tile
    ]
    other.load()
    values = np.asarray(other)
    file.seek(place)
    return values


def _floats(image: Any) -> Array:
    """(H, W, 3 or 4) of a TIFF of floats."""
    from PIL import TiffImagePlugin

    tags = image.tag_v2
    width, height = tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]  # as stored
    count = tags[TiffImagePlugin.SAMPLESPERPIXEL]
    if TiffImagePlugin.STRIPOFFSETS not in tags or tags.get(TiffImagePlugin.PLANAR_CONFIGURATION, 1) != 1:
        raise UserError(
            "its floats lie in tiles or one colour after the other; save it in strips, or as 16 bits"
        )
    lines = _lines(image, 4 * count * width, height)
    big = tags.prefix == TiffImagePlugin.MM
    values = _unpredicted(lines, tags.get(TiffImagePlugin.PREDICTOR, 1), count, big=big)
    array = values.reshape(height, width, count).astype(np.float32)
    if count == 4 and image.mode == "RGB":
        array = array[..., :3]
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also for NaN
        raise UserError(
            f"its values go from {low:g} to {high:g}, not 0 to 1; scale them, or save it as 16 bits"
        )
    return array.clip(0, 1)


def _lines(image: Any, width: int, height: int) -> NDArray[np.uint8]:
    """The bytes (height, width) of a TIFF's strips, unpacked: as a grey image of 8 bits with the same strips."""
    from PIL import TiffImagePlugin

    tags, file = image.tag_v2, image.fp
    offsets, counts = tags[TiffImagePlugin.STRIPOFFSETS], tags[TiffImagePlugin.STRIPBYTECOUNTS]
    strips = []
    for offset, count in zip(offsets, counts, strict=True):
        file.seek(offset)
        strips.append(file.read(count))
    begin = 8 + 2 + 9 * 12 + 4
    places = [begin + 8 * len(strips)]
    for strip in strips[:-1]:
        places.append(places[-1] + len(strip))
    single = len(strips) == 1
    fields = (
        (256, width), (257, height), (258, 8), (259, tags.get(TiffImagePlugin.COMPRESSION, 1)), (262, 1),
        (273, places[0] if single else begin), (277, 1), (278, tags.get(TiffImagePlugin.ROWSPERSTRIP, height)),
        (279, len(strips[0]) if single else begin + 4 * len(strips)),
    )  # fmt: skip
    data = struct.pack("<2sHIH", b"II", 42, 8, len(fields))
    for tag, value in fields:
        data += struct.pack("<HHII", tag, 4, len(strips) if tag in (273, 279) else 1, min(value, 2**32 - 1))
    data += struct.pack(f"<I{2 * len(strips)}I", 0, *places, *map(len, strips))
    with Image.open(io.BytesIO(data + b"".join(strips)), formats=["TIFF"]) as grey:
        return np.asarray(grey)


def _unpredicted(lines: NDArray[np.uint8], predictor: int, count: int, *, big: bool) -> NDArray[Any]:
    """The floats of lines of bytes, with the predictor's differences undone (TIFF 6.0, section 14; TIFF Technical
    Note 3)."""
    height = len(lines)
    if predictor == 3:
        summed = np.cumsum(lines.reshape(height, -1, count), 1, np.uint8)
        planes = summed.reshape(height, 4, -1).transpose(0, 2, 1)  # the first has the highest bytes
        return np.ascontiguousarray(planes).view(">f4")
    if predictor == 2:
        words = np.ascontiguousarray(lines).view(">u4" if big else "<u4").reshape(height, -1, count)
        return np.cumsum(words, 1, np.uint32).view(np.float32)
    return np.ascontiguousarray(lines).view(">f4" if big else "<f4")


def through_table(values: Array, transform: Any) -> Array:
    """Colours (3, H, W) converted by `transform`, a function of 8-bit RGB images: by a table of it, with linear
    interpolation, because LittleCMS takes only 8 bits from Pillow. If it changes nothing except for rounding,
    `values` are returned unchanged.
    """
    line = np.arange(_NODES, dtype=np.uint8) * 5
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1)
    mapped = transform(Image.fromarray(grid.reshape(_NODES**2, _NODES, 3)))
    if mapped is None:
        return values
    table = np.asarray(mapped).reshape(grid.shape)
    if np.abs(table.astype(np.int16) - grid).max() <= 1:
        return values
    nodes = table.astype(np.float32) / np.float32(255)
    result = np.empty_like(values)
    for top in range(0, values.shape[1], _ROWS):
        result[:, top : top + _ROWS] = _between(values[:, top : top + _ROWS], nodes)
    return result


def _between(values: Array, nodes: Array) -> Array:
    """Trilinear interpolation of `nodes` (R, G, B, 3) at `values` (3, rows, W)."""
    scaled = values * np.float32(_NODES - 1)
    low = np.minimum(scaled.astype(np.int64), _NODES - 2)
    share = (scaled - low).astype(np.float32)
    total = np.zeros((*values.shape[1:], 3), np.float32)
    for corner in range(8):
        up = [corner >> axis & 1 for axis in range(3)]
        weights = [share[axis] if up[axis] else 1 - share[axis] for axis in range(3)]
        total += (weights[0] * weights[1] * weights[2])[..., None] * nodes[
            low[0] + up[0], low[1] + up[1], low[2] + up[2]
        ]
    return total.transpose(2, 0, 1)
