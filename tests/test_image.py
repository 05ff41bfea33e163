"""Images in and out: every mode, orientation, profiles, damage, and that files are whole or not there."""

from __future__ import annotations

import errno
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, ImageCms, features
from pngfile import chunk

import texturenets
from texturenets import image as tni
from texturenets.errors import UserError
from texturenets.image import array_conversion, formats

ROUNDING = 0.5 / 255 + 1e-6


def smooth(height: int, width: int) -> np.ndarray:
    """A colourful image without sharp edges, (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = [np.sin(5 * x + 1), np.cos(4 * y), np.sin(3 * x + 6 * y)]
    return np.asarray(np.rint(np.stack(planes, -1) * 110 + 128), np.uint8)


def pixels(picture: tni.Picture) -> np.ndarray:
    """(H, W, 3) in 0..255, not rounded."""
    assert picture.rgb.dtype == torch.float32
    assert picture.rgb.is_contiguous()
    return picture.rgb[0].permute(1, 2, 0).numpy().astype(np.float64) * 255


def alpha_of(picture: tni.Picture) -> np.ndarray:
    assert picture.alpha is not None
    return picture.alpha[0, 0].numpy().astype(np.float64) * 255


def png(array: np.ndarray, colour: int, bits: int = 16, extra: bytes = b"") -> bytes:
    """A PNG file written from its specification: what Pillow cannot write."""
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in array)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = chunk(b"tRNS", extra) if extra else b""
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ---- Profiles, built from the ICC specification --------------------------------------------------------

D50 = (0.9642, 1.0, 0.8249)
P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))  # R, G, B; D50
SRGB = np.array([(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]).T


def profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    def fixed(values: tuple[float, ...]) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(D50), **tags}
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", at + len(data), len(content))
        data += padded
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"\0" * 4, 0x02400000, kind, space, pcs)
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + fixed(D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def p3_profile(exponent: float = 2.2) -> bytes:
    tags = {name: b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in xyz)
            for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), P3, strict=True)}  # fmt: skip
    return profile(
        b"RGB ", b"mntr", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(exponent))
    )


def cmyk_profile() -> bytes:
    """Ink to Lab: L falls with K alone, a rises with M, b rises with Y; C does nothing."""
    nodes = bytearray()
    for corner in range(16):
        _, m, y, k = ((corner >> shift) & 1 for shift in (3, 2, 1, 0))
        nodes += bytes((0 if k else 255, 128 + 40 * m, 128 + 30 * y))
    identity = b"".join(struct.pack(">i", 65536 * (i % 4 == 0)) for i in range(9))
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + bytes(nodes) + ramp * 3
    return profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": table})


def srgb_curve(linear: np.ndarray | float) -> np.ndarray:
    """IEC 61966-2-1, linear light to values, clipped."""
    light = np.clip(linear, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def lab_to_srgb(lightness: float, a: float, b: float) -> np.ndarray:
    """CIE 1976 Lab (D50) to sRGB in [0, 1]."""
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return srgb_curve(np.linalg.solve(SRGB, xyz))


# ---- Reading: modes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm"])
def test_lossless_formats_give_the_very_pixels(tmp_path: Path, suffix: str) -> None:
    array = smooth(5, 7)
    Image.fromarray(array).save(tmp_path / f"a{suffix}")
    picture = tni.read(tmp_path / f"a{suffix}")
    assert picture.rgb.shape == (1, 3, 5, 7)
    assert picture.size == (5, 7)
    assert picture.alpha is None
    assert picture.exif is None
    assert picture.bits == 8
    np.testing.assert_allclose(pixels(picture), array, atol=1e-4)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_lossy_formats(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    array = smooth(40, 60)
    Image.fromarray(array).save(tmp_path / f"a{suffix}", quality=95)
    assert np.abs(pixels(tni.read(tmp_path / f"a{suffix}")) - array).mean() < 3


def test_grey_and_one_bit(tmp_path: Path) -> None:
    grey = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(grey).save(tmp_path / "l.png")
    np.testing.assert_allclose(pixels(tni.read(tmp_path / "l.png")), np.stack([grey] * 3, -1), atol=1e-4)
    bits = np.array([[True, False, True], [False, False, True]])
    Image.fromarray(bits).save(tmp_path / "1.png")
    np.testing.assert_allclose(
        pixels(tni.read(tmp_path / "1.png")), np.stack([bits * 255] * 3, -1), atol=1e-4
    )


def test_alpha_is_kept_and_colours_are_not_multiplied(tmp_path: Path) -> None:
    rgba = np.dstack([smooth(4, 6), np.linspace(0, 255, 24).astype(np.uint8).reshape(4, 6)])
    for suffix in ("png", "tiff", "webp"):
        extra: dict[str, Any] = {"lossless": True, "exact": True} if suffix == "webp" else {}
        Image.fromarray(rgba).save(tmp_path / f"a.{suffix}", **extra)
        picture = tni.read(tmp_path / f"a.{suffix}")
        np.testing.assert_allclose(pixels(picture), rgba[:, :, :3], atol=1e-4)
        np.testing.assert_allclose(alpha_of(picture), rgba[:, :, 3], atol=1e-4)
    la = Image.fromarray(rgba).convert("LA")
    la.save(tmp_path / "la.png")
    picture = tni.read(tmp_path / "la.png")
    np.testing.assert_allclose(alpha_of(picture), rgba[:, :, 3], atol=1e-4)
    np.testing.assert_allclose(pixels(picture)[:, :, 1], np.asarray(la)[:, :, 0], atol=1e-4)


def test_premultiplied_tiff_is_divided_by_its_alpha(tmp_path: Path) -> None:
    stored = np.empty((2, 3, 4), np.uint8)
    stored[:] = (100, 50, 25, 128)  # ink laid on thinly: the colour is (199, 100, 50)
    Image.fromarray(stored).save(tmp_path / "a.tif")
    data = (tmp_path / "a.tif").read_bytes()
    tag = struct.pack("<HHI", 338, 3, 1)  # ExtraSamples (TIFF 6.0, section 18), 2: alpha apart, 1: associated
    assert data.count(tag + b"\2") == 1
    (tmp_path / "a.tif").write_bytes(data.replace(tag + b"\2", tag + b"\1"))
    picture = tni.read(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels(picture)[0, 0], np.array([100, 50, 25]) * 255 / 128, atol=1)
    np.testing.assert_allclose(alpha_of(picture), 128, atol=1e-4)


def test_premultiplied_grey(tmp_path: Path) -> None:
    Image.new("LA", (2, 2), (60, 128)).save(tmp_path / "a.tif")
    tag = struct.pack("<HHI", 338, 3, 1)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data.replace(tag + b"\2", tag + b"\1"))
    picture = tni.read(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels(picture), 60 * 255 / 128, atol=1)
    np.testing.assert_allclose(alpha_of(picture), 128, atol=1e-4)


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 200, 0, 0, 0, 150])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "p.png")
    colours = [[255, 0, 0], [0, 200, 0], [0, 0, 150]]
    np.testing.assert_allclose(pixels(tni.read(tmp_path / "p.png"))[0], colours, atol=1e-4)
    image.save(tmp_path / "t.png", transparency=bytes([0, 100, 255]))
    picture = tni.read(tmp_path / "t.png")
    np.testing.assert_allclose(pixels(picture)[0], colours, atol=1e-4)
    np.testing.assert_allclose(alpha_of(picture)[0], [0, 100, 255], atol=1e-4)
    image.save(tmp_path / "g.gif", transparency=1)
    np.testing.assert_allclose(alpha_of(tni.read(tmp_path / "g.gif"))[0], [255, 0, 255], atol=1e-4)


@pytest.mark.parametrize(("mode", "value", "key"), [("L", 9, 9), ("RGB", (9, 8, 7), (9, 8, 7)), ("1", 0, 0)])
def test_one_colour_that_means_transparent(tmp_path: Path, mode: str, value: Any, key: Any) -> None:
    image = Image.new(mode, (2, 1), value)
    image.putpixel((1, 0), 255 if mode in "L1" else (255, 255, 255))
    image.save(tmp_path / "a.png", transparency=key)
    np.testing.assert_allclose(alpha_of(tni.read(tmp_path / "a.png"))[0], [0, 255], atol=1e-4)


def test_several_frames_give_the_first(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), c) for c in ((250, 0, 0), (0, 0, 250))]
    for suffix in ("gif", "tiff", "webp", "png"):
        extra: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **extra)
        np.testing.assert_allclose(pixels(tni.read(tmp_path / f"a.{suffix}"))[0, 0], [250, 0, 0], atol=1e-4)


# ---- Reading: depth ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_keeps_its_depth(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 1, 255, 256], [1000, 32768, 65534, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    picture = tni.read(tmp_path / f"a.{suffix}")
    assert picture.bits == 16
    for channel in picture.rgb[0].numpy():
        np.testing.assert_allclose(channel, values / 65535.0, atol=1e-7)
    longer = tni.read(tmp_path / f"a.{suffix}", longer=8)
    assert longer.rgb.shape == (1, 3, 4, 8)
    assert 0 <= longer.rgb.min() <= longer.rgb.max() <= 1


def test_colour_of_16_bits_keeps_its_depth(tmp_path: Path) -> None:
    values = (np.arange(4 * 5 * 4).reshape(4, 5, 4) * 811 % 65536).astype(np.uint16)
    for colour, channels in ((2, 3), (6, 4)):
        (tmp_path / "a.png").write_bytes(png(values[:, :, :channels], colour))
        picture = tni.read(tmp_path / "a.png")
        assert picture.bits == 16
        assert np.abs(pixels(picture) - values[:, :, :3] / 257.0).max() < 1e-4
        assert (picture.alpha is None) == (channels == 3)
    np.testing.assert_allclose(alpha_of(picture), values[:, :, 3] / 257.0, atol=1e-4)


def test_transparent_value_of_16_bits(tmp_path: Path) -> None:
    (tmp_path / "g.png").write_bytes(png(np.array([[500, 501]]), 0, extra=struct.pack(">H", 501)))
    np.testing.assert_allclose(alpha_of(tni.read(tmp_path / "g.png")), [[255, 0]], atol=1e-4)
    colours = np.array([[[1000, 2000, 3000], [40000, 50000, 60000]]])
    (tmp_path / "c.png").write_bytes(png(colours, 2, extra=struct.pack(">HHH", 40000, 50000, 60000)))
    np.testing.assert_allclose(alpha_of(tni.read(tmp_path / "c.png")), [[255, 0]], atol=1e-4)


def test_floats_and_whole_numbers_of_32_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.25, 1]], np.float32)).save(tmp_path / "f.tif")
    np.testing.assert_allclose(tni.read(tmp_path / "f.tif").rgb[0, 2, 0], [0, 0.25, 1])
    Image.fromarray(np.array([[0, 13107, 65535]], np.int32)).save(tmp_path / "i.tif")
    np.testing.assert_allclose(tni.read(tmp_path / "i.tif").rgb[0, 2, 0], [0, 0.2, 1])
    for values in (
        np.array([[0, 300.0]], np.float32),
        np.array([[0, np.nan]], np.float32),
        np.array([[-1]], np.int32),
    ):
        Image.fromarray(values).save(tmp_path / "bad.tif")
        with pytest.raises(UserError, match=r"bad\.tif: its grey values go from"):
            tni.read(tmp_path / "bad.tif")


# ---- Reading: colour -----------------------------------------------------------------------------------


def test_wide_gamut_goes_through_its_profile(tmp_path: Path) -> None:
    values = np.array(
        [[[200, 60, 40], [90, 90, 90], [30, 160, 70]], [[255, 255, 255], [0, 0, 0], [120, 100, 200]]]
    )
    expected = 255 * srgb_curve(((values / 255.0) ** 2.2) @ np.array(P3) @ np.linalg.inv(SRGB).T)
    assert np.abs(expected - values).max() > 15  # ignoring the profile would show
    for mode in ("RGB", "RGBA"):
        Image.fromarray(values.astype(np.uint8)).convert(mode).save(
            tmp_path / "a.png", icc_profile=p3_profile()
        )
        picture = tni.read(tmp_path / "a.png")
        assert np.abs(pixels(picture) - expected).max() < 2
        assert (picture.alpha is None) == (mode == "RGB")


def test_a_palette_goes_through_its_profile(tmp_path: Path) -> None:
    image = Image.new("P", (1, 1))
    image.putpalette([200, 60, 40])
    image.save(tmp_path / "a.png", icc_profile=p3_profile())
    expected = 255 * srgb_curve(
        (np.array([200, 60, 40]) / 255.0) ** 2.2 @ np.array(P3) @ np.linalg.inv(SRGB).T
    )
    assert np.abs(pixels(tni.read(tmp_path / "a.png"))[0, 0] - expected).max() < 2


@pytest.mark.parametrize("deep", [False, True])
def test_grey_goes_through_its_profile(tmp_path: Path, deep: bool) -> None:
    grey = np.array([[0, 16, 64, 128, 255]])
    expected = 255 * srgb_curve(grey / 255.0)  # the profile says: linear light
    array = (grey * 257).astype(np.uint16) if deep else grey.astype(np.uint8)
    linear = profile(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": gamma(1.0)})
    Image.fromarray(array).save(tmp_path / "a.png", icc_profile=linear)
    picture = tni.read(tmp_path / "a.png")
    assert np.abs(pixels(picture) - expected[..., None]).max() < 2
    assert picture.bits == (16 if deep else 8)


def test_grey_with_a_colour_profile(tmp_path: Path) -> None:
    Image.new("L", (1, 1), 100).save(tmp_path / "a.png", icc_profile=p3_profile(1.0))
    expected = 255 * srgb_curve(100 / 255)
    assert np.abs(pixels(tni.read(tmp_path / "a.png")) - expected).max() < 2


def test_inks_without_a_profile(tmp_path: Path) -> None:
    Image.new("CMYK", (2, 2), (255, 0, 0, 51)).save(tmp_path / "a.tif")
    np.testing.assert_allclose(pixels(tni.read(tmp_path / "a.tif"))[0, 0], [0, 204, 204], atol=1)


def test_inks_go_through_their_profile(tmp_path: Path) -> None:
    inks = [(255, 0, 0, 0), (0, 0, 0, 128), (0, 255, 0, 100), (77, 0, 255, 80)]
    for ink in inks:
        Image.new("CMYK", (1, 1), ink).save(tmp_path / "a.tif", icc_profile=cmyk_profile())
        _, m, y, k = (v / 255 for v in ink)
        expected = 255 * lab_to_srgb(100 * (1 - k), 40 * m, 30 * y)
        assert np.abs(pixels(tni.read(tmp_path / "a.tif"))[0, 0] - expected).max() < 4, ink


def test_lab(tmp_path: Path) -> None:
    Image.new("LAB", (1, 1), (153, 148, 138)).save(tmp_path / "a.tif")  # L = 60; a, b = 20, 10 from 128
    assert np.abs(pixels(tni.read(tmp_path / "a.tif"))[0, 0] - 255 * lab_to_srgb(60, 20, 10)).max() < 2


@pytest.mark.parametrize("data", [b"not a profile", cmyk_profile(), p3_profile()[:200]])
def test_profiles_that_do_not_fit_are_ignored(tmp_path: Path, data: bytes) -> None:
    array = smooth(4, 4)
    Image.fromarray(array).save(tmp_path / "a.png", icc_profile=data)
    np.testing.assert_allclose(pixels(tni.read(tmp_path / "a.png")), array, atol=1e-4)


# ---- Reading: metadata ---------------------------------------------------------------------------------


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """How a camera stores `upright` (EXIF 2.3, tag 274: where the 0th row and the 0th column lie)."""
    rows_first = {
        1: upright,  # row 0 at the top, column 0 at the left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
    }
    if orientation <= 4:
        return rows_first[orientation]
    turned = upright.swapaxes(0, 1)  # row 0 is now a side of the scene
    return {5: turned, 6: turned[::-1], 7: turned[::-1, ::-1], 8: turned[:, ::-1]}[orientation]


def exif_bytes(orientation: int | None = None) -> bytes:
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "Ada"
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.DateTimeOriginal: "2024:01:02 03:04:05",
        ExifTags.Base.ExifImageWidth: 4000,
        ExifTags.Base.ColorSpace: 65535,  # uncalibrated
        ExifTags.Base.MakerNote: b"private",
    }
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 31.0, 12.0)}
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    corners = {(0, 0): (250, 0, 0), (0, 39): (0, 250, 0), (23, 0): (0, 0, 250), (23, 39): (250, 250, 0)}
    for (y, x), colour in corners.items():
        upright[y // 12 * 16 : y // 12 * 16 + 8, x // 20 * 32 : x // 20 * 32 + 8] = colour
    file = Image.fromarray(np.ascontiguousarray(stored(upright, orientation)))
    extra = (
        {"lossless": True}
        if suffix == "webp"
        else {"subsampling": 0, "quality": 95}
        if suffix == "jpg"
        else {}
    )
    file.save(tmp_path / f"a.{suffix}", exif=exif_bytes(orientation), **extra)
    picture = tni.read(tmp_path / f"a.{suffix}")
    assert picture.rgb.shape == (1, 3, 24, 40)
    for (y, x), colour in corners.items():
        place = pixels(picture)[min(y, 20), min(x, 36)] if y or x else pixels(picture)[3, 3]
        assert np.abs(place - colour).max() < 25, (orientation, y, x)
    small = tni.read(tmp_path / f"a.{suffix}", longer=20)
    assert small.rgb.shape == (1, 3, 12, 20)
    assert picture.exif is not None
    carried = Image.Exif()
    carried.load(picture.exif)
    assert ExifTags.Base.Orientation not in carried


def test_metadata_is_carried_without_the_place_unless_asked(tmp_path: Path) -> None:
    for suffix in ("jpg", "png", "tiff", "webp"):
        Image.fromarray(smooth(8, 8)).save(tmp_path / f"a.{suffix}", exif=exif_bytes(6))
        for keep in (False, True):
            picture = tni.read(tmp_path / f"a.{suffix}", keep_gps=keep)
            for out in ("jpg", "png", "tiff", "webp"):
                tni.write(tmp_path / f"b.{out}", picture)
                with Image.open(tmp_path / f"b.{out}") as written:
                    exif = written.getexif()
                    photo, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
                    assert exif[ExifTags.Base.Artist] == "Ada"
                    assert exif.get(ExifTags.Base.Orientation, 1) == 1
                    assert photo[ExifTags.Base.DateTimeOriginal] == "2024:01:02 03:04:05"
                    assert ExifTags.Base.ExifImageWidth not in photo
                    assert photo[ExifTags.Base.ColorSpace] == 1  # sRGB
                    assert ExifTags.Base.MakerNote not in photo
                    assert (gps.get(1) == "N") == keep, (suffix, out)
                    assert (tuple(map(float, gps.get(2, ()))) == (48, 31, 12)) == keep


def test_damaged_metadata_does_not_cost_the_picture(tmp_path: Path) -> None:
    array = smooth(16, 16)
    for junk in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01"):
        Image.fromarray(array).save(tmp_path / "a.jpg", exif=junk, quality=95)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert tni.read(tmp_path / "a.jpg").rgb.shape == (1, 3, 16, 16)


def test_the_warnings_of_a_program_are_its_own() -> None:
    """Asked of a process of its own, since pytest sets filters anew."""
    program = (
        "import warnings; before = warnings.filters[:]; import texturenets.image, texturenets.image.reading; "
    )
    program += "assert not [one for one in warnings.filters if one not in before and 'PIL' in str(one)]"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_bits_of_whole_numbers(tmp_path: Path) -> None:
    for kind, bits in ((np.uint16, 16), (np.int32, 32)):
        Image.fromarray(np.full((9, 9), 1000, kind)).save(tmp_path / "a.tif")
        assert tni.read(tmp_path / "a.tif").bits == bits


def test_a_tensor_without_values_is_refused() -> None:
    for dtype in (torch.float32, torch.uint8):
        with pytest.raises(UserError, match="device meta holds no values"):
            tni.from_any(torch.empty(3, 8, 8, dtype=dtype, device="meta"))
    with pytest.raises(UserError, match="device meta holds no values"):
        array_conversion.check_batch(torch.empty(1, 3, 8, 8, device="meta"))


# ---- Reading: size -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "longer", "expected"), [((30, 60), 20, (10, 20)), ((60, 30), 90, (90, 45)),
                                                          ((1, 50), 10, (1, 10)), ((1, 1), 3, (3, 3))])  # fmt: skip
def test_longer_keeps_the_shape(
    tmp_path: Path, size: tuple[int, int], longer: int, expected: tuple[int, int]
) -> None:
    for suffix in ("png", "jpg"):
        Image.fromarray(smooth(*size)).save(tmp_path / f"a.{suffix}")
        assert tni.read(tmp_path / f"a.{suffix}", longer=longer).size == expected


@pytest.mark.parametrize(("height", "width"), [(600, 800), (601, 803), (807, 499)])
@pytest.mark.parametrize("longer", [50, 100, 201, 402])
def test_scaled_decoding_of_a_jpeg_does_not_show(
    tmp_path: Path, height: int, width: int, longer: int
) -> None:
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)).resize(
        (width, height)
    )
    noise.save(tmp_path / "a.jpg", quality=95, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as image:
        whole = image.convert("RGB")
    picture = tni.read(tmp_path / "a.jpg", longer=longer)
    wanted = np.asarray(whole.resize(picture.size[::-1], Image.Resampling.LANCZOS), np.float64)
    assert np.sqrt(np.mean((pixels(picture) - wanted) ** 2)) < 1.2  # of 255


def test_hidden_colours_do_not_seep_in(tmp_path: Path) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, :4] = (200, 100, 50, 255)
    rgba[:, 4:] = (0, 255, 0, 0)  # green under full transparency
    Image.fromarray(rgba).save(tmp_path / "a.png")
    picture = tni.read(tmp_path / "a.png", longer=5)
    seen = alpha_of(picture) > 20
    assert seen.any()
    assert pixels(picture)[seen][:, 1].max() < 115  # ringing may go a little over 100


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "a.png")
    np.testing.assert_allclose(pixels(tni.read(tmp_path / "a.png")), [[[10, 20, 30]]], atol=1e-4)


# ---- Reading: what is refused --------------------------------------------------------------------------


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(UserError, match=match) as caught:
        tni.read(path, **options)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "gif", "bmp", "avif"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    buffer = io.BytesIO()
    Image.fromarray(smooth(64, 64)).save(buffer, format={"jpg": "jpeg"}.get(suffix, suffix))
    data = buffer.getvalue()
    for keep in (len(data) * 6 // 10, 30, 12):
        (tmp_path / f"a.{suffix}").write_bytes(data[:keep])
        refused(tmp_path / f"a.{suffix}", "damaged or cut short|is not an image")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "missing.jpg", "^no such file: ")
    (tmp_path / "text.jpg").write_text("Dear Sir or Madam, this is a letter and not a photograph.")
    refused(tmp_path / "text.jpg", "is not an image that can be read here .JPEG|BMP")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "is empty")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "is a folder, not an image")
    (tmp_path / "none.png").write_bytes(png(np.zeros((0, 5)), 0, 8))
    refused(tmp_path / "none.png", "no pixels|damaged|not an image")
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="longer side is at least 1"):
        tni.read(tmp_path / "a.png", longer=0)


def test_the_content_tells_the_format_not_the_suffix(tmp_path: Path) -> None:
    Image.fromarray(smooth(6, 6)).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_allclose(pixels(tni.read(tmp_path / "a.jpg")), smooth(6, 6), atol=1e-4)


def test_heic_without_its_plug_in_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    can_decode = formats.can_decode
    monkeypatch.setattr(formats, "can_decode", lambda name: name != "HEIF" and can_decode(name))
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40)
    refused(tmp_path / "a.heic", "HEIC needs pillow-heif")
    with pytest.raises(UserError, match="HEIC needs pillow-heif"):
        tni.write(tmp_path / "b.heic", torch.rand(3, 4, 4))
    assert tni.expand([tmp_path]) == [tmp_path / "a.heic"]  # to be told of, not passed over


def test_huge_pictures_are_refused_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tni.MAX_PIXELS_ENV_VAR, raising=False)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        png(np.zeros((1, 1)), 0, 8).replace(struct.pack(">II", 1, 1), struct.pack(">II", 40000, 40000))
    )
    data = bytearray(path.read_bytes())
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(path, "40000 x 40000 pixels, over the limit .* set TEXTURENETS_MAX_PIXELS=1600000000")
        Image.new("L", (20, 10)).save(tmp_path / "a.png")
        refused(tmp_path / "a.png", "over the limit of 199", max_pixels=199)
        assert tni.read(tmp_path / "a.png", max_pixels=200).size == (10, 20)
        monkeypatch.setenv(tni.MAX_PIXELS_ENV_VAR, "150")
        refused(tmp_path / "a.png", "over the limit of 150")
        monkeypatch.setenv(tni.MAX_PIXELS_ENV_VAR, "many")
        with pytest.raises(UserError, match="TEXTURENETS_MAX_PIXELS='many'"):
            tni.read(tmp_path / "a.png")


def test_pillows_own_limit_neither_warns_nor_stays_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    Image.new("L", (20, 10)).save(tmp_path / "a.png")  # four times that: Pillow would raise
    Image.new("L", (10, 8)).save(tmp_path / "b.png")  # between once and twice: it would warn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tni.read(tmp_path / "a.png").size == (10, 20)
        assert tni.read(tmp_path / "b.png").size == (8, 10)
    assert Image.MAX_IMAGE_PIXELS == 50


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    arrays = [np.roll(smooth(40, 50), i, axis=2) ^ np.uint8(i) for i in range(12)]
    for i, array in enumerate(arrays):
        Image.fromarray(array).save(tmp_path / f"{i}.png", icc_profile=tni.srgb_profile() if i % 2 else None)
    limit = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda i: tni.read(tmp_path / f"{i % 12}.png"), range(96)))
    for i, picture in enumerate(pictures):
        np.testing.assert_allclose(pixels(picture), arrays[i % 12], atol=1e-4)
    assert limit == Image.MAX_IMAGE_PIXELS


# ---- Writing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp", "PNG"])
def test_lossless_there_and_back(tmp_path: Path, suffix: str) -> None:
    array = smooth(9, 5)
    rgb = torch.from_numpy(array).permute(2, 0, 1).float() / 255
    tni.write(tmp_path / "new" / "folder" / f"a.{suffix}", rgb)
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == [f"a.{suffix}"]
    np.testing.assert_allclose(
        pixels(tni.read(tmp_path / "new" / "folder" / f"a.{suffix}")), array, atol=1e-4
    )


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_colours_of_transparent_pixels_do_not_bleed_in_memory(kind: str) -> None:
    rgb = np.zeros((1, 3, 32, 32), np.float32)
    rgb[:, 2, :, :16], rgb[:, 0, :, 16:] = 1, 1  # blue, and red that is not seen
    alpha = np.zeros((1, 1, 32, 32), np.float32)
    alpha[..., :16] = 1
    given = [rgb, alpha] if kind == "array" else [torch.from_numpy(rgb), torch.from_numpy(alpha)]
    made = tni.resize_picture(tni.Picture(*given), (11, 11))
    seen = np.asarray(made.alpha)[0, 0] > 0.05
    assert made.size == (11, 11)
    np.testing.assert_allclose(np.asarray(made.rgb)[0][:, seen].T, [[0, 0, 1]] * seen.sum(), atol=0.02)
    plain = tni.resize_picture(tni.Picture(given[0]), (11, 11))
    assert plain.transparency is None


def test_a_grey_that_means_transparent_does_not_bleed(tmp_path: Path) -> None:
    values = np.full((16, 16), 1000, np.uint16)
    values[:, ::2] = 60000
    Image.fromarray(values).save(tmp_path / "a.png", transparency=60000)
    picture = tni.read(tmp_path / "a.png", longer=8)
    np.testing.assert_allclose(picture.rgb, 1000 / 65535, atol=2e-3)


def test_sizes_that_cannot_fit_are_told_before_they_are_tried(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="not enough memory for 10000000 x 10000000 pixels, which take"):
        tni.read(tmp_path / "a.png", longer=10**7)
    with pytest.raises(UserError, match="not enough memory"):
        tni.resize(np.zeros((1, 3, 4, 4), np.float32), (10**7, 10**7))


def test_names_that_no_file_can_have_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="null"):
        tni.read("a\0b.jpg")


def test_a_painted_png_is_not_larger_for_being_quick(tmp_path: Path) -> None:
    with Image.open(Path(texturenets.__file__).with_name("photos") / "coffee.jpg") as opened:
        photo = opened.convert("RGB").resize((256, 256))
    painted = np.asarray(photo, np.float32) + np.random.default_rng(0).normal(0, 12, (256, 256, 3))
    usual = io.BytesIO()
    Image.fromarray(painted.clip(0, 255).astype(np.uint8)).save(usual, "PNG")
    quick = tni.to_bytes(tmp_path / "a.png", (painted.transpose(2, 0, 1) / 255).clip(0, 1).astype(np.float32))
    assert len(quick) < 1.01 * len(usual.getvalue())


def test_values_are_rounded_and_clamped(tmp_path: Path) -> None:
    values = torch.tensor([-0.3, 0.0, 0.49 / 255, 0.51 / 255, 99.6 / 255, 254.51 / 255, 1.0, 1.7])
    tni.write(tmp_path / "a.png", values.view(1, 1, 1, 8).expand(1, 3, 1, 8))
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image)[0, :, 1].tolist() == [0, 0, 0, 1, 100, 255, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "avif"])
def test_alpha_there_and_back(tmp_path: Path, suffix: str) -> None:
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    rgb = torch.from_numpy(smooth(20, 30)).permute(2, 0, 1)[None].float() / 255
    alpha = torch.linspace(0, 1, 30).expand(1, 1, 20, 30)
    tni.write(tmp_path / f"a.{suffix}", tni.Picture(rgb, alpha))
    picture = tni.read(tmp_path / f"a.{suffix}")
    assert picture.alpha is not None
    exact = suffix in ("png", "tif")
    assert (picture.alpha - alpha).abs().max() <= (ROUNDING if exact else 6 / 255)
    assert (picture.rgb - rgb).abs().mean() <= (ROUNDING if exact else 4 / 255)


def test_colours_under_full_transparency_are_kept(tmp_path: Path) -> None:
    rgb = torch.tensor([0.8, 0.2, 0.0]).view(1, 3, 1, 1).repeat(1, 1, 16, 16)
    rgb[..., 4:8] = 0.5  # within one block of the lossy code
    for suffix in ("png", "tif", "webp"):
        tni.write(tmp_path / f"a.{suffix}", tni.Picture(rgb, torch.zeros(1, 1, 16, 16)))
        assert (tni.read(tmp_path / f"a.{suffix}").rgb - rgb).abs().mean() < 8 / 255


def test_metadata_too_long_for_a_jpeg_is_left_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "x" * 70000
    for suffix in ("jpg", "png"):
        tni.write(tmp_path / f"a.{suffix}", torch.rand(3, 8, 8), exif=exif.tobytes())
        assert (tni.read(tmp_path / f"a.{suffix}").exif is None) == (suffix == "jpg")


def test_jpeg_is_laid_on_white_and_keeps_its_colours_sharp(tmp_path: Path) -> None:
    rgb = torch.tensor([0.8, 0.2, 0.0]).view(1, 3, 1, 1).expand(1, 3, 16, 32)
    alpha = torch.ones(1, 1, 16, 32)
    alpha[..., 16:] = 0.25
    tni.write(tmp_path / "a.jpg", tni.Picture(rgb, alpha))
    found = pixels(tni.read(tmp_path / "a.jpg"))
    np.testing.assert_allclose(found[8, 4], [204, 51, 0], atol=4)
    np.testing.assert_allclose(found[8, 28], np.array([0.95, 0.8, 0.75]) * 255, atol=4)
    with Image.open(tmp_path / "a.jpg") as image:
        sampling = [(c[1], c[2]) for c in image.layer]  # type: ignore[attr-defined]
        assert sampling == [(1, 1)] * 3  # 4:4:4
        # 2 * (100 - 95) = 10 % of the standard's luminance table, which begins with 16 (ITU T.81, annex K)
        assert image.quantization[0][0] == 2  # type: ignore[attr-defined]


def test_quality(tmp_path: Path) -> None:
    rgb = torch.rand(1, 3, 40, 40)
    for suffix in ("jpg", "webp"):
        for quality in (10, 90):
            tni.write(tmp_path / f"{quality}.{suffix}", rgb, quality=quality)
        assert (tmp_path / f"10.{suffix}").stat().st_size < (tmp_path / f"90.{suffix}").stat().st_size * 0.6
    for quality in (0, 101):
        with pytest.raises(UserError, match=f"quality {quality} is not between 1 and 100"):
            tni.write(tmp_path / "bad.jpg", rgb, quality=quality)
    assert not (tmp_path / "bad.jpg").exists()


def test_files_say_that_they_are_srgb_and_are_the_same_every_time(tmp_path: Path) -> None:
    rgb = torch.rand(1, 3, 8, 8)
    for suffix in ("jpg", "tif", "webp"):
        tni.write(tmp_path / f"a.{suffix}", rgb)
        with Image.open(tmp_path / f"a.{suffix}") as image:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            assert "sRGB" in ImageCms.getProfileDescription(profile)
            same = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB").apply(image)
            assert np.abs(np.asarray(same).astype(int) - np.asarray(image)).max() <= 1
        first = (tmp_path / f"a.{suffix}").read_bytes()
        tni.srgb_profile.cache_clear()
        tni.write(tmp_path / f"a.{suffix}", rgb)
        assert (tmp_path / f"a.{suffix}").read_bytes() == first
    assert tni.srgb_profile()[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    tni.write(tmp_path / "a.png", rgb)
    assert b"sRGB\0" in (tmp_path / "a.png").read_bytes()


def test_strange_suffixes_are_refused_before_the_work(tmp_path: Path) -> None:
    for name, said in (
        ("a.xyz", "'.xyz' names no image format"),
        ("a", "it has no suffix"),
        ("a.", "it has no suffix"),
    ):
        with pytest.raises(UserError, match=rf"{said}.* writable: \.jpg, .*\.png"):
            tni.write(tmp_path / name, torch.rand(3, 2, 2))
    assert list(tmp_path.iterdir()) == []
    assert tni.output_format("x/a.JPEG") == "JPEG"


class FullDisk:
    """A file that takes ten bytes and then finds the disk full."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tni.write(tmp_path / "a.png", torch.zeros(3, 4, 4))
    before = (tmp_path / "a.png").read_bytes()
    real_open = Path.open
    opened = []

    def full(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        opened.append(self)
        return FullDisk(real_open(self, mode, *args, **kwargs))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(UserError, match=r"^cannot write .*a\.png: No space left on device$"):
            tni.write(tmp_path / "a.png", torch.ones(3, 4, 4))
    assert opened[0].parent == tmp_path  # aside in the same folder, or the rename would not be one
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file, not a folder"):
        tni.write(tmp_path / "file" / "a.png", torch.rand(3, 2, 2))
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*a\.png: "):
        tni.write(tmp_path / "a.png", torch.rand(3, 2, 2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "file"]


@pytest.mark.parametrize(
    ("picture", "match"),
    [
        (torch.full((3, 2, 2), float("nan")), "NaN"),
        (torch.rand(2, 3, 4, 4), "one float image"),
        (torch.rand(1, 4, 4, 4), "one float image"),
        (torch.rand(1, 3, 0, 4), "one float image"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "one float image"),
        (tni.Picture(torch.rand(1, 3, 4, 4), torch.rand(1, 1, 4, 5)), "alpha of"),
        (
            torch.zeros(1, 1, 1, 1).expand(1, 3, 1, 70000),
            "JPEG holds at most 65500 pixels per side, not 70000",
        ),
    ],
)
def test_what_is_no_picture_is_not_written(tmp_path: Path, picture: Any, match: str) -> None:
    with pytest.raises(UserError, match=match):
        tni.write(tmp_path / "a.jpg", picture)
    assert list(tmp_path.iterdir()) == []


# ---- Lists of files ------------------------------------------------------------------------------------


def test_expand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.png", "a.JPG", "notes.txt", ".hidden.png", "photo [1].jpg", "sub/c.webp", "odd.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)

    def names(*patterns: str | Path) -> list[str]:
        return [p.as_posix() for p in tni.expand(patterns)]

    assert names(".") == ["a.JPG", "b.png", "photo [1].jpg"]
    assert names("sub/c.webp", "*.png") == ["sub/c.webp", "b.png"]
    assert names("b.png", ".", "b.png") == ["b.png", "a.JPG", "photo [1].jpg"]
    assert names("photo [1].jpg") == ["photo [1].jpg"]
    assert names("**/*.webp") == ["sub/c.webp"]
    assert names(tmp_path / "*.JPG") == [(tmp_path / "a.JPG").as_posix()]
    assert names("odd.dat") == ["odd.dat"]  # named outright: read() looks at the content
    for pattern, match in (("*.tif", "no images match"), ("gone.jpg", "no such file or folder: gone.jpg"),
                           ("folder.png", "no images in the folder"), ("*.txt", "no images match")):  # fmt: skip
        with pytest.raises(UserError, match=match):
            tni.expand(["b.png", pattern])


def test_what_is_no_file_is_told_of(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.png").symlink_to("gone.png")
    (tmp_path / "folder.png").mkdir()
    assert tni.expand([tmp_path]) == [tmp_path / "link.png", tmp_path / "pipe.jpg"]
    refused(tmp_path / "pipe.jpg", "not a regular file")
    assert tni.read_header(tmp_path / "pipe.jpg") is None
    refused(tmp_path / "link.png", "no such file")


def test_suffixes() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"} <= tni.suffixes()
    assert tni.has_image_suffix("x.JPG")
    assert not tni.has_image_suffix("x.txt")
    assert not tni.has_image_suffix("jpg")


# ---- PIL images, arrays and tensors --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_arrays_come_back_as_they_were(dtype: Any, channels: int) -> None:
    most = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    array = (np.linspace(0, 1, 6 * 5 * max(1, channels)) * most).astype(dtype)
    array = array.reshape((6, 5, channels) if channels else (6, 5))
    picture, kind = tni.from_any(array)
    assert picture.rgb.shape == (1, 3, 6, 5)
    assert picture.bits == (16 if dtype == np.uint16 else 8)
    red = array[:, :, 0] if channels else array
    np.testing.assert_allclose(picture.rgb[0, 0].numpy(), red.astype(np.float64) / most, atol=1e-6)
    back = tni.to_kind(picture.rgb, kind)
    assert isinstance(back, np.ndarray)
    assert back.dtype == dtype
    if channels < 3:
        array = np.stack([red] * 3, -1)
    np.testing.assert_allclose(back.astype(np.float64), array.astype(np.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 3, 4, 5), (7, 3, 4, 5), (2, 4, 4, 5)])
def test_tensors_come_back_as_they_were(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.rand(shape) * (255 if dtype == torch.uint8 else 1)).to(dtype)
    picture, kind = tni.from_any(tensor)
    assert picture.rgb.dtype == torch.float32
    assert picture.rgb.shape == (shape[0] if len(shape) == 4 else 1, 3, 4, 5)
    assert (picture.alpha is not None) == (shape[-3] == 4)
    back = tni.to_kind(picture.rgb, kind)
    assert back.dtype == dtype
    assert back.shape == tensor.shape
    assert torch.allclose(back.double(), tensor.double(), atol=1e-6)


def test_the_device_comes_back() -> None:
    _, kind = tni.from_any(torch.rand(3, 4, 5))
    assert tni.to_kind(torch.rand(1, 3, 4, 5), kind).device == torch.device("cpu")
    if torch.cuda.is_available():
        picture, kind = tni.from_any(torch.rand(3, 4, 5, device="cuda"))
        assert picture.rgb.is_cuda
        assert tni.to_kind(picture.rgb.cpu(), kind).is_cuda


def test_pil_images_come_back() -> None:
    rgba = np.dstack([smooth(6, 8), np.full((6, 8), 77, np.uint8)])
    for mode, back_mode in (
        ("RGB", "RGB"),
        ("L", "RGB"),
        ("RGBA", "RGBA"),
        ("P", "RGB"),
        ("LA", "RGBA"),
        ("1", "RGB"),
    ):
        image = Image.fromarray(rgba).convert("RGB" if mode == "P" else mode).convert(mode)
        picture, kind = tni.from_any(image)
        back = tni.to_kind(picture.rgb, kind)
        assert isinstance(back, Image.Image)
        assert back.mode == back_mode
        np.testing.assert_array_equal(np.asarray(back), np.asarray(image.convert(back_mode)))


def test_pil_images_are_turned_upright(tmp_path: Path) -> None:
    Image.fromarray(smooth(16, 24)).save(tmp_path / "a.jpg", exif=exif_bytes(6))
    with Image.open(tmp_path / "a.jpg") as image:
        picture, kind = tni.from_any(image)
        assert image.size == (24, 16)  # the caller's is left alone
    assert torch.equal(picture.rgb, tni.read(tmp_path / "a.jpg").rgb)
    assert tni.to_kind(picture.rgb, kind).size == (16, 24)


def test_what_comes_back_is_clamped_rounded_and_of_the_new_size() -> None:
    rgb = torch.tensor([-1.0, 0.5 / 255 + 0.001, 2.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    for example in (np.zeros((1, 3, 3), np.uint8), torch.zeros(3, 1, 3, dtype=torch.uint8)):
        back = np.asarray(tni.to_kind(rgb, tni.from_any(example)[1]))
        assert sorted(set(back.ravel().tolist())) == [0, 1, 255]
    _, kind = tni.from_any(np.full((4, 6, 4), 128, np.uint8))
    back = tni.to_kind(torch.rand(1, 3, 8, 12), kind)
    assert back.shape == (8, 12, 4)
    assert (back[:, :, 3] == 128).all()


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.full((2, 2, 3), 200.0), "from 200 to 200, not 0 to 1; divide it by 255"),
        (np.full((2, 2, 3), 1.01), "from 1.01 to 1.01, not 0 to 1; clip it to that range"),
        (np.full((2, 2, 3), -0.5), "from -0.5 to -0.5, not 0 to 1$"),
        (np.full((2, 2, 3), np.nan), "NaN"),
        (np.zeros((2, 2, 2), np.uint8), r"not \(2, 2, 2\)"),
        (np.zeros((3, 8, 9), np.uint8), "put the channels last"),
        (np.zeros((1, 8, 9, 3), np.uint8), "an array is"),
        (np.zeros((0, 9, 3), np.uint8), "an array is"),
        (np.zeros((8, 9, 3), np.int64), "uint8, uint16 or float, not int64"),
        (torch.zeros(8, 9, 3), "put the channels first"),
        (torch.zeros(2, 8, 9), r"not \(2, 8, 9\)"),
        (torch.zeros(8, 9), "a tensor is"),
        (torch.full((3, 8, 9), 2.0), "from 2 to 2"),
        (torch.zeros(3, 8, 9, dtype=torch.int32), r"not torch\.int32"),
        ("photo.jpg", "no such file: photo.jpg"),
    ],
)
def test_what_is_no_picture_is_named(value: Any, match: str) -> None:
    with pytest.raises(UserError, match=match):
        tni.from_any(value)


# ---- Operations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(20, 30), (37, 91), (120, 200), (1, 1), (60, 10)])
def test_resize_is_close_to_lanczos(size: tuple[int, int]) -> None:
    array = smooth(60, 90)
    x = torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255
    small = tni.resize(x, size)
    assert small.shape == (1, 3, *size)
    wanted = [
        Image.fromarray(array[:, :, c].astype(np.float32)).resize(size[::-1], Image.Resampling.LANCZOS)
        for c in range(3)
    ]
    assert np.abs(small[0].numpy() * 255 - np.stack([np.asarray(w) for w in wanted])).mean() < 1


def test_resize_does_not_alias_or_overshoot() -> None:
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)  # one pixel on, one off
    assert (tni.resize(stripes, (9, 9))[..., 1:-1] - 0.5).abs().max() < 0.02
    edge = (torch.arange(16) > 7).float().expand(1, 3, 16, 16)
    bigger = tni.resize(edge, (33, 35))
    assert bigger.min() >= 0
    assert bigger.max() <= 1
    assert tni.resize(edge, (16, 16)) is edge


def test_preserve_color_equals_the_exchange_of_luma_in_yiq() -> None:
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    stylized, photo = (torch.rand(2, 3, 5, 6) * 0.3 + 0.35 for _ in range(2))
    a, b = (np.einsum("ij,njhw->nihw", to_yiq, t.numpy().astype(np.float64)) for t in (stylized, photo))
    wanted = np.einsum("ij,njhw->nihw", np.linalg.inv(to_yiq), np.concatenate([a[:, :1], b[:, 1:]], 1))
    assert wanted.min() > 0
    assert wanted.max() < 1  # nothing is clamped, or the two need not agree
    np.testing.assert_allclose(tni.preserve_color(stylized, photo).numpy(), wanted, atol=1e-3)


def test_preserve_color_is_clamped() -> None:
    white, blue = torch.ones(1, 3, 2, 2), torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert tni.preserve_color(white, blue).max() == 1
    with pytest.raises(ValueError, match="sizes differ"):
        tni.preserve_color(white, blue[..., :1])


@pytest.mark.parametrize("size", [(20, 31), (90, 77)])
def test_arrays_and_tensors_are_resized_alike(size: tuple[int, int]) -> None:
    array = np.random.default_rng(0).random((2, 3, 40, 53), np.float32)
    resized = tni.resize(array, size)
    assert isinstance(resized, np.ndarray)
    assert resized.dtype == np.float32
    assert np.allclose(resized, tni.resize(torch.from_numpy(array), size).numpy(), atol=1e-4)


def test_arrays_keep_their_colors_like_tensors() -> None:
    stylized, photo = np.random.default_rng(0).random((2, 1, 3, 8, 9), np.float32)
    kept = tni.preserve_color(stylized, photo)
    assert isinstance(kept, np.ndarray)
    same = tni.preserve_color(torch.from_numpy(stylized), torch.from_numpy(photo))
    assert np.allclose(kept, same.numpy(), atol=1e-6)


def test_a_picture_is_an_array_until_a_tensor_is_asked_for(tmp_path: Path) -> None:
    Image.new("RGBA", (5, 4), (255, 0, 51, 102)).save(tmp_path / "a.png")
    picture = tni.read(tmp_path / "a.png")
    assert isinstance(picture.pixels, np.ndarray)
    assert isinstance(picture.transparency, np.ndarray)
    assert isinstance(picture.rgb, torch.Tensor)
    assert picture.size == (4, 5)
    picture.pixels = 1 - picture.pixels
    assert torch.allclose(picture.rgb[0, :, 0, 0], torch.tensor([0.0, 1.0, 0.8]))
    tni.write(tmp_path / "b.png", picture.pixels)
    tni.write(tmp_path / "c.png", picture.rgb[0])
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


def test_tiffs_of_floats_that_lie_on_their_side(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((20, 30, 3), np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    read = tni.read(tmp_path / "a.tif").rgb.numpy()[0].transpose(1, 2, 0)
    np.testing.assert_allclose(read, np.rot90(values, -1), atol=1e-6)
    header = tni.read_header(tmp_path / "a.tif")
    assert header is not None
    assert (header.size, header.upright) == ((20, 30), (30, 20))


def test_grey_of_sixteen_bits_whose_white_is_zero(tmp_path: Path) -> None:
    values = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    read = tni.read(tmp_path / "a.tif").rgb.numpy()[0, 0]
    np.testing.assert_allclose(read, 1 - values / 65535, atol=1e-5)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_of_sixteen_bits(tmp_path: Path, compression: str | None) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (3, 20, 30)).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="rgb", planarconfig="separate", compression=compression)
    if compression is None:  # Pillow would decode it as 8 bits
        with pytest.raises(UserError, match="16 bits lie one color after the other"):
            tni.read(path)
    else:
        np.testing.assert_allclose(tni.read(path).rgb.numpy()[0], values / 65535, atol=1 / 255)


def test_exif_does_not_say_how_pixels_are_stored(tmp_path: Path) -> None:
    other = Image.Exif()
    for tag, value in ((266, 2), (322, 64), (323, 64), (338, 1), (271, "a camera")):
        other[tag] = value
    values = np.random.default_rng(0).random((1, 3, 20, 30), np.float32)
    tni.write(tmp_path / "a.tif", tni.Picture(values, bits=16), exif=other.tobytes())
    np.testing.assert_allclose(tni.read(tmp_path / "a.tif").rgb.numpy(), values, atol=1e-4)
    with Image.open(tmp_path / "a.tif") as made:
        assert made.getexif()[271] == "a camera"
