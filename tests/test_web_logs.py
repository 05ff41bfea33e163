"""Standard error of a service: lines of JSON, and few of them whatever others do."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")

from fastapi import FastAPI
from webservice import client, model

from texturenets.server import logs, server
from texturenets.server.settings import Settings

NAMES = (
    "texturenets.server",
    "uvicorn",
    "uvicorn.error",
    "asyncio",
    "texturenets.server.printed",
    "python_multipart",
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error."""
    before = [
        (log, log.handlers, log.propagate, log.level, log.filters) for log in map(logging.getLogger, NAMES)
    ]
    error = io.StringIO()
    monkeypatch.setattr(sys, "stderr", error)
    logs.log_to_stderr("info")
    yield error
    for log, handlers, propagate, level, filters in before:
        log.handlers, log.propagate, log.filters = handlers, propagate, filters
        log.setLevel(level)


def test_a_flood_is_a_few_lines(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(1000):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("asyncio").error("socket.accept() out of system resource\nsocket: %d", i)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["warning", "error"]
    monkeypatch.setattr(logs, "REPEAT_SECONDS", 0.0)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert json.loads(written.getvalue().splitlines()[-1])["suppressed"] == 999
    for _ in range(5):
        logging.getLogger("texturenets.server").info("request")  # as many as there are requests
    assert written.getvalue().count('"request"') == 5


def test_a_service_for_other_machines_says_so_in_a_line_of_json(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "create", lambda _: (FastAPI(), None))
    monkeypatch.setattr(server, "return_freed_memory", lambda: None)
    monkeypatch.setattr(server, "log_to_stderr", lambda _: None)  # it does already
    monkeypatch.setattr(server.signal, "signal", lambda *_: None)
    monkeypatch.setattr(server.Server, "run", lambda _, sockets: [one.close() for one in sockets])
    for host in ("127.0.0.1", "0.0.0.0"):
        server.serve(Settings(host=host, port=0))
    (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (line["level"], line["event"], line["host"]) == ("warning", "no token", "0.0.0.0")
    assert line["reason"] == "other machines may use this service, without a token"


def test_a_broken_form_has_the_line_of_its_request_alone(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's, without which Python prints warnings
    model(tmp_path, "tiny")  # without a model the log says so
    with client(tmp_path) as service, contextlib.redirect_stderr(logs.StderrToLog()):
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        assert service.post("/v1/stylize", content=b"none", headers=headers).status_code == 400
    (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (line["event"], line["level"], line["status"]) == ("request", "info", 400)
    assert line["reason"].startswith("the form cannot be read")


def test_what_libraries_print_is_a_line_too(written: io.StringIO) -> None:
    with contextlib.redirect_stderr(logs.StderrToLog()):
        for i in range(100):
            try:
                raise ValueError(f"number {i}\nof many")
            except ValueError:
                traceback.print_exc()
            print("x" * 10**5, file=sys.stderr)
    (line,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert line["event"] == "printed"
    assert line["text"].startswith("Traceback")
    assert line["text"].endswith("ValueError: number 0\nof many")
    assert len(written.getvalue()) < 10_000


def test_what_follows_a_flood_keeps_its_text(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.redirect_stderr(logs.StderrToLog()):
        for text in ("one", "two", "three"):
            print(text, file=sys.stderr)
        monkeypatch.setattr(logs, "REPEAT_SECONDS", 0.0)
        print("four", file=sys.stderr)
    last = json.loads(written.getvalue().splitlines()[-1])
    assert (last["text"], last["suppressed"]) == ("four", 2)
