"""Losses as small parts with named results.

An `Objective` holds the descriptor networks and the targets of one painting, and turns a batch of pictures
into {name: weighted loss}. Every loss is a mean over the pictures of the batch, so that half a batch on each
of two processes has the gradient of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from texturenets.descriptors import Descriptors, Tap
from texturenets.errors import UserError
from texturenets.runs import PIXELS
from texturenets.statistics import gram, lattice, total_variation, with_gram

Scaling = Literal["relative", "paper"]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Which losses, with which weights.

    `scaling`: "relative" divides each layer's squared distance by the target's square, so that layers and
    paintings count alike and a loss of 1 means "as far off as nothing at all"; "paper" is the arithmetic of
    the Torch7 program (`texture_loss.lua`, `content_loss.lua`, branch master): mean squared differences of
    Gram matrices over C H W, and of features; its total variation is `reference_variation`.
    """

    style_layers: tuple[str, ...]
    content_layers: tuple[str, ...]
    style_weight: float
    content_weight: float
    tv_weight: float
    lattice_weight: float
    scaling: Scaling
    pyramid_loss: int
    pyramid_decay: float
    normalize_gradients: bool
    diversity_weight: float
    diversity_layer: str


Loss = Callable[[Tensor, Tensor | None, Mapping[str, Tensor]], Tensor]
"""A loss of the user's own: (pictures, photos, features) to a scalar tensor that has a gradient.

`pictures` (N, 3, H, W), RGB around [0, 1], as the network drew them; `photos` (N, 3, H, W), RGB in [0, 1], what it
was given, None for textures; `features`: of the pictures, {"network:layer": (N, C, h, w)}, in the layers that the
run's own losses look at, in the precision of the descriptor networks. What comes back is added to the sum as it is:
the weight is the loss's business.
"""


def named(losses: Sequence[Loss]) -> dict[str, Loss]:
    """Losses of the user's own by name: that of a function, or of an object's class. Raises UserError for two of one
    name: logs and checkpoints know them by it."""
    found: dict[str, Loss] = {}
    for loss in losses:
        name = str(getattr(loss, "__name__", type(loss).__name__))
        if name in found:
            raise UserError(f"two losses are called {name}: give one of them another __name__")
        found[name] = loss
    return found


def _own(name: str, loss: Loss, y: Tensor, photos: Tensor | None, features: Mapping[str, Tensor]) -> Tensor:
    value: object = loss(y, photos, features)
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:60]
        raise UserError(f"the loss {name} gives {what}, not a tensor with one number")
    if torch.is_grad_enabled() and not value.requires_grad:
        raise UserError(
            f"the loss {name} gives a number without a gradient: the network would not learn from it"
        )
    return value.reshape(())


# Beside the squared distance in the paper's logarithm: `EstimatedEntropyMaximizer.lua`, branch diversity
PAPER_GUARD = 0.1
# The same where distances are relative: independent samples of a texture are about 2 apart
RELATIVE_GUARD = 1e-3


class _NormalizedGradient(torch.autograd.Function):
    """Identity whose gradient is divided by its L1 norm over the whole batch (`texture_loss.lua`, branch v1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].float()
        return (grad * (ctx.weight / (grad.abs().sum() + 1e-8))).to(grads[0].dtype), None


def _mean_square(x: Tensor) -> Tensor:
    """Of maps (N, C, H, W), of each picture: (N,), float32 or wider; the same bits in any memory format."""
    rows = x.permute(0, 2, 3, 1).flatten(1)
    wide = torch.promote_types(x.dtype, torch.float32)
    mean: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=wide).square() / rows.shape[1]
    return mean


class _MeanSquare(torch.autograd.Function):
    """Mean squared difference of two maps (N, C, H, W), of each picture: (N,), float32 or wider.

    The maps are large, and time goes into passes over them: here the difference is kept as the maps are, and there
    is no square of it.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, target: Tensor) -> Tensor:
        difference = features - target
        ctx.save_for_backward(difference)
        return _mean_square(difference)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        factor = (2 / difference[0].numel()) * grads[0]
        return difference * factor.to(difference.dtype)[:, None, None, None], None


def texture_distance(matrices: Tensor, target: Tensor, scaling: Scaling) -> Tensor:
    """Squared distance of Gram matrices (N, C, C) to target (1, C, C), a picture each: (N,).

    Both Gram matrices are over H W; "paper" wants them over C H W, hence the division by C.
    """
    difference = matrices - target
    if scaling == "relative":
        return difference.square().mean((1, 2)) / target.square().mean().clamp_min(1e-12)
    return (difference / target.shape[1]).square().mean((1, 2))


def content_distance(features: Tensor, target: Tensor, scaling: Scaling) -> Tensor:
    """Squared distance of features (N, C, H, W) to target of the same shape, a picture each: (N,).

    Johnson et al., arXiv 1603.08155, equation 2; "relative": over the target's mean square.
    """
    target = target.to(features.dtype)  # stored features are wider than they were
    distance: Tensor = _MeanSquare.apply(features, target)  # type: ignore[no-untyped-call]
    if scaling == "relative":
        distance = distance / _mean_square(target).clamp_min(1e-12)
    return distance


def reference_variation(y: Tensor) -> Tensor:
    """Half the sum of squared differences of neighbours on the 0..255 scale, a picture of y (N, 3, H, W) each: (N,).

    Its gradient is what `TVLoss` of the Torch7 program adds (`utils.lua`, branch master): every pixel but the
    last row and column is compared with the ones right of it and below. It is a sum, not a mean: its weight
    means more in larger pictures. In that program the batch is summed too, here it is averaged.
    """
    y = 255 * y
    corner = y[:, :, :-1, :-1]
    right, below = y[:, :, :-1, 1:] - corner, y[:, :, 1:, :-1] - corner
    return (right.square() + below.square()).sum((1, 2, 3)) / 2


def diversity(features: Tensor, scaling: Scaling, spread: float = 1.0) -> Tensor:
    """How alike the pictures of a batch are, features (N, ...) each: a scalar, lower where they differ more.

    Minus the nearest-neighbour estimate of their entropy (Kozachenko and Leonenko), up to a constant and a factor:
    arXiv 1701.02096, section 3, equation 6. "relative": minus the mean logarithm of the distance to the nearest
    other picture, as root mean square over `spread`, the features' own standard deviation; "paper": minus the
    sum of the logarithms of squared distances plus 0.1, whose gradient is that of the Torch7 program (branch
    diversity), where distances are of pixels on the 0..255 scale. Raises ValueError for a single picture.
    """
    if len(features) < 2:
        raise ValueError("diversity compares at least two pictures")
    rows = features.float().flatten(1)
    with torch.no_grad():
        apart = torch.stack([(rows - row).square().sum(1) for row in rows])
        nearest = apart.fill_diagonal_(float("inf")).argmin(1)
    squared = (rows - rows[nearest]).square()
    if scaling == "paper":
        return -torch.log(squared.sum(1) + PAPER_GUARD).sum()
    return -0.5 * torch.log(squared.mean(1) / spread**2 + RELATIVE_GUARD).mean()


def stability(y: Tensor, again: Tensor, shifts: Sequence[tuple[int, int]], border: int) -> Tensor:
    """How far pictures change when their photos change a little: y and again (N, 3, H, W) to (N,).

    `again` are the pictures of photos that were moved by `shifts`, (down, right) in whole pixels, each picture's own,
    and otherwise disturbed by what is not to be seen: it should be `y`, moved by as much. The mean squared difference
    over all pixels but those within `border` of the edge or of where one of the two has no counterpart, as share of
    the picture's variance there: 0 for the same picture, 2 for one that has nothing to do with it. The divisor has
    no gradient: more contrast is no way out. Stability training (Zheng et al., arXiv 1604.04326, equation 3), with
    the picture as output. Raises ValueError where nothing is left to compare.
    """
    inset = border + max((abs(n) for shift in shifts for n in shift), default=0)
    height, width = y.shape[2] - 2 * inset, y.shape[3] - 2 * inset
    if min(height, width) < 1:
        raise ValueError(
            f"{y.shape[3]} x {y.shape[2]} pixels less {inset} on each side leave nothing to compare"
        )
    moved = again[:, :, inset : inset + height, inset : inset + width]
    still = torch.stack(
        [
            one[:, inset - down : inset - down + height, inset - right : inset - right + width]
            for one, (down, right) in zip(y, shifts, strict=True)
        ]
    )
    spread = still.detach().var((2, 3), unbiased=False).mean(1)
    # One step of 8 bits: below that a picture is of one colour.
    return (moved - still).square().mean((1, 2, 3)) / spread.clamp_min(1 / 255**2)


class Objective(nn.Module):
    """The loss of pictures against one painting (one or several exemplars of it) and their photos."""

    def __init__(
        self,
        descriptors: Descriptors,
        styles: Sequence[Tensor],
        terms: Terms,
        own: Mapping[str, Loss] | None = None,
    ) -> None:
        """`styles`: pictures (1, 3, H, W), RGB in [0, 1]; several are averaged in their Gram matrices. `own`: losses
        of the user's own by name.

        Raises UserError where a style is too small for the layers.
        """
        super().__init__()
        if not styles:
            raise UserError("no style picture was given")
        self.descriptors, self.terms, self.own = descriptors, terms, dict(own or {})
        space = (terms.diversity_layer,) if terms.diversity_weight and terms.diversity_layer != PIXELS else ()
        self.layers = tuple(dict.fromkeys((*terms.style_layers, *terms.content_layers, *space)))
        self.targets: list[dict[str, Tensor]] = []
        with torch.no_grad():
            for level in range(terms.pyramid_loss):
                grams = [self._style_grams(shrink(style, 2**level)) for style in styles]
                self.targets.append(
                    {k: torch.stack([g[k] for g in grams]).mean(0) for k in terms.style_layers}
                )

        self.spread = self._spread(styles[0]) if terms.diversity_weight else 1.0

    @torch.no_grad()
    def _spread(self, style: Tensor) -> float:
        """The standard deviation of the style where pictures are to differ."""
        layer = self.terms.diversity_layer
        seen = style if layer == PIXELS else self.descriptors(style, (layer,))[layer]
        variance = float(seen.float().flatten(2).var(2).mean())
        return max(math.sqrt(variance), 1e-6)

    def _style_grams(self, style: Tensor) -> dict[str, Tensor]:
        return {k: gram(f) for k, f in self.descriptors(style, self.terms.style_layers).items()}

    def _tap(self, targets: Mapping[str, Tensor], matrices: dict[str, Tensor], factor: float) -> Tap:
        """Collects the Gram matrices of the style layers on the way through the descriptor network."""

        def tap(layer: str, f: Tensor) -> Tensor:
            if layer not in targets:
                return f
            if self.terms.normalize_gradients:
                matrices[layer] = gram(_NormalizedGradient.apply(f, factor))  # type: ignore[no-untyped-call]
                return f
            f, matrices[layer] = with_gram(f)
            return f

        return tap

    @torch.no_grad()
    def content(self, photos: Tensor) -> list[dict[str, Tensor]]:
        """Content features of photos (N, 3, H, W), RGB in [0, 1], for each level of the loss pyramid."""
        if not self.terms.content_layers or not self.terms.content_weight:
            return [{} for _ in self.targets]
        return [
            self.descriptors(shrink(photos, 2**level), self.terms.content_layers)
            for level in range(len(self.targets))
        ]

    def forward(
        self,
        y: Tensor,
        content: Sequence[Mapping[str, Tensor]] | None = None,
        *,
        texture: bool = True,
        diverse: bool = True,
        photos: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Pictures (N, 3, H, W), RGB in [0, 1], and what `content` gave, to {name: weighted loss, a scalar}.

        Names are `style/network:layer`, `content/network:layer`, `tv`, `lattice`, `diversity`, `own/NAME`; `photos`
        are for the latter. Levels below the first
        carry `@1`... `texture=False` leaves out the texture loss, `diverse=False` that of diversity, which
        means nothing between different photos.
        """
        terms, losses = self.terms, {}
        seen: Mapping[str, Tensor] = {}
        for level, all_targets in enumerate(self.targets):
            targets = all_targets if texture else {}
            weight, suffix = terms.pyramid_decay**level, f"@{level}" if level else ""
            matrices: dict[str, Tensor] = {}
            factor = weight * terms.style_weight
            features = self.descriptors(
                shrink(y, 2**level), self.layers, self._tap(targets, matrices, factor)
            )
            seen = seen or features
            for layer, target in targets.items():
                distance = texture_distance(matrices[layer], target, terms.scaling).mean()
                if terms.normalize_gradients:
                    # The weight came in with the gradient: here it belongs to the value alone.
                    losses[f"style/{layer}{suffix}"] = distance + (factor - 1) * distance.detach()
                else:
                    losses[f"style/{layer}{suffix}"] = factor * distance
            for layer, target in (content[level] if content else {}).items():
                distance = content_distance(features[layer], target, terms.scaling).mean()
                losses[f"content/{layer}{suffix}"] = weight * terms.content_weight * distance
        if terms.tv_weight:
            variation = reference_variation if terms.scaling == "paper" else total_variation
            losses["tv"] = terms.tv_weight * variation(y).mean()
        if terms.diversity_weight and diverse:
            pixels = y * 255 if terms.scaling == "paper" else y
            where = pixels if terms.diversity_layer == PIXELS else seen[terms.diversity_layer]
            losses["diversity"] = terms.diversity_weight * diversity(where, terms.scaling, self.spread)
        if terms.lattice_weight:
            # Below zero lies another grid, one that turns over from square to square: that is no aim.
            losses["lattice"] = terms.lattice_weight * lattice(y).clamp_min(0).sum(1).mean()
        for name, loss in self.own.items():
            losses[f"own/{name}"] = _own(name, loss, y, photos, seen)
        return losses


def shrink(x: Tensor, factor: int) -> Tensor:
    """x (N, C, H, W) averaged over squares of `factor` pixels (the pyramid of `train.lua`, branch master)."""
    return x if factor == 1 else F.avg_pool2d(x, factor)
