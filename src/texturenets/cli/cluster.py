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
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from texturenets.cli import report
from texturenets.cli.common import complain
from texturenets.cli.outputs import names, several
from texturenets.cluster import manifest, ray_backend, storage
from texturenets.cluster.manifest import ManifestEntry, Outcome
from texturenets.cluster.worker import Ask, WorkerTask
from texturenets.errors import UserError
from texturenets.files import remove_all_stale

if TYPE_CHECKING:
    from texturenets.engines.options import EngineOptions
    from texturenets.stylize.options import StylizeOptions

NAMED = 20  # failed photos that the summary names


@dataclass(frozen=True)
class ClusterRun:
    """What is asked for, by the names of the flags; `model` is the model file."""

    model: Path
    options: StylizeOptions
    count: int
    engine: EngineOptions


def run(
    asked: ClusterRun,
    photos: Sequence[str],
    output: str | None,
    address: str | None,
    workers: int | None,
    *,
    skip_existing: bool,
    quiet: bool,
) -> int:
    """Stylize what is missing of `photos` in the folder `output`; returns the exit status. Raises UserError."""
    from texturenets.memory import budget

    if address is None:
        raise UserError(
            "--workers, and photos or results at a URL, go with --cluster: without it download the photos first"
        )
    ray_backend.check_installed()
    if isinstance(asked.engine.memory, str):
        budget.parse(asked.engine.memory)
    folder = _folder(output)
    jobs = plan(asked, photos, folder)
    model = asked.model.read_bytes()
    made = _made(asked, model)
    sizes = folder.sizes()
    found = manifest.sort(jobs, manifest.read(folder, list(sizes)), sizes, made, skip_existing=skip_existing)
    told = ClusterReport(folder, len(jobs), quiet)
    with told.interruptible(), told.bar(len(found.todo), "cluster"):
        for job in found.there:
            told.result(told.name(job), there=True)
        for job, reason in found.hopeless:
            told.failure(job.photo.name, f"{reason} (as before; it has not changed)")
        if found.todo:
            _paint(asked, found.todo, folder, told, model=model, made=made, address=address, workers=workers)
    return told.end(f", see {folder.name}")


def _folder(output: str | None) -> storage.Folder:
    from texturenets import image

    if output is None:
        raise UserError("--cluster needs a folder for the results: give --output FOLDER")
    path = PurePosixPath(output)
    folder = storage.Folder(output)
    there = not folder.remote and folder.path.exists()
    if there and not folder.path.is_dir():
        raise UserError(f"--output {output} is a file: with --cluster give a folder")
    if not there and path.suffix.lower() in image.suffixes() and not output.endswith("/"):
        raise UserError(f"--output {output} is one file: with --cluster give a folder, as -o {path.stem}/")
    return folder


def plan(asked: ClusterRun, photos: Sequence[str], folder: storage.Folder) -> list[ManifestEntry]:
    """What the photos become, as the plain run names it. Raises UserError where a result would overwrite a photo."""
    found = storage.find(photos, folder.name)
    inside = names([(photo.folder, PurePosixPath(photo.name)) for photo in found], asked.model.stem)
    numbered = several([(Path(), Path(name)) for name in inside], asked.count, asked.model)
    results = [result.as_posix() for _, result in numbered]
    folder.check(photos, results)
    sources = {name if storage.is_url(name) else os.path.realpath(name) for name in (p.name for p in found)}
    for result in results:
        name = folder.at(result)
        if (name if folder.remote else os.path.realpath(name)) in sources:
            raise UserError(
                f"--output {folder.name}: {name} would be overwritten, which is among the photos: give another folder"
            )
    seed = asked.options.seed
    return [
        ManifestEntry(found[i // asked.count], result, seed + i % asked.count)
        for i, result in enumerate(results)
    ]


def _made(asked: ClusterRun, model: bytes) -> str:
    options: dict[str, Any] = asdict(asked.options)
    options |= {name: getattr(asked.engine, name) for name in ("engine", "precision", "generator")}
    return manifest.fingerprint(hashlib.sha256(model).hexdigest(), options)


def _paint(
    asked: ClusterRun,
    todo: Sequence[ManifestEntry],
    folder: storage.Folder,
    told: ClusterReport,
    *,
    model: bytes,
    made: str,
    address: str,
    workers: int | None,
) -> None:
    """Have `todo` done, and tell `told` and the manifest."""
    name, began = secrets.token_hex(4), time.monotonic()
    asks = [Ask(i, job.photo.name, folder.at(job.result), job.seed) for i, job in enumerate(todo)]
    results = [] if folder.remote else [Path(ask.result) for ask in asks]
    with ExitStack() as stack:
        stack.callback(
            remove_all_stale, results
        )  # when workers have ended: what those that were killed have left
        stack.callback(shutil.rmtree, Path(tempfile.gettempdir(), f"texturenets-{name}"), ignore_errors=True)
        cluster = stack.enter_context(ray_backend.Cluster(address, len(todo)))
        machines = cluster.machines()
        gpu = _gpu(asked, machines)
        number, _ = ray_backend.divide(machines, workers, gpu, len(asks))
        portions = ray_backend.batches(asks, [job.photo.bytes for job in todo], number)
        number, threads = ray_backend.divide(machines, workers, gpu, len(portions))
        largest = max(cards if gpu else cpus for cpus, cards in machines)
        task = WorkerTask(
            asked.model.stem,
            str(asked.model.resolve()),
            model,
            asked.options,
            name,
            replace(asked.engine, threads=None if gpu else threads),
            share=(1 if gpu else threads) / largest,
        )
        lines = stack.enter_context(closing(manifest.Manifest(folder)))
        remove_all_stale(results)
        facts = asdict(asked.options) | {
            name: getattr(asked.engine, name) for name in ("engine", "precision")
        }
        lines.head(made, style=asked.model.stem, options=facts, photos=len(todo), workers=number)
        for row in cluster.run(task, portions, number, gpu=gpu, waiting=told.waiting):
            if isinstance(row, str):
                told.engine(row, number, threads)
                continue
            for i, outcome in row.items():
                lines.add(todo[i], outcome, made)
                told.outcome(todo[i], outcome)
            lines.flush()
        lines.end(done=told.done, failed=len(told.failed), seconds=round(time.monotonic() - began, 1))


def _gpu(asked: ClusterRun, machines: Sequence[tuple[int, int]]) -> bool:
    """Whether workers get a graphics card each."""
    cards = any(cards for _, cards in machines)
    if asked.engine.device == "cuda" and not cards:
        raise UserError("--device cuda: Ray finds no graphics card; use --device cpu")
    return cards and asked.engine.device in ("auto", "cuda") and asked.engine.engine in ("auto", "torch")


class ClusterReport(report.Report):
    """What the user sees: a bar, results on standard output, complaints, a summary."""

    def __init__(self, folder: storage.Folder, total: int, quiet: bool) -> None:
        super().__init__(total, quiet, "the same command goes on", named=NAMED)
        self.folder = folder

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

    def outcome(self, job: ManifestEntry, outcome: Outcome) -> None:
        """What became of a photo."""
        if outcome.reason:
            self.failure(job.photo.name, outcome.reason)
        else:
            self.result(self.name(job))

    def name(self, job: ManifestEntry) -> str:
        """The name of a result, as printed."""
        return f"{self.folder.name.rstrip('/')}/{job.result}"
