"""HEAD requests: the response of the GET route, without its body (RFC 9110, section 9.3.2)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadMiddleware:
    """ASGI middleware: passes a HEAD request on as GET, so that routes need not handle HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request; the body of the response to a HEAD request is dropped."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        scope["method"] = (
            "GET"  # not in a copy: routing stores values in the scope that the request log reads
        )
        try:
            await self.app(scope, receive, send_without_body)
        finally:
            scope["method"] = "HEAD"
