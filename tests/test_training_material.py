"""A folder of maps becomes a network that draws all of them: training, `sample`, Python, engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray
from PIL import Image

from texturenets import loading, textures
from texturenets.cli import main
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.materials import writing
from texturenets.materials.maps import Maps, normals_of
from texturenets.materials.material import Material

NAMES = ("color", "normal", "roughness", "height")


def exemplar(side: int = 48) -> Maps:
    """Waves, from which all maps are made, that tile."""
    rows, columns = np.mgrid[:side, :side] * 2 * np.pi / side
    height = 0.5 + 0.2 * np.sin(3 * columns) + 0.2 * np.sin(2 * rows + columns)
    color = np.stack([height, 1 - height, 0.3 + 0.3 * height])
    normal = normals_of(height * 6, tiles=True)
    return Maps.of({"color": color, "normal": normal, "roughness": 1 - height[None], "height": height[None]})


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    studio = tiny.Studio(tmp_path_factory.mktemp("studio"), photos=1)
    writing.write(exemplar(), studio.root / "waves", name="waves")
    return studio


@pytest.fixture(scope="module")
def waves(studio: tiny.Studio) -> tiny.Result:
    """A material of two steps."""
    result = studio.texture(
        style=studio.root / "waves", image_size=32, style_size=48, output=studio.root / "waves.safetensors"
    )
    assert result.status == 0, result.error
    return result


@pytest.fixture
def here(waves: tiny.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; what is drawn at least, and cut, is small."""
    monkeypatch.setattr(textures, "MIN_SAMPLE_SIDE", 32)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sample(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["sample", *words, "--engine", "torch"])
    output = capsys.readouterr()
    return status, output.out, output.err


def pixels(path: Path) -> NDArray[np.float64]:
    with Image.open(path) as picture:
        return np.asarray(picture, np.float64)


def test_one_network_learns_all_maps(waves: tiny.Result) -> None:
    header = waves.header
    assert (header.kind, header.maps) == ("material", NAMES)
    assert header.generator["outputs"] == 8
    assert header.training["styles"] == [
        f"waves_{n}.png" for n in ("basecolor", "normal", "roughness", "height")
    ]
    assert {"joint", "style/squeezenet1_0:conv1"} == {*waves.losses} - {"style/squeezenet1_0:fire2"}
    with Image.open(waves.folder / "pictures/latest.jpg") as picture:
        assert picture.size == (2 * 32, 4 * 32)  # a row for each map


def test_a_folder_of_a_color_map_alone_is_learned(studio: tiny.Studio) -> None:
    folder = studio.root / "plain"
    folder.mkdir()
    Image.open(next((studio.root / "waves").glob("*color*"))).save(folder / "plain_color.png")
    result = studio.texture(style=folder, image_size=32, style_size=48)
    assert result.status == 0, result.error


def test_a_material_is_resumed_as_if_never_interrupted(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"style": studio.root / "waves", "image_size": 32, "style_size": 48, "steps": 3}
    whole = studio.texture(**flags)
    model = studio.root / "stopped.safetensors"
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 2)
        assert studio.texture(output=model, **flags).status == 130
    last = studio.texture("--resume", output=model, **flags)
    assert last.status == 0, last.error
    assert all((last.weights[name] == value).all() for name, value in whole.weights.items())


def test_parts_of_a_batch_see_the_same_channels(studio: tiny.Studio) -> None:
    flags = {"style": studio.root / "waves", "image_size": 32, "style_size": 48, "steps": 1}
    whole, parts = (studio.texture(accumulate=n, **flags).losses for n in (1, 2))
    assert parts == pytest.approx(whole, rel=1e-4)


def test_what_cannot_be_learned_is_told_in_one_line(studio: tiny.Studio, waves: tiny.Result) -> None:
    folder = studio.root / "waves"
    writing.write(Maps(("color",), exemplar().values[:, :3]), studio.root / "colors", name="colors")
    for style, flags, says in (
        ([folder, studio.painting], {}, "painting.png is an image, and"),
        ([folder, studio.root / "colors"], {}, "colors has the maps color, and"),
        (folder, {"generator": "pyramid", "set": []}, "--generator pyramid draws the three channels"),
        (folder, {"diversity_weight": 1}, "--diversity-weight compares images"),
        (studio.painting, {"set": ["channels=6,4,4", "outputs=5"]}, "draws 5 channels, and an image has 3"),
        (studio.painting, {"init": str(waves.model)}, "is a material, and what is trained here is a texture"),
        (studio.root, {}, "painting.png: its name says no map"),
    ):
        result = studio.texture(style=style, image_size=32, **flags)
        assert (result.status, result.error.count("\n")) == (2, 1), result.error
        assert says in result.error
    error = tiny.refused("train", "style", str(folder), "--content", str(studio.photos))
    assert "is a folder, not an image" in error


def test_samples_are_folders_of_maps(
    here: Path, waves: tiny.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(waves.model)
    assert sample(capsys, model, "--size", "41x33") == (0, "waves-0\n", "")
    names = sorted(file.name for file in Path("waves-0").iterdir())
    assert names == [f"waves_{n}.png" for n in ("basecolor", "height", "normal", "roughness")]
    for name in names:
        assert pixels(Path("waves-0") / name).shape[:2] == (33, 41)
    normals = pixels(Path("waves-0/waves_normal.png")) / 255 * 2 - 1
    assert np.abs(np.linalg.norm(normals, axis=2) - 1).max() <= 1 / 127
    status, out, _ = sample(capsys, model, "--size", "32", "--preview", "--gltf", "-o", "rock/", "--json")
    assert status == 0
    assert json.loads(out)["result"] == "rock"
    made = {file.name for file in Path("rock").iterdir()}
    assert made - set(names) == {"preview.png", "waves.gltf", "waves_orm.png"}
    uris = [one["uri"] for one in json.loads(Path("rock/waves.gltf").read_text())["images"]]
    assert set(uris) <= made
    assert sample(capsys, model, "--size", "32", "--count", "2", "-o", "many")[1] == "many/0000\nmany/0001\n"
    one = pixels(Path("many/0000/waves_height.png"))
    np.testing.assert_array_equal(one, pixels(Path("rock/waves_height.png")))
    assert (one != pixels(Path("many/0001/waves_height.png"))).any()


def test_tiles_wrap_around_exactly(here: Path, waves: tiny.Result) -> None:
    """A tile of noise that is drawn twice side by side is the tile, twice, in every map."""
    material = loading.load_drawn(waves.model, EngineOptions("torch", "cpu"))
    tile = material.draw(32, 32, 3, tileable=True)
    maps = [np.tile(one, (1, 1, 2, 2)) for one in material._noise([3], (32, 32))]
    four = material._drawn(maps, 64, 64, True)
    np.testing.assert_allclose(four, np.tile(tile, (1, 1, 2, 2)), atol=2e-5)


def test_python_and_engines_draw_the_same_maps(here: Path, waves: tiny.Result) -> None:
    material = loading.load(waves.model, "cpu", engine="torch")
    assert isinstance(material, Material)
    maps = material.sample(40, seed=2)
    assert (maps.names, maps.size) == (NAMES, (40, 40))
    np.testing.assert_array_equal(maps["height"], material.draw(40, 40, 2)[0, 7:])
    assert [len(some) for some in (material.sample(32, count=2),)] == [2]
    onnx = loading.load(waves.model, "cpu", engine="onnx")
    np.testing.assert_allclose(onnx.draw(40, 40, 2), maps.values, atol=2e-3)


def test_flags_that_do_not_go_together(
    here: Path, waves: tiny.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(waves.model)
    Path("file").write_text("")
    for words, says in (
        (["-o", "rock.png"], "--output rock.png: the maps of a material go into a folder: say -o rock/"),
        (["-o", "file"], "go into a folder"),
        (["--sheet"], "whose samples are folders of maps: leave out --sheet"),
        (["--to-seed", "5"], "leave out --sheet, --to-seed and --mask"),
        (["--quality", "50"], "--quality 50 is for JPEG"),
    ):
        status, out, error = sample(capsys, model, *words)
        assert (status, out, error.count("\n")) == (2, "", 1), error
        assert says in error
    with pytest.raises(UserError, match="is a material, which draws several maps"):
        loading.load_texture(waves.model)
    with pytest.raises(UserError, match="is a material model, which generates images from noise"):
        loading.load_style(waves.model)
