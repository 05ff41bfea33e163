"""The examples of CONTRIBUTING.md: a generator, an engine and a converter, each added and used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from onnx.reference import ReferenceEvaluator

import texturenets as tn
from texturenets import converters, engines
from texturenets.arrays import A, like, to_numpy
from texturenets.cli.common import EngineName
from texturenets.converters.builder import GraphBuilder
from texturenets.converters.published import Origin, Published
from texturenets.engines.feeding import feed
from texturenets.graph import IOSpec
from texturenets.graph.stage import CompiledStage, SpoolDtype, Stage
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import SPECS, build, make_spec, network_files, registry

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def shallow() -> Iterator[None]:
    """The generator of the document, from its text."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(code, "shallow.py", "exec"), {"__name__": "texturenets.networks.residual"})
    yield
    del SPECS["shallow"], registry.BUILDERS["shallow"]


def saved(folder: Path) -> Path:
    torch.manual_seed(0)
    spec = make_spec("shallow", ["channels=4"])
    network_files.save(
        build(spec), Header(name="shallow", kind="style", generator=spec), folder / "s.safetensors"
    )
    return folder / "s.safetensors"


def test_a_generator(shallow: None, tmp_path: Path) -> None:
    photo = np.random.default_rng(0).random((40, 60, 3), np.float32)
    results = [tn.load(saved(tmp_path), engine=engine)(photo) for engine in ("torch", "onnx", "openvino")]
    for found in results:
        assert found.shape == photo.shape
        np.testing.assert_allclose(found, results[0], atol=0.02)  # OpenVINO may compute in bf16


class Reference:
    """ONNX's own evaluator: slow, and right."""

    name, precision = "reference", "float32"
    spool_dtype: SpoolDtype = "float32"

    def __init__(self, model: bytes, io_spec: IOSpec, *_: Any) -> None:
        self.evaluator, self.io_spec = ReferenceEvaluator(model), io_spec

    def __call__(self, x: A | None, noises: Sequence[A] = (), inputs: Mapping[str, A] | None = None) -> A:
        given = feed(self.io_spec, x, noises, inputs)
        (y,) = self.evaluator.run(None, {name: to_numpy(one) for name, one in given.items()})
        return like(y, next(iter(given.values())))

    def peak(self, size: tuple[int, int]) -> int:
        return 1000 * size[0] * size[1]

    def compile(self, stage: Stage) -> CompiledStage:
        raise NotImplementedError

    def stage_peak(self, live: int, dtype: SpoolDtype) -> int:
        return 4 * live


def test_an_engine(shallow: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.BACKENDS, "reference", Reference)
    photo = np.random.default_rng(0).random((24, 32, 3), np.float32)
    path = saved(tmp_path)
    found, expected = (tn.load(path, engine=engine)(photo) for engine in ("reference", "torch"))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_help_text_names_every_engine() -> None:
    """It is written by hand, so that `--help` imports none of them."""
    (parameter,) = get_args(EngineName)[1:]
    words = set(re.findall(r"\w+", parameter.help))
    assert {"auto", "torch", *engines.BACKENDS} <= words


class JSONConverter:
    """Networks in JSON: a list of convolutions, each followed by a ReLU but the last."""

    TITLE = "JSON"

    def matches(self, path: Path) -> Path | None:
        return path if path.suffix == ".json" else None

    def read(self, path: Path) -> Published:
        builder = GraphBuilder()
        last = builder.add("photo")
        layers = json.loads(path.read_text())["convolutions"]
        for number, layer in enumerate(layers):
            weight = np.array(layer, np.float32)
            amount = (weight.shape[2] // 2,) * 4
            last = builder.add("pad", [last], settings={"amount": amount, "mode": "zero"})
            settings = {"out": len(weight), "kernel": weight.shape[2]}
            last = builder.add("conv", [last], weight=weight, bias=np.zeros(len(weight)), settings=settings)
            if number < len(layers) - 1:
                last = builder.add("relu", [last])
        return Published(Origin("a program with JSON", "", tested=True), builder)


def test_a_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters, "CONVERTERS", (JSONConverter(), *converters.CONVERTERS))
    weight = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)
    (tmp_path / "a.json").write_text(json.dumps({"convolutions": [weight.tolist()]}))
    tn.convert(tmp_path / "a.json").save(tmp_path / "a.safetensors")
    x = torch.rand(1, 3, 64, 80)
    style: Any = tn.load(tmp_path / "a.safetensors", engine="torch")
    expected = torch.nn.functional.conv2d(x, torch.tensor(weight), padding=1).clamp(0, 1)
    torch.testing.assert_close(style(x), expected, atol=1e-4, rtol=1e-4)
