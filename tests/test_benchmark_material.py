"""The measure of `benchmarks/material.py`, against values that are known."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from programs import ROOT, loaded

from texturenets.materials.maps import Maps

SIDE = 64


@pytest.fixture
def material() -> ModuleType:
    return loaded(ROOT / "benchmarks/material.py", "benchmark_material")


def test_information_is_that_of_ranks(material: ModuleType) -> None:
    random = np.random.default_rng(0)
    x = random.random((SIDE, SIDE)).astype(np.float32)
    assert material.mutual_information(x, x**3) == pytest.approx(np.log(32))
    assert material.mutual_information(x, -x) == pytest.approx(np.log(32))
    chance = 31**2 / (2 * SIDE**2)  # of independent values: the number of free bins over twice that of pixels
    other = random.random((SIDE, SIDE)).astype(np.float32)
    assert material.mutual_information(x, other) == pytest.approx(chance, rel=0.1)
    assert material.mutual_information(x, np.zeros_like(x)) == 0
    halves = (x > np.median(x)).astype(np.float32)
    assert material.mutual_information(x, halves) == pytest.approx(np.log(2), abs=1e-3)


def test_maps_that_move_are_out_of_register(material: ModuleType) -> None:
    random = np.random.default_rng(1)
    height = random.random((1, SIDE, SIDE)).astype(np.float32)
    maps = Maps.of({"color": np.repeat(height, 3, 0), "height": height})
    assert material.register(maps) == {("color", "height"): pytest.approx(np.log(32))}
    moved = Maps.of({"color": np.repeat(height, 3, 0), "height": np.roll(height, 1, 2)})
    assert material.register(moved)["color", "height"] < 0.2
