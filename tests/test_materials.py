"""Materials: folders of maps in and out, glTF, the preview, the losses' triplets."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from programs import ROOT, loaded

from texturenets import image
from texturenets.errors import UserError
from texturenets.losses.material import MaterialObjective
from texturenets.losses.objective import build
from texturenets.materials import gltf, preview, reading, writing
from texturenets.materials.maps import CHANNELS, Maps, count, normals_of, ordered, with_unit_normals

SIZE = (40, 56)
NAMES = tuple(CHANNELS)


def values(name: str, seed: int = 0) -> NDArray[np.float32]:
    random = np.random.default_rng([seed, NAMES.index(name)])
    return random.random((CHANNELS[name], *SIZE), np.float32)


def made(*names: str) -> Maps:
    return Maps.of({name: values(name) for name in names})


def png(path: Path, array: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def grey(path: Path, size: tuple[int, int] = SIZE, value: int = 90) -> Path:
    return png(path, np.full(size, value, np.uint8))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("color.png", "color"),
        ("rock_basecolor.png", "color"),
        ("Rock035_2K-JPG_Color.jpg", "color"),
        ("rock_wall_diff_4k.jpg", "color"),
        ("T_Rock_BC.tga", "color"),
        ("T_Rock_D.png", "color"),
        ("Rock035_2K_NormalGL.png", "normal"),
        ("rock_wall_nor_gl_4k.exr", "normal"),
        ("rock-normal-opengl.png", "normal"),
        ("T_Rock_N.png", "normal"),
        ("Rock035_2K_NormalDX.png", "normal_dx"),
        ("rock_normal_directx.png", "normal_dx"),
        ("rock_nor_dx_1k.png", "normal_dx"),
        ("rock_rough.png", "roughness"),
        ("Rock035_2K_Displacement.png", "height"),
        ("rock_height_16bit.png", "height"),
        ("rockAmbientOcclusion.png", "occlusion"),
        ("rock_AO.png", "occlusion"),
        ("T_Rock_ORM.png", "orm"),
        ("rock_arm_2k.png", "orm"),
        ("rock_metallicRoughness.png", "metallicroughness"),
        ("metalness.png", "metallic"),
        ("n.png", None),
        ("Rock035.png", None),
        ("preview.png", None),
    ],
)
def test_names_say_which_map_a_file_is(name: str, kind: str | None) -> None:
    assert reading.kind_of(Path(name)) == kind


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    maps = made(*NAMES)
    files = writing.write(maps, tmp_path / "rock", name="rock")
    assert [file.name for file in files] == [
        f"rock_{name}.png" for name in ("basecolor", "normal", "roughness", "metallic", "height", "occlusion")
    ]
    again = reading.read(tmp_path / "rock")
    assert again.names == maps.names
    assert again.size == SIZE
    for name in NAMES:
        steps = 65535 if name == "height" else 255
        wanted = with_unit_normals(maps.values, maps.names)[0, 3:6] if name == "normal" else maps[name]
        assert np.abs(again[name] - wanted).max() <= 0.5 / steps + 1e-6, name
    with Image.open(tmp_path / "rock/rock_height.png") as height:
        assert height.mode == "I;16"
    with Image.open(tmp_path / "rock/rock_roughness.png") as roughness:
        assert roughness.mode == "L"


def test_the_beginning_of_names_is_a_material_too(tmp_path: Path) -> None:
    writing.write(made("color", "height"), tmp_path, name="rock")
    writing.write(made("color", "roughness"), tmp_path, name="wood")
    assert reading.is_material(tmp_path / "rock")
    assert reading.read(tmp_path / "rock").names == ("color", "height")
    assert reading.read(tmp_path / "wood", longer=28).size == (20, 28)
    assert not reading.is_material(tmp_path / "stone")
    assert not reading.is_material(tmp_path / "rock_basecolor.png")


def test_heights_are_floats_in_exr(tmp_path: Path) -> None:
    pytest.importorskip("OpenEXR")
    maps = made("color", "height")
    files = writing.write(maps, tmp_path, height_suffix=".exr")
    assert files[1] == tmp_path / "height.exr"
    np.testing.assert_array_equal(reading.read(tmp_path)["height"], maps["height"])
    with pytest.raises(UserError, match=r"`height_suffix` '.jpg' is not .png or .exr"):
        writing.write(maps, tmp_path, height_suffix=".jpg")


def test_written_normals_are_of_unit_length(tmp_path: Path) -> None:
    maps = made("color", "normal")
    maps.values[0, 3:6, :2] = 0.5  # of no length
    _, file = writing.write(maps, tmp_path)
    with Image.open(file) as picture:
        normals = np.asarray(picture, np.float64) / 255 * 2 - 1
    assert np.abs(np.linalg.norm(normals, axis=2) - 1).max() <= 1 / 127
    np.testing.assert_allclose(normals[:2], np.broadcast_to([0, 0, 1], normals[:2].shape), atol=1 / 255)


def test_normals_of_directx_are_turned(tmp_path: Path) -> None:
    png(tmp_path / "color.png", (values("color").transpose(1, 2, 0) * 255).astype(np.uint8))
    down = np.zeros((*SIZE, 3), np.uint8)
    down[:] = (128, 40, 200)
    png(tmp_path / "rock_normal_dx.png", down)
    np.testing.assert_allclose(reading.read(tmp_path)["normal"][:, 0, 0] * 255, (128, 215, 200), atol=1e-3)


def test_data_is_read_without_a_profile(tmp_path: Path) -> None:
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    ramp = np.tile(np.arange(56, dtype=np.uint8) * 4, (40, 1))
    Image.fromarray(np.stack([ramp] * 3, 2)).save(tmp_path / "rough.png", icc_profile=lab)
    np.testing.assert_allclose(image.read_data(tmp_path / "rough.png").pixels[0, 0] * 255, ramp, atol=1e-4)


def test_packed_images_are_three_maps(tmp_path: Path) -> None:
    png(tmp_path / "rock_color.png", (values("color").transpose(1, 2, 0) * 255).astype(np.uint8))
    orm = np.zeros((*SIZE, 3), np.uint8)
    orm[:] = (10, 20, 30)
    png(tmp_path / "rock_ORM.png", orm)
    maps = reading.read(tmp_path)
    assert maps.names == ("color", "roughness", "metallic", "occlusion")
    at = {name: round(float(maps[name][0, 0, 0]) * 255) for name in maps.names[1:]}
    assert at == {"occlusion": 10, "roughness": 20, "metallic": 30}


def _exr(path: Path, low: float, high: float) -> None:
    OpenEXR = pytest.importorskip("OpenEXR")
    ramp = np.linspace(low, high, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Y": ramp}) as file:
        file.write(str(path))


def _tiff(path: Path, low: float) -> None:
    Image.fromarray(np.full(SIZE, low, np.float32), "F").save(path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: grey(f / "rock_rough.png", (40, 57)), "57 x 40 pixels, and rock_color.png 56 x 40"),
        (
            lambda f: grey(f / "rock_gloss.png"),
            "rock_gloss.png: its name says no map of a material; names end in one of color",
        ),
        (
            lambda f: (grey(f / "rock_height.png"), grey(f / "rock_disp.jpg")),
            "has its height map twice, in rock_disp.jpg and rock_height.png",
        ),
        (
            lambda f: (grey(f / "rock_AO.png"), grey(f / "rock_ORM.png")),
            "has its occlusion map twice, in rock_AO.png and rock_ORM.png",
        ),
        (lambda f: (f / "rock_color.png").rename(f / "rock_rough.png"), "has no color map, only roughness"),
        (lambda f: (f / "rock_color.png").unlink(), "holds no images: a material is a folder of maps"),
        (lambda f: (f / "rock_ao.png").write_bytes(b"\x89PNG no"), "rock_ao.png"),
        (lambda f: _exr(f / "rock_height.exr", -0.5, 1), "its values go from -0.5 to 1, not 0 to 1"),
        (lambda f: _exr(f / "rock_height.exr", 0, 20), "its values go from 0 to 20, not 0 to 1"),
        (lambda f: _exr(f / "rock_height.exr", np.nan, 1), "(NaN)"),
        (lambda f: _tiff(f / "rock_height.tif", -1), "its grey values go from -1 to -1, not 0 to 1"),
        (lambda f: _tiff(f / "rock_height.tif", np.nan), "its grey values go from nan to nan, not 0 to 1"),
    ],
)
def test_bad_folders_are_told_in_one_line(tmp_path: Path, spoil: Callable[[Path], object], says: str) -> None:
    png(tmp_path / "rock_color.png", (values("color").transpose(1, 2, 0) * 255).astype(np.uint8))
    spoil(tmp_path)
    with pytest.raises(UserError) as error:
        reading.read(tmp_path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_maps_are_checked() -> None:
    with pytest.raises(UserError, match=r"the height map goes from -0.99\d+ to 0.99\d+, not 0 to 1"):
        Maps.of({"color": values("color"), "height": values("height") * 2 - 1})
    with pytest.raises(UserError, match="the height map is 10 x 40 pixels, and color is 56 x 40"):
        Maps.of({"color": values("color"), "height": values("height")[:, :, :10]})
    with pytest.raises(UserError, match="unknown map 'hight'; did you mean 'height'"):
        Maps.of({"color": values("color"), "hight": values("height")})
    assert ordered(["height", "color"]) == ("color", "height")
    assert (count(()), count(NAMES)) == (3, 10)


def test_normals_point_away_from_what_rises() -> None:
    rows, columns = np.mgrid[:6, :6].astype(float)
    right = normals_of(columns)[:, 3, 3] * 2 - 1
    np.testing.assert_allclose(right, np.array([-1, 0, 1]) / np.sqrt(2), atol=1e-6)
    down = normals_of(rows)[:, 3, 3] * 2 - 1  # rises downwards: the surface faces up
    np.testing.assert_allclose(down, np.array([0, 1, 1]) / np.sqrt(2), atol=1e-6)
    tile = np.sin(2 * np.pi * columns / 6)
    np.testing.assert_allclose(
        normals_of(np.roll(tile, 2, 1), tiles=True), np.roll(normals_of(tile, tiles=True), 2, 2), atol=1e-6
    )


def _check_gltf(path: Path) -> dict[str, Any]:
    """The checks of the Khronos validator that concern what is written here, from the specification's text."""
    data: dict[str, Any] = json.loads(path.read_text())
    assert data["asset"]["version"] == "2.0"
    buffers = []
    for buffer in data["buffers"]:
        head, _, text = buffer["uri"].partition(",")
        assert head == "data:application/octet-stream;base64"
        buffers.append(base64.b64decode(text))
        assert len(buffers[-1]) == buffer["byteLength"]
    widths = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}
    arrays = []
    for accessor in data["accessors"]:
        view = data["bufferViews"][accessor["bufferView"]]
        kind = np.dtype({5126: "<f4", 5123: "<u2"}[accessor["componentType"]])
        width = widths[accessor["type"]]
        assert view["byteOffset"] % kind.itemsize == 0
        assert view["byteOffset"] + view["byteLength"] <= data["buffers"][view["buffer"]]["byteLength"]
        assert accessor["count"] * width * kind.itemsize == view["byteLength"]
        raw = buffers[view["buffer"]][view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        arrays.append(np.frombuffer(raw, kind).reshape(-1, width))
    primitive = data["meshes"][data["nodes"][data["scenes"][data["scene"]]["nodes"][0]]["mesh"]][
        "primitives"
    ][0]
    position = primitive["attributes"]["POSITION"]
    assert data["accessors"][position]["min"] == arrays[position].min(0).tolist()
    assert data["accessors"][position]["max"] == arrays[position].max(0).tolist()
    np.testing.assert_allclose(np.linalg.norm(arrays[primitive["attributes"]["NORMAL"]], axis=1), 1)
    triangles = arrays[position][arrays[primitive["indices"]].reshape(-1, 3)]
    facing = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert (facing[:, 2] > 0).all()  # counter-clockwise: the front side
    for texture in data["textures"]:
        assert 0 <= texture["sampler"] < len(data["samplers"])
        assert (path.parent / unquote(data["images"][texture["source"]]["uri"])).is_file()
    material = data["materials"][primitive["material"]]
    for use in (material["pbrMetallicRoughness"], material):
        for key, value in use.items():
            if key.endswith("Texture"):
                assert 0 <= value["index"] < len(data["textures"])
            if key.endswith("Factor"):
                assert 0 <= value <= 1
    return data


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        return np.asarray(picture)


def test_gltf_has_the_maps_as_the_specification_wants_them(tmp_path: Path) -> None:
    maps = made(*NAMES)
    files = writing.write(maps, tmp_path, name="wet rock")
    file = gltf.write(maps, tmp_path, "wet rock")
    assert file == tmp_path / "wet rock.gltf"
    data = _check_gltf(file)
    (material,) = data["materials"]
    surface = material["pbrMetallicRoughness"]
    where = {
        name: unquote(data["images"][data["textures"][one["index"]]["source"]]["uri"])
        for name, one in {**surface, **material}.items()
        if name.endswith("Texture")
    }
    assert where == {
        "baseColorTexture": files[0].name,
        "normalTexture": files[1].name,
        "metallicRoughnessTexture": "wet rock_orm.png",
        "occlusionTexture": "wet rock_orm.png",
    }
    packed = _pixels(tmp_path / "wet rock_orm.png")
    for channel, name in enumerate(("occlusion", "roughness", "metallic")):
        np.testing.assert_array_equal(packed[..., channel], np.rint(maps[name][0] * 255))
    assert (surface["metallicFactor"], surface["roughnessFactor"]) == (1, 1)


def test_gltf_without_some_maps(tmp_path: Path) -> None:
    for names in (("color",), ("color", "roughness"), ("color", "normal", "occlusion")):
        maps, folder = made(*names), tmp_path / "-".join(names)
        writing.write(maps, folder, name="a")
        data = _check_gltf(gltf.write(maps, folder, "a"))
        surface = data["materials"][0]["pbrMetallicRoughness"]
        assert surface["metallicFactor"] == 0
        assert ("metallicRoughnessTexture" in surface) == ("roughness" in names)
        assert (folder / "a_orm.png").exists() == (len(names) > 1)


def flat(**maps: float | tuple[float, ...]) -> Maps:
    return Maps.of(
        {
            name: np.broadcast_to(np.reshape(v, (-1, 1, 1)), (CHANNELS[name], 16, 16))
            for name, v in maps.items()
        }
    )


def test_the_preview_is_lit_by_the_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    scale = preview.SIDE // 96
    monkeypatch.setattr(preview, "SIDE", 96)
    size = (preview.SIDE, 2 * preview.SIDE)
    rough = preview.render(flat(color=(0.5, 0.5, 0.5), normal=(0.5, 0.5, 1), roughness=1.0))
    assert rough.shape == (1, 3, *size)
    assert np.isfinite(rough).all()
    sphere = rough[0, 0, :, : preview.SIDE]
    assert sphere[0, 0] == pytest.approx(0.16, abs=1e-3)  # the background
    assert (
        sphere[110 // scale, 120 // scale] > 1.5 * sphere[280 // scale, 270 // scale] > 0.1
    )  # the light comes from the left above
    shiny = preview.render(flat(color=(0.5, 0.5, 0.5), roughness=0.2))[0, 0, :, : preview.SIDE]
    assert shiny.max() > sphere.max() + 0.1
    blue = preview.render(flat(color=(0.1, 0.1, 0.9), metallic=1.0, roughness=0.5))
    assert blue[0, 2].mean() > 1.5 * blue[0, 0].mean()
    # The plane's light is that of the reflection's formula: n = y, the light's share of it, no mirroring to speak of.
    plane = preview.render(flat(color=(1, 1, 1), normal=(0.5, 0.5, 1), roughness=1.0))
    assert plane[0, 0, 250 // scale, 3 * preview.SIDE // 2] > 0.9


def test_losses_see_all_triplets_and_each_has_its_own_targets() -> None:
    class Mean(torch.nn.Module):
        layers = ("squeezenet1_0:conv1",)

        def forward(self, x: torch.Tensor, layers: Any = None, tap: Any = None) -> dict[str, torch.Tensor]:
            return {"squeezenet1_0:conv1": tap("squeezenet1_0:conv1", x) if tap else x}

    import tiny

    settings = tiny.settings(("squeezenet1_0:conv1",))
    exemplar = torch.from_numpy(made("color", "normal", "roughness", "height").values)
    objective = MaterialObjective(
        Mean(),  # type: ignore[arg-type]
        build(settings),
        [exemplar],
        whole=(0, 3),
        joint_weight=1.0,
    )
    seen = {objective.triplet(step, slot) for step in range(200) for slot in range(4)}
    assert len(seen) == 56
    assert [objective.triplet(7, slot) for slot in (1, 3, 5)] == [(0, 1, 2), (3, 4, 5), (0, 1, 2)]
    from texturenets.losses import Targets

    same = objective(exemplar.repeat(4, 1, 1, 1), Targets(step=torch.tensor(3)), range(4))
    assert set(same) == {"style/squeezenet1_0:conv1", "joint"}
    assert max(float(value) for value in same.values()) < 1e-9
    # The same values, but one map moved: each channel's distribution stays, what lies together does not.
    moved = torch.cat([exemplar[:, :7], exemplar[:, 7:].roll(9, 3)], 1)
    assert float(objective(moved, Targets(), range(1))["joint"]) < 0.1  # noise is not in register anyway
    swapped = exemplar[:, [0, 1, 2, 3, 4, 5, 7, 6]]
    assert float(objective(swapped + 0.2, Targets(), range(1))["joint"]) > 0.05


def test_the_example_has_four_maps_that_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    maps = loaded(ROOT / "examples/stones.py", "stones").stones(64, across=4)
    assert (maps.names, maps.size) == (("color", "normal", "roughness", "height"), (64, 64))
    for axis in (2, 3):
        steps = np.abs(np.diff(maps.values, axis=axis)).mean((0, 1, 5 - axis))
        seam = np.abs(maps.values.take(0, axis) - maps.values.take(-1, axis)).mean()
        assert seam < 1.5 * steps.max()  # a joint lies along the edge
    lengths = np.linalg.norm(2 * maps["normal"] - 1, axis=0)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
