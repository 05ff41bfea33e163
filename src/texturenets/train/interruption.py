"""Ctrl-C and SIGTERM in a training: it ends after the current step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from texturenets.train.trainer import Trainer

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(trainer: Trainer, signals: Sequence[signal.Signals] = SIGNALS) -> Iterator[list[int]]:
    """`signals` end the training after the current step; a second Ctrl-C ends it at once. Yields the list of
    signals received so far."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def stop(number: int, _: Any) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        trainer.stop = True

    before = {number: signal.signal(number, stop) for number in signals}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
