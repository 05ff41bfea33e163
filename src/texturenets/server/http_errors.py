"""Errors as problem details (RFC 9457), whatever raised them."""

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

from texturenets.errors import DiskFullError, UserError, shortened

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

NOTED: ContextVar[dict[str, Any]] = ContextVar("noted")
"""What will be in the log line of the request at work."""

FOR_OPERATORS = re.compile(
    r"TEXTURENETS_|(?<![\w-])--[a-z]|(?<![\w.:/])/(?!v1/)\w|"
    r"`(device|engine|generator|memory|precision|spool|threads|weights)`"
)
"""What only whoever runs the service can change, in the text of an error: an environment variable, an option of the
command line, an absolute path, a parameter that no request has."""

AS_QUERY = "parameters go after the URL, as ?NAME=VALUE"
"""How parameters are given: what a request is told that has them elsewhere, or lacks one."""

KINDS = {
    **dict.fromkeys(
        ("int_parsing", "int_from_float", "int_parsing_size"), "give a whole number, as {example}"
    ),
    "float_parsing": "give a number from 0 to 1",  # strength is the only one
    "bool_parsing": "give true or false",
    "greater_than_equal": "give at least {ge}",
    "less_than_equal": "give at most {le}",
    "less_than": "give less than {lt}",
    "literal_error": "give {expected}",
    "string_too_short": "it is empty: give a value, or leave it out",
    "string_too_long": "give at most {max_length} characters",
}
"""What is said to a value that is refused, by pydantic's word for what is wrong with it."""

EXAMPLES = {"quality": 90, "seed": 7, "steps": 2500}
"""Whole numbers by parameter; of pixels for all others."""

FULL = "the service's disk is full: try again when whoever runs it has made room"

GONE = 499
"""Status, in the log alone, of a request whose client has gone: what nginx writes."""


def note(**fields: Any) -> None:
    """Add fields to the log line of the request at work, if there is one."""
    if (noted := NOTED.get(None)) is not None:
        noted.update(fields)


class GoneError(Exception):
    """The client has gone before it was answered."""


class HTTPProblem(Exception):  # noqa: N818  RFC 9457's word
    """What a request is refused with: a status of HTTP, a sentence that says what to do, further headers."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}

    def body(self) -> bytes:
        """The document."""
        title = HTTPStatus(self.status).phrase
        data = {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        return json.dumps(data, ensure_ascii=False).encode()

    def response(self) -> Response:
        """The answer, for a route or as an ASGI application."""
        note(reason=self.detail)
        return Response(self.body(), self.status, self.headers, MEDIA)


def refused(error: UserError, status: int = 422) -> HTTPProblem:
    """What a client is told of `error`.

    One that speaks of options of the command line or of files, as where memory or disk run out, is for whoever runs
    the service: it goes to the log, and the client is told to come again (503).
    """
    full = isinstance(error, DiskFullError)
    if not full and not FOR_OPERATORS.search(str(error)):
        return HTTPProblem(status, str(error))
    fields = {"id": NOTED.get({}).get("id", ""), "reason": str(error)}
    log.error("error", extra={"fields": fields})
    way = "ask for a smaller image, or try again later"
    said = FULL if full else f"the service cannot do this now, and its log says why: {way}"
    return HTTPProblem(503, said, {"Retry-After": "60"})


def away(what: str) -> HTTPProblem:
    """The folder of `what`, which the service was started with, is not there now."""
    return HTTPProblem(503, f"the {what}' folder is away", {"Retry-After": "60"})


def documented(*statuses: int, content: dict[str, Any] | None = None) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation in the OpenAPI document: its error statuses, and the `content` of a success."""
    problem = {MEDIA: {"schema": SCHEMA}}
    well: dict[int | str, dict[str, Any]] = (
        {200: {"description": "It is well", "content": content}} if content else {}
    )
    return well | {s: {"description": HTTPStatus(s).phrase, "content": problem} for s in statuses}


def _methods(request: Request) -> set[str]:
    """All that the URL of a request answers to."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found | {"HEAD"} if "GET" in found else found


def _invalid(error: dict[str, Any], forms: Mapping[str, str]) -> str:
    """What is wrong with a parameter, in words: without its value, which may be long, and is the sender's own."""
    name = ".".join(map(str, error["loc"][1:]))
    if error["type"] == "missing":
        return f"{name} is missing: {AS_QUERY}"
    limits = error.get("ctx", {}).items()
    details = {key: f"{one:g}" if isinstance(one, float) else one for key, one in limits}
    details["example"] = EXAMPLES.get(name, 512)
    said = KINDS[error["type"]].format(**details) if error["type"] in KINDS else error["msg"]
    said = forms.get(details.get("pattern", ""), said)
    return f"{name}: {said}"


def install(app: FastAPI, forms: Mapping[str, str]) -> None:
    """Answer with a problem wherever a request to `app` fails. `forms`: patterns of parameters, in words."""

    @app.exception_handler(HTTPProblem)
    async def problem(_: Request, error: HTTPProblem) -> Response:
        return error.response()

    @app.exception_handler(GoneError)
    async def gone(_: Request, error: GoneError) -> Response:
        note(reason=str(error))
        return Response(status_code=GONE)

    @app.exception_handler(UserError)
    async def mistake(_: Request, error: UserError) -> Response:
        return refused(error).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        said = [_invalid(one, forms) for one in error.errors()]
        return HTTPProblem(422, shortened("; ".join(said), 500)).response()

    @app.exception_handler(HTTPException)
    async def unanswered(request: Request, error: HTTPException) -> Response:
        detail = str(error.detail)
        if error.status_code == 404:
            detail = f"nothing is here; /docs lists what {request.app.title} answers to"
        headers = dict(error.headers or {})
        if error.status_code == 405:  # Starlette names the methods of the first route at that URL
            headers["Allow"] = ", ".join(sorted(_methods(request)))
            path = getattr(request.scope.get("route"), "path", "this URL")
            detail = f"{path} answers to {headers['Allow']}; /docs lists all routes"
        return HTTPProblem(error.status_code, detail, headers).response()

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        log.error("error", exc_info=error, extra={"fields": {"id": NOTED.get({}).get("id", "")}})
        return HTTPProblem(500, "the service made a mistake; its log says which").response()
