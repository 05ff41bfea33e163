"""Pictures of README.md, made with the package's own photos and styles.

    python benchmarks/pictures.py [-o docs/pictures]

Each shows one option of `texturenets stylize`, with the values that stand above its columns.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import texturenets as tn
from texturenets import image
from texturenets.image.contact_sheet import sheet

PHOTOS = Path(__file__).parents[1] / "src/texturenets/photos"
CELL, QUALITY = 380, 82
PAN, FRAMES = 24, 4  # pixels that the camera moves between two frames that are shown, and their number


def photo(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One of the package's photos, (1, 3, H, W), RGB in [0, 1]."""
    return np.asarray(image.read(PHOTOS / f"{name}.jpg").pixels)


def row(style: str, name: str, columns: Mapping[str, Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    """The photo called `name`, and beside it what `style` makes of it with each of the options in `columns`."""
    source, painter = photo(name), tn.load(style)
    results = [painter.stylize(source, **options) for options in columns.values()]
    return sheet([[source, *results]], ["photo", *columns], cell=CELL)


def video() -> np.ndarray[Any, Any]:
    """Frames of a camera that moves over a photo, and what `udnie` makes of them."""
    source, painter = photo("coffee"), tn.load("udnie")
    width = source.shape[3] - PAN * (FRAMES - 1)
    frames = [source[..., PAN * i : PAN * i + width] for i in range(FRAMES)]
    return sheet(
        [[painter.stylize(frame) for frame in frames]], [f"frame {8 * i}" for i in range(FRAMES)], cell=CELL
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/pictures"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    strengths = {f"--strength {value:g}": {"strength": value} for value in (0.4, 0.7, 1)}
    strokes = {f"--stroke {value:g}": {"stroke": value} for value in (1, 2, 4)}
    colors = {name: {"preserve_color": name != "wave"} for name in ("wave", "--preserve-color")}
    made = {
        "strength": row("composition_vii", "cat", strengths),
        "strokes": row("composition_vii", "coffee", strokes),
        "colors": row("wave", "coffee", colors),
        "video": video(),
    }
    for name, picture in made.items():
        path = folder / f"{name}.jpg"
        image.write(path, picture, quality=QUALITY)
        print(path)


if __name__ == "__main__":
    main()
