"""16 bits and floats a channel: kept from file to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from test_image import p3_profile, png

from texturenets import image as tni
from texturenets.cli import main
from texturenets.errors import UserError
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.residual import Residual

cv2 = pytest.importorskip("cv2", reason="the extra `video` is not installed")
tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    spec = Residual(channels=8, blocks=1)
    torch.manual_seed(0)  # how many levels come back depends on the weights
    network_files.save(build(spec), Header(name="tiny", kind="style", generator=spec), path)
    return str(path)


def ramp() -> np.ndarray:
    """Every level of 16 bits, (256, 256, 3)."""
    return np.repeat(np.arange(65536, dtype=np.uint16).reshape(256, 256, 1), 3, 2)


def noise(count: int = 3, kind: Any = np.uint16) -> np.ndarray:
    values = np.random.default_rng(1).integers(0, 65536, (37, 41, count), np.uint16)
    return values if kind is np.uint16 else (values / 65535).astype(kind)


def stylize(photo: Path, out: Path, model: str, *flags: str) -> None:
    words = [str(photo), "-s", model, "--engine", "torch", "-o", str(out), *flags]
    assert main(["stylize", *words]) == 0


def write(path: Path, values: np.ndarray, **options: Any) -> None:
    if path.suffix == ".png":
        path.write_bytes(png(values, 6 if values.shape[2] == 4 else 2))
    else:
        tifffile.imwrite(path, values, photometric="rgb", metadata=None, **options)


def values_in(path: Path) -> np.ndarray:
    """What other readers find in a file."""
    if path.suffix == ".png":
        found: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        return np.asarray(
            cv2.cvtColor(found, cv2.COLOR_BGRA2RGBA if found.shape[2] == 4 else cv2.COLOR_BGR2RGB)
        )
    return np.asarray(tifffile.imread(path))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_ramp_of_16_bits_keeps_its_levels(tmp_path: Path, model: str, suffix: str) -> None:
    photo, out = tmp_path / f"a.{suffix}", tmp_path / f"out.{suffix}"
    write(photo, ramp())
    stylize(photo, out, model, "--strength", "0")
    result = values_in(out)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, ramp())
    stylize(photo, out, model)
    result = values_in(out)
    assert result.dtype == np.uint16
    assert len(np.unique(result)) > 2_000  # 8 bits have 256


@pytest.mark.parametrize("count", [3, 4])
def test_floats_come_back_as_floats(tmp_path: Path, model: str, count: int) -> None:
    values = noise(count, np.float32)
    write(tmp_path / "a.tif", values, **({"extrasamples": ["unassalpha"]} if count == 4 else {}))
    stylize(tmp_path / "a.tif", tmp_path / "out.tif", model, "--strength", "0")
    result = values_in(tmp_path / "out.tif")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, values, atol=1e-7)
    stylize(tmp_path / "a.tif", tmp_path / "out.png", model, "--strength", "0")
    assert values_in(tmp_path / "out.png").dtype == np.uint16


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"rowsperstrip": 5},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": 2, "rowsperstrip": 5},
        {"compression": "zlib", "predictor": 2, "byteorder": ">"},
    ],
)
@pytest.mark.parametrize("kind", [np.uint16, np.float32])
@pytest.mark.parametrize("count", [3, 4])
def test_tiffs_of_all_sorts(tmp_path: Path, options: dict[str, Any], kind: Any, count: int) -> None:
    if kind is np.float32:
        options = {name: value for name, value in options.items() if name != "predictor"}
    values = noise(count, kind)
    extra = {"extrasamples": ["unassalpha"]} if count == 4 else {}
    write(tmp_path / "a.tif", values, **options, **extra)
    picture = tni.read(tmp_path / "a.tif")
    assert picture.bits == 8 * values.itemsize
    expected = values / 65535 if kind is np.uint16 else values
    np.testing.assert_allclose(np.asarray(picture.pixels)[0].transpose(1, 2, 0), expected[..., :3], atol=1e-6)
    assert (picture.transparency is not None) == (count == 4)
    if count == 4:
        np.testing.assert_allclose(np.asarray(picture.transparency)[0, 0], expected[..., 3], atol=1e-6)


@pytest.mark.parametrize("predictor", ["none", "horizontal", "float"])
@pytest.mark.parametrize("compression", ["lzw", "deflate"])
def test_predictors_of_floats(tmp_path: Path, predictor: str, compression: str) -> None:
    pyvips = pytest.importorskip("pyvips")
    values = noise(3, np.float32)
    written = pyvips.Image.new_from_array(values).copy(interpretation="rgb")
    written.tiffsave(str(tmp_path / "a.tif"), compression=compression, predictor=predictor)
    picture = tni.read(tmp_path / "a.tif")
    np.testing.assert_allclose(np.asarray(picture.pixels)[0].transpose(1, 2, 0), values, atol=1e-7)


def test_grey_and_alpha_of_16_bits(tmp_path: Path) -> None:
    values = noise(2)
    (tmp_path / "a.png").write_bytes(png(values, 4))
    picture = tni.read(tmp_path / "a.png")
    np.testing.assert_allclose(np.asarray(picture.pixels)[0, 1], values[..., 0] / 65535, atol=1e-6)
    np.testing.assert_allclose(np.asarray(picture.transparency)[0, 0], values[..., 1] / 65535, atol=1e-6)


def test_associated_alpha(tmp_path: Path) -> None:
    """Colours that are multiplied by alpha in the file are divided by it."""
    colour, alpha = np.array([0.5, 0.25, 1.0]), 0.5
    for kind, most in ((np.uint16, 65535), (np.float32, 1)):
        values = (np.broadcast_to([*(colour * alpha), alpha], (8, 9, 4)) * most).astype(kind)
        write(tmp_path / "a.tif", values, extrasamples=["assocalpha"])
        picture = tni.read(tmp_path / "a.tif")
        np.testing.assert_allclose(np.asarray(picture.pixels)[0, :, 3, 4], colour, atol=1e-4)
        np.testing.assert_allclose(np.asarray(picture.transparency)[0, 0, 3, 4], alpha, atol=1e-4)


def test_a_hidden_colour_does_not_seep_in(tmp_path: Path) -> None:
    values = np.full((16, 16, 4), 65535, np.uint16)
    values[:, 8:] = 0, 0, 0, 0
    write(tmp_path / "a.png", values)
    picture = tni.read(tmp_path / "a.png", longer=6)
    seen = np.asarray(picture.transparency)[0, 0] > 0.01
    assert np.asarray(picture.pixels)[0][:, seen].min() > 0.99


def test_profile_of_16_bits(tmp_path: Path) -> None:
    """Through the table colours are those of 8 bits, and there are as many levels as in the file."""
    data = p3_profile()
    values = ramp()[::4]
    values[..., 1] //= 2
    write(tmp_path / "deep.tif", values, iccprofile=data)
    Image.fromarray((values >> 8).astype(np.uint8)).save(tmp_path / "flat.png", icc_profile=data)
    deep, flat = (np.asarray(tni.read(tmp_path / name).pixels) for name in ("deep.tif", "flat.png"))
    assert np.abs(deep - flat).max() < 2.5 / 255
    assert len(np.unique(deep[0, 1])) > 5_000


def test_metadata_of_deep_files(tmp_path: Path, model: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.LensModel: "50 mm"}
    rgb = np.random.default_rng(0).random((1, 3, 18, 24), np.float32)
    for suffix, bits in (("png", 16), ("tif", 16), ("tif", 32)):
        picture = tni.Picture(rgb, None, exif.tobytes(), bits, dpi=(300, 300), texts={"Title": "深"})
        tni.write(tmp_path / f"a.{suffix}", picture)
        again = tni.read(tmp_path / f"a.{suffix}")
        assert again.bits == bits
        assert again.dpi == pytest.approx((300, 300), abs=0.1)
        assert suffix == "tif" or again.texts == {"Title": "深"}
        found = Image.Exif()
        assert again.exif is not None
        found.load(again.exif)
        assert found[ExifTags.Base.Artist] == "Ada"
        assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] == "50 mm"
        np.testing.assert_allclose(np.asarray(again.pixels), rgb, atol=1 / 65535)


def test_nothing_is_said_where_nothing_is_lost(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.png", noise())
    for name in ("out.png", "out.tif"):
        stylize(tmp_path / "a.png", tmp_path / name, model)
        assert capsys.readouterr().err == ""
    write(tmp_path / "f.tif", noise(3, np.float32))
    stylize(tmp_path / "f.tif", tmp_path / "out.png", model)
    assert "f.tif holds 32 bits per channel, of which results have 16" in capsys.readouterr().err


def test_refusals(tmp_path: Path) -> None:
    bright = noise(3, np.float32) * 4
    write(tmp_path / "a.tif", bright)
    with pytest.raises(UserError, match=r"a\.tif: its values go from 0\S* to 3\S*, not 0 to 1; scale"):
        tni.read(tmp_path / "a.tif")
    write(tmp_path / "b.tif", noise(3, np.float32), tile=(16, 16))
    with pytest.raises(UserError, match=r"b\.tif: its floats lie in tiles"):
        tni.read(tmp_path / "b.tif")
    for name, kind in (("c.tif", np.float32), ("c.tif", np.uint16), ("c.png", np.uint16)):
        write(tmp_path / name, noise(3, kind))
        data = (tmp_path / name).read_bytes()
        at = len(data) // 2
        (tmp_path / name).write_bytes(data[:at])
        with pytest.raises(UserError, match="damaged or cut short"):
            tni.read(tmp_path / name)
