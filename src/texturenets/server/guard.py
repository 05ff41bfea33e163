"""Checks every request before it reaches a route: host, origin, token, and the size and duration of its body."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import time
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from texturenets.server import signin
from texturenets.server.csp import policy
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.settings import Settings, host_name

COOKIE = "texturenets"
"""The cookie that identifies a browser which has sent the token once."""

DRAIN_SECONDS = 2.0
"""How long the rest of a body is read after a response that was sent before the whole body had arrived: a connection
that is closed with bytes unread is reset, and the client may lose the response."""

MAX_HEADER_BYTES = 32 * 2**10
"""Maximum bytes of a request's headers, as in other web servers; uvicorn's own limit is about twice as high."""

PUBLIC_PATHS = ("/healthz", "/readyz", "/favicon.ico")
"""Need no token: load balancers and orchestrators rarely can send one, and the icon is no secret."""

COMMON_ERRORS = (400, 403, 413, 421, 431)
"""Statuses that any request may get here. Requests for other than PUBLIC_PATHS may also get 401, and with a token in
the URL 429."""


class Guard:
    """ASGI middleware that rejects requests with a wrong host, origin or token, and bodies too large or too slow."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.hosts = settings.known_hosts()
        self.origins = frozenset(settings.origins)
        token = settings.token
        # Not the token itself: whoever finds the cookie in a browser cannot use it as a token elsewhere.
        self.attempts = signin.Attempts()
        self.cookie = hashlib.sha256(b"texturenets " + token.encode()).hexdigest() if token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request, or respond with an error or the sign-in form."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})  # no route takes WebSockets
                return
            await self.app(scope, receive, send)
            return
        _make_path_relative(scope)
        headers = Headers(scope=scope)
        receive, send = _drain_after_early_response(headers, receive, send)
        try:
            self._check_host_and_origin(headers, any_host=scope["path"] in PUBLIC_PATHS)
            _check_framing(headers)
            if scope["path"] not in PUBLIC_PATHS and not self._has_token(headers):
                if (token := self._token_in_url(scope)) is not None:
                    await self._sign_in(token, _url_without_token(scope), scope)(scope, receive, send)
                    return
                if scope["path"] == signin.PATH and scope["method"] == "POST":
                    await self._sign_in(await self._token_in_form(receive), "/", scope)(scope, receive, send)
                    return
                if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                    await _form(wrong=False)(scope, receive, send)
                    return
                raise HTTPProblem(401, _unauthorized(headers), {"WWW-Authenticate": "Bearer"})
            self._check_length(headers)
            if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
                raise HTTPProblem(431, f"the headers have more than {MAX_HEADER_BYTES} bytes")
        except HTTPProblem as problem:
            await problem.response()(scope, receive, send)
            return
        await self._forward_limited(scope, receive, send)

    def _check_host_and_origin(self, headers: Headers, *, any_host: bool) -> None:
        """Raises HTTPProblem for requests that somebody else's page makes a browser send (DNS rebinding, CSRF).

        `any_host`: also for a health check, which may ask by the address of the machine.
        """
        host = headers.get("host", "")
        if not any_host and self.hosts is not None and host_name(host) not in self.hosts:
            raise HTTPProblem(421, "this service is not known by that host name; --public-host adds one")
        origin = headers.get("origin")
        if origin and origin not in self.origins and origin.partition("://")[2] != host:
            raise HTTPProblem(
                403, "pages of other origins may not call this service; --allow-origin allows one"
            )

    def _has_token(self, headers: Headers) -> bool:
        """Whether the request carries the token or its cookie, or none is needed."""
        token = self.settings.token
        if token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
            return True
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return hmac.compare_digest(cookie.encode(), self.cookie.encode())

    async def _token_in_form(self, receive: Receive) -> str:
        """The token in a submitted sign-in form."""
        body, more = b"", True
        try:
            async with asyncio.timeout(self.settings.limits.seconds):
                while more and len(body) <= signin.MAX_FORM_BYTES:
                    message = await receive()
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise HTTPProblem(408, "the form did not arrive in time") from None
        if more or len(body) > signin.MAX_FORM_BYTES:
            raise HTTPProblem(413, f"the form has more than {signin.MAX_FORM_BYTES} bytes")
        return dict(parse_qsl(body.decode("latin-1"))).get("token", "").strip()

    def _token_in_url(self, scope: Scope) -> str | None:
        """The token of a page opened with ?token=TOKEN."""
        if scope["method"] != "GET":
            return None
        return dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")

    def _sign_in(self, token: str, target: str, scope: Scope) -> Response:
        """A redirect to `target` that sets the cookie; for a wrong token the form again.

        Raises HTTPProblem (429) after too many wrong tokens.
        """
        client = (scope.get("client") or ("", 0))[0]
        if wait := self.attempts.wait(client):
            raise HTTPProblem(
                429, f"too many wrong tokens: try again in {wait} s", {"Retry-After": str(wait)}
            )
        if not hmac.compare_digest(token.encode(), (self.settings.token or "").encode()):
            self.attempts.add(client)
            return _form(wrong=True)
        secure = scope.get("scheme") == "https" or Headers(scope=scope).get("x-forwarded-proto") == "https"
        cookie = f"{COOKIE}={self.cookie}; HttpOnly; SameSite=Strict; Path=/{'; Secure' if secure else ''}"
        return RedirectResponse(target, 303, {"Set-Cookie": cookie})

    def _check_length(self, headers: Headers) -> None:
        length, limit = headers.get("content-length"), self.settings.limits.bytes
        if length is not None and (length.isascii() and length.isdigit()) and int(length) > limit:
            raise HTTPProblem(413, f"the body has {length} bytes; at most {limit} are allowed")

    async def _forward_limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request; a body with too many bytes, or that takes too long, is answered with an error."""
        limits = self.settings.limits
        deadline = time.monotonic() + limits.seconds
        received, body_complete, response_started = 0, False, False
        failed: HTTPProblem | None = None

        async def receive_limited() -> Message:
            nonlocal received, body_complete, failed
            if body_complete:  # from now on the only message is that the client has disconnected
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                failed = HTTPProblem(408, f"the body did not arrive within {limits.seconds:g} s")
                raise failed from None
            received += len(message.get("body", b""))
            if received > limits.bytes:
                failed = HTTPProblem(413, f"the body has more than {limits.bytes} bytes")
                raise failed
            body_complete = not message.get("more_body", False)
            return message

        async def send_unless_failed(message: Message) -> None:
            nonlocal response_started
            if failed is None:
                response_started = True
                await send(message)
            elif not response_started:  # in place of the application's own response to the exception
                response_started = True
                await failed.response()(scope, receive, send)

        try:
            await self.app(scope, receive_limited, send_unless_failed)
        except Exception:
            if failed is None:
                raise
        if failed is not None and not response_started:
            await failed.response()(scope, receive, send)


def _make_path_relative(scope: Scope) -> None:
    """Reduce a request target that is a whole URL, as proxies send it, to its path (RFC 9112, section 3.2.2)."""
    found = re.match(r"https?://[^/?#]*", scope["path"], re.IGNORECASE)
    if found:
        scope["path"] = scope["path"][found.end() :] or "/"
        scope["raw_path"] = scope["raw_path"][found.end() :] or b"/"


def _unauthorized(headers: Headers) -> str:
    """The error message for a request without the right token."""
    given = headers.get("authorization")
    if given is None:
        return "send `Authorization: Bearer TOKEN`; in a browser open the page once with ?token=TOKEN"
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return "the header Authorization is not of the form `Bearer TOKEN`"
    return "the token in the header Authorization is wrong"


def _form(*, wrong: bool) -> Response:
    """The form that asks for the token."""
    headers = {"Content-Security-Policy": policy(), "WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
    return Response(signin.page(wrong=wrong), 401, headers, "text/html")


def _url_without_token(scope: Scope) -> str:
    """The path and query of a page that was opened with ?token=TOKEN, without the token."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"))
    rest = urlencode([(key, value) for key, value in pairs if key != "token"])
    path = "/" + str(scope["path"]).lstrip("/")  # browsers take "//name" for another host
    return path + (f"?{rest}" if rest else "")


def _check_framing(headers: Headers) -> None:
    """Raises HTTPProblem for two headers that state the length (request smuggling; RFC 9112, section 6.3)."""
    if "content-length" in headers and "transfer-encoding" in headers:
        raise HTTPProblem(400, "Content-Length and Transfer-Encoding exclude each other")


def _drain_after_early_response(headers: Headers, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """`receive` and `send` for an application that may respond before it has read the whole body.

    Such a response says that the connection closes. It ends once the rest of the body has been read and dropped, or
    after DRAIN_SECONDS.
    """
    length = headers.get("content-length", "0")
    body_complete = length.strip("0") == "" and "transfer-encoding" not in headers
    # A client that asks for "100 Continue" sends its body only after that, so there is nothing to drain.
    awaits_continue = "100-continue" in headers.get("expect", "").lower()
    early = False

    async def receive_tracked() -> Message:
        nonlocal body_complete, awaits_continue
        awaits_continue = False
        message = await receive()
        ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        body_complete = body_complete or ended
        return message

    async def send_and_drain(message: Message) -> None:
        nonlocal early
        if message["type"] == "http.response.start" and not body_complete:
            early = True
            fields = [(k, v) for k, v in message.get("headers", []) if k.lower() != b"connection"]
            message = {**message, "headers": [*fields, (b"connection", b"close")]}
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and early and not body_complete and not awaits_continue:
            await send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b""}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    while not body_complete:
                        await receive_tracked()
        await send(message)

    return receive_tracked, send_and_drain
