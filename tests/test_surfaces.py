"""The example that draws surfaces to train textures on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from programs import loaded

surfaces = loaded(Path(__file__).resolve().parents[1] / "examples/surfaces.py", "surfaces")


@pytest.mark.parametrize("name", list(surfaces.SURFACES))
def test_it_tiles_and_is_another_with_another_seed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "ROUNDS", 1)
    image = surfaces.surface(name, 96)
    drawn = np.asarray(image).astype(float)
    assert drawn.shape == (96, 96, 3)
    assert drawn.std() > 5
    assert image.tobytes() != surfaces.surface(name, 96, seed=1).tobytes()
    for axis in (0, 1):
        steps = np.abs(np.diff(drawn, axis=axis)).mean((1 - axis, 2))
        seam = np.abs(drawn.take(0, axis) - drawn.take(-1, axis)).mean()
        assert seam <= steps.max()


@pytest.mark.parametrize("name", ["wood", "metal", "marble"])  # which are quick to draw
def test_it_is_the_same_for_the_same_seed(name: str) -> None:
    assert surfaces.surface(name, 96).tobytes() == surfaces.surface(name, 96).tobytes()
