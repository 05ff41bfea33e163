"""Images to files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from texturenets import arguments
from texturenets.arrays import is_tensor, to_numpy
from texturenets.errors import UserError, reason
from texturenets.files import atomic_write
from texturenets.image import exr, streams
from texturenets.image.color import srgb_profile
from texturenets.image.formats import decodable_formats, output_format
from texturenets.image.picture import Picture, StrPath, lay_on_white

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

    from texturenets.arrays import Array

JPEG_QUALITY = 95
"""The best that Pillow's documentation recommends; higher values give larger files that hardly look better."""

_QUALITY = {"JPEG": JPEG_QUALITY, "WEBP": JPEG_QUALITY, "AVIF": 90, "HEIF": 90}

_SHARP: dict[str, dict[str, Any]] = {  # no chroma subsampling, and colours kept where alpha is 0
    "JPEG": {"subsampling": "4:4:4"},
    "WEBP": {"exact": True},
    "AVIF": {"subsampling": "4:4:4"},
    "HEIF": {"chroma": 444},
}

_WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "HEIF", "EXR"}

_BITS = {"PNG": 16, "TIFF": 32, "EXR": 32}  # most bits per channel, floats where they are 32

_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # JPEG_MAX_DIMENSION of libjpeg, WEBP_MAX_DIMENSION of libwebp

_LONGEST_SEGMENT = 65533  # of a JPEG: its length, two bytes, counts itself

_WITH_DPI = {"JPEG", "PNG", "TIFF", "BMP"}

_WITHOUT_EXIF = {"BMP", "EXR"}

_TEXTS: dict[str, tuple[str, ...]] = {"JPEG": ("Comment",)} | dict.fromkeys(
    ("WEBP", "TIFF", "AVIF", "HEIF", "BMP", "EXR"), ()
)
"""For formats other than PNG, which holds all texts: the keywords of the texts that they hold."""


def lossy_suffixes() -> set[str]:
    """The suffixes of formats that a quality is for, in lower case with their dot."""
    return {suffix for suffix, name in decodable_formats().items() if name in _QUALITY}


def keeps_alpha(path: StrPath) -> bool:
    """Whether a file called `path` holds transparency. Raises UserError for a suffix that is not written."""
    return output_format(path) in _WITH_ALPHA


def kept_bits(path: StrPath, bits: int) -> int:
    """The number of the `bits` per channel that a file called `path` holds. Raises UserError as `output_format`."""
    return min(bits, _BITS.get(output_format(path), 8))


def laid_on_white_message(result: Path) -> str:
    """The message for a transparent image that the file `result` cannot hold."""
    return f"transparent pixels, which {result.suffix} does not keep: they are laid on white"


def lost_by_format(result: Path, picture: Picture) -> list[str]:
    """Properties of `picture` that the format of a file called `result` cannot hold: ends of sentences that begin
    "FILE holds"."""
    flat = [laid_on_white_message(result)] if picture.transparent and not keeps_alpha(result) else []
    return [*flat, *metadata_lost_by_format(result, picture.exif, picture.texts)]


def metadata_lost_by_format(result: Path, exif: bytes | None, texts: Mapping[str, str]) -> list[str]:
    """As `lost_by_format`, of EXIF and of texts by keyword."""
    name = output_format(result)
    found = ["EXIF"] if exif is not None and name in _WITHOUT_EXIF else []
    others = sorted(key for key in texts if key not in _TEXTS.get(name, texts))
    if others:
        found.append(f"the text{'s' if len(others) > 1 else ''} {', '.join(others)}")
    return [f"{what}, which {result.suffix} does not keep" for what in found]


def as_integers(values: Array, bits: int = 8) -> npt.NDArray[Any]:
    """(1, C, H, W) floats, clamped, to (H, W, C) whole numbers of 8 or 16 bits. Raises UserError for NaN."""
    planes, kind = to_numpy(values)[0], np.dtype(f"uint{bits}")
    largest = np.float32(np.iinfo(kind).max)
    rounded = np.empty((*planes.shape[1:], len(planes)), kind)
    for channel, plane in enumerate(planes):
        scaled = plane * largest
        if np.isnan(scaled.min()):
            raise UserError("the image holds values that are not numbers (NaN)")
        rounded[..., channel] = np.rint(scaled, out=scaled).clip(0, largest, out=scaled)
    return rounded


def to_pil(rgb: Array, alpha: Array | None) -> Image.Image:
    """(1, 3, H, W) and (1, 1, H, W) or None to an RGB or RGBA image."""
    image = Image.fromarray(as_integers(rgb))
    if alpha is not None:
        image.putalpha(Image.fromarray(as_integers(alpha)[:, :, 0]))
    return image


def _options(picture: Picture, name: str, quality: int | None, exif: bytes | None) -> dict[str, Any]:
    """Pillow's options for writing the format `name`."""
    options: dict[str, Any] = {"dpi": picture.dpi} if picture.dpi is not None and name in _WITH_DPI else {}
    if name == "BMP":
        return options
    if name == "PNG":
        options["pnginfo"] = _chunks(picture)
        # Paintings hardly repeat themselves to the byte: without the search for it files are 2 % smaller, and made in
        # a third of the time (seven styles and textures, 512 x 512).
        options["compress_type"] = Image.RLE
    else:
        options["icc_profile"] = srgb_profile()
    if name in _QUALITY:
        options["quality"] = quality or _QUALITY[name]
    if exif is not None and not (name == "JPEG" and len(exif) > _LONGEST_SEGMENT):
        options["exif"] = exif
    elif name == "TIFF":  # Pillow cannot write directories in compressed files
        options["compression"] = "tiff_adobe_deflate"
    comment = picture.texts.get("Comment", "").encode() if name == "JPEG" else b""
    if 0 < len(comment) <= _LONGEST_SEGMENT:
        options["comment"] = comment
    return options | _SHARP.get(name, {})


def _chunks(picture: Picture) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo  # slow to import, and most results are JPEG

    info = PngInfo()
    info.add(b"sRGB", b"\0")  # PNG, section 11.3.2.5: one byte instead of a profile of 588
    for key, text in picture.texts.items():
        info.add_text(key, text)
    return info


def _encode(picture: Picture, name: str, quality: int | None, exif: bytes | None) -> bytes:
    """The file of format `name` in memory."""
    rgb = to_numpy(picture.pixels)
    alpha = None if picture.transparency is None else to_numpy(picture.transparency)
    if alpha is not None and name not in _WITH_ALPHA:
        rgb, alpha = lay_on_white(rgb.clip(0, 1), alpha), None
    if name == "EXR":
        return exr.write(_samples(rgb), None if alpha is None else _samples(alpha), half=picture.bits <= 16)
    if (bits := min(picture.bits, _BITS.get(name, 8))) > 8:
        return _encode_deep(picture, name, exif, bits)
    image = to_pil(rgb, alpha)
    if max(image.size) > _LONGEST_SIDE.get(name, max(image.size)):
        raise UserError(
            f"{name} holds at most {_LONGEST_SIDE[name]} pixels per side, not {max(image.size)}; PNG holds more"
        )
    buffer = io.BytesIO()  # not straight to the file: Pillow hides the reason of a failed write
    image.save(buffer, format=name, **_options(picture, name, quality, exif))
    return buffer.getvalue()


def _samples(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(1, C, H, W) to (H, W, C), clamped."""
    if np.isnan(values).any():
        raise UserError("the image holds values that are not numbers (NaN)")
    return np.ascontiguousarray(values[0].transpose(1, 2, 0), np.float32).clip(0, 1)


def _encode_deep(picture: Picture, name: str, exif: bytes | None, bits: int) -> bytes:
    """The PNG of 16 bits, or the TIFF of 16 or of floats."""
    planes = [picture.pixels] if picture.transparency is None else [picture.pixels, picture.transparency]
    joined = np.concatenate([to_numpy(plane) for plane in planes], 1)
    array = as_integers(joined, 16) if bits == 16 else _samples(joined)
    if name == "TIFF":
        return streams.tiff(array, exif=exif, dpi=picture.dpi, profile=srgb_profile())
    return streams.png(array, png_metadata(picture, exif))


def png_metadata(picture: Picture, exif: bytes | None) -> bytes:
    """The chunks of a PNG that hold the metadata of `picture`, and `exif`."""
    pixel = io.BytesIO()
    Image.new("RGB", (1, 1)).save(pixel, format="PNG", **_options(picture, "PNG", None, exif))
    return streams.other_chunks(pixel.getvalue())


def write(
    path: StrPath, picture: Picture | Array, *, quality: int | None = None, exif: bytes | None = None
) -> None:
    """Write an image, as sRGB in the format that the suffix names; missing folders are made.

    `picture` is a `Picture`, or floats (3, H, W) or (1, 3, H, W), array or tensor; values are clamped to [0, 1] and
    rounded to 8 bits, or to the `bits` of a `Picture` where the format holds them: 16 in PNG and TIFF, and in TIFF
    floats for 32. EXR is linear light in floats of 16 bits, or of 32 for a `Picture` of 32, without metadata.
    `quality`, 1 to 100, is for JPEG (default 95, 4:4:4), WebP (95), AVIF and HEIC (90); the other
    formats are lossless. Alpha is kept where the format has it, else the image is laid on white. So are the
    resolution (JPEG, PNG, TIFF, BMP), texts (PNG, the comment of a JPEG) and EXIF, which `exif` replaces. The file
    appears whole or not at all.

    Raises UserError for an unknown suffix, a quality out of range, an image too large for the format, and
    when the file cannot be written.
    """
    path = Path(path)
    data = to_bytes(path, picture, quality=quality, exif=exif)
    with atomic_write(path) as part, part.open("wb") as file:
        file.write(data)


def write_data(path: StrPath, values: npt.NDArray[np.float32], *, bits: int = 8) -> None:
    """Write values that are data and not colours, such as normals or heights, (1 or 3, H, W) in [0, 1]: as grey or
    RGB without a colour profile. A PNG has 8 or 16 `bits`, an EXR floats of 32. The file appears whole or not at all.

    Raises UserError for another suffix, for NaN, and when the file cannot be written.
    """
    path, name = Path(path), output_format(path)
    if name not in ("PNG", "EXR"):
        raise UserError(f"cannot write {path}: maps of data are written as .png or .exr")
    whole = as_integers(values[None], bits)
    if name == "EXR":
        data = exr.write_channels(_samples(values[None]))
    elif bits == 16 and len(values) == 3:
        data = streams.png(whole, b"")
    else:
        buffer = io.BytesIO()
        Image.fromarray(whole[:, :, 0] if len(values) == 1 else whole).save(buffer, format="PNG")
        data = buffer.getvalue()
    with atomic_write(path) as part, part.open("wb") as file:
        file.write(data)


def to_bytes(
    path: StrPath, picture: Picture | Array, *, quality: int | None = None, exif: bytes | None = None
) -> bytes:
    """What `write` would write to `path`; of it only the suffix matters. Errors as there."""
    path = Path(path)
    name = output_format(path)
    if quality is not None and not 1 <= arguments.integer("quality", quality) <= 100:
        raise UserError(f"quality {quality} is not between 1 and 100")
    if not isinstance(picture, Picture):
        if not isinstance(picture, np.ndarray) and not is_tensor(picture):
            kinds = "a Picture, an array or a tensor; PIL images have `.save`"
            raise UserError(f"`picture` is of type {type(picture).__name__}: give {kinds}")
        picture = Picture(picture if picture.ndim == 4 else picture[None])
    pixels, alpha = picture.pixels, picture.transparency
    shape = tuple(pixels.shape)
    floats = pixels.is_floating_point() if is_tensor(pixels) else pixels.dtype.kind == "f"
    if len(shape) != 4 or shape[:2] != (1, 3) or 0 in shape or not floats:
        raise UserError(f"cannot write {path}: not one float image (1, 3, H, W) but {pixels.dtype} {shape}")
    if alpha is not None and tuple(alpha.shape) != (1, 1, *shape[2:]):
        raise UserError(f"cannot write {path}: alpha of {tuple(alpha.shape)} beside an image of {shape}")
    try:
        return _encode(picture, name, quality, picture.exif if exif is None else exif)
    except Exception as error:  # encoders raise many kinds of errors
        raise UserError(f"cannot write {path}: {reason(error)}") from error
