"""Random filters against plain convolutions, and as a descriptor network among the others."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F

from texturenets import perceptual
from texturenets.errors import UserError
from texturenets.losses import Objective
from texturenets.perceptual import random_filters
from texturenets.perceptual.random_filters import LAYERS, SIZES, RandomFilters
from texturenets.train import presets


def test_sizes_and_number_are_the_papers() -> None:
    assert SIZES == (3, 5, 7, 11, 15, 23, 37, 55)
    net = RandomFilters()
    out = net(torch.rand(1, 3, 20, 24))
    assert list(out) == [f"conv{size}" for size in SIZES] == list(LAYERS)
    assert all(f.shape == (1, 128, 20, 24) and float(f.detach().min()) == 0 for f in out.values())


def test_filters_are_uniform_within_glorots_bounds() -> None:
    for size in (7, 15):
        w = random_filters.filters(size).double().numpy()
        fan_in, fan_out = 3 * size**2, 128 * size**2
        bound = np.sqrt(6 / (fan_in + fan_out))
        assert np.abs(w).max() <= bound
        assert w.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
        assert abs(w.mean()) < 0.02 * bound


def test_filters_depend_on_seed_and_size_alone() -> None:
    assert torch.equal(random_filters.filters(5, 3), random_filters.filters(5, 3))
    assert not torch.equal(random_filters.filters(5, 3), random_filters.filters(5, 4))
    small, large = random_filters.filters(3), random_filters.filters(5)
    assert not torch.allclose(small / small.max(), large[:, :, :3, :3] / large.max(), atol=0.1)
    alone = RandomFilters(["conv5"], seed=3).get_buffer("conv5")
    together = RandomFilters(["conv3", "conv5"], seed=3).get_buffer("conv5")
    assert torch.equal(alone, together)
    # The first numbers of conv3: a model trained with these filters is compared with these filters ever after.
    expected = torch.tensor([0.0627884418, -0.0533450954, 0.0406940356, -0.0242548250])
    torch.testing.assert_close(random_filters.filters(3).flatten()[:4], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("padding", [0, 9])
@pytest.mark.parametrize("size", [(19, 19), (26, 31)])
def test_large_filters_by_fourier_transform_are_convolutions(padding: int, size: tuple[int, int]) -> None:
    w = random_filters.filters(19).double()[:40]
    x = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    got, expected = random_filters.correlate(x, w, padding), F.conv2d(x, w, padding=padding)
    torch.testing.assert_close(got, expected)
    along = torch.randn_like(expected)
    (one,) = torch.autograd.grad((got * along).sum(), x)
    (two,) = torch.autograd.grad((expected * along).sum(), x)
    torch.testing.assert_close(one, two)


def test_input_is_bgr_minus_the_mean() -> None:
    x = torch.rand(1, 3, 16, 16)
    y = x.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    for layer, size in (("conv3", 3), ("conv15", 15)):
        expected = F.relu(F.conv2d(y, random_filters.filters(size), padding=size // 2))
        torch.testing.assert_close(RandomFilters([layer])(x)[layer], expected, rtol=1e-4, atol=1e-3)


def test_without_padding_maps_shrink_and_small_pictures_are_refused() -> None:
    net = RandomFilters(["conv7", "conv15"], padding=False)
    assert net(torch.rand(1, 3, 20, 16))["conv15"].shape == (1, 128, 6, 2)
    assert net(torch.rand(1, 3, 8, 8), ["conv7"])["conv7"].shape == (1, 128, 2, 2)
    with pytest.raises(UserError, match="9 x 12 is too small for random's layer conv15"):
        net(torch.rand(1, 3, 12, 9))


def test_bf16_features() -> None:
    x = torch.rand(1, 3, 24, 24)
    full, half = (RandomFilters(["conv15"], dtype=t)(x)["conv15"] for t in (torch.float32, torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert float((half.float() - full).norm() / full.norm()) < 0.01


def test_it_is_a_network_among_the_others() -> None:
    assert perceptual.split("random:conv11", "vgg16") == ("random", "conv11")
    assert perceptual.split("conv11", "random") == ("random", "conv11")
    with pytest.raises(UserError, match="did you mean 'conv5'"):
        perceptual.split("random:conv56", "vgg16")
    with pytest.raises(UserError, match="did you mean 'random'"):
        perceptual.split("randon:conv3", "vgg16")
    nets = perceptual.build(["random:conv5", "random:conv3"], offline=True)
    seen = []
    out = nets(torch.rand(1, 3, 16, 16), tap=lambda name, f: seen.append(name) or f)  # type: ignore[func-returns-value]
    assert sorted(out) == sorted(seen) == ["random:conv3", "random:conv5"]
    assert list(nets(torch.rand(1, 3, 16, 16), ["random:conv3"])) == ["random:conv3"]
    other = perceptual.build(["random:conv3"], seed=1)(torch.full((1, 3, 8, 8), 0.3))["random:conv3"]
    assert not torch.equal(other, nets(torch.full((1, 3, 8, 8), 0.3), ["random:conv3"])["random:conv3"])


def test_every_network_recommends_layers_that_it_has() -> None:
    assert set(presets.LAYERS) == set(perceptual.LAYERS)
    assert set(perceptual.LAYERS) >= {"vgg16", "vgg19", "squeezenet1_0", "random"}
    for network in perceptual.LAYERS:
        style, content = presets.layers_of(network)
        assert style
        assert len(content) == 1
        for layer in (*style, *content):
            assert perceptual.split(layer, "vgg16")[0] == network
    with pytest.raises(UserError, match="vgg19"):
        presets.layers_of("vgg91")


def test_its_loss_has_the_gradient_of_the_plain_evaluation() -> None:
    style, y = torch.rand(1, 3, 24, 24), torch.rand(1, 3, 24, 24, requires_grad=True)
    made = Objective.from_settings(
        perceptual.build(["random:conv15"]),
        tiny.settings(style_layers=("random:conv15",), loss_scaling="paper"),
        [style],
    )
    loss = made(y)["style/random:conv15"]
    (got,) = torch.autograd.grad(loss, y)

    def gram(x: torch.Tensor) -> torch.Tensor:
        x = x.double().flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).double().view(1, 3, 1, 1)
        f = F.relu(F.conv2d(x, random_filters.filters(15).double(), padding=7)).flatten(2)[0]
        return f @ f.T / f.numel()

    z = y.detach().double().requires_grad_()
    expected = (gram(z) - gram(style)).square().mean()
    (reference,) = torch.autograd.grad(expected, z)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)
    assert float((got - reference).norm() / reference.norm()) < 1e-2
