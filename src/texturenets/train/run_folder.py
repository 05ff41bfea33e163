"""The folder of a run, NAME.run beside its model file, and who may write to it."""

from __future__ import annotations

from pathlib import Path

from texturenets.errors import UserError
from texturenets.files import atomic_write, remove_stale
from texturenets.train import checkpoint
from texturenets.train.run_lock import RunLock


class RunFolder:
    """The folder of the run that makes the model file `out`."""

    def __init__(self, out: Path) -> None:
        self.out, self.path = out, out.with_suffix(".run")
        self.best, self.last = self.path / "best.safetensors", self.path / "last.safetensors"
        self.lock: RunLock | None = None

    def check_new(self, resume: bool) -> None:
        """Raises UserError where the folder holds a run, unless it is to be resumed."""
        if not resume and (self.path / checkpoint.NAME).exists():
            raise UserError(f"{self.path} holds a run already; go on with `resume`, or remove the folder")

    def take(self, resume: bool) -> None:
        """Lock the folder, and remove what a run left in it that was killed while it wrote. Raises UserError where
        another training holds it."""
        if resume and not self.path.exists():
            return
        self.lock = RunLock(self.path)
        self.check_new(resume)  # once more: another run may have ended meanwhile
        for place in (self.path, self.path / "pictures", self.out):
            remove_stale(place)

    def snapshot(self, step: int) -> Path:
        """The model file that is kept of a step."""
        return self.path / f"{self.out.stem}-{step:06d}.safetensors"

    def release(self) -> None:
        """Let others have the folder."""
        if self.lock:
            self.lock.release()

    def finish(self) -> Path:
        """The best model, by validation, put under the name asked for."""
        source = self.best if self.best.exists() else self.last
        with atomic_write(self.out) as temporary:
            temporary.write_bytes(source.read_bytes())
        return self.out
