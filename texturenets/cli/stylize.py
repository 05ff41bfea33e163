"""`texturenets stylize`: photos repainted."""

from __future__ import annotations

import copy
import functools
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from texturenets.cli import film
from texturenets.cli.common import Device, EngineName, Flag, Precision, complain, engine_note, photo_progress
from texturenets.cli.large import follow
from texturenets.errors import UserError
from texturenets.files import sweep

if TYPE_CHECKING:
    from rich.progress import Progress

    from texturenets.api import Style
    from texturenets.outofcore.limits import Options

Job = tuple[Path, Path]  # photo and result

NAMED = 5  # failed photos that the summary names


def stylize(
    photos: list[str] | None = None,
    /,
    *,
    style: Annotated[str | None, Parameter(name=["--style", "-s"])] = None,
    output: Annotated[str | None, Parameter(name=["--output", "-o"])] = None,
    size: int | None = None,
    quality: int | None = None,
    strength: float = 1.0,
    preserve_color: Flag = False,
    skip_existing: Flag = False,
    keep_gps: Flag = False,
    stroke: str = "1",
    seed: int = 0,
    noise_level: float = 1.0,
    count: int = 1,
    rate: float | None = None,
    webcam: Flag = False,
    device: Device = "auto",
    engine: EngineName = "auto",
    precision: Precision = "auto",
    memory: str | None = None,
    spool: str | None = None,
    generator: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    quiet: Flag = False,
) -> int:
    """Repaint photos and films in the style of a painting.

    The names of the results are printed, one a line. A photo or film that cannot be read or written is reported
    and the others are done; the exit status is then 2.

    Parameters
    ----------
    photos
        Photos, films, patterns like "*.jpg", and folders, whose pictures are taken, those of the folders in them too.
    style
        Shipped style or model file [default: the first style that `texturenets models` lists].
    output
        File to write for one photo, whose suffix chooses the format; or a folder: one that is there, or a
        name that ends in /, or any name for several photos; what comes out of a folder lies in it as in that
        one [default: PHOTO-STYLE in the current folder, in
        the photo's own format where it can be written]. A film becomes its frames with frames/%05d.png, and
        pictures become a film with film.mp4.
    size
        Longer side of the result in pixels, the shape kept [default: as large as the photo].
    quality
        1 to 100, for JPEG, WebP, AVIF and HEIC [default: 95; AVIF and HEIC 90] and films [default: 65].
    strength
        From 0, the photo, to 1, the full style: mixes the two pixel by pixel.
    preserve_color
        Keep the photo's colours.
    skip_existing
        Leave alone what has been written before.
    keep_gps
        Copy the place where the photo was taken, too, with the rest of its metadata.
    stroke
        Size of the strokes: 2 doubles it, 0.5 halves it, auto keeps it relative to the picture, so that one of
        512 pixels foretells a poster.
    seed
        For styles that also take noise: of the first result.
    noise_level
        For styles that also take noise: how strong it is, 1 as in training, 0 for none.
    count
        For styles that also take noise: results of each photo, with seeds from --seed on, their numbers in their
        names.
    rate
        Frames a second of a film that pictures become [default: 24].
    webcam
        Show what the camera sees, repainted, in a window, until it is closed; in place of photos a camera may be
        named, as /dev/video2. --size says how large [default: 480].
    device
        Where to compute; auto takes the fastest that is here.
    engine
        What runs the network: PyTorch, OpenVINO or ONNX Runtime; auto takes the fastest that is installed for
        the device and says which.
    precision
        What it computes in; auto takes half precision where the device has it, but PyTorch on a processor
        computes in float32.
    memory
        What the program may take, as 2G or 900M [default: a share of what is free]. A photo that needs more is
        repainted piece by piece, with the same result; what does not fit is kept on disk meanwhile.
    spool
        A folder for that, on a disk with room [default: where the system keeps temporary files].
    generator
        FILE.py:CLASS: the network's code, for a model trained with one of your own; it is run.
    cluster
        Have many processes do it, with Ray: alone, on this machine; with an address (auto, ray://HOST:PORT,
        HOST:PORT), on that cluster. Photos and --output, a folder, may then be URLs, as s3://BUCKET/photos/. What was
        done stands in manifest.jsonl in the output, and the next run does what is missing.
    workers
        With --cluster: processes, each with an engine of its own [default: one a core or graphics card].
    quiet
        No progress bar and no summary.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"--quality {quality} is not between 1 and 100")

    from texturenets import api, image
    from texturenets.outofcore.limits import Options
    from texturenets.overlap import overlapped
    from texturenets.stroke import parse

    options = Options(size, quality, strength, preserve_color, keep_gps, seed, noise_level, parse(stroke))
    api.check_options(size, strength, noise_level)
    model = api.find_style(style)
    load = functools.partial(
        api.load_style,
        model,
        device,
        engine=engine,
        precision=precision,
        generator=generator,
        memory=memory,
        spool=spool,
    )
    if webcam:
        from texturenets.cli.webcam import show

        return show(load, photos or [], options, quiet)
    if not photos:
        raise UserError("there is nothing to repaint: name photos, folders or films; see --help")
    if cluster or workers is not None or any("://" in name for name in (*photos, output or "")):
        from texturenets.cli.cluster import Run, run

        asked_of = Run(model, options, count, device, engine, precision, generator, memory, spool)
        return run(asked_of, photos, output, cluster, workers, skip_existing=skip_existing, quiet=quiet)
    found = image.expand(photos, recursive=True, without=output)
    roots = [Path(p).expanduser() for p in photos]
    films = film.requested(found, roots, output, model.stem, rate=rate, count=count)
    status, found = film.carry_out(
        films, found, load, options, skip_existing=skip_existing, say_engine=engine == "auto", quiet=quiet
    )
    if not found:
        return status
    numbered = functools.partial(several, count=count, model=model)
    jobs = plan(found, output, model.stem, roots, numbered)
    asked = {result: replace(options, seed=seed + i % count) for i, (_, result) in enumerate(jobs)}
    skipped = {result for _, result in jobs if skip_existing and result.exists()}
    todo = [job for job in jobs if job[1] not in skipped]
    outcomes: Iterator[tuple[Job, UserError | None]] = iter(())
    if todo:
        painter = load()
        if engine == "auto" and not quiet:
            engine_note(painter.engine)
        follow(painter, quiet, bar=len(todo) == 1)
        _sweep(todo)
        outcomes = overlapped(todo, *steps(painter, asked))

    failed = _follow(jobs, skipped, outcomes, photo_progress(len(todo), quiet), model.stem)
    if len(jobs) > 1 and (failed or not quiet):
        _summarise(len(jobs) - len(failed) - len(skipped), len(skipped), failed)
    return 2 if failed or status else 0


def _follow(
    jobs: Sequence[Job],
    skipped: Collection[Path],
    outcomes: Iterator[tuple[Job, UserError | None]],
    bar: Progress,
    name: str,
) -> list[Path]:
    """Print the names of the results as they come, and what has failed; the photos that have."""
    failed: list[Path] = []
    later: list[Path] = []
    with bar:
        task = bar.add_task(name, total=len(jobs) - len(skipped))
        for photo, result in jobs:
            if result not in skipped:
                _, error = next(outcomes)
                bar.advance(task)
                if error is not None:
                    if len(jobs) == 1:
                        raise error
                    complain(error)
                    failed.append(photo)
                    continue
            if bar.disable:
                print(result, flush=True)
            else:
                later.append(result)  # would tear the bar, where both are on one terminal
    for result in later:
        print(result)
    return failed


def steps(
    painter: Style, asked: Mapping[Path, Options]
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Reading, repainting and writing a photo, for `overlapped`; one too large for memory is all repainting.

    `asked`: what is asked for, by result. A photo of several results, one after the other, is read once.
    """
    from texturenets import image
    from texturenets.arrays import to_numpy
    from texturenets.outofcore.limits import too_large

    @functools.lru_cache(maxsize=1)
    def read(photo: Path, size: int | None, keep_gps: bool) -> image.Picture:
        return image.read(photo, longer=size, keep_gps=keep_gps)

    def decode(job: Job) -> image.Picture | None:
        options = asked[job[1]]
        if too_large(painter, job[0], options.size):
            return None
        return copy.copy(read(job[0], options.size, options.keep_gps))

    def compute(job: Job, picture: image.Picture | None) -> image.Picture | None:
        options = asked[job[1]]
        if picture is None:
            from texturenets.outofcore.pictures import repaint

            repaint(painter, *job, options)
        else:
            picture.pixels = painter.stylize(to_numpy(picture.pixels), **options.painting)
        return picture

    def encode(job: Job, picture: image.Picture | None) -> None:
        if picture is not None:
            image.write(job[1], picture, quality=asked[job[1]].quality)

    return decode, compute, encode


def _sweep(todo: Sequence[Job]) -> None:
    """Remove what a killed run has left beside its result. Of one photo: in a folder, others may be writing."""
    if len(todo) == 1:
        sweep(todo[0][1])


def several(jobs: Sequence[Job], count: int, model: Path) -> list[Job]:
    """`count` results of each photo for one, numbered. Raises UserError where they would all be the same."""
    from texturenets import modelfile

    if count < 1:
        raise UserError(f"--count {count} is not above 0")
    if count == 1:
        return list(jobs)
    graph = modelfile.read_graph(model, weights=False)
    if graph is not None and not graph.noise:  # without a graph it is code, which may
        raise UserError(
            f"--count {count}: {model.stem} takes no noise, all results of a photo would be the same"
        )
    return [
        (photo, result.with_name(f"{result.stem}-{i:04d}{result.suffix}"))
        for photo, result in jobs
        for i in range(count)
    ]


def _summarise(done: int, skipped: int, failed: Sequence[Path]) -> None:
    parts = [f"{done} done"]
    if skipped:
        parts.append(f"{skipped} there already")
    if failed:
        names = ", ".join(map(str, failed[:NAMED]))
        more = len(failed) - NAMED
        parts.append(f"{len(failed)} failed: {names}" + (f" and {more} more" if more > 0 else ""))
    if failed:
        complain(", ".join(parts))
    else:
        print(", ".join(parts), file=sys.stderr)


def plan(
    photos: Sequence[Path],
    output: str | None,
    style: str,
    roots: Sequence[Path] = (),
    several_of: Callable[[Sequence[Job]], list[Job]] = list,
    *,
    films: bool = False,
) -> list[Job]:
    """Photos and the files that they become, no two the same: [(photo, result)].

    What lies in a folder inside one of `roots` comes to lie in the same folder of the output. `several_of`:
    makes several results of each photo for one, where they are asked for. `films`: they are films.

    Raises UserError before any work is done: where `output` is one file for several photos, is of a format
    that is not written, or where a result would overwrite a photo.
    """
    from texturenets import image, video

    folder = _folder(photos, output)
    if folder is None:
        assert output is not None
        results = [Path(output).expanduser()]
    else:
        inside = [(_inside(photo, roots), photo) for photo in photos]
        results = [folder / name for name in names(inside, style, video.output_suffix if films else None)]

    jobs = several_of(list(zip(photos, results, strict=True)))
    sources = {(info.st_dev, info.st_ino): photo for photo in photos if (info := _stat(photo))}
    for photo, result in jobs:
        if films:
            video.check_output(result, photo)
        else:
            image.output_format(result)
        info = _stat(result)
        hit = sources.get((info.st_dev, info.st_ino)) if info else None
        if hit == photo:
            raise UserError(f"--output {output} would overwrite the photo itself: give another name")
        if hit is not None:
            raise UserError(
                f"the result of {photo} would overwrite {hit}, which is among the photos: "
                "write into another folder, as with -o stylized/"
            )
    return jobs


def names(
    photos: Iterable[tuple[PurePath, PurePath]],
    style: str,
    suffix_of: Callable[[PurePath], str] | None = None,
) -> list[str]:
    """What photos become in an output folder, no two the same, of [(folder in there, photo)].

    `suffix_of` gives the suffix of a result; None is a photo's.
    """
    results = []
    taken: set[str] = set()
    for inside, photo in photos:
        stem, suffix = str(inside / f"{photo.stem}-{style}"), (suffix_of or _suffix)(photo)
        name, number = stem + suffix, 1
        while name.casefold() in taken:  # many file systems take "A.jpg" and "a.jpg" for one
            number += 1
            name = f"{stem}-{number}{suffix}"
        taken.add(name.casefold())
        results.append(name)
    return results


def _inside(photo: Path, roots: Sequence[Path]) -> Path:
    """The folder of `photo` as seen from the one among `roots` that it lies in."""
    for root in roots:
        if root.is_dir() and photo.is_relative_to(root):
            return photo.relative_to(root).parent
    return Path()


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _folder(photos: Sequence[Path], output: str | None) -> Path | None:
    """The folder that results go into; None where `output` is a file for the one photo."""
    from texturenets import image, video

    if output is None:
        return Path()
    path = Path(output).expanduser()
    if path.is_dir() or output.endswith(("/", os.sep)):
        return path
    if len(photos) == 1 and path.suffix:
        return None
    if path.is_file() or path.suffix.lower() in image.suffixes() | video.READ:
        raise UserError(
            f"--output {output} is one file, and there are {len(photos)} photos: give a folder, as with "
            f"-o {path.with_suffix('')}/"
        )
    return path


def _suffix(photo: PurePath) -> str:
    """The photo's own suffix where that can be written, else one that loses as little."""
    from texturenets import image

    try:
        image.output_format(photo)
        return photo.suffix
    except UserError:
        lossless = {".gif", ".ppm", ".pgm"}
        return ".png" if photo.suffix.lower() in lossless else ".jpg"
