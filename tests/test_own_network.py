"""A network of the user's own, from its code to every place where it runs without it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tiny
import torch
from PIL import Image

import texturenets as tn
from texturenets.image import sizes
from texturenets.memory import budget
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, custom, network_files
from texturenets.networks.custom import Custom
from texturenets.networks.residual import Residual

OWN = """
import torch
from torch import nn


class Scaled(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight / (1 + self.weight.abs().mean((1, 2, 3), keepdim=True)), self.bias)


class Net(nn.Module):
    stride = 2
    margin = 4

    def __init__(self, width=6):
        super().__init__()
        self.down = Scaled(3, width, 3, 2, padding=1, padding_mode="reflect")
        self.act = nn.ReLU(inplace=True)
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), self.inner, nn.GroupNorm(2, width))
        self.exit = nn.Conv2d(width, 3, 3, padding="same", padding_mode="circular")

    def forward(self, x):
        y = self.down(x)
        z = self.act(y)
        return torch.sigmoid(self.exit(self.up(y + 0.1 * z)) + x)
"""


def test_a_network_of_ones_own_runs_everywhere_without_its_code(tmp_path: Path) -> None:
    studio = tiny.Studio(tmp_path)
    code = tmp_path / "own.py"
    code.write_text(OWN)
    made = studio.run(generator=f"{code}:Net", set=["width=4"], output=tmp_path / "own.safetensors")
    assert made.status == 0, made.error
    photo = np.random.default_rng(0).random((1, 3, 70, 90), np.float32)
    want = tn.load(made.model, "cpu", engine="torch", generator=f"{code}:Net").stylize(photo)
    code.unlink()
    for engine in ("torch", "onnx", "openvino"):
        style = tn.load(made.model, "cpu", engine=engine, precision="float32")
        assert np.allclose(style.stylize(photo), want, atol=1e-3), engine
    page = tmp_path / "page"
    assert tiny.call("export", str(made.model), "--to", "web", "-o", str(page))[0] == 0
    (graph,) = (page / "models").glob("*.onnx")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    x, box = sizes.pad_to_multiple(photo, 2, 64, 4)
    drawn = sizes.crop_back(session.run(None, {"photo": x})[0], box)
    assert np.allclose(drawn.clip(0, 1), want, atol=1e-3)
    # More than fits: piece by piece
    large = np.random.default_rng(1).random((1, 3, 1200, 1600), np.float32)
    whole = tn.load(made.model, "cpu", engine="onnx").stylize(large)
    most = budget.resident() + budget.RESERVE + 40 * 2**20
    pieces = tn.load(made.model, "cpu", engine="onnx", memory=most, spool=tmp_path)
    assert np.allclose(pieces.stylize(large), whole, atol=1e-3)


def test_what_starts_from_a_network_of_ones_own_has_its_arguments(tmp_path: Path) -> None:
    studio = tiny.Studio(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    own = {"generator": f"{tmp_path / 'own.py'}:Net", "steps": 1}
    start = studio.run(**own, set=["width=4"]).model
    for given in ([], ["width=4"]):
        assert studio.run(**own, set=given, init=start).status == 0
    other = studio.run(**own, set=["width=8"], init=start)
    assert other.status == 2
    assert "its network has width=4, and what is asked for is width=8: leave --set out" in other.error
    plain = studio.run(**own, set=[]).model
    other = studio.run(**own, set=["width=8"], init=plain)
    assert (
        "its network has the default width, and what is asked for is width=8: leave --set out" in other.error
    )


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photo.png, own.py and own.safetensors, whose network is in own.py."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    target = "own.py:Net"
    network, source = custom.load(target)
    header = Header(name="own", kind="style", generator=Custom(target=target, source=source))
    network_files.save(network(), header, "own.safetensors")
    return tiny.picture(tmp_path / "photo.png", seed=1)


STYLIZE = ["stylize", "photo.png", "-s", "own.safetensors", "-o", "out.png", "--device", "cpu", "--generator"]


@pytest.mark.parametrize("engine", ["auto", "torch", "openvino", "onnx"])
@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("gone.py:Net", "'gone.py' cannot be read: No such file"),
        ("broken.py:Net", "'broken.py' does not run: SyntaxError"),
        ("own.py:Nett", "did you mean 'Net'?"),
    ],
)
def test_code_that_cannot_be_had_is_told_with_any_engine(
    own: Path, engine: str, target: str, told: str
) -> None:
    Path("broken.py").write_text("class Net(")
    status, out, error = tiny.call(*STYLIZE, target, "--engine", engine)
    assert (status, out, error.count("\n")) == (2, "", 1), error
    if engine in ("openvino", "onnx"):
        told = f"--engine {engine} runs the graph in the model file, and no code: leave --generator out"
    assert told in error


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_class_that_the_weights_do_not_fit_is_named(own: Path) -> None:
    layers = "".join(f"        self.layer{i} = nn.Conv2d(3, 3, 1)\n" for i in range(9))
    other = (
        f"\n\nclass Other(nn.Module):\n    def __init__(self):\n        super().__init__()\n{layers}\n"
        "    def forward(self, x):\n        return torch.sigmoid(self.layer0(x))\n"
    )
    Path("own.py").write_text(OWN + other)
    status, _, error = tiny.call(*STYLIZE, "own.py:Other", "--quiet")
    assert status == 2
    assert error.splitlines()[-1] == (
        "texturenets: own.safetensors was made with own.py:Net, and its weights do not fit own.py:Other: "
        "layer0.weight is absent from the file and (3, 3, 1, 1) in the network. Give the code that it was made with"
    )


@pytest.mark.filterwarnings("default::UserWarning")
def test_code_that_is_named_is_run_and_a_change_told_in_a_line(own: Path) -> None:
    assert tiny.call(*STYLIZE, "own.py:Net") == (0, "out.png\n", "engine: torch, float32\n")
    Path("own.py").write_text(OWN + "# changed\n")
    status, _, error = tiny.call(*STYLIZE, "own.py:Net", "--quiet")
    assert (status, error) == (
        0,
        "texturenets: note: generator 'own.py:Net' has changed since this model was made: its output may differ\n",
    )


@pytest.mark.parametrize(("factor", "engine"), [(255, "auto"), (255, "torch"), (3, "auto")])
def test_a_network_of_another_range_is_refused_before_the_training(
    tmp_path: Path, factor: int, engine: str
) -> None:
    studio = tiny.Studio(tmp_path)
    code = tmp_path / "own.py"
    code.write_text(OWN.replace("return torch.sigmoid(", f"return {factor} * torch.sigmoid("))
    result = studio.run(generator=f"{code}:Net", set=None, engine=engine, steps=1)
    assert (result.status == 2) == (factor == 255), result.error
    if factor == 255:
        assert "own.py:Net gives values from " in result.error
        assert result.error.endswith("not 0 to 1: divide by 255?\n")
        assert not result.folder.exists()


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize(
    ("photo", "kind", "told"),
    [
        (torch.rand(3, 32, 32), ValueError, "(N, 3, H, W), not (3, 32, 32): `photo[None]` is a batch of one"),
        (torch.rand(1, 32, 32, 3), ValueError, "not (1, 32, 32, 3); put the channels first"),
        (torch.rand(1, 1, 32, 32), ValueError, "(N, 3, H, W), not (1, 1, 32, 32)"),
        (torch.zeros(1, 3, 32, 32).byte(), TypeError, "floats in [0, 1], not torch.uint8"),
        (np.zeros((1, 3, 32, 32), np.float32), TypeError, "RGB in [0, 1], not ndarray"),
        (Image.new("RGB", (32, 32)), TypeError, "RGB in [0, 1], not Image"),
        (None, ValueError, "this network stylizes photos: give it one"),
    ],
)
def test_what_is_no_batch_of_photos_is_told(
    tmp_path: Path, depth: int, photo: Any, kind: type[Exception], told: str
) -> None:
    path = tmp_path / "a.safetensors"
    spec = Residual(channels=8, blocks=1, noise_depth=depth)
    network_files.save(build(spec), Header(name="a", kind="style", generator=spec), path)
    for network in (build(spec), tn.load_module(path)):
        with pytest.raises(kind, match=re.escape(told)):
            network(photo)
