"""Callbacks of the trainer: example images in a folder, a log of the losses, TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from texturenets import image
from texturenets.files import atomic_write
from texturenets.train.records import Record


class Callback(Protocol):
    """Called with the record of each step, in the first process (rank 0)."""

    def __call__(self, record: Record) -> None:
        """Handle the record of a step."""

    def close(self) -> None:
        """Called once, after the last record."""


MakeCallback = Callable[[Path, int], Callback]
"""A function that makes a callback from the folder of a run and the number of steps already done."""

LOG_EVERY = 10  # steps, whose losses are averaged: those of one batch are noisy


def grid(pictures: Tensor) -> Tensor:
    """Rows of images (R, N, 3, H, W) as one image (1, 3, R H, N W)."""
    r, n, c, h, w = pictures.shape
    return pictures.permute(2, 0, 3, 1, 4).reshape(1, c, r * h, n * w).clamp(0, 1)


class Log:
    """`records.jsonl`: a line every LOG_EVERY steps and at each validation, losses by name."""

    def __init__(self, folder: Path, start: int) -> None:
        """Continues a log after `start` steps: later lines, of steps that a crash has lost, are dropped."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "records.jsonl"
        kept: list[str] = []
        if self.path.exists() and start:
            for line in self.path.read_text("utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= start:
                        kept.append(line)
                except (ValueError, KeyError, TypeError):  # an incomplete line, of a process that was killed
                    continue
        with atomic_write(self.path) as part:
            part.write_text("".join(line + "\n" for line in kept), "utf-8")
        self.file = self.path.open("a", encoding="utf-8")
        self.unlogged: list[Record] = []

    def __call__(self, record: Record) -> None:
        """Handle the record of a step."""
        self.unlogged.append(record)
        if record.step % LOG_EVERY == 0 or record.saved:
            self._line(
                {
                    "step": record.step,
                    "seconds": round(record.seconds, 2),
                    "learning_rate": record.learning_rate,
                    "losses": mean_losses(self.unlogged),
                }
            )
            self.unlogged = []
        if record.validation:
            self._line({"step": record.step, "validation": record.validation, "best": record.best})
        for problem in record.unreadable:
            self._line({"step": record.step, "unreadable": problem})

    def _line(self, data: dict[str, Any]) -> None:
        self.file.write(json.dumps(data) + "\n")
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def mean_losses(records: list[Record]) -> dict[str, float]:
    """The mean of each loss over the records that have it, in one transfer from the device."""
    names = dict.fromkeys(name for record in records for name in record.losses)
    means = [torch.stack([r.losses[n].float() for r in records if n in r.losses]).mean() for n in names]
    return dict(zip(names, torch.stack(means).tolist(), strict=True)) if means else {}


class ImageLog:
    """`pictures/000050.jpg`: photos above, the network's output below; `latest.jpg` is the newest."""

    def __init__(self, folder: Path, start: int) -> None:
        self.folder = folder / "pictures"

    def __call__(self, record: Record) -> None:
        """Handle the record of a step."""
        if record.pictures is not None:
            sheet = grid(record.pictures)
            image.write(self.folder / f"{record.step:06d}.jpg", sheet, quality=90)
            image.write(self.folder / "latest.jpg", sheet, quality=90)

    def close(self) -> None:
        """Does nothing: no file is open."""


class TensorBoard:
    """Losses by layer, validation losses, learning rate and example images as TensorBoard events."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(  # type: ignore[no-untyped-call]
            str(folder / "tensorboard"), purge_step=start + 1 if start else None
        )
        self.unlogged: list[Record] = []

    def __call__(self, record: Record) -> None:
        """Handle the record of a step."""
        self.unlogged.append(record)
        if record.step % LOG_EVERY == 0 or record.saved:
            losses = mean_losses(self.unlogged)
            for name, value in losses.items():
                self.writer.add_scalar(f"loss/{name}", value, record.step)
            self.writer.add_scalar("loss/total", sum(losses.values()), record.step)
            self.writer.add_scalar("learning_rate", record.learning_rate, record.step)
            self.unlogged = []
        if record.validation:
            for name, value in record.validation.items():
                self.writer.add_scalar(f"validation/{name}", value, record.step)
            self.writer.add_scalar("validation/total", sum(record.validation.values()), record.step)
        if record.pictures is not None:
            self.writer.add_image("pictures", grid(record.pictures)[0], record.step)

    def close(self) -> None:
        """Write what is buffered."""
        self.writer.close()


DEFAULT: Sequence[MakeCallback] = (Log, ImageLog, TensorBoard)
"""The callbacks of the command line and of `train_style` and `train_texture`."""
