"""The manifest of a cluster run: one line of JSON for each result; the next run reads from it which results are
missing."""

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
from texturenets.locks import lock

NAME: Final = "manifest"
"""In a folder, runs append to one `manifest.jsonl`. Object stores cannot append, so at a URL every run writes new
files, `manifest-TIME-NUMBER.jsonl`."""

UPLOAD_SECONDS: Final = 60.0
"""Seconds between two files of the manifest at a URL: the most work that a failing machine leaves unrecorded."""


@dataclass(frozen=True)
class ManifestEntry:
    """A photo and its result. `result`: path relative to the output folder; `seed`: seed of the noise."""

    photo: Photo
    result: str
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """The outcome for one photo. `bytes`: size of the result file. `reason`: error message, "" for success. `final`:
    the photo itself cannot be processed; the next run does not try it again."""

    bytes: int = 0
    reason: str = ""
    final: bool = False


@dataclass(frozen=True)
class EntriesByStatus:
    """Entries by status: to do; existing results; final failures of earlier runs (`Outcome.final`), with reason."""

    todo: list[ManifestEntry] = field(default_factory=list)
    existing: list[ManifestEntry] = field(default_factory=list)
    final: list[tuple[ManifestEntry, str]] = field(default_factory=list)


def fingerprint(model: str, options: Mapping[str, Any]) -> str:
    """16 hex digits that identify everything a result depends on except the photo: model hash and options."""
    text = json.dumps([model, dict(options)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def by_status(
    jobs: Sequence[ManifestEntry],
    known: Mapping[str, Mapping[str, Any]],
    sizes: Mapping[str, int],
    fingerprint: str,
    *,
    skip_existing: bool = False,
) -> EntriesByStatus:
    """Partition entries by status.

    `known`: the last manifest line of each result. `sizes`: bytes of the files in the output folder. A result counts
    as existing if the manifest has it with the same photo and `fingerprint`, and the file has the size noted there;
    with `skip_existing` any file of that name counts.

    Raises UserError with `skip_existing` if the manifest has another photo's result under that name: it must neither
    count as this photo's nor be replaced.
    """
    found = EntriesByStatus()
    for job in jobs:
        line = known.get(job.result, {})
        photo = (line.get("photo"), line.get("stamp"))
        # also a photo that was only moved or only changed
        same_photo = bool({*photo} & {job.photo.name, job.photo.stamp})
        same = line.get("fingerprint") == fingerprint and photo == (job.photo.name, job.photo.stamp)
        size = sizes.get(job.result)
        if skip_existing and size is not None and line and not same_photo:
            raise UserError(
                f"{job.result} exists and was made from {line.get('photo')}, not {job.photo.name}: give another "
                "--output, or drop --skip-existing to overwrite it"
            )
        if size is not None and (
            skip_existing or (same and line.get("status") == "done" and line.get("bytes") == size)
        ):
            found.existing.append(job)
        elif same and line.get("status") == "failed" and line.get("final"):
            found.final.append((job, str(line.get("reason"))))
        else:
            found.todo.append(job)
    return found


def lines(text: str) -> list[dict[str, Any]]:
    """The complete lines of a manifest; a killed run may have left an incomplete one."""
    records = []
    for line in text.split("\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            records.append(value)
    return records


def read(folder: Folder, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The last manifest line of each result, from the manifests among the files `names` of `folder`.

    Raises UserError if one cannot be read.
    """
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
    """Appends the lines of a run. Has to be closed. Locked: only one run at a time can write into a folder."""

    def __init__(self, folder: Folder) -> None:
        """Raises UserError if it cannot be written, or another run is writing it."""
        self.folder = folder
        self._file: IO[str] | None = None if folder.remote else _opened(folder.path / f"{NAME}.jsonl")
        self._waiting: list[str] = []
        self._began = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        self._number, self._last = 0, time.monotonic()

    def head(self, fingerprint: str, **fields: Any) -> None:
        """Add the first line of a run: its fingerprint and settings."""
        self._add({"run": _now(), "fingerprint": fingerprint, "version": __version__, **fields})

    def add(self, job: ManifestEntry, outcome: Outcome, fingerprint: str) -> None:
        """Add the outcome of one entry."""
        line: dict[str, Any] = {"result": job.result, "photo": job.photo.name}
        line |= {
            "status": "failed" if outcome.reason else "done",
            "stamp": job.photo.stamp,
            "fingerprint": fingerprint,
        }
        fields = asdict(outcome)
        self._add(
            line | {key: fields[key] for key in (("reason", "final") if outcome.reason else ("bytes",))}
        )

    def end(self, **fields: Any) -> None:
        """Add the last line of a run that was not interrupted."""
        self._add({"end": _now(), **fields})

    def _add(self, line: Mapping[str, Any]) -> None:
        self._waiting.append(json.dumps(line) + "\n")

    def flush(self, *, now: bool = False) -> None:
        """Write the added lines; at a URL only once a minute, or if `now`. Raises UserError if that fails."""
        if not self._waiting:
            return
        if self._file is not None:
            try:
                self._file.write("".join(self._waiting))
                self._file.flush()
            except OSError as error:
                raise UserError(f"cannot write {self._file.name}: {error.strerror}") from error
        elif now or time.monotonic() - self._last > UPLOAD_SECONDS:
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
        """Write the remaining lines and release the lock."""
        try:
            self.flush(now=True)
        finally:
            if self._file is not None:
                self._file.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _opened(path: Path) -> IO[str]:
    """Open the manifest at `path` for appending, and lock it until it is closed. Raises UserError if it cannot be
    written, and if another run has locked it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    if not _try_lock(file):
        file.close()
        raise UserError(
            f"another run is writing into {path.parent}: wait for its end, or give another --output"
        )
    file.seek(max(0, file.seek(0, 2) - 1))
    if file.read(1) not in ("", "\n"):  # a killed run has left an incomplete line
        file.write("\n")
    return file


def _try_lock(file: IO[str]) -> bool:
    """Lock the file; False if another process holds it. True if locks are not supported (some network drives)."""
    try:
        lock(file)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
