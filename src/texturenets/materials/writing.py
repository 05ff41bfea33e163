"""Sets of maps to folders of image files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from texturenets import image
from texturenets.errors import UserError
from texturenets.materials.maps import Maps, with_unit_normals

FILE_NAMES: Final = {"color": "basecolor"}
"""What a file is called after its map, where that is not the map's name."""

HEIGHT_SUFFIXES: Final = (".png", ".exr")


def files(
    maps_names: tuple[str, ...], folder: Path, name: str = "", height_suffix: str = ".png"
) -> dict[str, Path]:
    """The file of each map: `folder`/`name`_normal.png and so on. Raises UserError for a suffix that is not one of
    `HEIGHT_SUFFIXES`."""
    if height_suffix not in HEIGHT_SUFFIXES:
        raise UserError(f"`height_suffix` {height_suffix!r} is not {' or '.join(HEIGHT_SUFFIXES)}")
    image.output_format(f"height{height_suffix}")  # raises, if that cannot be written here
    begin = f"{name}_" if name else ""
    return {
        one: folder / f"{begin}{FILE_NAMES.get(one, one)}{height_suffix if one == 'height' else '.png'}"
        for one in maps_names
    }


def write(maps: Maps, folder: Path, *, name: str = "", height_suffix: str = ".png") -> list[Path]:
    """Write each map to a file in `folder`; returns the files, named as `files` does.

    PNG of 8 bits; of heights, whose steps would be seen in 8 bits, PNG of 16 or EXR. Normals are of unit length, as
    far as 8 bits say it: within 1/127. Raises UserError as `files`, and when a file cannot be written.
    """
    result = files(maps.names, folder, name, height_suffix)
    finished = Maps(maps.names, with_unit_normals(maps.values, maps.names))
    for one, path in result.items():
        if one == "color":
            image.write(path, finished[one])
        else:
            image.write_data(path, finished[one], bits=16 if one == "height" else 8)
    return list(result.values())
