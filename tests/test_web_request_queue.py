"""The request queue, over sockets: clients that give up, lanes, estimated times, a service that shuts down."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

import httpx
import numpy as np
from fastapi import FastAPI
from served import apart, served
from webservice import model, photo

from texturenets import loading
from texturenets.server import request_queue, server, service
from texturenets.server.settings import Limits, Settings
from texturenets.server.time_estimate import TimeEstimate

SMALL, LARGE = photo(200, 100), photo(2000, 1500)


def test_what_nobody_waits_for_is_not_computed(tmp_path: Path) -> None:
    with served(tmp_path, rate=10.0) as running:  # 0.2 s a small image
        calls = [apart(running.stylize, SMALL, "", 0.5) for _ in range(16)]
        for thread, found in calls:
            thread.join()
            assert isinstance(found[0], httpx.Response | httpx.TimeoutException)
        assert running.stylize(SMALL).status_code == 200
        assert len(running.asked()) < 8
        gone = [one for one in running.lines() if one.get("status") == 499]
        assert len(gone) > 8
        assert gone[0]["reason"] == "the client disconnected"


def test_work_by_pieces_ends_when_nobody_waits(tmp_path: Path) -> None:
    style = loading.load(model(tmp_path), "cpu", engine="torch")
    seen: list[int] = []

    def check() -> None:
        seen.append(1)
        if len(seen) >= 2:
            raise request_queue.GivenUpError

    service._check_between_parts(style, check)
    style.tiled.fits = lambda _: False  # type: ignore[method-assign]
    with pytest.raises(request_queue.GivenUpError):
        style.stylize(np.zeros((1, 3, 1024, 1024), np.float32))
    style.tiled.fits = lambda _: True  # type: ignore[method-assign]
    with pytest.raises(request_queue.GivenUpError):  # between stages, too
        style.stylize(np.zeros((1, 3, 256, 256), np.float32), stroke=2)


def test_large_pictures_do_not_hold_up_small_ones(tmp_path: Path) -> None:
    with served(tmp_path, rate=0.1, queue=8) as running:
        with running.held():
            large = [apart(running.stylize, LARGE) for _ in range(3)]
            running.until(1)
            for _ in range(3):
                assert running.stylize(SMALL).status_code == 200
            assert running.asked().count(2000 * 1500) == 1
            # More than half of the line is never theirs.
            large += [apart(running.stylize, LARGE) for _ in range(2)]
            ends = time.monotonic() + 20
            while not any(found for _, found in large):
                assert time.monotonic() < ends
                time.sleep(0.01)
        for thread, _ in large:
            thread.join()
        assert sorted(found[0].status_code for _, found in large) == [200] * 4 + [503]


def test_what_cannot_be_done_in_time_is_refused_at_once(tmp_path: Path) -> None:
    with served(tmp_path, rate=1.6, seconds=8) as running:
        assert running.stylize(LARGE).status_code == 200  # 4.8 s, which are remembered
        first = apart(running.stylize, LARGE)
        running.until(2)
        refused = running.stylize(LARGE)
        assert refused.status_code == 503
        assert not first[1]  # which is still at work
        assert re.search(r"[3-5] s of work before it", refused.json()["detail"])
        assert int(refused.headers["retry-after"]) >= 1
        alone = running.stylize(LARGE, "&stroke=0.5")  # painted four times as large
        assert "megapixels take about" in alone.json()["detail"]
        assert "retry-after" not in alone.headers  # it would take as long again
        first[0].join()
        assert first[1][0].status_code == 200
        logged = [one for one in running.lines() if one.get("status") == 503]
        assert "before it" in logged[0]["reason"]
        assert logged[0]["size"] == "2000x1500"


def test_the_clock() -> None:
    estimate = TimeEstimate()
    assert estimate.lower_bound("a", 10**7) == 0
    estimate.record("a", 10**4, 0.1)
    assert estimate.lower_bound("a", 10**4) == pytest.approx(0.1)
    assert estimate.lower_bound("a", 10**7) < 1.0  # a tiny image's time is not its pixels'
    estimate.record("a", 4 * 2**20, 8.0)
    assert estimate.lower_bound("a", 2 * 2**20) == pytest.approx(0.2)
    assert estimate.lower_bound("b", 8 * 2**20) == 0
    slow = TimeEstimate()
    slow.record("a", 4 * 2**20, 8.0)
    assert slow.lower_bound("a", 8 * 2**20) == pytest.approx(16.0)
    assert slow.lower_bound("a", 2 * 2**20) == 0  # a larger one's time says nothing of smaller ones
    slow.times["a"][0] = (time.monotonic() - 1000, *slow.times["a"][0][1:])
    assert slow.lower_bound("a", 8 * 2**20) == 0


def test_work_in_flight_is_given_its_time_when_the_service_ends(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with served(tmp_path, rate=3.0, environment={"TMPDIR": str(temporary)}) as running:
        thread, found = apart(running.stylize, photo(1000, 1000))
        running.until(1)
        running.process.send_signal(signal.SIGTERM)
        thread.join()
        assert isinstance(found[0], httpx.Response)
        assert found[0].status_code == 200
        assert running.process.wait(20) == 0
        assert not any("trace" in one for one in running.lines())
    assert list(temporary.iterdir()) == []
    config = server.uvicorn_config(FastAPI(), Settings(limits=Limits(seconds=90)), 10)
    assert (config.timeout_graceful_shutdown or 0) >= 90


def test_the_end_without_traces(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with served(tmp_path, rate=30.0, seconds=1, page=True, environment={"TMPDIR": str(temporary)}) as running:
        assert [*temporary.iterdir()]
        thread, found = apart(running.stylize, photo(300, 300))  # 2.7 s, where 1 is all
        running.until(1)
        running.process.send_signal(signal.SIGTERM)
        thread.join()
        assert isinstance(found[0], httpx.Response)
        assert found[0].status_code == 503
        assert running.process.wait(30) == 0
        log = (tmp_path / "log").read_text()
        assert "Traceback" not in log
    assert list(temporary.iterdir()) == []


def test_a_refusal_is_seen_by_who_still_sends(tmp_path: Path) -> None:
    with served(tmp_path, rate=10.0, queue=1, seconds=20) as running:
        thread, _ = apart(running.stylize, photo(500, 400))
        running.until(1)
        body = bytes(8 * 2**20)
        head = f"POST /v1/stylize?style=slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        for more in ("", "Connection: close\r\n"):
            answer = running.send(f"{head}{more}\r\n".encode() + body)
            assert answer.startswith(b"HTTP/1.1 503"), answer[:100]
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 503
            assert b"connection: close" in answer.lower()
        thread.join()
