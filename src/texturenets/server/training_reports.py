"""Reports of trainings: progress, losses, newest image."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from texturenets.server.http_errors import FOR_OPERATORS
from texturenets.server.training_files import TrainingFiles, TrainingJob
from texturenets.server.training_records import Records

SUM, VALIDATION = "sum", "sum, validation"
"""Names of the curves of the sum of the losses, in training and in validation."""

MAX_SKIPPED_PHOTOS = 5
"""Maximum number of skipped photos named in a report."""


class TrainingReports:
    """Reads the records and images that the trainings in `files` have written. Thread-safe."""

    def __init__(
        self, files: TrainingFiles, photos: Path | None, waits_because: Callable[[str], str]
    ) -> None:
        """`photos`: the folder of training photos. `waits_because`: as of `TrainingRunner`."""
        self.waits_because = waits_because
        self.files, self.photos, self.records = files, photos, Records()

    def of(self, job: TrainingJob) -> dict[str, Any]:
        """The report of a training: state, step, losses, estimated time left."""
        records = self._records(job.name)
        losses: dict[str, float] = next((r["losses"] for r in reversed(records) if "losses" in r), {})
        timed = [r for r in records if "seconds" in r]
        last = timed[-1] if timed else {"step": 0, "seconds": 0.0}
        alive = self.files.alive(job.name)
        waits = job.state in ("queued", "running")
        left = None
        if last["step"] and job.state in ("running", "stopped"):
            steps_left = (job.steps - last["step"]) * last["seconds"] / last["step"]
            left = round(60 * job.minutes - last["seconds"] if job.minutes else steps_left)
        return {
            "name": job.name,
            "kind": job.kind,
            "state": "stopping" if job.state == "stopped" and alive else job.state,
            "reason": job.reason or (self.waits_because(job.name) if waits else ""),
            "at_work": alive,
            "step": last["step"],
            "steps": job.steps,
            "minutes": job.minutes,
            "seconds": last["seconds"],
            "seconds_left": left,
            "losses": losses,
            "photos_skipped": self._skipped(records),
            "total": [[r["step"], sum(r["losses"].values())] for r in records if "losses" in r],
        }

    def picture(self, name: str) -> Path | None:
        """The newest example image of a training; None if there is none yet."""
        self.files.find(name)
        path = self.files.run_dir(name) / "pictures" / "latest.jpg"
        return path if path.is_file() else None

    def curves(self, name: str) -> list[tuple[int, str, float]]:
        """The points (step, curve, value) of a training: its losses, their sum, and the sum in validation."""
        self.files.find(name)
        points = []
        for record in self._records(name):
            if "losses" in record:
                points += [(record["step"], key, float(value)) for key, value in record["losses"].items()]
                points.append((record["step"], SUM, float(sum(record["losses"].values()))))
            if "validation" in record:
                points.append((record["step"], VALIDATION, float(sum(record["validation"].values()))))
        return points

    def _skipped(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """How many photos could not be read, and the first errors, without paths of this machine."""
        problems = dict.fromkeys(str(record["unreadable"]) for record in records if "unreadable" in record)
        inside = [
            one.replace(f"{self.photos}{os.sep}", "", 1)
            for one in itertools.islice(problems, MAX_SKIPPED_PHOTOS)
        ]
        return {
            "count": len(problems),
            "first": [one.partition(": ")[0] if FOR_OPERATORS.search(one) else one for one in inside],
        }

    def _records(self, name: str) -> list[dict[str, Any]]:
        return self.records.of(self.files.run_dir(name) / "records.jsonl")
