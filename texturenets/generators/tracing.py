"""Networks recorded operation by operation, with their maps of noise as further inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn


class Tracer(fx.Tracer):
    """Records one of our networks: its inputs are "photo", where it takes one, and "noise0" and on.

    `functions` and `modules` are one step each, whatever they consist of, as PyTorch's own layers are.
    """

    def __init__(
        self, functions: tuple[Callable[..., Any], ...], modules: tuple[type[nn.Module], ...]
    ) -> None:
        super().__init__(autowrap_functions=functions)
        self.modules = modules

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether `m` is one operation."""
        return isinstance(m, self.modules) or super().is_leaf_module(m, module_qualified_name)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """The inputs by their names, as the network's `photo` and `noise` say."""
        takes_photo, count = getattr(self.root, "photo", True), len(getattr(self.root, "noise", ()))
        photo = self.create_proxy("placeholder", "photo", (), {}) if takes_photo else None
        noises = [self.create_proxy("placeholder", f"noise{i}", (), {}) for i in range(count)]
        return root_fn, [self.root, photo, *([noises] if noises else [])]
