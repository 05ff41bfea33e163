"""What the engine that `auto` takes costs in the judge's scores: each within 1 % of float32 PyTorch's.

    accept_precision.py [NAME|MODEL ...]

Each shipped style stylizes four photos at 512 pixels, once by PyTorch in float32 and once by `auto`, which is said.
The ratios of the judge's three distances are printed, and the largest deviation of all. Differences of pixels:
`speed.py accuracy`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bars import PHOTOS, judge, of_models, painting, photo, texturenets

SIZE, WITHIN = 512, 0.01
SCORES = ("squeezenet", "vgg", "content")


def main() -> int:
    options = of_models("style", __doc__).parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        for style in options.models:
            style_image = painting(style)
            for name in PHOTOS:
                found = []
                for engine in ("torch", "auto"):
                    out = Path(temporary) / f"{engine}.png"
                    done = texturenets(
                        *("stylize", photo(name), "-s", style, "--size", str(SIZE), "-o", out),
                        *("--engine", engine),
                    )
                    found.append(judge("style", style_image, photo(name), out))
                ratios = [found[1][score] / found[0][score] for score in SCORES]
                worst = max(worst, *(abs(ratio - 1) for ratio in ratios))
                shown = " / ".join(f"{ratio:.4f}" for ratio in ratios)
                print(f"{Path(style).stem:17}{name:18}{shown}  {done.stderr.strip()}", flush=True)
    print(f"largest deviation {worst:.2%}: {'met' if worst <= WITHIN else 'missed'}")
    return int(worst > WITHIN)


if __name__ == "__main__":
    sys.exit(main())
