"""Iterative optimization against bounded problems, plain L-BFGS, and the papers' formulas in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from texturenets import optimization, perceptual
from texturenets.errors import UserError
from texturenets.image import resize
from texturenets.losses import Objective
from texturenets.losses.style import StyleLoss
from texturenets.perceptual import Tap


class Quadratic:
    """(x - target)^T A (x - target) / 2 with neighbours coupled, in place of an Objective."""

    def __init__(self, target: Tensor, coupling: float = 0.4, factor: float = 1.0) -> None:
        self.target, self.coupling, self.factor, self.calls = target, coupling, factor, 0

    def __call__(self, y: Tensor, targets: object = None) -> dict[str, Tensor]:
        self.calls += 1
        d = y - self.target
        steps = d[..., 1:] - d[..., :-1]
        return {
            "near": self.factor * d.square().sum() / 2,
            "smooth": self.factor * self.coupling * steps.square().sum() / 2,
        }


def minimize(problem: Any, start: Tensor, **options: Any) -> list[optimization.IterationRecord]:
    return list(optimization.minimize(cast(Objective, problem), start, **options))


class Toy(torch.nn.Module):
    """One 'layer' of a descriptor: pixels and their squares."""

    def forward(self, x: Tensor, layers: object = None, tap: Tap | None = None) -> dict[str, Tensor]:
        f = torch.cat([x * x, x], 1)
        return {"t:a": f if tap is None else tap("t:a", f)}


TOY = cast(perceptual.Descriptors, Toy())
SETTINGS = tiny.settings(style_layers=("t:a",))


@pytest.fixture(autouse=True)
def toy_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy's layers are known by name."""
    monkeypatch.setitem(perceptual.LAYERS, "t", ("a",))


def bounded_solution(problem: Quadratic) -> np.ndarray:
    """By projected gradient descent in float64."""
    target = problem.target.double().numpy()
    x = np.clip(target, 0, 1)
    for _ in range(4000):
        d = x - target
        g = d.copy()
        steps = problem.coupling * np.diff(d, axis=-1)
        g[..., 1:] += steps
        g[..., :-1] -= steps
        x = np.clip(x - 0.1 * g, 0, 1)  # the largest eigenvalue is 1 + 4 * 2
    return x


@pytest.mark.parametrize("line_search", ["strong_wolfe", "fixed"])
def test_finds_the_minimum_within_the_bounds(line_search: str) -> None:
    problem = Quadratic(torch.rand(1, 3, 6, 9) * 3 - 1, coupling=2.0)
    records = minimize(problem, torch.rand(1, 3, 6, 9), steps=60, line_search=line_search)
    found, expected = records[-1].image.numpy(), bounded_solution(problem)
    assert ((expected == 0) | (expected == 1)).mean() > 0.3  # the bounds matter
    unbounded = np.clip(problem.target.numpy(), 0, 1)
    assert np.abs(unbounded - expected).max() > 0.05  # and clamping the free minimum is no answer
    np.testing.assert_allclose(found, expected, atol=2e-4)
    for record in records:
        assert float(record.image.min()) >= 0
        assert float(record.image.max()) <= 1


def test_inside_the_bounds_it_is_plain_lbfgs() -> None:
    """Iteration by iteration as one call of PyTorch's optimizer, which does as many on its own."""
    target = 0.4 + 0.2 * torch.rand(1, 3, 6, 9)
    start = 0.4 + 0.2 * torch.rand(1, 3, 6, 9)
    problem = Quadratic(target, coupling=5.0)
    records = minimize(problem, start, steps=9)
    unit, scale = 2.0 ** round(np.log2(255 / start.numel())), 2.0 ** round(np.log2(1000 / records[0].loss))
    free = (start * unit).requires_grad_()
    plain = torch.optim.LBFGS(
        [free], max_iter=9, max_eval=100, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        free.grad = None
        loss = scale * torch.stack(list(problem(free / unit).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    plain.step(closure)  # type: ignore[no-untyped-call]
    assert len(records) == 10
    torch.testing.assert_close(records[-1].image, (free / unit).detach(), rtol=0, atol=1e-5)


def test_records_hold_the_loss_of_their_picture_and_it_never_rises() -> None:
    problem = Quadratic(torch.rand(1, 3, 5, 7) * 2 - 0.5)
    start = torch.rand(1, 3, 5, 7)
    records = minimize(problem, start, steps=8)
    assert [r.iteration for r in records] == list(range(len(records)))
    assert torch.equal(records[0].image, start)
    for record in records:
        assert record.losses == {k: float(v) for k, v in problem(record.image).items()}
        assert record.loss == pytest.approx(sum(record.losses.values()))
    losses = [r.loss for r in records]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    assert records[-1].evaluations > records[0].evaluations == 1


def test_the_start_is_taken_exactly_even_at_the_bounds() -> None:
    start = (torch.rand(1, 3, 5, 5) > 0.5).float()
    records = minimize(Quadratic(torch.full((1, 3, 5, 5), 0.5)), start, steps=30)
    assert torch.equal(records[0].image, start)
    torch.testing.assert_close(records[-1].image, torch.full((1, 3, 5, 5), 0.5), atol=1e-4, rtol=0)


def test_evaluations_are_not_done_twice() -> None:
    problem = Quadratic(torch.rand(1, 3, 12, 12), coupling=30.0)
    records = minimize(problem, torch.rand(1, 3, 12, 12), steps=10, line_search="fixed")
    assert problem.calls == records[-1].evaluations == 11
    problem.calls = 0
    records = minimize(problem, torch.rand(1, 3, 12, 12), steps=10)
    assert problem.calls == records[-1].evaluations
    # The point at which a search ends is where the next begins: an evaluation an iteration is saved.
    assert problem.calls <= 10 + 6


def test_first_step_moves_a_grey_level_on_average() -> None:
    problem = Quadratic(torch.full((1, 3, 20, 20), 0.9), coupling=0.0)
    first = minimize(problem, torch.full((1, 3, 20, 20), 0.2), steps=1, line_search="fixed")[1].image
    moved = float((first - 0.2).abs().mean()) * 255
    assert 2**-0.5 <= moved <= 2**0.5


def test_the_loss_s_unit_does_not_matter() -> None:
    target, start = torch.rand(1, 3, 8, 8) * 2 - 0.5, torch.rand(1, 3, 8, 8)
    one, two = (minimize(Quadratic(target, factor=f), start, steps=6)[-1].image for f in (1.0, 2.0**-40))
    assert torch.equal(one, two)


def test_it_ends_where_no_step_lowers_the_loss() -> None:
    start = torch.rand(1, 3, 5, 5)
    assert len(minimize(Quadratic(start.clone()), start, steps=50)) == 1
    # All of it pushed against the bounds: nothing is free to move.
    assert (
        len(minimize(Quadratic(torch.full((1, 3, 4, 4), 2.0), coupling=0), torch.ones(1, 3, 4, 4), steps=50))
        == 1
    )


def test_a_loss_that_is_no_number_is_said_so() -> None:
    with pytest.raises(UserError, match="no longer a number"):
        minimize(Quadratic(torch.full((1, 3, 4, 4), float("nan"))), torch.rand(1, 3, 4, 4), steps=2)


def test_records_come_one_by_one() -> None:
    problem = Quadratic(torch.rand(1, 3, 6, 6))
    records = optimization.minimize(cast(Objective, problem), torch.rand(1, 3, 6, 6), steps=100)
    next(records)
    assert problem.calls == 1


def gram(x: Tensor) -> np.ndarray:
    f = torch.cat([x * x, x], 1)[0].flatten(1).double().numpy()
    return np.asarray(f @ f.T / f.shape[1])


def test_styles_are_mixed_by_their_weights() -> None:
    a, b, y = (torch.rand(1, 3, 8, 8) * s for s in (0.3, 1.0, 0.7))

    def mix(shares: list[float] | None) -> Objective:
        return Objective.from_settings(TOY, SETTINGS, [a, b], shares=shares)

    def style(objective: Objective) -> np.ndarray:
        (loss,) = objective.losses
        assert isinstance(loss, StyleLoss)
        return loss.targets[0]["t:a"][0].numpy()

    mixed = mix(optimization.shares(2, [1, 3]))
    expected = (gram(a) + 3 * gram(b)) / 4
    np.testing.assert_allclose(style(mixed), expected, rtol=1e-5)
    np.testing.assert_allclose(style(mix(None)), (gram(a) + gram(b)) / 2, rtol=1e-5)
    loss = optimization.total(mixed, y)
    assert loss == pytest.approx(np.sum((gram(y) - expected) ** 2) / np.sum(expected**2), rel=1e-4)
    alone = Objective.from_settings(TOY, SETTINGS, [b])
    assert optimization.total(mix([0, 1]), y) == pytest.approx(optimization.total(alone, y))


def test_weights_that_do_not_fit_are_refused() -> None:
    for weights, words in (
        ([1], "1 number for 2"),
        ([0, 0], "0,0"),
        ([1, -1], "1,-1"),
        ([1, float("nan")], "nan"),
    ):
        with pytest.raises(UserError, match=words):
            optimization.shares(2, weights)


def test_sizes_of_the_scales() -> None:
    assert optimization.scale_sizes((101, 71), 2) == [(50, 36), (101, 71)]
    assert optimization.scale_sizes((128, 96), 3) == [(32, 24), (64, 48), (128, 96)]
    assert optimization.scale_sizes((7, 5), 1) == [(7, 5)]
    with pytest.raises(UserError, match="`scales` 4: the coarsest image would be 12 x 16"):
        optimization.scale_sizes((128, 96), 4)
    with pytest.raises(UserError, match="`scales` 0"):
        optimization.scale_sizes((128, 96), 0)


class Spy(torch.nn.Module):
    """Remembers the sizes of the images that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def forward(
        self, x: Tensor, layers: Sequence[str] | None = None, tap: Tap | None = None
    ) -> Mapping[str, Tensor]:
        self.sizes.append(tuple(x.shape[2:]))
        return cast(Mapping[str, Tensor], TOY(x, layers, tap))


def test_coarse_to_fine() -> None:
    spy = Spy()
    style, photo = torch.rand(1, 3, 40, 24), torch.rand(1, 3, 64, 32)
    settings = tiny.settings(style_layers=("t:a",), content_layers=("t:a",), content_weight=0.1)
    records = list(
        optimization.synthesize(
            cast(perceptual.Descriptors, spy),
            [style],
            settings,
            photo,
            (64, 32),
            photo=photo,
            scales=2,
            steps=3,
        )
    )
    assert [r.iteration for r in records] == list(range(7))
    assert [r.scale for r in records] == [1, 1, 1, 1, 0, 0, 0]
    assert [tuple(r.image.shape[2:]) for r in records] == [(32, 16)] * 4 + [(64, 32)] * 3
    assert torch.equal(records[0].image, resize(photo, (32, 16)))
    assert spy.sizes[:2] == [(20, 12), (32, 16)]  # style and photo at half size
    assert (40, 24) in spy.sizes
    assert spy.sizes.index((40, 24)) < spy.sizes.index((64, 32))
    evaluations = [r.evaluations for r in records]
    assert evaluations == sorted(evaluations)
    # The fine scale goes on from the coarse one.
    made = Objective.from_settings(TOY, settings, [style])
    begun = optimization.total(made, resize(records[3].image, (64, 32)), made.targets(photo))
    assert records[4].loss < begun < 2 * records[4].loss + 0.1


def test_normalized_gradients_want_fixed_steps() -> None:
    settings = tiny.settings(style_layers=("t:a",), normalize_gradients=True)
    x = torch.rand(1, 3, 32, 32)
    with pytest.raises(UserError, match="`line_search` fixed"):
        optimization.synthesize(TOY, [x], settings, x, (32, 32))
    assert list(optimization.synthesize(TOY, [x], settings, 1 - x, (32, 32), steps=2, line_search="fixed"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> perceptual.Descriptors:
    """VGG-16's first two layers and random filters, without a download."""
    file = tiny.weights_file(tmp_path_factory.mktemp("weights"), "vgg16")
    return perceptual.build(LAYERS, files=[file], offline=True)


LAYERS = ("vgg16:relu1_1", "vgg16:relu1_2", "random:conv3")


def smooth(seed: int, size: int = 64) -> Tensor:
    """An image of coloured blots."""
    return resize(optimization.white_noise(seed, (9, 9)), (size, size))


def test_a_texture_from_noise(networks: perceptual.Descriptors) -> None:
    records = list(
        optimization.synthesize(
            networks,
            [smooth(1)],
            tiny.settings(style_layers=LAYERS),
            optimization.white_noise(0, (48, 40)),
            (48, 40),
            steps=25,
        )
    )
    assert records[-1].image.shape == (1, 3, 48, 40)
    assert set(records[-1].losses) == {f"style/{layer}" for layer in LAYERS}
    assert records[-1].loss < 0.03 * records[0].loss
    # White noise has become as smooth as the exemplar.
    rough = [float((p[..., 1:] - p[..., :-1]).abs().mean()) for p in (records[0].image, records[-1].image)]
    assert rough[1] < 0.5 * rough[0]


def test_total_is_of_the_clamped_picture() -> None:
    made = Objective.from_settings(TOY, SETTINGS, [torch.rand(1, 3, 8, 8)])
    x = torch.rand(1, 3, 8, 8) * 3 - 1
    assert optimization.total(made, x) == pytest.approx(optimization.total(made, x.clamp(0, 1)))
    assert optimization.total(made, x) != pytest.approx(float(sum(made(x).values())))


def test_white_noise_is_its_seeds() -> None:
    one = optimization.white_noise(3, (30, 50))
    assert one.shape == (1, 3, 30, 50)
    assert torch.equal(one, optimization.white_noise(3, (30, 50)))
    assert not torch.equal(one, optimization.white_noise(4, (30, 50)))
    assert float(one.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(one.std()) == pytest.approx(12**-0.5, abs=0.02)


def colors(x: Tensor) -> np.ndarray:
    return x[0].flatten(1).double().numpy()


def test_colours_matched_have_the_photos_mean_and_covariance() -> None:
    mix = torch.tensor([[0.3, 0.1, 0.0], [0.1, 0.2, 0.1], [0.0, 0.05, 0.1]])
    style = 0.2 + 0.5 * torch.rand(1, 3, 40, 30)
    photo = 0.3 + torch.einsum("ij,njhw->nihw", mix, torch.rand(1, 3, 20, 50))
    matched = optimization.match_color(style, photo)
    assert matched.shape == style.shape
    np.testing.assert_allclose(colors(matched).mean(1), colors(photo).mean(1), atol=1e-5)
    np.testing.assert_allclose(np.cov(colors(matched)), np.cov(colors(photo)), rtol=0.01, atol=1e-5)
    # Of all maps that do so this one turns colours least: that of an image onto itself is the identity.
    torch.testing.assert_close(optimization.match_color(photo, photo), photo, atol=1e-5, rtol=0)


def test_colours_of_flat_pictures_match_too() -> None:
    flat, photo = torch.full((1, 3, 8, 8), 0.7), 0.2 + 0.4 * torch.rand(1, 3, 8, 8)
    mean = photo.mean((2, 3), keepdim=True).expand_as(flat)
    torch.testing.assert_close(optimization.match_color(flat, photo), mean, atol=1e-5, rtol=0)
    grey = torch.rand(1, 1, 8, 8).expand(-1, 3, -1, -1)
    assert bool(optimization.match_color(grey, photo).isfinite().all())
    torch.testing.assert_close(optimization.match_color(photo, flat), flat, atol=1e-5, rtol=0)
    assert bool(optimization.match_luminance(flat, photo).isfinite().all())


def test_luminance_matched_has_the_photos_mean_and_deviation() -> None:
    style, photo = torch.rand(1, 3, 30, 30), 0.4 + 0.2 * torch.rand(1, 3, 20, 20)
    matched = optimization.match_luminance(style, photo)
    y = np.tensordot([0.299, 0.587, 0.114], colors(photo), 1)
    for channel in colors(matched):
        assert channel.mean() == pytest.approx(y.mean(), abs=1e-5)
        assert channel.std() == pytest.approx(y.std(), rel=1e-3)
    assert np.ptp(colors(matched), axis=0).max() == 0
    s = np.tensordot([0.299, 0.587, 0.114], colors(style), 1)
    assert np.corrcoef(s, colors(matched)[0])[0, 1] == pytest.approx(1)


@pytest.mark.slow
def test_real_peppers(shared: Path) -> None:
    from texturenets import image

    style = image.read(shared / "images/texture/red-peppers256.o.jpg", longer=64).rgb
    layers = ("vgg16:relu1_1", "vgg16:relu2_1", "vgg16:relu3_1")
    made = perceptual.build(layers, files=[shared / "descriptors"], offline=True)
    start = optimization.white_noise(0, (64, 64))
    *_, last = optimization.synthesize(
        made, [style], tiny.settings(style_layers=layers), start, (64, 64), steps=40
    )
    assert last.loss < 0.02
    assert last.evaluations < 60
    red, green, blue = colors(last.image).mean(1)
    assert red > 1.5 * green > 1.5 * blue * 0.8
