"""Files to images."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from texturenets import arguments
from texturenets.errors import MissingError, UserError, install, reason
from texturenets.files import opened
from texturenets.image import deep, exr, formats
from texturenets.image.color import normalise, normalise_colours, normalise_deep, to_array
from texturenets.image.metadata import UPRIGHT, add_late_exif, carried, orientation, resolution, texts
from texturenets.image.operations import check_fits
from texturenets.image.picture import Picture, StrPath
from texturenets.image.sizes import fit_longer

MAX_PIXELS = 178_956_970
"""Larger images are refused before they are decoded; what Pillow itself refuses, 2 GB as float32."""

MAX_PIXELS_ENV_VAR = "TEXTURENETS_MAX_PIXELS"
"""The environment variable that overrides `MAX_PIXELS`."""

_pillow_limit = threading.RLock()


@contextmanager
def without_pillows_limit() -> Iterator[None]:
    """In the block, Pillow's own limit on pixels is off. It is global, so one thread at a time."""
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _max_pixels(max_pixels: int | None) -> int:
    if max_pixels is not None:
        return max_pixels
    text = os.environ.get(MAX_PIXELS_ENV_VAR)
    if not text:
        return MAX_PIXELS
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{MAX_PIXELS_ENV_VAR}={text!r} is not a whole number of pixels") from None


def pixel_limit() -> int:
    """The number of pixels beyond which `read` refuses an image."""
    return _max_pixels(None)


def _check_pixels(image: Image.Image, limit: int) -> None:
    width, height = image.size
    if min(width, height) < 1:
        raise UserError(f"it has no pixels ({width} x {height})")
    if width * height > limit:
        raise UserError(
            f"it has {width} x {height} pixels, over the limit of {limit}; "
            f"if you trust it set {MAX_PIXELS_ENV_VAR}={width * height}"
        )


def _load(image: Image.Image, longer: int | None) -> tuple[float, float, float, float] | None:
    """Decode `image` in place; a JPEG much larger than `longer` is decoded at half, a quarter or an eighth of its
    size. Returns the box of the image within the decoded pixels, which may exceed it by a fraction of a pixel.
    """
    (width, height), box = image.size, None
    if longer is not None and image.format in ("JPEG", "MPO"):
        # The scaled DCT is a plain average; at three times the size asked for Lanczos hides it, as
        # Pillow's documentation says of `reducing_gap`.
        target = fit_longer((height, width), longer)
        drafted = image.draft(image.mode, (3 * target[1], 3 * target[0]))
        box = drafted[1] if drafted else None
    if width * height > MAX_PIXELS // 2:  # where Pillow warns; TIFF asks again on decoding
        with without_pillows_limit():
            image.load()
    else:
        image.load()
    return None if box is None or box[2:] == image.size else (0.0, 0.0, float(box[2]), float(box[3]))


def _resized(
    planes: list[Image.Image],
    alpha: Image.Image | None,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None,
) -> tuple[list[Image.Image], Image.Image | None]:
    """Lanczos to `size` (W, H). Colours are multiplied by alpha and divided after: so that colours of transparent
    pixels do not bleed."""
    lanczos = Image.Resampling.LANCZOS
    if alpha is not None and alpha.mode == "F":
        opacity = np.asarray(alpha)
        seen = [Image.fromarray(np.asarray(plane) * opacity) for plane in planes]
        seen, alpha = _resized(seen, None, size, box)[0], alpha.resize(size, lanczos, box)
        divisor = np.maximum(np.asarray(alpha), np.float32(1 / 65535))
        return [Image.fromarray(np.asarray(plane) / divisor) for plane in seen], alpha
    if alpha is not None and planes[0].mode == "RGB":
        both = Image.merge("RGBA", (*planes[0].split(), alpha)).resize(size, lanczos, box)
        return [both.convert("RGB")], both.getchannel("A")
    return [p.resize(size, lanczos, box) for p in planes], alpha and alpha.resize(size, lanczos, box)


def raw_mode(image: Image.Image) -> str:
    """The raw mode (Pillow's name of the samples' layout in the file) of an image that is not decoded yet."""
    tile = getattr(image, "tile", None)
    if not tile:
        return image.mode
    settings = tile[0][3]
    return str(settings[0] if isinstance(settings, tuple) and settings else settings)


def stored_size(image: Image.Image) -> tuple[int, int]:
    """(H, W) as stored, of an image that is not decoded yet. Pillow names that of a TIFF as it is when upright."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    if tags is None:
        return image.height, image.width
    return int(tags[ExifTags.Base.ImageLength]), int(tags[ExifTags.Base.ImageWidth])


def _bits(mode: str, raw: str) -> int:
    """Bits per channel, by Pillow's mode and raw mode."""
    if mode == "F" or ";32" in raw:
        return 32
    return 16 if ";16" in raw or ";12" in raw or mode == "I" else 8


def _several(image: Image.Image) -> bool:
    """Whether the file holds several images. A phone's JPEG (MPO) counts as one, though it holds depth maps, too."""
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def decode(
    image: Image.Image, limit: int, longer: int | None, keep_gps: bool, raw: str | None = None
) -> Picture:
    """An image of Pillow's as `read` gives it. `limit`: maximum number of pixels. `raw`: its `raw_mode`, if it is
    already decoded. Raises UserError for an image of no pixels or too many, and errors of Pillow for a damaged one.
    """
    width, height = image.size
    raw = raw_mode(image) if raw is None else raw
    bits, several = _bits(image.mode, raw), _several(image)
    _check_pixels(image, limit)
    turned = orientation(image) if image.format == "TIFF" else 1  # before Pillow turns it, on decoding
    values = None
    deep.check_layout(image)
    if deep.is_deep(raw) and getattr(image, "tile", None):
        with without_pillows_limit():
            values = deep.load(image, raw)
    box = _load(image, longer) if raw != deep.FLOATS else None
    turn, exif = orientation(image), carried(image, keep_gps)
    dpi, keywords = resolution(image, max(turn, turned)), texts(image)
    if values is not None:
        planes, alpha = normalise_colours(image, values)
    elif image.mode == "F" or image.mode.startswith("I"):
        most = 1 if image.mode == "F" else 4095 if "I;12" in raw else 65535
        planes, alpha = normalise_deep(image, most)
    else:
        key = image.info.get("transparency")
        if bits == 16 and isinstance(key, tuple):
            image.info["transparency"] = tuple(v >> 8 for v in key)  # Pillow cut the pixels, not the key
        planes, alpha = normalise(image)
    if longer is not None:
        new_h, new_w = fit_longer((height, width), longer)
        check_fits(3, (new_h, new_w))
        planes, alpha = _resized(planes, alpha, (new_w, new_h), box)
    if turn != 1:
        planes = [p.transpose(UPRIGHT[turn]) for p in planes]
        alpha = alpha and alpha.transpose(UPRIGHT[turn])
    rgb = to_array(planes)
    if rgb.shape[1] == 1:
        rgb = rgb.repeat(3, 1)
    alpha_array = None if alpha is None else to_array([alpha])
    return Picture(rgb, alpha_array, exif, bits, several=several, dpi=dpi, texts=keywords)


def read(
    path: StrPath, *, longer: int | None = None, keep_gps: bool = False, max_pixels: int | None = None
) -> Picture:
    """The image in a file, upright and in sRGB.

    JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, and AVIF and HEIC where there is a plug-in, told apart by the
    content and not by the suffix. Palettes, grey, CMYK, Lab and transparency are taken; of several frames
    the first. Colours go through the embedded profile, where there is one. 16 bits per channel, and the
    floats of a TIFF, from 0 to 1, keep their depth, which `bits` says; CMYK of 16 bits is cut to 8.
    EXR, where the package OpenEXR is installed, is linear light, which becomes sRGB, clipped to [0, 1].

    `longer` makes the longer side that many pixels, up or down (Lanczos). `keep_gps`: the metadata keep the
    GPS position. `max_pixels` is the limit on width times height; else the environment's
    TEXTURENETS_MAX_PIXELS, else `MAX_PIXELS`. May be called from several threads at once.

    Raises UserError for a file that is missing, unreadable, no image, damaged, cut short or too large.
    """
    arguments.instance("path", path, str | os.PathLike, "the path of a file")
    path = Path(path)
    _check_longer(longer)
    limit = _max_pixels(max_pixels)
    with _opened_file(path) as file:
        return _read(file, path, limit, longer, keep_gps)


@contextmanager
def _opened_file(path: Path) -> Iterator[IO[bytes]]:
    """The file `path`, open. Raises UserError for an OSError, in the block too, and for a name with a null byte."""
    if "\0" in str(path):
        raise UserError(f"{str(path)!r} is no name of a file: it holds a null byte")
    try:
        with opened(path) as file:
            yield file
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not an image") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error


class ImageInfo(NamedTuple):
    """The header of an image file; the pixels are not decoded.

    `size` (H, W) is as stored, `orientation` what turns it upright (EXIF, 1 to 8), `format` Pillow's name, `bits`
    8, 16 or 32 a channel, `several` whether there are more images in it: pages of a TIFF, frames of a GIF. `exif`,
    `dpi` and `texts` as in `Picture`; only texts stored before the pixels.
    """

    size: tuple[int, int]
    orientation: int
    format: str
    exif: bytes | None
    bits: int
    several: bool
    dpi: tuple[float, float] | None
    texts: Mapping[str, str]
    clipped: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """(H, W) of the image turned upright."""
        return self.size if self.orientation < 5 else (self.size[1], self.size[0])


def read_header(path: StrPath, *, keep_gps: bool = False) -> ImageInfo | None:
    """The header of the image in a file; None if it cannot be read."""
    try:
        with opened(Path(path)) as file:
            with without_pillows_limit():
                image = formats.open_image(file)
            with image:
                add_late_exif(image, file)
                exif, bits = carried(image, keep_gps), _bits(image.mode, raw_mode(image))
                size, several = stored_size(image), _several(image)
                turn, form = orientation(image), image.format or ""
                dpi, keywords = resolution(image, turn), texts(image)
                return ImageInfo(size, turn, form, exif, bits, several, dpi, keywords)
    except Exception:  # noqa: BLE001  `read` says what is wrong with it
        return None


def from_bytes(
    data: bytes,
    name: str = "the image",
    *,
    longer: int | None = None,
    keep_gps: bool = False,
    max_pixels: int | None = None,
) -> Picture:
    """As `read`, of the bytes of a file; errors call it `name`."""
    _check_longer(longer)
    arguments.instance("data", data, bytes | bytearray | memoryview, "the bytes of a file")
    return _read(io.BytesIO(data), name, _max_pixels(max_pixels), longer, keep_gps)


def probe(data: bytes, name: str = "the image") -> tuple[str, tuple[int, int], bool]:
    """Read an image's header from the bytes of a file, without decoding it: (format, as Pillow calls it, (H, W) as
    stored, whether the file holds several images). `name`: what errors call it. Raises UserError if it is empty or
    not an image.
    """
    with _opened(io.BytesIO(data), name) as image:
        return str(image.format), stored_size(image), _several(image)


def read_data(path: StrPath) -> Picture:
    """An image file whose samples are data and not colours, such as normals or heights: as `read`, but its values are
    those stored, through no colour profile, and those of EXR not through sRGB's curve.

    Raises UserError as `read`, and for values outside [0, 1].
    """
    path = Path(path)
    with _opened_file(path) as file:
        start = file.read(len(exr.START))
        file.seek(0)
        if start == exr.START:
            exr.require(path)
            with _faults(path, start):
                return _of_data(exr.read(file.read(), pixel_limit()))
        with _opened(file, path) as image:
            image.info.pop("icc_profile", None)
            return decode(image, pixel_limit(), None, False)


def _of_data(values: npt.NDArray[Any]) -> Picture:
    """An EXR's values (H, W, 1, 3 or 4) as `read_data` gives them. Raises UserError."""
    data = values[..., :3].astype(np.float32)
    if np.isnan(data).any():
        raise UserError("it holds values that are not numbers (NaN)")
    low, high = float(data.min()), float(data.max())
    if low < 0 or high > 1 + 1e-3:  # half floats round
        raise UserError(f"its values go from {low:g} to {high:g}, not 0 to 1: scale them")
    planes = np.ascontiguousarray(data.clip(0, 1).transpose(2, 0, 1))[None]
    rgb = planes.repeat(3, 1) if planes.shape[1] == 1 else planes
    return Picture(rgb, bits=16 if values.dtype == np.float16 else 32)


def _check_longer(longer: int | None) -> None:
    if longer is not None and arguments.integer("longer", longer) < 1:
        raise UserError(f"cannot make an image {longer} pixels long: the longer side is at least 1")


@contextmanager
def _opened(file: IO[bytes], name: StrPath) -> Iterator[Image.Image]:
    """The image in `file`, not decoded yet. Raises UserError, for whatever goes wrong with it in the block too."""
    start = file.read(16)
    if not start:
        raise UserError(f"{name} is empty")
    with _faults(name, start):
        with without_pillows_limit():
            image = formats.open_image(file)
        with image:
            yield image


@contextmanager
def _faults(name: StrPath, start: bytes) -> Iterator[None]:
    """Raise UserError for whatever goes wrong in the block with the file `name`, which begins with `start`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"cannot use {name}: {error}") from error
    except UnidentifiedImageError:
        raise _unidentified(name, start) from None
    except MemoryError:
        raise UserError(f"not enough memory to decode {name}") from None
    except Exception as error:  # decoders raise many kinds of errors for damaged files
        raise UserError(f"{name} is damaged or cut short: {reason(error)}") from error


def _read(file: IO[bytes], name: StrPath, limit: int, longer: int | None, keep_gps: bool) -> Picture:
    start = file.read(len(exr.START))
    file.seek(0)
    if start == exr.START:
        exr.require(name)
        with _faults(name, start):
            return _of_light(exr.read(file.read(), limit), longer)
    with _opened(file, name) as image:
        return decode(image, limit, longer, keep_gps)


def _of_light(values: npt.NDArray[Any], longer: int | None) -> Picture:
    """An EXR's pixels (H, W, 1, 3 or 4), linear light, as `read` gives them. Raises UserError for NaN."""
    light = values.astype(np.float32)
    if np.isnan(light).any():
        raise UserError("it holds values that are not numbers (NaN)")
    alpha = None
    if light.shape[2] == 4:  # colours are multiplied by it
        opacity = light[..., 3].clip(0, 1)
        divisor = np.where(opacity > 0, opacity, 1).astype(np.float32)
        light = light[..., :3] / divisor[..., None]
        alpha = Image.fromarray(opacity)
    clipped = bool((light < 0).any() or (light > 1 + 1e-3).any())  # half floats round
    planes = [Image.fromarray(plane) for plane in exr.encoded(light.clip(0, 1)).transpose(2, 0, 1)]
    if longer is not None:
        height, width = fit_longer((values.shape[0], values.shape[1]), longer)
        planes, alpha = _resized(planes, alpha, (width, height), None)
    rgb = to_array(planes)
    rgb = rgb.repeat(3, 1) if rgb.shape[1] == 1 else rgb
    bits = 16 if values.dtype == np.float16 else 32
    return Picture(rgb, None if alpha is None else to_array([alpha]), bits=bits, clipped=clipped)


def _unidentified(path: StrPath, start: bytes) -> UserError:
    known = formats.decodable_formats()
    suffix = formats.suffix_of_start(start)
    if suffix == ".exr":  # `read` supports it, reading only the header does not
        return UserError(
            f"{path} is an EXR file: `texturenets stylize` and Python take it, in a file of its own"
        )
    if suffix == ".heic" and suffix not in known:
        return MissingError(f"cannot read {path}: HEIC needs pillow-heif ({install('heif')})")
    if suffix == ".avif" and suffix not in known:
        return MissingError(f"cannot read {path}: AVIF needs Pillow 11.3 or newer, with AVIF built in")
    if start[8:9] == b"{" and start[4:8] == bytes(
        4
    ):  # the length of a JSON header, in eight bytes, and the header
        return UserError(f"{path} is a .safetensors file, as models are, not an image")
    return UserError(
        f"{path} is not an image that can be read here ({formats.readable_formats_text()}): save it as one of these "
        "with another program"
    )
