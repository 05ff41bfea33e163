"""Pictures in and out: the only place for files, EXIF, colour profiles, alpha, bit depth and pixel ranges.

Everywhere else a picture is float32 RGB in [0, 1], NCHW, in sRGB and upright; an array or a tensor. Torch is
imported where a tensor is asked for and nowhere else: it takes longer than to repaint a photo.
"""

from __future__ import annotations

import functools
import glob
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from texturenets.arrays import A, is_tensor, to_numpy, to_tensor
from texturenets.errors import UserError
from texturenets.files import whole
from texturenets.sizes import fit_longer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from texturenets.arrays import Array

StrPath = str | os.PathLike[str]

MAX_PIXELS = 178_956_970
"""Larger pictures are refused before they are decoded; what Pillow itself refuses, 2 GB as float32."""

MAX_PIXELS_VARIABLE = "TEXTURENETS_MAX_PIXELS"
"""The environment variable that overrides `MAX_PIXELS`."""

JPEG_QUALITY = 95
"""The best that Pillow's documentation recommends; more makes larger files of hardly better pictures."""

# Grey with associated alpha (TIFF 6.0, section 18: ExtraSamples 1). Pillow 13 knows it; before, it read such files in
# colour alone, though it has the mode.
for _order in (TiffImagePlugin.II, TiffImagePlugin.MM):
    TiffImagePlugin.OPEN_INFO.setdefault((_order, 1, (1,), 1, (8, 8), (1,)), ("La", "La"))

# Pillow's name of a format by suffix. Files are recognised by their content; suffixes choose what is
# taken from a folder, and the format of what is written.
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
_WRITTEN = {"JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "BMP"}  # GIF has 256 colours, PPM no profile
_WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "HEIF"}
_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}  # JPEG_MAX_DIMENSION of libjpeg, WEBP_MAX_DIMENSION of libwebp
_LONGEST_EXIF = 65533  # the length of a JPEG segment, two bytes, counts itself

_UPRIGHT = {  # EXIF 2.3, section 4.6.4, tag 274: what undoes each orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_CARRIED = {  # what the main directory may say of a picture that has been repainted, resized and turned
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
}
_NOT_CARRIED = {  # of the Exif directory: sizes and pointers that no longer hold; makers' notes hide places
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
    ExifTags.Base.MakerNote,
}


class Picture:
    """A picture in memory, from arrays or tensors.

    `rgb` (1, 3, H, W): float32 sRGB in [0, 1], upright. `alpha` (1, 1, H, W) in [0, 1], or None; the RGB is
    not multiplied by it. Both are tensors, which share their memory where arrays were given; `pixels` is the
    RGB as it was given, array or tensor. `exif`: metadata to carry into the file written, as bytes, or None.
    `bits`: 8 or 16, the depth of the source.
    """

    def __init__(
        self, rgb: Array, alpha: Array | None = None, exif: bytes | None = None, bits: int = 8
    ) -> None:
        self.pixels, self.transparency = rgb, alpha
        self.exif, self.bits = exif, bits

    @property
    def rgb(self) -> Tensor:
        """(1, 3, H, W) as a tensor."""
        return to_tensor(self.pixels)

    @rgb.setter
    def rgb(self, values: Array) -> None:
        self.pixels = values

    @property
    def alpha(self) -> Tensor | None:
        """(1, 1, H, W) as a tensor, or None."""
        return None if self.transparency is None else to_tensor(self.transparency)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.pixels.shape[2]), int(self.pixels.shape[3])


@dataclass(frozen=True, eq=False)
class Kind:
    """What a picture was before `from_any`: all that `to_kind` needs to give the same back."""

    container: Literal["pil", "numpy", "torch"]
    dtype: Any = None
    batched: bool = False
    device: torch.device | None = None
    alpha: Array | None = None


def _reason(error: BaseException) -> str:
    """The text of `error` in one line; of an OSError without number and path."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


# ---- Formats and files -------------------------------------------------------------------------------


@functools.cache
def _formats() -> dict[str, str]:
    """Suffix to format, those that this installation of Pillow and its plug-ins can decode."""
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    known = Image.registered_extensions()
    return {suffix: name for suffix, name in _FORMATS.items() if suffix in known}


def suffixes() -> set[str]:
    """The suffixes of readable pictures, in lower case with their dot. HEIC only with pillow-heif."""
    return set(_formats())


def is_picture(path: StrPath) -> bool:
    """Whether the suffix of `path` is that of a readable picture. Does not look at the file."""
    return Path(path).suffix.lower() in _formats()


def output_format(path: StrPath) -> str:
    """Pillow's name of the format that `write` would use for `path`.

    Raises UserError for a suffix that is not written here: call it before the work, not after.
    """
    suffix = Path(path).suffix.lower()
    name = _formats().get(suffix)
    if name in _WRITTEN:
        return name
    if _FORMATS.get(suffix) == "HEIF":
        raise UserError(f"cannot write {path}: HEIC needs pillow-heif (pip install 'texturenets[heif]')")
    written = ", ".join(s for s, n in _formats().items() if n in _WRITTEN)
    what = f"the suffix {suffix!r}" if suffix else "no suffix"
    raise UserError(f"cannot write {path}: {what} names no format that is written here; known: {written}")


def expand(
    patterns: Sequence[StrPath], *, recursive: bool = False, without: StrPath | None = None
) -> list[Path]:
    """The files that `patterns` name: files, globs (`**` too) and folders, in this order, each file once.

    A folder gives the pictures directly in it; `recursive` those of the folders in it too, but for hidden ones and
    for `without`. A glob gives the pictures among its matches, both by suffix,
    sorted and without hidden files. A file named outright is taken whatever its suffix. Raises UserError
    for a pattern that gives nothing.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            found = _pictures(_below(path, without) if recursive else path.iterdir())
            if not found:
                raise UserError(f"no pictures in the folder {path}; looked for {', '.join(_formats())}")
        elif path.exists():  # before globs: a file may be called "photo [1].jpg"
            found = [path]
        elif glob.has_magic(str(path)):
            found = _pictures(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207  absolute too
            if not found:
                raise UserError(f"no pictures match {path}; looked for {', '.join(_formats())}")
        else:
            raise UserError(f"no such file or folder: {path}")
        files.update(dict.fromkeys(found))
    return list(files)


def _below(folder: Path, without: StrPath | None) -> Iterator[Path]:
    """The files in `folder` and in the folders in it, links to folders not followed."""
    left_out = None if without is None else Path(without).expanduser().resolve()
    for here, folders, files in os.walk(folder):
        parent = Path(here)
        folders[:] = [f for f in folders if not f.startswith(".") and (parent / f).resolve() != left_out]
        yield from (parent / name for name in files)


def _pictures(paths: Iterator[Path]) -> list[Path]:
    return sorted(p for p in paths if is_picture(p) and not p.name.startswith(".") and p.is_file())


# ---- Colour ------------------------------------------------------------------------------------------


@functools.cache
def _srgb() -> bytes:
    """An sRGB profile, the same bytes on every call and day."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07D0 0001 0001 0000 0000 0000")  # ICC.1 7.2.1: the time of creation
    return bytes(profile)


def _through_profile(image: Image.Image, profile: Any) -> Image.Image | None:
    """`image` from `profile` to 8-bit sRGB, or None where that cannot be done."""
    try:
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            image.mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return transform.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _embedded_profile(image: Image.Image) -> tuple[ImageCms.ImageCmsProfile | None, str]:
    """The embedded profile and its space ("RGB", "GRAY", "CMYK"); (None, "") for none, ours or damage."""
    data = image.info.get("icc_profile")
    if not data or data == _srgb():
        return None, ""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        return profile, profile.profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, ""  # a picture with a damaged profile is shown as sRGB, as viewers do


def _normalise_deep(image: Image.Image, most: int) -> tuple[list[Image.Image], Image.Image | None]:
    """`_normalise` for grey of 16 or 32 bits or floats, 0 to `most`: one or three planes of mode F."""
    values = np.asarray(image)
    grey = np.asarray(values, np.float32) / np.float32(most)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= most):  # also for NaN
        raise UserError(
            f"its grey values go from {low:g} to {high:g}, not 0 to {most}; save it as 8 or 16 bits"
        )
    key = image.info.get("transparency")
    alpha = (
        Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)) if isinstance(key, int) else None
    )
    profile, space = _embedded_profile(image)
    if profile is not None and space == "GRAY":
        # LittleCMS takes 8 bits from Pillow: the profile's curve at 256 places, and straight lines between.
        curve = _through_profile(Image.frombytes("L", (256, 1), bytes(range(256))), profile)
        if curve is not None:
            at, table = np.linspace(0, 1, 256), np.asarray(curve)[0] / 255
            return [Image.fromarray(np.interp(grey, at, t).astype(np.float32)) for t in table.T], alpha
    return [Image.fromarray(grey)], alpha


def _normalise(image: Image.Image) -> tuple[list[Image.Image], Image.Image | None]:
    """A loaded picture of at most 8 bits and any mode to sRGB: [RGB], and alpha as L or None."""
    profile, space = _embedded_profile(image)
    alpha = None
    if image.mode == "1":
        image = image.convert("L")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("LA" if image.mode in ("L", "LA") else "RGBA")
        alpha = image.getchannel("A")
        image = image.getchannel(0) if image.mode == "LA" else image.convert("RGB")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")

    if space == "RGB" and image.mode == "L":
        image = image.convert("RGB")
    if image.mode == "LAB":
        lab = _through_profile(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
        if lab is None:
            raise UserError("its Lab colours cannot be converted; save it as RGB")
        return [lab], alpha
    if profile is not None and space == {"L": "GRAY"}.get(image.mode, image.mode):
        converted = _through_profile(image, profile)
        if converted is not None:
            return [converted], alpha
    return [image.convert("RGB")], alpha


def _to_array(planes: Sequence[Image.Image]) -> npt.NDArray[np.float32]:
    """Planes of mode RGB, L or F to (1, C, H, W) float32 in [0, 1]."""
    if planes[0].mode == "F":
        return np.stack([np.asarray(p) for p in planes]).clip(0, 1)[None]
    values = np.asarray(planes[0])
    values = values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))
    return values[None].astype(np.float32) / np.float32(255)


# ---- Metadata ----------------------------------------------------------------------------------------


def _orientation(image: Image.Image) -> int:
    """1 (upright) to 8; 1 where it cannot be told."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return int(orientation) if orientation in _UPRIGHT else 1
    except Exception:  # noqa: BLE001  damaged EXIF makes Pillow raise anything, and must not cost the picture
        return 1


def _metadata(image: Image.Image, keep_gps: bool) -> bytes | None:
    """The metadata to carry. Damaged metadata counts as none."""
    try:
        exif, carried = image.getexif(), Image.Exif()
        for tag in _CARRIED & exif.keys():
            carried[tag] = exif[tag]
        photo = {t: v for t, v in exif.get_ifd(ExifTags.IFD.Exif).items() if t not in _NOT_CARRIED}
        if ExifTags.Base.ColorSpace in photo:
            photo[ExifTags.Base.ColorSpace] = 1  # EXIF 2.3, tag 40961: sRGB, which it now is
        if photo:
            carried[ExifTags.IFD.Exif] = photo
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo) if keep_gps else None
        if gps:
            carried[ExifTags.IFD.GPSInfo] = dict(gps)
        return carried.tobytes() if len(carried) else None
    except Exception:  # noqa: BLE001  as above
        return None


# ---- Reading -----------------------------------------------------------------------------------------

_pillow_limit = threading.RLock()


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow's own limit warns and then raises, and is a global: off, for one thread at a time."""
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _max_pixels(asked: int | None) -> int:
    if asked is not None:
        return asked
    text = os.environ.get(MAX_PIXELS_VARIABLE)
    if not text:
        return MAX_PIXELS
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{MAX_PIXELS_VARIABLE}={text!r} is not a whole number of pixels") from None


def pixel_limit() -> int:
    """The number of pixels beyond which `read` refuses a picture."""
    return _max_pixels(None)


def _load(image: Image.Image, limit: int, longer: int | None) -> tuple[float, float, float, float] | None:
    """Decode `image` in place; a JPEG much larger than `longer` at half, a quarter or an eighth of its size.

    Returns the box of the picture within what was decoded, where that has a fraction of a pixel too many.
    """
    width, height = image.size
    if min(width, height) < 1:
        raise UserError(f"it has no pixels ({width} x {height})")
    if width * height > limit:
        raise UserError(
            f"it has {width} x {height} pixels, over the limit of {limit}; "
            f"if you trust it set {MAX_PIXELS_VARIABLE}={width * height}"
        )
    box = None
    if longer is not None and image.format in ("JPEG", "MPO"):
        # The scaled DCT is a plain average; at three times the size asked for Lanczos hides it, as
        # Pillow's documentation says of `reducing_gap`.
        target = fit_longer((height, width), longer)
        drafted = image.draft(image.mode, (3 * target[1], 3 * target[0]))
        box = drafted[1] if drafted else None
    if width * height > MAX_PIXELS // 2:  # where Pillow warns; TIFF asks again on decoding
        with _without_pillows_limit():
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
    """Lanczos to `size` (W, H). Pillow multiplies by alpha and divides after: no hidden colour seeps in."""
    lanczos = Image.Resampling.LANCZOS
    if alpha is not None and planes[0].mode == "RGB":
        both = Image.merge("RGBA", (*planes[0].split(), alpha)).resize(size, lanczos, box)
        return [both.convert("RGB")], both.getchannel("A")
    return [p.resize(size, lanczos, box) for p in planes], alpha and alpha.resize(size, lanczos, box)


def _decode(image: Image.Image, limit: int, longer: int | None, keep_gps: bool) -> Picture:
    width, height = image.size
    tile = getattr(image, "tile", None)
    raw = str(tile[0][3]) if tile else image.mode  # Pillow's name of how the samples lie in the file
    bits = 16 if ";16" in raw or ";12" in raw or image.mode == "I" else 8
    box = _load(image, limit, longer)
    orientation, exif = _orientation(image), _metadata(image, keep_gps)
    if image.mode == "F" or image.mode.startswith("I"):
        most = 1 if image.mode == "F" else 4095 if "I;12" in raw else 65535
        planes, alpha = _normalise_deep(image, most)
    else:
        key = image.info.get("transparency")
        if bits == 16 and isinstance(key, tuple):
            image.info["transparency"] = tuple(v >> 8 for v in key)  # Pillow cut the pixels, not the key
        planes, alpha = _normalise(image)
    if longer is not None:
        new_h, new_w = fit_longer((height, width), longer)
        planes, alpha = _resized(planes, alpha, (new_w, new_h), box)
    if orientation != 1:
        planes = [p.transpose(_UPRIGHT[orientation]) for p in planes]
        alpha = alpha and alpha.transpose(_UPRIGHT[orientation])
    rgb = _to_array(planes)
    if rgb.shape[1] == 1:
        rgb = rgb.repeat(3, 1)
    return Picture(rgb, None if alpha is None else _to_array([alpha]), exif, bits)


def read(
    path: StrPath, *, longer: int | None = None, keep_gps: bool = False, max_pixels: int | None = None
) -> Picture:
    """The picture in a file, upright and in sRGB.

    JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, and AVIF and HEIC where there is a plug-in, told apart by the
    content and not by the suffix. Palettes, grey, CMYK, Lab and transparency are taken; of several frames
    the first. Colours go through the embedded profile, where there is one. Grey of 16 bits keeps its
    depth; Pillow cuts RGB of 16 bits to 8, so there `bits` is 16 and values are up to 1/255 too dark.

    `longer` makes the longer side that many pixels, up or down (Lanczos). `keep_gps` carries the place in
    the metadata. `max_pixels` is the limit on width times height; else the environment's
    TEXTURENETS_MAX_PIXELS, else `MAX_PIXELS`. May be called from several threads at once.

    Raises UserError for a file that is missing, unreadable, no picture, damaged, cut short or too large.
    """
    path = Path(path)
    _check_longer(longer)
    limit = _max_pixels(max_pixels)
    try:
        with path.open("rb") as file:
            return _read(file, path, limit, longer, keep_gps)
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not a picture") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {_reason(error)}") from error


@dataclass(frozen=True)
class Header:
    """What a file says of its picture without its pixels being decoded.

    `size` (H, W) is as stored, `orientation` what turns it upright (EXIF, 1 to 8), `format` Pillow's name.
    """

    size: tuple[int, int]
    orientation: int
    format: str
    exif: bytes | None

    @property
    def upright(self) -> tuple[int, int]:
        """(H, W) of the picture turned upright."""
        return self.size if self.orientation < 5 else (self.size[1], self.size[0])


def read_header(path: StrPath, *, keep_gps: bool = False) -> Header | None:
    """The header of the picture in a file; None where it has none that can be read here."""
    try:
        with Path(path).open("rb") as file:
            with _without_pillows_limit():
                image = Image.open(file, formats=sorted(set(_formats().values())))
            with image:
                exif = _metadata(image, keep_gps)
                return Header((image.height, image.width), _orientation(image), image.format or "", exif)
    except Exception:  # noqa: BLE001  `read` says what is wrong with it
        return None


def srgb_profile() -> bytes:
    """The bytes of an sRGB profile, as it is embedded in what is written."""
    return _srgb()


def from_bytes(
    data: bytes,
    name: str = "the picture",
    *,
    longer: int | None = None,
    keep_gps: bool = False,
    max_pixels: int | None = None,
) -> Picture:
    """As `read`, of the bytes of a file; errors call it `name`."""
    _check_longer(longer)
    return _read(io.BytesIO(data), name, _max_pixels(max_pixels), longer, keep_gps)


def measure(data: bytes, name: str = "the picture") -> tuple[str, tuple[int, int]]:
    """Format, as Pillow calls it, and (H, W) that the bytes of a file say of themselves; nothing is decoded.

    Raises UserError for what is empty or no picture.
    """
    with _opened(io.BytesIO(data), name) as image:
        return str(image.format), (image.height, image.width)


def _check_longer(longer: int | None) -> None:
    if longer is not None and longer < 1:
        raise UserError(f"cannot make a picture {longer} pixels long: the longer side is at least 1")


@contextmanager
def _opened(file: IO[bytes], name: StrPath) -> Iterator[Image.Image]:
    """The picture in `file`, not decoded yet. Raises UserError, for whatever goes wrong with it in the block too."""
    start = file.read(16)
    if not start:
        raise UserError(f"{name} is empty")
    try:
        with _without_pillows_limit():
            image = Image.open(file, formats=sorted(set(_formats().values())))
        with image:
            yield image
    except UserError as error:
        raise UserError(f"cannot use {name}: {error}") from error
    except UnidentifiedImageError:
        raise UserError(_unidentified(name, start)) from None
    except MemoryError:
        raise UserError(f"not enough memory to decode {name}") from None
    except Exception as error:  # damaged files make decoders raise anything
        raise UserError(f"{name} is damaged or cut short: {_reason(error)}") from error


def _read(file: IO[bytes], name: StrPath, limit: int, longer: int | None, keep_gps: bool) -> Picture:
    with _opened(file, name) as image:
        return _decode(image, limit, longer, keep_gps)


def _unidentified(path: StrPath, start: bytes) -> str:
    brand = start[8:12] if start[4:8] == b"ftyp" else b""  # ISO base media, also that of films
    if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1") and ".heic" not in _formats():
        return f"cannot read {path}: HEIC needs pillow-heif (pip install 'texturenets[heif]')"
    if brand in (b"avif", b"avis") and ".avif" not in _formats():
        return f"cannot read {path}: AVIF needs Pillow 11.3 or newer, with AVIF built in"
    names = ", ".join(dict.fromkeys(_formats().values()))
    return f"{path} is not a picture that can be read here ({names})"


# ---- Writing -----------------------------------------------------------------------------------------


def _to_bytes(values: Array) -> npt.NDArray[np.uint8]:
    """(1, C, H, W) floats to (H, W, C) bytes, clamped and rounded."""
    scaled = to_numpy(values)[0] * np.float32(255)
    if np.isnan(scaled).any():
        raise UserError("the picture holds values that are not numbers (NaN)")
    rounded = np.rint(scaled, out=scaled).clip(0, 255, out=scaled).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(1, 2, 0))


def _to_pil(rgb: Array, alpha: Array | None) -> Image.Image:
    """(1, 3, H, W) and (1, 1, H, W) or None to an RGB or RGBA image."""
    image = Image.fromarray(_to_bytes(rgb))
    if alpha is not None:
        image.putalpha(Image.fromarray(_to_bytes(alpha)[:, :, 0]))
    return image


def _encode(picture: Picture, name: str, quality: int | None, exif: bytes | None) -> bytes:
    """The file of format `name` in memory."""
    rgb = to_numpy(picture.pixels)
    alpha = None if picture.transparency is None else to_numpy(picture.transparency)
    if alpha is not None and name not in _WITH_ALPHA:
        rgb, alpha = rgb.clip(0, 1) * alpha + (1 - alpha), None  # on white, as paper is
    options: dict[str, Any] = {"icc_profile": _srgb()}
    if exif is not None and not (name == "JPEG" and len(exif) > _LONGEST_EXIF):
        options["exif"] = exif
    if name == "JPEG":
        options |= {"quality": quality or JPEG_QUALITY, "subsampling": "4:4:4"}
    elif name == "WEBP":
        options |= {"quality": quality or JPEG_QUALITY, "exact": True}  # exact: keep colours where alpha is 0
    elif name == "AVIF":
        options |= {"quality": quality or 90, "subsampling": "4:4:4"}
    elif name == "HEIF":
        options |= {"quality": quality or 90, "chroma": 444}
    elif name == "TIFF" and "exif" not in options:  # Pillow cannot write directories in compressed files
        options["compression"] = "tiff_adobe_deflate"
    elif name == "PNG":
        info = PngInfo()
        info.add(b"sRGB", b"\0")  # PNG, section 11.3.2.5: one byte says what the profile says in 588
        options = {k: v for k, v in options.items() if k != "icc_profile"} | {"pnginfo": info}
    elif name == "BMP":
        options = {}
    image = _to_pil(rgb, alpha)
    if max(image.size) > _LONGEST_SIDE.get(name, max(image.size)):
        raise UserError(
            f"{name} holds at most {_LONGEST_SIDE[name]} pixels a side, not {max(image.size)}; use .png"
        )
    buffer = io.BytesIO()  # not straight to the file: Pillow hides the reason of a failed write
    image.save(buffer, format=name, **options)
    return buffer.getvalue()


def write(
    path: StrPath, picture: Picture | Array, *, quality: int | None = None, exif: bytes | None = None
) -> None:
    """Write a picture, as 8-bit sRGB in the format that the suffix names; missing folders are made.

    `picture` is a `Picture`, or floats (3, H, W) or (1, 3, H, W), array or tensor; values are clamped to [0, 1] and
    rounded. `quality`, 1 to 100, is for JPEG (default 95, 4:4:4), WebP (95), AVIF and HEIC (90); the other
    formats are lossless. Alpha is kept where the format has it, else the picture is laid on white. `exif`
    replaces the picture's own metadata. The file appears whole or not at all.

    Raises UserError for an unknown suffix, a quality out of range, a picture too large for the format, and
    when the file cannot be written.
    """
    path = Path(path)
    data = to_bytes(path, picture, quality=quality, exif=exif)
    with whole(path) as part, part.open("wb") as file:
        file.write(data)


def to_bytes(
    path: StrPath, picture: Picture | Array, *, quality: int | None = None, exif: bytes | None = None
) -> bytes:
    """What `write` would write to `path`; of it the suffix alone matters. Errors as there."""
    path = Path(path)
    name = output_format(path)
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"quality {quality} is not between 1 and 100")
    if not isinstance(picture, Picture):
        picture = Picture(picture if picture.ndim == 4 else picture[None])
    pixels, alpha = picture.pixels, picture.transparency
    shape = tuple(pixels.shape)
    floats = pixels.is_floating_point() if is_tensor(pixels) else pixels.dtype.kind == "f"
    if len(shape) != 4 or shape[:2] != (1, 3) or 0 in shape or not floats:
        raise UserError(f"cannot write {path}: not one float picture (1, 3, H, W) but {pixels.dtype} {shape}")
    if alpha is not None and tuple(alpha.shape) != (1, 1, *shape[2:]):
        raise UserError(f"cannot write {path}: alpha of {tuple(alpha.shape)} beside a picture of {shape}")
    try:
        return _encode(picture, name, quality, picture.exif if exif is None else exif)
    except Exception as error:  # encoders raise anything
        raise UserError(f"cannot write {path}: {_reason(error)}") from error


# ---- PIL images, arrays and tensors ------------------------------------------------------------------


def _unit_range(values: A, what: str) -> A:
    """Floats checked to lie in [0, 1], with a little room for rounding."""
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # also false for NaN
        hint = "; divide it by 255" if low >= 0 and 1 < high <= 255 else ""
        raise UserError(f"{what} of floats holds values from {low:g} to {high:g}, not 0 to 1{hint}")
    return values.clip(0, 1)


def _split_channels(values: Array, bits: int) -> Picture:
    """(N, 1 | 3 | 4, H, W) to a Picture."""
    alpha: Any = values[:, 3:] if values.shape[1] == 4 else None
    rgb: Any = values[:, :3] if values.shape[1] > 1 else values[:, [0, 0, 0]]
    if is_tensor(values):
        return Picture(rgb.contiguous(), None if alpha is None else alpha.contiguous(), bits=bits)
    return Picture(
        np.ascontiguousarray(rgb), None if alpha is None else np.ascontiguousarray(alpha), bits=bits
    )


def from_any(image: Any) -> tuple[Picture, Kind]:
    """A PIL image, an array or a tensor as a Picture, and what is needed to give the same kind back.

    - PIL image, any mode: turned upright, through its profile.
    - Array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8, uint16, or floats in [0, 1].
    - Tensor (C, H, W) or (N, C, H, W) on any device, C = 1, 3 or 4: uint8, or floats in [0, 1]. With N > 1
      the Picture holds N pictures; it stays on the device.

    One channel is grey, the fourth is alpha. Raises UserError for anything else, saying what is wrong.
    """
    if isinstance(image, Image.Image):
        try:
            image = image.copy()  # decodes; what follows may change `info`
            picture = _decode(image, image.width * image.height, None, False)
        except (OSError, UserError) as error:
            raise UserError(f"cannot use the picture: {_reason(error)}") from error
        return picture, Kind("pil", alpha=picture.transparency)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if is_tensor(image):
        return _from_tensor(image)
    raise UserError(
        f"a picture is a PIL image, a numpy array or a torch tensor, not {type(image).__name__}; "
        "for files there is texturenets.image.read"
    )


def _from_array(array: npt.NDArray[Any]) -> tuple[Picture, Kind]:
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)) or 0 in shape:
        hint = "; put the channels last" if array.ndim == 3 and shape[0] in (1, 3, 4) else ""
        raise UserError(f"an array is (H, W) or (H, W, 1 | 3 | 4), not {shape}{hint}")
    values = array.astype(np.float32)
    if array.dtype == np.uint8:
        values = values / np.float32(255)
    elif array.dtype == np.uint16:
        values = values / np.float32(65535)
    elif array.dtype.kind == "f":
        values = _unit_range(values, "an array")
    else:
        raise UserError(f"an array is uint8, uint16 or float, not {array.dtype}")
    values = values[..., None] if values.ndim == 2 else values
    picture = _split_channels(values.transpose(2, 0, 1)[None], 16 if array.dtype == np.uint16 else 8)
    return picture, Kind("numpy", dtype=array.dtype, alpha=picture.transparency)


def _from_tensor(tensor: Tensor) -> tuple[Picture, Kind]:
    import torch

    shape = tuple(tensor.shape)
    if tensor.ndim not in (3, 4) or shape[-3] not in (1, 3, 4) or 0 in shape:
        hint = "; put the channels first" if tensor.ndim in (3, 4) and shape[-1] in (1, 3, 4) else ""
        raise UserError(f"a tensor is (C, H, W) or (N, C, H, W) with C = 1, 3 or 4, not {shape}{hint}")
    values = tensor.detach().float()
    if tensor.dtype == torch.uint8:
        values = values / 255
    elif tensor.is_floating_point():
        values = _unit_range(values, "a tensor")
    else:
        raise UserError(f"a tensor is uint8 or float, not {tensor.dtype}")
    picture = _split_channels(values if tensor.ndim == 4 else values.unsqueeze(0), 8)
    kind = Kind(
        "torch",
        dtype=tensor.dtype,
        batched=tensor.ndim == 4,
        device=tensor.device,
        alpha=picture.transparency,
    )
    return picture, kind


def to_kind(rgb: Array, kind: Kind) -> Any:
    """`rgb` (N, 3, H, W) in [0, 1] as what `kind` says: container, dtype, layout and device.

    Clamped, and rounded for whole numbers. It is always colour: a grey picture comes back with three
    channels. Alpha comes back too, resized where `rgb` has another size than before.
    """
    if kind.container == "torch":
        return _to_torch(to_tensor(rgb), kind)
    values = to_numpy(rgb).clip(0, 1)
    alpha = None if kind.alpha is None else resize(to_numpy(kind.alpha), (values.shape[2], values.shape[3]))
    if kind.container == "pil":
        return _to_pil(values, alpha)
    if alpha is not None:
        values = np.concatenate([values, alpha], 1)
    array = np.ascontiguousarray(values[0].transpose(1, 2, 0))
    whole = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(kind.dtype)
    return array.astype(kind.dtype) if whole is None else np.rint(array * whole).astype(kind.dtype)


def _to_torch(rgb: Tensor, kind: Kind) -> Tensor:
    import torch

    values = rgb.detach().float().clamp(0, 1)
    if kind.alpha is not None:
        alpha = to_tensor(kind.alpha).to(values.device)
        values = torch.cat([values, resize(alpha, (values.shape[2], values.shape[3]))], 1)
    if kind.dtype == torch.uint8:
        values = values.mul(255).round()
    values = values.to(kind.device, kind.dtype)
    return values if kind.batched else values[0]


# ---- Operations on pictures ---------------------------------------------------------------------------


def resize(x: A, size: tuple[int, int]) -> A:
    """Pictures (N, C, H, W) float32 in [0, 1] to `size` (H, W), antialiased, clamped to [0, 1].

    Bicubic with a filter that widens when shrinking (a = -0.5, that of Pillow's BICUBIC) and not Lanczos:
    it runs on the tensor's own device, whole batches at once, and differs from Lanczos by less than
    the eye sees.
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    if not is_tensor(x):
        planes = [Image.fromarray(plane) for plane in x.reshape(-1, *x.shape[2:]).astype(np.float32)]
        small = [np.asarray(p.resize((size[1], size[0]), Image.Resampling.BICUBIC)) for p in planes]
        return np.stack(small).reshape(*x.shape[:2], *size).clip(0, 1)
    import torch.nn.functional as F

    return F.interpolate(x, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def preserve_color(stylized: A, photo: A) -> A:
    """The luminance of `stylized` with the colours of `photo`, both (N, 3, H, W) in [0, 1], same size.

    Luminance-only transfer in YIQ (Gatys et al., "Preserving Color in Neural Artistic Style Transfer",
    arXiv 1606.05897), clamped to [0, 1]. In the matrix from YIQ to RGB the column of Y is (1, 1, 1), so
    exchanging Y and keeping I and Q adds the difference of Y to each of R, G and B. Weights of Y: ITU-R
    BT.601. Raises ValueError for different sizes.
    """
    if stylized.shape[1:] != photo.shape[1:]:
        raise ValueError(f"sizes differ: {tuple(stylized.shape)} and {tuple(photo.shape)}")
    change = stylized - photo
    luma = 0.299 * change[:, :1] + 0.587 * change[:, 1:2] + 0.114 * change[:, 2:]
    result: A = (photo + luma).clip(0, 1)
    return result
