"""A picture of a material: a lit sphere and plane.

The reflection is that of glTF 2.0, appendix B: Lambert, and GGX with the Smith visibility term (Walter et al.,
"Microfacet models for refraction through rough surfaces", EGSR 2007) and Schlick's Fresnel term; one directional
light and the same light from everywhere. Heights are not seen.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets import image
from texturenets.image.exr import encoded, linear
from texturenets.materials.maps import Array, Maps, channels, count

SIDE: Final = 384
"""The picture is twice as wide as high: this many pixels."""

_FINE = 2  # computed so many times as large and averaged
_REPEATS = 1.5  # of the maps across the sphere's front and along the plane's near edge
_LIGHT: Final = np.array([-0.5, 0.62, 0.6]) / np.linalg.norm([-0.5, 0.62, 0.6])
_STRENGTH, _AMBIENT = 2.6, 0.25  # of the light, in units of pi, and of that from everywhere
_BACKGROUND = 0.16  # sRGB
_DIELECTRIC = 0.04  # reflectance at normal incidence (glTF 2.0, appendix B.2)

Vectors = NDArray[np.float64]


def render(maps: Maps) -> Array:
    """The picture of `maps`: (1, 3, SIDE, 2 SIDE), sRGB in [0, 1]."""
    fine = SIDE * _FINE
    # About as many pixels as are seen: what is much smaller would flicker.
    longer = max(maps.size)
    scale = min(1.0, fine / _REPEATS / longer)
    height, width = (max(1, round(side * scale)) for side in maps.size)
    values = image.resize(maps.values, (height, width))
    shown = np.concatenate([_sphere(values, maps.names, fine), _plane(values, maps.names, fine)], 1)
    averaged = shown.reshape(SIDE, _FINE, 2 * SIDE, _FINE, 3).mean((1, 3))
    picture = encoded(averaged.clip(0, 1).astype(np.float32))
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def _sphere(values: Array, names: tuple[str, ...], side: int) -> Vectors:
    """Linear light (side, side, 3) of a sphere seen from afar."""
    at = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(at / 0.9, -at / 0.9)
    inside = x**2 + y**2 < 1
    z = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    around, up = np.arctan2(x, z) / np.pi, np.arcsin(y.clip(-1, 1)) / np.pi  # -1/2 to 1/2 on the front
    normal = np.stack([x, y, z], -1)
    right = np.stack([z, np.zeros_like(x), -x], -1)
    right /= np.maximum(np.linalg.norm(right, axis=-1, keepdims=True), 1e-6)
    frame = np.stack([right, np.cross(normal, right), normal], -1)
    view = np.broadcast_to([0.0, 0.0, 1.0], normal.shape)
    light = _shade(_sampled(values, around * _REPEATS, -up * _REPEATS), names, frame, view)
    return np.where(inside[..., None], light, linear(np.full(1, _BACKGROUND, np.float32)))


def _plane(values: Array, names: tuple[str, ...], side: int) -> Vectors:
    """Linear light (side, side, 3) of a square that lies before the viewer, by a ray for each pixel."""
    at = (np.arange(side) + 0.5) / side * 2 - 1
    across, down = np.meshgrid(at, at)
    eye, tilt = np.array([0.0, 1.9, 1.75]), np.arctan2(1.9, 1.75)
    # The camera looks at the middle of the square.
    forward = np.array([0, -np.sin(tilt), -np.cos(tilt)])
    upward = np.array([0, np.cos(tilt), -np.sin(tilt)])
    ray = forward + 0.56 * (across[..., None] * [1, 0, 0] - down[..., None] * upward)
    place = eye + ray * (-eye[1] / np.minimum(ray[..., 1:2], -1e-6))
    inside = (np.abs(place[..., 0]) < 1) & (np.abs(place[..., 2]) < 1)
    frame = np.broadcast_to(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), (side, side, 3, 3))
    view = -ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    sampled = _sampled(values, place[..., 0] / 2 * _REPEATS, place[..., 2] / 2 * _REPEATS)
    return np.where(
        inside[..., None], _shade(sampled, names, frame, view), linear(np.full(1, _BACKGROUND, np.float32))
    )


def _sampled(values: Array, across: Vectors, down: Vectors) -> Vectors:
    """`values` (1, C, H, W), which repeat, at places in units of their longer side: (rows, columns, C), bilinear."""
    height, width = values.shape[2:]
    x, y = across * max(height, width) - 0.5, down * max(height, width) - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total: Any = 0.0
    for row, share_down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share in ((left, 1 - (x - left)), (left + 1, x - left)):
            total = total + values[0][:, row % height, column % width] * (share_down * share)
    return np.moveaxis(np.asarray(total, np.float64), 0, -1)


def _shade(sampled: Vectors, names: tuple[str, ...], frame: Vectors, view: Vectors) -> Vectors:
    """Linear light (rows, columns, 3) of the maps' values (rows, columns, C) where the surface has a `frame` of
    tangent, bitangent and normal, (rows, columns, 3, 3), and is seen from `view`."""
    assert sampled.shape[-1] == count(names)
    places = channels(names)

    def one(name: str, default: float) -> Vectors:
        return sampled[..., places[name]] if name in places else np.full((*sampled.shape[:2], 1), default)

    albedo = linear(sampled[..., places["color"]].astype(np.float32)).astype(np.float64)
    bump = 2 * sampled[..., places["normal"]] - 1 if "normal" in places else np.array([0.0, 0, 1])
    normal = (frame @ np.broadcast_to(bump, view.shape)[..., None])[..., 0]
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    rough, metal, occlusion = one("roughness", 0.6), one("metallic", 0.0), one("occlusion", 1.0)
    base = _DIELECTRIC * (1 - metal) + albedo * metal
    half = view + _LIGHT
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    to_light, to_view = _dot(normal, _LIGHT), np.maximum(_dot(normal, view), 1e-3)
    fresnel = base + (1 - base) * (1 - _dot(half, view)) ** 5
    mirrored = fresnel * _ggx(_dot(normal, half), to_light, to_view, np.maximum(rough, 0.05) ** 2)
    scattered = (1 - fresnel) * (1 - metal) * albedo / np.pi
    direct = np.pi * _STRENGTH * (scattered + mirrored) * to_light
    light: Vectors = direct + _AMBIENT * occlusion * (albedo * (1 - metal) + base * (1 - rough))
    return light


def _ggx(to_half: Vectors, to_light: Vectors, to_view: Vectors, alpha: Vectors) -> Vectors:
    """The distribution of facets times the visibility term (glTF 2.0, appendix B.3.2)."""
    squared = alpha**2
    facets = squared / (np.pi * (to_half**2 * (squared - 1) + 1) ** 2)
    seen = to_light * np.sqrt(to_view**2 * (1 - squared) + squared)
    lit = to_view * np.sqrt(to_light**2 * (1 - squared) + squared)
    made: Vectors = facets * 0.5 / np.maximum(seen + lit, 1e-6)
    return made


def _dot(one: Vectors, other: Vectors) -> Vectors:
    """Products of vectors, 0 where they point away from each other: (rows, columns, 1)."""
    product: Vectors = np.maximum((one * other).sum(-1, keepdims=True), 0)
    return product
