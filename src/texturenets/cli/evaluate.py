"""`texturenets evaluate`: measure a model's quality."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from texturenets.cli.arguments import Option
from texturenets.cli.common import EngineName, NetworkCode, note_ignored, print_json
from texturenets.cli.flags import given, optional_flags
from texturenets.cli.report import Report
from texturenets.cli.styles import note_shipped
from texturenets.errors import UserError
from texturenets.train.trainer_config import TrainerConfig

if TYPE_CHECKING:
    from rich.table import Table

TrainerFlags: Any = optional_flags(TrainerConfig, "Run options", ("weights", "offline", "device"))


def evaluate(
    model: str,
    /,
    *,
    against: Path | None = None,
    photo: list[str] | None = None,
    video: list[Path] | None = None,
    frames: int | None = None,
    steady: float = 0.0,
    samples: int | None = None,
    seed: int | None = None,
    size: int | None = None,
    optimize: int = 0,
    max_iterations: int | None = None,
    descriptor: str | None = None,
    as_json: Annotated[bool, Option("--json")] = False,
    engine: EngineName = "auto",
    generator: NetworkCode = None,
    quiet: bool = False,
    trainer: TrainerFlags | None = None,
) -> int:
    """Measure a model's quality against the image that it was trained on.

    A texture: losses by layer, patch distance (sliced Wasserstein, times 1000, at four scales of the image) and
    copied patches: lower is better. Pairwise distance between samples, and with --optimize 2 or more the diversity,
    which is that distance relative to optimized images: higher is better. Visibility of the seam when tiled: 1 is no
    visible seam. For reference: losses and patch distance between the exemplar's halves.

    A style has these columns, of which lower is better except for calm. texture and deep: how far its texture is from
    the painting's, as the distance of Gram matrices in shallow and in deep layers of VGG-16. structure: how much of
    the photo's content is lost, as the distance of features at VGG-16's relu4_2 (not at train's --structure-layers).
    checkerboard: how far the strongest grid stands out, in dB; photos themselves have 8 to 15, so compare it with the
    row of unstylized photos. border: difference in fine detail between the outermost 8 pixels and the next 32, in dB;
    0 is none. calm: amplitude of strokes in the photo's smooth areas
    relative to the painting; 1 is best. flicker, of videos: how much each stylized frame differs from the one before,
    warped by the video's optical flow (the temporal warping error), in units of 1/255. Photos and videos that cannot
    be read are reported and the others are still measured; the exit status is then 2.

    Parameters
    ----------
    model
        Shipped name, model file, or hf://USER/REPO.
    against
        The exemplar or painting that the model was trained on; required, except with only --video.
    photo
        For a style: photos, glob patterns and folders; may be given several times.
    video
        For a style: a video whose stylized version is measured for flicker; may be given several times.
    frames
        For a video: use only this many frames, from its beginning.
    steady
        For a video: measure it as `texturenets stylize --steady` makes it, 0 (off) to below 1.
    samples
        For a texture: number of samples [default: 4].
    seed
        For a texture: random seed of the first sample [default: 7].
    size
        Side of the samples, or longer side of photos and videos, in pixels [default: 256; photos 512; videos as they
        are].
    optimize
        For reference, also optimize images iteratively (L-BFGS, minutes each), to see how many iterations the model
        replaces: for a texture, this many images from noise; for a style, any number above 0 means every photo.
    max_iterations
        With --optimize: maximum number of L-BFGS iterations for each image [default: 500].
    descriptor
        Descriptor network to measure with: vgg16, or own (small, comes with the package; another one with
        --weights own=FILE); values of the two are not comparable [default: the networks used in training for the
        losses, vgg16 for the other measures of a style, squeezenet1_0 and vgg16 for the distance between samples].
    as_json
        Print JSON: one object.
    quiet
        Print no progress, and no notes about ignored files.
    """
    from texturenets import loading
    from texturenets.evaluation import (
        EvaluationOptions,
        check_frames,
        check_no_material,
        evaluate_style,
        evaluate_texture,
        evaluate_videos,
    )
    from texturenets.textures import Texture
    from texturenets.video.steady import check_steady

    how = TrainerConfig(**given(trainer, TrainerConfig))
    note_shipped(model)
    loaded = loading.load(model, how.device, engine=engine, generator=generator)
    check_no_material(loaded)
    is_texture = isinstance(loaded, Texture)
    optional_numbers = {"samples": samples, "seed": seed, "max_iterations": max_iterations}
    given_numbers = {name: value for name, value in optional_numbers.items() if value is not None}
    options = EvaluationOptions(size=size, optimize=optimize, descriptor=descriptor, **given_numbers)
    check_frames(frames)
    check_steady(steady)
    videos = video or []

    def progress(text: str) -> None:
        if not quiet and sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    photos = [] if is_texture else _found_photos(photo or [], quiet=quiet)
    report = Report(len(photos) + len(videos), quiet)

    def failed(path: Path, error: UserError) -> None:
        if report.total == 1:
            raise error
        progress("")
        report.failure(path, error)

    results: dict[str, Any] = {}
    _check_measure(model, against, photo, videos, is_texture=is_texture)
    all_numbers = {**given_numbers, "frames": frames, "steady": steady or None, "optimize": optimize or None}
    _check_used(model, all_numbers, photo, videos, is_texture=is_texture)
    if isinstance(loaded, Texture):
        assert against is not None
        results = evaluate_texture(loaded, against, options, how, progress=progress)
    else:
        if against is not None:
            if not photo:
                raise UserError(f"{model} is a style: give photos to stylize, for example --photo FILE")
            results = evaluate_style(loaded, against, photos, options, how, progress=progress, failed=failed)
        if videos:
            rows = evaluate_videos(
                loaded, videos, size=size, frames=frames, steady=steady, progress=progress, failed=failed
            )
            results = {"model": loaded.name, "kind": "style", **results, "videos": rows}
    progress("")
    (print_json if as_json else _print)(results)
    report.done = report.total - len(report.failed)
    return report.end() if report.failed else 0


def _found_photos(names: Sequence[str], *, quiet: bool) -> list[Path]:
    """The photos with these names, in folders too; files that are none are told of."""
    from texturenets import image

    ignored: list[Path] = []
    photos = image.expand(names, ignored=ignored)
    if not quiet:
        note_ignored(ignored)
    return photos


def _check_measure(
    model: str,
    against: Path | None,
    photo: Sequence[str] | None,
    videos: Sequence[Path],
    *,
    is_texture: bool,
) -> None:
    """Raise UserError if no reference is given (--against or --video), or for options that a texture does not
    support."""
    if against is None and (is_texture or not videos or photo):
        wanted = (
            "--against IMAGE"
            if is_texture or photo
            else "--against PAINTING with --photo FILE, or --video VIDEO"
        )
        raise UserError(f"nothing to measure {model} against: give {wanted}")
    for name, value in (("--photo", photo), ("--video", videos)):
        if is_texture and value:
            raise UserError(f"{name}: {model} is a texture; this option is for styles")


def _check_used(
    model: str,
    numbers: Mapping[str, float | None],
    photo: Sequence[str] | None,
    videos: Sequence[Path],
    *,
    is_texture: bool,
) -> None:
    """Raise UserError for a given option of `numbers` that would change nothing."""
    of_style = f"{model} is a style; this option is for textures"
    unused = {
        "samples": "" if is_texture else of_style,
        "seed": "" if is_texture else of_style,
        "frames": "" if videos else "it is for videos, and there are none",
        "steady": "" if videos else "it is for videos, and there are none",
        "optimize": "" if is_texture or photo else "it is for photos, and there are none",
        "max_iterations": (
            ""
            if numbers["optimize"]
            else "it is for the images that --optimize makes: give --optimize as well"
        ),
    }
    for name, why in unused.items():
        if why and numbers.get(name) is not None:
            raise UserError(f"`{name}` {numbers[name]} changes nothing: {why}")


def _print(results: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from texturenets.evaluation import style_measures

    console = Console(highlight=False, markup=False, emoji=False)
    if results["kind"] == "texture":
        table = Table("layer", "samples", "halves of the exemplar", box=None, pad_edge=False)
        for layer, value in results["losses"].items():
            table.add_row(layer, f"{value:.4f}", _shown(results.get("halves", {}).get(layer)))
        for network, value in results["sums"].items():
            table.add_row(
                f"sum of {network}",
                f"{value:.4f}",
                _shown(results.get("sums of the halves", {}).get(network)),
            )
        for level, value in results.get("patch distance", {}).items():
            reference = results["patch distance of the halves"][level]
            table.add_row(f"patch distance, {level}", f"{value:.1f}", f"{reference:.1f}")
        console.print(table)
        for name in ("distance between samples", "distance between optimized samples", "diversity", "seam"):
            if name in results:
                console.print(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in results[name].items()))
        if "copied" in results:
            console.print(f"copied: {results['copied']:.1%} of the patches")
    elif results.get("photos"):
        console.print(_photos(results))
        if blank := [name for name in STYLE_COLUMNS if any(name not in row for row in results["photos"])]:
            min_side = style_measures.MIN_SIDE
            console.print(
                f"{', '.join(blank)}: measured only if the shorter side has at least {min_side} pixels: give a "
                "larger --size"
            )
        console.print(_layers(results))
    if results.get("videos"):
        columns = ("video", "frames", "flicker", "of the video itself", "ratio", "pixels compared")
        table = Table(*columns, box=None, pad_edge=False)
        for row in results["videos"]:
            reference = row["flicker of the video"]
            numbers = (
                f"{row['flicker']:.2f}",
                f"{reference:.2f}",
                f"{row['ratio']:.2f}",
                f"{row['compared']:.0%}",
            )
            table.add_row(row["video"], str(row["frames"]), *numbers)
        console.print(table)
    if "iterations" in results:
        counts, most = results["iterations"], results["iterations"]["max iterations"]
        each = ", ".join(_count(count, most) for count in counts["each"])
        median = counts["median"] if counts["median"] <= most else f"more than {most}"
        console.print(f"L-BFGS iterations needed to reach the model's loss: {each}; median {median}")


STYLE_COLUMNS = {
    "texture": ".3f",
    "deep": ".3f",
    "structure": ".3f",
    "calm": ".2f",
    "checkerboard": ".1f",
    "border": ".1f",
}
"""Measures of a style, and the format in which each is printed."""


def _photos(results: Mapping[str, Any]) -> Table:
    """A row for each photo, one for their means, and one for the unstylized photos."""
    from rich.table import Table

    optimized = "iterations" in results
    table = Table("photo", *STYLE_COLUMNS, *(["iterations"] if optimized else []), box=None, pad_edge=False)
    rows = [(row["photo"], row) for row in results["photos"]]
    rows += [("mean", results["means"]), ("unstylized photos", results["means of the photos themselves"])]
    for name, row in rows:
        cells = [f"{row[key]:{form}}" if key in row else "" for key, form in STYLE_COLUMNS.items()]
        if "iterations" in row:
            cells.append(_count(row["iterations"], results["iterations"]["max iterations"]))
        table.add_row(name, *cells)
    return table


def _layers(results: Mapping[str, Any]) -> Table:
    """A row for each style layer, means over the photos."""
    from rich.table import Table

    table = Table("layer", "results", "unstylized photos", box=None, pad_edge=False)
    reference = results["means of the photos themselves"]
    for layer, value in results["means"].items():
        if ":" in layer:
            table.add_row(layer, f"{value:.4f}", f"{reference[layer]:.4f}")
    return table


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _count(count: int | None, max_iterations: int) -> str:
    return f"more than {max_iterations}" if count is None else str(count)
