"""Trainings of a service: one at a time, in the order asked for, and found again by the next service."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from texturenets.cli.common import with_flags
from texturenets.perceptual import weights
from texturenets.perceptual.weights import finding
from texturenets.train import checkpoint, fingerprint
from texturenets.train.configuration import StyleConfig
from texturenets.train.run_folder import RunFolder

pytest.importorskip("fcntl", reason="locks as Unix has them")

from texturenets.errors import DiskFullError, UserError
from texturenets.server import training_runner as module
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.training_files import TrainingJob
from texturenets.server.training_records import Records
from texturenets.server.trainings import Trainings

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
    print("texturenets: the painting is not an image", file=sys.stderr)
    sys.exit(2)
with (run / "starts").open("a") as starts:
    starts.write("x")
with (out.parent.parent / "order").open("a") as order:
    order.write(out.stem + "\\n")
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
    while trainings.files.find(name).state not in states:
        assert time.monotonic() < ends, trainings.files.find(name)
        trainings.runner.poll()
        time.sleep(0.01)


def begun(trainings: Trainings, name: str, step: int = 1) -> None:
    """Until it has done so many steps."""
    ends = time.monotonic() + 60
    while trainings.reports.of(trainings.files.find(name))["step"] < step:
        assert time.monotonic() < ends
        trainings.runner.poll()
        time.sleep(0.01)


def test_they_run_one_after_the_other(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "first")
    add(trainings, "second")
    trainings.runner.poll()
    assert [job.state for job in trainings.jobs()] == ["running", "queued"]
    until(trainings, "first", "done")
    assert trainings.files.find("second").state in ("queued", "running")
    until(trainings, "second", "done")
    report = trainings.reports.of(trainings.files.find("second"))
    assert (report["step"], report["losses"]) == (3, {"a": 1.0, "b": 2.0})
    assert report["total"][-1] == [3, 3.0]
    assert (trainings.folder / "second.safetensors").read_text() == "a model"


def test_stop_and_resume(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "long", 1000)
    begun(trainings, "long", 2)
    report = trainings.reports.of(trainings.files.find("long"))
    assert report["seconds_left"] == round((1000 - report["step"]) * 0.5)
    trainings.stop("long")
    told = trainings.reports.of(trainings.files.find("long"))
    assert told["state"] == ("stopping" if told["at_work"] else "stopped")
    ends = time.monotonic() + 60
    while trainings.files.alive("long"):
        assert time.monotonic() < ends
        trainings.runner.poll()
    assert trainings.reports.of(trainings.files.find("long"))["state"] == "stopped"
    step = trainings.reports.of(trainings.files.find("long"))["step"]
    trainings.runner.poll()
    assert trainings.files.find("long").state == "stopped"
    trainings.resume("long")
    begun(trainings, "long", step + 1)
    trainings.runner.close()
    assert not trainings.files.alive("long")


def test_one_that_ends_while_the_service_stops_is_done(
    make: Callable[[], Trainings], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trainings = make()
    add(trainings, "short", 20)
    begun(trainings, "short")
    monkeypatch.setattr(trainings.runner, "terminate", lambda job: None)  # it was at its last step
    trainings.runner.close()
    told = [r.fields for r in caplog.records if r.getMessage() == "training"]  # type: ignore[attr-defined]
    assert [line["state"] for line in told][-1] == "done"
    assert trainings.files.find("short").state == "done"


def test_one_that_is_resumed_while_it_saves_waits_for_its_turn(
    make: Callable[[], Trainings], tmp_path: Path
) -> None:
    trainer = tmp_path / "trainer.py"
    trainer.write_text(TRAINER.replace("    sys.exit(130)", "    time.sleep(0.5)\n    sys.exit(130)"))
    trainings = make()
    add(trainings, "long", 1000)
    add(trainings, "next")
    begun(trainings, "long")
    trainings.stop("long")
    trainings.resume("long")
    until(trainings, "next", "done")
    begun(trainings, "long", trainings.reports.of(trainings.files.find("long"))["step"] + 1)
    assert (tmp_path / "order").read_text().split() == ["long", "next", "long"]
    trainings.runner.close()


def test_ends_of_the_service_are_no_tries(make: Callable[[], Trainings], tmp_path: Path) -> None:
    (tmp_path / "trainer.py").write_text("import time\ntime.sleep(60)\n")  # SIGTERM ends it without a step
    for _ in range(module.MAX_TRIES + 1):
        trainings = make()
        if not trainings.jobs():
            add(trainings, "long")
        until(trainings, "long", "running")
        trainings.runner.close()
        job = trainings.files.find("long")
        assert (job.state, job.tries, job.pid) == ("queued", 0, 0)


def test_no_training_starts_while_the_service_ends(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "waiting")
    trainings.runner.closing.set()
    trainings.runner.poll()
    assert trainings.files.find("waiting").state == "queued"


def test_what_still_saves_is_stopping(make: Callable[[], Trainings], monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = make()
    add(trainings, "long", 1000)
    trainings.stop("long")
    assert trainings.reports.of(trainings.files.find("long"))["state"] == "stopped"
    monkeypatch.setattr(trainings.files, "alive", lambda name: True)
    assert trainings.reports.of(trainings.files.find("long"))["state"] == "stopping"


@pytest.mark.parametrize("offline", [True, False])
def test_weights_that_are_not_there_are_told_to_whoever_runs_the_service(
    make: Callable[[], Trainings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, offline: bool
) -> None:
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "1")
    if not offline:
        monkeypatch.delenv("TEXTURENETS_OFFLINE")

        def fail(*_: object, **__: object) -> None:
            raise UserError("no network")

        monkeypatch.setattr(finding, "download", fail)
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TEXTURENETS_WEIGHTS", raising=False)
    with pytest.raises(UserError) as error:
        weights.load("squeezenet1_1")
    trainings = make()
    add(trainings, "mine")
    job = trainings.files.find("mine")
    (trainings.files.job_dir("mine") / "output.txt").write_text(f"texturenets: {error.value}\n")
    said = trainings.runner.reason(job)
    (file,) = re.findall(r"fetch (\S+)", str(error.value))
    assert file.startswith("https://") == offline
    assert said == (
        f"descriptor weights are missing: the service's operator has to put {file}, or another file whose name "
        "begins with squeezenet1_1 or squeezenet_v1.1 or squeezenet1.1, into a folder that its TEXTURENETS_WEIGHTS "
        "names; then resume it"
    )


def test_the_next_service_finds_a_training_that_lives(make: Callable[[], Trainings]) -> None:
    first = make()
    add(first, "long", 1000)
    begun(first, "long")
    second = make()  # as after a kill: nobody told the process
    add(second, "next")
    second.runner.poll()
    assert second.files.find("long").pid == first.files.find("long").pid  # not started again
    assert second.files.find("next").state == "queued"
    second.runner.close()
    assert not second.files.alive("long")
    third = make()  # what was at work when the service ended goes on
    step = third.reports.of(third.files.find("long"))["step"]
    begun(third, "long", step + 1)
    third.runner.close()


def test_a_process_that_died_is_taken_up_again(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "long", 1000)
    begun(trainings, "long", 2)
    before = trainings.files.find("long").pid
    os.kill(before, signal.SIGKILL)
    trainings.runner.children[next(iter(trainings.runner.children))].wait()
    again = make()
    step = again.reports.of(again.files.find("long"))["step"]
    begun(again, "long", step + 1)
    assert again.files.find("long").pid != before
    again.runner.close()


def test_one_that_is_killed_every_time_says_so(make: Callable[[], Trainings], tmp_path: Path) -> None:
    trainings = make()
    (tmp_path / "trainer.py").write_text(
        "import os, signal, sys\n"
        "print('texturenets: only 5 photos to train on', file=sys.stderr, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    add(trainings, "mine")
    until(trainings, "mine", "failed")
    said = "its process was killed 3 times (SIGKILL), as where memory runs out: resume it when there is more"
    assert trainings.files.find("mine").reason == said


def test_words_of_an_earlier_start_are_no_reason(make: Callable[[], Trainings], tmp_path: Path) -> None:
    trainings = make()
    (tmp_path / "trainer.py").write_text("import sys\nsys.exit(2)\n")
    add(trainings, "mine")
    (trainings.files.job_dir("mine") / "output.txt").write_text(f"saved, and {tmp_path} is its folder\n")
    until(trainings, "mine", "failed")
    assert trainings.files.find("mine").reason == "its process ended without an error message: resume it"


def test_a_damaged_checkpoint_is_told_without_the_command_line(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "mine")
    run = trainings.folder / "mine.run"
    run.mkdir()
    (run / "checkpoint.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError) as error:
        checkpoint.read_state(run)
    (trainings.files.job_dir("mine") / "output.txt").write_text(f"texturenets: {error.value}\n")
    said = trainings.runner.reason(trainings.files.find("mine"))
    assert (
        said
        == "its checkpoint is damaged: restore checkpoint.safetensors, or start a training with another name"
    )
    (run / "checkpoint.safetensors").rename(run / "last.safetensors")
    with pytest.raises(UserError) as error:
        RunFolder(run.with_suffix(".safetensors")).check_new(StyleConfig(), resume=False)
    (trainings.files.job_dir("mine") / "output.txt").write_text(f"texturenets: {error.value}\n")
    said = trainings.runner.reason(trainings.files.find("mine"))
    assert said == "its checkpoint is missing: start it again, under this name or another"


def test_a_mistake_is_told_and_does_not_stop_the_queue(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "bad")
    add(trainings, "good")
    until(trainings, "good", "done")
    bad = trainings.files.find("bad")
    assert (bad.state, bad.reason) == ("failed", "texturenets: the painting is not an image")


def test_the_status_of_a_process_that_is_about_to_be_gone_is_waited_for(
    make: Callable[[], Trainings], tmp_path: Path
) -> None:
    trainings = make()
    # The lock is let go before the status is there, as the system does it too.
    (tmp_path / "trainer.py").write_text(
        "import os, pathlib, sys, time\n"
        "with (pathlib.Path(sys.argv[sys.argv.index('-o') + 1]).parent / 'starts').open('a') as file:\n"
        "    file.write('x')\n"
        "os.closerange(3, 64)\ntime.sleep(0.3)\nsys.exit(2)\n"
    )
    add(trainings, "mine")
    until(trainings, "mine", "failed")
    assert (trainings.folder / "starts").read_text() == "x"


def test_a_long_reason_keeps_its_end(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "mine")
    words = " ".join(f"/some/where/{i}.jpg," for i in range(500))
    (trainings.folder / "mine.job" / "output.txt").write_text(
        f"loading\ncannot read {words} give --content\n\n"
    )
    said = trainings.files.last_output_line("mine")
    assert said.startswith("cannot read /some/where/0.jpg")
    assert said.endswith("/some/where/499.jpg, give --content")
    assert 800 < len(said) < 1100


def test_a_new_training_takes_the_name_of_a_failed_one(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "bad")
    until(trainings, "bad", "failed")
    trainings.add("bad", "style", b"another", ".jpg", preset="default", steps=4)
    assert trainings.files.find("bad").state == "queued"
    assert {path.name for path in (trainings.folder / "bad.job").iterdir()} == {"job.json", "exemplar.jpg"}
    assert not (trainings.folder / "bad.run").exists()
    until(trainings, "bad", "failed")
    (trainings.folder / "bad.run" / "checkpoint.safetensors").write_text("2")  # there is something to lose
    for state in ("failed", "stopped"):
        trainings.files.write(replace(trainings.files.find("bad"), state=state))  # type: ignore[arg-type]
        with pytest.raises(
            HTTPProblem, match=r"bad already, .*: resume it \(POST /v1/trainings/bad/resume\)"
        ):
            add(trainings, "bad")
    assert (trainings.folder / "bad.run" / "checkpoint.safetensors").read_text() == "2"


def test_the_log_says_what_trainings_do(
    make: Callable[[], Trainings], caplog: pytest.LogCaptureFixture
) -> None:
    trainings = make()
    with caplog.at_level(logging.INFO, "texturenets.server"):
        for name in ("good", "bad"):
            add(trainings, name)
            until(trainings, name, "done", "failed")
        add(trainings, "long", 1000)
        begun(trainings, "long", 2)
        trainings.stop("long")
        while trainings.files.alive("long"):
            trainings.runner.poll()
        trainings.runner.poll()
        step = trainings.reports.of(trainings.files.find("long"))["step"]
        trainings.resume("long")
        begun(trainings, "long", step + 1)
        trainings.runner.close()
    lines = [r.fields for r in caplog.records]  # type: ignore[attr-defined]
    told = [(line["training"], line["state"]) for line in lines]
    assert told == [
        *[("good", state) for state in ("running", "done")],
        *[("bad", state) for state in ("running", "failed")],
        *[
            ("long", state)
            for state in ("running", "stopping", "stopped", "queued", "running", "interrupted")
        ],
    ]
    ended = [line for line in lines if line["state"] in ("done", "failed", "stopped")]
    assert [line["seconds"] >= 0 for line in ended] == [True] * 3
    assert lines[3]["reason"] == "texturenets: the painting is not an image"
    assert {r.levelname for r in caplog.records if r.fields["state"] == "failed"} == {"WARNING"}  # type: ignore[attr-defined]


def test_names(make: Callable[[], Trainings]) -> None:
    trainings = make()
    for name in ("../up", "", "a/b", ".hidden", "x" * 65, "a b", "a\n"):
        with pytest.raises(HTTPProblem, match="name"):
            add(trainings, name)
        with pytest.raises(HTTPProblem, match="no training"):
            trainings.files.find(name)
    add(trainings, "mine")
    with pytest.raises(HTTPProblem, match="already"):
        add(trainings, "mine")
    trainings.stop("mine")
    trainings.runner.poll()
    assert trainings.files.find("mine").state == "stopped"


def waited(trainings: Trainings, name: str, *states: str) -> None:
    """Until that one, which a thread looks after, is in one of those states."""
    ends = time.monotonic() + 60
    while trainings.files.find(name).state not in states:
        assert time.monotonic() < ends, trainings.files.find(name)
        time.sleep(0.01)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


@pytest.mark.usefixtures("quick")
def test_a_full_disk_stops_nothing_for_good(
    make: Callable[[], Trainings], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trainings = make()
    add(trainings, "first")
    add(trainings, "second")
    write, full = trainings.files.write, threading.Event()
    full.set()

    tries = []

    def writing(job: TrainingJob) -> TrainingJob:
        if full.is_set():
            tries.append(job)
            raise DiskFullError("cannot write job.json: No space left on device")
        return write(job)

    monkeypatch.setattr(trainings.files, "write", writing)
    with caplog.at_level(logging.ERROR, "texturenets.server"):
        trainings.runner.open()
        ends = time.monotonic() + 60
        while len(tries) < 8:
            assert time.monotonic() < ends
            time.sleep(0.01)
    assert [job.state for job in trainings.jobs()] == ["queued", "queued"]
    assert 1 <= len(caplog.records) < len(tries)  # not a line each time
    assert not trainings.runner.children  # what could not be written down is not started, over and over
    assert "disk is full" in trainings.reports.of(trainings.files.find("first"))["reason"]
    full.clear()
    waited(trainings, "second", "done")
    assert trainings.files.find("first").state == "done"
    assert (trainings.folder / "first.run" / "starts").read_text() == "x"
    assert trainings.reports.of(trainings.files.find("first"))["reason"] == ""
    trainings.runner.close()


def test_without_room_nothing_is_started(
    make: Callable[[], Trainings], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = make()
    add(trainings, "first")
    free = [module.MIN_FREE_BYTES - 1]
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    trainings.runner.poll()
    assert trainings.files.find("first").state == "queued"
    assert "disk is full" in trainings.reports.of(trainings.files.find("first"))["reason"]
    free[0] += 1
    until(trainings, "first", "done")


@pytest.mark.usefixtures("quick")
def test_a_stop_that_is_refused_for_a_full_disk_does_nothing(
    make: Callable[[], Trainings], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = make()
    add(trainings, "long", steps=10**6)
    trainings.runner.open()
    waited(trainings, "long", "running")
    begun(trainings, "long")
    write = trainings.files.write

    def writing(job: TrainingJob) -> TrainingJob:
        raise DiskFullError("cannot write job.json: No space left on device")

    monkeypatch.setattr(trainings.files, "write", writing)
    with pytest.raises(DiskFullError):
        trainings.stop("long")
    monkeypatch.setattr(trainings.files, "write", write)
    begun(trainings, "long", trainings.reports.of(trainings.files.find("long"))["step"] + 5)
    assert trainings.files.find("long").state == "running"
    assert trainings.stop("long").state == "stopped"
    trainings.runner.close()


FULL = TRAINER.replace(
    "    sys.exit(130)",
    "    time.sleep(0.3)\n    print('texturenets: cannot write last.safetensors: No space left on device', "
    "file=sys.stderr)\n    sys.exit(2)",
)
"""Its disk is full when it is told to end."""


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What the log says of trainings."""
    return [r.fields for r in caplog.records if r.getMessage() == "training"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "way", ["stop", "stop, then resume", "stop, then another service", "end of the service"]
)
def test_a_stop_that_cannot_save_has_failed(
    make: Callable[[], Trainings], tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    (tmp_path / "trainer.py").write_text(FULL)
    caplog.set_level(logging.INFO, "texturenets.server")
    trainings = make()
    add(trainings, "long", 1000)
    begun(trainings, "long")
    if way == "end of the service":
        trainings.runner.close()
    else:
        trainings.stop("long")
        if way == "stop, then resume":
            trainings.resume("long")
        while trainings.files.alive("long"):
            time.sleep(0.01)
        if way == "stop, then another service":
            trainings = make()
        trainings.runner.poll()
    job = trainings.files.find("long")
    assert (job.state, job.reason) == ("failed", module.DISK_WAS_FULL)
    assert (lines(caplog)[-1]["state"], lines(caplog)[-1]["reason"]) == ("failed", module.DISK_WAS_FULL)
    assert trainings.resume("long").state == "queued"
    trainings.runner.close()


@pytest.mark.parametrize("still_saves", [False, True])
def test_the_end_is_logged_however_soon_it_is_resumed(
    make: Callable[[], Trainings], caplog: pytest.LogCaptureFixture, *, still_saves: bool
) -> None:
    caplog.set_level(logging.INFO, "texturenets.server")
    trainings = make()
    add(trainings, "long", 1000)
    begun(trainings, "long")
    trainings.stop("long")
    while not still_saves and trainings.files.alive("long"):
        time.sleep(0.01)
    trainings.resume("long")  # before the runner has looked
    ends = time.monotonic() + 60
    while len(lines(caplog)) < 5:
        assert time.monotonic() < ends
        trainings.runner.poll()
    told = lines(caplog)
    ended, queued = (3, 2) if still_saves else (2, 3)
    assert [told[0]["state"], told[1]["state"], told[4]["state"]] == ["running", "stopping", "running"]
    assert (told[ended]["state"], told[queued]["state"]) == ("stopped", "queued")
    assert told[ended]["seconds"] >= 0
    trainings.runner.close()


def test_what_ends_while_its_lock_is_waited_for_is_not_started_again(
    make: Callable[[], Trainings], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = make()
    add(trainings, "mine")
    hold = trainings.files.hold

    @contextmanager
    def late(name: str) -> Iterator[Any]:
        with hold(name) as lock:
            (trainings.folder / "mine.safetensors").write_text("a model")  # by the process that held it
            yield lock

    monkeypatch.setattr(trainings.files, "hold", late)
    trainings.runner.poll()
    assert trainings.files.find("mine").state == "done"
    assert not trainings.runner.children


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_started_does_not_hold_up_the_next(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "odd")
    (trainings.folder / "odd.job" / "output.txt").mkdir()
    add(trainings, "good")
    trainings.runner.open()
    waited(trainings, "good", "done")
    (trainings.folder / "odd.job" / "output.txt").rmdir()
    waited(trainings, "odd", "done")
    trainings.runner.close()


@pytest.mark.usefixtures("quick")
def test_reports_do_not_keep_a_training_from_its_start(make: Callable[[], Trainings]) -> None:
    trainings = make()
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.01):  # without a rest the threads leave the trainings no time to start
            for job in trainings.jobs():
                trainings.reports.of(job)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    trainings.runner.open()
    try:
        for i in range(2):
            add(trainings, f"n{i}", 1)
            (trainings.folder / f"n{i}.job" / "lock").touch()
        for i in range(2):
            waited(trainings, f"n{i}", "done")
    finally:
        over.set()
        for thread in threads:
            thread.join()
        trainings.runner.close()


@pytest.mark.usefixtures("quick")
def test_two_services_on_one_folder(make: Callable[[], Trainings]) -> None:
    first, second = make(), make()
    for one in (first, second):
        one.runner.open()
    for i in range(3):
        add((first, second)[i % 2], f"n{i}")
    add(second, "long", 1000)
    for i in range(3):
        waited(second, f"n{i}", "done")
        assert (first.folder / f"n{i}.run" / "starts").read_text() == "x"
    waited(second, "long", "running")
    with pytest.raises(HTTPProblem, match="already"):
        add(second, "n0")
    keeper, other = (first, second) if first.runner.folder_lock else (second, first)
    other.runner.close()
    assert keeper.files.alive("long")  # it is not that one's
    other = make()
    other.runner.open()
    keeper.runner.close()
    ends = time.monotonic() + 30
    while other.files.find("long").pid == keeper.runner.children["long"].pid:  # the next one goes on with it
        assert time.monotonic() < ends
        time.sleep(0.01)
    other.runner.close()


def test_a_full_disk_leaves_no_name_behind(
    make: Callable[[], Trainings], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = make()
    (trainings.folder / "old.job").mkdir()  # what earlier ones left
    add(trainings, "old")
    with monkeypatch.context() as patch:

        def full(_: Path, __: bytes) -> int:
            raise OSError(28, "No space left on device")

        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(UserError, match="No space left"):
            add(trainings, "new")
    assert {path.name for path in trainings.folder.iterdir()} == {"old.job"}
    add(trainings, "new")
    assert (trainings.folder / "new.job" / "exemplar.png").read_bytes() == b"picture"


def test_the_queue_is_bounded(make: Callable[[], Trainings]) -> None:
    trainings = make()
    trainings.limit = 3
    for i in range(3):
        add(trainings, f"n{i}", 1)
    with pytest.raises(HTTPProblem, match="3 trainings are queued"):
        add(trainings, "more")
    until(trainings, "n0", "done")
    add(trainings, "more")
    trainings.runner.close()


def test_records_are_read_once(tmp_path: Path) -> None:
    path, records = tmp_path / "records.jsonl", Records()

    def line(step: int) -> str:
        return json.dumps({"step": step}) + "\n"

    def steps() -> list[Any]:
        return [record["step"] for record in records.of(path)]

    assert steps() == []
    path.write_text(line(1) + line(2) + '{"st')
    assert steps() == [1, 2]
    with path.open("r+") as file:  # a change that nobody makes, and that shows who reads all of it
        file.write(line(7))
    with path.open("a") as file:
        file.write('ep": 3}\n[1]\n' + "[" * 60000 + "\n" + line(4))
    assert steps() == [1, 2, 3, 4]
    path.write_text(line(1) + line(5) * 20000)  # written anew
    assert len(steps()) == 20001
    path.write_text(line(1))
    assert steps() == [1]
    path.unlink()
    assert steps() == []


def test_photos_that_changed_are_told_without_options(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "mine")
    changed = fingerprint.differences({"run": {}, "photos": "a"}, {"run": {}, "photos": "b"})
    (trainings.folder / "mine.job" / "output.txt").write_text(
        with_flags(
            f"texturenets: `resume`: not the run that /models/mine.run holds; what changed: {changed[0]}\n"
        )
    )
    assert trainings.runner.reason(trainings.files.find("mine")) == (
        "the photos changed since it was started; put them back, or start a training with another name"
    )


def test_a_damaged_training_is_told_at_the_start(
    make: Callable[[], Trainings], caplog: pytest.LogCaptureFixture
) -> None:
    trainings = make()
    for name in ("damaged", "missing"):
        (trainings.folder / f"{name}.job").mkdir()
    (trainings.folder / "damaged.job" / "job.json").write_text("{")
    trainings.runner.open()
    trainings.runner.close()
    told = [r.fields for r in caplog.records if r.getMessage() == "training"]  # type: ignore[attr-defined]
    assert sorted(line["training"] for line in told) == ["damaged", "missing"]
    assert all("job.json" in line["reason"] for line in told)


def test_a_full_queue_says_how_to_be_rid_of_stopped_ones(make: Callable[[], Trainings]) -> None:
    trainings = make()
    trainings.limit = 1
    add(trainings, "one")
    trainings.stop("one")
    with pytest.raises(HTTPProblem, match="remove a stopped one \\(DELETE /v1/trainings/NAME\\)"):
        add(trainings, "two")
    trainings.remove("one")
    add(trainings, "two")


def test_what_is_not_at_work_is_removed_and_its_model_stays(make: Callable[[], Trainings]) -> None:
    trainings = make()
    for name in ("good", "bad"):
        add(trainings, name)
        until(trainings, name, "done", "failed")
        trainings.remove(name)
    assert sorted(path.name for path in trainings.folder.iterdir()) == ["good.safetensors"]
    with pytest.raises(HTTPProblem, match="no training is called 'good'"):
        trainings.remove("good")
    add(trainings, "waiting")
    with pytest.raises(HTTPProblem, match="waiting is queued or running: stop it first") as raised:
        trainings.remove("waiting")
    assert raised.value.status == 409


def test_one_that_is_at_work_is_ended_whatever_its_record_says(make: Callable[[], Trainings]) -> None:
    trainings = make()
    add(trainings, "long", 1000)
    begun(trainings, "long", 2)
    job = trainings.files.find("long")
    trainings.files.write(replace(job, state="queued", pid=0))  # as where its start could not be written down
    trainings.stop("long")
    ends = time.monotonic() + 60
    while trainings.files.alive("long"):
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert trainings.files.find("long").state == "stopped"
    trainings.runner.close()


def test_what_is_over_cannot_be_stopped(make: Callable[[], Trainings]) -> None:
    trainings = make()
    for name, over in (("good", "is done"), ("bad", "has failed")):
        add(trainings, name)
        until(trainings, name, "done", "failed")
        with pytest.raises(HTTPProblem, match=f"{name} {over}: there is nothing to stop") as raised:
            trainings.stop(name)
        assert raised.value.status == 409
    with pytest.raises(HTTPProblem, match="good is done: there is nothing to resume") as raised:
        trainings.resume("good")
    assert raised.value.status == 409
    add(trainings, "waiting")
    for call in (trainings.resume, trainings.stop, trainings.stop):  # what is so already is well
        call("waiting")
    assert trainings.files.find("waiting").state == "stopped"


def test_photos_that_went_before_its_turn_are_told_without_options(
    make: Callable[[], Trainings], tmp_path: Path
) -> None:
    (tmp_path / "trainer.py").write_text("import sys\nprint('no such folder of photos')\nsys.exit(2)\n")
    (tmp_path / "photos" / "cats").mkdir()
    trainings = make()
    trainings.add("cats", "style", b"picture", ".png", preset="default", steps=3, photos="cats")
    add(trainings, "all")
    (tmp_path / "photos" / "cats").rmdir()
    until(trainings, "cats", "failed")
    (tmp_path / "photos").rmdir()
    until(trainings, "all", "failed")
    assert trainings.files.find("cats").reason == (
        "the service's folder of photos cats is missing: resume it when the folder is back"
    )
    assert trainings.files.find("all").reason == (
        "the service's folder of photos is missing: resume it when the folder is back"
    )


def test_photos_that_were_skipped_are_told(make: Callable[[], Trainings], tmp_path: Path) -> None:
    trainings = make()
    add(trainings, "mine")
    report = trainings.reports.of(trainings.files.find("mine"))
    assert report["photos_skipped"] == {"count": 0, "first": []}
    until(trainings, "mine", "done")
    with (trainings.folder / "mine.run" / "records.jsonl").open("a") as log:
        for i in (*range(4), 0):  # the first once more, as after it was resumed
            said = f"{tmp_path}/photos/cats/{i}.jpg is cut short"
            log.write(json.dumps({"step": 3, "unreadable": said}) + "\n")
        said = (
            f"cannot read {tmp_path}/photos/a.heic: HEIC needs pillow-heif (pip install -e '/source[heif]')"
        )
        log.write(json.dumps({"step": 4, "unreadable": said}) + "\n")
        for i in range(4, 7):
            log.write(json.dumps({"step": 5, "unreadable": f"{tmp_path}/photos/{i}.jpg is empty"}) + "\n")
    report = trainings.reports.of(trainings.files.find("mine"))
    assert report["photos_skipped"] == {
        "count": 8,
        "first": [*(f"cats/{i}.jpg is cut short" for i in range(4)), "cannot read a.heic"],
    }
