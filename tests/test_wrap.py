"""Pictures that wrap around: the result does not depend on where the seam was cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from texturenets.engines.executor import GraphNetwork
from texturenets.errors import UserError
from texturenets.graph import Graph, parse, weight_shapes
from texturenets.graph.wrapping import Wrap, wrapped

Array = NDArray[np.float32]

RESIDUAL = (  # as the networks of the shipped styles
    "photo",
    "unshuffle 0 factor=2",
    "pad 1 amount=1:1:1:1 mode=reflect",
    "conv 2 out=6 kernel=3 weight=a",
    "{norm} 3",
    "relu 4",
    "pad 5 amount=1:1:1:1 mode=reflect",
    "conv 6 out=6 kernel=3 weight=b",
    "add 5 7",
    "upsample 8 factor=2 mode=bilinear",
    "pad 9 amount=1:1:1:1 mode=reflect",
    "conv 10 out=3 kernel=3 weight=c",
)
VALID = (  # padded once, then cropped at the shortcut, as in Johnson's network
    "photo",
    "pad 0 amount=8:8:8:8 mode=reflect",
    "pad 1 amount=1:1:1:1 mode=zero",
    "conv 2 out=6 kernel=3 stride=2 weight=a bias=ab",
    "{norm} 3",
    "leaky_relu 4 slope=0.2",
    "conv 5 out=6 kernel=3 weight=b",
    "conv 6 out=6 kernel=3 weight=c",
    "crop 5 amount=2:2:2:2",
    "add 7 8",
    "deconv 9 out=4 kernel=4 stride=2 crop=1:1:1:1 weight=d",
    "crop 10 amount=4:4:4:4",
    "pad 11 amount=1:1:1:1 mode=replicate",
    "conv 12 out=3 kernel=3 weight=e",
)
POOLED = (  # feature maps that begin at different places meet
    "photo",
    "conv 0 out=4 kernel=1 weight=a",
    "pad 1 amount=2:2:2:2 mode=lowest",
    "max_pool 2 kernel=4 stride=2",
    "crop 3 amount=0:1:0:1",
    "max_pool 1 kernel=2 stride=2",
    "global_pool 5",
    "mul 4 6",
    "concat 7 5",
    "{norm} 8",
    "unpool 5 5",
    "upsample 9 factor=2",
    "concat 11 10",
    "pad 12 amount=3:1:2:2 mode=circular",
    "conv 13 out=3 kernel=3 dilation=2 weight=b",
)
GRAPHS = {"residual": RESIDUAL, "valid": VALID, "pooled": POOLED}
WRAPS: tuple[Wrap, ...] = ("x", "y", "xy")


def graph_of(lines: tuple[str, ...], norm: str = "norm") -> Graph:
    random = np.random.default_rng(3)
    nodes = list(parse([line.format(norm=norm) for line in lines]))
    weights: dict[str, Array] = {}
    for node in nodes:
        for role, shape in weight_shapes(node, nodes).items():
            weights[node.weights[role]] = (0.3 * random.standard_normal(shape)).astype(np.float32)
    return Graph(nodes, weights)


def photo(height: int, width: int) -> Array:
    return np.random.default_rng(5).random((1, 3, height, width), dtype=np.float32)


def run(graph: Graph, x: Array) -> Array:
    with torch.inference_mode():
        y: Array = GraphNetwork(graph).eval()(torch.from_numpy(x)).numpy()
    return y


def rolled(x: Array, by: int, wrap: str) -> Array:
    return np.roll(x, by, tuple({"y": -2, "x": -1}[axis] for axis in wrap))


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("name", GRAPHS)
def test_graph_rolls(name: str, wrap: Wrap) -> None:
    graph = graph_of(GRAPHS[name])
    joined, x = wrapped(graph, wrap), photo(32, 48)
    assert joined.stride == graph.stride
    y = run(joined, x)
    for by in (graph.stride, 6 * graph.stride):
        assert np.abs(run(joined, rolled(x, by, wrap)) - rolled(y, by, wrap)).max() < 1e-4 * np.abs(y).max()
    assert np.abs(run(graph, rolled(x, 12, wrap)) - rolled(run(graph, x), 12, wrap)).max() > 0.01


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("name", ["residual", "valid"])
def test_graph_is_the_network_on_a_picture_that_goes_on(name: str, wrap: Wrap) -> None:
    """Without normalization a wrapped result is the plain one of the picture repeated, away from its edges."""
    graph, x = graph_of(GRAPHS[name], norm="relu"), photo(32, 48)
    axes = {"y": 2, "x": 3}
    tiles, middle = [1] * 4, [slice(None)] * 4
    for axis in wrap:
        side = x.shape[axes[axis]]
        tiles[axes[axis]], middle[axes[axis]] = 3, slice(side, 2 * side)
    expected = run(graph, np.tile(x, tiles))[tuple(middle)]
    np.testing.assert_allclose(run(wrapped(graph, wrap), x), expected, atol=1e-5)


def test_corners_in_place_cannot_wrap() -> None:
    lines = ("photo", "avg_pool 0 kernel=2 stride=2", "upsample 1 factor=2 mode=bilinear_corners")
    with pytest.raises(UserError, match="`align_corners`"):
        wrapped(graph_of(lines), "x")
