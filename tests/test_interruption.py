"""A training from Python that Ctrl-C, an exception or a callback ends. In a process of its own: it gets a signal."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
from test_public import config, how

import texturenets as tn
from texturenets.train import checkpoint, interruption
from texturenets.train.trainer import Trainer


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """What Python does on Ctrl-C; a shell's background jobs are started without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    return tiny.Studio(tmp_path_factory.mktemp("studio"))


def stopped_at_two(action: Callable[[], object]) -> Callable[[object], object]:
    return lambda record: action() if record.step == 2 else None  # type: ignore[attr-defined]


def failing() -> None:
    raise ZeroDivisionError("of its own")


@pytest.mark.parametrize(
    ("action", "error", "said"),
    [
        (
            lambda: signal.raise_signal(signal.SIGINT),
            KeyboardInterrupt,
            "saved after step 2; continue with `resume`",
        ),
        (failing, ZeroDivisionError, "of its own"),
    ],
)
def test_an_interrupted_training_is_saved_before_the_error(
    studio: tiny.Studio, tmp_path: Path, action: Callable[[], object], error: type[BaseException], said: str
) -> None:
    trainer = dataclasses.replace(how(studio), save_every=100)
    with pytest.raises(error, match=said):
        tn.train_style(
            studio.painting,
            studio.photos,
            tmp_path / "a.safetensors",
            config=config(steps=5),
            trainer=trainer,
            progress=stopped_at_two(action),
        )
    assert checkpoint.read_state(tmp_path / "a.run").step == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def answered_in_step_two(studio: tiny.Studio, folder: Path, value: object) -> None:
    """Train for three steps; in the second `progress` returns `value`."""
    tn.train_style(
        studio.painting,
        studio.photos,
        folder / "a.safetensors",
        config=config(steps=3),
        trainer=how(studio),
        progress=stopped_at_two(lambda: value),
    )


@pytest.mark.parametrize(("value", "end"), [("stop", 2), (None, 3), (True, 3), (np.ones(2), 3)])
def test_progress_stops_by_one_word(studio: tiny.Studio, tmp_path: Path, value: object, end: int) -> None:
    """Progress bars return values of their own, as tqdm's `update` does."""
    answered_in_step_two(studio, tmp_path, value)
    assert checkpoint.read_state(tmp_path / "a.run").step == end
    assert (tmp_path / "a.safetensors").exists() == (end == 3)


def test_progress_that_returns_another_word_ends_in_a_line_and_a_checkpoint(
    studio: tiny.Studio, tmp_path: Path
) -> None:
    with pytest.raises(tn.UserError, match=r"`progress` returned .*STOP.*: return the string 'stop' to end"):
        answered_in_step_two(studio, tmp_path, "STOP")
    assert checkpoint.read_state(tmp_path / "a.run").step == 2


def signalled(patch: pytest.MonkeyPatch, send: Callable[[], object]) -> None:
    """`send` is called in the second step."""
    check = Trainer._check_losses

    def checked(self: Trainer, step: int, *more: Any) -> None:
        check(self, step, *more)
        if step == 2:
            send()

    patch.setattr(Trainer, "_check_losses", checked)


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def thrice() -> None:
    ctrl_c()
    try:
        ctrl_c()
    finally:
        ctrl_c()


def test_a_double_press_saves(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    signalled(monkeypatch, thrice)
    result = studio.run(steps=5, save_every=100)
    assert result.status == 130
    assert "finishing this step, then saving; Ctrl-C again ends without saving\n" in result.error
    assert "stopped after step 2 of 5, checkpoint saved" in result.error
    assert checkpoint.read_state(result.folder).step == 2


def test_the_line_does_not_wait_for_what_the_signal_has_interrupted() -> None:
    """As an import or a lock of what prints, in the main thread."""
    held, said = threading.Lock(), []

    def say(line: str) -> None:
        with held:
            said.append(line)

    trainer = SimpleNamespace(stop=False, saved_step=0)
    with interruption.interruptible(trainer, [signal.SIGINT], say) as come:  # type: ignore[arg-type]
        with held:
            ctrl_c()
        assert (come, trainer.stop) == ([signal.SIGINT], True)
    assert said == ["finishing this step, then saving; Ctrl-C again ends without saving"]


def test_sigterm_saves_and_says_so_by_its_status(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
    result = studio.run(steps=5, save_every=100)
    assert result.status == 143
    assert "finishing this step, then saving; Ctrl-C ends without saving\n" in result.error
    assert checkpoint.read_state(result.folder).step == 2


@pytest.mark.parametrize(
    ("save_every", "kept"), [(1, "step 1 was the last that was saved"), (100, "no step was saved")]
)
def test_ctrl_c_once_more_ends_without_saving(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch, save_every: int, kept: str
) -> None:
    monkeypatch.setattr(interruption, "DOUBLE_PRESS", -1)
    signalled(monkeypatch, thrice)
    result = studio.run(steps=5, save_every=save_every)
    assert result.status == 130
    assert result.error.endswith(f"\ntexturenets: interrupted: ended without saving: {kept}\n")
    assert "Traceback" not in result.error
    assert (result.folder / checkpoint.NAME).exists() == (save_every == 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_once_it_is_saved_does_nothing(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "DOUBLE_PRESS", -1)
    signalled(monkeypatch, ctrl_c)
    save = Trainer.save

    def saved(self: Trainer) -> Path:
        path = save(self)
        ctrl_c()
        return path

    monkeypatch.setattr(Trainer, "save", saved)
    result = studio.run(steps=5, save_every=100)
    assert "stopped after step 2 of 5, checkpoint saved" in result.error
    assert checkpoint.read_state(result.folder).step == 2
