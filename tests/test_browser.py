"""The static page in headless Chromium, from a photo to the image; nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import LOST, UNPLUG, visit
from PIL import Image
from shown import needs_package, static
from webservice import models_folder, photo

from texturenets import image, loading
from texturenets.modelfiles import modelfile

pytestmark = needs_package


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models_folder(tmp_path_factory)


@pytest.fixture(scope="module")
def several(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page of a gallery and of a model of one style."""
    models = [folder / f"{name}.safetensors" for name in ("tiny", "plain")]
    with static(models, tmp_path_factory.mktemp("page")) as address:
        yield address


def downloaded(page: Any, path: Path) -> tuple[str, Any]:
    """What the page calls its image, and the image, once it has none to make."""
    page.wait_for_function(
        "() => document.querySelector('#busy').hidden && !document.querySelector('#save').hidden"
    )
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(path)
    return download.value.suggested_filename, image.read(path).pixels


def changed(page: Any, change: Any) -> None:
    """Do it, and wait for another image."""
    before = page.locator("#save").get_attribute("href")
    change()
    page.wait_for_function(
        "href => !document.querySelector('#save').hidden && document.querySelector('#save').href !== href",
        arg=before,
    )


def stroke(page: Any) -> None:
    """Paint over the middle of the photo, from left to right."""
    page.locator("#mask").scroll_into_view_if_needed()
    box = page.locator("#mask").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y)
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=8)
    page.mouse.up()


def mask_of(page: Any) -> np.ndarray:
    """What is painted, (H, W), 0 to 1."""
    made = page.evaluate(
        "() => { const one = document.querySelector('#mask');"
        " return [one.height, one.width, [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]]; }"
    )
    return (np.array(made[2], np.float32) / 255).reshape(made[0], made[1], 4)[..., 3]


def test_styles_of_a_gallery_are_mixed_and_painted(several: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(photo(240, 180))
    with visit(several, "/?backend=wasm", viewport={"width": 1000, "height": 900}) as page:
        page.locator("#gallery label").first.wait_for()
        assert page.locator("#gallery label").all_inner_texts() == ["Wave", "Udnie", "Plain"]
        page.set_input_files("#file", tmp_path / "mine.png")
        name, alone = downloaded(page, tmp_path / "alone.png")
        assert name == "mine-wave.png"
        page.locator("#mix-and-mask summary").click()
        assert not page.locator("#share").is_visible()
        changed(page, lambda: page.locator("#second").select_option("Udnie"))
        changed(page, lambda: page.locator("#share").fill("0.3"))
        name, mixed = downloaded(page, tmp_path / "mixed.png")
        assert name == "mine-wave+udnie.png"
        changed(page, lambda: stroke(page))
        _, kept = downloaded(page, tmp_path / "kept.png")
        changed(page, lambda: page.locator("#goal").select_option("second"))
        changed(page, lambda: page.locator("#share").fill("0.8"))
        _, placed = downloaded(page, tmp_path / "placed.png")
        mask = mask_of(page)
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        changed(page, lambda: page.locator("#clear").click())
        changed(page, lambda: page.locator("#second").select_option("None"))
        _, again = downloaded(page, tmp_path / "again.png")
    assert mask.shape == (180, 240)
    assert mask[90, 90:150].min() == 1
    assert 0.01 < mask.mean() < 0.4
    style = loading.load(folder / "tiny.safetensors", "cpu", engine="torch", precision="float32")
    photos = image.read(tmp_path / "mine.png").pixels
    for made, words in (
        (alone, {"mix": {"wave": 1}}),
        (mixed, {"mix": {"wave": 0.7, "udnie": 0.3}}),
        (placed, {"mix": {"wave": 1, "udnie": 1}, "masks": {"udnie": 0.8 * mask}}),
        (again, {"mix": {"wave": 1}}),
    ):
        assert np.abs(made - style.stylize(photos, **words)).max() <= 2 / 255, words
    assert np.abs(kept - (mask * photos + (1 - mask) * mixed)).max() <= 2 / 255
    assert np.abs(placed - mixed).mean() > 1 / 255


def test_a_mask_keeps_the_photo_of_a_model_of_one_style(several: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(photo(240, 180))
    with visit(several, "/?backend=wasm", viewport={"width": 390, "height": 800}) as page:
        page.locator("#gallery label").first.wait_for()
        page.locator("#gallery label").last.click()
        page.locator("#mix-and-mask summary").click()
        page.locator("#hint").get_by_text("choose a photo first").wait_for()
        assert not page.locator("#second").is_visible()
        page.set_input_files("#file", tmp_path / "mine.png")
        downloaded(page, tmp_path / "whole.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        changed(page, lambda: stroke(page))
        changed(page, lambda: page.locator("#strength").fill("0.5"))  # without the network
        _, made = downloaded(page, tmp_path / "made.png")
        mask = mask_of(page)
        page.locator("#erase").check()
        changed(page, lambda: stroke(page))
        _, erased = downloaded(page, tmp_path / "erased.png")
        left = mask_of(page)
        page.set_input_files("#file", tmp_path / "whole.png")  # another photo has no mask
        downloaded(page, tmp_path / "other.png")
        assert not mask_of(page).any()
    style = loading.load(folder / "plain.safetensors", "cpu", engine="torch", precision="float32")
    photos = image.read(tmp_path / "mine.png").pixels
    wanted = style.stylize(photos, strength=0.5, masks={"photo": mask})
    assert np.abs(made - wanted).max() <= 2 / 255
    assert left.mean() < 0.2 * mask.mean()  # soft edges go in part
    assert np.abs(erased - style.stylize(photos, strength=0.5, masks={"photo": left})).max() <= 2 / 255


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
