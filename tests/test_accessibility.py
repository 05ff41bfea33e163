"""Both pages by the rules of WCAG 2.2 A and AA, as axe-core checks them, and by the keyboard alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("gradio", reason="the extra `web` is not installed")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")

from axe_playwright_python.sync_playwright import Axe
from browsing import visit
from galleries import gallery
from shown import ServiceThread, needs_package, static, two_models
from tiny import Studio
from webservice import photo, trainer

from texturenets.server import app
from texturenets.server.trainings import Trainings

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDTHS = (390, 1200)  # of a phone and a desktop, in pixels
SCHEMES = ["light", pytest.param("dark", marks=pytest.mark.slow)]


def faults(page: Any) -> list[str]:
    """What axe-core objects to at each width: rule, element and reason."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found += faults_now(page)
    return found


def faults_now(page: Any) -> list[str]:
    """At the width of now. What moves is waited for."""
    options = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}
    found: list[str] = []
    for _ in range(6):
        violations = Axe().run(page, options=options).response["violations"]
        found = [
            f"{one['id']} {node['target']}: {node['failureSummary']}"
            for one in violations
            for node in one["nodes"]
        ]
        if not found:
            break
        page.wait_for_timeout(500)
    return found


FOCUS = """() => {
    const one = document.activeElement, box = one.closest("label") ?? one;
    const shown = [one, box, one.closest(".icon-button")].some((part) => {
        const look = part && getComputedStyle(part);
        return look && look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2;
    });
    const { width, height } = box.getBoundingClientRect();
    return [one === document.body, shown && width > 0 && height > 0, one.outerHTML.slice(0, 200)];
}"""
"""Whether nothing has the keyboard, whether that is to be seen, and what has it."""


def reach(page: Any, selector: str) -> None:
    """Press Tab until `selector` has the keyboard; whatever has it on the way shows that."""
    for _ in range(150):
        page.keyboard.press("Tab")
        nothing, shown, what = page.evaluate(FOCUS)
        assert nothing or shown, what
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"no key leads to {selector}")


def by_keys(page: Any, selector: str, key: str = "Enter") -> None:
    reach(page, selector)
    page.keyboard.press(key)


def give(page: Any, selector: str, path: Path, key: str = "Enter") -> None:
    """A file into what opens a choice of files. Gradio's listens a moment after it is shown: press once more then."""
    reach(page, selector)
    with page.expect_file_chooser() as chooser:
        while not chooser.is_done():
            page.keyboard.press(key)
            page.wait_for_timeout(1000)
    chooser.value.set_files(path)


def fetched(page: Any, selector: str) -> str:
    """The name of the file that it gives."""
    reach(page, selector)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    name: str = download.value.suggested_filename
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = two_models(tmp_path_factory)
    gallery(made)
    return made


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "mine.png"
    path.write_bytes(photo(90, 70))
    return path


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceThread]:
    """A service that trains, with a training that is done."""
    place = tmp_path_factory.mktemp("studio")
    studio = Studio(place)
    trained = Trainings(folder, studio.photos, trainer(studio, place))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "_trainings", lambda _: trained)
        made = ServiceThread(folder, photos=studio.photos)
    sent = {"name": "learned", "kind": "style", "steps": "4"}
    answer = httpx.post(
        f"{made.address}/v1/trainings", params=sent, content=studio.painting.read_bytes(), timeout=60
    )
    assert answer.is_success, answer.text
    ends = time.monotonic() + 200
    while (state := httpx.get(f"{made.address}/v1/trainings/learned").json()["state"]) != "done":
        assert state in ("queued", "running")
        assert time.monotonic() < ends
        time.sleep(0.2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The static page."""
    models = [folder / f"{name}.safetensors" for name in ("aaa_tiny", "aab_grain", "tiny")]
    with static(models, tmp_path_factory.mktemp("page")) as address:
        yield address


@pytest.mark.parametrize("scheme", SCHEMES)
def test_served_page(served: ServiceThread, mine: Path, tmp_path: Path, scheme: Any) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with visit(served.address, camera=True, color_scheme=scheme) as page:
        page.locator("#styles .thumbnail-item").first.wait_for()
        assert not faults(page)
        page.set_input_files("#photo input[type=file]", mine)
        page.locator("#compared img").first.wait_for()
        assert not faults(page)
        page.set_input_files("#photo input[type=file]", tmp_path / "notes.txt")
        page.locator("#said-painting[data-wrong]").wait_for()
        assert not faults(page)
        page.locator("#camera").click()
        page.locator("#rate").get_by_text("pixels").wait_for()
        assert not faults(page)
        page.locator("#camera-stop").click()
        page.get_by_role("tab", name="Texture").click()
        page.locator("#draw").click()
        page.locator("#sample img").wait_for()
        assert not faults(page)
        page.get_by_role("tab", name="Train").click()
        page.locator("#more button").first.click()
        page.set_input_files("#exemplar input[type=file]", mine)
        page.locator("#exemplar .thumbnail-item img").wait_for()
        page.locator("#curves canvas, #curves svg").first.wait_for()
        page.locator("#grown img").wait_for()
        assert not faults(page)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_mix_and_mask(served: ServiceThread, mine: Path, scheme: Any) -> None:
    with visit(served.address, color_scheme=scheme) as page:
        page.locator("#styles .thumbnail-item").first.wait_for()
        page.set_input_files("#photo input[type=file]", mine)
        page.locator("#compared img").first.wait_for()
        page.locator("#styles .thumbnail-item", has_text="Udnie").last.click()  # the gallery's
        page.locator("#said-painting").get_by_text("Udnie").wait_for()
        page.locator("#mix-and-mask button").first.click()
        page.locator("#mask canvas").first.wait_for()
        page.locator("#second input").click()
        page.get_by_role("option", name="Wave").click()
        page.locator("#second-share").wait_for()
        page.locator("#goal").wait_for()
        assert not faults(page)
        for button in ("Color", "Brush Size", "Erase"):
            page.locator(f"#mask [aria-label='{button}']").click()
            assert not faults_now(page)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_your_painting(served: ServiceThread, mine: Path, scheme: Any) -> None:
    with visit(served.address, color_scheme=scheme) as page:
        page.locator(
            "#styles .thumbnail-item", has_text="Learned"
        ).wait_for()  # what came after the page was made
        page.locator("#styles .thumbnail-item", has_text="Your painting").click()
        page.locator("#learn").wait_for()
        page.locator("#learn").click()
        page.locator("#said-learning .wrong").wait_for()
        assert not faults(page)
        page.set_input_files("#painting input[type=file]", mine)
        page.locator("#painting .thumbnail-item img").wait_for()
        assert not faults(page)


@needs_package
@pytest.mark.parametrize("scheme", SCHEMES)
def test_static_page(address: str, mine: Path, tmp_path: Path, scheme: Any) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with visit(address, "/?backend=wasm", camera=True, color_scheme=scheme) as page:
        page.locator("#gallery label").first.wait_for()
        assert not faults(page)
        page.set_input_files("#file", tmp_path / "notes.txt")
        page.locator("#said.wrong").wait_for()
        assert not faults(page)
        page.set_input_files("#file", mine)
        page.locator("#save").wait_for()
        assert not faults(page)
        page.locator("#camera").click()
        page.locator("#said").get_by_text("×").wait_for()
        assert not faults(page)
        page.locator("#gallery label", has_text="Aab grain").click()
        page.locator("#save").wait_for()
        assert not faults(page)
        page.locator("#gallery label", has_text="Wave").click()
        page.locator("#mix-and-mask summary").click()
        page.locator("#second").select_option("Udnie")
        page.locator("#save").wait_for()
        assert not faults(page)


def mixed_by_keys(page: Any) -> None:
    """A second style of the gallery, and the buttons of the brush."""
    reach(page, '#styles [aria-label="Udnie"]')
    reach(page, '#styles [aria-label="Udnie"]')  # the shipped one comes first
    page.keyboard.press("Enter")
    by_keys(page, "#mix-and-mask button")
    page.locator("#mask canvas").first.wait_for()
    reach(page, "#second input")
    page.get_by_role("option", name="Wave").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#said-painting").get_by_text("Udnie with 50% of Wave").wait_for()
    by_keys(page, "#second-share input[type=range]", "ArrowRight")
    page.locator("#said-painting").get_by_text("Udnie with 55% of Wave").wait_for()
    by_keys(page, "#goal input", "ArrowDown")
    for place in (".top-panel button", ".toolbar-wrap button"):
        reach(page, f"#mask {place}")
    reach(page, "#mask-file")


@pytest.mark.slow
def test_served_page_by_keys(served: ServiceThread, mine: Path) -> None:
    with visit(served.address, camera=True, viewport={"width": 1200, "height": 900}) as page:
        page.locator("#styles .thumbnail-item").first.wait_for()
        said = page.locator("#said-painting")
        give(page, "#photo button:has(input[type=file])", mine)
        page.locator("#compared img").first.wait_for()
        by_keys(page, '#styles [aria-label="Aaa tiny"]')
        said.get_by_text("Aaa tiny").wait_for()
        assert page.locator('#styles [aria-label="Aaa tiny"]').get_attribute("aria-pressed") == "true"
        by_keys(page, '#compared [role="slider"]', "ArrowRight")
        page.locator('#compared [role="slider"][aria-valuenow="55"]').wait_for()
        before = page.locator("#compared img").last.evaluate("one => one.src")
        by_keys(page, "#strength input[type=range]", "ArrowLeft")
        page.wait_for_function("src => document.querySelectorAll('#compared img')[1].src !== src", arg=before)
        by_keys(page, "#paint")
        said.get_by_text("Aaa tiny").wait_for()
        assert fetched(page, "#save-painting") == "mine-aaa_tiny.png"
        mixed_by_keys(page)
        by_keys(page, "#camera")
        page.locator("#rate").get_by_text("pixels").wait_for()
        page.keyboard.press("Enter")  # Stop has the keyboard
        page.locator("#live-view").wait_for(state="hidden")
        assert page.evaluate("document.activeElement.id") == "camera"
        by_keys(page, '[role="tab"][data-tab-id="texture"]')
        by_keys(page, '#textures [aria-label="Aab grain"]')
        page.locator("#said-sample").get_by_text("Aab grain").wait_for()
        by_keys(page, "#draw")
        page.locator("#said-sample").get_by_text("Aab grain").wait_for()
        assert fetched(page, "#save-sample") == "aab_grain-0.png"
        by_keys(page, '[role="tab"][data-tab-id="train"]')
        give(page, "#exemplar button:has(input[type=file])", mine)
        by_keys(page, "#preset input", "ArrowDown")
        by_keys(page, "#more button")
        for selector in ("#weight input", "#train", "#watched input", "#use"):
            reach(page, selector)


@needs_package
@pytest.mark.slow
def test_static_page_by_keys(address: str, mine: Path) -> None:
    with visit(address, "/?backend=wasm", camera=True, viewport={"width": 1200, "height": 900}) as page:
        page.locator("#gallery label").first.wait_for()
        give(page, "#file", mine, "Space")
        page.locator("#save").wait_for()
        by_keys(page, "#split", "ArrowRight")
        assert page.locator("#split").input_value() == "51"
        by_keys(page, "#strength", "ArrowLeft")
        page.locator("#busy").wait_for(state="hidden")
        by_keys(page, "#go")
        page.locator("#said").get_by_text("90 × 70").wait_for()
        assert fetched(page, "#save") == "mine-aaa_tiny.png"
        by_keys(page, "#camera")
        page.locator("#said").get_by_text("WebAssembly").wait_for()
        page.keyboard.press("Enter")
        page.locator("#save").wait_for()
        by_keys(page, "#gallery input", "ArrowRight")  # of radio buttons the arrows choose
        page.locator("#save").wait_for()
        assert fetched(page, "#save").startswith("aab_grain-0")
        reach(page, "#gallery input")
        page.keyboard.press("ArrowRight")  # of the gallery, in which others are mixed
        by_keys(page, "#mix-and-mask summary")
        by_keys(page, "#second", "ArrowDown")
        for selector in ("#share", "#goal", "#brush", "#erase", "#clear"):
            reach(page, selector)
        assert fetched(page, "#save") == "mine-wave+udnie.png"
