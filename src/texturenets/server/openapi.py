"""What every operation has in the OpenAPI document: response 422, the headers of its responses, and the token."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from texturenets.server.guard import PUBLIC_PATHS
from texturenets.server.http_errors import documented

_REQUEST_ID: Final = {
    "description": "ID of the request, also in the service's log: the client's X-Request-ID, if valid.",
    "schema": {"type": "string"},
}
_RETRY_AFTER: Final = {
    "description": "Seconds after which to try again, if that may help.",
    "schema": {"type": "integer", "minimum": 1},
}
_RETRIED: Final = ("429", "503")
"""Statuses of responses that may have a Retry-After."""


def complete(app: FastAPI, *, token: bool) -> None:
    """Add to the document of `app` response 422, as every route answers an unknown parameter, the headers of all
    responses, and with `token` the security scheme."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = plain()
        for path, operations in document["paths"].items():
            for operation in operations.values():
                operation["responses"]["422"] = documented(422)[422]  # in place of FastAPI's own errors
                for status, response in operation["responses"].items():
                    retried = {"Retry-After": _RETRY_AFTER} if status in _RETRIED else {}
                    response["headers"] = {"X-Request-ID": _REQUEST_ID, **retried}
                if token and path not in PUBLIC_PATHS:
                    operation["security"] = [{"token": []}]
        for unused in ("HTTPValidationError", "ValidationError"):
            document.get("components", {}).get("schemas", {}).pop(unused, None)
        if token:
            scheme = {"type": "http", "scheme": "bearer"}
            document.setdefault("components", {})["securitySchemes"] = {"token": scheme}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
