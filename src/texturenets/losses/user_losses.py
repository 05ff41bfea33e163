"""Checks of losses that users define and pass to `train_style` or `train_texture`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from texturenets.arguments import shown
from texturenets.errors import UserError
from texturenets.losses.base import LOSSES, Features, Loss, Targets
from texturenets.perceptual import full_names


class UserLoss(Loss):
    """Wraps a user-defined loss and checks its layers and the values that it returns."""

    def __init__(self, loss: Loss) -> None:
        """Raises UserError for an object that does not implement `Loss`, and for layers that do not exist."""
        name = getattr(loss, "name", None)
        if not isinstance(name, str) or not name or not callable(loss) or isinstance(loss, type):
            label = getattr(loss, "__name__", type(loss).__name__)
            raise UserError(
                f"{label} is not a loss: derive a class from texturenets.losses.Loss, with a name, "
                "and give an instance of it"
            )
        self.loss, self.name = loss, name
        self.compares_style = bool(getattr(loss, "compares_style", False))
        self.layers, self.gram_layers, self.photo_layers = (
            full_names(_tuple_of_names(loss, key)) for key in ("layers", "gram_layers", "photo_layers")
        )

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        """See `Loss.prepare`, which a loss that is not derived from `Loss` may lack."""
        if prepare := getattr(self.loss, "prepare", None):
            prepare(styles)

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        """See `Loss.__call__`. Raises UserError for values that cannot be summed into the total loss."""
        values: object = self.loss(features, targets)
        if not isinstance(values, dict):
            raise UserError(
                f"the loss {self.name} returns {_kind(values)}, not a dict {{name: scalar tensor}}"
            )
        return {key: self._checked(key, value) for key, value in values.items()}

    def _checked(self, key: object, value: object) -> Tensor:
        if key != self.name and not str(key).startswith(f"{self.name}/"):
            raise UserError(
                f"the loss {self.name} returns the key {key!r}: name it {self.name} or {self.name}/..."
            )
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise UserError(f"the loss {self.name} returns {_kind(value)}, not a tensor with one element")
        if torch.is_grad_enabled() and not value.requires_grad:
            raise UserError(
                f"the loss {self.name} returns a value that does not require grad: the network cannot learn from it"
            )
        return value.reshape(())


def _tuple_of_names(loss: Loss, key: str) -> tuple[str, ...]:
    """The layers called `key` of a loss. Raises UserError for anything but a tuple or list of names."""
    names: object = getattr(loss, key, ())
    if isinstance(names, tuple | list) and all(isinstance(one, str) for one in names):
        return tuple(names)
    hint = f", as ({names!r},)" if isinstance(names, str) else ""
    raise UserError(f"the loss {loss.name}: `{key}` {shown(names)} is not a tuple of names{hint}")


def _kind(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:60]


def check_user_losses(losses: Sequence[Loss]) -> list[Loss]:
    """User-defined losses, each in an `UserLoss`. Raises UserError for a name that another loss has, because names
    are keys in logs and checkpoints."""
    wrapped: list[Loss] = [UserLoss(loss) for loss in losses]
    taken = {loss.name for loss in LOSSES}
    for loss in wrapped:
        if loss.name in taken:
            raise UserError(f"two losses are called {loss.name}: give one of them another name")
        taken.add(loss.name)
    return wrapped
