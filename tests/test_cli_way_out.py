"""What the command line leaves out or refuses is named, with a way out that works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

import texturenets
from texturenets import loading
from texturenets.cli.outputs import check_count
from texturenets.cluster import storage
from texturenets.errors import DamagedError, UserError
from texturenets.image import writing
from texturenets.modelfiles import modelfile
from texturenets.networks.pyramid import Pyramid2
from texturenets.networks.residual import Residual

TINY = Residual(channels=8, blocks=0)
BARK = Pyramid2(channels=(6, 4, 4), noise_depth=2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two photos; the style `wave` and the texture `bark` are shipped."""
    work = tiny.working_folder(tmp_path, monkeypatch, {"wave": TINY}, {"bark": BARK})
    tiny.picture(work / "photo.jpg", seed=1)
    tiny.picture(work / "other.jpg", seed=2)
    return work


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads a model has come too far."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(loading, "load_style", load)
    monkeypatch.setattr(loading, "load_texture", load)


def stylize(*words: str) -> tuple[int, str, str]:
    return tiny.call("stylize", *words, "--engine", "torch")


def test_a_missing_photo_does_not_stop_the_others(here: Path) -> None:
    status, out, error = stylize("photo.jpg", "gone.jpg", "*.tif", "-o", "out/")
    assert (status, out) == (2, "out/photo-wave.jpg\n")
    assert "no such file or folder: gone.jpg" in error
    assert error.endswith("1 done, 2 failed: gone.jpg, *.tif\n")
    status, out, _ = stylize("photo.jpg", "gone.jpg", "-o", "out/", "--json")
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["failed", "done"]
    status, out, error = stylize("gone.jpg", "-o", "out/")
    assert (status, out, error) == (2, "", "texturenets: no such file or folder: gone.jpg\n")


def test_links_to_folders_are_followed_once(here: Path) -> None:
    tiny.picture(here / "elsewhere" / "a.jpg", seed=1)
    tiny.picture(here / "in" / "b.jpg", seed=1)
    (here / "in" / "more").symlink_to(here / "elsewhere")
    (here / "in" / "again").symlink_to(here / "in")
    _, out, _ = stylize("in", "-o", "out")
    assert sorted(out.split()) == ["out/b-wave.jpg", "out/more/a-wave.jpg"]


def test_a_long_option_with_one_dash(here: Path) -> None:
    status, _, error = stylize("photo.jpg", "-size", "64")
    assert (status, error) == (
        2,
        "texturenets: -size: this option has two dashes: --size. See `texturenets stylize --help`.\n",
    )


def test_all_weights_of_a_mixture_or_none(here: Path) -> None:
    status, _, error = stylize("photo.jpg", "-s", "wave:a=0.6,b")
    assert status == 2
    assert "a=0.6,b: b has no weight: give each style one, or none of them" in error


def test_results_that_differ_by_noise_alone_want_noise() -> None:
    with pytest.raises(UserError, match="--count 2: without noise"):
        check_count(2, [], 0.0)


# ---- Files of a folder ---------------------------------------------------------------------------------

NO_PHOTOS = ["notes.txt", "about.json", ".DS_Store", "Thumbs.db", "desktop.ini", "a.xmp", "a.mp3", "README"]
LEFT_OUT = ["b.cr2", "c.hdr", "d.raw", "e.xyz", "f.svg", "g.psd", "holiday.jp2"]


def test_files_that_are_ignored_are_counted_and_named(here: Path) -> None:
    tiny.picture(here / "in" / "a.jpg", seed=1)
    for name in NO_PHOTOS:
        (here / "in" / name).write_bytes(b"something else")
    _, out, error = stylize("in", "-o", "out")
    assert out == "out/a-wave.jpg\n"
    assert error == ""
    for name in LEFT_OUT:
        (here / "in" / name).write_bytes(b"something else")
    status, out, error = stylize("in", "-o", "out")
    assert (status, out) == (0, "out/a-wave.jpg\n")
    assert error.count("\n") == 1
    assert "7 files are ignored: no images that can be read here (JPEG, PNG, " in error
    assert "in/b.cr2, in/c.hdr, in/d.raw and 4 more" in error
    assert stylize("in", "-o", "out", "--quiet") == (0, out, "")


def test_other_commands_say_so_too(here: Path) -> None:
    tiny.picture(here / "in" / "a.jpg", seed=1)
    for name in (*NO_PHOTOS, *LEFT_OUT):
        (here / "in" / name).write_bytes(b"something else")
    told = "7 files are ignored"
    assert told in tiny.call("demo", "--photo", "in", "--size", "24")[2]
    assert tiny.call("demo", "--photo", "in", "--size", "24", "--quiet")[2] == ""
    evaluate = ("evaluate", "wave", "--against", "gone.png", "--photo", "in")
    assert told in tiny.call(*evaluate)[2]
    assert told not in tiny.call(*evaluate, "--quiet")[2]
    found: list[str] = []
    storage.find(["in"], "out", found)
    assert found == [f"in/{name}" for name in LEFT_OUT]


def test_videos_are_not_ignored_with_them(here: Path) -> None:
    tiny.picture(here / "in" / "a.jpg", seed=1)
    (here / "in" / "b.mp4").write_bytes(b"no video")
    _, _, error = stylize("in", "-o", "out")
    assert "ignored" not in error
    assert "b.mp4" in error  # a video, if a damaged one


# ---- Frames of two sizes -------------------------------------------------------------------------------


def test_frames_of_two_sizes_are_told_before_the_engine_starts(here: Path, unloaded: None) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    for number, size in enumerate([(24, 18), (24, 18), (30, 18)]):
        tiny.picture(here / "in" / f"{number}.png", seed=1, size=size)
    error = tiny.refused("stylize", "in", "-o", "out.mp4")
    for part in ("in/2.png has 30 x 18 pixels", "in/0.png has 24 x 18", "resize it or leave it out"):
        assert part in error


def test_frames_are_compared_upright(here: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    exif = Image.Exif()
    exif[0x0112] = 6
    tiny.picture(here / "in" / "0.png", seed=1, size=(24, 18))
    Image.new("RGB", (18, 24)).save(here / "in" / "1.png", exif=exif)
    assert stylize("in", "-o", "out.mp4")[0] == 0


# ---- Results under names that are taken ----------------------------------------------------------------


def advised(error: str) -> str:
    found = re.search(r"-o (\S+)", error)
    assert found is not None, error
    return found[1].rstrip(":;,")


@pytest.mark.parametrize("name", ["out", "out.jpg", "sub/out"])
def test_the_folder_that_is_advised_in_place_of_a_file_can_be_written(
    here: Path, name: str, unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "sub").mkdir()
    (here / name).write_bytes(b"mine")
    (here / name).with_suffix("").write_bytes(b"mine")
    error = tiny.refused("stylize", "photo.jpg", "other.jpg", "-o", name)
    monkeypatch.undo()
    monkeypatch.chdir(here)
    monkeypatch.setattr(modelfile, "ZOO", here.parent / "zoo")
    folder = advised(error)
    assert folder.endswith("/")
    assert stylize("photo.jpg", "other.jpg", "-o", folder)[0] == 0
    assert len(list((here / folder).iterdir())) == 2
    assert (here / name).read_bytes() == b"mine"


def test_a_file_named_as_a_folder_is_told_before_the_engine_starts(here: Path, unloaded: None) -> None:
    (here / "out").write_bytes(b"mine")
    error = tiny.refused("stylize", "photo.jpg", "-o", "out/")
    assert "out is a file" in error
    assert advised(error) != "out/"


def test_the_folder_that_is_advised_for_samples_can_be_written(here: Path) -> None:
    (here / "out").write_bytes(b"mine")
    words = ("sample", "bark", "--count", "2", "--size", "16", "--engine", "torch", "--quiet", "-o")
    folder = advised(tiny.refused(*words, "out"))
    assert tiny.call(*words, folder)[0] == 0
    assert folder == advised(tiny.refused(*words, "out/"))


# ---- Formats that are not read -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.hdr", "x.jp2"])
def test_a_format_that_is_not_read_has_a_way_out(here: Path, name: str) -> None:
    (here / name).write_bytes(b"#?RADIANCE is not read")
    _, _, error = stylize(name)
    assert f"{name} is not an image that can be read here (JPEG, PNG, " in error
    assert "save it as one of these with another program" in error


@pytest.mark.parametrize("name", ["photo.jpg", "photo", "photo.xyz"])
def test_a_photo_is_not_converted(here: Path, name: str) -> None:
    if name != "photo.jpg":
        (here / "photo.jpg").rename(here / name)
    error = tiny.refused("convert", name)
    assert f"{name} is an image, not a network" in error
    assert f"`texturenets stylize {name}`" in error


# ---- Models that are cut short -------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_model_that_is_cut_short_is_to_be_fetched_again(here: Path, share: float) -> None:
    whole = (here.parent / "zoo" / "wave.safetensors").read_bytes()
    cut = here / "cut.safetensors"
    cut.write_bytes(whole[: int(share * len(whole))])
    for words in (("stylize", "photo.jpg", "-s", "cut.safetensors"), ("models", "show", "cut.safetensors")):
        error = tiny.refused(*words)
        assert "cut.safetensors is cut short: fetch or copy it again" in error
    with pytest.raises(DamagedError):
        texturenets.load(cut)
    assert "cut.safetensors is cut short: fetch or copy it again" in tiny.refused(
        "convert", "cut.safetensors"
    )


def test_a_model_with_more_than_it_says_is_damaged(here: Path) -> None:
    whole = (here.parent / "zoo" / "wave.safetensors").read_bytes()
    (here / "long.safetensors").write_bytes(whole + bytes(99))
    error = tiny.refused("stylize", "photo.jpg", "-s", "long.safetensors")
    assert "long.safetensors is damaged: fetch or copy it again" in error


# ---- Words ---------------------------------------------------------------------------------------------


def test_a_size_below_0(here: Path) -> None:
    for size in ("-5", "5x-10"):
        error = tiny.refused("sample", "bark", "--size", size)
        assert f"--size {size} is not a size: give pixels, for example 512 or 640x480" in error
    error = tiny.refused("sample", "bark", "--size", "-5x10")
    assert "--size needs a value, and -5x10 is none: WIDTHxHEIGHT in pixels" in error


def test_a_metavar_keeps_its_capitals(here: Path) -> None:
    assert "--size needs a value: WIDTHxHEIGHT in pixels" in tiny.refused("sample", "bark", "--size")


def test_arrays_out_of_range(here: Path) -> None:
    style: Any = texturenets.load("wave", "cpu", engine="torch")
    with pytest.raises(
        UserError, match=r"^an array of floats holds values from 0 to 200, not 0 to 1; divide"
    ):
        style(np.array([[[0.0, 200, 3]]]))
    with pytest.raises(UserError, match=r"^an array of floats holds values that are not numbers"):
        style(np.full((4, 4, 3), np.nan))
    with pytest.raises(UserError, match=r"^photos of floats hold values from 0 to 200, not 0 to 1; divide"):
        style.stylize(np.array([0.0, 200, 3], np.float32).reshape(1, 3, 1, 1))


def test_an_interrupted_sample_names_what_is_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = writing.write
    written: list[Path] = []

    def interrupted(path: Any, *rest: Any, **options: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        write(path, *rest, **options)
        written.append(path)

    monkeypatch.setattr("texturenets.image.write", interrupted)
    words = ("sample", "bark", "--count", "4", "--size", "16", "--engine", "torch", "-o", "out", "--quiet")
    status, out, error = tiny.call(*words)
    assert status == 130
    assert out == "out/0000.png\nout/0001.png\n"
    assert error == "texturenets: interrupted: 2 of 4 done; the same command draws them all, the same again\n"
    for more in (("--sheet",), ("--to-seed", "1", "-o", "a.gif")):
        monkeypatch.setattr("texturenets.textures.Texture._drawn", interrupted)
        status, out, error = tiny.call("sample", "bark", "--size", "16", "--engine", "torch", *more)
        assert (status, out) == (130, "")
        assert re.search(r"texturenets: interrupted: (bark-sheet.png|a.gif) is not written", error)


def test_an_apng_that_is_not_written_has_a_hint(here: Path, unloaded: None) -> None:
    error = tiny.refused("stylize", "photo.jpg", "-o", "a.apng")
    assert "an APNG is written of animations and videos only; of one image make a .png" in error


def test_the_spool_is_checked_at_the_start(here: Path, unloaded: None) -> None:
    (here / "file").write_bytes(b"")
    for name in ("gone", "file"):
        assert f"--spool {name} is not a folder" in tiny.refused("stylize", "photo.jpg", "--spool", name)


def test_pythons_spool_is_checked_at_the_start(here: Path) -> None:
    with pytest.raises(UserError, match="`spool` gone is not a folder"):
        texturenets.load("wave", "cpu", engine="torch", spool="gone")


def test_a_texture_called_like_a_style_and_the_other_way_round(here: Path) -> None:
    texture: Any = texturenets.load("bark", "cpu", engine="torch")
    style: Any = texturenets.load("wave", "cpu", engine="torch")
    with pytest.raises(
        UserError, match=r"^bark is a texture, which cannot stylize images: `sample\(\)` draws"
    ):
        texture("photo.jpg")
    with pytest.raises(UserError, match=r"^bark is a texture, which cannot stylize images"):
        texture.stylize(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(UserError, match=r"^wave is a style, which generates nothing .* call it on a photo"):
        style.sample(64, seed=3)


def test_an_unknown_layer_is_told_with_those_there_are(here: Path) -> None:
    words = ("train", "style", "photo.jpg", "--content", ".", "--style-layers", "vgg16:relu9_9")
    error = tiny.refused(*words)
    assert "unknown layer of vgg16 'relu9_9'" in error
    assert "did you mean 'relu5_3'?" in error
