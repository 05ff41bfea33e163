"""Limits on connections to the web server: their number, and the time in which a client has to send its headers."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from texturenets.server.http_errors import MEDIA, HTTPProblem

HEADER_TIMEOUT = 10.0
"""Seconds in which the headers of a request have to arrive: from its first byte, or for the first request from the
connection's start."""


MAX_CONNECTIONS = 1000
"""Maximum open connections, if the system allows that many file descriptors."""

RESERVED = 128
"""File descriptors kept for everything else: model files, images, trainings, and connections that get status 503."""

BACKLOG = 1024
"""Connections that the system queues until they are accepted: these take no file descriptors of the process."""

ACCEPTED_AT_ONCE = 16
"""Connections that asyncio accepts in one go. Twice as many may be open beyond the limit before they are counted."""


def connection_limit() -> int:
    """The maximum number of connections; raises the process's limit of file descriptors as far as the system
    permits."""
    if sys.platform == "win32":  # sockets there are not file descriptors
        return MAX_CONNECTIONS
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MAX_CONNECTIONS + RESERVED
    wanted = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(8, min(MAX_CONNECTIONS, soft - RESERVED))


class LimitedProtocol(H11Protocol):
    """A connection that is closed if its headers do not arrive within HEADER_TIMEOUT.

    At `max_connections` a new connection closes the one that has waited longest for headers; if none waits, the new
    one gets status 503.
    """

    max_connections: ClassVar[int]
    header_timers: ClassVar[
        dict[LimitedProtocol, asyncio.TimerHandle]
    ]  # connections without headers, oldest first

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            oldest = next(iter(self.header_timers), None)
            if oldest is None:
                self._refuse(transport)
                return
            oldest.time_out()
        self._start_timer()

    def _unsupported_upgrade_warning(self) -> None:
        """No warning for a request to upgrade (to WebSockets): it is handled as a plain request."""

    def _refuse(self, transport: asyncio.Transport) -> None:
        body = HTTPProblem(503, f"{self.max_connections} connections are open; try again later").body()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        transport.close()

    def _start_timer(self) -> None:
        if self not in self.header_timers:
            self.header_timers[self] = self.loop.call_later(HEADER_TIMEOUT, self.time_out)

    def _stop_timer(self) -> None:
        if timer := self.header_timers.pop(self, None):
            timer.cancel()

    def time_out(self) -> None:
        """Close a connection whose headers are not complete."""
        self._stop_timer()
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # it got status 503
            return
        if self.cycle is None or self.cycle.response_complete:
            self._start_timer()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_timer()

    def on_response_complete(self) -> None:
        # For responses completed within `handle_events`. Until the next request uvicorn has a timeout of its own.
        self._stop_timer()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            # Its body is not valid: this response takes the place of the application's, which is not sent.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else a response has been started
            body = HTTPProblem(400, "this is not a valid HTTP/1.1 request").body()
            headers = {"Content-Type": MEDIA, "Content-Length": str(len(body)), "Connection": "close"}
            for event in (
                h11.Response(status_code=400, headers=list(headers.items()), reason="Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
        self.transport.close()


def protocol(max_connections: int) -> type[H11Protocol]:
    """A protocol class for uvicorn that allows `max_connections` open connections."""
    return type(
        "LimitedProtocol", (LimitedProtocol,), {"max_connections": max_connections, "header_timers": {}}
    )
