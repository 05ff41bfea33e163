"""A worker process: builds an engine once and stylizes batches of photos. Independent of Ray."""

from __future__ import annotations

import hashlib
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from texturenets import loading, video
from texturenets._version import __version__
from texturenets.cluster import storage
from texturenets.cluster.manifest import Outcome
from texturenets.engines.options import EngineOptions
from texturenets.errors import MissingError, UserError
from texturenets.files import atomic_write, cache_folder, opened
from texturenets.memory import budget
from texturenets.modelfiles import modelfile
from texturenets.overlap import overlapped
from texturenets.stylize.options import StylizeOptions
from texturenets.stylize.pipeline import Pipeline

MAX_DEATHS: Final = 3
"""Worker deaths after which a photo is given up. A single death may have other reasons, such as a removed machine."""


@dataclass(frozen=True)
class WorkerTask:
    """The settings of a worker. `name`, `path`, `model`: the model's name, its path on the submitting machine and its
    bytes, for machines without that file; `base`: the same for the base model of a style added with `--into`.
    `share`: fraction of the machine's memory for this worker. `run`: a unique name of the run."""

    name: str
    path: str
    model: bytes
    options: StylizeOptions
    run: str
    engine: EngineOptions = EngineOptions()
    share: float = 1.0
    base: tuple[str, bytes] | None = None
    version: str = __version__


@dataclass(frozen=True)
class PhotoRequest:
    """One photo to stylize: its number in the run, the paths or URLs of photo and result, and the noise seed."""

    number: int
    photo: str
    result: str
    seed: int


class Worker:
    """Loads the model of `task` once. If that fails, `problem` holds the error message, else it is ""."""

    def __init__(self, task: WorkerTask) -> None:
        self.task, self.problem, self.engine = task, "", ""
        try:
            if task.version != __version__:
                raise UserError(
                    f"texturenets is {__version__} there and {task.version} here: install one of them"
                )
            memory = task.engine.memory or budget.resident() + int(budget.SHARE * budget.free() * task.share)
            self.style = loading.load_style(model_file(task), replace(task.engine, memory=memory))
            self.engine = f"{self.style.engine.name}, {self.style.engine.precision}"
        except UserError as error:
            self.problem = f"worker on {socket.gethostname()}: {error}"

    def stylize(self, batch: Sequence[PhotoRequest]) -> dict[int, Outcome]:
        """Stylize a batch of photos; returns the outcomes by number."""
        journal = Journal(self.task.run, batch)
        left = journal.left()
        with tempfile.TemporaryDirectory(dir=journal.path.parent) as here:
            for request, outcome in self._outcomes(left, Path(here), journal):
                journal.done(request.number, outcome)
        return journal.close()

    def _outcomes(
        self, batch: Sequence[PhotoRequest], here: Path, journal: Journal
    ) -> Iterator[tuple[PhotoRequest, Outcome]]:
        local = {request.number: _local(request, here) for request in batch}
        options = {
            local[request.number][1]: replace(self.task.options, seed=request.seed) for request in batch
        }
        pipeline = Pipeline(self.style, options)
        in_photo: set[int] = set()  # numbers of the requests whose photo is at fault
        sizes: dict[int, int] = {}

        def read(request: PhotoRequest) -> Any:
            photo = local[request.number][0]
            journal.begin(request.number)
            with _named(request.photo, photo):
                try:
                    if photo.suffix.lower() not in video.READ and storage.is_url(request.photo):
                        storage.fetch(request.photo, photo)
                    if video.is_video(photo):
                        in_photo.add(request.number)
                        raise UserError(f"{photo} is a video: --cluster stylizes photos; do it without")
                    return pipeline.read(local[request.number])
                except UserError as error:
                    lacking = isinstance(error, MissingError) or isinstance(error.__context__, MemoryError)
                    if not lacking and _readable(photo):
                        in_photo.add(request.number)
                    raise

        def stylize(request: PhotoRequest, picture: Any) -> Any:
            with _named(request.photo, local[request.number][0]):
                return pipeline.stylize(local[request.number], picture)

        def write(request: PhotoRequest, picture: Any) -> None:
            photo, result = local[request.number]
            with _named(request.result, result):
                pipeline.write((photo, result), picture)
                sizes[request.number] = result.stat().st_size
                if storage.is_url(request.result):
                    storage.put(result, request.result)
            for path, name in ((photo, request.photo), (result, request.result)):
                if storage.is_url(name):
                    path.unlink(missing_ok=True)

        def process(jobs: Sequence[PhotoRequest]) -> Iterator[tuple[PhotoRequest, UserError | None]]:
            return overlapped(jobs, read, stylize, write)

        one_by_one = (outcome for request in batch for outcome in process([request]))
        for request, error in one_by_one if journal.careful else process(batch):
            if error is None:
                yield request, Outcome(sizes[request.number])
            else:
                yield request, Outcome(0, str(error), request.number in in_photo)


class Journal:
    """The progress of a batch, kept in a file on the worker's machine, so that it survives the worker.

    Ray restarts a killed worker with the same batch. The new worker skips what the journal lists as done, and takes
    the remaining photos one by one, so that a photo that kills workers is identified after `MAX_DEATHS` of them.
    """

    def __init__(self, run: str, batch: Sequence[PhotoRequest]) -> None:
        self.batch = batch
        folder = Path(tempfile.gettempdir(), f"texturenets-{run}")
        folder.mkdir(exist_ok=True, mode=0o700)
        self.path = folder / f"{batch[0].number}.txt"
        self.outcomes: dict[int, Outcome] = {}
        self.careful = self.path.exists()
        self._begun: dict[int, int] = {}
        for words in map(str.split, self.path.read_text("utf-8").splitlines() if self.careful else ()):
            if len(words) == 2 and words[0] == "begin":
                self._begun[int(words[1])] = self._begun.get(int(words[1]), 0) + 1
            elif len(words) == 3 and words[0] == "done":
                self.outcomes[int(words[1])] = Outcome(int(words[2]))
        self._file = self.path.open("a", encoding="utf-8")

    def left(self) -> list[PhotoRequest]:
        """The requests that remain. Gives up photos over which `MAX_DEATHS` workers died."""
        remaining = []
        for request in self.batch:
            if self._begun.get(request.number, 0) >= MAX_DEATHS and request.number not in self.outcomes:
                self.outcomes[request.number] = Outcome(
                    0,
                    f"{request.photo}: {MAX_DEATHS} workers died over it, of too little memory or of a crash",
                )
            if request.number not in self.outcomes:
                remaining.append(request)
        return remaining

    def begin(self, number: int) -> None:
        """Record that a photo was started."""
        self._write(f"begin {number}")

    def done(self, number: int, outcome: Outcome) -> None:
        """Record an outcome. Failures are not written to the file: they are tried again if the batch is."""
        self.outcomes[number] = outcome
        if not outcome.reason:
            self._write(f"done {number} {outcome.bytes}")

    def _write(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> dict[int, Outcome]:
        """Delete the file; returns the outcomes of the batch by number."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        return self.outcomes


def _local(request: PhotoRequest, here: Path) -> tuple[Path, Path]:
    """Local paths of photo and result; URLs get files in the folder `here`."""
    photo, result = (
        here / f"{request.number}{kind}{Path(name).suffix}" if storage.is_url(name) else Path(name)
        for kind, name in (("", request.photo), ("-result", request.result))
    )
    return photo, result


def _readable(path: Path) -> bool:
    try:
        with opened(path) as file:
            file.read()
    except OSError:
        return False
    except UserError:  # not a file; it will not be one the next time either
        return True
    return True


@contextmanager
def _named(name: str, path: Path) -> Iterator[None]:
    """Errors raised in the block name `name` instead of its local copy `path`; unexpected errors become UserError."""
    try:
        yield
    except UserError as error:
        renamed = UserError(str(error).replace(str(path), name))
        renamed.__context__ = error.__context__
        raise renamed from error.__cause__
    except Exception as error:  # one photo must not end the run of a million
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: unexpected {type(error).__name__}: {reason}") from error


def base_file(model: Path) -> tuple[str, bytes] | None:
    """Name and bytes of the base model of the style at `model`; None for a complete model."""
    base = modelfile.base_of(model)
    return None if base is None else (base.name, base.read_bytes())


def model_file(task: WorkerTask) -> Path:
    """The model file on this machine: at the submitting machine's path if it is the same file, else in the cache."""
    path = Path(task.path)
    if path.is_file() and path.read_bytes() == task.model:
        return path
    folder = cache_folder() / "cluster" / hashlib.sha256(task.model).hexdigest()[:32]
    for name, data in [(path.name, task.model), *([task.base] if task.base else [])]:
        cached = folder / name
        if not cached.is_file() or cached.read_bytes() != data:  # damaged
            with atomic_write(cached) as part:
                part.write_bytes(data)
    return folder / path.name
