"""Textures by loss: the default command trains each exemplar with each loss for equal seconds; a table compares them.

    textures.py [EXEMPLAR ...] [--losses LOSS ...] [--minutes 8] [--folder ablation] [--most N] [--table]

Trainings take their time: what lies finished in FOLDER is not trained anew, what was interrupted (Ctrl-C, SIGTERM, a
crash) goes on, `--most N` ends after N trainings, and the table shows what is there. `--table` trains nothing.

Columns: seconds of training; the patch distance at each size and its mean (`texturenets evaluate`; four samples of
256 x 256); courses, the correlation of the means of the rows of a sample of 512 x 512 with those one period of the
exemplar further down, as share of the exemplar's own: "courses continue" wants 0.7; contrast of these means, as share
of the exemplar's; checkerboard artifacts in dB. Below them the exemplar itself: distances between its halves, its
period in pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bars import ROOT, descriptors, shared
from numpy.typing import NDArray
from torch import Tensor

from texturenets import image, loading
from texturenets.arrays import to_tensor
from texturenets.evaluation.patches import NAMES, patch_distance
from texturenets.evaluation.style_measures import checkerboard
from texturenets.train import checkpoint
from texturenets.train.configuration import SQUEEZENET_LAYERS, VGG_LAYERS

SHALLOW = "vgg16:relu1_1,vgg16:relu2_1,vgg16:relu3_1,vgg16:relu4_1"
WITHOUT_DEEP = ",".join((*VGG_LAYERS[:7], *SQUEEZENET_LAYERS))
LOSSES: dict[str, list[str]] = {
    "gram": [],
    "without-deep": ["--style-layers", WITHOUT_DEEP],
    "shifted": ["--shifted-weight", "1"],
    "autocorrelation": ["--autocorrelation-weight", "1"],
    "sliced": ["--sliced-weight", "1"],
    "sliced-shallow": ["--sliced-weight", "1", "--structure-layers", SHALLOW],
    "sliced-alone": ["--style-weight", "0", "--sliced-weight", "1", "--structure-layers", SHALLOW],
    "all": ["--shifted-weight", "1", "--autocorrelation-weight", "1", "--sliced-weight", "1"],
}
"""Flags of `train texture` for each loss; "gram" is the default command.

without-deep: without VGG-16's layers from relu4_1 on."""

SEED, COUNT, SIDE, LARGE = 7, 4, 256, 512
REGULAR = 0.5  # correlation from which an exemplar has courses: brick_wall has 0.87, red_peppers 0.37
SAVE_EVERY = 20  # steps that a crash costs at most
INTERRUPTED, TERMINATED = 130, 143  # exit status of a training that Ctrl-C or SIGTERM has stopped
EXEMPLARS = ("brick_wall.jpg",)

Array = NDArray[np.float64]


@dataclass
class Row:
    """One line of the table; `courses` and `contrast` are shares of the exemplar's, None without a period."""

    loss: str
    seconds: float | None
    distance: dict[str, float]
    courses: float | None
    contrast: float | None
    checkerboard: float


def row_means(picture: Tensor) -> Array:
    """Means of the rows of an image (1, 3, H, W), without what light falls on it: (H,), a parabola taken off."""
    means = picture[0].double().mean((0, 2)).numpy()
    places = np.arange(len(means))
    return means - np.polyval(np.polyfit(places, means, 2), places)


def correlation(means: Array, lag: int) -> float:
    """Of numbers with those `lag` places on: -1 to 1; 0 where they do not vary."""
    a, b = means[: len(means) - lag], means[lag:]
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0


def period(means: Array) -> int | None:
    """The distance, up to a third of all, at which numbers are most like themselves again; None below `REGULAR`."""
    values = [correlation(means, lag) for lag in range(len(means) // 3 + 1)]
    apart = next((lag for lag, value in enumerate(values) if value <= 0), None)
    if apart is None:
        return None
    best = max(range(apart, len(values)), key=lambda lag: values[lag])
    return best if values[best] >= REGULAR else None


def measure(loss: str, seconds: float, draw: Callable[[int, int], Tensor], exemplar: Tensor) -> Row:
    """The line of a model; `draw(side, seed)` gives its samples (1, 3, side, side)."""
    seeds = range(SEED, SEED + COUNT)
    distance = patch_distance([draw(SIDE, seed) for seed in seeds], exemplar, SEED)
    large, own = [draw(LARGE, seed) for seed in seeds], row_means(exemplar)
    means, lag = [row_means(sample) for sample in large], period(own)
    courses = contrast = None
    if lag is not None:
        courses = statistics.fmean(correlation(m, lag) for m in means) / correlation(own, lag)
        contrast = statistics.fmean(float(m.std()) for m in means) / float(own.std())
    return Row(loss, seconds, distance, courses, contrast, max(checkerboard(sample) for sample in large))


def itself(exemplar: Tensor) -> tuple[Row, int | None]:
    """The exemplar's line, and its period in pixels."""
    middle = exemplar.shape[3] // 2
    halves = patch_distance([exemplar[..., :middle]], exemplar[..., -middle:], SEED)
    lag = period(row_means(exemplar))
    share = None if lag is None else 1.0
    return Row("(exemplar)", None, halves, share, share, checkerboard(exemplar)), lag


def shown(row: Row) -> str:
    """A line of the table."""
    seconds = "" if row.seconds is None else f"{row.seconds:.0f}"
    distances = "".join(f"{row.distance[name]:7.1f}" for name in (*NAMES, "mean"))
    shares = "".join(
        f"{'-' if value is None else f'{value:.2f}':>10}" for value in (row.courses, row.contrast)
    )
    return f"{row.loss:17}{seconds:>7}{distances}{shares}{row.checkerboard:14.1f}"


def train(exemplar: Path, model: Path, flags: list[str], length: list[str]) -> bool:
    """Train `model`, or go on with it. False where it was interrupted; ends the program where it failed."""
    model.parent.mkdir(parents=True, exist_ok=True)
    weights = [word for folder in descriptors() for word in ("--weights", folder)]
    words = ["train", "texture", str(exemplar), "-o", str(model), *length, *flags, *weights, "--offline"]
    words += ["--save-every", str(SAVE_EVERY), "--quiet"]
    if (model.with_suffix(".run") / checkpoint.NAME).exists():
        words.append("--resume")
    print(f"texturenets {' '.join(words)}", file=sys.stderr, flush=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [sys.executable, "-m", "texturenets", *words], env=environment, stdout=subprocess.DEVNULL
    )

    # Whatever ends this program ends the training first, which then saves where it is.
    signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # it came to the training, too
            status = process.wait()
            break
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if status not in (0, INTERRUPTED, TERMINATED):
        sys.exit(f"the training of {model} ended with status {status}")
    return status == 0


def table(exemplar: Path, folder: Path, losses: list[str]) -> None:
    """Print the lines of the models that are there."""
    picture = image.read(exemplar).rgb
    own, lag = itself(picture)
    print(f"\n{exemplar.name}, {f'courses of {lag} pixels' if lag else 'no courses'}")
    names = "".join(f"{name:>7}" for name in (*NAMES, "mean"))
    print(f"{'loss':17}{'seconds':>7}{names}{'courses':>10}{'contrast':>10}{'checkerboard':>14}")
    for loss in losses:
        path = file(folder, exemplar, loss)
        if not path.exists():
            print(f"{loss:17}not trained")
            continue
        model = loading.load(path, "cpu")
        seconds = float(model.header.training["seconds"])
        print(
            shown(
                measure(
                    loss, seconds, lambda side, seed, m=model: to_tensor(m.draw(side, side, seed)), picture
                )
            )
        )
    print(shown(own), flush=True)


def file(folder: Path, exemplar: Path, loss: str) -> Path:
    """The model of an exemplar and a loss."""
    return folder / f"{exemplar.stem}-{loss}.safetensors"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exemplars", nargs="*", type=Path, metavar="EXEMPLAR")
    parser.add_argument("--losses", nargs="+", choices=list(LOSSES), default=list(LOSSES))
    parser.add_argument("--minutes", type=float, default=8.0, help="of each training")
    parser.add_argument(
        "--steps", type=int, help="of each training, in place of minutes: to try this program"
    )
    parser.add_argument("--folder", type=Path, default=Path("ablation"))
    parser.add_argument("--most", type=int, default=sys.maxsize, help="trainings at most")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    exemplars = options.exemplars or [shared() / "images/texture" / name for name in EXEMPLARS]
    length = ["--steps", str(options.steps)] if options.steps else ["--minutes", f"{options.minutes:g}"]
    wanted = [(e, loss) for e in exemplars for loss in options.losses]
    missing = [(e, loss) for e, loss in wanted if not file(options.folder, e, loss).exists()]
    for exemplar, loss in [] if options.table else missing[: options.most]:
        flags = LOSSES[loss]
        if not train(exemplar, file(options.folder, exemplar, loss), flags, length):
            print("interrupted; the same command continues", file=sys.stderr)
            return INTERRUPTED
    for exemplar in exemplars:
        table(exemplar, options.folder, options.losses)
    return 0


if __name__ == "__main__":
    sys.exit(main())
