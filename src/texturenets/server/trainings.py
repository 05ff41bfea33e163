"""The trainings of a service: added to a queue, stopped, resumed, removed.

They run one at a time (`training_runner`); their state is in files (`training_files`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from texturenets.errors import UserError
from texturenets.server import painting_files
from texturenets.server.http_errors import HTTPProblem, folder_missing
from texturenets.server.settings import check_folder
from texturenets.server.training_files import NAME, State, TrainingFiles, TrainingJob
from texturenets.server.training_reports import TrainingReports
from texturenets.server.training_runner import TrainingRunner, log_state


class Trainings:
    """The trainings whose models go into `folder`; `photos`: the folder of training photos. Thread-safe."""

    def __init__(
        self, folder: Path, photos: Path | None, command: Sequence[str] | None = None, limit: int = 32
    ) -> None:
        """`command`: the training command, in place of `texturenets train`. `limit`: maximum number of unfinished
        trainings.

        Raises UserError for a folder that does not exist or cannot be read, or for `folder` cannot be written.
        """
        for flag, place in (("--models", folder), ("--photos", photos)):
            if place is not None:
                check_folder(flag, place)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(
                f"--models {folder}: trained models go there, and it cannot be written: choose another"
            )
        self.folder, self.photos, self.limit = folder, photos, limit
        self.files = TrainingFiles(folder)
        self.runner = TrainingRunner(self.files, photos, command)
        self.reports = TrainingReports(self.files, photos, self.runner.waits_because)

    def jobs(self) -> list[TrainingJob]:
        """All trainings, in the order of the queue."""
        return self.files.all()

    def counts(self) -> dict[str, int]:
        """The number of trainings in each state."""
        states = [job.state for job in self.jobs()]
        return {state: states.count(state) for state in get_args(State)}

    def check_folder(self) -> None:
        """Raises HTTPProblem if the folder of models is missing."""
        if not self.folder.is_dir():
            raise folder_missing("models")

    def folders(self) -> list[str]:
        """The folders of photos to choose from: "" for all photos, and the subfolders."""
        if self.photos is None:
            return []
        try:
            inside = [one.name for one in self.photos.iterdir() if one.is_dir() and one.name[0] != "."]
        except OSError:  # the folder is missing
            return []
        return ["", *sorted(inside)]

    def add(
        self,
        name: str,
        kind: Literal["style", "texture"],
        exemplar: bytes,
        suffix: str,
        *,
        preset: str,
        steps: int = 0,
        minutes: float = 0.0,
        photos: str = "",
        into: Path | None = None,
        more: Sequence[str] = (),
    ) -> TrainingJob:
        """Put a training in the queue; `exemplar` is an image's file, `suffix` its suffix, as ".png".

        `steps` or `minutes`: how long it is trained. `photos`: one of `folders`. `into`: the file of a model of
        several styles, into which a style is learned. `more`: further arguments for `texturenets train`. Raises
        HTTPProblem for a name that is taken or not valid, a folder that does not exist, and too many trainings;
        UserError for a style if the service has no photos, and if the files cannot be written.
        """
        photos = photos.rstrip("/") if photos.strip("/") else photos
        if not NAME.fullmatch(name):
            raise HTTPProblem(
                422, f"the name {name[:64]!r}: letters, digits, - and _, at most 64, a letter or digit first"
            )
        if kind == "style" and self.photos is None:
            raise UserError("a style learns on photos: start the service with --photos FOLDER")
        if kind == "texture" and photos:
            raise HTTPProblem(
                422, f"photos {photos[:64]!r}: a texture learns from its exemplar alone: leave out photos"
            )
        if kind == "style" and photos not in (folders := self.folders()):
            if not folders:
                raise folder_missing("photos")
            inside = ", ".join(folders[1:])
            known = f"give one of {inside}, or leave out photos" if inside else "leave out photos"
            raise HTTPProblem(422, f"photos {photos[:64]!r} is not a folder here: {known} to learn from all")
        length = ("--minutes", f"{minutes:g}") if minutes else ("--steps", str(steps))
        job = TrainingJob(
            name=name,
            kind=kind,
            # A style that is learned into a model of several is called as its image.
            exemplar=f"{painting_files.STYLE if into else 'exemplar'}{suffix}",
            photos=photos,
            options=("--preset", preset, *length, *((f"--into={into}",) if into else ()), *more),
            steps=steps,
            minutes=minutes,
            order=time.time(),
        )
        with self.files.lock:
            waiting = sum(one.state in ("queued", "running", "stopped") for one in self.jobs())
            if waiting >= self.limit:
                raise HTTPProblem(
                    503,
                    f"{waiting} trainings are queued, running or stopped, as many as this service allows: try again "
                    "later, or remove a stopped one (DELETE /v1/trainings/NAME)",
                    {"Retry-After": "60"},
                )
            self.files.create(job, exemplar)
        return job

    def stop(self, name: str) -> TrainingJob:
        """Stop a running training, which saves a checkpoint, or take a waiting one from the queue.

        Raises HTTPProblem for one that is done or has failed.
        """
        with self.files.lock:
            job = self.files.find(name)
            if job.state in ("done", "failed"):
                ended = "is done" if job.state == "done" else "has failed"
                raise HTTPProblem(409, f"{name} {ended}: there is nothing to stop")
            if job.state in ("queued", "running"):
                # "queued" with a process: it was started when its state could not be written.
                running = job.state == "running" or self.files.alive(name)
                # First: where the state cannot be written, as on a full disk, nothing happens.
                job = self.files.write(
                    replace(job, state="stopped", pid=self.runner.pid(job) if running else 0)
                )
                if running:
                    self.runner.terminate(job)
                log_state(job, "stopping" if running else "stopped")
        return job

    def remove(self, name: str) -> None:
        """Remove a training with all its files except its model.

        Raises HTTPProblem for one that is queued or running, and UserError if its files cannot be removed.
        """
        with self.files.lock:
            job = self.files.find(name)
            if job.state in ("queued", "running") or self.files.alive(name):
                raise HTTPProblem(
                    409, f"{name} is queued or running: stop it first (POST /v1/trainings/{name}/stop)"
                )
            self.files.remove(name)
            log_state(job, "removed")

    def resume(self, name: str) -> TrainingJob:
        """Queue a stopped or failed training again. Raises HTTPProblem for one that is done."""
        with self.files.lock:
            job = self.runner.record_stop(self.files.find(name))  # a client may be ahead of the runner's poll
            if job.state == "done":
                raise HTTPProblem(409, f"{name} is done: there is nothing to resume")
            if job.state in ("stopped", "failed"):
                job = self.files.write(replace(job, state="queued", order=time.time(), tries=0, reason=""))
                log_state(job)
        return job
