"""HTML of the messages below each tab: results and errors, worded for visitors."""

from __future__ import annotations

import html
import re

from texturenets.server.http_errors import HTTPProblem

STALE_VALUE = "The page sent a value that is invalid or no longer exists: reload the page."
"""The error for an event whose value the page's component cannot have."""


def message_html(text: str) -> str:
    """A message as HTML."""
    return f"<p>{html.escape(text)}</p>"


def error_html(*sentences: str) -> str:
    """An error message as HTML; empty without sentences."""
    return f'<p class="wrong">{html.escape(" ".join(sentences))}</p>' if sentences else ""


def sentence(problem: HTTPProblem, what: str = "the photo") -> str:
    """The text of `problem` for the page; `what` names the file that the HTTP API calls "the body"."""
    text = re.sub(r";? GET /v1/\S+ lists them| \(POST /v1/\S+\)", "", problem.detail)
    text = text.replace("the body", what)
    if what not in text and problem.status in (413, 415):
        text = f"{what}: {text}"
    if not text.startswith(what) or what == "the photo":  # the name of a file stays as it is
        text = text[:1].upper() + text[1:]
    return text if text.endswith("?") else text.rstrip(".") + "."
