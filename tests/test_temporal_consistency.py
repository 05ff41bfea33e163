"""Photos moved for the temporal consistency loss, and runs of `train style --temporal-weight`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from texturenets.train import temporal_consistency as temporal


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    return tiny.Studio(tmp_path_factory.mktemp("studio"))


def test_a_moved_photo_is_the_photo_moved_and_little_else() -> None:
    photos = torch.rand(6, 3, 40, 44) * 0.6 + 0.2
    keys = [(0, 3, 7, slot) for slot in range(6)]
    made = temporal.move(photos, keys)
    assert made.photos.shape == photos.shape
    assert len(set(made.shifts)) > 1
    for photo, other, (down, right) in zip(photos, made.photos, made.shifts, strict=True):
        assert max(abs(down), abs(right)) <= temporal.SHIFT
        inner = other[:, 4:36, 4:40]
        moved = photo[:, 4 - down : 36 - down, 4 - right : 40 - right]
        factor = float((inner * moved).sum() / moved.square().sum())
        assert abs(factor - 1) <= temporal.BRIGHTNESS + 0.002
        assert float((inner - factor * moved).std()) == pytest.approx(temporal.NOISE, rel=0.1)
    alone = temporal.move(photos[2:4], keys[2:4])  # whoever else is in the batch
    assert torch.equal(alone.photos, made.photos[2:4])
    assert alone.shifts == made[slice(2, 4)].shifts


def test_the_noise_has_grain_of_all_sizes_and_is_mostly_grey() -> None:
    shape = (3, 400, 400)
    noise = torch.from_numpy(temporal._grain(np.random.default_rng(0), shape)).double()
    assert noise.shape == shape
    variance = float(noise.square().mean())
    assert variance == pytest.approx(temporal.NOISE**2, rel=0.1)
    # Two neighbours are in the same square of side n in n - 1 of n cases.
    alike = sum(1 - 1 / side for side in temporal.GRAINS) / len(temporal.GRAINS)
    for a, b in ((noise[:, 1:], noise[:, :-1]), (noise[:, :, 1:], noise[:, :, :-1])):
        assert float((a * b).mean()) / variance == pytest.approx(alike, abs=0.05)
    assert float((noise[0] * noise[1]).mean()) / variance == pytest.approx(temporal.GREY, abs=0.05)


def test_runs_with_it(studio: tiny.Studio) -> None:
    plain, steady = studio.run(), studio.run(temporal_weight=2.0)
    assert steady.status == 0, steady.error
    assert set(steady.losses) == set(plain.losses) | {"temporal"}
    same = {k: v == pytest.approx(plain.losses[k], rel=0.2) for k, v in plain.losses.items()}
    assert all(same.values())  # of the first steps: what else there is stays as it is
    validated = next(line["validation"] for line in steady.records if "validation" in line)
    assert validated["temporal"] > 0
    assert any(
        not torch.equal(a, b) for a, b in zip(plain.weights.values(), steady.weights.values(), strict=True)
    )
    twice = (
        studio.run(temporal_weight=4.0, steps=1).losses["temporal"]
        / studio.run(temporal_weight=2.0, steps=1).losses["temporal"]
    )
    assert twice == pytest.approx(2, rel=1e-5)


def test_split_batches_have_the_same_gradient(studio: tiny.Studio) -> None:
    whole, split = (
        studio.run(temporal_weight=2.0, steps=1),
        studio.run(temporal_weight=2.0, steps=1, accumulate=2),
    )
    assert split.losses["temporal"] == pytest.approx(whole.losses["temporal"], rel=1e-5)


@pytest.mark.slow
def test_it_makes_a_network_steadier(studio: tiny.Studio, tmp_path: Path) -> None:
    """Trained for nothing but little texture, the loss itself falls."""
    run = studio.run(
        temporal_weight=50.0,
        steps=80,
        style_weight=0.001,
        content_weight=0.001,
        save_every=1,
        learning_rate=0.003,
    )
    values = [line["losses"]["temporal"] for line in run.records if "losses" in line]
    assert sum(values[-20:]) < sum(values[:20])


def test_pictures_too_small_for_it(studio: tiny.Studio) -> None:
    result = studio.run(temporal_weight=1.0, image_size=32)
    assert result.status == 2
    assert "--temporal-weight" in result.error
    assert "48" in result.error
    assert studio.run(temporal_weight=-1.0).status == 2
