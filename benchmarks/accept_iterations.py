"""What one pass of a network saves: iterations of L-BFGS on pixels until its loss is reached.

    accept_iterations.py [--pairs 10] [--size 512] [--max-iterations 150] [--styles ...] [--textures ...]

Pairs of photo and shipped style, iterative optimization from the photo, with the loss that the model was trained on:
the median is to be at least 80. For textures it starts from noise, and there is no aim. A pair that is not
reached within --max-iterations counts as one more. About a second an iteration on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys

from bars import PHOTOS, descriptors, painting, photo, shared, shipped

from texturenets import evaluation, loading
from texturenets.train.trainer_config import TrainerConfig

AIM = 80  # Johnson et al. 2016, arXiv 1603.08155, section 4.1: "comparable to ... between 50 and 100 iterations"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--max-iterations", type=int, default=150)
    parser.add_argument("--styles", nargs="*", default=shipped("style"))
    parser.add_argument("--textures", nargs="*", default=shipped("texture"))
    options = parser.parse_args()
    how = TrainerConfig(weights=descriptors(), offline=True)
    counts = []
    pairs = [(style, name) for name, style in itertools.product(PHOTOS, options.styles)][: options.pairs]
    for style, name in pairs:
        settings = evaluation.EvaluationOptions(
            size=options.size, optimize=1, max_iterations=options.max_iterations
        )
        found = evaluation.evaluate_style(
            loading.load_style(style), painting(style), [photo(name)], settings, how
        )
        row = found["photos"][0]
        counts.append(options.max_iterations + 1 if row["iterations"] is None else row["iterations"])
        shown = f"more than {options.max_iterations}" if row["iterations"] is None else row["iterations"]
        print(f"{style:16}{name:18}loss {row['style'] + row['content']:.3f}  iterations {shown}", flush=True)
    for texture in options.textures:
        model = loading.load_texture(texture)
        exemplar = shared() / "images/texture" / model.header.training["styles"][0]
        settings = evaluation.EvaluationOptions(optimize=2, max_iterations=options.max_iterations)
        found = evaluation.evaluate_texture(model, exemplar, settings, how)
        shown = [
            f"more than {options.max_iterations}" if count is None else count
            for count in found["iterations"]["each"]
        ]
        print(f"{texture:34}loss {sum(found['losses'].values()):.3f}  iterations", *shown, flush=True)
    if not counts:
        return 0
    median = statistics.median(counts)
    said = f"{median:g}" if median <= options.max_iterations else f"more than {options.max_iterations}"
    print(f"median over {len(counts)} pairs: {said}; at least {AIM} is the bar")
    return 0 if median >= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
