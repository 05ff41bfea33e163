"""Folders of image files, as material libraries have them, to sets of maps.

A file's name says which map it is: names of Blender (its add-on Node Wrangler), Unreal Engine, glTF, Poly Haven and
ambientCG are known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from texturenets import image
from texturenets.arrays import to_numpy
from texturenets.errors import UserError
from texturenets.materials.maps import CHANNELS, Array, Maps

_ALIASES: Final = {
    "color": "color colour col basecolor basecolour albedo diffuse diff base bc d",
    "normal": "normal normals normalgl normalopengl nor norgl norm nrm nrml n",
    "normal_dx": "normaldx normaldirectx nordx normdx nrmdx",
    "roughness": "roughness rough rgh r",
    "metallic": "metallic metalness metal mtl m",
    "height": "height heightmap displacement displace disp dsp depth h",
    "occlusion": "occlusion ambientocclusion ao",
    # Three maps in the channels of one image.
    "orm": "orm arm occlusionroughnessmetallic aoroughnessmetallic",
    "metallicroughness": "metallicroughness metallicroughnesstexture",
}
_MAPS: Final = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
_PACKED: Final = {
    "orm": {"occlusion": 0, "roughness": 1, "metallic": 2},  # as Unreal Engine and glTF pack them
    "metallicroughness": {"roughness": 1, "metallic": 2},  # glTF 2.0, section 3.9.2
}
_MOST_WORDS: Final = 3  # of a map's name: occlusion, roughness, metallic

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+[a-zA-Z]*|[a-z]+")
_DETAILS: Final = re.compile(
    r"\d+(k|bit|px|x\d+)?|png|jpe?g|exr|tiff?|seamless|tileable|srgb|raw|texture|map"
)
"""Words after a map's name: sizes, formats."""


@dataclass(frozen=True)
class MapFile:
    """An image file of a material. `kind`: a map's name, "normal_dx", or one of the packed images."""

    path: Path
    kind: str

    @property
    def names(self) -> tuple[str, ...]:
        """The maps in it."""
        return tuple(_PACKED.get(self.kind, {self.kind.removesuffix("_dx"): 0}))


def kind_of(path: Path) -> str | None:
    """The `kind` of a `MapFile` by its name; None if that says nothing."""
    words = [word.lower() for word in _WORDS.findall(path.stem)]
    while len(words) > 1 and _DETAILS.fullmatch(words[-1]):
        words.pop()
    for count in range(min(_MOST_WORDS, len(words)), 0, -1):
        name = "".join(words[-count:])
        if name in _MAPS and (len(name) > 1 or len(words) > 1):
            return _MAPS[name]
    return None


def is_material(path: Path) -> bool:
    """Whether `path` is a folder, or with what follows it the names of files, as textures/rock of
    textures/rock_color.png."""
    return path.is_dir() or (not path.exists() and bool(_called(path)))


def _called(path: Path) -> list[Path]:
    if not path.parent.is_dir() or not path.name:
        return []
    beginning = tuple(path.name + mark for mark in "_-. ")
    return [file for file in path.parent.iterdir() if file.name.startswith(beginning) and _is_image(file)]


def _is_image(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and image.has_image_suffix(path)


def files_of(path: Path) -> list[MapFile]:
    """The images of the material that `path` names, as in `is_material`, in the order of `CHANNELS`.

    Raises UserError if there are none, for an image whose name says no map, for a map that is there twice, and if
    there is no color.
    """
    images = sorted([file for file in path.iterdir() if _is_image(file)] if path.is_dir() else _called(path))
    if not images:
        raise UserError(
            f"{path} holds no images: a material is a folder of maps, as rock_color.png, rock_normal.png"
        )
    found = []
    for file in images:
        kind = kind_of(file)
        if kind is None:
            raise UserError(
                f"{file}: its name says no map of a material; names end in one of {', '.join(CHANNELS)} (or a name "
                "of Blender, Unreal or glTF): rename it, or take it out; examples of one texture are named one by "
                f"one, as {file.parent / f'*{file.suffix}'}"
            )
        found.append(MapFile(file, kind))
    _check_names(path, found)
    return sorted(found, key=lambda one: list(CHANNELS).index(one.names[0]))


def _check_names(path: Path, files: Sequence[MapFile]) -> None:
    there: dict[str, Path] = {}
    for file in files:
        for name in file.names:
            if name in there:
                raise UserError(
                    f"{path} has its {name} map twice, in {there[name].name} and {file.path.name}: take one out"
                )
            there[name] = file.path
    if "color" not in there:
        raise UserError(
            f"{path} has no color map, only {', '.join(there)}: add one, called for example {path.name}_color.png"
        )


def read(path: Path, longer: int = 0) -> Maps:
    """The material that `path` names (`files_of`), its longer side `longer` pixels, 0 for its own size.

    Normals in DirectX's convention, y down, are turned to OpenGL's. Raises UserError as `files_of`, for maps of
    different sizes, for values outside [0, 1] (heights below 0, NaN), and for images that cannot be read.
    """
    maps: dict[str, Array] = {}
    sizes: dict[str, Path] = {}
    for file in files_of(path):
        picture = image.read(file.path) if file.kind == "color" else image.read_data(file.path)
        if picture.transparent:
            raise UserError(f"{file.path} has transparent pixels, whose values are undefined: fill them")
        size = f"{picture.size[1]} x {picture.size[0]}"
        sizes.setdefault(size, file.path)
        if len(sizes) > 1:
            first, name = next(iter(sizes.items()))
            raise UserError(
                f"{file.path} is {size} pixels, and {name.name} {first}: the maps of a material have one size"
            )
        maps.update(_maps_in(file, to_numpy(picture.pixels)[0]))
    made = Maps.of(maps)
    return made if not longer else Maps(made.names, _resized(made.values, longer))


def _maps_in(file: MapFile, values: Array) -> dict[str, Array]:
    """The maps of a file whose pixels are `values` (3, H, W)."""
    if file.kind in _PACKED:
        return {name: values[place : place + 1] for name, place in _PACKED[file.kind].items()}
    (name,) = file.names
    if file.kind == "normal_dx":
        values = np.stack([values[0], 1 - values[1], values[2]])
    return {name: values[: CHANNELS[name]]}


def _resized(values: Array, longer: int) -> Array:
    height, width = values.shape[2:]
    scale = longer / max(height, width)
    return image.resize(values, (max(1, round(height * scale)), max(1, round(width * scale))))


def paths_of(paths: Sequence[Path]) -> list[Path]:
    """The image files of all the materials that `paths` name."""
    return list(chain.from_iterable([file.path for file in files_of(path)] for path in paths))
