"""Trainings that a service carries out: one at a time, each a process of its own that may outlive the service.

All that is known of one lies in files beside its model, in the folder of models:

    NAME.job/     job.json, what was asked for and how far it is; the exemplar; what the process said; a lock
    NAME.run/     checkpoints, records, pictures: written by `texturenets train`
    NAME.safetensors, once it is done

The process holds the lock as long as it lives, so a service that was started anew knows of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from texturenets.errors import UserError
from texturenets.files import whole

State = Literal["queued", "running", "stopped", "done", "failed"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Names of trainings: those of files, and of nothing else."""

TRIES = 3
"""Times that a training is taken up again by itself after its process died, without a step saved in between."""

SUM, VALIDATION = "sum", "sum, validation"
"""Names of curves beside those of the losses."""

TICK = 1.0  # seconds between two looks at what goes on


@dataclass(frozen=True, kw_only=True)
class Job:
    """What was asked for, and how far it is.

    `photos`: a folder in that of the photos, "" for all of it. `order`: of the queue, seconds since 1970. `pid`: of
    its process.
    """

    name: str
    kind: Literal["style", "texture"]
    exemplar: str
    photos: str = ""
    options: tuple[str, ...] = ()
    steps: int = 0
    order: float = 0.0
    state: State = "queued"
    pid: int = 0
    tries: int = 0
    reached: int = 0
    reason: str = ""


class Trainings:
    """The trainings in a folder of models, `photos` being the folder that styles learn on. From any thread."""

    def __init__(self, folder: Path, photos: Path | None, command: Sequence[str] | None = None) -> None:
        """`command`: what trains, in place of `texturenets train`. Raises UserError where a folder is none."""
        for flag, place in (("--models", folder), ("--photos", photos)):
            if place is not None and not place.is_dir():
                raise UserError(f"{flag} {place} is no folder")
        self.folder, self.photos = folder, photos
        self.command = list(command or [sys.executable, "-m", "texturenets", "train"])
        self.lock = threading.RLock()
        self.over = threading.Event()
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.thread: threading.Thread | None = None

    # ---- What there is

    def jobs(self) -> list[Job]:
        """All of them, the oldest first."""
        found = [job for path in self.folder.glob("*.job") if (job := self._read(path))]
        return sorted(found, key=lambda job: job.order)

    def find(self, name: str) -> Job:
        """The training of that name. Raises UserError."""
        job = self._read(self._place(name)) if NAME.fullmatch(name) else None
        if job is None:
            raise UserError(f"no training is called {name[:64]!r}")
        return job

    def report(self, job: Job) -> dict[str, Any]:
        """A job with what its process wrote down: step, losses, time left."""
        records = self._records(job.name)
        losses: dict[str, float] = next((r["losses"] for r in reversed(records) if "losses" in r), {})
        timed = [r for r in records if "seconds" in r]
        last = timed[-1] if timed else {"step": 0, "seconds": 0.0}
        left = None
        if last["step"] and job.steps and job.state in ("running", "stopped"):
            left = round((job.steps - last["step"]) * last["seconds"] / last["step"])
        return {
            "name": job.name,
            "kind": job.kind,
            "state": job.state,
            "reason": job.reason,
            "at_work": self._alive(job.name),
            "step": last["step"],
            "steps": job.steps,
            "seconds": last["seconds"],
            "seconds_left": left,
            "losses": losses,
            "total": [[r["step"], sum(r["losses"].values())] for r in records if "losses" in r],
        }

    def picture(self, name: str) -> Path | None:
        """The newest picture that a training made."""
        self.find(name)
        path = self.folder / f"{name}.run" / "pictures" / "latest.jpg"
        return path if path.is_file() else None

    def curves(self, name: str) -> list[tuple[int, str, float]]:
        """(step, curve, value) of a training: its losses, their sum, and the sum in validation."""
        self.find(name)
        points = []
        for record in self._records(name):
            if "losses" in record:
                points += [(record["step"], key, float(value)) for key, value in record["losses"].items()]
                points.append((record["step"], SUM, float(sum(record["losses"].values()))))
            if "validation" in record:
                points.append((record["step"], VALIDATION, float(sum(record["validation"].values()))))
        return points

    def folders(self) -> list[str]:
        """The folders of photos to choose from: "" for all of them, and those in it."""
        if self.photos is None:
            return []
        inside = (one for one in self.photos.iterdir() if one.is_dir() and not one.name.startswith("."))
        return ["", *sorted(one.name for one in inside)]

    # ---- What can be asked for

    def add(
        self,
        name: str,
        kind: Literal["style", "texture"],
        exemplar: bytes,
        suffix: str,
        *,
        preset: str,
        steps: int,
        photos: str = "",
        more: Sequence[str] = (),
    ) -> Job:
        """Put a training in the queue; `exemplar` is a picture's file, `suffix` its kind, as ".png".

        `photos`: one of `folders`. `more`: further words for `texturenets train`. Raises UserError for a name that is
        taken or none, a folder that is not there, and a style without photos to learn on.
        """
        if not NAME.fullmatch(name):
            raise UserError(
                f"the name {name[:64]!r}: letters, digits, - and _, at most 64, a letter or digit first"
            )
        if kind == "style" and self.photos is None:
            raise UserError("a style learns on photos: start the service with --photos FOLDER")
        if kind == "style" and photos not in self.folders():
            raise UserError(f"photos {photos[:64]!r}: one of {', '.join(map(repr, self.folders()))}")
        with self.lock:
            taken = [self.folder / f"{name}{end}" for end in (".job", ".run", ".safetensors")]
            if any(path.exists() for path in taken):
                raise UserError(f"there is a {name} already: choose another name")
            place = self._place(name)
            place.mkdir()
            picture = place / f"exemplar{suffix}"
            with whole(picture) as part:
                part.write_bytes(exemplar)
            options = ("--preset", preset, "--steps", str(steps), *more)
            job = Job(
                name=name,
                kind=kind,
                exemplar=picture.name,
                photos=photos,
                options=options,
                steps=steps,
                order=time.time(),
            )
            self._write(job)
        return job

    def stop(self, name: str) -> Job:
        """Let a training save and end, or leave the queue; `resume` goes on with it. Raises UserError."""
        with self.lock:
            job = self.find(name)
            if job.state in ("queued", "running"):
                running = job.state == "running"
                job = self._write(replace(job, state="stopped"))
                if running and self._alive(name):
                    os.kill(job.pid, signal.SIGTERM)
        return job

    def resume(self, name: str) -> Job:
        """Put one that was stopped or has failed in the queue again. Raises UserError."""
        with self.lock:
            job = self.find(name)
            if job.state in ("stopped", "failed"):
                job = self._write(replace(job, state="queued", order=time.time(), tries=0, reason=""))
        return job

    # ---- What goes on

    def open(self) -> None:
        """Look after them in a thread, from now on."""
        self.over.clear()
        self.thread = threading.Thread(target=self._look, name="trainings", daemon=True)
        self.thread.start()

    def close(self, patience: float = 60.0) -> None:
        """The service ends: the training at work saves and ends too; the next service goes on with it."""
        self.over.set()
        if self.thread is not None:
            self.thread.join()
        ends = time.monotonic() + patience
        for job in self.jobs():
            if job.state == "running" and self._alive(job.name):
                os.kill(job.pid, signal.SIGTERM)
                while self._alive(job.name) and time.monotonic() < ends:
                    self._reap()
                    time.sleep(0.05)
        self._reap()

    def _look(self) -> None:
        while not self.over.wait(TICK):
            self.tick()

    def tick(self) -> None:
        """See what has ended, and start what is next."""
        with self.lock:
            self._reap()
            busy = False
            for job in self.jobs():
                if self._alive(job.name):
                    busy = True  # one that was told to stop is at work until it has saved
                elif job.state == "running":
                    busy = self._ended(job) or busy
            queued = [job for job in self.jobs() if job.state == "queued"]
            if queued and not busy:
                self._start(queued[0])

    def _ended(self, job: Job) -> bool:
        """Its process is gone: done, failed, or to be taken up again; whether it was."""
        if (self.folder / f"{job.name}.safetensors").is_file():
            self._write(replace(job, state="done", pid=0))
            return False
        step = self._saved(job.name)
        tries = 0 if step > job.reached else job.tries + 1
        status = self._status(job.name)
        if status == 2 or tries >= TRIES:  # the command line's own word for a mistake
            self._write(replace(job, state="failed", pid=0, reason=self._last_words(job.name)))
            return False
        self._start(replace(job, tries=tries, reached=step))
        return True

    def _start(self, job: Job) -> None:
        place = self._place(job.name)
        words = [*self.command, job.kind, str(place / job.exemplar)]
        if job.kind == "style":
            words += ["--content", str((self.photos or Path()) / job.photos)]
        words += ["-o", str(self.folder / f"{job.name}.safetensors"), *job.options, "--quiet"]
        if self._saved(job.name):
            words.append("--resume")
        # The process inherits the lock and holds it until it ends, however it ends. A session of its own: Ctrl-C at
        # the service's terminal is not meant for it.
        with (place / "lock").open("w") as lock, (place / "output.txt").open("ab") as output:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
            self.children[job.name] = child
            self._write(replace(job, state="running", pid=child.pid))

    def _alive(self, name: str) -> bool:
        """Whether the process of a training lives, whoever started it."""
        try:
            with (self._place(name) / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _reap(self) -> None:
        for child in self.children.values():
            child.poll()

    def _status(self, name: str) -> int | None:
        """The exit status of a process that this service started."""
        child = self.children.get(name)
        return child.poll() if child else None

    def _saved(self, name: str) -> int:
        """1 and the time of the last checkpoint in seconds; 0 for none. It grows with every save."""
        try:
            return 1 + int((self.folder / f"{name}.run" / "checkpoint.safetensors").stat().st_mtime)
        except FileNotFoundError:
            return 0

    def _records(self, name: str) -> list[dict[str, Any]]:
        try:
            lines = (self.folder / f"{name}.run" / "records.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        records = []
        for line in lines:
            try:
                records.append(json.loads(line))
            except ValueError:  # the one that is being written
                continue
        return records

    def _last_words(self, name: str) -> str:
        """The last line that the process wrote, which says what went wrong."""
        try:
            lines = (self._place(name) / "output.txt").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "")

    def _place(self, name: str) -> Path:
        return self.folder / f"{name}.job"

    def _read(self, place: Path) -> Job | None:
        try:
            data = json.loads((place / "job.json").read_text())
            return Job(**{**data, "options": tuple(data["options"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, job: Job) -> Job:
        with whole(self._place(job.name) / "job.json") as part:
            part.write_text(json.dumps(asdict(job)))
        return job
