"""Whether a built documentation site holds together: links within it, its pages at two widths, and its live demo."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 300_000  # ms


class Page(HTMLParser):
    """The links and the ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value and tag != "base":
                self.links.append(value)
            if name in ("id", "name") and value:
                self.ids.add(value)


def broken(site: Path) -> tuple[list[str], int]:
    """Links of a page that lead nowhere within `site`, as "page: link"; and how many were followed."""
    pages = {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html") if "demo" not in path.parts}
    lost, count = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            base = site if parts.path.startswith("/") else path.parent
            target = base / unquote(parts.path).lstrip("/") if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            missing = target in pages and unquote(parts.fragment) not in {"", *pages[target].ids}
            if missing or not target.is_file():
                lost.append(f"{path.relative_to(site)}: {link}")
    return lost, count


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """`folder` at an address of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 (the library's name)
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def looked_at(site: Path, shots: Path | None) -> Iterator[str]:
    """Every page in Chromium, at two widths: nothing asked of another host, nothing wider than the window."""
    from playwright.sync_api import sync_playwright

    names = sorted(str(path.parent.relative_to(site)) for path in site.rglob("index.html"))
    names = [name for name in names if name != "demo"]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    asked: list[str] = []
    wide: list[str] = []
    with served(site) as address, sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for size in (DESKTOP, PHONE):
            page = browser.new_page(viewport=size)
            page.set_default_timeout(PATIENCE)
            page.on("request", lambda request: asked.append(request.url))
            for name in names:
                page.goto(f"{address}/{name}/", wait_until="load")
                over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                wide += (
                    [f"{name} is {over} pixels wider than a window of {size['width']}"] if over > 0 else []
                )
                if shots:
                    page.screenshot(path=shots / f"site-{name.replace('.', 'start')}-{size['width']}.png")
            page.close()
        assert not wide, "\n".join(wide)
        yield f"{len(names)} pages at {DESKTOP['width']} and {PHONE['width']} pixels: none wider than the window"
        yield painted(browser, address, asked, shots)
        browser.close()
    strangers = {url for url in asked if not url.startswith((address, "blob:", "data:"))}
    assert not strangers, f"asked of other hosts: {strangers}"
    yield f"{len(asked)} requests, none to another host"


def painted(browser: Any, address: str, asked: list[str], shots: Path | None) -> str:
    """Paint a photo in the demo of the start page."""
    page = browser.new_page(viewport=DESKTOP)
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/")
    page.locator("iframe").scroll_into_view_if_needed()
    demo = page.frame_locator("iframe")
    demo.locator("#gallery label").first.wait_for()
    photo = Path(__file__).resolve().parents[1] / "src/texturenets/photos/cat.jpg"
    demo.locator("#file").set_input_files(photo)
    demo.locator("#save").wait_for(state="visible")
    if shots:
        page.screenshot(path=shots / "site-demo.png")
    page.close()
    return "the demo of the start page paints a photo"


def check(site: Path, shots: Path | None = None) -> Iterator[str]:
    """All of it; `shots`: a folder for screenshots. Ends the program at the first thing that is wrong."""
    lost, count = broken(site)
    assert not lost, "\n".join(["links that lead nowhere:", *lost])
    yield f"{count} links within the site lead somewhere"
    yield from looked_at(site, shots)
