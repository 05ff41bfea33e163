"""`texturenets convert`: what it writes and says, and what `models show` and `stylize` make of it."""

from __future__ import annotations

from pathlib import Path

import published
import pytest
import torch
from PIL import Image

from texturenets.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.save(published.transformer_net(), tmp_path / "candy.pth")
    (tmp_path / "starry.t7").write_bytes(published.t7(published.first_texture(photo=True)))
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg")
    (tmp_path / "empty.t7").touch()
    (tmp_path / "master.t7").write_bytes(published.t7(published.master_johnson()))
    return tmp_path


def test_a_published_network_stylizes_a_photo(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "candy.pth", "--source", "example.org/candy", "--licence", "BSD"]) == 0
    assert capsys.readouterr() == ("candy.safetensors\n", "")
    assert main(["models", "show", "candy.safetensors"]) == 0
    text = capsys.readouterr().out
    for words in ("example.org/candy", "BSD", "johnson", "candy.pth", "pytorch/examples"):
        assert words in text
    Image.new("RGB", (70, 66), (200, 40, 90)).save("photo.png")
    assert main(["stylize", "photo.png", "-s", "candy.safetensors", "-o", "a.png"]) == 0
    with Image.open("a.png") as picture:
        assert picture.size == (70, 66)


def test_an_export_of_our_own_is_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert main(["convert", "candy.pth"]) == 0
    assert main(["export", "candy.safetensors", "--to", "onnx", "-o", "candy.onnx", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["convert", "candy.onnx", "-o", "again.safetensors"]) == 2
    error = capsys.readouterr().err
    assert "candy.onnx" in error
    assert "it is an export of texturenets: use the model that it was made of" in error


def test_the_graph_of_a_published_network_is_not_listed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "fns.t7").write_bytes(published.t7(published.fast_neural_style()))
    assert main(["convert", "fns.t7", "--quiet"]) == 0
    assert main(["models", "show", "fns.safetensors"]) == 0
    text = capsys.readouterr().out
    assert "lines, which --json lists" in text
    assert "personal or research use" in text


def test_noise_in_a_style_follows_the_seed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "starry.t7", "-o", "s.safetensors"]) == 0
    assert "note: 1 normalizations have fewer weights" in capsys.readouterr().err
    Image.effect_noise((64, 64), 80).convert("RGB").save("photo.png")
    pictures = []
    for seed in ("0", "0", "1"):
        assert main(["stylize", "photo.png", "-s", "s.safetensors", "-o", "a.png", "--seed", seed]) == 0
        with Image.open("a.png") as picture:
            pictures.append(picture.tobytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_what_has_never_been_tried_is_said_to_be_experimental(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "master.t7"]) == 0
    assert "experimental" in capsys.readouterr().err
    assert main(["convert", "master.t7", "--quiet"]) == 0
    assert capsys.readouterr() == ("master.safetensors\n", "")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["missing.t7"], "no such file: missing.t7"),
        (["candy.pth", "-o", "candy.pth"], "must end in .safetensors"),
        (["candy.pth", "--colors-in", "rgb"], "needs none"),
        (
            ["starry.t7", "--generator", "own.py:Net"],
            "--generator own.py:Net: code is only for models of earlier versions of texturenets, and starry.t7 is a "
            "Torch7 file: leave --generator out",
        ),
        (["missing.t7", "--generator", "own.py:Net"], "no such file: missing.t7"),
        ([".", "-o", "x.safetensors"], "without manifest.json"),
        (["photo.jpg"], "photo.jpg is an image, not a network"),
        (["empty.t7"], "no published network that is known (TensorFlow, Torch7, ONNX, PyTorch)"),
    ],
)
def test_one_line_and_nothing_written(
    folder: Path, words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert main(["convert", *words]) == 2
    said = capsys.readouterr()
    assert error in said.err
    assert said.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_a_broken_file_of_the_results_name_is_called_broken(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.safetensors").write_text("x")
    assert main(["convert", "broken.safetensors"]) == 2
    assert "no published network" in capsys.readouterr().err


def test_the_file_itself_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "candy.pth").rename(folder / "candy.safetensors")
    before = (folder / "candy.safetensors").read_bytes()
    assert main(["convert", "candy.safetensors"]) == 2
    assert "is the file to convert" in capsys.readouterr().err
    assert (folder / "candy.safetensors").read_bytes() == before
