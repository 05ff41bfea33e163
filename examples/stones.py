"""Writes the maps of a procedural material, a cobbled ground: colour, normal, roughness and height, all tiling.

    python examples/stones.py stones            # stones/stones_basecolor.png, ..., 256 x 256
    texturenets train texture stones -o stones.safetensors

Stones are the cells of points on a jittered grid, rounded towards their borders (Worley, "A cellular texture basis
function", SIGGRAPH 1996); their grain is noise with a falling spectrum, which tiles because it is made by an FFT.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from surfaces import noise

from texturenets.materials.maps import Maps, normals_of
from texturenets.materials.writing import write

Array = NDArray[np.float64]

EARTH, STONES = (0.21, 0.16, 0.11), ((0.52, 0.49, 0.45), (0.60, 0.50, 0.38), (0.40, 0.42, 0.45))  # sRGB


def cells(random: np.random.Generator, side: int, across: int) -> tuple[Array, NDArray[np.int64]]:
    """For each pixel how far it is from the border of its stone, in stones, and the stone's number."""
    grid = np.stack(np.meshgrid(np.arange(across), np.arange(across), indexing="ij"), -1).reshape(-1, 2)
    points = (grid + 0.5 + 0.32 * random.uniform(-1, 1, grid.shape)) * side / across
    pixels = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1) + 0.5
    # Edges are ragged as of hewn stone.
    pixels = pixels + 0.05 * side / across * np.stack([noise(random, side, 1.5) for _ in range(2)], -1)
    away = (pixels[:, :, None] - points + side / 2) % side - side / 2  # around the edges
    distances = np.linalg.norm(away, axis=-1)
    order = np.argsort(distances, -1)[..., :2]
    nearest, second = np.take_along_axis(distances, order, -1).transpose(2, 0, 1)
    return (second - nearest) * across / side, order[..., 0]


def stones(side: int = 256, across: int = 8, seed: int = 0) -> Maps:
    """The maps of a square of `side` pixels with `across` x `across` stones."""
    random = np.random.default_rng(seed)
    inside, stone = cells(random, side, across)
    grain, stains = noise(random, side, 1.0), noise(random, side, 1.6)
    speckle, polish = noise(random, side, 0.6), noise(random, side, 0.8)  # of colour and of roughness alone
    dome = np.sqrt(1 - np.clip(1 - (inside - 0.06) / 0.42, 0, 1) ** 2)
    covered = np.clip((inside - 0.06) / 0.08, 0, 1)  # 0 in the earth between the stones, 1 on a stone

    high = random.uniform(0.75, 1, across**2)[stone]
    top = 0.6 * dome * high + 0.02 * grain + 0.02 * stains
    height = 0.12 + 0.03 * grain * (1 - covered) + covered * top
    height = height.clip(0, 1)
    shade = random.uniform(0.85, 1.15, across**2)[stone] * (1 + 0.05 * grain + 0.06 * stains)
    tints = np.array(STONES)[random.integers(0, len(STONES), across**2)][stone]
    earth = np.array(EARTH) * (1 + 0.12 * grain)[..., None] + 0.025 * speckle[..., None]
    cavity = (0.55 + 0.45 * dome)[..., None]  # dust where a stone falls off
    surface = tints * shade[..., None] * cavity + 0.035 * speckle[..., None]
    color = earth + covered[..., None] * (surface - earth)
    worn = random.uniform(-0.08, 0.08, across**2)[stone]
    roughness = 0.91 + 0.02 * grain + 0.03 * polish - covered * (0.18 + 0.25 * dome + worn + 0.03 * stains)
    return Maps.of(
        {
            "color": color.transpose(2, 0, 1).clip(0, 1),
            "normal": normals_of(height * side / 16, tiles=True),
            "roughness": roughness[None].clip(0, 1),
            "height": height[None],
        }
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=256, help="pixels a side [256]")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    if words.size < 16 or words.seed < 0:
        parser.error(f"--size {words.size} is below 16, or --seed {words.seed} below 0")
    if not words.folder.parent.is_dir() or words.folder.is_file():
        parser.error(f"{words.folder} is a file, or the folder that it would be in is missing")
    for file in write(stones(words.size, seed=words.seed), words.folder, name=words.folder.name):
        print(file)
