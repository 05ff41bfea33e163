"""Converts decoded images of any mode to sRGB, by their colour profiles."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from texturenets.errors import UserError
from texturenets.image import deep

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsProfile


@functools.cache
def srgb_profile() -> bytes:
    """The bytes of the sRGB profile that is embedded in written files: made by LittleCMS, its time of creation set to
    2000-01-01. It is a file because importing `PIL.ImageCms` takes a hundredth of the time of a small photo.
    """
    return Path(__file__).with_name("srgb.icc").read_bytes()


def _through_profile(image: Image.Image, profile: Any) -> Image.Image | None:
    """`image` from `profile` to 8-bit sRGB, or None if that cannot be done."""
    from PIL import ImageCms

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


def _embedded_profile(image: Image.Image) -> tuple[ImageCmsProfile | None, str]:
    """The embedded profile and its space ("RGB", "GRAY", "CMYK"); (None, "") if it is missing, the sRGB profile of
    this package, or damaged."""
    data = image.info.get("icc_profile")
    if not data or data == srgb_profile():
        return None, ""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        return profile, profile.profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, ""  # an image with a damaged profile is shown as sRGB, as viewers do


def normalise_deep(image: Image.Image, most: int) -> tuple[list[Image.Image], Image.Image | None]:
    """As `normalise`, for grey of 16 or 32 bits or floats, 0 to `most`: one or three planes of mode F."""
    values = np.asarray(image)
    grey = np.asarray(values, np.float32) / np.float32(most)
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:  # white is zero
        grey = 1 - grey
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= most):  # also for NaN
        raise UserError(
            f"its grey values go from {low:g} to {high:g}, not 0 to {most}; save it as 8 or 16 bits"
        )
    key = image.info.get("transparency")
    alpha = Image.fromarray((values != key).astype(np.float32)) if isinstance(key, int) else None
    profile, space = _embedded_profile(image)
    if profile is not None and space == "GRAY":
        # LittleCMS takes 8 bits from Pillow: the profile's curve at 256 places, and straight lines between.
        curve = _through_profile(Image.frombytes("L", (256, 1), bytes(range(256))), profile)
        if curve is not None:
            at, table = np.linspace(0, 1, 256), np.asarray(curve)[0] / 255
            return [Image.fromarray(np.interp(grey, at, t).astype(np.float32)) for t in table.T], alpha
    return [Image.fromarray(grey)], alpha


def normalise_colours(
    image: Image.Image, values: npt.NDArray[np.float32]
) -> tuple[list[Image.Image], Image.Image | None]:
    """As `normalise`, for `values` (3 or 4, H, W) in [0, 1], colours and alpha of `image`: all of mode F."""
    rgb, alpha = values[:3], Image.fromarray(values[3]) if len(values) == 4 else None
    profile, space = _embedded_profile(image)
    if profile is not None and space == "RGB":
        rgb = deep.through_table(rgb, lambda table: _through_profile(table, profile))
    return [Image.fromarray(plane) for plane in np.ascontiguousarray(rgb)], alpha


def normalise(image: Image.Image) -> tuple[list[Image.Image], Image.Image | None]:
    """A loaded image of at most 8 bits and any mode to sRGB: [RGB], and alpha as L or None."""
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
        from PIL import ImageCms

        lab = _through_profile(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
        if lab is None:
            raise UserError("its Lab colours cannot be converted; save it as RGB")
        return [lab], alpha
    if profile is not None and space == {"L": "GRAY"}.get(image.mode, image.mode):
        converted = _through_profile(image, profile)
        if converted is not None:
            return [converted], alpha
    return [image.convert("RGB")], alpha


def to_array(planes: Sequence[Image.Image]) -> npt.NDArray[np.float32]:
    """Planes of mode RGB, L or F to (1, C, H, W) float32 in [0, 1]."""
    if planes[0].mode == "F":
        return np.stack([np.asarray(p) for p in planes]).clip(0, 1)[None]
    values = np.asarray(planes[0])
    values = values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))
    pixels = values[None].astype(np.float32)
    pixels /= 255
    return pixels
