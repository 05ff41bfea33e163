"""A service killed together with the training that it carries out: the next one shows it and goes on with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl", reason="locks as Unix has them")
pytest.importorskip("fastapi", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

import httpx
from tiny import Studio
from webservice import trainer

from texturenets.train.checkpoint import read_state

SAVE_EVERY = 4

# `texturenets serve` with another command to train.
SERVE = """
import json, pathlib, sys
from texturenets.engines.options import EngineOptions
from texturenets.server import app, server, settings, trainings

models, photos, command = json.loads(sys.argv[1])
chosen = settings.Settings(
    port=0, models=pathlib.Path(models), photos=pathlib.Path(photos), page=False, engine=EngineOptions(device="cpu")
)
app._trainings = lambda one: trainings.Trainings(one.models, one.photos, command)
server.serve(chosen, "error")
"""


class Service:
    """A service in a process of its own."""

    def __init__(self, models: Path, studio: Studio, command: list[str]) -> None:
        words = json.dumps([str(models), str(studio.photos), command])
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, words], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def training(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.address}/v1/trainings/cut", timeout=30)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()
        return data

    def until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        ends = time.monotonic() + 300
        while not true(report := self.training()):
            assert time.monotonic() < ends, report
            assert report["state"] != "failed", report
            time.sleep(0.05)
        return report


@pytest.mark.slow
def test_both_killed_and_taken_up_again(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    models = tmp_path / "models"
    models.mkdir()
    command = trainer(studio, tmp_path, save_every=SAVE_EVERY)
    first = Service(models, studio, command)
    try:
        body = studio.painting.read_bytes()
        begun = httpx.post(f"{first.address}/v1/trainings?name=cut&steps=400", content=body, timeout=60)
        assert begun.status_code == 202, begun.text
        first.until(lambda report: report["step"] >= 2 * SAVE_EVERY)
    finally:
        first.process.kill()
    job = json.loads((models / "cut.job" / "job.json").read_text())
    os.kill(job["pid"], signal.SIGKILL)
    first.process.wait()
    lines = (models / "cut.run" / "records.jsonl").read_text().splitlines()
    reached = max(json.loads(line)["step"] for line in lines if line.endswith("}"))
    kept = read_state(models / "cut.run").step
    assert reached - kept <= SAVE_EVERY
    second = Service(models, studio, command)
    try:
        shown = second.training()
        assert (shown["name"], shown["state"]) == ("cut", "running")
        assert shown["step"] >= kept  # it is not begun anew
        later = second.until(lambda report: report["at_work"] and report["step"] > reached)
        assert json.loads((models / "cut.job" / "job.json").read_text())["pid"] != job["pid"]
        # The records go on where the checkpoint was, with none twice and none left out.
        steps = [
            json.loads(line)["step"]
            for line in (models / "cut.run" / "records.jsonl").read_text().splitlines()
        ]
        assert steps == sorted(set(steps))
        assert set(range(SAVE_EVERY, later["step"], SAVE_EVERY)) <= set(steps)
        httpx.post(f"{second.address}/v1/trainings/cut/stop", timeout=30)
    finally:
        second.process.terminate()
        second.process.wait(300)
