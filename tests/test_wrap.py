"""Pictures that wrap around: the result does not depend on where the seam was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import SPECS, network
from numpy.typing import NDArray
from PIL import Image
from webservice import client

from texturenets import image, loading, noise
from texturenets.cli import main
from texturenets.engines.executor import GraphNetwork
from texturenets.engines.onnx_engine import ONNXEngine
from texturenets.engines.openvino_engine import OpenVINOEngine
from texturenets.engines.options import EngineOptions
from texturenets.engines.torch_engine import TorchEngine
from texturenets.errors import UserError
from texturenets.graph import Graph, parse, weight_shapes
from texturenets.graph.onnx import to_onnx
from texturenets.graph.wrapping import Wrap, wrapped
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.residual import Residual
from texturenets.networks.trace import trace
from texturenets.stylize import memory_limits
from texturenets.stylize.style import Style
from texturenets.tiled.tiled_style import TiledStyle

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


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize(
    "name", ["residual", "johnson full4", "pyramid", "skip_noise", "skip_unpool", "dilated"]
)
def test_every_engine_runs_networks_of_all_kinds(name: str, wrap: Wrap) -> None:
    torch.manual_seed(0)
    graph = wrapped(trace(network(SPECS[name])), wrap)
    side = max(8 * graph.stride, graph.io_spec.min_side)
    x, maps = photo(side, side), noise.draw_arrays(graph.noise, [0], side, side)
    y, model = TorchEngine(graph)(x, maps), to_onnx(graph).SerializeToString()
    for engine in (OpenVINOEngine(model, graph.io_spec, "float32"), ONNXEngine(model, graph.io_spec)):
        np.testing.assert_allclose(engine(x, maps), y, atol=2e-5)


def test_corners_in_place_cannot_wrap() -> None:
    lines = ("photo", "avg_pool 0 kernel=2 stride=2", "upsample 1 factor=2 mode=bilinear_corners")
    with pytest.raises(UserError, match="`align_corners`"):
        wrapped(graph_of(lines), "x")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a tiny network with reflection, bilinear upsampling and a margin, that takes noise too."""
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    spec = Residual(channels=8, blocks=1, noise_depth=2)
    torch.manual_seed(1)
    network_files.save(build(spec), Header(name="small", kind="style", generator=spec), path)
    return path


def style_of(path: Path | str, engine: str = "torch", **options: Any) -> Style:
    how = EngineOptions(engine, "cpu", "float32", **options)
    return loading.load_style(path, how)


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnx"])
@pytest.mark.parametrize("wrap", WRAPS)
def test_style_rolls(small: Path, engine: str, wrap: Wrap) -> None:
    style, x = style_of(small, engine), photo(72, 96)
    options: dict[str, Any] = {"wrap": wrap, "noise_level": 0}  # the noise stays where it is
    y = style.stylize(x, **options)
    assert np.abs(style.stylize(rolled(x, 8, wrap), **options) - rolled(y, 8, wrap)).max() < 1e-5
    assert np.abs(y - style.stylize(x, noise_level=0)).max() > 0.01
    np.testing.assert_allclose(y, style_of(small).stylize(x, **options), atol=1e-4)
    twice = style.stylize(x, stroke=2, **options)
    again = style.stylize(rolled(x, 16, wrap), stroke=2, **options)
    assert np.abs(again - rolled(twice, 16, wrap)).max() < 1e-4


def test_a_tile_is_one_period_of_itself_repeated(small: Path) -> None:
    style, x = style_of(small), photo(20, 40)  # smaller than the least side
    y = style.stylize(x, wrap="xy", noise_level=0)
    more = style.stylize(np.tile(x, (1, 1, 5, 3)), wrap="xy", noise_level=0)
    np.testing.assert_allclose(more, np.tile(y, (1, 1, 5, 3)), atol=1e-5)


def test_noise_repeats_with_a_small_picture(small: Path) -> None:
    """What is repeated up to the least side has the noise of one period: the edge is like any other."""
    style, flat = style_of(small), np.full((1, 3, 16, 16), 0.5, np.float32)
    ratios = [seam(style.stylize(flat, wrap="x", seed=seed), 3, 4) for seed in range(60)]
    assert abs(np.mean(ratios) - 1) < 0.1


def seam(y: Array, axis: int, stride: int = 1) -> float:
    """Mean absolute step across the wrap edge over that across the others, of the same phase of the stride."""
    steps = np.abs(y - np.roll(y, 1, axis)).mean(tuple(i for i in range(4) if i != axis))[::stride]
    return float(steps[0] / steps[1:].mean())


def test_any_size_wraps(small: Path) -> None:
    """Sides that are no multiples of the stride are resampled to one and back, across the wrap edge: 93 to 96."""
    style, x = style_of(small), photo(70, 93)
    y = style.stylize(x, wrap="x", noise_level=0)
    assert y.shape == x.shape
    assert (
        np.abs(style.stylize(rolled(x, 31, "x"), wrap="x", noise_level=0) - rolled(y, 31, "x")).max() < 1e-4
    )


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("stroke", [1, 2])
def test_strips_wrap(small: Path, wrap: Wrap, stroke: int, monkeypatch: pytest.MonkeyPatch) -> None:
    style, x = style_of(small, "onnx"), photo(128, 96)
    whole = style.stylize(x, wrap=wrap, stroke=stroke)
    monkeypatch.setattr(TiledStyle, "fits", lambda *_: False)
    np.testing.assert_allclose(style.stylize(x, wrap=wrap, stroke=stroke), whole, atol=2e-3)


def test_file_in_strips_wraps(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[:, :90]).save(tmp_path / "odd.png")
    words = ["-s", str(small), "--engine", "onnx", "--quiet", "--wrap", "x"]
    assert main(["stylize", str(tmp_path / "a.png"), *words, "-o", str(tmp_path / "whole.png")]) == 0
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    assert main(["stylize", str(tmp_path / "a.png"), *words, "-o", str(tmp_path / "strips.png")]) == 0
    whole, strips = (np.asarray(Image.open(tmp_path / f"{n}.png"), int) for n in ("whole", "strips"))
    assert np.abs(whole - strips).max() <= 1
    assert main(["stylize", str(tmp_path / "odd.png"), *words, "-o", str(tmp_path / "no.png")]) == 2
    assert not (tmp_path / "no.png").exists()


def test_command_line(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(np.roll(pixels, (8, 16), (0, 1))).save(tmp_path / "b.png")
    words = ["-s", str(small), "--engine", "torch", "--quiet", "--noise-level", "0"]
    results = []
    for name, flags in (("a", ["--tileable"]), ("b", ["--wrap", "xy"])):
        out = tmp_path / f"{name}-out.png"
        assert main(["stylize", str(tmp_path / f"{name}.png"), *words, *flags, "-o", str(out)]) == 0
        results.append(np.asarray(Image.open(out), int))
    assert np.abs(np.roll(results[0], (8, 16), (0, 1)) - results[1]).max() <= 1
    capsys.readouterr()
    assert main(["stylize", str(tmp_path / "a.png"), *words, "--tileable", "--wrap", "x"]) == 2
    error = capsys.readouterr().err
    assert "--tileable" in error
    assert "--wrap x" in error
    assert error.count("\n") == 1


def test_resized_across_the_edge(small: Path, tmp_path: Path) -> None:
    """With --size the picture is resized as one that goes on, too."""
    pixels = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(np.roll(pixels, 32, 1)).save(tmp_path / "b.png")
    results = []
    for name in "ab":
        out = tmp_path / f"{name}-out.png"
        words = ["-s", str(small), "--quiet", "--wrap", "x", "--size", "96", "--strength", "0"]
        assert main(["stylize", str(tmp_path / f"{name}.png"), *words, "-o", str(out)]) == 0
        results.append(np.asarray(Image.open(out), int))
    assert np.abs(np.roll(results[0], 48, 1) - results[1]).max() <= 1


def test_refusals(small: Path) -> None:
    style = style_of(small)
    for wrong in ("z", "yx", True, None):
        with pytest.raises(UserError, match=f"`wrap` {wrong!r} is none of 'x'"):
            style(photo(64, 64)[0].transpose(1, 2, 0), wrap=wrong)  # type: ignore[call-overload]


def test_shipped_styles_have_no_seam() -> None:
    """Cut elsewhere the result is the same, so the wrap edge is like the inner edges of its phase of the stride."""
    x = image.resize_wrapped(np.random.default_rng(0).random((1, 3, 8, 9), np.float32), (64, 72), "xy")
    for name in (loading.shipped_styles()[style] for style in ("bouquet", "starry_night")):
        style = style_of(name, "openvino")
        level = 0 if style.engine.io_spec.noise else 1  # the noise stays where it is
        for wrap in ("x", "xy"):
            y = style.stylize(x, wrap=wrap, noise_level=level)  # type: ignore[call-overload]
            again = style.stylize(rolled(x, 28, wrap), wrap=wrap, noise_level=level)  # type: ignore[call-overload]
            assert np.abs(again - rolled(y, 28, wrap)).max() < 1e-4
            phase = np.abs(y - np.roll(y, 1, 3)).mean((0, 1, 2))[:: style.engine.io_spec.stride]
            cut = np.abs(again - np.roll(again, 1, 3)).mean((0, 1, 2))[0]
            assert cut == pytest.approx(phase[-7], rel=0.02)


def test_over_http_as_on_the_command_line(small: Path, tmp_path: Path) -> None:
    source, made = tmp_path / "a.png", tmp_path / "b.png"
    Image.fromarray((photo(40, 56)[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(source)
    flags = ["-s", str(small), "--engine", "torch", "--device", "cpu", "--wrap", "x", "--size", "48"]
    assert main(["stylize", str(source), "-o", str(made), *flags]) == 0
    with client(small.parent) as service:
        asked = "/v1/stylize?style=small&size=48"
        answer = service.post(f"{asked}&wrap=x", content=source.read_bytes())
        assert answer.status_code == 200, answer.text
        assert answer.content == made.read_bytes()
        assert service.post(asked, content=source.read_bytes()).content != answer.content
        assert service.post(f"{asked}&wrap=z", content=source.read_bytes()).status_code == 422
