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
from texturenets.errors import DISK_FULL, DiskFullError, UserError, shortened
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

BLOCKED = "it waits because of an error of the service, which its log names, and continues by itself"

DISK_IS_FULL = (
    "the service's disk is full: it waits, and continues by itself when the operator has freed space"
)

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

WEIGHTS_MISSING = re.compile(
    r"whose name begins with ([^:]+): fetch (\S+) elsewhere and put it in .*TEXTURENETS_WEIGHTS"
)
"""Finds the beginnings of file names, and the URL or file name, of missing descriptor weights in that line."""

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
        self.errors: dict[tuple[str, str], Exception] = {}  # current errors by (action, training)
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

        Else it is queued, so that this end does not count as a try; or it has failed, where it could not save.
        """
        ended = None if self.files.alive(job.name) else self._told_to_end(job)
        if ended is not None and ended.state != "stopped":
            self._guarded("check", job.name, lambda: self._record_end(ended))
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
            if repr(self.errors.get((action, name))) != repr(error):
                self.errors[action, name] = error
                text = str(error) if known else f"{type(error).__name__}: {error}"
                fields = {"training": name, "reason": shortened(text, 1000)}
                log.error("training", exc_info=None if known else error, extra={"fields": fields})
            return None
        self.errors.pop((action, name), None)
        return result

    def waits_because(self, name: str) -> str:
        """The error, for clients, because of which a training waits and will be tried again; "" if there is none."""
        errors = [error for (_, training), error in list(self.errors.items()) if training == name]
        if any(isinstance(e, DiskFullError) or getattr(e, "errno", None) in DISK_FULL for e in errors):
            return DISK_IS_FULL
        return BLOCKED if errors else ""

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
                self.files.write(replace(job, state="running", pid=self.pid(job)))
            return True  # also one that was told to stop: its process runs until it has saved
        self.record_stop(job)
        return job.state == "running" and self._handle_exit(job)

    def record_stop(self, job: TrainingJob) -> TrainingJob:
        """Write and log how a training that was stopped ended, once its process has.

        One that was resumed while it still saved stays queued, unless it could not save.
        """
        if job.state not in ("stopped", "queued") or not job.pid or self.files.alive(job.name):
            return job
        ended = self._told_to_end(job)
        if ended.state == "stopped":
            return self._record_end(replace(job, pid=0), "stopped")
        return self._record_end(ended)

    def _told_to_end(self, job: TrainingJob) -> TrainingJob:
        """A training that was told to end, and whose process has: done, stopped, or failed, where it could not
        save."""
        if self._is_done(job.name):
            return replace(job, state="done", pid=0)
        status = self._status(job.name)
        reason = self.reason(job, status)
        if status == 2 or reason == DISK_WAS_FULL:  # the status of an earlier service's process is not known
            return replace(job, state="failed", pid=0, reason=reason)
        return replace(job, state="stopped", pid=0)

    def _record_end(self, job: TrainingJob, state: str = "") -> TrainingJob:
        """Write and log the state of a training whose process has ended, with the seconds since its last start.

        `state`: to be logged, in place of its own."""
        self.files.write(job)
        more: dict[str, Any] = {"reason": job.reason} if job.reason else {}
        if job.began:  # 0 in the files of earlier versions
            more["seconds"] = round(time.time() - job.began, 1)
        log_state(job, state, **more)
        if job.state == "done" and painting_files.path_of(self.folder, job.name):
            painting_files.trim(self.folder)
            self.files.remove(job.name)  # only the style itself is kept
        return job

    def pid(self, job: TrainingJob) -> int:
        """The process ID of a training; 0 if unknown."""
        child = self.children.get(job.name)
        return child.pid if child is not None and child.poll() is None else job.pid

    def terminate(self, job: TrainingJob) -> None:
        """Tell the process of a training to save a checkpoint and end."""
        pid = self.pid(job)
        if pid > 0 and self.files.alive(job.name):
            self.ending.add(job.name)
            os.kill(pid, signal.SIGTERM)

    def _handle_exit(self, job: TrainingJob) -> bool:
        """Decide on a training whose process has ended: done, failed, or restarted; returns whether it was
        restarted."""
        if self._is_done(job.name):
            self._record_end(replace(job, state="done", pid=0))
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
    found = [match for message in messages if (match := WEIGHTS_MISSING.search(message))]
    if not found:
        return ""
    files = " and ".join(f"{match[2]}, or another file whose name begins with {match[1]}," for match in found)
    return (
        f"descriptor weights are missing: the service's operator has to put {files} into a folder that its "
        "TEXTURENETS_WEIGHTS names"
    )


def log_state(job: TrainingJob, state: str = "", **more: Any) -> None:
    """Log the state of a training."""
    fields = {"training": job.name, "state": state or job.state, **more}
    log.log(logging.WARNING if job.state == "failed" else logging.INFO, "training", extra={"fields": fields})
