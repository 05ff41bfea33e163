"""What a service says of itself: metrics for Prometheus, and a line of JSON for every request."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from texturenets.server.http_errors import NOTED, HTTPProblem

log = logging.getLogger("texturenets.server")

ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS")

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The service's numbers, in a registry of its own."""

    def __init__(self, waiting: Callable[[], int], loaded: Callable[[], int]) -> None:
        """`waiting`: queued requests, with those at work; `loaded`: models in memory."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        names = ["method", "route", "status"]
        self.requests = Counter("texturenets_requests", "Requests answered", names, registry=self.registry)
        self.seconds = Histogram(
            "texturenets_request_seconds",
            "Time from a request to its answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.pictures = Counter("texturenets_pictures", "Images made", ["model"], registry=self.registry)
        self.engine = Counter(
            "texturenets_engine_seconds", "Time spent in the engine", registry=self.registry
        )
        for name, text, call in (
            ("texturenets_requests_waiting", "Requests queued or at work", waiting),
            ("texturenets_models_loaded", "Models in memory", loaded),
        ):
            Gauge(name, text, registry=self.registry).set_function(call)

    def text(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)


class MetricsMiddleware:
    """An ASGI application around another that counts and logs its requests; URLs without their queries.

    Each has an id, the sender's `X-Request-ID` where it has the form of one, which is in its log line and its answer.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[BaseRoute] = ()) -> None:
        """`routes`: those of `app`, for the requests that are refused before one is looked for."""
        self.app, self.metrics, self.routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on and take note."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, given, taken = time.monotonic(), 0, 0, 0
        asked = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        fields: dict[str, Any] = {"id": asked if ID.fullmatch(asked) else uuid.uuid4().hex[:16]}
        fields["client"] = (scope.get("client") or ("", 0))[0]
        NOTED.set(fields)

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message

        async def noted(message: Message) -> None:
            nonlocal status, given
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [*message["headers"], (b"x-request-id", fields["id"].encode())],
                }
            given += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except asyncio.CancelledError:  # the web server ends, and waits no longer
            if not status:
                ends = HTTPProblem(503, "the service ends; try again later", {"Retry-After": "5"})
                await ends.response()(scope, receive, noted)
        finally:
            self._log(
                scope,
                status or 500,
                time.monotonic() - began,
                {**fields, "bytes_in": taken, "bytes_out": given},
            )

    def _asked_route(self, scope: Scope) -> str:
        """The path of the route that a request was for; "other" for what is none of the HTTP API's."""
        for route in self.routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "other"

    def _log(self, scope: Scope, status: int, seconds: float, fields: dict[str, Any]) -> None:
        # The route and not the URL, which anybody may make up.
        route = getattr(scope.get("route"), "path", "") or self._asked_route(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        start = {"id": fields.pop("id"), "method": method, "route": route, "status": status}
        client = fields.pop("client")
        line = {**start, "seconds": round(seconds, 4), **fields, "client": client}
        log.info("request", extra={"fields": line})
