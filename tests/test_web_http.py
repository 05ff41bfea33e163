"""The HTTP API: images, names, limits, errors, and its document."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import io
import json
import logging
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

from fastapi.testclient import TestClient
from PIL import Image
from safetensors import safe_open
from webservice import client, model, opened, photo

from texturenets import image, loading
from texturenets.cli import main
from texturenets.errors import DiskFullError, NoBaseError, NotWritableError, UserError, cannot_write
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual
from texturenets.server.guard import Guard
from texturenets.server.http_errors import HTTPProblem, refused
from texturenets.server.models import Catalogue
from texturenets.server.settings import Settings
from texturenets.server.ui import texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("models")
    model(place)
    model(place, "other")
    return place


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[TestClient]:
    with client(folder, limits={"bytes": 200_000, "pixels": 40_000, "side": 1000}) as running:
        yield running


def problem(answer: Any, status: int) -> str:
    """The detail of a problem, checked to be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert "Traceback" not in answer.text
    return str(body["detail"])


def test_a_photo_comes_back_as_the_command_line_makes_it(
    service: TestClient, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(photo())
    words = ["stylize", str(tmp_path / "photo.png"), "-s", str(folder / "tiny.safetensors"), "--size", "40"]
    assert main([*words, "-o", str(tmp_path / "out.png"), "--engine", "torch", "--device", "cpu"]) == 0
    raw = service.post("/v1/stylize?style=tiny&size=40", content=photo())
    form = service.post("/v1/stylize?style=tiny&size=40", files={"photo": ("a.png", photo(), "image/png")})
    assert raw.status_code == form.status_code == 200, raw.text
    assert raw.headers["content-type"] == "image/png"
    assert raw.content == form.content == (tmp_path / "out.png").read_bytes()


@pytest.mark.parametrize(("form", "media"), [("jpeg", "image/jpeg"), ("webp", "image/webp")])
def test_the_format_can_be_chosen(service: TestClient, form: str, media: str) -> None:
    answer = service.post(f"/v1/stylize?style=tiny&format={form}", content=photo())
    assert answer.headers["content-type"] == media
    assert opened(answer.content).format == form.upper()


def test_many_at_once_each_get_their_own(service: TestClient) -> None:
    photos = [photo(20 + i, 30, seed=i) for i in range(12)]
    names = ["tiny", "other"]

    def ask(i: int) -> bytes:
        answer = service.post(f"/v1/stylize?style={names[i % 2]}", content=photos[i])
        assert answer.status_code == 200
        return answer.content

    alone = [ask(i) for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(12))) == alone
    assert len(set(alone)) == 12


def test_models_are_listed_and_new_ones_found(service: TestClient, folder: Path) -> None:
    names = {one["name"] for one in service.get("/v1/models").json()["models"]}
    assert {"tiny", "other"} <= names
    path = model(folder, "late")
    try:
        assert service.post("/v1/stylize?style=late", content=photo()).status_code == 200
    finally:
        path.unlink()
    assert "late" in problem(service.post("/v1/stylize?style=late", content=photo()), 404)


def test_shipped_materials_are_not_served_and_not_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names, channels = ("color", "height"), Multiscale(channels=(4, 4), blocks=0, outputs=4)
    header = modelfile.Header(name="rock", kind="material", generator=channels, maps=names)
    for name in ("rock", "mine"):
        network_files.save(build(channels), header, tmp_path / name / f"{name}.safetensors")
    monkeypatch.setattr(modelfile, "ZOO", tmp_path / "rock")
    catalogue = Catalogue(tmp_path / "mine")
    assert catalogue.models() == {}
    (line,) = caplog.records
    assert "mine.safetensors" in line.getMessage() + str(vars(line))


@pytest.mark.parametrize("name", ["../tiny", "/etc/passwd", "tiny.safetensors", "..%2f..%2ftiny", "%00"])
def test_names_are_no_paths(service: TestClient, name: str) -> None:
    problem(service.post(f"/v1/stylize?style={name}", content=photo()), 404)
    problem(service.get(f"/v1/models/{name}/thumbnail"), 404)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 415),
        (b"not an image", 415),
        (bomb(100_000, 1), 413),
        (bomb(300, 300), 413),
        (bomb(60_000, 60_000), 413),
        (bomb(100, 100), 422),
        (photo()[:300], 422),
        (bytes(200_001), 413),
    ],
)
def test_what_is_no_fit_picture_is_refused(service: TestClient, body: bytes, status: int) -> None:
    problem(service.post("/v1/stylize?style=tiny", content=body), status)


@pytest.mark.parametrize(
    "query",
    ["size=0", "strength=2", "strength=nan", "seed=-1", "format=exe", "quality=0", "size=x"],
)
def test_a_value_out_of_its_range_is_named(service: TestClient, query: str) -> None:
    said = problem(service.post(f"/v1/stylize?style=tiny&{query}", content=photo()), 422)
    assert query.partition("=")[0] in said


def test_a_result_counts_against_the_limits_too(service: TestClient) -> None:
    for size in (900, 1001, 10**30):
        answer = service.post(f"/v1/stylize?style=tiny&size={size}", content=photo())
        assert "result" in problem(answer, 413)


def test_a_body_without_length_is_cut_off(service: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(10_000)

    problem(service.post("/v1/stylize?style=tiny", content=parts()), 413)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_refused_with_the_way_out(service: TestClient, form: str) -> None:
    frames = [Image.new("RGB", (40, 30), (level, 0, 0)) for level in (0, 128, 255)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    said = problem(service.post("/v1/stylize?style=tiny", content=buffer.getvalue()), 415)
    assert "animation" in said
    assert "`texturenets stylize`" in said
    buffer = io.BytesIO()
    frames[0].save(buffer, form)
    assert service.post("/v1/stylize?style=tiny", content=buffer.getvalue()).status_code == 200


def test_the_document_says_what_heic_comes_back_as(service: TestClient) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = io.BytesIO()
    Image.open(io.BytesIO(photo())).save(data, "HEIF")
    answer = service.post("/v1/stylize?style=tiny", content=data.getvalue())
    assert answer.headers["content-type"] == "image/jpeg"
    parameters = service.get("/openapi.json").json()["paths"]["/v1/stylize"]["post"]["parameters"]
    (said,) = [one["description"] for one in parameters if one["name"] == "format"]
    assert "HEIC" in said
    assert "JPEG" in said


def test_the_document_says_limits_in_the_words_of_json_schema(service: TestClient) -> None:
    parameters = service.get("/openapi.json").json()["paths"]["/v1/stylize"]["post"]["parameters"]
    schemas = {one["name"]: one["schema"] for one in parameters}
    assert (schemas["strength"]["minimum"], schemas["strength"]["maximum"]) == (0, 1)
    assert (schemas["seed"]["minimum"], schemas["seed"]["maximum"]) == (0, 2**53)
    assert schemas["quality"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 100}
    assert problem(service.post(f"/v1/stylize?seed={2**53 + 1}"), 422).endswith(f"give at most {2**53}")


def test_a_form_without_a_file(service: TestClient) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}
    problem(service.post("/v1/stylize", content=b"--x--\r\n", headers=form), 422)
    broken = service.post("/v1/stylize", content=b"nothing of the kind", headers=form)
    assert 400 <= broken.status_code < 500


def test_a_form_that_is_cut_short(service: TestClient) -> None:
    part = 'Content-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
    whole = f"--x\r\n{part}".encode() + photo() + b"\r\n--x--\r\n"
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert service.post("/v1/stylize?style=tiny", content=whole, headers=form).status_code == 200
    assert service.post("/v1/stylize?style=tiny", content=whole[:-2], headers=form).status_code == 200
    for left in (3, 4, 9, 100, len(whole) - 50, len(whole) - 3):
        said = problem(service.post("/v1/stylize?style=tiny", content=whole[:-left], headers=form), 400)
        assert said == "the form ends before its last boundary: it is cut short"


@pytest.mark.parametrize("path", ["/v1/stylize", "/v1/trainings?name=a"])
def test_slips_of_a_sender_are_told_the_way_out(tmp_path: Path, path: str) -> None:
    pytest.importorskip("fcntl", reason="trainings need it")
    model(tmp_path)
    (tmp_path / "photos").mkdir()
    text = {"content-type": "application/x-www-form-urlencoded"}
    stripped = photo().translate(None, b"\0\r\n")  # what curl -d makes of a file
    with client(tmp_path, photos=tmp_path / "photos") as service:
        for body in (stripped, b"image=@photo.jpg"):
            said = problem(service.post(path, content=body, headers=text), 415)
            assert "curl --data-binary @photo.jpg" in said
            assert "curl -F image=@photo.jpg" in said
        assert "the body is text" in problem(service.post(path, json={"image": "aGVsbG8="}), 415)
        said = problem(service.post(path, files={"image": (None, "photo.jpg")}), 422)
        assert said.startswith("the form holds no file, but 'image' as text")
        assert "curl -F image=@photo.jpg, with an @" in said
        form = {"image": ("a.png", photo(), "image/png"), "style": (None, "tiny")}
        assert problem(service.post(path, files=form), 422).startswith("'style' in the form: parameters go")
        two = [("image", ("a.png", photo(), "image/png"))] * 2
        said = problem(service.post(path, files=two), 400)
        assert said.startswith("the form holds several photos, 'image' and 'image': send one")
        odd = service.post(path, content=photo(), headers={"content-type": "multipart/form-data"})
        said = problem(odd, 400)
        assert said.startswith("the form cannot be read: ")
        assert said.endswith("; curl -F image=@photo.jpg sends one that can")
        form = {"image": ("a.png", b"", "image/png")}
        assert problem(service.post(path, files=form), 415) == "the file in the form is empty"
        said = problem(service.post(path), 415)
        assert said == "the body is empty: send the image's file, as curl --data-binary @photo.jpg does"
        binary = service.post(path, content=photo(), headers=text)  # as curl --data-binary calls it too
        assert binary.status_code in (200, 202), binary.text


def test_parameters_without_effect_are_refused(tmp_path: Path) -> None:
    model(tmp_path, "plain")
    spec = Residual(channels=8, blocks=1, noise_depth=2)
    network_files.save(
        build(spec), Header(name="noisy", kind="style", generator=spec), tmp_path / "noisy.safetensors"
    )
    with client(tmp_path) as service:
        said = problem(service.post("/v1/stylize?style=plain&seed=3", content=photo()), 422)
        assert said.startswith("seed 3: plain takes no noise")
        assert service.post("/v1/stylize?style=plain&seed=0", content=photo()).status_code == 200
        assert service.post("/v1/stylize?style=noisy&seed=3", content=photo()).status_code == 200
        said = problem(service.post("/v1/stylize?style=plain&format=png&quality=80", content=photo()), 422)
        assert said.startswith("quality 80: ")
        assert service.post("/v1/stylize?style=plain&quality=80", content=photo()).status_code == 200


class Sampler:
    """A texture that draws its seed as a grey."""

    def scaled(self, scale: float) -> Sampler:
        made = Sampler()
        made.blue = round(100 * scale)
        return made

    blue = 0

    def sample(self, size: tuple[int, int], *, seed: int, tileable: bool) -> Image.Image:
        return Image.new("RGB", size, (seed, int(tileable), self.blue))


def test_samples(tmp_path: Path) -> None:
    model(tmp_path, "grain", "texture")
    with client(tmp_path, load=lambda _: Sampler(), limits={"side": 500}) as service:
        answer = service.post("/v1/sample?texture=grain&size=40x20&seed=7&tileable=true")
        assert answer.status_code == 200, answer.text
        picture = opened(answer.content)
        assert (picture.size, picture.getpixel((3, 3))) == ((40, 20), (7, 1, 0))
        problem(service.post("/v1/sample?texture=grain&size=0x20"), 422)
        small = opened(service.post("/v1/sample?texture=grain&size=40x20&scale=0.5").content)
        assert (small.size, small.getpixel((3, 3))) == ((40, 20), (0, 0, 50))
        said = problem(service.post("/v1/sample?texture=grain&size=100&scale=0.0625"), 413)
        assert said.startswith("the image drawn for scale 0.0625 of 1600 x 1600 pixels: at most")
        problem(service.post("/v1/sample?texture=grain&size=40x20&scale=0.01"), 422)
        form = {"texture": (None, "grain")}
        assert problem(service.post("/v1/sample", files=form), 422).startswith("a body has no effect")
        assert problem(service.post("/v1/sample", data={"size": "9"}), 422).startswith("a body has no effect")
        assert "?NAME=VALUE" in problem(service.post("/v1/sample", json={"texture": "grain"}), 422)
        for size in ("501", "9999999", "20x9999999", "9" * 18):
            assert "pixels: at most" in problem(service.post(f"/v1/sample?texture=grain&size={size}"), 413)
        said = problem(service.post("/v1/sample?texture=wave"), 404)
        assert "wave is a style" in said
        assert "/v1/stylize?style=wave" in said
        said = problem(service.post("/v1/stylize?style=grain", content=photo()), 404)
        assert "grain is a texture" in said
        assert "/v1/sample?texture=grain" in said


def test_a_sample_is_the_one_of_the_command_line(service: TestClient, folder: Path, tmp_path: Path) -> None:
    path = model(folder, "bark", "texture")
    words = ["sample", str(path), "--size", "40x24", "--seed", "3", "--device", "cpu", "--engine", "torch"]
    assert main([*words, "-o", str(tmp_path / "out.png"), "--quiet"]) == 0
    answer = service.post("/v1/sample?texture=bark&size=40x24&seed=3")
    assert answer.status_code == 200, answer.text
    assert opened(answer.content).tobytes() == opened((tmp_path / "out.png").read_bytes()).tobytes()


class Slow:
    """A style that waits for leave."""

    def __init__(self) -> None:
        self.begun, self.leave = threading.Event(), threading.Event()

    def stylize(self, pixels: Any, **_: Any) -> Any:
        self.begun.set()
        assert self.leave.wait(20)
        return np.zeros_like(pixels)


def test_a_full_line_says_when_to_come_again(folder: Path) -> None:
    slow = Slow()
    with client(folder, load=lambda _: slow, limits={"queue": 1}) as service, ThreadPoolExecutor(1) as pool:
        first = pool.submit(service.post, "/v1/stylize?style=tiny", content=photo())
        assert slow.begun.wait(20)
        refused = service.post("/v1/stylize?style=tiny", content=photo())
        assert problem(refused, 503) == "1 request waits already; try again later"
        assert int(refused.headers["retry-after"]) >= 1
        slow.leave.set()
        assert first.result().status_code == 200
        assert service.post("/v1/stylize?style=tiny", content=photo()).status_code == 200


def test_what_takes_too_long_is_given_up(folder: Path) -> None:
    slow = Slow()
    limits = {"seconds": 1.1, "queue": 2}
    with client(folder, load=lambda _: slow, limits=limits) as service, ThreadPoolExecutor(2) as pool:
        first = pool.submit(service.post, "/v1/stylize?style=tiny", content=photo())
        assert slow.begun.wait(20)
        second = pool.submit(service.post, "/v1/stylize?style=tiny", content=photo())
        late = [first.result(), second.result()]
        slow.leave.set()
    assert ["1.1 s" in problem(one, 503) for one in late] == [True, True]
    assert "retry-after" not in late[0].headers  # nothing was before it: it would take as long again
    # The image in the engine is there for longer than a second already: each ahead takes that long at least.
    assert int(late[1].headers["retry-after"]) >= 2


def test_a_mistake_of_ours_shows_no_trace(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Path) -> Any:
        raise ZeroDivisionError("secret")

    with caplog.at_level(logging.ERROR, "texturenets.server"), client(folder, load=fail) as service:
        answer = service.post("/v1/stylize?style=tiny", content=photo())
        assert "secret" not in problem(answer, 500)
        assert service.get("/healthz").status_code == 200  # it goes on
    assert any(record.exc_info for record in caplog.records)


def test_the_cache_of_models_is_bounded(folder: Path) -> None:
    made: list[str] = []

    class Still:
        def stylize(self, pixels: Any, **_: Any) -> Any:
            return pixels

    def load(path: Path) -> Any:
        made.append(path.stem)
        return Still()

    with client(folder, load=load, limits={"models": 1}) as service:
        for name in ("tiny", "tiny", "other", "tiny"):
            assert service.post(f"/v1/stylize?style={name}", content=photo()).status_code == 200
        assert "texturenets_models_loaded 1.0" in service.get("/metrics").text
    assert made == ["tiny", "other", "tiny"]


def test_metrics_and_logs(service: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "texturenets.server"):
        service.post("/v1/stylize?style=tiny&strength=0.4242", content=photo())
    fields = next(r.fields for r in caplog.records if r.getMessage() == "request")  # type: ignore[attr-defined]
    assert fields["status"] == 200
    assert fields["route"] == "/v1/stylize"
    assert fields["bytes_in"] == len(photo())
    assert "4242" not in json.dumps(fields)
    service.post("/v1/stylize", content=photo(), headers={"Host": "elsewhere.example"})
    text = service.get("/metrics").text
    assert 'texturenets_requests_total{method="POST",route="/v1/stylize",status="200"}' in text
    # refused before a route is looked for
    assert 'texturenets_requests_total{method="POST",route="/v1/stylize",status="421"}' in text
    assert 'texturenets_pictures_total{model="tiny"}' in text


def test_the_log_says_who_asked_for_what(service: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "texturenets.server"):
        made = service.post(
            "/v1/stylize?style=tiny&size=40", content=photo(), headers={"X-Request-ID": "r-1.a"}
        )
        none = service.post("/v1/stylize?style=timy", content=photo(), headers={"X-Request-ID": "a\tb" * 40})
        large = service.post("/v1/sample?texture=bark&size=4000x20")
    fields: list[dict[str, Any]] = [r.fields for r in caplog.records if r.getMessage() == "request"]  # type: ignore[attr-defined]
    assert made.headers["x-request-id"] == fields[0]["id"] == "r-1.a"
    assert (fields[0]["style"], fields[0]["size"]) == ("tiny", "40x27")
    assert fields[0]["seconds"] > 0
    assert "reason" not in fields[0]
    assert none.headers["x-request-id"] == fields[1]["id"] != fields[2]["id"]
    assert (fields[1]["status"], fields[1]["style"], fields[1]["reason"]) == (
        404,
        "timy",
        none.json()["detail"],
    )
    assert fields[2]["reason"] == large.json()["detail"]
    assert fields[2]["texture"] == "bark"


@pytest.mark.parametrize(
    ("path", "strange", "near"),
    [("/v1/stylize?styl=tiny", "styl", "style"), ("/v1/sample?seed=1&tilable=1", "tilable", "tileable")],
)
def test_unknown_parameters_are_named(service: TestClient, path: str, strange: str, near: str) -> None:
    said = problem(service.post(path, content=photo()), 422)
    assert f"'{strange}'" in said
    assert near in said
    problem(service.get("/v1/models?kind=style"), 422)
    assert service.get("/docs?from=here").status_code == 200  # what people follow, not programs


def test_ready_when_models_are_loaded(folder: Path) -> None:
    leave, seen = threading.Event(), []

    def load(path: Path) -> Any:
        assert leave.wait(20)
        seen.append(path.stem)
        return object()

    with client(folder, load=load, preload=("tiny", "other")) as service:
        assert service.get("/healthz").status_code == 200
        assert "tiny" in problem(service.get("/readyz"), 503)
        leave.set()
        ends = time.monotonic() + 20
        while service.get("/readyz").status_code != 200:
            assert time.monotonic() < ends
        assert seen == ["tiny", "tiny", "other", "other"]  # one for each lane

    def broken(_: Path) -> Any:
        raise ValueError("secret")

    with client(folder, load=broken, preload=("tiny",)) as service:
        while "tiny could not" not in problem(service.get("/readyz"), 503):
            assert time.monotonic() < ends
    with pytest.raises(UserError, match=r"--preload.*'tinny'.*'tiny'"):
        client(folder, preload=("tinny",))
    with pytest.raises(UserError, match="--max-models 1"):
        client(folder, preload=("tiny", "other"), limits={"models": 1})


def header(path: Path, text: bytes) -> None:
    """A model file with that as its header."""
    data = json.dumps({"__metadata__": {"texturenets": "@"}}).encode().replace(b'"@"', text)
    path.write_bytes(struct.pack("<Q", len(data)) + data)


def changed(folder: Path, name: str, **fields: Any) -> None:
    """A model file with other fields in its header."""
    path = model(folder, name)
    with safe_open(path, "np") as file:
        data = {**json.loads(file.metadata()["texturenets"]), **fields}
    header(path, json.dumps(json.dumps(data)).encode())


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with a model that is well, among others."""
    model(tmp_path, "well")
    header(tmp_path / "nested.safetensors", json.dumps("[" * 60000).encode())
    changed(tmp_path, "infinite", format=float("inf"))
    changed(tmp_path, "thumbnail", thumbnail=7)
    changed(tmp_path, "broken_thumbnail", thumbnail="no base64")
    changed(tmp_path, "licence", licence=[1])
    changed(tmp_path, "surrogate", licence="\ud800")
    changed(tmp_path, "kind", kind="neither")
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "gone.safetensors").symlink_to("nowhere")
    (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
    (tmp_path / "loud.SAFETENSORS").write_bytes((tmp_path / "well.safetensors").read_bytes())
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo.safetensors")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.safetensors")).write_bytes(
            (tmp_path / "well.safetensors").read_bytes()
        )
    return tmp_path


def test_a_file_of_the_epoch_is_a_model_like_any_other(tmp_path: Path) -> None:
    os.utime(model(tmp_path, "old"), ns=(0, 0))  # as in images of containers that are built to the same bytes
    with client(tmp_path) as service:
        assert "old" in {one["name"] for one in service.get("/v1/models").json()["models"]}


def test_hidden_files_are_no_models(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = model(tmp_path, "well").read_bytes()
    (tmp_path / ".x.safetensors").write_bytes(whole)
    (tmp_path / "._well.safetensors").write_bytes(b"as macOS leaves them beside a file")
    with caplog.at_level(logging.WARNING, "texturenets.server"), client(tmp_path) as service:
        names = {one["name"] for one in service.get("/v1/models").json()["models"]}
    assert "well" in names
    assert not {name for name in names if name.startswith(".")}
    assert not caplog.records


def test_bad_files_among_the_models(hostile: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "texturenets.server"), client(hostile) as service:
        for _ in range(3):
            names = {one["name"] for one in service.get("/v1/models").json()["models"]}
            assert "well" in names
            assert not {path.stem for path in hostile.iterdir()} & names - {"well"}
        assert service.post("/v1/stylize?style=well", content=photo()).status_code == 200
        for name in ("nested", "kind", "fifo"):
            said = clean(problem(service.post(f"/v1/stylize?style={name}", content=photo()), 404))
            assert said.startswith(
                f"the model file of {name} cannot be used, as the service's log says; known: "
            )
            assert "well" in said
            assert "cannot be used" in problem(service.get(f"/v1/models/{name}/thumbnail"), 404)
        problem(service.get("/v1/models/thumbnail/thumbnail"), 404)
    files = [r.fields["file"] for r in caplog.records]  # type: ignore[attr-defined]
    bad = {path.name for path in hostile.iterdir()} - {"well.safetensors"}
    assert len(files) == len(set(files)) == len(bad)  # a line each
    reasons = {r.fields["file"]: r.fields["reason"] for r in caplog.records}  # type: ignore[attr-defined]
    assert reasons["gone.safetensors"] == reasons["loop.safetensors"] == "it is a link that leads to no file"
    assert reasons["loud.SAFETENSORS"] == "its suffix is not .safetensors: rename the file"
    with pytest.raises(UserError, match="--preload: the model file of nested cannot be used"):
        client(hostile, preload=("nested",))


def test_addresses_of_thumbnails_can_be_asked_for(tmp_path: Path) -> None:
    names = ("with space", "a#b", "a?b=c", "50%", "größer", "a+b")
    small = base64.b64encode(photo(8, 8, "JPEG")).decode()
    for name in names:
        changed(tmp_path, name, thumbnail=small)
    with client(tmp_path) as service:
        known = {one["name"]: one for one in service.get("/v1/models").json()["models"]}
        for name in names:
            address = known[name]["thumbnail"]
            assert re.fullmatch(r"/[A-Za-z0-9%/._~-]+", address)
            assert service.get(address).content == photo(8, 8, "JPEG"), name


def test_a_file_cannot_take_the_name_of_a_shipped_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model(tmp_path, "wave")
    model(tmp_path, "mine")
    with caplog.at_level(logging.WARNING, "texturenets.server"), client(tmp_path) as service:
        (line,) = [r.fields for r in caplog.records]  # type: ignore[attr-defined]  # before any request
        assert line["file"] == "wave.safetensors"
        assert "rename" in line["reason"]
        known = {one["name"]: one for one in service.get("/v1/models").json()["models"]}
        assert known["wave"]["thumbnail"]  # the shipped one's
        assert not known["mine"]["thumbnail"]
    assert len(caplog.records) == 1


def test_the_page_with_bad_files_among_the_models(hostile: Path) -> None:
    pytest.importorskip("gradio", reason="the page needs it")
    run = {"device": "cpu", "processors": os.cpu_count(), "step": 10**400, "seconds": 1}
    changed(hostile, "huge", training={**run, "run": {"batch_size": 1, "image_size": 1}})
    (hostile / "photos").mkdir()
    with client(hostile, page=True, photos=hostile / "photos") as service:
        assert service.get("/page/").status_code == 200


def test_the_document_names_every_route(service: TestClient) -> None:
    document = service.get("/openapi.json").json()
    assert set(document["paths"]) >= {"/v1/stylize", "/v1/sample", "/v1/models", "/healthz", "/metrics"}
    body = document["paths"]["/v1/stylize"]["post"]["requestBody"]["content"]
    assert set(body) == {"image/*", "multipart/form-data"}
    page = service.get("/docs")
    assert "/v1/sample" in page.text
    assert "http" not in page.text.replace("HTTP", "").replace("http-equiv", "")  # nothing from elsewhere


def test_the_document_has_422_of_every_route(service: TestClient) -> None:
    document = service.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = service.request(method, f"{path.replace('{name}', 'tiny')}?unknown=1")
            assert answer.status_code == 422, (method, path)
            content = operation["responses"]["422"]["content"]
            assert set(content) == {answer.headers["content-type"]} == {"application/problem+json"}
            assert content["application/problem+json"]["schema"]["title"] == "Problem"
    assert "ValidationError" not in json.dumps(document)


def test_metrics_count_trainings(
    service: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "texturenets_trainings" not in service.get("/metrics").text
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    monkeypatch.setattr("texturenets.server.training_routes._check_weights", lambda *_: None)
    (tmp_path / "photos").mkdir()
    with client(tmp_path, photos=tmp_path / "photos") as training:
        for name in ("a", "b"):
            post = f"/v1/trainings?name={name}&kind=texture"
            assert training.post(post, content=photo(200, 160)).status_code == 202
        reserved = f"/v1/trainings?name=painting-00000000-{'0' * 24}"
        assert "visitors' paintings" in problem(training.post(reserved, content=photo(200, 160)), 409)
        training.post("/v1/trainings/b/stop")
        text = training.get("/metrics").text
    for state, count in {"queued": 1, "running": 0, "stopped": 1, "done": 0, "failed": 0}.items():
        assert f'texturenets_trainings{{state="{state}"}} {count}.0' in text


def test_the_bare_address_leads_to_the_document(service: TestClient) -> None:
    assert service.get("/").url.path == "/docs"


def test_other_addresses_are_problems(service: TestClient) -> None:
    problem(service.get("/nowhere"), 404)
    problem(service.get("/v1/stylize"), 405)


def test_the_photo_may_be_turned_and_transparent(service: TestClient) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (30, 20), (200, 30, 40, 128)).save(buffer, "PNG")
    answer = service.post("/v1/stylize?style=tiny", content=buffer.getvalue())
    assert opened(answer.content).mode == "RGBA"


@pytest.mark.parametrize("form", ["TIFF", "AVIF", "WEBP"])
def test_opacity_is_kept_where_no_format_is_asked_for(service: TestClient, form: str) -> None:
    if form not in image.formats.decodable_formats().values():
        pytest.skip(f"no {form} here")
    for mode, colour in (("RGBA", (200, 30, 40, 128)), ("RGB", (200, 30, 40))):
        buffer = io.BytesIO()
        Image.new(mode, (30, 20), colour).save(buffer, form)
        answer = service.post("/v1/stylize?style=tiny&quality=80", content=buffer.getvalue())
        same = {"RGBA": "PNG", "RGB": "JPEG"}[mode] if form != "WEBP" else "WEBP"
        assert opened(answer.content).format == same
        assert opened(answer.content).mode == mode
        assert answer.headers["content-type"] == f"image/{same.lower()}"
        assert f"tiny.{'jpg' if same == 'JPEG' else same.lower()}" in answer.headers["content-disposition"]


def test_trainings_over_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    (tmp_path / "photos").mkdir()
    with client(tmp_path) as service:
        assert "--photos" in problem(service.get("/v1/trainings"), 404)
    with client(tmp_path, photos=tmp_path / "photos") as service:
        assert service.get("/v1/trainings").json() == {"trainings": []}
        problem(service.post("/v1/trainings?name=a&steps=5", content=b"no image"), 415)
        problem(service.post("/v1/trainings?name=..%2fa&steps=5", content=photo()), 422)
        problem(service.post("/v1/trainings?name=a&preset=none", content=photo()), 422)
        said = problem(service.post("/v1/trainings?name=a&photos=b", content=photo()), 422)
        assert "''" not in said
        assert "leave out photos" in said
        said = problem(service.post("/v1/trainings?name=a&kind=texture&photos=b", content=photo()), 422)
        assert said.startswith("photos ")
        for path in ("none", "none/picture", "..%2fnone"):
            problem(service.get(f"/v1/trainings/{path}"), 404)
        with caplog.at_level(logging.INFO, "texturenets.server"):
            begun = service.post("/v1/trainings?name=mine&steps=5", content=photo())
        assert begun.status_code == 202, begun.text
        (line,) = [r.fields for r in caplog.records if r.getMessage() == "training"]  # type: ignore[attr-defined]
        assert line == {
            "id": begun.headers["x-request-id"],
            "client": "testclient",
            "training": "mine",
            "state": "queued",
            "kind": "style",
            "preset": "default",
            "steps": 5,
        }
        assert begun.json()["steps"] == 5
        problem(service.post("/v1/trainings?name=mine&steps=5", content=photo()), 409)
        assert service.post("/v1/trainings/mine/stop").json()["state"] == "stopped"
        said = problem(service.post("/v1/trainings?name=mine&steps=5", content=photo()), 409)
        assert said.startswith(
            "there is a training mine already, which is stopped: resume it (POST /v1/trainings/mine"
        )
        problem(service.get("/v1/trainings/mine/picture"), 404)
        assert (tmp_path / "mine.job" / "exemplar.png").read_bytes() == photo()
        gone = service.delete("/v1/trainings/mine")
        assert (gone.status_code, gone.content) == (204, b"")
        assert "content-type" not in gone.headers


def test_a_compressed_body_is_refused_by_name(service: TestClient) -> None:
    for path, data in (("stylize?style=tiny", photo()), ("sample", b"")):
        body = gzip.compress(data)
        answer = service.post(f"/v1/{path}", content=body, headers={"Content-Encoding": "gzip"})
        assert (
            problem(answer, 415) == "the body is compressed (Content-Encoding: gzip): send the file as it is"
        )
        assert answer.headers["accept-encoding"] == "identity"  # RFC 9110, section 15.5.16
    plain = service.post("/v1/stylize?style=tiny", content=photo(), headers={"Content-Encoding": "identity"})
    assert plain.status_code == 200


def test_head_is_answered_as_get(service: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    for path in (
        "/healthz",
        "/readyz",
        "/v1/models",
        "/v1/models/wave/thumbnail",
        "/docs",
        "/openapi.json",
        "/no",
    ):
        got, head = service.get(path), service.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers["content-length"] == got.headers["content-length"] != "0"
    caplog.clear()  # of the requests above, which are there if another test has left the logger's level
    with caplog.at_level(logging.INFO, "texturenets.server"):
        answer = service.head("/v1/sample")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")
    (line,) = [r.fields for r in caplog.records]  # type: ignore[attr-defined]
    assert (line["method"], line["route"]) == ("HEAD", "/v1/sample")
    assert "head" not in service.get("/openapi.json").json()["paths"]["/healthz"]


def test_a_wrong_method_is_told_the_right_ones(service: TestClient) -> None:
    answer = service.put("/v1/trainings")
    assert "Allowed" in answer.json()["title"]
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert "/v1/trainings takes GET, HEAD, POST only" in answer.json()["detail"]


def clean(said: str) -> str:
    """An error's text, checked to speak of neither files of the service nor options of the command line."""
    assert "--" not in said
    assert "/tmp" not in said
    assert ".safetensors" not in said
    return said


def test_errors_speak_of_parameters(service: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    said = clean(problem(service.post("/v1/stylize?style=tiny&stroke=40", content=photo()), 422))
    assert said.startswith("`stroke` 40 ")
    known = {k: v for k, v in image.formats.decodable_formats().items() if v != "HEIF"}
    monkeypatch.setattr(image.formats, "decodable_formats", lambda: known)
    heic = b"\0\0\0\x18ftypheic" + bytes(100)
    said = clean(problem(service.post("/v1/stylize?style=tiny", content=heic), 415))
    assert "HEIC" in said
    assert "pip" not in said


NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("raised", "status", "told"),
    [
        (MemoryError(), 422, "as with `size` 24"),
        (UserError("no room: name another disk with `spool` FOLDER"), 503, "log says why"),
        (cannot_write("/srv/spool", NO_ROOM), 503, "disk is full"),
        (cannot_write("what does not fit in memory", NO_ROOM), 503, "disk is full"),
    ],
)
def test_errors_of_the_machine_are_for_the_log(
    folder: Path, raised: Exception, status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    def load(path: Path) -> Any:
        made = loading.load(path, "cpu", engine="torch")
        monkey.setattr(made, "_coarse_to_fine", stylize_one)
        return made

    def stylize_one(*_: Any, **__: Any) -> Any:
        raise raised

    with pytest.MonkeyPatch.context() as monkey, client(folder, load=load) as service:
        said = clean(problem(service.post("/v1/stylize?style=tiny", content=photo()), status))
    assert told in said
    assert "/srv" not in said
    if status == 503:
        assert str(raised) in {getattr(r, "fields", {}).get("reason") for r in caplog.records}


def test_a_style_without_its_base_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model(tmp_path, "mine")

    def load(path: Path) -> Any:
        raise NoBaseError(f"{path} holds one style of the model gal, which is not here")

    with client(tmp_path, load=load, preload=("mine",)) as service:
        said = problem(service.post("/v1/stylize?style=mine", content=photo()), 404)
        assert said == "the model file of mine cannot be used, as the service's log says"
        assert "mine" in service.get("/v1/models").text  # its base model may still come
        ends = time.monotonic() + 20
        while "mine could not" not in problem(service.get("/readyz"), 503):
            assert time.monotonic() < ends
    for event in ("load", "preload"):
        (line,) = [r for r in caplog.records if r.getMessage() == event]
        assert line.fields["reason"].endswith("which is not here")  # type: ignore[attr-defined]
        assert line.exc_info is None


def test_a_model_that_cannot_be_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model(tmp_path, "hollow")

    def load(path: Path) -> Any:  # nothing that the file can help
        raise UserError(f"{path}: no memory is left")

    with client(tmp_path, load=load) as service:
        said = clean(problem(service.post("/v1/stylize?style=hollow", content=photo()), 500))
        assert "hollow" in service.get("/v1/models").text
    assert said.startswith("hollow cannot be loaded")
    (reason,) = [r.fields["reason"] for r in caplog.records if r.getMessage() == "load"]  # type: ignore[attr-defined]
    assert reason.endswith("hollow.safetensors: no memory is left")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("stylize?stroke=two", "stroke: give a number between 0.1 and 1000, for example 2 or 0.5, or auto"),
        ("sample?size=640X480", "size: give pixels, for example 512 or 640x480"),
        ("stylize?size=640x480", "size: give a whole number, for example 512"),
        ("stylize?size=640.5", "size: give a whole number, for example 512"),
        ("stylize?size=1_0", "size: give a whole number, for example 512"),
        ("stylize?size=%2B64", "size: give a whole number, for example 512"),
        ("stylize?quality=high", "quality: give a whole number, for example 90"),
        ("stylize?seed=1_0", "seed: give a whole number, for example 7"),
        ("stylize?strength=nan", "strength: give a number, for example 0.7"),
        ("stylize?strength=0_1", "strength: give a number, for example 0.7"),
        ("trainings?name=a&steps=1_0", "steps: give a whole number, for example 2500"),
        ("trainings?name=a&photos=", "photos: it is empty: give a value, or leave it out"),
        ("stylize?strength=50%25", "strength: give a number, for example 0.7"),
        ("sample?scale=abc", "scale: give a number, for example 0.5"),
        ("sample?scale=nan", "scale: give a number, for example 0.5"),
        ("stylize?preserve_color=si", "preserve_color: give true or false"),
        ("stylize?size=0", "size: give at least 1"),
        ("stylize?strength=50", "strength: give at most 1"),
        (f"sample?seed={2**63}", f"seed: give at most {2**53}"),
        ("stylize?format=JPG", "format: give 'auto', 'jpeg', 'png' or 'webp'"),
        (f"stylize?style={'a' * 201}", "style: give at most 200 characters"),
        ("trainings?steps=5", "name is missing: parameters go after the URL, as ?NAME=VALUE"),
    ],
)
def test_a_value_of_the_wrong_form_is_answered_in_words(service: TestClient, query: str, said: str) -> None:
    assert problem(service.post(f"/v1/{query}", content=photo()), 422) == said


def test_the_nearest_name_is_asked_for_without_a_semicolon_behind(service: TestClient) -> None:
    said = problem(service.post("/v1/stylize?style=wav", content=photo()), 404)
    assert said == "unknown style 'wav'; did you mean 'wave'? GET /v1/models lists them"
    assert texts.sentence(HTTPProblem(404, said)) == "Unknown style 'wav'; did you mean 'wave'?"


@pytest.mark.parametrize("stroke", ["0", "0.0", "1001", "nan", "-1", "auto2"])
def test_strokes_that_are_none(service: TestClient, stroke: str) -> None:
    problem(service.post(f"/v1/stylize?style=tiny&stroke={stroke}", content=photo()), 422)


def test_strokes_are_those_of_the_command_line(service: TestClient, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(photo(128, 128))
    words = ["stylize", str(tmp_path / "in.png"), "-s", str(folder / "tiny.safetensors"), "--stroke", "2"]
    assert main([*words, "-o", str(tmp_path / "out.png"), "--engine", "torch", "--device", "cpu"]) == 0
    made = service.post("/v1/stylize?style=tiny&stroke=2", content=photo(128, 128))
    assert made.content == (tmp_path / "out.png").read_bytes()


def test_the_document_lists_every_status() -> None:
    root = Path(__file__).resolve().parents[1]
    raised = {405}  # the framework's own
    for path in (root / "src/texturenets/server").glob("*.py"):
        raised |= {int(found) for found in re.findall(r"HTTPProblem\(\s*(\d{3})", path.read_text())}
    table = (root / "docs/serve.md").read_text().partition("| status | when |")[2].partition("\n\n")[0]
    told = {int(found) for row in table.splitlines()[1:] for found in re.findall(r"\d{3}", row[:12])}
    assert told == raised - {500}  # a mistake of ours


def test_the_document_has_what_any_request_may_be_refused_with(tmp_path: Path) -> None:
    with client(tmp_path, token="correct-horse") as service:
        document = service.get("/openapi.json", headers={"Authorization": "Bearer correct-horse"}).json()
        for path, operations in document["paths"].items():
            for verb, operation in operations.items():
                told = set(operation["responses"])
                assert told >= {"400", "403", "413", "421", "431"}, path
                assert operation["responses"]["431"]["content"]["application/problem+json"]["schema"]
                is_open = path in ("/healthz", "/readyz")
                assert ("401" in told) == (not is_open), path
                assert ("429" in told) == (verb == "get" and not is_open), path
                secured = operation.get("security") == [{"token": []}]
                assert secured == (not is_open), path
                for status, response in operation["responses"].items():
                    assert ("Retry-After" in response["headers"]) == (status in ("429", "503")), path
                    assert "X-Request-ID" in response["headers"], path
        assert document["components"]["securitySchemes"]["token"] == {"type": "http", "scheme": "bearer"}
        answers = [
            service.get("/v1/models", headers={"Host": "elsewhere.example"}),
            service.get("/healthz", headers={"Origin": "https://elsewhere.example"}),
            service.get("/healthz", headers={"X-Long": "x" * 40_000}),
            *(service.get("/v1/models?token=wrong") for _ in range(11)),
        ]
        assert [one.status_code for one in answers] == [421, 403, 431, *[401] * 10, 429]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("in_its_place", [False, True])
def test_the_folder_of_models_goes_away(
    tmp_path: Path, in_its_place: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    models, photos = tmp_path / "models", tmp_path / "photos"
    model(models)
    photos.mkdir()
    with client(models, photos=photos) as service:
        models.rename(tmp_path / "elsewhere")
        if in_its_place:
            models.write_text("a file")
        listed = service.get("/v1/models").json()
        assert listed["detail"] == "the service's folder of models is missing or cannot be read"
        names = [one["name"] for one in listed["models"]]
        assert "wave" in names
        assert "tiny" not in names
        problem(service.post("/v1/sample?texture=wave"), 404)  # which is there, and a style
        for answer in (
            service.post("/v1/stylize?style=tiny", content=photo()),
            service.get("/v1/models/tiny/thumbnail"),
            service.get("/v1/trainings"),
            service.get("/v1/trainings/mine/picture"),
            service.post("/v1/trainings?name=mine", content=photo()),
            service.post("/v1/trainings/mine/stop"),
        ):
            assert problem(answer, 503) == "the service's folder of models is missing or cannot be read"
        models.unlink(missing_ok=True)
        (tmp_path / "elsewhere").rename(models)
        listed = service.get("/v1/models").json()
        assert "tiny" in str(listed["models"])
        assert "detail" not in listed
        assert service.get("/v1/trainings").json() == {"trainings": []}
    away = [r for r in caplog.records if r.getMessage() == "the service's folder of models is missing"]
    assert len(away) == 1
    assert not any(r.exc_info for r in caplog.records)


def test_a_folder_without_models_is_told_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        found = [r for r in caplog.records if "holds no model file" in r.getMessage()]
        caplog.clear()
        return [r.__dict__["fields"]["folder"] for r in found]

    empty, full = tmp_path / "empty", tmp_path / "full"
    (empty / "photos").mkdir(parents=True)
    model(full)
    with client(empty) as service:
        assert told() == [str(empty)]
        model(empty)
        assert "tiny" in str(service.get("/v1/models").json()["models"])  # it came later
    with client(full):
        assert not told()
    (empty / "tiny.safetensors").unlink()
    with client(empty, photos=empty / "photos"):  # where trainings put theirs
        assert not told()


def test_the_folder_of_photos_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    photos = tmp_path / "photos"
    photos.mkdir()
    with client(tmp_path, photos=photos) as service:
        photos.rmdir()
        said = problem(service.post("/v1/trainings?name=mine", content=photo()), 503)
        assert said == "the service's folder of photos is missing or cannot be read"
    assert not any(r.exc_info for r in caplog.records)


@pytest.mark.parametrize("photos", ["/tmp", "../photos", "a%2Fb", "--x"])
def test_photos_that_are_no_folder_here(tmp_path: Path, photos: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    with client(tmp_path, photos=tmp_path / "photos") as service:
        said = problem(service.post(f"/v1/trainings?name=a&photos={photos}", content=photo()), 422)
        assert "is not a folder here: give one of sub" in said
        said = problem(
            service.post(f"/v1/trainings?name=a&kind=texture&photos={photos}", content=photo()), 422
        )
        assert "leave out photos" in said
        assert service.post("/v1/trainings?name=a&photos=sub/", content=photo()).status_code == 202
    assert json.loads((tmp_path / "a.job" / "job.json").read_text())["photos"] == "sub"


def test_bodies_without_effect_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    (tmp_path / "photos").mkdir()
    packed = {"content-type": "application/x-www-form-urlencoded"}  # as curl --data-binary says
    with client(tmp_path, photos=tmp_path / "photos") as service:
        assert service.post("/v1/trainings?name=mine", content=photo()).status_code == 202
        for path in ("trainings/mine/stop", "trainings/mine/resume", "sample"):
            for headers in ({}, packed):
                for data in (photo(), b"&".join([b"a=1"] * 20)):
                    answer = service.post(f"/v1/{path}", content=data, headers=headers)
                    assert "a body has no effect" in problem(answer, 422)
        assert service.get("/v1/trainings/mine").json()["state"] == "queued"
        assert service.post("/v1/trainings/mine/stop", headers=packed).json()["state"] == "stopped"


def test_a_model_file_that_cannot_be_used_leaves_the_list(tmp_path: Path) -> None:
    path = model(tmp_path, "spoilt")
    good = path.read_bytes()
    path.write_bytes(good[:-4] + struct.pack("<f", float("nan")))
    with client(tmp_path) as service:
        for _ in range(2):
            said = problem(service.post("/v1/stylize?style=spoilt", content=photo()), 404)
            assert said.startswith("the model file of spoilt cannot be used")
        assert "spoilt" not in service.get("/v1/models").text
        path.write_bytes(good)
        os.utime(path, ns=(1, 1))
        assert service.post("/v1/stylize?style=spoilt", content=photo()).status_code == 200


@pytest.mark.parametrize("kind", ["style", "texture"])
@pytest.mark.parametrize("size", [(1, 1), (200, 160)])
def test_an_image_of_one_color_is_refused_at_once(
    tmp_path: Path, kind: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    (tmp_path / "photos").mkdir()
    data = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(data, "PNG")
    with client(tmp_path, photos=tmp_path / "photos") as service:
        said = problem(service.post(f"/v1/trainings?name=a&kind={kind}", content=data.getvalue()), 422)
        assert service.get("/v1/trainings").json() == {"trainings": []}
    assert "of one color" in said or "is too small to learn from" in said
    assert str(tmp_path) not in said


def test_a_transparent_exemplar_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    (tmp_path / "photos").mkdir()
    picture = opened(photo(200, 160))
    picture.putalpha(100)
    data = io.BytesIO()
    picture.save(data, "PNG")
    with client(tmp_path, photos=tmp_path / "photos") as service:
        said = problem(service.post("/v1/trainings?name=a&kind=texture", content=data.getvalue()), 422)
        assert said.startswith("the body has transparent pixels")
        painting = service.post("/v1/trainings?name=a", content=data.getvalue())  # learned on white
        assert painting.status_code == 202


def test_missing_descriptor_weights_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "1")
    monkeypatch.delenv("TEXTURENETS_WEIGHTS", raising=False)
    for name in ("photos", "models", "weights"):
        (tmp_path / name).mkdir()
    with client(tmp_path / "models", photos=tmp_path / "photos") as service:
        for kind in ("style", "texture"):
            post = f"/v1/trainings?name={kind}&kind={kind}&preset=paper"  # the default takes `own` instead
            said = problem(service.post(post, content=photo(200, 160)), 503)
            assert said.startswith(
                "descriptor weights are missing: the service's operator has to put https://"
            )
            assert said.endswith("into a folder that its TEXTURENETS_WEIGHTS names; then send it again")
            assert str(tmp_path) not in said
            assert said.count("https://") == 1
        assert service.get("/v1/trainings").json() == {"trainings": []}
        monkeypatch.setenv("TEXTURENETS_WEIGHTS", str(tmp_path / "weights"))
        (tmp_path / "weights" / "vgg16.safetensors").touch()  # it is looked for, and not read here
        problem(service.post("/v1/trainings?name=style&preset=paper", content=photo(200, 160)), 503)
        (tmp_path / "weights" / "vgg19.safetensors").touch()
        for kind in ("style", "texture"):
            post = f"/v1/trainings?name={kind}&kind={kind}&preset=paper"
            answer = service.post(post, content=photo(200, 160))
            assert answer.status_code == 202, answer.text


def test_the_name_of_a_file_that_cannot_be_used_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    (tmp_path / "photos").mkdir()
    (tmp_path / "bad.safetensors").write_bytes(b"no model")
    with client(tmp_path, photos=tmp_path / "photos") as service:
        said = problem(service.post("/v1/trainings?name=bad", content=photo()), 409)
    assert (
        said == "bad.safetensors exists, and cannot be used, as the service's log says: choose another name"
    )


def test_an_exemplar_that_is_too_small_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("texturenets.server.training_runner.POLL_SECONDS", 600)  # none is begun here
    (tmp_path / "photos").mkdir()
    with client(tmp_path, photos=tmp_path / "photos") as service:
        for kind in ("texture", "style"):  # a style's painting is enlarged, which adds nothing
            said = problem(service.post(f"/v1/trainings?name=a&kind={kind}", content=photo(20, 24)), 422)
            assert said.endswith("send a larger image")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://testserver/healthz", "/healthz"),
        ("HTTPS://testserver:7860", "/"),
        ("/v1/http://x", "/v1/http://x"),
    ],
)
def test_a_target_that_is_a_whole_address_is_its_path(folder: Path, target: str, path: str) -> None:
    seen = []

    async def app(scope: dict[str, Any], *_: Any) -> None:
        seen.append((scope["path"], scope["raw_path"]))

    guard = Guard(app, settings=Settings(models=folder))
    headers = [(b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": "GET", "path": target, "raw_path": target.encode(), "headers": headers}
    asyncio.run(guard({**scope, "query_string": b""}, None, None))
    assert seen == [(path, path.encode())]


def test_a_full_disk_is_for_later() -> None:
    denied = refused(NotWritableError("cannot write models: Permission denied"))
    assert denied.status == 503
    assert "models" not in denied.detail
    answer = refused(DiskFullError("cannot write models/x.job/job.json: No space left on device"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    assert "models/x.job" not in answer.detail
