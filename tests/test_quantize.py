"""Styles in 8 bits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from texturenets import engines, image, modelfile, quantize
from texturenets.cli import main
from texturenets.engines import openvino_engine
from texturenets.errors import UserError
from texturenets.generators import build
from texturenets.modelfile import Header
from texturenets.specs import Residual

TINY = Residual(channels=8, blocks=1)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    modelfile.save(build(TINY), Header(name="tiny", kind="style", generator=TINY), path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for i in range(3):
        rough = random.random((1, 3, 6, 8), np.float32)
        image.write(tmp_path / "photos" / f"{i}.png", image.resize(rough, (48, 64))[0])
    (tmp_path / "photos" / "3.png").write_bytes(b"no picture")
    return tmp_path / "photos"


def test_without_nncf_it_says_what_to_install(
    model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    words = [
        "export",
        str(model),
        "--to",
        "openvino",
        "--calibrate",
        str(photos),
        "-o",
        str(model.parent / "o"),
    ]
    assert main(words) == 2
    assert "[quantize]'" in capsys.readouterr().err
    assert not (model.parent / "o").exists()


def test_it_is_for_openvino(model: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(model), "--to", "onnx", "--calibrate", str(photos)]) == 2
    assert "--calibrate is for --to openvino" in capsys.readouterr().err


def test_a_style_in_8_bits(model: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nncf", reason="NNCF is not installed")
    out = model.parent / "small.xml"
    assert main(["export", str(model), "--to", "openvino", "--calibrate", str(photos), "-o", str(out)]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [str(out.with_suffix(".bin")), str(out)]
    assert "3.png" in output.err
    assert "on 3 photos" in output.err
    core = openvino_engine.core()
    read = core.read_model(out)
    assert read.get_rt_info(["texturenets", "bits"]).value == "8, ranges from 3 photos"
    assert any(op.get_type_name() == "FakeQuantize" for op in read.get_ordered_ops())
    x = image.read(photos / "0.png").pixels
    compiled = core.compile_model(read, "CPU", openvino_engine.compile_options("float32"))
    difference = np.abs(compiled([x])[0] - engines.load(model, "torch")(x))
    assert 1e-5 < difference.mean() < quantize.WORST

    by_engine = engines.load(model, precision="int8")
    assert (by_engine.name, by_engine.precision) == ("openvino", "int8")
    native = openvino_engine.choose_precision(core, "auto")
    compiled = core.compile_model(read, "CPU", openvino_engine.compile_options(native))
    np.testing.assert_array_equal(by_engine(x), compiled([x])[0])
    again = engines.load(model, precision="int8")  # its compiled form, from the cache
    np.testing.assert_array_equal(again(x), by_engine(x))


def test_what_it_refuses(model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nncf", reason="NNCF is not installed")
    graph, facts = engines.convert(model, split=True)
    (empty := photos.parent / "empty").mkdir()
    (empty / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="no photo there can be read"):
        quantize.eight_bits(graph, facts, empty)
    monkeypatch.setattr(quantize, "WORST", 0.0)
    with pytest.raises(UserError, match="leave out --calibrate"):
        quantize.eight_bits(graph, facts, photos)
