"""Connections: too many of them, headers that never end, requests framed two ways."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="limits of descriptors as Unix has them")
pytest.importorskip("fastapi", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

import httpx
from served import ServiceProcess, apart, served
from webservice import photo

from texturenets.server import connections

FEW = (
    "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (192, 192)); "
    "os.execv(sys.executable, sys.argv[1:])"
)
"""Starts the words after it with 192 descriptors."""


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("few")
    with served(folder, rate=0.1, prefix=(sys.executable, "-c", FEW), queue=500) as running:
        yield running


def test_connections_without_headers_do_not_keep_others_out(few: ServiceProcess) -> None:
    opened = []
    try:
        for _ in range(260):
            line = socket.create_connection(few.place, timeout=5)
            line.sendall(b"POST /v1/stylize HTTP/1.1\r\nHost: ")
            opened.append(line)
        for _ in range(10):
            assert httpx.get(f"{few.address}/healthz", timeout=5).status_code == 200
            assert few.stylize(photo()).status_code == 200
            time.sleep(0.1)
    finally:
        for line in opened:
            line.close()
    assert (few.folder / "log").stat().st_size < 100_000
    assert "Traceback" not in (few.folder / "log").read_text()


def test_more_at_work_than_there_may_be_are_told_so(few: ServiceProcess) -> None:
    opened = []
    body = b"POST /v1/stylize?style=slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
    try:
        for i in range(90):
            if i == 80:
                time.sleep(0.5)  # the others' headers are there: none of them waits any more
            line = socket.create_connection(few.place, timeout=5)
            line.sendall(body)
            opened.append(line)
        answers = [line.recv(65536) for line in opened[-10:]]
    finally:
        for line in opened:
            line.close()
    assert all(answer.startswith(b"HTTP/1.1 503") for answer in answers)
    assert all(b"problem+json" in answer for answer in answers)
    assert httpx.get(f"{few.address}/healthz", timeout=5).status_code == 200


def test_both_lengths_are_refused_and_the_connection_ends(few: ServiceProcess) -> None:
    head = b"POST /v1/sample HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = few.send(head + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1  # nothing behind it was taken for a request
    assert b"Transfer-Encoding" in answer


@pytest.mark.parametrize("path", ["/v1/stylize?style=slow", "/nowhere"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 20\r\n"])
def test_chunks_that_are_none_leave_no_trace_in_the_log(
    few: ServiceProcess, path: str, length: bytes
) -> None:
    before = len(few.lines())
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n".encode() + length
    assert few.send(head + b"\r\n" + b"these are no chunks\r\n").startswith(b"HTTP/1.1 400")
    ends = time.monotonic() + 20
    while not (asked := [line for line in few.lines()[before:] if line["event"] == "request"]):
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert len(asked) == 1
    assert "error" not in [line["level"] for line in few.lines()[before:]]
    if length:
        assert asked[0]["reason"] == "Content-Length and Transfer-Encoding exclude each other"


def test_what_is_no_http_is_answered_in_our_form(few: ServiceProcess) -> None:
    head, _, body = few.send(b"\x16\x03\x01 this is TLS\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    problem = json.loads(body)
    assert (problem["status"], problem["detail"]) == (400, "this is not a valid HTTP/1.1 request")


def test_a_connection_serves_several_requests(few: ServiceProcess) -> None:
    with httpx.Client(base_url=few.address) as client:
        for _ in range(3):
            assert client.get("/healthz").status_code == 200
            assert client.post("/v1/stylize?style=slow", content=photo()).status_code == 200
    long = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3
    with socket.create_connection(few.place, timeout=5) as line:
        line.sendall(long)
        answer = b""
        while answer.count(b'"ok"') < 3:
            answer += line.recv(65536)


def test_slow_headers_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Transport:
        """What uvicorn's protocol asks of one."""

        closed = False

        def abort(self) -> None:
            self.closed = True

        def is_closing(self) -> bool:
            return self.closed

        def get_extra_info(self, _: str) -> None:
            return None

    import asyncio

    import uvicorn
    from uvicorn.server import ServerState

    monkeypatch.setattr(connections, "HEADER_TIMEOUT", 0.2)

    async def go() -> list[float]:
        config = uvicorn.Config(lambda: None, log_config=None, http=connections.protocol(5), lifespan="off")
        config.load()
        ends = []
        for interval in (0.05, 10.0):  # a byte from time to time, and none
            made = config.http_protocol_class(config, ServerState(), {})  # type: ignore[operator]
            transport = Transport()
            made.connection_made(transport)
            began = time.monotonic()
            while not transport.closed and time.monotonic() - began < 2:
                if time.monotonic() - began > interval:
                    made.data_received(b"G" if interval < 1 else b"")
                await asyncio.sleep(0.02)
            ends.append(time.monotonic() - began)
        return ends

    assert all(0.1 < seconds < 1 for seconds in asyncio.run(go()))


def test_the_bound_is_within_the_descriptors() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert connections.connection_limit() <= max(
            8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - connections.RESERVED
        )
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256 or before[1] <= 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_second_interrupt_ends_without_a_trace(tmp_path: Path) -> None:
    with served(tmp_path, rate=1.0) as running:
        asking, _ = apart(running.stylize, photo(2000, 2000))
        running.until(1)
        for _ in range(2):
            running.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        running.process.wait(30)
        asking.join(30)
    said = (tmp_path / "log").read_text()
    assert "CancelledError" not in said
