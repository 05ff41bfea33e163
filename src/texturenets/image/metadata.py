"""EXIF: the orientation of an image, and the metadata that is copied to the result."""

from __future__ import annotations

from PIL import ExifTags, Image

UPRIGHT = {  # EXIF 2.3, section 4.6.4, tag 274: what undoes each orientation
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
