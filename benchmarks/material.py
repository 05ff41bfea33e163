"""A material against its exemplar: whether its maps are in register, normals of unit length, tiles exact.

    material.py MODEL FOLDER [--seeds 0 1 2 3] [--precision float32] [--picture beside.png]

A row for each two maps: their mutual information in the exemplar and in samples of its size (the mean over the
seeds), in nats, and the quotient, which the bar wants to be 0.9 in every row. Each channel is cut into 32 bins of
equally many pixels (empirical ranks; pixels of one value share a bin), so that values and contrast do not count, only
what goes with what; of colours the luminance is taken, and of normals the components' information is added up. Below
it: the largest distance of a written normal from unit length (1/127); the largest difference, in steps of 8 bits,
between a tile and the same tile drawn among its repetitions (0.5: the same picture); and sizes that were asked for.
`--picture` writes the preview of a tile of the first seed, the exemplar's preview below.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texturenets import image, loading
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.materials import preview, reading, writing
from texturenets.materials.maps import Maps
from texturenets.materials.material import Material

BINS = 32
SHARE = 0.9
UNIT = 1 / 127
SAME = 0.5
SIZES = ((1, 1), (217, 333))

Array = NDArray[np.float32]


def bins(values: Array) -> NDArray[np.int64]:
    """The bin, 0 to BINS - 1, of each value by its rank; of equal values the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks = middle[inverse.reshape(-1)]
    return np.minimum((ranks * BINS / values.size).astype(np.int64), BINS - 1)


def mutual_information(one: Array, other: Array) -> float:
    """In nats, of two channels of the same size."""
    joint = np.bincount(bins(one) * BINS + bins(other), minlength=BINS**2).reshape(BINS, BINS) / one.size
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def scalars(maps: Maps, name: str) -> list[Array]:
    """The channels of a map that are compared."""
    return [image.luminance(maps["color"][None])[0, 0]] if name == "color" else list(maps[name])


def register(maps: Maps) -> dict[tuple[str, str], float]:
    """The mutual information of each two maps."""
    return {
        (one, other): sum(mutual_information(a, b) for a in scalars(maps, one) for b in scalars(maps, other))
        for one, other in itertools.combinations(maps.names, 2)
    }


def unit_error(maps: Maps) -> float:
    """The largest distance of a written normal from unit length."""
    with tempfile.TemporaryDirectory() as folder:
        writing.write(maps, Path(folder), name="x")
        normals = 2 * reading.read(Path(folder))["normal"] - 1
    return float(np.abs(np.sqrt(np.square(normals).sum(0)) - 1).max())


def tile_error(material: Material, side: int) -> float:
    """The largest difference between a tile and the same noise repeated 2 x 2, in steps of 8 bits."""
    tile = material.draw(side, side, tileable=True)
    noise = [np.tile(np.asarray(one), (1, 1, 2, 2)) for one in material._noise([0], (side, side))]
    repeated = material._drawn(noise, 2 * side, 2 * side, True)
    return float(np.abs(repeated - np.tile(tile, (1, 1, 2, 2))).max() * 255)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="float32", help="bf16 rounds differently at each size")
    parser.add_argument("--picture", type=Path)
    words = parser.parse_args()

    try:
        material = loading.load_drawn(words.model, EngineOptions(words.engine, "cpu", words.precision))
        exemplar = reading.read(words.folder)
    except UserError as error:
        parser.error(str(error))
    if not isinstance(material, Material):
        parser.error(f"{words.model} is a texture, and no material")
    samples = [Maps(material.maps, material.draw(*exemplar.size, seed)) for seed in words.seeds]
    wanted, drawn = register(exemplar), [register(sample) for sample in samples]
    met = True
    print(f"{'maps':<22}{'exemplar':>10}{'samples':>10}{'share':>8}")
    for pair, value in wanted.items():
        mean = float(np.mean([each[pair] for each in drawn]))
        print(f"{' '.join(pair):<22}{value:>10.3f}{mean:>10.3f}{mean / value:>8.2f}")
        met &= mean >= SHARE * value
    if "normal" in material.maps:
        error = max(unit_error(sample) for sample in samples)
        print(f"normals from unit length: {error:.5f} (bar {UNIT:.5f})")
        met &= error <= UNIT
    side = -(-max(exemplar.size) // material.stride) * material.stride
    error = tile_error(material, side)
    print(f"tile of {side} x {side}, drawn again among its repetitions: {error:.3f} of 255 (bar {SAME})")
    met &= error <= SAME
    sizes = [material.draw(*size).shape[2:] for size in SIZES]
    print("sizes:", ", ".join(f"{width} x {height}" for height, width in sizes))
    met &= sizes == list(SIZES)
    if words.picture:
        tile = Maps(material.maps, material.draw(side, side, words.seeds[0], tileable=True))
        both = [preview.render(maps) for maps in (tile, exemplar)]
        image.write(words.picture, np.concatenate(both, 2))
        print(words.picture)
    print("met" if met else "not met")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
