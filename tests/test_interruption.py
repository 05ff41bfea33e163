"""A training from Python that Ctrl-C, an exception or a callback ends. In a process of its own: it gets a signal."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from test_public import config, how

import texturenets as tn
from texturenets.train import checkpoint


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


@pytest.mark.parametrize(("value", "end"), [("stop", 2), (True, 3), (np.ones(2), 3), (torch.tensor(1.0), 3)])
def test_progress_stops_by_one_word_alone(
    studio: tiny.Studio, tmp_path: Path, value: object, end: int
) -> None:
    """Progress bars return values of their own, as tqdm's `update` does."""
    tn.train_style(
        studio.painting,
        studio.photos,
        tmp_path / "a.safetensors",
        config=config(steps=3),
        trainer=how(studio),
        progress=stopped_at_two(lambda: value),
    )
    assert checkpoint.read_state(tmp_path / "a.run").step == end
    assert (tmp_path / "a.safetensors").exists() == (end == 3)
