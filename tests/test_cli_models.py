"""`texturenets models`: what is here and what a model file says of itself."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from texturenets._version import __version__
from texturenets.cli import main
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.residual import Residual

TINY = Residual(channels=8, blocks=1)


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.setattr(modelfile, "ZOO", folder)
    return folder


def save(path: Path, **facts: object) -> None:
    settings = {"name": path.stem, "kind": "style", "generator": TINY, **facts}
    network_files.save(build(TINY), Header(**settings), path)  # type: ignore[arg-type]


def test_list(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(zoo / "wave.safetensors", licence="Apache-2.0")
    save(zoo / "bark.safetensors", kind="texture")
    assert main(["models"]) == 0
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    size = (zoo / "wave.safetensors").stat().st_size
    assert head == ["name", "kind", "generator", "size", "licence"]
    assert rows == [
        ["bark", "texture", "residual", *rows[0][3:5], "unknown"],
        ["wave", "style", "residual", f"{size / 1000:.0f}", "kB", "Apache-2.0"],
    ]


def test_a_bad_file_is_named_and_the_others_listed(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(zoo / "wave.safetensors")
    (zoo / "bad.safetensors").write_bytes(b"x")
    assert main(["models"]) == 2
    out, error = capsys.readouterr()
    assert out.splitlines()[1].split()[0] == "wave"
    assert error.startswith(f"texturenets: {zoo / 'bad.safetensors'} is not a texturenets model")
    assert error.count("\n") == 1
    assert main(["models", "--json"]) == 2
    assert [facts["name"] for facts in json.loads(capsys.readouterr().out)] == ["wave"]


def test_list_as_json(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    save(zoo / "wave.safetensors", licence="Apache-2.0")
    assert main(["models", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["name"] == "wave"
    assert facts["licence"] == "Apache-2.0"
    assert facts["bytes"] == Path(facts["file"]).stat().st_size


def test_an_empty_zoo(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "no models" in output.err


def test_show(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = {"seconds": 5400.5, "run": {"seed": 3, "style_layers": ["vgg16:relu1_1", "vgg16:relu2_1"]}}
    save(
        zoo / "wave.safetensors",
        training=training,
        licence="CC0",
        terms="[red]research[/red]",
        source="a print",
    )
    assert main(["models", "show", "wave"]) == 0
    text = capsys.readouterr().out
    for words in (
        "residual", "channels 8", "seconds 5400.5", "run.seed 3\n", "vgg16:relu1_1,vgg16:relu2_1", "CC0",
        "[red]research[/red]", "a print", __version__,
    ):  # fmt: skip
        assert words in text
    assert not [line for line in text.splitlines() if line.endswith(" ")]
    assert max(map(len, text.splitlines())) < 100  # one fact a line
    assert main(["models", "show", "--json", str(zoo / "wave.safetensors")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["training"] == training
    assert facts["generator"] == {
        "name": "residual", "channels": 8, "blocks": 1, "normalization": "instance", "padding": "reflect",
        "noise": "normal", "noise_depth": 0, "dilation": 1,
    }  # fmt: skip
    assert facts["version"] == __version__
    assert facts["thumbnail"] is False


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_thumbnail(zoo: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    blue = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 30, 40)
    save(zoo / "wave.safetensors", thumbnail=modelfile.encode_thumbnail(blue))
    target = tmp_path / f"small.{suffix}"
    assert main(["models", "show", "wave", "--thumbnail", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(target)
    with Image.open(target) as picture:
        assert picture.size == (40, 30)
        red, green, blue_ = picture.convert("RGB").getpixel((20, 15))  # type: ignore[misc]
        assert blue_ > 240
        assert max(red, green) < 16


@pytest.mark.parametrize(
    ("thumbnail", "words"),
    [("", "no thumbnail"), ("no base64 !", "damaged"), (base64.b64encode(b"junk").decode(), "damaged")],
)
def test_no_thumbnail(
    zoo: Path, tmp_path: Path, thumbnail: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(network_files, "check_types", lambda _: None)  # which would refuse to write it
        save(zoo / "wave.safetensors", thumbnail=thumbnail)
    assert main(["models", "show", "wave", "--thumbnail", str(tmp_path / "a.jpg")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a.jpg").exists()


def test_json_and_a_thumbnail_do_not_mix_on_standard_output(
    zoo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(zoo / "wave.safetensors", thumbnail=modelfile.encode_thumbnail(torch.rand(1, 3, 8, 8)))
    assert main(["models", "show", "wave", "--json", "--thumbnail", str(tmp_path / "a.jpg")]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "wave"
    assert (tmp_path / "a.jpg").exists()


def test_a_reader_that_stops_early_is_no_error() -> None:
    program = [sys.executable, "-m", "texturenets", "--help"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
