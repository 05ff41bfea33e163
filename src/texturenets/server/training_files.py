"""The files of a service's trainings, in the folder of models:

    NAME.job/           job.json (settings and state), the exemplar, output.txt (of the process), a lock file
    NAME.run/           checkpoints, records, images: written by `texturenets train`
    NAME.safetensors    the model, when the training is done

A visitor's painting has its run and its model elsewhere (`painting_files`), and no other file when it is done.

The process of a training holds the lock as long as it runs, so that a restarted service recognizes it.
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
from texturenets.server import painting_files
from texturenets.server.http_errors import HTTPProblem

State = Literal["queued", "running", "stopped", "done", "failed"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Names of trainings: each is a file name on every system, and never a path or an option."""

LOCK_WAIT_SECONDS = 1.0
"""How long a start waits for the lock, which `alive` of another service may hold for a moment."""

STALE_SECONDS = 3600.0
"""Age at which a temporary folder counts as left by a killed service, and is removed."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """The settings and the state of a training, as in its job.json.

    `exemplar`: the image file's name in the job's folder. `photos`: a subfolder of the folder of photos, "" for all
    photos. `options`: further arguments for `texturenets train`. `steps` and `minutes`: how long it is trained; one
    of them is 0. `order`: position in the queue, as a Unix time. `pid`: process ID, 0 if no process runs. `began`:
    Unix time of the process's last start. `tries`: starts since the last new checkpoint. `reached`:
    `TrainingFiles.last_checkpoint_stamp` at the last start. `reason`: why it failed.

    """

    name: str
    kind: Literal["style", "texture"]
    exemplar: str
    photos: str = ""
    options: tuple[str, ...] = ()
    steps: int = 0
    minutes: float = 0.0
    order: float = 0.0
    state: State = "queued"
    pid: int = 0
    began: float = 0.0
    tries: int = 0
    reached: int = 0
    reason: str = ""


class TrainingFiles:
    """Reads and writes the trainings in a folder of models: their files NAME.job/job.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()  # to be held from reading a training to writing its new state

    def all(self) -> list[TrainingJob]:
        """All trainings, in the order of the queue; none if the folder is missing."""
        try:
            found = [job for path in self.folder.glob("*.job") if (job := self.read(path.stem))]
        except OSError:  # the folder is missing
            return []
        return sorted(found, key=lambda job: job.order)

    def damaged(self) -> list[str]:
        """Names of the trainings whose job.json is damaged or missing."""
        try:
            return sorted(path.stem for path in self.folder.glob("*.job") if self.read(path.stem) is None)
        except OSError:  # the folder is missing
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
        """Save the state of a training. Raises UserError if it cannot be written."""
        with atomic_write(self.job_dir(job.name) / "job.json") as part:
            part.write_text(json.dumps(asdict(job)), "utf-8")
        return job

    def create(self, job: TrainingJob, exemplar: bytes) -> None:
        """Create the files of a new training, all or none.

        They replace those of a failed training of that name without a checkpoint. Raises HTTPProblem if the name is
        taken, and UserError if writing fails.
        """
        job_dir, run = self.job_dir(job.name), self.run_dir(job.name)
        before = self.read(job.name)
        model = self.model(job.name).exists()
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
            # A folder without job.json is left where the creation failed on a full disk.
            if replaced or (job_dir.is_dir() and not (job_dir / "job.json").exists()):
                shutil.rmtree(job_dir, ignore_errors=True)
            temporary.rename(job_dir)
        except OSError as error:
            lost_race = job_dir.exists()  # another service created it meanwhile
            raise (self._taken(job.name) if lost_race else cannot_write(job_dir, error)) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Remove the files of a training; its model stays. Raises UserError if that fails."""
        # The job last: if removing the run fails, the training is still listed, and can be removed later.
        for folder in (self.run_dir(name), self.job_dir(name)):
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UserError(f"cannot remove {folder}: {reason(error)}") from None

    def _taken(self, name: str) -> HTTPProblem:
        """The error for a name that another training or model has."""
        other = self.read(name)
        if other is not None and other.state in ("failed", "stopped"):
            state = "which has failed" if other.state == "failed" else "which is stopped"
            way = f"resume it (POST /v1/trainings/{name}/resume), or choose another name"
            return HTTPProblem(409, f"there is a training {name} already, {state}: {way}")
        return HTTPProblem(
            409,
            f"there is a model or training called {name} already: choose another name, or have the file "
            f"{name}.safetensors taken from the service's folder of models",
        )

    def remove_stale(self) -> None:
        """Remove temporary folders that killed services have left."""
        for path in self.folder.glob(".*.job.part"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[IO[str] | None]:
        """The lock file of a training, locked, for its process to inherit; None if another process holds the lock."""
        with (self.job_dir(name) / "lock").open("a", encoding="utf-8") as lock:
            deadline = time.monotonic() + LOCK_WAIT_SECONDS
            while True:
                try:
                    locks.lock(lock)
                except (
                    BlockingIOError
                ):  # held for a moment by `alive` of another service, or by a running process
                    if time.monotonic() > deadline:
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
        """1 plus the Unix time of the last checkpoint in seconds; 0 if there is none."""
        try:
            return 1 + int((self.run_dir(name) / "checkpoint.safetensors").stat().st_mtime)
        except OSError:
            return 0

    def last_output_line(self, name: str) -> str:
        """The last line of the process's output; of a failed training it is the error message."""
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

    def model(self, name: str) -> Path:
        """The model file of a training, which is there when it is done."""
        return painting_files.path_of(self.folder, name) or self.folder / f"{name}.safetensors"

    def run_dir(self, name: str) -> Path:
        """The folder of a training's checkpoints, records and images."""
        return self.model(name).with_suffix(".run")
