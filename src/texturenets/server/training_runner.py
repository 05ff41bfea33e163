"""Runs trainings: one at a time, each in a separate process, which may outlive the service."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from texturenets import locks
from texturenets.errors import DiskFullError, UserError, shortened
from texturenets.server import painting_files
from texturenets.server.training_files import TrainingFiles, TrainingJob

log = logging.getLogger("texturenets.server")

MAX_TRIES = 3
"""A training fails when its process has died this many times without a new checkpoint in between."""

PHOTOS_CHANGED = (
    "the photos changed since it was started; put them back, or start a training with another name"
)

CHECKPOINT_DAMAGED = (
    "its checkpoint is damaged: restore checkpoint.safetensors, or start a training with another name"
)

MIN_FREE_BYTES = 32 * 2**20
"""Free disk space that a training needs to be started: a run of the default network takes 18 MB."""

DISK_WAS_FULL = "the disk was full: resume it when there is free space"

CLIENT_REASONS = {
    os.strerror(errno.ENOSPC): DISK_WAS_FULL,
    os.strerror(errno.EDQUOT): DISK_WAS_FULL,
    "is not a checkpoint of texturenets": CHECKPOINT_DAMAGED,
    "and no checkpoint to resume it": "its checkpoint is missing: start it again, under this name or another",
    "what changed: the photos in": PHOTOS_CHANGED,
    "texturenets: terminated": f"its process was told to end {MAX_TRIES} times: resume it",
}
"""Why a training failed, for clients, by a part of the last line of its process's output."""

WEIGHTS_MISSING = re.compile(r"\b(?:fetch|get) (\S+) (?:elsewhere )?and put it in .*TEXTURENETS_WEIGHTS")
"""Finds the URL or file name of missing descriptor weights in that line."""

EXIT_STATUS_SECONDS = 1.0
"""How long to wait for the exit status of a process whose lock is free: it is available a moment later."""

POLL_SECONDS = 1.0
"""Time between two checks of the trainings."""


class TrainingRunner:
    """Starts queued trainings and handles those that end, in a thread."""

    def __init__(
        self, files: TrainingFiles, photos: Path | None, command: Sequence[str] | None = None
    ) -> None:
        """`photos`: the folder of training photos. `command`: in place of `texturenets train`."""
        self.files, self.folder, self.photos = files, files.folder, photos
        self.command = list(command or [sys.executable, "-m", "texturenets", "train"])
        self.closing = threading.Event()
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.thread: threading.Thread | None = None
        self.folder_lock: IO[str] | None = None
        self.errors: dict[tuple[str, str], str] = {}  # current errors by (action, training)
        self.stopping: set[str] = set()  # asked to stop; the new state is not written yet
        self.ending: set[str] = set()  # the process was told to end, and may still save a checkpoint

    def open(self) -> None:
        """Start the thread."""
        self.closing.clear()
        self.thread = threading.Thread(target=self._run, name="trainings", daemon=True)
        self.thread.start()

    def close(self, timeout: float = 60.0) -> None:
        """Interrupt the running training, which saves a checkpoint; the next service resumes it."""
        self.closing.set()
        if self.thread is not None:
            self.thread.join()
        if not self._locks_folder():
            return
        deadline = time.monotonic() + timeout
        for job in self.files.all():
            if job.state == "running":
                self.terminate(job)
                while self.files.alive(job.name) and time.monotonic() < deadline:
                    self._reap()
                    time.sleep(0.05)
                self._end_at_shutdown(job)
        self._reap()
        if self.folder_lock is not None:
            self.folder_lock.close()
            self.folder_lock = None

    def _end_at_shutdown(self, job: TrainingJob) -> None:
        """Write and log how a training ended when the service shut down: it may have been at its last step.

        Else it is queued, so that this end does not count as a try.
        """
        if self._is_done(job.name) and not self.files.alive(job.name):
            self._guarded("check", job.name, lambda: self._record_end(replace(job, state="done", pid=0)))
        else:
            self._guarded("stop", job.name, lambda: self.files.write(replace(job, state="queued", pid=0)))
            log_state(job, "interrupted", reason="the service is shutting down; the next one resumes it")

    def _is_done(self, name: str) -> bool:
        """Whether the training's model file exists: it is written last."""
        return self.files.model(name).is_file()

    def _locks_folder(self) -> bool:
        """Whether this service holds the lock of the folder: of several services, only one runs its trainings."""
        if self.folder_lock is None:
            with contextlib.ExitStack() as stack:
                try:
                    path = self.folder / ".trainings.lock"
                    file = stack.enter_context(path.open("a", encoding="utf-8"))
                    locks.lock(file)
                except OSError:
                    return False
                self.folder_lock = file
                stack.pop_all()
        return True

    def _run(self) -> None:
        self._guarded("remove stale", "", self.files.remove_stale)
        for name in self.files.damaged():
            text = (
                f"{name}.job/job.json is damaged or missing: restore it, or remove {name}.job and {name}.run"
            )
            log.warning("training", extra={"fields": {"training": name, "reason": text}})
        while not self.closing.wait(POLL_SECONDS):
            self._guarded("poll", "", self._poll_if_locked)

    def _poll_if_locked(self) -> None:
        if self._locks_folder():
            self.poll()

    def _guarded(self, action: str, name: str, call: Callable[[], Any]) -> Any:
        """The result of `call`; None if it raises, as on a full disk.

        The same error of the same action is logged once, however often it is tried again.
        """
        try:
            result = call()
        except Exception as error:
            known = isinstance(error, OSError | UserError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            if self.errors.get((action, name)) != text:
                self.errors[action, name] = text
                fields = {"training": name, "reason": shortened(text, 1000)}
                log.error("training", exc_info=None if known else error, extra={"fields": fields})
            return None
        self.errors.pop((action, name), None)
        return result

    def is_blocked(self, name: str) -> bool:
        """Whether a training waits because of an error, such as a full disk, and will be tried again."""
        return any(training == name for _, training in list(self.errors))

    def poll(self) -> None:
        """Handle trainings whose process has ended, and start the next one."""
        with self.files.lock:
            self._reap()
            busy = False
            for job in self.files.all():
                busy = bool(self._guarded("check", job.name, functools.partial(self._check, job))) or busy
            for job in self.files.all():
                if busy:
                    break
                if job.state == "queued" and not self.closing.is_set():
                    busy = bool(self._guarded("start", job.name, functools.partial(self._start, job)))

    def _check(self, job: TrainingJob) -> bool:
        """Update the state of a training; returns whether its process runs."""
        if self.files.alive(job.name):
            resumed = job.name in self.ending  # while it still saves: it waits for its turn in the queue
            if not resumed and (
                job.state == "queued" or not job.pid
            ):  # started when nothing could be written
                self.files.write(replace(job, state="running", pid=self._pid(job)))
            return True  # also one that was told to stop: its process runs until it has saved
        if job.state == "stopped" and job.pid:
            self._record_end(replace(job, pid=0))
        return job.state == "running" and self._handle_exit(job)

    def _record_end(self, job: TrainingJob) -> None:
        """Write and log the state of a training whose process has ended, with the seconds since its last start."""
        self.files.write(job)
        more: dict[str, Any] = {"reason": job.reason} if job.reason else {}
        if job.began:  # 0 in the files of earlier versions
            more["seconds"] = round(time.time() - job.began, 1)
        log_state(job, **more)
        if job.state == "done" and painting_files.path_of(self.folder, job.name):
            painting_files.trim(self.folder)
            self.files.remove(job.name)  # only the style itself is kept

    def _pid(self, job: TrainingJob) -> int:
        """The process ID of a training; 0 if unknown."""
        child = self.children.get(job.name)
        return child.pid if child is not None and child.poll() is None else job.pid

    def terminate(self, job: TrainingJob) -> None:
        """Tell the process of a training to save a checkpoint and end."""
        pid = self._pid(job)
        if pid > 0 and self.files.alive(job.name):
            self.ending.add(job.name)
            os.kill(pid, signal.SIGTERM)

    def _handle_exit(self, job: TrainingJob) -> bool:
        """Decide on a training whose process has ended: done, failed, or restarted; returns whether it was
        restarted."""
        if self._is_done(job.name):
            self._record_end(replace(job, state="done", pid=0))
            return False
        if job.name in self.stopping:
            self._record_end(replace(job, state="stopped", pid=0))
            self.stopping.discard(job.name)
            return False
        saved = self.files.last_checkpoint_stamp(job.name)
        tries = 0 if saved > job.reached else job.tries + 1
        status = self._status(job.name)
        if status == 2 or tries >= MAX_TRIES:  # 2: a UserError, which another try would only repeat
            self._record_end(replace(job, state="failed", pid=0, reason=self.reason(job, status)))
            return False
        return self._start(replace(job, tries=tries, reached=saved))

    def _start(self, job: TrainingJob) -> bool:
        """Start the process of a training; returns whether one runs now."""
        # The output file is truncated: an earlier process's output must not explain how this one ends.
        # The process inherits the lock and holds it until it ends, however it ends. It gets a session of its own, so
        # that Ctrl-C at the service's terminal does not reach it.
        path = self.files.job_dir(job.name) / "output.txt"
        with self.files.hold(job.name) as lock, path.open("wb") as output:
            if lock is None:
                return True
            # Checked with the lock held: the process that held it may have finished meanwhile.
            if self._is_done(job.name):
                self._record_end(replace(job, state="done", pid=0))
                return False
            if shutil.disk_usage(self.folder).free < MIN_FREE_BYTES:
                raise DiskFullError(
                    f"{self.folder} has less than {MIN_FREE_BYTES >> 20} MB of free space, which a training needs"
                )
            # Written before the start: on a full disk this fails, and no process is started that is not recorded.
            before, job = job, self.files.write(replace(job, state="running", pid=0, began=time.time()))
            try:
                child = subprocess.Popen(
                    self._command_line(job),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    pass_fds=[lock.fileno()],
                )
            except OSError:
                self.files.write(before)
                raise
            self.children[job.name] = child
            self.ending.discard(job.name)
            job = self.files.write(replace(job, pid=child.pid))
            log_state(job, tries=job.tries + 1)
        return True

    def _command_line(self, job: TrainingJob) -> list[str]:
        """The arguments of the process; with --resume if there is a checkpoint."""
        arguments = [*self.command, job.kind, str(self.files.job_dir(job.name) / job.exemplar)]
        if job.kind == "style":
            arguments += ["--content", str(self._content(job))]
        arguments += ["-o", str(self.files.model(job.name)), *job.options, "--quiet"]
        return [*arguments, "--resume"] if self.files.last_checkpoint_stamp(job.name) else arguments

    def _content(self, job: TrainingJob) -> Path:
        """The folder of a style's training photos."""
        return (self.photos or Path()) / job.photos

    def _reap(self) -> None:
        """Let the system remove processes that have ended (zombies)."""
        for child in list(self.children.values()):
            child.poll()

    def _status(self, name: str) -> int | None:
        """The exit status of a training's process that has ended; None if an earlier service started it."""
        child = self.children.get(name)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(EXIT_STATUS_SECONDS) if child else None
        return None

    def reason(self, job: TrainingJob, status: int | None = None) -> str:
        """Why a training has failed, for clients: its process's last line of output, without command-line options.

        `status`: the process's exit status; below 0 for the signal that killed it.
        """
        if job.kind == "style" and not self._content(job).is_dir():
            folder = f"the service's folder of photos {job.photos}".rstrip()
            return f"{folder} is missing: resume it when the folder is back"
        if status is not None and status < 0:
            return (
                f"its process was killed {MAX_TRIES} times ({signal.Signals(-status).name}), as where memory runs "
                "out: resume it when there is more"
            )
        line = self.files.last_output_line(job.name)
        if not line:
            times = "" if status == 2 else f" {MAX_TRIES} times without a new checkpoint,"
            return f"its process ended{times} without an error message: resume it"
        if missing := weights_missing(line):
            return f"{missing}; then resume it"
        return next((reason for part, reason in CLIENT_REASONS.items() if part in line), line)


def weights_missing(*messages: str) -> str:
    """Which descriptor weights are missing, for clients, found in `messages`, errors of trainings; else empty."""
    found = [match[1] for message in messages if (match := WEIGHTS_MISSING.search(message))]
    if not found:
        return ""
    return (
        f"descriptor weights are missing: the service's operator has to put {' and '.join(found)} into a folder "
        "that its TEXTURENETS_WEIGHTS names"
    )


def log_state(job: TrainingJob, state: str = "", **more: Any) -> None:
    """Log the state of a training."""
    fields = {"training": job.name, "state": state or job.state, **more}
    log.log(logging.WARNING if job.state == "failed" else logging.INFO, "training", extra={"fields": fields})
