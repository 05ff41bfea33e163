"""What was done, a line of JSON each: for people to read, and for the next run to know what is missing."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from texturenets._version import __version__
from texturenets.cluster import storage
from texturenets.cluster.storage import Folder, Photo
from texturenets.errors import UserError

NAME: Final = "manifest"
"""`manifest.jsonl` in a folder, lines added at its end. Object stores add nothing to what is there: at a URL every
run has files of its own, `manifest-TIME-NUMBER.jsonl`."""

EVERY: Final = 60.0
"""Seconds of work, at most, that a machine that fails takes from the manifest at a URL."""


@dataclass(frozen=True)
class ManifestEntry:
    """A photo and what it becomes: `result` is seen from the output folder; `seed` that of the noise."""

    photo: Photo
    result: str
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `bytes` of the result, or the `reason` why there is none; `final` where that lies in the
    photo, so that the next run would fare no better."""

    bytes: int = 0
    reason: str = ""
    final: bool = False


@dataclass(frozen=True)
class Sorted:
    """Jobs by what is to be done: to do; there already; known to fail, with the reason."""

    todo: list[ManifestEntry] = field(default_factory=list)
    there: list[ManifestEntry] = field(default_factory=list)
    hopeless: list[tuple[ManifestEntry, str]] = field(default_factory=list)


def fingerprint(model: str, options: Mapping[str, Any]) -> str:
    """16 hex digits of all that a result depends on beside the photo: `model`, its hash, and the options."""
    text = json.dumps([model, dict(options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sort(
    jobs: Sequence[ManifestEntry],
    known: Mapping[str, Mapping[str, Any]],
    sizes: Mapping[str, int],
    made: str,
    *,
    skip_existing: bool = False,
) -> Sorted:
    """What is missing, by what the manifest says (`known`: result to its last line) and what lies there (`sizes`).

    A result is there if it was made of this very photo in this very way (`made`) and has the size that it had then.
    `skip_existing`: whatever lies there will do.
    """
    found = Sorted()
    for job in jobs:
        line = known.get(job.result, {})
        same = line.get("made") == made and line.get("stamp") == job.photo.stamp
        size = sizes.get(job.result)
        if size is not None and (
            skip_existing or (same and line.get("status") == "done" and line.get("bytes") == size)
        ):
            found.there.append(job)
        elif same and line.get("status") == "failed" and line.get("final"):
            found.hopeless.append((job, str(line.get("reason"))))
        else:
            found.todo.append(job)
    return found


def lines(text: str) -> list[dict[str, Any]]:
    """The lines of a manifest that are whole; a run that was killed may have left half of one."""
    found = []
    for line in text.split("\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def read(folder: Folder, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The last line of each result, of the manifests among the files `names` of `folder`. Raises UserError."""
    known: dict[str, dict[str, Any]] = {}
    for name in sorted(n for n in names if n.startswith(NAME) and n.endswith(".jsonl") and "/" not in n):
        for line in lines(_text(folder, name)):
            if isinstance(line.get("result"), str):
                known[line["result"]] = line
    return known


def _text(folder: Folder, name: str) -> str:
    where = folder.at(name)
    try:
        if not folder.remote:
            return Path(where).read_text("utf-8", "replace")
        with tempfile.TemporaryDirectory() as here:
            copy = Path(here, name)
            storage.fetch(where, copy)
            return copy.read_text("utf-8", "replace")
    except OSError as error:
        raise UserError(f"cannot read {where}: {error.strerror}") from error


class Manifest:
    """The lines that a run adds. To be closed; two runs cannot have that of one folder at once."""

    def __init__(self, folder: Folder) -> None:
        """Raises UserError where it cannot be written or another run writes it."""
        self.folder = folder
        self._file: IO[str] | None = None if folder.remote else _opened(folder.path / f"{NAME}.jsonl")
        self._waiting: list[str] = []
        self._began = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        self._number, self._last = 0, time.monotonic()

    def head(self, made: str, **facts: Any) -> None:
        """The first line of a run: how `made` is made."""
        self._add({"run": _now(), "made": made, "version": __version__, **facts})

    def add(self, job: ManifestEntry, outcome: Outcome, made: str) -> None:
        """What became of a job."""
        line: dict[str, Any] = {"result": job.result, "photo": job.photo.name}
        line |= {"status": "failed" if outcome.reason else "done", "stamp": job.photo.stamp, "made": made}
        facts = asdict(outcome)
        self._add(line | {key: facts[key] for key in (("reason", "final") if outcome.reason else ("bytes",))})

    def end(self, **facts: Any) -> None:
        """The last line of a run that came to its end."""
        self._add({"end": _now(), **facts})

    def _add(self, line: Mapping[str, Any]) -> None:
        self._waiting.append(json.dumps(line) + "\n")

    def flush(self, *, now: bool = False) -> None:
        """Write what was added; at a URL once a minute, or `now`. Raises UserError."""
        if not self._waiting:
            return
        if self._file is not None:
            try:
                self._file.write("".join(self._waiting))
                self._file.flush()
            except OSError as error:
                raise UserError(f"cannot write {self._file.name}: {error.strerror}") from error
        elif now or time.monotonic() - self._last > EVERY:
            with tempfile.TemporaryDirectory() as here:
                name = f"{NAME}-{self._began}-{self._number:05d}.jsonl"
                part = Path(here, name)
                part.write_text("".join(self._waiting), "utf-8")
                storage.put(part, self.folder.at(name))
            self._number, self._last = self._number + 1, time.monotonic()
        else:
            return
        self._waiting.clear()

    def close(self) -> None:
        """Write what is left."""
        try:
            self.flush(now=True)
        finally:
            if self._file is not None:
                self._file.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _opened(path: Path) -> IO[str]:
    """The manifest at `path`, to add lines to, and locked until it is closed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    if not _locked(file):
        file.close()
        raise UserError(
            f"another run is writing into {path.parent}: wait for its end, or give another --output"
        )
    file.seek(max(0, file.seek(0, 2) - 1))
    if file.read(1) not in ("", "\n"):  # a run that was killed has left half a line
        file.write("\n")
    return file


def _locked(file: IO[str]) -> bool:
    """Whether nobody else holds the file; where that cannot be told, as on some network drives, nobody does."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
