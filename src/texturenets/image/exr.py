"""OpenEXR through its own Python package: scene-linear light in files, sRGB here."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from texturenets.errors import MissingError, UserError, install
from texturenets.image import exr_child

SECONDS: Final = 60.0  # time for a slow machine to start the child; large files get more
START: Final = b"\x76\x2f\x31\x01"


def installed() -> bool:
    """Whether the package OpenEXR is installed."""
    return find_spec("OpenEXR") is not None


def require(path: object, doing: str = "read") -> None:
    """Raise UserError if the package is not installed."""
    if not installed():
        raise MissingError(f"cannot {doing} {path}: EXR needs the package OpenEXR ({install('exr')})")


def encoded(linear: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Linear light in [0, 1] as sRGB (IEC 61966-2-1)."""
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve).astype(np.float32)


def linear(srgb: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The inverse of `encoded`."""
    curve = ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(srgb <= 0.04045, srgb / 12.92, curve).astype(np.float32)


def read(data: bytes, limit: int) -> npt.NDArray[Any]:
    """The first part of an EXR file (H, W, 1, 3 or 4), float16 or float32, linear light: grey, RGB, RGBA.

    `limit`: pixels at most. It is read in a child process: for damaged files the library prints messages, and may
    crash. Raises UserError for a file that the child refuses (more pixels than `limit`, other channels), ValueError
    for one that it cannot decode.
    """
    import subprocess  # here, as few images are EXR, and importing it takes as long as reading a small one
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.exr"), Path(folder, "out.npy")
        source.write_bytes(data)
        words = [sys.executable, "-P", exr_child.__file__, str(source), str(target), str(limit)]
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=SECONDS + len(data) / 10e6,
            )
        except subprocess.TimeoutExpired:
            raise ValueError("decoding it came to no end") from None
        if done.returncode == exr_child.REFUSED:
            raise UserError(done.stderr.strip().splitlines()[-1])
        if done.returncode != 0:
            raise ValueError("its pixels cannot be decoded")
        values: npt.NDArray[Any] = np.load(target, allow_pickle=False)
    return values


def write(rgb: npt.NDArray[np.float32], alpha: npt.NDArray[np.float32] | None, *, half: bool) -> bytes:
    """An EXR file of sRGB in [0, 1] (H, W, 3), opacity (H, W, 1) or none: linear light, multiplied by the opacity."""
    light = linear(rgb)
    if alpha is not None:
        light = np.concatenate([light * alpha, alpha], 2)
    return write_channels(light, half=half)


def write_channels(values: npt.NDArray[np.float32], *, half: bool = False) -> bytes:
    """An EXR file of `values` (H, W, 1, 3 or 4) as they are: grey, RGB or RGBA."""
    import tempfile

    import OpenEXR

    name = {1: "Y", 3: "RGB", 4: "RGBA"}[values.shape[2]]
    pixels = np.ascontiguousarray(
        values[:, :, 0] if name == "Y" else values, np.float16 if half else np.float32
    )
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.exr")
        with OpenEXR.File(header, {name: pixels}) as file:
            file.write(str(path))
        return path.read_bytes()
