"""Stylize photos and videos, one after the other, in one style or several."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from texturenets.cli import sheet as contact
from texturenets.cli import video_jobs
from texturenets.cli.common import engine_note, note_ignored, note_quality, warn
from texturenets.cli.outputs import check_count, check_inputs, folder_of, plan_of
from texturenets.cli.report import Report
from texturenets.cli.tiled import follow
from texturenets.errors import UserError
from texturenets.files import expanded, remove_all_stale

if TYPE_CHECKING:
    from texturenets import image
    from texturenets.cli.styles import ChosenStyle
    from texturenets.stylize.options import StylizeOptions
    from texturenets.stylize.pipeline import PathPair
    from texturenets.stylize.style import Style


class StyleWork(NamedTuple):
    """The videos and photos to stylize in `style`. `options_of`: the options of each photo's result, by its path."""

    style: ChosenStyle
    videos: Sequence[video_jobs.VideoJob]
    photos: Sequence[PathPair]
    options_of: Mapping[Path, StylizeOptions]
    options: StylizeOptions

    @property
    def results(self) -> list[Path]:
        """All files to write, except numbered frames."""
        return [job.result for job in self.videos if isinstance(job.result, Path)] + [
            job[1] for job in self.photos
        ]

    def without(self, results: Collection[Path]) -> StyleWork:
        """This work without the jobs that write one of `results`."""
        videos = [job for job in self.videos if job.result not in results]
        return self._replace(videos=videos, photos=[job for job in self.photos if job[1] not in results])


@dataclass(frozen=True)
class BatchRun:
    """How a command processes its files; each field is the flag of that name."""

    count: int = 1
    rate: float | None = None
    skip_existing: bool = False
    sheet: bool = False
    say_engine: bool = False
    quiet: bool = False
    as_json: bool = False
    watch: bool = False

    @property
    def flags(self) -> dict[str, object]:
        """The values of the given flags, by flag; None or False for others."""
        return {
            "--count": self.count if self.count != 1 else None,
            "--rate": self.rate,
            "--skip-existing": self.skip_existing,
            "--sheet": self.sheet,
            "--json": self.as_json,
            "--watch": self.watch,
        }


class Plan(NamedTuple):
    """All work of a command, one item for each style. `folder`: where a contact sheet is written. `ignored`: files
    among the photos that cannot be read. `missing`: errors of arguments that name no photo, by argument."""

    works: Sequence[StyleWork]
    folder: Path
    ignored: Sequence[Path]
    missing: Mapping[str, UserError]


def planned(
    photos: Sequence[str],
    output: str | None,
    styles: Sequence[ChosenStyle],
    options: StylizeOptions,
    run: BatchRun,
    *,
    masks: Sequence[str] = (),
) -> Plan:
    """Plan the results of all files, patterns and folders in `photos`. Raises UserError before any work is done.

    `masks`: files that no result may overwrite, or names of gradients.
    """
    from texturenets import image, video

    video_jobs.check_frames(photos)
    ignored: list[Path] = []
    missing: dict[str, UserError] = {}
    found = image.expand(
        photos,
        recursive=True,
        without=output,
        also=video.SUFFIXES,
        ignored=ignored,
        empty=run.watch,
        missing=missing,
    )
    roots = [expanded(p) for p in photos]
    videos = video_jobs.among(found, output)
    one = video_jobs.whole_output(found, videos, output, ordered=len(roots) == 1, rate=run.rate)
    if one is not None:
        for path in [path for path in found if path not in one.sources and path != one.result]:
            warn(f"{path} is left out: a video is made of images")
        if len(styles) > 1:
            raise UserError(
                f"--output {output} is {'the frames of ' if isinstance(one.result, str) else ''}one video, and there "
                f"are {len(styles)} styles: give one --style"
            )
    if options.mix_end and found and not (videos or one):
        raise UserError("--to-style changes the style along a video, and here are only photos: leave it out")
    if options.steady and found and not (videos or one):
        raise UserError(f"--steady {options.steady:g} is for videos, and here are only photos: leave it out")
    if run.count != 1 and (videos or one):
        raise UserError(f"--count {run.count} is for photos: of a video there is one result")
    check_count(run.count, [style.model for style in styles], options.noise_level)
    seeds = range(options.seed, options.seed + run.count)
    names = [style.name for style in styles]
    skip = run.skip_existing
    inputs = [Path(mask) for mask in masks]
    if one is not None:
        check_inputs([Path(one.result)], inputs)
        jobs: list[list[PathPair]] = [[]]
    else:
        jobs = plan_of(found, output, names, roots, seeds, videos=videos, skip_existing=skip, inputs=inputs)
    works = []
    for style, of_style in zip(styles, jobs, strict=True):
        stills = [job for job in of_style if job[0] not in videos]
        moving = (
            [one]
            if one
            else [video_jobs.VideoJob((path,), result) for path, result in of_style if path in videos]
        )
        with_mix = replace(options, mix=style.mix)
        options_of = {
            result: replace(with_mix, seed=seeds[i % run.count]) for i, (_, result) in enumerate(stills)
        }
        works.append(StyleWork(style, moving, stills, options_of, with_mix))
    if one is not None:
        return Plan(works, Path(one.result).parent, ignored, missing)
    folder = folder_of(found, output, len(styles))
    folder = expanded(str(output)).parent if folder is None else folder
    return Plan(works, folder, ignored, missing)


def carry_out(plan: Plan, load: Callable[[ChosenStyle], Style], run: BatchRun) -> int:
    """Stylize everything in `plan`; returns the exit status. Raises UserError if nothing can be done."""
    if run.skip_existing and any(isinstance(job.result, str) for work in plan.works for job in work.videos):
        raise UserError("--skip-existing looks at whole videos, not at numbered frames: leave it out")
    if run.sheet:
        stills = [job for work in plan.works for job in work.photos]
        contact.check(plan.folder, stills, len(plan.works[0].videos))
    results = [result for work in plan.works for result in work.results]
    note_quality(plan.works[0].options.quality, [*results, *_patterns(plan)])
    there = {result for result in results if run.skip_existing and result.exists()}
    for work in plan.works:
        video_jobs.check_sizes(work.without(there).videos)
    remove_all_stale(results)  # temporary files of killed runs
    total = len(plan.missing) + sum(len(work.videos) + len(work.photos) for work in plan.works)
    report = Report(total, run.quiet, as_json=run.as_json)
    for name, error in plan.missing.items():
        report.failure(name, error)
    engines: set[str] = set()
    notes: dict[str, list[Path]] = {}
    with report.interruptible():
        for work in plan.works:
            todo = work.without(there)
            loaded: Style | None = None  # free the previous style first: its buffers may take gigabytes
            loaded = _loaded(load, todo) if todo.videos or todo.photos else None
            if loaded is not None and run.say_engine and not run.quiet and loaded.engine.name not in engines:
                engines.add(loaded.engine.name)
                engine_note(loaded.engine)
            for job in work.videos:
                if job.result in there:
                    report.result(
                        job.result, job.json_fields(work.style.name, work.options.seed), skipped=True
                    )
            if loaded is not None and todo.videos:
                video_jobs.carry_out(todo.videos, loaded, work.options, report, work.style.name)
            _stylize_photos(work, todo.photos, loaded, report, notes)
    if not run.quiet:
        _tell(notes)
        note_ignored(plan.ignored)
    status = report.end()
    if run.sheet:
        sheet = contact.write(plan.folder, [(work.style.name, work.photos) for work in plan.works])
        if sheet is not None:
            report.print_line(str(sheet), {"status": "done", "result": str(sheet)})
    return status


def _loaded(load: Callable[[ChosenStyle], Style], work: StyleWork) -> Style:
    """The network of a style. Meanwhile another thread reads the header of the first photo, which imports the
    decoder of its format; the header is not used."""
    from texturenets import image

    for photo, _ in work.photos[:1]:
        threading.Thread(target=image.read_header, args=(photo,), daemon=True).start()
    return load(work.style)


def _patterns(plan: Plan) -> list[Path]:
    """The patterns of numbered frames among the results."""
    return [Path(job.result) for work in plan.works for job in work.videos if isinstance(job.result, str)]


def _tell(notes: Mapping[str, Sequence[Path]]) -> None:
    """Print what photos contained that their results do not, such as 16 bits per channel: one line for each kind."""
    for what, photos in notes.items():
        each = list(dict.fromkeys(photos))
        more = f" and {len(each) - 1} more hold" if len(each) > 1 else " holds"
        warn(f"note: {each[0]}{more} {what}")


def _stylize_photos(
    work: StyleWork,
    todo: Sequence[PathPair],
    loaded: Style | None,
    report: Report,
    notes: dict[str, list[Path]],
) -> None:
    """Stylize the photos in `todo`; the others of `work` exist already. `notes` collects what results do not keep."""

    def fields(job: PathPair) -> dict[str, object]:
        return {"source": str(job[0]), "style": work.style.name, "seed": work.options_of[job[1]].seed}

    if loaded is None:
        for job in work.photos:
            report.result(job[1], fields(job), skipped=True)
        return
    from texturenets.overlap import overlapped
    from texturenets.stylize.pipeline import Pipeline

    follow(loaded, report.quiet, bar=len(todo) == 1)
    pipeline = Pipeline(loaded, work.options_of, lambda photo, what: notes.setdefault(what, []).append(photo))
    written: dict[PathPair, bool] = {}  # whether each has been reported

    def noted(job: PathPair, picture: image.Picture | None) -> None:
        pipeline.write(job, picture)
        written[job] = False

    waiting = set(todo)
    outcomes = overlapped(todo, pipeline.read, pipeline.stylize, noted)
    with report.bar(len(todo), work.style.name):
        try:
            with closing(outcomes):
                for job in work.photos:
                    error = next(outcomes)[1] if job in waiting else None
                    if error is None:
                        written[job] = True
                        report.result(job[1], fields(job), skipped=job not in waiting)
                    else:
                        report.failure(job[0], error, {"style": work.style.name})
        finally:  # also after an interruption: the photo in progress was still written
            for job, known in written.items():
                if not known:
                    report.result(job[1], fields(job))
