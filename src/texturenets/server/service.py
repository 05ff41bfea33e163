"""Stylizing photos and generating samples within limits, for the HTTP API and the page."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from texturenets import image, loading
from texturenets.errors import DamagedError, DiskFullError, NoBaseError, UserError
from texturenets.image import sizes
from texturenets.memory.malloc import PeriodicRelease
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import PHOTO, parse_mix, unknown_style
from texturenets.server import uploads
from texturenets.server.http_errors import HTTPProblem, add_log_fields, folder_missing, refused
from texturenets.server.masks import NO_MASKS, Masks
from texturenets.server.masks import check as check_masks
from texturenets.server.metrics import Metrics
from texturenets.server.models import Catalogue, LoadedModels, ServedModel
from texturenets.server.request_queue import Lane, QueuedRequest, RequestQueue
from texturenets.server.settings import Settings
from texturenets.stylize import pipeline
from texturenets.stylize.options import StylizeOptions
from texturenets.stylize.stroke import stylization_sizes
from texturenets.stylize.style import Style

log = logging.getLogger("texturenets.server")

FORMATS: Final = {
    "jpeg": (".jpg", "image/jpeg"),
    "png": (".png", "image/png"),
    "webp": (".webp", "image/webp"),
}
"""Suffix and media type of each format, by its name in the API. All browsers show these."""

SAME_FORMAT: Final = {"JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp", "PNG": "png", "GIF": "png", "PPM": "png"}
"""The format of a result by that of the photo (Pillow's name), if the request asks for none. For other photos it is
JPEG, or PNG if they are transparent."""


def load_model(settings: Settings) -> Callable[[Path], Any]:
    """A function that loads a model file, with the engine and device of the settings."""

    def load(path: Path) -> Any:
        from texturenets import loading

        began = time.perf_counter()
        model = loading.load_with(path, settings.engine)
        fields = {
            "model": path.stem,
            "engine": model.engine.name,
            "precision": model.engine.precision,
            "seconds": round(time.perf_counter() - began, 4),
        }
        log.info("model loaded", extra={"fields": fields})
        return model

    return load


class Service:
    """The models, the request queue and the metrics. Requests run inside `running`."""

    def __init__(self, settings: Settings, load: Callable[[Path], Any] | None = None) -> None:
        """`load`: loads a model file, in place of `texturenets.load`. Raises UserError if the models folder cannot be
        used."""
        self.settings, self.limits = settings, settings.limits
        self.catalogue = Catalogue(settings.models)
        if settings.photos is None:  # else models come from trainings
            self.catalogue.warn_if_empty()
        load = load or load_model(settings)
        self.queue = RequestQueue(self.limits.queue, self.limits.seconds)
        # A lane is the queue for small or for large images, with its own engine thread. An engine computes one image
        # at a time, so each lane loads the models separately.
        self.loaded = {
            lane: LoadedModels(load, self.limits.models) for lane in (self.queue.small, self.queue.large)
        }
        self._check_preload()
        self.not_ready = "models are being loaded" if settings.preload else ""  # why, for /readyz
        self.release_memory = PeriodicRelease()
        self.metrics = Metrics(lambda: self.queue.count, lambda: sum(map(len, self.loaded.values())))

    @asynccontextmanager
    async def running(self) -> Any:
        """Run requests in the block, and load the models of --preload."""
        self.queue.open()
        loading = asyncio.create_task(self._preload())
        try:
            yield
        finally:
            loading.cancel()
            await self.queue.close()

    def _check_preload(self) -> None:
        """Raises UserError for models of --preload that do not exist, or are too many."""
        models = self.catalogue.models()
        for name in self.settings.preload:
            if name not in models:
                raise UserError(f"--preload: {self.catalogue.missing('model', name, models)}")
        if len(set(self.settings.preload)) > self.limits.models:
            raise UserError(
                f"--preload names {len(set(self.settings.preload))} models, more than --max-models "
                f"{self.limits.models}, which stay in memory: raise --max-models"
            )

    async def _preload(self) -> None:
        loop = asyncio.get_running_loop()
        for name in self.settings.preload:
            self.not_ready = f"{name} is being loaded"
            try:
                served = self.catalogue.models()[name]
                for lane, loaded in self.loaded.items():
                    await loop.run_in_executor(lane.engine, loaded.get, served)
            except Exception as error:
                self.not_ready = f"{name} could not be loaded: the log says why"
                known = isinstance(error, UserError)
                fields = {"model": name, **({"reason": str(error)} if known else {})}
                log.error("preload", exc_info=None if known else error, extra={"fields": fields})
                return
        self.not_ready = ""

    def find(self, name: str | None, kind: str) -> tuple[str, ServedModel]:
        """The model of that name. Raises HTTPProblem (404, or 503 while the folder of models is missing)."""
        add_log_fields(**{kind: (name or "")[:80]})
        try:
            found = self.catalogue.find(name, kind)
        except UserError as error:
            raise self.not_found(error, name) from None
        add_log_fields(**{kind: found[0]})
        return found

    def find_style(self, name: str | None) -> tuple[str, ServedModel, dict[str, float] | None]:
        """The model for a style name, and the mixture if the model has several styles, else None.

        Raises HTTPProblem: 404, or 422 for an invalid mixture.
        """
        models = self.catalogue.models()
        name = name if not name or name in models else loading.shipped_styles().get(name, name)
        model, colon, mixture_text = (name or "").rpartition(":")
        if not colon or name in models:
            found, served = self.find(name, "style")
            if len(served.styles) > 1:
                listed = ", ".join(f"{found}:{one}" for one in served.styles)
                raise HTTPProblem(422, f"{found} holds several styles: ask for one, of {listed}")
            return found, served, None
        found, served = self.find(model, "style")
        try:
            mix = parse_mix(mixture_text)
            for style in mix:
                if style not in (*served.styles, PHOTO):
                    raise unknown_style(found, style, served.styles)
        except UserError as error:
            raise HTTPProblem(422, str(error)) from None
        add_log_fields(style=name or "")
        return found, served, mix

    def not_found(self, error: UserError, name: str | None) -> HTTPProblem:
        """The response for a model `name` that is not in the catalogue; `error`: the catalogue's error."""
        if self.catalogue.folder_missing and name not in modelfile.shipped():
            return folder_missing("models")
        text = str(error)
        return HTTPProblem(404, f"{text}{'' if text.endswith('?') else ';'} GET /v1/models lists them")

    def check_size(self, height: int, width: int, what: str) -> None:
        """Raises HTTPProblem (413) for more pixels than the limits allow."""
        if max(height, width) > self.limits.side or height * width > self.limits.pixels:
            raise HTTPProblem(
                413,
                f"{what} of {width} x {height} pixels: at most {self.limits.side} per side and "
                f"{self.limits.pixels} in total are allowed",
            )

    async def check_photo(self, data: bytes) -> tuple[str, tuple[int, int]]:
        """Format and (H, W) of an image file.

        Raises HTTPProblem: 415 if it is not an image or is an animation, 413 if it is too large.
        """
        instead = "; videos and animations are stylized on the command line, by `texturenets stylize`"
        try:
            kind, size = await asyncio.to_thread(uploads.probe, data, "the body", instead)
        except UserError as error:
            raise refused(error, 415) from None
        self.check_size(*size, "a photo")
        return kind, size

    @staticmethod
    def photo_body(*, masks: bool = True) -> dict[str, Any]:
        """The request body of a photo in the OpenAPI document: the file itself, or a form, `masks`: with masks."""
        binary = {"type": "string", "format": "binary"}
        many = {"type": "array", "items": binary}
        fields = {"photo": binary, **({"mask": many, "keep": binary} if masks else {})}
        form = {"type": "object", "required": ["photo"], "properties": fields}
        return {"image/*": {"schema": binary}, "multipart/form-data": {"schema": form}}

    async def stylize(
        self,
        data: bytes,
        style: str | None,
        options: StylizeOptions,
        format_name: str = "auto",
        masks: Masks = NO_MASKS,
    ) -> tuple[bytes, str, str]:
        """Stylize a photo; returns the result's file as bytes, its media type and a name for it.

        `data`: the photo's file. `style`: a model's name; for a model with several styles "MODEL:STYLE" or a mixture.
        Must be called within `queue.slot()`. Raises HTTPProblem.
        """
        name, served, mix = self.find_style(style)
        styles = tuple(mix or served.styles)
        check_masks(styles, masks, (style or "") if mix else "")
        size, seed, quality = options.size, options.seed, options.quality
        if seed != 0 and not await asyncio.to_thread(modelfile.may_take_noise, served.path):
            raise HTTPProblem(422, f"seed {seed}: {name} takes no noise, every seed gives the same image")
        if quality is not None and format_name == "png":
            raise HTTPProblem(422, f"quality {quality}: it is for JPEG and WebP, PNG is lossless")
        kind, shape = await self.check_photo(data)
        add_log_fields(size=f"{shape[1]}x{shape[0]}")
        if size is not None:
            shape = sizes.fit_longer(shape, size)
            add_log_fields(size=f"{shape[1]}x{shape[0]}")
            self.check_size(*shape, "a result")
        try:
            stages = stylization_sizes(shape, options.stroke)
        except UserError as error:
            raise refused(error) from None
        for stage in stages:  # stroke sizes below 1 are computed at a larger size than the result's
            self.check_size(*stage, f"stroke size {options.stroke} needs an intermediate image")
        pixels = sum(height * width for height, width in stages) + len(masks) * shape[0] * shape[1]
        lane = self.queue.lane(pixels)
        async with self.queue.time(), lane.enter(name, pixels) as request:
            picture = await _in_thread(
                lane, lambda: pipeline.from_bytes(data, "the body", options, self.limits.pixels)
            )
            chosen = replace(options, mix=mix)
            if masks:
                # `picture.size`, not `shape`: masks fit the upright photo, which may be stored rotated in the file.
                read = await _in_thread(lane, lambda: masks.read(styles, picture.size, self.limits.pixels))
                chosen = replace(chosen, masks=read)
            picture = await self._run_model(
                lane, request, served, pixels, lambda model: pipeline.stylize_picture(model, picture, chosen)
            )
            if format_name == "auto":
                format_name = SAME_FORMAT.get(kind, "jpeg" if picture.transparency is None else "png")
            suffix, media = FORMATS[format_name]
            result = await _in_thread(
                lane, lambda: image.to_bytes(suffix_path(suffix), picture, quality=quality)
            )
        return result, media, ("+".join(mix) if mix else name) + suffix

    async def sample(
        self,
        texture: str | None,
        *,
        height: int,
        width: int,
        seed: int,
        tileable: bool = False,
        towards: int | None = None,
        share: float = 0.0,
        scale: float = 1.0,
        format_name: str = "png",
    ) -> tuple[bytes, str, str]:
        """A sample of a texture: its file as bytes, its media type and a name for it.

        `towards`: a second seed; the sample interpolates from the first to the second by `share` (0 to 1). `scale`:
        as for `Texture.scaled`; below 1 more pixels are drawn, and must be within the limits. Must be called within
        `queue.slot()`. Raises HTTPProblem.
        """
        name, served = self.find(texture, "texture")
        add_log_fields(size=f"{width}x{height}")
        self.check_size(height, width, "a sample")
        rows, columns = (math.ceil(side / min(scale, 1)) for side in (height, width))
        self.check_size(rows, columns, f"the image drawn for scale {scale:g}")
        suffix, media = FORMATS[format_name]

        def draw(loaded: Any) -> Any:
            model = loaded if scale == 1 else loaded.scaled(scale)
            if towards is None:
                return image.from_any(model.sample((width, height), seed=seed, tileable=tileable))[0]
            return image.Picture(model.mix(height, width, seed, towards, share, tileable=tileable))

        pixels = rows * columns
        lane = self.queue.lane(pixels)
        async with self.queue.time(), lane.enter(name, pixels) as request:
            picture = await self._run_model(lane, request, served, pixels, draw)
            result = await _in_thread(lane, lambda: image.to_bytes(suffix_path(suffix), picture))
        way = "" if towards is None else f"-{towards}-{share:g}"
        return result, media, f"{name}-{seed}{way}{suffix}"

    async def _run_model(
        self, lane: Lane, request: QueuedRequest, served: ServedModel, pixels: int, call: Callable[[Any], Any]
    ) -> Any:
        """The result of `call(model)`, in the lane's engine thread; the model is loaded if it is not in memory."""

        def timed(request: QueuedRequest) -> Any:
            try:
                model = self.loaded[lane].get(served)
            except DiskFullError as error:
                raise refused(error) from None
            except UserError as error:
                unusable = isinstance(error, DamagedError | NoBaseError)
                if isinstance(error, DamagedError):
                    self.catalogue.leave_out(served, str(error))
                else:  # a base model may come without a change of this file
                    log.error("load", extra={"fields": {"model": request.key, "reason": str(error)}})
                detail = (
                    f"the model file of {request.key} cannot be used, as the service's log says"
                    if unusable
                    else f"{request.key} cannot be loaded; the service's log says why"
                )
                raise HTTPProblem(404 if unusable else 500, detail) from None
            request.check()
            _check_between_parts(model, request.check)
            began = time.perf_counter()
            result = call(model)
            seconds = time.perf_counter() - began
            self.queue.estimate.record(request.key, pixels, seconds)
            self.metrics.engine.inc(seconds)
            self.metrics.images.labels(request.key).inc()
            self.release_memory()
            return result

        try:
            return await lane.run(request, timed)
        except UserError as error:
            raise refused(error) from None


def _check_between_parts(model: Any, check: Callable[[], None]) -> None:
    """Make `model` call `check` between the parts of an image; an exception of `check` ends the work."""
    if isinstance(model, Style):
        model.between = check
        model.tiled.progress = lambda _: check()


async def _in_thread(lane: Lane, call: Callable[[], Any]) -> Any:
    """As `lane.in_thread`. Raises HTTPProblem for a UserError."""
    try:
        return await lane.in_thread(call)
    except UserError as error:
        raise refused(error) from None


def suffix_path(suffix: str) -> Path:
    """A path with this suffix, by which `image.to_bytes` chooses the format; no such file exists."""
    return Path("image" + suffix)
