"""Screenshots of the page for docs/serve.md, with the photos that come with the package.

    python benchmarks/screenshots.py [-o docs/pictures] [--models FOLDER] [--patience 600]

Chromium is needed. The Train tab learns from the astronaut, on the coffee and the cat, until its first images are
there, or for so many seconds of patience; the weights of descriptor networks are found or fetched as for
`texturenets train`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import TimeoutError as Late
from playwright.sync_api import sync_playwright
from service import service

DESKTOP, PHONE = {"width": 1200, "height": 1180}, {"width": 390, "height": 844}
QUALITY = 74
PHOTOS = Path(__file__).parents[1] / "src/texturenets/photos"


def photo(folder: Path, name: str) -> Path:
    """One of the package's, copied into `folder`."""
    return Path(shutil.copy(PHOTOS / f"{name}.jpg", folder))


def stylize(page: Any, picture: Path, style: str) -> None:
    page.set_input_files("#photo input[type=file]", picture)
    page.locator("#photo .thumbnail-item img").wait_for()
    page.locator("#styles .thumbnail-item", has_text=style).click()
    page.locator("#said-painting").get_by_text(style).wait_for()
    page.wait_for_timeout(1500)  # the slider unfolds


def texture(page: Any) -> None:
    page.get_by_role("tab", name="Texture").click()
    if page.locator("#textures .thumbnail-item").first.is_visible():
        page.locator("#nine").get_by_role("checkbox").check()
        page.locator("#draw").click()
        page.locator("#sample img").wait_for()
    page.wait_for_timeout(1500)


def train(page: Any, painting: Path, patience: float) -> None:
    page.get_by_role("tab", name="Train").click()
    page.set_input_files("#exemplar input[type=file]", painting)
    page.locator("#exemplar .thumbnail-item img").wait_for()
    page.locator("#name input, #name textarea").first.fill("astronaut")
    page.locator("#train").click()
    page.locator("#trainings tr", has_text="astronaut").wait_for()
    try:
        grown = page.locator("#grown img")
        for _ in range(3):  # the first images are noise yet
            grown.wait_for(timeout=1000 * patience)
            shown = grown.evaluate("one => one.src")
            page.wait_for_function(
                "shown => document.querySelector('#grown img')?.src !== shown",
                arg=shown,
                timeout=1000 * patience,
            )
        page.locator("#curves canvas, #curves svg").first.wait_for(timeout=1000 * patience)
    except Late:
        print("the training has made no image yet")
    page.wait_for_timeout(1500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--models", type=Path, help="model files to show besides the shipped ones")
    parser.add_argument("--patience", type=float, default=600)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as player:
        folder = Path(place)
        for part in ("models", "photos"):
            (folder / part).mkdir()
        for path in sorted(options.models.glob("*.safetensors")) if options.models else ():
            shutil.copy(path, folder / "models")
        coffee, astronaut = photo(folder, "coffee"), photo(folder, "astronaut")
        for one in ("coffee", "cat"):
            photo(folder / "photos", one)
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def shoot(page: Any, shot: str) -> None:
            path = options.output / f"{shot}.jpg"
            page.screenshot(path=path, type="jpeg", quality=QUALITY)
            print(f"{path}, {path.stat().st_size / 1000:.0f} kB")

        words = ["--models", str(folder / "models"), "--photos", str(folder / "photos")]
        with service(folder / "log", *words) as running:
            for size, style, name in (
                (DESKTOP, "Starry night", "page-stylize"),
                (PHONE, "Wave", "page-phone"),
            ):
                page = browser.new_page(viewport=size)
                page.set_default_timeout(300_000)
                page.goto(running.address)
                stylize(page, coffee, style)
                if size == DESKTOP:
                    page.evaluate("scrollTo(0, 0)")
                page.wait_for_timeout(500)  # on a phone the page brings the result into sight
                shoot(page, name)
                if size == DESKTOP:
                    texture(page)
                    shoot(page, "page-texture")
                    train(page, astronaut, options.patience)
                    shoot(page, "page-train")
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
