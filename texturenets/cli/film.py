"""Films through `texturenets stylize`: what is to become what, and one film after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from texturenets import video
from texturenets.cli.common import complain, engine_note, photo_progress
from texturenets.cli.large import follow
from texturenets.errors import UserError
from texturenets.files import sweep, whole

if TYPE_CHECKING:
    from texturenets.api import Style
    from texturenets.outofcore.limits import Options
    from texturenets.video.frame import Sink, Source

RATE = 24
"""Frames a second of a film that is made of pictures, unless said otherwise: the cinema's."""


@dataclass(frozen=True)
class Job:
    """A film to make: of a film, or of pictures, to a file or to numbered frames (a pattern)."""

    sources: tuple[Path, ...]
    result: Path | str
    rate: Fraction | None = None  # of pictures that become a film

    @property
    def name(self) -> str:
        """What the bar calls it."""
        return Path(self.result).name if self.rate else self.sources[0].name


def requested(
    found: Sequence[Path],
    roots: Sequence[Path],
    output: str | None,
    style: str,
    *,
    rate: float | None,
    count: int,
) -> list[Job]:
    """The films among what is to be repainted; none where all are photos that become pictures.

    `found`: all files; `roots`: files and folders as they were named. Raises UserError before any work is done.
    """
    from texturenets.video.numbered import in_order

    numbered = output is not None and video.is_numbered(output)
    films = [p for p in found if p in set(roots) and video.is_film(p) and not _to_still(p, output)]
    if output is not None and not films and _is_film_name(output, found):
        frames = in_order(found) if len(roots) == 1 else found
        path = Path(output).expanduser()
        video.check_output(path, path)
        jobs = [Job(tuple(frames), path, _rate(rate))]
    elif not films:
        if rate is not None:
            raise UserError(f"--rate {rate:g} is for pictures that become a film, as with -o film.mp4")
        return []
    elif rate is not None:
        raise UserError(
            f"--rate {rate:g} is for pictures that become a film; {films[0]} has a rate of its own"
        )
    elif numbered:
        assert output is not None
        video.check_numbered(output)
        if len(found) > 1:
            raise UserError(
                f"--output {output} numbers the frames of one film, and there are {len(found)} files"
            )
        jobs = [Job((films[0],), output)]
    else:
        from texturenets.cli.stylize import plan

        if len(films) < len(found):
            output = _folder_for_both(output, len(found))
        jobs = [Job((film,), result) for film, result in plan(films, output, style, roots, films=True)]
    if count != 1:
        raise UserError(f"--count {count} is for photos: of a film there is one result")
    return jobs


def _folder_for_both(output: str | None, number: int) -> str | None:
    """The output of films and photos together: a folder, or none."""
    if output is None or Path(output).expanduser().is_dir() or output.endswith("/"):
        return output
    if Path(output).suffix:
        raise UserError(
            f"--output {output} is one file, and there are {number}: give a folder, as with -o painted/"
        )
    return output + "/"


def _is_film_name(output: str, found: Sequence[Path]) -> bool:
    """Whether pictures under this name become the frames of one film."""
    path = Path(output).expanduser()
    suffix = path.suffix.lower()
    return not path.is_dir() and (suffix in video.READ or (suffix == ".gif" and len(found) > 1))


def _to_still(photo: Path, output: str | None) -> bool:
    """Whether a moving picture is asked for as a picture of a format that does not move."""
    from texturenets import image

    if output is None or photo.suffix.lower() not in video.MOVING or video.is_numbered(output):
        return False
    suffix = Path(output).suffix.lower()
    moves = suffix in (".gif", ".webp", ".apng") or {suffix, photo.suffix.lower()} <= {".png", ".apng"}
    return suffix in image.suffixes() and not moves


def carry_out(
    jobs: Sequence[Job],
    found: Sequence[Path],
    load: Callable[[], Style],
    options: Options,
    *,
    skip_existing: bool,
    say_engine: bool,
    quiet: bool,
) -> tuple[int, list[Path]]:
    """One film after the other; the names of the results are printed.

    Exit status, 2 where one of several has failed, and what is left of the files `found`.
    """
    if skip_existing and any(isinstance(job.result, str) for job in jobs):
        raise UserError("--skip-existing looks at whole films, not at numbered frames")
    taken = {path for job in jobs for path in job.sources}
    rest = [path for path in found if path not in taken]
    todo = [job for job in jobs if not (skip_existing and Path(job.result).exists())]
    if todo:
        painter = load()
        if say_engine and not quiet:
            engine_note(painter.engine)
        follow(painter, quiet, bar=False)
    status = 0
    for job in jobs:
        try:
            if job in todo:
                _repaint(painter, job, options, quiet)
            print(job.result, flush=True)
        except UserError as error:
            if len(found) == 1 or job.rate:
                raise
            complain(error)
            status = 2
    return status, rest


def _repaint(painter: Style, job: Job, options: Options, quiet: bool) -> None:
    """One film. Raises UserError for what is wrong with it; nothing is then under the result's name."""
    from texturenets.video.repaint import painting, repaint

    with _opened(job, options) as source, _written(source, job.result, options, quiet) as sink:
        bar = photo_progress(source.facts.count, quiet, "frames")
        with bar:
            task = bar.add_task(job.name, total=source.facts.count)
            done = repaint(source, sink, painting(painter, options), lambda n: bar.update(task, completed=n))
            bar.update(task, completed=done, total=done)


@contextmanager
def _opened(job: Job, options: Options) -> Iterator[Source]:
    from texturenets.video.films import Film
    from texturenets.video.frame import Fit
    from texturenets.video.moving import MovingPicture
    from texturenets.video.numbered import Frames
    from texturenets.video.writing import needs_even

    film = isinstance(job.result, Path) and job.result.suffix.lower() in video.WRITTEN
    fit = Fit(options.size, even=isinstance(job.result, Path) and needs_even(job.result), square=not film)
    source: Source
    if job.rate:
        source = Frames(job.sources, job.rate, fit)
    elif job.sources[0].suffix.lower() in video.READ:
        source = Film(job.sources[0], fit, sound=film, keep_gps=options.keep_gps)
    else:
        source = MovingPicture(job.sources[0], fit)
    with closing(source):
        yield source


def _rate(rate: float | None) -> Fraction:
    """Of a film made of pictures; 29.97 and the like are taken for what they stand for."""
    asked = RATE if rate is None else rate
    if not 0.01 <= asked <= 1000:  # also for NaN
        raise UserError(f"--rate {asked:g} is no number of frames a second between 0.01 and 1000")
    whole_number = round(asked * 1.001)
    if abs(asked - whole_number / 1.001) < 0.005 and abs(asked - round(asked)) > 0.005:
        return Fraction(whole_number * 1000, 1001)
    return Fraction(asked).limit_denominator(1000)


@contextmanager
def _written(source: Source, result: Path | str, options: Options, quiet: bool) -> Iterator[Sink]:
    from texturenets.video.films import Film
    from texturenets.video.moving import MovingWriter
    from texturenets.video.numbered import NumberedWriter
    from texturenets.video.writing import FilmWriter

    if isinstance(result, str):
        frames = NumberedWriter(result, quality=options.quality)
        yield frames
        older = frames.path(frames.number + 1)
        if older.exists() and not quiet:
            complain(f"{older} was there already: it and what follows it are no frames of this film")
        return
    sweep(result)
    film = source if isinstance(source, Film) else None
    sink: Sink
    with whole(result) as part:
        if result.suffix.lower() in video.WRITTEN:
            sink = FilmWriter(part, result, source.facts, quality=options.quality, source=film)
            for note in sink.notes if not quiet else ():
                complain(note)
        else:
            sink = MovingWriter(part, result, source.facts, quality=options.quality)
        if film and film.silent and not quiet:
            complain(f"{result} holds no sound: that of {film.path} is left out")
        with closing(sink):
            yield sink
