"""Distances between the student's and the teacher's features: of the features, of their Gram matrices, and of
distances between images.

All are relative, so that layers weigh the same: the error of features is divided by the teacher's variance, that of
Gram matrices by how much the teacher's differ between the images of the batch. Distances between images are
compared by their logarithms, because their order matters at any scale.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets.losses.gram import with_gram
from texturenets.train.distillation.student import ALIGNED, Student

CONTENT = ("relu4_2", "relu4_3")  # layers in which images are compared position by position
LINEAR_ABOVE = 0.5  # difference of logarithms above which an error of pairs counts linearly
MIN_DISTANCE = 1e-3  # of the mean distance of a batch: distances below it do not count


def losses(
    student: Student, student_features: dict[str, Tensor], teacher_features: dict[str, Tensor], group: int
) -> dict[str, Tensor]:
    """{"features/relu1_2": scalar, "gram/relu1_2": ..., "pairs/relu1_2": ..., "content/relu4_2": ...}.

    `student_features`: (N, c, H, W); `teacher_features`: (N, C, H, W), both by the teachers' layers. Features are
    compared where both have the same positions. The batch is groups of `group` images of the same photo, one after
    the other.
    """
    out: dict[str, Tensor] = {}
    for name, there in teacher_features.items():
        target, features = there.float(), student_features[name].float()
        features, matrices = with_gram(features)
        _, wanted = with_gram(target)
        made = student.mapped_gram(name, matrices)
        if name in ALIGNED:
            error = _squared_error(student.matrix(name), features, target, made, wanted)
            out[f"features/{name}"] = error / _variance(target, wanted).clamp_min(1e-12)
        spread = (wanted - wanted.mean(0)).square().mean()
        out[f"gram/{name}"] = (made - wanted).square().mean() / spread.clamp_min(1e-12)
        out[f"pairs/{name}"] = log_error(made, wanted)
        if name in CONTENT:
            out[f"content/{name}"] = log_error(student.mapped(name, features), target, group)
    return out


def rows_of(maps: Tensor) -> Tensor:
    """Maps (N, C, H, W) as (N H W, C): a row for each position."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def _squared_error(matrix: Tensor, features: Tensor, target: Tensor, made: Tensor, wanted: Tensor) -> Tensor:
    """The mean over images and positions of |M f - t|^2, as |M f|^2 - 2 t M f + |t|^2: sums of products that Gram
    matrices hold anyway, where M f at each position would be the largest tensor of the training."""
    rows, theirs = rows_of(features), rows_of(target)
    product = (theirs.T @ rows) / len(rows)
    squares = (made + wanted).diagonal(dim1=1, dim2=2).sum(1).mean()
    return squares - 2 * (matrix * product).sum()


def _variance(target: Tensor, wanted: Tensor) -> Tensor:
    """The variance of feature maps over images and positions, summed over channels; `wanted`: Gram matrices."""
    return wanted.diagonal(dim1=1, dim2=2).sum(1).mean() - target.mean((0, 2, 3)).square().sum()


def log_error(made: Tensor, wanted: Tensor, group: int | None = None) -> Tensor:
    """Distance of the logarithms of squared distances in `made` (N, ...) from those in `wanted`, for pairs of images.

    All pairs, or those within groups of `group`. The mean square, but linear above `LINEAR_ABOVE`: else a few
    adversarial images dominate.
    """
    mine, theirs = _distances(made, group), _distances(wanted, group)
    if not len(mine):
        return made.new_zeros(())
    least = MIN_DISTANCE * theirs.mean() + 1e-12  # all images may be the same
    # PyTorch's is the square over 2 beta.
    error = F.smooth_l1_loss((mine + least).log(), (theirs + least).log(), beta=LINEAR_ABOVE)
    return 2 * LINEAR_ABOVE * error


def _distances(x: Tensor, group: int | None) -> Tensor:
    """Mean squared distances of pairs of images, as |a|^2 + |b|^2 - 2 a b: no tensor is as large as all pairs.

    The mean image is subtracted first, so that near images are not lost to rounding. MPS has no `torch.pdist`.
    """
    rows = x.flatten(1)
    rows = rows - rows.mean(0)
    products = rows @ rows.T
    squares = products.diagonal()
    one, other = torch.combinations(torch.arange(len(x), device=x.device)).T
    if group is not None:
        same = one // group == other // group
        one, other = one[same], other[same]
    distances = squares[one] + squares[other] - 2 * products[one, other]
    return distances.clamp_min(0) / rows.shape[1]
