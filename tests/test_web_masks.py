"""Models of several styles over HTTP: mixtures, masks, and what is wrong with them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

from fastapi.testclient import TestClient
from galleries import gallery
from PIL import Image
from webservice import client, models_folder, opened, photo

from texturenets import loading
from texturenets.image import formats
from texturenets.modelfiles import modelfile
from texturenets.networks import network_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models_folder(tmp_path_factory)


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[TestClient]:
    with client(folder) as running:
        yield running


PHOTO = photo(80, 64)


def mask(size: tuple[int, int] = (80, 64)) -> bytes:
    """White on the right half."""
    values = np.zeros((size[1], size[0]), np.uint8)
    values[:, size[0] // 2 :] = 255
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(opened(answer.content)).astype(int)


def test_the_list_names_the_styles(service: TestClient) -> None:
    known = {one["name"]: one for one in service.get("/v1/models").json()["models"]}
    assert known["tiny"]["styles"] == ["wave", "udnie"]
    assert "styles" not in known["plain"]


def test_a_mixture_is_that_of_python(service: TestClient, folder: Path) -> None:
    words = "tiny:wave=0.6,udnie=0.4"
    answer = service.post("/v1/stylize", params={"style": words}, content=PHOTO)
    style = loading.load(folder / "tiny.safetensors", "cpu", engine="torch")
    expected = style(opened(PHOTO), mix={"wave": 0.6, "udnie": 0.4})
    assert np.abs(pixels(answer) - np.asarray(expected)).max() <= 1
    assert "udnie.png" in answer.headers["content-disposition"]


def test_masks_come_as_files_of_the_form(service: TestClient) -> None:
    before = np.asarray(opened(PHOTO))
    files = {"photo": PHOTO, "mask": mask()}
    whole = pixels(service.post("/v1/stylize?style=plain", content=PHOTO))
    right = pixels(service.post("/v1/stylize?style=plain", files=files))
    assert np.array_equal(right[:, :40], before[:, :40])
    assert np.abs(right[:, 40:] - whole[:, 40:]).max() <= 1
    left = pixels(service.post("/v1/stylize?style=plain", files={"photo": PHOTO, "keep": mask()}))
    assert np.array_equal(left[:, 40:], before[:, 40:])
    both = service.post("/v1/stylize?style=tiny:wave,udnie", files=files)
    assert pixels(both).shape == before.shape


@pytest.mark.parametrize(
    ("style", "files", "said"),
    [
        ("tiny", {}, "tiny holds several styles: ask for one, of tiny:wave, tiny:udnie"),
        ("tiny:wive", {}, "unknown style of tiny 'wive'; did you mean 'wave'?"),
        ("tiny:wave=x", {}, "the weight 'x' of wave is not a number"),
        ("tiny:wave=0", {}, "sum to 0"),
        ("plain", {"mask": mask((64, 64))}, "of another shape than the photo's 80 x 64"),
        ("plain", {"mask": b"nothing"}, "the mask of plain"),
        ("plain", {"masks": mask()}, "the form's file 'masks' has an unknown name; did you mean 'mask'?"),
    ],
)
def test_what_is_wrong_is_told(service: TestClient, style: str, files: dict[str, bytes], said: str) -> None:
    answer = service.post("/v1/stylize", params={"style": style}, files={"photo": PHOTO, **files})
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]


def test_two_images_or_two_masks_to_keep_are_refused(service: TestClient) -> None:
    two = [("photo", PHOTO), ("other", PHOTO)]
    assert (
        "send one; other files are called mask or keep"
        in service.post("/v1/stylize", files=two).json()["detail"]
    )
    keeps = [("photo", PHOTO), ("keep", mask()), ("keep", mask())]
    assert "2 files `keep`" in service.post("/v1/stylize?style=plain", files=keeps).json()["detail"]
    many = [("photo", PHOTO), ("mask", mask()), ("mask", mask())]
    answer = service.post("/v1/stylize?style=plain", files=many)
    assert answer.json()["detail"].startswith("2 masks for 1 style")


def test_the_page_shows_each_style_of_a_gallery(folder: Path) -> None:
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    from texturenets.server.models import Catalogue
    from texturenets.server.ui import gallery as shown

    catalogue = Catalogue(folder)
    names = shown.names(catalogue, "style")
    assert {"tiny:wave", "tiny:udnie", "plain"} <= set(names)
    assert "tiny" not in names
    captions = [caption for _, caption in shown.gallery_items(catalogue, "style")]
    assert len(captions) == len(names)
    assert captions.count("Udnie") >= 1


def test_each_style_has_its_thumbnail(tmp_path: Path) -> None:
    pytest.importorskip("gradio", reason="the extra `web` is not installed")
    from texturenets.server.models import Catalogue
    from texturenets.server.ui import gallery as shown

    network, file = gallery(tmp_path)
    images = {
        name: modelfile.encode_thumbnail(torch.full((1, 3, 8, 8), v))
        for name, v in (("wave", 0.0), ("udnie", 1.0))
    }
    header = replace(modelfile.read_header(file), thumbnails=images)
    network_files.save(network, header, file)
    items = {caption: path for path, caption in shown.gallery_items(Catalogue(tmp_path), "style")[-2:]}
    values = {caption: np.asarray(Image.open(path)).mean() for caption, path in items.items()}
    assert values == {"Wave": 0, "Udnie": 255}


def test_a_style_of_a_shipped_model_by_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelfile, "ZOO", tmp_path)
    gallery(tmp_path)[1].rename(tmp_path / "gallery.safetensors")
    with client(folder) as running:
        alone = pixels(running.post("/v1/stylize?style=udnie", files={"photo": PHOTO}))
        named = pixels(running.post("/v1/stylize?style=gallery:udnie", files={"photo": PHOTO}))
    assert (alone == named).all()


def test_masks_beside_weights_are_refused(service: TestClient) -> None:
    for style in ("tiny:wave=0.9,udnie=0.1", "tiny:wave=0.6,udnie=0.6"):
        answer = service.post(f"/v1/stylize?style={style}", files={"photo": PHOTO, "mask": mask()})
        assert answer.status_code == 422, answer.text
        assert "with masks, styles have no weights" in answer.json()["detail"]


def test_gradients_are_masks_by_name(service: TestClient) -> None:
    form = {"files": {"photo": PHOTO}, "data": {"mask": "left-to-right"}}
    named = pixels(service.post("/v1/stylize?style=plain", **form))
    before = np.asarray(opened(PHOTO)).astype(int)
    assert np.array_equal(named[:, -1], before[:, -1])
    assert not np.array_equal(named[:, 0], before[:, 0])
    answer = service.post("/v1/stylize?style=plain", files={"photo": PHOTO}, data={"mask": "leftwards"})
    assert answer.status_code == 422
    assert "send a file, as -F mask=@mask.png does, or left-to-right" in answer.json()["detail"]


def test_a_form_without_a_photo_says_so(service: TestClient) -> None:
    answer = service.post("/v1/stylize?style=plain", files={"mask": mask()})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("the form holds no photo beside 'mask'")


def test_masks_are_bounded_as_photos_are(folder: Path) -> None:
    with client(folder, limits={"pixels": 6000}) as bounded:
        answer = bounded.post("/v1/stylize?style=plain", files={"photo": PHOTO, "mask": mask((160, 128))})
    assert answer.status_code == 413
    assert answer.json()["detail"] == "the mask of plain has 160 x 128 pixels: at most 6000 are allowed"


def test_an_animation_is_no_mask(service: TestClient) -> None:
    buffer = io.BytesIO()
    frames = [Image.new("L", (80, 64), grey) for grey in (0, 255)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    files = {"photo": PHOTO, "mask": buffer.getvalue()}
    answer = service.post("/v1/stylize?style=plain", files=files)
    assert (answer.status_code, "is an animation" in answer.json()["detail"]) == (415, True)


@pytest.mark.parametrize("size", [(160, 128), (40, 32)])
def test_a_mask_of_another_size_is_scaled_without_a_warning(
    service: TestClient, size: tuple[int, int], recwarn: pytest.WarningsRecorder
) -> None:
    files = {"photo": PHOTO, "mask": mask(size)}
    made = pixels(service.post("/v1/stylize?style=plain", files=files))
    assert np.array_equal(made[:, :36], np.asarray(opened(PHOTO))[:, :36])
    assert not [one for one in recwarn if "scaled" in str(one.message)]


def test_a_mask_that_this_service_cannot_decode_is_told_as_a_photo_is(
    service: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {k: v for k, v in formats.decodable_formats().items() if v != "HEIF"}  # without pillow-heif
    monkeypatch.setattr(formats, "decodable_formats", lambda: known)
    files = {"photo": PHOTO, "mask": b"\0\0\0\x18ftypheic" + bytes(100)}
    answer = service.post("/v1/stylize?style=plain", files=files)
    assert answer.status_code == 415, answer.text
    said = "cannot read the mask of plain: this service lacks what decodes HEIC; send JPEG, PNG or WebP"
    assert answer.json()["detail"] == said


def test_a_mask_is_for_the_photo_as_it_is_upright(service: TestClient) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # turned by 90 degrees, as phones write it
    opened(PHOTO).save(buffer, "JPEG", exif=exif)
    values = np.zeros((80, 64), np.uint8)
    values[:40] = 255
    upper = io.BytesIO()
    Image.fromarray(values).save(upper, "PNG")
    files = {"photo": buffer.getvalue(), "keep": upper.getvalue()}
    made = pixels(service.post("/v1/stylize?style=plain&format=png", files=files))
    before = np.asarray(opened(buffer.getvalue()).transpose(Image.Transpose.ROTATE_270))
    assert made.shape == (80, 64, 3)
    assert np.abs(made[:40] - before[:40]).max() <= 1
    assert np.abs(made[40:] - before[40:]).mean() > 1
