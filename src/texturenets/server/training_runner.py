"""Carries out trainings: one at a time, each a process of its own that may outlive the service."""

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
from texturenets.server.training_files import TrainingFiles, TrainingJob

log = logging.getLogger("texturenets.server")

TRIES = 3
"""Times that a training is taken up again by itself after its process died, without a step saved in between."""

PHOTOS_CHANGED = "the photos changed since it began; put them back or start anew under another name"

CHECKPOINT_DAMAGED = (
    "what it has saved is damaged: put checkpoint.safetensors back or start anew under another name"
)

ROOM = 32 * 2**20
"""Bytes that have to be free where a training is started: a run of the default network takes 18 MB."""

DISK_WAS_FULL = "the disk was full: when there is room, resume it"

LAST_WORDS = {
    os.strerror(errno.ENOSPC): DISK_WAS_FULL,
    os.strerror(errno.EDQUOT): DISK_WAS_FULL,
    "is not a checkpoint of texturenets": CHECKPOINT_DAMAGED,
    "what changed: the photos in": PHOTOS_CHANGED,
}
"""What clients are told, by what the last words of a training's process contain."""

WEIGHTS_MISSING = re.compile(r"\b(?:fetch|get) (\S+) (?:elsewhere )?and put it in .*TEXTURENETS_WEIGHTS")
"""In the last words of a process that lacks the weights of a descriptor network: their URL or file."""

ENDING = 1.0  # seconds at most between the end of a process and its status
TICK = 1.0  # seconds between two looks at what goes on


class TrainingRunner:
    """Starts what waits in `files` and sees what has ended, `photos` being the folder that styles learn on."""

    def __init__(
        self, files: TrainingFiles, photos: Path | None, command: Sequence[str] | None = None
    ) -> None:
        """`command`: what trains, in place of `texturenets train`."""
        self.files, self.folder, self.photos = files, files.folder, photos
        self.command = list(command or [sys.executable, "-m", "texturenets", "train"])
        self.over = threading.Event()
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.thread: threading.Thread | None = None
        self.keeper: IO[str] | None = None
        self.troubles: dict[tuple[str, str], str] = {}
        self.stopping: set[str] = set()  # told to stop while that could not be written down

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
        if not self._keeps():
            return
        ends = time.monotonic() + patience
        for job in self.files.all():
            if job.state == "running":
                self.end(job)
                while self.files.alive(job.name) and time.monotonic() < ends:
                    self._reap()
                    time.sleep(0.05)
                self._told_last(job)
        self._reap()
        if self.keeper is not None:
            self.keeper.close()
            self.keeper = None

    def _told_last(self, job: TrainingJob) -> None:
        """What has become of a training when the service ends: it may have been at its last step."""
        if self._is_done(job.name) and not self.files.alive(job.name):
            self._guarded("see", job.name, lambda: self._over(replace(job, state="done", pid=0)))
        else:
            tell(job, "interrupted", reason="the service ends; the next one goes on with it")

    def _is_done(self, name: str) -> bool:
        """Whether the model that a training ends with is there."""
        return (self.folder / f"{name}.safetensors").is_file()

    def _keeps(self) -> bool:
        """Whether this is the one of several services on this folder that looks after its trainings.

        The others wait for that one to end.
        """
        if self.keeper is None:
            with contextlib.ExitStack() as stack:
                try:
                    file = self.folder / ".trainings.lock"
                    keeper = stack.enter_context(file.open("a", encoding="utf-8"))
                    locks.lock(keeper)
                except OSError:
                    return False
                self.keeper = keeper
                stack.pop_all()
        return True

    def _look(self) -> None:
        self._guarded("remove stale", "", self.files.remove_stale)
        for name in self.files.damaged():
            said = (
                f"{name}.job/job.json is damaged or missing: put it back, or remove {name}.job and {name}.run"
            )
            log.warning("training", extra={"fields": {"training": name, "reason": said}})
        while not self.over.wait(TICK):
            self._guarded("look", "", self._tick_if_keeper)

    def _tick_if_keeper(self) -> None:
        if self._keeps():
            self.tick()

    def _guarded(self, what: str, name: str, call: Callable[[], Any]) -> Any:
        """What `call` gives; None for what fails, as on a full disk: it is told once, and tried again."""
        try:
            result = call()
        except Exception as error:
            known = isinstance(error, OSError | UserError)
            said = str(error) if known else f"{type(error).__name__}: {error}"
            if self.troubles.get((what, name)) != said:
                self.troubles[what, name] = said
                fields = {"training": name, "reason": shortened(said, 1000)}
                log.error("training", exc_info=None if known else error, extra={"fields": fields})
            return None
        self.troubles.pop((what, name), None)
        return result

    def held_up(self, name: str) -> bool:
        """Whether a training waits for something that fails now, as writing on a full disk."""
        return any(who == name for _, who in list(self.troubles))

    def tick(self) -> None:
        """See what has ended, and start what is next."""
        with self.files.lock:
            self._reap()
            busy = False
            for job in self.files.all():
                busy = bool(self._guarded("see", job.name, functools.partial(self._seen, job))) or busy
            for job in self.files.all():
                if busy:
                    break
                if job.state == "queued":
                    busy = bool(self._guarded("start", job.name, functools.partial(self._start, job)))

    def _seen(self, job: TrainingJob) -> bool:
        """Look at one; whether its process lives."""
        if self.files.alive(job.name):
            if job.state == "queued" or not job.pid:  # it was started when nothing could be written
                self.files.write(replace(job, state="running", pid=self._pid(job)))
            return True  # also one that was told to stop: it is at work until it has saved
        if job.state == "stopped" and job.pid:
            self._over(replace(job, pid=0))
        return job.state == "running" and self._ended(job)

    def _over(self, job: TrainingJob) -> None:
        """Its process has ended: write down and tell with what result, and how many seconds after its last start."""
        self.files.write(job)
        more: dict[str, Any] = {"reason": job.reason} if job.reason else {}
        if job.began:  # 0 in the files of earlier versions
            more["seconds"] = round(time.time() - job.began, 1)
        tell(job, **more)

    def _pid(self, job: TrainingJob) -> int:
        """The process ID of a training; 0 if unknown."""
        child = self.children.get(job.name)
        return child.pid if child is not None and child.poll() is None else job.pid

    def end(self, job: TrainingJob) -> None:
        """Tell its process to save and end."""
        pid = self._pid(job)
        if pid > 0 and self.files.alive(job.name):
            os.kill(pid, signal.SIGTERM)

    def _ended(self, job: TrainingJob) -> bool:
        """Its process is gone: done, failed, or to be taken up again; whether it was."""
        if self._is_done(job.name):
            self._over(replace(job, state="done", pid=0))
            return False
        if job.name in self.stopping:
            self._over(replace(job, state="stopped", pid=0))
            self.stopping.discard(job.name)
            return False
        saved = self.files.last_checkpoint_stamp(job.name)
        tries = 0 if saved > job.reached else job.tries + 1
        status = self._status(job.name)
        if status == 2 or tries >= TRIES:  # the command line's own word for a mistake
            self._over(replace(job, state="failed", pid=0, reason=self.reason(job, status)))
            return False
        return self._start(replace(job, tries=tries, reached=saved))

    def _start(self, job: TrainingJob) -> bool:
        """Start its process; whether it lives."""
        # Its output begins anew: words of an earlier process would be no reason for how this one ends.
        # The process inherits the lock and holds it until it ends, however it ends. A session of its own: Ctrl-C at
        # the service's terminal is not meant for it.
        output = self.files.job_dir(job.name) / "output.txt"
        with self.files.hold(job.name) as lock, output.open("wb") as written:
            if lock is None:
                return True
            # Not before: a process that held the lock may have ended meanwhile.
            if self._is_done(job.name):
                tell(self.files.write(replace(job, state="done", pid=0)))
                return False
            if shutil.disk_usage(self.folder).free < ROOM:
                raise DiskFullError(
                    f"{self.folder} has less than {ROOM >> 20} MB of room, which a training takes"
                )
            # First: on a full disk nothing is started, over and over, of which nobody could write down that it runs.
            before, job = job, self.files.write(replace(job, state="running", pid=0, began=time.time()))
            try:
                child = subprocess.Popen(
                    self._words(job),
                    stdin=subprocess.DEVNULL,
                    stdout=written,
                    stderr=written,
                    start_new_session=True,
                    pass_fds=[lock.fileno()],
                )
            except OSError:
                self.files.write(before)
                raise
            self.children[job.name] = child
            job = self.files.write(replace(job, pid=child.pid))
            tell(job, tries=job.tries + 1)
        return True

    def _words(self, job: TrainingJob) -> list[str]:
        """The command that trains, or goes on with what was saved."""
        words = [*self.command, job.kind, str(self.files.job_dir(job.name) / job.exemplar)]
        if job.kind == "style":
            words += ["--content", str(self._content(job))]
        words += ["-o", str(self.folder / f"{job.name}.safetensors"), *job.options, "--quiet"]
        return [*words, "--resume"] if self.files.last_checkpoint_stamp(job.name) else words

    def _content(self, job: TrainingJob) -> Path:
        """The folder of photos that a style learns on."""
        return (self.photos or Path()) / job.photos

    def _reap(self) -> None:
        for child in list(self.children.values()):
            child.poll()

    def _status(self, name: str) -> int | None:
        """The exit status of a process that this service started and that is gone; None where nobody knows it."""
        child = self.children.get(name)
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its lock is free a moment before the system has its status.
            return child.wait(ENDING) if child else None
        return None

    def reason(self, job: TrainingJob, status: int | None = None) -> str:
        """Why a training has failed: its process's last words, for clients that have no command line.

        `status`: of the process, below 0 for the signal that killed it.
        """
        if job.kind == "style" and not self._content(job).is_dir():
            folder = f"the photos' folder {job.photos}".rstrip()
            return f"{folder} is away: when it is back, resume it"
        if status is not None and status < 0:
            return (
                f"its process was killed {TRIES} times ({signal.Signals(-status).name}), as where memory runs out: "
                "resume it when there is more"
            )
        words = self.files.last_output_line(job.name)
        if not words:
            return "its process ended without a word: resume it"
        if lacking := weights_missing(words):
            return f"{lacking}; then resume it"
        return next((said for sign, said in LAST_WORDS.items() if sign in words), words)


def weights_missing(*words: str) -> str:
    """For clients: which descriptor weights are missing, where errors of a training say so; else empty."""
    found = [lacking[1] for said in words if (lacking := WEIGHTS_MISSING.search(said))]
    if not found:
        return ""
    return (
        f"descriptor weights are missing: whoever runs the service fetches {' and '.join(found)} into a folder "
        "that its TEXTURENETS_WEIGHTS names"
    )


def tell(job: TrainingJob, state: str = "", **more: Any) -> None:
    """A line in the log: what has become of a training."""
    fields = {"training": job.name, "state": state or job.state, **more}
    log.log(logging.WARNING if job.state == "failed" else logging.INFO, "training", extra={"fields": fields})
