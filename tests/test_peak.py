"""What an image takes of memory, and whether it is therefore done whole."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from texturenets import engines
from texturenets.engines import peak, torch_engine
from texturenets.engines.options import EngineOptions
from texturenets.engines.torch_engine import TorchEngine
from texturenets.errors import UserError
from texturenets.graph import IOSpec
from texturenets.memory import budget
from texturenets.memory.budget import Budget
from texturenets.modelfiles import modelfile
from texturenets.tiled.tiled_style import TiledStyle


def graph(*nodes: Any) -> Any:
    """An ONNX model of a photo through `nodes`, with the number 0 as `zero`."""
    shape = ["batch", 3, "height", "width"]
    ends = [helper.make_tensor_value_info(name, 1, shape) for name in ("photo", "picture")]
    zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], [zero])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])


def test_maps_share_buffers_where_their_lives_do_not_meet() -> None:
    chain = [helper.make_node("Relu", [a], [b]) for a, b in (["photo", "x"], ["x", "y"], ["y", "z"])]
    model = graph(*chain, helper.make_node("Add", ["z", "x"], ["picture"]))
    assert peak.peak_elements(model, IOSpec()) == (3 * 3, 3 * 3)
    straight = graph(*chain, helper.make_node("Relu", ["z"], ["picture"]))
    assert peak.peak_elements(straight, IOSpec(stride=4, min_side=300)) == (3 * 2, 3 * 2)
    # A buffer is as large as its largest feature map: 12, where at most 7 elements are live at once.
    narrow = [
        helper.make_node("Concat", ["photo", "photo"], ["x"], axis=1),
        helper.make_node("Gather", ["x", "zero"], ["y"], axis=1),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("Concat", ["z"] * 6, ["picture"], axis=1),
    ]
    assert peak.peak_elements(graph(*narrow), IOSpec()) == (12, 7)


def test_of_the_shipped_styles_24_megapixels_take_4_gigabytes() -> None:
    _, io_spec = engines.convert(modelfile.find("wave"), split=True)
    # 155.6 and 286 bytes a pixel were measured, with a copy of 12 that is no more (`benchmarks/speed.py memory`)
    for precision, measured in (("bf16", 144), ("float32", 274)):
        assert peak.estimate("openvino", precision, io_spec, (4000, 6000)) / 24e6 == pytest.approx(
            measured, rel=0.1
        )


def fitting(taken: int, *, memory: int, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> bool:
    """Whether a network of the io_spec of "wave", which takes so many bytes a pixel, is taken to fit."""
    monkeypatch.setattr(budget, "resident", lambda: 300 << 20)
    engine = SimpleNamespace(io_spec=IOSpec(4, 8, margin=16), peak=lambda size: taken * size[0] * size[1])
    tiled = TiledStyle(modelfile.find("wave"), engine, 64, memory=memory)
    tiled.__dict__["network"] = object()  # it can be tiled
    return tiled.fits(size)


def test_what_fits_is_done_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for size, taken, memory, fits in (
        ((4000, 6000), 154, 8 << 30, True),
        ((4000, 6000), 290, 8 << 30, False),
        ((6000, 9000), 154, 8 << 30, False),
        ((3000, 4000), 154, 3 << 30, True),
        ((3000, 4000), 154, 2 << 30, False),
    ):
        assert fitting(taken, memory=memory, monkeypatch=monkeypatch, size=size) == fits, (size, taken)


def test_8_gigabytes_free_take_24_megapixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "free", lambda _: 8 << 30)
    left = Budget.of(None).left()
    assert left > 24e6 * (154 + 48)


def test_pytorch_tells_by_a_small_picture(capfd: pytest.CaptureFixture[str]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 40, 1), nn.Conv2d(40, 3, 1))
    for precision, width in (("float32", 4), ("bf16", 2)):
        engine = TorchEngine(network, "cpu", precision)
        small, large = engine.peak((64, 64)), engine.peak((6400, 640))
        assert large == pytest.approx(1000 * small, rel=0.01)
        assert 43 * width < small / 64**2 < 3 * 43 * width
    assert capfd.readouterr() == ("", "")


def test_measuring_takes_no_memory_that_stays() -> None:
    """`--memory` is advised before it is measured: PyTorch's compiler, imported for it, took 150 MB."""
    script = (
        "import sys, torch\nfrom texturenets.engines.peak import measure_peak\nbefore = len(sys.modules)\n"
        "assert measure_peak(lambda: torch.zeros(1000), torch.device('cpu')) >= 4000\n"
        "assert len(sys.modules) < before + 100, len(sys.modules) - before\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_network_of_a_stride_beyond_all_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Identity()
    network.stride = 2**70  # type: ignore[assignment]
    path = modelfile.find("wave")
    with pytest.raises(UserError, match=f"multiples of {2**70} pixels"):
        engines.load(path, EngineOptions("torch", "cpu"), code=lambda: network)
    graph = modelfile.read_graph(path)
    assert graph is not None
    graph.multiple = 2**16
    monkeypatch.setattr(modelfile, "read_graph", lambda *_, **__: graph)
    with pytest.raises(UserError, match=f"multiples of {2**16} pixels"):
        engines.convert(path)


def test_a_cuda_graph_serves_one_caller_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph's input buffer must hold the input of the call that replays it."""
    engine = TorchEngine(nn.Identity())
    buffer: list[torch.Tensor] = []

    def replay(inputs: list[torch.Tensor]) -> torch.Tensor:
        buffer[:] = inputs
        time.sleep(0.02)
        return buffer[0]

    engine.device = SimpleNamespace(type="cuda")  # type: ignore[assignment]
    monkeypatch.setattr(torch_engine, "to_tensor", lambda x: SimpleNamespace(to=lambda *_: x))
    monkeypatch.setattr(engine, "_replay", replay)
    found: dict[int, float] = {}

    def call(i: int) -> None:
        found[i] = float(engine(torch.full((1, 3, 4, 4), float(i))).mean())

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {i: i for i in range(4)}
