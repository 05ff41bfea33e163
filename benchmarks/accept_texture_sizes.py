"""Samples are exactly as large as asked for, and one seed gives the same bytes twice.

    accept_texture_sizes.py [NAME|MODEL] [--count 100] [--seed 0]

Random sizes from 31 x 17 to 1500 x 1100, each written to a file twice, in another order.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from bars import shipped
from PIL import Image

from texturenets import image, loading


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texture", nargs="?", default=next(iter(shipped("texture")), None))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.texture is None:
        print("no textures are shipped: name a model file")
        return 1
    texture = loading.load_texture(options.texture)
    draw = random.Random(options.seed)
    jobs = [
        (draw.randint(31, 1500), draw.randint(17, 1100), draw.randrange(2**32)) for _ in range(options.count)
    ]
    jobs[:2] = [(31, 17, 0), (1500, 1100, 1)][: len(jobs)]
    wrong, first = [], {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.png"
        for job in (*jobs, *reversed(jobs)):
            width, height, seed = job
            image.write(path, texture.draw(height, width, seed))
            with Image.open(path) as picture:
                if picture.size != (width, height):
                    wrong.append(f"{width} x {height} gave {picture.size[0]} x {picture.size[1]}")
            if first.setdefault(job, path.read_bytes()) != path.read_bytes():
                wrong.append(f"{width} x {height}, seed {seed}: other bytes the second time")
    print(f"{options.count} sizes, each twice: {len(wrong)} wrong", *wrong[:5], sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
