"""A service in a process of its own, behind a socket, its models slow ones: for what goes on at connections."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from webservice import model

# `texturenets serve` with styles that sleep for so many seconds a megapixel, and note in a file when they are asked;
# images of more than a megapixel stay in them while there is a file `held`.
SCRIPT = """
import json, pathlib, sys, time

given = json.loads(sys.argv[1])
folder = pathlib.Path(given["folder"])
from texturenets.engines.options import EngineOptions
from texturenets.server import app, server, settings

class Slow:
    def stylize(self, pixels, **_):
        count = pixels.shape[2] * pixels.shape[3]
        with (folder / "asked").open("a") as log:
            log.write(f"{count}\\n")
        while count > 10**6 and (folder / "held").exists():
            time.sleep(0.01)
        time.sleep(given["rate"] * count / 10**6)
        return pixels

create = app.create
server.create = lambda settings: create(settings, lambda path: Slow())
limits = settings.Limits(**given["limits"])
server.serve(
    settings.Settings(
        port=0, models=folder, page=given["page"], engine=EngineOptions("torch", "cpu"), limits=limits
    ),
    "info",
)
"""


class ServiceProcess:
    """What runs: its address, its process, and what it wrote down."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], address: str) -> None:
        self.folder, self.process, self.address = folder, process, address

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.address.removeprefix("http://").split(":")
        return host, int(port)

    def asked(self) -> list[int]:
        """Pixels of the images that came into an engine."""
        path = self.folder / "asked"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    @contextmanager
    def held(self) -> Iterator[None]:
        """No large image leaves the engine."""
        (self.folder / "held").touch()
        try:
            yield
        finally:
            (self.folder / "held").unlink()

    def lines(self) -> list[dict[str, Any]]:
        """Of its log."""
        found = []
        for line in (self.folder / "log").read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def stylize(self, data: bytes, query: str = "", timeout: float = 30.0) -> httpx.Response:
        """A photo stylized."""
        return httpx.post(f"{self.address}/v1/stylize?style=slow{query}", content=data, timeout=timeout)

    def send(self, data: bytes, timeout: float = 20.0) -> bytes:
        """Bytes to it, and what comes back until it closes."""
        with socket.create_connection(self.place, timeout=timeout) as line:
            with suppress(OSError):
                line.sendall(data)
            answer = b""
            while more := line.recv(65536):
                answer += more
        return answer

    def until(self, count: int) -> None:
        """Wait for so many images to have come into an engine."""
        ends = time.monotonic() + 20
        while len(self.asked()) < count:
            assert time.monotonic() < ends
            time.sleep(0.01)


@contextmanager
def served(
    folder: Path,
    rate: float = 1.0,
    *,
    page: bool = False,
    prefix: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    **limits: Any,
) -> Iterator[ServiceProcess]:
    """A service whose styles take `rate` seconds a megapixel. `prefix`: words before the interpreter's."""
    model(folder, "slow")
    given = json.dumps({"folder": str(folder), "rate": rate, "limits": limits, "page": page})
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-c", SCRIPT, given],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, (folder / "log").read_text()
        running = ServiceProcess(folder, process, address)
        ends = time.monotonic() + 60
        while True:
            with suppress(httpx.HTTPError):
                httpx.get(f"{address}/healthz", timeout=1)
                break
            assert time.monotonic() < ends
        yield running
    finally:
        process.terminate()
        process.wait(60)


def apart(call: Any, *arguments: Any) -> tuple[threading.Thread, list[Any]]:
    """`call` in a thread, and where what it gives or raises will be."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(call(*arguments))
        except Exception as error:  # noqa: BLE001
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, found
