"""`texturenets stylize --watch`: new files in folders are stylized as they arrive."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from texturenets.cli.batch import BatchRun, Plan, carry_out
from texturenets.cli.common import warn
from texturenets.cli.streams import Terminated
from texturenets.errors import UserError
from texturenets.files import expanded

if TYPE_CHECKING:
    from texturenets.cli.styles import ChosenStyle
    from texturenets.stylize.style import Style

POLL_SECONDS = 1.0
"""Seconds between two scans of the folders. A file is stylized when it has not changed from one scan to the next."""

State = tuple[int, int]
"""Modification time of a file in nanoseconds, and its size in bytes."""


def watching(
    names: Sequence[str],
    output: str | None,
    plan: Callable[[BatchRun], Plan],
    run: BatchRun,
    load: Callable[[ChosenStyle], Style],
) -> int:
    """Stylize the files in the folders `names`, and new files as they arrive, until Ctrl-C; returns the exit status.
    `plan`: a function that plans all files that are in the folders now, as `planned`. Raises UserError if `names` are
    not folders, or `output` is not a folder or is one of them.
    """
    folder = _check(names, output)
    if not run.quiet:
        print(f"watching {', '.join(names)}: results go to {folder}; Ctrl-C ends", file=sys.stderr)
    watch, loaded, status = WatchedFolders(), LastStyle(load), 0
    try:
        while True:
            try:
                ready = watch.ready(plan(run))
                if ready.works:
                    status = carry_out(ready, loaded, run) or status
                    run = replace(run, say_engine=False)
                watch.done(ready)
            except UserError as error:
                watch.report(error)
            time.sleep(POLL_SECONDS)
    except Terminated:
        raise
    except KeyboardInterrupt:
        return status


class LastStyle:
    """Loads styles and keeps the last one in memory; it is freed before the next is loaded, as its buffers may take
    gigabytes."""

    def __init__(self, load: Callable[[ChosenStyle], Style]) -> None:
        self._load = load
        self._chosen: ChosenStyle | None = None
        self._style: Style | None = None

    def __call__(self, chosen: ChosenStyle) -> Style:
        if self._style is None or self._chosen != chosen:
            self._style = None
            self._style, self._chosen = self._load(chosen), chosen
        return self._style


def _check(names: Sequence[str], output: str | None) -> Path:
    """The folder of the results."""
    from texturenets import image, video

    for name in names:
        if not expanded(name).is_dir():
            raise UserError(f"--watch looks into folders, and {name} is none")
    if output is None:
        raise UserError("--watch needs a folder for the results: give --output FOLDER")
    folder = expanded(output)
    named = folder.suffix.lower() in image.suffixes() | video.READ or video.is_numbered(output)
    if not folder.is_dir() and (folder.exists() or named):
        raise UserError(f"--output {output} is a file: with --watch give a folder")
    if any(folder.resolve() == expanded(name).resolve() for name in names):
        raise UserError(
            f"--watch would stylize its own results in {output}: give another folder, for example -o "
            f"{folder / 'stylized'}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class WatchedFolders:
    """The state of the folders: which files were seen, and which were tried."""

    def __init__(self) -> None:
        self._seen: dict[Path, State] = {}
        self._tried: dict[tuple[Path, Path], State] = {}  # by source and result
        self._told = ""

    def ready(self, plan: Plan) -> Plan:
        """The part of `plan` to do now: sources that have stopped changing and have no newer result."""
        sources = {path for work in plan.works for job in work.videos for path in job.sources}
        sources |= {photo for work in plan.works for photo, _ in work.photos}
        now = {path: state for path in sources if (state := _state(path))}
        still = {path for path, state in now.items() if self._seen.get(path) == state}
        self._seen = now

        def due(source: Path, result: Path) -> bool:
            tried = self._tried.get((source, result))
            if source not in still or tried == now[source]:
                return False
            made = _state(result)
            newer = made is not None and made[0] >= now[source][0]
            return tried is not None or not newer

        works = []
        for work in plan.works:
            videos = [job for job in work.videos if due(job.sources[0], Path(job.result))]
            photos = [job for job in work.photos if due(*job)]
            if videos or photos:
                works.append(work._replace(videos=videos, photos=photos))
        return plan._replace(works=works, ignored=())

    def done(self, plan: Plan) -> None:
        """Record that all of `plan` was tried; a failed file is tried again when it changes."""
        for work in plan.works:
            pairs = [(job.sources[0], Path(job.result)) for job in work.videos] + list(work.photos)
            self._tried.update({(source, result): self._seen[source] for source, result in pairs})
        self._told = ""

    def report(self, error: UserError) -> None:
        """Print an error that prevents the work; the same error is printed only once in a row."""
        if str(error) != self._told:
            warn(error)
        self._told = str(error)


def _state(path: Path) -> State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
