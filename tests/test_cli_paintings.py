"""`texturenets stylize -s painting.jpg`: learned into a model of several styles, once, and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import galleries
import numpy as np
import pytest
import tiny
from PIL import Image
from test_light import AT_START

from texturenets.cli import paintings
from texturenets.image import read_header
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Condition
from texturenets.networks import network_files
from texturenets.networks.residual import Residual
from texturenets.train import into
from texturenets.train.trainer import Trainer

FLAGS = {**tiny.BASE, "batch_size": 1, "steps": 9, "light": 4, "large": 2}
SHORT = ("--minutes", "0.0001")  # a step


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    """With `gallery.safetensors`, a model of the styles sea and night."""
    made = tiny.Studio(tmp_path_factory.mktemp("paintings"))
    named = [tiny.picture(made.root / f"{name}.png", seed=200, grain=24) for name in ("sea", "night")]
    flags = {
        **FLAGS,
        "weights": made.weights,
        "content": made.photos,
        "output": made.root / "gallery.safetensors",
    }
    status, _, error = tiny.call("train", "gallery", *map(str, named), *tiny.words(flags), "--quiet")
    assert status == 0, error
    return made


@pytest.fixture
def here(tmp_path: Path, studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with photos, paintings and the gallery; one style, `plain`, is shipped, and nothing cached."""
    work = tiny.working_folder(tmp_path, monkeypatch, {"plain": Residual(channels=8, blocks=0)})
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TEXTURENETS_WEIGHTS", str(studio.weights))
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "1")
    shutil.copy(studio.root / "gallery.safetensors", work)
    tiny.picture(work / "photo.png", seed=1)
    tiny.picture(work / "late.png", seed=300, size=(80, 64), grain=24)
    return work


def stylize(*words: str) -> tuple[int, str, str]:
    return tiny.call("stylize", *words, "--engine", "torch", "--device", "cpu")


INTO = ("--into", "gallery.safetensors", *SHORT)


def kept(here: Path) -> list[Path]:
    """All files in the cache of learned paintings."""
    return sorted(path for path in (here.parent / "cache" / "paintings").rglob("*") if path.is_file())


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever trains has come too far."""

    def make(*_: object, **__: object) -> None:
        raise AssertionError("a training was begun")

    monkeypatch.setattr(Trainer, "__init__", make)


def test_a_painting_is_learned_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, error = stylize("photo.png", "-s", "late.png", *INTO)
    assert (status, out) == (0, "photo-late.png\n"), error
    assert "learning late.png into gallery for 0.0001 minutes, once: it is kept" in error
    assert Image.open("photo-late.png").size == Image.open("photo.png").size
    base, style = sorted(kept(here), key=lambda path: path.name != "gallery.safetensors")
    assert base.read_bytes() == Path("gallery.safetensors").read_bytes()
    assert style.stat().st_size < base.stat().st_size / 2
    header = modelfile.read_header(style)
    assert header.rows == (Condition("painting"),)  # a minute is short
    assert header.training["run"]["style_layers"] == ["squeezenet1_0:conv1", "squeezenet1_0:fire2"]
    first = np.asarray(Image.open("photo-late.png"))
    monkeypatch.setattr(Trainer, "__init__", None)
    shutil.move("late.png", "other.png")  # its bytes count, not its name
    status, out, error = stylize(
        "photo.png", "-s", "other.png", *INTO, "--mask", "left-to-right", "-o", "b.png"
    )
    assert (status, out) == (0, "b.png\n"), error
    assert "learning" not in error
    assert stylize("photo.png", "-s", "other.png", *INTO, "--quiet") == (0, "photo-other.png\n", "")
    assert np.array_equal(np.asarray(Image.open("photo-other.png")), first)
    assert not np.array_equal(np.asarray(Image.open("b.png")), first)


def test_what_is_learned_needs_no_pytorch_the_next_time(here: Path) -> None:
    assert stylize("photo.png", "-s", "late.png", *INTO)[0] == 0
    (here / "start").mkdir()
    (here / "start" / "sitecustomize.py").write_text(AT_START)
    found = os.pathsep.join([str(here / "start"), str(Path(__file__).parents[1] / "src")])

    def run(style: str) -> subprocess.CompletedProcess[str]:
        words = ["stylize", "photo.png", "-s", style, *INTO, "--engine", "onnx", "-o", "again.png"]
        command = [sys.executable, "-m", "texturenets", *words]
        env = {**os.environ, "PYTHONPATH": found}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    done = run("late.png")
    assert (done.returncode, done.stdout) == (0, "again.png\n"), done.stderr
    done = run("photo.png")  # which is not learned
    assert done.returncode == 2
    assert "to learn photo.png needs PyTorch: pip install" in done.stderr


def test_another_time_or_painting_is_learned_anew(here: Path) -> None:
    assert stylize("photo.png", "-s", "late.png", *INTO)[0] == 0
    assert stylize("photo.png", "-s", "late.png", *INTO[:2], "--minutes", "0.0002")[0] == 0
    assert stylize("photo.png", "-s", "photo.png", "-s", "plain", *INTO, "-o", "out")[0] == 0
    assert {path.name for path in Path("out").iterdir()} == {"photo-photo.png", "photo-plain.png"}
    assert len(kept(here)) == 4


def test_a_shipped_gallery_is_found_by_its_name(here: Path) -> None:
    shutil.move("gallery.safetensors", modelfile.ZOO / "gallery.safetensors")
    status, _, error = stylize("photo.png", "-s", "late.png", *SHORT)
    assert status == 0, error
    assert len(kept(here)) == 1  # the gallery itself is where it was


def test_nothing_is_learned_for_results_that_exist(here: Path, untrained: None) -> None:
    shutil.copy("photo.png", "photo-late.png")
    assert stylize("photo.png", "-s", "late.png", *INTO, "--skip-existing", "--quiet")[0] == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "-s late.png",
            [
                "late.png is an image, not a trained style yet",
                "--into MODEL",
                "`texturenets train gallery`",
                "`texturenets train style late.png --content FOLDER-OF-PHOTOS`",
                "`texturenets optimize --style late.png --content photo.png`",
            ],
        ),
        ("-s late.png --into plain", ["--into plain: a model of one style"]),
        ("-s late.png --into gone.safetensors", ["no such model file: gone.safetensors"]),
        ("-s late.png --into gallery.safetensors --minutes 0", ["--minutes 0 is not a number above 0"]),
        ("-s late.png --into gallery.safetensors --minutes nan", ["--minutes nan is not a number above 0"]),
        ("-s late.png:sea --into gallery.safetensors", ["late.png is an image, which holds no styles"]),
        ("-s late.png --into gallery.safetensors --to-style sea", ["late.png is learned alone"]),
        ("-s late.png --into gallery.safetensors -o late.png", ["would overwrite late.png, which is read"]),
        ("-s late.png -s photo.png --into gallery.safetensors --keep late.png", ["a mask is for one result"]),
        ("-s plain --into gallery.safetensors", ["--into gallery.safetensors is for learning a painting"]),
        ("-s plain --minutes 2", ["--minutes 2", "is for learning a painting"]),
    ],
)
def test_bad_input_is_one_line(here: Path, untrained: None, line: str, told: list[str]) -> None:
    error = tiny.refused("stylize", "photo.png", *line.split())
    for part in told:
        assert part in error
    assert not kept(here)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "odd.jpg is empty"), (b"hello\n", "odd.jpg is not an image that can be read here")],
)
def test_a_style_that_is_no_image(here: Path, untrained: None, content: bytes, told: str) -> None:
    Path("odd.jpg").write_bytes(content)
    for more in ([], INTO):
        assert told in tiny.refused("stylize", "photo.png", "-s", "odd.jpg", *more)
    assert told in tiny.refused("sample", "odd.jpg")
    assert not kept(here)
    assert "no published network that is known" in tiny.refused("convert", "odd.jpg")


def test_a_photo_that_is_not_there_is_told_first(here: Path, untrained: None) -> None:
    assert "no such file" in tiny.refused("stylize", "gone.png", "-s", "late.png", *INTO)


def test_a_painting_of_one_color(here: Path) -> None:
    Image.new("RGB", (64, 64), "red").save("late.png")
    assert "late.png is of one color" in tiny.refused(
        "stylize", "photo.png", "-s", "late.png", *INTO, "--quiet"
    )
    assert [path.name for path in kept(here)] == ["gallery.safetensors"]


def test_without_weights_it_is_learned_with_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEXTURENETS_WEIGHTS")
    status, _, error = stylize("photo.png", "-s", "late.png", *INTO, "--quiet")
    assert status == 0, error
    assert "weights are missing, so own is used" in error
    assert len(kept(here)) == 2


@pytest.mark.parametrize("photos", [["photo.png"], ["photo.png", "late.png", "-o", "out"]])
def test_what_is_interrupted_leaves_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, photos: list[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_check_losses", interrupt)
    status, out, error = stylize(*photos, "-s", "late.png", *INTO, "--quiet")
    assert (status, out, error.count("\n")) == (130, "", 1)
    said = "late.png is not learned, and nothing is kept" if len(photos) == 1 else "0 of 2 done"
    assert f"interrupted: {said}" in error
    assert [path.name for path in kept(here)] == ["gallery.safetensors"]
    monkeypatch.undo()


def test_photos_to_learn_on(here: Path) -> None:
    """Those that are stylized, and three of the package; small, and without what cannot be read."""
    tiny.picture(here / "in" / "wide.png", seed=4, size=(900, 300))
    (here / "in" / "broken.png").write_bytes(b"no image")
    for i in range(40):
        tiny.picture(here / "many" / f"{i}.png", seed=i, size=(24, 18))
    names = ["in", "photo.png", "s3://bucket/photo.jpg"]
    found = sorted(paintings._content(here / "a", names, 64).iterdir())
    sizes = [info.size for path in found if (info := read_header(path))]
    assert len(found) == len(sizes) == 5
    assert (96, 288) in sizes
    assert (72, 90) in sizes  # of the photo, which is small
    assert max(min(size) for size in sizes) == 96
    assert len(list(paintings._content(here / "b", ["many"], 64).iterdir())) == paintings.MAX_PHOTOS + 3
    assert len(list(paintings._content(here / "c", [], 64).iterdir())) == 3


def test_a_model_cannot_name_code_to_be_run(here: Path) -> None:
    """The header of a file from elsewhere says which losses are used, and not which network is built."""
    _, file = galleries.gallery(here)
    network, header = network_files.load(file)
    run = {"generator": "evil.py:Network", "set": ["a=b"], "style_size": 48, "steps": 1, "new": 1}
    made = modelfile.Header(
        name="tiny",
        kind="style",
        generator=header.generator,
        conditions=header.conditions,
        training={"run": run},
    )
    network_files.save(network, made, file)
    config = into.configuration(file, 2.0)
    assert (config.generator, config.set, config.style_size, config.minutes) == ("residual", (), 48, 2.0)
