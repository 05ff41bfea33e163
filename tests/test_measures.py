"""Measures against formulas in numpy and images whose answer is known."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from texturenets import perceptual
from texturenets.evaluation import measures
from texturenets.losses import Objective


class Toy(torch.nn.Module):
    """Two 'layers' of a descriptor: pixels, and their squares."""

    def forward(self, x: Tensor, layers: Any = None, tap: Any = None) -> dict[str, Tensor]:
        every = {"t:a": x, "u:b": x * x}
        return {k: tap(k, every[k]) if tap else every[k] for k in layers or every}


TOY = cast(perceptual.Descriptors, Toy())
LAYERS = ("t:a", "u:b")
SETTINGS = tiny.settings(LAYERS)


@pytest.fixture(autouse=True)
def toy_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy's layers are known by name."""
    monkeypatch.setitem(perceptual.LAYERS, "t", ("a",))
    monkeypatch.setitem(perceptual.LAYERS, "u", ("b",))


def gram(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    rows = picture.reshape(picture.shape[0], -1)
    return rows @ rows.T / rows.shape[1]


def test_texture_losses_are_relative_and_averaged_over_samples() -> None:
    exemplar, one, two = (torch.rand(1, 3, 6, 8, dtype=torch.float64) for _ in range(3))
    found = measures.texture_losses(TOY, [one, two], exemplar, SETTINGS)
    for layer, power in (("t:a", 1), ("u:b", 2)):
        target = gram(exemplar[0].numpy() ** power)
        each = [((gram(x[0].numpy() ** power) - target) ** 2).sum() / (target**2).sum() for x in (one, two)]
        assert found[layer] == pytest.approx(np.mean(each), rel=1e-6)
    assert measures.texture_losses(TOY, [exemplar], exemplar, SETTINGS) == {"t:a": 0, "u:b": 0}
    assert measures.by_network({"t:a": 1.0, "t:b": 2.0, "u:b": 4.0}) == {"t": 3.0, "u": 4.0}


def test_texture_losses_are_those_of_the_run() -> None:
    exemplar, sample = (torch.rand(1, 3, 8, 8) for _ in range(2))
    settings = tiny.settings(
        LAYERS, loss_scaling="paper", pyramid_loss=2, style_weight=3.0, checkerboard_weight=1.0
    )
    found = measures.texture_losses(TOY, [sample], exemplar, settings)
    assert list(found) == ["t:a", "u:b", "t:a@1", "u:b@1"]
    trained = Objective.from_settings(TOY, settings, [exemplar])(sample)
    assert found == pytest.approx({k: float(trained[f"style/{k}"]) / 3 for k in found})


def test_halves_are_compared_both_ways() -> None:
    exemplar = torch.rand(1, 3, 6, 8)
    left, right = exemplar[..., :4], exemplar[..., 4:]
    one = measures.texture_losses(TOY, [left], right, SETTINGS)
    other = measures.texture_losses(TOY, [right], left, SETTINGS)
    found = measures.half_losses(TOY, exemplar, SETTINGS)
    assert found == pytest.approx({k: (one[k] + other[k]) / 2 for k in LAYERS})


def test_pairwise_distance_by_hand() -> None:
    samples = [torch.full((1, 3, 4, 4), v) for v in (0.0, 0.1, 0.3)]
    found = measures.pairwise_distance(TOY, samples, LAYERS)
    assert found["t:a"] == pytest.approx((0.1 + 0.3 + 0.2) / 3, rel=1e-5)
    assert found["u:b"] == pytest.approx((0.01 + 0.09 + 0.08) / 3, rel=1e-5)
    with pytest.raises(ValueError, match="two samples"):
        measures.pairwise_distance(TOY, samples[:1], LAYERS)


def test_steps_across_the_edge_and_inside() -> None:
    ramp = torch.arange(12.0).expand(1, 3, 5, 12) / 100
    edge, inner = measures.edge_steps(ramp, 4)
    assert (edge, inner) == pytest.approx((0.11, 0.01))
    assert measures.edge_steps(ramp.transpose(2, 3), 4, axis=2) == pytest.approx((0.11, 0.01))
    # Only edges of the same phase count: a step after every fourth column, and none elsewhere.
    blocks = (torch.arange(12) // 4).float().expand(1, 3, 5, 12) / 10
    assert measures.edge_steps(blocks, 4) == pytest.approx((0.2, 0.1))
    assert measures.seam([blocks, ramp], 4) == pytest.approx((0.2 + 0.11) / (0.1 + 0.01))
    with pytest.raises(ValueError, match="no inner edge"):
        measures.edge_steps(ramp, 12)
    assert measures.seam([torch.full((1, 3, 8, 8), 0.5)], 4) == 1  # of one colour: no edge


def test_patches_that_are_copied_together() -> None:
    exemplar = torch.rand(1, 3, 96, 96)
    assert measures.copied(exemplar, exemplar) == 1.0
    moved = exemplar.roll((7, -9), (2, 3))
    where = measures.offsets(moved, exemplar)
    assert where[1, 1].tolist() == [-7, 9]
    # A quilt of patches from all over: each is copied, none with its neighbours.
    order = [(40, 3), (1, 60), (20, 30), (64, 64)]
    quilt = torch.zeros(1, 3, 64, 64)
    for (top, left), (y, x) in zip(order, [(0, 0), (0, 32), (32, 0), (32, 32)], strict=True):
        quilt[..., y : y + 32, x : x + 32] = exemplar[..., top : top + 32, left : left + 32]
    assert measures.copied(quilt, exemplar) == 0.0
    assert measures.offsets(quilt, exemplar)[0, 0].tolist() == [40, 3]
    assert measures.copied(torch.rand(1, 3, 96, 96), exemplar) < 0.5
    half = torch.cat([exemplar[..., :64], torch.rand(1, 3, 96, 64)], 3)
    assert measures.copied(half, exemplar) >= 0.5
    with pytest.raises(ValueError, match="do not fit"):
        measures.copied(exemplar[..., :20], exemplar)
