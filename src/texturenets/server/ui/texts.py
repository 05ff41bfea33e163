"""What the page says, each tab in one place: how it went, or what went wrong, in words for whoever looks at it."""

from __future__ import annotations

import html
import re

from texturenets.server.http_errors import Problem


def said(text: str) -> str:
    """A line for the place of a tab where it speaks."""
    return f"<p>{html.escape(text)}</p>"


def wrong(*sentences: str) -> str:
    """The same for what went wrong; nothing for nothing."""
    return f'<p class="wrong">{html.escape(" ".join(sentences))}</p>' if sentences else ""


def sentence(problem: Problem, what: str = "the photo") -> str:
    """What a request was refused with, `what` being the file that the interface knows as a body."""
    text = re.sub(r"; GET /v1/\S+ lists them", "", problem.detail)
    text = text.replace("the body", what)
    if what not in text and problem.status in (413, 415):
        text = f"{what}: {text}"
    if not text.startswith(what) or what == "the photo":  # the name of a file stays as it is
        text = text[:1].upper() + text[1:]
    return text.rstrip(".") + "."
