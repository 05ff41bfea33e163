"""Trainings of a service: one at a time, in the order asked for, and found again by the next service."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="locks as Unix has them")

from texturenets.errors import UserError
from texturenets.web.trainings import Trainings

# Trains as `texturenets train` does, with nothing in it: a "step" a 50th of a second, every one saved.
TRAINER = """
import json, pathlib, signal, sys, time
words = sys.argv[1:]
out = pathlib.Path(words[words.index("-o") + 1])
steps = int(words[words.index("--steps") + 1])
run = out.with_suffix(".run")
(run / "pictures").mkdir(parents=True, exist_ok=True)
saved = run / "checkpoint.safetensors"
assert saved.exists() == ("--resume" in words), "resume where there is something, and not else"
step = int(saved.read_text()) if saved.exists() else 0
if "bad" in out.stem:
    print("texturenets: the painting is no picture", file=sys.stderr)
    sys.exit(2)
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
with (run / "records.jsonl").open("a") as log:
    while step < steps and not stop:
        time.sleep(0.02)
        step += 1
        log.write(json.dumps({"step": step, "seconds": step * 0.5, "losses": {"a": 1.0, "b": 2.0}}) + "\\n")
        log.flush()
        saved.write_text(str(step))
if stop:
    sys.exit(130)
out.write_text("a model")
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Trainings]:
    """Services one after the other over one folder."""
    (tmp_path / "trainer.py").write_text(TRAINER)
    for name in ("models", "photos"):
        (tmp_path / name).mkdir()
    command = [sys.executable, str(tmp_path / "trainer.py")]
    return lambda: Trainings(tmp_path / "models", tmp_path / "photos", command)


def add(trainings: Trainings, name: str, steps: int = 3) -> None:
    trainings.add(name, "style", b"picture", ".png", preset="default", steps=steps)


def until(trainings: Trainings, name: str, *states: str) -> None:
    """Look after `trainings` until that one is in one of those states."""
    ends = time.monotonic() + 60
    while trainings.find(name).state not in states:
        assert time.monotonic() < ends, trainings.find(name)
        trainings.tick()
        time.sleep(0.01)


def begun(trainings: Trainings, name: str, step: int = 1) -> None:
    """Until it has done so many steps."""
    ends = time.monotonic() + 60
    while trainings.report(trainings.find(name))["step"] < step:
        assert time.monotonic() < ends
        trainings.tick()
        time.sleep(0.01)


def test_they_run_one_after_the_other(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "first")
    add(trainings, "second")
    trainings.tick()
    assert [job.state for job in trainings.jobs()] == ["running", "queued"]
    until(trainings, "first", "done")
    assert trainings.find("second").state in ("queued", "running")
    until(trainings, "second", "done")
    report = trainings.report(trainings.find("second"))
    assert (report["step"], report["losses"]) == (3, {"a": 1.0, "b": 2.0})
    assert report["total"][-1] == [3, 3.0]
    assert (trainings.folder / "second.safetensors").read_text() == "a model"


def test_stop_and_resume(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "long", 1000)
    begun(trainings, "long", 2)
    report = trainings.report(trainings.find("long"))
    assert report["seconds_left"] == round((1000 - report["step"]) * 0.5)
    trainings.stop("long")
    ends = time.monotonic() + 60
    while trainings._alive("long"):
        assert time.monotonic() < ends
        trainings.tick()
    step = trainings.report(trainings.find("long"))["step"]
    trainings.tick()
    assert trainings.find("long").state == "stopped"
    trainings.resume("long")
    begun(trainings, "long", step + 1)
    trainings.close()
    assert not trainings._alive("long")


def test_the_next_service_finds_a_training_that_lives(make: Callable[[], Trainings]) -> None:
    first = make()
    add(first, "long", 1000)
    begun(first, "long")
    second = make()  # as after a kill: nobody told the process
    add(second, "next")
    second.tick()
    assert second.find("long").pid == first.find("long").pid  # not started again
    assert second.find("next").state == "queued"
    second.close()
    assert not second._alive("long")
    third = make()  # what was at work when the service ended goes on
    step = third.report(third.find("long"))["step"]
    begun(third, "long", step + 1)
    third.close()


def test_a_process_that_died_is_taken_up_again(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "long", 1000)
    begun(trainings, "long", 2)
    before = trainings.find("long").pid
    os.kill(before, signal.SIGKILL)
    trainings.children[next(iter(trainings.children))].wait()
    again = make()
    step = again.report(again.find("long"))["step"]
    begun(again, "long", step + 1)
    assert again.find("long").pid != before
    again.close()


def test_a_mistake_is_told_and_does_not_stop_the_queue(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "bad")
    add(trainings, "good")
    until(trainings, "good", "done")
    bad = trainings.find("bad")
    assert (bad.state, bad.reason) == ("failed", "texturenets: the painting is no picture")


def test_names(make: Callable[[], Trainings]) -> None:
    trainings = make()
    for name in ("../up", "", "a/b", ".hidden", "x" * 65, "a b", "a\n"):
        with pytest.raises(UserError, match="name"):
            add(trainings, name)
        with pytest.raises(UserError, match="no training"):
            trainings.find(name)
    add(trainings, "mine")
    with pytest.raises(UserError, match="already"):
        add(trainings, "mine")
    trainings.stop("mine")
    trainings.tick()
    assert trainings.find("mine").state == "stopped"
