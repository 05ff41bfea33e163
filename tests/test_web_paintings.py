"""Visitors' paintings: learned into a model of several styles through the queue of trainings, once, and kept."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl", reason="locks as Unix has them")
pytest.importorskip("fastapi", reason="the extra `web` is not installed")

import tiny
from galleries import gallery
from tiny import Studio
from webservice import model, opened, photo

from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.server import painting_files, training_routes
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.paintings import Paintings
from texturenets.server.service import Service
from texturenets.server.settings import Settings
from texturenets.server.trainings import Trainings
from texturenets.stylize.options import StylizeOptions

MINUTES = 0.0001  # a step


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"))


# Learns as `texturenets train` does, with nothing in it.
TRAINER = """
import json, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("-o") + 1])
run = out.with_suffix(".run")
run.mkdir(parents=True, exist_ok=True)
(run / "records.jsonl").write_text(json.dumps({"step": 7, "seconds": 0.003, "losses": {"a": 1.0}}))
out.write_text("a style")
"""


@pytest.fixture
def make(tmp_path: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Paintings]:
    """Services one after the other over one folder, with a model of several styles and one of one."""
    monkeypatch.setattr(training_routes, "_check_weights", lambda *_: None)
    (tmp_path / "models").mkdir()
    gallery(tmp_path / "models")
    model(tmp_path / "models", "plain")
    script = tmp_path / "train.py"
    script.write_text(TRAINER)

    def made() -> Paintings:
        settings = Settings(
            models=tmp_path / "models", photos=studio.photos, engine=EngineOptions("torch", "cpu")
        )
        trainings = Trainings(tmp_path / "models", studio.photos, [sys.executable, str(script)])
        return Paintings(Service(settings), trainings)

    return made


def begin(paintings: Paintings, data: bytes, minutes: float = MINUTES) -> str:
    return asyncio.run(paintings.begin(data, minutes))


def until(paintings: Paintings, name: str) -> list[str]:
    """Look after the trainings until that painting is learned; what visitors are told meanwhile."""
    ends, told = time.monotonic() + 300, []
    while state := paintings.progress(name):
        assert time.monotonic() < ends, told
        told.append(state.text)
        assert 0 <= state.share <= 1
        paintings.trainings.runner.poll()
        time.sleep(0.02)
    return told


def stylized(paintings: Paintings, name: str) -> bytes:
    service = paintings.service

    async def work() -> bytes:
        async with service.running():
            with service.queue.slot():
                style = paintings.style(name)
                return (await service.stylize(photo(), style, StylizeOptions(), "png"))[0]

    return asyncio.run(work())


def test_a_painting_is_learned_once(make: Callable[[], Paintings], studio: Studio) -> None:
    paintings, data = make(), studio.painting.read_bytes()
    folder, runner = paintings.trainings.folder, paintings.trainings.runner
    name = begin(paintings, data)
    assert begin(paintings, data) == name  # another visitor brings the same: both wait for one training
    (job,) = paintings.trainings.jobs()
    state = paintings.progress(name)
    assert state is not None
    assert (state.share, state.text) == (0, "getting ready")
    words = runner._command_line(job)[len(runner.command) :]  # here, where PyTorch is imported already
    flags = {key: value for key, value in tiny.BASE.items() if key != "steps"}
    status, _, error = tiny.call("train", *words, *tiny.words({**flags, "weights": studio.weights}))
    assert status == 0, error
    assert paintings.progress(name) is None
    runner.poll()
    assert paintings.trainings.jobs() == []
    path = painting_files.path_of(folder, name)
    assert path is not None
    assert {one.name for one in path.parent.iterdir()} == {path.name, "tiny.safetensors"}  # and no run
    assert path.stat().st_size < (folder / "tiny.safetensors").stat().st_size
    assert opened(stylized(paintings, name)).size == (48, 32)
    again = make()  # the next service has it
    assert begin(again, data) == name
    assert again.progress(name) is None
    assert again.trainings.jobs() == []
    assert begin(again, data, 0.0002) != name  # more minutes are another style
    assert set(again.service.catalogue.models()) > {"plain", "tiny"}  # it is nobody else's
    assert name not in again.service.catalogue.models()
    _, style, mix = again.service.find_style(again.style(name))
    assert (style.styles, mix) == (("painting",), {"painting": 1.0})
    with pytest.raises(HTTPProblem, match="known: "):
        again.service.find_style(again.style(name[:-2] + "zz"))


def test_paintings_wait_for_one_another(make: Callable[[], Paintings]) -> None:
    paintings = make()
    first, second = (begin(paintings, photo(80, 64, seed=seed)) for seed in (1, 2))
    told = until(paintings, second)
    assert told[0] == "waiting for 1 training before it"
    assert paintings.progress(first) is None


def test_what_was_stopped_or_failed_is_taken_up(make: Callable[[], Paintings]) -> None:
    paintings, data = make(), photo(80, 64)
    name = begin(paintings, data)
    paintings.trainings.stop(name)
    with pytest.raises(HTTPProblem, match="was stopped; learn it again"):
        paintings.progress(name)
    command = paintings.trainings.runner.command
    Path(command[1]).write_text("import sys\nprint('texturenets: no such', file=sys.stderr)\nsys.exit(2)\n")
    assert begin(paintings, data) == name
    with pytest.raises(HTTPProblem, match="it was not learned: no such"):
        until(paintings, name)
    paintings.files.job_dir(name).joinpath("job.json").unlink()
    with pytest.raises(HTTPProblem, match="its training was removed"):
        paintings.progress(name)


def test_a_failed_one_without_a_checkpoint_begins_anew(make: Callable[[], Paintings]) -> None:
    paintings, data = make(), photo(80, 64)
    script = Path(paintings.trainings.runner.command[1])
    works = script.read_text()
    script.write_text("import sys\nsys.exit(2)\n")
    name = begin(paintings, data)
    with pytest.raises(HTTPProblem, match="it was not learned"):
        until(paintings, name)
    script.write_text(works)
    assert begin(paintings, data) == name
    until(paintings, name)


def test_what_the_service_interrupts_goes_on_with_the_next(make: Callable[[], Paintings]) -> None:
    first = make()
    script = Path(first.trainings.runner.command[1])
    script.write_text("import time\ntime.sleep(60)\n")
    name = begin(first, photo(80, 64))
    first.trainings.runner.poll()
    first.trainings.runner.close()
    assert first.files.find(name).state == "queued"
    script.write_text(TRAINER)
    second = make()
    until(second, name)
    assert second.is_kept(name)


@pytest.mark.parametrize(
    ("data", "status"), [(b"no image", 415), (photo(8, 8), 422), (photo(80, 64)[:300], 422)]
)
def test_bad_paintings_are_refused_at_once(make: Callable[[], Paintings], data: bytes, status: int) -> None:
    paintings = make()
    with pytest.raises(HTTPProblem) as error:
        begin(paintings, data)
    assert error.value.status == status
    assert not paintings.trainings.jobs()


def test_without_a_model_of_several_styles_it_says_so(
    make: Callable[[], Paintings], monkeypatch: pytest.MonkeyPatch
) -> None:
    paintings = make()
    assert paintings.base() == "tiny"
    (paintings.trainings.folder / "tiny.safetensors").unlink()
    assert paintings.base() == "gallery"
    monkeypatch.setattr(modelfile, "shipped", dict)
    assert paintings.base() is None
    with pytest.raises(HTTPProblem, match="takes a model of several styles, and there is none: put one"):
        begin(paintings, photo(80, 64))


def test_another_model_takes_paintings_anew(make: Callable[[], Paintings], tmp_path: Path) -> None:
    """The name says which model it was learned into: a new gallery of the same name finds none of the old styles."""
    paintings = make()
    base = paintings.trainings.folder / "tiny.safetensors"
    before = painting_files.name_of(b"a painting", base, 1)
    other = tmp_path / "tiny.safetensors"
    other.write_bytes(base.read_bytes() + b" ")
    names = {before, painting_files.name_of(b"a painting", other, 1), painting_files.name_of(b"b", base, 1)}
    assert len(names) == 3
    assert painting_files.name_of(b"a painting", base, 1.0) == before
    assert painting_files.is_style(f"{before}:painting")
    assert not painting_files.is_style("wave")
    assert painting_files.path_of(tmp_path, "../painting-1") is None


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painting_files, "MAX_KEPT", 2)
    base = tmp_path / "paintings" / "0123abcd"
    base.mkdir(parents=True)
    (base / "gallery.safetensors").touch()
    for age, letter in enumerate("abcd"):
        made = base / f"painting-0123abcd-{letter * 24}.safetensors"
        made.touch()
        os.utime(made, (10**9 - age, 10**9 - age))
    painting_files.trim(tmp_path)
    left = {path.stem[-1] for path in base.iterdir()}
    assert left == {"a", "b", "y"}


def ask(paintings: Paintings, **more: Any) -> Any:
    """A training over HTTP."""
    asked: dict[str, Any] = {"name": "mine", "kind": "style", "preset": "default", **more}
    return asyncio.run(
        training_routes.enqueue(paintings.service, paintings.trainings, photo(80, 64), **asked)
    )


def test_a_style_is_learned_into_a_model_under_a_name(make: Callable[[], Paintings]) -> None:
    paintings = make()
    job = ask(paintings, into="tiny", minutes=MINUTES)
    assert job.options[-1] == f"--into={paintings.trainings.folder / 'tiny.safetensors'}"
    ends = time.monotonic() + 300
    while paintings.files.find("mine").state not in ("done", "failed"):
        assert time.monotonic() < ends
        paintings.trainings.runner.poll()
        time.sleep(0.02)
    report = paintings.trainings.reports.of(paintings.files.find("mine"))
    assert (report["state"], report["steps"], report["minutes"]) == ("done", 0, MINUTES)
    assert ask(paintings, name="two", into="tiny").steps == 600


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"into": "plain"}, "into plain: a model of one style"),
        ({"into": "gone"}, "gone"),
        ({"into": "tiny", "kind": "texture"}, "into tiny: it takes a style, by the preset default"),
        ({"into": "tiny", "preset": "quick"}, "into tiny: it takes a style, by the preset default"),
        ({"steps": 3, "minutes": 1.0}, "steps and minutes both end a training"),
    ],
)
def test_what_cannot_be_learned_into_a_model(
    make: Callable[[], Paintings], asked: dict[str, Any], told: str
) -> None:
    paintings = make()
    with pytest.raises((HTTPProblem, UserError), match=re.escape(told)):
        ask(paintings, **asked)
    assert not paintings.trainings.jobs()
