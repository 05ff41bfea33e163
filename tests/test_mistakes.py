"""What goes wrong in training and caching, told in one line with the way out; exit status 2, nothing half written.

Mistakes of `stylize` are in test_cli_stylize.py, those of `train texture` in test_training_texture.py,
and weights that are fetched in test_weights.py.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from safetensors.torch import load_file, save_file

from texturenets.errors import UserError, install
from texturenets.modelfiles import modelfile
from texturenets.networks import network_files


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    return tiny.Studio(tmp_path_factory.mktemp("mistakes"))


def told(result: tiny.Result, *words: str) -> None:
    """`result` failed with one line that holds `words`, and left neither a model nor part of one."""
    lines = [line for line in result.error.splitlines() if "only" not in line]  # the warning about few photos
    assert result.status == 2
    assert len(lines) == 1, result.error
    assert lines[0].startswith("texturenets: ")
    for word in words:
        assert word in lines[0]
    assert not result.model.exists()
    assert result.output == ""
    assert not list(result.model.parent.glob(f"*{result.model.stem}*/*.safetensors"))


def halved(path: Path, source: Path) -> Path:
    """The first half of the file `source`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = source.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def plain(path: Path, size: tuple[int, int], colour: tuple[int, int, int] = (9, 99, 200)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.mark.parametrize(
    "flags", [{"generator": "residul"}, {"set": ["chanels=8"]}, {"init": "pebble"}, {"init": "wave"}]
)
def test_a_wrong_network_is_told_before_weights_are_fetched(
    studio: tiny.Studio, tmp_path: Path, flags: dict[str, Any]
) -> None:
    (tmp_path / "empty").mkdir()
    result = studio.run(weights=[str(tmp_path / "empty")], **flags)
    assert result.status == 2
    assert "no file in" not in result.error


def test_paintings_and_images_too_small_to_learn_are_refused(studio: tiny.Studio, tmp_path: Path) -> None:
    Image.open(studio.painting).resize((7, 7)).save(tmp_path / "small.png")
    for flags, word in (
        ({"style": tmp_path / "small.png"}, "7 x 7 pixels"),
        ({"image_size": 8}, "--image-size 8"),
    ):
        result = studio.run(**flags)  # type: ignore[arg-type]
        assert result.status == 2
        assert word in result.error
        assert "32" in result.error
        assert result.error.count("\n") == 1


@pytest.mark.filterwarnings("default")
def test_the_first_of_several_images_is_told_of(studio: tiny.Studio, tmp_path: Path) -> None:
    pages = [Image.open(studio.painting).rotate(90 * i) for i in range(2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    result = studio.run(style=tmp_path / "pages.tif", steps=1)
    assert result.status == 0, result.error
    assert (
        f"note: {tmp_path / 'pages.tif'} holds several images, of which the first is learned" in result.error
    )


@pytest.mark.filterwarnings("default")
def test_a_transparent_painting_is_learned_on_white(studio: tiny.Studio, tmp_path: Path) -> None:
    painting = Image.open(studio.painting).convert("RGBA")
    painting.putalpha(Image.linear_gradient("L").resize(painting.size))
    painting.save(tmp_path / "clear.png")
    white = Image.alpha_composite(Image.new("RGBA", painting.size, "white"), painting)
    white.convert("RGB").save(tmp_path / "white.png")
    clear = studio.run(style=tmp_path / "clear.png", steps=1)
    assert f"note: {tmp_path / 'clear.png'} has transparent pixels, which are learned as white" in clear.error
    laid = studio.run(style=tmp_path / "white.png", steps=1)
    assert laid.error.count("transparent") == 0
    assert clear.losses == pytest.approx(laid.losses, rel=1e-2)  # but for the rounding to 8 bits


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"generator": "residul"}, ["residul", "did you mean 'residual'"]),
        ({"set": ["chanels=8"]}, ["chanels", "channels"]),
        ({"set": ["channels=eight"]}, ["eight", "whole number"]),
        ({"style_layers": "vgg16:relu1_3"}, ["relu1_3", "did you mean"]),
        ({"content_layers": "vgg61:relu1_2"}, ["vgg61", "vgg19"]),
        ({"preset": "papre"}, ["papre", "paper"]),
        ({"init": "wav"}, ["wav"]),
        ({"init": "gone.safetensors"}, ["gone.safetensors"]),
        ({"init": "pebble"}, ["--init pebble is a texture, and what is trained here is a style"]),
        (
            {"init": "wave"},
            [
                "--init wave: its network has channels=64 blocks=5, and what is asked for is channels=8 blocks=1: ",
                "leave --set out for the network of wave",
            ],
        ),
        (
            {"init": "wave", "generator": "johnson", "set": []},
            ["its network is residual", "--generator residual"],
        ),
        ({"weights": ["nowhere"]}, ["nowhere"]),
        ({"content": "nowhere"}, ["nowhere"]),
        ({"style": "nowhere.jpg"}, ["nowhere.jpg"]),
        ({"output": "model.jpg"}, ["model.jpg", ".safetensors"]),
    ],
)
def test_names_misspelt(studio: tiny.Studio, flags: dict[str, Any], words: list[str]) -> None:
    result = studio.run(**flags)
    told(result, *words)


def test_folders_without_photos(studio: tiny.Studio, tmp_path: Path) -> None:
    told(studio.run(content=tmp_path), str(tmp_path), "no photo")
    for i in range(3):
        halved(tmp_path / f"{i}.png", studio.painting)
    told(studio.run(content=tmp_path), "damaged or cut short")


def test_truncated_photos_among_good_ones_are_named_and_passed_over(
    studio: tiny.Studio, tmp_path: Path
) -> None:
    for i in range(4):
        tiny.picture(tmp_path / f"{i}.png", seed=i)
    halved(tmp_path / "bad.png", studio.painting)
    result = studio.run(content=tmp_path, steps=6, val_share=0.0)
    assert result.status == 0
    assert "bad.png is damaged or cut short" in result.error
    assert modelfile.read_header(result.model).training["step"] == 6


@pytest.mark.parametrize(
    ("size", "style_size", "words"),
    [
        ((1, 1), 0, ["1 x 1 pixels", "32 x 32"]),
        ((1, 1), 64, ["1 x 1 pixels", "give a larger one"]),
        ((300, 1), 64, ["300 x 1 pixels", "32 x 32"]),
        ((300, 40), 64, ["64 x 9 pixels", "enlarge it with --style-size"]),
        ((80, 80), 64, ["of one color"]),
    ],
)
def test_style_pictures_that_hold_nothing(
    studio: tiny.Studio, tmp_path: Path, size: tuple[int, int], style_size: int, words: list[str]
) -> None:
    path = plain(tmp_path / "style.png", size)
    told(studio.run(style=path, style_size=style_size), str(path), *words)


def test_a_truncated_style_picture(studio: tiny.Studio, tmp_path: Path) -> None:
    path = halved(tmp_path / "style.png", studio.painting)
    told(studio.run(style=path), str(path), "damaged or cut short")


def test_weights_that_are_damaged_or_lack_layers(studio: tiny.Studio, tmp_path: Path) -> None:
    name = "squeezenet1_0"
    good = next(studio.weights.glob(f"{name}*"))
    told(studio.run(weights=[f"{name}={halved(tmp_path / 'half.safetensors', good)}"]), "half.safetensors")
    tensors = load_file(good)
    tensors.pop("features.3.squeeze.weight")
    save_file(tensors, tmp_path / "short.safetensors")
    told(studio.run(weights=[f"{name}={tmp_path / 'short.safetensors'}"]), "features.3.squeeze")


def test_a_full_disk(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(network_files, "save_file", full)
    told(studio.run(), "No space left on device")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["cache", "--content", "nowhere", "-o", "x.h5"], "nowhere"),
        (["cache", "--content", ".", "-o", "x.h5", "--crops-per-photo", "0"], "--crops-per-photo 0"),
        (["cache", "--content", ".", "-o", "x.h5"], "no photo"),
        (
            ["cache", "--content", ".", "-o", "a.jpg"],
            "--output a.jpg: the format is HDF5: give a name such as a.h5",
        ),
    ],
)
def test_mistakes_of_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, output, error = tiny.call(*words, "--offline")
    assert status == 2
    assert len(error.splitlines()) == 1
    assert hint in error
    assert output == ""
    assert not list(tmp_path.iterdir())


def test_a_content_feature_file_on_a_full_disk(
    studio: tiny.Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from texturenets.train import feature_cache

    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    words = [
        "--content-layers",
        "squeezenet1_0:fire3",
        "--image-size",
        "32",
        "--weights",
        str(studio.weights),
    ]
    out = tmp_path / "full.h5"
    status, _, error = tiny.call("cache", "--content", str(studio.photos), "-o", str(out), "--quiet", *words)
    assert status == 2
    assert error.splitlines()[-1] == f"texturenets: cannot write {out}: No space left on device"
    assert not list(tmp_path.iterdir())


def test_a_damaged_content_feature_file(tmp_path: Path) -> None:
    import h5py

    from texturenets.train import feature_cache

    path = tmp_path / "photos.h5"
    with h5py.File(path, "w") as file:
        values = (
            (np.arange(4 * 3 * 64 * 64) // 9 % 5).astype(np.uint8).reshape(4, 3, 64, 64)
        )  # lzf shrinks it
        file.create_dataset("val/photos", data=values, chunks=(1, 3, 64, 64), compression="lzf")
    data = bytearray(path.read_bytes())
    data[-200:] = b"\xff" * 200  # in the last chunk
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"photos\.h5 is damaged .*write it again with `texturenets cache`"):
        feature_cache.validation(path, 4)


def test_a_picture_that_is_missing_is_told_before_weights_are_looked_for(studio: tiny.Studio) -> None:
    told(studio.run(style="nowhere.jpg", weights=[]), "nowhere.jpg")


@pytest.mark.parametrize("module", ["h5py", "lightning_fabric", "tensorboard"])
def test_without_the_extra_it_is_named(
    studio: tiny.Studio, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    told(studio.run(), install("train"))
    told(studio.texture(), install("train"))
    out = tmp_path / "a.h5"
    status, output, error = tiny.call("cache", "--content", str(studio.photos), "-o", str(out))
    assert (status, output, error.count("\n")) == (2, "", 1), error
    assert error.startswith("texturenets: cache needs ")
    assert install("train") in error
    assert not out.exists()
    # In a process of its own: modules of ours that are imported anew here would stand beside those of other tests.
    program = f"import sys; sys.modules[{module!r}] = None; import texturenets; texturenets.train_style"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1].startswith("texturenets.errors.MissingError: training needs")


def test_photos_are_looked_for_before_weights(studio: tiny.Studio, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    missing = {"weights": [], "offline": True}
    for content, words in (
        (tmp_path / "gone", ["gone", "COCO's val2017", "1 GB"]),
        (studio.photos / "0.png", ["0.png is a photo: give the folder"]),
        (tmp_path, ["no photo in", "COCO's val2017"]),
        (tmp_path / "notes.txt", ["notes.txt is not a content feature file", "folder of photos"]),
    ):
        told(studio.run(content=content, **missing), *words)
    status, _, error = tiny.call("train", "style", str(studio.painting))
    assert status == 2
    assert "--content FOLDER" in error
    assert "COCO's val2017" in error


def test_videos_and_broken_files_are_not_counted_as_photos(studio: tiny.Studio, tmp_path: Path) -> None:
    for i in range(3):
        tiny.picture(tmp_path / f"{i}.png", seed=i)
    halved(tmp_path / "bad.png", studio.painting)
    (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(99))
    (tmp_path / "sound.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + bytes(99))
    result = studio.run(content=tmp_path, steps=1, val_share=0.0)
    assert result.status == 0
    assert "only 3 photos: " in result.error
    split = studio.run(content=tmp_path, steps=1, val_share=0.3)
    assert "only 3 photos to train on, and 1 held out: " in split.error
    assert "clip.mp4" not in result.error


def test_flags_may_be_left_out_where_pydantic_is_imported(studio: tiny.Studio) -> None:
    """As in a process that serves too: the parser of the command line then checks defaults by it."""
    pytest.importorskip("pydantic")
    status, _, error = tiny.call("train", "style", str(studio.painting))
    assert (status, error.count("\n")) == (2, 1)
    assert "--content FOLDER" in error
