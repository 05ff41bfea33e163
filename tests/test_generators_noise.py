"""The reference's networks for textures against their description, worked out layer by layer in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from networks import as_rgb
from torch import Tensor, nn

from texturenets import noise
from texturenets.networks import build
from texturenets.networks.encoder_decoder import Skip, SkipNoise
from texturenets.networks.fully_connected import FullyConnected
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.pyramid import Pyramid, Pyramid2
from texturenets.networks.reference import REFERENCE
from texturenets.networks.residual import Residual


def parameters(network: nn.Module) -> Iterator[Tensor]:
    """All weights, drawn anew: shifts start at zero and would hide a mistake."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return iter([p.detach() for p in network.parameters()])


def conv(x: Tensor, w: Iterator[Tensor], stride: int = 1) -> Tensor:
    """utils.lua, `convc`: circular padding by half the kernel."""
    weight, bias = next(w), next(w)
    pad = weight.shape[2] // 2
    rows = torch.arange(-pad, x.shape[2] + pad) % x.shape[2]
    columns = torch.arange(-pad, x.shape[3] + pad) % x.shape[3]
    return F.conv2d(x[:, :, rows][:, :, :, columns], weight, bias, stride)


def norm(x: Tensor, w: Iterator[Tensor]) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3), keepdim=True)
    weight, bias = (next(w).view(1, -1, 1, 1) for _ in range(2))
    return (x - mean) / (variance + 1e-5) ** 0.5 * weight + bias


def act(x: Tensor) -> Tensor:
    """nn.LeakyReLU(nil, true): Torch7's default slope."""
    return torch.where(x > 0, x, 0.01 * x)


def block(x: Tensor, w: Iterator[Tensor]) -> Tensor:
    for _ in range(3):
        x = act(norm(conv(x, w), w))
    return x


def nearest(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def maps(network: nn.Module, height: int, width: int) -> list[Tensor]:
    drawn = noise.draw(network.noise, [3, 4], height, width)  # type: ignore[arg-type]
    return [m.double() for m in drawn]


def twice(x: Tensor) -> Tensor:
    """Doubled bilinearly: each pixel lies a quarter of a pixel beside its source, around the edge too."""
    for dim in (2, 3):
        x = torch.stack([0.75 * x + 0.25 * x.roll(1, dim), 0.75 * x + 0.25 * x.roll(-1, dim)], dim + 1)
        x = x.flatten(dim, dim + 1)
    return x


PYRAMIDS = [
    Pyramid(scales=3, channels=2, photo=False, noise_depth=3, padding="circular", activation="leaky_relu"),
    Pyramid2(channels=(5, 4, 3), noise_depth=2),
]


@pytest.mark.parametrize("spec", PYRAMIDS, ids=lambda s: s.name)
@pytest.mark.parametrize("photo", [False, True])
def test_pyramids_are_the_references(spec: Pyramid | Pyramid2, photo: bool) -> None:
    network = build(dataclasses.replace(spec, photo=photo)).double()
    w = parameters(network)
    noises = maps(network, 16, 24)
    x = torch.rand(2, 3, 16, 24, dtype=torch.float64)
    fed = []
    for ratio, fresh in zip((4, 2, 1), noises, strict=True):
        small = x.view(2, 3, 16 // ratio, ratio, 24 // ratio, ratio).mean((3, 5))
        fed.append(torch.cat([small, fresh], 1) if photo else fresh)
    # The weights lie in the order: all blocks, all joins.
    own = [block(part, w) for part in fed]
    current = own[0]
    for mine in own[1:]:
        coarse = norm(nearest(current), w)
        current = block(torch.cat([coarse, norm(mine, w)], 1), w)
    expected = as_rgb(conv(current, w))
    assert next(w, None) is None
    with torch.no_grad():
        torch.testing.assert_close(network(x if photo else None, noises), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "spec",
    [Skip(channels=(4, 5), skip_channels=2), SkipNoise(channels=(4, 5), skip_channels=2)],
    ids=lambda s: s.name,
)
def test_skips_are_the_references(spec: Skip) -> None:
    network = build(spec).double()
    w = parameters(network)
    noises = iter(maps(network, 16, 24))

    def level(x: Tensor, inner: bool) -> Tensor:
        fresh = [next(noises)] if spec.level_noise else []
        past = norm(act(norm(conv(x, w), w)), w)
        deep = act(norm(conv(x, w, 2), w))
        deep = act(norm(conv(deep, w), w))
        if inner:
            deep = level(deep, False)
        x = torch.cat([*fresh, past, norm(nearest(deep), w)], 1)
        return act(norm(conv(act(norm(conv(x, w), w)), w), w))

    drawn = maps(network, 16, 24)
    expected = as_rgb(conv(level(next(noises), True), w))
    assert next(w, None) is None
    with torch.no_grad():
        torch.testing.assert_close(network(None, drawn), expected, rtol=1e-9, atol=1e-9)


def test_the_sizes_of_the_references_networks() -> None:
    # models/*.lua of branch texture_nets_v1: ratios, filters_num, nums_3x3down and nums_noise.
    for file in ("pyramid", "pyramid2", "skip", "skip_noise"):
        network = build(REFERENCE[f"texture_nets_v1/{file}"])
        assert network.stride == 32
        assert not network.photo
    inputs = build(REFERENCE["texture_nets_v1/pyramid"]).noise
    assert [(n.stride, n.channels) for n in inputs] == [(s, 3) for s in (32, 16, 8, 4, 2, 1)]  # type: ignore[union-attr]
    inputs = build(REFERENCE["texture_nets_v1/skip_noise"]).noise
    said = [(n.stride, n.channels, n.distribution) for n in inputs]  # type: ignore[union-attr]
    assert said == [(1, 3, "uniform"), *((s, 2, "normal") for s in (1, 2, 4, 8, 16))]


def test_multiscale_by_hand() -> None:
    network = build(Multiscale(channels=(2, 5, 4, 3), blocks=1)).double()
    w = parameters(network)
    drawn = maps(network, 16, 24)
    assert [m.shape[1:] for m in drawn] == [(3, 2, 3), (3, 4, 6), (3, 8, 12), (3, 16, 24)]
    joins = [
        [next(w) for _ in range(4)] for _ in range(4)
    ]  # weight and shift of the convolution, and of its norm
    blocks = [next(w) for _ in range(8)]
    rest = [next(w) for _ in range(6)]
    assert next(w, None) is None
    x = torch.empty(2, 0, 1, 1, dtype=torch.float64)
    for level, (join, fresh) in enumerate(zip(joins, drawn, strict=True)):
        mine = iter(join)
        x = F.leaky_relu(norm(conv(torch.cat([twice(x), fresh], 1) if level else fresh, mine), mine), 0.1)
        if level == 1:  # 4 of the image's pixels each
            mine = iter(blocks)
            x = x + norm(conv(norm(conv(x, mine), mine).relu(), mine), mine)
    mine = iter(rest)
    z = conv(F.leaky_relu(norm(conv(x, mine), mine), 0.1), mine)
    with torch.no_grad():
        y = network(None, drawn)
    torch.testing.assert_close(y, 0.5 + 0.5 * z.tanh() + 0.05 * z, rtol=1e-9, atol=1e-9)
    assert (
        sum(p.numel() for p in build(Multiscale()).parameters()) < 145_000
    )  # under 300 kB in half precision


def test_the_fully_connected_network_by_hand() -> None:
    network = build(
        FullyConnected(noise_depth=7, hidden=5, channels=(4, 3), padding="circular", upsampling="bilinear")
    ).double()
    w = parameters(network)
    (vector,) = maps(network, 16, 16)
    assert vector.shape == (2, 7, 1, 1)
    x = (vector.flatten(1) @ next(w).T + next(w)).relu()
    x = (x @ next(w).T + next(w)).relu().view(2, 4, 4, 4)
    for _ in range(2):
        x = twice(x)
        # With interpolation johnson's decoder has no normalization of its own.
        x = norm(conv(x, w), w).relu()
    expected = as_rgb(conv(x, w))
    assert next(w, None) is None
    with torch.no_grad():
        torch.testing.assert_close(network(None, [vector]), expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="16 x 16 pixels and no other size"):
        network(None, maps(network, 32, 32))


def test_noise_that_is_missing_or_too_much() -> None:
    network = build(Residual(channels=8, blocks=0, noise_depth=1))
    x = torch.rand(1, 3, 16, 16)
    assert network.noise_shapes(16, 16) == [(1, 4, 4)]
    drawn = noise.draw(network.noise, [0], 16, 16)  # type: ignore[arg-type]
    torch.testing.assert_close(network(x), network(x, drawn))
    with pytest.raises(ValueError, match="give it one"):
        network(None, drawn)
    with pytest.raises(ValueError, match="2 noise maps for a network that takes 1"):
        network(x, drawn * 2)
    with pytest.raises(ValueError, match="noises have to be given"):
        build(Multiscale())(None)
