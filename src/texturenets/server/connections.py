"""Connections of a web server: so many at most, and none that keeps its headers to itself."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from texturenets.server.http_errors import MEDIA, HTTPProblem

HEADERS = 10.0
"""Seconds for the headers of a request, from its first byte, or from the connection's begin."""

MOST = 1000
"""Connections at once, where the system allows so many."""

RESERVED = 128
"""Descriptors for all else: model files, images, trainings, and connections that are about to be refused."""

BACKLOG = 1024
"""Connections that wait to be accepted, in the system: they take none of our descriptors."""

AT_ONCE = 16
"""Connections that asyncio accepts in one go; as many again may come before the first of them are counted."""


def bound() -> int:
    """How many connections there may be; raises the limit of descriptors as far as the system lets this process."""
    if sys.platform == "win32":  # its sockets are no descriptors
        return MOST
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST + RESERVED
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(8, min(MOST, soft - RESERVED))


class Bounded(H11Protocol):
    """Closes what does not complete its headers; for a new connection too many, the one that waits longest."""

    most: ClassVar[int]
    waiting: ClassVar[dict[Bounded, asyncio.TimerHandle]]  # of all connections, the oldest first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            oldest = next(iter(self.waiting), None)
            if oldest is None:
                self._refuse(transport)
                return
            oldest.give_up()
        self._await_headers()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing of a request that would upgrade: it is answered as it is."""

    def _refuse(self, transport: asyncio.Transport) -> None:
        body = HTTPProblem(503, f"{self.most} connections are open; try again later").body()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        transport.close()

    def _await_headers(self) -> None:
        if self not in self.waiting:
            self.waiting[self] = self.loop.call_later(HEADERS, self.give_up)

    def give_up(self) -> None:
        """Close a connection without complete headers."""
        self._told()
        self.connections.discard(self)
        self.transport.abort()

    def _told(self) -> None:
        if timer := self.waiting.pop(self, None):
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # it was refused
            return
        if self.cycle is None or self.cycle.response_complete:
            self._await_headers()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._told()

    def on_response_complete(self) -> None:
        self._told()  # answered within `handle_events`; between requests uvicorn waits for a few seconds
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._told()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._told()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else an answer has begun
            body = HTTPProblem(400, "this is no request of HTTP/1.1").body()
            headers = {"Content-Type": MEDIA, "Content-Length": str(len(body)), "Connection": "close"}
            for event in (
                h11.Response(status_code=400, headers=list(headers.items()), reason="Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        self.transport.close()


def protocol(most: int) -> type[H11Protocol]:
    """A protocol for uvicorn with `most` connections at once."""
    return type("Bounded", (Bounded,), {"most": most, "waiting": {}})
