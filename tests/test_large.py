"""Large files strip by strip, and `stylize` on photos that do not fit."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGINT, default_int_handler, signal
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from texturenets import image, loading
from texturenets.cli import main
from texturenets.errors import UserError
from texturenets.image import streams
from texturenets.memory import budget
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual
from texturenets.stylize import memory_limits
from texturenets.tiled import large_files

pytest.importorskip("pyvips", exc_type=ImportError)

TINY = Residual(channels=8, blocks=1)


def pixels(height: int = 90, width: int = 70, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A smooth image."""
    rng = np.random.default_rng(seed)
    small = [Image.fromarray(rng.integers(0, 256, (6, 5), np.uint8)) for _ in range(channels)]
    return np.stack([np.asarray(s.resize((width, height), Image.Resampling.BICUBIC)) for s in small], 2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file."""
    path = tmp_path / "tiny.safetensors"
    network_files.save(build(TINY), Header(name="tiny", kind="style", generator=TINY), path)
    return path


def whole_photo(photo: large_files.LargePhoto) -> torch.Tensor:
    return torch.from_numpy(photo.rgb.read((0, photo.size[0])))


# ---- Reading -----------------------------------------------------------------------------------------


def test_read_like_the_whole_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_files, "_STRIP", 3000)  # some ten rows at a time
    gps = Image.Exif()
    gps[274] = 6
    Image.fromarray(pixels()).save(tmp_path / "turned.jpg", exif=gps, quality=95)
    Image.fromarray(pixels(channels=4)).save(tmp_path / "clear.png")
    Image.fromarray(pixels()[:, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels()).save(tmp_path / "photo.tif", compression="tiff_adobe_deflate")
    for turn in (3, 6, 7):
        lying = Image.Exif()
        lying[274] = turn
        Image.fromarray(pixels()).save(
            tmp_path / f"turned{turn}.tif", exif=lying, compression="raw", dpi=(300, 150)
        )
    for name, longer in (("turned.jpg", None), ("turned.jpg", 40), ("photo.tif", 200), ("grey.png", None),
                         ("clear.png", None), ("clear.png", 45), ("turned3.tif", None), ("turned6.tif", None),
                         ("turned6.tif", 40), ("turned7.tif", None)):  # fmt: skip
        photo = large_files.LargePhoto(tmp_path / name, longer=longer)
        photo.decode(tmp_path)
        wanted = image.read(tmp_path / name, longer=longer)
        assert photo.size == wanted.size
        assert photo.header.dpi == wanted.dpi
        # Lanczos there, Lanczos or bicubic here: a 255th or two where there is something to see
        seen = 1 if wanted.alpha is None else wanted.alpha
        difference = ((whole_photo(photo) - wanted.rgb) * seen).abs()
        assert difference.mean() < (0.002 if longer is None else 0.01), name
        assert (photo.alpha is None) == (wanted.alpha is None)
        if photo.alpha is not None and wanted.alpha is not None and longer is None:
            alpha = torch.from_numpy(photo.alpha.read((10, 20)))
            torch.testing.assert_close(alpha, wanted.alpha[:, :, 10:20])
        photo.close()


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    import pyvips

    values = (np.arange(60 * 50 * 3).reshape(60, 50, 3) * 7).astype(np.uint16)
    pyvips.Image.new_from_array(values, interpretation="rgb16").write_to_file(str(tmp_path / "deep.tif"))
    photo = large_files.LargePhoto(tmp_path / "deep.tif")
    photo.decode(tmp_path)
    np.testing.assert_allclose(whole_photo(photo)[0].permute(1, 2, 0), values / 65535, atol=1e-6)


def test_rows_are_read_while_others_are_decoded(tmp_path: Path) -> None:
    growing = large_files._GrowingImage(tmp_path, 1, (4, 2), "uint8")
    values = np.arange(8, dtype=np.uint8).reshape(4, 2, 1)
    growing.write((0, 2), values[:2])
    np.testing.assert_array_equal(growing.read((0, 2)), values[:2])
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(growing.read, (1, 4))
        with pytest.raises(TimeoutError):
            rest.result(0.05)
        growing.write((2, 4), values[2:])
        np.testing.assert_array_equal(rest.result(5), values[1:])
    growing.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there it would end this process")
def test_an_interruption_does_not_wait_for_the_photo(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_files, "_STRIP", 1)  # a row at a time
    write, began = large_files._GrowingImage.write, time.monotonic()
    before = signal(SIGINT, default_int_handler)  # a shell has background jobs ignore it

    def slow(growing: large_files._GrowingImage, rows: tuple[int, int], values: NDArray[Any]) -> None:
        if rows[0] == 2:
            os.kill(os.getpid(), SIGINT)
        time.sleep(0.1)
        write(growing, rows, values)

    monkeypatch.setattr(large_files._GrowingImage, "write", slow)
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    Image.fromarray(pixels(400, 60)).save(tmp_path / "photo.png")
    words = ["stylize", str(tmp_path / "photo.png"), "-s", str(model), "--engine", "torch", "--quiet"]
    try:
        assert main([*words, "-o", str(tmp_path / "out.png")]) == 130
    finally:
        signal(SIGINT, before)
    assert time.monotonic() - began < 20  # of 40 seconds
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.png", "tiny.safetensors"]
    assert not [one for one in threading.enumerate() if one.name.startswith("texturenets-")]


def test_a_photo_may_be_closed_while_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_files, "_STRIP", 1)  # a row at a time
    Image.fromarray(pixels(400, 300)).save(tmp_path / "photo.png")
    photo = large_files.LargePhoto(tmp_path / "photo.png")
    photo.decode(tmp_path)
    photo.close()
    assert photo._thread is not None
    assert not photo._thread.is_alive()


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_sixteen_bits_come_back(
    suffix: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep = (np.arange(90 * 70 * 3).reshape(1, 90, 70, 3) * 3 % 65521).astype(np.float32) / 65535
    photo = tmp_path / "photo.png"
    image.write(photo, image.Picture(deep.transpose(0, 3, 1, 2), bits=16))
    small, large = tmp_path / f"small.{suffix}", tmp_path / f"large.{suffix}"
    words = ["stylize", str(photo), "-s", str(model), "--engine", "torch", "--precision", "float32", "-o"]
    assert main([*words, str(small)]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "note" in line]
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    assert main([*words, str(large)]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "note" in line] == told
    wanted, found = image.read(small), image.read(large)
    assert found.bits == wanted.bits == (8 if suffix == "jpg" else 16)
    if suffix != "jpg":
        np.testing.assert_allclose(found.rgb, wanted.rgb, atol=0.002)  # maps in strips are kept in float16
        assert len(np.unique(found.rgb)) > 1000


def test_damage_is_told(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels(400, 300)).save(buffer, "JPEG", quality=95)
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[:5000])
    photo = large_files.LargePhoto(tmp_path / "cut.jpg")
    photo.decode(tmp_path)
    with pytest.raises(UserError, match=r"cut.jpg is damaged or cut short"):
        photo.rgb.read((0, photo.size[0]))
    photo.close()
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"text.jpg is not an image"):
        large_files.LargePhoto(tmp_path / "text.jpg")
    with pytest.raises(UserError, match="no such file"):
        large_files.LargePhoto(tmp_path / "gone.jpg")


# ---- Writing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
@pytest.mark.parametrize("channels", [3, 4])
def test_written_like_it_was_given(suffix: str, channels: int, tmp_path: Path) -> None:
    if (suffix, channels) == ("jpg", 4):
        pytest.skip("no opacity in JPEG")
    values = pixels(200, 31, channels)
    exif = Image.Exif()
    exif[271] = "a camera"
    path = tmp_path / f"out.{suffix}"
    with large_files.writing(
        path, (200, 31), alpha=channels == 4, metadata=large_files.Metadata(exif.tobytes())
    ) as writer:
        for top in range(0, 200, 48):
            writer.write(values[top : top + 48])
        assert not path.exists()
    with Image.open(path) as made:
        assert made.info.get("icc_profile") == (None if suffix == "png" else image.srgb_profile())
        assert suffix != "png" or made.info["srgb"] == 0
        assert made.getexif()[271] == "a camera"
        difference = np.abs(np.asarray(made).astype(int) - values)
    assert difference.max() <= (6 if suffix == "jpg" else 0)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_resolution_and_texts_are_those_of_small_images(
    suffix: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "by hand")
    texts.add_itxt("Title", "a dóor ☂")
    down = (
        300 if suffix == "jpg" else 150
    )  # of a JPEG with EXIF, which libvips writes, Pillow reads one number
    Image.fromarray(pixels()).save(tmp_path / "photo.png", dpi=(300, down), pnginfo=texts)
    words = ["stylize", str(tmp_path / "photo.png"), "-s", str(model), "--engine", "torch", "--quiet"]
    assert main([*words, "-o", str(tmp_path / f"small.{suffix}")]) == 0
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    assert main([*words, "-o", str(tmp_path / f"large.{suffix}")]) == 0
    small, large = image.read(tmp_path / f"small.{suffix}"), image.read(tmp_path / f"large.{suffix}")
    assert small.dpi == pytest.approx((300, down), abs=0.1)
    assert large.dpi == pytest.approx(small.dpi, abs=0.1)
    assert large.texts == ({"Comment": "by hand", "Title": "a dóor ☂"} if suffix == "png" else {})
    assert small.texts == large.texts or suffix == "jpg"  # libvips writes no comments of JPEGs


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_nothing_is_said_that_the_photo_does_not_say(suffix: str, tmp_path: Path) -> None:
    with large_files.writing(tmp_path / f"a.{suffix}", (20, 31)) as writer:
        writer.write(pixels(20, 31))
    with Image.open(tmp_path / f"a.{suffix}") as made:
        assert "exif" not in made.info
        assert "dpi" not in made.info


def test_inks_without_a_profile_are_those_of_memory(tmp_path: Path) -> None:
    inks = np.random.default_rng(0).integers(0, 256, (24, 40, 4), np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.tif")
    photo = large_files.LargePhoto(tmp_path / "a.tif")
    photo.decode(tmp_path)
    difference = np.abs(whole_photo(photo).numpy() - image.read(tmp_path / "a.tif").rgb.numpy())
    assert difference.max() < 1.01 / 255


def test_what_libvips_does_not_know_is_not_called_damaged(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.ppm")
    photo = large_files.LargePhoto(tmp_path / "a.ppm")
    (tmp_path / "a.ppm").write_bytes(b"something that libvips does not know")
    with pytest.raises(large_files.NotInStripsError, match=r"a\.ppm cannot be read strip by strip"):
        photo.decode(tmp_path)


def test_bigtiff_from_four_gigabytes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    for big in (streams.MAX_TIFF, 100):
        monkeypatch.setattr(streams, "MAX_TIFF", big)
        with large_files.writing(tmp_path / "out.tif", (20, 31)) as writer:
            writer.write(pixels(20, 31))
        starts.append((tmp_path / "out.tif").read_bytes()[:4])
    assert starts == [b"II*\0", b"II+\0"]  # version 42, and 43 of BigTIFF
    photo = large_files.LargePhoto(tmp_path / "out.tif")
    photo.decode(tmp_path)
    assert (whole_photo(photo)[0].permute(1, 2, 0) * 255).round().byte().numpy().tolist() == pixels(
        20, 31
    ).tolist()


def test_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / ".out.png.killed.part").write_text("of an earlier run")
    with pytest.raises(KeyboardInterrupt), large_files.writing(tmp_path / "out.png", (100, 31)) as writer:  # noqa: PT012
        writer.write(pixels(48, 31))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    for name in ("out.png", "out.tif", "out.jpg"):
        with (
            pytest.raises(UserError, match=rf"cannot write .*{name}: 48 of 100 rows"),
            large_files.writing(tmp_path / name, (100, 31)) as writer,
        ):
            writer.write(pixels(48, 31))  # and no more
    assert not list(tmp_path.iterdir())
    assert threading.active_count() < 10


def test_what_cannot_hold_it_is_refused_before_the_work() -> None:
    with pytest.raises(UserError, match=r"WEBP is not written strip by strip; use .jpg, .png or .tif"):
        large_files.output_format(Path("a.webp"), (10, 10))
    with pytest.raises(UserError, match="JPEG holds at most 65500 pixels per side, not 70000"):
        large_files.output_format(Path("a.jpg"), (10, 70000))


# ---- Through the command line ------------------------------------------------------------------------


def made(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(np.int64)


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("photo.png", []),
        ("photo.png", ["--stroke", "2"]),
        ("photo.png", ["--stroke", "0.5", "--preserve-color", "--strength", "0.7"]),
        ("clear.png", []),
        ("turned.jpg", ["--strength", "0"]),
    ],
)
def test_in_strips_the_same_comes_out(
    name: str, flags: list[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = Image.Exif()
    turned[274] = 8
    shape = {"photo.png": (150, 130, 3), "clear.png": (90, 70, 4), "turned.jpg": (64, 90, 3)}[name]
    Image.fromarray(pixels(*shape)).save(tmp_path / name, exif=turned if name == "turned.jpg" else None)
    (tmp_path / ".whole.png.killed.part").write_text("of an earlier run")
    words = ["stylize", str(tmp_path / name), "-s", str(model), "--engine", "torch", "--quiet", *flags]
    assert main([*words, "-o", str(tmp_path / "whole.png")]) == 0
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    assert main([*words, "-o", str(tmp_path / "strips.png")]) == 0
    difference = np.abs(made(tmp_path / "strips.png") - made(tmp_path / "whole.png"))
    assert difference.max() <= (3 if "--stroke" in flags or name == "turned.jpg" else 1)
    assert not list(tmp_path.glob(".*"))


def test_in_strips_waves_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their whole cycles are those of the whole photo, not of a strip."""
    spec = Multiscale(channels=(6, 4, 4), noise_depth=2, photo=True, padding="reflect", waves=(0.05, 0.02))
    network_files.save(
        build(spec), Header(name="a", kind="style", generator=spec), tmp_path / "a.safetensors"
    )
    Image.fromarray(pixels(150, 130)).save(tmp_path / "photo.png")
    words = ["stylize", str(tmp_path / "photo.png"), "-s", str(tmp_path / "a.safetensors")]
    words += ["--engine", "torch", "--quiet", "--seed", "3"]
    assert main([*words, "-o", str(tmp_path / "whole.png")]) == 0
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    assert main([*words, "-o", str(tmp_path / "strips.png")]) == 0
    assert np.abs(made(tmp_path / "strips.png") - made(tmp_path / "whole.png")).max() <= 1


@pytest.mark.parametrize(
    "case",
    [
        ("png", []),
        ("tif", ["the texts Author, Comment, which .tif does not keep"]),
        (
            "jpg",
            ["the text Author, which .jpg does not keep", "a comment, which is not kept in strips in .jpg"],
        ),
    ],
)
def test_metadata_that_is_lost_in_strips_is_told(
    case: tuple[str, list[str]],
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suffix, lost = case
    texts = PngImagePlugin.PngInfo()
    for key, text in (("Comment", "by hand"), ("Author", "山田")):
        texts.add_itxt(key, text)
    exif = Image.Exif()
    exif[271] = "a camera"
    photo, out = tmp_path / "photo.png", tmp_path / f"out.{suffix}"
    Image.fromarray(pixels(90, 70)).save(photo, pnginfo=texts, exif=exif)
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    assert main(["stylize", str(photo), "-s", str(model), "--engine", "torch", "-o", str(out)]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "note: " in line]
    assert notes == [f"texturenets: note: {photo} holds {what}" for what in lost]


def test_little_memory_is_enough(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(pixels(1280, 1024)).save(tmp_path / "photo.png")
    monkeypatch.setattr(budget, "_has_run", False)  # as in a process that has stylized nothing yet
    most = budget.resident() + budget.RESERVE + 120 * 2**20
    words = ["stylize", str(tmp_path / "photo.png"), "-s", str(model), "--engine", "torch"]
    assert main([*words, "-o", str(tmp_path / "out.png"), "--memory", f"{most // 2**20}M"]) == 0
    error = capsys.readouterr().err
    assert re.search(
        r"1024 x 1280 pixels in 6 passes, within \d+ MB for the network and \d+ MB of disk in", error
    )
    whole = loading.load(model, "cpu", engine="torch")(Image.open(tmp_path / "photo.png"))
    assert np.abs(made(tmp_path / "out.png") - np.asarray(whole).astype(int)).max() <= 1


def test_impossible_memory_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(pixels()).save(tmp_path / "photo.png")
    words = ["stylize", str(tmp_path / "photo.png"), "-s", str(model), "-o", str(tmp_path / "out.png")]
    words += ["--engine", "torch"]
    for flags, text in (
        (["--memory", "lots"], "--memory 'lots' is not an amount of memory: give it as 2G or 900M"),
        (["--memory", "1M"], "not enough memory even for small strips"),
        (["--spool", str(tmp_path / "none"), "--memory", "1M"], "none is not a folder"),
        (["--stroke", "big"], "--stroke 'big' is neither a number nor auto"),
        (["--stroke", "40"], "stroke 40 leaves 2 x 2 pixels of 70 x 90"),
    ):
        assert main([*words, *flags]) == 2
        error = capsys.readouterr().err.splitlines()
        assert text in error[-1]
        assert not (tmp_path / "out.png").exists()


def test_the_memory_that_is_named_suffices(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(pixels()).resize((900, 700)).save(tmp_path / "photo.png")
    words = ["stylize", str(tmp_path / "photo.png"), "-s", str(model), "--engine", "torch"]

    def told(*more: str) -> str:
        assert main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert "within 0 MB" not in error  # what is announced has to be true
        found = re.search(r"--memory (\d+[MG])", error.splitlines()[-1])
        assert found is not None
        return found[1]

    out = str(tmp_path / "out.png")
    enough = told("-o", out, "--memory", "1M")
    told("-o", out, "--memory", f"{int(0.86 * budget.parse(enough))}")  # which is not much more than suffices
    assert main([*words, "-o", out, "--memory", enough]) == 0
    out = str(tmp_path / "out.webp")
    enough = told("-o", out, "--memory", "1M")
    assert main([*words, "-o", out, "--memory", enough]) == 0
    monkeypatch.setitem(sys.modules, "pyvips", None)
    again = told("-o", str(tmp_path / "out.png"), "--memory", "1M")
    assert budget.parse(again) == pytest.approx(budget.parse(enough), rel=0.3)  # the process has grown


def test_without_libvips_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pyvips":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install .*\[large\]'"):
        large_files.vips()
