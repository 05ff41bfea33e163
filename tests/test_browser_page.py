"""The service's page in headless Chromium, each tab from drop to download; nothing leaves the machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra `web` is not installed")

import numpy as np
import uvicorn
from browsing import visit
from PIL import Image
from tiny import Studio
from webservice import model, photo, trainer

from texturenets import api, image
from texturenets.web import app
from texturenets.web.server import Server
from texturenets.web.settings import Limits, Settings
from texturenets.web.trainings import Trainings
from texturenets.web.ui import store


class Served:
    """A service with tiny models in a thread of this process."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        made, _ = app.create(Settings(models=folder, device="cpu", engine="torch", **settings))
        self.server = Server(uvicorn.Config(made, port=0, log_level="error", ws="none"))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        ends = time.monotonic() + 60
        while not self.server.started:
            assert time.monotonic() < ends
            time.sleep(0.02)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"

    def files(self) -> list[Path]:
        """What visitors have uploaded, and what was made of it."""
        return [path for path in (store.folder() / "files").rglob("*") if path.is_file()]

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    model(made, "aaa_tiny")
    model(made, "aab_grain", "texture")
    return made


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    made = Served(folder, limits=Limits(bytes=200_000, pixels=10**6))
    yield made
    made.close()


def test_stylize(served: Served, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(photo(90, 70))
    with visit(served.address, viewport={"width": 390, "height": 844}) as page:
        page.set_input_files("#photo input[type=file]", tmp_path / "mine.png")
        page.locator("#photo img").wait_for()
        page.get_by_label("The photo's own").check()
        page.locator("#styles .thumbnail-item", has_text="Aaa tiny").click()
        page.locator("#compared img").first.wait_for()
        with page.expect_download() as download:
            page.locator("#save-painting").click()
        download.value.save_as(tmp_path / "made.png")
        assert download.value.suggested_filename == "mine-aaa_tiny.png"
        assert "90 × 70" in page.locator("#said-painting").inner_text()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390  # nothing reaches over the edge of a phone
        left = [path for path in served.files() if path.suffix == ".png"]
        assert left
    style = api.load_style(folder / "aaa_tiny.safetensors", "cpu", engine="torch")
    right = image.read(tmp_path / "mine.png")
    right.pixels = style.stylize(right.pixels)
    assert (tmp_path / "made.png").read_bytes() == image.to_bytes(Path("a.png"), right)
    ends = time.monotonic() + 60  # the browser has gone: its files go
    while left := [path for path in left if path.exists()]:
        assert time.monotonic() < ends, left
        time.sleep(0.1)


def test_texture(served: Served, folder: Path, tmp_path: Path) -> None:
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        page.get_by_role("tab", name="Texture").click()
        page.locator("#textures .thumbnail-item", has_text="Aab grain").click()
        page.locator("#said-sample").get_by_text("Aab grain, 512").wait_for()
        page.locator("#side").get_by_label("256").check()
        page.locator("#nine").get_by_role("checkbox").check()
        page.locator("#draw").click()
        page.locator("#said-sample").get_by_text("Aab grain, 256").wait_for()
        # Three tiles a side of 256 pixels are shown; the file is one.
        assert page.locator("#sample img").evaluate("(i) => i.decode().then(() => i.naturalWidth)") == 768
        with page.expect_download() as download:
            page.locator("#save-sample").click()
        download.value.save_as(tmp_path / "one.png")
        page.locator("#share input[type=number]").fill("1")
        page.locator("#draw").click()
        page.locator("#said-sample").get_by_text("100% of the way to 1").wait_for()
        with page.expect_download() as download:
            page.locator("#save-sample").click()
        download.value.save_as(tmp_path / "other.png")
    texture = api.load_texture(folder / "aab_grain.safetensors", "cpu", engine="torch")
    for name, seed in (("one", 0), ("other", 1)):
        right = np.asarray(texture.sample(256, seed=seed, tileable=True))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")), right)


def test_train(
    served: Served, folder: Path, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Trainings(folder, studio.photos, trainer(studio, tmp_path))
    monkeypatch.setattr(app, "_trainings", lambda _: trained)
    learning = Served(folder, photos=studio.photos)
    try:
        with visit(learning.address, viewport={"width": 1200, "height": 900}) as page:
            page.get_by_role("tab", name="Train").click()
            page.set_input_files("#exemplar input[type=file]", studio.painting)
            page.locator("#exemplar img").wait_for()
            page.locator("#name input, #name textarea").first.fill("learned")
            page.locator("#steps input").fill("3")
            page.locator("#train").click()
            row = page.locator("#trainings tr", has_text="learned")
            row.wait_for()
            page.reload()  # it lives apart from the page
            page.get_by_role("tab", name="Train").click()
            row.get_by_text("done").wait_for(timeout=600_000)  # torch is imported anew
            page.locator("#grown img").wait_for()
            page.locator("#curves canvas, #curves svg").first.wait_for()
            page.get_by_role("tab", name="Stylize").click()
            page.set_input_files("#photo input[type=file]", studio.painting)
            page.locator("#photo img").wait_for()
            page.locator("#styles .thumbnail-item", has_text="Learned").click()
            page.locator("#compared img").first.wait_for()
            with page.expect_download() as download:
                page.locator("#save-painting").click()
            assert download.value.suggested_filename == "painting-learned.png"
    finally:
        learning.close()
