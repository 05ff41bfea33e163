"""Browsers that the page is open in, so many at most: Gradio keeps a state for each, and forgets none."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from texturenets.server.http_errors import Problem

MOST = 512
"""Open pages at once. Gradio holds about 100 kB for each."""

CLOSED = 64
"""Sessions that are kept without an open page: it went, or is about to be there, or never was one."""


class Sessions:
    """Those that have sent an event, the one longest silent first. In the event loop's thread."""

    def __init__(self, forget: Callable[[str], None]) -> None:
        """`forget`: called with a session that has to go."""
        self.forget = forget
        self.known: OrderedDict[str, None] = OrderedDict()
        self.open: Counter[str] = Counter()

    def seen(self, session: str) -> None:
        """An event of `session`. Raises Problem (503) where too many pages are open."""
        if session not in self.known:
            closed = [one for one in self.known if not self.open[one]]  # an open page holds a connection
            if len(self.known) - len(closed) >= MOST:
                raise Problem(503, f"the page is open {MOST} times: close one", {"Retry-After": "30"})
            if len(closed) >= CLOSED:
                del self.known[closed[0]]
                self.forget(closed[0])
        self.known[session] = None
        self.known.move_to_end(session)

    @contextmanager
    def connected(self, session: str) -> Iterator[None]:
        """While a page holds its connection."""
        self.open[session] += 1
        try:
            yield
        finally:
            self.open[session] -= 1
            if not self.open[session]:
                del self.open[session]
