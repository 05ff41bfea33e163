"""Who is answered, and how much is taken: in front of every route, the page's own too."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from texturenets.server import signin
from texturenets.server.csp import policy
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.settings import Settings, host_name

COOKIE = "texturenets"
DRAIN = 2.0
"""Seconds for which what is still on its way is read after an answer that came before the whole body: a connection
that is closed with bytes unread is reset, and the client may lose the answer."""

LONGEST_HEADERS = 32 * 2**10
"""Bytes of a request's headers, as web servers have it; the server itself stops at about twice as many."""

OPEN = ("/healthz", "/readyz", "/favicon.ico")
"""Answered without a token: what asks whether the service lives is seldom told secrets; nor is the icon one."""


ANY = (400, 403, 413, 421, 431)
"""What any request may be refused with here; 401 and, where a token is given in the URL, 429 all but OPEN too."""


class Guard:
    """An ASGI application around another that sees to host, origin, token, bytes and time of bodies."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.hosts = settings.known_hosts()
        self.origins = frozenset(settings.origins)
        token = settings.token
        # The cookie is not the token itself: who finds it in a browser cannot use it as one elsewhere.
        self.attempts = signin.Attempts()
        self.cookie = hashlib.sha256(b"texturenets " + token.encode()).hexdigest() if token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})  # there is none
                return
            await self.app(scope, receive, send)
            return
        _without_authority(scope)
        headers = Headers(scope=scope)
        receive, send = _reading(headers, receive, send)
        try:
            self._check_names(headers)
            _check_framing(headers)
            if scope["path"] not in OPEN and not self._knows(headers):
                if (given := self._in_address(scope)) is not None:
                    await self._sign_in(given, _without_token(scope), scope)(scope, receive, send)
                    return
                if scope["path"] == signin.AT and scope["method"] == "POST":
                    await self._sign_in(await self._in_form(receive), "/", scope)(scope, receive, send)
                    return
                if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                    await _form(wrong=False)(scope, receive, send)
                    return
                raise HTTPProblem(401, _unauthorized(headers), {"WWW-Authenticate": "Bearer"})
            self._check_length(headers)
            if sum(len(name) + len(value) for name, value in scope["headers"]) > LONGEST_HEADERS:
                raise HTTPProblem(431, f"the headers have more than {LONGEST_HEADERS} bytes")
        except HTTPProblem as problem:
            await problem.response()(scope, receive, send)
            return
        await self._limited(scope, receive, send)

    def _check_names(self, headers: Headers) -> None:
        """Raises HTTPProblem where a browser was led here by a page of somebody else's."""
        host = headers.get("host", "")
        if self.hosts is not None and host_name(host) not in self.hosts:
            raise HTTPProblem(421, "this service is not known by that name; its --public-host gives it one")
        origin = headers.get("origin")
        if origin and origin not in self.origins and origin.partition("://")[2] != host:
            raise HTTPProblem(
                403, "pages of other origins may not call this service; its --allow-origin lets them"
            )

    def _knows(self, headers: Headers) -> bool:
        token = self.settings.token
        if token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
            return True
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return kept is not None and hmac.compare_digest(kept.value.encode(), self.cookie.encode())

    async def _in_form(self, receive: Receive) -> str:
        """The token in the form's answer."""
        body, more = b"", True
        try:
            async with asyncio.timeout(self.settings.limits.seconds):
                while more and len(body) <= signin.LONGEST:
                    message = await receive()
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise HTTPProblem(408, "the form did not arrive in time") from None
        if more or len(body) > signin.LONGEST:
            raise HTTPProblem(413, f"the form has more than {signin.LONGEST} bytes")
        return dict(parse_qsl(body.decode("latin-1"))).get("token", "").strip()

    def _in_address(self, scope: Scope) -> str | None:
        """The token of a page opened with ?token=TOKEN."""
        if scope["method"] != "GET":
            return None
        return dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token")

    def _sign_in(self, given: str, there: str, scope: Scope) -> Response:
        """A cookie, and on to `there`; or the form once more. Raises HTTPProblem after too many wrong tokens."""
        who = (scope.get("client") or ("", 0))[0]
        if wait := self.attempts.wait(who):
            raise HTTPProblem(
                429, f"too many wrong tokens: try again in {wait} s", {"Retry-After": str(wait)}
            )
        if not hmac.compare_digest(given.encode(), (self.settings.token or "").encode()):
            self.attempts.add(who)
            return _form(wrong=True)
        secure = scope.get("scheme") == "https" or Headers(scope=scope).get("x-forwarded-proto") == "https"
        cookie = f"{COOKIE}={self.cookie}; HttpOnly; SameSite=Strict; Path=/{'; Secure' if secure else ''}"
        return RedirectResponse(there, 303, {"Set-Cookie": cookie})

    def _check_length(self, headers: Headers) -> None:
        length, most = headers.get("content-length"), self.settings.limits.bytes
        if length is not None and (length.isascii() and length.isdigit()) and int(length) > most:
            raise HTTPProblem(413, f"the body has {length} bytes; at most {most} are taken")

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, counting bytes and seconds of the body."""
        limits = self.settings.limits
        ends = time.monotonic() + limits.seconds
        taken, whole, begun = 0, False, False
        failed: HTTPProblem | None = None

        async def counted() -> Message:
            nonlocal taken, whole, failed
            if whole:  # only the news that the client has gone comes now
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                failed = HTTPProblem(408, f"the body did not arrive within {limits.seconds:g} s")
                raise failed from None
            taken += len(message.get("body", b""))
            if taken > limits.bytes:
                failed = HTTPProblem(413, f"the body has more than {limits.bytes} bytes")
                raise failed
            whole = not message.get("more_body", False)
            return message

        async def guarded(message: Message) -> None:
            nonlocal begun
            if failed is None:
                begun = True
                await send(message)
            elif not begun:  # whatever the application makes of it
                begun = True
                await failed.response()(scope, receive, send)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            if failed is None:
                raise
        if failed is not None and not begun:
            await failed.response()(scope, receive, send)


def _without_authority(scope: Scope) -> None:
    """Make a request's target a path where it is a whole URL, as proxies send it (RFC 9112, section 3.2.2)."""
    found = re.match(r"https?://[^/?#]*", scope["path"], re.IGNORECASE)
    if found:
        scope["path"] = scope["path"][found.end() :] or "/"
        scope["raw_path"] = scope["raw_path"][found.end() :] or b"/"


def _unauthorized(headers: Headers) -> str:
    """What is wrong with a request that brings no token, or none that is this service's."""
    given = headers.get("authorization")
    if given is None:
        return "send `Authorization: Bearer TOKEN`; in a browser open the page once with ?token=TOKEN"
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return "the header Authorization is not of the form `Bearer TOKEN`"
    return "the token in the header Authorization is not this service's"


def _form(*, wrong: bool) -> Response:
    """The form that asks for the token."""
    headers = {"Content-Security-Policy": policy(), "WWW-Authenticate": "Bearer", "Cache-Control": "no-store"}
    return Response(signin.page(wrong=wrong), 401, headers, "text/html")


def _without_token(scope: Scope) -> str:
    """The URL of a page that was opened with ?token=TOKEN, without that."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"))
    rest = urlencode([(key, value) for key, value in pairs if key != "token"])
    path = "/" + str(scope["path"]).lstrip("/")  # "//name" would lead to another machine
    return path + (f"?{rest}" if rest else "")


def _check_framing(headers: Headers) -> None:
    """Raises HTTPProblem where a proxy in front might see the request end elsewhere (RFC 9112, section 6.3)."""
    if "content-length" in headers and "transfer-encoding" in headers:
        raise HTTPProblem(400, "Content-Length and Transfer-Encoding exclude each other")


def _reading(headers: Headers, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """`receive` and `send` for an application that may answer before it has read the body.

    Such an answer says that the connection closes; it does when the rest has been read, or after DRAIN seconds.
    """
    length = headers.get("content-length", "0")
    whole = length.strip("0") == "" and "transfer-encoding" not in headers
    expects = "100-continue" in headers.get("expect", "").lower()  # sends nothing unless told to
    early = False

    async def counted() -> Message:
        nonlocal whole, expects
        expects = False
        message = await receive()
        whole = whole or message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def closing(message: Message) -> None:
        nonlocal early
        if message["type"] == "http.response.start" and not whole:
            early = True
            fields = [(k, v) for k, v in message.get("headers", []) if k.lower() != b"connection"]
            message = {**message, "headers": [*fields, (b"connection", b"close")]}
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and early and not whole and not expects:
            await send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b""}
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN):
                    while not whole:
                        await counted()
        await send(message)

    return counted, closing
