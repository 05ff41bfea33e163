"""The losses that see structure: formulas in plain numpy, gradients, and textures that only they tell apart."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from texturenets import perceptual
from texturenets.errors import UserError
from texturenets.losses import Objective, Targets
from texturenets.losses.autocorrelation import autocorrelation
from texturenets.losses.gram import gram
from texturenets.losses.shifted_gram import shifted_gram, shifts
from texturenets.losses.sliced_wasserstein import directions, sliced_wasserstein
from texturenets.losses.style import style_distance
from texturenets.perceptual import Tap
from texturenets.train.configuration import StyleConfig, TextureConfig

Array = np.ndarray[Any, Any]
NAMES = ("sliced", "shifted", "autocorrelation")


class Identity(nn.Module):
    """One 'layer' of a descriptor: the pixels."""

    def forward(self, x: Tensor, layers: object = None, tap: Tap | None = None) -> dict[str, Tensor]:
        return {"t:a": x if tap is None else tap("t:a", x)}


@pytest.fixture(autouse=True)
def toy_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(perceptual.LAYERS, "t", ("a",))


def objective(name: str, *styles: Tensor, **more: object) -> Objective:
    """With only the loss of this name, at weight 1, unless `more` says otherwise."""
    settings = tiny.settings(("t:a",), **{"style_weight": 0.0, f"{name}_weight": 1.0, **more})
    return Objective.from_settings(Identity(), settings, styles)  # type: ignore[arg-type]


def value(made: Objective, y: Tensor, step: int | None = None) -> float:
    targets = Targets(step=None if step is None else torch.tensor(step))
    (found,) = made(y, targets).values()
    return float(found.detach())


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ------------------------------------------------------------------------------------------------ what all have


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_the_style_itself_has_no_loss(name: str, dtype: torch.dtype) -> None:
    style = random(1, 3, 12, 17).to(dtype)
    made = objective(name, style)
    assert value(made, style) == pytest.approx(0, abs=1e-12)
    assert value(made, style.expand(2, -1, -1, -1), step=4) == pytest.approx(0, abs=1e-12)
    assert value(made, random(2, 3, 12, 17, seed=1).to(dtype)) > 1e-5
    assert set(made(style)) == {f"{name}/t:a"}


@pytest.mark.parametrize("name", NAMES)
def test_it_falls_when_pixels_are_optimized(name: str) -> None:
    made = objective(name, random(1, 3, 12, 16).square())
    y = random(1, 3, 16, 12, seed=1).requires_grad_()
    optimizer = torch.optim.Adam([y], lr=0.03)
    start = value(made, y)
    for step in range(60):
        optimizer.zero_grad()
        sum(made(y, Targets(step=torch.tensor(step))).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    assert value(made, y) < 0.1 * start


@pytest.mark.parametrize("scaling", ["relative", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_its_gradient_is_the_difference_quotient(name: str, scaling: str) -> None:
    made = objective(name, random(1, 2, 5, 4), loss_scaling=scaling)
    y = random(2, 2, 4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sum(made(x).values()), (y,))


@pytest.mark.parametrize("name", NAMES)
def test_half_the_batch_twice_is_the_batch_and_weights_multiply(name: str) -> None:
    style, y = random(1, 3, 12, 10), random(2, 3, 10, 12, seed=1)
    made = objective(name, style)
    parts = [value(made, y[i : i + 1], step=3) for i in range(2)]
    assert value(made, y, step=3) == pytest.approx(sum(parts) / 2)
    assert value(objective(name, style, **{f"{name}_weight": 2.5}), y) == pytest.approx(2.5 * value(made, y))


@pytest.mark.parametrize("name", NAMES)
def test_scale_does_not_count_where_it_is_relative(name: str) -> None:
    style, y = random(1, 3, 8, 8), random(1, 3, 8, 8, seed=1)
    assert value(objective(name, 100 * style), 100 * y) == pytest.approx(value(objective(name, style), y))
    assert value(objective(name, style), torch.zeros_like(y)) == pytest.approx(1, rel=0.5)
    plain = [value(objective(name, k * style, loss_scaling="paper"), k * y) for k in (1, 2)]
    assert plain[1] == pytest.approx(plain[0] * (4 if name == "sliced" else 16))


@pytest.mark.parametrize("name", NAMES)
def test_scales_of_the_loss_pyramid_decay(name: str) -> None:
    style, y = random(1, 3, 16, 16), random(1, 3, 16, 16, seed=1)
    made = objective(name, style, pyramid_loss=2, pyramid_decay=0.5)
    assert set(made(y)) == {f"{name}/t:a", f"{name}/t:a@1"}
    small = objective(name, *(torch.nn.functional.avg_pool2d(x, 2) for x in (style,)))
    if name != "sliced":  # whose directions are others at each scale
        expected = 0.5 * value(small, torch.nn.functional.avg_pool2d(y, 2))
        assert float(made(y)[f"{name}/t:a@1"]) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_several_styles_are_averaged(name: str) -> None:
    a, b, y = random(1, 3, 12, 12), random(1, 3, 12, 12, seed=1) / 2, random(1, 3, 12, 12, seed=2)
    assert value(objective(name, a, a), y) == pytest.approx(value(objective(name, a), y))
    both = [value(objective(name, *pair), y) for pair in ((a, b), (b, a))]
    assert both[0] == pytest.approx(both[1])
    assert value(objective(name, a, random(1, 3, 9, 20)), y) > 0  # of two sizes


# ------------------------------------------------------------------------------------------- what each is


def test_sliced_wasserstein_is_the_formula_in_numpy() -> None:
    y, style, axes = random(2, 3, 4, 5), random(1, 3, 6, 7, seed=1), random(4, 3, seed=2) - 0.5
    found = sliced_wasserstein(y, [(1.0, style)], axes, "paper").numpy()
    relative = sliced_wasserstein(y, [(1.0, style)], axes, "relative").numpy()
    target = style[0].numpy().reshape(3, -1)
    for i in range(2):
        own, each = y[i].numpy().reshape(3, -1), []
        for axis in axes.numpy():
            ranks = (np.arange(20) + 0.5) / 20 * 42 - 0.5
            aim = np.interp(ranks, np.arange(42), np.sort(axis @ target))
            each.append(np.mean((np.sort(axis @ own) - aim) ** 2))
        assert found[i] == pytest.approx(np.mean(each))
        assert relative[i] == pytest.approx(np.mean(each) / np.mean(target**2))


def test_features_of_zero_are_at_a_distance_of_1() -> None:
    style = random(1, 8, 9, 9)
    axes = directions(0, None, 0, 4000, 8)
    found = sliced_wasserstein(torch.zeros(1, 8, 5, 5), [(1.0, style)], axes, "relative")
    assert float(found) == pytest.approx(1, rel=0.1)


def test_directions_are_unit_vectors_of_their_step_and_layer_alone() -> None:
    def drawn(seed: int = 1, step: int = 7, stream: int = 0, count: int = 500, dimensions: int = 6) -> Tensor:
        return directions(seed, torch.tensor(step), stream, count, dimensions)

    first = drawn()
    assert torch.equal(first, drawn())
    assert torch.equal(first[:20], drawn(count=20))
    torch.testing.assert_close(first.norm(dim=1), torch.ones(500))
    torch.testing.assert_close(first.T @ first / 500, torch.eye(6) / 6, rtol=0, atol=0.03)
    assert first.mean(0).abs().max() < 0.07
    for other in (drawn(seed=2), drawn(step=8), drawn(stream=1), directions(1, None, 0, 500, 6)):
        assert (first * other).sum(1).mean().abs() < 0.1
        assert not torch.equal(first, other)


def test_each_step_has_its_directions_and_validation_always_the_same() -> None:
    made, y = objective("sliced", random(1, 3, 8, 8)), random(1, 3, 8, 8, seed=1)
    steps = [value(made, y, step) for step in (0, 1, 2)]
    assert len(set(steps)) == 3
    assert steps[1] == value(made, y, 1)
    assert value(made, y) == value(made, y) != steps[0]
    assert value(objective("sliced", random(1, 3, 8, 8), seed=1), y, 1) != steps[1]


@pytest.mark.parametrize(("axis", "shift"), [(2, 1), (2, 3), (3, 1), (3, 2)])
def test_shifted_gram_is_the_sum_over_pairs(axis: int, shift: int) -> None:
    x = random(2, 3, 4, 5)
    found, f = shifted_gram(x, axis, shift).numpy(), x.numpy()
    down, right = (shift, 0) if axis == 2 else (0, shift)
    for n, i, j in itertools.product(range(2), range(3), range(3)):
        pairs = [
            f[n, i, y + down, z + right] * f[n, j, y, z] for y in range(4 - down) for z in range(5 - right)
        ]
        assert found[n, i, j] == pytest.approx(np.mean(pairs))


def test_the_shifted_loss_is_the_mean_over_its_shifts() -> None:
    style, y = random(1, 3, 9, 6), random(1, 3, 6, 9, seed=1)
    assert shifts(y, 8) == [(2, 1), (2, 2), (2, 4), (3, 1), (3, 2), (3, 4), (3, 8)]
    assert shifts(y, 3) == [(2, 1), (2, 2), (3, 1), (3, 2)]
    every = [(axis, shift) for axis in (2, 3) for shift in (1, 2, 4)]  # 8 is in one of the two alone
    each = [float(style_distance(shifted_gram(y, *s), shifted_gram(style, *s), "relative")) for s in every]
    assert value(objective("shifted", style), y) == pytest.approx(np.mean(each))
    torch.testing.assert_close(shifted_gram(y, 2, 0), gram(y))
    with pytest.raises(UserError, match="too small to be shifted; use larger images"):
        value(objective("shifted", style), y[:, :, :1, :1])


def test_autocorrelation_is_the_sum_over_pairs() -> None:
    x = random(1, 2, 5, 6)
    found, f = autocorrelation(x, 3, 2).numpy(), x[0].numpy()
    assert found.shape == (1, 2, 4, 5)
    for c, down, right in itertools.product(range(2), range(4), range(-2, 3)):
        pairs = [
            f[c, y, z] * f[c, y + down, z + right]
            for y in range(5 - down)
            for z in range(6)
            if 0 <= z + right < 6
        ]
        assert found[0, c, down, right + 2] == pytest.approx(np.mean(pairs))
    assert autocorrelation(x[:, :, :1, :1], 0, 0).shape == (1, 2, 1, 1)


def test_the_autocorrelation_loss_compares_the_distances_that_both_have() -> None:
    style, y = random(1, 2, 12, 6), random(1, 2, 8, 10, seed=1)
    a, b = (autocorrelation(x, 4, 3).numpy() for x in (y, style))
    expected = np.mean((a - b) ** 2) / np.mean(b**2)
    assert value(objective("autocorrelation", style), y) == pytest.approx(expected)


# ------------------------------------------------------------------------------------------ what each is for


def bricks(height: int, width: int, course: int = 6, length: int = 12) -> Tensor:
    """A wall of light joints and dark bricks, every other course moved by half a brick: (1, 3, height, width)."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
    moved = columns + (rows // course % 2) * (length // 2)
    wall = 0.2 + 0.7 * ((rows % course == 0) | (moved % length == 0)).double()
    return torch.stack([wall, wall.square(), 1 - wall])[None]


def shuffled(wall: Tensor) -> Tensor:
    """The same rows in another order: all that is in them, but no courses."""
    return wall[:, :, torch.randperm(wall.shape[2], generator=torch.Generator().manual_seed(0))]


@pytest.mark.parametrize("name", ["shifted", "autocorrelation"])
def test_courses_are_told_from_shuffled_rows_where_gram_matrices_do_not(name: str) -> None:
    wall = bricks(48, 48)
    plain = objective("style", wall)
    assert value(plain, shuffled(wall)) == pytest.approx(0, abs=1e-12)
    made = objective(name, wall)
    elsewhere = bricks(60, 72)[:, :, 5:, 3:]  # the same wall, another part of it
    assert value(made, shuffled(wall)) > 10 * value(made, elsewhere)


def test_autocorrelation_sees_periods_that_shifts_step_over() -> None:
    """Grain that comes again after 24 rows: neighbours say nothing of it."""
    periodic = random(1, 3, 24, 48).repeat(1, 1, 4, 1)
    grain = random(1, 3, 96, 48, seed=1)
    again = periodic.roll(7, 2)
    shift, every = (objective(name, periodic) for name in ("shifted", "autocorrelation"))
    assert value(every, grain) > 20 * value(every, again)
    assert value(every, grain) > 2 * value(shift, grain)


def test_sliced_wasserstein_tells_distributions_with_the_same_gram_matrix() -> None:
    normal = torch.randn(1, 1, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    normal = (normal - normal.mean()) / normal.std(correction=0)
    coins = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(2048).view(1, 1, 64, 64)
    assert value(objective("style", coins), normal) == pytest.approx(0, abs=1e-12)
    # sqrt(2 / pi) of the normal distribution's deviation lies in the mean of its halves
    expected = 2 - 2 * np.sqrt(2 / np.pi)
    assert value(objective("sliced", coins), normal) == pytest.approx(expected, rel=0.05)
    assert value(objective("sliced", coins), shuffled(coins)) == pytest.approx(0, abs=1e-12)


# ------------------------------------------------------------------------------------------- configurations


def test_each_can_be_the_only_loss_and_none_is_refused() -> None:
    for name in NAMES:
        TextureConfig(style_weight=0, **{f"{name}_weight": 1.0})  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no other loss is used"):
        TextureConfig(style_weight=0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sliced_weight": -1}, "`sliced_weight`"),
        ({"shifted_weight": float("nan")}, "`shifted_weight`"),
        ({"autocorrelation_weight": "much"}, "`autocorrelation_weight`"),
        ({"max_shift": 0}, "`max_shift`"),
        ({"structure_layers": ()}, "`structure_layers` names no layer"),
    ],
)
def test_wrong_values_are_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        StyleConfig(**wrong)


def test_a_layer_that_does_not_exist_is_named_only_where_it_is_used() -> None:
    build: Callable[..., Any] = objective
    with pytest.raises(UserError, match="unknown layer of t 'b'; known: a"):
        build("sliced", random(1, 3, 8, 8), structure_layers=("t:b",))
    assert build("tv", random(1, 3, 8, 8), structure_layers=("t:b",))


def test_defaults_leave_the_losses_as_they_were() -> None:
    for config in (StyleConfig(), TextureConfig()):
        settings = dataclasses.asdict(config)
        assert not any(settings[f"{name}_weight"] for name in NAMES)
