"""`texturenets optimize`: a texture or a stylized photo by iterative optimization of pixels."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from texturenets.cli.arguments import Option
from texturenets.cli.common import json_line, warn
from texturenets.cli.flags import given, optional_flags, user_chose_networks, with_descriptor
from texturenets.cli.outputs import check_inputs, fitted, folder_of
from texturenets.cli.report import ThrottledNote
from texturenets.cli.streams import Terminated
from texturenets.cli.styles import check_no_model
from texturenets.errors import UserError, counted, duration
from texturenets.files import check_writable, expanded, remove_stale
from texturenets.train import presets
from texturenets.train.configuration import Precision, StyleConfig, TextureConfig, flag
from texturenets.train.trainer_config import TrainerConfig
from texturenets.train.unused_options import check_used

if TYPE_CHECKING:
    from torch import Tensor

    from texturenets.optimization import IterationRecord

FORECAST_AFTER = 3
"""Iterations from which the expected time is computed."""

LossFlags: Any = optional_flags(
    StyleConfig,
    "Loss options",
    (
        "style_layers",
        "content_layers",
        "style_weight",
        "content_weight",
        "tv_weight",
        "sliced_weight",
        "shifted_weight",
        "autocorrelation_weight",
        "patch_weight",
        "structure_layers",
        "max_shift",
        "loss_scaling",
        "pyramid_loss",
        "pyramid_decay",
        "normalize_gradients",
        "descriptor_padding",
        "pool",
        "seed",
    ),
    more={"style_layers": "; without --content those of train texture"},
)
_LAYERS = ("style_layers", "content_layers", "structure_layers")
TrainerFlags: Any = optional_flags(TrainerConfig, "Run options", ("weights", "offline", "device"))


def optimize(
    content: Path | None = None,
    *,
    style: Annotated[list[Path], Option("--style", "-s")],
    output: Annotated[str | None, Option("--output", "-o")] = None,
    size: str | None = None,
    style_size: int | None = None,
    style_blend_weights: str | None = None,
    start: str | None = None,
    steps: int = 500,
    scales: int = 1,
    line_search: Literal["strong_wolfe", "fixed"] = "strong_wolfe",
    preserve_color: Literal["luminance", "match"] | None = None,
    descriptor: str | None = None,
    preset: str = "default",
    checkerboard_weight: float | None = None,
    precision: Precision = "float32",
    pictures_every: int = 0,
    quiet: bool = False,
    options: LossFlags | None = None,
    trainer: TrainerFlags | None = None,
) -> int:
    """Stylize a photo like any painting, or synthesize a texture from an example, by iterative optimization.

    No network is trained: L-BFGS optimizes the pixels until their features fit the style (Gatys et al.). Ctrl-C ends
    it early and writes the current image, once the first iteration is done.

    Parameters
    ----------
    content
        Photo to stylize; without one a texture is synthesized.
    style
        The painting or texture; given several times, the weighted average of their Gram matrices is used.
    output
        Image to write; or a folder: one that exists, a name that ends in / or has no suffix; - writes to standard
        output. An existing image is replaced [default: STYLE-texture.png, PHOTO-STYLE-optimized.png].
    size
        Longer side of the stylized photo in pixels; of a texture WIDTHxHEIGHT, or one number for a square
        [default: as large as the photo (the texture), but at most 512].
    style_size
        Longer side of the styles in pixels, 0 keeps their size [default: with --content the --style-size
        of the preset, else 0].
    style_blend_weights
        Weight of each style, separated by commas; only their ratios matter [default: equal].
    start
        photo, noise, or an image to start from [default: photo with --content, else noise].
    steps
        Iterations of L-BFGS at each scale.
    scales
        Number of sizes, coarse to fine: each is twice the one before, the last is the size of the result.
    line_search
        Line search of L-BFGS: strong_wolfe, or fixed (always full steps), which is faster and less stable.
    preserve_color
        Keep the photo's colours: luminance transfers the style in luminance only; match
        recolours the style with the photo's colours before the transfer.
    descriptor
        Network whose features the losses use, at its default layers: a pretrained one, for example vgg19; own
        (small, comes with the package; one that `train perceptual` made is given with --weights own=FILE); or
        random (untrained filters, no download) [default: the networks that --style-layers and --content-layers name].
    preset
        Named set of defaults whose losses are used: default; paper, as in the Texture Networks papers (arXiv
        1603.03417 and 1701.02096); or readme, as in the README of their original Torch implementation, texture_nets;
        other flags override it.
    checkerboard_weight
        Weight of the penalty on checkerboard artifacts with periods of 2 and 4 pixels [default: that of the preset;
        without --content that of train texture].
    precision
        Floating-point precision: float32, or bf16, fp16, auto, which are faster and end at a slightly higher loss.
    pictures_every
        Iterations between two intermediate images, in a folder NAME.run beside the result; 0: none.
    quiet
        No progress bar.
    """
    check_numbers(steps, style_size, pictures_every)
    check_no_model(style, content)
    changes = {"precision": precision, **given(options, StyleConfig)}
    config = _config(preset, content, checkerboard_weight, descriptor, changes)
    check_used(config, changes)
    trainer_config = TrainerConfig(**given(trainer, TrainerConfig))
    out = _out(output, content, style[0])
    start_images = [] if start in (None, "photo", "noise") else [Path(str(start))]
    check_output(out, [*style, *([content] if content else []), *start_images])

    from texturenets import image
    from texturenets.cli.common import download_progress
    from texturenets.cli.optimize_inputs import prepare
    from texturenets.engines.devices import memory_errors
    from texturenets.optimization import shares, synthesize

    mix = shares(len(style), _numbers(style_blend_weights))
    inputs = prepare(
        config,
        style,
        content,
        size=size,
        style_size=style_size,
        start=start,
        scales=scales,
        preserve_color=preserve_color,
        out=out,
    )
    remove_stale(out)
    bar = None if quiet or not sys.stderr.isatty() else download_progress()
    config, networks, device = _networks(
        config, trainer_config, bar, chosen=user_chose_networks(descriptor, preset, changes)
    )

    def write(path: Path, picture: Tensor) -> None:
        inputs.result.rgb = inputs.finish(picture.cpu())
        image.write(path, inputs.result)

    with memory_errors("out of memory: use a smaller --size, or fewer layers"):
        records = synthesize(
            networks,
            [s.to(device) for s in inputs.styles],
            dataclasses.asdict(config),
            inputs.start.to(device),
            inputs.size,
            photo=None if inputs.photo is None else inputs.photo.to(device),
            style_blend_weights=mix,
            scales=scales,
            steps=steps,
            line_search=line_search,
        )
        last, status = run_with_progress(
            records, steps * scales, out, quiet=quiet, pictures_every=pictures_every, write=write
        )
    write(out, last.image)
    for what in () if quiet else image.lost_by_format(out, inputs.result):
        warn(f"note: {content} holds {what}")
    return report(out, last, steps * scales, quiet, status=status)


def check_numbers(steps: int, style_size: int | None, pictures_every: int) -> None:
    """Raises UserError for a value that is too small."""
    if steps < 1:
        raise UserError(f"--steps {steps} is not above 0")
    for name, value in (("--style-size", style_size or 0), ("--pictures-every", pictures_every)):
        if value < 0:
            raise UserError(f"{name} {value} is below 0")


def report(
    out: Path, last: IterationRecord, planned: int, quiet: bool, *, status: int, as_json: bool = False
) -> int:
    """Print the result, the loss and the iterations; returns the exit status, `status`.

    `planned`: number of iterations; `status`: that of `run_with_progress`.
    """
    if status:
        print(f"stopped after iteration {last.iteration} of {planned}", file=sys.stderr)
    elif not quiet and last.iteration == 0:
        print(
            f"no iteration lowers the loss of the start, {last.loss:.4g}: the start is the result",
            file=sys.stderr,
        )
    elif not quiet:
        print(f"loss {last.loss:.4g} after {counted(last.iteration, 'iteration')}", file=sys.stderr)
    fields = {
        "status": "stopped" if status else "done",
        "result": str(out),
        "loss": last.loss,
        "iterations": last.iteration,
    }
    print(json_line(fields) if as_json else out)
    return status


def run_with_progress(
    records: Iterator[IterationRecord],
    total: int,
    out: Path,
    *,
    quiet: bool,
    pictures_every: int,
    write: Callable[[Path, Tensor], None],
) -> tuple[IterationRecord, int]:
    """Run the optimization, with a progress bar, or lines where there is no terminal, and intermediate images.

    Returns the last record, and the exit status: 130 if Ctrl-C ended the run, 143 if SIGTERM did, else 0.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        redirect_stdout=False,
        disable=quiet or not console.is_terminal,
    )
    last: IterationRecord | None = None
    lines = bar.disable and not quiet
    note = ThrottledNote()
    if lines:
        warn(f"{out.stem}: at most {counted(total, 'iteration')}; Ctrl-C ends it early")
    try:
        with bar:
            task = bar.add_task(out.stem, total=total, loss="")
            for record in records:
                last = record
                height, width = record.image.shape[2:]
                bar.update(
                    task, completed=record.iteration, loss=f"loss {record.loss:.4g} at {width} x {height}"
                )
                if lines and record.iteration == FORECAST_AFTER < total:
                    warn(f"{out.stem}: {forecast(record, total)}")
                if lines:
                    note(f"{out.stem}: iteration {record.iteration} of {total}, loss {record.loss:.4g}")
                if pictures_every and record.iteration % pictures_every == 0:
                    write(out.with_suffix(".run") / "pictures" / f"{record.iteration:06d}.png", record.image)
    except KeyboardInterrupt as error:
        if last is None or last.iteration == 0:  # record 0 is the start image, and no result
            error.args = ("before the first iteration: nothing is written",)
            raise
        return last, 143 if isinstance(error, Terminated) else 130
    assert last is not None  # the start image is a record, too
    return last, 0


def forecast(record: IterationRecord, total: int) -> str:
    """The expected time of `total` iterations, in words, from those up to `record`, which are at the first scale: at
    every further one, with four times the pixels, an iteration takes four times as long."""
    scales = record.scale + 1
    seconds = record.seconds / record.iteration * total / scales * sum(4**k for k in range(scales))
    return f"about {duration(seconds)} for {counted(total, 'iteration')} on {record.image.device.type}"


def _config(
    preset: str,
    content: Path | None,
    checkerboard_weight: float | None,
    descriptor: str | None,
    changes: dict[str, Any],
) -> StyleConfig:
    """The loss settings: `preset` with `changes`; without a photo, layers and penalty are those of `train texture`.

    Layers are NETWORK:LAYER.
    """
    config = presets.style_preset(preset)
    if content is None:
        for name in ("content_weight", "content_layers"):
            if name in changes:
                raise UserError(
                    f"{flag(name)} compares with a photo: give one, for example optimize photo.jpg --style "
                    "painting.jpg"
                )
        texture = presets.texture_preset(preset)
        config = dataclasses.replace(
            config, style_layers=texture.style_layers, checkerboard_weight=texture.checkerboard_weight
        )
    if checkerboard_weight is not None:
        changes = {**changes, "checkerboard_weight": checkerboard_weight}
    kind = TextureConfig if content is None else StyleConfig
    config = dataclasses.replace(config, **with_descriptor(changes, descriptor, kind, bare=True))
    layers: dict[str, Any] = {name: _qualified(getattr(config, name), descriptor) for name in _LAYERS}
    if content is None or not config.content_weight:
        layers["content_layers"] = ()
    return dataclasses.replace(config, **layers)


def _qualified(names: tuple[str, ...], descriptor: str | None) -> tuple[str, ...]:
    from texturenets import perceptual

    return perceptual.full_names(names, descriptor or "vgg16")


def _networks(
    config: StyleConfig, trainer_config: TrainerConfig, progress: Any, *, chosen: bool
) -> tuple[StyleConfig, Any, Any]:
    """Returns (config, networks, device).

    If the default weights are missing, the networks are `own`, and `config` has its layers. `chosen`: the user named
    networks, which `own` then never replaces.
    """
    from texturenets.losses import build, layers_of
    from texturenets.memory.malloc import keep_freed_memory
    from texturenets.train.fallback import with_own
    from texturenets.train.setup import Setup, set_up

    def set_up_for(config: StyleConfig) -> tuple[StyleConfig, Setup]:
        # Without a photo there are no content layers, whichever network is used.
        config = config if with_content else dataclasses.replace(config, content_layers=())
        layers = layers_of(build(dataclasses.asdict(config)))
        return config, set_up(config, layers, trainer_config, progress)

    with_content = bool(config.content_layers)
    used, setup = with_own(set_up_for, config, chosen=chosen, resumed=None, say=warn)
    if setup.device.type == "cpu":
        keep_freed_memory()
    return used, setup.networks, setup.device


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"--style-blend-weights {text}: give numbers separated by commas, for example 1,2"
        ) from None


def _out(output: str | None, content: Path | None, style: Path) -> Path:
    """The file of the result: `output`, or a file with the default name in the folder `output` or the current one."""
    folder = folder_of([content or style], output)
    if folder is None:
        return expanded(str(output))
    if content is None:
        return folder / fitted(style.stem, "-texture.png")
    return folder / fitted(f"{content.stem}-{style.stem}", "-optimized.png")


def check_output(out: Path, inputs: Sequence[Path]) -> None:
    """Raises UserError for a format that cannot be written, if `out` is one of `inputs`, and if its folder cannot be
    written to."""
    from texturenets import image

    image.output_format(out)
    check_inputs([out], inputs)
    check_writable(out)
