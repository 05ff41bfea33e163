"""Ctrl-C, SIGTERM and a closed terminal in a training: it ends after the current step, with a checkpoint."""

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

SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
"""Those that end a training, saved. SIGHUP, which Windows lacks: the terminal was closed."""
DOUBLE_PRESS = 1.0  # seconds in which a second Ctrl-C counts as the same one


@contextmanager
def interruptible(
    trainer: Trainer,
    signals: Sequence[signal.Signals] = SIGNALS,
    say: Callable[[str], object] | None = None,
) -> Iterator[list[int]]:
    """`signals` end the training after the current step, saved; Ctrl-C more than DOUBLE_PRESS seconds later ends it
    at once. Yields the list of signals received so far. `say` is called with a line at the first.

    Raises KeyboardInterrupt at such a second Ctrl-C, with the last step that was saved.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    with _in_a_thread(say) as print_line, _handled(_Handler(trainer, received, print_line), signals):
        yield received


@contextmanager
def _handled(handler: _Handler, signals: Sequence[signal.Signals]) -> Iterator[None]:
    hung_up = getattr(signal, "SIGHUP", None)
    ignored = {hung_up} if hung_up and signal.getsignal(hung_up) == signal.SIG_IGN else set()  # by nohup
    before = {number: signal.signal(number, handler) for number in signals if number not in ignored}
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
def _in_a_thread(say: Callable[[str], object] | None) -> Iterator[Callable[[str], object]]:
    """Yields a function that calls `say` in a thread: a signal may arrive while the main thread is printing."""
    lines: SimpleQueue[str | None] = SimpleQueue()  # its `put` is reentrant

    def speak() -> None:
        while (line := lines.get()) is not None:
            with suppress(OSError):  # the terminal was closed
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
    """Handler of the signals, which it adds to `received`."""

    def __init__(self, trainer: Trainer, received: list[int], say: Callable[[str], object]) -> None:
        self.trainer, self.received, self.say = trainer, received, say
        self.aborted = False
        self.first_at = 0.0  # time of the first signal
        self.saved_step = 0  # the last one saved at that time

    def __call__(self, number: int, _: Any) -> None:
        if self.received:
            self.received.append(number)
            if number == signal.SIGINT and self._may_abort():
                self.aborted = True
                raise KeyboardInterrupt
            return
        self.received.append(number)
        self.trainer.stop = True
        self.first_at, self.saved_step = time.monotonic(), self.trainer.saved_step
        again = " again" if number == signal.SIGINT else ""
        self.say(f"finishing this step, then saving; Ctrl-C{again} ends without saving")

    def _may_abort(self) -> bool:
        """Not twice, not at a double press, and not once the step is saved and only processes are left to end."""
        late = time.monotonic() - self.first_at > DOUBLE_PRESS
        return late and not self.aborted and self.trainer.saved_step == self.saved_step
