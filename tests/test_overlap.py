"""Reading, computing and writing at once, in order, each mistake its own job's."""

from __future__ import annotations

import threading

import pytest

from texturenets.errors import UserError
from texturenets.overlap import overlapped


def test_three_jobs_at_once_in_order() -> None:
    reading, writing = threading.Event(), threading.Event()
    seen: list[str] = []

    def decode(job: int) -> int:
        if job == 2:
            reading.set()
        return job

    def compute(job: int, read: int) -> int:
        if job == 1:  # goes on only when the next is being read and the one before is being written
            assert reading.wait(10)
            assert writing.wait(10)
        return 10 * read

    def encode(job: int, made: int) -> None:
        if job == 0:
            writing.set()
        seen.append(f"{job}:{made}")

    outcomes = list(overlapped(range(5), decode, compute, encode))
    assert outcomes == [(job, None) for job in range(5)]
    assert seen == [f"{job}:{10 * job}" for job in range(5)]


def test_a_mistake_ends_its_own_job_and_a_bug_ends_all() -> None:
    def fail(stage: str) -> list[tuple[int, str | None]]:
        def at(here: str, job: int) -> int:
            if here == stage and job == 1:
                raise UserError(f"{stage} of {job}")
            return job

        outcomes = overlapped(
            range(3),
            lambda j: at("decode", j),
            lambda j, _: at("compute", j),
            lambda j, _: at("encode", j) and None,
        )
        return [(job, str(error) if error else None) for job, error in outcomes]

    for stage in ("decode", "compute", "encode"):
        assert fail(stage) == [(0, None), (1, f"{stage} of 1"), (2, None)]
    with pytest.raises(ZeroDivisionError):
        list(overlapped(range(3), lambda j: 1 // (j - 1), lambda _, r: r, lambda *_: None))


def test_nothing_is_read_far_ahead() -> None:
    read: list[int] = []
    jobs = overlapped(range(100), read.append, lambda *_: None, lambda *_: None)
    for _ in range(3):
        next(jobs)
    assert len(read) <= 6
    jobs.close()  # type: ignore[attr-defined]
