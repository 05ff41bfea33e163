"""Draws pictures of seven surfaces to train textures on: wood, cloth, grass, stone, metal, paper and marble.

    python examples/surfaces.py surfaces            # surfaces/wood.png, ..., 384 x 384; --only wood for one
    texturenets train texture surfaces/wood.png -o wood.safetensors

All of them tile. Nothing is read: noise with a falling spectrum, distances to scattered points (Worley, "A cellular
texture basis function", SIGGRAPH 1996), threads and blades, under one light from above and left. The textures of
these names that come with texturenets were trained on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float64]
Random = np.random.Generator

ROUNDS = 12  # in which scattered points push each other away, or some cells would be far larger than others
LIGHT = np.array((-0.45, -0.55, 0.71))  # to the light, of length 1: right, down, towards the viewer


def noise(
    random: Random, side: int, slope: float, stretch: tuple[float, float] = (1, 1), least: float = 0
) -> Array:
    """Gaussian noise (side, side) that tiles, of deviation 1, its amplitude falling as frequency to -`slope`.

    `stretch`: how many times as far it reaches down and to the right. `least`: waves of a frequency below it, in
    waves a side, are left out."""
    down, right = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    frequency = np.hypot(down * stretch[0], right * stretch[1])
    frequency[0, 0] = 1
    amplitude = np.fft.fft2(random.standard_normal((side, side))) * frequency**-slope
    amplitude[0, 0] = 0
    amplitude[frequency * side < least] = 0
    made: Array = np.fft.ifft2(amplitude).real
    return made / made.std()


def places(side: int) -> tuple[Array, Array]:
    """The row and the column of each pixel, as shares of the side."""
    down, right = np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2, indexing="ij")
    return down, right


def cells(
    random: Random, side: int, count: int, ragged: float = 0.0
) -> tuple[Array, Array, NDArray[np.int64]]:
    """For each pixel the distances to the nearest of `count` scattered points and to the next, in mean widths of a
    cell, and the number of the nearest. `ragged`: how far borders wander."""
    points = random.uniform(0, 1, (count, 2))
    for _ in range(ROUNDS):
        apart = (points[:, None, axis] - points[:, axis] for axis in (0, 1))
        away = [one - np.rint(one) for one in apart]
        near = 1 / (away[0] ** 2 + away[1] ** 2 + np.eye(count))
        push = np.stack([(one * near).sum(1) for one in away], 1)
        points = (points + 0.05 / count * push / np.sqrt(count)) % 1
    at = np.stack(places(side), -1)
    if ragged:
        at = at + ragged / np.sqrt(count) * np.stack([noise(random, side, 1.3) for _ in range(2)], -1)
    nearest = np.full((side, side), np.inf)
    second, number = nearest.copy(), np.zeros((side, side), np.int64)
    for i, point in enumerate(points):
        far = np.linalg.norm((at - point + 0.5) % 1 - 0.5, axis=2)
        closer = far < nearest
        second = np.where(closer, nearest, np.minimum(second, far))
        nearest, number = np.where(closer, far, nearest), np.where(closer, i, number)
    return nearest * np.sqrt(count), second * np.sqrt(count), number


def lit(height: Array, gloss: float = 0.0) -> tuple[Array, Array]:
    """How bright a surface of this height (in pixels) is, 1 where it is level, and how much it shines."""
    slope = [(np.roll(height, -1, axis) - np.roll(height, 1, axis)) / 2 for axis in (1, 0)]
    normal = np.stack([-slope[0], -slope[1], np.ones_like(height)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    half = LIGHT + np.array((0, 0, 1))
    shine = (normal @ (half / np.linalg.norm(half))).clip(0, 1) ** (1 / max(gloss, 1e-3))
    return (normal @ LIGHT).clip(0, None) / LIGHT[2], shine


def ramp(value: Array, *colors: tuple[float, float, float]) -> Array:
    """Colors (H, W, 3) for values from 0, the first color, to 1, the last."""
    at = np.linspace(0, 1, len(colors))
    return np.stack([np.interp(value, at, channel) for channel in zip(*colors, strict=True)], -1)


def spread(value: Array, deviations: float = 2.5) -> Array:
    """Noise as values from 0 to 1."""
    return (0.5 + value / (2 * deviations)).clip(0, 1)


def wood(random: Random, side: int) -> Array:
    """Rings cut lengthwise, which swerve around knots; fibres and pores along them."""
    down, right = places(side)
    bend = 0.035 * noise(random, side, 2.2, (3, 1))
    rings = right + bend
    knots = np.zeros((side, side))
    for _ in range(3):
        y, x = random.uniform(0, 1, 2)
        dy, dx = (down - y + 0.5) % 1 - 0.5, (right - x + 0.5) % 1 - 0.5
        near = np.exp(-((dy / 0.13) ** 2) - (dx / 0.05) ** 2)
        rings = rings + 0.12 * near * np.tanh(dx / 0.02)
        knots = np.maximum(knots, np.exp(-((dy / 0.035) ** 2) - (dx / 0.022) ** 2))
    phase = (9 * rings) % 1  # early wood, which darkens into late wood, and then begins anew
    late = phase**2.5 * (1 - np.clip((phase - 0.93) / 0.07, 0, 1))
    fibre, pores = noise(random, side, 0.7, (14, 1)), noise(random, side, 0.35, (22, 1))
    value = 0.30 + 0.42 * late + 0.07 * fibre + 0.10 * noise(random, side, 1.8, (4, 1)) + 0.5 * knots
    value = value + 0.25 * np.clip(pores - 1.5, 0, 1)
    return ramp(
        value.clip(0, 1), (0.84, 0.66, 0.44), (0.68, 0.45, 0.25), (0.42, 0.24, 0.12), (0.20, 0.11, 0.06)
    )


def cloth(random: Random, side: int) -> Array:
    """A twill of blue threads over white ones, as jeans have it."""
    threads = 3 * round(side / 24)
    down, right = places(side)
    wander = 0.10 / threads
    y = (down + wander * noise(random, side, 1.2)) * threads
    x = (right + wander * noise(random, side, 1.2)) * threads
    row, column = np.floor(y).astype(int) % threads, np.floor(x).astype(int) % threads
    over = (row + column) % 3 != 0  # the blue thread passes over two and under one
    across, along = np.where(over, x % 1, y % 1) - 0.5, np.where(over, y % 1, x % 1) - 0.5
    bulge = np.sqrt((1 - (1.9 * across) ** 2).clip(0, 1)) * (1 - 0.5 * (1.6 * along) ** 2)
    number = np.where(over, column, threads + row)
    tone = random.normal(0, 1, 2 * threads)[number]
    twist = np.sin(2 * np.pi * (2.0 * along + 1.2 * across) + 6 * tone)
    bright, _ = lit(1.2 * bulge + 0.25 * noise(random, side, 0.4))
    worn = spread(noise(random, side, 1.6) + 0.5 * tone + 0.5 * noise(random, side, 0.3))
    blue, white = ramp(worn, (0.10, 0.15, 0.30), (0.20, 0.30, 0.50), (0.40, 0.50, 0.68)), (0.80, 0.80, 0.78)
    color = np.where(over[..., None], blue, np.array(white))
    shade = (0.35 + 0.65 * bulge) * (0.35 + 0.65 * bright) * (1 + 0.08 * twist)
    return color * shade[..., None]


def grass(random: Random, side: int) -> Array:
    """Blades that are drawn one over the other, the lower ones darker."""
    scale, blades = 2, 5200
    big = Image.new("RGB", (side * scale,) * 2, (20, 30, 12))
    draw = ImageDraw.Draw(big)
    lean = noise(random, side, 1.7)
    for i in range(blades):
        depth = i / blades
        y, x = random.uniform(0, side, 2)
        angle = -np.pi / 2 + 0.75 * lean[int(y), int(x)] + random.normal(0, 0.45)
        length, width = side * random.uniform(0.05, 0.13), side * random.uniform(0.003, 0.006)
        curl = random.normal(0, 0.6)
        at = np.linspace(0, 1, 7)
        turn = angle + curl * at
        path = np.stack([x + length * at * np.cos(turn), y + length * at * np.sin(turn)], 1)
        flat = np.stack([-np.sin(turn), np.cos(turn)], 1) * (width * (1 - at**2))[:, None]
        dry = random.random() < 0.10
        low, high = (
            ((0.33, 0.30, 0.14), (0.74, 0.68, 0.38)) if dry else ((0.08, 0.17, 0.04), (0.45, 0.62, 0.20))
        )
        tone = np.clip(0.15 + 0.6 * depth + random.normal(0, 0.13), 0, 1)
        color = np.array(low) + tone * (np.array(high) - low)
        for offset in np.stack(np.meshgrid((-side, 0, side), (-side, 0, side)), -1).reshape(-1, 2):
            for sign, light in ((1, 1.0), (-1, 0.78)):  # the two halves of a blade beside its middle rib
                half = np.concatenate([path + sign * flat, path[::-1]]) + offset
                if (half.max(0) > 0).all() and (half.min(0) < side).all():
                    fill = tuple(int(255 * c * light) for c in color)
                    draw.polygon([tuple(p) for p in half * scale], fill=fill)
    return np.asarray(big.resize((side, side), Image.Resampling.BOX)) / 255


def stone(random: Random, side: int) -> Array:
    """Granite: grains of feldspar, quartz and mica of several sizes, polished."""
    color = np.zeros((side, side, 3))
    kinds = np.array(((0.76, 0.60, 0.52), (0.80, 0.74, 0.68), (0.55, 0.54, 0.54), (0.15, 0.14, 0.15)))
    for count, share, odds in ((700, 1.0, (0.42, 0.26, 0.28, 0.04)), (2600, 0.45, (0.10, 0.20, 0.30, 0.40))):
        near, next_, number = cells(random, side, count, ragged=0.10)
        kind = random.choice(4, count, p=odds)
        grain = kinds[kind] * random.normal(1, 0.09, (count, 1))
        taken = (random.random(count) < share)[number] & (next_ - near > 0.03)
        inside = grain[number] * (1 + 0.035 * noise(random, side, 0.5))[..., None]
        color = np.where(taken[..., None] | (color == 0), inside, color)
        color = (
            color * (1 - 0.30 * np.exp(-(((next_ - near) / 0.06) ** 2)))[..., None] if share == 1 else color
        )
    return color * (1 + 0.05 * noise(random, side, 1.4))[..., None]


def metal(random: Random, side: int) -> Array:
    """Copper, hammered: round dents, their rims polished, darker in the depths."""
    near, _, number = cells(random, side, 130)
    dent = np.minimum(near, 0.75) ** 2 * random.uniform(0.7, 1.25, 130)[number]
    soft = _soft(dent, 0.0035)
    height = 0.055 * side * soft + 0.06 * noise(random, side, 0.9) + 0.25 * noise(random, side, 1.6)
    bright, shine = lit(height, gloss=0.045)
    stain = spread(noise(random, side, 1.5))
    base = ramp(stain, (0.42, 0.20, 0.12), (0.68, 0.36, 0.22), (0.78, 0.48, 0.30))
    depth = (0.62 + 0.55 * soft / max(soft.max(), 1e-9))[..., None]
    return base * depth * (0.25 + 0.75 * bright)[..., None] + 0.75 * shine[..., None] * np.array(
        (1.0, 0.82, 0.66)
    )


def _soft(height: Array, sigma: float) -> Array:
    """`height` blurred by a Gaussian of `sigma` sides, around the edges."""
    down, right = np.meshgrid(*[np.fft.fftfreq(len(height))] * 2, indexing="ij")
    kernel = np.exp(-0.5 * (2 * np.pi * sigma * len(height)) ** 2 * (down**2 + right**2))
    made: Array = np.fft.ifft2(np.fft.fft2(height) * kernel).real
    return made


def paper(random: Random, side: int) -> Array:
    """Wrapping paper that was crumpled: facets between sharp folds, large and small, and fibres."""
    height = np.zeros((side, side))
    for count, depth in ((9, -0.055), (22, 0.045), (60, -0.024), (170, 0.010)):
        near, next_, number = cells(random, side, count)
        height += depth * side * (next_ - near) * random.uniform(0.4, 1.3, count)[number] ** 0.5
    bright, _ = lit(_soft(height, 0.0025) + 0.03 * noise(random, side, 0.3))
    fibre = np.maximum(noise(random, side, 0.5, (5, 1)), noise(random, side, 0.5, (1, 5)))
    tone = spread(0.6 * fibre + 0.5 * noise(random, side, 1.5))
    color = ramp(tone, (0.64, 0.50, 0.35), (0.74, 0.60, 0.43), (0.81, 0.68, 0.52))
    return color * (0.25 + 0.75 * bright.clip(0, 1.4))[..., None]


def marble(random: Random, side: int) -> Array:
    """White marble with gray veins, wide and faint ones and fine and dark ones."""
    warp = noise(random, side, 2.2, least=2)
    veins = np.zeros((side, side))
    for slope, width, depth in ((2.2, 0.12, 0.45), (2.1, 0.035, 0.80), (1.9, 0.03, 0.45), (1.9, 0.02, 0.30)):
        crossing = np.abs(noise(random, side, slope, (1.0, 1.7), least=2.5) + 0.4 * warp)  # 0 along lines
        strength = spread(noise(random, side, 1.7), 1.5)
        veins = np.maximum(veins, depth * strength * np.exp(-crossing / width))
    cloud = spread(noise(random, side, 1.7) + 0.25 * noise(random, side, 0.7))
    base = ramp(cloud, (0.80, 0.79, 0.79), (0.90, 0.89, 0.87), (0.97, 0.96, 0.94))
    dark = ramp(spread(noise(random, side, 1.4)), (0.28, 0.29, 0.32), (0.42, 0.40, 0.38))
    return base + veins[..., None] * (dark - base) + 0.008 * noise(random, side, 0.3)[..., None]


SURFACES: dict[str, Callable[[Random, int], Array]] = {
    "wood": wood,
    "cloth": cloth,
    "grass": grass,
    "stone": stone,
    "metal": metal,
    "paper": paper,
    "marble": marble,
}


def surface(name: str, side: int = 384, seed: int = 0) -> Image.Image:
    """The picture of a surface, `side` x `side` pixels."""
    drawn = SURFACES[name](np.random.default_rng(seed), side)
    return Image.fromarray((255 * drawn.clip(0, 1)).round().astype(np.uint8))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=SURFACES, default=list(SURFACES))
    parser.add_argument("--size", type=int, default=384, help="pixels a side [384]")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    if words.size < 16 or words.seed < 0:
        parser.error(f"--size {words.size} is below 16, or --seed {words.seed} below 0")
    if not words.folder.parent.is_dir() or words.folder.is_file():
        parser.error(f"{words.folder} is a file, or the folder that it would be in is missing")
    words.folder.mkdir(parents=True, exist_ok=True)
    for name in words.only:
        surface(name, words.size, words.seed).save(words.folder / f"{name}.png")
        print(words.folder / f"{name}.png")
