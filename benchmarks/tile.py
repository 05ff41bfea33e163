"""Do edges meet, and are filled holes texture? `tile` and `inpaint` on exemplars, measured.

    tile.py [PICTURE ...] [--size 256] [--steps 200] [--weights FOLDER ...] [--device auto] [--only tile|inpaint]

Tile: mean absolute step across the wrap edge over that between the neighbouring columns (rows) within an eighth of
the side of it; the mean over all pictures and both axes is to be within 2 % of 1. One line of pixels is little: below
the mean stands the same of the pictures themselves at an inner line, as a yardstick of the scatter. The middle half
is to be equal to the bit.

Inpaint: holes of a quarter of the size in the middle. Gram distance (relative, mean over VGG-16's layers of the
default preset) to the exemplar of the part around the hole that is three times as wide, over that of the same part of
the exemplar as it was; at most 1.2 is asked for. Pixels outside the hole are to be equal to the bit.

Without names: the exemplars of the reference material and, up to ten pictures, its paintings.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch
from bars import descriptors, shared
from torch import Tensor

import texturenets as tn
from texturenets import image, perceptual
from texturenets.losses.gram import gram
from texturenets.losses.style import style_distance
from texturenets.train.configuration import VGG_LAYERS

WITHIN, AT_MOST = 0.02, 1.2
TILES, HOLES = 10, 8


def step_ratio(picture: Tensor, axis: int, edge: int) -> float:
    """The mean step after line `edge` of an image (1, 3, H, W) over that after its neighbours."""
    steps = (picture.roll(-1, axis) - picture).abs().mean([d for d in range(4) if d != axis])
    side = len(steps)
    near = [(edge + d) % side for d in range(-(side // 8), side // 8 + 1) if d]
    return float(steps[edge] / steps[near].mean())


def gram_distance(networks: perceptual.Descriptors, part: Tensor, exemplar: Tensor) -> float:
    """The mean over the networks' layers of the relative distance of Gram matrices."""
    a, b = networks(part), networks(exemplar)
    return statistics.fmean(float(style_distance(gram(a[k]), gram(b[k]), "relative")) for k in a)


def middle(side: int, share: int) -> slice:
    """`side` / `share` pixels in the middle of a side."""
    half = side // share // 2
    return slice(side // 2 - half, side // 2 + half)


def tiles(pictures: dict[str, Tensor], how: dict[str, object]) -> list[str]:
    """Print the ratios of each picture; what was missed."""
    ratios, own, missed = [], [], []
    for name, picture in pictures.items():
        made = tn.tile(picture, **how)
        here = [step_ratio(made, axis, made.shape[axis] - 1) for axis in (2, 3)]
        own += [step_ratio(picture, axis, picture.shape[axis] // 2) for axis in (2, 3)]
        ratios += here
        box = (..., middle(picture.shape[2], 2), middle(picture.shape[3], 2))
        if not torch.equal(made[box], picture[box]):
            missed.append(f"{name}: the middle half is not equal")
        print(f"tile     {name:24} y {here[0]:.3f}  x {here[1]:.3f}", flush=True)
    mean = statistics.fmean(ratios)
    print(f"tile     mean {mean:.3f}, standard deviation {statistics.pstdev(ratios):.3f}")
    print(
        f"         inner lines: mean {statistics.fmean(own):.3f}, standard deviation {statistics.pstdev(own):.3f}"
    )
    return missed + ([f"tile: {mean:.3f}"] if abs(mean - 1) > WITHIN else [])


@torch.no_grad()
def distances(networks: perceptual.Descriptors, made: Tensor, picture: Tensor) -> tuple[float, float]:
    """Gram distances to the picture of the part around the hole: as made, and as it was."""
    around = (..., *(slice(s // 8, s // 8 * 7) for s in picture.shape[2:]))
    return gram_distance(networks, made[around], picture), gram_distance(networks, picture[around], picture)


def inpainted(
    pictures: dict[str, Tensor], networks: perceptual.Descriptors, how: dict[str, object]
) -> list[str]:
    """Print the distances of each picture; what was missed."""
    missed = []
    for name, picture in pictures.items():
        mask = torch.zeros(1, *picture.shape[2:])
        hole = (..., middle(picture.shape[2], 4), middle(picture.shape[3], 4))
        mask[hole] = 1
        made = tn.inpaint(picture, mask, **how)
        own, real = distances(networks, made, picture)
        print(f"inpaint  {name:24} {own:.4f}, real {real:.4f}, ratio {own / real:.3f}", flush=True)
        if own > AT_MOST * real:
            missed.append(f"{name}: {own / real:.3f}")
        if not torch.equal(made[:, :, mask[0] == 0], picture[:, :, mask[0] == 0]):
            missed.append(f"{name}: pixels outside the hole are not equal")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--size", type=int, default=256, help="sides of the pictures' middles that are taken")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--weights", nargs="*")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", choices=["tile", "inpaint"])
    options = parser.parse_args()
    files = options.pictures or [
        *sorted((shared() / "images/texture").iterdir()),
        *sorted((shared() / "images/style").iterdir()),
    ]
    pictures = {}
    for path in files[: max(TILES, len(options.pictures))]:
        rgb = image.read(path).rgb
        side = min(options.size, *rgb.shape[2:])
        top, left = ((s - side) // 2 for s in rgb.shape[2:])
        pictures[path.name] = rgb[:, :, top : top + side, left : left + side].contiguous()
    weights = tuple(options.weights or descriptors())
    trainer = tn.TrainerConfig(weights=weights, offline=True, device=options.device)
    how = {"trainer": trainer, "steps": options.steps}
    missed = [] if options.only == "inpaint" else tiles(pictures, how)
    if options.only != "tile":
        networks = perceptual.build(VGG_LAYERS, files=weights, offline=True)
        few = dict(list(pictures.items())[: max(HOLES, len(options.pictures))])
        missed += inpainted(few, networks, how)
    print(*(missed or ["all met"]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
