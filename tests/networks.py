"""A small network of every generator, and graphs of every operation; what no graph can hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from texturenets.networks import GeneratorSpec, build
from texturenets.networks.encoder_decoder import Skip, SkipNoise, SkipUnpool
from texturenets.networks.fully_connected import FullyConnected
from texturenets.networks.graph import GraphSpec as Graph
from texturenets.networks.johnson import Johnson
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.pyramid import Pyramid, Pyramid2
from texturenets.networks.residual import Residual

TINY = Residual(channels=8, blocks=1)
NOISY = Graph(
    nodes=(
        "photo",
        "noise channels=2 stride=4 distribution=normal",
        "upsample 1 factor=4 mode=bilinear",
        "concat 0 2",
        "pad 3 amount=2:1:0:3 mode=circular",
        "conv 4 out=6 kernel=3",
        "norm 5",
        "relu 6",
        "crop 7 amount=1:0:0:1",
        "conv 8 out=3 kernel=1",
    )
)
FROM_NOISE = Graph(
    nodes=(
        "noise channels=3 stride=1",
        "noise channels=4 stride=2",
        "upsample 1 factor=2",
        "concat 0 2",
        "pad 3 amount=1:1:1:1 mode=circular",
        "conv 4 out=3 kernel=3",
    )
)
# Every operation of a graph that the ones above leave out.
REST = Graph(
    nodes=(
        "photo",
        "unshuffle 0 factor=2",
        "conv 1 out=8 kernel=1",
        "affine 2",
        "leaky_relu 3 slope=0.2",
        "prelu 4",
        "elu 5 alpha=0.7",
        "pad 6 amount=1:1:1:1 mode=reflect",
        "conv 7 out=8 kernel=3 groups=2",
        "pad 8 amount=2:2:2:2 mode=replicate",
        "conv 9 out=8 kernel=3 dilation=2",
        "max_pool 10 kernel=2 stride=2",
        "avg_pool 11 kernel=2 stride=2",
        "upsample 12 factor=2 mode=bilinear_corners",
        "unpool 13 11",
        "add 14 10",
        "mul 15 14",
        "pad 16 amount=1:0:1:0 mode=zero",
        "crop 17 amount=0:1:0:1",
        "sigmoid 18",
        "tanh 19",
        "clamp 20 low=-0.5 high=0.5",
        "linear 21 by=2 add=0.25",
        "concat 22 14",
        "deconv 23 out=4 kernel=3 stride=1 crop=1:1:1:1",
        "shuffle 24 factor=2",
        "conv 25 out=3 kernel=1",
    )
)
SPECS: dict[str, GeneratorSpec] = {
    "residual": TINY,
    "circular": Residual(channels=8, blocks=1, padding="circular"),
    "dilated": Residual(channels=8, blocks=5, dilation=4, noise_depth=2),
    "zero": Residual(channels=8, blocks=1, padding="zero", normalization="none"),
    "batch": Pyramid(channels=2, scales=3, normalization="batch", upsampling="bilinear"),
    "johnson": Johnson(channels=4, blocks=1),
    "johnson full4": Johnson(channels=4, blocks=1, upsampling="full4", input_norm=True, output="bounded"),
    "johnson small": Johnson(channels=4, blocks=1, size="small_down", upsampling="nearest", noise_depth=2),
    "pyramid": Pyramid(channels=2, scales=3),
    "pyramid from noise": Pyramid(channels=2, scales=3, photo=False, noise_depth=2, padding="circular"),
    "pyramid2": Pyramid2(channels=(6, 4), noise_depth=2, noise="normal"),
    "skip": Skip(channels=(4, 6), noise_depth=2, upsampling="bilinear"),
    "skip_noise": SkipNoise(channels=(4, 6), photo=True, noise_depth=0, output="bounded"),
    "multiscale": Multiscale(channels=(4, 6, 8)),
    "fully_connected": FullyConnected(channels=(6, 4), hidden=8, noise_depth=5, output="clamped"),
    "fully_connected, bilinear": FullyConnected(
        channels=(6, 4), hidden=8, noise_depth=5, padding="circular", upsampling="bilinear", output="bounded"
    ),
    "skip_unpool": SkipUnpool(channels=(4, 6), noise_depth=1),
    "photo and noise": NOISY,
    "from noise": FROM_NOISE,
}


def network(spec: GeneratorSpec) -> nn.Module:
    net = build(spec).eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return net


class Sorted(nn.Module):
    """What no graph can hold."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sort(dim=3).values


def as_rgb(raw: Tensor) -> Tensor:
    """The reference's `deprocess`: BGR, 0..255, minus mean, to RGB in [0, 1]."""
    mean = torch.tensor([103.939, 116.779, 123.68], dtype=raw.dtype).view(1, 3, 1, 1)
    return ((raw + mean) / 255).flip(1)
