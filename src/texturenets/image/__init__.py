"""Reading and writing images: the only package that handles files, EXIF, colour profiles, alpha, bit depth and pixel
ranges.

Everywhere else an image is float32 RGB in [0, 1], NCHW, in sRGB and upright; an array or a tensor. Torch is imported
only when a tensor is requested: importing it takes longer than stylizing a photo.
"""

from texturenets.image.array_conversion import ImageKind, check_batch, from_any, to_kind
from texturenets.image.color import srgb_profile
from texturenets.image.formats import (
    expand,
    has_image_suffix,
    may_be_image_or_video,
    output_format,
    readable_formats_text,
    suffix_by_content,
    suffix_of_start,
    suffixes,
)
from texturenets.image.operations import luminance, preserve_color, resize, resize_picture, resize_wrapped
from texturenets.image.picture import Picture, StrPath, lost_by_stylizing
from texturenets.image.reading import (
    MAX_PIXELS,
    MAX_PIXELS_ENV_VAR,
    ImageInfo,
    from_bytes,
    pixel_limit,
    probe,
    read,
    read_data,
    read_header,
)
from texturenets.image.writing import (
    JPEG_QUALITY,
    as_integers,
    keeps_alpha,
    kept_bits,
    laid_on_white_message,
    lossy_suffixes,
    lost_by_format,
    metadata_lost_by_format,
    to_bytes,
    write,
    write_data,
)

__all__ = [
    "JPEG_QUALITY",
    "MAX_PIXELS",
    "MAX_PIXELS_ENV_VAR",
    "ImageInfo",
    "ImageKind",
    "Picture",
    "StrPath",
    "as_integers",
    "check_batch",
    "expand",
    "from_any",
    "from_bytes",
    "has_image_suffix",
    "keeps_alpha",
    "kept_bits",
    "laid_on_white_message",
    "lossy_suffixes",
    "lost_by_format",
    "lost_by_stylizing",
    "luminance",
    "may_be_image_or_video",
    "metadata_lost_by_format",
    "output_format",
    "pixel_limit",
    "preserve_color",
    "probe",
    "read",
    "read_data",
    "read_header",
    "readable_formats_text",
    "resize",
    "resize_picture",
    "resize_wrapped",
    "srgb_profile",
    "suffix_by_content",
    "suffix_of_start",
    "suffixes",
    "to_bytes",
    "to_kind",
    "write",
    "write_data",
]
