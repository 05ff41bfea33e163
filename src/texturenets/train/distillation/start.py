"""Where a distillation begins: the teacher, of which some channels are left out.

He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (arXiv 1707.06168): layer by layer the
channels are chosen from which the others are best predicted, and the weights that give them by least squares.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.losses.gram import gram
from texturenets.perceptual import Descriptor
from texturenets.perceptual.architectures import ConvLayer, PoolLayer
from texturenets.train.distillation.losses import rows_of
from texturenets.train.distillation.student import Student

POSITIONS = (
    16384  # of a layer's feature maps that the least squares look at: ten times the weights of a channel
)
RIDGE = 1e-3  # of the mean square of the inputs


@torch.no_grad()
def prune(student: Student, teacher: Descriptor, images: Tensor, seed: int = 0) -> None:
    """Give `student` the weights of `teacher` (VGG-16) that come nearest to it on `images` (N, 3, H, W)."""
    random = torch.Generator().manual_seed(seed)
    theirs, own = teacher.preprocess(images), student.preprocess(images)
    convolutions = (step for step in student.plan if isinstance(step, ConvLayer))
    for step in teacher.plan:
        if isinstance(step, PoolLayer):
            theirs, own = (F.max_pool2d(x, step.kernel, 2, step.padding) for x in (theirs, own))
            continue
        assert isinstance(step, ConvLayer)
        key = step.key.replace(".", "_")
        weight, bias = (teacher.get_buffer(f"{key}_{part}").float() for part in ("weight", "bias"))
        raw = F.conv2d(theirs, weight, bias, padding=1)
        theirs = raw.relu()
        mine = next(convolutions, None)
        if mine is None:
            return
        module = student.convolution(mine.key)
        chosen = choose(gram(theirs).mean(0), module.out_channels)
        own = _fit(module, own, raw[:, chosen], random)
        name = mine.key.removeprefix("own")
        if f"map{name}" in student.maps:
            fitted = _regress(rows_of(own), rows_of(theirs)).T
            student.convolution(f"map{name}").weight.copy_(fitted[:, :, None, None])


def choose(moment: Tensor, count: int) -> list[int]:
    """The `count` channels from which all are best predicted linearly, one after the other; `moment` (C, C) is their
    mean product."""
    rest = moment.double().clone()
    chosen: list[int] = []
    for _ in range(count):
        diagonal = rest.diagonal().clamp_min(1e-9 * float(moment.diagonal().mean()))
        gain = rest.square().sum(0) / diagonal
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        rest -= torch.outer(rest[:, best], rest[best]) / diagonal[best]
    return chosen


def _regress(inputs: Tensor, outputs: Tensor) -> Tensor:
    """W (inputs, outputs) for which `inputs` @ W is nearest to `outputs`; both are rows."""
    x, y = inputs.double(), outputs.double()
    product = x.T @ x
    product += RIDGE * product.diagonal().mean() * torch.eye(len(product), dtype=x.dtype, device=x.device)
    solved: Tensor = torch.linalg.solve(product, x.T @ y)
    return solved.to(inputs.dtype)


def _fit(module: nn.Conv2d, inputs: Tensor, wanted: Tensor, random: torch.Generator) -> Tensor:
    """Set weights and bias of the convolution `module` to give `wanted` of `inputs`; its output behind ReLU."""
    n, c, h, w = inputs.shape
    count = min(POSITIONS, n * h * w)
    places = torch.randperm(n * h * w, generator=random)[:count].to(inputs.device)
    image, y, x = places // (h * w), places // w % h, places % w
    padded = F.pad(inputs, (1, 1, 1, 1))
    patches = torch.stack([padded[image, :, y + i, x + j] for i in range(3) for j in range(3)], 2)
    rows = torch.cat([patches.flatten(1), inputs.square().mean().sqrt() * inputs.new_ones(count, 1)], 1)
    solved = _regress(rows, wanted[image, :, y, x])
    weight, bias = solved[:-1], solved[-1] * rows[0, -1]
    assert module.bias is not None
    module.weight.copy_(weight.T.view(-1, c, 3, 3))
    module.bias.copy_(bias)
    made: Tensor = module(inputs).relu()
    return made
