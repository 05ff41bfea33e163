"""Runs the application in uvicorn, the web server."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import signal
import socket
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

from texturenets.errors import UserError, reason
from texturenets.memory.malloc import return_freed_memory
from texturenets.server.app import create
from texturenets.server.connections import ACCEPTED_AT_ONCE, BACKLOG, connection_limit, protocol
from texturenets.server.guard import MAX_HEADER_BYTES
from texturenets.server.logs import StderrToLog, log_to_stderr
from texturenets.server.settings import LOOPBACK, Settings

log = logging.getLogger("texturenets.server")


def listen(settings: Settings) -> socket.socket:
    """The socket that the service listens on. Raises UserError if address or port is not available."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform == "win32":  # where SO_REUSEADDR lets two programs listen at one port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)  # already now: clients may connect as soon as the URL is printed
    except (OSError, OverflowError, UnicodeError, TypeError) as error:  # TypeError: IDNA cannot encode it
        listener.close()
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
            raise UserError(
                f"--port {settings.port}: cannot listen there: {reason(error)}; choose another, or 0 for a free one"
            ) from None
        raise UserError(
            f"--host {settings.host}: cannot listen there: {reason(error)}; give an address of this machine, for "
            "example "
            "127.0.0.1, or 0.0.0.0 for all of them, and the port with --port"
        ) from None
    return listener


class Server(uvicorn.Server):
    """uvicorn's server, which calls `app.state.shutdown_callbacks` before it shuts down."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        await super().startup(sockets)
        for listener in sockets or []:
            # Again: asyncio takes `backlog` of the configuration for this and for the connections accepted at once.
            listener.listen(BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting connections. Endless responses (events for browsers) end first: uvicorn waits for them."""
        for callback in getattr(self.config.app.state, "shutdown_callbacks", ()):  # type: ignore[union-attr]
            callback()
        await super().shutdown(sockets)


def _exit_on_signal(number: int, _: Any) -> None:
    """Signal handler: an exception, so that `finally` blocks and atexit functions remove temporary files."""
    raise SystemExit(0)


def serve(settings: Settings, level: str = "info") -> None:
    """Serve until SIGINT or SIGTERM; then requests in progress are completed, within their time limit."""
    max_connections = connection_limit()
    listener = listen(settings)  # before `create`, which takes seconds: a port in use is reported at once
    signal.signal(signal.SIGTERM, _exit_on_signal)  # until uvicorn installs its own handler
    return_freed_memory()
    log_to_stderr(level)
    app, _ = create(settings)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"http://{host}:{listener.getsockname()[1]}", flush=True)
    if settings.host not in LOOPBACK and settings.token is None:
        fields = {"host": settings.host, "reason": "other machines may use this service, without a token"}
        log.warning("no token", extra={"fields": fields})
    with contextlib.redirect_stderr(StderrToLog()):
        Server(uvicorn_config(app, settings, max_connections)).run(sockets=[listener])


def uvicorn_config(app: FastAPI, settings: Settings, max_connections: int) -> uvicorn.Config:
    """The configuration with which uvicorn runs `app`."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        http=protocol(max_connections),
        ws="none",
        backlog=ACCEPTED_AT_ONCE,
        # Requests in progress may use up their time limit.
        timeout_graceful_shutdown=math.ceil(settings.limits.seconds) + 1,
    )
