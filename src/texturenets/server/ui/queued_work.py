"""Long work for one visitor: its progress shown, given up when told to or when the page is closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import gradio as gr

STEP = 0.2  # seconds between two looks


class WorkGivenUpError(Exception):
    """The work was given up; `replaced`: for other work of the same tab, which says what there is to say."""

    def __init__(self, *, replaced: bool) -> None:
        super().__init__("given up")
        self.replaced = replaced


class QueuedWork:
    """At most one piece of work a visitor and tab."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[str, str], asyncio.Task[Any]] = {}

    async def follow(
        self,
        session: str,
        tab: str,
        coroutine: Coroutine[Any, Any, Any],
        progress: gr.Progress,
        said: Callable[[], str],
    ) -> Any:
        """What `coroutine` returns; meanwhile a bar with what is `said`.

        Raises whatever it raises, and GivenUpError where it was cancelled.
        """
        self.cancel(session, tab)
        task = asyncio.create_task(coroutine)
        self.tasks[session, tab] = task
        began = time.monotonic()
        try:
            while not task.done():
                took = time.monotonic() - began
                # How long it takes nobody knows: the bar nears its end ever more slowly.
                progress(took / (took + 5), desc=f"{said()} · {took:.0f} s")
                await asyncio.wait({task}, timeout=STEP)
            return task.result()
        except asyncio.CancelledError:
            task.cancel()
            raise WorkGivenUpError(replaced=self.tasks.get((session, tab), task) is not task) from None
        finally:
            if self.tasks.get((session, tab)) is task:
                del self.tasks[session, tab]

    def cancel(self, session: str, tab: str | None = None) -> None:
        """Give up what that visitor waits for, in one tab or in all."""
        for (who, where), task in list(self.tasks.items()):
            if who == session and tab in (None, where):
                task.cancel()
