"""The shipped styles at 512 pixels: the judge's scores beside other programs' networks, and artifacts.

    accept_style.py [NAME|MODEL ...] [--keep FOLDER] [--mirrored PIXELS]

Measured are texture by SqueezeNet, by VGG-16's first three blocks and by its fourth (`deep`), and the photo at
relu4_2 (`structure`), over four photos. Where the judge's tables have another program's network of the same
painting: the geometric mean of the ratios to it at most 0.9, none of the four above 1.1 on average, and paint in the
photo's calm quarter (`calm`) at least 0.9 of the other's on three of the photos (`wave`: half). For `starry_night`
and `composition_vii`: `calm` at least 0.5 on each, and bounds on the means of `structure` and `deep`. For every
style, on all photos: checkerboard artifacts at most 4 dB and the border at most 2 dB above the photo's own.
With --mirrored the photos are continued on every side by so many mirrored pixels, which are cropped off the results.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from bars import MEASURES, PHOTOS, judge, of_models, painting, photo, published, shared, texturenets
from PIL import Image

SIZE, CHECKERBOARD, BORDER = 512, 4.0, 2.0
RATIO, WORST, CALM, ENOUGH = 0.9, 1.1, 0.9, 3
LESS_PAINT = {"wave": 0.5}
"""Share of the other's `calm` that is enough: that painting has calm skies, too."""
BOUNDS = {
    "starry_night": {"structure": 1.0, "deep": 0.4},
    "composition_vii": {"structure": 0.85, "deep": 0.45},
}
LEAST_CALM = 0.5

Scores = Mapping[str, Mapping[str, float]]


def resized(path: Path, folder: Path) -> Path:
    """The photo itself at the judged size."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    scale = SIZE / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    out = folder / f"{path.stem}.png"
    picture.resize(size, Image.Resampling.LANCZOS).save(out)
    return out


def stylize(photo: Path, style: str, out: Path, mirrored: int) -> None:
    """Stylize a photo of the judged size, continued by `mirrored` pixels on every side, which are cropped off."""
    with Image.open(photo) as opened:
        pixels = np.pad(np.asarray(opened), [(mirrored, mirrored)] * 2 + [(0, 0)], mode="reflect")
    wide = photo.with_name(f"{photo.stem}-wide.png")
    Image.fromarray(pixels).save(wide)
    texturenets("stylize", wide, "-s", style, "-o", out)
    with Image.open(out) as opened:
        opened.crop((mirrored, mirrored, opened.width - mirrored, opened.height - mirrored)).save(out)
    wide.unlink()


def beside(stem: str, mine: Scores, theirs: Scores) -> list[str]:
    """What misses the bars beside another program's network, by photo and measure."""
    ratios = {key: [mine[name][key] / theirs[name][key] for name in PHOTOS] for key in MEASURES}
    mean = math.exp(statistics.mean(math.log(r) for rs in ratios.values() for r in rs))
    worst = max(MEASURES, key=lambda key: statistics.mean(ratios[key]))
    share = LESS_PAINT.get(stem, CALM)
    painted = sum(mine[name]["calm"] >= share * theirs[name]["calm"] for name in PHOTOS)
    high = statistics.mean(ratios[worst])
    print(
        f"{stem}: {mean:.2f} of the other network's, {worst} {high:.2f}, calm places painted on {painted} of 4"
    )
    return [
        *([f"{stem}: geometric mean {mean:.2f}, at most {RATIO}"] if mean > RATIO else []),
        *([f"{stem}: {worst} {high:.2f} times, at most {WORST}"] if high > WORST else []),
        *(
            [f"{stem}: calm places painted on {painted} photos, at least {ENOUGH}"]
            if painted < ENOUGH
            else []
        ),
    ]


def bounded(stem: str, mine: Scores) -> list[str]:
    """What misses the bounds of a style that no table has."""
    means = {key: statistics.mean(scores[key] for scores in mine.values()) for key in BOUNDS[stem]}
    calm = min(scores["calm"] for scores in mine.values())
    missed = [
        f"{stem}: {key} {means[key]:.2f}, at most {most}"
        for key, most in BOUNDS[stem].items()
        if means[key] > most
    ]
    return missed + ([f"{stem}: calm {calm:.2f}, at least {LEAST_CALM}"] if calm < LEAST_CALM else [])


def main() -> int:
    parser = of_models("style", __doc__)
    parser.add_argument("--keep", type=Path, help="folder for the images")
    parser.add_argument("--mirrored", type=int, default=0, help="pixels on every side")
    options = parser.parse_args()
    table, missed = published(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        photos = sorted((shared() / "images/content/eval").glob("*.jpg"))
        small = {path.stem: resized(path, folder) for path in photos}
        own = {name: judge("artifacts", path) for name, path in small.items()}
        columns = "".join(f"{key:>11}" for key in (*MEASURES, "calm"))
        print(f"{'style':17}{'photo':18}{columns}   checkerboard  border")
        for style in options.models:
            stem, scores = Path(style).stem, {}
            for path in photos:
                out = folder / f"{path.stem}-{stem}.png"
                name = path.stem
                if options.mirrored:
                    stylize(small[name], style, out, options.mirrored)
                else:
                    texturenets("stylize", path, "-s", style, "--size", str(SIZE), "-o", out)
                found = judge("artifacts", out)
                grid, rim = (found[key] - own[name][key] for key in ("lattice", "border"))
                if grid > CHECKERBOARD or rim > BORDER:
                    missed.append(f"{stem} on {name}: checkerboard {grid:+.1f}, border {rim:+.1f}")
                numbers = " " * 55
                if name in PHOTOS:
                    scores[name] = judge("style", painting(style), photo(name), out)
                    numbers = "".join(f"{scores[name][key]:11.3f}" for key in (*MEASURES, "calm"))
                print(f"{stem:17}{name:18}{numbers}{grid:+15.1f}{rim:+8.1f}", flush=True)
            theirs = {name: table[stem, name] for name in PHOTOS if (stem, name) in table}
            missed += (
                beside(stem, scores, theirs) if theirs else bounded(stem, scores) if stem in BOUNDS else []
            )
    print("\n".join(["missed:", *missed]) if missed else "met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
