"""Limits the number of browsers that have the page open: Gradio keeps the state of each, and never deletes it."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from texturenets.server.http_errors import HTTPProblem

MAX_OPEN = 512
"""Maximum number of open pages. Gradio holds about 100 kB for each."""

MAX_CLOSED = 64
"""Maximum number of sessions without an open connection: closed pages, and pages that are about to connect."""


class Sessions:
    """The sessions that have sent an event, the least recent first. Not thread-safe: for the event loop's thread."""

    def __init__(self, forget: Callable[[str], None]) -> None:
        """`forget`: called with a session whose state must be deleted."""
        self.forget = forget
        self.known: OrderedDict[str, None] = OrderedDict()
        self.open: Counter[str] = Counter()

    def seen(self, session: str) -> None:
        """Record an event of `session`. Raises HTTPProblem (503) if too many pages are open."""
        if session not in self.known:
            closed = [one for one in self.known if not self.open[one]]  # an open page holds a connection
            if len(self.known) - len(closed) >= MAX_OPEN:
                raise HTTPProblem(503, f"the page is open {MAX_OPEN} times: close one", {"Retry-After": "30"})
            if len(closed) >= MAX_CLOSED:
                del self.known[closed[0]]
                self.forget(closed[0])
        self.known[session] = None
        self.known.move_to_end(session)

    @contextmanager
    def connected(self, session: str) -> Iterator[None]:
        """Count the page of `session` as open in the block."""
        self.open[session] += 1
        try:
            yield
        finally:
            self.open[session] -= 1
            if not self.open[session]:
                del self.open[session]
