"""`texturenets optimize`: a texture or a stylized photo by iterative optimization of pixels."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from texturenets.cli.common import Flag
from texturenets.cli.flags import given, optional
from texturenets.errors import UserError, counted
from texturenets.files import sweep
from texturenets.training import recipes
from texturenets.training.configuration import Precision, StyleConfig, flag
from texturenets.training.trainer_config import TrainerConfig

if TYPE_CHECKING:
    from torch import Tensor

    from texturenets.image import Picture
    from texturenets.optimize import Record

LARGEST = 512  # longer side where --size is not given: minutes, not hours, on a processor


def _some(cls: type, group: str, names: Sequence[str]) -> type:
    """The flags that `optional` makes of the fields `names` of `cls`."""
    fields = {f.name: f.type for f in dataclasses.fields(optional(cls, group))}
    made = [(name, fields[name], dataclasses.field(default=None)) for name in names]
    namespace = {"__doc__": cls.__doc__, "__module__": __name__}
    new = dataclasses.make_dataclass(cls.__name__, made, namespace=namespace, kw_only=True, frozen=True)
    return Parameter(name="*")(new)


LossFlags: Any = _some(
    StyleConfig,
    "The loss, as in training",
    (
        "style_layers",
        "content_layers",
        "style_weight",
        "content_weight",
        "tv_weight",
        "scaling",
        "pyramid_loss",
        "pyramid_decay",
        "normalize_gradients",
        "vgg_padding",
        "pool",
        "seed",
    ),
)
TrainerFlags: Any = _some(TrainerConfig, "Run options", ("weights", "offline", "device"))


def optimize(
    *,
    style: Annotated[list[Path], Parameter(name=["--style", "-s"], negative_iterable=())],
    content: Path | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    size: str | None = None,
    style_size: int | None = None,
    style_weights: str | None = None,
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
    quiet: Flag = False,
    options: LossFlags | None = None,
    trainer: TrainerFlags | None = None,
) -> int:
    """Stylize a photo like any painting, or make a texture like an image, by iterative optimization.

    Nothing is trained: L-BFGS changes the image until its features fit the style. Ctrl-C ends it early and writes
    what there is.

    Parameters
    ----------
    style
        The texture or painting; given several times, their Gram matrices are mixed.
    content
        Photo to stylize; without one a texture is made.
    output
        Picture to write [default: STYLE-texture.png, PHOTO-STYLE.png].
    size
        Longer side of the stylized photo in pixels; of a texture WIDTHxHEIGHT, or one number for a square
        [default: as large as the photo (the texture), but at most 512].
    style_size
        Longer side of the styles in pixels, 0 keeps their size [default: that of training with --content, else 0].
    style_weights
        Weight of each style, separated by commas; their ratios count [default: equal].
    start
        photo, noise, or a picture to start from [default: photo with --content, else noise].
    steps
        Iterations at each scale.
    scales
        Coarse to fine: so many sizes, each twice the one before, the last being --size.
    line_search
        strong_wolfe, or fixed: full steps, faster and less steady.
    preserve_color
        Keep the photo's colours: luminance transfers the style in luminance only; match gives the style the
        photo's colours first.
    descriptor
        Descriptor network whose usual layers are taken, as vgg19 or random (which needs no download);
        --style-layers and --content-layers say more.
    preset
        Recipe of training whose loss is taken: default, paper or readme; flags change it.
    checkerboard_weight
        Weight of the penalty on checkerboard artifacts, grids of 2 and 4 pixels [default: the preset's, with
        --content that of styles, else that of textures].
    precision
        float32, or bf16, fp16, auto: faster, and it ends a little higher.
    pictures_every
        Iterations between two pictures along the way, in a folder NAME.run beside the result; 0: none.
    quiet
        No progress bar.
    """
    _positive(steps=steps)
    _not_negative(style_size=style_size or 0, pictures_every=pictures_every)
    if preserve_color and content is None:
        raise UserError("--preserve-color keeps the colours of a photo: give one with --content")
    if start == "photo" and content is None:
        raise UserError("--start photo wants a photo: give one with --content")
    config = recipes.style_recipe(preset)
    if checkerboard_weight is None:
        recipe = config if content else recipes.texture_recipe(preset)
        checkerboard_weight = recipe.checkerboard_weight
    config = dataclasses.replace(
        config, precision=precision, checkerboard_weight=checkerboard_weight, **given(options, StyleConfig)
    )
    trainer_config = TrainerConfig(**given(trainer, TrainerConfig))
    out = output or Path(f"{content.stem}-{style[0].stem}.png" if content else f"{style[0].stem}-texture.png")
    begin = [] if start in (None, "photo", "noise") else [Path(str(start))]
    _check_output(out, [*style, *([content] if content else []), *begin])

    from texturenets import image
    from texturenets.cli.common import download_progress
    from texturenets.devices import memory_errors
    from texturenets.optimize import shares, synthesize

    mix = shares(len(style), _numbers(style_weights))
    chosen = _layers(config, descriptor, given(options, StyleConfig))
    compared = content and config.content_weight
    config = dataclasses.replace(config, style_layers=chosen[0], content_layers=chosen[1] if compared else ())
    task = _prepare(
        config,
        style,
        content,
        size=size,
        style_size=style_size,
        start=start,
        scales=scales,
        preserve_color=preserve_color,
    )
    sweep(out)
    bar = None if quiet or not sys.stderr.isatty() else download_progress()
    networks, device = _networks(config, trainer_config, bar)

    def write(path: Path, picture: Tensor) -> None:
        task.result.rgb = task.finish(picture.cpu())
        image.write(path, task.result)

    with memory_errors("out of memory: use a smaller --size, or fewer layers"):
        records = synthesize(
            networks,
            [s.to(device) for s in task.styles],
            dataclasses.asdict(config),
            task.start.to(device),
            task.size,
            photo=None if task.photo is None else task.photo.to(device),
            style_weights=mix,
            scales=scales,
            steps=steps,
            line_search=line_search,
        )
        last, finished = follow(
            records, steps * scales, out, quiet=quiet, pictures_every=pictures_every, write=write
        )
    write(out, last.picture)
    if not finished:
        print(f"stopped after iteration {last.iteration} of {steps * scales}", file=sys.stderr)
    elif not quiet:
        print(f"loss {last.loss:.4g} after {counted(last.iteration, 'iteration')}", file=sys.stderr)
    print(out)
    return 0 if finished else 130


def follow(
    records: Iterator[Record],
    total: int,
    out: Path,
    *,
    quiet: bool,
    pictures_every: int,
    write: Callable[[Path, Tensor], None],
) -> tuple[Record, bool]:
    """Go through `records` with a bar and pictures; the last one, and False where Ctrl-C ended it."""
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
    last: Record | None = None
    try:
        with bar:
            task = bar.add_task(out.stem, total=total, loss="")
            for record in records:
                last = record
                height, width = record.picture.shape[2:]
                bar.update(
                    task, completed=record.iteration, loss=f"loss {record.loss:.4g} at {width} x {height}"
                )
                if pictures_every and record.iteration % pictures_every == 0:
                    write(
                        out.with_suffix(".run") / "pictures" / f"{record.iteration:06d}.png", record.picture
                    )
    except KeyboardInterrupt:
        if last is None:
            raise
        return last, False
    assert last is not None  # the start is a record
    return last, True


@dataclass
class _Task:
    """Pictures (1, 3, H, W) for `synthesize`, and how its result becomes the picture that is written."""

    styles: list[Tensor]
    photo: Tensor | None
    start: Tensor
    size: tuple[int, int]
    result: Picture
    finish: Callable[[Tensor], Tensor]


def _prepare(
    config: StyleConfig,
    style: Sequence[Path],
    content: Path | None,
    *,
    size: str | None,
    style_size: int | None,
    start: str | None,
    scales: int,
    preserve_color: str | None,
) -> _Task:
    from texturenets import image
    from texturenets.optimize import luminance, match_color, match_luminance, scale_sizes, white_noise
    from texturenets.sizes import fit_longer

    if style_size is None:
        style_size = config.style_size if content else 0
    styles = [image.read(path, longer=style_size or None).rgb for path in style]
    source = image.read(content) if content else None
    own = source.size if source else (int(styles[0].shape[2]), int(styles[0].shape[3]))
    here = _size(size, fit_longer(own, min(max(own), LARGEST)), own if source else None)
    photo = image.resize(source.rgb, here) if source else None
    result = image.Picture(styles[0])
    if source:
        alpha = None if source.alpha is None else image.resize(source.alpha, here)
        result = image.Picture(source.rgb, alpha, source.exif)

    colors, grey = photo, preserve_color == "luminance"
    if preserve_color and photo is not None:
        match = match_luminance if grey else match_color
        styles = [match(one, photo) for one in styles]
    if grey and photo is not None:
        photo = luminance(photo).clamp(0, 1).expand(-1, 3, -1, -1).contiguous()

    if start == "noise" or (start is None and photo is None):
        begin = white_noise(config.seed, scale_sizes(here, scales)[0])
    elif start is None or start == "photo":
        assert photo is not None
        begin = photo
    else:
        begin = image.read(start).rgb
        begin = luminance(begin).clamp(0, 1).expand(-1, 3, -1, -1) if grey else begin

    def finish(picture: Tensor) -> Tensor:
        picture = image.resize(picture, here)  # of a coarse scale
        return image.preserve_color(picture, colors) if grey and colors is not None else picture

    return _Task(styles, photo, begin, here, result, finish)


def _size(text: str | None, default: tuple[int, int], photo: tuple[int, int] | None) -> tuple[int, int]:
    """(H, W) of what `--size` says; `photo`: the shape to keep."""
    from texturenets.sizes import fit_longer

    if text is None:
        return default
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UserError(f"--size {text} is no size: give pixels, as 512 or 640x480")
    numbers = [int(part) for part in parts]
    if photo is not None:
        if len(numbers) == 2:
            raise UserError(f"--size {text}: the photo keeps its shape; give its longer side alone")
        return fit_longer(photo, numbers[0])
    return numbers[-1], numbers[0]


def _layers(
    config: StyleConfig, descriptor: str | None, chosen: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Style and content layers in full names: those given, else the descriptor's usual ones, else the recipe's."""
    from texturenets import descriptors

    style, content = config.style_layers, config.content_layers
    if descriptor is not None:
        usual = descriptors.recommended(descriptor)
        style = style if "style_layers" in chosen else usual[0]
        content = content if "content_layers" in chosen else usual[1]
    default = descriptor or "vgg16"
    full = [tuple(":".join(descriptors.split(n, default)) for n in names) for names in (style, content)]
    return full[0], full[1]


def _networks(config: StyleConfig, trainer_config: TrainerConfig, progress: Any) -> tuple[Any, Any]:
    from texturenets.training import memory
    from texturenets.training.setup import set_up

    setup = set_up(config, (*config.style_layers, *config.content_layers), trainer_config, progress)
    if setup.device.type == "cpu":
        memory.keep_freed_memory()
    return setup.networks, setup.device


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--style-weights {text}: give numbers separated by commas, as 1,2") from None


def _check_output(out: Path, inputs: Sequence[Path]) -> None:
    from texturenets import image

    image.output_format(out)
    for path in inputs:
        if out.exists() and path.exists() and out.samefile(path):
            raise UserError(f"--output {out} would overwrite {path}: give another name")


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise UserError(f"{flag(name)} {value} is not above 0")


def _not_negative(**values: int) -> None:
    for name, value in values.items():
        if value < 0:
            raise UserError(f"{flag(name)} {value} is below 0")
