"""`texturenets export`: files for other programs, checked, that say what they are."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from galleries import gallery
from PIL import Image

import texturenets as tn
import texturenets.graph
from texturenets import engines, export, noise
from texturenets.cli import main
from texturenets.engines import openvino_engine
from texturenets.engines.executor import GraphNetwork
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.export import static_page
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Mixture
from texturenets.modelfiles.modelfile import Header
from texturenets.modelfiles.variant import Variant
from texturenets.networks import GeneratorSpec, build, custom, network_files
from texturenets.networks.conditional import ConditionalNetwork
from texturenets.networks.custom import Custom
from texturenets.networks.graph import GraphSpec as Graph
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual

TINY = Residual(channels=8, blocks=1)
TEXTURE = Graph(
    nodes=("noise channels=3 stride=2", "upsample 0 factor=2", "conv 1 out=3 kernel=1"),
)


def save(path: Path, spec: GeneratorSpec = TINY, kind: Any = "style") -> Path:
    header = Header(name="a tiny one", kind=kind, generator=spec, licence="CC0-1.0")
    network_files.save(build(spec), header, path)
    return path


def test_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "tiny.safetensors")
    assert main(["export", str(path), "--to", "onnx"]) == 0
    output = capsys.readouterr()
    assert output.out == "tiny.onnx\n"
    assert (
        "tiny: height and width are multiples of 4 and at least 8; differs from PyTorch by at most"
        in output.err
    )
    assert "at 5 sizes" in output.err
    model = onnx.load("tiny.onnx")
    said = {one.key: one.value for one in model.metadata_props}
    assert said["name"] == "a tiny one"
    assert said["licence"] == "CC0-1.0"
    assert "RGB" in said["pixels"]
    assert "multiples of 4" in said["sizes"]
    assert "reflection-pad photos by 16 pixels" in said["margin"]
    shape = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == ["batch", 3, "height", "width"]
    x = np.random.default_rng(0).random((2, 3, 20, 36), np.float32)
    (y,) = onnxruntime.InferenceSession("tiny.onnx").run(None, {"photo": x})
    assert np.allclose(y, engines.load(path, EngineOptions("torch"))(x), atol=1e-5)


def test_the_help_promises_no_size_that_is_not_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "any height" not in told
    assert "multiples of its stride: 4 for the shipped styles, 32 for the shipped textures" in told
    strides = {
        (header.kind, modelfile.read_graph(modelfile.find(name), weights=False).io_spec.stride)
        for name, header in tn.models().items()
    }
    assert strides == {("style", 4), ("texture", 32), ("material", 32)}


def test_openvino(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "tiny.safetensors")
    out = tmp_path / "new" / "net.xml"
    assert main(["export", str(path), "--to", "openvino", "-o", str(out), "--quiet"]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [str(out.with_suffix(".bin")), str(out)]
    assert output.err == ""
    core = openvino_engine.core()
    model = core.read_model(out)
    assert model.get_rt_info(["texturenets", "name"]).value == "a tiny one"
    assert model.get_rt_info(["texturenets", "licence"]).value == "CC0-1.0"
    assert model.input(0).partial_shape.is_dynamic
    x = np.random.default_rng(0).random((1, 3, 32, 24), np.float32)
    compiled = core.compile_model(model, "CPU", openvino_engine.compile_options("float32"))
    assert np.allclose(compiled([x])[0], engines.load(path, EngineOptions("torch"))(x), atol=1e-5)


def test_a_texture_takes_its_noise(tmp_path: Path) -> None:
    path = save(tmp_path / "bark.safetensors", TEXTURE, "texture")
    done = export.export(path, "onnx", tmp_path / "bark.onnx")
    model = onnx.load(done.files[0])
    assert [one.name for one in model.graph.input] == ["noise0"]
    assert "uniform" in {one.key: one.value for one in model.metadata_props}["noise0"]
    assert done.difference < 1e-5


def test_several_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(save(tmp_path / f"{name}.safetensors")) for name in "ab"]
    out = tmp_path / "out"
    assert main(["export", *paths, "--to", "onnx", "-o", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(out / "a.onnx"), str(out / "b.onnx")]
    (tmp_path / "sub").mkdir()
    twin = str(save(tmp_path / "sub" / "a.safetensors"))
    for words in (
        [*paths, "--to", "onnx", "-o", "one.onnx"],
        [paths[0], twin, "--to", "onnx", "-o", str(out)],
        [paths[0], "--to", "openvino", "-o", "one.onnx"],
        [paths[0], "--to", "tflite"],
        ["nothing.safetensors", "--to", "onnx"],
    ):
        assert main(["export", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_name_of_another_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "tiny.safetensors")
    with pytest.raises(UserError, match=r"tiny\.pth: the name of a file for onnx must end in \.onnx"):
        export.export(path, "onnx", tmp_path / "tiny.pth")
    assert not (tmp_path / "tiny.pth").exists()


def test_what_differs_from_pytorch_is_not_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = save(tmp_path / "tiny.safetensors"), tmp_path / "new" / "one" / "tiny.onnx"
    other = engines.convert(save(tmp_path / "other.safetensors"))
    monkeypatch.setattr(engines, "convert", lambda *_, **__: other)
    with pytest.raises(UserError, match="differs from PyTorch"):
        export.export(path, "onnx", out)
    assert not (tmp_path / "new").exists()
    out.parent.mkdir(parents=True)
    with pytest.raises(UserError, match="differs from PyTorch"):
        export.export(path, "onnx", out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_inputs_with_names_are_compared_too(tmp_path: Path, to: str) -> None:
    inputs = ["input name=mask channels=1 stride=2", "input name=tint channels=3 stride=0"]
    graph = texturenets.graph.Graph.from_dict(
        {"nodes": [*inputs, "photo", "upsample 0 factor=2", "mul 2 1 3"]}
    )
    path, out = tmp_path / "a.safetensors", tmp_path / f"a{export.suffix(to)}"
    header = Header(name="a", kind="style", generator=Custom(target="gone.py:Net"))
    network_files.save(GraphNetwork(graph), header, path)
    made = export.export(path, to, out)
    assert made.difference < 1e-6
    if to == "onnx":
        assert [one.name for one in onnx.load(out).graph.input] == ["photo", "mask", "tint"]


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_gallery_takes_weights_of_its_styles(tmp_path: Path, to: str) -> None:
    _, path = gallery(tmp_path)
    out = tmp_path / f"out{export.suffix(to)}"
    made = export.export(path, to, out)
    assert made.difference <= 2 / 255
    random = np.random.default_rng(0)
    photo = random.random((1, 3, 64, 96), np.float32)
    noise_map = noise.draw_arrays(engines.load(path).io_spec.noise, [0], 64, 96)[0]
    if to == "onnx":
        session = onnxruntime.InferenceSession(out)
        assert [one.name for one in session.get_inputs()] == ["photo", "noise0", "styles"]
        said = {one.key: one.value for one in onnx.load(out).metadata_props}
        assert said["styles"] == "wave, udnie"
        assert said["input styles"].startswith(
            "(batch, 2, height, width), how much of wave, udnie at each pixel;"
        )

        def run(styles: np.ndarray) -> np.ndarray:
            y: np.ndarray = session.run(None, {"photo": photo, "noise0": noise_map, "styles": styles})[0]
            return y
    else:
        core = openvino_engine.core()
        compiled = core.compile_model(core.read_model(out), "CPU", openvino_engine.compile_options("float32"))

        def run(styles: np.ndarray) -> np.ndarray:
            y: np.ndarray = compiled([photo, noise_map, styles])[0]
            return y

    torch_engine = functools.partial(engines.load, path, EngineOptions("torch", "cpu", "float32"))
    for second in (0.0, 0.3, 1.0):
        variant = Variant(Mixture(((1 - second, 0.0, second),)))
        expected = torch_engine(variant=variant)(photo, [noise_map])
        weights = np.array([1 - second, second], np.float32).reshape(1, 2, 1, 1)
        if to == "onnx":
            assert np.abs(run(weights) - expected).max() <= 2 / 255
        assert np.abs(run(np.tile(weights, (1, 1, 64, 96))) - expected).max() <= 2 / 255
    mask = random.random((64, 96), np.float32)
    mask[:, :40] = 0
    variant = Variant(Mixture(((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), stride=1))
    regions = np.stack([1 - mask, mask])[None]
    expected = torch_engine(variant=variant)(photo, [noise_map], {"styles": regions})
    assert np.abs(run(regions) - expected).max() <= 2 / 255


def test_one_style_of_a_gallery_is_a_network_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = gallery(tmp_path)
    words = ["export", f"{path}:wave=0.6,udnie=0.4", str(path), "--to", "onnx", "-o", str(tmp_path / "out")]
    assert main(words) == 0
    one, all_of_them = (tmp_path / "out" / f"{name}.onnx" for name in ("tiny-wave+udnie", "tiny"))
    assert capsys.readouterr().out.splitlines() == [str(one), str(all_of_them)]
    assert [i.name for i in onnx.load(one).graph.input] == ["photo", "noise0"]
    assert onnx.load(all_of_them).graph.input[-1].name == "styles"


def test_a_network_that_takes_no_regions_says_the_way_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = Graph(
        nodes=("photo", "conv 0 out=4 kernel=3", "norm 1", "pad 2 amount=1:1:1:1", "conv 3 out=3 kernel=1")
    )
    network = ConditionalNetwork(build(spec), 2)
    rows = [{"style": "wave"}, {"style": "udnie"}]
    path = tmp_path / "tiny.safetensors"
    network_files.save(network, Header(name="tiny", kind="style", generator=spec, conditions=rows), path)
    with pytest.raises(
        UserError, match=r"styles cannot go by region, for .* plus -2: name one of them, as MODEL:STYLE, or"
    ):
        export.export(path, "onnx", tmp_path / "tiny.onnx")
    export.export(f"{path}:wave", "onnx", tmp_path / "tiny.onnx")


def test_unknown_format() -> None:
    with pytest.raises(UserError, match="did you mean 'onnx'"):
        export.suffix("onx")


@pytest.mark.parametrize("side", [(70, 90), (9, 40)])
def test_the_program_in_the_file_gives_what_stylize_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: tuple[int, int]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "tiny.safetensors")
    export.export(path, "onnx", tmp_path / "tiny.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (*side, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    program = onnx.load("tiny.onnx").doc_string
    assert len(program.splitlines()) <= 15
    exec(program, {})
    wanted = np.asarray(tn.load(path, "cpu", engine="onnx")(Image.open("photo.jpg")), int)
    assert np.abs(np.asarray(Image.open("result.png"), int) - wanted).max() <= 1


@pytest.mark.parametrize("region", [False, True])
def test_the_program_in_a_gallery_gives_what_stylize_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, region: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    _, path = gallery(tmp_path, "noise_depth=0")
    export.export(path, "onnx", tmp_path / "out.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    mask = np.zeros((70, 90), np.float32)
    mask[:, 45:] = 1
    program = onnx.load("out.onnx").doc_string
    assert len(program.splitlines()) <= 15
    if region:
        program = program.replace("# or by region, from maps (2, height, width): ", "")
    exec(program, {"maps": np.stack([1 - mask, mask])})
    style = tn.load(path, "cpu", engine="torch", precision="float32")
    which = {"masks": {"udnie": mask}} if region else {}
    wanted = style(Image.open("photo.jpg"), mix={"wave": 1, "udnie": 1} if region else {"wave": 1}, **which)
    assert np.abs(np.asarray(Image.open("result.png"), int) - np.asarray(wanted, int)).max() <= 2


WAVES = Multiscale(channels=(6, 4, 4), noise_depth=2, waves=(0.05, 0.0, 0.03, -0.08))


MATERIAL = Multiscale(channels=(6, 4, 4), noise_depth=2, outputs=8)


@pytest.mark.parametrize("spec", [TEXTURE, WAVES, MATERIAL])
def test_the_program_in_a_texture_draws_a_sample(
    spec: GeneratorSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export.export(save(tmp_path / "bark.safetensors", spec, "texture"), "onnx", tmp_path / 'my "bark".onnx')
    exec(onnx.load('my "bark".onnx').doc_string, {})
    assert Image.open("result.png").size == (640, 480)


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inside = nn.Conv2d(3, 8, 5, padding=2, padding_mode="reflect")
        self.outside = nn.Conv2d(8, 3, 3, padding="same", padding_mode="circular")

    def forward(self, x):
        return self.outside(self.inside(x).relu())

class Other(nn.Module):
    def forward(self, x):
        return x.tril()
"""


def test_a_convolution_of_ones_own_that_mirrors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.py").write_text(OWN)
    for name in ("Net", "Other"):
        target = f"{tmp_path / 'own.py'}:{name}"
        network, source = custom.load(target)
        header = Header(name=name, kind="style", generator=Custom(target=target, source=source))
        network_files.save(network(), header, tmp_path / f"{name}.safetensors")
    words = ["export", "--to", "onnx", "-o", str(tmp_path / "out.onnx"), "--generator"]
    assert main([*words, f"{tmp_path / 'own.py'}:Net", str(tmp_path / "Net.safetensors")]) == 0
    assert "at 5 sizes" in capsys.readouterr().err
    assert main([*words, f"{tmp_path / 'own.py'}:Other", str(tmp_path / "Other.safetensors")]) == 2
    error = capsys.readouterr().err
    assert "Other.safetensors cannot be exported: the step 'tril' at Other; " in error
    assert error.endswith(
        "only PyTorch runs it, in stylize, sample and texturenets.load with --engine torch\n"
    )
    with pytest.raises(UserError, match=r"cannot be exported: .* texturenets\.load with `engine` torch$"):
        export.export(str(tmp_path / "Other.safetensors"), "onnx", str(tmp_path / "out.onnx"))
    with pytest.raises(UserError, match="cannot be exported"):
        static_page.write([tmp_path / "Other.safetensors"], tmp_path / "page")


def test_a_page_takes_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "wave", "--to", "web", "-o", str(tmp_path / "page"), "--generator", "mine.py:Mine"]
    assert main(words) == 2
    assert "--generator mine.py:Mine" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_a_page_takes_the_whole_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, path = gallery(tmp_path)
    for name in (f"{path}:wave", f"{path}:wave=0.6,udnie=0.4"):
        assert main(["export", name, "--to", "web", "-o", str(tmp_path / "page")]) == 2
        error = capsys.readouterr().err
        assert "goes to onnx and openvino" in error
        assert error.endswith(f"say {path}\n")
    assert main(["export", f"{tmp_path / 'gone'}.safetensors:wave", "--to", "web", "-o", "page"]) == 2
    assert "no such model file" in capsys.readouterr().err
    assert not (tmp_path / "page").exists()
