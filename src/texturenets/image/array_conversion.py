"""Conversion of PIL images, arrays and tensors to `Picture`, and back to the original type."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from texturenets.arrays import A, is_tensor, to_numpy, to_tensor
from texturenets.errors import UserError, reason
from texturenets.image.operations import resize
from texturenets.image.picture import Picture
from texturenets.image.reading import decode, raw_mode, read
from texturenets.image.writing import to_pil

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from texturenets.arrays import Array


@dataclass(frozen=True, eq=False)
class ImageKind:
    """The type of an image given to `from_any`, from which `to_kind` converts back.

    `dtype`: of the array or tensor; None for PIL. `batched`: whether a tensor was (N, C, H, W), not (C, H, W).
    `alpha` (N, 1, H, W): its transparency, in [0, 1]. `source`: the `Picture` that was given, for its metadata.
    """

    container: Literal["pil", "numpy", "torch", "picture"]
    dtype: Any = None
    batched: bool = False
    device: torch.device | None = None
    alpha: Array | None = None
    source: Picture | None = None


def check_batch(photos: Any) -> None:
    """Raise UserError unless `photos` is an array or a tensor (N, 3, H, W) of floats in [0, 1]."""
    wanted = "photos are an array or a tensor (N, 3, H, W) of floats in [0, 1]"
    if not isinstance(photos, np.ndarray) and not is_tensor(photos):
        raise UserError(f"{wanted}, not {type(photos).__name__}")
    shape = tuple(photos.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape:
        raise UserError(f"{wanted}, not {shape}; a call of the style takes other images too")
    floats = photos.is_floating_point() if is_tensor(photos) else photos.dtype.kind == "f"
    if not floats:
        raise UserError(f"{wanted}, not of {photos.dtype}; a call of the style takes other images too")
    _check_held(photos)
    _check_unit_range(photos, "photos of floats hold")


def _check_held(values: Any) -> None:
    if is_tensor(values) and values.is_meta:
        raise UserError("a tensor on the device meta holds no values: make one on cpu")
    if is_tensor(values) and values.is_sparse:
        raise UserError("a tensor is dense, not sparse: make it so by `.to_dense()`")


def _unit_range(values: A, what: str) -> A:
    """`values` clamped to [0, 1]. Raises UserError if any is NaN, or outside by more than 0.001 (rounding)."""
    _check_unit_range(values, f"{what} of floats holds")
    return values.clip(0, 1)


def _check_unit_range(values: Any, what: str) -> None:
    """`what`: the beginning of the error message, up to its verb."""
    values = values.detach() if is_tensor(values) else values
    low, high = float(values.min()), float(values.max())
    if math.isnan(low + high):
        raise UserError(f"{what} values that are not numbers (NaN)")
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        hint = "; divide it by 255" if low >= 0 and 2 < high <= 255 else ""
        hint = "; clip it to that range" if low > -0.5 and high <= 2 else hint
        raise UserError(f"{what} values from {low:g} to {high:g}, not 0 to 1{hint}")


def _split_channels(values: Array, bits: int) -> Picture:
    """A Picture of `values` (N, C, H, W) in [0, 1]: C = 1 is grey, 3 RGB, 4 RGB and alpha."""
    alpha: Any = values[:, 3:] if values.shape[1] == 4 else None
    rgb: Any = values[:, :3] if values.shape[1] > 1 else values[:, [0, 0, 0]]
    if is_tensor(values):
        return Picture(rgb.contiguous(), None if alpha is None else alpha.contiguous(), bits=bits)
    return Picture(
        np.ascontiguousarray(rgb), None if alpha is None else np.ascontiguousarray(alpha), bits=bits
    )


def from_any(image: Any) -> tuple[Picture, ImageKind]:
    """Convert an image of any supported type to a Picture; the `ImageKind` converts results back with `to_kind`.

    - Path of a file, str or Path: decoded by `read`; its results are PIL images.
    - `Picture`: returned unchanged.
    - PIL image of any mode: turned upright by its EXIF orientation, converted to sRGB by its ICC profile.
    - Array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8, uint16, or floats in [0, 1].
    - Tensor (C, H, W) or (N, C, H, W) on any device, C = 1, 3 or 4: uint8, or floats in [0, 1]. With N > 1
      the Picture holds N images. It stays on the device.

    One channel is grey, the fourth is alpha. Raises UserError for anything else, saying what is wrong.
    """
    if isinstance(image, str | Path):
        read_picture = read(image)
        return read_picture, ImageKind("pil", alpha=read_picture.transparency)
    if isinstance(image, Picture):
        return image, ImageKind("picture", alpha=image.transparency, source=image)
    if isinstance(image, Image.Image):
        try:
            raw = raw_mode(image)
            image = image.copy()  # decodes; the code below may change `info`
            picture = decode(image, image.width * image.height, None, False, raw)
        except (OSError, UserError) as error:
            raise UserError(f"cannot use the image: {reason(error)}") from error
        return picture, ImageKind("pil", alpha=picture.transparency)
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if is_tensor(image):
        return _from_tensor(image)
    hint = "; `texturenets.image.from_bytes` reads the bytes of a file" if isinstance(image, bytes) else ""
    raise UserError(
        "an image is a PIL image, a numpy array, a torch tensor or the path of a file, "
        f"not {type(image).__name__}{hint}"
    )


def _from_array(array: npt.NDArray[Any]) -> tuple[Picture, ImageKind]:
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)) or 0 in shape:
        hint = "; put the channels last" if array.ndim == 3 and shape[0] in (1, 3, 4) else ""
        hint = "; of several make a tensor (N, C, H, W), or call one by one" if array.ndim == 4 else hint
        raise UserError(f"an array is (H, W) or (H, W, 1 | 3 | 4), not {shape}{hint}")
    if array.dtype == np.uint8:
        values = array.astype(np.float32) / np.float32(255)
    elif array.dtype == np.uint16:
        values = array.astype(np.float32) / np.float32(65535)
    elif array.dtype.kind == "f":
        values = _unit_range(array.astype(np.float32), "an array")
    else:
        hint = "; of 0 to 255 make `.astype(np.uint8)`" if array.dtype.kind in "iu" else ""
        raise UserError(f"an array is uint8, uint16 or float, not {array.dtype}{hint}")
    values = values[..., None] if values.ndim == 2 else values
    picture = _split_channels(values.transpose(2, 0, 1)[None], 16 if array.dtype == np.uint16 else 8)
    return picture, ImageKind("numpy", dtype=array.dtype, alpha=picture.transparency)


def _from_tensor(tensor: Tensor) -> tuple[Picture, ImageKind]:
    import torch

    shape = tuple(tensor.shape)
    if tensor.ndim not in (3, 4) or shape[-3] not in (1, 3, 4) or 0 in shape:
        hint = "; put the channels first" if tensor.ndim in (3, 4) and shape[-1] in (1, 3, 4) else ""
        raise UserError(f"a tensor is (C, H, W) or (N, C, H, W) with C = 1, 3 or 4, not {shape}{hint}")
    _check_held(tensor)
    values = tensor.detach().float()
    if tensor.dtype == torch.uint8:
        values = values / 255
    elif tensor.is_floating_point():
        values = _unit_range(values, "a tensor")
    else:
        raise UserError(f"a tensor is uint8 or float, not {tensor.dtype}; of 0 to 255 make `.byte()`")
    picture = _split_channels(values if tensor.ndim == 4 else values.unsqueeze(0), 8)
    kind = ImageKind(
        "torch",
        dtype=tensor.dtype,
        batched=tensor.ndim == 4,
        device=tensor.device,
        alpha=picture.transparency,
    )
    return picture, kind


def to_kind(rgb: Array, kind: ImageKind) -> Any:
    """Convert `rgb` (N, 3, H, W) in [0, 1] to the type, dtype, layout and device of `kind`.

    Values are clamped, and rounded for integer dtypes. The result always has colour channels, also for a grey
    image. Alpha is kept, resized if `rgb` has another size than the original.
    """
    if kind.container == "torch":
        return _to_torch(to_tensor(rgb), kind)
    values = to_numpy(rgb).clip(0, 1)
    alpha = None if kind.alpha is None else resize(to_numpy(kind.alpha), (values.shape[2], values.shape[3]))
    if kind.source is not None:
        return kind.source.with_pixels(values, alpha)
    if kind.container == "pil":
        return to_pil(values, alpha)
    if alpha is not None:
        values = np.concatenate([values, alpha], 1)
    array = np.ascontiguousarray(values[0].transpose(1, 2, 0))
    largest = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(kind.dtype)
    return array.astype(kind.dtype) if largest is None else np.rint(array * largest).astype(kind.dtype)


def _to_torch(rgb: Tensor, kind: ImageKind) -> Tensor:
    import torch

    values = rgb.detach().float().clamp(0, 1)
    if kind.alpha is not None:
        alpha = to_tensor(kind.alpha).to(values.device)
        values = torch.cat([values, resize(alpha, (values.shape[2], values.shape[3]))], 1)
    if kind.dtype == torch.uint8:
        values = values.mul(255).round()
    values = values.to(kind.device, kind.dtype)
    return values if kind.batched else values[0]
