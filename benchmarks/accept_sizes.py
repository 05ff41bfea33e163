"""Output size equals input size: random sizes from 16 x 16 to 1300 x 900 through every generator.

    accept_sizes.py [--count 200] [--seed 0]

Sizes do not depend on the number of channels, so that all generators but the default have few here.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
from pathlib import Path

import torch

from texturenets import networks
from texturenets.engines.torch_engine import TorchEngine
from texturenets.modelfiles import modelfile
from texturenets.networks import SPECS, GeneratorSpec
from texturenets.networks.reference import REFERENCE
from texturenets.networks.residual import Residual
from texturenets.stylize import style as api

NARROW = {"channels": 4, "blocks": 1, "skip_channels": 2}


def narrow(spec: GeneratorSpec) -> GeneratorSpec:
    """`spec` with few channels and blocks."""
    changes = {}
    for field in dataclasses.fields(spec):
        if field.name in NARROW:
            value = getattr(spec, field.name)
            changes[field.name] = (4,) * len(value) if isinstance(value, tuple) else NARROW[field.name]
    return dataclasses.replace(spec, **changes)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    known: dict[str, GeneratorSpec] = {"residual": Residual()}
    known |= {name: narrow(spec) for name, spec in REFERENCE.items()}
    known |= {
        name: narrow(cls()) for name, cls in SPECS.items() if name not in ("custom", "graph", "residual")
    }
    failed = 0
    for name, spec in known.items():
        draw = random.Random(options.seed)
        network = networks.build(spec)
        if not getattr(network, "photo", True):
            continue  # draws from noise alone
        header = modelfile.Header(name=name, kind="style", generator=spec)
        style = api.Style(TorchEngine(network), header, Path(name))
        wrong = []
        for _ in range(options.count):
            width, height = draw.randint(16, 1300), draw.randint(16, 900)
            result = style(torch.rand(3, height, width))
            if result.shape != (3, height, width) or not torch.isfinite(result).all():
                wrong.append(f"{width} x {height} gave {tuple(result.shape)}")
        failed += len(wrong)
        print(f"{name:32} {options.count - len(wrong)} of {options.count}", *wrong[:3], flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
