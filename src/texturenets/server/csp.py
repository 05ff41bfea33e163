"""What pages may ask of other machines: nothing."""

from __future__ import annotations

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; form-action 'self'; frame-ancestors 'self'; base-uri 'self'"
)
"""Browsers ask nobody else for anything. Gradio's page has scripts and styles within its HTML, and evaluates."""

OUTSIDE = re.compile(
    rb"""<link\b[^>]*\bhref=["']?https?://[^>]*>|<script\b[^>]*\bsrc=["']?https?://[^>]*>\s*</script>""",
    re.IGNORECASE,
)
"""What Gradio's page would load from other machines: fonts, and a script for pages within pages."""


class Quiet:
    """An ASGI application around another whose pages name no other machine, and may ask none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; a page is held back until it is whole."""
        start: Message | None = None
        held: list[bytes] = []

        async def filtered(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                fields = MutableHeaders(scope=message)
                fields["X-Content-Type-Options"] = "nosniff"
                fields["Referrer-Policy"] = "no-referrer"
                if fields.get("content-type", "").startswith("text/html"):
                    fields["Content-Security-Policy"] = POLICY
                    start = message
                    return
            elif start is not None and message["type"] == "http.response.body":
                held.append(message.get("body", b""))
                if message.get("more_body"):
                    return
                body = OUTSIDE.sub(b"", b"".join(held))
                MutableHeaders(scope=start)["Content-Length"] = str(len(body))
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self.app(scope, receive, filtered)
