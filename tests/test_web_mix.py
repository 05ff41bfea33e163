"""A second style and a mask on the page, without a browser: what the service is asked for, what it refuses."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the extra `web` is not installed")

import galleries
import tiny
from fastapi.testclient import TestClient
from PIL import Image
from webservice import client, models_folder, opened, photo

from texturenets import loading
from texturenets.engines.options import EngineOptions
from texturenets.modelfiles import modelfile
from texturenets.networks.residual import Residual
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.masks import NO_MASKS
from texturenets.server.service import Service
from texturenets.server.settings import Limits, Settings
from texturenets.server.ui import camera, gallery, mix, store, stylizing
from texturenets.server.ui.mix import Mix, PaintedMask, StyleChoice
from texturenets.server.ui.texts import sentence
from texturenets.stylize.options import StylizeOptions

API = "/page/gradio_api"
PHOTO = photo(80, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models_folder(tmp_path_factory)


def begun(folder: Path) -> Service:
    return Service(
        Settings(models=folder, engine=EngineOptions("torch", "cpu"), limits=Limits(pixels=10_000))
    )


@pytest.fixture
def service(folder: Path) -> Service:
    return begun(folder)


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def layer(alpha: np.ndarray) -> bytes:
    """A layer of the editor, as opaque as `alpha` (H, W)."""
    values = np.full((*alpha.shape, 4), (200, 85, 61, 0), np.uint8)
    values[..., 3] = alpha
    return png(values)


def ramp() -> np.ndarray:
    """Opaque on the right, with a soft edge, (64, 80)."""
    return np.broadcast_to(np.clip(np.arange(80) * 16 - 512, 0, 255).astype(np.uint8), (64, 80))


@pytest.fixture
def mask(service: Service, tmp_path: Path) -> PaintedMask:
    """What is painted as `ramp` on the photo photo.png."""
    (tmp_path / "photo.png").write_bytes(PHOTO)
    (tmp_path / "layer.png").write_bytes(layer(ramp()))
    made = asyncio.run(mix.read_layer(service, tmp_path / "layer.png"))
    assert made is not None
    (tmp_path / "mask.png").write_bytes(made)
    return PaintedMask(str(tmp_path / "mask.png"), str(tmp_path / "photo.png"))


def painted(folder: Path, chosen: StyleChoice, path: Path) -> np.ndarray:
    """The pixels that come of it."""
    service = begun(folder)

    async def work() -> bytes:
        async with service.running():
            with service.queue.slot():
                style, masks = await chosen.request(service, path)
                made, _, _ = await service.stylize(PHOTO, style, StylizeOptions(), masks=masks)
        return made

    return np.asarray(opened(asyncio.run(work()))).astype(int)


def test_what_can_be_mixed_is_of_one_gallery(service: Service) -> None:
    known = service.catalogue
    assert mix.other_styles(known, "tiny:wave") == ["tiny:udnie"]
    assert mix.other_styles(known, "tiny:udnie") == ["tiny:wave"]
    for alone in ("plain", "tiny", "tiny:gone", "", None):
        assert mix.other_styles(known, alone) == []


def test_a_style_of_its_own_is_mixed_within_the_shipped_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown once on the page: as the model of its own."""
    tiny.working_folder(tmp_path, monkeypatch, {"wave": Residual(channels=8, blocks=0)})
    galleries.gallery(modelfile.ZOO)[1].rename(modelfile.ZOO / "gallery.safetensors")
    known = Service(Settings(engine=EngineOptions("torch", "cpu"))).catalogue
    assert gallery.names(known, "style") == ["gallery:udnie", "wave"]
    assert mix.other_styles(known, "wave") == ["gallery:udnie"]
    assert mix.other_styles(known, "gallery:udnie") == ["gallery:wave"]
    assert mix.mixed("wave", Mix("gallery:udnie", 0.35)) == "gallery:wave=0.65,udnie=0.35"
    assert (
        StyleChoice("wave", Mix("gallery:udnie", 0.35), PaintedMask()).caption() == "Wave with 35% of Udnie"
    )
    assert mix.mixed("wave", Mix()) == "wave"
    assert mix.mixed("other", Mix("gallery:udnie", 0.35)) == "other"


@pytest.mark.parametrize(
    ("style", "second", "share", "asked", "caption"),
    [
        ("tiny:wave", "tiny:udnie", 0.35, "tiny:wave=0.65,udnie=0.35", "Wave with 35% of Udnie"),
        ("tiny:wave", "", 0.35, "tiny:wave", "Wave"),
        ("tiny:wave", "tiny:wave", 0.35, "tiny:wave", "Wave"),  # the first was changed since
        ("plain", "tiny:udnie", 0.35, "plain", "Plain"),
        ("other:wave", "tiny:udnie", 0.35, "other:wave", "Wave"),
        (None, "", 0.5, None, ""),
    ],
)
def test_a_mixture_is_what_the_interface_calls_it(
    style: str | None, second: str, share: float, asked: str | None, caption: str
) -> None:
    chosen = StyleChoice(style, Mix(second, share), PaintedMask())
    assert mix.mixed(style, chosen.mix) == asked
    assert chosen.caption() == caption
    assert f"style={asked or ''}" in camera._query(style, chosen.mix, 0, 1, False, 1.0).replace(
        "%3A", ":"
    ).replace("%3D", "=").replace("%2C", ",")


@pytest.mark.parametrize("share", [0, 0.05, 0.4, 0.95, 1])
def test_shares_are_those_of_python(folder: Path, tmp_path: Path, share: float) -> None:
    made = painted(
        folder, StyleChoice("tiny:wave", Mix("tiny:udnie", share), PaintedMask()), tmp_path / "photo.png"
    )
    style = loading.load(folder / "tiny.safetensors", "cpu", engine="torch")
    expected = style(opened(PHOTO), mix={"wave": 1 - share, "udnie": share})
    assert np.abs(made - np.asarray(expected)).max() <= 1


def test_a_soft_edge_stays_soft(mask: PaintedMask) -> None:
    values = np.asarray(Image.open(mask.file).convert("L"))
    assert np.array_equal(values, ramp())


@pytest.mark.parametrize("style", ["plain", "tiny:wave"])
def test_what_is_painted_stays_as_in_the_photo(folder: Path, mask: PaintedMask, style: str) -> None:
    before = np.asarray(opened(PHOTO)).astype(int)
    whole = painted(folder, StyleChoice(style, Mix(), PaintedMask()), Path(mask.photo))
    made = painted(folder, StyleChoice(style, Mix(), mask), Path(mask.photo))
    share = ramp()[..., None] / 255
    assert np.abs(made - (share * before + (1 - share) * whole)).max() <= 1


def test_the_second_style_goes_where_it_is_painted(folder: Path, mask: PaintedMask) -> None:
    chosen = StyleChoice("tiny:wave", Mix("tiny:udnie", 0.6, keeps=False), mask)
    made = painted(folder, chosen, Path(mask.photo))
    style = loading.load(folder / "tiny.safetensors", "cpu", engine="torch")
    second = Image.fromarray((0.6 * ramp()).round().astype(np.uint8))
    expected = style(opened(PHOTO), mix={"wave": 0.5, "udnie": 0.5}, masks={"udnie": second})
    assert np.abs(made - np.asarray(expected)).max() <= 1


def test_a_mixture_stays_one_beside_what_is_kept(folder: Path, mask: PaintedMask) -> None:
    made = painted(folder, StyleChoice("tiny:wave", Mix("tiny:udnie", 0.4), mask), Path(mask.photo))
    style = loading.load(folder / "tiny.safetensors", "cpu", engine="torch")
    masks = {"wave": np.full((64, 80, 3), 153, np.uint8), "photo": Image.fromarray(ramp())}
    expected = style(opened(PHOTO), mix={"wave": 0.5, "udnie": 0.5}, masks=masks)
    assert np.abs(made - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    ("size", "made"), [(128, (80, 64)), (80, (80, 64)), (40, (40, 32)), (None, (80, 64))]
)
def test_a_photo_is_not_enlarged(
    service: Service, tmp_path: Path, size: int | None, made: tuple[int, int]
) -> None:
    """As on the static page: the size is the largest."""
    (tmp_path / "photo.png").write_bytes(PHOTO)
    (tmp_path / "text.png").write_bytes(b"hello")

    async def work() -> None:
        async with service.running():
            choice, options = StyleChoice("plain", Mix(), PaintedMask()), StylizeOptions(size=size)
            done = await stylizing.stylize(service, tmp_path / "photo.png", choice, options)
            assert done.size == opened(done.data).size == made
            with pytest.raises(HTTPProblem, match="not an image"):
                await stylizing.stylize(service, tmp_path / "text.png", choice, options)

    asyncio.run(work())


def test_a_mask_is_for_its_photo(service: Service, mask: PaintedMask, tmp_path: Path) -> None:
    chosen = StyleChoice("plain", Mix(), mask)
    style, masks = asyncio.run(chosen.request(service, tmp_path / "other.png"))
    assert (style, masks) == ("plain", NO_MASKS)
    Path(mask.file).unlink()
    with pytest.raises(HTTPProblem, match="the mask is no longer here: paint it again"):
        asyncio.run(chosen.request(service, Path(mask.photo)))


def test_a_mask_of_another_shape_is_refused(folder: Path, mask: PaintedMask) -> None:
    Path(mask.file).write_bytes(png(np.zeros((64, 64), np.uint8)))
    with pytest.raises(HTTPProblem, match="of another shape than the photo's 80 x 64") as refused:
        painted(folder, StyleChoice("plain", Mix(), mask), Path(mask.photo))
    assert refused.value.status == 422


def test_nothing_painted_is_no_mask(service: Service, tmp_path: Path) -> None:
    (tmp_path / "layer.png").write_bytes(layer(np.zeros((64, 80), np.uint8)))
    assert asyncio.run(mix.read_layer(service, tmp_path / "layer.png")) is None


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [(png(np.zeros((200, 200), np.uint8)), 413, "200 x 200 pixels"), (b"none", 415, "not an image")],
)
def test_layers_are_bounded_as_photos_are(
    service: Service, tmp_path: Path, data: bytes, status: int, said: str
) -> None:
    (tmp_path / "layer.png").write_bytes(data)
    with pytest.raises(HTTPProblem, match=said) as refused:
        asyncio.run(mix.read_layer(service, tmp_path / "layer.png"))
    assert refused.value.status == status


def given(service: Service, folder: Path, name: str, data: bytes) -> mix.UploadedMask:
    """The mask in a file of that name, for a photo of 80 x 64 pixels."""
    (folder / "photo.png").write_bytes(PHOTO)
    (folder / name).write_bytes(data)
    return asyncio.run(
        mix.read_mask(service, folder / name, str(folder / "photo.png"), str(folder / "photo.png"))
    )


def test_a_mask_comes_as_an_image(service: Service, folder: Path, tmp_path: Path) -> None:
    made = given(service, tmp_path, "sky.png", png(ramp()))
    assert made.note == "The mask is sky.png."
    assert np.array_equal(np.asarray(opened(made.data).convert("L")), ramp())
    shown = np.asarray(opened(made.shown)).astype(int)
    assert (
        np.abs(shown[:, -1] - (0.3 * np.asarray(opened(PHOTO))[:, -1] + 0.7 * np.array([200, 85, 61]))).mean()
        < 16
    )
    (tmp_path / "mask.png").write_bytes(made.data)
    chosen = StyleChoice("plain", Mix(), PaintedMask(str(tmp_path / "mask.png"), str(tmp_path / "photo.png")))
    kept = painted(folder, chosen, tmp_path / "photo.png")
    assert np.array_equal(kept[:, -20:], np.asarray(opened(PHOTO))[:, -20:])


def test_a_mask_of_another_size_is_scaled_with_a_note(service: Service, tmp_path: Path) -> None:
    wide = np.kron(ramp()[:40, :50], np.ones((2, 2), np.uint8))
    made = given(service, tmp_path, "sky.png", png(wide))
    assert made.note == "The mask, sky.png, 100 × 80 pixels, is scaled to the photo's 80 × 64."
    assert opened(made.data).size == (100, 80)
    black = given(service, tmp_path, "sky.png", png(np.zeros((64, 80), np.uint8)))
    assert black.note == "sky.png is black, so nothing is painted: white counts as painted."


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (
            png(np.zeros((64, 64), np.uint8)),
            422,
            "sky.png has 64 x 64 pixels, of another shape than the photo's 80 x 64: crop or draw it again.",
        ),
        (png(np.zeros((200, 250), np.uint8)), 413, "sky.png: a photo of 250 x 200 pixels: at most"),
        (b"none", 415, "sky.png is not an image"),
    ],
)
def test_what_is_no_mask_of_the_photo_is_refused(
    service: Service, tmp_path: Path, data: bytes, status: int, said: str
) -> None:
    with pytest.raises(HTTPProblem) as problem:
        given(service, tmp_path, "sky.png", data)
    assert problem.value.status == status
    assert sentence(problem.value, "sky.png").startswith(said)


def test_strokes_are_added_to_the_mask_of_a_file(service: Service, tmp_path: Path) -> None:
    made = given(service, tmp_path, "sky.png", png(ramp()))
    (tmp_path / "given.png").write_bytes(made.data)
    alpha = np.zeros((32, 40), np.uint8)
    (tmp_path / "layer.png").write_bytes(layer(alpha))
    nothing = asyncio.run(mix.read_layer(service, tmp_path / "layer.png", str(tmp_path / "given.png")))
    assert nothing == made.data
    alpha[:, :10] = 255
    (tmp_path / "layer.png").write_bytes(layer(alpha))
    both = asyncio.run(mix.read_layer(service, tmp_path / "layer.png", str(tmp_path / "given.png")))
    assert both is not None
    values = np.asarray(opened(both).convert("L"))
    assert values[:, :18].min() == 255
    assert np.array_equal(values[:, 24:], ramp()[:, 24:])


@pytest.fixture
def page(folder: Path) -> Iterator[TestClient]:
    with client(folder, limits={"pixels": 10_000}, page=True) as running:
        yield running


def sent(page: TestClient, value: Any, event: str = "_painted") -> str:
    """What comes back of an event with a mask."""
    config = page.get("/page/config").json()
    (found,) = (one for one in config["dependencies"] if one["api_name"] == event)
    data = [value, *[None] * (len(found["inputs"]) - 1)]
    asked = {"data": data, "fn_index": found["id"], "session_hash": "abc"}
    answer = page.post(f"{API}/queue/join", json=asked)
    if answer.status_code != 200:
        return answer.text
    return page.get(f"{API}/queue/data?session_hash=abc").text


def test_values_that_no_editor_sends_leave_no_trace(
    page: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    away = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    wrong: list[Any] = [
        "x",
        5,
        [],
        {"layers": 5},
        {"layers": ["x"]},
        {"background": None, "layers": [{"a": 1}]},
    ]
    for value in wrong:
        assert "reload the page" in sent(page, value), value
    assert "was not uploaded here" in sent(page, {"background": None, "layers": [away], "composite": None})
    gone = {"path": str(store.folder() / "files" / "gone.png"), "meta": {"_type": "gradio.FileData"}}
    assert "Traceback" not in sent(page, {"background": gone, "layers": [gone], "composite": gone})
    for value in ("x", 5, [], [gone], ["x"], {"a": 1}, gone, None):
        assert "Traceback" not in sent(page, value, "_uploaded")
    for value in (None, {"id": "x"}, {"background": None, "layers": [], "composite": None}):
        told = sent(page, value)
        assert json.dumps("process_completed") in told
    assert "Traceback" not in capsys.readouterr().err
