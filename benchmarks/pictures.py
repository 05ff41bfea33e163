"""Pictures of README.md, docs/models.md and docs/textures.md, made with the package's own photos and styles.

    python benchmarks/pictures.py [-o docs/pictures]

`gallery` shows all styles on two photos, `pair` one of them at its own size, `textures` all textures; each of the
others one option of `texturenets stylize`, with the values that stand above its columns.
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
from texturenets.loading import shipped_styles
from texturenets.modelfiles import modelfile

PHOTOS = Path(__file__).parents[1] / "src/texturenets/photos"
CELL, QUALITY = 380, 82
COLUMNS, SMALL_CELL, SAMPLE = 6, 306, 256
PAN, FRAMES = 24, 4  # pixels that the camera moves between two frames that are shown, and their number


def photo(name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One of the package's photos, (1, 3, H, W), RGB in [0, 1]."""
    return np.asarray(image.read(PHOTOS / f"{name}.jpg").pixels)


def row(style: str, name: str, columns: Mapping[str, Mapping[str, Any]]) -> np.ndarray[Any, Any]:
    """The photo called `name`, and beside it what `style` makes of it with each of the options in `columns`."""
    source, loaded = photo(name), tn.load(style)
    results = [loaded.stylize(source, **options) for options in columns.values()]
    return sheet([[source, *results]], ["photo", *columns], cell=CELL)


def gallery() -> np.ndarray[Any, Any]:
    """Two photos in every style, `COLUMNS` styles side by side."""
    photos, names = [photo("cat"), photo("coffee")], list(shipped_styles())
    parts = []
    for i in range(0, len(names), COLUMNS):
        styles = [tn.load(name) for name in names[i : i + COLUMNS]]
        rows = [[style.stylize(one) for style in styles] for one in photos]
        part = sheet(rows, names[i : i + COLUMNS], cell=SMALL_CELL)
        missing = (parts[0] if parts else part).shape[3] - part.shape[3]  # a last row that is not full
        parts.append(np.pad(part, ((0, 0), (0, 0), (0, 0), (0, missing)), constant_values=1.0))
    return np.concatenate(parts, 2)


def pair() -> np.ndarray[Any, Any]:
    """A photo and its result, each pixel a pixel."""
    source = photo("cat")
    made = [source, np.asarray(tn.load("starry_night").stylize(source))]
    return np.concatenate(made, 3)


def textures() -> np.ndarray[Any, Any]:
    """A sample of each shipped texture, `COLUMNS` side by side."""
    headers, _ = modelfile.headers(modelfile.shipped())
    names = [name for name, header in headers.items() if header.kind == "texture"]
    samples = [tn.load(name).draw(SAMPLE, SAMPLE, seed=7) for name in names]
    rows = [samples[i : i + COLUMNS] for i in range(0, len(samples), COLUMNS)]
    return np.concatenate([np.concatenate(row, 3) for row in rows], 2)


def video() -> np.ndarray[Any, Any]:
    """Frames of a camera that moves over a photo, and what `udnie` makes of them."""
    source, loaded = photo("coffee"), tn.load("udnie")
    width = source.shape[3] - PAN * (FRAMES - 1)
    frames = [source[..., PAN * i : PAN * i + width] for i in range(FRAMES)]
    return sheet(
        [[loaded.stylize(frame) for frame in frames]], [f"frame {8 * i}" for i in range(FRAMES)], cell=CELL
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
        "gallery": gallery(),
        "pair": pair(),
        "strength": row("composition_vii", "cat", strengths),
        "strokes": row("composition_vii", "coffee", strokes),
        "colors": row("wave", "coffee", colors),
        "textures": textures(),
        "video": video(),
    }
    for name, picture in made.items():
        path = folder / f"{name}.jpg"
        image.write(path, picture, quality=QUALITY)
        print(path)


if __name__ == "__main__":
    main()
