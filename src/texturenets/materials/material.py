"""Materials: networks that draw several maps in register from noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from texturenets.engines import Engine
from texturenets.errors import DamagedError, UserError
from texturenets.materials.maps import Maps, count, ordered, with_unit_normals
from texturenets.modelfiles.modelfile import Header
from texturenets.textures import Array, Texture, Tileable


class Material(Texture):
    """A network that draws the maps of a material, from `texturenets.load`: a `Texture` with the channels of all.

    `maps`: their names, in the order of the channels. `sample` returns `Maps`, and arrays of `draw`, `draws`, `mix`
    and `between` are (1, C, H, W), float32 in [0, 1], as `materials.maps.CHANNELS` says, with normals of unit length.
    """

    def __init__(self, engine: Engine, header: Header, path: Path) -> None:
        super().__init__(engine, header, path)
        self.maps = tuple(header.maps)
        try:
            fits = ordered(self.maps) == self.maps and count(self.maps) == engine.io_spec.outputs
        except UserError as error:
            raise DamagedError(f"{path}: damaged model header: {error}") from None
        if not fits:
            raise DamagedError(
                f"{path}: its network draws {engine.io_spec.outputs} channels, which are not those of its maps, "
                f"{', '.join(self.maps)}"
            )

    def scaled(self, scale: float) -> Self:
        """Maps cannot be scaled: raises UserError."""
        raise UserError(
            f"{self.name} is a material, whose normals and heights belong to its size: scale it in the renderer"
        )

    def _result(self, drawn: Array) -> Any:
        return Maps(self.maps, drawn)

    def _drawn(self, maps: Any, height: int, width: int, tileable: Tileable) -> Array:
        return with_unit_normals(super()._drawn(maps, height, width, tileable), self.maps)
