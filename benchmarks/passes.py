"""What each pass of `texturenets.graph.passes` brings: every network with all passes, and with all but that one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from bars import shipped

from texturenets import noise
from texturenets.engines.onnx_engine import ONNXEngine
from texturenets.engines.openvino_engine import OpenVINOEngine
from texturenets.graph import Graph
from texturenets.graph.onnx import to_onnx
from texturenets.graph.passes import CPU_PASSES, optimize
from texturenets.modelfiles import modelfile
from texturenets.networks import GeneratorSpec, build
from texturenets.networks.encoder_decoder import Skip
from texturenets.networks.johnson import Johnson
from texturenets.networks.pyramid import Pyramid
from texturenets.networks.reference import REFERENCE
from texturenets.networks.trace import trace

PUBLISHED: dict[str, GeneratorSpec] = {
    "pytorch/examples": Johnson(upsampling="nearest", decoder_norm=True, exit_kernel=9, padding="reflect"),
    "master/johnson": REFERENCE["master/johnson"],
    "diversity/johnson": REFERENCE["diversity/johnson"],
    "diversity/johnson_bilinear": REFERENCE["diversity/johnson_bilinear"],
    "master/pyramid": REFERENCE["master/pyramid"],
    # As published they normalize with the statistics of what they draw.
    "texture_nets_v1/pyramid": Pyramid(
        padding="circular", activation="leaky_relu", photo=False, noise_depth=3
    ),
    "texture_nets_v1/skip": Skip(),
}
"""Networks that others published, with random weights."""


def networks() -> dict[str, Graph]:
    """One shipped model of every architecture, and the published ones."""
    found: dict[tuple[str, ...], tuple[str, Graph]] = {}
    for name, path in {**shipped("style"), **shipped("texture")}.items():
        graph = modelfile.read_graph(path)
        assert graph is not None
        found.setdefault(tuple(graph.lines()), (name, graph))
    torch.manual_seed(0)
    return dict(found.values()) | {name: trace(build(spec).eval()) for name, spec in PUBLISHED.items()}


@dataclass(frozen=True)
class Row:
    """Milliseconds without a pass and with it, medians; `gain`: the median of the pairs' ratios, less one."""

    network: str
    name: str
    engine: str
    without: float
    taken: float
    gain: float


def measure(side: int, runs: int) -> Iterator[Row]:
    """Every pass by every network that it changes, and by both engines.

    Pictures of `side` x `side` pixels, textures of half of it; the two run in turn, `runs` pairs after one that does
    not count.
    """
    for name, graph in networks().items():
        whole = optimize(graph)
        size = side if graph.photo else side // 2
        photo = np.random.default_rng(0).random((1, 3, size, size), np.float32) if graph.photo else None
        maps = noise.draw_arrays(graph.noise, [0], size, size)
        for one in CPU_PASSES:
            less = optimize(graph, [other for other in CPU_PASSES if other is not one])
            if less.lines() == whole.lines():
                continue
            for engine in ("openvino", "onnx"):
                pair = [_engine(engine, made, graph) for made in (less, whole)]
                actions = [lambda e=e, x=photo, maps=maps: e(x, maps) for e in pair]
                yield Row(name, one.__name__, f"{engine} {pair[0].precision}", *_in_turn(actions, runs))


def _engine(name: str, graph: Graph, original: Graph) -> Any:
    model = to_onnx(graph, split=name == "openvino", apply_passes=False).SerializeToString()
    return (OpenVINOEngine if name == "openvino" else ONNXEngine)(model, original.io_spec)


def _in_turn(actions: Sequence[Callable[[], Any]], runs: int) -> tuple[float, float, float]:
    taken: list[list[float]] = [[], []]
    for run in range(runs + 1):
        for i in (0, 1) if run % 2 else (1, 0):  # a machine that grows slower or faster favours neither
            start = time.perf_counter()
            actions[i]()
            if run:
                taken[i].append(1e3 * (time.perf_counter() - start))
    gain = statistics.median(a / b for a, b in zip(*taken, strict=True)) - 1
    return statistics.median(taken[0]), statistics.median(taken[1]), gain
