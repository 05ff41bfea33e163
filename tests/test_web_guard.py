"""Token, hosts and origins, time of bodies, and what the page may load; before every route."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

from fastapi.testclient import TestClient
from webservice import client, model, photo

from texturenets.errors import UserError
from texturenets.server import signin
from texturenets.server.csp import ContentSecurityPolicy
from texturenets.server.guard import Guard
from texturenets.server.metrics import Metrics, MetricsMiddleware
from texturenets.server.settings import Limits, Settings, size_in_bytes, token_from

TOKEN = "correct-horse"


@pytest.fixture
def guarded(tmp_path: Path) -> TestClient:
    model(tmp_path)
    return client(tmp_path, token=TOKEN)


def test_nothing_but_the_health_check_without_the_token(guarded: TestClient) -> None:
    with guarded as service:
        assert service.get("/healthz").status_code == 200
        assert service.get("/readyz").status_code == 200
        for path in ("/v1/models", "/metrics", "/docs", "/openapi.json", "/", "/nowhere"):
            answer = service.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer"):
            assert service.get("/v1/models", headers={"Authorization": wrong}).status_code == 401
        for sent, said in (
            ({}, "send `Authorization: Bearer TOKEN`"),
            (
                {"Authorization": "Bearer wrong"},
                "the token in the header Authorization is wrong",
            ),
            (
                {"Authorization": f"Basic {TOKEN}"},
                "the header Authorization is not of the form `Bearer TOKEN`",
            ),
        ):
            assert service.get("/v1/models", headers=sent).json()["detail"].startswith(said)
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert service.post("/v1/stylize?style=tiny", content=photo(), headers=right).status_code == 200


def test_a_browser_signs_in_once(guarded: TestClient) -> None:
    with guarded as service:
        answer = service.get(f"/docs?token={TOKEN}&a=1", follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/docs?a=1"  # no token is left in the URL
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert service.get("/docs").status_code == 200
        away = service.get(f"//evil.example/?token={TOKEN}", follow_redirects=False)
        assert not away.headers.get("location", "/").startswith("//")


def test_cookies_of_other_programs_on_the_host_are_in_nobodys_way(guarded: TestClient) -> None:
    with guarded as service:
        answer = service.get(f"/docs?token={TOKEN}", follow_redirects=False)
        mine = answer.headers["set-cookie"].partition(";")[0]
        service.cookies.clear()
        for other in ('prefs={"theme":"dark"}; ', "a=b,c; ", "=; "):
            assert service.get("/docs", headers={"Cookie": other + mine}).status_code == 200
        assert service.get("/v1/models", headers={"Cookie": 'prefs={"theme":"dark"}'}).status_code == 401


def test_the_form_of_a_browser(guarded: TestClient) -> None:
    with guarded as service:
        wrong = service.post(signin.PATH, data={"token": "wrong"})
        assert b"token is wrong" in wrong.content
        assert service.get("/docs").status_code == 401
        long = service.post(signin.PATH, data={"token": "x" * (signin.MAX_FORM_BYTES + 1)})
        assert long.status_code == 413
        right = service.post(signin.PATH, data={"token": TOKEN}, follow_redirects=False)
        assert right.status_code == 303
        assert service.get("/docs").status_code == 200


def test_the_cookie_is_for_tls_where_there_is_tls(tmp_path: Path) -> None:
    with client(tmp_path, token=TOKEN) as service:
        form = {"data": {"token": TOKEN}, "follow_redirects": False}
        assert "Secure" not in service.post(signin.PATH, **form).headers["set-cookie"]
        service.cookies.clear()
        behind = service.post(signin.PATH, headers={"X-Forwarded-Proto": "https"}, **form)
        service.cookies.clear()
        assert "; Secure" in behind.headers["set-cookie"]
        assert "; Secure" in service.post(f"https://localhost{signin.PATH}", **form).headers["set-cookie"]


def test_tokens_are_not_guessed_for_long(guarded: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded as service:
        for i in range(signin.Attempts.MAX_TRIES):
            if i % 2:
                assert service.post(signin.PATH, data={"token": f"wrong{i}"}).status_code == 401
            else:
                assert service.get(f"/docs?token=wrong{i}").status_code == 401
        for answer in (service.post(signin.PATH, data={"token": TOKEN}), service.get(f"/docs?token={TOKEN}")):
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 60
        right = {"Authorization": f"Bearer {TOKEN}"}  # programs go on
        assert service.get("/v1/models", headers=right).status_code == 200
        now = time.monotonic() + 61
        monkeypatch.setattr(time, "monotonic", lambda: now)
        assert service.post(signin.PATH, data={"token": TOKEN}, follow_redirects=False).status_code == 303
    attempts = signin.Attempts()
    for i in range(2000):
        attempts.add(str(i))
    assert len(attempts.times) == attempts.MAX_CLIENTS


def test_pages_of_others_are_refused(tmp_path: Path) -> None:
    friends = ("https://friend.example", "http://friend.example:8000", "null")
    with client(tmp_path, hosts=("Paint.example", "fe80::1"), origins=friends) as service:
        assert service.get("/v1/models", headers={"Host": "evil.example"}).status_code == 421
        assert service.get("/v1/models", headers={"Host": "paint.example"}).status_code == 200
        assert service.get("/v1/models", headers={"Host": "[abc:80]"}).status_code == 421
        for path in ("/healthz", "/readyz"):  # probes ask by an address
            assert service.get(path, headers={"Host": "10.0.0.7:7860"}).status_code == 200
        own = {"Host": "paint.example", "Origin": "https://paint.example"}
        assert service.get("/v1/models", headers=own).status_code == 200
        stranger = service.get("/v1/models", headers={"Origin": "https://evil.example"})
        assert stranger.status_code == 403
        assert "access-control-allow-origin" not in stranger.headers
        friend = service.get("/v1/models", headers={"Origin": "https://friend.example"})
        assert friend.headers["access-control-allow-origin"] == "https://friend.example"
        for origin in friends[1:]:
            assert service.get("/v1/models", headers={"Origin": origin}).status_code == 200
        assert service.get("/v1/models", headers={"Host": "[fe80::1]:80"}).status_code == 200


def test_a_friendly_page_may_use_the_documented_headers(tmp_path: Path) -> None:
    friend = {"Origin": "https://friend.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-request-id"}
    with client(tmp_path, origins=(friend["Origin"],)) as service:
        assert service.options("/v1/stylize", headers=friend | asked).status_code == 200
        for path in ("/v1/models", "/nowhere"):
            shown = service.get(path, headers=friend).headers["access-control-expose-headers"]
            assert shown.lower().split(", ") == ["x-request-id", "retry-after"]


def test_a_foreign_preflight_is_a_problem(tmp_path: Path) -> None:
    friend, ask = "https://friend.example", "Access-Control-Request-Method"
    with client(tmp_path, origins=(friend,)) as service:
        assert service.options("/v1/stylize", headers={"Origin": friend, ask: "POST"}).status_code == 200
        for origin, method, what in (
            ("https://evil.example", "POST", "origin"),
            (friend, "PATCH", "method"),
            ("https://evil.example", "PUT", "origin, method"),
        ):
            answer = service.options("/v1/stylize", headers={"Origin": origin, ask: method})
            assert answer.status_code == 400
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == 400
            assert answer.json()["detail"] == f"not allowed for pages of other origins: {what}"
            assert ("access-control-allow-origin" in answer.headers) == (origin == friend)
            assert "origin" in answer.headers["vary"].lower()


def test_long_headers_are_refused(tmp_path: Path) -> None:
    with client(tmp_path) as service:
        assert service.get("/v1/models", headers={"X-Long": "a" * 30_000}).status_code == 200
        answer = service.get("/v1/models", headers={f"X-{i}": "a" * 90 for i in range(400)})
        assert (answer.status_code, answer.json()["status"]) == (431, 431)


def run(app: Any, messages: list[dict[str, Any]], seconds: float = 0.1) -> list[dict[str, Any]]:
    """What `app` behind a guard sends for a POST whose body comes as `messages` and then not at all."""
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "method": "POST", "path": "/upload", "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(app, Settings(limits=Limits(seconds=seconds, bytes=100)))
    asyncio.run(guard(scope, receive, send))
    return sent


async def swallowing(_: Any, receive: Any, send: Any) -> None:
    """An application that answers its own way whatever goes wrong with the body, as a mounted one may."""
    try:
        while (await receive()).get("more_body"):
            pass
        status = 200
    except Exception:  # noqa: BLE001
        status = 500
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def part(size: int) -> dict[str, Any]:
    return {"type": "http.request", "body": bytes(size), "more_body": True}


def test_limits_hold_on_mounted_applications() -> None:
    assert run(swallowing, [{**part(9), "more_body": False}])[0]["status"] == 200
    assert [m.get("status") for m in run(swallowing, [part(10)])] == [408, None]
    assert [m.get("status") for m in run(swallowing, [part(60), part(60)])] == [413, None]


def test_a_page_loads_nothing_from_elsewhere() -> None:
    page = (
        b'<link rel="preconnect" href="https://fonts.example/a"><link href="own.css">'
        b'<script src="https://cdn.example/x.js" async></script><script src="own.js"></script>'
    )

    async def app(_: Any, receive: Any, send: Any) -> None:
        await receive()
        fields = [(b"content-type", b"text/html"), (b"content-length", b"9999")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": page[:70], "more_body": True})
        await send({"type": "http.response.body", "body": page[70:]})

    start, body = run(ContentSecurityPolicy(app), [{"type": "http.request", "body": b""}])
    assert body["body"] == b'<link href="own.css"><script src="own.js"></script>'
    fields = dict(start["headers"])
    assert fields[b"content-length"] == str(len(body["body"])).encode()
    assert b"default-src 'self'" in fields[b"content-security-policy"]


def test_what_is_cut_off_at_the_end_is_told_so() -> None:
    sent: list[Any] = []

    async def app(_: Any, __: Any, ___: Any) -> None:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    async def go() -> None:
        observer = MetricsMiddleware(app, Metrics(lambda: 0, lambda: 0))
        scope = {"type": "http", "method": "POST", "path": "/v1/sample", "headers": []}
        task = asyncio.ensure_future(observer(scope, asyncio.Future, send))
        await asyncio.sleep(0.01)
        task.cancel()  # as uvicorn does when it waits no longer
        await task

    asyncio.run(go())
    assert sent[0]["status"] == 503
    assert b"the service is shutting down" in sent[1]["body"]


def test_settings_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert size_in_bytes("32M", "--max-bytes") == 32 * 2**20
    with pytest.raises(UserError, match="for example 32M"):
        size_in_bytes("lots", "--max-bytes")
    with pytest.raises(UserError, match="--max-pixels 0"):
        Limits(pixels=0)
    (tmp_path / "token").write_text(" secret-token\n")
    assert token_from(tmp_path / "token") == "secret-token"
    monkeypatch.setenv("TEXTURENETS_TOKEN", "short")
    with pytest.raises(UserError, match="8 or more"):
        token_from(None)
    monkeypatch.delenv("TEXTURENETS_TOKEN")
    assert token_from(None) is None
    assert Settings(host="0.0.0.0").known_hosts() is None
    assert "localhost" in (Settings().known_hosts() or ())
