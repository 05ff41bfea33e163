"""The shipped styles on four photos at 512 pixels: the judge's scores beside other programs' networks, and artifacts.

    accept_style.py [NAME|MODEL ...] [--keep FOLDER]

For `wave` and `udnie` each of the three numbers is to be no higher than in the judge's table on three of the four
photos (others that the table has are printed beside it); for every style the checkerboard artifacts at most 4 dB and
the border at most 2 dB above the photo's own.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bars import PHOTOS, judge, of_models, painting, photo, published, texturenets
from PIL import Image

SIZE, CHECKERBOARD, BORDER, ENOUGH = 512, 4.0, 2.0, 3
COMPARED = ("wave", "udnie")


def own_artifacts(name: str, folder: Path) -> dict[str, float]:
    """Of the photo itself at the judged size."""
    with Image.open(photo(name)) as opened:
        picture = opened.convert("RGB")
    scale = SIZE / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    path = folder / f"{name}.png"
    picture.resize(size, Image.Resampling.LANCZOS).save(path)
    return judge("artifacts", path)


def main() -> int:
    parser = of_models("style", __doc__)
    parser.add_argument("--keep", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    table, missed = published(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        own = {name: own_artifacts(name, folder) for name in PHOTOS}
        print(
            f"{'style':17}{'photo':18}squeezenet /  vgg / content   the table's        checkerboard  border"
        )
        for style in options.models:
            stem, met = Path(style).stem, 0
            style_image = painting(style)
            for name in PHOTOS:
                out = folder / f"{name}-{stem}.png"
                texturenets("stylize", photo(name), "-s", style, "--size", str(SIZE), "-o", out)
                scores, artifacts = judge("style", style_image, photo(name), out), judge("artifacts", out)
                mine = (scores["squeezenet"], scores["vgg"], scores["content"])
                theirs = table.get((stem, name))
                good = theirs is not None and all(a <= b for a, b in zip(mine, theirs, strict=True))
                met += good
                grid = artifacts["lattice"] - own[name]["lattice"]
                rim = artifacts["border"] - own[name]["border"]
                if grid > CHECKERBOARD or rim > BORDER:
                    missed.append(f"{stem} on {name}: checkerboard {grid:+.1f}, border {rim:+.1f}")
                beside = " / ".join(f"{number:.3f}" for number in theirs) if theirs else "-"
                print(
                    f"{stem:17}{name:18}{mine[0]:9.3f} /{mine[1]:6.3f} /{mine[2]:6.3f} {'*' if good else ' '}"
                    f"   {beside:22}{grid:+8.1f}{rim:+8.1f}",
                    flush=True,
                )
            if stem in COMPARED and met < ENOUGH:
                missed.append(f"{stem}: within the table on {met} of {len(PHOTOS)} photos")
    print("\n".join(["missed:", *missed]) if missed else "met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
