"""`texturenets stylize` and `demo`, and what the command line says of mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import galleries
import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from texturenets import engines, image, loading
from texturenets.cli import main
from texturenets.cli.common import download_progress, photo_progress
from texturenets.cli.outputs import plan_of
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import GeneratorSpec, build, network_files
from texturenets.networks.encoder_decoder import SkipNoise
from texturenets.networks.graph import GraphSpec as Graph
from texturenets.networks.johnson import Johnson
from texturenets.networks.residual import Residual
from texturenets.stylize import style

TINY = Residual(channels=8, blocks=1)
GPS = {1: "N", 2: (51.0, 30.0, 0.0)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and two shipped styles, `plain` and `wave`."""
    return tiny.working_folder(tmp_path, monkeypatch, {"wave": TINY, "plain": TINY})


def photo(path: str, size: tuple[int, int] = (24, 18), **options: Any) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(target, **options)
    return target


def plan(photos: list[Path], output: str | None, *styles: str, **options: Any) -> list[tuple[Path, Path]]:
    return [job for of_style in plan_of(photos, output, styles, **options) for job in of_style]


def open_size(path: str | Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def one_line(text: str) -> str:
    assert text.startswith("texturenets: "), text
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


def test_a_photo_beside_where_one_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("album/cat.jpg", (31, 22))
    assert main(["stylize", "album/cat.jpg", "--engine", "torch"]) == 0
    output = capsys.readouterr()
    assert output.out == "cat-plain.jpg\n"  # the first shipped style, in the current folder
    assert output.err == ""
    assert open_size("cat-plain.jpg") == (31, 22)


def test_the_result_is_the_styles(here: Path) -> None:
    source = photo("cat.png")
    assert main(["stylize", "cat.png", "-s", "wave", "-o", "out.png"]) == 0
    with Image.open(source) as before, Image.open("out.png") as after:
        expected = np.asarray(loading.load("wave")(before.convert("RGB")))
        assert np.array_equal(np.asarray(after), expected)
        assert not np.array_equal(np.asarray(before), expected)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "tiff", "bmp"])
def test_the_format_follows_the_name(here: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    photo("cat.png")
    assert main(["stylize", "cat.png", "-o", f"new/out.{suffix}"]) == 0
    assert capsys.readouterr().out == f"new/out.{suffix}\n"
    expected = {"jpg": "JPEG", "jpeg": "JPEG"}.get(suffix, suffix.upper())
    with Image.open(f"new/out.{suffix}") as picture:
        assert picture.format == expected


def test_flags_change_the_result(here: Path) -> None:
    photo("cat.png", (40, 20))

    def result(*flags: str, suffix: str = "png") -> tuple[tuple[int, int], bytes]:
        target = Path(f"out.{suffix}")
        assert main(["stylize", "cat.png", "-o", str(target), *flags]) == 0
        return open_size(target), target.read_bytes()

    size, data = result()
    assert size == (40, 20)
    assert result()[1] == data
    assert result("--size", "10")[0] == (10, 5)
    assert result("--size", "80")[0] == (80, 40)
    assert (
        len({data, result("--strength", "0.5")[1], result("--preserve-color")[1], result("-s", "wave")[1]})
        == 4
    )
    assert len(result("--quality", "20", suffix="jpg")[1]) < len(result(suffix="jpg")[1])
    result("--strength", "0")
    with Image.open("cat.png") as before, Image.open("out.png") as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))


def test_the_place_is_dropped_unless_asked_for(here: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "Anna"  # Artist
    exif[0x8825] = GPS
    photo("cat.jpg", exif=exif)
    for flags, kept in (([], False), (["--keep-gps"], True)):
        assert main(["stylize", "cat.jpg", "-o", "out.jpg", *flags]) == 0
        with Image.open("out.jpg") as picture:
            assert picture.getexif()[0x013B] == "Anna"
            assert bool(picture.getexif().get_ifd(0x8825)) is kept


def test_many_photos_and_one_model(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("album/a.jpg")
    photo("album/b.png", (9, 40))
    photo("c.webp")
    loads = []
    load = engines.load
    monkeypatch.setattr(
        engines, "load", lambda path, *more, **named: loads.append(path) or load(path, *more, **named)
    )
    assert main(["stylize", "album", "*.webp", "-o", "done", "-s", "wave", "--engine", "torch"]) == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == ["done/a-wave.jpg", "done/b-wave.png", "done/c-wave.webp"]
    assert output.err == "3 done\n"
    assert len(loads) == 1
    assert open_size("done/b-wave.png") == (9, 40)
    assert main(["stylize", "album", "-o", "quiet", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_bad_photo_does_not_stop_the_others(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.jpg")
    Path("b.jpg").write_bytes(b"not an image")
    photo("c.jpg")
    Path("d.jpg").write_bytes(Path("a.jpg").read_bytes()[:400])
    assert main(["stylize", "a.jpg", "b.jpg", "c.jpg", "d.jpg", "-o", "out/", "--engine", "torch"]) == 2
    output = capsys.readouterr()
    assert output.out.splitlines() == ["out/a-plain.jpg", "out/c-plain.jpg"]
    first, second, summary = output.err.splitlines()
    assert "b.jpg" in first
    assert "d.jpg" in second
    assert summary == "texturenets: 2 done, 2 failed: b.jpg, d.jpg"
    assert sorted(p.name for p in Path("out").iterdir()) == ["a-plain.jpg", "c-plain.jpg"]
    assert main(["stylize", "b.jpg", "--engine", "torch"]) == 2
    assert "b.jpg" in one_line(capsys.readouterr().err)


def test_skip_existing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("a.png")
    photo("b.png")
    Path("out").mkdir()
    Path("out/a-plain.png").write_bytes(b"mine")
    assert main(["stylize", "a.png", "b.png", "-o", "out", "--skip-existing", "--engine", "torch"]) == 0
    output = capsys.readouterr()
    assert Path("out/a-plain.png").read_bytes() == b"mine"
    assert output.out.splitlines() == ["out/a-plain.png", "out/b-plain.png"]
    assert output.err == "1 done, 1 skipped, made before\n"
    monkeypatch.setattr(loading, "load_style", lambda *_, **__: pytest.fail("loaded, with nothing to do"))
    assert main(["stylize", "a.png", "b.png", "-o", "out", "--skip-existing", "--engine", "torch"]) == 0


def test_photos_of_one_name_become_files_of_two(here: Path) -> None:
    photos = [photo("a/x.png"), photo("b/x.png"), photo("b/X.png"), photo("c/x-plain-2.png")]
    results = [result for _, result in plan(photos, "out/", "plain")]
    assert len({str(result).lower() for result in results}) == 4
    assert results[:2] == [Path("out/x-plain.png"), Path("out/x-plain-3.png")]  # b/X.png has 2


def test_names_of_results_do_not_depend_on_the_order_of_the_photos(here: Path) -> None:
    photos = [photo("x.png"), photo("a/x.png"), photo("b/x.png"), photo("a/y.gif"), photo("a/y.png")]
    expected = dict(zip(photos, ["x-s.png", "x-s-2.png", "x-s-3.png", "y-s-2.png", "y-s.png"], strict=True))
    for order in (photos, photos[::-1], photos[2:] + photos[:2]):
        assert {source: result.name for source, result in plan(order, "out/", "s")} == expected


def test_shortened_names_of_results_tell_photos_of_two_runs_apart(here: Path) -> None:
    one, other = (Path(f"{'x' * 250}{letter}.png") for letter in "ab")
    results = [plan([photo], "out/", "wave")[0][1] for photo in (one, other, one)]
    assert results[0] == results[2] != results[1]
    assert all(len(path.name.encode()) <= 234 and path.name.endswith("-wave.png") for path in results)


def test_a_number_never_takes_the_name_of_another_style(here: Path) -> None:
    photos = [photo("x.png"), photo("a/x.png")]
    results = [str(result) for _, result in plan(photos, "out", "s", "s-2")]
    assert results == ["out/x-s.png", "out/x-s-3.png", "out/x-s-2.png", "out/x-s-2-2.png"]
    assert results[::2] == [str(result) for _, result in plan(photos[:1], "out/", "s", "s-2")]


@pytest.mark.parametrize(
    ("name", "expected"), [("a.JPG", "a-s.JPG"), ("a.heic", "a-s"), ("a.gif", "a-s.png"), ("a", "a-s.jpg")]
)
def test_suffixes_of_results(here: Path, name: str, expected: str) -> None:
    Path(name).touch()
    result = plan([Path(name)], None, "s")[0][1]
    assert result.name in ((expected + ".heic", expected + ".jpg") if name == "a.heic" else (expected,))


def test_what_output_means(here: Path) -> None:
    one, two = photo("one.jpg"), photo("two.jpg")
    Path("v1.0").mkdir()
    Path("file.txt").touch()
    for output, folder in (("v1.0", "v1.0"), ("new.jpg/", "new.jpg"), ("new", "new")):
        assert plan([one], output, "s")[0][1] == Path(folder, "one-s.jpg")
    assert plan([one, two], "v2.0", "s")[1][1] == Path("v2.0/two-s.jpg")
    assert plan([one], "file.png", "s")[0][1] == Path("file.png")
    with pytest.raises(UserError, match=r"one file, and there are 2 photos.*-o out/"):
        plan([one, two], "out.jpg", "s")
    with pytest.raises(UserError, match="one file"):
        plan([one, two], "file.txt", "s")
    with pytest.raises(UserError, match=r"\.xyz"):
        plan([one], "out.xyz", "s")


def test_photos_are_never_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = photo("cat.jpg")
    Path("link.jpg").symlink_to(source)
    before = source.read_bytes()
    for output in ("cat.jpg", "link.jpg", "./cat.jpg"):
        assert main(["stylize", "cat.jpg", "-o", output]) == 2
        assert "overwrite the photo itself" in one_line(capsys.readouterr().err)
    assert source.read_bytes() == before
    photo("cat-plain.jpg")  # as an earlier run leaves it, and taken by the pattern now
    assert main(["stylize", "cat.jpg", "cat-plain.jpg"]) == 2
    assert "cat-plain.jpg, which is among the photos" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stylise", "a.jpg"], "stylize"),
        (["stylize"], "--help"),
        (["stylize", "a.jpg", "--stile", "wave"], "--style"),
        (["stylize", "a.jpg", "--size", "large"], "large"),
        (["stylize", "a.jpg", "--device", "gpu"], "cuda"),
        (["stylize", "a.jpg", "-s", "wav"], "did you mean 'wave'"),
        (["stylize", "a.jpg", "-s", "gone.safetensors"], "gone.safetensors"),
        (["stylize", "a.jpg", "-s", "a.jpg"], "optimize --style a.jpg --content a.jpg"),
        (["stylize", "b.jpg"], "b.jpg"),
        (["stylize", "*.png"], "*.png"),
        (["stylize", "empty"], "empty"),
        (["stylize", "a.jpg", "--size", "0"], "size 0"),
        (["stylize", "a.jpg", "--quality", "101"], "101"),
        (["stylize", "a.jpg", "--strength", "2"], "2.0"),
        (["stylize", "a.jpg", "-o", "a.doc"], ".doc"),
        (["models", "show", "wav"], "wave"),
        (["models", "shw"], "shw: unexpected argument"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    here: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    photo("a.jpg")
    Path("empty").mkdir()
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert words in one_line(output.err)
    assert output.out == ""
    assert sorted(p.name for p in here.iterdir()) == ["a.jpg", "empty"]


def test_a_disk_that_cannot_be_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("a.jpg")
    Path("file").touch()
    assert main(["stylize", "a.jpg", "-o", "file/out.jpg", "--engine", "torch"]) == 2
    assert "file/out.jpg" in one_line(capsys.readouterr().err)


def test_too_little_memory(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(style.Style, "_run_network", fail)
    photo("a.jpg", (50, 20))
    assert main(["stylize", "a.jpg", "--engine", "torch"]) == 2
    assert "as with --size 25" in one_line(capsys.readouterr().err)


def test_interrupted(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_style", interrupt)
    photo("a.jpg")
    assert main(["stylize", "a.jpg"]) == 130
    assert one_line(capsys.readouterr().err) == "texturenets: interrupted\n"


def test_without_a_word_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    commands = [words[0] for line in shown.splitlines() if len(words := line.split()) > 2]
    assert commands.index("stylize") < commands.index("optimize") < commands.index("sample")


def test_help_needs_no_torch() -> None:
    program = (
        "import sys; from texturenets.cli import main\n"
        "for words in (['--help'], ['stylize', '--help'], ['--version'], ['train', 'style', '--help']): main(words)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("stylize", "train", "models", "cache", "demo", "--preserve-color", "texturenets 0."):
        assert word in done.stdout


def test_the_bar_is_for_terminals_and_many_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    assert photo_progress(3, quiet=False).disable
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this for a terminal
    assert not photo_progress(3, quiet=False).disable
    assert photo_progress(3, quiet=True).disable
    assert photo_progress(1, quiet=False).disable


def test_demo(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("a/cat.png", (90, 60))
    photo("b/cat.png", (40, 60))
    assert main(["demo", "--photo", "a/cat.png", "--photo", "b/*.png", "-o", "shown", "--size", "45"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "shown/contact-sheet.jpg"
    singles = {p.name for p in Path("shown").iterdir()} - {"contact-sheet.jpg"}
    assert singles == {f"{n}{s}.jpg" for n in ("cat", "cat-2") for s in ("", "-plain", "-wave")}
    assert open_size("shown/cat-wave.jpg") == (45, 30)
    width, height = open_size("shown/contact-sheet.jpg")
    assert width > 3 * 320
    assert height > 213 + 320


def test_a_photo_called_as_a_result_of_another_has_another_name(here: Path) -> None:
    photo("cat.png", (40, 30))
    photo("cat-wave.png", (30, 40))
    assert main(["demo", "--photo", "cat.png", "--photo", "cat-wave.png", "-o", "shown", "--quiet"]) == 0
    singles = {p.name for p in Path("shown").iterdir()} - {"contact-sheet.jpg"}
    assert singles == {f"{n}{s}.jpg" for n in ("cat", "cat-wave-2") for s in ("", "-plain", "-wave")}


def test_a_name_that_begins_with_a_tilde(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("~cat.png", (40, 30))
    assert main(["stylize", "~cat.png", "-s", "wave", "-o", "~painted.png"]) == 0
    assert open_size("~painted.png") == (40, 30)
    assert main(["stylize", "http://[photo/cat.png", "-s", "wave"]) == 2
    assert "http://[photo/cat.png is not a URL: " in capsys.readouterr().err


def test_styles_of_a_shipped_model_of_several_have_their_names(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    galleries.gallery(modelfile.ZOO)[1].rename(modelfile.ZOO / "gallery.safetensors")
    photo("cat.png", (40, 60))
    assert main(["demo", "--photo", "cat.png", "-o", "shown", "--quiet"]) == 0
    assert {p.name for p in Path("shown").glob("cat-*")} == {
        f"cat-{name}.jpg" for name in ("plain", "udnie", "wave")
    }
    words = ["stylize", "cat.png", "--engine", "torch", "--quiet"]
    assert main([*words, "-s", "all", "-o", "all/"]) == 0
    assert {p.name for p in Path("all").iterdir()} == {
        f"cat-{name}.png" for name in ("plain", "udnie", "wave")
    }
    assert main([*words, "-s", "udnie"]) == 0
    assert Path("cat-udnie.png").read_bytes() == Path("all/cat-udnie.png").read_bytes()
    assert main([*words, "-s", "udni"]) == 2
    assert "did you mean 'udnie'?" in capsys.readouterr().err


def test_the_demo_replaces_no_photo(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("cat.jpg", (40, 60))
    photo("cat-wave.jpg", (40, 60))
    before = [Path(name).read_bytes() for name in ("cat.jpg", "cat-wave.jpg")]
    assert main(["demo", "--photo", "cat.jpg", "-o", "."]) == 2
    assert "--output cat.jpg would overwrite cat.jpg, which is read" in capsys.readouterr().err
    assert main(["demo", "--photo", "cat.jpg", "cat-wave.jpg", "-o", "."]) == 2
    assert [Path(name).read_bytes() for name in ("cat.jpg", "cat-wave.jpg")] == before


def test_the_demo_lays_what_is_transparent_on_white(here: Path) -> None:
    Image.new("RGBA", (60, 30), (255, 0, 0, 0)).save("a.png")
    assert main(["demo", "--photo", "a.png", "--size", "40", "--quiet"]) == 0
    for name in ("a", "a-wave", "contact-sheet"):
        with Image.open(f"demo/{name}.jpg") as made:
            top = 40 if name == "contact-sheet" else 0  # below the names of columns
            assert np.asarray(made.crop((0, top, made.width, top + 20))).min() > 250, name


def test_the_demo_goes_on_past_a_bad_photo(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("in/a.png")
    Path("in/b.png").write_bytes(b"broken")
    assert main(["demo", "--photo", "in", "-o", "shown"]) == 2
    output = capsys.readouterr()
    assert "in/b.png" in one_line(output.err)
    assert output.out == "shown/contact-sheet.jpg\n"
    assert main(["demo", "--photo", "in/b.png"]) == 2
    assert "in/b.png" in one_line(capsys.readouterr().err)
    Path("in/c.png").write_bytes(Path("in/b.png").read_bytes())
    assert main(["demo", "--photo", "in/b.png", "--photo", "in/c.png"]) == 2
    assert capsys.readouterr().err.endswith("texturenets: no photo can be read\n")


def test_the_demos_own_photos(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--size", "64"]) == 0
    assert open_size("demo/coffee-wave.jpg") == (64, 43)
    assert {"cat-plain.jpg", "astronaut.jpg"} < {p.name for p in Path("demo").iterdir()}


def test_the_demo_without_styles(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelfile, "ZOO", here)
    assert main(["demo"]) == 2
    assert "texturenets train style" in one_line(capsys.readouterr().err)


def test_the_bar_of_a_download_comes_and_goes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    advance = download_progress()
    shown = ""
    for file in range(1, 3):  # one after the other
        advance(0, 4_000_000)
        advance(2_000_000, 4_000_000)
        shown += capsys.readouterr().err
        assert shown.count("\x1b[?25l") == file  # the cursor is hidden
        assert shown.count("\x1b[?25h") == file - 1
        advance(4_000_000, 4_000_000)
        shown += capsys.readouterr().err
        assert shown.count("\x1b[?25h") == file
        assert shown.count("4.0/4.0 MB") == file
    advance(5, 0)  # the size is unknown
    output = capsys.readouterr()
    assert output.out + output.err == ""


def test_a_folder_with_its_folders(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("in/a.jpg", "in/x/a.jpg", "in/x/y/b.png", "in/.hidden/c.jpg", "in/out/old.jpg"):
        photo(path)
    assert main(["stylize", "in", "-o", "in/out", "--engine", "torch", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "in/out/a-plain.jpg",
        "in/out/x/a-plain.jpg",
        "in/out/x/y/b-plain.png",
    ]
    assert open_size("in/out/x/y/b-plain.png") == (24, 18)
    assert main(["stylize", "in", "-o", "in/out", "--engine", "torch", "--quiet", "--skip-existing"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3  # what was written is not taken for photos


def noisy(spec: GeneratorSpec) -> Path:
    path = Path("noisy.safetensors")
    network_files.save(build(spec), Header(name="noisy", kind="style", generator=spec), path)
    return path


NOISY = [
    Johnson(channels=2, blocks=0, noise_depth=1),
    SkipNoise(channels=(3,), skip_channels=1, photo=True, noise_depth=0),
    Graph(nodes=("photo", "noise channels=1 stride=1", "concat 0 1", "conv 2 out=3 kernel=1")),
]


@pytest.mark.parametrize("spec", NOISY, ids=lambda s: s.name)
def test_a_photo_of_several_results_is_read_once(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, spec: GeneratorSpec
) -> None:
    noisy(spec)
    photo("a.png")
    photo("b.png")
    reads = []
    read = image.read
    monkeypatch.setattr(image, "read", lambda path, **more: reads.append(path) or read(path, **more))
    words = ["a.png", "b.png", "-s", "noisy.safetensors", "--engine", "torch", "-o", "out/", "--count", "3"]
    assert main(["stylize", *words, "--seed", "4"]) == 0
    names = [f"out/{name}-noisy-{seed:04d}.png" for name in "ab" for seed in (4, 5, 6)]
    assert capsys.readouterr().out.splitlines() == names
    assert [path.name for path in reads] == ["a.png", "b.png"]
    assert main(["stylize", "a.png", *words[2:6], "-o", "one.png", "--seed", "6"]) == 0
    assert Path(names[2]).read_bytes() == Path("one.png").read_bytes()
    assert len({Path(name).read_bytes() for name in names[:3]}) == 3


def test_what_several_results_would_overwrite_is_told_by_their_own_names(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy(NOISY[0])
    before = photo("cat-0001.png").read_bytes()
    words = ["-s", "noisy.safetensors", "--engine", "torch", "--count", "2"]
    assert main(["stylize", "cat-0001.png", *words, "-o", "cat.png"]) == 2
    assert "would overwrite the photo itself" in one_line(capsys.readouterr().err)
    assert Path("cat-0001.png").read_bytes() == before
    assert not Path("cat-0000.png").exists()
    photo("cat.png")  # and what is not written is not in the way
    assert main(["stylize", "cat.png", *words, "-o", "cat.png", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == ["cat-0000.png", "cat-0001.png"]


def test_several_results_of_a_style_without_noise(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo("cat.png")
    assert main(["stylize", "cat.png", "--count", "2"]) == 2
    assert "takes no noise" in one_line(capsys.readouterr().err)
