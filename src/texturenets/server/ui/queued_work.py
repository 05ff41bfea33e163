"""Long-running work for a page, with a progress bar; it can be cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import gradio as gr

UPDATE_SECONDS = 0.2  # between two updates of the progress bar


class WorkCancelledError(Exception):
    """The work was cancelled; `replaced`: by newer work of the same tab, which shows its own message."""

    def __init__(self, *, replaced: bool) -> None:
        super().__init__("cancelled")
        self.replaced = replaced


class QueuedWork:
    """Runs at most one piece of work for each session and tab."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[str, str], asyncio.Task[Any]] = {}

    async def follow(
        self,
        session: str,
        tab: str,
        coroutine: Coroutine[Any, Any, Any],
        progress: gr.Progress,
        message: Callable[[], str],
        *,
        share: Callable[[], float] | None = None,
    ) -> Any:
        """The result of `coroutine`; until then a progress bar shows `message()`.

        `share`: how much is done, 0 to 1, if that is known.

        Raises what `coroutine` raises, and WorkCancelledError.
        """
        self.cancel(session, tab)
        task = asyncio.create_task(coroutine)
        self.tasks[session, tab] = task
        began = time.monotonic()
        try:
            while not task.done():
                took = time.monotonic() - began
                if share is None:  # the bar approaches its end ever more slowly
                    progress(took / (took + 5), desc=f"{message()} · {took:.0f} s")
                else:
                    progress(share(), desc=message())
                await asyncio.wait({task}, timeout=UPDATE_SECONDS)
            return task.result()
        except asyncio.CancelledError:
            task.cancel()
            raise WorkCancelledError(replaced=self.tasks.get((session, tab), task) is not task) from None
        finally:
            if self.tasks.get((session, tab)) is task:
                del self.tasks[session, tab]

    def cancel(self, session: str, tab: str | None = None) -> None:
        """Cancel the work of a session, in one tab or in all."""
        for (other, other_tab), task in list(self.tasks.items()):
            if other == session and tab in (None, other_tab):
                task.cancel()
