"""One worker: an engine, built once, and batches of photos that go through it. No Ray."""

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
from texturenets.overlap import overlapped
from texturenets.stylize.options import StylizeOptions
from texturenets.stylize.pipeline import Pipeline

DEATHS: Final = 3
"""Workers that one photo may cost: a decoder that crashes does so again, a machine that was taken away does not."""


@dataclass(frozen=True)
class WorkerTask:
    """All that a worker has to know. `model`: the file's bytes, for machines that lack it. `share`: the part of its
    machine that is this worker's. `run`: the run's own name."""

    name: str
    path: str
    model: bytes
    options: StylizeOptions
    run: str
    engine: EngineOptions = EngineOptions()
    share: float = 1.0
    version: str = __version__


@dataclass(frozen=True)
class Ask:
    """A photo of a batch: its number in the run, its name, its result's, and the seed."""

    number: int
    photo: str
    result: str
    seed: int


class Worker:
    """Builds the engine of `task` when it is made, or keeps in `problem` what is in the way of that."""

    def __init__(self, task: WorkerTask) -> None:
        self.task, self.problem, self.engine = task, "", ""
        try:
            if task.version != __version__:
                raise UserError(
                    f"texturenets is {__version__} there and {task.version} here: install one of them"
                )
            memory = task.engine.memory or budget.resident() + int(budget.SHARE * budget.free() * task.share)
            self.style = loading.load_style(_model_file(task), replace(task.engine, memory=memory))
            self.engine = f"{self.style.engine.name}, {self.style.engine.precision}"
        except UserError as error:
            self.problem = f"worker on {socket.gethostname()}: {error}"

    def paint(self, batch: Sequence[Ask]) -> dict[int, Outcome]:
        """Stylize the photos of a batch; what became of each, by its number."""
        journal = Journal(self.task.run, batch)
        left = journal.left()
        with tempfile.TemporaryDirectory(dir=journal.path.parent) as here:
            for one, outcome in self._outcomes(left, Path(here), journal):
                journal.done(one.number, outcome)
        return journal.close()

    def _outcomes(self, batch: Sequence[Ask], here: Path, journal: Journal) -> Iterator[tuple[Ask, Outcome]]:
        local = {one.number: _local(one, here) for one in batch}
        asked = {local[one.number][1]: replace(self.task.options, seed=one.seed) for one in batch}
        pipeline = Pipeline(self.style, asked)
        in_photo: set[int] = set()  # whose mistake lies in the photo
        sizes: dict[int, int] = {}

        def read(one: Ask) -> Any:
            photo = local[one.number][0]
            journal.begin(one.number)
            with _named(one.photo, photo):
                try:
                    if photo.suffix.lower() not in video.READ and storage.is_url(one.photo):
                        storage.fetch(one.photo, photo)
                    if video.is_film(photo):
                        in_photo.add(one.number)
                        raise UserError(f"{photo} is a film: --cluster stylizes photos; do it without")
                    return pipeline.read(local[one.number])
                except UserError as error:
                    lacking = isinstance(error, MissingError) or isinstance(error.__context__, MemoryError)
                    if not lacking and _readable(photo):
                        in_photo.add(one.number)
                    raise

        def repaint(one: Ask, picture: Any) -> Any:
            with _named(one.photo, local[one.number][0]):
                return pipeline.paint(local[one.number], picture)

        def write(one: Ask, picture: Any) -> None:
            photo, result = local[one.number]
            with _named(one.result, result):
                pipeline.write((photo, result), picture)
                sizes[one.number] = result.stat().st_size
                if storage.is_url(one.result):
                    storage.put(result, one.result)
            for path, name in ((photo, one.photo), (result, one.result)):
                if storage.is_url(name):
                    path.unlink(missing_ok=True)

        def taken(jobs: Sequence[Ask]) -> Iterator[tuple[Ask, UserError | None]]:
            return overlapped(jobs, read, repaint, write)

        one_by_one = (outcome for one in batch for outcome in taken([one]))
        for one, error in one_by_one if journal.careful else taken(batch):
            if error is None:
                yield one, Outcome(sizes[one.number])
            else:
                yield one, Outcome(0, str(error), one.number in in_photo)


class Journal:
    """What has become of a batch so far, in a file on the worker's machine.

    A worker that is killed is started again and given its batch again. It finds there what has been done, and goes on
    one by one, so that a photo that kills workers is known after `DEATHS` of them.
    """

    def __init__(self, run: str, batch: Sequence[Ask]) -> None:
        self.batch = batch
        folder = Path(tempfile.gettempdir(), f"texturenets-{run}")
        folder.mkdir(exist_ok=True, mode=0o700)
        self.path = folder / f"{batch[0].number}.txt"
        self.outcomes: dict[int, Outcome] = {}
        self.careful = self.path.exists()
        self._begun: dict[int, int] = {}
        for words in map(str.split, self.path.read_text().splitlines() if self.careful else ()):
            if len(words) == 2 and words[0] == "begin":
                self._begun[int(words[1])] = self._begun.get(int(words[1]), 0) + 1
            elif len(words) == 3 and words[0] == "done":
                self.outcomes[int(words[1])] = Outcome(int(words[2]))
        self._file = self.path.open("a")

    def left(self) -> list[Ask]:
        """What is still to be done."""
        found = []
        for one in self.batch:
            if self._begun.get(one.number, 0) >= DEATHS and one.number not in self.outcomes:
                self.outcomes[one.number] = Outcome(
                    0, f"{one.photo}: {DEATHS} workers died over it, of too little memory or of a crash"
                )
            if one.number not in self.outcomes:
                found.append(one)
        return found

    def begin(self, number: int) -> None:
        """A photo is begun."""
        self._write(f"begin {number}")

    def done(self, number: int, outcome: Outcome) -> None:
        """A photo is done; one that failed is tried again if the batch is."""
        self.outcomes[number] = outcome
        if not outcome.reason:
            self._write(f"done {number} {outcome.bytes}")

    def _write(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> dict[int, Outcome]:
        """The batch is done: what became of it."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        return self.outcomes


def _local(one: Ask, here: Path) -> tuple[Path, Path]:
    """Where photo and result lie on this machine, those of URLs in the folder `here`."""
    photo, result = (
        here / f"{one.number}{kind}{Path(name).suffix}" if storage.is_url(name) else Path(name)
        for kind, name in (("", one.photo), ("-result", one.result))
    )
    return photo, result


def _readable(path: Path) -> bool:
    try:
        with opened(path) as file:
            file.read()
    except OSError:
        return False
    except UserError:  # no file at all, and so it will be the next time
        return True
    return True


@contextmanager
def _named(name: str, path: Path) -> Iterator[None]:
    """Mistakes in the block are told of `name` and not of the copy at `path`; what nobody foresaw becomes one."""
    try:
        yield
    except UserError as error:
        told = UserError(str(error).replace(str(path), name))
        told.__context__ = error.__context__
        raise told from error.__cause__
    except Exception as error:  # one photo must not end the run of a million
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: unexpected {type(error).__name__}: {reason}") from error


def _model_file(task: WorkerTask) -> Path:
    """The model on this machine: where it is on the user's, if it is the same there, else in the cache."""
    path = Path(task.path)
    if path.is_file() and path.read_bytes() == task.model:
        return path
    kept = cache_folder() / "cluster" / hashlib.sha256(task.model).hexdigest()[:32] / path.name
    if not kept.is_file():
        with atomic_write(kept) as part:
            part.write_bytes(task.model)
    return kept
