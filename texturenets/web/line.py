"""Requests in line for the engine: few at once, at most so many waiting, those of one model together."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from texturenets.web.problems import Problem

DECODED = 4
"""Pictures in memory as floats at once: one in the engine, the next ready, one being read, one being written."""

TOGETHER = 8
"""Requests of one model in a row before another model's turn comes."""


@dataclass
class _Job:
    key: Any
    call: Callable[[], Any]
    answer: asyncio.Future[Any]


class Line:
    """A bounded line. One picture at a time is in the engine, which takes all cores; others are read and written.

    Requests of one model are taken together, each picture for itself: the network normalizes every picture alone, and
    a batch in one pass would round differently from the same picture alone.
    """

    def __init__(self, most: int, seconds: float) -> None:
        """`most`: requests at once; `seconds`: for each."""
        self.most, self.seconds = most, seconds
        self.inside = 0
        self.mean = 1.0  # seconds of a request in the engine, of late
        self.jobs: deque[_Job] = deque()
        self.room = asyncio.Semaphore(DECODED)
        self.news = asyncio.Event()
        self.engine = ThreadPoolExecutor(1, "engine")
        self.pool = ThreadPoolExecutor(2, "pictures")
        self.task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to take requests, within a running event loop."""
        self.task = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Take no more, and let go of what waits."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        for pool in (self.engine, self.pool):
            pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the line. Raises Problem (503, with Retry-After) where it is full."""
        if self.inside >= self.most:
            raise self._later(f"{self.inside} requests wait already; try again later")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @asynccontextmanager
    async def time(self) -> AsyncIterator[None]:
        """The time that one request has once its body is there. Raises Problem (503) where it is not enough."""
        try:
            async with asyncio.timeout(self.seconds):
                yield
        except TimeoutError:
            said = f"not done within {self.seconds:g} s: ask for a smaller picture, or later"
            raise self._later(said) from None

    def _later(self, detail: str) -> Problem:
        wait = min(60, max(1, math.ceil(self.mean * self.inside)))
        return Problem(503, detail, {"Retry-After": str(wait)})

    async def apart(self, call: Callable[[], Any]) -> Any:
        """`call` in a thread for pictures that are read or written."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, call)

    async def run(self, key: Any, call: Callable[[], Any]) -> Any:
        """`call` in the engine's thread, when its turn comes; `key` says which model it is for."""
        job = _Job(key, call, asyncio.get_running_loop().create_future())
        self.jobs.append(job)
        self.news.set()
        return await job.answer  # cancelled with the request

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        last: Any = None
        row = 0
        while True:
            while not self.jobs:
                self.news.clear()
                await self.news.wait()
            job = self._next(last if row < TOGETHER else None)
            row = row + 1 if job.key == last else 1
            last = job.key
            if job.answer.done():  # given up
                continue
            began = time.monotonic()
            try:
                result = await loop.run_in_executor(self.engine, job.call)
            except Exception as error:  # noqa: BLE001  it is the request's, and is raised there
                if not job.answer.done():
                    job.answer.set_exception(error)
            else:
                if not job.answer.done():
                    job.answer.set_result(result)
            self.mean += 0.1 * (time.monotonic() - began - self.mean)

    def _next(self, key: Any) -> _Job:
        """The first job of that key, else the first of all."""
        job = next((one for one in self.jobs if one.key == key), self.jobs[0])
        self.jobs.remove(job)
        return job
