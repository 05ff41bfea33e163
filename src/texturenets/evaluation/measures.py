"""Quality measures of a model, which `texturenets evaluate` prints.

Images are (N, 3, H, W) or (1, 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.losses import LossSettings, Objective
from texturenets.perceptual import Descriptors

DIVERSITY_LAYERS: dict[str | None, tuple[str, ...]] = {
    None: ("squeezenet1_0:fire4", "vgg16:relu2_2"),
    "vgg16": ("vgg16:relu2_2",),
    "own": ("own:map_relu2_2", "own:map_relu3_3"),
}
"""Where samples are compared, by `EvaluationOptions.descriptor`: None is the default."""
PATCH_SIDE = 32  # pixels
MAX_OFFSET_DIFFERENCE = 2  # pixels: neighbours whose offsets differ by at most this are one piece


@torch.no_grad()
def texture_losses(
    networks: Descriptors, samples: Sequence[Tensor], exemplar: Tensor, settings: LossSettings
) -> dict[str, float]:
    """Mean style loss of samples (1, 3, H, W) against the exemplar, by layer (arXiv 1505.07376).

    Scales and scaling are those of `settings`, layers of smaller scales are called `layer@1`...; the losses' common
    weight is not applied.
    """
    alone = {**settings, "style_weight": 1.0}
    objective = Objective.from_settings(networks, alone, [exemplar], names=("style",))
    sums: dict[str, float] = {}
    for sample in samples:
        for name, value in objective(sample).items():
            layer = name.removeprefix("style/")
            sums[layer] = sums.get(layer, 0.0) + float(value) / len(samples)
    return sums


def half_losses(networks: Descriptors, exemplar: Tensor, settings: LossSettings) -> dict[str, float]:
    """The loss of the exemplar's left half against its right half, averaged with the reverse. Two images of one
    texture may differ by this much: a sample below it is as good as the loss can measure.
    """
    middle = exemplar.shape[3] // 2
    halves = exemplar[..., :middle], exemplar[..., -middle:]
    there = texture_losses(networks, [halves[0]], halves[1], settings)
    back = texture_losses(networks, [halves[1]], halves[0], settings)
    return {layer: (there[layer] + back[layer]) / 2 for layer in there}


def by_network(losses: Mapping[str, float]) -> dict[str, float]:
    """Losses by `network:layer`, summed for each network."""
    sums: dict[str, float] = {}
    for layer, value in losses.items():
        network = layer.partition(":")[0]
        sums[network] = sums.get(network, 0.0) + value
    return sums


@torch.no_grad()
def pairwise_distance(
    networks: Descriptors, samples: Sequence[Tensor], layers: Sequence[str]
) -> dict[str, float]:
    """Mean over all pairs of samples of the root mean square difference of their features, by layer.

    Raises ValueError for fewer than two samples.
    """
    if len(samples) < 2:
        raise ValueError("a distance takes two samples")
    features = [networks(sample, layers) for sample in samples]
    pairs = list(itertools.combinations(features, 2))
    return {
        layer: sum(float((a[layer].float() - b[layer].float()).square().mean().sqrt()) for a, b in pairs)
        / len(pairs)
        for layer in layers
    }


def edge_steps(sample: Tensor, period: int, axis: int = 3) -> tuple[float, float]:
    """Mean absolute step across the wrap edge of a sample (1, 3, H, W), and across inner edges of the same phase.

    `axis` 3: from the last column to the first, and from column k `period` - 1 to the next one; 2: rows.
    """
    steps = (torch.roll(sample, -1, axis) - sample).abs().mean([d for d in range(4) if d != axis])
    inner = steps[period - 1 : -1 : period]
    if len(inner) == 0:
        raise ValueError(f"{sample.shape[axis]} pixels hold no inner edge of period {period}")
    return float(steps[-1]), float(inner.mean())


def seam(samples: Sequence[Tensor], period: int, axis: int = 3) -> float:
    """The mean step across the wrap edge of samples over that across inner edges of the same phase: 1 is no seam."""
    pairs = [edge_steps(sample, period, axis) for sample in samples]
    edges, inner = sum(edge for edge, _ in pairs), sum(inner for _, inner in pairs)
    return edges / inner if inner else 1.0  # of one colour: no edge shows


@torch.no_grad()
def offsets(sample: Tensor, exemplar: Tensor, patch: int = PATCH_SIDE) -> Tensor:
    """Offset from each patch of the sample to its best match in the exemplar: (rows, columns, 2) in pixels.

    Both images are (1, 3, H, W); the fit is the sum of squared differences of RGB, at every pixel's place.
    """
    rows, columns = sample.shape[2] // patch, sample.shape[3] // patch
    cut = sample[:, :, : rows * patch, : columns * patch]
    patches = F.unfold(cut, patch, stride=patch)[0].T.view(-1, 3, patch, patch)
    here = F.avg_pool2d(exemplar.square().sum(1, keepdim=True), patch, 1) * patch**2
    # The patch's own square is the same at every place.
    cost = here - 2 * F.conv2d(exemplar, patches)
    width = cost.shape[3]
    best = cost.flatten(2)[0].argmin(1)
    place = torch.stack([best // width, best % width], 1).view(rows, columns, 2)
    down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return place - torch.stack([down, across], 2).to(place) * patch


def copied(sample: Tensor, exemplar: Tensor, patch: int = PATCH_SIDE) -> float:
    """Share of the sample's patches whose best match in the exemplar is next to that of one of their neighbours. Two
    such neighbours are copied together, as one piece of the exemplar. That rarely happens by chance; of the exemplar
    itself the share is 1. Raises ValueError if an image is too small.
    """
    if min(*sample.shape[2:], *exemplar.shape[2:]) < patch:
        raise ValueError(f"patches of {patch} pixels do not fit into the images")
    where = offsets(sample, exemplar, patch)
    together = torch.zeros(where.shape[:2], dtype=torch.bool)
    for axis in (0, 1):
        count = where.shape[axis] - 1
        a, b = where.narrow(axis, 0, count), where.narrow(axis, 1, count)
        near = (a - b).abs().amax(2).le(MAX_OFFSET_DIFFERENCE).cpu()
        together.narrow(axis, 0, count).logical_or_(near)
        together.narrow(axis, 1, count).logical_or_(near)
    return float(together.float().mean())
