"""The static page in headless Chromium, from a photo to the image; nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import LOST, UNPLUG, visit
from PIL import Image
from shown import needs_package, static

from texturenets import image, loading
from texturenets.modelfiles import modelfile

pytestmark = needs_package
pytest.importorskip("onnx", reason="models cannot be converted without onnx")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a shipped style."""
    with static([modelfile.find("wave")], tmp_path_factory.mktemp("page")) as address:
        yield address


def test_from_photo_to_picture(address: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    grain = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    grain.resize((123, 90), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    with visit(address, "/?backend=wasm", viewport={"width": 420, "height": 800}) as page:
        page.locator("#gallery label").first.wait_for()
        page.set_input_files("#file", tmp_path / "photo.png")
        page.locator("#save").wait_for(state="visible")
        with page.expect_download() as download:
            page.locator("#save").click()
        download.value.save_as(tmp_path / "made.png")
        page.locator("#split").fill("40")
        page.screenshot(path=tmp_path / "page.png")
        assert "WebAssembly" in page.locator("#said").inner_text()
        assert download.value.suggested_filename == "photo-wave.png"
    style = loading.load("wave", "cpu", engine="torch", precision="float32")
    right = style.stylize(image.read(tmp_path / "photo.png").pixels)
    made = image.read(tmp_path / "made.png").pixels
    assert np.abs(made - right).max() <= 2 / 255


def test_changes_repaint(address: str, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    grain = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    grain.resize((800, 600), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with visit(address, "/?backend=wasm", viewport={"width": 1000, "height": 800}) as page:
        page.locator("#gallery label").first.wait_for()
        said = page.locator("#said")
        page.set_input_files("#file", tmp_path / "photo.heic")
        said.get_by_text("does not read HEIC").wait_for()
        page.set_input_files("#file", tmp_path / "photo.png")
        page.locator("#photo").wait_for()
        said.get_by_text("A preview").wait_for()
        said.get_by_text("800 × 600").wait_for()
        page.locator("#size").select_option("256")
        said.get_by_text("256 × 192").wait_for()

        def middle() -> list[int]:
            made: list[int] = page.locator("#after").evaluate(
                "one => [...one.getContext('2d').getImageData(128, 96, 1, 1).data]"
            )
            return made

        before = middle()
        page.locator("#strength").fill("0.1")  # by itself, without the network
        page.wait_for_function(
            "before => document.querySelector('#after').getContext('2d').getImageData(128, 96, 1, 1).data"
            ".some((one, i) => one !== before[i])",
            arg=before,
        )
        page.locator("#save").wait_for(state="visible")


def test_the_camera_is_painted_live(address: str, tmp_path: Path) -> None:
    with visit(address, "/?backend=wasm", camera=True) as page:
        page.locator("#gallery label").first.wait_for()
        page.locator("#camera").click()
        page.locator("#said").get_by_text("images a second").wait_for()
        assert page.locator("#go").is_disabled()
        height, width = page.evaluate(
            "[document.getElementById('after').height, document.getElementById('after').width]"
        )
        assert (height / width, width >= 96) == (pytest.approx(3 / 4, abs=0.02), True)
        page.locator("#camera").click()
        page.locator("#save").wait_for(state="visible")
        page.locator("#busy").wait_for(state="hidden")
        assert page.locator("#cancel").is_hidden()
        page.locator("#strength").fill("0.5")
        page.locator("#busy").wait_for(state="hidden")
        assert not page.locator("#said.wrong").count()
        with page.expect_download() as download:
            page.locator("#save").click()
        assert download.value.suggested_filename == "camera-wave.png"
        sides = page.evaluate(
            "import('./live.js').then(({ fitting }) => [[200, 95], [192, 200], [192, 20], [640, 1], [96, 999]]"
            ".map(([side, milliseconds]) => fitting(side, milliseconds)))"
        )
    assert sides == [200, 128, 288, 640, 96]


def test_without_a_camera_the_page_says_so(address: str) -> None:
    with visit(address, "/?backend=wasm") as page:
        page.locator("#gallery label").first.wait_for()
        page.locator("#camera").click()
        page.locator("#said").get_by_text("The camera cannot be used: there is none").wait_for()
        assert page.locator("#camera").inner_text() == "Camera"
        page.evaluate(LOST, "NotAllowedError")
        page.locator("#camera").click()
        page.locator("#said").get_by_text("the browser does not let this page").wait_for()


def test_a_camera_that_is_unplugged_is_told_of(address: str) -> None:
    with visit(address, "/?backend=wasm", camera=True) as page:
        page.locator("#gallery label").first.wait_for()
        page.evaluate(LOST, "")
        page.locator("#camera").click()
        page.locator("#said").get_by_text("WebAssembly").wait_for()
        page.evaluate(UNPLUG)
        page.locator("#said.wrong").get_by_text("The camera has gone").wait_for()
        assert page.locator("#camera").inner_text() == "Camera"
