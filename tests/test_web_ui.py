"""What the page lets in and keeps, without a browser."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra `web` is not installed")

from fastapi.testclient import TestClient
from webservice import client, model, photo

from texturenets.web.models import Catalogue
from texturenets.web.problems import Problem
from texturenets.web.ui import gallery, sessions, store, train_tab

API = "/page/gradio_api"


@pytest.fixture
def page(tmp_path: Path) -> TestClient:
    model(tmp_path)
    return client(tmp_path, limits={"bytes": 400_000}, page=True)


def event(path: str, **more: Any) -> dict[str, Any]:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}, **more}
    return {"data": [[{"a": file}]], "fn_index": 0, "session_hash": "abc"}


def test_the_page_is_there_and_asks_nobody_else(page: TestClient) -> None:
    with page as service:
        answer = service.get("/")
        assert answer.status_code == 200
        assert answer.url.path == "/page/"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        config = service.get("/page/config").json()
        assert config["analytics_enabled"] is False
        assert "fonts.googleapis" not in answer.text + service.get("/page/theme.css").text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/file=/etc/passwd"),
        ("GET", "/file=http://127.0.0.1:9/a"),
        ("GET", "/proxy=http://127.0.0.1:9/"),
        ("POST", "/run/predict"),
        ("POST", "/call/f"),
        ("POST", "/vibe-edit"),
        ("GET", "/runs"),
    ],
)
def test_other_routes_of_gradio_are_closed(page: TestClient, method: str, path: str) -> None:
    with page as service:
        answer = service.request(method, API + path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_events_name_no_files_but_those_uploaded(page: TestClient) -> None:
    with page as service:
        for path in ("/etc/passwd", "http://127.0.0.1:9/a.png", "../../etc/passwd", "", "\0"):
            assert service.post(f"{API}/queue/join", json=event(path)).status_code == 422, path
        inside = event(str(store.folder() / "files" / "a.png"), url="data:image/png;base64,AAAA")
        assert service.post(f"{API}/queue/join", json=inside).status_code == 422
        assert service.post(f"{API}/queue/join", content=b"[" * 60_000).status_code == 400
        assert service.post(f"{API}/queue/join", content=b"1" * 300_000).status_code == 413


def test_uploads_are_bounded_as_bodies_are(page: TestClient) -> None:
    with page as service:
        small = service.post(f"{API}/upload", files={"files": ("a.png", photo(20, 20), "image/png")})
        assert small.status_code == 200
        (kept,) = map(Path, small.json())
        assert kept.is_relative_to(store.folder())
        assert service.post(f"{API}/upload", files={"files": ("a.png", bytes(500_000))}).status_code == 413
    assert not kept.exists()  # the service has ended


def test_the_token_holds_on_the_pages_routes(tmp_path: Path) -> None:
    with client(tmp_path, token="correct-horse", page=True) as service:
        for path in ("/page/", "/page/config", f"{API}/queue/data?session_hash=a"):
            assert service.get(path).status_code == 401
        assert service.post(f"{API}/upload", files={"files": ("a", b"a")}).status_code == 401
        asked = service.get("/page/", headers={"Accept": "text/html"})
        assert asked.status_code == 401
        assert 'action="/sign-in"' in asked.text
        wrong = service.post("/sign-in", data={"token": "wrong"}, follow_redirects=False)
        assert wrong.status_code == 401
        assert "not its token" in wrong.text
        right = service.post("/sign-in", data={"token": "correct-horse"}, follow_redirects=False)
        assert (right.status_code, right.headers["location"]) == (303, "/")
        assert service.get("/page/").status_code == 200


def test_files_go_with_what_replaces_them_and_with_the_visitor() -> None:
    kept = store.Store(10**6)
    first = kept.put("me", "painting", {"a.png": b"1"})
    second = kept.put("me", "painting", {"a.png": b"2", "b.png": b"3"})
    other = kept.put("you", "painting", {"a.png": b"4"})
    assert not first[0].exists()
    assert [path.read_bytes() for path in second] == [b"2", b"3"]
    kept.forget("me")
    assert not any(path.exists() for path in second)
    assert other[0].exists()
    kept.forget("you")


def test_a_file_that_somebody_else_has_stays() -> None:
    kept = store.Store(10**6)
    (path,) = kept.put("me", "photo", {"a.png": b"1"})
    kept.keep("you", "photo", [path])  # Gradio keeps the same picture given twice as one file
    kept.drop(path)
    kept.forget("me")
    assert path.exists()
    kept.forget("you")
    assert not path.exists()


def test_the_oldest_files_go_when_there_are_too_many() -> None:
    kept = store.Store(130)
    paths = [kept.put("me", str(i), {"a": bytes(40)})[0] for i in range(3)]
    now = time.time()
    for i, path in enumerate(paths):
        os.utime(path, (now + i - 10, now + i - 10))
    kept.trim(60)
    assert [path.exists() for path in paths] == [False, False, True]
    os.utime(paths[2], (now - 2 * store.OLDEST, now - 2 * store.OLDEST))
    kept.trim()
    assert not paths[2].exists()


def test_galleries_show_what_there_is(tmp_path: Path) -> None:
    model(tmp_path, "my_own-style_iv")
    catalogue = Catalogue(tmp_path)
    items = {caption: file for file, caption in gallery.items(catalogue, "style")}
    assert "My own style IV" in items
    assert all(Path(file).is_file() for file in items.values())
    assert "My own style IV" not in {caption for _, caption in gallery.items(catalogue, "texture")}


@pytest.mark.parametrize(
    ("change", "pace"), [({}, 0.5), ({"device": "cuda"}, 0.0), ({"processors": 64}, 0.0), ({"step": 0}, 0.0)]
)
def test_estimates_are_by_the_clock_of_such_a_machine(
    change: dict[str, Any], pace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_tab, "only_cpu", lambda: True)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    run = {"batch_size": 2, "image_size": 16}
    told = {"device": "cpu", "processors": 2, "step": 10, "seconds": 2560.0, "run": run}
    assert train_tab._pace({**told, **change}) == pace
    assert train_tab._pace({k: v for k, v in told.items() if k != "device"}) == 0


def test_many_sessions_do_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def join(session: str, more: int = 0) -> Any:
        data = {"data": ["x" * more], "fn_index": 4, "session_hash": session}
        return service.post(f"{API}/queue/join", json=data)

    monkeypatch.setattr(sessions, "CLOSED", 8)
    model(tmp_path)
    with client(tmp_path, page=True) as service:
        for i in range(40):
            assert join(f"s{i}").status_code == 200
        assert join("large", 2**17).status_code == 413
        assert join("no session").status_code == 400
        app: Any = service.app
        while not hasattr(app, "routes"):
            app = app.app
        gradio = next(route.app for route in app.routes if getattr(route, "path", "") == "/page")
        while not hasattr(gradio, "state_holder"):
            gradio = gradio.app
        queue = gradio.get_blocks()._queue
        for kept in (
            queue.pending_messages_per_session,
            queue.pending_event_ids_session,
            gradio.state_holder.session_data,
        ):
            assert len(kept) <= 8
            assert "s39" in kept


def test_open_pages_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "CLOSED", 2)
    monkeypatch.setattr(sessions, "MOST", 2)
    gone: list[str] = []
    known = sessions.Sessions(gone.append)
    known.seen("a")
    with known.connected("a"):
        for name in ("b", "c", "a", "d"):
            known.seen(name)
        assert gone == ["b"]
        with known.connected("d"), pytest.raises(Problem, match="2 times"):
            known.seen("e")
    known.seen("e")
    assert gone == ["b", "c"]
    assert not known.open


def test_an_upload_of_very_many_files_is_refused(page: TestClient) -> None:
    with page as service:
        for count, status in ((100, 200), (101, 413), (1000, 413)):
            files = [("files", (f"{i}.png", b"x", "image/png")) for i in range(count)]
            answer = service.post(f"{API}/upload", files=files)
            assert answer.status_code == status, answer.text


def test_the_store_is_bounded_in_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "folder", lambda: tmp_path)
    monkeypatch.setattr(store, "MOST_FILES", 5)
    kept = store.Store(10**6)
    for i in range(12):
        path = kept.put(f"s{i}", "photo", {"a.png": b"x"})[0]
        os.utime(path, (time.time() + i, time.time() + i))
    assert len(list((tmp_path / "files").rglob("*.png"))) <= 5
    assert path.exists()
