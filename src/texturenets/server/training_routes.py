"""The routes of trainings: start, list, stop, resume, remove."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval
from fastapi import FastAPI, Query, Request
from starlette.responses import FileResponse, Response

from texturenets import image
from texturenets.errors import UserError
from texturenets.image import sizes
from texturenets.modelfiles import modelfile
from texturenets.server import bodies, painting_files
from texturenets.server.http_errors import LOG_FIELDS, HTTPProblem, add_log_fields, documented, refused
from texturenets.server.numbers import DECIMAL, WHOLE
from texturenets.server.service import Service
from texturenets.server.training_runner import weights_missing
from texturenets.train import lacking
from texturenets.train import presets as all_presets
from texturenets.train.configuration import INTO_STEPS, TaskConfig, flag
from texturenets.train.min_size import too_small

if TYPE_CHECKING:
    from texturenets.server.training_files import TrainingJob
    from texturenets.server.trainings import Trainings

log = logging.getLogger("texturenets.server")

SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
"""Suffix of the exemplar's file, by Pillow's name of its format."""

MAX_STEPS = 1_000_000
MAX_MINUTES = 10_000.0

Steps = Annotated[
    int | None,
    Interval(ge=1, le=MAX_STEPS),
    WHOLE,
    Query(description=f"Optimizer steps; by default those of the preset, and {INTO_STEPS} with `into`."),
]
Minutes = Annotated[
    float | None,
    Interval(gt=0, le=MAX_MINUTES),
    DECIMAL,
    Query(description="How long it learns, in place of `steps`."),
]
Into = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=200,
        description="A model of several styles, which stays as it is: the painting is learned as one more, and the "
        "new model is some kB.",
    ),
]
Photos = Annotated[
    str,
    Query(
        min_length=1,
        max_length=255,
        description="Subfolder of the service's folder of photos; by default all photos.",
    ),
]


async def enqueue(
    service: Service,
    trainings: Trainings,
    data: bytes,
    *,
    name: str,
    kind: Literal["style", "texture"],
    preset: str,
    steps: int | None = None,
    minutes: float | None = None,
    photos: str = "",
    into: str | None = None,
    start: str | None = None,
    changes: Mapping[str, float] | None = None,
) -> TrainingJob:
    """Add a training to the queue. Must be called within `queue.slot()`. Raises HTTPProblem.

    `data`: the file of the image to learn. `into`: a model of several styles of the service, into which a style is
    learned. `start`: a model of the service whose weights it starts from; "": it
    starts from nothing; None: as the preset does. `changes`: fields of the preset with other values.
    """
    known = presets(kind)
    if preset not in known:
        raise HTTPProblem(422, f"preset: one of {', '.join(known)}")
    if steps and minutes:
        raise HTTPProblem(422, "steps and minutes both end a training: give one of them")
    base = None if into is None else _base(service, into, kind, preset)
    if name in modelfile.shipped():  # requests for that model would get the new one
        raise HTTPProblem(409, f"{name} is a model that comes with texturenets: choose another name")
    service.catalogue.models()
    if service.catalogue.is_unusable(name):
        detail = (
            f"{name}.safetensors exists, and cannot be used, as the service's log says: choose another name"
        )
        raise HTTPProblem(409, detail)
    form, size = await service.check_photo(data)

    def add() -> TrainingJob:
        suffix = SUFFIXES.get(form, ".img")
        try:
            run = dataclasses.replace(known[preset], **(changes or {}))  # type: ignore[arg-type]
        except UserError as error:  # it names fields of the preset as options of the command line
            raise HTTPProblem(422, str(error).replace("--", "")) from None
        learned = sizes.fit_longer(size, run.style_size) if run.style_size else size
        if message := (kind == "style" and too_small(*size)) or too_small(*learned):
            raise HTTPProblem(422, f"{message}: send a larger image")
        _check_learnable(data, kind, run)  # now, not only when the training starts
        _check_weights(run, preset)
        more = [f"{flag(key)}={value}" for key, value in (changes or {}).items()]
        if start is not None:
            more.append(f"--init={_start(service, start, kind, run) if start else 'none'}")
        trainings.check_folder()
        return trainings.add(
            name,
            kind,
            data,
            suffix,
            preset=preset,
            steps=0 if minutes else steps or (INTO_STEPS if base else run.steps),
            minutes=minutes or 0.0,
            photos=photos,
            into=base,
            more=more,
        )

    try:
        job: TrainingJob = await service.queue.in_thread(add)
    except UserError as error:
        raise refused(error) from None
    request = {key: value for key, value in LOG_FIELDS.get({}).items() if key in ("id", "client")}
    settings = {"training": name, "state": job.state, "kind": kind, "preset": preset, "steps": job.steps}
    log.info("training", extra={"fields": {**request, **settings}})
    return job


def _base(service: Service, name: str, kind: Literal["style", "texture"], preset: str) -> Path:
    """The file of the service's model `name`, to learn a style into. Raises HTTPProblem."""
    if kind != "style" or preset != "default":
        raise HTTPProblem(422, f"into {name}: it takes a style, by the preset default")
    _, served = service.find(name, "style")
    if not served.takes_styles:
        raise HTTPProblem(
            422, f"into {name}: a model of one style; name one of several, as /v1/models lists them"
        )
    return served.path


def _check_learnable(data: bytes, kind: Literal["style", "texture"], run: TaskConfig) -> None:
    """Raises UserError for an image that a training by `run` would refuse."""
    from texturenets.train import style_images  # imported here, because it imports PyTorch

    picture = image.from_bytes(data, "the body", longer=run.style_size or None)
    style_images.check(picture, "the body")
    if kind == "texture":
        style_images.check_opaque(picture, "the body")


def _check_weights(run: TaskConfig, preset: str) -> None:
    """Raises HTTPProblem if descriptor weights that `run` needs are missing and may not be downloaded.

    Some presets then use the descriptor network `own`, which comes with the package.
    """
    from texturenets import losses
    from texturenets.perceptual import weights

    if preset in all_presets.REPLACEABLE:
        return
    layers = losses.layers_of(losses.build(dataclasses.asdict(run)))
    messages = []
    for network in dict.fromkeys(layer.partition(":")[0] for layer in layers):
        try:
            weights.check_at_hand(network)
        except UserError as error:
            if not weights_missing(str(error)):
                raise
            messages.append(str(error))
    if messages:
        raise HTTPProblem(503, f"{weights_missing(*messages)}; then send it again")


def _start(service: Service, name: str, kind: Literal["style", "texture"], run: TaskConfig) -> Path:
    """The file of the service's model `name`. Raises UserError if a training by `run` cannot start from it: its
    generator is another."""
    _, found = service.catalogue.find(name, kind)
    if not run.may_start_from(found.header.generator):
        raise UserError(f"{name} has another network than this preset, which cannot start from it")
    return found.path


def presets(kind: Literal["style", "texture"]) -> Mapping[str, TaskConfig]:
    """The presets of a kind."""
    return all_presets.STYLE_PRESETS if kind == "style" else all_presets.TEXTURE_PRESETS


def add(app: FastAPI, service: Service, trainings: Trainings | None) -> None:
    """Add the routes; without `trainings` they respond with an error that says how to enable trainings."""

    def available() -> Trainings:
        if trainings is None:
            how = (
                "its installation lacks the extra `train`"
                if lacking()
                else ("start it with --models FOLDER --photos FOLDER")
            )
            raise HTTPProblem(404, f"this service does not train: {how}")
        trainings.check_folder()
        return trainings

    _add_start(app, service, available)
    _add_others(app, available)


def _add_start(app: FastAPI, service: Service, available: Callable[[], Trainings]) -> None:
    """The route that puts a training in the queue."""

    @app.post(
        "/v1/trainings",
        status_code=202,
        responses=documented(401, 404, 408, 409, 415, 503),
        openapi_extra={"requestBody": {"required": True, "content": service.photo_body(masks=False)}},
    )
    async def begin(  # noqa: PLR0917 (FastAPI passes them by name)
        request: Request,
        name: Annotated[str, Query(max_length=64, description="Of the model: letters, digits, - and _.")],
        kind: Annotated[Literal["style", "texture"], Query()] = "style",
        preset: Annotated[
            str, Query(max_length=64, description="Named set of training options.")
        ] = "default",
        steps: Steps = None,
        minutes: Minutes = None,
        into: Into = None,
        photos: Photos = "",
    ) -> dict[str, Any]:
        """Put a training in the queue: a painting's or an exemplar's file as the body, or as a file of a form."""
        add_log_fields(training=name, kind=kind)
        if painting_files.path_of(Path(), name):
            raise HTTPProblem(409, f"{name} is a name of visitors' paintings: choose another one")
        trainings = available()
        with service.queue.slot():
            data, _ = await bodies.read_image_body(request)
            job = await enqueue(
                service,
                trainings,
                data,
                name=name,
                kind=kind,
                preset=preset,
                steps=steps,
                minutes=minutes,
                photos=photos,
                into=into,
            )
        return await asyncio.to_thread(trainings.reports.of, job)


def _add_others(app: FastAPI, available: Callable[[], Trainings]) -> None:
    """The routes for existing trainings."""

    async def report_after(call: Callable[[Trainings], TrainingJob]) -> dict[str, Any]:
        """The report of the training that `call` returns."""
        trainings = available()
        job = await asyncio.to_thread(call, trainings)
        return await asyncio.to_thread(trainings.reports.of, job)

    @app.get("/v1/trainings", responses=documented(401, 404, 429, 503))
    async def listed() -> dict[str, list[dict[str, Any]]]:
        """All trainings, in the order of the queue: state, step, losses, seconds left."""
        trainings = available()
        return {
            "trainings": await asyncio.to_thread(
                lambda: [trainings.reports.of(job) for job in trainings.jobs()]
            )
        }

    @app.get("/v1/trainings/{name}", responses=documented(401, 404, 429, 503))
    async def one(name: str) -> dict[str, Any]:
        """A training: state, step, losses, seconds left."""
        return await report_after(lambda trainings: trainings.files.find(name))

    @app.delete(
        "/v1/trainings/{name}",
        status_code=204,
        response_class=Response,  # FastAPI's own has a Content-Type
        responses=documented(401, 404, 408, 409, 415, 503),
    )
    async def remove(request: Request, name: str) -> None:
        """Remove a training that is not running, with its checkpoint, records and images; its model stays."""
        await bodies.no_body(request)
        await asyncio.to_thread(available().remove, name)

    @app.post("/v1/trainings/{name}/stop", responses=documented(401, 404, 408, 409, 415, 503))
    async def stop(request: Request, name: str) -> dict[str, Any]:
        """Stop a training, which saves a checkpoint first; it can be resumed."""
        await bodies.no_body(request)
        return await report_after(lambda trainings: trainings.stop(name))

    @app.post("/v1/trainings/{name}/resume", responses=documented(401, 404, 408, 409, 415, 503))
    async def resume(request: Request, name: str) -> dict[str, Any]:
        """Queue a stopped or failed training again; it continues from its checkpoint."""
        await bodies.no_body(request)
        return await report_after(lambda trainings: trainings.resume(name))

    @app.get(
        "/v1/trainings/{name}/picture",
        response_class=FileResponse,
        responses=documented(401, 404, 429, 503, content={"image/jpeg": {}}),
    )
    async def picture(name: str) -> FileResponse:
        """The newest example image: photos above, the network's output below."""
        trainings = available()
        path = await asyncio.to_thread(trainings.reports.picture, name)
        if path is None:
            raise HTTPProblem(404, "it has made no image yet")
        return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "no-store"})
