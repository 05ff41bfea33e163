"""`texturenets stylize --cluster`: plan the results, run Ray workers, report the outcomes."""

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

from texturenets.cli.common import note_ignored, warn
from texturenets.cli.outputs import check_count, kept, names, names_folder, several
from texturenets.cli.report import Report
from texturenets.cluster import manifest, ray_backend, storage
from texturenets.cluster.manifest import ManifestEntry, Outcome
from texturenets.cluster.worker import PhotoRequest, WorkerTask, base_file
from texturenets.errors import UserError
from texturenets.files import expanded, remove_all_stale

if TYPE_CHECKING:
    from texturenets.cli.styles import ChosenStyle
    from texturenets.engines.options import EngineOptions
    from texturenets.stylize.options import StylizeOptions

MAX_NAMED = 20  # most failed photos that the summary lists


@dataclass(frozen=True)
class ClusterRun:
    """How to stylize each photo; `count`: results for each photo."""

    style: ChosenStyle
    options: StylizeOptions
    count: int
    engine: EngineOptions


def run(
    settings: ClusterRun,
    photos: Sequence[str],
    output: str | None,
    address: str | None,
    workers: int | None,
    *,
    skip_existing: bool,
    quiet: bool,
) -> int:
    """Write the missing results of `photos` to the folder `output`; returns the exit status.

    `address`: address of the Ray cluster. `workers`: number of processes, None for the default. Raises UserError for
    invalid arguments and if the cluster fails; failed photos are reported and the others are still processed.
    """
    from texturenets.memory import budget

    if address is None:
        raise UserError(
            "--workers, and photos or results at a URL, go with --cluster: without it download the photos first"
        )
    ray_backend.check_installed()
    if isinstance(settings.engine.memory, str):
        budget.parse(settings.engine.memory)
    folder = _folder(output)
    ignored: list[str] = []
    jobs = plan(settings, photos, folder, ignored, skip_existing=skip_existing)
    model = settings.style.model.read_bytes()
    fingerprint = _fingerprint(settings, model)
    sizes = folder.sizes()
    status = manifest.by_status(
        jobs, manifest.read(folder, list(sizes)), sizes, fingerprint, skip_existing=skip_existing
    )
    report = ClusterReport(folder, len(jobs), quiet)
    with report.interruptible(), report.bar(len(status.todo), "cluster"):
        for job in status.existing:
            report.result(report.name(job), skipped=True)
        for job, reason in status.final:
            report.failure(job.photo.name, f"{reason} (as before; it has not changed)")
        if status.todo:
            _stylize(
                settings,
                status.todo,
                folder,
                report,
                model=model,
                fingerprint=fingerprint,
                address=address,
                workers=workers,
            )
    if not quiet:
        note_ignored(ignored)
    return report.end(f", see {folder.name}")


def _folder(output: str | None) -> storage.Folder:
    from texturenets import image

    if output is None:
        raise UserError("--cluster needs a folder for the results: give --output FOLDER")
    path = PurePosixPath(output)
    folder = storage.Folder(output)
    there = not folder.remote and folder.path.exists()
    if there and not folder.path.is_dir():
        raise UserError(f"--output {output} is a file: with --cluster give a folder")
    if not there and path.suffix.lower() in image.suffixes() and not names_folder(output):
        raise UserError(
            f"--output {output} is one file: with --cluster give a folder, for example -o {path.stem}/"
        )
    return folder


def plan(
    settings: ClusterRun,
    photos: Sequence[str],
    folder: storage.Folder,
    ignored: list[str],
    *,
    skip_existing: bool = False,
) -> list[ManifestEntry]:
    """The results to write for `photos`, named as without --cluster. Ignored files are appended to `ignored`.

    Raises UserError if a result would overwrite a photo, and as `names`.
    """
    check_count(settings.count, [settings.style.model], settings.options.noise_level)
    found = storage.find(photos, folder.name, ignored)
    roots = {photo.root: _absolute(photo.root) for photo in found if photo.root}
    folders = kept(list(dict.fromkeys(roots.values())), keep_names=True)
    (inside,) = names(
        [
            (
                folders[roots[photo.root]] / photo.folder if photo.root else Path(),
                PurePosixPath(photo.name) if storage.is_url(photo.name) else expanded(photo.name),
            )
            for photo in found
        ],
        [settings.style.name],
        skip_existing=skip_existing,
    )
    seeds = range(settings.options.seed, settings.options.seed + settings.count)
    numbered = several([(Path(), Path(name)) for name in inside], seeds)
    results = [result.as_posix() for _, result in numbered]
    folder.check(photos, results)
    sources = {name if storage.is_url(name) else os.path.realpath(name) for name in (p.name for p in found)}
    for result in results:
        name = folder.at(result)
        if (name if folder.remote else os.path.realpath(name)) in sources:
            raise UserError(
                f"--output {folder.name}: {name} would be overwritten, which is among the photos: give another folder"
            )
    return [
        ManifestEntry(found[i // settings.count], result, seeds[i % settings.count])
        for i, result in enumerate(results)
    ]


def _absolute(root: str) -> Path:
    """A folder or URL as an absolute path, to compare with others."""
    return Path("/" + root.replace("://", "/")) if storage.is_url(root) else Path(root)


def _fingerprint(settings: ClusterRun, model: bytes) -> str:
    options: dict[str, Any] = asdict(settings.options)
    options |= {name: getattr(settings.engine, name) for name in ("engine", "precision", "generator")}
    return manifest.fingerprint(hashlib.sha256(model).hexdigest(), options)


def _stylize(
    settings: ClusterRun,
    todo: Sequence[ManifestEntry],
    folder: storage.Folder,
    report: ClusterReport,
    *,
    model: bytes,
    fingerprint: str,
    address: str,
    workers: int | None,
) -> None:
    """Run Ray workers on `todo`; add each outcome to the manifest and to `report`."""
    name, began = secrets.token_hex(4), time.monotonic()
    requests = [
        PhotoRequest(i, job.photo.name, folder.at(job.result), job.seed) for i, job in enumerate(todo)
    ]
    results = [] if folder.remote else [Path(request.result) for request in requests]
    with ExitStack() as stack:
        stack.callback(
            remove_all_stale, results
        )  # when the workers have ended: temporary files of killed workers
        stack.callback(shutil.rmtree, Path(tempfile.gettempdir(), f"texturenets-{name}"), ignore_errors=True)
        cluster = stack.enter_context(ray_backend.Cluster(address, len(todo)))
        machines = cluster.machines()
        gpu = _gpu(settings, machines)
        number, _ = ray_backend.divide(machines, workers, gpu, len(requests))
        portions = ray_backend.batches(requests, [job.photo.bytes for job in todo], number)
        number, threads = ray_backend.divide(machines, workers, gpu, len(portions))
        largest = max(gpus if gpu else cpus for cpus, gpus in machines)
        task = WorkerTask(
            settings.style.model.stem,
            str(settings.style.model.absolute()),  # with its own name, also if it is a link into a cache
            model,
            settings.options,
            name,
            replace(settings.engine, threads=None if gpu else threads),
            share=(1 if gpu else threads) / largest,
            base=base_file(settings.style.model),
        )
        lines = stack.enter_context(closing(manifest.Manifest(folder)))
        remove_all_stale(results)
        options_line = asdict(settings.options) | {
            name: getattr(settings.engine, name) for name in ("engine", "precision")
        }
        lines.head(
            fingerprint, style=settings.style.name, options=options_line, photos=len(todo), workers=number
        )
        for row in cluster.run(task, portions, number, gpu=gpu, waiting=report.waiting):
            if isinstance(row, str):
                report.engine(row, number, threads)
                continue
            for i, outcome in row.items():
                lines.add(todo[i], outcome, fingerprint)
                report.outcome(todo[i], outcome)
            lines.flush()
        lines.end(done=report.done, failed=len(report.failed), seconds=round(time.monotonic() - began, 1))


def _gpu(settings: ClusterRun, machines: Sequence[tuple[int, int]]) -> bool:
    """Whether each worker gets a GPU."""
    gpus = any(gpus for _, gpus in machines)
    if settings.engine.device == "cuda" and not gpus:
        raise UserError("--device cuda: Ray finds no GPU; use --device cpu")
    return gpus and settings.engine.device in ("auto", "cuda") and settings.engine.engine in ("auto", "torch")


class ClusterReport(Report):
    """Console output: a progress bar, results on standard output, errors and a summary on standard error."""

    def __init__(self, folder: storage.Folder, total: int, quiet: bool) -> None:
        super().__init__(total, quiet, "the same command continues", named=MAX_NAMED)
        self.folder = folder

    def waiting(self) -> None:
        """Print that no result has arrived yet."""
        if not self.quiet:
            warn("nothing done in the first minute: workers are starting, or the cluster is busy with others")

    def engine(self, name: str, workers: int, threads: int) -> None:
        """Print the engine of the workers and their number."""
        if not self.quiet:
            print(f"engine: {name}; workers: {workers}, threads of each: {threads}", file=sys.stderr)

    def outcome(self, job: ManifestEntry, outcome: Outcome) -> None:
        """Report the outcome of one photo."""
        if outcome.reason:
            self.failure(job.photo.name, outcome.reason)
        else:
            self.result(self.name(job))

    def name(self, job: ManifestEntry) -> str:
        """The name of a result, as printed."""
        return f"{self.folder.name.rstrip('/')}/{job.result}"
