"""Long work for one visitor: its progress shown, given up when told to or when the page is closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import gradio as gr

from texturenets.web.problems import Problem

STEP = 0.2  # seconds between two looks


class Work:
    """At most one piece of work a visitor and tab."""

    def __init__(self) -> None:
        self.tasks: dict[tuple[str, str], asyncio.Task[Any]] = {}

    async def follow(
        self,
        session: str,
        tab: str,
        coroutine: Coroutine[Any, Any, Any],
        progress: gr.Progress,
        *,
        said: str,
    ) -> Any:
        """What `coroutine` returns; meanwhile a bar with what is `said`.

        Raises gradio.Error with a sentence for whatever it is refused with, and where it was cancelled.
        """
        self.cancel(session, tab)
        task = asyncio.create_task(coroutine)
        self.tasks[session, tab] = task
        began = time.monotonic()
        try:
            while not task.done():
                took = time.monotonic() - began
                # How long it takes nobody knows: the bar nears its end ever more slowly.
                progress(took / (took + 5), desc=f"{said} · {took:.0f} s")
                await asyncio.wait({task}, timeout=STEP)
            return task.result()
        except Problem as problem:
            raise gr.Error(problem.detail, title="That did not work", print_exception=False) from None
        except asyncio.CancelledError:
            task.cancel()
            raise gr.Error("given up", title="Cancelled", duration=3, print_exception=False) from None
        finally:
            if self.tasks.get((session, tab)) is task:
                del self.tasks[session, tab]

    def cancel(self, session: str, tab: str | None = None) -> None:
        """Give up what that visitor waits for, in one tab or in all."""
        for (who, where), task in list(self.tasks.items()):
            if who == session and tab in (None, where):
                task.cancel()
