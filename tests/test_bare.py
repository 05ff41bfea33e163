"""In an installation without extras every command works or names, in one line, the extra that it lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import published
import pytest
import tiny
import torch
from PIL import Image

from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual

OPTIONAL = [
    *("av", "cv2", "fastapi", "fsspec", "gradio", "h5py", "lightning_fabric", "lightning_utilities"),
    *("multipart", "onnx", "openvino", "pandas", "pillow_heif", "playwright", "prometheus_client", "pyarrow"),
    *("OpenEXR", "pyvips", "ray", "skimage", "tensorboard", "torch", "torchmetrics", "uvicorn"),
]

# Run at the start of Python, in child processes too: for `import` and `find_spec` alike it is not installed.
AT_START = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))"

PROGRAM = """
import contextlib, io, json, sys, traceback
from texturenets.cli import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except BaseException:
            status = traceback.format_exc()
    print(json.dumps([status, err.getvalue()]), flush=True)
"""

# Words of a command line, and the extra that it names; None where it works without any.
COMMANDS: list[Any] = [
    ("", None),
    ("--help", None),
    ("stylize a.png -o out.png", None),
    ("stylize a.png -s style.safetensors -s wave -o out/ --sheet", None),
    ("stylize a.png -o out.heic", "heif"),
    ("stylize photo.heic", "heif"),
    ("stylize a.png -o out.exr", "exr"),
    ("stylize clip.mp4", "video"),
    ("stylize a.png a.png -o video.mp4", "video"),
    ("stylize --webcam", "video"),
    ("stylize --webcam --virtual-camera", "video"),
    ("stylize a.png --engine openvino", "openvino"),
    ("stylize a.png --engine onnx", None),
    ("stylize a.png --engine torch", "train"),
    ("stylize a.png --device cuda", "cuda"),
    ("stylize a.png --precision fp16", "train"),
    ("stylize a.png -o out/ --cluster", "cluster"),
    ("stylize s3://bucket/a.png -o out/ --cluster auto", "cluster"),
    ("stylize huge.png --memory 200M -o large.png", "large"),
    ("sample texture.safetensors -o drawn.png --size 16", None),
    ("sample texture.safetensors --engine openvino", "openvino"),
    ("optimize --style a.png --descriptor random --steps 1 --size 16 -o slow.png", "train"),
    ("evaluate style.safetensors --video clip.mp4", "train"),
    ("evaluate style.safetensors --against a.png --photo a.png", "train"),
    ("convert candy.pth", "train"),
    ("convert network.onnx", "train"),
    ("export style.safetensors --to onnx", None),
    ("export style.safetensors --to openvino", "openvino"),
    ("serve", "web"),
    ("serve --no-page", "web"),
    ("demo --size 16", None),
    ("demo --photo a.png -o shown --size 16", None),
    ("models", None),
    ("models show wave", None),
]

# Those of training.
TRAINING: list[tuple[str, str | None]] = [
    ("train style a.png --content photos --offline", "train"),
    ("train texture a.png --offline", "train"),
    ("cache --content photos -o cache.h5 --offline", "train"),
]


def onnx_file(path: Path) -> None:
    """A network that gives the photo back."""
    pictures = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, "H", "W"]) for name in "xy"]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", pictures[:1], pictures[1:])), path)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command said: {its words: (exit status or traceback, standard error)}."""
    here = tmp_path_factory.mktemp("bare")
    torch.manual_seed(0)
    network = Residual(channels=8, blocks=1)
    network_files.save(
        build(network), Header(name="style", kind="style", generator=network), here / "style.safetensors"
    )
    texture = Multiscale(channels=(4, 4, 3), noise_depth=2)
    network_files.save(
        build(texture),
        Header(name="texture", kind="texture", generator=texture),
        here / "texture.safetensors",
    )
    tiny.picture(here / "a.png", 0, (24, 18))
    for i in range(4):
        tiny.picture(here / f"photos/{i}.png", i)
    Image.new("RGB", (4000, 3000)).save(here / "huge.png")
    (here / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    (here / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(64))
    torch.save(published.transformer_net(), here / "candy.pth")
    onnx_file(here / "network.onnx")
    (here / "start").mkdir()
    (here / "start/sitecustomize.py").write_text(AT_START)
    lines = [getattr(one, "values", one)[0] for one in COMMANDS + TRAINING]
    words = [line.split() for line in lines]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(words)],
        cwd=here,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(here / "start"), str(Path(__file__).parents[1] / "src")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(lines, found, strict=True))


def check(answer: Any, extra: str | None) -> None:
    """The exit status is 0, or 2 with one line that names the extra."""
    status, error = answer
    if extra is None:
        assert status == 0, (status, error)
        return
    lines = [line for line in error.splitlines() if not line.startswith("engine: ")]
    assert status == 2, (status, error)
    assert len(lines) == 1, lines
    assert "pip install" in lines[0]
    assert f"[{extra}]'" in lines[0]


@pytest.mark.parametrize(("words", "extra"), COMMANDS, ids=lambda value: value)
def test_a_missing_extra_is_named(told: dict[str, Any], words: str, extra: str | None) -> None:
    check(told[words], extra)


@pytest.mark.parametrize(("words", "extra"), TRAINING, ids=lambda value: value)
def test_trainings_name_theirs(told: dict[str, Any], words: str, extra: str | None) -> None:
    check(told[words], extra)
