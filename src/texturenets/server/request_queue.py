"""Requests queued for the engine: two lanes by size, few at once, those of one model together."""

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
from texturenets.server.time_estimate import Pace

SMALL = 2 * 2**20
"""Painted pixels up to which an image goes into the lane of small ones."""

ROOM = {"small": 4, "large": 2}
"""Images in memory as floats at once in each lane: one in the engine, the next ready, others read and written."""

TOGETHER = 8
"""Requests of one model in a row before another model's turn comes."""


class GivenUpError(Exception):
    """Nobody waits for the image any more."""


@dataclass(eq=False)
class QueuedRequest:
    """An image for the engine. `key`: its model; `seconds`: what it takes by the clock, 0 where nobody knows."""

    key: str
    seconds: float
    call: Callable[[QueuedRequest], Any] | None = None
    begun: float = 0.0  # when it came into the engine
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def left(self) -> float:
        """Seconds that are left of it."""
        return max(0.0, self.seconds - (time.monotonic() - self.begun if self.begun else 0.0))

    def check(self) -> None:
        """Raises GivenUpError where nobody waits any more. From any thread, between parts of the work."""
        if self.answer.done():
            raise GivenUpError


class Lane:
    """Images of one class of size; one at a time is in the engine.

    Requests of one model are taken together, each image for itself: the network normalizes every image alone, and
    a batch in one pass would round differently from the same image alone.
    """

    def __init__(self, queue: RequestQueue, name: Literal["small", "large"], most: int) -> None:
        """`most`: requests at once."""
        self.queue, self.name, self.most = queue, name, most
        self.turns: list[QueuedRequest] = []  # whose work in the engine is not over
        self.ready: deque[QueuedRequest] = deque()
        self.room = asyncio.Semaphore(ROOM[name])
        self.news = asyncio.Event()
        self.engine = ThreadPoolExecutor(1, f"engine-{name}")
        self.pool = ThreadPoolExecutor(2 if name == "small" else 1, f"pictures-{name}")

    @asynccontextmanager
    async def turn(self, key: str, pixels: int) -> AsyncIterator[QueuedRequest]:
        """A place in this lane, then room in memory, for an image of `pixels` by the model `key`.

        Raises HTTPProblem (503) at once where the lane is full, and where by the clock it cannot be done in time.
        """
        turn = QueuedRequest(key, self.queue.pace.least(key, pixels))
        self._check(turn, pixels)
        self.turns.append(turn)
        try:
            async with self.room:
                yield turn
        finally:
            turn.answer.cancel()
            if not turn.begun:
                self._over(turn)

    def _check(self, turn: QueuedRequest, pixels: int) -> None:
        """Raises HTTPProblem where the lane is full, and where by the clock `turn` cannot be done in time."""
        most = self.queue.seconds
        ahead = sum(one.left() for one in self.turns)
        if len(self.turns) >= self.most:
            raise self.queue.later(_full(len(self.turns), f"{self.name} image"))
        if turn.seconds > most:
            raise HTTPProblem(
                503,
                f"{pixels / 10**6:.1f} megapixels take about {turn.seconds:.0f} s here, and a request has "
                f"{most:g} s: ask for a smaller image",
            )
        if ahead + turn.seconds > most:
            raise self.queue.later(
                f"it takes about {turn.seconds:.0f} s after {ahead:.0f} s of work before it, and a request has "
                f"{most:g} s: try again later, or ask for a smaller image",
                ahead + turn.seconds - most,
            )

    def _over(self, turn: QueuedRequest) -> None:
        """It is nobody's any more, or done."""
        if turn in self.turns:
            self.turns.remove(turn)
        if turn in self.ready:
            self.ready.remove(turn)

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """`call` in a thread for images that are read or written."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, call)

    async def run(self, turn: QueuedRequest, call: Callable[[QueuedRequest], Any]) -> Any:
        """`call` in the engine's thread, when its turn comes."""
        turn.call = call
        self.ready.append(turn)
        self.news.set()
        return await turn.answer  # cancelled with the request

    async def serve(self) -> None:
        """Let one after the other into the engine, without an end."""
        loop = asyncio.get_running_loop()
        last: Any = None
        row = 0
        while True:
            while not self.ready:
                self.news.clear()
                await self.news.wait()
            turn = self._next(last if row < TOGETHER else None)
            row = row + 1 if turn.key == last else 1
            last = turn.key
            assert turn.call is not None
            turn.begun = time.monotonic()
            try:
                result = await loop.run_in_executor(self.engine, turn.call, turn)
            except Exception as error:  # noqa: BLE001  it is the request's, and is raised there
                if not turn.answer.done():
                    turn.answer.set_exception(error)
            else:
                if not turn.answer.done():
                    turn.answer.set_result(result)
            turn.call = None  # and the image in it
            self._over(turn)
            self.queue.mean += 0.1 * (time.monotonic() - turn.begun - self.queue.mean)

    def close(self) -> None:
        """Let go of what waits."""
        for pool in (self.engine, self.pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def _next(self, key: Any) -> QueuedRequest:
        """The first of that key, else the first of all."""
        turn = next((one for one in self.ready if one.key == key), self.ready[0])
        self.ready.remove(turn)
        return turn


def _full(number: int, thing: str) -> str:
    return f"{counted(number, thing)} {'waits' if number == 1 else 'wait'} already; try again later"


class RequestQueue:
    """A bounded queue with a lane for small images and one for large ones, each with an engine of its own.

    The engines share the cores, so that a small image takes longer beside a large one, but does not wait for it.
    """

    def __init__(self, most: int, seconds: float) -> None:
        """`most`: requests at once; `seconds`: for each."""
        self.most, self.seconds = most, seconds
        self.inside = 0
        self.mean = 1.0  # seconds of a request in the engine, of late
        self.pace = Pace()
        self.small = Lane(self, "small", most)
        self.large = Lane(self, "large", max(1, most // 2))  # the other half is for small ones
        self.tasks: list[asyncio.Task[None]] = []

    def lane(self, pixels: int) -> Lane:
        """The one for images of so many painted pixels."""
        return self.small if pixels <= SMALL else self.large

    def open(self) -> None:
        """Begin to take requests, within a running event loop."""
        self.tasks = [asyncio.create_task(lane.serve()) for lane in (self.small, self.large)]

    async def close(self) -> None:
        """Take no more, and let go of what waits."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for lane in (self.small, self.large):
            lane.close()

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue. Raises HTTPProblem (503, with Retry-After) where it is full."""
        if self.inside >= self.most:
            raise self.later(_full(self.inside, "request"))
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @asynccontextmanager
    async def time(self) -> AsyncIterator[None]:
        """The time that one request has once its body is there. Raises HTTPProblem (503) where it is not enough.

        With Retry-After where others were there before it: alone it would take as long again.
        """
        others = self.inside > 1 or bool(self.small.turns or self.large.turns)
        try:
            async with asyncio.timeout(self.seconds):
                yield
        except TimeoutError:
            said = f"not done within {self.seconds:g} s: ask for a smaller image, or later"
            raise (self.later(said) if others else HTTPProblem(503, said)) from None

    def later(self, detail: str, seconds: float | None = None) -> HTTPProblem:
        """A refusal that says when to come again: in `seconds`, or when the queue will have moved on."""
        now = time.monotonic()
        turns = [*self.small.turns, *self.large.turns]
        at_work = max((now - turn.begun for turn in turns if turn.begun), default=0.0)
        wait = max(self.mean, at_work) * self.inside if seconds is None else seconds
        return HTTPProblem(503, detail, {"Retry-After": str(min(60, max(1, math.ceil(wait))))})

    async def in_thread(self, call: Callable[[], Any]) -> Any:
        """`call` in a thread for small images that are read or written."""
        return await self.small.in_thread(call)
