"""`--stroke auto`: the small image foretells the large one, which is not blurred for it.

    python benchmarks/accept_stroke.py PHOTO... [--style wave] [--small 512] [--large 4096]
    python benchmarks/accept_stroke.py PHOTO --pictures OUT.jpg [--style wave] [--large 1024]

Each photo is stylized SMALL and LARGE pixels long with `--stroke auto`. The second, reduced to SMALL, must have a
structural similarity (Wang et al., IEEE TIP 13, 2004) of at least 0.7 with the first, and at least half the energy of
the plain LARGE result in the top octave (the luminance less the same at half the resolution). `--pictures` writes a
sheet with strokes of 0.5, 1, 2, 4 and auto instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

import texturenets as tn
from texturenets import image
from texturenets.errors import UserError
from texturenets.stylize.style import Style

SIMILARITY, ENERGY = 0.7, 0.5


def energy(x: Tensor) -> float:
    """Of the top octave of the luminance."""
    y = (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    y = y[:, :, : y.shape[2] // 2 * 2, : y.shape[3] // 2 * 2]
    low = F.interpolate(F.avg_pool2d(y, 2), scale_factor=2.0, mode="bilinear")
    return float((y - low).square().mean())


def similarity(a: Tensor, b: Tensor) -> float:
    """Structural similarity of two images of one size."""
    from skimage.metrics import structural_similarity

    first, second = (x[0].permute(1, 2, 0).numpy() for x in (a, b))
    return float(structural_similarity(first, second, channel_axis=2, data_range=1.0))


def compare(style: Style, photo: Path, small: int, large: int) -> bool:
    """Print a line for one photo; whether it passes."""
    first = style.stylize(image.read(photo, longer=small).rgb, stroke="auto")
    source = image.read(photo, longer=large).rgb
    second, plain = style.stylize(source, stroke="auto"), style.stylize(source)
    size = (first.shape[2], first.shape[3])
    foretold = similarity(image.resize(second, size), first)
    unforetold = similarity(image.resize(plain, size), first)
    share = energy(second) / energy(plain)
    passed = foretold >= SIMILARITY and share >= ENERGY
    print(
        f"{photo.stem:20} similarity {foretold:.3f} (plain {unforetold:.3f}), top octave {share:.2f} of plain"
        f"{'' if passed else '   FAILED'}",
        flush=True,
    )
    return passed


def sheet(style: Style, photo: Path, large: int, out: Path) -> None:
    """Write the photo and its paintings with five sizes of strokes."""
    source = image.read(photo, longer=large).rgb
    pictures = [("photo", source)]
    for stroke in (0.5, 1, 2, 4, "auto"):
        pictures.append((f"--stroke {stroke}", style.stylize(source, stroke=stroke)))
        print(f"stroke {stroke}", flush=True)
    height, width = source.shape[2:]
    page = Image.new("RGB", (3 * width, 2 * height))
    for i, (words, picture) in enumerate(pictures):
        place = (i % 3 * width, i // 3 * height)
        page.paste(image.to_kind(picture, image.ImageKind("pil")), place)
        ImageDraw.Draw(page).text(
            (place[0] + 8, place[1] + 8), words, fill="white", stroke_fill="black", stroke_width=2
        )
    page.save(out, quality=88)


def main() -> int:
    """Run it; 0 if every photo passes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--style", default="wave")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--small", type=int, default=512)
    parser.add_argument("--large", type=int, default=4096)
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    beside = Path(__file__).resolve().parents[2] / "shared" / "images" / "content" / "eval"
    photos = options.photos or [beside / "chicago.jpg", beside / "tubingen.jpg"]
    style = tn.load(options.style, engine=options.engine)
    if options.pictures:
        sheet(style, photos[0], options.large, options.pictures)
        return 0
    passed = [compare(style, photo, options.small, options.large) for photo in photos]
    print("passed" if all(passed) else "FAILED")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(str(error))
