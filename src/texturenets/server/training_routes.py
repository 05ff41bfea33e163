"""Trainings over HTTP: asked for, watched, stopped, resumed."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from starlette.responses import FileResponse, Response

from texturenets import image
from texturenets.errors import UserError
from texturenets.image import sizes
from texturenets.modelfiles import modelfile
from texturenets.server import bodies
from texturenets.server.http_errors import NOTED, HTTPProblem, documented, note, refused
from texturenets.server.numbers import WHOLE
from texturenets.server.service import Service
from texturenets.server.training_runner import weights_missing
from texturenets.train import lacking
from texturenets.train import recipes as all_recipes
from texturenets.train.configuration import TaskConfig, flag
from texturenets.train.least_size import too_small

if TYPE_CHECKING:
    from texturenets.server.training_files import TrainingJob
    from texturenets.server.trainings import Trainings

log = logging.getLogger("texturenets.server")

SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
"""Suffix of the exemplar's file, by Pillow's name of its format."""

MOST_STEPS = 1_000_000


async def enqueue(
    service: Service,
    place: Trainings,
    data: bytes,
    *,
    name: str,
    kind: Literal["style", "texture"],
    preset: str,
    steps: int | None,
    photos: str = "",
    start: str | None = None,
    changes: Mapping[str, float] | None = None,
) -> TrainingJob:
    """Add a training to those that wait, `data` being its image's file. To be called with a place in the queue.

    `start`: a model of the service whose weights it starts from; `changes`: fields of the recipe with other values.
    Raises HTTPProblem.
    """
    known = recipes(kind)
    if preset not in known:
        raise HTTPProblem(422, f"preset: one of {', '.join(known)}")
    if name in modelfile.shipped():  # it would answer to everybody in the place of that model
        raise HTTPProblem(409, f"{name} is a model that comes with texturenets: choose another name")
    service.catalogue.models()
    if service.catalogue.is_unusable(name):
        said = (
            f"{name}.safetensors is there, and cannot be used, as the service's log says: choose another name"
        )
        raise HTTPProblem(409, said)
    form, size = await service.check_photo(data)

    def begin() -> TrainingJob:
        suffix = SUFFIXES.get(form, ".img")
        try:
            run = dataclasses.replace(known[preset], **(changes or {}))  # type: ignore[arg-type]
        except UserError as error:  # it names fields of the recipe as options of the command line
            raise HTTPProblem(422, str(error).replace("--", "")) from None
        learned = sizes.fit_longer(size, run.style_size) if run.style_size else size
        if said := (kind == "style" and too_small(*size)) or too_small(*learned):
            raise HTTPProblem(422, f"{said}: send a larger image")
        _check_learnable(data, kind, run)  # better told now than when its turn has come
        _check_weights(run, preset)
        more = [f"{flag(key)}={value}" for key, value in (changes or {}).items()]
        if start is not None:
            more.append(f"--init={_start(service, start, kind, run)}")
        count = steps or run.steps
        place.check_folder()
        return place.add(name, kind, data, suffix, preset=preset, steps=count, photos=photos, more=more)

    try:
        job: TrainingJob = await service.queue.in_thread(begin)
    except UserError as error:
        raise refused(error) from None
    who = {key: value for key, value in NOTED.get({}).items() if key in ("id", "client")}
    asked = {"training": name, "state": job.state, "kind": kind, "preset": preset, "steps": job.steps}
    log.info("training", extra={"fields": {**who, **asked}})
    return job


def _check_learnable(data: bytes, kind: Literal["style", "texture"], run: TaskConfig) -> None:
    """Raises UserError for an image that a training by `run` would refuse."""
    from texturenets.train import style_images  # PyTorch, where somebody trains

    picture = image.from_bytes(data, "the body", longer=run.style_size or None)
    style_images.check(picture, "the body")
    if kind == "texture":
        style_images.check_opaque(picture, "the body")


def _check_weights(run: TaskConfig, preset: str) -> None:
    """Raises HTTPProblem where weights of a descriptor network of `run` are neither here nor may be fetched, and
    `own` does not take their place, which it does for the preset "default" alone."""
    from texturenets import losses
    from texturenets.perceptual import weights

    if preset == "default" and weights.shipped("own"):
        return
    layers = losses.layers_of(losses.build(dataclasses.asdict(run)))
    told = []
    for network in dict.fromkeys(layer.partition(":")[0] for layer in layers):
        try:
            weights.check_at_hand(network)
        except UserError as error:
            if not weights_missing(str(error)):
                raise
            told.append(str(error))
    if told:
        raise HTTPProblem(503, f"{weights_missing(*told)}; then send it again")


def _start(service: Service, name: str, kind: Literal["style", "texture"], run: TaskConfig) -> Path:
    """The file of a model that `run` can start from. Raises UserError."""
    _, found = service.catalogue.find(name, kind)
    if not run.may_start_from(found.header.generator):
        raise UserError(f"{name} has another network than this recipe, which cannot start from it")
    return found.path


def recipes(kind: Literal["style", "texture"]) -> Mapping[str, TaskConfig]:
    """The recipes of a kind."""
    return all_recipes.STYLE_RECIPES if kind == "style" else all_recipes.TEXTURE_RECIPES


def add(app: FastAPI, service: Service, trainings: Trainings | None) -> None:
    """The routes; without `trainings` they say how to have some."""

    def there() -> Trainings:
        if trainings is None:
            how = (
                "its installation lacks the extra `train`"
                if lacking()
                else ("start it with --models FOLDER --photos FOLDER")
            )
            raise HTTPProblem(404, f"this service does not train: {how}")
        trainings.check_folder()
        return trainings

    _beginning(app, service, there)
    _going_on(app, there)


def _beginning(app: FastAPI, service: Service, there: Callable[[], Trainings]) -> None:
    """The route that puts one in the queue."""

    @app.post(
        "/v1/trainings",
        status_code=202,
        responses=documented(401, 404, 408, 409, 415, 422, 503),
        openapi_extra={"requestBody": {"required": True, "content": service.photo_body()}},
    )
    async def begin(  # noqa: PLR0917 (FastAPI passes them by name)
        request: Request,
        name: Annotated[str, Query(max_length=64, description="Of the model: letters, digits, - and _.")],
        kind: Annotated[Literal["style", "texture"], Query()] = "style",
        preset: Annotated[str, Query(max_length=64, description="Recipe.")] = "default",
        steps: Annotated[
            int | None,
            WHOLE,
            Query(ge=1, le=MOST_STEPS, description="Of the optimizer; the recipe's own without."),
        ] = None,
        photos: Annotated[
            str,
            Query(
                min_length=1,
                max_length=255,
                description="Folder within the service's photos; all of them without.",
            ),
        ] = "",
    ) -> dict[str, Any]:
        """Put a training in the queue: a painting's or an exemplar's file as the body, or as a file of a form."""
        note(training=name, kind=kind)
        place = there()
        with service.queue.place():
            data, _ = await bodies.read_image_body(request)
            job = await enqueue(
                service, place, data, name=name, kind=kind, preset=preset, steps=steps, photos=photos
            )
        return await asyncio.to_thread(place.reports.of, job)


def _going_on(app: FastAPI, there: Callable[[], Trainings]) -> None:
    """The routes of those that are there."""

    async def told(name: str, call: Callable[[Trainings], Any]) -> dict[str, Any]:
        place = there()
        job = await asyncio.to_thread(call, place)
        return await asyncio.to_thread(place.reports.of, job)

    @app.get("/v1/trainings", responses=documented(401, 404, 429, 503))
    async def listed() -> dict[str, list[dict[str, Any]]]:
        """All trainings, the oldest first: state, step, losses, seconds left."""
        place = there()
        return {"trainings": await asyncio.to_thread(lambda: [place.reports.of(job) for job in place.jobs()])}

    @app.get("/v1/trainings/{name}", responses=documented(401, 404, 429, 503))
    async def one(name: str) -> dict[str, Any]:
        """A training: state, step, losses, seconds left."""
        return await told(name, lambda place: place.files.find(name))

    @app.delete(
        "/v1/trainings/{name}",
        status_code=204,
        response_class=Response,  # FastAPI's own has a Content-Type
        responses=documented(401, 404, 408, 409, 415, 503),
    )
    async def remove(request: Request, name: str) -> None:
        """Remove one that is not at work, with its checkpoint, records and images; a model that it made stays."""
        await bodies.no_body(request)
        await asyncio.to_thread(there().remove, name)

    @app.post("/v1/trainings/{name}/stop", responses=documented(401, 404, 408, 409, 415, 422, 503))
    async def stop(request: Request, name: str) -> dict[str, Any]:
        """Let it save and end; it can be resumed."""
        await bodies.no_body(request)
        return await told(name, lambda place: place.stop(name))

    @app.post("/v1/trainings/{name}/resume", responses=documented(401, 404, 408, 409, 415, 422, 503))
    async def resume(request: Request, name: str) -> dict[str, Any]:
        """Go on with one that was stopped or has failed, when its turn comes."""
        await bodies.no_body(request)
        return await told(name, lambda place: place.resume(name))

    @app.get(
        "/v1/trainings/{name}/picture",
        response_class=FileResponse,
        responses=documented(401, 404, 429, 503, content={"image/jpeg": {}}),
    )
    async def picture(name: str) -> FileResponse:
        """Photos above, what the network makes of them below; the newest."""
        place = there()
        path = await asyncio.to_thread(place.reports.picture, name)
        if path is None:
            raise HTTPProblem(404, "it has made no image yet")
        return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "no-store"})
