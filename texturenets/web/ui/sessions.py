"""Browsers that the page is open in, so many at most: Gradio keeps a state for each, and forgets none."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from texturenets.web.problems import Problem

MOST = 256
"""Sessions at once. Gradio holds about 100 kB for each."""


class Sessions:
    """Those that have sent an event, the one longest silent first. In the event loop's thread."""

    def __init__(self, forget: Callable[[str], None], most: int | None = None) -> None:
        """`forget`: called with a session that has to go. `most`: MOST unless told otherwise."""
        self.forget, self.most = forget, most or MOST
        self.known: OrderedDict[str, None] = OrderedDict()
        self.open: Counter[str] = Counter()

    def seen(self, session: str) -> None:
        """An event of `session`. Raises Problem (503) where so many pages are open."""
        if session not in self.known and len(self.known) >= self.most:
            # An open page holds a connection; what holds none has gone, or never was a page.
            gone = next((one for one in self.known if not self.open[one]), None)
            if gone is None:
                raise Problem(503, f"the page is open {self.most} times: close one", {"Retry-After": "30"})
            del self.known[gone]
            self.forget(gone)
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
