"""The application in a web server."""

from __future__ import annotations

import contextlib
import errno
import math
import signal
import socket
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

from texturenets.errors import UserError, reason
from texturenets.memory.trim import return_freed_memory
from texturenets.server.app import create
from texturenets.server.connections import AT_ONCE, BACKLOG, bound, protocol
from texturenets.server.guard import LONGEST_HEADERS
from texturenets.server.logs import Printed, log_to_stderr
from texturenets.server.settings import LOOPBACK, Settings


def listen(settings: Settings) -> socket.socket:
    """The socket to serve at. Raises UserError where address or port cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    place = socket.socket(family, socket.SOCK_STREAM)
    if sys.platform == "win32":  # where SO_REUSEADDR lets two programs listen at one port
        place.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
    else:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((settings.host, settings.port))
        place.listen(BACKLOG)  # whoever reads the address may connect at once
    except (OSError, OverflowError, UnicodeError, TypeError) as error:  # TypeError: IDNA cannot encode it
        place.close()
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
            raise UserError(
                f"--port {settings.port}: cannot listen there: {reason(error)}; choose another, or 0 for a free one"
            ) from None
        raise UserError(
            f"--host {settings.host}: cannot listen there: {reason(error)}; give an address of this machine, as "
            "127.0.0.1, or 0.0.0.0 for all of them, and the port with --port"
        ) from None
    return place


class Server(uvicorn.Server):
    """A web server that tells its application when it is about to end: `app.state.endings` are called then."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        for place in sockets or []:
            place.listen(BACKLOG)  # asyncio took its number for both

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more; what streams to browsers without an end is ended first."""
        for call in getattr(self.config.app.state, "endings", ()):  # type: ignore[union-attr]
            call()
        await super().shutdown(sockets)


def _end(number: int, _: Any) -> None:
    """A signal as an exception, so that what is to be removed at the end is."""
    raise SystemExit(0)


def serve(settings: Settings, level: str = "info") -> None:
    """Serve until it is told to stop by a signal; requests at work are given their time, and finished."""
    most = bound()
    place = listen(settings)  # first: the page takes seconds to build
    signal.signal(signal.SIGTERM, _end)  # while the server runs, its own
    return_freed_memory()
    log_to_stderr(level)
    app, _ = create(settings)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"http://{host}:{place.getsockname()[1]}", flush=True)
    if settings.host not in LOOPBACK and settings.token is None:
        print("texturenets: other machines may use this service, without a token", file=sys.stderr)
    with contextlib.redirect_stderr(Printed()):
        Server(configured(app, settings, most)).run(sockets=[place])


def configured(app: FastAPI, settings: Settings, most: int) -> uvicorn.Config:
    """How the web server is to serve `app`, with `most` connections at once."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=LONGEST_HEADERS,
        http=protocol(most),
        ws="none",
        backlog=AT_ONCE,
        timeout_graceful_shutdown=math.ceil(settings.limits.seconds)
        + 1,  # requests at work are given their time
    )
