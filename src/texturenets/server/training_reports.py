"""What is told of trainings: how far each is, its losses, its newest image."""

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
"""Names of curves beside those of the losses."""

HELD_UP = "it is held up, as the service's log says, and goes on by itself"

NAMED = 5
"""Most skipped photos that a report names."""


class TrainingReports:
    """Reads what the processes of the trainings in `files` wrote down. From any thread."""

    def __init__(self, files: TrainingFiles, photos: Path | None, held_up: Callable[[str], bool]) -> None:
        """`photos`: the folder that styles learn on. `held_up`: whether a training cannot go on now, by its name."""
        self.held_up = held_up
        self.files, self.folder, self.photos, self.records = files, files.folder, photos, Records()

    def of(self, job: TrainingJob) -> dict[str, Any]:
        """A job with what its process wrote down: step, losses, time left."""
        records = self._records(job.name)
        losses: dict[str, float] = next((r["losses"] for r in reversed(records) if "losses" in r), {})
        timed = [r for r in records if "seconds" in r]
        last = timed[-1] if timed else {"step": 0, "seconds": 0.0}
        at_work = self.files.alive(job.name)
        waits = job.state in ("queued", "running")
        left = None
        if last["step"] and job.steps and job.state in ("running", "stopped"):
            left = round((job.steps - last["step"]) * last["seconds"] / last["step"])
        return {
            "name": job.name,
            "kind": job.kind,
            "state": "stopping" if job.state == "stopped" and at_work else job.state,
            "reason": job.reason or (HELD_UP if waits and self.held_up(job.name) else ""),
            "at_work": at_work,
            "step": last["step"],
            "steps": job.steps,
            "seconds": last["seconds"],
            "seconds_left": left,
            "losses": losses,
            "photos_skipped": self._skipped(records),
            "total": [[r["step"], sum(r["losses"].values())] for r in records if "losses" in r],
        }

    def picture(self, name: str) -> Path | None:
        """The newest image that a training made."""
        self.files.find(name)
        path = self.folder / f"{name}.run" / "pictures" / "latest.jpg"
        return path if path.is_file() else None

    def curves(self, name: str) -> list[tuple[int, str, float]]:
        """(step, curve, value) of a training: its losses, their sum, and the sum in validation."""
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
        """How many photos could not be read, and what is wrong with the first: without paths of the machine."""
        problems = dict.fromkeys(str(record["unreadable"]) for record in records if "unreadable" in record)
        inside = [one.replace(f"{self.photos}{os.sep}", "", 1) for one in itertools.islice(problems, NAMED)]
        return {
            "count": len(problems),
            "first": [one.partition(": ")[0] if FOR_OPERATORS.search(one) else one for one in inside],
        }

    def _records(self, name: str) -> list[dict[str, Any]]:
        return self.records.of(self.folder / f"{name}.run" / "records.jsonl")
