"""Ctrl-C and SIGTERM in a training: it ends after the current step, with a checkpoint."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from texturenets.train.trainer import Trainer

SIGNALS = (signal.SIGINT, signal.SIGTERM)
DOUBLE_PRESS = 1.0  # seconds in which a second Ctrl-C is taken for the same one


@contextmanager
def interruptible(
    trainer: Trainer,
    signals: Sequence[signal.Signals] = SIGNALS,
    say: Callable[[str], object] | None = None,
) -> Iterator[list[int]]:
    """`signals` end the training after the current step, saved; Ctrl-C more than DOUBLE_PRESS seconds later ends it
    at once. Gives a list of those that have come. `say` is called with a line at the first.

    Raises KeyboardInterrupt at such a second Ctrl-C, with the last step that was saved.
    """
    come: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield come
        return

    with _said_by_a_thread(say) as told, _handled(_Handler(trainer, come, told), signals):
        yield come


@contextmanager
def _handled(handler: _Handler, signals: Sequence[signal.Signals]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    except KeyboardInterrupt as error:
        if handler.aborted:
            # Ends the processes that read photos here, where one more Ctrl-C does nothing.
            traceback.clear_frames(error.__traceback__)
            step = handler.trainer.saved_step
            kept = f"step {step} was the last that was saved" if step else "no step was saved"
            error.args = (f"ended without saving: {kept}",)
        raise
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _said_by_a_thread(say: Callable[[str], object] | None) -> Iterator[Callable[[str], object]]:
    """What is given to this function a thread says: a signal may come while the main thread is in the middle of
    printing, or of importing what prints."""
    lines: SimpleQueue[str | None] = SimpleQueue()  # whose `put` may interrupt itself

    def speak() -> None:
        while (line := lines.get()) is not None:
            with suppress(OSError):  # a terminal that is gone
                if say:
                    say(line)

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield lines.put
    finally:
        lines.put(None)
        thread.join()


class _Handler:
    """Of the signals; it adds them to `come`."""

    def __init__(self, trainer: Trainer, come: list[int], say: Callable[[str], object]) -> None:
        self.trainer, self.come, self.say = trainer, come, say
        self.aborted = False
        self.asked = 0.0  # when, and what was saved by then
        self.saved_step = 0

    def __call__(self, number: int, _: Any) -> None:
        if self.come:
            self.come.append(number)
            if number == signal.SIGINT and self._may_abort():
                self.aborted = True
                raise KeyboardInterrupt
            return
        self.come.append(number)
        self.trainer.stop = True
        self.asked, self.saved_step = time.monotonic(), self.trainer.saved_step
        again = " again" if number == signal.SIGINT else ""
        self.say(f"finishing this step, then saving; Ctrl-C{again} ends without saving")

    def _may_abort(self) -> bool:
        """Not twice, not at a double press, and not once the step is saved and only processes are left to end."""
        late = time.monotonic() - self.asked > DOUBLE_PRESS
        return late and not self.aborted and self.trainer.saved_step == self.saved_step
