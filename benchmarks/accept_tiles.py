"""Tiles have no seam: the step across the wrap edge beside inner steps of the same phase, over many samples.

    accept_tiles.py [NAME|MODEL ...] [--count 100] [--size 256]

The mean over samples is to be within 2 % of that of inner edges of the same phase (modulo the network's stride),
along both axes; and sizes that cannot tile are to be rounded up aloud.

Of independent samples the ratio scatters by several per cent, seam or none: what happens to lie at the one wrap
edge is little. So each sample is drawn once for every place of the wrap edge, its noise rolled on by the stride each
time: whatever lies at an inner edge in one drawing lies at the wrap edge in another. What is left of the ratio is
what the wrap edge itself does. The largest difference of these drawings, rolled back, from the tile that
`Texture.draw` gives is printed too.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from bars import of_models, texturenets
from torch import Tensor

from texturenets import loading, noise
from texturenets.evaluation import measures
from texturenets.textures import Texture

WITHIN = 0.02


def drawings(texture: Texture, size: int, seed: int, dim: int) -> Iterator[tuple[int, Tensor]]:
    """The tile of a seed with its noise rolled on along `dim`, by every multiple of the stride: (pixels, image)."""
    maps = noise.draw(texture.inputs, [seed], size, size)
    for place in range(0, size, texture.stride):
        rolled = [torch.roll(m, place // n.stride, dim) for m, n in zip(maps, texture.inputs, strict=True)]
        yield place, texture.engine(None, rolled).clamp(0, 1).clone()


def main() -> int:
    parser = of_models("texture", __doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    if not options.models:
        print("no textures are shipped: name model files")
        return 1
    missed = []
    for name in options.models:
        texture = loading.load_texture(name)
        if not texture.periodic:
            print(f"{name}: its network does not wrap around")
            return 1
        sums = {axis: [0.0, 0.0] for axis in ("x", "y")}
        apart = 0.0
        for seed in range(options.count):
            given = torch.from_numpy(texture.draw(options.size, options.size, seed, tileable=True))
            for axis, dim in (("x", 3), ("y", 2)):
                for place, tile in drawings(texture, options.size, seed, dim):
                    edge, inner = measures.edge_steps(tile, texture.stride, dim)
                    sums[axis][0] += edge
                    sums[axis][1] += inner
                    apart = max(apart, float((torch.roll(tile, -place, dim) - given).abs().max()))
        ratios = {axis: edge / inner for axis, (edge, inner) in sums.items()}
        shown = "  ".join(f"{a} {r:.4f}" for a, r in ratios.items())
        print(f"{texture.name:20}{shown}  drawings {apart * 255:.2f}/255 apart", flush=True)
        missed += [f"{texture.name}: {a} {r:.4f}" for a, r in ratios.items() if abs(r - 1) > WITHIN]
    with tempfile.TemporaryDirectory() as folder:
        done = texturenets(
            *("sample", options.models[0], "--size", "100x70", "--tileable", "-o", Path(folder) / "a.png")
        )
        print(done.stderr.strip())
        if "cannot tile" not in done.stderr:
            missed.append("100 x 70 was drawn without a word")
    print(*(missed or ["all met"]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
