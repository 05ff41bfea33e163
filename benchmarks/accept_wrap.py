"""Photos that wrap around have no seam: the step across the wrap edge beside inner steps of the same phase.

    accept_wrap.py [NAME|MODEL ...] [--count 6] [--size 128]

Photos are noise with the spectrum of photos, periodic both ways. Each is cut open at every multiple of the stride in
turn and stylized with `wrap`; the mean step across the wrap edge is to be within 2 % of that of inner edges of the
same phase (modulo the network's stride), along both axes. Why at every place, and of the same phase: see
`accept_tiles.py`. Beside it stands the ratio without `wrap`. The largest difference of the images, rolled back, from
the first is printed too: in float32 there is none but rounding.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from bars import of_models

from texturenets import loading
from texturenets.evaluation import measures

WITHIN = 0.02


def periodic(size: int, seed: int) -> torch.Tensor:
    """A photo that wraps around, (1, 3, size, size): the spectrum falls with the power 1.5 of the frequency."""
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((3, size, size)))
    far = np.hypot(np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size) * size)
    values = np.fft.irfft2(spectrum / (far + 2) ** 1.5, (size, size))
    return torch.from_numpy(0.5 + 0.2 * values / values.std()).float()[None].clamp(0, 1)


def main() -> int:
    parser = of_models("style", __doc__)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args()
    missed = []
    for name in options.models:
        style = loading.load(name, engine=options.engine)
        stride, said, apart = style.engine.io_spec.stride, [], 0.0
        still = 0.0 if style.engine.io_spec.noise else 1.0  # noise stays in place where the photo is rolled
        for axis, dim in (("x", 3), ("y", 2)):
            for wrap in ("xy", ""):
                steps = np.zeros(2)
                for seed in range(options.count):
                    first = None
                    for place in range(0, options.size, stride):
                        photo = torch.roll(periodic(options.size, seed), place, dim)
                        made = style.stylize(photo, wrap=wrap, noise_level=still)
                        steps += measures.edge_steps(made, stride, dim)
                        back = torch.roll(made, -place, dim)
                        first = back if first is None else first
                        apart = max(apart, float((back - first).abs().max()) if wrap else 0.0)
                ratio = steps[0] / steps[1]
                said.append(f"{axis} {ratio:.4f}" if wrap else f"({ratio:.2f} without)")
                if wrap and abs(ratio - 1) > WITHIN:
                    missed.append(f"{style.name}: {axis} {ratio:.4f}")
        print(f"{style.name:20}{'  '.join(said)}  {apart * 255:.2f}/255 apart", flush=True)
    print(*(missed or ["all met"]), sep="\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
