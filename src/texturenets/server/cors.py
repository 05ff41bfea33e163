"""Pages of other origins (CORS): what Starlette answers, with refusals as problems."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from texturenets.server.http_errors import HTTPProblem


class CORS(CORSMiddleware):
    """Starlette's middleware, whose refusal of a preflight is a plain text."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a preflight."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        what = bytes(answer.body).decode().removeprefix("Disallowed CORS ")
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        said = f"not allowed for pages of other origins: {what}"
        return HTTPProblem(answer.status_code, said, headers).response()
