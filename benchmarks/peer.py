"""The peer: what most later programs do, an eager float32 loop with the network and the loss of pytorch/examples'
fast_neural_style. Written from its specification, for comparison alone, with PyTorch's default settings.

Network: 9 x 9 convolution to 32 channels, two of stride 2 to 64 and 128, five residual blocks, two nearest
upsamplings by 2 with 3 x 3 convolutions, 9 x 9 to RGB; reflection padding, instance normalization with scale and
shift, ReLU. Images are RGB 0..255. Loss: 1e5 times the mean square of VGG-16's relu2_2 against the photo's, 1e10
times that of the Gram matrices over C H W of relu1_2, relu2_2, relu3_3, relu4_3. Adam, 1e-3, batches of 4 crops of
256.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride))


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(),
            _conv(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def network() -> nn.Sequential:
    """(N, 3, H, W) to the same, RGB 0..255, H and W multiples of 4."""
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride in ((3, 32, 9, 1), (32, 64, 3, 2), (64, 128, 3, 2)):
        layers += [
            _conv(inputs, outputs, kernel, stride),
            nn.InstanceNorm2d(outputs, affine=True),
            nn.ReLU(),
        ]
    layers += [_Block(128) for _ in range(5)]
    for inputs, outputs in ((128, 64), (64, 32)):
        layers += [nn.Upsample(scale_factor=2), _conv(inputs, outputs, 3)]
        layers += [nn.InstanceNorm2d(outputs, affine=True), nn.ReLU()]
    return nn.Sequential(*layers, _conv(32, 3, 9))


class VGG16(nn.Module):
    """To relu4_3, with random weights: the time does not depend on them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        channels = 3
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3)):
            layers: list[nn.Module] = [] if channels == 3 else [nn.MaxPool2d(2)]
            for _ in range(depth):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            self.blocks.append(nn.Sequential(*layers))
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features


def _gram(features: Tensor) -> Tensor:
    n, c, h, w = features.shape
    flat = features.view(n, c, h * w)
    return flat.bmm(flat.transpose(1, 2)) / (c * h * w)


class Training:
    """The loop; `step` makes one of it."""

    def __init__(self, batch: int = 4, side: int = 256, device: str = "cpu") -> None:
        self.network, self.vgg = network().to(device), VGG16().to(device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)
        self.photos = 255 * torch.rand(batch, 3, side, side, device=device)
        self.mean = torch.tensor([0.485, 0.456, 0.406], device=device).view(3, 1, 1)
        self.std = torch.tensor([0.229, 0.224, 0.225], device=device).view(3, 1, 1)
        style = self._normalized(255 * torch.rand(1, 3, side, side, device=device)).repeat(batch, 1, 1, 1)
        self.style = [_gram(one) for one in self.vgg(style)]

    def _normalized(self, x: Tensor) -> Tensor:
        return (x / 255 - self.mean) / self.std

    def step(self) -> None:
        """One step of the optimizer."""
        self.optimizer.zero_grad()
        drawn = self.vgg(self._normalized(self.network(self.photos)))
        photos = self.vgg(self._normalized(self.photos))
        loss = 1e5 * F.mse_loss(drawn[1], photos[1])
        style = sum(F.mse_loss(_gram(a), b) for a, b in zip(drawn, self.style, strict=True))
        (loss + 1e10 * style).backward()
        self.optimizer.step()
