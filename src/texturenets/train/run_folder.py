"""The folder of a run, NAME.run beside its model file: its files and its lock."""

from __future__ import annotations

from pathlib import Path

from texturenets.errors import UserError
from texturenets.files import atomic_write, remove_stale
from texturenets.train import checkpoint
from texturenets.train.configuration import RunConfig, kind_of, to_dict
from texturenets.train.run_lock import RunLock


class RunFolder:
    """The folder of the run that makes the model file `out`."""

    def __init__(self, out: Path) -> None:
        self.out, self.path = out, out.with_suffix(".run")
        self.best, self.last = self.path / "best.safetensors", self.path / "last.safetensors"
        self.lock: RunLock | None = None

    def model(self) -> Path | None:
        """The last model of the run, else the best or a snapshot; None if there is none."""
        snapshots = sorted(self.path.glob(f"{self.out.stem}-*.safetensors"), reverse=True)
        return next((path for path in (self.last, self.best, *snapshots) if path.exists()), None)

    def check_new(self, config: RunConfig, resume: bool) -> None:
        """Raises UserError if the folder holds a run, unless it is of the same kind as `config` and will be resumed;
        if it holds models and no checkpoint; and if another training writes to it."""
        resumable, model = (self.path / checkpoint.NAME).exists(), self.model()
        if not resumable and model is None:
            return
        held, wanted = kind_of(checkpoint.options_of(self.path)), kind_of(to_dict(config))
        if held and wanted and held != wanted:
            begun = " (or of `train style` with `into`)" if held == "gallery" else ""
            raise UserError(
                f"{self.path} holds a run of `train {held}`{begun}, and this is `train {wanted}`: give another "
                "`output`"
            )
        if resume and resumable:
            return
        if self.lock is None:
            RunLock(self.path).release()  # raises if another training writes there
        if model is not None and not resumable:
            raise UserError(
                f"{self.path} holds models of a run, and no checkpoint to resume it: {checkpoint.anew(model)}, or "
                "remove the folder"
            )
        raise UserError(
            f"{self.path} holds a run already: go on with `resume`, give another `output`, or remove the folder"
        )

    def take(self, config: RunConfig, resume: bool) -> None:
        """Lock the folder, and remove temporary files of a killed run. Raises UserError if another training holds the
        lock, and as `check_new`."""
        if resume and not self.path.exists():
            return
        self.lock = RunLock(self.path)
        self.check_new(config, resume)  # checked again: another run may have ended meanwhile
        for path in (self.path, self.path / "pictures", self.out):
            remove_stale(path)

    def snapshot(self, step: int) -> Path:
        """The path of the snapshot of a step."""
        return self.path / f"{self.out.stem}-{step:06d}.safetensors"

    def release(self) -> None:
        """Unlock the folder."""
        if self.lock:
            self.lock.release()

    def finish(self) -> Path:
        """Copy the best model, by validation, to `out`; returns `out`."""
        source = self.best if self.best.exists() else self.last
        with atomic_write(self.out) as temporary:
            temporary.write_bytes(source.read_bytes())
        return self.out
