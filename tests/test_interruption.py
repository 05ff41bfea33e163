"""A training from Python that Ctrl-C or an exception ends. In a process of its own: it gets a signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from test_public import config, how, studio  # noqa: F401 (a fixture)

import texturenets as tn


def test_a_training_that_is_interrupted_in_python_is_saved(studio: tiny.Studio, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "mine.safetensors"

    def train(progress: Callable[[Any], object], **more: Any) -> tn.Style:
        given = {"config": config(steps=4), "trainer": how(studio), "progress": progress}
        return tn.train_style(studio.painting, studio.photos, out, **given, **more)

    with pytest.raises(KeyboardInterrupt, match="saved after step 1; `resume` goes on"):
        train(lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(ZeroDivisionError):
        train(lambda record: 0 // (3 - record.step), resume=True)
    seen: list[int] = []
    train(lambda record: seen.append(record.step) or np.bool_(True), resume=True)  # any true value ends it
    assert seen == [4]
