"""Training: repeatable to the bit, interrupted or not, whole batches or parts, one process or two."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import programs
import pytest
import safetensors.torch
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from texturenets.cli import train, training_progress
from texturenets.errors import UserError
from texturenets.losses import Objective, checkerboard
from texturenets.modelfiles import modelfile
from texturenets.networks import network_files
from texturenets.train import (
    callbacks,
    checkpoint,
    configuration,
    data,
    feature_cache,
    fingerprint,
    interruption,
    presets,
    setup,
    unused_options,
)
from texturenets.train import trainer as trainer_module
from texturenets.train.configuration import StyleConfig, TextureConfig
from texturenets.train.processes import check_whole_batch
from texturenets.train.records import Record
from texturenets.train.run_lock import RunLock
from texturenets.train.schedule import learning_rate
from texturenets.train.style_task import StyleTask
from texturenets.train.trainer import Trainer
from texturenets.train.trainer_config import TrainerConfig

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    """Twelve photos, a painting, small descriptor networks."""
    return tiny.Studio(tmp_path_factory.mktemp("studio"), photos=12)


def tensors(result: tiny.Result) -> dict[str, Tensor]:
    """All of the last checkpoint: network, optimizer and random state."""
    return load_file(result.folder / checkpoint.NAME)


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Of b from a, relative to a, over all tensors."""
    assert a.keys() == b.keys()
    one, two = (torch.cat([t[k].double().flatten() for k in a]) for t in (a, b))
    return float((one - two).norm() / one.norm())


def cached(studio: tiny.Studio, **flags: Any) -> Path:
    """A cache of the studio's photos."""
    out = studio.root / f"{len(list(studio.root.iterdir()))}.h5"
    settings = {**tiny.CACHE, "content": studio.photos, "weights": [str(studio.weights)], **flags}
    status, _, error = tiny.call("cache", "-o", str(out), "--quiet", *tiny.words(settings))
    assert status == 0, error
    return out


# --------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_it_learns(studio: tiny.Studio, optimizer: str) -> None:
    flags = {"steps": 40, "learning_rate": 1e-2, "optimizer": optimizer, "image_size": 32, "style_size": 48}
    result = studio.run(**flags)
    assert result.status == 0, result.error
    totals = [sum(line["losses"].values()) for line in result.records if "losses" in line]
    assert len(totals) == 4
    assert totals[-1] < 0.7 * totals[0]
    assert result.header.training["step"] == 40


def test_learning_rates_by_hand() -> None:
    constant = StyleConfig(learning_rate=0.5, schedule="constant", warmup=4, steps=10)
    assert [learning_rate(constant, i, i / 10) for i in range(6)] == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    falling = StyleConfig(learning_rate=1.0, schedule="step", decay=0.8, decay_every=3, warmup=0, steps=10)
    rates = [learning_rate(falling, i, i / 10) for i in range(8)]
    assert rates == pytest.approx([1, 1, 1, 0.8, 0.8, 0.8, 0.64, 0.64])
    cosine = StyleConfig(learning_rate=2.0, schedule="cosine", warmup=0, steps=100)
    # From the full rate to a fiftieth of it, half of the way in the middle.
    assert learning_rate(cosine, 0, 0.0) == 2.0
    assert learning_rate(cosine, 50, 0.5) == pytest.approx(2 * (0.02 + 0.98 / 2))
    assert learning_rate(cosine, 25, 0.25) == pytest.approx(2 * (0.02 + 0.98 * (1 + math.sqrt(0.5)) / 2))
    assert learning_rate(cosine, 100, 1.0) == pytest.approx(0.04)
    # train.lua, branch master: times 0.8 every 2000 iterations.
    lua = StyleConfig(learning_rate=1e-3, schedule="step", warmup=0, steps=50000)
    assert learning_rate(lua, 1999, 0) == 1e-3
    assert learning_rate(lua, 2000, 0) == pytest.approx(8e-4)
    assert learning_rate(lua, 49999, 0) == pytest.approx(1e-3 * 0.8**24)


def test_the_rate_of_the_schedule_is_the_one_used(studio: tiny.Studio) -> None:
    result = studio.run(steps=4, schedule="step", decay=0.5, decay_every=2, learning_rate=8e-3, save_every=1)
    assert [line["learning_rate"] for line in result.records if "losses" in line] == [8e-3, 8e-3, 4e-3, 4e-3]


# ------------------------------------------------------------------------------------------------ resume

KINDS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "bf16, a worker": {"precision": "bf16", "workers": 1},
    "adam, in parts": {"optimizer": "adam", "accumulate": 2},
    "batch normalization": {"set": ["channels=8", "blocks=1", "normalization=batch"]},
}


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow) if "bf16" in k else k for k in KINDS]
)
def test_resumed_is_as_if_never_interrupted(
    studio: tiny.Studio, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"steps": 7, "schedule": "cosine", "warmup": 2, "validate_every": 2, **KINDS[kind]}
    whole = studio.run(**flags)
    assert whole.status == 0, whole.error
    model = studio.root / f"stopped {kind}.safetensors"
    for step in (3,) if "workers" in flags else (2, 5):  # each starts workers
        with monkeypatch.context() as patch:
            tiny.stop_at(patch, step)
            part = studio.run(*["--resume"] * (step > 3), output=model, **flags)
        assert part.status == 130, part.error
        assert (
            f"stopped after step {step} of 7, checkpoint saved; the same command with --resume" in part.error
        )
        assert not model.exists()
    last = studio.run("--resume", output=model, **flags)
    assert last.status == 0, last.error
    assert tiny.same(tensors(last), tensors(whole))
    state, reference = checkpoint.read_state(last.folder), checkpoint.read_state(whole.folder)
    assert (state.step, state.best, state.best_step) == (7, reference.best, reference.best_step)
    weights, expected = (network_files.load(r.model)[0].state_dict() for r in (last, whole))
    assert tiny.same(weights, expected)


@pytest.mark.slow
def test_resumed_from_a_cache_too(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"steps": 6, "precision": "bf16", "workers": 1, "content": cached(studio, precision="bf16")}
    whole = studio.run(**flags)
    assert whole.status == 0, whole.error
    model = studio.root / "stopped from a cache.safetensors"
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 3)
        assert studio.run(output=model, **flags).status == 130
    last = studio.run("--resume", output=model, **flags)
    assert tiny.same(tensors(last), tensors(whole))


def test_other_options_and_other_photos_are_not_the_same_run(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    for i in range(4):
        tiny.picture(photos / f"{i}.png", seed=i)
    model = tmp_path / "a.safetensors"
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 1)
        assert studio.run(output=model, content=photos).status == 130
    before = (model.with_suffix(".run") / checkpoint.NAME).read_bytes()
    changed = studio.run(
        "--resume", output=model, content=photos, seed=1, batch_size=1, content_layers="squeezenet1_0:fire2"
    )
    assert changed.status == 2
    assert (
        "what changed: --batch-size 2 -> 1, --seed 0 -> 1, "
        "--content-layers squeezenet1_0:fire3 -> squeezenet1_0:fire2; " in changed.error
    )
    assert "photos" not in changed.error  # the seed alone orders them otherwise
    tiny.picture(photos / "another.png", seed=9)
    more = studio.run("--resume", output=model, content=photos)
    assert more.status == 2
    assert (
        "what changed: the photos in --content (files were added, removed, renamed or changed)" in more.error
    )
    (photos / "another.png").unlink()
    other = studio.run("--resume", output=model, content=photos, style=studio.photos / "0.png")
    assert "what changed: the image to learn, painting.png -> 0.png;" in other.error
    assert (model.with_suffix(".run") / checkpoint.NAME).read_bytes() == before
    moved = photos.rename(tmp_path / "moved")
    assert studio.run("--resume", output=model, content=moved).status == 0


def test_what_starts_from_a_model_has_its_network(studio: tiny.Studio) -> None:
    plain = ["channels=8", "blocks=1", "noise_depth=0", "dilation=1"]
    start = studio.run(steps=1, set=plain).model
    ended = studio.run(steps=1, init=start)
    assert ended.status == 0, ended.error
    assert modelfile.read_header(ended.model).generator == modelfile.read_header(start).generator
    other = studio.run(steps=1, init=start, set=["channels=8", "noise_depth=2"])
    assert other.status == 2
    assert (
        "its network has noise_depth=0, and what is asked for is noise_depth=2: leave --set out"
        in other.error
    )


def test_what_may_be_started_from_has_the_options_that_were_asked_for() -> None:
    header = {"name": "multiscale", "channels": [8, 4], "photo": True}
    for given, may in (
        ("channels=8,4", True),
        ("photo=true", True),
        ("channels=8,8", False),
        ("noise_depth=1", False),
    ):
        assert StyleConfig(generator="multiscale", set=(given,)).may_start_from(header) == may, given


def test_a_preset_that_makes_another_network_is_not_the_same_run(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"set": ["channels=8", "blocks=1"], "steps": 2}
    made = studio.run(**settings)
    assert made.status == 0, made.error
    monkeypatch.setitem(configuration.STYLE_GENERATOR_OPTIONS, "residual", ("dilation=1", "noise_depth=4"))
    other = studio.run("--resume", output=made.model, **{**settings, "steps": 3})
    assert other.status == 2
    assert "what changed: --generator residual with dilation=4 -> dilation=1;" in other.error
    given = studio.run("--resume", output=made.model, steps=3, set=[*settings["set"], "dilation=2"])
    assert "what changed: --set channels=8,blocks=1 -> channels=8,blocks=1,dilation=2;" in given.error


def test_a_run_that_says_nothing_of_its_network_is_told_plainly() -> None:
    now = {"run": {}, "generator": {"name": "residual", "dilation": 4}}
    assert fingerprint.differences({"run": {}}, now) == [
        "`generator` residual, whose options a run of an earlier version does not say"
    ]


def test_another_model_to_start_from_is_not_the_same_run(studio: tiny.Studio) -> None:
    start = studio.run(steps=1).model
    model = studio.run(steps=1, init=start).model
    for init, told in (
        (None, f"--init {start.stem} -> none"),
        (model, f"--init {start.stem} -> {model.stem}"),
    ):
        other = studio.run("--resume", output=model, steps=2, init=init)
        assert other.status == 2
        assert f"what changed: {told};" in other.error
    start.write_bytes(model.read_bytes())
    other = studio.run("--resume", output=model, steps=2, init=start)
    assert f"what changed: --init {start.stem}, another model of that name;" in other.error


def test_a_preset_may_start_from_a_style(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    start = studio.run(steps=1).model
    monkeypatch.setitem(presets.STARTS, "quick", str(start))
    for more, began in (((), start.stem), (("--init", "none"), None)):
        model = studio.run("--preset", "quick", *more, steps=1).model
        init = modelfile.read_header(model).training["init"]
        assert (init or "").partition(" ")[0] == (began or "")
    other = studio.run("--preset", "quick", steps=1, set=["channels=4"]).model
    assert modelfile.read_header(other).training["init"] is None  # another network, which that style is not


def test_a_generator_without_parameters_is_refused(studio: tiny.Studio, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "from torch import nn\nclass Same(nn.Module):\n    def forward(self, photo): return photo\n"
    )
    done = studio.run(generator=f"{code}:Same", set=None, steps=1)
    assert done.status == 2
    assert "it has no parameters, so there is nothing to train" in done.error
    assert "Traceback" not in done.error


def test_a_live_run_is_not_one_to_remove(studio: tiny.Studio) -> None:
    model = studio.run(steps=1).model
    held = RunLock(model.with_suffix(".run"))
    try:
        error = studio.run(output=model, steps=2).error
    finally:
        held.release()
    assert "another training writes to" in error
    assert "holds a run already" in studio.run(output=model, steps=2).error


def test_another_painting_or_other_weights_under_the_same_name_are_not_the_same_run(
    studio: tiny.Studio, tmp_path: Path
) -> None:
    painting = tmp_path / "painting.png"
    painting.write_bytes(studio.painting.read_bytes())
    first = studio.run(style=painting)
    assert first.status == 0, first.error
    header = first.header.training
    assert header["styles"] == ["painting.png"]
    assert set(header["descriptors_sha256"]) == {"squeezenet1_0"}
    assert len(header["descriptors_sha256"]["squeezenet1_0"]) == 64
    tiny.picture(painting, seed=77, size=(80, 64), grain=24)
    other = studio.run("--resume", output=first.model, style=painting, steps=3)
    assert other.status == 2
    assert "what changed: painting.png, another image of that name;" in other.error
    painting.write_bytes(studio.painting.read_bytes())
    weights = tiny.weights_file(tmp_path, "squeezenet1_0", seed=5)
    other = studio.run("--resume", output=first.model, style=painting, steps=3, weights=[str(weights)])
    assert other.status == 2
    assert "what changed: the weights of squeezenet1_0 (--weights);" in other.error
    stored = cached(studio)
    other = studio.run(content=stored, weights=[str(weights)])
    assert other.status == 2
    assert "write it again" in other.error
    other = studio.run(content=stored, content_layers="squeezenet1_0:fire2")
    assert (
        "with --content-layers squeezenet1_0:fire3, this training wants squeezenet1_0:fire2:" in other.error
    )


def test_a_run_goes_on_for_longer_as_if_it_had_been_asked_for_so_many(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"schedule": "cosine", "save_every": 1}
    whole = studio.run(steps=6, **flags)
    short = studio.run(steps=2, **flags)
    longer = studio.run("--resume", output=short.model, steps=6, **flags)
    assert longer.status == 0, longer.error
    last = modelfile.read_header(longer.folder / "last.safetensors")
    assert last.training["run"]["steps"] == 6
    rates = [
        [line["learning_rate"] for line in one.records if "losses" in line and line["step"] > 2]
        for one in (whole, longer)
    ]
    assert rates[0] == rates[1]
    assert len(rates[0]) == 4
    fewer = studio.run("--resume", output=short.model, steps=4, **flags)
    assert fewer.status == 2
    assert "has 6 steps already: --steps 4 is less" in fewer.error
    again = studio.run("--resume", output=short.model, steps=6, **flags)
    assert again.status == 0, again.error


def test_a_budget_of_minutes_ends_a_run_and_its_schedule(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "time", _Clock(1.0))
    flags = {"steps": None, "schedule": "cosine", "save_every": 1, "learning_rate": 1e-3}
    first = studio.run(minutes=0.5, **flags)
    assert first.status == 0, first.error
    state = checkpoint.read_state(first.folder)
    assert 30 <= state.seconds < 45
    steps = [line for line in first.records if "losses" in line]
    assert state.step == len(steps) > 3
    for before, line in pairwise(steps):
        share = before["seconds"] / 30
        assert line["learning_rate"] == pytest.approx(
            1e-3 * (0.02 + 0.49 * (1 + math.cos(math.pi * share))), rel=1e-2
        )
    again = studio.run("--resume", output=first.model, minutes=0.5, **flags)
    assert again.status == 0, again.error
    assert checkpoint.read_state(first.folder).step == state.step
    less = studio.run("--resume", output=first.model, minutes=0.1, **flags)
    assert less.status == 2
    assert "0.1 is less" in less.error
    longer = studio.run("--resume", output=first.model, minutes=1, **flags)
    assert longer.status == 0, longer.error
    after = checkpoint.read_state(first.folder)
    assert after.step > state.step
    assert 60 <= after.seconds < 75
    both = studio.run(minutes=1, steps=5)
    assert both.status == 2
    assert "give only one of them" in both.error
    assert studio.run(minutes=-1, steps=None).status == 2


class _Clock:
    """`time`, each look at which is `tick` seconds after the one before."""

    def __init__(self, tick: float) -> None:
        self.tick, self.now = tick, 0.0

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now

    def sleep(self, _: float) -> None:
        pass


def test_two_trainings_do_not_share_a_folder(studio: tiny.Studio, tmp_path: Path) -> None:
    flags = {k: v for k, v in tiny.BASE.items() if k in StyleConfig.__dataclass_fields__}
    layers = {k: tuple(flags[k].split(",")) for k in ("style_layers", "content_layers")}
    run = StyleConfig(**{**flags, **layers, "set": tuple(flags["set"])})
    how = TrainerConfig(weights=(str(studio.weights),), device="cpu", workers=0, offline=True)
    out = tmp_path / "a.safetensors"
    training = Trainer(StyleTask(run, [studio.painting], studio.photos), out, how)
    second = studio.run(output=out)
    assert second.status == 2
    assert (
        f"another training writes to {tmp_path / 'a.run'} at this moment (process {os.getpid()})"
        in second.error
    )
    assert second.error.count("\n") == 1
    assert [r.step for r in training] == [1, 2]
    resumed = studio.run("--resume", output=out)
    assert resumed.status == 2
    assert "at this moment" in resumed.error
    training.leave()
    assert studio.run("--resume", output=out).status == 0


def test_the_scale_of_half_precision_is_resumed(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    # Processors have no use for it, but they can compute in it.
    monkeypatch.setattr(setup, "choose_precision", lambda *_: "fp16")
    flags = {"steps": 4, "precision": "auto", "output": studio.root / "half.safetensors"}
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 2)
        stopped = studio.run(**flags)
    assert stopped.status == 130, stopped.error
    scaler = checkpoint.read_state(stopped.folder).scaler
    assert scaler is not None
    assert scaler["_growth_tracker"] > 0 or scaler["scale"] < 65536
    last = studio.run("--resume", **flags)
    assert last.status == 0, last.error
    whole = studio.run(**{**flags, "output": studio.root / "half whole.safetensors"})
    assert tiny.same(tensors(last), tensors(whole))
    assert checkpoint.read_state(last.folder).scaler == checkpoint.read_state(whole.folder).scaler


def test_a_signal_between_two_steps_saves_too(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come while a record is being written down, after the step's own chance to save."""
    runs: list[Trainer] = []
    write = callbacks.Log.__call__

    @contextmanager
    def remember(training: Trainer, **_: object) -> Iterator[list[int]]:
        runs.append(training)
        yield []

    def stop(self: callbacks.Log, record: Record) -> None:
        write(self, record)
        runs[-1].stop = record.step == 3

    monkeypatch.setattr(interruption, "interruptible", remember)
    monkeypatch.setattr(callbacks.Log, "__call__", stop)
    result = studio.run(steps=7, save_every=100)
    assert result.status == 130, result.error
    assert checkpoint.read_state(result.folder).step == 3


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(n, marks=pytest.mark.slow) for n in interruption.SIGNALS[1:])],
    ids=lambda n: n.name,
)
def test_a_signal_to_all_processes_saves_and_ends_the_run(
    studio: tiny.Studio, number: signal.Signals
) -> None:
    model = studio.root / f"{number.name}.safetensors"
    flags = {
        **tiny.BASE,
        "weights": [str(studio.weights)],
        "steps": 100000,
        "workers": 1,
        "save_every": 100000,
    }
    words = ["train", "style", str(studio.painting), "--content", str(studio.photos), "-o", str(model)]
    run = subprocess.Popen(
        [sys.executable, "-m", "texturenets", *words, *tiny.words(flags)],
        start_new_session=True,  # a group of its own, as a terminal gives it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        records = model.with_suffix(".run") / "records.jsonl"
        deadline = time.monotonic() + 60
        while not (records.exists() and records.read_text()):
            assert time.monotonic() < deadline
            assert run.poll() is None, run.communicate()[1]
            time.sleep(0.02)
        os.killpg(run.pid, number)
        output, error = run.communicate(timeout=30)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 128 + number, error
    assert "saved; the same command with --resume continues" in error
    # A closed terminal also ends the process with which Python tracks what processes share; its heir complains.
    assert "Traceback" not in error.replace("multiprocessing/resource_tracker.py", "") or (
        number not in (signal.SIGINT, signal.SIGTERM) and "texturenets/train" not in error
    )
    assert output == f"{model.with_suffix('.run')}\n"
    state = checkpoint.read_state(model.with_suffix(".run"))
    assert state.step >= 10
    assert f"stopped after step {state.step} of 100000" in error
    _gone(run.pid)


def _gone(group: int) -> None:
    """Wait until no process of the group is left: no worker, nor what helped to start them."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"processes of the group {group} are left")


# ------------------------------------------------------------------------------------ parts and processes


def gradients(studio: tiny.Studio, out: Path, processes: int = 1, **flags: Any) -> dict[str, Tensor]:
    """The gradient of the first step, by `processes` processes."""
    settings = {
        **tiny.BASE,
        "weights": [str(studio.weights)],
        "batch_size": 4,
        "steps": 1,
        "content": studio.photos,
        "output": out.with_name(f"{out.stem} model.safetensors"),
        **flags,
    }
    training = ["train", "style", str(studio.painting), "--quiet", *tiny.words(settings)]
    if processes == 1:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(train, "follow", train.follow)  # `run` puts another in its place
            program = programs.loaded(ROOT / "benchmarks" / "gradients.py", "gradients_program")
            assert program.run(out, training) == 0
        return load_file(out)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    words += ["--master-addr=127.0.0.1", f"--master-port={port}"]
    words += [str(ROOT / "benchmarks" / "gradients.py"), str(out), *training]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return load_file(out)


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one_with_twice_the_batch(
    studio: tiny.Studio, tmp_path: Path
) -> None:
    two = gradients(studio, tmp_path / "two.safetensors", processes=2)
    parts = gradients(studio, tmp_path / "parts.safetensors", accumulate=2)
    one = gradients(studio, tmp_path / "one.safetensors")
    # The same sums in the same order. (A bias before instance normalization has none but rounding.)
    assert distance(parts, two) < 1e-7
    # Sums of another order: rounding in float32, some parts in a million with so few channels.
    assert distance(one, two) < 2e-5
    other = gradients(studio, tmp_path / "other.safetensors", seed=1)
    assert distance(one, other) > 0.01


def test_what_looks_across_the_batch_is_refused_in_several_processes() -> None:
    with pytest.raises(UserError, match="`batch_size` 3 does not divide among 2 processes"):
        check_whole_batch(StyleConfig(batch_size=3), 2)
    for config, name in (
        (StyleConfig(batch_size=2, normalize_gradients=True), "`normalize_gradients`"),
        (StyleConfig(batch_size=2, texture_photos=2), "`texture_photos`"),
        (StyleConfig(batch_size=2, diversity_weight=1), "`diversity_weight`"),
        (StyleConfig(batch_size=2, set=("normalization=batch",)), "normalization=batch"),
    ):
        with pytest.raises(UserError, match=f"{name} needs the whole batch"):
            check_whole_batch(config, 2)
        check_whole_batch(config, 1)
    with pytest.raises(UserError, match="works in one process only"):
        check_whole_batch(StyleConfig(batch_size=2, minutes=1), 2)
    check_whole_batch(StyleConfig(batch_size=2), 2)


def test_what_looks_across_the_batch_is_refused_in_microbatches() -> None:
    for config, name in (
        (StyleConfig(batch_size=2, accumulate=2, normalize_gradients=True), "`normalize_gradients`"),
        (TextureConfig(batch_size=2, accumulate=2, set=("normalization=batch",)), "normalization=batch"),
    ):
        with pytest.raises(UserError, match=f"{name} needs the whole batch: leave `accumulate` out"):
            check_whole_batch(config, 1)
    check_whole_batch(StyleConfig(batch_size=2, accumulate=2), 1)


def test_means_of_losses_that_some_steps_lack() -> None:
    losses = [{"a": torch.tensor(1.0)}, {"a": torch.tensor(3.0), "late": torch.tensor(5.0)}, {}]
    records = [Record(i, one, 0.1, 0.0, 0.0, []) for i, one in enumerate(losses)]
    assert callbacks.mean_losses(records) == {"a": 2.0, "late": 5.0}
    assert callbacks.mean_losses(records[2:]) == {}


@pytest.mark.filterwarnings("default")
def test_ink_on_nothing_is_learned_as_on_paper(studio: tiny.Studio) -> None:
    ink = np.zeros((64, 64, 4), np.uint8)
    ink[..., 3] = np.random.default_rng(0).integers(0, 2, (64, 64)) * 255
    Image.fromarray(ink).save(studio.root / "ink.png")
    assert studio.run(style=studio.root / "ink.png").status == 0
    ink[..., 3], ink[..., :3] = 0, np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    Image.fromarray(ink).save(studio.root / "nothing.png")
    nothing = studio.run(style=studio.root / "nothing.png")
    assert nothing.status == 2
    assert "nothing.png is of one color" in nothing.error


def test_in_a_job_of_slurm(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"NTASKS": "4", "JOB_NAME": "job", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "JOB_ID": "5"}
    for name, value in {**job, "NNODES": "1", "NODELIST": "localhost"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    result = studio.run()
    assert result.status == 0, result.error


def test_a_grid_is_not_looked_for_in_small_crops(studio: tiny.Studio) -> None:
    small = studio.run(checkerboard_weight=1.0, image_size=48)
    assert small.status == 2
    assert "--checkerboard-weight changes nothing without --image-size 64 or more" in small.error
    assert studio.run(checkerboard_weight=0.0, image_size=48).status == 0
    assert unused_options.CHECKERBOARD_SIDE == checkerboard.AREA * checkerboard.WINDOW


# ------------------------------------------------------------------------------------------------- cache


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.0), ("float32", 2e-3)])
def test_stored_features_give_the_losses_of_computed_ones(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch, precision: str, tolerance: float
) -> None:
    flags = {"content": cached(studio, precision=precision), "precision": precision, "save_every": 1}
    stored = studio.run(**flags)
    assert stored.status == 0, stored.error
    read = feature_cache.CachedCrops.__getitem__

    def without(self: feature_cache.CachedCrops, step: int) -> data.Batch:
        batch = read(self, step)
        assert batch.content is not None
        return data.Batch(batch.step, batch.photos, batch.unreadable)

    monkeypatch.setattr(feature_cache.CachedCrops, "__getitem__", without)
    computed = studio.run(**flags)
    for a, b in zip(stored.records, computed.records, strict=True):
        if "losses" in a:
            assert a["losses"] == pytest.approx(b["losses"], rel=tolerance, abs=0)
            assert any(name.startswith("content/") for name in a["losses"])
    if not tolerance:
        assert tiny.same(tensors(stored), tensors(computed))


# --------------------------------------------------------------------------------------- what is kept


def test_log_pictures_and_tensorboard(studio: tiny.Studio) -> None:
    result = studio.run(steps=12, pictures_every=5, validate_every=4, save_every=6, snapshot_every=6)
    folder = result.folder
    lines = result.records
    assert [line["step"] for line in lines if "losses" in line] == [6, 10, 12]
    assert [line["step"] for line in lines if "validation" in line] == [4, 8, 12]
    names = {"style/squeezenet1_0:conv1", "style/squeezenet1_0:fire2", "content/squeezenet1_0:fire3"}
    for line in lines:
        assert names <= (line.get("losses") or line["validation"]).keys()
    assert lines[-1]["step"] == 12
    best = min((sum(line["validation"].values()), line["step"]) for line in lines if "validation" in line)
    assert checkpoint.read_state(folder).best == pytest.approx(best[0])
    assert result.header.training["step"] == best[1]
    assert result.header.training["validation"] == pytest.approx(best[0])
    pictures = sorted(p.name for p in (folder / "pictures").iterdir())
    assert pictures == ["000001.jpg", "000005.jpg", "000010.jpg", "000012.jpg", "latest.jpg"]
    with Image.open(folder / "pictures" / "latest.jpg") as sheet:
        assert sheet.size == (2 * 64, 2 * 64)  # two photos, and what becomes of them
    assert (folder / "pictures" / "latest.jpg").read_bytes() == (
        folder / "pictures" / "000012.jpg"
    ).read_bytes()
    assert {p.name for p in folder.glob("*.safetensors")} == {
        checkpoint.NAME,
        "best.safetensors",
        "last.safetensors",
        f"{result.model.stem}-000006.safetensors",
        f"{result.model.stem}-000012.safetensors",
    }
    assert modelfile.read_header(folder / f"{result.model.stem}-000006.safetensors").training["step"] == 6

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert {f"loss/{n}" for n in names} | {f"validation/{n}" for n in names} <= scalars
    assert {"loss/total", "validation/total", "learning_rate"} <= scalars
    assert [e.step for e in events.Scalars("loss/total")] == [6, 10, 12]
    first = next(line for line in lines if "losses" in line)
    assert events.Scalars("loss/total")[0].value == pytest.approx(sum(first["losses"].values()), rel=1e-5)
    assert [e.step for e in events.Images("pictures")] == [1, 5, 10, 12]


def record(step: int, **more: Any) -> Record:
    return Record(
        step, {"style/a": torch.tensor(float(step)), "content/b": torch.tensor(1.0)}, 1e-3, 0.5, 0.0, **more
    )


def test_the_log_holds_means_and_goes_on_where_a_run_was_cut_off(tmp_path: Path) -> None:
    log = callbacks.Log(tmp_path, 0)
    for step in range(1, 26):
        log(record(step, saved=tmp_path if step == 24 else None))
    log(record(26, unreadable=["a.jpg is damaged"]))
    log.close()
    path = tmp_path / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 24, 26]
    assert [line["losses"]["style/a"] for line in lines[:3]] == [5.5, 15.5, 22.5]
    assert lines[3]["unreadable"] == "a.jpg is damaged"
    with path.open("a") as file:
        file.write('5\n{"step": 27, "los')
    log = callbacks.Log(tmp_path, 20)
    log(record(21, saved=tmp_path))
    log.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20, 21]
    callbacks.Log(tmp_path, 0).close()
    assert path.read_text() == ""


def test_the_best_by_validation_becomes_the_model(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 1.0, 2.0, math.nan])
    validate = Trainer._validate

    def scripted(self: Trainer, made: Record, last: bool) -> None:
        with pytest.MonkeyPatch.context() as patch:
            value = next(losses)
            patch.setattr(Objective, "forward", lambda *_, **__: {"x": torch.tensor(value)})
            validate(self, made, last)

    monkeypatch.setattr(Trainer, "_validate", scripted)
    result = studio.run(steps=4, validate_every=1, snapshot_every=1)
    assert result.status == 0, result.error
    assert "best model of the run is that of step 2" in result.error
    snapshot = load_file(result.folder / f"{result.model.stem}-000002.safetensors")
    assert tiny.same(load_file(result.model), snapshot)
    assert not tiny.same(load_file(result.folder / "last.safetensors"), snapshot)


def test_without_photos_held_out_the_last_is_the_model(studio: tiny.Studio) -> None:
    result = studio.run(val_share=0, validate_every=1, steps=3)
    assert result.status == 0, result.error
    assert tiny.same(load_file(result.model), load_file(result.folder / "last.safetensors"))
    assert not any("validation" in line for line in result.records)


def test_a_photo_that_cannot_be_read_is_reported_once(studio: tiny.Studio, tmp_path: Path) -> None:
    for i in range(3):
        tiny.picture(tmp_path / "train" / f"{i}.png", seed=i)
    tiny.picture(tmp_path / "val" / "a.png", seed=5)
    (tmp_path / "train" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "val" / "worse.jpg").write_bytes(b"")
    result = studio.run(content=tmp_path, steps=9)
    assert result.status == 0, result.error
    problems = [line["unreadable"] for line in result.records if "unreadable" in line]
    assert sorted(p.split("/")[-1].split()[0] for p in problems) == ["bad.jpg", "worse.jpg"]
    assert result.error.count("skipped: ") == 2
    assert "\n2 photos cannot be read and were skipped\n" in result.error


def test_photos_of_a_small_folder_that_cannot_be_read_are_named_at_the_first_step(
    studio: tiny.Studio, tmp_path: Path
) -> None:
    for i in range(9):
        tiny.picture(tmp_path / "train" / f"{i}.png", seed=i)
        (tmp_path / "train" / f"bad{i}.jpg").write_bytes(b"\xff\xd8\xff")
    tiny.picture(tmp_path / "val" / "a.png", seed=5)
    result = studio.run(content=tmp_path, steps=1, batch_size=1)
    assert result.status == 0, result.error
    problems = [line["unreadable"] for line in result.records if "unreadable" in line]
    assert sorted(p.split("/")[-1].split()[0] for p in problems) == [f"bad{i}.jpg" for i in range(9)]
    assert "only 9 photos" in result.error


def test_a_cache_counts_its_photos_not_its_crops(studio: tiny.Studio, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for i in range(3):
        tiny.picture(photos / "train" / f"{i}.png", seed=i)
    (photos / "train" / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    tiny.picture(photos / "val" / "a.png", seed=5)
    settings = {**tiny.CACHE, "content": photos, "weights": [str(studio.weights)], "crops_per_photo": 30}
    out = tmp_path / "a.h5"
    status, _, error = tiny.call("cache", "-o", str(out), "--quiet", *tiny.words(settings))
    assert status == 0, error
    assert error.count("skipped: ") == 1
    result = studio.run(content=out)
    assert result.status == 0, result.error
    assert "only 3 photos" in result.error


# ---------------------------------------------------------------------------------------- what goes wrong


def objectives(monkeypatch: pytest.MonkeyPatch, at: int, spoil: Any) -> None:
    """`spoil` the losses of the step `at`."""
    forward, count = Objective.forward, iter(range(1, 10**6))

    def spoilt(self: Objective, y: Tensor, *more: Any, **how: bool) -> dict[str, Tensor]:
        losses = forward(self, y, *more, **how)
        return spoil(losses) if y.requires_grad and next(count) == at else losses

    monkeypatch.setattr(Objective, "forward", spoilt)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run_and_keeps_what_was_good(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    objectives(monkeypatch, 3, lambda losses: {k: v * value for k, v in losses.items()})
    result = studio.run(steps=5, save_every=1)
    assert result.status == 2
    assert result.error.splitlines()[-1].startswith("texturenets: the training diverged: ")
    assert "at step 3" in result.error
    assert "--learning-rate" in result.error
    assert "last.safetensors" in result.error
    assert not result.model.exists()
    assert checkpoint.read_state(result.folder).step == 2
    last, header = network_files.load(result.folder / "last.safetensors")
    assert header.training["step"] == 2
    assert all(torch.isfinite(p).all() for p in last.parameters())


@pytest.mark.parametrize("optimizer", ["muon", "adam"])
def test_a_rate_far_too_high_is_told_as_such(studio: tiny.Studio, optimizer: str) -> None:
    result = studio.run(steps=6, learning_rate=1e15, save_every=1, optimizer=optimizer)
    assert result.status == 2
    assert "Traceback" not in result.error
    assert "--learning-rate" in result.error.splitlines()[-1]


def test_out_of_memory_names_the_flags_that_help(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    objectives(monkeypatch, 2, full)
    result = studio.run(steps=3, save_every=1)
    assert result.status == 2
    assert "out of memory at --batch-size 2 and --image-size 64" in result.error
    assert "--accumulate 2" in result.error
    assert checkpoint.read_state(result.folder).step == 1


def test_other_errors_are_not_taken_for_memory(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("a bug in the allocation of names")

    objectives(monkeypatch, 1, broken)
    with pytest.raises(RuntimeError, match="a bug"):
        studio.run()


def test_a_disk_that_fills_up_keeps_the_checkpoint_before(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, count = safetensors.torch.save_file, iter(range(10**6))

    def filling(*what: Any) -> None:
        if next(count) >= 4:  # two steps: the last model and the checkpoint each
            raise safetensors.SafetensorError(
                f"I/O error: {os.strerror(errno.ENOSPC)} (os error {errno.ENOSPC})"
            )
        save(*what)

    monkeypatch.setattr(network_files, "save_file", filling)
    result = studio.run(steps=5, save_every=1, validate_every=0)
    assert result.status == 2
    last = result.folder / "last.safetensors"
    assert result.error.splitlines()[-1] == (
        f"texturenets: cannot write {last}: No space left on device; {last} is the model so far; free space, "
        "then run the same command with --resume"
    )
    assert checkpoint.read_state(result.folder).step == 2
    assert not list(result.folder.rglob("*.part"))
    monkeypatch.undo()
    assert studio.run("--resume", steps=5, save_every=1, validate_every=0, output=result.model).status == 0


def test_how_often_is_validated_may_change_when_a_run_is_resumed(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = studio.run(steps=4, validate_every=3)
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 2)
        first = studio.run(steps=4, validate_every=3)
    again = studio.run("--resume", steps=4, validate_every=1, output=first.model)
    assert again.status == 0, again.error
    assert tiny.same(again.weights, whole.weights)
    assert [line["step"] for line in again.records if "validation" in line] == [3, 4]


@pytest.mark.parametrize("name", ["decay", "decay_every"])
def test_decays_without_the_schedule_step_are_refused(studio: tiny.Studio, name: str) -> None:
    result = studio.run(steps=1, **{name: 1})
    assert result.status == 2
    flag = f"--{name.replace('_', '-')}"
    assert f"{flag} changes nothing without --schedule step: give that, or leave it out" in result.error


def test_models_without_a_checkpoint_are_kept(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the last model is there, and the checkpoint is not; the way out that is told keeps it."""
    save = safetensors.torch.save_file

    def filling(tensors: Any, path: Path, *more: Any) -> None:
        if "checkpoint" in str(path):
            raise safetensors.SafetensorError(
                f"I/O error: {os.strerror(errno.ENOSPC)} (os error {errno.ENOSPC})"
            )
        save(tensors, path, *more)

    monkeypatch.setattr(network_files, "save_file", filling)
    result = studio.run(steps=3, save_every=1, validate_every=0)
    monkeypatch.undo()
    last = result.folder / "last.safetensors"
    anew = f"start again with another --output, from the last model with --init {last}"
    assert result.error.endswith(f"{last} is the model so far; free space, then {anew}\n")
    before = last.read_bytes()
    for more in ((), ("--resume",)):
        again = studio.run(*more, steps=3, output=result.model)
        assert again.status == 2
        assert again.error.endswith(
            f"{result.folder} holds models of a run, and no checkpoint to resume it: {anew}, or remove the folder\n"
        )
    assert last.read_bytes() == before
    assert studio.run(steps=1, init=last).status == 0


def test_a_log_that_cannot_be_written_on_a_full_disk_is_told(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = callbacks.Log._line

    def filling(log: callbacks.Log, data: dict[str, Any]) -> None:
        if data["step"] > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        line(log, data)

    monkeypatch.setattr(callbacks.Log, "_line", filling)
    result = studio.run(steps=3, save_every=1)
    assert result.status == 2
    said = result.error.splitlines()[-1]
    assert said.startswith(f"texturenets: cannot write {result.folder}: No space left on device; ")
    assert said.endswith("is the model so far; free space, then run the same command with --resume")


def test_a_loss_pyramid_with_more_scales_than_the_painting_has_is_refused(studio: tiny.Studio) -> None:
    result = studio.run(pyramid_loss=9)
    assert result.status == 2
    assert "texturenets: --pyramid-loss 9: an image of " in result.error
    assert "Traceback" not in result.error


def test_a_killed_worker_is_told(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    line = callbacks.Log._line

    def killed(log: callbacks.Log, data: dict[str, Any]) -> None:
        if data["step"] > 1:
            raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")
        line(log, data)

    monkeypatch.setattr(callbacks.Log, "_line", killed)
    result = studio.run(steps=3, save_every=1)
    assert result.status == 2
    said = result.error.splitlines()[-1]
    assert said.startswith(
        "texturenets: a data loader process was killed, probably because memory ran out (fewer "
    )
    assert said.endswith("is the model so far; run the same command with --resume")


def test_what_a_killed_run_left_is_removed(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 1)
        stopped = studio.run()
    left = [
        stopped.folder / ".checkpoint.safetensors.abc.part",
        stopped.folder / "pictures" / ".latest.jpg.abc.part",
        stopped.model.with_name(f".{stopped.model.name}.abc.part"),
    ]
    for path in left:
        path.write_bytes(b"half")
    foreign = stopped.model.with_name(".other.safetensors.abc.part")
    foreign.write_bytes(b"half")
    assert studio.run("--resume", output=stopped.model).status == 0
    assert not any(path.exists() for path in left)
    assert foreign.exists()
    foreign.unlink()


def test_records_come_one_a_step_with_the_photos_waited_for(studio: tiny.Studio, tmp_path: Path) -> None:
    flags = {k: v for k, v in tiny.BASE.items() if k in StyleConfig.__dataclass_fields__}
    layers = {k: tuple(flags[k].split(",")) for k in ("style_layers", "content_layers")}
    run = StyleConfig(**{**flags, **layers, "set": tuple(flags["set"]), "steps": 3})
    how = TrainerConfig(weights=(str(studio.weights),), device="cpu", workers=0, offline=True)
    training = Trainer(StyleTask(run, [studio.painting], studio.photos), tmp_path / "a.safetensors", how)
    records: Iterator[Record] = iter(training)
    made = list(records)
    assert [r.step for r in made] == [1, 2, 3]
    assert [r.saved is not None for r in made] == [False, False, True]
    seconds = [r.seconds for r in made]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert made[0].pictures is not None
    assert made[0].pictures.shape == (2, 2, 3, 64, 64)
    assert made[1].pictures is None
    assert training.finish() == tmp_path / "a.safetensors"


def test_a_cache_of_other_crops_is_refused(studio: tiny.Studio) -> None:
    plain, mirrored = cached(studio, flip=False), cached(studio)
    refused = studio.run(content=plain)
    assert refused.status == 2
    assert "was made without mirrored photos: turn --flip off here too" in refused.error
    assert (
        "was made with mirrored photos: leave it out here" in studio.run(content=mirrored, flip=False).error
    )
    assert (
        "--val-share 0.05, this training wants 0.3"
        in studio.run(content=plain, flip=False, val_share=0.3).error
    )
    assert studio.run(content=plain, flip=False).status == 0


def test_too_few_steps_are_told(studio: tiny.Studio) -> None:
    short = studio.run()
    note = "note: 2 steps are few, 4000 are usual: the same command with --resume"
    assert note in short.error
    assert "are usual" not in studio.run(init=short.model).error


def test_what_is_left_counts_validations() -> None:
    held = [SimpleNamespace(count=4), SimpleNamespace(count=2)]

    def told(every: int, **options: Any) -> str:
        task = SimpleNamespace(
            config=StyleConfig(batch_size=2, **options), validation_microbatches=lambda: held
        )
        trainer: Any = SimpleNamespace(
            task=task, config=TrainerConfig(validate_every=every), state=SimpleNamespace(seconds=10.0)
        )
        return training_progress.forecast(trainer, 10, 10, 10.0)

    # 6 images are 3 batches, each a third of a step of 1 s: a second, at steps 250 to 1000
    assert told(250, steps=1000) == "about 17 minutes for 1000 steps"
    assert told(1, steps=1000) == "about 33 minutes for 1000 steps"
    assert told(0, steps=60) == "about 51 seconds for 60 steps"
    assert told(1, minutes=10.0) == "about 305 steps in 10 minutes"


def test_a_loss_that_takes_other_networks_is_another_run() -> None:
    first = {"run": {}, "losses": ["Mine"], "descriptors_sha256": {"vgg16": "a", "squeezenet1_0": "b"}}
    assert fingerprint.differences(first, {**first}) == []
    second = {**first, "descriptors_sha256": {"vgg16": "a"}}
    assert fingerprint.differences(first, second) == ["the descriptor networks of the losses (squeezenet1_0)"]
    layers = {**second, "run": {"style_layers": ["vgg16:relu1_1"]}}
    assert [one.partition(" ")[0] for one in fingerprint.differences(first, layers)] == ["`style_layers`"]
    assert fingerprint.differences(first, {**first, "what comes later": 1}) == [
        "`what comes later` none -> 1"
    ]
