"""Finding the periods of an exemplar, and learning with them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray
from PIL import Image

from texturenets import loading
from texturenets.cli import train
from texturenets.train import waves


def grain(height: int, width: int, seed: int = 0) -> NDArray[np.float64]:
    """Noise about as smooth as photos are: its power falls with the square of the frequency."""
    white = np.fft.fft2(np.random.default_rng(seed).standard_normal((height, width)))
    down, right = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    smooth: NDArray[np.float64] = np.fft.ifft2(white / np.maximum(np.hypot(down, right), 0.01)).real
    return smooth / smooth.std()


def picture(gray: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.stack([0.5 + 0.1 * gray] * 3).astype(np.float32)


def courses(height: int, width: int, period: float) -> NDArray[np.float64]:
    """A dark line every `period` rows, with overtones as mortar has, in grain."""
    rows = np.arange(height)[:, None] % period < period / 5
    return grain(height, width) - 1.5 * rows


def test_courses_have_one_wave() -> None:
    ((down, right),) = waves.find(picture(courses(250, 320, 28.5)))
    assert abs(abs(down) - 1 / 28.5) < 0.2 / 250
    assert abs(right) < 0.2 / 320


def test_a_weave_has_two_from_which_all_others_come() -> None:
    basis = (0.04, 0.05), (-0.07, 0.03)
    down, right = np.arange(300)[:, None], np.arange(300)[None]
    woven = grain(300, 300)
    for first, second in itertools.product(range(3), range(-2, 3)):
        wave = [first * a + second * b for a, b in zip(*basis, strict=True)]
        woven = woven + np.cos(2 * math.pi * (wave[0] * down + wave[1] * right))
    found = waves.find(picture(woven))
    assert len(found) == 2
    for wave in found:
        parts = np.linalg.solve(np.array(basis).T, np.array(wave))
        assert np.abs(parts - parts.round()).max() < 0.05
        assert np.abs(parts).max() > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_grain_has_none(seed: int) -> None:
    assert waves.find(picture(grain(256, 256, seed))) == ()


def test_grain_that_runs_one_way_has_none() -> None:
    """Its power stands out from that of other directions, but not from that of its own."""
    along = np.repeat(grain(1, 300), 256, 0) + 0.02 * grain(256, 300)
    assert waves.find(picture(along)) == ()


def test_one_color_has_none() -> None:
    assert waves.find(np.full((3, 64, 64), 0.5, np.float32)) == ()


@pytest.fixture
def wall(tmp_path: Path) -> Path:
    strong = 0.3 * grain(96, 96) + 2 * np.sin(2 * math.pi / 16 * np.arange(96))[:, None]
    pixels = (255 * picture(strong).clip(0, 1)).astype(np.uint8)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "wall.png")
    return tmp_path / "wall.png"


def test_a_training_takes_them(wall: Path, tmp_path: Path) -> None:
    studio = tiny.Studio(tmp_path, photos=1)
    result = studio.texture(style=wall, style_size=96)
    assert result.status == 0, result.error
    down, right = result.header.generator["waves"]
    assert abs(abs(down) - 1 / 16) < 0.002
    assert abs(right) < 0.002
    texture = loading.load(result.model, "cpu")
    assert texture.inputs[-1].distribution == "waves"
    assert texture.sample(64, tileable=True).size == (64, 64)

    plain = studio.texture(style=wall, style_size=96, periodic=False)
    assert plain.status == 0, plain.error
    assert list(plain.header.generator["waves"]) == []

    for begun in (result, plain):
        after = studio.texture(style=wall, style_size=96, init=str(begun.model), steps=1)
        assert after.status == 0, after.error
        assert after.header.generator["waves"] == begun.header.generator["waves"]


def test_the_periods_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    train._say_periods([(1 / 16, 0.0), (0.03, -0.04)])
    error = capsys.readouterr().err
    assert error == "it repeats every 16.0 and 20.0 pixels, and so will the samples (--no-periodic: not)\n"
