"""Monitoring: metrics for Prometheus, and a log line for every request."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from texturenets.server.http_errors import LOG_FIELDS, HTTPProblem

log = logging.getLogger("texturenets.server")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS")

HISTOGRAM_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper bounds in seconds."""


class Metrics:
    """The service's metrics, in a separate registry."""

    def __init__(self, waiting: Callable[[], int], loaded: Callable[[], int]) -> None:
        """`waiting`: returns the number of requests that are queued or running; `loaded`: of models in memory."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        names = ["method", "route", "status"]
        self.requests = Counter("texturenets_requests", "Requests answered", names, registry=self.registry)
        self.seconds = Histogram(
            "texturenets_request_seconds",
            "Time from a request to its response",
            ["route"],
            buckets=HISTOGRAM_BUCKETS,
            registry=self.registry,
        )
        self.images = Counter("texturenets_pictures", "Images made", ["model"], registry=self.registry)
        self.engine = Counter(
            "texturenets_engine_seconds", "Time spent in the engine", registry=self.registry
        )
        for name, text, call in (
            ("texturenets_requests_waiting", "Requests queued or running", waiting),
            ("texturenets_models_loaded", "Models in memory", loaded),
        ):
            Gauge(name, text, registry=self.registry).set_function(call)

    def add_trainings(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Add the number of trainings in each state; `counts` returns it."""
        self.registry.register(_TrainingsCollector(counts))

    def text(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)


class _TrainingsCollector(Collector):
    """A gauge of the trainings in each state, counted once for each answer."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self.counts = counts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge, with its values of now."""
        gauge = GaugeMetricFamily("texturenets_trainings", "Trainings", labels=["state"])
        for state, count in self.counts().items():
            gauge.add_metric([state], count)
        yield gauge


class MetricsMiddleware:
    """ASGI middleware that counts and logs requests; URLs without their queries.

    Each request gets an ID, in its log line and in the response: the client's `X-Request-ID`, if valid.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[BaseRoute] = ()) -> None:
        """`routes`: those of the application, to find the route of a request that is refused before routing."""
        self.app, self.metrics, self.routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request; count and log it when the response is complete."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, bytes_out, bytes_in = time.monotonic(), 0, 0, 0
        own_id = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        fields: dict[str, Any] = {"id": own_id if REQUEST_ID.fullmatch(own_id) else uuid.uuid4().hex[:16]}
        fields["client"] = (scope.get("client") or ("", 0))[0]
        LOG_FIELDS.set(fields)

        async def receive_counted() -> Message:
            nonlocal bytes_in
            message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            nonlocal status, bytes_out
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [*message["headers"], (b"x-request-id", fields["id"].encode())],
                }
            bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive_counted, send_counted)
        except asyncio.CancelledError:  # the server shuts down, and the time limit of requests is over
            if not status:
                problem = HTTPProblem(
                    503, "the service is shutting down; try again later", {"Retry-After": "5"}
                )
                await problem.response()(scope, receive, send_counted)
        finally:
            self._log(
                scope,
                status or 500,
                time.monotonic() - began,
                {**fields, "bytes_in": bytes_in, "bytes_out": bytes_out},
            )

    def _matching_route(self, scope: Scope) -> str:
        """The path of the first route that matches a request; "other" if none does."""
        for route in self.routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "other"

    def _log(self, scope: Scope, status: int, seconds: float, fields: dict[str, Any]) -> None:
        # The route and not the URL: clients could send any number of URLs, and each would become a metric.
        route = getattr(scope.get("route"), "path", "") or self._matching_route(scope)
        method = scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        start = {"id": fields.pop("id"), "method": method, "route": route, "status": status}
        client = fields.pop("client")
        line = {**start, "seconds": round(seconds, 4), **fields, "client": client}
        log.info("request", extra={"fields": line})
