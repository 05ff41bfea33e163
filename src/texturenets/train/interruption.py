"""Ctrl-C during a training: the step at hand is finished and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from texturenets.train.trainer import Trainer


@contextmanager
def interruptible(trainer: Trainer) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the training after the current step, saved; a second Ctrl-C ends it at once.

    Gives the signals that have come. In another thread than the main one none are caught.
    """
    come: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield come
        return

    def stop(number: int, _: Any) -> None:
        if come and number == signal.SIGINT:
            raise KeyboardInterrupt
        come.append(number)
        trainer.stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield come
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
