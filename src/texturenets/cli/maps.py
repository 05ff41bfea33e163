"""What `texturenets sample` does with a material: folders of maps in place of images."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texturenets.cli.outputs import free_folder
from texturenets.errors import UserError
from texturenets.files import expanded, remove_stale

if TYPE_CHECKING:
    from texturenets.textures import Array, Texture

PREVIEW = "preview.png"


@dataclass(frozen=True)
class MapsOptions:
    """The flags of `sample` for materials: --preview, --gltf, --height-suffix."""

    preview: bool
    gltf: bool
    height_suffix: str | None

    def check(self, model: Texture, *, alone: bool, quality: int | None) -> None:
        """Raise UserError for flags of materials with a texture, and for those of images with a material. `alone`:
        a sheet, frames or a second texture are asked for."""
        name = model.path.stem
        if model.header.kind != "material":
            flags = {"--preview": self.preview, "--gltf": self.gltf, "--height-suffix": self.height_suffix}
            if used := next((flag for flag, given in flags.items() if given), None):
                raise UserError(f"{used} is for materials, and {name} is a texture, one image: leave it out")
            return
        if alone:
            raise UserError(
                f"{name} is a material, whose samples are folders of maps: leave out --sheet, --to-seed and --mask"
            )
        if quality is not None:
            raise UserError(
                f"--quality {quality} is for JPEG, and the maps of a material are PNG: leave it out"
            )
        from texturenets.materials import writing

        writing.files(tuple(model.header.maps), Path(), name, self.height_suffix or ".png")

    def writer(self, model: Texture, quality: int | None) -> Callable[[Path, Array], Any]:
        """The function that writes a sample to its file, or the maps of one to its folder."""
        from texturenets import image

        if model.header.kind != "material":
            return functools.partial(image.write, quality=quality)
        return functools.partial(self._write, model)

    def _write(self, model: Texture, folder: Path, drawn: Array) -> None:
        from texturenets import image
        from texturenets.materials import gltf, preview, writing
        from texturenets.materials.maps import Maps

        remove_stale(folder)
        maps, name = Maps(tuple(model.header.maps), drawn), model.path.stem
        writing.write(maps, folder, name=name, height_suffix=self.height_suffix or ".png")
        if self.gltf:
            gltf.write(maps, folder, name)
        if self.preview:
            image.write(folder / PREVIEW, preview.render(maps))


def folders_of(output: str | None, default: str, numbers: range) -> list[Path]:
    """The folder of each sample: `output`, or for several those in it that are called after their `numbers`.

    Raises UserError for a file.
    """
    from texturenets import image

    path = expanded(output or (f"{default}-{numbers.start}" if len(numbers) == 1 else default))
    if output == "-" or image.has_image_suffix(path) or path.is_file():
        folder = f"{default}/" if output == "-" else free_folder(path)
        raise UserError(
            f"--output {output or path}: the maps of a material go into a folder: say -o {folder}"
        )
    return [path] if len(numbers) == 1 else [path / f"{i:04d}" for i in numbers]
