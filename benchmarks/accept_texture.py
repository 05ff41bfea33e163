"""The shipped textures' samples against their exemplars: the judge's sums, the authors' networks, and artifacts.

    accept_texture.py [NAME|MODEL ...] [--keep FOLDER]

Four samples of 256 x 256, seeds 7 to 10. Where the judge's table has the exemplar, both sums are to be no higher than
there (5 % for the draw); for every texture both are to be below those between the halves of its exemplar, and the
checkerboard artifacts at most 4 dB above the exemplar's.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from bars import judge, of_models, shared, texturenets
from PIL import Image

from texturenets.modelfiles import modelfile

SEED, COUNT, DRAW, CHECKERBOARD = 7, 4, 1.05, 4.0


def authors() -> dict[str, tuple[float, float]]:
    """Exemplar to (squeezenet, vgg) of the authors' networks, from the judge's table."""
    text = (shared() / "judge/README.md").read_text()
    rows = re.findall(r"^\| (\S+\.(?:jpg|png)) \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    return {name: (float(squeezenet), float(vgg)) for name, squeezenet, vgg in rows}


def between_halves(exemplar: Path, folder: Path) -> dict[str, float]:
    """The judge's sums between the left and the right half."""
    with Image.open(exemplar) as opened:
        picture = opened.convert("RGB")
    middle = picture.width // 2
    halves = folder / f"{exemplar.stem}-left.png", folder / f"{exemplar.stem}-right.png"
    picture.crop((0, 0, middle, picture.height)).save(halves[0])
    picture.crop((picture.width - middle, 0, picture.width, picture.height)).save(halves[1])
    return judge("texture", *halves)


def main() -> int:
    parser = of_models("texture", __doc__)
    parser.add_argument("--keep", type=Path, help="folder for the samples")
    options = parser.parse_args()
    if not options.models:
        print("no textures are shipped: name model files")
        return 1
    table, missed = authors(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(
            f"{'texture':20}squeezenet   vgg     the authors'       the halves'        checkerboard (exemplar)"
        )
        for texture in options.models:
            name = modelfile.read_header(modelfile.find(texture)).training["styles"][0]
            exemplar = shared() / "images/texture" / name
            stem = Path(texture).stem
            texturenets(
                *("sample", texture, "--count", str(COUNT), "--seed", str(SEED), "--size", "256"),
                *("-o", f"{folder / stem}/", "--quiet"),
            )
            samples = sorted((folder / stem).glob("*.png"))[:COUNT]
            scores, halves = judge("texture", exemplar, *samples), between_halves(exemplar, folder)
            checkerboard = max(judge("artifacts", sample)["lattice"] for sample in samples)
            own = judge("artifacts", exemplar)["lattice"]
            theirs = table.get(name)
            aims = [halves] + ([dict(zip(("squeezenet", "vgg"), theirs, strict=True))] if theirs else [])
            for network in ("squeezenet", "vgg"):
                if scores[network] > halves[network]:
                    missed.append(f"{stem}: {network} above the halves'")
                if theirs and scores[network] > DRAW * aims[1][network]:
                    missed.append(f"{stem}: {network} above the authors'")
            if checkerboard > own + CHECKERBOARD:
                missed.append(f"{stem}: checkerboard {checkerboard - own:.1f} dB above the exemplar's")
            shown = f"{theirs[0]:.4f} / {theirs[1]:.4f}" if theirs else "-"
            print(
                f"{stem:20}{scores['squeezenet']:.4f} / {scores['vgg']:.4f}   {shown:19}"
                f"{halves['squeezenet']:.4f} / {halves['vgg']:.4f}   {checkerboard:5.1f} ({own:.1f})",
                flush=True,
            )
    print(*(missed or ["all met"]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
