"""Images such as occur during trainings: stylized by trained networks and by networks with noise in their weights,
and adversarial ones. A generator trained with a descriptor network finds and generates the images that deceive it. So
the distillation generates such images first, and the teacher provides their features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from texturenets import noise
from texturenets.errors import UserError
from texturenets.image import sizes
from texturenets.losses.gram import gram
from texturenets.losses.style import style_distance
from texturenets.modelfiles import modelfile
from texturenets.networks import network_files
from texturenets.networks.conditional import ConditionalNetwork

Features = Callable[[Tensor], dict[str, Tensor]]
"""Images (N, 3, H, W) to features by name."""

GRADIENT_STEPS = 4  # gradient steps of an adversarial image
STEP_SIZE = 3 / 255  # mean change of a pixel in each
MAX_WEIGHT_NOISE = (
    0.5  # most noise that is added to a network's weights, as a share of each tensor's standard deviation
)


def style_files(models: Sequence[str]) -> dict[str, str]:
    """{name: path} of the styles that `models` names. Raises UserError for one that is not a style."""
    if tuple(models) == ("none",):
        return {}
    if tuple(models) == ("shipped",):
        shipped = modelfile.shipped()
        headers, _ = modelfile.headers(shipped)
        styles = [name for name, header in headers.items() if header.kind == "style" and not header.rows]
        return {name: str(shipped[name]) for name in styles}
    files = {name: str(modelfile.find(name, "style")) for name in models}
    for name, file in files.items():
        if modelfile.read_header(file).kind != "style":
            raise UserError(f"`models` {name} takes no photo: name styles")
    return files


class Styles:
    """Stylizes images by trained generators, some with noise in their weights and some blended with the image, as
    results of half-trained ones look."""

    def __init__(self, files: Sequence[str], device: torch.device) -> None:
        """Raises UserError for files that cannot be read."""
        self.networks = [network_files.load(file)[0].to(device) for file in files]

    @torch.no_grad()
    def __call__(self, image: Tensor, random: np.random.Generator) -> Tensor:
        """`image` (1, 3, H, W) stylized by one of the networks; unchanged if there are none."""
        if not self.networks:
            return image
        network = self.networks[int(random.integers(len(self.networks)))]
        stride = int(getattr(network, "stride", 1))
        padded, box = sizes.pad_to_multiple(image, stride)
        height, width = padded.shape[2:]
        inputs = tuple(getattr(network, "noise", ()))
        maps = noise.draw(inputs, [int(random.integers(1 << 30))], height, width, device=image.device)
        given: tuple[Any, ...] = (padded, maps) if inputs else (padded,)
        weights = spoiled(network, random) if random.random() < 0.5 else {}
        if isinstance(
            network, ConditionalNetwork
        ):  # takes its rows from parameters, which spoiled ones are not
            given = (padded, maps if inputs else None, int(random.integers(network.count)))
            weights = {}
        made: Tensor = torch.func.functional_call(network, weights, given)
        made = sizes.crop_back(made, box).float().clamp(0, 1)
        share = float(random.uniform(0.2, 1)) if random.random() < 0.5 else 1.0
        return torch.lerp(image, made, share) if bool(made.isfinite().all()) else image


def spoiled(network: nn.Module, random: np.random.Generator) -> dict[str, Tensor]:
    """The weights of `network`, by name, with added noise."""
    amount = float(random.uniform(0.05, MAX_WEIGHT_NOISE))
    generator = torch.Generator().manual_seed(int(random.integers(1 << 40)))
    made = {}
    for name, weight in network.named_parameters():
        noise_there = torch.randn(weight.shape, generator=generator).to(weight.device)
        scale = weight.std() if weight.numel() > 1 else weight.abs().mean()
        made[name] = weight + amount * scale * noise_there
    return made


def descend(
    start: Tensor, goal: Tensor, student: Features, teacher: Features | None, steps: int = GRADIENT_STEPS
) -> Tensor:
    """`start` (1, 3, H, W) after gradient steps that take the student's Gram matrices towards those of `goal`.

    `student`: its features in the teacher's space. `teacher`: its features, whose distance must not shrink, so
    that student and teacher disagree; None: no such constraint. All layers weigh the same, as for a generator.
    """
    networks = [(student, 1.0)] + ([(teacher, -1.0)] if teacher else [])
    with torch.no_grad():
        targets = [{name: gram(f.float()) for name, f in network(goal).items()} for network, _ in networks]
    x = start.detach().clone()
    for _ in range(steps):
        x.requires_grad_()
        with torch.enable_grad():
            total = sum(
                sign * _log_distance(network(x), target)
                for (network, sign), target in zip(networks, targets, strict=True)
            )
        (slope,) = torch.autograd.grad(total, x)  # type: ignore[arg-type]
        with torch.no_grad():
            x = (x - STEP_SIZE * slope / slope.abs().mean().clamp_min(1e-12)).clamp(0, 1)
    return x.detach()


def _log_distance(features: dict[str, Tensor], targets: dict[str, Tensor]) -> Tensor:
    """The mean over layers of the logarithm of the squared distance of Gram matrices, relative to the target's."""
    relative = [
        style_distance(gram(f.float()), targets[name], "relative").mean() for name, f in features.items()
    ]
    return (torch.stack(relative) + 1e-3).log().mean()
