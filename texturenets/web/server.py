"""The application in a web server."""

from __future__ import annotations

import socket
import sys

import uvicorn

from texturenets.errors import UserError
from texturenets.web.app import create
from texturenets.web.guard import LONGEST_HEADERS
from texturenets.web.memory import return_freed_memory
from texturenets.web.observe import log_to_stderr
from texturenets.web.settings import LOOPBACK, Settings


def listen(settings: Settings) -> socket.socket:
    """The socket to serve at. Raises UserError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    place = socket.socket(family, socket.SOCK_STREAM)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((settings.host, settings.port))
        place.listen(2048)  # whoever reads the address may connect at once
    except (OSError, OverflowError) as error:
        place.close()
        raise UserError(
            f"cannot listen at {settings.host} port {settings.port}: {error}; choose another with --port"
        ) from None
    return place


class Server(uvicorn.Server):
    """A web server that tells its application when it is about to end: `app.state.endings` are called then."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more; what streams to browsers without an end is ended first."""
        for call in getattr(self.config.app.state, "endings", ()):  # type: ignore[union-attr]
            call()
        await super().shutdown(sockets)


def serve(settings: Settings, level: str = "info") -> None:
    """Serve until it is told to stop by a signal; requests at work are finished."""
    return_freed_memory()
    place = listen(settings)  # first: the page takes seconds to build
    app, _ = create(settings)
    log_to_stderr(level)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"http://{host}:{place.getsockname()[1]}", flush=True)
    if settings.host not in LOOPBACK and settings.token is None:
        print("texturenets: other machines may use this service, without a token", file=sys.stderr)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=LONGEST_HEADERS,
        http="h11",
        ws="none",
        timeout_graceful_shutdown=10,
    )
    Server(config).run(sockets=[place])
