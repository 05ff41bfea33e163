"""What results keep of a photo beside its pixels, and what is said of that which they do not."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from pngfile import chunk

import texturenets
from texturenets import image as tni
from texturenets.cli import main
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.residual import Residual
from texturenets.stylize.style import Style

TINY = Residual(channels=8, blocks=1)
DEEP = "holds 16 bits per channel, of which results have 8"
SEVERAL = "holds several images, of which the first is taken (.gif, .webp and .apng keep an animation)"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tiny style; the working folder is its folder."""
    monkeypatch.chdir(tmp_path)
    header = Header(name="tiny", kind="style", generator=TINY)
    network_files.save(build(TINY), header, Path("tiny.safetensors"))
    return "tiny.safetensors"


def deep_png(path: str) -> None:
    """RGB of 16 bits, which Pillow does not write."""
    rows = np.random.default_rng(0).integers(0, 65536, (18, 24 * 3)).astype(">u2")
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 24, 18, 16, 2, 0, 0, 0))
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def frames(count: int = 2) -> list[Image.Image]:
    return [Image.new("RGB", (24, 18), (90 * i, 50, 0)) for i in range(count)]


def moving(path: str) -> None:
    first, *more = frames()
    first.save(path, save_all=True, append_images=more)


def make(name: str) -> str:
    """A file of which results do not keep all, by its name; what is said of it."""
    if name == "colour.png":
        deep_png(name)
    elif name == "grey.png":
        Image.fromarray(np.full((18, 24), 30000, np.uint16)).save(name)
    elif name == "float.tif":
        Image.fromarray(np.full((18, 24), 0.3, np.float32)).save(name)
        return f"{name} {DEEP.replace('16', '32')}"
    else:
        moving(name)
        return f"{name} {SEVERAL}"
    return f"{name} {DEEP}"


LOSSY = ["colour.png", "grey.png", "float.tif", "a.gif", "a.png", "a.webp"]


@pytest.mark.parametrize("name", LOSSY)
def test_the_command_says_what_is_lost(model: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = make(name)
    assert main(["stylize", name, "-s", model, "-o", "out.jpg", "--engine", "torch"]) == 0
    assert capsys.readouterr().err == f"texturenets: note: {said}\n"


@pytest.mark.parametrize("name", LOSSY)
def test_python_warns_of_it_in_the_same_words(model: str, name: str) -> None:
    said = make(name)
    style = texturenets.load(model, "cpu", engine="torch")
    assert isinstance(style, Style)
    for given in (name, Path(name)):
        with pytest.warns(UserWarning, match="holds") as told:
            style(given)
        assert [str(one.message) for one in told] == [said]
        assert told[0].filename == __file__  # the line that called


def test_python_warns_of_images_of_16_bits(model: str) -> None:
    style: Any = texturenets.load(model, "cpu", engine="torch")
    with pytest.warns(UserWarning, match=f"the image {DEEP}"):
        style(Image.fromarray(np.full((18, 24), 30000, np.uint16)))
    make("colour.png")
    with pytest.warns(UserWarning, match=f"the image {DEEP}"), Image.open("colour.png") as opened:
        style(opened)


def test_python_is_silent_where_nothing_is_lost(model: str) -> None:
    style: Any = texturenets.load(model, "cpu", engine="torch")
    make("colour.png")
    frames()[0].save("flat.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        style("flat.png")
        assert style(np.full((18, 24, 3), 30000, np.uint16)).dtype == np.uint16
        assert style(tni.read("colour.png")).bits == 16  # floats, as they were


def test_the_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 24, 18, 16, 2, 0, 0, 0))
    late = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    junk = chunk(b"IDAT", b"no pixels") + late + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + junk)
    header = tni.read_header(tmp_path / "a.png")
    assert header is not None
    assert (header.size, header.bits, header.orientation) == ((18, 24), 16, 6)


# ---- Metadata ------------------------------------------------------------------------------------------

TEXTS = {"Author": "Ada", "Title": "Blåtur 深", "Comment": "painted"}


def png(path: str, texts: dict[str, str], **options: Any) -> str:
    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    frames()[0].save(path, pnginfo=info, **options)
    return path


def stylized(model: str, source: str, result: str, *more: str) -> Image.Image:
    assert main(["stylize", source, "-s", model, "-o", result, "--engine", "torch", *more]) == 0
    with Image.open(result) as made:
        made.load()
        return made


def resolution(made: Image.Image) -> tuple[int, int]:
    across, down = made.info["dpi"]
    return round(float(across)), round(float(down))


@pytest.mark.parametrize("source", ["a.png", "a.jpg", "a.tif", "a.bmp"])
@pytest.mark.parametrize("result", ["b.png", "b.jpg", "b.tif", "b.bmp"])
def test_the_resolution_is_kept(model: str, source: str, result: str) -> None:
    frames()[0].save(source, dpi=(300, 150))
    assert resolution(stylized(model, source, result)) == (300, 150)


def test_a_turned_image_has_its_resolution_turned(model: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    frames()[0].save("a.jpg", dpi=(300, 150), exif=exif)
    assert resolution(stylized(model, "a.jpg", "b.png")) == (150, 300)


def test_none_is_invented(model: str) -> None:
    frames()[0].save("a.png")
    made = stylized(model, "a.png", "b.png")
    assert "dpi" not in made.info
    assert made.text == {}  # type: ignore[attr-defined]


def test_texts_of_a_png_are_kept(model: str) -> None:
    made: Any = stylized(model, png("a.png", TEXTS), "b.png", "--size", "12")
    assert made.text == TEXTS
    assert stylized(model, "a.png", "b.jpg").info["comment"] == b"painted"


def test_comments_of_a_jpeg_are_kept(model: str) -> None:
    frames()[0].save("a.jpg", comment="Blåtur".encode())
    assert stylized(model, "a.jpg", "b.jpg").info["comment"] == "Blåtur".encode()
    assert stylized(model, "a.jpg", "b.png").info["Comment"] == "Blåtur"
    frames()[0].save("a.jpg", comment="Blåtur".encode("latin-1"))
    assert stylized(model, "a.jpg", "b.png").info["Comment"] == "Blåtur"


def test_texts_that_hold_exif_or_a_place_are_not_copied(model: str) -> None:
    hidden = {
        "Raw profile type exif": "\nexif\n 4\n00",
        "XML:com.adobe.xmp": "<x/>",
        "exif:GPSLatitude": "51",
    }
    made: Any = stylized(model, png("a.png", {**hidden, "Author": "Ada"}), "b.png")
    assert made.text == {"Author": "Ada"}


def test_a_text_too_long_for_a_jpeg_is_left_out(model: str) -> None:
    assert "comment" not in stylized(model, png("a.png", {"Comment": "x" * 70000}), "b.jpg").info


def test_python_keeps_the_metadata_of_a_picture(model: str) -> None:
    style: Any = texturenets.load(model, "cpu", engine="torch")
    tni.write("b.png", style(tni.read(png("a.png", TEXTS, dpi=(300, 300)))))
    with Image.open("b.png") as made:
        assert made.text == TEXTS  # type: ignore[attr-defined]
        assert resolution(made) == (300, 300)
