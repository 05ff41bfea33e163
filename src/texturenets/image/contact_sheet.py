"""Contact sheets: a grid of labelled images, one row for each photo and one column for each style."""

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
BACKGROUND, TEXT = 255, 40  # grey levels, 0 to 255


def sheet(
    rows: Sequence[Sequence[Array]],
    columns: Sequence[str],
    labels: Sequence[str] | None = None,
    cell: int = 320,
) -> NDArray[np.float32]:
    """A contact sheet of `rows` as one image (1, 3, H, W), RGB in [0, 1].

    `rows`: lists of images (1, 3, h, w), arrays or tensors, RGB in [0, 1]. Each is resized to fit a square of `cell`
    pixels; the aspect ratio is kept, and a row is as high as its highest image. `columns`: names above the columns;
    their number is that of the images in the longest row. `labels`: names of the rows, written below their first
    images. Names that are too long are cut and end in "...". Raises ValueError if there are no images, or not as many
    names as columns or rows.
    """
    if not rows or not all(rows):
        raise ValueError("a contact sheet needs at least one image in every row")
    if len(columns) != max(map(len, rows)) or (labels is not None and len(labels) != len(rows)):
        raise ValueError(
            f"{len(columns)} column names and {len(rows) if labels is None else len(labels)} row names "
            f"for {len(rows)} rows of at most {max(map(len, rows))} images"
        )
    font_size = max(12, cell // 16)
    line = font_size + GAP
    small = [[resize(to_numpy(p), fit_longer((p.shape[2], p.shape[3]), cell)) for p in row] for row in rows]
    heights = [max(p.shape[2] for p in row) for row in small]

    width = GAP + len(columns) * (cell + GAP)
    height = GAP + line + sum(h + GAP + (line if labels else 0) for h in heights)
    canvas = Image.new("RGB", (width, height), (BACKGROUND,) * 3)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(font_size)

    def write(text: str, left: int, top: int) -> None:
        short = text
        while text and draw.textlength(short, font) > cell:
            text = text[:-1]
            short = text + "..."
        draw.text((left, top), short, (TEXT,) * 3, font)

    for column, name in enumerate(columns):
        write(name, GAP + column * (cell + GAP), GAP)
    top = GAP + line
    positions = []
    for index, row in enumerate(small):
        for column, cell_image in enumerate(row):
            h, w = cell_image.shape[2:]
            left = GAP + column * (cell + GAP) + (cell - w) // 2
            positions.append((cell_image, top + (heights[index] - h) // 2, left))
        top += heights[index] + GAP
        if labels:
            write(labels[index], GAP, top - GAP // 2)
            top += line

    result = np.array(canvas, np.float32).transpose(2, 0, 1)[None] / np.float32(255)
    for cell_image, y, x in positions:  # as floats, not through PIL, which would round to 8 bits
        h, w = cell_image.shape[2:]
        result[:, :, y : y + h, x : x + w] = cell_image
    return result


def folded(row: Sequence[Array], names: Sequence[str], most: int, cell: int = 320) -> NDArray[np.float32]:
    """A contact sheet of the images of one photo, (1, 3, H, W), RGB in [0, 1]: in rows of equal length, of at most
    `most`, each with its name above. `row` and `cell` as in `sheet`."""
    length = -(-len(row) // -(-len(row) // most))
    bands = [
        sheet([row[i : i + length]], names[i : i + length], cell=cell) for i in range(0, len(row), length)
    ]
    wide = bands[0].shape[3]
    padding = [((0, 0), (0, 0), (0, 0), (0, wide - band.shape[3])) for band in bands]
    white = np.float32(BACKGROUND / 255)
    return np.concatenate(
        [np.pad(b, p, constant_values=white) for b, p in zip(bands, padding, strict=True)], 2
    )
