"""`texturenets sample`: samples of a texture, contact sheets of them, and frames that interpolate between two."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from texturenets import arguments
from texturenets.cli import texture_regions
from texturenets.cli.arguments import Option
from texturenets.cli.common import (
    Device,
    EngineName,
    NetworkCode,
    PrecisionFlag,
    check_quality,
    engine_note,
    note_quality,
    picture_size,
    warn,
)
from texturenets.cli.maps import MapsOptions, folders_of
from texturenets.cli.outputs import (
    check_named,
    check_number,
    check_results,
    free_folder,
    names_folder,
    numbered,
)
from texturenets.cli.report import Report, whole_file
from texturenets.errors import UserError, counted
from texturenets.files import expanded, remove_all_stale

if TYPE_CHECKING:
    from texturenets.texture_blending import TextureRegions
    from texturenets.textures import Array, Levels, Texture, Tileable

SHEET_COUNT = 4  # default --count with --sheet
FRAMES = 24  # default --frames
CELL = 256  # largest side of a sample on a contact sheet, in pixels


def sample(
    texture: str,
    /,
    *others: str,
    mask: list[str] | None = None,
    transition: float | None = None,
    scale: str | None = None,
    output: Annotated[str | None, Option("--output", "-o")] = None,
    size: str | None = None,
    count: int | None = None,
    seed: int = 0,
    tileable: bool = False,
    tile_axis: Literal["both", "x", "y"] | None = None,
    noise_level: str = "1",
    hold: str = "",
    sheet: bool = False,
    preview: bool = False,
    gltf: bool = False,
    height_suffix: Literal[".png", ".exr"] | None = None,
    to_seed: int | None = None,
    frames: int | None = None,
    quality: int | None = None,
    batch_size: int = 1,
    device: Device = "auto",
    engine: EngineName = "auto",
    precision: PrecisionFlag = "auto",
    generator: NetworkCode = None,
    as_json: Annotated[bool, Option("--json")] = False,
    quiet: bool = False,
) -> int:
    """Generate samples of a texture, or the maps of a material.

    The names of the files are printed, one per line. The same seed gives the same image, up to small rounding
    differences (pixel values of 0 to 255 may differ by a few) between batch sizes, engines and precisions.

    Parameters
    ----------
    texture
        Shipped texture or material, model file, or hf://USER/REPO on the Hugging Face Hub.
    others
        More textures in the same image; --mask says where each goes.
    mask
        Image that says where each of two textures goes: white the first, black the second; or left-to-right or
        top-to-bottom, a gradient from the first to the second. Of more textures one for each, in their order, white
        where it goes; the last needs none.
    transition
        With --mask: width in pixels of the transition along the mask's edges, which follows the textures' details;
        0 cuts along the edge [default: 32].
    scale
        Size of what is drawn: 0.5 makes pebbles half as large. Of several textures one number for each, separated by
        commas; pebble pebble --scale 1,0.5 --mask FILE puts two sizes of pebbles into one image [default: 1].
    output
        File to write; its suffix chooses the format, .png without one. Several samples are numbered by their seeds:
        many.jpg becomes many-0000.jpg, many-0001.jpg, ...; a name without a suffix is a folder, with files
        0000.png, 0001.png, ...; - writes one sample to standard output.
        Existing files are replaced [default: TEXTURE-SEED.png in the current folder; for several samples the folder
        TEXTURE]. The maps of a material go into a folder, those of several samples into folders in it, called 0000,
        0001, ... [default: the folder TEXTURE-SEED].
    size
        WIDTHxHEIGHT in pixels, or one number for a square [default: 256; that of the image in --mask].
    count
        Number of samples, with seeds --seed, --seed + 1, ... [default: 1; with --sheet 4].
    seed
        Random seed of the first sample.
    tileable
        Make samples that tile seamlessly; sizes are rounded up to the next size that the network can tile.
    tile_axis
        With --tileable: axis along which samples tile [default: both].
    noise_level
        Factor on the noise: 1 as in training, 0 for none; STRIDE=LEVEL,... sets it for each noise map by its stride
        (image pixels per noise pixel), for example 32=0.5,1=0.
    hold
        Strides (image pixels per noise pixel) of the noise maps that all samples share with the first, for example
        32,16; the other maps differ.
    sheet
        Write one contact sheet of all samples. Unless --hold is given, it has one more row for each noise map, in
        which only that map varies.
    preview
        Of a material: also write preview.png, a lit sphere and plane.
    gltf
        Of a material: also write a .gltf file, a square with the maps, and the image of packed maps that it needs.
    height_suffix
        Of a material: format of the heights, .png of 16 bits or .exr of floats [default: .png].
    to_seed
        Second seed: write frames that interpolate from the noise of --seed to the noise of this seed, as images, or
        with an --output like walk.mp4 or walk.gif, as a video of 24 frames per second.
    frames
        With --to-seed: number of frames [default: 24].
    quality
        1 to 100, for JPEG, WebP, AVIF and HEIC [default: 95; AVIF and HEIC 90].
    batch_size
        Samples in a batch: larger batches use a GPU better.
    as_json
        Instead of the names, print one JSON object per line: status, result, texture, and seed (not for sheets and
        videos).
    quiet
        Print neither a progress bar nor which engine is used.
    """
    requested = picture_size(size) if size is not None else None
    alone = sheet or to_seed is not None
    _check_to(to_seed, seed, others=sheet or hold != "" or count is not None)
    _check_effect(to_seed, frames, tile_axis, tileable=tileable, hold=hold, several=sheet or (count or 1) > 1)
    _check_counts(count, batch_size, alone=alone)
    texture_regions.check_masks(others, mask or (), transition, alone=alone)
    check_quality(quality)
    maps = MapsOptions(preview, gltf, height_suffix)
    held, level = _numbers(hold, "--hold"), _levels(noise_level)

    from texturenets import image
    from texturenets.cli import interpolation
    from texturenets.engines.options import EngineOptions

    video = interpolation.video_of(output, to_seed)
    how = EngineOptions(engine, device, precision, generator=generator)
    textures = texture_regions.load([texture, *others], scale, how)
    model = textures[0]
    maps.check(model, alone=alone or bool(others), quality=quality)
    source, name, default_size = texture_regions.source(textures, mask or (), transition)
    tile: Tileable = tileable and (tile_axis if tile_axis in ("x", "y") else True)
    height, width = _rounded(source, *(requested or default_size), tile)
    source.check(level, held)
    number = frames or FRAMES if to_seed is not None else count or (SHEET_COUNT if sheet else 1)
    numbers = range(number) if to_seed is not None else range(seed, seed + number)  # or the seeds
    planned = folders_of if model.header.kind == "material" else functools.partial(_files, sheet=sheet)
    files = [video] if video else planned(output, name, numbers)
    check_results(files, [Path(one) for one in mask or ()])
    note_quality(quality, files)
    if engine == "auto" and not quiet:
        engine_note(model.engine)
    options: dict[str, Any] = {"tileable": tile, "noise_level": level}
    if to_seed is None:
        pictures = source.draws(height, width, numbers, batch=batch_size, hold=held, held=seed, **options)
    else:
        pictures = model.between(height, width, seed, to_seed, number, **options)
    if sheet or video is not None:
        with whole_file(files[0]):
            if video is None:
                draw = functools.partial(model.draw, height, width, held=seed, **options)
                image.write(files[0], _sheet(model, draw, number, seed, held), quality=quality)
            else:
                frames_of = interpolation.InterpolationFrames(pictures, (height, width), number)
                interpolation.write(frames_of, video, quality, quiet)
        Report(1, quiet, as_json=as_json).result(files[0], {"texture": name})
        return 0
    report = Report(number, quiet, "the same command draws them all, the same again", as_json=as_json)
    what = "seed" if to_seed is None else "frame"
    fields = {file: {"texture": name, what: i} for file, i in zip(files, numbers, strict=True)}
    _write_images(fields, pictures, name, maps.writer(model, quality), report)
    if number > 1 and not quiet:
        _note_older(planned(output, name, range(numbers.start, numbers.stop + 1))[-1])
    return 0


def _note_older(path: Path) -> None:
    """Print a note if there is a file with the number after the last."""
    if path.exists():
        warn(f"{path} is from an earlier run: it and the files after it are not part of this one")


def _write_images(
    files: Mapping[Path, Mapping[str, object]],
    pictures: Iterator[Array],
    name: str,
    write: Callable[[Path, Array], object],
    report: Report,
) -> None:
    """Write the samples to `files`, or folders, each with the fields of its JSON object."""
    remove_all_stale(files)
    with report.interruptible(), report.bar(len(files), name):
        for (path, fields), picture in zip(files.items(), pictures, strict=True):
            write(path, picture)
            report.result(path, fields)


def _check_to(to: int | None, seed: int, *, others: bool) -> None:
    """Raise UserError for `--to-seed` with flags that exclude it, and if it is the same as --seed, or that is no
    seed."""
    arguments.integer("seed", seed)
    if to is not None and others:
        raise UserError("--to-seed draws frames of the whole sample: leave out --count, --hold and --sheet")
    if to == seed:
        raise UserError(
            f"--to-seed {to} is the seed that the frames come from: give another, for example --to-seed {seed + 1}"
        )


def _check_counts(count: int | None, batch_size: int, *, alone: bool) -> None:
    if count is not None:
        check_number("--count", count)
    if batch_size < 1:
        raise UserError(f"--batch-size {batch_size} is not above 0")
    if batch_size > 1 and alone:
        raise UserError("--batch-size is for --count: leave it out with --sheet and --to-seed")


def _rounded(model: Texture | TextureRegions, height: int, width: int, tile: Tileable) -> tuple[int, int]:
    """The smallest size (H, W) that can tile and is at least `height` x `width`; printed if it differs. The size
    itself without `tile`. Raises UserError for one that cannot be drawn, before anything is written."""
    text = model.rounded(height, width, tile)
    rounded = picture_size(text)
    if rounded != (height, width):
        print(
            f"texturenets: {width}x{height} cannot tile, {text} can (multiples of {model.stride}): drawing that",
            file=sys.stderr,
        )
    model.canvas(*rounded, tile)
    return rounded


def _sheet(model: Texture, draw: Callable[..., Array], count: int, seed: int, held: list[int]) -> Array:
    """A row of samples, and one more row for each noise map, in which only that map varies. `draw(seed,
    hold=scales)`."""
    from texturenets.image.contact_sheet import sheet as lay_out

    names = [f"seed {seed + i}" for i in range(count)]
    rows = {"all scales": [draw(seed + i, hold=held) for i in range(count)]}
    if held:
        rows = {f"{', '.join(map(str, held))} shared": rows.popitem()[1]}
    else:
        for scale in model.scales:
            others = [other for other in model.scales if other != scale]
            rows[f"scale {scale}"] = [draw(seed + i, hold=others) for i in range(count)]
    first = next(iter(rows.values()))[0]
    return lay_out(list(rows.values()), names, list(rows), cell=min(CELL, max(first.shape[2:])))


def _is_folder(output: str | None, path: Path) -> bool:
    return output is not None and (path.is_dir() or names_folder(output))


def _file(output: str | None, default: str) -> Path:
    path = expanded(output or f"{default}.png")
    if _is_folder(output, path):
        return path / f"{default}.png"
    return path if path.suffix else path.with_name(path.name + ".png")


def _files(output: str | None, default: str, numbers: range, *, sheet: bool = False) -> list[Path]:
    """The files to write. Several get their `numbers`: NAME-0000.png for a file name, else 0000.png in a folder.

    Raises UserError for a format that cannot be written.
    """
    from texturenets import image

    check_named(output or default)
    files = [_file(output, f"{default}-sheet")] if sheet else _images(output, default, numbers)
    image.output_format(files[0])
    return files


def _images(output: str | None, default: str, numbers: range) -> list[Path]:
    path, count = expanded(output or default), len(numbers)
    folder = _is_folder(output, path)
    if count == 1 and not folder:
        # With the seed: the exemplar of a texture often has the same name as its model.
        return [_file(output, f"{default}-{numbers.start}")]
    if output and path.suffix and not folder:
        return [numbered(path, i) for i in numbers]
    if path.exists() and not path.is_dir():
        raise UserError(
            f"--output {output or default}: {path} is a file, and {counted(count, 'sample')} go into a folder: say "
            f"-o {free_folder(path)}"
        )
    return [path / f"{i:04d}.png" for i in numbers]


def _check_effect(
    to: int | None, frames: int | None, tile_axis: str | None, *, tileable: bool, hold: str, several: bool
) -> None:
    """Raise UserError for an option that would have no effect."""
    if frames is not None and to is None:
        raise UserError(f"--frames {frames} interpolates to another seed: give it with --to-seed")
    if frames is not None:
        check_number("--frames", frames)
    if frames is not None and frames < 2:
        raise UserError(f"--frames {frames}: from one seed to another takes at least 2")
    if tile_axis is not None and not tileable:
        raise UserError(f"--tile-axis {tile_axis} has an effect only with --tileable")
    if hold and to is None and not several:
        raise UserError(f"--hold {hold} makes several samples share noise: give their number with --count")


def _numbers(text: str, flag: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"{flag} {text}: give strides of noise maps, separated by commas, for example 32,16")
    return [int(part) for part in parts]


def _levels(text: str) -> Levels:
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        return {int(scale): float(value) for scale, value in pairs}
    except ValueError:
        raise UserError(
            f"--noise-level {text}: give a number, or STRIDE=NUMBER separated by commas, for example 32=0.5,1=0"
        ) from None
