"""Pictures in pieces against pictures as a whole: the largest difference, over tile sizes and in half precision.

    python benchmarks/accept_outofcore.py [--size 2048] [--model wave ...]

For every shipped style and for johnson (weights drawn, the last layer scaled so that the picture has a photo's
contrast) a picture of SIZE x SIZE pixels goes through the network at once and then tile by tile, with five sizes of
tiles, maps on disk in half precision. The largest difference may be 1/255; with bf16 in the convolutions too, 0.5/255
on average and 3/255 at the 99.9th percentile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
from texturenets.tiled.regions import Region
from torch import Tensor, nn

from texturenets.modelfiles import modelfile
from texturenets.networks import build, make_spec, network_files
from texturenets.networks.trace import trace
from texturenets.tiled.run import Plan, TiledJob, run
from texturenets.tiled.sources import InMemory

TILES = ((64, 1 << 20), (256, 1 << 20), (256, 256), (512, 1024), (1024, 1024))
LARGEST, MEAN, PERCENTILE = 1.0, 0.5, 3.0  # in 255ths


def network_of(name: str) -> nn.Module:
    """The network of a shipped style, or one of a kind of generator with weights drawn."""
    if name in modelfile.shipped():
        return network_files.load(modelfile.shipped()[name])[0]
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


def in_pieces(
    network: nn.Module, x: Tensor, tile: tuple[int, int], precision: torch.dtype
) -> tuple[Tensor, float]:
    """What comes out in tiles, and the seconds that it took."""
    graph = trace(network)
    size = (x.shape[2], x.shape[3])
    found = torch.empty_like(x)

    def keep(place: Region, y: Tensor) -> None:
        found[:, :, place.top : place.bottom, place.left : place.right] = y

    stride = int(getattr(network, "stride", 1))
    photo = next(i for i, node in enumerate(graph.nodes) if node.operation == "photo")
    with tempfile.TemporaryDirectory() as folder:
        inputs = {photo: InMemory(x)}
        job = TiledJob(graph, size, stride, inputs, Path(folder), 1 << 33, precision=precision, tile=tile)
        start = time.perf_counter()
        run(job, keep, plan=Plan(graph, size))
        return found, time.perf_counter() - start


def compare(name: str, size: int) -> bool:
    """Print a table for one network; whether it passes."""
    network, x = network_of(name), picture(size)
    start = time.perf_counter()
    with torch.inference_mode():
        whole = network(x).clamp(0, 1)
    print(f"{name}, {size} x {size}, whole: {time.perf_counter() - start:.1f} s")
    print(
        f"{'tiles':>12} {'computed in':>12} {'largest':>8} {'99.9 %':>8} {'mean':>8} {'seconds':>8}   (255ths)"
    )
    passed = True
    for tile, precision in [*((t, torch.float32) for t in TILES), ((512, 1024), torch.bfloat16)]:
        found, seconds = in_pieces(network, x, tile, precision)
        difference = (found.clamp(0, 1) - whole).abs().flatten() * 255
        rank = max(1, int(difference.numel() * 0.001))
        largest, mean = float(difference.max()), float(difference.mean())
        percentile = float(difference.topk(rank).values[-1])
        words = f"{min(tile[0], size)} x {min(tile[1], size)}"
        kind = str(precision).removeprefix("torch.")
        print(
            f"{words:>12} {kind:>12} {largest:8.3f} {percentile:8.3f} {mean:8.4f} {seconds:8.1f}", flush=True
        )
        if precision == torch.float32:
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
    styles = [n for n, p in modelfile.shipped().items() if modelfile.read_header(p).kind == "style"]
    parser.add_argument("--model", nargs="*", default=[*styles, "johnson"])
    options = parser.parse_args()
    passed = [compare(name, options.size) for name in options.model]
    print("passed" if all(passed) else "FAILED")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
