"""Engines: the same image from each, at any size; graphs that are kept; what each can and cannot do."""

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
import pytest
import torch
import torch.nn.functional as F
from google.protobuf.message import Message
from networks import FROM_NOISE, NOISY, REST, SPECS, TINY, Sorted, network
from torch import Tensor, nn

from texturenets import engines, loading, noise
from texturenets.engines import cache, devices, openvino_engine
from texturenets.engines.executor import GraphNetwork
from texturenets.engines.onnx_engine import ONNXEngine
from texturenets.engines.openvino_engine import OpenVINOEngine
from texturenets.engines.options import EngineOptions
from texturenets.engines.primitives import InstanceNorm
from texturenets.engines.torch_engine import MAX_CUDA_GRAPHS, TorchEngine
from texturenets.errors import UserError
from texturenets.graph import Graph, IOSpec
from texturenets.graph.onnx import to_onnx
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import GeneratorSpec, make_spec, network_files
from texturenets.networks.custom import Custom
from texturenets.networks.graph import GraphSpec
from texturenets.networks.johnson import Johnson
from texturenets.networks.pyramid import Pyramid
from texturenets.networks.residual import Residual
from texturenets.networks.trace import trace
from texturenets.noise import NoiseInput
from texturenets.stylize import style as api


def save(path: Path, spec: GeneratorSpec = TINY, kind: Any = "style") -> Path:
    network_files.save(network(spec), Header(name=path.stem, kind=kind, generator=spec), path)
    return path


def inputs(io_spec: IOSpec, batch: int, height: int, width: int) -> tuple[Any, list[Any]]:
    photo = np.random.default_rng(height).random((batch, io_spec.channels, height, width), np.float32)
    return (
        photo if io_spec.channels else None,
        list(noise.draw_arrays(io_spec.noise, range(batch), height, width)),
    )


def converted(net: nn.Module, **options: Any) -> tuple[Message, IOSpec]:
    """The network as ONNX, and what it takes."""
    graph = trace(net)
    return to_onnx(graph, **options), graph.io_spec


@pytest.mark.parametrize("name", SPECS)
def test_engines_agree_with_pytorch_at_five_sizes(name: str) -> None:
    net = network(SPECS[name])
    model, io_spec = converted(net)
    data = model.SerializeToString()
    reference = TorchEngine(net)
    split = converted(net, split=True)[0].SerializeToString()
    others = [ONNXEngine(data, io_spec), ONNXEngine(split, io_spec), OpenVINOEngine(data, io_spec, "float32")]
    # A map of one pixel normalized is nothing but rounding errors.
    least, step = max(io_spec.min_side, 2 * io_spec.stride), io_spec.stride
    sizes = [
        (1, least, least),
        (1, least, least + step),
        (2, least + 2 * step, least),
        (1, 3 * least, 2 * least + step),
        (3, least + step, 4 * least),
    ]
    for batch, height, width in [(n, step, step) for n in range(1, 6)] if io_spec.fixed_size else sizes:
        x, maps = inputs(io_spec, batch, height, width)
        expected = reference(x, maps)
        assert expected.shape == (batch, 3, height, width)
        for engine in others:
            assert np.allclose(engine(x, maps), expected, atol=1e-5), (engine.name, height, width)


def test_every_operation_of_a_graph() -> None:
    net = network(REST)
    model, io_spec = converted(net)
    x, _ = inputs(io_spec, 2, 48, 64)
    expected = TorchEngine(net)(x)
    for engine in (
        ONNXEngine(model.SerializeToString(), io_spec),
        OpenVINOEngine(model.SerializeToString(), io_spec, "float32"),
    ):
        assert np.allclose(engine(x), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["residual", "johnson", "pyramid", "skip_unpool"])
def test_instance_normalization_stays_one_operation(name: str) -> None:
    net = network(SPECS[name])
    layers = sum(isinstance(module, InstanceNorm) for module in net.modules())
    model, _ = converted(net)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["InstanceNormalization"] == layers > 0
    assert not {"ReduceMean", "Sqrt", "LayerNormalization"} & kinds.keys()
    read = openvino_engine.core().read_model(io.BytesIO(model.SerializeToString()))
    assert Counter(op.get_type_name() for op in read.get_ops())["MVN"] == layers


def test_traps_of_openvino_are_avoided() -> None:
    wrapped, _ = converted(network(SPECS["circular"]))
    modes = [a.s for node in wrapped.graph.node if node.op_type == "Pad" for a in node.attribute]
    assert b"wrap" not in modes
    unpooled, _ = converted(network(SPECS["skip_unpool"]))
    assert "MaxUnpool" not in {node.op_type for node in unpooled.graph.node}


def test_the_smallest_size_needs_no_second_reflection() -> None:
    deep = GraphSpec(nodes=("photo", "pad 0 amount=9:9:9:9 mode=reflect", "crop 1 amount=9:9:9:9"))
    assert trace(network(deep)).io_spec == IOSpec(1, 10, periodic=True)
    assert trace(network(Pyramid(channels=1, scales=4, padding="reflect"))).io_spec.min_side == 16
    assert trace(network(Residual(channels=4, blocks=1))).io_spec.margin == 16
    assert (
        trace(network(Residual(channels=4, blocks=1, padding="circular"))).io_spec.margin == 0
    )  # wraps around
    assert trace(network(FROM_NOISE)).io_spec == IOSpec(
        2, 2, 0, (NoiseInput(3, 1, "uniform"), NoiseInput(4, 2, "uniform")), periodic=True
    )


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
    model, io_spec = converted(net)
    x, _ = inputs(io_spec, 1, 24, 32)
    assert np.allclose(ONNXEngine(model.SerializeToString(), io_spec)(x), TorchEngine(net)(x), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (5, 70), (64, 65)])
def test_small_pictures_are_the_same_on_every_engine(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(tmp_path / "a.safetensors")
    photo = torch.rand(3, *size)
    expected = loading.load(path, "cpu", engine="torch")(photo)
    for name in ("openvino", "onnx"):
        result = loading.load(path, engine=name, precision="float32")(photo)
        # One pixel fills a flat image, of which normalization leaves the rounding errors.
        assert torch.allclose(result, expected, atol=1e-5 if min(size) > 1 else 1e-3), name


def test_auto_runs_by_pytorch_what_has_no_graph(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\nclass Sorted(nn.Module):\n    def forward(self, x): return x.sort(dim=3).values\n"
    )
    spec = make_spec(f"{file}:Sorted")
    path = tmp_path / "a.safetensors"
    network_files.save(Sorted(), Header(name="a", kind="style", generator=spec), path)
    style = loading.load(path, "cpu", generator=f"{file}:Sorted")
    assert isinstance(style, api.Style)
    assert style.engine.name == "torch"
    reason = (
        r"a\.safetensors cannot be taken into a graph: the step 'sort' at Sorted; `engine` torch runs it$"
    )
    with pytest.raises(UserError, match=reason):
        engines.load(path, EngineOptions("openvino"))
    with pytest.raises(UserError, match="not run unasked"):
        loading.load(path, "cpu")


def test_a_network_of_ones_own_runs_without_its_code(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    spec = Custom(target="gone.py:Own")
    net = Own().eval()
    network_files.save(net, Header(name="a", kind="style", generator=spec), path, "float32")
    x = np.random.default_rng(0).random((1, 3, 24, 32), np.float32)
    expected = TorchEngine(net)(x)
    for engine in ("torch", "onnx", "openvino"):
        assert np.allclose(
            engines.load(path, EngineOptions(engine, "cpu", "float32"))(x), expected, atol=1e-5
        ), engine


@pytest.mark.parametrize("spec", [NOISY, Johnson(channels=4, blocks=1, noise_depth=2)])
def test_noise_is_the_same_on_every_engine(tmp_path: Path, spec: GeneratorSpec) -> None:
    path = save(tmp_path / "a.safetensors", spec)
    photo = np.random.default_rng(0).random((40, 36, 3), np.float32)
    styles = [loading.load(path, engine=name, precision="float32") for name in ("torch", "openvino", "onnx")]
    first = styles[0](photo, seed=3)
    for style in styles[1:]:
        assert np.allclose(style(photo, seed=3), first, atol=1e-5)
    assert not np.allclose(styles[0](photo, seed=4), first, atol=1e-3)


def test_arrays_and_tensors_come_back_as_they_were() -> None:
    model, io_spec = converted(network(TINY))
    x, _ = inputs(io_spec, 1, 16, 24)
    for engine in (
        TorchEngine(network(TINY)),
        ONNXEngine(model.SerializeToString(), io_spec),
        OpenVINOEngine(model.SerializeToString(), io_spec),
    ):
        assert isinstance(engine(x), np.ndarray)
        y = engine(torch.from_numpy(x))
        assert isinstance(y, Tensor)
        assert y.dtype == torch.float32
        kept = y.clone()
        engine(torch.zeros(1, 3, 16, 24))
        assert torch.equal(y, kept)  # the next image does not write over the last


# In no particular order: an engine takes inputs by their names.
NAMED = (
    "noise channels=1 stride=2",
    "input name=mask channels=1 stride=2",
    "input name=conv channels=3 stride=0",
    "photo",
    "input name=noise_level channels=1 stride=0",
    "noise channels=3 stride=1",
    "mul 0 4",
    "upsample 6 factor=2",
    "upsample 1 factor=2",
    "mul 3 2",
    "add 9 5 7 8",
)


def test_inputs_with_names(tmp_path: Path) -> None:
    graph = Graph.from_dict({"nodes": list(NAMED)})
    path = tmp_path / "a.safetensors"
    network_files.save(GraphNetwork(graph), Header(name="a", kind="style", generator=TINY), path)
    random = np.random.default_rng(0)
    photo = random.random((2, 3, 8, 12), np.float32)
    maps = [random.random((2, 1, 4, 6), np.float32), random.random((2, 3, 8, 12), np.float32)]
    given = {
        "noise_level": random.random((2, 1, 1, 1), np.float32),
        "conv": random.random((2, 3, 1, 1), np.float32),
        "mask": random.random((2, 1, 4, 6), np.float32),
    }
    doubled = [one.repeat(2, 2).repeat(2, 3) for one in (given["mask"], maps[0] * given["noise_level"])]
    want = photo * given["conv"] + maps[1] + doubled[0] + doubled[1]
    model, io_spec = engines.convert(path)
    assert io_spec.names == ("photo", "noise0", "noise1", "mask", "conv", "noise_level")
    for engine in (
        ONNXEngine(model, io_spec),
        OpenVINOEngine(model, io_spec, "float32"),
        TorchEngine(GraphNetwork(graph)),
    ):
        assert np.allclose(engine(photo, maps, given), want, atol=1e-6), engine.name
        assert np.allclose(engine(photo, maps, inputs=dict(reversed(given.items()))), want, atol=1e-6)
        tensors = {name: torch.from_numpy(one) for name, one in given.items()}
        y = engine(torch.from_numpy(photo), [torch.from_numpy(one) for one in maps], tensors)
        assert isinstance(y, Tensor)
        assert engine.peak((64, 64)) > 0
        with pytest.raises(UserError, match="takes mask, which is missing"):
            engine(photo, maps, {k: v for k, v in given.items() if k != "mask"})
        with pytest.raises(UserError, match="takes no masks, but photo, noise0"):
            engine(photo, maps, given | {"masks": given["mask"]})
        with pytest.raises(UserError, match=r"conv has the shape \(2, 1, 4, 6\), not \(N, 3, H, W\)"):
            engine(photo, maps, given | {"conv": given["mask"]})


def test_half_precision_is_close(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", Residual(channels=16, blocks=2))
    x = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    exact = engines.load(path, EngineOptions("torch", "cpu", "float32"))(x)
    for engine in (
        engines.load(path, EngineOptions("torch", "cpu", "bf16")),
        engines.load(path, EngineOptions("openvino")),
    ):
        difference = np.abs(engine(x) - exact)
        assert difference.mean() < 0.01
        assert (difference.max() > 1e-4) == (engine.precision == "bf16")  # float32 where there is no bf16


# ---- What is kept ------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


def test_a_graph_is_converted_once(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.safetensors")
    x = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    first = engines.load(path, EngineOptions("openvino"))(x)
    assert sorted(p.suffix for p in kept.iterdir()) == [".blob", ".json", ".onnx"]
    moved = path.rename(tmp_path / "b.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(engines, "convert", lambda *_, **__: pytest.fail("converted again"))
        assert np.array_equal(engines.load(moved, EngineOptions("openvino"))(x), first)
    torch.manual_seed(1)
    other = save(moved)
    assert not np.array_equal(engines.load(other, EngineOptions("openvino"))(x), first)


@pytest.mark.parametrize("damage", ["empty", "truncated", "zeros", "random", "one bit"])
@pytest.mark.parametrize(
    ("engine", "suffix"),
    [
        ("openvino", ".blob"),
        ("openvino", ".onnx"),
        ("openvino", ".json"),
        ("onnx", ".onnx"),
        ("onnx", ".json"),
    ],
)
def test_damaged_files_are_made_anew(
    kept: Path, tmp_path: Path, engine: str, suffix: str, damage: str
) -> None:
    path = save(tmp_path / "a.safetensors")
    x = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    first = engines.load(path, EngineOptions(engine))(x)
    (damaged,) = kept.glob(f"*{suffix}")
    whole = damaged.read_bytes()
    middle = len(whole) // 2
    damaged.write_bytes(
        {
            "empty": b"",
            "truncated": whole[:middle],
            "zeros": bytes(len(whole)),
            "random": np.random.default_rng(1).bytes(len(whole)),
            "one bit": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        }[damage]
    )
    assert np.array_equal(engines.load(path, EngineOptions(engine))(x), first)
    if suffix == ".blob":  # compiled anew: not the same bytes, but about as many
        assert len(damaged.read_bytes()) == pytest.approx(len(whole), rel=0.01)
    else:
        assert damaged.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_nothing(kept: Path, tmp_path: Path) -> None:
    kept.parent.mkdir()
    kept.write_text("a file")
    engine = engines.load(save(tmp_path / "a.safetensors"), EngineOptions("openvino"))
    x = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    assert np.isfinite(engine(x)).all()
    assert kept.read_text() == "a file"


def test_the_longest_unused_go(kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "MAX_MODELS", 2)
    entries = []
    for i in range(4):
        model = tmp_path / f"{i}.safetensors"
        model.write_bytes(bytes([i]))
        entries.append(cache.CacheEntry(model))
        entries[i].keep(".onnx", b"graph")
        os.utime(entries[i].path(".onnx"), (i, i))
        if i == 1:
            assert entries[0].read(".onnx") == b"graph"  # used in the meantime
    assert [entry.read(".onnx") is None for entry in entries] == [False, True, True, False]


def test_four_processes_fill_one_cache(kept: Path) -> None:
    """What one of them lists or is about to read, another may have dropped."""
    program = (
        "import pathlib, sys\nfrom texturenets.engines import cache\ncache.KEPT = 2\n"
        "for i in range(60):\n"
        "    model = pathlib.Path(f'{sys.argv[1]}{i % 7}.model'); model.write_bytes(model.name.encode())\n"
        "    entry = cache.CacheEntry(model)\n"
        "    for suffix in ('.onnx', '.json'): entry.keep(suffix, b'{}')\n"
        "    entry.read('.onnx'); entry.read('.json')\n"
    )
    kept.mkdir(parents=True)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program, name], cwd=kept.parent, stderr=subprocess.PIPE, text=True
        )
        for name in "abcd"
    ]
    assert [(run.communicate()[1], run.returncode) for run in runs] == [("", 0)] * 4


PROGRAM = """
import json, sys
sys.modules["torch"] = None
from texturenets.cli import main
assert main(sys.argv[1:]) == 0
print(json.dumps([name for name in ("google.protobuf", "onnx", "openvino_telemetry") if sys.modules.get(name)]))
"""


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_no_run_needs_torch_and_a_second_one_converts_nothing(
    kept: Path, tmp_path: Path, engine: str
) -> None:
    from PIL import Image

    Image.new("RGB", (30, 20), "teal").save(tmp_path / "photo.jpg")
    texture = save(tmp_path / "b.safetensors", FROM_NOISE, "texture")
    out = ["-o", str(tmp_path / "out.png"), "--engine", engine]
    for words in (
        ["stylize", str(tmp_path / "photo.jpg"), "-s", "wave", *out, "--size", "40"],
        ["sample", str(texture), *out, "--tileable"],
    ):
        for used in (["google.protobuf"], []):  # from an empty cache, and with what is kept
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout.splitlines()[-1]) == used


# ---- Which one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "tensorrt"}, "unknown engine 'tensorrt'"),
        ({"engine": "torch", "precision": "int3"}, "unknown precision 'int3'"),
        ({"engine": "onnx", "precision": "bf16"}, "ONNX Runtime computes in float32"),
        ({"engine": "openvino", "precision": "fp16"}, "OpenVINO computes in float32 or bf16"),
        ({"precision": "int8"}, "unknown precision 'int8'"),
        ({"engine": "onnx", "device": "cuda"}, "leave out `device` cuda"),
    ],
)
def test_mistakes(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        engines.load(save(tmp_path / "a.safetensors"), EngineOptions(**options))


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.safetensors")
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(
        openvino_engine, "core", openvino_engine.core.__wrapped__
    )  # as in a process without one
    with pytest.raises(UserError, match=r"\[openvino\]'"):
        engines.load(path, EngineOptions("openvino"))


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({"torch", "openvino"}, "openvino"),
        ({"openvino"}, "openvino"),
        ({"torch"}, "onnx"),
        (set(), "onnx"),
    ],
)
def test_auto_takes_the_fastest_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: set[str], expected: str
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: name if name in installed else None)
    assert engines.load(save(tmp_path / "a.safetensors"), EngineOptions(device="cpu")).name == expected


def test_auto_takes_pytorch_on_a_graphics_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "choose", lambda _: torch.device("cuda"))
    assert engines._fastest("auto", False) == "torch"
    assert engines._fastest("cuda", False) == "torch"
    monkeypatch.setattr(devices, "choose", lambda _: torch.device("cpu"))
    assert engines._fastest("auto", False) == "openvino"  # a driver without a GPU


def test_kernels_are_bounded() -> None:
    assert (
        openvino_engine.compile_options("bf16")["CPU_RUNTIME_CACHE_CAPACITY"]
        == openvino_engine.KERNEL_CACHE_CAPACITY
    )
    assert openvino_engine.KERNEL_CACHE_CAPACITY <= 512


def test_sizes_are_captured_when_they_come_again_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bookkeeping of CUDA graphs, with a stand-in that needs no GPU."""
    engine = TorchEngine(network(TINY))
    captured = []

    class Replayed:
        def replay(self) -> None:
            pass

    def capture(given: list[Tensor]) -> Any:
        captured.append(tuple(given[0].shape))
        buffers = [one.clone() for one in given]
        from texturenets.engines.torch_engine import _CapturedGraph

        return _CapturedGraph(Replayed(), buffers, engine._pass(buffers))  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_capture", capture)
    sizes = [8 + 4 * i for i in range(MAX_CUDA_GRAPHS + 2)]
    with torch.inference_mode():
        for side in sizes:
            x = torch.rand(1, 3, side, side)
            assert torch.equal(engine._replay([x]), engine._pass([x]))
        assert captured == []
        assert len(engine._seen) == MAX_CUDA_GRAPHS
        x = torch.rand(1, 3, sizes[-1], sizes[-1])
        for _ in range(3):
            assert torch.equal(engine._replay([x]), engine._replay([x]))
        assert captured == [(1, 3, sizes[-1], sizes[-1])]
        engine._replay([torch.rand(1, 3, sizes[0], sizes[0])])
        assert len(engine._seen) == MAX_CUDA_GRAPHS


def test_the_graph_is_a_file_of_an_old_format() -> None:
    model, _ = converted(network(TINY), metadata={"name": "tiny"})
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert {one.key: one.value for one in model.metadata_props}["name"] == "tiny"


def test_an_engine_takes_no_more_threads_than_it_is_given(kept: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors")
    compiled: Any = engines.load(path, EngineOptions("openvino", threads=1))
    assert compiled.compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert not compiled.compiled.get_property(
        "ENABLE_CPU_PINNING"
    )  # else all workers would sit on the first core
    session: Any = engines.load(path, EngineOptions("onnx", threads=1))
    assert session.session.get_session_options().intra_op_num_threads == 1
    before = torch.get_num_threads()
    try:
        engines.load(path, EngineOptions("torch", "cpu", threads=3))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as Unix has them")
def test_signals_are_handled_after_engines_are_gone(tmp_path: Path) -> None:
    """OpenVINO's objects each leave a signal stack behind; the first signal ended the process."""
    pytest.importorskip("openvino")
    program = (
        "import gc, os, signal; import numpy as np; import texturenets as tn\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('handled'))\n"
        "first, second = (tn.load(name, engine='openvino') for name in ('wave', 'udnie'))\n"
        "first(np.zeros((32, 32, 3), np.uint8))\n"
        "del first; gc.collect(); del second; gc.collect()\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
