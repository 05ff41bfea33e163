"""OpenEXR files: linear light in and out, and what is said of those that cannot be taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import call
from webservice import client, model

from texturenets import image
from texturenets.errors import UserError

openexr = pytest.importorskip("OpenEXR", reason="the extra `exr` is not installed")


def exr(path: Path, name: str, values: np.ndarray[Any, Any]) -> Path:
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    with openexr.File(header, {name: np.ascontiguousarray(values)}) as file:
        file.write(str(path))
    return path


def exr_opened(path: Path) -> tuple[str, np.ndarray[Any, Any]]:
    with openexr.File(str(path)) as file:
        ((name, channel),) = file.channels().items()
        return name, np.array(channel.pixels)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("name", ["RGB", "RGBA"])
def test_linear_light_in_exr(tmp_path: Path, name: str, kind: Any) -> None:
    values = np.random.default_rng(0).random((30, 20, len(name))).astype(kind)
    if name == "RGBA":
        values[..., 3] = 0.25 + values[..., 3] / 2
        values[..., :3] *= values[..., 3:]
    picture = image.read(exr(tmp_path / "a.exr", name, values))
    assert picture.bits == (16 if kind == np.float16 else 32)
    assert not picture.clipped
    image.write(tmp_path / "b.exr", picture)
    made, pixels = exr_opened(tmp_path / "b.exr")
    assert (made, pixels.dtype) == (name, kind)
    np.testing.assert_allclose(pixels, values, atol=1e-3 if kind == np.float16 else 1e-6)
    half = image.read(exr(tmp_path / "half.exr", "RGB", np.full((4, 4, 3), 0.2140, np.float32)))
    np.testing.assert_allclose(half.pixels, 0.5, atol=1e-3)  # sRGB's middle is 21 % of the light


def test_mistakes_in_exr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    whole = exr(tmp_path / "a.exr", "RGB", values)
    cut = tmp_path / "cut.exr"
    cut.write_bytes(whole.read_bytes()[:3000])
    values[0, 0, 0] = np.nan
    for path, said in (
        (cut, r"cut\.exr is damaged or cut short: its pixels cannot be decoded"),
        (exr(tmp_path / "z.exr", "Z", values[..., 0]), r"z\.exr: its channels are Z, not RGB, RGBA or Y"),
        (exr(tmp_path / "nan.exr", "RGB", values), r"nan\.exr: it holds values that are not numbers"),
    ):
        with pytest.raises(UserError, match=said):
            image.read(path)
    with pytest.raises(UserError, match="64 x 64 pixels, over the limit of 100"):
        image.read(whole, max_pixels=100)
    monkeypatch.setattr(image.exr, "installed", lambda: False)
    with pytest.raises(UserError, match=r"cannot read .*a\.exr: EXR needs the package OpenEXR \(pip install"):
        image.read(whole)
    image.formats.can_decode.cache_clear()
    with pytest.raises(UserError, match=r"cannot write b\.exr: EXR needs the package OpenEXR"):
        image.output_format("b.exr")
    image.formats.can_decode.cache_clear()


def words(tmp_path: Path, source: Path, *more: str) -> list[str]:
    return ["stylize", str(source), "-s", str(model(tmp_path)), "--engine", "torch", "--device", "cpu", *more]


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_stylize_keeps_floats(tmp_path: Path, kind: Any) -> None:
    values = np.linspace(0, 1, 160 * 512, dtype=np.float32).reshape(160, 512, 1).repeat(3, 2).astype(kind)
    source = exr(tmp_path / "a.exr", "RGB", values)
    for strength, least in (("0", 60000), ("1", 2000)):
        made = tmp_path / f"made{strength}.exr"
        flags = ["--strength", strength, "-o", str(made)]
        assert call(*words(tmp_path, source, *flags)) == (0, f"{made}\n", "")
        pixels = exr_opened(made)[1]
        assert pixels.dtype == kind
        assert len(np.unique(pixels[..., 0])) > (least if kind == np.float32 else 1000)
        if strength == "0":
            np.testing.assert_allclose(pixels, values, atol=1e-3 if kind == np.float16 else 1e-6)


def test_what_is_lost_of_an_exr_is_said(tmp_path: Path) -> None:
    bright = exr(tmp_path / "bright.exr", "RGB", np.full((64, 64, 3), 4, np.float32))
    status, _, error = call(*words(tmp_path, bright, "-o", str(tmp_path / "b.png")))
    assert status == 0
    assert error.splitlines() == [
        f"texturenets: note: {bright} holds 32 bits per channel, of which results have 16",
        f"texturenets: note: {bright} holds light below 0 or above 1, which is clipped",
    ]
    bright.write_bytes(bright.read_bytes()[:400])
    status, _, error = call(*words(tmp_path, bright, "-o", str(tmp_path / "b.png")))
    assert status == 2
    assert error.count("\n") == 1


def test_the_service_takes_none(tmp_path: Path) -> None:
    model(tmp_path)
    data = exr(tmp_path / "a.exr", "RGB", np.full((64, 64, 3), 0.5, np.float32)).read_bytes()
    with client(tmp_path) as service:
        answer = service.post("/v1/stylize?style=tiny", content=data)
    assert 400 <= answer.status_code < 500
    assert "is an EXR file" in answer.text
