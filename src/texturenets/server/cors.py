"""CORS (requests from web pages of other origins): Starlette's middleware, whose errors become problem details."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from texturenets.server.http_errors import HTTPProblem


class CORS(CORSMiddleware):
    """Starlette's middleware, with problem details (RFC 9457) for rejected preflight requests, not plain text."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The response to a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        rejected = bytes(response.body).decode().removeprefix("Disallowed CORS ")  # "origin", "method", ...
        headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        detail = f"not allowed for pages of other origins: {rejected}"
        return HTTPProblem(response.status_code, detail, headers).response()
