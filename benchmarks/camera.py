"""How large the static page paints the camera's images at ten a second, by WebAssembly in headless Chromium.

    python benchmarks/camera.py [MODEL ...] [--seconds 30] [--plain]

The camera is Chromium's own, a moving pattern of 640 x 480. The page finds the size by itself; what it says after so
many seconds is printed, and which hosts were asked for anything but this machine: there should be none. `--plain`:
the server sends no headers for threads, as many file servers do not, and one core computes. Times mean something on
a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import http.server
import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from texturenets import cli


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, with the headers by which a browser gives a page threads."""

    extensions_map = {  # noqa: RUF012
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, *given: Any, threads: bool, **named: Any) -> None:
        self.threads = threads
        super().__init__(*given, **named)

    def end_headers(self) -> None:
        if self.threads:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def painted(address: str, seconds: float) -> tuple[str, list[str]]:
    """What the page says of the camera after so many seconds, and what was asked of other hosts."""
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    asked: list[str] = []
    with sync_playwright() as player:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = player.chromium.launch(executable_path=found, args=flags)
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/?backend=wasm")
        page.locator("#gallery label").first.wait_for()
        page.locator("#camera").click()
        page.locator("#said").get_by_text("images a second").wait_for()
        page.wait_for_timeout(1000 * seconds)
        said = page.locator("#said").inner_text()
        browser.close()
    return said, [url for url in asked if not url.startswith((address, "blob:", "data:"))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["wave"], metavar="MODEL")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            if status := cli.main(["export", model, "--to", "web", "-o", folder]):
                raise SystemExit(status)
            handler = partial(Handler, directory=folder, threads=not options.plain)
            with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
                threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
                said, others = painted(f"http://127.0.0.1:{server.server_port}", options.seconds)
                server.shutdown()
        threads = "one thread" if options.plain else "threads"
        print(f"{Path(model).stem}: {said} ({threads}); asked of other hosts: {others or 'nothing'}")


if __name__ == "__main__":
    main()
