"""`texturenets stylize --cluster`: what is to be done, handed to Ray, and what has become of it."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from texturenets.cli.common import complain, photo_progress
from texturenets.cli.stylize import names, several, steps
from texturenets.cluster import manifest, places, rays
from texturenets.cluster.manifest import Job, Outcome
from texturenets.cluster.worker import Ask, Task
from texturenets.errors import UserError
from texturenets.files import sweep_all

if TYPE_CHECKING:
    from texturenets.outofcore.limits import Options

NAMED = 20  # failed photos that the summary names


@dataclass(frozen=True)
class Run:
    """What is asked for, by the names of the flags; `model` is the model file."""

    model: Path
    options: Options
    count: int
    device: str
    engine: str
    precision: str
    generator: str | None
    memory: str | None
    spool: str | None


def run(
    asked: Run,
    photos: Sequence[str],
    output: str | None,
    address: str | None,
    workers: int | None,
    *,
    skip_existing: bool,
    quiet: bool,
) -> int:
    """Repaint what is missing of `photos` in the folder `output`; returns the exit status. Raises UserError."""
    from texturenets import budget

    if address is None:
        raise UserError("--workers and photos or results at a URL go with --cluster")
    rays.check_installed()
    if asked.memory is not None:
        budget.parse(asked.memory)
    folder = _folder(output)
    jobs = plan(asked, photos, folder)
    model = asked.model.read_bytes()
    made = _made(asked, model)
    sizes = folder.sizes()
    found = manifest.sort(jobs, manifest.read(folder, list(sizes)), sizes, made, skip_existing=skip_existing)
    report = Report(folder, quiet, bar=len(found.todo))
    with report.bar:
        for job in found.there:
            report.result(job)
        for job, reason in found.hopeless:
            report.failure(job, f"{reason} (as before; it has not changed)")
        if found.todo:
            _paint(
                asked, found.todo, folder, report, model=model, made=made, address=address, workers=workers
            )
    report.end(len(found.there))
    return 2 if report.failed else 0


def _folder(output: str | None) -> places.Folder:
    from texturenets import image

    if output is None:
        raise UserError("--cluster needs a folder for the results: give --output FOLDER")
    path = PurePosixPath(output)
    folder = places.Folder(output)
    there = not folder.remote and folder.path.exists()
    if there and not folder.path.is_dir():
        raise UserError(f"--output {output} is a file: with --cluster give a folder")
    if not there and path.suffix.lower() in image.suffixes() and not output.endswith("/"):
        raise UserError(f"--output {output} is one file: with --cluster give a folder, as -o {path.stem}/")
    return folder


def plan(asked: Run, photos: Sequence[str], folder: places.Folder) -> list[Job]:
    """What the photos become, as the plain run names it. Raises UserError where a result would overwrite a photo."""
    found = places.find(photos, folder.name)
    inside = names([(photo.folder, PurePosixPath(photo.name)) for photo in found], asked.model.stem)
    numbered = several([(Path(), Path(name)) for name in inside], asked.count, asked.model)
    results = [result.as_posix() for _, result in numbered]
    folder.check(photos, results)
    sources = {name if places.is_url(name) else os.path.realpath(name) for name in (p.name for p in found)}
    for result in results:
        name = folder.at(result)
        if (name if folder.remote else os.path.realpath(name)) in sources:
            raise UserError(
                f"--output {folder.name}: {name} would be overwritten, which is among the photos: give another folder"
            )
    seed = asked.options.seed
    return [Job(found[i // asked.count], result, seed + i % asked.count) for i, result in enumerate(results)]


def _made(asked: Run, model: bytes) -> str:
    options: dict[str, Any] = asdict(asked.options)
    options |= {"engine": asked.engine, "precision": asked.precision, "generator": asked.generator}
    return manifest.fingerprint(hashlib.sha256(model).hexdigest(), options)


def _paint(
    asked: Run,
    todo: Sequence[Job],
    folder: places.Folder,
    report: Report,
    *,
    model: bytes,
    made: str,
    address: str,
    workers: int | None,
) -> None:
    """Have `todo` done, and tell `report` and the manifest."""
    name, began = secrets.token_hex(4), time.monotonic()
    asks = [Ask(i, job.photo.name, folder.at(job.result), job.seed) for i, job in enumerate(todo)]
    results = [] if folder.remote else [Path(ask.result) for ask in asks]
    with ExitStack() as stack:
        stack.callback(sweep_all, results)  # when workers have ended: what those that were killed have left
        stack.callback(shutil.rmtree, Path(tempfile.gettempdir(), f"texturenets-{name}"), ignore_errors=True)
        cluster = stack.enter_context(rays.Cluster(address, len(todo)))
        machines = cluster.machines()
        gpu = _gpu(asked, machines)
        number, _ = rays.divide(machines, workers, gpu, len(asks))
        portions = rays.batches(asks, [job.photo.bytes for job in todo], number)
        number, threads = rays.divide(machines, workers, gpu, len(portions))
        largest = max(cards if gpu else cpus for cpus, cards in machines)
        task = Task(
            asked.model.stem,
            str(asked.model.resolve()),
            model,
            asked.options,
            steps,
            name,
            device=asked.device,
            engine=asked.engine,
            precision=asked.precision,
            generator=asked.generator,
            memory=asked.memory,
            spool=asked.spool,
            threads=None if gpu else threads,
            share=(1 if gpu else threads) / largest,
        )
        lines = stack.enter_context(closing(manifest.Manifest(folder)))
        sweep_all(results)
        facts = asdict(asked.options) | {"engine": asked.engine, "precision": asked.precision}
        lines.head(made, style=asked.model.stem, options=facts, photos=len(todo), workers=number)
        for row in cluster.run(task, portions, number, gpu=gpu, waiting=report.waiting):
            if isinstance(row, str):
                report.engine(row, number, threads)
                continue
            for i, outcome in row.items():
                lines.add(todo[i], outcome, made)
                report.outcome(todo[i], outcome)
            lines.flush()
        lines.end(done=report.done, failed=len(report.failed), seconds=round(time.monotonic() - began, 1))


def _gpu(asked: Run, machines: Sequence[tuple[int, int]]) -> bool:
    """Whether workers get a graphics card each."""
    cards = any(cards for _, cards in machines)
    if asked.device == "cuda" and not cards:
        raise UserError("--device cuda: Ray finds no graphics card; use --device cpu")
    return cards and asked.device in ("auto", "cuda") and asked.engine in ("auto", "torch")


class Report:
    """What the user sees: a bar, results on standard output, complaints, a summary."""

    def __init__(self, folder: places.Folder, quiet: bool, bar: int) -> None:
        self.folder, self.quiet = folder, quiet
        self.bar = photo_progress(bar, quiet)
        self._task = self.bar.add_task("cluster", total=bar)
        self._later: list[str] = []
        self.done, self.failed = 0, list[str]()

    def waiting(self) -> None:
        """Nothing has come yet."""
        if not self.quiet:
            complain(
                "nothing done in the first minute: workers are starting, or the cluster is busy with others"
            )

    def engine(self, name: str, workers: int, threads: int) -> None:
        """A worker's engine."""
        if not self.quiet:
            print(f"engine: {name}; workers: {workers}, threads of each: {threads}", file=sys.stderr)

    def outcome(self, job: Job, outcome: Outcome) -> None:
        """What became of a photo."""
        self.bar.advance(self._task)
        if outcome.reason:
            self.failure(job, outcome.reason)
        else:
            self.done += 1
            self.result(job)

    def result(self, job: Job) -> None:
        """A result that is there."""
        name = f"{self.folder.name.rstrip('/')}/{job.result}"
        if self.bar.disable:
            print(name, flush=True)
        else:
            self._later.append(name)  # would tear the bar, where both are on one terminal

    def failure(self, job: Job, reason: str) -> None:
        """A photo of which there is no result."""
        complain(reason)
        self.failed.append(job.photo.name)

    def end(self, there: int) -> None:
        """The last lines."""
        for name in self._later:
            print(name)
        parts = [f"{self.done} done"]
        if there:
            parts.append(f"{there} there already")
        if self.failed:
            more = len(self.failed) - NAMED
            parts.append(f"{len(self.failed)} failed: " + ", ".join(self.failed[:NAMED]))
            parts[-1] += f" and {more} more, see {self.folder.name}" if more > 0 else ""
            complain(", ".join(parts))
        elif not self.quiet:
            print(", ".join(parts), file=sys.stderr)
