"""What the page lets in and keeps, without a browser."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the extra `web` is not installed")

import gradio as gr
from fastapi.testclient import TestClient
from webservice import client, model, photo

from texturenets import image
from texturenets.engines.options import EngineOptions
from texturenets.networks.johnson import Johnson
from texturenets.server import training_routes
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.models import Catalogue
from texturenets.server.service import Service
from texturenets.server.settings import Settings
from texturenets.server.ui import examples, gallery, sessions, store, texts, train_tab, watch
from texturenets.server.ui import page as page_module
from texturenets.server.ui.pictures import PictureInput

API = "/page/gradio_api"


@pytest.fixture
def page(tmp_path: Path) -> TestClient:
    model(tmp_path)
    return client(tmp_path, limits={"bytes": 400_000}, page=True)


def number(service: TestClient, name: str) -> int:
    """Of the event of the page that calls the function `name`."""
    (found,) = (
        one["id"] for one in service.get("/page/config").json()["dependencies"] if one["api_name"] == name
    )
    return int(found)


def event(service: TestClient, path: str, **more: Any) -> dict[str, Any]:
    file = {"path": path, "meta": {"_type": "gradio.FileData"}, **more}
    return {"data": [[{"a": file}]], "fn_index": number(service, "_changed"), "session_hash": "abc"}


def test_the_page_is_there_and_asks_nobody_else(page: TestClient) -> None:
    with page as service:
        answer = service.get("/")
        assert answer.status_code == 200
        assert answer.url.path == "/page/"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        tags = re.findall("<meta[^>]*>", answer.text)
        assert not [tag for tag in tags if "radio" in tag or "{url}" in tag or "Click to try" in tag]
        config = service.get("/page/config").json()
        assert config["analytics_enabled"] is False
        assert "fonts.googleapis" not in answer.text + service.get("/page/theme.css").text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/file=/etc/passwd"),
        ("GET", "/file=http://127.0.0.1:9/a"),
        ("GET", "/proxy=http://127.0.0.1:9/"),
        ("POST", "/run/predict"),
        ("POST", "/call/f"),
        ("POST", "/vibe-edit"),
        ("GET", "/runs"),
    ],
)
def test_other_routes_of_gradio_are_closed(page: TestClient, method: str, path: str) -> None:
    with page as service:
        answer = service.request(method, API + path)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_events_name_no_files_but_those_uploaded(page: TestClient) -> None:
    with page as service:
        for path in ("/etc/passwd", "http://127.0.0.1:9/a.png", "../../etc/passwd", "", "\0"):
            assert service.post(f"{API}/queue/join", json=event(service, path)).status_code == 422, path
        inside = event(service, str(store.folder() / "files" / "a.png"), url="data:image/png;base64,AAAA")
        assert service.post(f"{API}/queue/join", json=inside).status_code == 422
        assert service.post(f"{API}/queue/join", content=b"[" * 60_000).status_code == 400
        assert service.post(f"{API}/queue/join", content=b"1" * 300_000).status_code == 413


@pytest.mark.parametrize("index", [9999, -1, None, "0", 1.5, True, [], {}])
def test_events_of_no_function_of_the_page_are_refused(page: TestClient, index: Any) -> None:
    with page as service:
        asked = {"data": [], "fn_index": index, "session_hash": "abc"}
        answer = service.post(f"{API}/queue/join", json=asked)
        assert answer.status_code == 400
        assert answer.json()["detail"] == "this is not an event of the page"


@pytest.mark.parametrize("data", [[], [[None], []], [[{"image": None}], []], ["x", "x"]])
def test_values_that_the_page_cannot_have_leave_no_trace(
    page: TestClient, data: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with page as service:
        asked = {"data": data, "fn_index": number(service, "_changed"), "session_hash": "abc"}
        assert service.post(f"{API}/queue/join", json=asked).status_code == 200
        told = service.get(f"{API}/queue/data?session_hash=abc").text
    assert "reload the page" in told
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "told", "logged"),
    [(OSError("disk is full"), "reload the page", True), (gr.Error("too dark"), "too dark", False)],
)
def test_the_pages_own_faults_are_logged_and_its_own_words_kept(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
    told: str,
    logged: bool,
) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(gr.Blocks, "preprocess_data", fails)
    monkeypatch.setattr(logging.getLogger("texturenets.server"), "propagate", True)
    with pytest.raises(gr.Error, match=told) as raised:
        asyncio.run(page_module.Page().preprocess_data())
    assert ("disk is full" in caplog.text) is logged
    assert raised.value.print_exception is False  # Gradio prints a trace


def test_clicks_on_nothing_that_is_shown_leave_no_trace(
    page: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    clicks: list[Any] = [
        None,
        {},
        {"index": 99999},
        {"index": -1},
        {"index": None, "value": None},
        "x",
        5,
        [],
    ]
    with page as service:
        ids = {one["api_name"]: one["id"] for one in service.get("/page/config").json()["dependencies"]}
        for call, click in itertools.product(("_chosen", "_chosen_1", "_example"), clicks):
            asked = {"data": [], "fn_index": ids[call], "session_hash": "abc", "event_data": click}
            assert service.post(f"{API}/queue/join", json=asked).status_code == 200
            told = service.get(f"{API}/queue/data?session_hash=abc").text
            assert "reload the page" in told, (call, click)
        asked["event_data"] = {"index": 0}
        assert service.post(f"{API}/queue/join", json=asked).status_code == 200
        assert "reload the page" not in service.get(f"{API}/queue/data?session_hash=abc").text
    assert "Traceback" not in capsys.readouterr().err


def test_a_page_of_an_earlier_service_is_told_so(page: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with page as service:
        for query in ("?session_hash=never", "?session_hash=", ""):
            answer = service.get(f"{API}/queue/data{query}")
            assert answer.status_code == 404
            assert answer.headers["content-type"] == "application/problem+json"
            assert "reload the page" in answer.json()["detail"]
    assert not [record for record in caplog.records if record.exc_info]


def test_uploads_are_bounded_as_bodies_are(page: TestClient) -> None:
    with page as service:
        small = service.post(f"{API}/upload", files={"files": ("a.png", photo(20, 20), "image/png")})
        assert small.status_code == 200
        (kept,) = map(Path, small.json())
        assert kept.is_relative_to(store.folder())
        assert service.post(f"{API}/upload", files={"files": ("a.png", bytes(500_000))}).status_code == 413
    assert not kept.exists()  # the service has ended


def test_the_token_holds_on_the_pages_routes(tmp_path: Path) -> None:
    with client(tmp_path, token="correct-horse", page=True) as service:
        for path in ("/page/", "/page/config", f"{API}/queue/data?session_hash=a"):
            assert service.get(path).status_code == 401
        assert service.post(f"{API}/upload", files={"files": ("a", b"a")}).status_code == 401
        asked = service.get("/page/", headers={"Accept": "text/html"})
        assert asked.status_code == 401
        assert 'action="/sign-in"' in asked.text
        wrong = service.post("/sign-in", data={"token": "wrong"}, follow_redirects=False)
        assert wrong.status_code == 401
        assert "token is wrong" in wrong.text
        right = service.post("/sign-in", data={"token": "correct-horse"}, follow_redirects=False)
        assert (right.status_code, right.headers["location"]) == (303, "/")
        assert service.get("/page/").status_code == 200


def test_files_go_with_what_replaces_them_and_with_the_visitor() -> None:
    kept = store.Store(10**6)
    first = kept.put("me", "painting", {"a.png": b"1"})
    second = kept.put("me", "painting", {"a.png": b"2", "b.png": b"3"})
    other = kept.put("you", "painting", {"a.png": b"4"})
    assert not first[0].exists()
    assert [path.read_bytes() for path in second] == [b"2", b"3"]
    kept.forget("me")
    assert not any(path.exists() for path in second)
    assert other[0].exists()
    kept.forget("you")


def test_a_file_that_somebody_else_has_stays() -> None:
    kept = store.Store(10**6)
    (path,) = kept.put("me", "photo", {"a.png": b"1"})
    kept.replace("you", "photo", [path])  # Gradio keeps the same image given twice as one file
    kept.forget("me")
    assert path.exists()
    kept.forget("you")
    assert not path.exists()


def test_the_oldest_files_go_when_there_are_too_many() -> None:
    kept = store.Store(130)
    paths = [kept.put("me", str(i), {"a": bytes(40)})[0] for i in range(3)]
    now = time.time()
    for i, path in enumerate(paths):
        os.utime(path, (now + i - 10, now + i - 10))
    kept.trim(60)
    assert [path.exists() for path in paths] == [False, False, True]
    os.utime(paths[2], (now - 2 * store.MAX_AGE_SECONDS, now - 2 * store.MAX_AGE_SECONDS))
    kept.trim()
    assert not paths[2].exists()


def test_a_folder_that_goes_meanwhile_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store.Store(100)
    first, second = (kept.put(name, "photo", {"a": bytes(40)})[0] for name in ("me", "you"))
    scandir = os.scandir

    def vanishing(path: Any) -> Any:
        if Path(path) == first.parent:
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    kept.trim(100)
    assert not second.exists()


def test_galleries_show_what_there_is(tmp_path: Path) -> None:
    model(tmp_path, "my_own-style_iv")
    catalogue = Catalogue(tmp_path)
    items = {caption: file for file, caption in gallery.gallery_items(catalogue, "style")}
    assert "My own style IV" in items
    assert all(Path(file).is_file() for file in items.values())
    assert "My own style IV" not in {caption for _, caption in gallery.gallery_items(catalogue, "texture")}


def test_the_tile_of_ones_own_painting_is_the_last_wherever_that_is(tmp_path: Path) -> None:
    shown = gallery.tiles(Catalogue(tmp_path), "style", yours=True)
    assert shown[-1] == gallery.YOURS
    caption = gallery.gallery_items(Catalogue(tmp_path), "style", yours=True)[-1][1]

    def clicked(index: Any, caption: str, names: list[str] = shown) -> str:
        data = {"index": index, "value": {"image": {}, "caption": caption}}
        return gallery.clicked_tile(gr.EventData(None, data), names)

    assert clicked(len(shown) - 1, caption) == gallery.YOURS
    assert clicked(0, "Bouquet") == shown[0]
    for index in (0, len(shown) + 1, None):  # the page was opened when there were other models
        assert clicked(index, caption) == gallery.YOURS
    assert clicked(0, caption, ["your_painting", gallery.YOURS]) == "your_painting"
    with pytest.raises(gr.Error):
        clicked(len(shown), "Bouquet")


@pytest.mark.parametrize(
    ("change", "pace"), [({}, 0.5), ({"device": "cuda"}, 0.0), ({"processors": 64}, 0.0), ({"step": 0}, 0.0)]
)
def test_estimates_are_by_the_clock_of_such_a_machine(
    change: dict[str, Any], pace: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_tab, "only_cpu", lambda: True)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    run = {"batch_size": 2, "image_size": 16}
    told = {"device": "cpu", "processors": 2, "step": 10, "seconds": 2560.0, "run": run}
    assert train_tab._pace({**told, **change}) == pace
    assert train_tab._pace({k: v for k, v in told.items() if k != "device"}) == 0


def test_the_last_training_here_tells_the_time_or_else_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(seconds: float, folder: str, changed: int = 0) -> Any:
        header = SimpleNamespace(kind="style", training=seconds)
        return SimpleNamespace(header=header, path=Path(folder) / "a.safetensors", modified=changed)

    monkeypatch.setattr(train_tab, "_pace", lambda seconds: seconds)
    models = {"slow": known(3.0, "zoo", 9), "fast": known(1.0, "zoo"), "unknown": known(0.0, "zoo")}
    assert train_tab._clock(models, "style", Path("here")) == ("fast", 1.0)
    assert train_tab._clock(models, "texture", Path("here")) is None
    models |= {"old": known(2.0, "here", 1), "new": known(4.0, "here", 2)}
    assert train_tab._clock(models, "style", Path("here")) == ("new", 4.0)


def test_many_sessions_do_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def join(session: str, more: int = 0) -> Any:
        data = {"data": ["x" * more], "fn_index": index, "session_hash": session}
        return service.post(f"{API}/queue/join", json=data)

    monkeypatch.setattr(sessions, "MAX_CLOSED", 8)
    model(tmp_path)
    with client(tmp_path, page=True) as service:
        index = number(service, "_changed")
        for i in range(40):
            assert join(f"s{i}").status_code == 200
        assert join("large", 2**17).status_code == 413
        assert join("no session").status_code == 400
        app: Any = service.app
        while not hasattr(app, "routes"):
            app = app.app
        gradio = next(route.app for route in app.routes if getattr(route, "path", "") == "/page")
        while not hasattr(gradio, "state_holder"):
            gradio = gradio.app
        queue = gradio.get_blocks()._queue
        for kept in (
            queue.pending_messages_per_session,
            queue.pending_event_ids_session,
            gradio.state_holder.session_data,
        ):
            assert len(kept) <= 8
            assert "s39" in kept


def test_open_pages_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_CLOSED", 2)
    monkeypatch.setattr(sessions, "MAX_OPEN", 2)
    gone: list[str] = []
    known = sessions.Sessions(gone.append)
    known.seen("a")
    with known.connected("a"):
        for name in ("b", "c", "a", "d"):
            known.seen(name)
        assert gone == ["b"]
        with known.connected("d"), pytest.raises(HTTPProblem, match="2 times"):
            known.seen("e")
    known.seen("e")
    assert gone == ["b", "c"]
    assert not known.open


def test_an_upload_of_very_many_files_is_refused(page: TestClient) -> None:
    with page as service:
        for count, status in ((100, 200), (101, 413), (1000, 413)):
            files = [("files", (f"{i}.png", b"x", "image/png")) for i in range(count)]
            answer = service.post(f"{API}/upload", files=files)
            assert answer.status_code == status, answer.text


def test_the_store_is_bounded_in_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "folder", lambda: tmp_path)
    monkeypatch.setattr(store, "MAX_FILES", 5)
    kept = store.Store(10**6)
    for i in range(12):
        path = kept.put(f"s{i}", "photo", {"a.png": b"x"})[0]
        os.utime(path, (time.time() + i, time.time() + i))
    assert len(list((tmp_path / "files").rglob("*.png"))) <= 5
    assert path.exists()


def test_refusals_are_said_in_the_pages_words() -> None:
    said = texts.sentence(HTTPProblem(404, "no style is called 'x'; GET /v1/models lists them"))
    assert said == "No style is called 'x'."
    assert texts.sentence(HTTPProblem(415, "the body is empty"), "a.png") == "a.png is empty."
    resumed = HTTPProblem(
        409, "there is a training: resume it (POST /v1/trainings/a/resume), or choose another name"
    )
    assert texts.sentence(resumed, "a.png") == "There is a training: resume it, or choose another name."
    large = texts.sentence(HTTPProblem(413, "a photo of 9 x 9 pixels: at most 8 a side are allowed"), "a.png")
    assert large.startswith("a.png: a photo of 9 x 9")
    assert texts.error_html("<b>") == '<p class="wrong">&lt;b&gt;</p>'


def test_heic_without_its_plug_in_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {k: v for k, v in image.formats.decodable_formats().items() if v != "HEIF"}
    monkeypatch.setattr(image.formats, "decodable_formats", lambda: known)
    service = Service(Settings(models=tmp_path, engine=EngineOptions(device="cpu")))
    data = b"\0\0\0\x18ftypheic" + bytes(100)
    with pytest.raises(HTTPProblem) as refused:
        asyncio.run(service.check_photo(data))
    said = texts.sentence(refused.value, "IMG_1.heic")
    assert said.startswith("Cannot read IMG_1.heic: this service lacks what decodes HEIC")


def test_a_good_image_ends_what_was_said_of_a_bad_one(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(photo())
    bad.write_bytes(b"text")
    service = Service(Settings(models=tmp_path, engine=EngineOptions(device="cpu")))
    with gr.Blocks(analytics_enabled=False) as page:
        field = PictureInput(service, store.Store(10**6), "exemplar", 1, label="Exemplar", height=240)
        field.listen(message := gr.HTML("bad.png"))
    visitor: Any = SimpleNamespace(session_hash="me")

    def choose(path: str, before: Any, refused: tuple[str, ...] = ()) -> Any:
        return asyncio.run(field._changed([(path, None)], before, refused, visitor))

    _, _, refused, told = choose(str(bad), ())
    assert "bad.png" in told
    (ended,) = (one for one in page.fns.values() if one.targets == [(field.gallery._id, "upload")])
    assert (ended.js, ended.outputs) == ("() => ''", [message])
    assert choose(str(good), (), refused)[3] == ""  # pasted
    _, given, _, told = choose(str(good), ())
    assert told == gr.skip()
    *_, told = choose(given[0][0], given)  # Gradio tells of the preview, too
    assert told == gr.skip()


def test_examples_are_small_pictures() -> None:
    photos = examples.photos()
    assert {"hills", "fruit"} <= {path.stem for path in photos}
    for path in photos:
        assert path.stat().st_size < 150_000
        assert min(image.read(path).size) >= 200


def test_curves_have_names_that_fit() -> None:
    points = [
        (10, "style/vgg16:relu1_1", 1.0),
        (10, "style/vgg16:relu2_1@2", 2.0),
        (10, "content/squeezenet1_0:fire4", 4.0),
        (10, "checkerboard", 8.0),
    ]
    frame = watch._frame(points)
    assert dict(zip(frame["curve"], frame["loss"], strict=True)) == {
        "style, vgg16": 3.0,
        "content, squeezenet1_0": 4.0,
        "checkerboard": 8.0,
    }
    assert watch._frame([]) is None
    assert watch._legend({"a<b": "#123456"}).count("a&lt;b") == 1


@pytest.mark.parametrize(
    ("state", "at_work", "use_stop_resume"),
    [
        ("queued", False, (False, True, False)),
        ("running", True, (False, True, False)),
        ("stopped", True, (False, False, False)),
        ("stopped", False, (False, False, True)),
        ("failed", False, (False, False, True)),
        ("done", False, (True, False, False)),
    ],
)
def test_buttons_where_there_is_something_to_do(
    state: str, at_work: bool, use_stop_resume: tuple[bool, bool, bool]
) -> None:
    assert watch._choices(state, at_work) == use_stop_resume


def test_a_training_starts_from_a_style(tmp_path: Path) -> None:
    trainings = pytest.importorskip("texturenets.server.trainings", reason="locks as Unix has them")
    for name in ("models", "photos"):
        (tmp_path / name).mkdir()
    model(tmp_path / "models", "other", spec=Johnson(channels=4, blocks=1))
    service = Service(Settings(models=tmp_path / "models", engine=EngineOptions(device="cpu")))
    place = trainings.Trainings(tmp_path / "models", tmp_path / "photos")

    def ask(name: str, **more: Any) -> Any:
        asked = training_routes.enqueue(
            service, place, photo(), name=name, kind="style", preset="default", steps=5, **more
        )
        return asyncio.run(asked)

    job = ask("mine", start="wave", changes={"content_weight": 3.5, "style_size": 600})
    wave = service.catalogue.models()["wave"].path
    assert job.options[-3:] == ("--content-weight=3.5", "--style-size=600", f"--init={wave}")
    assert ask("nothing", start="").options[-1] == "--init=none"
    place.stop("nothing")
    place.remove("nothing")
    with pytest.raises(HTTPProblem, match="another network"):
        ask("two", start="other")
    with pytest.raises(HTTPProblem, match="wave is a model that comes with texturenets"):
        ask("wave")
    with pytest.raises(HTTPProblem, match="content_weight"):
        ask("two", changes={"content_weight": -1.0})
    assert [one.name for one in place.jobs()] == ["mine"]


@pytest.mark.parametrize(
    ("steps", "size", "told"),
    [
        (2.5, 256, "Steps 2.5: give a whole number."),
        (float("nan"), 256, "Steps nan: give a whole number."),
        (2, 0.5, "Size of the image 0.5: give a whole number."),
    ],
)
def test_parts_of_steps_and_pixels_are_refused(steps: float, size: float, told: str, tmp_path: Path) -> None:
    trainings = pytest.importorskip("texturenets.server.trainings", reason="locks as Unix has them")
    for name in ("models", "photos"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.png").write_bytes(photo())
    service = Service(Settings(models=tmp_path / "models", engine=EngineOptions(device="cpu")))
    place = trainings.Trainings(tmp_path / "models", tmp_path / "photos")
    with gr.Blocks(analytics_enabled=False):
        tab = train_tab.TrainTab(service, store.Store(10**6), place)
    given = (("shown.jpg", str(tmp_path / "a.png")),)
    form = "mine", "style", "default", steps, None, train_tab.ALL, None, size
    *_, said = asyncio.run(tab._start([("shown.jpg", None)], given, *form))
    assert said == texts.error_html(told)
    assert not place.jobs()
    fields = {one.label: one for one in tab.fields}
    assert fields["Steps"].preprocess(2.5) == 2.5  # Gradio would round it
    assert fields["Size of the image"].preprocess(0.5) == 0.5
    assert ("give a whole number" in tab._estimate("style", "default", steps)) is told.startswith("Steps")


def test_the_table_of_trainings_shows_how_much_of_the_minutes_is_over() -> None:
    report = {"name": "a", "kind": "style", "state": "running", "at_work": True, "reason": "", "step": 70}
    report |= {"steps": 0, "minutes": 2.0, "seconds": 30.0, "seconds_left": 90}
    report |= {"photos_skipped": {"count": 0, "first": []}}
    table = watch._table([report])
    assert "<td>70<" in table
    assert "width:25%" in table
    assert "2 minutes left" in table


def test_the_table_of_trainings_names_photos_that_were_skipped() -> None:
    report = {"name": "a", "kind": "style", "state": "running", "at_work": True, "reason": ""}
    report |= {"step": 1, "steps": 2, "seconds_left": None, "photos_skipped": {"count": 0, "first": []}}
    report |= {"minutes": 0.0, "seconds": 3.0}
    assert "skipped" not in watch._table([report])
    report["photos_skipped"] = {"count": 3, "first": ["<a>.jpg is empty", "b.jpg is cut short"]}
    assert ("3 photos skipped: &lt;a&gt;.jpg is empty, b.jpg is cut short and 1 more") in watch._table(
        [report]
    )
