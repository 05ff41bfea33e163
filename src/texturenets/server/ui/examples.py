"""Photos to try the page with: drawn by code, and those in the public domain that come with the package."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from texturenets.files import atomic_write
from texturenets.server.ui import gallery

BROUGHT = Path(__file__).parents[2] / "photos"

SIZE = (512, 768)  # (H, W) of the drawn examples


@functools.cache
def photos() -> list[Path]:
    """The files of the examples, which stay until the process ends."""
    made = []
    for name, draw in (("hills", _hills), ("fruit", _fruit)):
        made.append(_kept(name, Image.fromarray((255 * draw().clip(0, 1)).astype(np.uint8))))
    for path in sorted(BROUGHT.glob("*.jpg")):
        with Image.open(path) as picture:
            made.append(_kept(path.stem, picture))
    return made


def _kept(name: str, picture: Image.Image) -> Path:
    path = gallery.thumbnail_dir() / f"{name}.jpg"
    with atomic_write(path) as part:
        picture.save(part, "JPEG", quality=92)
    return path


def _grid() -> tuple[Any, Any]:
    """Rows and columns of a drawing, the height being 1."""
    height, width = SIZE
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    return y, x


def _noise(seed: int, octaves: int = 6) -> Any:
    """Smooth noise of many scales, about -1 to 1."""
    random = np.random.default_rng(seed)
    total = np.zeros(SIZE, np.float32)
    for octave in range(octaves):
        small = random.standard_normal((3 * 2**octave, 4 * 2**octave)).astype(np.float32)
        layer = Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC)
        total += np.asarray(layer) * 0.55**octave
    return total / 2


def _blend(below: Any, colour: tuple[float, float, float], share: Any) -> Any:
    return below + (np.array(colour, np.float32) - below) * share[..., None]


def _hills() -> Any:
    """A low sun over ridges in haze, and a lake."""
    y, x = _grid()
    sky = _blend(
        np.full((*SIZE, 3), (0.22, 0.42, 0.72), np.float32), (0.99, 0.78, 0.52), np.clip(1.7 * y, 0, 1)
    )
    sky = _blend(sky, (1.0, 0.96, 0.9), 0.75 * np.clip(_noise(1) - 0.15, 0, 1) * np.clip(1.2 - 2 * y, 0, 1))
    far = np.hypot(x - 1.02, y - 0.37)
    sky = _blend(sky, (1.0, 0.93, 0.72), np.clip(0.062 / np.maximum(far, 1e-3), 0, 1) ** 2)
    picture = sky
    rough = _noise(2)
    for i, (level, height) in enumerate(((0.46, 0.10), (0.53, 0.09), (0.60, 0.07), (0.66, 0.05))):
        line = level - height * _noise(10 + i, 7)[SIZE[0] // 2][None, :]
        near = i / 3
        colour = (0.50 - 0.40 * near, 0.52 - 0.28 * near, 0.60 - 0.45 * near)
        lit = (1 + 0.35 * near * rough)[..., None]
        inside = np.clip((y - line) * SIZE[0], 0, 1)[..., None]
        picture = picture * (1 - inside) + inside * np.array(colour, np.float32) * lit
    shore = 0.72
    rows = np.arange(SIZE[0])
    mirrored = picture[np.clip(2 * int(shore * SIZE[0]) - rows, 0, SIZE[0] - 1)]
    ripple = (1 + 0.12 * np.sin(260 * y**2 + 5 * _noise(4)))[..., None]
    water = 0.78 * mirrored * ripple + np.array((0.02, 0.05, 0.08), np.float32)
    return np.where((y > shore)[..., None], water, picture)


def _fruit() -> Any:
    """Balls that might be fruit, on a table."""
    y, x = _grid()
    wall = (
        np.full((*SIZE, 3), (0.36, 0.44, 0.47), np.float32) * (1.15 - 0.5 * x + 0.1 * _noise(20))[..., None]
    )
    grain = _noise(21, 5)[:, :1] + 0.2 * np.sin(90 * y + 6 * _noise(22, 3))
    table = np.array((0.55, 0.36, 0.21), np.float32) * (1 + 0.16 * grain)[..., None]
    picture = np.where((y > 0.62)[..., None], table, wall)
    light = np.array((-0.5, -0.62, 0.6))
    for cx, cy, r, colour in (
        (1.02, 0.56, 0.17, (0.86, 0.62, 0.12)),
        (0.47, 0.58, 0.19, (0.72, 0.15, 0.12)),
        (0.76, 0.66, 0.18, (0.93, 0.47, 0.10)),
        (1.18, 0.71, 0.12, (0.42, 0.55, 0.15)),
        (0.33, 0.76, 0.10, (0.33, 0.14, 0.34)),
    ):
        shade = np.exp(
            -((((x - cx - 0.5 * r) / (1.25 * r)) ** 2 + ((y - cy - 0.85 * r) / (0.35 * r)) ** 2) ** 1.5)
        )
        picture = picture * (1 - 0.6 * shade)[..., None]
        u, v = (x - cx) / r, (y - cy) / r
        depth = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
        lit = np.clip(u * light[0] + v * light[1] + depth * light[2], 0, 1)
        skin = 0.25 + 0.85 * lit + 0.08 * _noise(30 + int(100 * r))
        ball = np.array(colour, np.float32) * skin[..., None] + (0.7 * lit**24)[..., None]
        inside = np.clip((1 - np.hypot(u, v)) * r * SIZE[0], 0, 1)[..., None]
        picture = picture * (1 - inside) + ball * inside
    return picture
