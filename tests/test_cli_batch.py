"""`texturenets stylize` with several styles and with folders of all kinds of files: each is done or named."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image, PngImagePlugin

from texturenets import image, loading
from texturenets.cli import main, report
from texturenets.cli.batch import BatchRun, planned
from texturenets.cli.report import Report
from texturenets.cli.styles import ChosenStyle
from texturenets.image import contact_sheet, formats
from texturenets.modelfiles import modelfile
from texturenets.networks.residual import Residual
from texturenets.stylize import memory_limits
from texturenets.stylize import style as api
from texturenets.stylize.options import StylizeOptions

TINY = Residual(channels=8, blocks=0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and two shipped styles, `plain` and `wave`."""
    return tiny.working_folder(tmp_path, monkeypatch, {"wave": TINY, "plain": TINY})


def photo(name: str, size: tuple[int, int] = (24, 18), seed: int = 0) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def moving(name: str) -> Path:
    frames = [Image.new("RGB", (24, 18), (60 * i, 99, 200)) for i in range(4)]
    frames[0].save(name, save_all=True, append_images=frames[1:], duration=80)
    return Path(name)


def stylize(*words: str) -> int:
    return main(["stylize", *words, "--engine", "torch"])


def test_a_write_protected_result_is_one_of_the_batch(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [str(photo(f"{name}.png")) for name in "ab"]
    kept = photo("b-wave.png")
    tiny.write_protected(monkeypatch, kept)
    assert stylize(*photos, "-s", "wave") == 2
    assert "cannot write b-wave.png: it is write-protected" in capsys.readouterr().err
    assert Path("a-wave.png").exists()
    assert stylize(*photos, "-s", "wave", "--skip-existing") == 0


# ---- several styles ------------------------------------------------------------------------------------


def test_several_styles_and_a_sheet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("in/a.png")
    photo("in/b.png", (9, 40))
    assert stylize("in", "-s", "wave", "-s", "plain", "-o", "out", "--sheet") == 0
    told = capsys.readouterr()
    results = [f"out/{name}-{style}.png" for style in ("wave", "plain") for name in "ab"]
    assert told.out.splitlines() == [*results, "out/contact-sheet.jpg"]
    assert told.err == "4 done\n"
    with Image.open("out/contact-sheet.jpg") as sheet:
        assert sheet.width == 8 + 3 * (320 + 8)
    assert stylize("in/a.png", "-s", "plain", "-o", "alone.png") == 0
    assert (
        Path("alone.png").read_bytes()
        == Path("out/a-plain.png").read_bytes()
        != Path(results[0]).read_bytes()
    )


def test_the_sheet_is_white_where_photos_are_transparent(here: Path) -> None:
    Image.new("RGBA", (20, 10), (255, 0, 0, 0)).save("a.png")
    assert stylize("a.png", "-s", "plain", "--sheet", "--quiet") == 0
    with Image.open("contact-sheet.jpg") as sheet:
        pixels = np.asarray(sheet.crop((0, 40, sheet.width, 190)))  # below the names of columns
    assert pixels.min() > 250


def test_equal_names_on_the_sheet_are_told_apart(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("k.png", "x/k.png", "x/y/k.png", "x/b.png"):
        photo(name)
    Path("wave.safetensors").write_bytes(modelfile.shipped()["plain"].read_bytes())
    written, sheet = [], contact_sheet.sheet
    monkeypatch.setattr(
        contact_sheet,
        "sheet",
        lambda *given, **options: written.extend(given[1:]) or sheet(*given, **options),
    )
    styles = ["-s", "wave", "-s", "plain", "-s", "wave.safetensors"]
    assert stylize("k.png", "x", *styles, "-o", "out/", "--sheet", "--quiet") == 0
    assert written == [["photo", "wave", "plain", "wave-2"], ["k.png", "b.png", "x/k.png", "y/k.png"]]


def test_quiet_tells_of_failures_as_its_help_says(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("in/a.png")
    assert stylize("in", "-o", "out", "--quiet") == 0
    assert capsys.readouterr().err == ""
    Path("in/b.png").write_bytes(b"broken")
    assert stylize("in", "-o", "out", "--quiet") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "texturenets: 1 done, 1 failed: in/b.png"
    assert main(["stylize", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "print a summary only if files have failed" in told


def test_all_stands_for_the_shipped_styles(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.png")
    own = Path("own.safetensors")
    own.write_bytes(modelfile.shipped()["wave"].read_bytes())
    assert stylize("a.png", "-s", "all", "-s", "own.safetensors", "-s", "wave", "--quiet") == 0
    assert capsys.readouterr().out.split() == ["a-plain.png", "a-wave.png", "a-own.png"]


def test_one_style_is_in_memory_at_a_time(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo("a.png")
    load, loaded = loading.load_style, []

    def one(path: Path, **how: Any) -> api.Style:
        assert not [style for style in loaded if style() is not None]
        style = load(path, **how)
        loaded.append(weakref.ref(style))
        return style

    monkeypatch.setattr(loading, "load_style", one)
    gc.collect()
    gc.disable()
    try:
        assert stylize("a.png", "-s", "all", "--quiet") == 0
    finally:
        gc.enable()
    assert len(loaded) == 2


def test_styles_of_one_name_become_files_of_two(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.png")
    Path("wave.safetensors").write_bytes(modelfile.shipped()["plain"].read_bytes())
    assert stylize("a.png", "-s", "wave", "-s", "wave.safetensors", "-o", "out/", "--quiet") == 0
    assert capsys.readouterr().out.split() == ["out/a-wave.png", "out/a-wave-2.png"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["a.png", "-s", "wave", "-s", "plain", "-o", "out.png"],
            "2 styles: give a folder, for example -o out/",
        ),
        (["a.png", "b.png", "-s", "all", "-o", "out.mp4"], "one video, and there are 2 styles"),
        (["a.png", "-s", "wave", "-s", "b.png"], "train style b.png"),
        (["a.png", "-s", "b.png"], "optimize --style b.png --content a.png"),
        (["a.png", "-s", "net.pth"], "texturenets convert net.pth"),
        (["a.png", "-s", "wave,plain"], "in each style: -s wave -s plain"),
        (["a.png", "-s", "gone.jpg"], "--style gone.jpg: no such file"),
        (["a.png", "-s", "./"], "is a folder"),
        (["a.png", "-s", "mine"], "for the file here say mine.safetensors"),
        (["--webcam", "-s", "all"], "one style at a time"),
        (["contact-sheet.jpg", "a.png", "--sheet"], "would overwrite contact-sheet.jpg"),
        (["--webcam", "-o", "x.mp4", "--count", "2"], "leave out --output, --count"),
        (["--webcam", "--rate", "24", "--cluster"], "leave out --rate, --cluster"),
        (
            ["--webcam", "--quality", "9", "--skip-existing", "--workers", "0"],
            "--quality, --skip-existing, --workers",
        ),
    ],
)
def test_mistakes(here: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png", "contact-sheet.jpg"):
        photo(name)
    Path("net.pth").touch()
    Path("mine.safetensors").touch()
    before = sorted(here.iterdir())
    assert stylize(*words) == 2
    output = capsys.readouterr()
    assert told in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert sorted(here.iterdir()) == before


@pytest.mark.filterwarnings("default")
def test_what_has_no_part_in_it_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.png")
    Path("broken.png").write_bytes(b"x")
    Path("wave.safetensors").write_bytes(modelfile.shipped()["plain"].read_bytes())
    assert stylize("a.png", "broken.png", "-s", "wave", "-s", "plain", "-o", "out/", "--seed", "3") == 2
    said = capsys.readouterr().err
    assert "wave is the shipped model; for the file here say -s wave.safetensors" in said
    assert said.count("note: plain takes no noise: --seed and --noise-level change nothing\n") == 1
    assert said.count("broken.png") == 2  # its reason and the summary, however many the styles
    assert said.endswith("2 done, 1 failed: broken.png\n")


@pytest.mark.filterwarnings("default")
def test_pillows_warnings_are_not_shown(here: Path) -> None:
    """They name no file."""
    Image.new("RGB", (24, 18)).save("a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01")
    with pytest.warns(UserWarning, match="EXIF"):
        image.read("a.jpg")
    assert tiny.call("stylize", "a.jpg", "--quiet", "--engine", "torch") == (0, "a-plain.jpg\n", "")


# ---- folders of all kinds of files ---------------------------------------------------------------------


def test_videos_and_moving_pictures_in_a_folder_are_stylized(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tinyvideo = pytest.importorskip("tinyvideo")
    photo("in/a.png")
    tinyvideo.video(here / "in/b.mp4", tinyvideo.frames(3))
    moving("in/c.gif")
    Path("in/x").mkdir()
    moving("in/x/d.webp")
    moving("in/e.png")
    Path("in/f.mov").write_bytes(b"broken")
    assert stylize("in", "-o", "out", "--strength", "0", "--quiet") == 2
    told = capsys.readouterr()
    names = ["b-plain.mp4", "c-plain.gif", "e-plain.png", "x/d-plain.webp", "a-plain.png"]
    assert told.out.splitlines() == [f"out/{name}" for name in names]
    assert told.err.splitlines()[-1] == "texturenets: 5 done, 1 failed: in/f.mov"
    for name in names[1:4]:
        with Image.open(f"out/{name}") as picture:
            assert picture.n_frames == 4
    assert stylize("in", "-o", "out", "--skip-existing", "--strength", "0") == 2
    assert capsys.readouterr().err.endswith("0 done, 5 skipped, made before, 1 failed: in/f.mov\n")


def test_a_file_more_costs_what_the_others_do(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`stylize *.png`, which the shell makes thousands of names of."""
    names = [str(photo(f"{i}.png")) for i in range(60)]
    is_dir, hashed = Path.is_dir, Path.__hash__
    looked = 0

    def counted(function: Any) -> Any:
        def call(path: Path) -> Any:
            nonlocal looked
            looked += 1
            return function(path)

        return call

    monkeypatch.setattr(Path, "is_dir", counted(is_dir))
    monkeypatch.setattr(Path, "__hash__", counted(hashed))
    styles = [ChosenStyle(next(iter(modelfile.shipped().values())))]
    planned(names, "out", styles, StylizeOptions(), BatchRun())
    assert looked < 30 * len(names)


def test_a_video_and_a_photo_of_one_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x").mkdir()
    moving("x/a.webp")
    photo("y/a.webp")
    assert stylize("x", "y", "-o", "out", "--quiet") == 0
    assert sorted(capsys.readouterr().out.split()) == ["out/x/a-plain.webp", "out/y/a-plain.webp"]


def test_folders_with_photos_of_one_name_are_kept_apart(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("x/k.png")
    photo("y/sub/k.png")
    photo("y/k.png")
    assert stylize("x", "y", "-o", "out", "--quiet") == 0
    names = ["out/x/k-plain.png", "out/y/k-plain.png", "out/y/sub/k-plain.png"]
    assert capsys.readouterr().out.split() == names
    assert stylize("y", "-o", "out", "--skip-existing") == 0  # out/x/k-plain.png is of another photo
    told = capsys.readouterr()
    assert told.out.split() == ["out/k-plain.png", "out/sub/k-plain.png"]
    assert "kept" not in told.err
    photo("2023/raw/k.png")
    photo("2024/raw/k.png")
    assert stylize("2023/raw", "2024/raw", "-o", "out", "--quiet") == 0
    assert capsys.readouterr().out.split() == ["out/2023/raw/k-plain.png", "out/2024/raw/k-plain.png"]
    assert stylize("x", "y", "--quiet") == 0  # here the results would lie in the folders of the photos
    assert capsys.readouterr().out.split() == ["k-plain.png", "k-plain-2.png", "sub/k-plain.png"]


def test_existing_results_of_photos_of_one_name_are_told_apart_by_nobody(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("in/x.png")
    assert stylize("in", "-o", "out", "--quiet") == 0
    before = Path("out/x-plain.png").read_bytes()
    photo("in/x.gif")
    capsys.readouterr()
    assert stylize("in", "-o", "out", "--skip-existing") == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        "texturenets: --skip-existing goes by the names of results, and those of in/x.png and in/x.gif would both be "
        "x-plain.png: rename one of them, or leave --skip-existing out\n"
    )
    assert Path("out/x-plain.png").read_bytes() == before
    assert stylize("in", "-o", "out", "--quiet") == 0
    assert capsys.readouterr().out.split() == ["out/x-plain-2.png", "out/x-plain.png"]
    assert Path("out/x-plain.png").read_bytes() == before
    Path("plain.safetensors").write_bytes(modelfile.shipped()["wave"].read_bytes())
    styles = ["-s", "plain", "-s", "plain.safetensors"]
    assert stylize("in/x.png", *styles, "-o", "out", "--skip-existing") == 2
    assert "those of in/x.png in two styles called plain would both be x-plain.png" in capsys.readouterr().err


def test_what_cannot_be_read_here_is_named(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {suffix: name for suffix, name in formats.decodable_formats().items() if name != "HEIF"}
    monkeypatch.setattr(formats, "decodable_formats", lambda: known)  # as without the plug-in
    photo("in/a.png")
    Path("in/b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    os.mkfifo("in/c.jpg")
    Path("in/d.png").symlink_to("gone.png")
    assert stylize("in", "-o", "out") == 2
    told = capsys.readouterr()
    assert told.out == "out/a-plain.png\n"
    heic, pipe, link, summary = told.err.splitlines()
    assert "HEIC needs pillow-heif (pip install" in heic
    assert "c.jpg is not a regular file" in pipe
    assert "no such file: in/d.png" in link
    assert summary == "texturenets: 1 done, 3 failed: in/b.heic, in/c.jpg, in/d.png"


def test_heic_is_read_and_written(here: Path) -> None:
    pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    image.write("in/a.heic", image.read(photo("b.png")))
    assert stylize("in", "-o", "out", "--quiet") == 0
    assert image.read("out/a-plain.heic").size == (18, 24)


def test_a_video_among_frames_is_left_out_aloud(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tinyvideo = pytest.importorskip("tinyvideo")
    for i in range(3):
        photo(f"in/{i}.png")
    tinyvideo.video(here / "in/old.mp4", tinyvideo.frames(2))
    for _ in range(2):  # the video itself is not among them the second time
        assert stylize("in", "-o", "in/new.mp4", "--quiet") == 0
        told = capsys.readouterr()
        assert told.out == "in/new.mp4\n"
        assert told.err == "texturenets: in/old.mp4 is left out: a video is made of images\n"


# ---- what is said ---------------------------------------------------------------------------------------


def test_what_is_lost_of_a_photo_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.full((18, 24), 30000, np.uint16)).save("deep.png")
    photo("flat.png")
    assert stylize("deep.png", "flat.png", "-o", "out/") == 0
    assert capsys.readouterr().err.splitlines() == ["2 done"]  # a PNG holds them
    assert stylize("deep.png", "-o", "deep.jpg") == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("texturenets: note: deep.png holds 16 bits per channel")
    assert stylize("flat.png") == 0
    assert capsys.readouterr().err == ""
    assert stylize("deep.png", "-o", "deep.jpg", "--quiet") == 0
    assert capsys.readouterr().err == ""
    pages = [Image.new("RGB", (24, 18), (i, 0, 0)) for i in range(2)]
    for name in ("a.tif", "b.tif"):
        pages[0].save(name, save_all=True, append_images=pages[1:])
    assert stylize("a.tif", "b.tif", "-s", "all", "-o", "out/") == 0
    note, end = capsys.readouterr().err.splitlines()
    assert note.startswith(
        "texturenets: note: a.tif and 1 more hold several images, of which the first is taken ("
    )
    assert end == "4 done"
    pytest.importorskip("pyvips", reason="pyvips is not installed")
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    assert stylize("deep.png") == 0
    assert "note" not in capsys.readouterr().err
    assert stylize("deep.png", "-o", "strips.jpg") == 0
    assert "deep.png holds 16 bits per channel" in capsys.readouterr().err


def see_through(name: str, alpha: int = 128) -> Path:
    Image.new("RGBA", (24, 18), (200, 100, 50, alpha)).save(name)
    return Path(name)


@pytest.mark.parametrize(
    ("result", "lost"),
    [
        ("a.bmp", ["EXIF, which .bmp does not keep", "the texts Author, Comment, which .bmp does not keep"]),
        ("a.jpg", ["the text Author, which .jpg does not keep"]),
        ("a.webp", ["the texts Author, Comment, which .webp does not keep"]),
        ("a.png", []),
    ],
)
def test_lost_metadata_are_said(
    here: Path, capsys: pytest.CaptureFixture[str], result: str, lost: list[str]
) -> None:
    exif, texts = Image.Exif(), PngImagePlugin.PngInfo()
    exif[271] = "a camera"
    for key in ("Comment", "Author"):
        texts.add_text(key, "somebody")
    Image.new("RGB", (24, 18)).save("a.png", exif=exif, pnginfo=texts)
    assert stylize("a.png", "-o", f"out/{result}") == 0
    assert capsys.readouterr().err.splitlines() == [f"texturenets: note: a.png holds {what}" for what in lost]


def test_lost_transparency_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    see_through("a.png"), see_through("opaque.png", 255)
    note = "texturenets: note: a.png holds transparent pixels, which .jpg does not keep: they are laid on white\n"
    assert stylize("a.png", "-o", "a.jpg") == 0
    assert capsys.readouterr().err == note
    for words in (["a.png", "-o", "b.png"], ["opaque.png", "-o", "c.jpg"]):
        assert stylize(*words) == 0
        assert capsys.readouterr().err == ""
    pytest.importorskip("pyvips", reason="pyvips is not installed")
    monkeypatch.setattr(memory_limits, "too_large", lambda *_: True)
    assert stylize("a.png", "-o", "a.jpg") == 0
    assert note in capsys.readouterr().err


def test_transparency_that_a_video_loses_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av")
    frames = [Image.new("RGBA", (24, 18), (60 * i, 99, 200, 128)) for i in range(4)]
    frames[0].save("a.webp", save_all=True, append_images=frames[1:], duration=80, lossless=True)
    for suffix, told in ((".mp4", 1), (".gif", 0)):
        assert stylize("a.webp", "-o", f"b{suffix}") == 0
        assert (
            capsys.readouterr().err.count("the frames hold transparent pixels, which .mp4 does not keep")
            == told
        )


def test_ctrl_c_says_what_is_done(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(6):
        photo(f"in/{i}.png")
    original, count = api.Style._run_network, 0

    def interrupted(*words: object, **more: object) -> object:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return original(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(api.Style, "_run_network", interrupted)
    assert stylize("in", "-o", "out") == 130
    told = capsys.readouterr()
    done = len(told.out.split())
    assert 2 <= done <= 3  # the last may not have been written yet
    assert told.out.split() == [f"out/{i}-plain.png" for i in range(done)]
    assert (
        told.err
        == f"texturenets: interrupted: {done} of 6 done; the same command with --skip-existing continues\n"
    )
    assert sorted(p.name for p in Path("out").iterdir()) == [f"{i}-plain.png" for i in range(done)]
    assert stylize("in", "-o", "out", "--skip-existing") == 0
    assert capsys.readouterr().err == f"{6 - done} done, {done} skipped, made before\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_names_behind_a_bar_are_printed_in_the_end(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    told = Report(3, quiet=False)
    with pytest.raises(KeyboardInterrupt, match=r"2 of 3 done"), told.interruptible(), told.bar(3, "wave"):  # noqa: PT012
        told.result("a")
        told.result("b", skipped=True)
        early = capsys.readouterr().out
        raise KeyboardInterrupt
    # To a program, which the bar does not disturb, at once.
    assert (early, capsys.readouterr().out) == (("", "a\nb\n") if terminal else ("a\nb\n", ""))


def test_long_work_off_a_terminal_says_something_every_half_minute(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 7.0
        return now

    monkeypatch.setattr(report.time, "monotonic", clock)
    style = loading.load("wave", engine="torch")
    from texturenets.cli.tiled import follow

    follow(style, quiet=False, bar=True)
    for i in range(12):
        style.tiled.progress(i / 12)
    told = capsys.readouterr().err.splitlines()
    assert told == [f"texturenets: wave: {share} of the image" for share in ("33%", "75%")]
    style = loading.load("wave", engine="torch")
    follow(style, quiet=True, bar=True)
    for i in range(12):
        style.tiled.progress(i / 12)
    assert capsys.readouterr().err == ""


def test_a_video_is_ended_by_sigterm(here: Path) -> None:
    tinyvideo = pytest.importorskip("tinyvideo")
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(40))
    program = (
        "import sys, time\nfrom texturenets.stylize import style as api\npaint = api.Style.__call__\n"
        "def slowly(*words, **more):\n    print('frame', flush=True)\n"
        "    time.sleep(0.1)\n    return original(*words, **more)\n"
        "api.Style.__call__ = slowly\nfrom texturenets.cli import main\nsys.exit(main())"
    )
    model = modelfile.shipped()["wave"]
    words = ["stylize", "clip.mp4", "-s", str(model), "--engine", "torch", "-o", "out/clip.mp4"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "frame\n"
    assert len(list(Path("out").iterdir())) == 1  # aside
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (143, "texturenets: terminated\n")
    assert list(Path("out").iterdir()) == []


def test_what_killed_runs_left_of_numbered_frames_goes(here: Path) -> None:
    tinyvideo = pytest.importorskip("tinyvideo")
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(3))
    Path("out").mkdir()
    Path("out/.2.png.abcdefgh.part").touch()
    assert stylize("clip.mp4", "-o", "out/%d.png", "--strength", "0", "--quiet") == 0
    assert sorted(p.name for p in Path("out").iterdir()) == ["1.png", "2.png", "3.png"]


# ---- nothing silently -----------------------------------------------------------------------------------


def test_pictures_without_a_suffix_are_stylized_in_their_own_format(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("in/a.jpg").rename("in/IMG_1")
    Image.new("RGBA", (24, 18), (9, 99, 200, 80)).save("scan.png")
    Path("scan.png").rename("in/scan")
    Path("in/README").write_text("BM, the notes of mine")
    Path("in/notes.txt").write_text("text")
    assert stylize("in", "-o", "out", "--quiet") == 0
    assert sorted(p.name for p in Path("out").iterdir()) == ["IMG_1-plain.jpg", "scan-plain.png"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["anim.gif", "anim.webp", "anim.png"])
def test_a_moving_picture_that_becomes_a_still_one_is_told(
    here: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    moving(name)
    assert stylize(name, "-o", "still.jpg") == 0
    note = f"texturenets: note: {name} holds several images, of which the first is taken (.gif, .webp and"
    assert capsys.readouterr().err.startswith(note)


def test_what_is_kept_is_told_of_one_photo_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.png")
    photo("a-plain.png")
    assert stylize("a.png", "--size", "9", "--skip-existing") == 0
    assert capsys.readouterr().err == "0 done, 1 skipped, made before\n"
    assert stylize("a.png", "--size", "9", "--skip-existing", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_a_sheet_says_that_videos_are_not_on_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("in/a.png")
    moving("in/b.gif")
    moving("in/c.gif")
    assert stylize("in", "-o", "out", "--sheet") == 0
    told = capsys.readouterr()
    assert "out/contact-sheet.jpg" in told.out
    assert "texturenets: --sheet shows photos: 2 videos are not on it\n" in told.err
    assert stylize("in/b.gif", "in/c.gif", "-o", "videos/", "--sheet") == 2
    told = capsys.readouterr()
    assert told.err == "texturenets: --sheet shows photos, and there are only videos: leave it out\n"
    assert told.out == ""
    assert not Path("videos").exists()


def test_a_quality_that_changes_nothing_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("in/a.png")
    photo("in/b.jpg")
    moving("in/c.gif")
    assert stylize("in", "-o", "out", "--quality", "60", "--quiet") == 0
    told = "texturenets: note: --quality 60 changes nothing in files that end in .gif, .png\n"
    assert capsys.readouterr().err == told
    assert stylize("in/b.jpg", "--quality", "60", "--quiet") == 0
    assert capsys.readouterr().err == ""
