"""Diversity of two generators, trained with and without the diversity loss, against iterative optimization.

    accept_diversity.py [EXEMPLAR] [--steps 1000] [--weight 0.05] [--folder FOLDER] [--generators ...]

For the fully connected generator of the improved paper and for `pyramid`: with the loss the mean pairwise distance of
samples, at fire4 and relu2_2, is to be at least 0.9 of that of images optimised from different starts, and the
texture loss at most a tenth above that without. Four trainings: hours. What is in FOLDER already is not trained anew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bars import shared, texturenets

ENOUGH, DEARER = 0.9, 1.1
SETTINGS = {
    "fully_connected": ["upsampling=bilinear", "output=bounded", "padding=circular"],
    "pyramid": ["upsampling=bilinear", "output=bounded"],
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exemplar", nargs="?", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--weight", type=float, default=0.05)
    parser.add_argument("--optimize", type=int, default=4, help="images optimised")
    parser.add_argument("--max-iterations", type=int, default=200, help="iterations of each")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--generators", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    options = parser.parse_args()
    exemplar = options.exemplar or shared() / "images/texture/red-peppers256.o.jpg"
    weights = ["--weights", shared() / "descriptors", "--offline"]
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        optimized: dict[str, float] | None = None
        for generator in options.generators:
            loss = {}
            for weight in (0.0, options.weight):
                model = folder / f"{generator}-{weight:g}.safetensors"
                if not model.exists():
                    texturenets(
                        *("train", "texture", exemplar, "-o", model, "--generator", generator, *weights),
                        *(word for setting in SETTINGS[generator] for word in ("--set", setting)),
                        *("--steps", str(options.steps), "--diversity-weight", str(weight), "--quiet"),
                    )
                # The optimized samples are the same for all: once is enough.
                more = ["--optimize", str(options.optimize), "--max-iterations", str(options.max_iterations)]
                more = more if optimized is None else []
                done = texturenets(
                    *("evaluate", model, "--against", exemplar, *weights, "--samples", "8", "--json"), *more
                )
                found = json.loads(done.stdout)
                optimized = optimized or found["distance between optimized samples"]
                loss[weight] = sum(found["losses"].values())
                shares = {k: v / optimized[k] for k, v in found["distance between samples"].items()}
                shown = ", ".join(f"{k} {v:.3f}" for k, v in shares.items())
                print(
                    f"{generator:16} weight {weight:<6g} loss {loss[weight]:.4f}  diversity {shown}",
                    flush=True,
                )
                if weight and min(shares.values()) < ENOUGH:
                    missed.append(f"{generator}: diversity below {ENOUGH}")
            if loss[options.weight] > DEARER * loss[0.0]:
                missed.append(
                    f"{generator}: texture loss {loss[options.weight] / loss[0.0] - 1:+.0%} with the loss"
                )
    print(*(missed or ["all met"]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
