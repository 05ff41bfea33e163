"""`texturenets serve`: the page and the HTTP API."""

from __future__ import annotations

import inspect
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from texturenets import fetch, files
from texturenets.cli.arguments import Option
from texturenets.cli.command_line import environment
from texturenets.cli.common import Device, EngineName, PrecisionFlag
from texturenets.errors import UserError, install, unknown

VARIABLES = "TEXTURENETS_SERVE_"
"""Prefix of the environment variables of the options. Not TEXTURENETS_: Kubernetes sets TEXTURENETS_PORT for a
service of that name."""

Many = Annotated[list[str] | None, Option(several=True)]


def _check_variables() -> None:
    """Raise UserError if an environment variable TEXTURENETS_... is set but empty, or invalid."""
    for name, value in sorted(os.environ.items()):
        if name.startswith("TEXTURENETS_") and not value.strip():
            raise UserError(f"the environment variable {name} is empty: give it a value, or unset it")
    # Reported now, not when the first training begins.
    fetch.offline()
    files.cache_folder()
    files.weights_folders()


@environment(VARIABLES)
def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    models: Path | None = None,
    photos: Path | None = None,
    preload: Many = None,
    page: bool = True,
    token_file: Path | None = None,
    public_host: Many = None,
    allow_origin: Many = None,
    allow_frame: Many = None,
    max_bytes: str = "32M",
    max_pixels: int = 25_000_000,
    max_side: int = 16384,
    max_seconds: float = 60.0,
    max_queue: int = 32,
    max_models: int = 4,
    max_trainings: int = 32,
    log_level: Literal["debug", "info", "warning", "error"] = "info",
    device: Device = "auto",
    engine: EngineName = "auto",
    precision: PrecisionFlag = "auto",
) -> None:
    """Serve stylization and textures over HTTP, until Ctrl-C; by default only to this machine.

    The URL is printed; the request log goes to standard error, as lines of JSON. The routes are documented at
    /docs and /openapi.json. Every option can be given as an environment variable too, for example --max-bytes
    as TEXTURENETS_SERVE_MAX_BYTES.

    Parameters
    ----------
    host
        Address to listen on; 0.0.0.0 accepts connections from other machines.
    port
        Port to listen on; 0 takes a free one.
    models
        Folder of model files to offer besides the shipped ones.
    photos
        Folder of training photos. With --models, users of the service can train models on them, one at a time.
    preload
        Models to load before /readyz reports that the service is ready, for example --preload wave udnie.
    page
        Serve a page for browsers besides the HTTP API.
    token_file
        File with a token that every request must send (Authorization: Bearer TOKEN) [default: the environment
        variable TEXTURENETS_TOKEN, else no token].
    public_host
        Additional host names under which the service is reached, for example behind a reverse proxy: example.org.
    allow_origin
        Origins whose pages may call the HTTP API (CORS), for example https://example.org.
    allow_frame
        Origins whose pages may show the page in a frame, for example https://huggingface.co.
    max_bytes
        Maximum size of a request body, for example 32M.
    max_pixels
        Maximum number of pixels of a photo or result.
    max_side
        Maximum side of a photo or result, in pixels.
    max_seconds
        Time limit of one request, in seconds.
    max_queue
        Maximum number of requests in the queue; further ones get status 503 with Retry-After.
    max_models
        Maximum number of models kept in memory.
    max_trainings
        Maximum number of waiting, running and stopped trainings; further ones are refused.
    log_level
        Minimum severity of the messages that are logged.
    """
    _check_variables()
    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if page and find_spec("gradio") is None:
        missing.append("gradio (or --no-page)")
    if missing:
        raise UserError(f"serving needs {', '.join(missing)}: {install('web')}")
    known = {VARIABLES + name.upper() for name in inspect.signature(serve).parameters}
    if strange := sorted(name for name in os.environ if name.startswith(VARIABLES) and name not in known):
        raise unknown("environment variable", strange[0], known)
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port} is not between 0 and 65535")

    from texturenets.engines.options import EngineOptions
    from texturenets.modelfiles import modelfile
    from texturenets.server import server, settings
    from texturenets.server.service import load_model

    limits = settings.Limits(
        bytes=settings.size_in_bytes(max_bytes, "--max-bytes"),
        pixels=max_pixels,
        side=max_side,
        seconds=max_seconds,
        queue=max_queue,
        models=max_models,
        trainings=max_trainings,
    )
    chosen = settings.Settings(
        host=host,
        port=port,
        hosts=tuple(public_host or ()),
        origins=tuple(allow_origin or ()),
        frames=tuple(allow_frame or ()),
        token=settings.token_from(token_file),
        models=models,
        photos=photos,
        preload=tuple(preload or ()),
        page=page,
        engine=EngineOptions(engine, device, precision),
        limits=limits,
    )
    shipped = modelfile.shipped()
    if shipped and (device, engine, precision) != ("auto", "auto", "auto"):
        # What is not available here is reported now, not with every request.
        load_model(chosen)(next(iter(shipped.values())))
    server.serve(chosen, log_level)
