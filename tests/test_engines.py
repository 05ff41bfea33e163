"""Engines: the same picture from each, at any size; graphs that are kept; what each can and cannot do."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets import api, devices, engines, layers, modelfile, noise
from texturenets.engines import cache, graph, openvino_engine, recording
from texturenets.engines.facts import Facts
from texturenets.engines.onnx_engine import ONNXEngine
from texturenets.engines.openvino_engine import OpenVINOEngine
from texturenets.engines.torch_engine import GRAPHS, TorchEngine
from texturenets.errors import UserError
from texturenets.generators import GENERATORS, build
from texturenets.layers import InstanceNorm
from texturenets.modelfile import Header
from texturenets.noise import NoiseInput
from texturenets.specs import (
    FullyConnected,
    GeneratorSpec,
    Graph,
    Johnson,
    Multiscale,
    Pyramid,
    Pyramid2,
    Residual,
    Skip,
    SkipNoise,
    SkipUnpool,
)

TINY = Residual(channels=8, blocks=1)
NOISY = Graph(
    nodes=(
        "photo",
        "noise channels=2 stride=4 distribution=normal",
        "upsample 1 factor=4 mode=bilinear",
        "concat 0 2",
        "pad 3 amount=2:1:0:3 mode=circular",
        "conv 4 out=6 kernel=3",
        "norm 5",
        "relu 6",
        "crop 7 amount=1:0:0:1",
        "conv 8 out=3 kernel=1",
    )
)
FROM_NOISE = Graph(
    nodes=(
        "noise channels=3 stride=1",
        "noise channels=4 stride=2",
        "upsample 1 factor=2",
        "concat 0 2",
        "pad 3 amount=1:1:1:1 mode=circular",
        "conv 4 out=3 kernel=3",
    )
)
# Every operation of a graph that the ones above leave out.
REST = Graph(
    nodes=(
        "photo",
        "unshuffle 0 factor=2",
        "conv 1 out=8 kernel=1",
        "affine 2",
        "leaky_relu 3 slope=0.2",
        "prelu 4",
        "elu 5 alpha=0.7",
        "pad 6 amount=1:1:1:1 mode=reflect",
        "conv 7 out=8 kernel=3 groups=2",
        "pad 8 amount=2:2:2:2 mode=replicate",
        "conv 9 out=8 kernel=3 dilation=2",
        "max_pool 10 kernel=2 stride=2",
        "avg_pool 11 kernel=2 stride=2",
        "upsample 12 factor=2 mode=bilinear_corners",
        "unpool 13 11",
        "add 14 10",
        "mul 15 14",
        "pad 16 amount=1:0:1:0 mode=zero",
        "crop 17 amount=0:1:0:1",
        "sigmoid 18",
        "tanh 19",
        "clamp 20 low=-0.5 high=0.5",
        "linear 21 by=2 add=0.25",
        "concat 22 14",
        "deconv 23 out=4 kernel=3 stride=1 crop=1:1:1:1",
        "shuffle 24 factor=2",
        "conv 25 out=3 kernel=1",
    )
)
SPECS: dict[str, GeneratorSpec] = {
    "residual": TINY,
    "circular": Residual(channels=8, blocks=1, padding="circular"),
    "zero": Residual(channels=8, blocks=1, padding="zero", normalization="none"),
    "batch": Pyramid(channels=2, scales=3, normalization="batch", upsampling="bilinear"),
    "johnson": Johnson(channels=4, blocks=1),
    "johnson full4": Johnson(channels=4, blocks=1, upsampling="full4", input_norm=True, output="bounded"),
    "johnson small": Johnson(channels=4, blocks=1, size="small_down", upsampling="nearest", noise_depth=2),
    "pyramid": Pyramid(channels=2, scales=3),
    "pyramid from noise": Pyramid(channels=2, scales=3, photo=False, noise_depth=2, padding="circular"),
    "pyramid2": Pyramid2(channels=(6, 4), noise_depth=2, noise="normal"),
    "skip": Skip(channels=(4, 6), noise_depth=2, upsampling="bilinear"),
    "skip_noise": SkipNoise(channels=(4, 6), photo=True, noise_depth=0, output="bounded"),
    "multiscale": Multiscale(channels=(4, 6, 8)),
    "fully_connected": FullyConnected(channels=(6, 4), hidden=8, noise_depth=5, output="clamped"),
    "skip_unpool": SkipUnpool(channels=(4, 6), noise_depth=1),
    "photo and noise": NOISY,
    "from noise": FROM_NOISE,
}


def network(spec: GeneratorSpec) -> nn.Module:
    net = build(spec).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return net


def save(path: Path, spec: GeneratorSpec = TINY, kind: Any = "style") -> Path:
    modelfile.save(network(spec), Header(name=path.stem, kind=kind, generator=spec), path)
    return path


def inputs(facts: Facts, batch: int, height: int, width: int) -> tuple[Any, list[Any]]:
    photo = np.random.default_rng(height).random((batch, facts.channels, height, width), np.float32)
    return (
        photo if facts.channels else None,
        list(noise.draw_arrays(facts.noise, range(batch), height, width)),
    )


def test_every_generator_is_among_the_specs() -> None:
    assert {spec.name for spec in SPECS.values()} == set(GENERATORS)


@pytest.mark.parametrize("name", SPECS)
def test_engines_agree_with_pytorch_at_five_sizes(name: str) -> None:
    net = network(SPECS[name])
    model, facts = graph.to_onnx(net)
    data = model.SerializeToString()
    reference = TorchEngine(net)
    split = graph.to_onnx(net, split=True)[0].SerializeToString()
    others = [ONNXEngine(data, facts), ONNXEngine(split, facts), OpenVINOEngine(data, facts, "float32")]
    # A map of one pixel normalized is nothing but rounding errors.
    least, step = max(facts.least, 2 * facts.stride), facts.stride
    sizes = [
        (1, least, least),
        (1, least, least + step),
        (2, least + 2 * step, least),
        (1, 3 * least, 2 * least + step),
        (3, least + step, 4 * least),
    ]
    for batch, height, width in [(n, step, step) for n in range(1, 6)] if facts.fixed else sizes:
        x, maps = inputs(facts, batch, height, width)
        expected = reference(x, maps)
        assert expected.shape == (batch, 3, height, width)
        for engine in others:
            assert np.allclose(engine(x, maps), expected, atol=1e-5), (engine.name, height, width)


def test_every_operation_of_a_graph() -> None:
    net = network(REST)
    model, facts = graph.to_onnx(net)
    x, _ = inputs(facts, 2, 48, 64)
    expected = TorchEngine(net)(x)
    for engine in (
        ONNXEngine(model.SerializeToString(), facts),
        OpenVINOEngine(model.SerializeToString(), facts, "float32"),
    ):
        assert np.allclose(engine(x), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "johnson", "pyramid", "skip_unpool"])
def test_instance_normalization_stays_one_operation(name: str) -> None:
    net = network(SPECS[name])
    layers = sum(isinstance(module, InstanceNorm) for module in net.modules())
    model, _ = graph.to_onnx(net)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["InstanceNormalization"] == layers > 0
    assert not {"ReduceMean", "Sqrt", "LayerNormalization"} & kinds.keys()
    read = openvino_engine.core().read_model(io.BytesIO(model.SerializeToString()))
    assert Counter(op.get_type_name() for op in read.get_ops())["MVN"] == layers


def test_traps_of_openvino_are_avoided() -> None:
    wrapped, _ = graph.to_onnx(network(SPECS["circular"]))
    modes = [a.s for node in wrapped.graph.node if node.op_type == "Pad" for a in node.attribute]
    assert b"wrap" not in modes
    unpooled, _ = graph.to_onnx(network(SPECS["skip_unpool"]))
    assert "MaxUnpool" not in {node.op_type for node in unpooled.graph.node}


def test_the_smallest_size_needs_no_second_reflection() -> None:
    deep = Graph(nodes=("photo", "pad 0 amount=9:9:9:9 mode=reflect", "crop 1 amount=9:9:9:9"))
    assert recording.facts(network(deep)) == Facts(1, 10)
    assert recording.facts(network(Pyramid(channels=1, scales=4, padding="reflect"))).least == 16
    assert recording.facts(network(Residual(channels=4, blocks=1))).margin == 16
    assert (
        recording.facts(network(Residual(channels=4, blocks=1, padding="circular"))).margin == 0
    )  # wraps around
    assert recording.facts(network(FROM_NOISE)) == Facts(
        2, 2, 0, (NoiseInput(3, 1, "uniform"), NoiseInput(4, 2, "uniform"))
    )


def test_facts_there_and_back() -> None:
    facts = Facts(8, 16, 4, (NoiseInput(3, 2, "normal"),), margin=16)
    assert Facts.from_json(facts.to_json()) == facts


class Own(nn.Module):
    """A network of somebody's own, of PyTorch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(2),
            nn.Conv2d(3, 8, 5),
            nn.InstanceNorm2d(8, affine=True),
            nn.ReLU(),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(8, 12, 3, 2, 1),
            nn.PixelShuffle(2),
            nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(F.interpolate(self.body(x), scale_factor=2.0))[:, :, ::4, ::4] * 0.5


def test_a_network_of_ones_own() -> None:
    net = Own().eval()
    model, facts = graph.to_onnx(net)
    x, _ = inputs(facts, 1, 24, 32)
    assert np.allclose(ONNXEngine(model.SerializeToString(), facts)(x), TorchEngine(net)(x), atol=1e-5)


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.mean() > 0.5 else x


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x).real


@pytest.mark.parametrize(("net", "what"), [(Branches(), "Branches"), (Strange(), "fft2")])
def test_what_cannot_be_converted_is_named(net: nn.Module, what: str) -> None:
    with pytest.raises(UserError, match=rf"{what}.*--engine torch"):
        graph.to_onnx(net)


@pytest.mark.parametrize("size", [(1, 1), (5, 70), (64, 65)])
def test_small_pictures_are_the_same_on_every_engine(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(tmp_path / "a.safetensors")
    photo = torch.rand(3, *size)
    expected = api.load(path, "cpu", engine="torch")(photo)
    for name in ("openvino", "onnx"):
        result = api.load(path, engine=name, precision="float32")(photo)
        # One pixel fills a flat picture, of which normalization leaves the rounding errors.
        assert torch.allclose(result, expected, atol=1e-5 if min(size) > 1 else 1e-3), name


def test_auto_runs_by_pytorch_what_cannot_be_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(graph.FUNCTIONS, layers.pad, None)
    path = save(tmp_path / "a.safetensors", Residual(channels=9, blocks=1))
    assert engines.load(path, device="cpu").name == "torch"
    with pytest.raises(UserError, match="cannot convert the operation pad"):
        engines.load(path, "openvino")


@pytest.mark.parametrize("spec", [NOISY, Johnson(channels=4, blocks=1, noise_depth=2)])
def test_noise_is_the_same_on_every_engine(tmp_path: Path, spec: GeneratorSpec) -> None:
    path = save(tmp_path / "a.safetensors", spec)
    photo = np.random.default_rng(0).random((40, 36, 3), np.float32)
    styles = [api.load(path, engine=name, precision="float32") for name in ("torch", "openvino", "onnx")]
    first = styles[0](photo, seed=3)
    for style in styles[1:]:
        assert np.allclose(style(photo, seed=3), first, atol=1e-5)
    assert not np.allclose(styles[0](photo, seed=4), first, atol=1e-3)


def test_arrays_and_tensors_come_back_as_they_were() -> None:
    model, facts = graph.to_onnx(network(TINY))
    x, _ = inputs(facts, 1, 16, 24)
    for engine in (
        TorchEngine(network(TINY)),
        ONNXEngine(model.SerializeToString(), facts),
        OpenVINOEngine(model.SerializeToString(), facts),
    ):
        assert isinstance(engine(x), np.ndarray)
        y = engine(torch.from_numpy(x))
        assert isinstance(y, Tensor)
        assert y.dtype == torch.float32
        kept = y.clone()
        engine(torch.zeros(1, 3, 16, 24))
        assert torch.equal(y, kept)  # the next picture does not write over the last


def test_half_precision_is_close(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", Residual(channels=16, blocks=2))
    x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    exact = engines.load(path, "torch", "cpu", "float32")(x)
    for engine in (engines.load(path, "torch", "cpu", "bf16"), engines.load(path, "openvino")):
        difference = np.abs(engine(x) - exact)
        assert difference.mean() < 0.01
        assert (difference.max() > 0) == (engine.precision == "bf16")


# ---- What is kept ------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


def test_a_graph_is_converted_once(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.safetensors")
    x = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    first = engines.load(path, "openvino")(x)
    assert sorted(p.suffix for p in kept.iterdir()) == [".blob", ".json", ".onnx"]
    moved = path.rename(tmp_path / "b.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(engines, "convert", lambda *_, **__: pytest.fail("converted again"))
        assert np.array_equal(engines.load(moved, "openvino")(x), first)
    torch.manual_seed(1)
    other = save(moved)
    assert not np.array_equal(engines.load(other, "openvino")(x), first)


@pytest.mark.parametrize("suffix", [".blob", ".json"])
def test_damaged_files_are_made_anew(kept: Path, tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / "a.safetensors")
    x = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    first = engines.load(path, "openvino")(x)
    (damaged,) = kept.glob(f"*{suffix}")
    damaged.write_bytes(b"{}")
    assert np.array_equal(engines.load(path, "openvino")(x), first)
    assert damaged.read_bytes() != b"{}"


def test_a_cache_that_cannot_be_written_costs_nothing(kept: Path, tmp_path: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("a file")
    engines.load(save(tmp_path / "a.safetensors"), "openvino")


def test_the_longest_unused_go(kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "KEPT", 2)
    entries = []
    for i in range(4):
        model = tmp_path / f"{i}.safetensors"
        model.write_bytes(bytes([i]))
        entries.append(cache.Entry(model))
        for suffix in (".onnx", ".json"):
            entries[i].keep(suffix, Facts().to_json().encode())
            if i == 2:
                os.utime(entries[0].path(".json"))  # used in the meantime
            os.utime(entries[i].path(suffix), (i, i))
    assert entries[3].facts(".onnx") == Facts()
    assert entries[1].facts(".onnx") is None


PROGRAM = """
import sys
from texturenets.cli import main
assert main(sys.argv[1:]) == 0
print(json.dumps([name for name in ("torch", "onnx", "openvino_telemetry") if sys.modules.get(name)]))
"""


def test_a_second_run_imports_no_torch_and_reports_no_usage(kept: Path, tmp_path: Path) -> None:
    from PIL import Image

    path = save(tmp_path / "a.safetensors")
    engines.load(path, "openvino")
    Image.new("RGB", (30, 20), "teal").save(tmp_path / "photo.jpg")
    texture = save(tmp_path / "b.safetensors", FROM_NOISE, "texture")
    engines.load(texture, "openvino")
    out = ["-o", str(tmp_path / "out.png")]
    for words in (
        ["stylize", str(tmp_path / "photo.jpg"), "-s", str(path), *out, "--size", "40"],
        ["sample", str(texture), *out, "--tileable"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", f"import json{PROGRAM}", *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == []
        assert done.stderr.startswith("engine: openvino, ")


# ---- Which one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "tensorrt"}, "unknown engine 'tensorrt'"),
        ({"engine": "torch", "precision": "int3"}, "unknown precision 'int3'"),
        ({"engine": "onnx", "precision": "bf16"}, "ONNX Runtime computes in float32"),
        ({"engine": "openvino", "precision": "fp16"}, "OpenVINO computes in float32 or bf16"),
        ({"precision": "int8"}, "unknown precision 'int8'"),
        ({"engine": "onnx", "device": "cuda"}, "leave out --device cuda"),
    ],
)
def test_mistakes(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        engines.load(save(tmp_path / "a.safetensors"), **options)


@pytest.mark.parametrize(("engine", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_what_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, package: str
) -> None:
    path = save(tmp_path / "a.safetensors")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"texturenets\[{engine}\]"):
        engines.load(path, engine)


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({"onnx", "openvino", "onnxruntime"}, "openvino"),
        ({"onnx", "onnxruntime"}, "onnx"),
        ({"openvino", "onnxruntime"}, "torch"),
        (set(), "torch"),
    ],
)
def test_auto_takes_the_fastest_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: set[str], expected: str
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: name if name in installed else None)
    assert engines.load(save(tmp_path / "a.safetensors"), device="cpu").name == expected


def test_auto_takes_pytorch_on_a_graphics_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "choose", lambda _: torch.device("cuda"))
    assert engines._fastest("auto", False) == "torch"
    assert engines._fastest("cuda", False) == "torch"
    monkeypatch.setattr(devices, "choose", lambda _: torch.device("cpu"))
    assert engines._fastest("auto", False) == "openvino"  # a driver without a card


def test_kernels_are_bounded() -> None:
    assert openvino_engine.compile_options("bf16")["CPU_RUNTIME_CACHE_CAPACITY"] == openvino_engine.KERNELS
    assert openvino_engine.KERNELS <= 512


def test_sizes_are_recorded_when_they_come_again_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bookkeeping of CUDA graphs, with a record that needs no graphics card."""
    engine = TorchEngine(network(TINY))
    recorded = []

    class Replayed:
        def replay(self) -> None:
            pass

    def record(given: list[Tensor]) -> Any:
        recorded.append(tuple(given[0].shape))
        places = [one.clone() for one in given]
        from texturenets.engines.torch_engine import _Recorded

        return _Recorded(Replayed(), places, engine._pass(places))  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_record", record)
    sizes = [8 + 4 * i for i in range(GRAPHS + 2)]
    with torch.inference_mode():
        for side in sizes:
            x = torch.rand(1, 3, side, side)
            assert torch.equal(engine._recorded([x]), engine._pass([x]))
        assert recorded == []
        assert len(engine._seen) == GRAPHS
        x = torch.rand(1, 3, sizes[-1], sizes[-1])
        for _ in range(3):
            assert torch.equal(engine._recorded([x]), engine._recorded([x]))
        assert recorded == [(1, 3, sizes[-1], sizes[-1])]
        engine._recorded([torch.rand(1, 3, sizes[0], sizes[0])])
        assert len(engine._seen) == GRAPHS


def test_the_graph_is_a_valid_file_of_an_old_format(tmp_path: Path) -> None:
    model, _ = graph.to_onnx(network(TINY), {"name": "tiny"})
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert {one.key: one.value for one in model.metadata_props}["name"] == "tiny"
    onnx.checker.check_model(model, full_check=True)


def test_an_engine_takes_no_more_threads_than_it_is_given(kept: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors")
    compiled: Any = engines.load(path, "openvino", threads=1)
    assert compiled.compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert not compiled.compiled.get_property(
        "ENABLE_CPU_PINNING"
    )  # else all workers would sit on the first core
    session: Any = engines.load(path, "onnx", threads=1)
    assert session.session.get_session_options().intra_op_num_threads == 1
    before = torch.get_num_threads()
    try:
        engines.load(path, "torch", "cpu", threads=3)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
