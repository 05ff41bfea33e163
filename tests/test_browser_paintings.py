"""A visitor's own painting on the service's page, in headless Chromium: from the tile to the photo in its style."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the extra `web` is not installed")
pytest.importorskip("fcntl", reason="locks as Unix has them")

import tiny
from browsing import visit
from shown import ServiceThread, slow_previews
from tiny import Studio
from webservice import models_folder, photo

from texturenets.server import app, training_routes
from texturenets.server.paintings import Paintings
from texturenets.server.trainings import Trainings

# In place of `texturenets train`: it says that it is half done until a file `go` is there, then gives a style.
TRAINER = """
import json, pathlib, shutil, sys, time
words, here = sys.argv[1:], pathlib.Path(__file__).parent
out = pathlib.Path(words[words.index("-o") + 1])
run = out.with_suffix(".run")
run.mkdir(parents=True, exist_ok=True)
(run / "records.jsonl").write_text(json.dumps({"step": 70, "seconds": 30.0, "losses": {"a": 1.0}}) + "\\n")
while not (here / "go").exists():
    time.sleep(0.1)
for name in ("tiny.safetensors", out.name):
    shutil.copy(here / ("made.safetensors" if name == out.name else name), out.with_name(name))
"""


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models of a service that trains as TRAINER does."""
    folder, studio = models_folder(tmp_path_factory), Studio(tmp_path)
    flags = {**tiny.BASE, "weights": studio.weights, "content": studio.photos, "steps": 2}
    made = ("train", "style", str(studio.painting), "--into", str(folder / "tiny.safetensors"))
    status, _, error = tiny.call(
        *made, *tiny.words({**flags, "output": tmp_path / "made.safetensors"}), "--quiet"
    )
    assert status == 0, error
    (tmp_path / "train.py").write_text(TRAINER)
    trainings = Trainings(folder, studio.photos, [sys.executable, str(tmp_path / "train.py")])
    monkeypatch.setattr(app, "_trainings", lambda _: trainings)
    monkeypatch.setattr(training_routes, "_check_weights", lambda *_: None)
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the service."""
    service = ServiceThread(folder, photos=folder)
    try:
        yield service.address
    finally:
        service.close()


@pytest.mark.parametrize("width", [pytest.param(1200, marks=pytest.mark.slow), 390])
def test_your_painting(folder: Path, tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_previews(monkeypatch)
    (tmp_path / "mine.png").write_bytes(photo(90, 70))
    with served(folder) as address, visit(address, viewport={"width": width, "height": 900}) as page:
        page.set_input_files("#photo input[type=file]", tmp_path / "mine.png")
        page.locator("#photo .thumbnail-item img").wait_for()
        page.get_by_label("The photo's own").check()
        assert not page.locator("#your-painting").is_visible()
        tile = page.locator("#styles .thumbnail-item", has_text="Your painting")
        tile.click()
        page.locator("#learn").click()
        page.locator("#said-learning").get_by_text("Choose a painting first.").wait_for()
        page.set_input_files("#painting input[type=file]", tmp_path / "painting.png")
        page.locator("#painting .thumbnail-item img").wait_for()
        page.locator("#learn").click()
        page.get_by_text("learning your painting, 30 seconds left").first.wait_for()
        page.locator("#cancel-learn").click()
        page.locator("#said-learning").get_by_text("It is learned further, and kept").wait_for()
        (tmp_path / "go").touch()
        page.locator("#learn").click()
        page.locator("#said-learning").get_by_text("Learned: photos are stylized").wait_for()
        page.locator("#said-painting").get_by_text("Painting, 90 × 70").wait_for()
        page.locator("#styles .thumbnail-item", has_text="Plain").click()
        page.locator("#said-painting").get_by_text("Plain, 90 × 70").wait_for()
        assert not page.locator("#your-painting").is_visible()
        tile.click()  # nothing is learned again
        page.locator("#said-painting").get_by_text("Painting, 90 × 70").wait_for()
        with page.expect_download() as download:
            page.locator("#save-painting").click()
        assert download.value.suggested_filename == "mine-painting.png"
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
    assert len(list((folder / "paintings").rglob("painting-*.safetensors"))) == 1


def test_without_a_model_of_several_styles_the_tile_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Paintings, "base", lambda _: None)
    with served(folder) as address, visit(address, viewport={"width": 1200, "height": 900}) as page:
        page.locator("#styles .thumbnail-item", has_text="Your painting").click()
        page.get_by_text("This takes a model of several styles, and there is none").wait_for()
