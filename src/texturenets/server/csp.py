"""The Content-Security-Policy of all pages: they load nothing from other hosts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; form-action 'self'; frame-ancestors 'self'{frames}; base-uri 'self'"
)
"""Browsers load from this host only. Gradio's page needs inline scripts and styles, and eval()."""

FOREIGN = re.compile(
    rb"""<link\b[^>]*\bhref=["']?https?://[^>]*>|<script\b[^>]*\bsrc=["']?https?://[^>]*>\s*</script>"""
    rb"""|<meta\b[^>]*["'](og|twitter):[^>]*>""",
    re.IGNORECASE,
)
"""The tags by which Gradio's page would load from other hosts (fonts, a script for iframes), and its previews, which
name Gradio."""


def policy(frames: Sequence[str] = ()) -> str:
    """The header's value; `frames`: origins whose pages may show this one in a frame."""
    return _POLICY.format(frames="".join(f" {origin}" for origin in frames))


class ContentSecurityPolicy:
    """ASGI middleware: adds the policy to every HTML page, and removes the tags of FOREIGN."""

    def __init__(self, app: ASGIApp, frames: Sequence[str] = ()) -> None:
        self.app, self.policy = app, policy(frames)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the response; the body of an HTML page is buffered until it is complete."""
        start: Message | None = None
        held: list[bytes] = []

        async def filtered(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                fields = MutableHeaders(scope=message)
                fields["X-Content-Type-Options"] = "nosniff"
                fields["Referrer-Policy"] = "no-referrer"
                if fields.get("content-type", "").startswith("text/html"):
                    fields["Content-Security-Policy"] = self.policy
                    start = message
                    return
            elif start is not None and message["type"] == "http.response.body":
                held.append(message.get("body", b""))
                if message.get("more_body"):
                    return
                body = FOREIGN.sub(b"", b"".join(held))
                MutableHeaders(scope=start)["Content-Length"] = str(len(body))
                await send(start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self.app(scope, receive, filtered)
