"""A set of maps as a glTF 2.0 file with its images beside it, for Blender, engines and viewers.

https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html; numbers of sections are those of the specification.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from texturenets import image
from texturenets._version import __version__
from texturenets.files import atomic_write
from texturenets.materials.maps import Array, Maps
from texturenets.materials.writing import files

_FLOAT, _UNSIGNED_SHORT, _ARRAY, _INDICES = 5126, 5123, 34962, 34963  # sections 3.6.2.2 and 3.6.1
_LINEAR, _LINEAR_MIPMAPS, _REPEAT = 9729, 9987, 10497  # section 5.26

PACKED: Final = ("occlusion", "roughness", "metallic")
"""The maps in the channels R, G and B of one image (sections 3.9.2 and 3.9.3)."""


def paths(maps_names: tuple[str, ...], folder: Path, name: str) -> dict[str, Path]:
    """The files that `write` makes: "gltf", and "orm" where there is a map for it."""
    packed = {"orm": folder / f"{name}_orm.png"} if set(PACKED) & set(maps_names) else {}
    return {"gltf": folder / f"{name}.gltf", **packed}


def write(maps: Maps, folder: Path, name: str) -> Path:
    """Write NAME.gltf, a square with the material of `maps`, and NAME_orm.png, beside the files that
    `writing.write` made of the same maps in `folder`; returns the glTF file. Heights are not part of glTF.

    Raises UserError if a file cannot be written.
    """
    made = paths(maps.names, folder, name)
    if "orm" in made:
        image.write_data(made["orm"], packed(maps))
    text = json.dumps(document(maps, name), indent=2)
    with atomic_write(made["gltf"]) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return made["gltf"]


def packed(maps: Maps) -> Array:
    """Occlusion, roughness and metallic as one image (3, H, W); 1, 1 and 0 for those that are missing."""
    missing = {"occlusion": 1.0, "roughness": 1.0, "metallic": 0.0}
    planes = [maps[one] if one in maps else np.full((1, *maps.size), missing[one]) for one in PACKED]
    return np.concatenate(planes).astype(np.float32)


def document(maps: Maps, name: str) -> dict[str, Any]:
    """The JSON of the glTF file."""
    beside = files(maps.names, Path(), name)
    images = [beside["color"].name]
    material: dict[str, Any] = {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0},
            "metallicFactor": 1.0 if "metallic" in maps else 0.0,
            "roughnessFactor": 1.0,
        },
    }
    if "normal" in maps:
        material["normalTexture"] = {"index": len(images)}
        images.append(beside["normal"].name)
    if set(PACKED) & set(maps.names):
        place = {"index": len(images)}
        images.append(paths(maps.names, Path(), name)["orm"].name)
        if {"roughness", "metallic"} & set(maps.names):
            material["pbrMetallicRoughness"]["metallicRoughnessTexture"] = place
        if "occlusion" in maps:
            material["occlusionTexture"] = place
    sampler = {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAPS, "wrapS": _REPEAT, "wrapT": _REPEAT}
    return {
        "asset": {"version": "2.0", "generator": f"texturenets {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "materials": [material],
        "samplers": [sampler],
        "images": [{"uri": quote(one)} for one in images],
        "textures": [{"sampler": 0, "source": number} for number in range(len(images))],
        **_square(maps.size),
    }


def _square(size: tuple[int, int]) -> dict[str, Any]:
    """The mesh: a rectangle in the shape of the maps, its longer side 1, that faces z."""
    height, width = (side / max(size) for side in size)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    positions = np.column_stack([corners * [width / 2, height / 2], np.zeros(4)]).astype("<f4")
    normals = np.tile([0, 0, 1], (4, 1)).astype("<f4")
    places = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "<f4")  # of the image: rows go down (section 3.9.2)
    indices = np.array([0, 1, 2, 0, 2, 3], "<u2")
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    data = b""
    for array, kind in ((positions, "VEC3"), (normals, "VEC3"), (places, "VEC2"), (indices, "SCALAR")):
        whole = array.dtype.kind == "u"
        views.append(
            {
                "buffer": 0,
                "byteOffset": len(data),
                "byteLength": array.nbytes,
                "target": _INDICES if whole else _ARRAY,
            }
        )
        accessors.append(
            {
                "bufferView": len(views) - 1,
                "componentType": _UNSIGNED_SHORT if whole else _FLOAT,
                "count": len(array),
                "type": kind,
            }
        )
        data += array.tobytes()
    accessors[0] |= {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()}  # section 3.7.2.1
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    primitive = {"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "indices": 3, "material": 0}
    return {
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"uri": uri, "byteLength": len(data)}],
    }
