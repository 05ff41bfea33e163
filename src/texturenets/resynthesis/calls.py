"""Resynthesis from Python: `texturenets.tile` and `texturenets.inpaint`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from texturenets import arguments, image
from texturenets.engines.devices import memory_errors
from texturenets.errors import UserError
from texturenets.image import ImageKind
from texturenets.losses import build, layers_of
from texturenets.memory.malloc import keep_freed_memory
from texturenets.optimization import IterationRecord, LineSearch
from texturenets.resynthesis import jobs
from texturenets.resynthesis.configuration import NETWORK, STEPS, of_network
from texturenets.resynthesis.filling import fill
from texturenets.resynthesis.jobs import Job
from texturenets.train.configuration import TextureConfig
from texturenets.train.fallback import with_own
from texturenets.train.setup import Setup, set_up
from texturenets.train.trainer_config import TrainerConfig
from texturenets.train.unused_options import check_used

C = TypeVar("C", bound=TextureConfig)
RecordCallback = Callable[[IterationRecord], object]


def set_up_for(
    config: C, trainer: TrainerConfig, *, chosen: bool, say: Callable[[str], None], progress: Any = None
) -> tuple[C, Setup]:
    """The descriptor networks on their device, and `config` with their layers.

    `chosen`: as for `train.fallback.with_own`; `progress`, errors: as for `train.setup.set_up`.
    """

    def made(config: C) -> tuple[C, Setup]:
        return config, set_up(config, layers_of(build(dataclasses.asdict(config))), trainer, progress)

    used, setup = with_own(made, config, chosen=chosen, resumed=None, say=say)
    if setup.device.type == "cpu":
        keep_freed_memory()
    return used, setup


def tile(
    photo: Any,
    *,
    config: TextureConfig | str = NETWORK,
    trainer: TrainerConfig | None = None,
    steps: int = STEPS,
    scales: int = 1,
    line_search: LineSearch = "strong_wolfe",
    progress: RecordCallback | None = None,
) -> Any:
    """Make an image tile seamlessly: left meets right and top meets bottom.

    Only the central rectangle, half as wide and half as high as the image, stays bitwise equal. `photo`: the image,
    of any type that a style takes; the result has the same type. `config`: the losses: the name of a descriptor
    network, for its default layers, or a `TextureConfig`; `trainer`: device and weights. `steps`: maximum number of
    L-BFGS iterations at each of `scales` sizes, each twice the previous one. `progress`: called with an
    `optimization.IterationRecord` after each iteration; if it returns the string "stop", the current image is the
    result.

    Raises UserError for transparent pixels, and as the command line does.
    """
    picture, kind = image.from_any(photo)
    job = jobs.edges(picture)
    part = _optimized(job, config, trainer, progress, steps=steps, scales=scales, line_search=line_search)
    return image.to_kind(job.finished(part).rgb, kind)


def inpaint(
    photo: Any,
    mask: Any,
    *,
    context: int | None = None,
    config: TextureConfig | str = NETWORK,
    trainer: TrainerConfig | None = None,
    steps: int = STEPS,
    scales: int = 1,
    line_search: LineSearch = "strong_wolfe",
    progress: RecordCallback | None = None,
) -> Any:
    """Fill the white part of `mask` with the texture of its surroundings; all other pixels stay bitwise equal.
    `mask`: any image with the photo's aspect ratio (another size is scaled, with a warning); its luminance counts,
    from a half on it is white. `context`: pixels around the hole, on each side, from which the texture is learned
    [128, or more if the hole with its surroundings would be smaller than 512 x 512]. The filled pixels are opaque.
    Other arguments as for `tile`. Raises UserError for a mask without any white or without any black, and as the
    command line does.
    """
    picture, kind = image.from_any(photo)
    job = jobs.hole(picture, mask, context)
    part = _optimized(job, config, trainer, progress, steps=steps, scales=scales, line_search=line_search)
    made = job.finished(part)
    return image.to_kind(made.rgb, _with_alpha(kind, made))


def _with_alpha(kind: ImageKind, made: image.Picture) -> ImageKind:
    return dataclasses.replace(kind, alpha=made.transparency)


def _optimized(
    job: Job,
    config: TextureConfig | str,
    trainer: TrainerConfig | None,
    progress: RecordCallback | None,
    *,
    steps: int,
    **how: Any,
) -> Any:
    arguments.instance("config", config, TextureConfig | str, "a network's name or TextureConfig(...)")
    arguments.instance("trainer", trainer, TrainerConfig | None, "TrainerConfig(...)")
    arguments.instance("progress", progress, Callable | None, "a function that takes a record")
    if arguments.integer("steps", steps) < 1:
        raise UserError(f"`steps` {steps} is not above 0")
    chosen = of_network(config) if isinstance(config, str) else config
    if not isinstance(config, str):
        check_used(config)
    used, setup = set_up_for(
        chosen,
        trainer or TrainerConfig(),
        chosen=config != NETWORK,
        say=lambda text: warnings.warn(text, stacklevel=5),
    )
    last: IterationRecord | None = None
    with memory_errors("out of memory: use a smaller image, a smaller `context` or fewer layers"):
        settings, hole = dataclasses.asdict(used), job.hole.to(setup.device)
        for last in fill(setup.networks, settings, hole, steps=steps, **how):
            if progress is not None and arguments.stops(progress(last)):
                break
    assert last is not None  # the start is a record
    return last.image
