"""A headless browser that takes note of what it asks for and complains of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 150_000  # ms, for a machine with much else to do

if CHROMIUM is None:
    pytest.skip("no chromium: apt-get install chromium", allow_module_level=True)

LOST = """async (name) => {
    const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (asked) => {
        if (name) throw new DOMException("", name);
        return (window.cameraStream = await open(asked));
    };
}"""
"""Makes the camera one that cannot be opened, by the name of the browser's error; without, one that `UNPLUG` ends."""

UNPLUG = "() => window.cameraStream.getTracks()[0].dispatchEvent(new Event('ended'))"


FRAMES = "window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 100);"
"""Ten frames a second: Chromium draws without a GPU here, and the editor of masks draws all the time."""

ENDED = (
    "AbortError: signal is aborted",
    "AbortError: BodyStreamBuffer was aborted",
    "Unexpected error Connection errored out",
)
"""What Gradio's script says where a page is loaded anew while it listens to the service."""


@contextmanager
def visit(
    address: str, path: str = "/", *, camera: bool = False, reloads: bool = False, **options: Any
) -> Iterator[Any]:
    """A page of `address`, opened. Afterwards: it asked nobody else for anything, and had nothing to complain of.

    `camera`: there is one, which shows a moving pattern, and the page may use it without asking. `reloads`: the page
    is loaded anew on the way.
    """
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] if camera else []
    asked: list[str] = []
    said: list[str] = []
    with sync_api.sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *flags], timeout=PATIENCE
        )
        # Chromium draws without a GPU here: what moves takes a quarter of a test's time.
        page = browser.new_page(reduced_motion="reduce", **options)
        page.add_init_script(FRAMES)
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address + path)
        yield page
        browser.close()
    said = [text for text in said if not (reloads and text.startswith(ENDED))]
    assert not said, said
    assert all(url.startswith((address, "blob:", "data:")) for url in asked), asked
