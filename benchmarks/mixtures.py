"""What styles cost in one network: a mixture and a mask against a network of one style, time by engine.

    python benchmarks/mixtures.py [--size 512] [--calls 12]

The networks are the default one with random weights, of one style and of three. Medians of calls in turn, as ratios
to the network of one style.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from texturenets import engines, noise
from texturenets.engines import Engine
from texturenets.engines.options import EngineOptions
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Mixture
from texturenets.modelfiles.variant import Variant
from texturenets.networks import build, make_spec, network_files
from texturenets.networks.conditional import ConditionalNetwork
from texturenets.train.configuration import STYLE_GENERATOR_OPTIONS

KINDS = (("openvino", "auto"), ("openvino", "float32"), ("onnx", "auto"), ("torch", "auto"))
STYLES = ("a", "b", "c")
MASKED = Mixture(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), stride=1)


def models(folder: Path) -> tuple[Path, Path]:
    """The model files of one style and of three."""
    spec = make_spec("residual", STYLE_GENERATOR_OPTIONS["residual"])
    one, several = folder / "one.safetensors", folder / "several.safetensors"
    network_files.save(build(spec), modelfile.Header(name="one", kind="style", generator=spec), one)
    header = modelfile.Header(
        name="several", kind="style", generator=spec, conditions=[{"style": style} for style in STYLES]
    )
    network_files.save(ConditionalNetwork(build(spec), len(STYLES)), header, several)
    return one, several


def measure(
    kinds: dict[str, tuple[Engine, dict[str, np.ndarray]]], side: int, calls: int
) -> dict[str, float]:
    """Median seconds of each."""
    random = np.random.default_rng(0)
    photo = random.random((1, 3, side, side), np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for call in range(calls + 2):
        for name, (engine, inputs) in kinds.items():
            maps = noise.draw_arrays(engine.io_spec.noise, [0], side, side)
            began = time.perf_counter()
            engine(photo, maps, inputs)
            if call >= 2:
                seconds[name].append(time.perf_counter() - began)
    return {name: median(taken) for name, taken in seconds.items()}


def main() -> None:
    """Print a line for each engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--calls", type=int, default=12)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one, several = models(Path(folder))
        for name, precision in KINDS:
            how = EngineOptions(name, "cpu", precision)
            side = options.size
            half = np.full((1, 2, side, side), 0.5, np.float32)
            thirds = np.full((1, 3, 1, 1), 1 / 3, np.float32)
            kinds = {
                "one style": (engines.load(one, how), {}),
                "a mixture": (
                    engines.load(several, how, variant=Variant(Mixture.of_rows(3))),
                    {"styles": thirds},
                ),
                "a mask": (engines.load(several, how, variant=Variant(MASKED)), {"styles": half}),
            }
            taken = measure(kinds, side, options.calls)
            alone = taken["one style"]
            print(
                f"{name} {kinds['one style'][0].precision}, {side} pixels: {alone:.3f} s; a mixture "
                f"{taken['a mixture'] / alone:.2f} times, a mask {taken['a mask'] / alone:.2f} times",
                flush=True,
            )


if __name__ == "__main__":
    main()
