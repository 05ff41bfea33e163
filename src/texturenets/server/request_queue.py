"""The queue of requests for the engine: bounded, with a lane for small images and one for large ones."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from texturenets.errors import counted
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.time_estimate import TimeEstimate

SMALL_PIXELS = 2 * 2**20
"""Images of up to this many computed pixels go into the lane for small ones."""

DECODED_AT_ONCE = {"small": 4, "large": 2}
"""Decoded images in memory by lane: one in the engine, the next one ready, others being decoded and encoded."""

MAX_SAME_MODEL = 8
"""Requests of one model that may run in a row while other models' wait."""


class GivenUpError(Exception):
    """The request was cancelled: its client no longer waits for the image."""


@dataclass(eq=False)
class QueuedRequest:
    """An image for the engine. `key`: its model; `seconds`: its estimated time, 0 if unknown."""

    key: str
    seconds: float
    call: Callable[[QueuedRequest], Any] | None = None
    started: float = 0.0  # time at which the engine started on it; 0 before
    result: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def seconds_left(self) -> float:
        """Estimated seconds until it is done, once it is in the engine."""
        return max(0.0, self.seconds - (time.monotonic() - self.started if self.started else 0.0))

    def check(self) -> None:
        """Raises GivenUpError if the request was cancelled. Thread-safe; called between parts of the work."""
        if self.result.done():
            raise GivenUpError


class Lane:
    """The queue for images of one size class; the engine computes one of them at a time.

    Requests of one model run in a row, but not as one batch: that would round differently from the same image alone.
    """

    def __init__(self, queue: RequestQueue, name: Literal["small", "large"], max_requests: int) -> None:
        self.queue, self.name, self.max_requests = queue, name, max_requests
        self.requests: list[QueuedRequest] = []  # all that the engine has not finished
        self.ready: deque[QueuedRequest] = deque()  # of these, those whose image is decoded
        self.memory = asyncio.Semaphore(DECODED_AT_ONCE[name])
        self.added = asyncio.Event()
        self.engine = ThreadPoolExecutor(1, f"engine-{name}")
        self.pool = ThreadPoolExecutor(2 if name == "small" else 1, f"images-{name}")

    @asynccontextmanager
    async def enter(self, key: str, pixels: int) -> AsyncIterator[QueuedRequest]:
        """Queue an image of `pixels` for the model `key`; enters the block when there is memory to decode it.

        Raises HTTPProblem (503) at once if the lane is full, or the image is estimated to take too long.
        """
        request = QueuedRequest(key, self.queue.estimate.lower_bound(key, pixels))
        self._check(request, pixels)
        self.requests.append(request)
        try:
            async with self.memory:
                yield request
        finally:
            request.result.cancel()
            if not request.started:
                self._remove(request)

    def _check(self, request: QueuedRequest, pixels: int) -> None:
        """Raises HTTPProblem if the lane is full, or `request` is estimated to take too long."""
        limit = self.queue.seconds
        ahead = sum(one.seconds_left() for one in self.requests)
        if len(self.requests) >= self.max_requests:
            raise self.queue.busy(_full(len(self.requests), f"{self.name} image"))
        if request.seconds > limit:
            raise HTTPProblem(
                503,
                f"{pixels / 10**6:.1f} megapixels take about {request.seconds:.0f} s here, and a request has "
                f"{limit:g} s: ask for a smaller image",
            )
        if ahead + request.seconds > limit:
            raise self.queue.busy(
                f"it takes about {request.seconds:.0f} s after {ahead:.0f} s of work before it, and a request has "
                f"{limit:g} s: try again later, or ask for a smaller image",
                ahead + request.seconds - limit,
            )

    def _remove(self, request: QueuedRequest) -> None:
        if request in self.requests:
            self.requests.remove(request)
        if request in self.ready:
            self.ready.remove(request)

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """The result of `call`, in a thread that decodes and encodes images."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, call)

    async def run(self, request: QueuedRequest, call: Callable[[QueuedRequest], Any]) -> Any:
        """The result of `call(request)`, in the engine's thread, after the requests before it."""
        request.call = call
        self.ready.append(request)
        self.added.set()
        return await request.result  # cancelled with the HTTP request

    async def serve(self) -> None:
        """Run the requests in the engine's thread, one after the other, until cancelled."""
        loop = asyncio.get_running_loop()
        last: Any = None
        in_a_row = 0
        while True:
            while not self.ready:
                self.added.clear()
                await self.added.wait()
            request = self._next(last if in_a_row < MAX_SAME_MODEL else None)
            in_a_row = in_a_row + 1 if request.key == last else 1
            last = request.key
            assert request.call is not None
            request.started = time.monotonic()
            try:
                result = await loop.run_in_executor(self.engine, request.call, request)
            except Exception as error:  # noqa: BLE001  raised in `run`, where the request waits
                if not request.result.done():
                    request.result.set_exception(error)
            else:
                if not request.result.done():
                    request.result.set_result(result)
            request.call = None  # frees the image that it holds
            self._remove(request)
            self.queue.mean_seconds += 0.1 * (time.monotonic() - request.started - self.queue.mean_seconds)

    def close(self) -> None:
        """Stop the threads; requests that have not started are dropped."""
        for pool in (self.engine, self.pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def _next(self, key: Any) -> QueuedRequest:
        """The first request of the model `key`, or without one the first of all."""
        request = next((one for one in self.ready if one.key == key), self.ready[0])
        self.ready.remove(request)
        return request


def _full(number: int, thing: str) -> str:
    return f"{counted(number, thing)} {'waits' if number == 1 else 'wait'} already; try again later"


class RequestQueue:
    """A bounded queue with a lane for small images and one for large ones, each with its own engine. The engines
    share the cores: a small image takes longer while a large one is computed, but does not wait for it.
    """

    def __init__(self, max_requests: int, seconds: float) -> None:
        """`seconds`: the time limit of a request."""
        self.max_requests, self.seconds = max_requests, seconds
        self.count = 0  # number of occupied slots
        self.mean_seconds = 1.0  # moving average of the time of a request in the engine
        self.estimate = TimeEstimate()
        self.small = Lane(self, "small", max_requests)
        self.large = Lane(self, "large", max(1, max_requests // 2))  # the other half is for small ones
        self.tasks: list[asyncio.Task[None]] = []

    def lane(self, pixels: int) -> Lane:
        """The lane for an image of `pixels` computed pixels."""
        return self.small if pixels <= SMALL_PIXELS else self.large

    def open(self) -> None:
        """Start to run requests; needs a running event loop."""
        self.tasks = [asyncio.create_task(lane.serve()) for lane in (self.small, self.large)]

    async def close(self) -> None:
        """Stop running requests; those that have not started are dropped."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for lane in (self.small, self.large):
            lane.close()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupy one of `max_requests` slots in the block. Raises HTTPProblem (503, Retry-After) if none is free."""
        if self.count >= self.max_requests:
            raise self.busy(_full(self.count, "request"))
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1

    @asynccontextmanager
    async def time(self) -> AsyncIterator[None]:
        """The time limit of a request whose body has been read. Raises HTTPProblem (503) when it is over.

        With Retry-After if there were other requests; alone it would take just as long again.
        """
        others = self.count > 1 or bool(self.small.requests or self.large.requests)
        try:
            async with asyncio.timeout(self.seconds):
                yield
        except TimeoutError:
            detail = f"not done within {self.seconds:g} s: ask for a smaller image, or later"
            raise (self.busy(detail) if others else HTTPProblem(503, detail)) from None

    def busy(self, detail: str, seconds: float | None = None) -> HTTPProblem:
        """A response 503 whose Retry-After is `seconds`, or estimated from the requests in the queue."""
        now = time.monotonic()
        requests = [*self.small.requests, *self.large.requests]
        running = max((now - request.started for request in requests if request.started), default=0.0)
        wait = max(self.mean_seconds, running) * self.count if seconds is None else seconds
        return HTTPProblem(503, detail, {"Retry-After": str(min(60, max(1, math.ceil(wait))))})

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """The result of `call`, in a thread that decodes and encodes small images."""
        return await self.small.in_thread(call)
