"""Mixtures and masks on the service's page in headless Chromium: chosen, painted, downloaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra `web` is not installed")

import numpy as np
from browsing import PATIENCE, visit
from PIL import Image
from shown import ServiceThread
from webservice import models_folder, photo

from texturenets import loading

DESKTOP: dict[str, Any] = {"viewport": {"width": 1200, "height": 900}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models_folder(tmp_path_factory, "aaa_tiny")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[ServiceThread]:
    made = ServiceThread(folder)
    yield made
    made.close()


def given(page: Any, path: Path, style: str) -> None:
    """A photo of 240 x 180 pixels at its own size, and a style, the last of that name: a gallery's comes last."""
    path.write_bytes(photo(240, 180))
    page.locator("#styles .thumbnail-item").first.wait_for()
    page.locator("#size").get_by_label("The photo's own").check()
    page.locator("#styles .thumbnail-item", has_text=style).last.click()
    page.set_input_files("#photo input[type=file]", path)
    page.locator("#said-painting").get_by_text(f"{style}, 240 × 180").wait_for()
    page.locator("#mix-and-mask button").first.click()
    page.locator("#mask canvas").first.wait_for()


def repainted(page: Any, change: Any) -> None:
    """Do it, and wait for another result."""
    before = page.locator("#compared img").last.evaluate("one => one.src")
    change()
    page.wait_for_function(
        "src => { const one = [...document.querySelectorAll('#compared img')].at(-1);"
        " return one && one.src !== src; }",
        arg=before,
    )


def second(page: Any, name: str) -> None:
    page.locator("#second input").click()
    page.get_by_role("option", name=name).click()


SHOWN = """() => {
    const button = [...document.querySelectorAll("#mask .top-panel > button")].at(-1);
    return Boolean(button) && document.querySelector("#mask canvas").width > 100;
}"""


def stroke(page: Any) -> None:
    """Paint over the middle of the photo, from left to right."""
    page.wait_for_function(SHOWN)
    canvas = page.locator("#mask canvas").first
    canvas.scroll_into_view_if_needed()
    box: dict[str, float] = {}
    while box != (now := canvas.bounding_box()):  # the editor fits the photo into its place
        box = now
        page.wait_for_timeout(500)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 40, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=2)  # the editor draws the line between; each step takes 0.2 s
    page.mouse.up()


def downloaded(page: Any, path: Path) -> tuple[str, np.ndarray]:
    """The name of the file that Download gives, and its pixels."""
    with page.expect_download() as download:
        page.locator("#save-painting").click()
    download.value.save_as(path)
    return download.value.suggested_filename, np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_second_style_is_mixed_in(served: ServiceThread, folder: Path, tmp_path: Path) -> None:
    with visit(served.address, **DESKTOP) as page:
        given(page, tmp_path / "mine.png", "Wave")
        assert not page.locator("#second-share").is_visible()
        repainted(page, lambda: second(page, "Udnie"))
        repainted(page, lambda: page.locator("#second-share input[type=number]").fill("0.3"))
        page.locator("#said-painting").get_by_text("Wave with 30% of Udnie").wait_for()
        name, made = downloaded(page, tmp_path / "made.png")
        assert name == "mine-wave+udnie.png"
        page.locator("#live-query [data-query*='udnie%3D0.3']").wait_for(state="attached")
        repainted(page, lambda: second(page, "None"))
        page.locator("#said-painting").get_by_text("Wave, 240").wait_for()
        assert not page.locator("#second-share").is_visible()
        page.locator("#styles .thumbnail-item", has_text="Aaa tiny").click()
        page.locator("#said-painting").get_by_text("Aaa tiny").wait_for()
        page.locator("#second").wait_for(state="hidden")  # a model of one style has no second
        assert page.locator("#mask").is_visible()
    style = loading.load(folder / "tiny.safetensors", "cpu", engine="torch")
    expected = style(Image.open(tmp_path / "mine.png"), mix={"wave": 0.7, "udnie": 0.3})
    assert np.abs(made - np.asarray(expected)).max() <= 1


def downloaded_once(page: Any, path: Path, expected: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The pixels that Download gives, as soon as they are as expected; the last ones if they never are.

    Several runs may be under way: one for the size, one for the style, one for the photo, one for the mask.
    """
    end = time.monotonic() + PATIENCE / 1000
    while not expected(pixels := downloaded(page, path)[1]) and time.monotonic() < end:
        page.wait_for_timeout(300)
    return pixels


BUTTONS = "#mask .top-panel > button"
UNDO, REDO = 3, 4


@pytest.mark.parametrize(
    ("width", "thorough"), [pytest.param(390, True, marks=pytest.mark.slow), (1200, False)]
)
def test_what_is_painted_over_stays(
    served: ServiceThread, folder: Path, tmp_path: Path, width: int, thorough: bool
) -> None:
    """Painted over and undone; thorough: done again, cleared, and painted over anew."""
    style = loading.load(folder / "aaa_tiny.safetensors", "cpu", engine="torch")
    with visit(served.address, viewport={"width": width, "height": 900}) as page:
        given(page, tmp_path / "mine.png", "Aaa tiny")
        before = np.asarray(Image.open(tmp_path / "mine.png")).astype(int)
        whole = np.asarray(style(Image.open(tmp_path / "mine.png"))).astype(int)

        def masked(pixels: np.ndarray) -> bool:
            return np.array_equal(pixels[90, 100:140], before[90, 100:140])

        def unmasked(pixels: np.ndarray) -> bool:
            return bool(np.abs(pixels - whole).max() <= 1)

        for narrow in (390, width):
            page.set_viewport_size({"width": narrow, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= narrow
        stroke(page)
        made = downloaded_once(page, tmp_path / "made.png", masked)
        assert masked(made)
        assert len([path for path in served.files() if path.name == "mask.png"]) == 1
        page.locator(BUTTONS).nth(UNDO).click()
        assert unmasked(downloaded_once(page, tmp_path / "undone.png", unmasked))
        if thorough:
            page.locator(BUTTONS).nth(REDO).click()
            assert np.array_equal(downloaded_once(page, tmp_path / "redone.png", masked), made)
            page.locator(BUTTONS).last.click()
            assert unmasked(downloaded_once(page, tmp_path / "cleared.png", unmasked))
            stroke(page)  # the photo is there still
            assert masked(downloaded_once(page, tmp_path / "anew.png", masked))
            assert len([path for path in served.files() if path.name == "mask.png"]) == 1
    kept = np.all(made == before, 2)
    assert not kept[:40].any() or kept[:40].mean() < 0.01
    assert np.abs(made - whole)[:40].max() <= 1


def test_a_mask_comes_from_a_file(served: ServiceThread, folder: Path, tmp_path: Path) -> None:
    values = np.zeros((90, 120), np.uint8)
    values[:, 60:] = 255
    Image.fromarray(values).save(tmp_path / "right.png")
    Image.fromarray(values[:, 30:]).save(tmp_path / "square.png")

    def upload(name: str) -> None:
        with page.expect_file_chooser() as chooser:
            page.locator("#mask-file").click()
        chooser.value.set_files(tmp_path / name)

    with visit(served.address, **DESKTOP) as page:
        given(page, tmp_path / "mine.png", "Aaa tiny")
        upload("square.png")
        wrong = page.locator("#said-painting .wrong")
        wrong.get_by_text(
            "square.png has 90 x 90 pixels, of another shape than the photo's 240 x 180"
        ).wait_for()
        repainted(page, lambda: upload("right.png"))
        page.locator("#mask-hint").get_by_text(
            "120 × 90 pixels, is scaled to the photo's 240 × 180"
        ).wait_for()
        _, made = downloaded(page, tmp_path / "made.png")
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        repainted(page, lambda: stroke(page))
        _, more = downloaded(page, tmp_path / "more.png")
        repainted(page, page.locator("#mask .top-panel > button").last.click)
        _, cleared = downloaded(page, tmp_path / "cleared.png")
    before = np.asarray(Image.open(tmp_path / "mine.png")).astype(int)
    style = loading.load(folder / "aaa_tiny.safetensors", "cpu", engine="torch")
    whole = np.asarray(style(Image.open(tmp_path / "mine.png"))).astype(int)
    for kept in (made, more):
        assert np.array_equal(kept[:, 124:], before[:, 124:])
        assert np.abs(kept - whole)[:40, :116].max() <= 1
    assert np.abs(made - whole)[90, :116].max() <= 1
    assert np.array_equal(more[90, 100:116], before[90, 100:116])
    assert np.abs(cleared - whole).max() <= 1


def test_the_second_style_goes_where_it_is_painted(
    served: ServiceThread, folder: Path, tmp_path: Path
) -> None:
    with visit(served.address, **DESKTOP) as page:
        given(page, tmp_path / "mine.png", "Wave")
        repainted(page, lambda: second(page, "Udnie"))
        repainted(page, lambda: page.locator("#second-share input[type=number]").fill("1"))
        repainted(page, lambda: page.get_by_label("The second style goes here").check())
        repainted(page, lambda: stroke(page))
        name, made = downloaded(page, tmp_path / "made.png")
        assert name == "mine-wave+udnie.png"
        (painted,) = (path for path in served.files() if path.name == "mask.png")
        mask = Image.open(painted).convert("L")
        mask.load()
        page.locator("#examples .thumbnail-item").first.click()  # for which nothing is painted
        page.locator("#said-painting").get_by_text("768 × 512").wait_for()
        page.locator("#paint").click()
        page.locator("#said-painting").get_by_text("768 × 512").wait_for()
        assert not page.locator("#said-painting .wrong").count()
    style = loading.load(folder / "tiny.safetensors", "cpu", engine="torch")
    mix, masks = {"wave": 0.5, "udnie": 0.5}, {"udnie": mask}
    expected = style(Image.open(tmp_path / "mine.png"), mix=mix, masks=masks)
    assert np.abs(made - np.asarray(expected)).max() <= 1


def test_several_photos_have_no_mask(served: ServiceThread, tmp_path: Path) -> None:
    for seed in (1, 2):
        (tmp_path / f"{seed}.png").write_bytes(photo(240, 180, seed=seed))
    with visit(served.address, **DESKTOP) as page:
        given(page, tmp_path / "mine.png", "Aaa tiny")
        page.set_input_files("#photo input[type=file]", [tmp_path / "1.png", tmp_path / "2.png"])
        page.locator("#mask-hint").get_by_text("A mask is for one photo").wait_for()
        page.locator("#mask").wait_for(state="hidden")
