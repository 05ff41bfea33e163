"""Quality of a model: losses, diversity, seams, copied patches, flicker. `texturenets evaluate` prints it."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from texturenets import arguments, image, loading, optimization
from texturenets.arrays import to_tensor
from texturenets.errors import UserError, unknown
from texturenets.evaluation import measures, style_measures
from texturenets.evaluation.patches import fits, patch_distance
from texturenets.image.sizes import fit_longer
from texturenets.losses import LossSettings, Objective, Targets, build, layers_of
from texturenets.modelfiles.modelfile import Header
from texturenets.perceptual import Descriptors
from texturenets.stylize.options import StylizeOptions
from texturenets.stylize.style import Style
from texturenets.textures import Texture
from texturenets.train import presets
from texturenets.train.configuration import StyleConfig, TaskConfig, TextureConfig, from_dict, to_dict
from texturenets.train.setup import set_up
from texturenets.train.trainer_config import TrainerConfig
from texturenets.video.steady import check_steady
from texturenets.video.stylization import StylizeFrame, frame_stylizer

C = TypeVar("C", bound=TaskConfig)
StatusCallback = Callable[[str], None]
Failed = Callable[[Path, UserError], None]
"""Called with a file that cannot be read and the error; an exception that it raises ends the evaluation."""


def _raise(_: Path, error: UserError) -> None:
    raise error


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """What is measured.

    `samples`: number of samples of a texture, with seeds `seed`, `seed` + 1, ... `size`: side of samples, or longer
    side of photos, in pixels; None: 256 for a texture, 512 for a style. `optimize`: number of images optimized
    iteratively for comparison, 0 for none; for a style any other number means every photo. `max_iterations`: maximum
    for each. `descriptor`: the descriptor network to measure with, "vgg16" or "own"; None: the losses with the
    networks used in training, the other measures of a style with VGG-16, the distance between samples with SqueezeNet
    1.0 and VGG-16.
    """

    samples: int = 4
    seed: int = 7
    size: int | None = None
    optimize: int = 0
    max_iterations: int = 500
    descriptor: str | None = None

    def __post_init__(self) -> None:
        """Raises UserError for a number that is not an integer or out of range, and for a `descriptor` that does not
        measure."""
        for name in ("samples", "seed", "size", "optimize", "max_iterations"):
            if name != "size" or self.size is not None:
                arguments.integer(name, getattr(self, name))
        for name in ("samples", "size", "max_iterations"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"`{name}` {getattr(self, name)} is not above 0")
        if self.descriptor is not None and self.descriptor not in style_measures.MEASURED:
            raise unknown("descriptor network that measures", self.descriptor, style_measures.MEASURED)
        if self.optimize < 0:
            raise UserError(f"`optimize` {self.optimize} is below 0")


TEXTURE_SIDE, STYLE_SIDE = 256, 512
"""Default sizes: side of samples, longer side of photos, in pixels."""

REPORTED_LOSSES = ("style", "content")
"""Names of the losses that are reported: not the penalties (total variation, checkerboard and so on)."""


def config_of(header: Header) -> TextureConfig | StyleConfig:
    """The training configuration in a model's header; missing options are those of the default preset."""
    kind: Any = TextureConfig if header.kind == "texture" else StyleConfig
    default = presets.TEXTURE if header.kind == "texture" else presets.DEFAULT
    stored = header.training.get("run", {})  # the training's options, a `TaskConfig` as JSON
    known = {f.name for f in dataclasses.fields(kind)}
    config: TextureConfig | StyleConfig = from_dict(
        {**to_dict(default), **{k: v for k, v in stored.items() if k in known}}, kind
    )
    return config


def _measured_by(config: C, options: EvaluationOptions) -> C:
    """`config`, the training's, with the layers of `options.descriptor` if one is asked for."""
    return config if options.descriptor is None else presets.with_descriptor(config, options.descriptor)


def _descriptors(
    config: TaskConfig, layers: Sequence[str], trainer: TrainerConfig
) -> tuple[Descriptors, torch.device]:
    setup = set_up(config, layers, trainer)
    return setup.networks, setup.device


def _objective(descriptors: Descriptors, settings: LossSettings, style: Tensor) -> Objective:
    return Objective.from_settings(descriptors, settings, [style], names=REPORTED_LOSSES)


def evaluate(
    model: str | Path | Style | Texture,
    against: str | Path,
    photos: str | Path | Iterable[str | Path] = (),
    *,
    options: EvaluationOptions | None = None,
    trainer: TrainerConfig | None = None,
    progress: StatusCallback = lambda _: None,
) -> dict[str, Any]:
    """Measure the quality of a model; returns JSON-serializable results by name, which `texturenets evaluate` prints.

    `model`: a loaded model, a shipped name or a model file. `against`: the painting or exemplar that it was
    trained on. `photos`: for a style, the photos to stylize: a file, a folder, a pattern, or several of them.
    `options`: what is measured, for example `texturenets.EvaluationOptions(samples=8)`; for a style, `size` is the
    photos' longer side in pixels. `trainer`: only its `device`, `weights` and `offline` are used, for the descriptor
    networks. `progress`: called with lines of text. Custom losses are not measured.

    Raises UserError for a style without photos, a texture with photos, arguments of the wrong type, and files that
    cannot be read.
    """
    chosen = EvaluationOptions() if options is None else options
    trainer_config = TrainerConfig() if trainer is None else trainer
    _check_type(
        "model", model, str | Path | Style | Texture, "a style or texture, its name or its model file"
    )
    _check_type("against", against, str | Path, "the file of the painting or exemplar")
    _check_type("photos", photos, str | Path | Iterable, "files or folders")
    _check_type("options", chosen, EvaluationOptions, "EvaluationOptions")
    _check_type("trainer", trainer_config, TrainerConfig, "a TrainerConfig")
    named = [photos] if isinstance(photos, str | Path) else list(photos)
    for photo in named:
        if not isinstance(photo, str | Path):
            raise UserError(f"`photos` holds something of type {type(photo).__name__}: give files or folders")
    files = image.expand(named)
    loaded = loading.load(model, trainer_config.device) if isinstance(model, str | Path) else model
    check_no_material(loaded)
    if isinstance(loaded, Texture):
        if files:
            raise UserError(f"{loaded.name} is a texture, which stylizes no photos")
        return evaluate_texture(loaded, Path(against), chosen, trainer_config, progress=progress)
    if not files:
        raise UserError(f"{loaded.name} is a style: give photos to stylize")
    return evaluate_style(loaded, Path(against), files, chosen, trainer_config, progress=progress)


def check_no_material(model: Style | Texture) -> None:
    """Raise UserError for a material: the measures are of images."""
    if model.header.kind == "material":
        raise UserError(
            f"{model.name} is a material, and what is measured here are images: benchmarks/material.py measures it"
        )


def _check_type(name: str, value: object, kinds: Any, wanted: str) -> None:
    if not isinstance(value, kinds):
        raise UserError(f"`{name}` is of type {type(value).__name__}: give {wanted}")


def evaluate_texture(
    model: Texture,
    exemplar: Path,
    options: EvaluationOptions,
    trainer: TrainerConfig,
    *,
    progress: StatusCallback = lambda _: None,
) -> dict[str, Any]:
    """Losses, patch distance, diversity, seam visibility and copied patches of a texture's samples, as `evaluate`
    returns. `trainer`: as for `evaluate`. Raises UserError for an exemplar that cannot be read, and for missing
    weights of descriptor networks.
    """
    config = _measured_by(config_of(model.header), options)
    settings = _with_style_loss(config)
    layers = layers_of(build(settings, REPORTED_LOSSES))
    # Read before weights are looked for: an unreadable image is reported before anything is downloaded.
    target_image = image.read(exemplar, longer=config.style_size or None).rgb
    diversity = measures.DIVERSITY_LAYERS[options.descriptor]
    descriptors, device = _descriptors(config, (*layers, *diversity), trainer)
    target = target_image.to(device)
    side = options.size or TEXTURE_SIDE
    side = min(side, model.fixed or side)
    progress("drawing samples")
    seeds = range(options.seed, options.seed + options.samples)
    samples = [to_tensor(model.draw(side, side, seed)).to(device) for seed in seeds]
    losses = measures.texture_losses(descriptors, samples, target, settings)
    try:
        halves = measures.half_losses(descriptors, target, settings)
    except UserError:  # half of the exemplar is too small for a layer
        halves = {}
    results: dict[str, Any] = {
        "model": model.name,
        "kind": "texture",
        "samples": options.samples,
        "losses": losses,
        "sums": measures.by_network(losses),
    }
    if halves:
        results |= {"halves": halves, "sums of the halves": measures.by_network(halves)}
    results |= _patch_distances(samples, target, options.seed)
    if options.samples > 1:
        results["distance between samples"] = measures.pairwise_distance(descriptors, samples, diversity)
    if min(*target.shape[2:], side) >= measures.PATCH_SIDE:
        results["copied"] = statistics.fmean(measures.copied(sample, target) for sample in samples)
    if model.fixed is None:
        tile = -(-max(side, 3 * model.stride) // model.stride) * model.stride
        progress("drawing tiles")
        tiles = [to_tensor(model.draw(tile, tile, seed, tileable=True)) for seed in seeds]
        results["seam"] = {
            name: measures.seam(tiles, model.stride, axis) for name, axis in (("x", 3), ("y", 2))
        }
    if options.optimize:
        objective = _objective(descriptors, settings, target)
        optimized_samples, counts = _optimized_samples(objective, samples, options, device, progress)
        results["iterations"] = _counts(counts, options.max_iterations)
        if options.optimize > 1 and options.samples > 1:
            optimized = measures.pairwise_distance(descriptors, optimized_samples, diversity)
            results["distance between optimized samples"] = optimized
            results["diversity"] = {
                k: results["distance between samples"][k] / v for k, v in optimized.items()
            }
    return results


def _optimized_samples(
    objective: Objective,
    samples: Sequence[Tensor],
    options: EvaluationOptions,
    device: torch.device,
    progress: StatusCallback,
) -> tuple[list[Tensor], list[int | None]]:
    """Samples by iterative optimization of the same size as `samples`, and for each the iterations to reach their
    loss."""
    aim = statistics.fmean(optimization.total(objective, sample) for sample in samples)
    height, width = samples[0].shape[2:]
    made = [
        _optimize(
            objective,
            optimization.white_noise(options.seed + i, (height, width)).to(device),
            None,
            aim,
            max_iterations=options.max_iterations,
            name=f"optimization, {i + 1} of {options.optimize}",
            progress=progress,
            to_end=True,
        )
        for i in range(options.optimize)
    ]
    return [optimized for optimized, _ in made], [count for _, count in made]


def _with_style_loss(config: TaskConfig) -> dict[str, Any]:
    """The settings of the losses; a texture trained without Gram matrices is measured by them, too."""
    return {**dataclasses.asdict(config), "style_weight": config.style_weight or 1.0}


def _patch_distances(samples: Sequence[Tensor], exemplar: Tensor, seed: int) -> dict[str, dict[str, float]]:
    """Patch distance of the samples, and for reference that between the exemplar's halves. Empty if the images are
    too small.
    """
    middle = exemplar.shape[3] // 2
    left, right = exemplar[..., :middle], exemplar[..., -middle:]
    if not fits(left, *samples):
        return {}
    return {
        "patch distance": patch_distance(samples, exemplar, seed),
        "patch distance of the halves": patch_distance([left], right, seed),
    }


def evaluate_style(
    model: Style,
    painting: Path,
    photos: Sequence[Path],
    options: EvaluationOptions,
    trainer: TrainerConfig,
    *,
    progress: StatusCallback = lambda _: None,
    failed: Failed = _raise,
) -> dict[str, Any]:
    """Measures of a style on photos (`style_measures.StyleMeasures`): JSON-serializable values by name.

    Each photo has the measures of its stylized image, and under `itself` those of the unchanged photo; `means` and
    `means of the photos themselves` are over all photos. `style` and `content` are the model's training losses. With
    `options.optimize` also `iterations`: how many L-BFGS iterations from the photo reach the same loss. `trainer`:
    as for `evaluate`. `failed` is called with each photo that cannot be read; if it returns instead of raising, the
    photo is left out; if none is left there are no means.

    Raises UserError for a painting that cannot be read, for missing weights of descriptor networks, and what
    `failed` raises.
    """
    config = _measured_by(config_of(model.header), options)
    settings = dataclasses.asdict(config)
    layers = layers_of(build(settings, REPORTED_LOSSES))
    # Read before weights are looked for, as in `evaluate_texture`.
    style = image.read(painting, longer=config.style_size or None).on_white
    descriptors, device = _descriptors(config, layers, trainer)
    objective = _objective(descriptors, settings, style.to(device))
    # Not the networks of the training, which may be unpadded, or use average instead of max pooling; float32, so
    # that every machine prints the same.
    measuring = options.descriptor or "vgg16"
    wanted = style_measures.MEASURED[measuring].all
    measuring_networks, _ = _descriptors(StyleConfig(precision="float32"), wanted, trainer)
    measure = style_measures.StyleMeasures(
        measuring_networks, image.read(painting).on_white.to(device), measuring
    )
    size = options.size or STYLE_SIDE
    rows: list[dict[str, Any]] = []
    for path in photos:
        try:
            photo = image.read(path).rgb
        except UserError as error:
            failed(path, error)
            continue
        photo = image.resize(photo, fit_longer((photo.shape[2], photo.shape[3]), size)).to(device)
        progress(path.name)
        targets = objective.targets(photo)
        with torch.no_grad():
            result = model.stylize(photo).to(device)
            losses = {k: float(v) for k, v in objective(result, targets).items()}
        row: dict[str, Any] = {"photo": path.name, **measure(photo, result), "itself": measure(photo, photo)}
        for part in ("style", "content"):
            row[part] = sum(v for k, v in losses.items() if k.startswith(part))
        if options.optimize:
            aim = sum(losses.values())
            _, count = _optimize(
                objective,
                photo,
                targets,
                aim,
                max_iterations=options.max_iterations,
                name=path.name,
                progress=progress,
            )
            row["iterations"] = count
        rows.append(row)
    results: dict[str, Any] = {"model": model.name, "kind": "style", "size": size, "photos": rows}
    if not rows:
        return results
    results["means"] = style_measures.means([_numbers(row) for row in rows])
    results["means of the photos themselves"] = style_measures.means([row["itself"] for row in rows])
    if options.optimize:
        results["iterations"] = _counts([row["iterations"] for row in rows], options.max_iterations)
    return results


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if isinstance(value, float)}


def evaluate_videos(
    model: Style,
    videos: Sequence[Path],
    *,
    size: int | None = None,
    frames: int | None = None,
    steady: float = 0.0,
    progress: StatusCallback = lambda _: None,
    failed: Failed = _raise,
) -> list[dict[str, Any]]:
    """Flicker of videos stylized by `model` (`evaluation.flicker`): one JSON-serializable row for each video.

    `size`: longer side of the frames in pixels, None keeps it. `frames`: maximum number of frames of each video.
    `steady`: the share of the previous result in each frame, as `stylize --steady` (`texturenets.video.steady`).
    Flicker is in units of 1/255; the flicker of the video itself is included for comparison. `failed` is called with
    each video that cannot be measured; if it returns instead of raising, the video is left out.

    Raises UserError if OpenCV is not installed, for `frames` below 2, a `steady` outside [0, 1), and what
    `failed` raises.
    """
    check_frames(frames)
    check_steady(steady)
    options = StylizeOptions(steady=steady)
    rows = []
    for path in videos:
        try:
            rows.append(_video(frame_stylizer(model, options), path, size, frames, progress))
        except UserError as error:
            failed(path, error)
    return rows


def check_frames(frames: int | None) -> None:
    """Raise UserError if there are too few frames to measure flicker."""
    if frames is not None and frames < 2:
        raise UserError(f"`frames` {frames} is below 2: flicker is between frames")


def _video(
    stylize: StylizeFrame, path: Path, size: int | None, frames: int | None, progress: StatusCallback
) -> dict[str, Any]:
    """The flicker of one video, whose frames `stylize` takes in order. Raises UserError if it cannot be read or no
    two frames can be compared."""
    from texturenets.evaluation.flicker import Flicker
    from texturenets.video.frame import Fit
    from texturenets.video.reading import Video

    meter = Flicker()
    with closing(Video(path, Fit(size), sound=False)) as video:
        count = 0
        for frame in itertools.islice(video, frames):
            meter.take(frame.pixels, stylize(frame.pixels))
            count += 1
            progress(f"{path.name}: frame {count}")
    try:
        figures = meter.figures
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return {
        "video": path.name,
        "frames": count,
        "flicker": figures["stylized"],
        "flicker of the video": figures["video"],
        "ratio": figures["ratio"],
        "compared": figures["compared"],
    }


def _optimize(
    objective: Objective,
    start: Tensor,
    targets: Targets | None,
    aim: float,
    *,
    max_iterations: int,
    name: str,
    progress: StatusCallback,
    to_end: bool = False,
) -> tuple[Tensor, int | None]:
    """Optimize `start` until the loss is at most `aim`, for at most `max_iterations`; with `to_end` for all of them.

    Returns the optimized image (1, 3, H, W) and the iteration that reached `aim`, None if none did.
    """
    reached: int | None = None
    optimized = start
    for record in optimization.minimize(objective, start, targets, steps=max_iterations):
        optimized = record.image
        progress(f"{name}: iteration {record.iteration}, loss {record.loss:.4g} (the model's {aim:.4g})")
        if reached is None and record.loss <= aim:
            reached = record.iteration
            if not to_end:
                break
    return optimized, reached


def _counts(counts: Sequence[int | None], max_iterations: int) -> Mapping[str, Any]:
    """The counts and their median. None (more than `max_iterations`) counts as `max_iterations + 1` in the median."""
    ordered = sorted(max_iterations + 1 if count is None else count for count in counts)
    return {"each": list(counts), "max iterations": max_iterations, "median": statistics.median(ordered)}
