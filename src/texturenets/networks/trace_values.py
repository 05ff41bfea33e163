"""What flows through a network while it is traced: maps, and what its code asks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from texturenets.errors import UserError


class TracedMap(int):
    """The number of a node, told from the numbers that a network computes with."""


class Recorder(Protocol):
    """Where nodes go; see `trace._Recorder`."""

    def add(
        self,
        operation: str,
        *sources: int,
        weights: Mapping[str, Tensor | None] | None = None,
        **settings: Any,
    ) -> TracedMap:
        """Add a node; its number."""

    def channels(self, x: TracedMap) -> int:
        """Of a map."""

    def is_point(self, x: TracedMap) -> bool:
        """Whether a map has one pixel."""

    def ratio(self, large: TracedMap, small: TracedMap) -> Any:
        """By how much one map is larger than another at any size of the picture; None where it is not."""


class Type:
    """The type of a map's numbers: what a map is turned into, to meet another."""

    of_map = True


@dataclass(frozen=True)
class Where:
    """What `max_pool` gives beside its map, until `max_unpool` takes it: the number of the pool's node."""

    of_map: int


@dataclass(frozen=True)
class Size:
    """The size of a map, or its height and width alone."""

    of_map: TracedMap
    whole: bool = True


def two(value: Any) -> tuple[int, int]:
    """Of height and width."""
    rows, columns = value if isinstance(value, tuple | list) else (value, value)
    return rows, columns


def one(value: Any, what: str) -> Any:
    """The one number that a setting of two equal ones is."""
    if isinstance(value, tuple | list):
        if len({*value}) != 1:
            raise UserError(f"{what} {tuple(value)} differs between height and width")
        return value[0]
    return value
