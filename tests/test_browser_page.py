"""The service's page in headless Chromium, each tab from drop to download; nothing leaves the machine."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra `web` is not installed")

import numpy as np
from browsing import LOST, UNPLUG, visit
from PIL import Image
from shown import ServiceThread, slow_previews, two_models
from tiny import Studio
from webservice import photo, trainer

from texturenets import image, loading
from texturenets.server import app
from texturenets.server.settings import Limits
from texturenets.server.trainings import Trainings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_models(tmp_path_factory)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[ServiceThread]:
    made = ServiceThread(folder, limits=Limits(bytes=200_000, pixels=10**6))
    yield made
    made.close()


IN_SIGHT = """() => {
    const box = document.querySelector("#compared img")?.getBoundingClientRect();
    return box && box.height > 0 && box.top >= 0 && box.bottom <= window.innerHeight;
}"""
"""Whether the whole result is to be seen."""


def test_stylize(served: ServiceThread, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(photo(1100, 50))
    with visit(served.address, viewport={"width": 390, "height": 844}) as page:
        page.set_input_files("#photo input[type=file]", tmp_path / "mine.png")
        page.locator("#photo .thumbnail-item img").wait_for()
        page.locator("#styles .thumbnail-item", has_text="Aaa tiny").click()
        page.locator("#said-painting").get_by_text("Aaa tiny").wait_for()
        page.wait_for_function(IN_SIGHT)
        page.locator("#said-painting").get_by_text("1024 × 47").wait_for()
        page.get_by_label("The photo's own").check()  # it stylizes by itself
        page.locator("#said-painting").get_by_text("1100 × 50").wait_for()
        cut = "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
        assert page.locator("#styles .caption-label").evaluate_all(cut) == 0
        with page.expect_download() as download:
            page.locator("#save-painting").click()
        download.value.save_as(tmp_path / "made.png")
        assert download.value.suggested_filename == "mine-aaa_tiny.png"
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390  # nothing reaches over the edge of a phone
        left = [path for path in served.files() if path.suffix == ".png"]
        assert left
    style = loading.load(folder / "aaa_tiny.safetensors", "cpu", engine="torch")
    right = image.read(tmp_path / "mine.png")
    right.pixels = style.stylize(right.pixels)
    assert (tmp_path / "made.png").read_bytes() == image.to_bytes(Path("a.png"), right)
    ends = time.monotonic() + 60  # the browser has gone: its files go
    while left := [path for path in left if path.exists()]:
        assert time.monotonic() < ends, left
        time.sleep(0.1)


def test_changes_repaint(served: ServiceThread, tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(photo(1100, 50))
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        page.set_input_files("#photo input[type=file]", tmp_path / "mine.png")
        said, result = page.locator("#said-painting"), page.locator("#compared img").last
        for change in (
            lambda: page.locator("#size").get_by_label("512").check(),
            lambda: page.locator("#stroke").get_by_label("Fine").check(),
            lambda: page.locator("#strength input[type=number]").fill("0.5"),
            lambda: page.locator("#keep").get_by_role("checkbox").check(),
        ):
            result.wait_for()
            before = result.evaluate("one => one.src")
            change()
            page.wait_for_function(
                "src => ![...document.querySelectorAll('#compared img')].some((one) => one.src === src)",
                arg=before,
            )
        said.get_by_text("512 × 23").wait_for()


def test_several_photos(served: ServiceThread, tmp_path: Path) -> None:
    names = ["one.png", "two.png", "broken.png"]
    for seed, name in enumerate(names):
        (tmp_path / name).write_bytes(b"no image" if "broken" in name else photo(90, 70, seed=seed))
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        page.set_input_files("#photo input[type=file]", [tmp_path / name for name in names])
        said = page.locator("#said-painting")
        said.get_by_text("2 photos: Paint").wait_for()
        said.get_by_text("broken.png is not an image").wait_for()
        page.locator("#paint").click()
        said.get_by_text("2 of 2 photos").wait_for()
        said.get_by_text("broken.png is not an image").wait_for()
        page.locator("#strength input[type=number]").fill("0.5")
        page.locator("#paintings.stale").wait_for()  # several are not stylized unasked
        with page.expect_download() as download:
            page.locator("#save-painting").click()
        assert download.value.suggested_filename == "paintings.zip"
        download.value.save_as(tmp_path / "made.zip")
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        assert archive.testzip() is None
        assert [name.partition("-")[0] for name in archive.namelist()] == ["one", "two"]


def test_examples_and_what_goes_wrong(served: ServiceThread, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        said = page.locator("#said-painting")
        page.locator("#paint").click()
        said.get_by_text("Choose a photo first").wait_for()
        # What Gradio tells in the browser, in its own words and place
        for name, words in (("notes.txt", "no image that can be read here"),):
            page.set_input_files("#photo input[type=file]", tmp_path / name)
            page.wait_for_function(
                "words => document.querySelector('#said-painting').dataset.wrong?.includes(words)", arg=words
            )
            assert not any(one.is_visible() for one in page.locator(".toast-body").all())
        page.locator("#examples .thumbnail-item").first.click()
        page.locator("#compared img").first.wait_for()
        said.get_by_text("768 × 512").wait_for()  # the photo is not enlarged


def test_each_file_that_is_refused_is_told_of(served: ServiceThread, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "other.txt").write_text("no image")
    (tmp_path / "large.png").write_bytes(bytes(300_000))
    (tmp_path / "photo.jpg").write_bytes(photo(90, 70))
    told = "words => document.querySelector('#said-painting').dataset.wrong?.includes(words)"
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        for name, words in (
            ("notes.txt", "notes.txt: no image"),
            ("large.png", "large.png: too large, at most 195.3 KB"),
            ("other.txt", "other.txt: no image"),
            ("notes.txt", "notes.txt: no image"),
        ):
            page.set_input_files("#photo input[type=file]", tmp_path / name)
            page.wait_for_function(told, arg=words, timeout=10_000)
            assert not any(one.is_visible() for one in page.locator(".toast-body").all())


def test_what_went_wrong_goes_with_the_next_painting(served: ServiceThread, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "photo.jpg").write_bytes(photo(90, 70))
    wrong = "() => document.querySelector('#said-painting').dataset.wrong"
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        page.set_input_files("#photo input[type=file]", tmp_path / "photo.jpg")
        page.locator("#said-painting").get_by_text("pixels").wait_for()
        page.evaluate("() => document.querySelector('#said-painting').dataset.wrong = 'It is gone.'")
        page.locator("#paint").click()  # which says the same once more
        page.wait_for_function(f"() => !({wrong})()", timeout=20_000)


def test_heic(served: ServiceThread, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    heif.register_heif_opener()
    Image.open(io.BytesIO(photo(90, 70))).save(tmp_path / "IMG_1.HEIC", "HEIF")
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        page.set_input_files("#photo input[type=file]", tmp_path / "IMG_1.HEIC")
        page.locator("#compared img").first.wait_for()
        # Chromium reads none, and is shown what was read here.
        shown = page.locator("#photo .thumbnail-item img")
        assert shown.evaluate("(i) => i.decode().then(() => i.naturalWidth)") == 90
        with page.expect_download() as download:
            page.locator("#save-painting").click()
        assert download.value.suggested_filename.startswith("IMG_1-")
        assert download.value.suggested_filename.endswith(".jpg")


BUSY = """() => {
    const fetch = window.fetch;
    window.fetch = async (...words) => {
        if (!String(words[0]).includes("/v1/stylize")) return fetch(...words);
        window.fetch = fetch;
        return new Response('{"detail": "the queue is full"}', { status: 503, headers: { "Retry-After": "1" } });
    };
}"""
"""The service's next answer to an image is that it is busy."""


def test_the_camera_is_painted_live(served: ServiceThread) -> None:
    asked, most = [0], [0]
    with visit(served.address, camera=True, viewport={"width": 390, "height": 844}) as page:

        def count(by: int) -> Any:
            def counted(request: Any) -> None:
                if "/v1/stylize" in request.url:
                    asked[0] += by
                    most[0] = max(most[0], asked[0])

            return counted

        page.on("request", count(1))
        for end in ("requestfinished", "requestfailed"):
            page.on(end, count(-1))
        page.locator("#styles .thumbnail-item", has_text="Aaa tiny").click()
        page.locator("#live-query [data-query*=aaa_tiny]").wait_for(state="attached")
        page.evaluate(LOST, "")
        rate = page.locator("#rate")
        page.locator("#camera").click()
        rate.get_by_text("images a second at").wait_for()
        height, width = page.locator("#live").evaluate("one => [one.height, one.width]")
        assert (height / width, width >= 96) == (pytest.approx(3 / 4, abs=0.02), True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.evaluate(BUSY)
        rate.get_by_text("The service is busy").wait_for()
        rate.get_by_text("images a second at").wait_for()
        with page.expect_request(lambda one: "strength=0.5&" in one.url):
            page.locator("#strength input[type=number]").fill("0.5")
        page.locator("#camera-stop").click()
        page.locator("#live-view").wait_for(state="hidden")
        page.locator("#camera").click()
        rate.get_by_text("pixels").wait_for()
        page.evaluate(UNPLUG)
        page.locator("#said-painting[data-wrong^='The camera has gone']").wait_for()
        assert not page.locator("#live-view").is_visible()
        assert most[0] == 1  # the next image waits for the last one


@pytest.mark.parametrize(
    ("name", "said"), [("NotAllowedError", "the browser does not let"), ("NotFoundError", "there is none")]
)
def test_without_a_camera_the_page_says_so(served: ServiceThread, name: str, said: str) -> None:
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        page.locator("#styles .thumbnail-item").first.wait_for()
        page.evaluate(LOST, name)
        page.locator("#camera").click()
        page.locator(f"#said-painting[data-wrong^='The camera cannot be used: {said}']").wait_for()
        assert page.locator("#camera").is_visible()


def test_another_tab_ends_the_camera(served: ServiceThread) -> None:
    with visit(served.address, camera=True, viewport={"width": 1200, "height": 900}) as page:
        page.locator("#styles .thumbnail-item", has_text="Aaa tiny").click()
        page.locator("#camera").click()
        page.locator("#rate").get_by_text("pixels").wait_for()
        page.get_by_role("tab", name="Texture").click()
        page.wait_for_function("() => !document.getElementById('results').classList.contains('live')")


def test_texture(served: ServiceThread, folder: Path, tmp_path: Path) -> None:
    with visit(served.address, viewport={"width": 1200, "height": 900}) as page:
        page.get_by_role("tab", name="Texture").click()
        page.locator("#textures .thumbnail-item", has_text="Aab grain").click()
        page.locator("#said-sample").get_by_text("Aab grain, 512").wait_for()
        page.locator("#side").get_by_label("256").check()
        page.locator("#nine").get_by_role("checkbox").check()
        page.locator("#draw").click()
        page.locator("#said-sample").get_by_text("Aab grain, 256").wait_for()
        # Three tiles a side of 256 pixels are shown; the file is one.
        wide = "(i) => i.decode().then(() => i.naturalWidth, () => 0)"
        for _ in range(100):  # the image follows what is said of it
            if page.locator("#sample img").evaluate(wide) == 768:
                break
            page.wait_for_timeout(100)
        assert page.locator("#sample img").evaluate(wide) == 768
        with page.expect_download() as download:
            page.locator("#save-sample").click()
        download.value.save_as(tmp_path / "one.png")
        page.locator("#share input[type=number]").fill("1")
        page.locator("#draw").click()
        page.locator("#said-sample").get_by_text("100% of the way to 1").wait_for()
        with page.expect_download() as download:
            page.locator("#save-sample").click()
        download.value.save_as(tmp_path / "other.png")
    texture = loading.load(folder / "aab_grain.safetensors", "cpu", engine="torch")
    for name, seed in (("one", 0), ("other", 1)):
        right = np.asarray(texture.sample(256, seed=seed, tileable=True))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")), right)


def test_train(
    served: ServiceThread, folder: Path, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_previews(monkeypatch)
    trained = Trainings(folder, studio.photos, trainer(studio, tmp_path))
    monkeypatch.setattr(app, "_trainings", lambda _: trained)
    learning = ServiceThread(folder, photos=studio.photos)
    try:
        with visit(learning.address, reloads=True, viewport={"width": 1200, "height": 900}) as page:
            page.get_by_role("tab", name="Train").click()
            page.set_input_files("#exemplar input[type=file]", studio.painting)
            page.locator("#exemplar .thumbnail-item img").wait_for()
            assert not any(page.locator(one).is_visible() for one in ("#stop", "#resume", "#use"))
            page.locator("#name input, #name textarea").first.fill("no name")
            page.locator("#train").click()
            page.locator("#said-training").get_by_text("letters, digits").wait_for()
            page.locator("#name input, #name textarea").first.fill("learned")
            page.locator("#steps input").fill("3")
            page.locator("#train").click()
            row = page.locator("#trainings tr", has_text="learned")
            row.wait_for()
            # It may be at work already, and is before this text goes.
            page.locator("#said-training").get_by_text(
                "learned is queued; the table shows its progress"
            ).wait_for()
            assert page.locator("#exemplar .thumbnail-item img").is_visible()  # for another try
            page.reload()  # it lives apart from the page
            page.get_by_role("tab", name="Train").click()
            row.get_by_text("done").wait_for(timeout=200_000)  # torch is imported anew
            page.locator("#grown img").wait_for()
            page.locator("#curves canvas, #curves svg").first.wait_for()
            legend = page.locator("#legend").inner_text()
            for name in ("content, squeezenet1_0", "style, squeezenet1_0", "sum"):
                assert name in legend
            assert not any(page.locator(one).is_visible() for one in ("#stop", "#resume"))
            page.locator("#use").click()
            page.locator("#styles .thumbnail-item.selected", has_text="Learned").wait_for()
            page.set_input_files("#photo input[type=file]", studio.painting)
            page.locator("#said-painting").get_by_text("Learned").wait_for()
            with page.expect_download() as download:
                page.locator("#save-painting").click()
            assert download.value.suggested_filename == "painting-learned.png"
    finally:
        learning.close()
