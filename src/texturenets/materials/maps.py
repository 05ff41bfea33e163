"""The maps of a material, and a set of them in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from texturenets.errors import UserError, unknown

Array = NDArray[np.float32]

CHANNELS: Final = {"color": 3, "normal": 3, "roughness": 1, "metallic": 1, "height": 1, "occlusion": 1}
"""The maps by name, with their channels, in the order in which a network draws them.

All values are in [0, 1]. color: sRGB. normal: (n + 1) / 2 of unit vectors n with x to the right, y up (as in OpenGL
and glTF) and z towards the viewer. roughness, metallic, occlusion: as in glTF 2.0, section 3.9; occlusion is 1 where
all light arrives. height: 0 is the lowest.
"""


def ordered(names: Sequence[str]) -> tuple[str, ...]:
    """`names` in the order of `CHANNELS`. Raises UserError for an unknown map, one that is there twice, and if there
    is no color."""
    for name in names:
        if name not in CHANNELS:
            raise unknown("map", name, CHANNELS)
    if len(set(names)) < len(names):
        raise UserError(f"a map is there twice, of {', '.join(names)}")
    if "color" not in names:
        raise UserError(f"a material has a color map, and here are {', '.join(names) or 'none'}")
    return tuple(name for name in CHANNELS if name in names)


def channels(names: Sequence[str]) -> dict[str, slice]:
    """The channels of each map in an array that holds those of all `names`, in this order."""
    places, begin = {}, 0
    for name in names:
        places[name] = slice(begin, begin + CHANNELS[name])
        begin += CHANNELS[name]
    return places


def count(names: Sequence[str]) -> int:
    """The number of channels of all `names`; 3 for none: an image."""
    return sum(CHANNELS[name] for name in names) or 3


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of one surface in register. `names`: as `ordered` gives them; `values` (1, C, H, W): all channels, in the
    order of the names, float32 in [0, 1]."""

    names: tuple[str, ...]
    values: Array

    @classmethod
    def of(cls, maps: Mapping[str, ArrayLike]) -> Maps:
        """From {name: (C, H, W)}. Raises UserError as `ordered`, for maps of different sizes, and for values
        outside [0, 1]."""
        names = ordered(list(maps))
        arrays = [np.asarray(maps[name], np.float32) for name in names]
        for name, array in zip(names, arrays, strict=True):
            if array.ndim != 3 or len(array) != CHANNELS[name]:
                raise UserError(f"the {name} map is {array.shape}, not ({CHANNELS[name]}, H, W)")
            if array.shape[1:] != arrays[0].shape[1:]:
                raise UserError(f"the {name} map is {_size(array)} pixels, and color is {_size(arrays[0])}")
            if not (array.min() >= 0 and array.max() <= 1):  # also for NaN
                raise UserError(f"the {name} map goes from {array.min():g} to {array.max():g}, not 0 to 1")
        return cls(names, np.concatenate(arrays)[None])

    def __getitem__(self, name: str) -> Array:
        """A map, (C, H, W). Raises UserError if it is not there."""
        if name not in self.names:
            raise unknown("map", name, self.names)
        return self.values[0, channels(self.names)[name]]

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __repr__(self) -> str:
        return f"Maps({', '.join(self.names)}; {self.size[1]} x {self.size[0]})"

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.values.shape[2]), int(self.values.shape[3])


def with_unit_normals(values: Array, names: Sequence[str]) -> Array:
    """`values` (N, C, H, W) of the maps `names`, with normals made unit vectors that point out of the surface."""
    if "normal" not in names:
        return values
    place = channels(names)["normal"]
    made: Array = values.copy()
    made[:, place] = encoded(unit(2 * values[:, place] - 1))
    return made


def unit(normals: Array) -> Array:
    """`normals` (N, 3, H, W) as unit vectors with z above 0; those of no length point straight up."""
    upright = normals.copy()
    upright[:, 2] = np.maximum(upright[:, 2], 1e-3)
    made: Array = upright / np.sqrt(np.square(upright).sum(1, keepdims=True))
    return made


def encoded(normals: Array) -> Array:
    """Vectors with components in [-1, 1] as values in [0, 1]."""
    values: Array = (0.5 + 0.5 * normals).clip(0, 1).astype(np.float32)
    return values


def normals_of(height: NDArray[Any], *, tiles: bool = False) -> Array:
    """The normal map (3, H, W) of `height` (H, W), in pixels: central differences. `tiles`: it goes on at the other
    edge, else the outermost values continue."""
    around = np.pad(np.asarray(height, np.float64), 1, mode="wrap" if tiles else "edge")
    right = (around[1:-1, 2:] - around[1:-1, :-2]) / 2
    down = (around[2:, 1:-1] - around[:-2, 1:-1]) / 2
    normals = np.stack([-right, down, np.ones_like(right)]).astype(np.float32)  # rows go down, y goes up
    (made,) = encoded(unit(normals[None]))
    return np.asarray(made)


def _size(array: Array) -> str:
    return f"{array.shape[-1]} x {array.shape[-2]}"
