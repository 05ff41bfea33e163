"""Pictures of a model of several styles: beside networks of one style, paintings learned into it, a mixture, a mask.

    python benchmarks/gallery_pictures.py GALLERY [-o docs/pictures] [--painting FILE ...] [--minutes 1 6]
                                          [--networks FOLDER] [--content FOLDER] [--keep FOLDER]

`gallery-beside` shows a photo in STYLES by the network of that style alone and by the gallery; `gallery-into` each
painting, the photo by the network of that painting alone, a model file in FOLDER called as the painting, where there
is one, and by what is learned of it into the gallery in so many minutes; `gallery-mixture` the way from one style to
another, and both side by side by a mask. With `--content` paintings are learned on those photos by `train style
--into`, else on the package's own by `stylize --into`; with `--keep` what is learned is kept for the next time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bars import texturenets
from pictures import CELL, PHOTOS, QUALITY, SMALL_CELL, photo

import texturenets as tn
from texturenets import image
from texturenets.errors import UserError
from texturenets.image.contact_sheet import sheet
from texturenets.modelfiles import modelfile

STYLES = ("wave", "udnie", "starry_night", "composition_vii")
SHARES = (0, 0.25, 0.5, 0.75, 1)
SUBJECT = "cat"

Pixels = np.ndarray[Any, Any]


def beside(gallery: str) -> Pixels:
    """The photo in STYLES, above by networks of one style, below by the gallery."""
    source, several = photo(SUBJECT), tn.load(gallery)
    alone = [tn.load(style).stylize(source) for style in STYLES]
    together = [several.stylize(source, mix={style: 1}) for style in STYLES]
    return sheet([alone, together], list(STYLES), cell=CELL)


def mixture(gallery: str) -> Pixels:
    """From the first of STYLES to the second, and both by a mask."""
    source, several = photo(SUBJECT), tn.load(gallery)
    first, second = STYLES[:2]
    mixes = [{first: 1 - share, second: share} for share in SHARES]
    made = [
        several.stylize(source, mix={style: part for style, part in mix.items() if part}) for mix in mixes
    ]
    right = np.zeros(source.shape[2:], np.float32)
    right[:, source.shape[3] // 2 :] = 1
    made.append(several.stylize(source, masks={first: 1 - right, second: right}))
    return sheet([made], [f"{share:.0%} {second}" for share in SHARES] + ["by a mask"], cell=SMALL_CELL)


def into(
    gallery: str,
    paintings: Sequence[Path],
    minutes: Sequence[float],
    networks: Path | None,
    content: Path | None,
) -> Pixels:
    """Each painting, and the photo in its style."""
    source, rows = photo(SUBJECT), []
    for path in paintings:
        alone = networks / f"{path.stem}.safetensors" if networks else None
        row = [np.asarray(image.read(path, longer=source.shape[3]).rgb)]
        row.append(tn.load(alone).stylize(source) if alone and alone.is_file() else np.ones_like(source))
        row += [learned(gallery, path, minute, content) for minute in minutes]
        rows.append(row)
    return sheet(rows, ["painting", "a network of it", *(f"--minutes {one:g}" for one in minutes)], cell=CELL)


def learned(gallery: str, path: Path, minutes: float, content: Path | None) -> Pixels:
    """The photo in the style of a painting that is learned into the gallery."""
    subject, time = PHOTOS / f"{SUBJECT}.jpg", ("--minutes", f"{minutes:g}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "made.png"
        if content is None:
            texturenets("stylize", subject, "-s", path, "--into", gallery, *time, "-o", out)
            return np.asarray(image.read(out).pixels)
    kept = Path(os.environ["TEXTURENETS_CACHE"]) / "paintings" / f"{path.stem}-{minutes:g}.safetensors"
    if not kept.exists():
        texturenets(
            "train", "style", path, "--into", gallery, "--content", content, *time, "-o", kept, "--quiet"
        )
    return np.asarray(tn.load(kept).stylize(photo(SUBJECT)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gallery")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--painting", type=Path, nargs="+", default=())
    parser.add_argument("--minutes", type=float, nargs="+", default=(1.0, 6.0))
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--content", type=Path)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    gallery = str(modelfile.find(options.gallery))
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TEXTURENETS_CACHE"] = str((options.keep or Path(temporary)).resolve())
        made = {"gallery-beside": lambda: beside(gallery), "gallery-mixture": lambda: mixture(gallery)}
        if options.painting:
            added = options.painting, options.minutes, options.networks, options.content
            made["gallery-into"] = lambda: into(gallery, *added)
        for name, draw in made.items():
            path = options.output / f"{name}.jpg"
            image.write(path, draw(), quality=QUALITY)
            print(path, flush=True)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
