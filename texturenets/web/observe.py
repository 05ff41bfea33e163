"""What a service says of itself: metrics for Prometheus, and a line of JSON for every request."""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("texturenets.web")

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The service's numbers, in a registry of its own."""

    def __init__(self, waiting: Callable[[], int], loaded: Callable[[], int]) -> None:
        """`waiting`: requests in line; `loaded`: models in memory."""
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
        self.pictures = Counter("texturenets_pictures", "Pictures made", ["model"], registry=self.registry)
        self.engine = Counter(
            "texturenets_engine_seconds", "Time spent in the engine", registry=self.registry
        )
        for name, text, call in (
            ("texturenets_requests_waiting", "Requests in line or at work", waiting),
            ("texturenets_models_loaded", "Models in memory", loaded),
        ):
            Gauge(name, text, registry=self.registry).set_function(call)

    def text(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)


class Observer:
    """An ASGI application around another that counts and logs its requests; addresses without their queries."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on and take note."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, given, taken = time.monotonic(), 500, 0, 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message

        async def noted(message: Message) -> None:
            nonlocal status, given
            if message["type"] == "http.response.start":
                status = message["status"]
            given += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, counted, noted)
        finally:
            seconds = time.monotonic() - began
            # The route and not the address, which anybody may make up.
            route = getattr(scope.get("route"), "path", "") or "other"
            method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS") else "other"
            self.metrics.requests.labels(method, route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(seconds)
            fields = {
                "method": method,
                "route": route,
                "status": status,
                "seconds": round(seconds, 4),
                "bytes_in": taken,
                "bytes_out": given,
                "client": (scope.get("client") or ("", 0))[0],
            }
            log.info("request", extra={"fields": fields})


class JsonLines(logging.Formatter):
    """A line of JSON a record: `time` (UTC), `level`, `event`, and what else the record has in `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        data = {
            "time": f"{when}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            data["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(data, ensure_ascii=False, default=str)


def log_to_stderr(level: str) -> None:
    """Lines of JSON on standard error, the web server's own too."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name in ("texturenets.web", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
