"""The start of a distillation: VGG-16 with some channels pruned, or a network that was distilled before; the linear
maps follow by least squares.

He, Zhang and Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (arXiv 1707.06168): layer by layer,
the channels are chosen from which the others are best predicted, and their weights are fitted by least squares.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.losses.gram import gram
from texturenets.perceptual import Descriptor, Descriptors, weights
from texturenets.perceptual.architectures import ConvLayer, PoolLayer
from texturenets.readers.layouts import OWN_MAPS
from texturenets.train.distillation.losses import rows_of
from texturenets.train.distillation.student import NETWORK, Student

POSITIONS = (
    16384  # of a layer's feature maps that the least squares look at: ten times the weights of a channel
)
RIDGE = 1e-3  # of the mean square of the inputs


@torch.no_grad()
def prune(student: Student, teacher: Descriptor, images: Tensor, seed: int = 0) -> None:
    """Initialize the convolutions of `student` with pruned weights of `teacher` (VGG-16) that approximate it best on
    `images` (N, 3, H, W)."""
    random = torch.Generator().manual_seed(seed)
    teacher_features, student_features = teacher.preprocess(images), student.preprocess(images)
    convolutions = (step for step in student.plan if isinstance(step, ConvLayer))
    for step in teacher.plan:
        if isinstance(step, PoolLayer):
            teacher_features, student_features = (
                F.max_pool2d(x, step.kernel, 2, step.padding) for x in (teacher_features, student_features)
            )
            continue
        assert isinstance(step, ConvLayer)
        key = step.key.replace(".", "_")
        weight, bias = (teacher.get_buffer(f"{key}_{part}").float() for part in ("weight", "bias"))
        raw = F.conv2d(teacher_features, weight, bias, padding=1)
        teacher_features = raw.relu()
        mine = next(convolutions, None)
        if mine is None:
            return
        module = student.convolution(mine.key)
        chosen = choose(gram(teacher_features).mean(0), module.out_channels)
        student_features = _fit(module, student_features, raw[:, chosen], random)


@torch.no_grad()
def load(student: Student, file: str) -> None:
    """Initialize the convolutions of `student` with those of a file of `own`. Raises UserError as `weights.read`."""
    tensors = weights.read(file, NETWORK).tensors
    for key in student.convolutions:
        module = student.convolution(key)
        assert module.bias is not None
        module.weight.copy_(tensors[f"{key}.weight"])
        module.bias.copy_(tensors[f"{key}.bias"])


@torch.no_grad()
def fit_maps(student: Student, teachers: Descriptors, images: Tensor, seed: int = 0) -> None:
    """Initialize the maps and their matrices, behind the convolutions as they are: the least squares from each
    convolution to its teacher's layer on `images` (N, 3, H, W), reduced to the directions of the largest moments."""
    random = torch.Generator().manual_seed(seed)
    found, wanted = student.before_maps(images), teachers(images)
    for made in OWN_MAPS:
        patches = F.unfold(found[made.after], made.stride, stride=made.stride).transpose(1, 2).flatten(0, 1)
        places = torch.randperm(len(patches), generator=random)[:POSITIONS].to(images.device)
        inputs = patches[places]
        fitted = _regress(inputs, rows_of(wanted[made.teacher])[places])
        moment = fitted.T @ (inputs.T @ inputs / len(inputs)) @ fitted
        main = torch.linalg.eigh(moment.double()).eigenvectors[:, -made.outputs :].to(fitted.dtype)
        module = student.convolution(made.name)
        module.weight.copy_((main.T @ fitted.T).view(module.weight.shape))
        student.matrix(made.layer).copy_(main)


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
