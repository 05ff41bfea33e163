"""The HTTP API: routes, their parameters, and the page that documents them."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval
from fastapi import Depends, FastAPI, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from texturenets import locks
from texturenets._version import __version__
from texturenets.arguments import MAX_INTEGER
from texturenets.errors import UserError, unknown
from texturenets.server import bodies, http_errors, openapi, training_routes
from texturenets.server.cors import CORS
from texturenets.server.csp import ContentSecurityPolicy
from texturenets.server.guard import COMMON_ERRORS, Guard
from texturenets.server.head import HeadMiddleware
from texturenets.server.http_errors import HTTPProblem, documented, folder_missing
from texturenets.server.masks import Masks
from texturenets.server.metrics import MetricsMiddleware
from texturenets.server.numbers import DECIMAL, WHOLE
from texturenets.server.service import Service
from texturenets.server.settings import Settings
from texturenets.stylize.options import StylizeOptions
from texturenets.stylize.regions import GRADIENTS
from texturenets.stylize.stroke import parse as parse_stroke
from texturenets.textures import MAX_SCALE, MIN_SCALE
from texturenets.train import lacking

if TYPE_CHECKING:
    from texturenets.server.trainings import Trainings

ICON = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" rx="2" fill="#2f857f"/>'
    b'<path d="M0 5 4 1 8 5 8 6 4 2 0 6Z" fill="#e0a458"/></svg>'
)
ImageFormat = Literal["jpeg", "png", "webp"]
PICTURES = {
    media: {"schema": {"type": "string", "format": "binary"}}
    for media in ("image/jpeg", "image/png", "image/webp")
}
Name = Annotated[
    str | None, Query(max_length=200, description="Name of a model; the first of its kind without.")
]
STROKE = r"^(auto|[1-9][0-9]{0,2}(\.[0-9]{1,6})?|1000|0\.[1-9][0-9]{0,5})$"
SIZE = r"^[1-9][0-9]{0,17}(x[1-9][0-9]{0,17})?$"  # what is too large is told by `check_size`
PATTERN_HINTS = {
    STROKE: "give a number between 0.1 and 1000, for example 2 or 0.5, or auto",
    SIZE: "give pixels, for example 512 or 640x480",
}
"""The message for a value that does not match, by pattern."""

Seed = Annotated[
    int,
    Interval(ge=0, le=MAX_INTEGER),
    WHOLE,
    Query(description="Random seed; the same seed gives the same image."),
]


def create(settings: Settings, load: Callable[[Path], Any] | None = None) -> tuple[FastAPI, Service]:
    """The ASGI application and its service. `load`: as for `Service`."""
    trainings = _trainings(settings)  # first: errors in the settings come before warnings about model files
    service = Service(settings, load)
    if trainings is not None:
        service.metrics.add_trainings(trainings.counts)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            if trainings is not None:
                trainings.runner.open()
            try:
                # At a second Ctrl-C the server cancels this and waits for nothing.
                with suppress(asyncio.CancelledError):
                    yield
            finally:
                if trainings is not None:
                    await asyncio.to_thread(trainings.runner.close)

    app = FastAPI(
        title="texturenets",
        version=__version__,
        description="Photos stylized and textures drawn by small networks.",
        docs_url=None,  # FastAPI's pages load scripts from other machines
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(_only_known)],
        responses=documented(*COMMON_ERRORS),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    # No training is started any more while requests in progress are completed.
    app.state.shutdown_callbacks = [] if trainings is None else [trainings.runner.closing.set]
    http_errors.install(app, PATTERN_HINTS)
    _stylized(app, service)
    _samples(app, service)
    _catalogue(app, service)
    _state(app, service)
    training_routes.add(app, service, trainings)
    openapi.complete(app, token=settings.token is not None)
    if settings.page:
        from texturenets.server.ui import page  # imported here, because that takes seconds

        page.mount(app, service, trainings)
    app.add_middleware(ContentSecurityPolicy, frames=settings.frames)
    app.add_middleware(Guard, settings=settings)
    if settings.origins:
        app.add_middleware(
            CORS,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(HeadMiddleware)
    app.add_middleware(MetricsMiddleware, metrics=service.metrics, routes=app.routes)
    return app, service


def _trainings(settings: Settings) -> Trainings | None:
    """The training queue, or None without `--photos`. Raises UserError for `--photos` without `--models`, and if this
    installation or system cannot train."""
    if settings.photos is None:
        return None
    if settings.models is None:
        raise UserError("--photos is for trainings, whose models go into --models FOLDER: give that too")
    if text := lacking():
        raise UserError(f"--photos is for trainings, and {text}")
    if not locks.INHERITED:
        raise UserError(
            "--photos: a service trains on Linux and macOS alone; leave it out, and train with `texturenets train`"
        )
    from texturenets.server.trainings import Trainings

    return Trainings(settings.models, settings.photos, limit=settings.limits.trainings)


def _stylized(app: FastAPI, service: Service) -> None:
    """The route that stylizes photos."""

    @app.post(
        "/v1/stylize",
        response_class=Response,
        responses=documented(401, 404, 408, 415, 503, content=PICTURES),
        openapi_extra={"requestBody": {"required": True, "content": service.photo_body()}},
    )
    async def stylize(  # noqa: PLR0917 (FastAPI passes them by name)
        request: Request,
        style: Name = None,
        size: Annotated[
            int | None, Interval(ge=1), WHOLE, Query(description="Longer side of the result in pixels.")
        ] = None,
        strength: Annotated[
            float, Interval(ge=0, le=1), DECIMAL, Query(description="0: the photo; 1: the full style.")
        ] = 1.0,
        preserve_color: Annotated[bool, Query(description="Keep the photo's colours.")] = False,
        seed: Seed = 0,
        stroke: Annotated[
            str, Query(pattern=STROKE, description="2 doubles brush strokes; auto: relative to the image.")
        ] = "1",
        wrap: Annotated[
            Literal["x", "y", "xy"] | None,
            Query(
                description="Axes along which the photo wraps around, and the result with it: x for a panorama of "
                "360 degrees, xy for a tile."
            ),
        ] = None,
        format: Annotated[  # noqa: A002 (the interface's word)
            Literal["auto", "jpeg", "png", "webp"],
            Query(
                description="auto: the photo's own for JPEG, PNG and WebP, PNG for GIF and PPM, JPEG for all others, "
                "as HEIC, AVIF and TIFF, or PNG where they are transparent; Content-Type says which. jpeg lays a "
                "transparent photo on white."
            ),
        ] = "auto",
        quality: Annotated[
            int | None, Interval(ge=1, le=100), WHOLE, Query(description="Of JPEG and WebP.")
        ] = None,
    ) -> Response:
        """Stylize a photo: its file as the body, or as a file of a form. The photo is not kept. For a model with
        several styles, `style` is one of them, such as MODEL:wave, or a mixture, such as MODEL:wave=0.6,udnie=0.4.
        Files `mask` of the form say where the style goes (white: there, black: the photo stays, or the second style),
        a file `keep` where the photo stays; the names left-to-right and top-to-bottom stand for gradient masks.
        """
        with service.queue.slot():
            data, beside = await bodies.read_image_body(request, ("mask", "keep"), GRADIENTS)
            options = StylizeOptions(
                size=size,
                quality=quality,
                strength=strength,
                preserve_color=preserve_color,
                seed=seed,
                stroke=parse_stroke(stroke),
                wrap=wrap or "",
            )
            work = service.stylize(data, style, options, format, Masks.of(beside))
            made = await bodies.cancel_on_disconnect(request, work)
        return _picture(*made)


def _samples(app: FastAPI, service: Service) -> None:
    """The route that generates samples of textures."""

    @app.post(
        "/v1/sample",
        response_class=Response,
        responses=documented(401, 404, 408, 415, 503, content=PICTURES),
    )
    async def sample(  # noqa: PLR0917
        request: Request,
        texture: Name = None,
        size: Annotated[
            str,
            Query(pattern=SIZE, description="WIDTHxHEIGHT in pixels, or one number."),
        ] = "256",
        seed: Seed = 0,
        tileable: Annotated[bool, Query(description="Make the image tile seamlessly.")] = False,
        scale: Annotated[
            float,
            Interval(ge=MIN_SCALE, le=MAX_SCALE),
            DECIMAL,
            Query(
                description="Size of what is drawn: 0.5 makes pebbles half as large.",
            ),
        ] = 1,
        format: Annotated[ImageFormat, Query()] = "png",  # noqa: A002
    ) -> Response:
        """Generate a sample of a texture."""
        width, _, height = size.partition("x")
        sides = int(height or width), int(width)
        with service.queue.slot():
            await bodies.no_body(request)
            work = service.sample(
                texture,
                height=sides[0],
                width=sides[1],
                seed=seed,
                tileable=tileable,
                scale=scale,
                format_name=format,
            )
            made = await bodies.cancel_on_disconnect(request, work)
        return _picture(*made)


def _catalogue(app: FastAPI, service: Service) -> None:
    """The routes that list the models and document the API."""

    @app.get("/v1/models", responses=documented(401, 429))
    async def models() -> dict[str, list[dict[str, Any]] | str]:
        """All models. If the folder of models is missing, only the shipped ones; `detail` then says so."""
        known = [one.description for one in service.catalogue.models().values()]
        return {
            "models": known,
            **({"detail": folder_missing("models").detail} if service.catalogue.folder_missing else {}),
        }

    @app.get(
        "/v1/models/{name}/thumbnail",
        response_class=Response,
        responses=documented(401, 404, 429, 503, content={"image/jpeg": PICTURES["image/jpeg"]}),
    )
    async def thumbnail(name: str) -> Response:
        """A small example of a model's result."""
        models = service.catalogue.models()
        if name not in models:
            error = service.catalogue.missing("model", name[:80], models)
            raise service.not_found(error, name)
        if not models[name].thumbnail:
            raise HTTPProblem(404, f"{name} has no thumbnail")
        return Response(models[name].thumbnail, media_type="image/jpeg")

    @app.get("/", include_in_schema=False)
    async def start() -> RedirectResponse:
        return RedirectResponse("page/" if service.settings.page else "docs")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(ICON, media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(_document(app.openapi()))


def _state(app: FastAPI, service: Service) -> None:
    """The routes for monitoring."""

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        """Liveness probe; no authentication."""
        return {"status": "ok"}

    @app.get("/readyz", responses=documented(503))
    async def ready() -> dict[str, str]:
        """Readiness probe: the models of --preload are loaded. No authentication."""
        if service.not_ready:
            raise HTTPProblem(503, service.not_ready, {"Retry-After": "5"})
        return {"status": "ok"}

    @app.get(
        "/metrics",
        response_class=Response,
        responses=documented(401, 429, content={"text/plain": {"schema": {"type": "string"}}}),
    )
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        text = await asyncio.to_thread(service.metrics.text)  # it reads the files of trainings
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


async def _only_known(request: Request) -> None:
    """Raises HTTPProblem for an unknown parameter: a misspelt one would be ignored silently."""
    route: Any = request.scope["route"]
    known = {field.alias for field in route.dependant.query_params}
    if not route.include_in_schema:
        return
    names = [name for name, _ in request.query_params.multi_items()]
    if strange := [name for name in names if name not in known]:
        raise HTTPProblem(422, str(unknown("parameter", strange[0][:64], known)))
    if twice := [name for name in known if names.count(name) > 1]:
        raise HTTPProblem(422, f"{twice[0]} is given {names.count(twice[0])} times: once is enough")


def _picture(data: bytes, media: str, name: str) -> Response:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return Response(data, media_type=media, headers={"Content-Disposition": f'inline; filename="{safe}"'})


def _document(schema: dict[str, Any]) -> str:
    """The OpenAPI document as a page."""
    rows = []
    for path, operations in schema["paths"].items():
        for verb, operation in operations.items():
            names = ", ".join(p["name"] for p in operation.get("parameters", []))
            columns = [f"<code>{verb.upper()} {html.escape(path)}</code>", html.escape(names)]
            rows.append([*columns, html.escape(operation.get("description", ""))])
    cells = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>texturenets: HTTP API</title>"
        "<style>body{font:1rem system-ui;margin:2rem;max-width:60rem}td{padding:.5rem 1rem;vertical-align:top;"
        "border-top:1px solid #ccc}</style><h1>HTTP API</h1><p>For programs: "
        f'<a href="openapi.json">openapi.json</a></p><table>{cells}</table></html>'
    )
