"""With which waves pictures repeat, as `train texture` sees them, and how far these stand out.

    periods.py PICTURE ... [--size 512]

A line for each picture, whose longer side is at most `--size` pixels: of the strongest wave that the search looks at
its period in pixels, its power over the median of the frequencies as high, and over the median along its own
direction (`train/waves.py`; 100 and 20 are asked for); then the periods that are found.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from texturenets import image
from texturenets.errors import UserError
from texturenets.image.sizes import fit_longer
from texturenets.train import waves


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=512, help="largest longer side in pixels")
    options = parser.parse_args()
    print(f"{'picture':28}{'period':>8}{'power':>10}{'along':>8}  found")
    for path in options.pictures:
        try:
            pixels = image.read(path).on_white
        except UserError as error:
            parser.error(str(error))
        height, width = pixels.shape[2:]
        if max(height, width) > options.size:
            pixels = image.resize(pixels, fit_longer((height, width), options.size))
        picture = np.asarray(pixels[0], np.float32)
        wave, ratio, along = waves.Spectrum(picture.mean(0)).strongest()
        found = " and ".join(f"{1 / math.hypot(*one):.1f}" for one in waves.find(picture))
        print(f"{path.name:28}{1 / math.hypot(*wave):8.1f}{ratio:10.1f}{along:8.1f}  {found or '-'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
