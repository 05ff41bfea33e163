"""Error responses: problem details (RFC 9457), whatever exception they come from."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from texturenets.errors import DiskFullError, NotWritableError, UserError, shortened

log = logging.getLogger("texturenets.server")

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
"""RFC 9457, section 3.1."""

MEDIA = "application/problem+json"

LOG_FIELDS: ContextVar[dict[str, Any]] = ContextVar("log_fields")
"""The fields of the current request's log line."""

FOR_OPERATORS = re.compile(
    r"TEXTURENETS_|(?<![\w-])--[a-z]|(?<![\w.:/])/(?!v1/)\w|"
    r"`(device|engine|generator|memory|precision|spool|threads|weights)`"
)
"""Finds in an error message what only the operator of the service can change: an environment variable, an option of
the command line, an absolute path, a parameter that requests do not have."""

AS_QUERY = "parameters go after the URL, as ?NAME=VALUE"
"""For a request that lacks a parameter, or sends it in the body."""

MESSAGES = {
    **dict.fromkeys(
        ("int_parsing", "int_from_float", "int_parsing_size"), "give a whole number, for example {example}"
    ),
    "float_parsing": "give a number, for example {example}",
    "bool_parsing": "give true or false",
    "greater_than_equal": "give at least {ge}",
    "less_than_equal": "give at most {le}",
    "literal_error": "give {expected}",
    "string_too_short": "it is empty: give a value, or leave it out",
    "string_too_long": "give at most {max_length} characters",
}
"""The message for an invalid value, by the type of pydantic's error."""

EXAMPLES = {"quality": 90, "seed": 7, "steps": 2500, "strength": 0.7, "scale": 0.5, "minutes": 5}
"""Example values for {example} in MESSAGES by parameter; for all others a number of pixels."""

DISK_FULL = "the service's disk is full: try again when its operator has freed space"

CLIENT_CLOSED_REQUEST = 499
"""Status of a request whose client disconnected, as in nginx; only the log shows it."""


def add_log_fields(**fields: Any) -> None:
    """Add fields to the current request's log line; no effect outside of a request."""
    if (log_fields := LOG_FIELDS.get(None)) is not None:
        log_fields.update(fields)


class DisconnectedError(Exception):
    """The client disconnected before the response."""


class HTTPProblem(Exception):  # noqa: N818  RFC 9457's word
    """An error response: HTTP status, a sentence that says what is wrong and what to do, further headers."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}

    def body(self) -> bytes:
        """The JSON document."""
        title = HTTPStatus(self.status).phrase
        data = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return json.dumps(data, ensure_ascii=False).encode()

    def response(self) -> Response:
        """The response, for a route or as an ASGI application."""
        add_log_fields(reason=self.detail)
        return Response(self.body(), self.status, self.headers, MEDIA)


def refused(error: UserError, status: int = 422) -> HTTPProblem:
    """The response for `error`, with `status`.

    An error that only the operator can fix (FOR_OPERATORS, a full disk, a folder that cannot be written) is logged
    instead, and the response is 503.
    """
    full = isinstance(error, DiskFullError)
    if not isinstance(error, NotWritableError) and not FOR_OPERATORS.search(str(error)):
        return HTTPProblem(status, str(error))
    fields = {"id": LOG_FIELDS.get({}).get("id", ""), "reason": str(error)}
    log.error("error", extra={"fields": fields})
    way = (
        "try again later"
        if isinstance(error, NotWritableError)
        else "ask for a smaller image, or try again later"
    )
    detail = DISK_FULL if full else f"the service cannot do this now, and its log says why: {way}"
    return HTTPProblem(503, detail, {"Retry-After": "60"})


def folder_missing(what: str) -> HTTPProblem:
    """The response if a folder that the service was started with, of `what`, is missing or cannot be read."""
    return HTTPProblem(
        503, f"the service's folder of {what} is missing or cannot be read", {"Retry-After": "60"}
    )


def documented(*statuses: int, content: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation in the OpenAPI document: its error statuses, and the `content` of a success."""
    problem = {MEDIA: {"schema": SCHEMA}}
    success: dict[int | str, dict[str, Any]] = (
        {200: {"description": "Success", "content": content}} if content else {}
    )
    return success | {s: {"description": HTTPStatus(s).phrase, "content": problem} for s in statuses}


def _methods(request: Request) -> set[str]:
    """The HTTP methods of all routes at the URL of a request."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found | {"HEAD"} if "GET" in found else found


def _invalid(error: dict[str, Any], pattern_hints: Mapping[str, str]) -> str:
    """The message for an invalid parameter: without its value, which may be long, and which the client knows."""
    name = ".".join(map(str, error["loc"][1:]))
    if error["type"] == "missing":
        return f"{name} is missing: {AS_QUERY}"
    limits = error.get("ctx", {}).items()
    details = {key: f"{one:g}" if isinstance(one, float) else one for key, one in limits}
    details["example"] = EXAMPLES.get(name, 512)
    message = MESSAGES[error["type"]].format(**details) if error["type"] in MESSAGES else error["msg"]
    message = pattern_hints.get(details.get("pattern", ""), message)
    return f"{name}: {message}"


def install(app: FastAPI, pattern_hints: Mapping[str, str]) -> None:
    """Make every failed request to `app` end in problem details.

    `pattern_hints`: the message for a parameter that does not match a pattern, by pattern.
    """

    @app.exception_handler(HTTPProblem)
    async def problem(_: Request, error: HTTPProblem) -> Response:
        return error.response()

    @app.exception_handler(DisconnectedError)
    async def disconnected(_: Request, error: DisconnectedError) -> Response:
        add_log_fields(reason=str(error))
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    @app.exception_handler(UserError)
    async def user_error(_: Request, error: UserError) -> Response:
        return refused(error).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        messages = [_invalid(one, pattern_hints) for one in error.errors()]
        return HTTPProblem(422, shortened("; ".join(messages), 500)).response()

    @app.exception_handler(HTTPException)
    async def http_exception(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code == 404:
            detail = "there is nothing at this URL; /docs lists all routes"
        headers = dict(error.headers or {})
        if error.status_code == 405:  # Starlette names the methods of the first route at that URL
            headers["Allow"] = ", ".join(sorted(_methods(request)))
            path = getattr(request.scope.get("route"), "path", "this URL")
            detail = f"{path} takes {headers['Allow']} only; /docs lists all routes"
        return HTTPProblem(error.status_code, detail, headers).response()

    @app.exception_handler(Exception)
    async def internal_error(_: Request, error: Exception) -> Response:
        log.error("error", exc_info=error, extra={"fields": {"id": LOG_FIELDS.get({}).get("id", "")}})
        return HTTPProblem(500, "an internal error of the service; its log says which").response()
