"""The values that represent tensors while a network is traced: feature maps, their sizes and types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from texturenets.errors import UserError


class TracedMap(int):
    """A feature map: the number of its node in the graph. A class, to distinguish it from integers in the network's
    code."""


class Recorder(Protocol):
    """Collects the nodes of the graph; implemented by `trace._GraphRecorder`."""

    def add(
        self,
        operation: str,
        *sources: int,
        weights: Mapping[str, Tensor | None] | None = None,
        **settings: Any,
    ) -> TracedMap:
        """Add a node to the graph; returns it as a feature map."""

    def channels(self, x: TracedMap) -> int:
        """The number of channels of a feature map."""

    def has_fixed_size(self, x: TracedMap) -> bool:
        """Whether a feature map is 1 x 1 for every image, as after global pooling."""

    def ratio(self, large: TracedMap, small: TracedMap) -> Any:
        """The factor by which `large` is larger than `small` at every image size; None if there is none."""


class TracedDtype:
    """The dtype of a feature map, as in `x.to(y.dtype)`."""

    of_map = True  # marks a traced value, for `trace.py`; which feature map does not matter


@dataclass(frozen=True)
class PoolingIndices:
    """The indices that `max_pool` returns for `max_unpool`. `of_map`: the number of the pooling's node."""

    of_map: int


@dataclass(frozen=True)
class TracedSize:
    """The shape of a feature map (`whole`), or only its height and width."""

    of_map: TracedMap
    whole: bool = True


def two(value: Any) -> tuple[int, int]:
    """(height, width) from one number or a pair."""
    rows, columns = value if isinstance(value, tuple | list) else (value, value)
    return rows, columns


def one(value: Any, what: str) -> Any:
    """The number of a setting given as one number or a pair of equal ones. Raises UserError if they differ."""
    if isinstance(value, tuple | list):
        if len({*value}) != 1:
            raise UserError(f"{what} {tuple(value)} differs between height and width")
        return value[0]
    return value
