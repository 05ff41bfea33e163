"""The losses against the formulas of the papers and of the Torch7 program, worked out in float64 with numpy."""

from __future__ import annotations

from typing import get_type_hints

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from texturenets import perceptual
from texturenets.errors import UserError
from texturenets.losses import Objective, Scaling
from texturenets.losses.checkerboard import checkerboard
from texturenets.losses.content import content_distance
from texturenets.losses.diversity import diversity
from texturenets.losses.gram import gram
from texturenets.losses.objective import shrink
from texturenets.losses.style import StyleLoss, style_distance
from texturenets.losses.temporal_consistency import temporal_consistency
from texturenets.losses.total_variation import total_variation
from texturenets.perceptual import Tap
from texturenets.train.configuration import TaskConfig


def test_a_configuration_takes_the_scalings_that_losses_have() -> None:
    assert get_type_hints(TaskConfig)["loss_scaling"] == Scaling


class Toy(nn.Module):
    """Two 'layers' of a descriptor that can be worked out by hand: scaled pixels, and their squares."""

    def forward(self, x: Tensor, layers: object = None, tap: Tap | None = None) -> dict[str, Tensor]:
        every = {"t:a": 3.0 * x, "t:b": torch.cat([x * x, x], 1)}
        wanted = {k: v for k, v in every.items() if layers is None or k in layers}  # type: ignore[operator]
        return {k: v if tap is None else tap(k, v) for k, v in wanted.items()}


def features(x: np.ndarray, layer: str) -> np.ndarray:
    return 3.0 * x if layer == "t:a" else np.concatenate([x * x, x], 1)


def lua_gram(f: np.ndarray) -> np.ndarray:
    """texture_loss.lua: F F^T over the number of elements of one image's features."""
    rows = f.reshape(f.shape[0], f.shape[1], -1)
    return np.einsum("ncp,ndp->ncd", rows, rows) / f[0].size


@pytest.fixture(autouse=True)
def toy_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy's layers are known by name."""
    monkeypatch.setitem(perceptual.LAYERS, "t", ("a", "b"))


def objective(*styles: Tensor, **settings: object) -> Objective:
    every: dict[str, object] = {"style_layers": ("t:a", "t:b"), "content_layers": ("t:b",), **settings}
    return Objective.from_settings(Toy(), tiny.settings(**every), styles)  # type: ignore[arg-type]


def style_loss(made: Objective) -> StyleLoss:
    (loss,) = [loss for loss in made.losses if isinstance(loss, StyleLoss)]
    return loss


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.rand(n, 3, 8, 12, dtype=torch.float64) for n in (2, 2, 1))  # type: ignore[return-value]


def test_paper_losses_are_the_reference_programs(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    y, photo, style = pictures
    made = objective(style, loss_scaling="paper", style_weight=7.0, content_weight=3.0)
    losses = made(y, made.targets(photo))
    for layer in ("t:a", "t:b"):
        # nn.MSECriterion averages over all elements of the batch's Gram matrices
        expected = 7.0 * np.mean(
            (lua_gram(features(y.numpy(), layer)) - lua_gram(features(style.numpy(), layer))) ** 2
        )
        assert float(losses[f"style/{layer}"]) == pytest.approx(expected, rel=1e-10)
    expected = 3.0 * np.mean((features(y.numpy(), "t:b") - features(photo.numpy(), "t:b")) ** 2)
    assert float(losses["content/t:b"]) == pytest.approx(expected, rel=1e-6)  # targets are kept in float32
    assert set(losses) == {"style/t:a", "style/t:b", "content/t:b"}


def test_relative_losses_are_over_the_targets_square(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    y, photo, style = pictures
    made = objective(style)
    losses = made(y, made.targets(photo))
    g, t = (lua_gram(features(x.numpy(), "t:b")) for x in (y, style))
    expected = np.mean(np.sum((g - t) ** 2, (1, 2)) / np.sum(t**2))
    assert float(losses["style/t:b"]) == pytest.approx(expected, rel=1e-10)
    f, c = (features(x.numpy(), "t:b") for x in (y, photo))
    expected = np.mean(np.sum((f - c) ** 2, (1, 2, 3)) / np.sum(c**2, (1, 2, 3)))
    assert float(losses["content/t:b"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scaling", ["relative", "paper"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_content_distance_is_the_formula(dtype: torch.dtype, scaling: Scaling) -> None:
    f, t = torch.randn(2, 3, 4, 5).to(dtype).requires_grad_(), torch.randn(2, 3, 4, 5).to(dtype)
    exact, target = f.detach().double().requires_grad_(), t.double()
    expected = (exact - target).square().mean((1, 2, 3))
    if scaling == "relative":
        expected = expected / target.square().mean((1, 2, 3))
    found, each = content_distance(f, t, scaling), torch.tensor([1.0, 3.0])
    (found * each).sum().backward()
    (expected * each).sum().backward()
    close = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found.double(), expected, rtol=close, atol=0)
    assert f.grad is not None
    torch.testing.assert_close(f.grad.double(), exact.grad, rtol=close, atol=close)


def test_relative_losses_do_not_change_with_the_features_scale() -> None:
    f, t = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    a, b = (style_distance(gram(k * f), gram(k * t), "relative") for k in (1.0, 100.0))
    torch.testing.assert_close(a, b)
    a, b = (content_distance(k * f, k * t, "relative") for k in (1.0, 100.0))
    torch.testing.assert_close(a, b)


def test_loss_of_the_painting_itself_is_zero(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    *_, style = pictures
    made = objective(style)
    assert float(sum(made(style, made.targets(style)).values())) == pytest.approx(0, abs=1e-9)


def test_pyramid_loss_decays_by_level(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    y, photo, style = pictures
    made = objective(style, pyramid_loss=2, pyramid_decay=0.5, loss_scaling="paper")
    losses = made(y, made.targets(photo))
    small = y.reshape(2, 3, 4, 2, 6, 2).mean((3, 5)).numpy()
    small_style = style.reshape(1, 3, 4, 2, 6, 2).mean((3, 5)).numpy()
    expected = 0.5 * np.mean((lua_gram(features(small, "t:a")) - lua_gram(features(small_style, "t:a"))) ** 2)
    assert float(losses["style/t:a@1"]) == pytest.approx(expected, rel=1e-10)
    assert "content/t:b@1" in losses
    np.testing.assert_allclose(shrink(y, 2).numpy(), small, rtol=1e-12)


def test_a_scale_that_is_too_small_for_a_layer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    style = torch.rand(1, 3, 64, 35)
    made = objective(style, pyramid_loss=2)
    whole = type(made.descriptors).forward

    def forward(self: nn.Module, x: Tensor, *more: object) -> dict[str, Tensor]:
        if x.shape[3] < 35:
            raise UserError("an image of 17 x 32 is too small")
        return whole(self, x, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(made.descriptors), "forward", forward)
    told = "17 x 32 is too small: it is one of 35 x 64 pixels, halved 1 time, as `pyramid_loss` 2 asks for"
    with pytest.raises(UserError, match=told):
        made.features(style, made.losses)


def test_normalized_gradient_has_the_weight_as_its_l1_norm(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    y, _, style = pictures
    made = objective(
        style,
        style_layers=("t:a",),
        content_layers=(),
        normalize_gradients=True,
        style_weight=5.0,
        loss_scaling="paper",
    )
    y.requires_grad_()
    losses = made(y)
    plain = objective(style, style_layers=("t:a",), content_layers=(), style_weight=5.0, loss_scaling="paper")
    torch.testing.assert_close(losses["style/t:a"], plain(y)["style/t:a"])
    losses["style/t:a"].backward()
    assert y.grad is not None
    # v1: the layer's gradient over its L1 norm, then the weight; the toy's layer multiplies by 3
    assert float(y.grad.abs().sum()) == pytest.approx(3 * 5.0, rel=1e-4)
    reference = y.detach().clone().requires_grad_()
    plain(reference)["style/t:a"].backward()
    assert reference.grad is not None
    expected = reference.grad / reference.grad.abs().sum() * 15
    torch.testing.assert_close(y.grad, expected, rtol=1e-4, atol=1e-9)


def test_total_variation_by_hand() -> None:
    x = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    # vertical differences 0 and 1, horizontal 1 and 0, each a mean of two
    assert total_variation(x).tolist() == [1.0]
    assert total_variation(x[:, :, :1, :1]).tolist() == [0.0]


def test_total_variation_has_its_weight(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    y, _, style = pictures
    one, two = (float(objective(style, tv_weight=w)(y)["tv"]) for w in (1.0, 2.0))
    assert two == pytest.approx(2 * one)
    assert one > 0


def test_several_exemplars_are_averaged() -> None:
    a, b = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    made = objective(a, b, style_layers=("t:a",), content_layers=())
    expected = (lua_gram(3 * a.numpy()) + lua_gram(3 * b.numpy())) / 2 * 3
    np.testing.assert_allclose(style_loss(made).targets[0]["t:a"].numpy(), expected, rtol=1e-5)


def test_half_the_batch_twice_is_the_batch(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    y, photo, style = pictures
    made = objective(style)
    whole = made(y, made.targets(photo))
    parts = [made(y[i : i + 1], made.targets(photo[i : i + 1])) for i in range(2)]
    for name, value in whole.items():
        torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)


def nearest(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance of each row to the nearest other one, and which that is."""
    apart = ((rows[:, None] - rows[None]) ** 2).sum(2)
    np.fill_diagonal(apart, np.inf)
    return apart.min(1), apart.argmin(1)


def test_diversity_is_minus_the_mean_logarithm_of_relative_distances() -> None:
    y = torch.rand(4, 3, 5, 6, dtype=torch.float64)
    squared, _ = nearest(y.numpy().reshape(4, -1))
    expected = -np.log(np.sqrt(squared / 90 / 0.3**2 + 1e-3)).mean()
    assert float(diversity(y, "relative", 0.3)) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="at least two"):
        diversity(y[:1], "relative")


def test_diversity_of_the_paper_has_the_gradient_of_the_lua_file() -> None:
    y = torch.rand(4, 3, 5, 6, requires_grad=True)
    diversity(255 * y, "paper").backward()
    rows = 255 * y.detach().double().numpy().reshape(4, -1)
    squared, which = nearest(rows)
    # EstimatedEntropyMaximizer.lua: 1 / (d + 0.1) at the nearest, then PairwiseEuclidean.lua's gradients, negated.
    expected = np.zeros_like(rows)
    for i, j in enumerate(which):
        pull = -2 * (rows[i] - rows[j]) / (squared[i] + 0.1)
        expected[i] += pull
        expected[j] -= pull
    assert y.grad is not None
    np.testing.assert_allclose(y.grad.numpy().reshape(4, -1), 255 * expected, rtol=1e-4, atol=1e-6)


def test_the_objective_takes_diversity_in_pixels_or_at_a_layer() -> None:
    style, y = torch.rand(1, 3, 8, 12), torch.rand(3, 3, 8, 12)
    spread = float(style.flatten(2).var(2).mean()) ** 0.5
    pixels = objective(style, diversity_weight=0.5)(y)
    assert float(pixels["diversity"]) == pytest.approx(0.5 * float(diversity(y, "relative", spread)))
    layer = objective(style, diversity_weight=0.5, diversity_layer="t:a")(y)
    # Three times the pixels, over three times the spread.
    assert float(layer["diversity"]) == pytest.approx(float(pixels["diversity"]), rel=1e-5)
    paper = objective(style, diversity_weight=2.0, loss_scaling="paper")(y)
    assert float(paper["diversity"]) == pytest.approx(2 * float(diversity(255 * y, "paper")))
    assert "diversity" not in objective(style, diversity_weight=0.5)(y, without=("diversity",))
    with pytest.raises(UserError, match="no_such"):  # also where it would not be used
        objective(style, diversity_layer="no_such")


def test_the_style_loss_can_be_left_out(pictures: tuple[Tensor, Tensor, Tensor]) -> None:
    y, photo, style = pictures
    made = objective(style)
    every = made(y, made.targets(photo))
    without = made(y, made.targets(photo), without=("style",))
    assert without == {"content/t:b": every["content/t:b"]}


def test_the_penalty_on_grids_never_pays_for_another_grid() -> None:
    """A grid that turns over from square to square of 16 pixels is as far below zero as the statistic goes."""
    stripes = torch.tensor([0.2, 0.0]).repeat(64)
    turning = stripes * torch.tensor([1.0, -1.0]).repeat(4).repeat_interleave(16)
    pictures = (0.5 + turning).expand(1, 3, 128, 128)
    assert float(checkerboard(pictures)[0, 1]) < -0.9
    made = objective(torch.rand(1, 3, 32, 32), style_layers=(), content_layers=(), checkerboard_weight=1.0)
    assert float(made(pictures)["checkerboard"]) >= 0
    assert float(made((0.5 + stripes).expand(1, 3, 128, 128))["checkerboard"]) > 14


def test_temporal_consistency_is_the_change_over_the_variance_with_the_shift_taken_back() -> None:
    y, again = (torch.rand(3, 3, 14, 17, dtype=torch.float64) for _ in range(2))
    shifts = [(2, -1), (0, 0), (-2, 2)]
    got = temporal_consistency(y, again, shifts, 3).numpy()
    for i, (down, right) in enumerate(shifts):
        squares, seen = [], []
        for row in range(5, 9):  # 3 of border and 2 of the largest shift, on both sides
            for column in range(5, 12):
                here = y[i, :, row - down, column - right].numpy()
                squares.append((again[i, :, row, column].numpy() - here) ** 2)
                seen.append(here)
        expected = np.mean(squares) / np.var(np.stack(seen), axis=0).mean()
        assert got[i] == pytest.approx(expected, rel=1e-12)


def test_temporal_consistency_of_a_picture_that_only_moved_is_nothing() -> None:
    whole = torch.rand(1, 3, 40, 40)
    y, again = whole[:, :, 4:36, 4:36], whole[:, :, 2:34, 5:37]  # two down, one to the left
    assert float(temporal_consistency(y, again, [(2, -1)], 4)) == 0
    assert float(temporal_consistency(y, again, [(0, 0)], 4)) > 1
    assert float(temporal_consistency(y, torch.rand(1, 3, 32, 32), [(0, 0)], 4)) == pytest.approx(2, rel=0.1)
    with pytest.raises(ValueError, match="leave nothing"):
        temporal_consistency(y, again, [(2, -1)], 14)


def test_temporal_consistency_pays_nothing_for_contrast() -> None:
    """Its gradient makes the two images alike, and would not become smaller by spreading both."""
    y, again = torch.rand(1, 3, 12, 12, requires_grad=True), torch.rand(1, 3, 12, 12, requires_grad=True)
    temporal_consistency(y, again, [(0, 0)], 1).sum().backward()
    assert y.grad is not None
    assert again.grad is not None
    torch.testing.assert_close(y.grad, -again.grad)
