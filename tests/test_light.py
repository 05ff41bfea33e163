"""Without PyTorch, with the other extras, everything but training works: all that uses a model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from test_bare import PROGRAM
from webservice import opened, photo

from texturenets import textures
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual

tinyvideo = pytest.importorskip("tinyvideo", exc_type=ImportError)

AT_START = "import sys; sys.modules['torch'] = sys.modules['onnx'] = None"
"""Run at the start of Python, in child processes too: for `import` and `find_spec` alike it is not installed."""

RAY = pytest.mark.skipif(find_spec("ray") is None, reason="the extra `cluster` is not installed")

# Words of a command line, and a file that they make.
WORKING: list[Any] = [
    ("stylize a.png -o out.png", "out.png"),
    ("stylize a.png -o onnx.png --engine onnx", "onnx.png"),
    ("stylize a.png -o openvino.png --engine openvino", "openvino.png"),
    ("stylize a.png -s wave -s noisy.safetensors -o several/ --sheet", "several/contact-sheet.jpg"),
    (
        "stylize a.png -s noisy.safetensors --count 2 --seed 3 --noise-level 0.5 -o noisy/",
        "noisy/a-noisy-0004.png",
    ),
    ("stylize a.png -o large.png --size 144 --stroke 2 --preserve-color --strength 0.5", "large.png"),
    ("stylize a.png -o fine.png --stroke 0.5", "fine.png"),
    ("stylize a.png -o auto.png --stroke auto", "auto.png"),
    ("stylize photos -o photos-out/", "photos-out/0-bouquet.png"),
    ("stylize a.png -o out.heic", "out.heic"),
    ("stylize clip.mp4 -o painted.mp4", "painted.mp4"),
    ("stylize clip.mp4 -o frames/%05d.png", "frames/00001.png"),
    ("stylize photos -o video.mp4", "video.mp4"),
    ("stylize huge.png --memory 640M -o huge-out.png", "huge-out.png"),
    pytest.param("stylize a.png -o cluster/ --cluster", "cluster/manifest.jsonl", marks=RAY),
    ("sample grain.safetensors -o drawn.png --size 48x32", "drawn.png"),
    ("sample grain.safetensors -o tile.png --size 32 --tileable", "tile.png"),
    ("sample grain.safetensors -o batch --count 3 --batch-size 2", "batch/0002.png"),
    ("sample grain.safetensors -o between --to-seed 5 --frames 3", "between/0002.png"),
    ("sample grain.safetensors -o sheet.png --sheet --count 2", "sheet.png"),
    ("sample grain.safetensors -o held.png --hold 1 --count 2 --noise-level 1=0.5", "held-0001.png"),
    ("export wave --to onnx -o wave.onnx", "wave.onnx"),
    ("export wave --to openvino -o wave.xml", "wave.xml"),
    ("export grain.safetensors --to onnx -o grain.onnx", "grain.onnx"),
    ("demo --photo a.png -o demo --size 16", "demo/contact-sheet.jpg"),
    ("models", ""),
    ("models show wave", ""),
]

# Words of a command line that needs PyTorch, and the extra that it names.
WANTING = [
    ("train style a.png --content photos", "train"),
    ("train texture a.png", "train"),
    ("cache --content photos -o cache.h5", "train"),
    ("optimize --style a.png --descriptor random --steps 1", "train"),
    ("tile a.png", "train"),
    ("inpaint a.png --mask a.png", "train"),
    ("evaluate wave --against a.png --photo a.png", "train"),
    ("convert candy.pth", "train"),
    ("stylize a.png --engine torch", "train"),
    ("stylize a.png --precision fp16", "train"),
    ("stylize a.png --device cuda", "cuda"),
    ("serve --models . --photos photos --port 0", "train"),
    ("serve --engine torch --host no.such.host.invalid", "train"),
    ("serve --device cuda --host no.such.host.invalid", "cuda"),
]

PYTHON = """
import sys
import numpy as np
from PIL import Image
import texturenets as tn

style = tn.load("wave")
photo = Image.open("a.png")
assert style(photo).size == photo.size
array = np.asarray(photo)
assert style(array, size=144, stroke=2).shape == (108, 144, 3)
assert style.stylize(np.zeros((2, 3, 40, 40), np.float32)).shape == (2, 3, 40, 40)
assert tn.load("grain.safetensors").sample((40, 24), seed=7).size == (40, 24)
every = {}
exec("from texturenets import *", every)
assert {"load", "Style", "Texture", "StyleConfig", "TrainerConfig", "__version__"} <= set(every)
heavy = {"train_style", "train_texture", "convert", "evaluate", "EvaluationOptions", "tile", "inpaint"}
assert not heavy & {*every, *dir(tn), *tn.__all__}
assert not [name for name in sys.modules if name.partition(".")[0] == "torch" and sys.modules[name]]
for name in heavy:
    try:
        getattr(tn, name)
    except tn.UserError as error:
        assert str(error).startswith(f"{name} needs PyTorch: pip install "), error
    else:
        raise AssertionError(name)
"""


# Of the service: what is asked for, what is sent along, and the answer's status and type.
ROUTES = [
    ("GET", "/healthz", None, 200, "application/json"),
    ("GET", "/readyz", None, 200, "application/json"),
    ("GET", "/v1/models", None, 200, "application/json"),
    ("GET", "/v1/models/wave/thumbnail", None, 200, "image/jpeg"),
    ("POST", "/v1/stylize?style=wave", photo(), 200, "image/png"),
    ("POST", "/v1/stylize?size=144&stroke=2&preserve_color=true&format=webp", photo(), 200, "image/webp"),
    ("POST", "/v1/sample?texture=grain&size=48x32&seed=3", None, 200, "image/png"),
    ("POST", "/v1/sample?texture=grain&size=32&tileable=true&format=jpeg", None, 200, "image/jpeg"),
    ("GET", "/metrics", None, 200, "text/plain"),
    ("GET", "/docs", None, 200, "text/html"),
    ("GET", "/openapi.json", None, 200, "application/json"),
    ("GET", "/page/", None, 200, "text/html"),
    ("GET", "/v1/trainings", None, 404, "application/problem+json"),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, photos, a video, and what keeps PyTorch from being imported."""
    here = tmp_path_factory.mktemp("light")
    torch.manual_seed(0)
    for name, kind, spec in (
        ("noisy", "style", Residual(channels=8, blocks=1, noise_depth=2)),
        ("grain", "texture", Multiscale(channels=(4, 4, 3), noise_depth=2, noise="uniform")),
    ):
        header = Header(name=name, kind=kind, generator=spec)  # type: ignore[arg-type]
        network_files.save(build(spec), header, here / f"{name}.safetensors")
    tiny.picture(here / "a.png", 0, (24, 18))
    for i in range(3):
        tiny.picture(here / f"photos/{i}.png", i)
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(4))
    Image.new("RGB", (2000, 1500)).save(here / "huge.png")
    (here / "candy.pth").write_bytes(bytes(64))
    (here / "start").mkdir()
    (here / "start/sitecustomize.py").write_text(AT_START)
    return here


def environment(here: Path) -> dict[str, str]:
    """Of processes without PyTorch."""
    found = os.pathsep.join([str(here / "start"), str(Path(__file__).parents[1] / "src")])
    return {**os.environ, "PYTHONPATH": found, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}


@pytest.fixture(scope="module")
def told(here: Path) -> dict[str, Any]:
    """What each command said: {its words: (exit status or traceback, standard error)}."""
    lines = [getattr(one, "values", one)[0] for one in WORKING + WANTING]
    lines = [line for line in lines if "--cluster" not in line or find_spec("ray")]
    words = json.dumps([line.split() for line in lines])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, words],
        cwd=here,
        env=environment(here),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return dict(zip(lines, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("words", "result"), WORKING)
def test_what_uses_a_model_works(told: dict[str, Any], here: Path, words: str, result: str) -> None:
    assert told[words][0] == 0, told[words]
    assert (here / result).exists()


@pytest.mark.parametrize(("words", "extra"), WANTING)
def test_what_trains_names_its_extra(told: dict[str, Any], words: str, extra: str) -> None:
    status, error = told[words]
    assert status == 2, (status, error)
    (line,) = error.splitlines()
    assert re.search(rf"needs PyTorch: pip install .*\[{extra}\]'", line), line


def test_python(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PYTHON],
        cwd=here,
        env=environment(here),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def address(here: Path) -> Iterator[str]:
    """Of a service."""
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    words = ["serve", "--port", "0", "--models", ".", "--log-level", "error"]
    process = subprocess.Popen(
        [sys.executable, "-m", "texturenets", *words],
        cwd=here,
        env=environment(here),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.mark.parametrize(("verb", "route", "body", "status", "media"), ROUTES)
def test_the_service(  # noqa: PLR0917
    address: str, verb: str, route: str, body: bytes | None, status: int, media: str
) -> None:
    answer = httpx.request(verb, address + route, content=body, timeout=60)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].partition(";")[0] == media
    if media.startswith("image/"):
        opened(answer.content).load()


def test_the_service_says_what_training_wants(address: str) -> None:
    assert "the extra `train`" in httpx.get(f"{address}/v1/trainings", timeout=60).json()["detail"]
    text = httpx.get(f"{address}/page/", timeout=60).text
    assert re.search(r"raining needs PyTorch: pip install .*\[train\]", text)


def test_uniform_noise_is_mixed_as_normal_noise() -> None:
    whole = np.arange(2**24 - 2**10, 2**24).astype(np.float32)
    a = np.concatenate([np.arange(2**10), np.arange(0, 2**24, 4099), whole]).astype(np.float32) / 2**24
    b = np.random.default_rng(0).permutation(a)
    for angle in (0.1, 0.8, 1.5):
        normal = [torch.special.ndtri(torch.from_numpy(x).double() + 2.0**-25) for x in (a, b)]
        wanted = torch.special.ndtr(np.cos(angle) * normal[0] + np.sin(angle) * normal[1]).float().numpy()
        assert np.abs(textures._mixed(a, b, angle, "uniform") - wanted).max() <= 2.0**-24
