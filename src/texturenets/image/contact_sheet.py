"""Many images on one, with names: a photo a row, a style a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from texturenets.arrays import to_numpy
from texturenets.image import resize
from texturenets.image.sizes import fit_longer

if TYPE_CHECKING:
    from texturenets.arrays import Array

GAP = 8  # pixels between images, and around them
PAPER, INK = 255, 40  # grey of the sheet and of the letters, 0..255


def sheet(
    rows: Sequence[Sequence[Array]],
    columns: Sequence[str],
    labels: Sequence[str] | None = None,
    cell: int = 320,
) -> NDArray[np.float32]:
    """One image (1, 3, H, W) of all `rows`, each a list of images (1, 3, H, W), arrays or tensors, RGB in [0, 1].

    Every image is scaled to fit a square of `cell` pixels, its shape kept; a row is as high as its highest
    image. `columns` are the names above, one for every image of the longest row; `labels` the names of the
    rows, below their first images. Names too long for their column end in "...". Raises ValueError where
    their numbers do not fit or there is nothing to show.
    """
    if not rows or not all(rows):
        raise ValueError("a contact sheet needs at least one image in every row")
    if len(columns) != max(map(len, rows)) or (labels is not None and len(labels) != len(rows)):
        raise ValueError(
            f"{len(columns)} column names and {len(rows) if labels is None else len(labels)} row names "
            f"for {len(rows)} rows of at most {max(map(len, rows))} images"
        )
    letters = max(12, cell // 16)
    line = letters + GAP
    small = [[resize(to_numpy(p), fit_longer((p.shape[2], p.shape[3]), cell)) for p in row] for row in rows]
    heights = [max(p.shape[2] for p in row) for row in small]

    width = GAP + len(columns) * (cell + GAP)
    height = GAP + line + sum(h + GAP + (line if labels else 0) for h in heights)
    canvas = Image.new("RGB", (width, height), (PAPER,) * 3)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(letters)

    def write(text: str, left: int, top: int) -> None:
        short = text
        while text and draw.textlength(short, font) > cell:
            text = text[:-1]
            short = text + "..."
        draw.text((left, top), short, (INK,) * 3, font)

    for column, name in enumerate(columns):
        write(name, GAP + column * (cell + GAP), GAP)
    top = GAP + line
    places = []
    for index, row in enumerate(small):
        for column, picture in enumerate(row):
            h, w = picture.shape[2:]
            left = GAP + column * (cell + GAP) + (cell - w) // 2
            places.append((picture, top + (heights[index] - h) // 2, left))
        top += heights[index] + GAP
        if labels:
            write(labels[index], GAP, top - GAP // 2)
            top += line

    result = np.array(canvas, np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    for picture, y, x in places:  # the images' own numbers: no rounding on the way
        h, w = picture.shape[2:]
        result[:, :, y : y + h, x : x + w] = picture
    return result
