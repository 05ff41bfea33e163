"""What benchmarks/textures.py measures, on walls whose answer is known, and which trainings it starts."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from programs import ROOT, loaded
from torch import Tensor

from texturenets.train.configuration import TextureConfig


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return loaded(ROOT / "benchmarks/textures.py", "benchmark_textures")


def wall(side: int, course: int = 28, light: float = 0.0) -> Tensor:
    """Dark joints every `course` rows in noise, with light that falls from above: (1, 3, side, side)."""
    rows = torch.arange(side)[:, None]
    grain = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side))
    return 0.3 * grain + 0.5 * (rows % course > 3) + light * rows / side


def broken(image: Tensor, width: int) -> Tensor:
    """Strips of `width` columns, each moved up by its own number of rows: courses that do not continue."""
    moves = np.random.default_rng(0).integers(0, image.shape[2], image.shape[3] // width)
    strips = image.split(width, 3)
    return torch.cat([strip.roll(int(by), 2) for strip, by in zip(strips, moves, strict=True)], 3)


def test_the_period_of_courses_is_found_in_any_light(program: ModuleType) -> None:
    for light in (0.0, 2.0):
        assert program.period(program.row_means(wall(256, light=light))) == 28
    assert program.period(program.row_means(torch.rand(1, 3, 256, 256))) is None
    assert program.period(program.row_means(torch.full((1, 3, 64, 64), 0.5))) is None


def test_correlation_is_numpys(program: ModuleType) -> None:
    x = np.random.default_rng(0).random(50)
    assert program.correlation(x, 7) == pytest.approx(np.corrcoef(x[:-7], x[7:])[0, 1])
    assert program.correlation(x, 0) == pytest.approx(1)


@pytest.mark.usefixtures("few_patches")
def test_courses_that_continue_have_1_and_broken_ones_less(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "COUNT", 1)
    exemplar = wall(256)
    whole = program.measure("gram", 60.0, lambda side, seed: wall(side), exemplar)
    apart = program.measure("gram", 60.0, lambda side, seed: broken(wall(side), 32), exemplar)
    other = program.measure("gram", 60.0, lambda side, seed: wall(side, course=35), exemplar)
    assert whole.courses == pytest.approx(1, abs=0.05)
    assert whole.contrast == pytest.approx(1, abs=0.1)
    assert apart.contrast < 0.5
    assert other.courses < 0.3
    assert whole.distance["mean"] < apart.distance["mean"]
    row, lag = program.itself(exemplar)
    assert (row.courses, lag) == (1.0, 28)
    assert program.shown(whole).split()[:2] == ["gram", "60"]
    plain = program.measure(
        "gram", 1.0, lambda side, seed: torch.rand(1, 3, side, side), torch.rand(1, 3, 128, 128)
    )
    assert (plain.courses, plain.contrast) == (None, None)
    assert program.shown(plain).split()[-3:-1] == ["-", "-"]


def test_only_what_is_missing_is_trained_and_one_after_the_other(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def train(exemplar: Path, model: Path, flags: list[str], length: list[str]) -> bool:
        trained.append(model.stem)
        if model.stem == "wall-without-deep":
            return False
        model.touch()
        return True

    monkeypatch.setattr(program, "train", train)
    tables: list[Any] = []
    monkeypatch.setattr(program, "table", lambda *given: tables.append(given))

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["textures.py", "wall.jpg", "--folder", str(tmp_path), *words])
        trained.clear()
        status: int = program.main()
        return status

    assert run("--losses", "gram", "shifted", "sliced", "--most", "2") == 0
    assert trained == ["wall-gram", "wall-shifted"]
    assert run("--losses", "gram", "shifted", "sliced", "--table") == 0
    assert trained == []
    assert len(tables) == 2
    assert run("--losses", "gram", "without-deep", "sliced") == program.INTERRUPTED
    assert trained == ["wall-without-deep"]
    assert run("--losses", "gram", "shifted", "sliced") == 0
    assert trained == ["wall-sliced"]


def test_the_flags_of_each_loss_are_those_of_the_command(program: ModuleType) -> None:
    fields = set(TextureConfig.__dataclass_fields__)
    for flags in program.LOSSES.values():
        assert {word[2:].replace("-", "_") for word in flags if word.startswith("--")} <= fields
