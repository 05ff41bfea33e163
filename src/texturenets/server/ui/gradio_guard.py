"""The allowlist of Gradio's routes: only those that the page needs, and only files of the page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from texturenets.server.http_errors import HTTPProblem
from texturenets.server.ui.sessions import Sessions
from texturenets.server.ui.store import Store

READ = re.compile(
    r"/?|/(config|theme\.css|favicon\.ico|manifest\.json)|/(assets|static|svelte)/.+"
    r"|/gradio_api/(app_id|info|startup-events|theme\.css|user|login_check|upload_progress|queue/data)/?"
    r"|/gradio_api/heartbeat/[A-Za-z0-9]+|/gradio_api/file=.+"
)
WRITE = re.compile(r"/gradio_api/(queue/join|upload|cancel|reset)/?")
FILE = "/gradio_api/file="
JOIN = "/gradio_api/queue/join"
UPLOAD = "/gradio_api/upload"
MESSAGES = "/gradio_api/queue/data"
HEARTBEAT = "/gradio_api/heartbeat/"
LONGEST_EVENT = 2**16
"""Maximum bytes of an event: the values of a form and the paths of its files, not the files themselves."""

FILES = 100
"""Maximum number of files in one upload."""


class GradioGuard:
    """ASGI middleware around the app with Gradio mounted at `at`: allowed requests pass, others get status 4xx."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        at: str,
        store: Store,
        store_folder: Path,
        sessions: Sessions,
        events: Collection[int],
        listens: Callable[[str], bool],
    ) -> None:
        """`store_folder`: the only folder whose files may be requested. `events`: indices of functions that it calls.

        `listens`: whether Gradio has messages for a session, or will have some.
        """
        self.app, self.at, self.store, self.store_folder, self.sessions = (
            app,
            at,
            store,
            store_folder,
            sessions,
        )
        self.events, self.listens = events, listens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or answer with an error."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not (path == self.at or path.startswith(self.at + "/")):
            await self.app(scope, receive, send)
            return
        there = path.removeprefix(self.at).rstrip("/")
        try:
            self._check(scope["method"], path.removeprefix(self.at))
            if there == JOIN:
                receive = _again(await self._event(receive))
            elif there == MESSAGES and not self.listens(
                _session(scope)
            ):  # Gradio would fail within its answer
                raise HTTPProblem(404, "the page was opened before the service started: reload the page")
            elif there == UPLOAD:
                await asyncio.to_thread(self.store.trim, _length(scope))
        except HTTPProblem as problem:
            await problem.response()(scope, receive, send)
            return
        if there == UPLOAD:
            await self._upload(scope, receive, send)
        elif there.startswith(HEARTBEAT):
            with self.sessions.connected(there.removeprefix(HEARTBEAT)):
                await self.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward an upload of at most FILES files."""
        kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
        found = re.search(r'boundary="?([^";]+)', kind)
        mark = b"--" + (found[1] if found else "").encode("latin-1")
        tail, count = b"", 0
        refused: HTTPProblem | None = None

        async def counted() -> Message:
            nonlocal tail, count, refused
            message = await receive()
            data = tail + message.get("body", b"")
            count += data.count(mark)
            tail = data[len(data) - len(mark) + 1 :] if len(data) >= len(mark) else data
            if count > FILES + 1:  # the boundary also ends the body
                refused = HTTPProblem(413, f"an upload of more than {FILES} files")
                raise refused
            return message

        async def guarded(message: Message) -> None:
            if refused is None:  # else Gradio handles it
                await send(message)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            if refused is None:
                raise
        if refused is not None:
            await refused.response()(scope, receive, send)

    def _check(self, method: str, path: str) -> None:
        known = READ if method in ("GET", "HEAD") else WRITE
        if known.fullmatch(path) is None:
            raise HTTPProblem(404, "the page has nothing here")
        if path.startswith(FILE) and not self._is_own(unquote(path.removeprefix(FILE))):
            raise HTTPProblem(404, "no such file, or no longer")

    def _is_own(self, path: str) -> bool:
        try:
            return Path(path).resolve().is_relative_to(self.store_folder)
        except (OSError, ValueError):
            return False

    async def _event(self, receive: Receive) -> bytes:
        """The body of an event. Only files of the page may be named in it: Gradio would read and fetch any."""
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > LONGEST_EVENT:
                raise HTTPProblem(413, f"an event has more than {LONGEST_EVENT} bytes")
            more = message["type"] == "http.request" and message.get("more_body", False)
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            raise HTTPProblem(400, "this is not an event of the page") from None
        known = event if isinstance(event, dict) else {}
        session, function = known.get("session_hash"), known.get("fn_index")
        if not isinstance(session, str) or not re.fullmatch(r"[A-Za-z0-9]{1,64}", session):
            raise HTTPProblem(400, "this is not an event of the page")
        if type(function) is not int or function not in self.events:
            raise HTTPProblem(400, "this is not an event of the page")
        self.sessions.seen(session)
        left: list[Any] = [event]
        while left:
            one = left.pop()
            if isinstance(one, dict):
                path, address = one.get("path"), one.get("url")
                if path is not None and not (isinstance(path, str) and self._is_own(path)):
                    raise HTTPProblem(
                        422, "a file that was not uploaded here or is no longer here: upload it again"
                    )
                if isinstance(address, str) and address.startswith("data:"):
                    raise HTTPProblem(422, "an image within an event: upload it")
                left.extend(one.values())
            elif isinstance(one, list):
                left.extend(one)
        return body


def _again(body: bytes) -> Receive:
    """`receive` for a body that has been read."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        return {"type": "http.disconnect"}

    return receive


def _length(scope: Scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def _session(scope: Scope) -> str:
    """The session that a request for messages names; empty without."""
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("session_hash", [""])[-1]
