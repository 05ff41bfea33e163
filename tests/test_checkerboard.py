"""The checkerboard statistic: grids of 2 and 4 pixels, and nothing else."""

from __future__ import annotations

import pytest
import torch

from texturenets.losses import checkerboard as module
from texturenets.losses.base import Features, Targets
from texturenets.losses.checkerboard import GRIDS, CheckerboardPenalty, checkerboard, share


def test_the_penalty_counts_from_the_second_half_on() -> None:
    progress = [(i + 1) / 8 for i in range(8)]
    assert [share(p) for p in progress] == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1]
    assert [float(share(torch.tensor(p))) for p in progress] == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1]


def test_nothing_is_computed_while_the_penalty_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    penalty, features = CheckerboardPenalty(weight=2.0), Features(torch.rand(1, 3, 64, 64))
    counting = penalty(features, Targets(progress=0.75))["checkerboard"]
    assert float(counting) == pytest.approx(float(checkerboard(features.images).clamp_min(0).sum()))
    monkeypatch.setattr(module, "checkerboard", None)
    assert float(penalty(features, Targets(progress=0.5))["checkerboard"]) == 0


def test_checkerboard_of_noise_is_zero_and_grids_are_seen() -> None:
    torch.manual_seed(0)
    noise = torch.randn(32, 3, 128, 128)
    assert checkerboard(noise).mean(0).abs().max() < 0.15  # deviation of the mean: about 0.05
    row, column = torch.arange(128)[:, None], torch.arange(128)[None]
    quarter = torch.pi / 2
    for line, (u, v) in enumerate(GRIDS):
        grid = torch.cos(quarter * (u * row + v * column) + 0.3)
        found = checkerboard(0.5 + 0.1 * grid.expand(1, 3, -1, -1))[0]
        assert float(found[line]) == pytest.approx(15, abs=0.1)  # 16 windows, all in phase
        alone = torch.cat([found[:line], found[line + 1 :]])
        assert alone.max() < 1  # and seen as no other grid
        assert checkerboard(noise[:4] + grid).mean(0)[line] > 10


def test_checkerboard_sees_a_grid_out_of_phase_from_area_to_area_and_no_other_period() -> None:
    torch.manual_seed(0)
    signs = torch.tensor([1.0, -1.0]).repeat(2).repeat_interleave(64)  # next areas are of opposite sign
    stripes = torch.tensor([0.2, 0.0]).repeat(128) * signs
    noise = 0.1 * torch.randn(4, 3, 256, 256)
    assert checkerboard(noise + stripes).mean(0)[1] > 10
    thirds = torch.zeros(256)
    thirds[::3] = 0.2
    assert checkerboard(noise + thirds).mean(0).max() < 0.5
    assert checkerboard(torch.full((1, 3, 64, 64), 0.7)).abs().max() < 1e-3  # a flat area is no grid
    assert not checkerboard(torch.rand(1, 3, 63, 64)).any()


def test_checkerboard_pulls_at_grids_alone() -> None:
    torch.manual_seed(0)
    x = (0.1 * torch.randn(16, 3, 128, 128)).requires_grad_()
    (gradient,) = torch.autograd.grad(checkerboard(x).sum(), x)
    # Along x itself the gradient says whether less detail of any kind would help: it would not.
    assert abs(float((gradient * x.detach()).sum())) / 16 < 0.5
    grid = torch.tensor([0.05, -0.05]).repeat(64)
    y = (x.detach() + grid).requires_grad_()
    (gradient,) = torch.autograd.grad(checkerboard(y).sum(), y)
    assert float((gradient * grid).sum()) / 16 > 5
