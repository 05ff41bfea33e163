"""A model of several styles beside the shipped networks of one style, its mixtures, strengths and masks.

    accept_gallery.py GALLERY [--pair wave udnie] [--keep FOLDER] [--only singles|mixtures|masks]

`GALLERY` is a shipped name or a model file. By the judge's scores at 512 pixels, means over four photos:

singles   each style that is shipped as a network of its own, too: squeezenet, vgg, deep, structure at most 1.1 times
          that network's, paint in calm places (`calm`) at least 0.9 of it
mixtures  from the first style of the pair to the second in 11 steps the distance to the first rises and to the second
          falls; strength in 11 steps: from the photo to the painting; no step back of more than a tenth of the range
masks     the first style in the left half and the second in the right: crops of each half have the figures of that
          style alone, at most 1.2 times

The distance to a painting is the mean logarithm of squeezenet, vgg and deep.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean

from bars import MEASURES, PHOTOS, judge, painting, photo, texturenets
from PIL import Image

from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import styles_of

SIZE, STEPS = 512, 11
WORSE, CALM, STEP_BACK, MASKED = 1.1, 0.9, 0.1, 1.2
TEXTURE = ("squeezenet", "vgg", "deep")

Scores = Mapping[str, float]


class Stylizer:
    """Stylizes the judged photos into a folder, each once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def picture(self, name: str, style: str, *options: str) -> Path:
        """The photo of that name in a style; `style` as after `-s`."""
        words = "".join(
            letter if letter.isalnum() or letter in ".=-" else "_" for letter in "-".join(options)
        )
        out = self.folder / f"{name}-{Path(style).name.replace(':', '_')}{words}.png"
        if not out.exists():
            texturenets("stylize", photo(name), "-s", style, "--size", str(SIZE), *options, "-o", out)
        return out

    def scores(self, stem: str, style: str, *options: str) -> dict[str, float]:
        """Means over the photos of the judge's figures, against the painting `stem`."""
        each = [
            judge("style", painting(stem), photo(name), self.picture(name, style, *options))
            for name in PHOTOS
        ]
        return {key: mean(one[key] for one in each) for key in (*MEASURES, "calm")}


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
    print(
        f"{name}: {', '.join(f'{value:.2f}' for value in values)}; largest step back {back:.2f} of the range"
    )
    return [f"{name}: a step back of {back:.2f}, at most {STEP_BACK}"] if back > STEP_BACK else []


def singles(stylizer: Stylizer, gallery: str, styles: Iterable[str]) -> list[str]:
    """Bars of each style that is shipped alone, too."""
    missed = []
    print(f"{'style':18}{''.join(f'{key:>12}' for key in (*MEASURES, 'calm'))}   (of the single network's)")
    for style in (name for name in styles if name in modelfile.shipped()):
        mine, single = stylizer.scores(style, f"{gallery}:{style}"), stylizer.scores(style, style)
        ratios = {key: mine[key] / single[key] for key in (*MEASURES, "calm")}
        print(f"{style:18}{''.join(f'{mine[k]:6.2f} {ratios[k]:4.2f}x' for k in ratios)}", flush=True)
        missed += [
            f"{style}: {k} {ratios[k]:.2f} times, at most {WORSE}" for k in MEASURES if ratios[k] > WORSE
        ]
        missed += (
            [f"{style}: calm {ratios['calm']:.2f} times, at least {CALM}"] if ratios["calm"] < CALM else []
        )
    return missed


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
    white = stylizer.folder / "mask.png"
    missed = []
    for name in PHOTOS:
        width, height = Image.open(stylizer.picture(name, f"{gallery}:{pair[0]}")).size
        mask = Image.new("L", (width, height))
        mask.paste(255, (0, 0, width // 2, height))
        mask.save(white)
        both = stylizer.picture(name, f"{gallery}:{pair[0]},{pair[1]}", "--mask", str(white))
        for i, style in enumerate(pair):
            box = (i * (width // 2), 0, width // 2 + i * (width - width // 2), height)
            alone = stylizer.picture(name, f"{gallery}:{style}")
            mine, its = (_cropped(stylizer.folder, name, style, path, box) for path in (both, alone))
            ratios = {key: mine[key] / its[key] for key in MEASURES}
            print(f"{name}, {style} beside the other: {', '.join(f'{k} {r:.2f}' for k, r in ratios.items())}")
            missed += [
                f"{name}, {style}: {k} {r:.2f}, at most {MASKED}" for k, r in ratios.items() if r > MASKED
            ]
    return missed


def _cropped(folder: Path, name: str, style: str, path: Path, box: tuple[int, int, int, int]) -> Scores:
    """The judge's figures of a part of a picture."""
    crop, content = folder / "crop.png", folder / "content.png"
    with Image.open(path) as opened, Image.open(photo(name)) as original:
        picture = opened.convert("RGB")
        picture.crop(box).save(crop)
        original.convert("RGB").resize(picture.size, Image.Resampling.LANCZOS).crop(box).save(content)
    return judge("style", painting(style), content, crop)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("gallery")
    parser.add_argument("--pair", nargs=2, default=("wave", "udnie"), metavar="STYLE")
    parser.add_argument("--keep", type=Path, help="folder for the images")
    parser.add_argument("--only", choices=("singles", "mixtures", "masks"))
    options = parser.parse_args()
    styles = styles_of(modelfile.read_header(modelfile.find(options.gallery)).rows)
    bars: dict[str, Callable[[Stylizer], list[str]]] = {
        "singles": lambda stylizer: singles(stylizer, options.gallery, styles),
        "mixtures": lambda stylizer: mixtures(stylizer, options.gallery, options.pair),
        "masks": lambda stylizer: masks(stylizer, options.gallery, options.pair),
    }
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, bar in bars.items():
            if options.only in (None, name):
                missed += bar(Stylizer(folder))
    print("\n".join(["missed:", *missed]) if missed else "met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
