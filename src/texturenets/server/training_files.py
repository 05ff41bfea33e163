"""The files of trainings that a service carries out, beside their models, in the folder of models:

    NAME.job/     job.json, what was asked for and how far it is; the exemplar; what the process said; a lock
    NAME.run/     checkpoints, records, images: written by `texturenets train`
    NAME.safetensors, once it is done

The process of a training holds its lock as long as it lives, so that a service that was started anew knows of it.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

from texturenets import locks
from texturenets.errors import UserError, cannot_write, reason, shortened
from texturenets.files import atomic_write
from texturenets.server.http_errors import HTTPProblem

State = Literal["queued", "running", "stopped", "done", "failed"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Names of trainings: those of files, and of nothing else."""

LOCK_WAIT_SECONDS = 1.0
"""How long a start waits for services that only look whether a training runs."""

HOUR = 3600.0  # seconds, after which temporary folders of a killed service are removed


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """What was asked for, and how far it is.

    `exemplar`: its file's name in the job's folder. `photos`: a folder in that of the photos, "" for all of it.
    `options`: words for `texturenets train`. `order`: of the queue, seconds since 1970. `pid`: of its process.
    `began`: when its process was started last, seconds since 1970. `tries`: starts since something was saved last.
    `reached`: what `TrainingFiles.last_checkpoint_stamp` gave at the last start. `reason`: why it failed.
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
    began: float = 0.0
    tries: int = 0
    reached: int = 0
    reason: str = ""


class TrainingFiles:
    """The trainings in a folder of models, read from their files NAME.job/job.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()  # for who changes a training by what was read of it

    def all(self) -> list[TrainingJob]:
        """All of them, the oldest first; none while the folder is away."""
        try:
            found = [job for path in self.folder.glob("*.job") if (job := self.read(path.stem))]
        except OSError:  # the folder is away
            return []
        return sorted(found, key=lambda job: job.order)

    def damaged(self) -> list[str]:
        """Names of the trainings whose job.json is damaged or missing."""
        try:
            return sorted(path.stem for path in self.folder.glob("*.job") if self.read(path.stem) is None)
        except OSError:  # the folder is away
            return []

    def read(self, name: str) -> TrainingJob | None:
        """The training called `name`; None if there is none."""
        try:
            data = json.loads((self.job_dir(name) / "job.json").read_text("utf-8"))
            return TrainingJob(**{**data, "options": tuple(data["options"])})
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def find(self, name: str) -> TrainingJob:
        """The training of that name. Raises HTTPProblem (404)."""
        job = self.read(name) if NAME.fullmatch(name) else None
        if job is None:
            raise HTTPProblem(404, f"no training is called {name[:64]!r}; GET /v1/trainings lists them")
        return job

    def write(self, job: TrainingJob) -> TrainingJob:
        """Save the state of a training. Raises UserError where it cannot be written."""
        with atomic_write(self.job_dir(job.name) / "job.json") as part:
            part.write_text(json.dumps(asdict(job)), "utf-8")
        return job

    def create(self, job: TrainingJob, exemplar: bytes) -> None:
        """Create the files of a new training, all or none; those of one that failed before it saved anything go.

        Raises HTTPProblem if its name is taken, and UserError if writing fails.
        """
        job_dir, run = self.job_dir(job.name), self.folder / f"{job.name}.run"
        before = self.read(job.name)
        model = (self.folder / f"{job.name}.safetensors").exists()
        replaced = (
            before is not None
            and before.state == "failed"
            and not self.last_checkpoint_stamp(job.name)
            and not model
        )
        if not replaced and (model or run.exists() or (job_dir / "job.json").exists()):
            raise self._taken(job.name)
        try:
            temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".job.part", dir=self.folder))
        except OSError as error:
            raise cannot_write(self.folder, error) from None
        try:
            temporary.chmod(0o755)
            for name, data in (
                (job.exemplar, exemplar),
                ("job.json", json.dumps(asdict(job)).encode()),
            ):
                with atomic_write(temporary / name) as part:
                    part.write_bytes(data)
            if replaced:
                shutil.rmtree(run, ignore_errors=True)
            # Without a job.json it was left by a creation that failed on a full disk.
            if replaced or (job_dir.is_dir() and not (job_dir / "job.json").exists()):
                shutil.rmtree(job_dir, ignore_errors=True)
            temporary.rename(job_dir)
        except OSError as error:
            lost_race = job_dir.exists()  # another service created it meanwhile
            raise (self._taken(job.name) if lost_race else cannot_write(job_dir, error)) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Remove the files of a training; its model stays. Raises UserError for what cannot be removed."""
        # The job last: until then the training is there.
        for folder in (self.folder / f"{name}.run", self.job_dir(name)):
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UserError(f"cannot remove {folder}: {reason(error)}") from None

    def _taken(self, name: str) -> HTTPProblem:
        there = self.read(name)
        if there is not None and there.state in ("failed", "stopped"):
            how = "which has failed" if there.state == "failed" else "which is stopped"
            way = f"resume it (POST /v1/trainings/{name}/resume), or choose another name"
            return HTTPProblem(409, f"there is a training {name} already, {how}: {way}")
        return HTTPProblem(409, f"there is a model or training called {name} already: choose another name")

    def remove_stale(self) -> None:
        """Remove temporary folders that killed services have left."""
        for left in self.folder.glob(".*.job.part"):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > HOUR:
                    shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[IO[str] | None]:
        """The lock file of a training, locked, to be inherited by its process; None if another process holds it."""
        with (self.job_dir(name) / "lock").open("a", encoding="utf-8") as lock:
            ends = time.monotonic() + LOCK_WAIT_SECONDS
            while True:
                try:
                    locks.lock(lock)
                except BlockingIOError:  # another service is in `alive` for a moment, or the process runs
                    if time.monotonic() > ends:
                        yield None
                        return
                    time.sleep(0.01)
                else:
                    break
            yield lock

    def alive(self, name: str) -> bool:
        """Whether the process of a training runs, whichever service started it."""
        try:
            with (self.job_dir(name) / "lock").open("r", encoding="utf-8") as lock:
                # A shared lock, so that two services that check at once do not take each other for the training.
                locks.lock(lock, shared=True)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def last_checkpoint_stamp(self, name: str) -> int:
        """1 and the time of the last checkpoint in seconds; 0 for none. It grows with every save."""
        try:
            return 1 + int((self.folder / f"{name}.run" / "checkpoint.safetensors").stat().st_mtime)
        except OSError:
            return 0

    def last_output_line(self, name: str) -> str:
        """The last line that the process wrote, which says what went wrong."""
        try:
            with (self.job_dir(name) / "output.txt").open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - 2**16))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return next((shortened(line.strip(), 1000) for line in reversed(lines) if line.strip()), "")

    def job_dir(self, name: str) -> Path:
        """The folder of a training."""
        return self.folder / f"{name}.job"
