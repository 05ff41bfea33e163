"""A model of several styles beside networks of one style; paintings learned into it; its mixtures, strengths, masks.

    accept_gallery.py GALLERY [--keep FOLDER] [--only singles into mixtures masks] [--pair wave udnie]
                      [--add cezanne red_chalk] [--minutes 1 6] [--networks FOLDER] [--photos chicago ...]

`GALLERY` is a shipped name or a model file. By the judge's scores at 512 pixels, means over four photos:

singles   each style that is shipped as a network of its own, too: squeezenet, vgg, deep, structure at most 1.1 times
          that network's, paint in calm places (`calm`) at least 0.9 of it
into      paintings that the gallery does not have, learned into it by `stylize --into --minutes` on the package's
          photos alone: after six minutes and more squeezenet, vgg, deep, structure at most 1.2 times those of a
          network of that painting alone, where --networks has that network, a model file called as the painting;
          `calm`, and what fewer minutes bring, is printed without a bar
mixtures  from the first style of the pair to the second in 11 steps the distance to the first rises and to the second
          falls; strength in 11 steps: from the photo to the painting; no step back of more than a tenth of the range
masks     the first style in the left half and the second in the right: crops of each half have the figures of that
          style alone, at most 1.2 times

The distance to a painting is the mean logarithm of squeezenet, vgg and deep. With --keep images, learned paintings
and scores are kept, by the gallery's bytes: the same command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

from bars import MEASURES, PHOTOS, ROOT, descriptors, judge, painting, photo, texturenets
from PIL import Image

from texturenets.errors import UserError
from texturenets.files import atomic_write
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import styles_of

SIZE, STEPS = 512, 11
WORSE, CALM, STEP_BACK, MASKED = 1.1, 0.9, 0.1, 1.2
LEARNED, FROM_MINUTES = 1.2, 6.0
TEXTURE = ("squeezenet", "vgg", "deep")
FIGURES = (*MEASURES, "calm")

Scores = Mapping[str, float]


class Stylizer:
    """Stylizes the judged photos into a folder and has them scored, each once."""

    def __init__(self, folder: Path, photos: Sequence[str]) -> None:
        self.folder, self.photos, self.kept = folder, photos, folder / "scores.json"
        self.known: dict[str, dict[str, float]] = (
            json.loads(self.kept.read_text()) if self.kept.exists() else {}
        )

    def picture(self, name: str, style: str, *options: str) -> Path:
        """The photo of that name in a style; `style` as after `-s`."""
        words = "".join(
            letter if letter.isalnum() or letter in ".=-" else "_" for letter in "-".join(options)
        )
        out = self.folder / f"{name}-{Path(style).name.replace(':', '_')}{words}.png"
        if not out.exists():
            texturenets("stylize", photo(name), "-s", style, "--size", str(SIZE), *options, "-o", out)
        return out

    def score(self, key: str, call: Callable[[], Scores]) -> Scores:
        """The judge's figures that `call` gives, under that key: of an earlier run, where it came so far."""
        if key not in self.known:
            self.known[key] = dict(call())
            with atomic_write(self.kept) as part:
                part.write_text(json.dumps(self.known, indent=1))
        return self.known[key]

    def mean_of(self, stem: str, pictures: Mapping[str, Path]) -> dict[str, float]:
        """Means over pictures, by the names of their photos, of the figures against the painting `stem`."""
        each = [
            self.score(f"{stem} {path.name}", partial(judge, "style", painting(stem), photo(name), path))
            for name, path in pictures.items()
        ]
        return {key: mean(one[key] for one in each) for key in FIGURES}

    def scores(self, stem: str, style: str, *options: str) -> dict[str, float]:
        """Means over the photos of the judge's figures, against the painting `stem`."""
        return self.mean_of(stem, {name: self.picture(name, style, *options) for name in self.photos})


def distance(scores: Scores) -> float:
    """How far a picture is from the painting."""
    return mean(math.log(scores[key]) for key in TEXTURE)


def step_back(values: Sequence[float]) -> float:
    """The largest fall of values that should rise, as a share of their range; 1 where they do not rise at all."""
    highest, worst = values[0], 0.0
    for value in values:
        highest = max(highest, value)
        worst = max(worst, highest - value)
    return worst / (max(values) - min(values)) if values[-1] > values[0] else 1.0


def told(name: str, values: Sequence[float]) -> list[str]:
    """Print values that should rise; what misses the bar."""
    back = step_back(values)
    figures = ", ".join(f"{value:.2f}" for value in values)
    print(f"{name}: {figures}; largest step back {back:.2f} of the range, at most {STEP_BACK}", flush=True)
    return [f"{name}: a step back of {back:.2f}, at most {STEP_BACK}"] if back > STEP_BACK else []


def header(name: str, worse: float, calm: float) -> None:
    """Print the first line of a table of `row`s."""
    columns = "".join(f"{key:>13}" for key in FIGURES)
    least = f", calm at least {calm}" if calm else ""
    print(f"{name:26}{columns}   times the network's of one style: at most {worse}{least}")


def row(name: str, mine: Scores, single: Scores, worse: float, calm: float) -> list[str]:
    """Print figures and their ratios to those of a network of one style; what misses the bars."""
    ratios = {key: mine[key] / single[key] for key in FIGURES}
    print(f"{name:26}{''.join(f'{mine[k]:7.2f} {ratios[k]:4.2f}x' for k in FIGURES)}", flush=True)
    missed = [f"{name}: {k} {ratios[k]:.2f} times, at most {worse}" for k in MEASURES if ratios[k] > worse]
    return missed + (
        [f"{name}: calm {ratios['calm']:.2f} times, at least {calm}"] if ratios["calm"] < calm else []
    )


def singles(stylizer: Stylizer, gallery: str, styles: Iterable[str]) -> list[str]:
    """Bars of each style that is shipped alone, too."""
    missed = []
    header("style", WORSE, CALM)
    for style in (name for name in styles if name in modelfile.shipped()):
        mine, single = stylizer.scores(style, f"{gallery}:{style}"), stylizer.scores(style, style)
        missed += row(style, mine, single, WORSE, CALM)
    return missed


def into(
    stylizer: Stylizer, gallery: str, stems: Sequence[str], minutes: Sequence[float], networks: Path | None
) -> list[str]:
    """Bars of paintings that are learned into the gallery."""
    missed = []
    os.environ.setdefault("TEXTURENETS_WEIGHTS", os.pathsep.join(descriptors()))
    os.environ["TEXTURENETS_CACHE"] = str(stylizer.folder / "cache")  # where `stylize` keeps them
    for minute in minutes:
        worse = LEARNED if minute >= FROM_MINUTES else math.inf
        header(f"painting, {minute:g} min", worse, 0.0)
        for stem in stems:
            pictures = learned(stylizer, gallery, stem, minute)
            mine = stylizer.mean_of(stem, pictures)
            alone = networks / f"{stem}.safetensors" if networks else None
            if alone is None or not alone.is_file():
                print(f"{stem:26}{''.join(f'{mine[k]:13.2f}' for k in FIGURES)}   no network of it: no bar")
                continue
            missed += row(f"{stem}, {minute:g} min", mine, stylizer.scores(stem, str(alone)), worse, 0.0)
    return missed


def learned(stylizer: Stylizer, gallery: str, stem: str, minutes: float) -> dict[str, Path]:
    """The judged photos in the style of a painting that is learned so long, on none of them; by name."""
    made = {name: stylizer.folder / f"{name}-{stem}-{minutes:g}min.png" for name in stylizer.photos}
    style = ("-s", painting(stem), "--into", gallery, "--minutes", f"{minutes:g}", "--size", str(SIZE))
    if missing := {name: out for name, out in made.items() if not out.exists()}:
        began = time.monotonic()
        texturenets(
            "stylize", ROOT / "src/texturenets/photos/cat.jpg", *style, "-o", stylizer.folder / "cat.png"
        )
        print(f"{stem}: {time.monotonic() - began:.0f} s from the painting to the first image", flush=True)
        for name, out in missing.items():
            texturenets("stylize", photo(name), *style, "-o", out)
    return made


def mixtures(stylizer: Stylizer, gallery: str, pair: Sequence[str]) -> list[str]:
    """Bars of mixtures of the pair, and of the strength of its first style."""
    first, second = pair
    shares = [i / (STEPS - 1) for i in range(STEPS)]
    mixed = [f"{gallery}:{first}={1 - share:g},{second}={share:g}" for share in shares]
    missed = told(
        f"to {second}: distance to {first}", [distance(stylizer.scores(first, one)) for one in mixed]
    )
    nearer = [-distance(stylizer.scores(second, one)) for one in mixed]
    missed += told(f"to {second}: nearness to {second}", nearer)
    by_strength = [
        stylizer.scores(first, f"{gallery}:{first}", "--strength", f"{share:g}") for share in shares
    ]
    missed += told("strength: nearness to the painting", [-distance(one) for one in by_strength])
    return missed + told("strength: distance to the photo", [one["structure"] for one in by_strength])


def masks(stylizer: Stylizer, gallery: str, pair: Sequence[str]) -> list[str]:
    """Bars of a picture that is one style left and the other right."""
    missed = []
    for name in stylizer.photos:
        width, height = Image.open(stylizer.picture(name, f"{gallery}:{pair[0]}")).size
        both = stylizer.picture(
            name, f"{gallery}:{pair[0]},{pair[1]}", "--mask", str(_left(stylizer, width, height))
        )
        for i, style in enumerate(pair):
            box = (i * (width // 2), 0, width // 2 + i * (width - width // 2), height)
            alone = stylizer.picture(name, f"{gallery}:{style}")
            mine, its = (
                stylizer.score(
                    f"{style} {path.name} {i}", partial(_cropped, stylizer.folder, name, style, path, box)
                )
                for path in (both, alone)
            )
            ratios = {key: mine[key] / its[key] for key in MEASURES}
            figures = ", ".join(f"{k} {r:.2f}" for k, r in ratios.items())
            print(f"{name}, {style} beside the other: {figures}; at most {MASKED} times", flush=True)
            missed += [
                f"{name}, {style}: {k} {r:.2f}, at most {MASKED}" for k, r in ratios.items() if r > MASKED
            ]
    return missed


def _left(stylizer: Stylizer, width: int, height: int) -> Path:
    """A mask that is white in the left half."""
    path = stylizer.folder / "mask.png"
    mask = Image.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2, height))
    mask.save(path)
    return path


def _cropped(folder: Path, name: str, style: str, path: Path, box: tuple[int, int, int, int]) -> Scores:
    """The judge's figures of a part of a picture."""
    crop, content = folder / "crop.png", folder / "content.png"
    with Image.open(path) as opened, Image.open(photo(name)) as original:
        picture = opened.convert("RGB")
        picture.crop(box).save(crop)
        original.convert("RGB").resize(picture.size, Image.Resampling.LANCZOS).crop(box).save(content)
    return judge("style", painting(style), content, crop)


PARTS = ("singles", "into", "mixtures", "masks")


def options_given() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gallery")
    parser.add_argument("--pair", nargs=2, default=("wave", "udnie"), metavar="STYLE")
    parser.add_argument("--add", nargs="+", default=("cezanne", "red_chalk"), metavar="PAINTING")
    parser.add_argument("--minutes", nargs="+", type=float, default=(1.0, 6.0))
    parser.add_argument(
        "--networks", type=Path, help="folder of networks of one style, called as their paintings"
    )
    parser.add_argument("--photos", nargs="+", choices=PHOTOS, default=PHOTOS, metavar="PHOTO")
    parser.add_argument("--keep", type=Path, help="folder for images and scores")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


def main() -> int:
    options = options_given()
    path = modelfile.find(options.gallery)
    gallery, styles = str(path), styles_of(modelfile.read_header(path).rows)
    bars: dict[str, Callable[[Stylizer], list[str]]] = {
        "singles": lambda stylizer: singles(stylizer, gallery, styles),
        "into": lambda stylizer: into(stylizer, gallery, options.add, options.minutes, options.networks),
        "mixtures": lambda stylizer: mixtures(stylizer, gallery, options.pair),
        "masks": lambda stylizer: masks(stylizer, gallery, options.pair),
    }
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)) / modelfile.identity(path)["sha256"][:16]
        folder.mkdir(parents=True, exist_ok=True)
        stylizer = Stylizer(folder.resolve(), options.photos)
        for name, bar in bars.items():
            if name in options.only:
                print(f"\n{name}", flush=True)
                try:
                    missed += bar(stylizer)
                except subprocess.CalledProcessError as error:  # the other parts are measured all the same
                    last = (error.stderr or "").strip().rpartition("\n")[2]
                    missed.append(f"{name}: {' '.join(map(str, error.cmd[1:]))} failed: {last}")
    print("\n" + ("\n".join(["missed:", *missed]) if missed else "met"))
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(str(error))
