"""Trainings that a service carries out: one at a time, each a process of its own that may outlive the service.

All that is known of one lies in files (`texturenets.server.training_files`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from texturenets.errors import UserError
from texturenets.server.http_errors import HTTPProblem, away
from texturenets.server.settings import check_folder
from texturenets.server.training_files import NAME, TrainingFiles, TrainingJob
from texturenets.server.training_reports import TrainingReports
from texturenets.server.training_runner import TrainingRunner, tell


class Trainings:
    """The trainings in a folder of models, `photos` being the folder that styles learn on. From any thread."""

    def __init__(
        self, folder: Path, photos: Path | None, command: Sequence[str] | None = None, most: int = 32
    ) -> None:
        """`command`: what trains, in place of `texturenets train`. `most`: that are not over, at once.

        Raises UserError where a folder is none, or cannot be read, or written in the case of `folder`.
        """
        for flag, place in (("--models", folder), ("--photos", photos)):
            if place is not None:
                check_folder(flag, place)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(
                f"--models {folder}: trained models go there, and it cannot be written: choose another"
            )
        self.folder, self.photos, self.most = folder, photos, most
        self.files = TrainingFiles(folder)
        self.runner = TrainingRunner(self.files, photos, command)
        self.reports = TrainingReports(self.files, photos, self.runner.held_up)

    def jobs(self) -> list[TrainingJob]:
        """All of them, the oldest first."""
        return self.files.all()

    def check_folder(self) -> None:
        """Raises HTTPProblem where the folder of models is away."""
        if not self.folder.is_dir():
            raise away("models")

    def folders(self) -> list[str]:
        """The folders of photos to choose from: "" for all of them, and those in it."""
        if self.photos is None:
            return []
        try:
            inside = [one.name for one in self.photos.iterdir() if one.is_dir() and one.name[0] != "."]
        except OSError:  # it is away
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
        steps: int,
        photos: str = "",
        more: Sequence[str] = (),
    ) -> TrainingJob:
        """Put a training in the queue; `exemplar` is an image's file, `suffix` its kind, as ".png".

        `photos`: one of `folders`. `more`: further words for `texturenets train`. Raises HTTPProblem for a
        name that is taken or none, a folder that is not there, and where too many wait; UserError for a style without
        photos to learn on, and where nothing can be written.
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
                raise away("photos")
            inside = ", ".join(folders[1:])
            known = f"give one of {inside}, or leave out photos" if inside else "leave out photos"
            raise HTTPProblem(422, f"photos {photos[:64]!r} is no folder here: {known} to learn from all")
        job = TrainingJob(
            name=name,
            kind=kind,
            exemplar=f"exemplar{suffix}",
            photos=photos,
            options=("--preset", preset, "--steps", str(steps), *more),
            steps=steps,
            order=time.time(),
        )
        with self.files.lock:
            waiting = sum(one.state in ("queued", "running", "stopped") for one in self.jobs())
            if waiting >= self.most:
                raise HTTPProblem(
                    503,
                    f"{waiting} trainings wait, are at work or stopped, and no more are taken: try again later, or "
                    "remove a stopped one (DELETE /v1/trainings/NAME)",
                    {"Retry-After": "60"},
                )
            self.files.create(job, exemplar)
        return job

    def stop(self, name: str) -> TrainingJob:
        """Let a training save and end, or leave the queue; `resume` goes on with it.

        Raises HTTPProblem for one that is over.
        """
        with self.files.lock:
            job = self.files.find(name)
            if job.state in ("done", "failed"):
                over = "is done" if job.state == "done" else "has failed"
                raise HTTPProblem(409, f"{name} {over}: there is nothing to stop")
            if job.state in ("queued", "running"):
                # By its process: one was started while its state could not be written.
                running = job.state == "running" or self.files.alive(name)
                if running:  # first, as on a full disk nothing can be written
                    self.runner.stopping.add(name)
                    self.runner.end(job)
                job = self.files.write(replace(job, state="stopped"))
                self.runner.stopping.discard(name)
                tell(job, "stopping" if running else "stopped")
        return job

    def remove(self, name: str) -> None:
        """Remove a training with all its files but the model that it made.

        Raises HTTPProblem for one that is queued or at work, and UserError where its files cannot be removed.
        """
        with self.files.lock:
            job = self.files.find(name)
            if job.state in ("queued", "running") or self.files.alive(name):
                raise HTTPProblem(
                    409, f"{name} is queued or at work: stop it first (POST /v1/trainings/{name}/stop)"
                )
            self.files.remove(name)
            tell(job, "removed")

    def resume(self, name: str) -> TrainingJob:
        """Put one that was stopped or has failed in the queue again. Raises HTTPProblem for one that is done."""
        with self.files.lock:
            job = self.files.find(name)
            if job.state == "done":
                raise HTTPProblem(409, f"{name} is done: there is nothing to resume")
            if job.state in ("stopped", "failed"):
                self.runner.stopping.discard(name)
                job = self.files.write(replace(job, state="queued", order=time.time(), tries=0, reason=""))
                tell(job)
        return job
