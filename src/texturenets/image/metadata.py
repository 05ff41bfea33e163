"""The orientation of an image, and the metadata that is copied to the result: EXIF, resolution, texts."""

from __future__ import annotations

import math
from typing import IO

from PIL import ExifTags, Image

UPRIGHT = {  # the transpose that undoes each orientation (EXIF 2.3, section 4.6.4, tag 274)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_CARRIED = {  # tags of the main directory that still hold for a stylized, resized and rotated image
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
}

_NOT_CARRIED = {  # Exif tags not to copy: sizes and offsets that no longer hold; maker notes may contain positions
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
    ExifTags.Base.MakerNote,
}

# Texts of a PNG that repeat other chunks or describe the old file: EXIF, XMP, sizes, times, places.
_NO_TEXTS = ("raw profile type", "xml:", "xmp:", "exif:", "png:", "date:", "gps", "location")


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 if it is missing or damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return int(orientation) if orientation in UPRIGHT else 1
    except Exception:  # noqa: BLE001  Pillow raises many kinds of errors for damaged EXIF, which must not prevent reading the image
        return 1


def carried(image: Image.Image, keep_gps: bool) -> bytes | None:
    """The EXIF data to copy to the result; None for none, or damaged EXIF."""
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


def add_late_exif(image: Image.Image, file: IO[bytes]) -> None:
    """Find EXIF after the pixels of a PNG that was just opened; Pillow would have to decode the pixels for that."""
    if image.format != "PNG" or "exif" in image.info:
        return
    image.info["exif"] = None
    place = file.tell()
    file.seek(8)  # PNG, section 5: the signature; then chunks of length, name, data and checksum
    while len(head := file.read(8)) == 8:
        length, name = int.from_bytes(head[:4]), head[4:]
        if name == b"eXIf":
            image.info["exif"] = b"Exif\0\0" + file.read(length)
            break
        file.seek(length + 4, 1)
    file.seek(place)


def resolution(image: Image.Image, turn: int) -> tuple[float, float] | None:
    """Pixels an inch (across, down) of the image turned upright from the orientation `turn`; None if not stated."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not (min(across, down) > 1 and max(across, down) < 2**16) or math.isnan(across + down):
        return None  # 1: what Pillow says of a TIFF that says nothing; 2**16: beyond what a JPEG holds
    return (across, down) if turn < 5 else (down, across)


def texts(image: Image.Image) -> dict[str, str]:
    """The texts of a decoded PNG by keyword; the comment of a JPEG or GIF as a PNG would call it, "Comment"."""
    comment = image.info.get("comment")
    if isinstance(comment, bytes):
        comment = _decoded(comment)
    found = {"Comment": comment.rstrip("\0")} if isinstance(comment, str) and comment else {}
    # `image.text` would decode all frames of an animation; strings in `info` are the same.
    for key, text in image.info.items() if image.format == "PNG" else ():
        name = str(key)
        if isinstance(text, str) and not name.lower().startswith(_NO_TEXTS):
            found[name] = str(text)
    return found


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
