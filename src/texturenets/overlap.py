"""A pipeline: reads the next job, computes the current one and writes the previous one at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from texturenets.errors import UserError

J = TypeVar("J")
D = TypeVar("D")
M = TypeVar("M")


def overlapped(
    jobs: Iterable[J],
    decode: Callable[[J], D],
    compute: Callable[[J, D], M],
    encode: Callable[[J, M], None],
) -> Generator[tuple[J, UserError | None]]:
    """Run every job through `decode`, `compute` and `encode`; yields each finished job with its error or None, in
    order. `compute` runs in the caller's thread, the others each in a separate thread, so that at most three jobs are
    in memory. A UserError ends only its job; other errors end all.
    """
    with ThreadPoolExecutor(1, "decode") as reader, ThreadPoolExecutor(1, "encode") as writer:
        rest = iter(jobs)
        ahead: deque[tuple[J, Future[D]]] = deque()
        waiting: deque[tuple[J, Future[None]]] = deque()

        def look_ahead() -> None:
            for job in rest:
                ahead.append((job, reader.submit(decode, job)))
                return

        try:
            look_ahead()
            while ahead:
                job, read = ahead.popleft()
                look_ahead()
                waiting.append((job, _after(read, job, compute, encode, writer)))
                while len(waiting) > 1 or (waiting and waiting[0][1].done()):
                    yield _outcome(*waiting.popleft())
            while waiting:
                yield _outcome(*waiting.popleft())
        finally:
            for pool in (reader, writer):
                pool.shutdown(wait=False, cancel_futures=True)


def _after(
    read: Future[D],
    job: J,
    compute: Callable[[J, D], M],
    encode: Callable[[J, M], None],
    writer: ThreadPoolExecutor,
) -> Future[None]:
    """Wait for a job's `decode`, compute it, and submit its `encode`."""
    try:
        return writer.submit(encode, job, compute(job, read.result()))
    except UserError as error:
        failed: Future[None] = Future()
        failed.set_exception(error)
        return failed


def _outcome(job: J, future: Future[None]) -> tuple[J, UserError | None]:
    try:
        future.result()
    except UserError as error:
        return job, error
    return job, None
