"""What is done with each record of a training: live images in a folder, a log of numbers, TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from texturenets import image
from texturenets.train.records import Record


class Callback(Protocol):
    """Called with the record of each step, by the first process."""

    def __call__(self, record: Record) -> None:
        """Take one record."""

    def close(self) -> None:
        """No more records."""


MakeCallback = Callable[[Path, int], Callback]
"""Makes a callback of the folder of a run, and the number of steps done before."""

AVERAGED = 10  # steps to a line of the log: one batch's losses say little


def grid(pictures: Tensor) -> Tensor:
    """Rows of images (R, N, 3, H, W) as one image (1, 3, R H, N W)."""
    r, n, c, h, w = pictures.shape
    return pictures.permute(2, 0, 3, 1, 4).reshape(1, c, r * h, n * w).clamp(0, 1)


class Log:
    """`records.jsonl`: a line each AVERAGED steps and a line a validation, losses by name."""

    def __init__(self, folder: Path, start: int) -> None:
        """A log that goes on after `start` steps: lines of later steps, from before a crash, are dropped."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "records.jsonl"
        kept: list[str] = []
        if self.path.exists() and start:
            for line in self.path.read_text("utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= start:
                        kept.append(line)
                except (ValueError, KeyError):  # the line being written when the power went
                    continue
        self.file = self.path.open("w", encoding="utf-8")
        self.file.writelines(line + "\n" for line in kept)
        self.file.flush()
        self.waiting: list[Record] = []

    def __call__(self, record: Record) -> None:
        """Take one record."""
        self.waiting.append(record)
        if record.step % AVERAGED == 0 or record.saved:
            self._line(
                {
                    "step": record.step,
                    "seconds": round(record.seconds, 2),
                    "learning_rate": record.learning_rate,
                    "losses": mean_losses(self.waiting),
                }
            )
            self.waiting = []
        if record.validation:
            self._line({"step": record.step, "validation": record.validation, "best": record.best})
        for problem in record.unreadable:
            self._line({"step": record.step, "unreadable": problem})

    def _line(self, data: dict[str, Any]) -> None:
        self.file.write(json.dumps(data) + "\n")
        self.file.flush()

    def close(self) -> None:
        """No more records."""
        self.file.close()


def mean_losses(records: list[Record]) -> dict[str, float]:
    """The mean of each loss over records, in one transfer from the device."""
    names = list(records[0].losses)
    table = torch.stack([torch.stack([r.losses[n].float() for n in names]) for r in records]).mean(0)
    return dict(zip(names, table.tolist(), strict=True))


class ImageLog:
    """`pictures/000050.jpg`: photos above, what the network makes of them below; `latest.jpg` is the newest."""

    def __init__(self, folder: Path, start: int) -> None:
        self.folder = folder / "pictures"

    def __call__(self, record: Record) -> None:
        """Take one record."""
        if record.pictures is not None:
            sheet = grid(record.pictures)
            image.write(self.folder / f"{record.step:06d}.jpg", sheet, quality=90)
            image.write(self.folder / "latest.jpg", sheet, quality=90)

    def close(self) -> None:
        """Nothing to do."""


class TensorBoard:
    """Loss curves a layer, validation loss, learning rate and images as TensorBoard events."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(  # type: ignore[no-untyped-call]
            str(folder / "tensorboard"), purge_step=start + 1 if start else None
        )
        self.waiting: list[Record] = []

    def __call__(self, record: Record) -> None:
        """Take one record."""
        self.waiting.append(record)
        if record.step % AVERAGED == 0 or record.saved:
            losses = mean_losses(self.waiting)
            for name, value in losses.items():
                self.writer.add_scalar(f"loss/{name}", value, record.step)
            self.writer.add_scalar("loss/total", sum(losses.values()), record.step)
            self.writer.add_scalar("learning_rate", record.learning_rate, record.step)
            self.waiting = []
        if record.validation:
            for name, value in record.validation.items():
                self.writer.add_scalar(f"validation/{name}", value, record.step)
            self.writer.add_scalar("validation/total", sum(record.validation.values()), record.step)
        if record.pictures is not None:
            self.writer.add_image("pictures", grid(record.pictures)[0], record.step)

    def close(self) -> None:
        """Write what is still held."""
        self.writer.close()


DEFAULT: Sequence[MakeCallback] = (Log, ImageLog, TensorBoard)
"""Those of every training."""
