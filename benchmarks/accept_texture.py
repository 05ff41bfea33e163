"""The shipped textures' samples against their exemplars: the judge's sums, patches, the authors' networks, artifacts.

    accept_texture.py [NAME|MODEL ...] [--keep FOLDER]

Four samples of 256 x 256, seeds 7 to 10. Where the authors of Texture Networks published a network of the exemplar,
the judge's sums are to be no higher than its (5 % for the draw), and the patch distance (`texturenets evaluate`) no
higher than that of four samples of that network; for every texture all three are to be below those between the halves
of its exemplar, and the checkerboard artifacts at most 4 dB above the exemplar's. Where rows of an exemplar repeat,
the correlation of the means of a sample's rows with those one period further down, across 512 pixels, is printed, as
a share of the exemplar's; for `brick_wall` it is to be at least 0.7. Exemplars are photographs beside the checkout,
or drawn by examples/surfaces.py.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
from pathlib import Path

from bars import ROOT, judge, of_models, shared, texturenets
from PIL import Image
from textures import LARGE, correlation, period, row_means

from texturenets import image, loading
from texturenets.arrays import to_tensor
from texturenets.converters import convert
from texturenets.evaluation.patches import patch_distance
from texturenets.modelfiles import modelfile

sys.path.insert(0, str(ROOT / "examples"))
import surfaces

SEED, COUNT, SIDE, DRAW, CHECKERBOARD = 7, 4, 256, 1.05, 4.0
COURSES = {"brick_wall.jpg": 0.7}
SUMS = ("squeezenet", "vgg")


def exemplar_of(model: str, folder: Path) -> Path:
    """The exemplar's file: a photograph, or drawn into `folder`."""
    name = modelfile.read_header(modelfile.find(model)).training["styles"][0]
    photograph = shared() / "images/texture" / name
    if photograph.exists():
        return photograph
    drawn = folder / name
    surfaces.surface(drawn.stem).save(drawn)
    return drawn


def samples_of(model: str | Path, folder: Path) -> list[Path]:
    """Files of the samples that are measured."""
    made = folder / Path(model).stem
    texturenets(
        *("sample", model, "--count", str(COUNT), "--seed", str(SEED), "--size", str(SIDE)),
        *("-o", f"{made}/", "--quiet"),
    )
    return sorted(made.glob("*.png"))[:COUNT]


def patches(samples: list[Path], exemplar: Path) -> float:
    """The patch distance of samples."""
    read = [image.read(path).on_white for path in samples]
    return patch_distance(read, image.read(exemplar).on_white, SEED)["mean"]


def courses(model: str, exemplar: Path) -> float | None:
    """How well courses continue, as a share of the exemplar's; None if it has none."""
    own = row_means(image.read(exemplar).on_white)
    lag = period(own)
    if lag is None:
        return None
    texture = loading.load_drawn(model)
    means = [row_means(to_tensor(texture.draw(LARGE, LARGE, SEED + i))) for i in range(COUNT)]
    return statistics.fmean(correlation(one, lag) for one in means) / correlation(own, lag)


def between_halves(exemplar: Path, folder: Path) -> dict[str, float]:
    """The judge's sums and the patch distance between the left and the right half."""
    with Image.open(exemplar) as opened:
        picture = opened.convert("RGB")
    middle = picture.width // 2
    left, right = folder / f"{exemplar.stem}-left.png", folder / f"{exemplar.stem}-right.png"
    picture.crop((0, 0, middle, picture.height)).save(left)
    picture.crop((picture.width - middle, 0, picture.width, picture.height)).save(right)
    return {**judge("texture", left, right), "patches": patches([left], right)}


def authors(exemplar: Path, folder: Path) -> dict[str, float]:
    """The judge's sums of the authors' network of this exemplar, from the judge's table, and the patch distance of
    its samples; empty where they published none."""
    table = (shared() / "judge/README.md").read_text()
    row = re.search(rf"^\| {re.escape(exemplar.name)} \| ([\d.]+) \| ([\d.]+) \|$", table, re.M)
    if row is None:
        return {}
    model = folder / f"authors-{exemplar.stem}.safetensors"
    convert(shared() / "torch7" / f"{exemplar.name}_model.t7").save(model)
    sums = dict(zip(SUMS, map(float, row.groups()), strict=True))
    return {**sums, "patches": patches(samples_of(model, folder), exemplar)}


def shown(figures: dict[str, float]) -> str:
    """Figures as a cell of the table."""
    return (
        " / ".join(f"{figures[name]:.3f}" for name in SUMS) + f" / {figures['patches']:.1f}"
        if figures
        else "-"
    )


def measure(texture: str, folder: Path) -> list[str]:
    """Print the line of a texture; the aims that it misses."""
    stem, exemplar = Path(texture).stem, exemplar_of(texture, folder)
    samples = samples_of(texture, folder)
    found = {**judge("texture", exemplar, *samples), "patches": patches(samples, exemplar)}
    halves, theirs = between_halves(exemplar, folder), authors(exemplar, folder)
    checkerboard = max(judge("artifacts", sample)["lattice"] for sample in samples)
    own = judge("artifacts", exemplar)["lattice"]
    print(
        f"{stem:16}{shown(found):24}{shown(theirs):24}{shown(halves):24}{checkerboard:5.1f} ({own:.1f})",
        flush=True,
    )
    missed = [
        f"{stem}: {name} above the halves'" for name in (*SUMS, "patches") if found[name] > halves[name]
    ]
    for name, most in theirs.items():
        if found[name] > most * (DRAW if name in SUMS else 1):
            missed.append(f"{stem}: {name} above the authors'")
    if (share := courses(texture, exemplar)) is not None:
        print(f"{stem:16}courses {share:.2f} of the exemplar's")
        if share < COURSES.get(exemplar.name, -1):
            missed.append(f"{stem}: courses {share:.2f} of the exemplar's")
    if checkerboard > own + CHECKERBOARD:
        missed.append(f"{stem}: checkerboard {checkerboard - own:.1f} dB above the exemplar's")
    return missed


def main() -> int:
    parser = of_models("texture", __doc__)
    parser.add_argument("--keep", type=Path, help="folder for the samples")
    options = parser.parse_args()
    if not options.models:
        print("no textures are shipped: name model files")
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        heads = ("SqueezeNet/VGG/patches", "the authors'", "the halves'")
        print(f"{'texture':16}{''.join(f'{head:24}' for head in heads)}checkerboard (exemplar)")
        missed = [line for texture in options.models for line in measure(texture, folder)]
    print(*(missed or ["all met"]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
