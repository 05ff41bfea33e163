"""Images strip by strip against images as a whole: the largest difference, by engine and height of strips.

    python benchmarks/accept_tiled.py [--size 2048] [--model wave ...]

For every shipped style and for johnson (weights drawn, the last layer scaled so that the image has a photo's
contrast) an image of SIZE x SIZE pixels goes through the network at once, by PyTorch in float32, and then strip by
strip, with three heights of strips, by OpenVINO and ONNX Runtime, maps on disk in half precision. The largest
difference may be 1/255; in bf16 0.5/255 on average and 3/255 at the 99.9th percentile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bars import shipped
from numpy.typing import NDArray
from torch import Tensor, nn

from texturenets import engines, noise
from texturenets.engines.options import EngineOptions
from texturenets.graph import Graph
from texturenets.graph.passes import CPU_PASSES, optimize
from texturenets.modelfiles import modelfile
from texturenets.networks import build, make_spec, network_files
from texturenets.networks.trace import trace
from texturenets.tiled.rows import Interval
from texturenets.tiled.run import TiledJob, run
from texturenets.tiled.sources import InMemory

ROWS = (64, 256, 1024)
RUNS = (("openvino", "float32"), ("openvino", "bf16"), ("onnx", "float32"))
LARGEST, MEAN, PERCENTILE = 1.0, 0.5, 3.0  # in 255ths


def network_of(name: str) -> nn.Module:
    """The network of a shipped style or a model file, or one of a kind of generator with weights drawn."""
    if name in modelfile.shipped() or Path(name).is_file():
        return network_files.load(modelfile.find(name))[0]
    torch.manual_seed(0)
    network = build(make_spec(name)).eval().requires_grad_(False)
    with torch.inference_mode():
        spread = network(picture(128)).std()
    if spread < 0.1:
        network.exit.conv.weight.mul_(0.2 / spread)
    return network


def picture(size: int) -> Tensor:
    """Something of a photo's spectrum: noise at all scales, (1, 3, size, size)."""
    random = torch.Generator().manual_seed(0)
    total = torch.full((1, 3, size, size), 0.5)
    step = 2
    while step <= size:
        coarse = torch.rand(1, 3, size // step, size // step, generator=random) - 0.5
        total += 0.05 * step**0.35 * nn.functional.interpolate(coarse, (size, size), mode="bilinear")
        step *= 2
    return total.clamp(0, 1)


def in_strips(
    graph: Graph, x: Tensor, maps: Sequence[Tensor], rows: int, engine: Any
) -> tuple[Tensor, float]:
    """What comes out of a photo and noise maps in strips of so many rows, and the seconds that it took."""
    found = np.empty(x.shape, np.float32)

    def keep(place: Interval, y: NDArray[np.float32]) -> None:
        found[:, :, place[0] : place[1]] = y

    noises = [i for i, node in enumerate(graph.nodes) if node.operation == "noise"]
    inputs = {i: InMemory(noise_map.numpy()) for i, noise_map in zip(noises, maps, strict=True)}
    inputs |= {i: InMemory(x.numpy()) for i, node in enumerate(graph.nodes) if node.operation == "photo"}
    with tempfile.TemporaryDirectory() as folder:
        job = TiledJob(graph, (x.shape[2], x.shape[3]), inputs, Path(folder), 1 << 33, engine, rows=rows)
        start = time.perf_counter()
        run(job, keep)
        return torch.from_numpy(found), time.perf_counter() - start


def compare(name: str, size: int) -> bool:
    """Print a table for one network; whether it passes."""
    network, x = network_of(name), picture(size)
    graph = optimize(trace(network), CPU_PASSES)
    maps = noise.draw(graph.noise, [0], size, size)
    start = time.perf_counter()
    with torch.inference_mode():
        whole = (network(x, maps) if maps else network(x)).clamp(0, 1)
    print(f"{name}, {size} x {size}, whole by PyTorch: {time.perf_counter() - start:.1f} s")
    print(f"{'rows':>6} {'engine':>18} {'largest':>8} {'99.9 %':>8} {'mean':>8} {'seconds':>8}   (255ths)")
    passed = True
    for kind, precision in RUNS:
        engine = engines.load(modelfile.find("wave"), EngineOptions(kind, "cpu", precision))
        for rows in (one for one in ROWS if one <= size):
            found, seconds = in_strips(graph, x, maps, rows, engine)
            difference = (found.clamp(0, 1) - whole).abs().flatten() * 255
            rank = max(1, int(difference.numel() * 0.001))
            largest, mean = float(difference.max()), float(difference.mean())
            percentile = float(difference.topk(rank).values[-1])
            print(
                f"{rows:>6} {kind + ' ' + precision:>18} {largest:8.3f} {percentile:8.3f} {mean:8.4f} "
                f"{seconds:8.1f}",
                flush=True,
            )
            if precision == "float32":
                passed &= largest <= LARGEST
            else:
                passed &= mean <= MEAN and percentile <= PERCENTILE
    return passed


def main() -> int:
    """Run the comparison; 0 if every network passes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--model", nargs="*", default=[*shipped("style"), "johnson"])
    options = parser.parse_args()
    passed = [compare(name, options.size) for name in options.model]
    print("passed" if all(passed) else "FAILED")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
