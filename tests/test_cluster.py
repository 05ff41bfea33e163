"""Folders stylized by many workers: what is missing, one worker's batches, URLs, and what the command says.

Ray is not among the packages of the tests: what it does is done here by a stand-in, in this process. With Ray there
is one slow test.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import numpy as np
import pytest
import tiny
from PIL import Image

from texturenets import cluster
from texturenets.cli import main
from texturenets.cli.common import cluster_words
from texturenets.cluster import manifest, ray_backend, storage, worker
from texturenets.cluster.manifest import Manifest, ManifestEntry, Outcome
from texturenets.cluster.storage import Folder, Photo
from texturenets.cluster.worker import MAX_DEATHS, Journal, PhotoRequest, Worker, WorkerTask
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.image import formats
from texturenets.modelfiles import modelfile
from texturenets.networks.residual import Residual
from texturenets.stylize.options import StylizeOptions

TINY = Residual(channels=8, blocks=1)
CASES: tuple[tuple[dict[str, Any], int | None, str], ...] = (
    # the manifest's line, the size of what lies there, and what is to be done
    ({}, None, "todo"),
    ({}, 9, "todo"),  # of who knows what
    ({"status": "done", "bytes": 9}, 9, "existing"),
    ({"status": "done", "bytes": 9}, None, "todo"),  # it was removed
    ({"status": "done", "bytes": 9}, 8, "todo"),  # it was cut short
    ({"status": "done", "bytes": 9, "fingerprint": "other"}, 9, "todo"),
    ({"status": "done", "bytes": 9, "stamp": "other"}, 9, "todo"),
    ({"status": "done", "bytes": 9, "photo": "/in/b.jpg"}, 9, "todo"),  # of another of the same size and time
    ({"status": "failed", "reason": "r", "final": True}, None, "final"),
    ({"status": "failed", "reason": "r", "final": False}, None, "todo"),
    ({"status": "failed", "reason": "r", "final": True, "stamp": "other"}, None, "todo"),
)


def job(result: str = "a-s.jpg", photo: str = "/in/a.jpg") -> ManifestEntry:
    return ManifestEntry(Photo(photo, PurePosixPath(), "stamp", 5), result)


@pytest.mark.parametrize(("line", "size", "expected"), CASES)
def test_what_is_missing(line: dict[str, Any], size: int | None, expected: str) -> None:
    known = (
        {"a-s.jpg": {"fingerprint": "made", "photo": "/in/a.jpg", "stamp": "stamp"} | line} if line else {}
    )
    sizes = {} if size is None else {"a-s.jpg": size}
    found = manifest.by_status([job()], known, sizes, "made")
    lists = {"todo": found.todo, "existing": found.existing, "final": [one for one, _ in found.final]}
    assert lists.pop(expected) == [job()]
    assert not any(lists.values())
    skipped = manifest.by_status([job()], known, sizes, "made", skip_existing=True)
    assert bool(skipped.existing) == (size is not None)


def test_another_photos_result_is_not_taken_for_this_ones() -> None:
    line = {"fingerprint": "made", "stamp": "stamp", "status": "done", "bytes": 9, "photo": "/in/b/a.jpg"}
    moved = manifest.by_status([job()], {"a-s.jpg": line}, {"a-s.jpg": 9}, "made", skip_existing=True)
    assert moved.existing == [job()]  # of the same size and time, it may be the same photo in another place
    line["stamp"] = "other"
    with pytest.raises(
        UserError,
        match=r"a-s\.jpg exists and was made from /in/b/a\.jpg, not /in/a\.jpg: .*drop --skip-existing",
    ):
        manifest.by_status([job()], {"a-s.jpg": line}, {"a-s.jpg": 9}, "made", skip_existing=True)


def test_a_manifest_goes_on_after_half_a_line(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "out"))
    first = Manifest(folder)
    first.head("made", style="s")
    first.add(job(), Outcome(7), "made")
    first.close()
    path = tmp_path / "out" / "manifest.jsonl"
    path.write_text(path.read_text() + '{"result": "b-s.jpg", "sta')
    second = Manifest(folder)
    with pytest.raises(UserError, match="another run"):
        Manifest(folder)
    second.add(job(), Outcome(0, "why", True), "made")
    second.close()
    known = manifest.read(folder, list(folder.sizes()))
    assert set(known) == {"a-s.jpg"}
    assert known["a-s.jpg"] | {"status": "failed", "reason": "why", "final": True} == known["a-s.jpg"]
    assert known["a-s.jpg"]["photo"] == "/in/a.jpg"


@pytest.mark.parametrize("name", ["no\udcffutf8", "two\u2028lines"], ids=["not UTF-8", "a separator"])
def test_a_manifest_takes_any_name(tmp_path: Path, name: str) -> None:
    folder = Folder(str(tmp_path / "out"))
    made = Manifest(folder)
    made.head(name, style="s")
    made.close()
    (line,) = manifest.lines((tmp_path / "out" / "manifest.jsonl").read_text())
    assert name in line.values()


@pytest.fixture
def memory() -> Iterator[Any]:
    """An object store of this process."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


def test_a_manifest_in_an_object_store(memory: Any) -> None:
    folder = Folder("memory://bucket/out")
    assert folder.sizes() == {}
    one = Manifest(folder)
    one.add(job(), Outcome(7), "made")
    one.flush()
    assert folder.sizes() == {}  # a minute has not passed
    one.close()
    (name,) = folder.sizes()
    assert name.startswith("manifest-")
    assert manifest.read(folder, [name])["a-s.jpg"]["bytes"] == 7


def picture(path: Path | str, size: tuple[int, int] = (24, 18), seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        return path.read_bytes()
    with fsspec.open(path, "wb") as file:
        image.save(file, format="JPEG")
    return bytes(fsspec.filesystem("memory").cat_file(path))


def test_photos_at_a_url(memory: Any) -> None:
    for name in ("a.jpg", "x/b.JPG", "x/.c.jpg", ".h/d.jpg", "notes.txt", "out/a-s.jpg"):
        picture(f"memory://bucket/in/{name}")
    found = storage.find(["memory://bucket/in"], "memory://bucket/in/out")
    assert [(p.name, str(p.folder)) for p in found] == [
        ("memory:///bucket/in/a.jpg", "."),
        ("memory:///bucket/in/x/b.JPG", "x"),
    ]
    assert len({p.stamp for p in found} | {""}) == 3
    assert [p.name for p in storage.find(["memory://bucket/in/*.jpg"], "out")] == [
        "memory:///bucket/in/a.jpg"
    ]
    assert len(storage.find(["memory://bucket/in/notes.txt"], "out")) == 1  # named outright
    with pytest.raises(UserError, match="memory://bucket/none"):
        storage.find(["memory://bucket/none"], "out")
    with pytest.raises(UserError, match="nosuch://"):
        storage.find(["nosuch://bucket"], "out")


def test_photos_in_a_folder(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "x" / "a.jpg")
    picture(tmp_path / "in" / "out" / "b.jpg")
    (photo,) = storage.find([f"file://{tmp_path}/in"], str(tmp_path / "in" / "out"))
    assert (photo.name, photo.folder) == (str(tmp_path / "in/x/a.jpg"), PurePosixPath("x"))
    picture(tmp_path / "in" / "x" / "a.jpg", (30, 20))
    assert storage.find([str(tmp_path / "in")], "memory://out")[1].stamp != photo.stamp


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a shipped style, `s`; temporary files go beside it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tiny.working_folder(tmp_path, monkeypatch, {"s": TINY})


def task(here: Path, **more: Any) -> WorkerTask:
    model = here.parent / "zoo/s.safetensors"
    options: dict[str, Any] = {
        "engine": EngineOptions("torch"),
        "options": StylizeOptions(),
        "path": str(model),
    } | more
    return WorkerTask("s", model=model.read_bytes(), run="run", **options)


def requests(folder: Path, names: Sequence[str]) -> list[PhotoRequest]:
    return [
        PhotoRequest(i, str(folder / f"{n}.jpg"), str(folder / f"out/{n}-s.jpg"), 0)
        for i, n in enumerate(names)
    ]


def test_a_batch(here: Path) -> None:
    for i, name in enumerate("abc"):
        picture(here / f"{name}.jpg", seed=i)
    (here / "b.jpg").write_bytes((here / "b.jpg").read_bytes()[:300])
    outcomes = Worker(task(here, path="/nowhere/s.safetensors")).stylize(
        requests(here, "abcd")
    )  # has its bytes
    assert main(["stylize", "a.jpg", "c.jpg", "-o", "plain", "--engine", "torch", "--quiet"]) == 0
    for i, name in ((0, "a"), (2, "c")):
        plain = (here / f"plain/{name}-s.jpg").read_bytes()
        assert (here / f"out/{name}-s.jpg").read_bytes() == plain
        assert outcomes[i] == Outcome(len(plain))
    assert "b.jpg is damaged" in outcomes[1].reason
    assert outcomes[1].final
    assert "no such file" in outcomes[3].reason
    assert not outcomes[3].final  # it may come back
    assert sorted(p.name for p in (here / "out").iterdir()) == ["a-s.jpg", "c-s.jpg"]
    assert [p.name for p in here.parent.glob("texturenets-*/*")] == []


def test_a_batch_at_urls(here: Path, memory: Any) -> None:
    data = picture("memory://b/a.jpg", seed=1)
    memory.pipe_file("/b/c.jpg", data[:300])
    (here / "a.jpg").write_bytes(data)
    batch = [
        PhotoRequest(i, f"memory://b/{n}.jpg", f"memory://b/out/{n}-s.png", 0) for i, n in enumerate("acd")
    ]
    outcomes = Worker(task(here, options=StylizeOptions(size=40))).stylize(batch)
    assert main(["stylize", "a.jpg", "-o", "p.png", "--engine", "torch", "--size", "40"]) == 0
    assert memory.cat_file("/b/out/a-s.png") == (here / "p.png").read_bytes()
    assert outcomes[0] == Outcome((here / "p.png").stat().st_size)
    assert outcomes[1].reason.startswith("memory://b/c.jpg is damaged")
    assert outcomes[1].final
    assert "memory://b/d.jpg" in outcomes[2].reason
    assert not outcomes[2].final
    assert memory.ls("/b/out", detail=False) == ["/b/out/a-s.png"]


def test_what_nobody_foresaw_is_one_photos_failure(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(here / "a.jpg")
    worker = Worker(task(here))
    monkeypatch.setattr(worker.style, "stylize", lambda *_, **__: 1 // 0)
    (outcome,) = worker.stylize(requests(here, "a")).values()
    assert "a.jpg: unexpected ZeroDivisionError" in outcome.reason
    assert not outcome.final


def test_a_worker_that_cannot_be_built_says_why(here: Path) -> None:
    assert "nosuch" in Worker(task(here, engine=EngineOptions("nosuch"))).problem
    assert "install one of them" in Worker(task(here, version="0.0")).problem


def test_a_batch_goes_on_where_its_worker_died(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        picture(here / f"{name}.jpg", (30, 20) if name == "b" else (24, 18))
    batch = requests(here, "abc")
    worker = Worker(task(here))
    stylize, deaths = worker.style.stylize, 0

    def deadly(pixels: Any, **options: Any) -> Any:
        nonlocal deaths
        if pixels.shape[3] == 30 and deaths < MAX_DEATHS:
            deaths += 1
            raise KeyboardInterrupt
        return stylize(pixels, **options)

    monkeypatch.setattr(worker.style, "stylize", deadly)
    for _ in range(MAX_DEATHS):
        with pytest.raises(KeyboardInterrupt):
            worker.stylize(batch)
    first = (here / "out/a-s.jpg").stat().st_mtime_ns
    outcomes = worker.stylize(batch)
    assert (here / "out/a-s.jpg").stat().st_mtime_ns == first  # not done again
    assert outcomes[0] == Outcome((here / "out/a-s.jpg").stat().st_size)
    assert f"{MAX_DEATHS} workers died over it" in outcomes[1].reason
    assert not outcomes[2].reason
    assert not Journal("run", batch).careful  # nothing is left of it


def test_cores_are_divided() -> None:
    assert ray_backend.divide([(2, 0)], None, False, 99) == (2, 1)
    assert ray_backend.divide([(8, 0)], 2, False, 99) == (2, 4)
    assert ray_backend.divide([(8, 0), (4, 0)], 3, False, 99) == (3, 4)
    assert ray_backend.divide([(8, 0), (8, 0)], 3, False, 99) == (
        3,
        4,
    )  # with 5 each the third would find no place
    assert ray_backend.divide([(8, 2), (4, 1)], None, True, 99) == (3, 1)
    assert ray_backend.divide([(8, 0)], None, False, 1) == (1, 8)
    with pytest.raises(UserError, match="2 cores"):
        ray_backend.divide([(2, 0)], 3, False, 99)


def test_batches_hold_every_photo_once() -> None:
    many = [PhotoRequest(i, f"{i}", f"{i}-s", 0) for i in range(5000)]
    found = ray_backend.batches(many, [1000] * 5000, 2)
    assert [one for batch in found for one in batch] == many
    assert {len(batch) for batch in found[:-1]} == {ray_backend.MAX_BATCH_PHOTOS}
    assert len(ray_backend.batches(many[:48], [1000] * 48, 2)) == 24
    assert [len(b) for b in ray_backend.batches(many, [ray_backend.MAX_BATCH_BYTES // 2] * 5000, 2)] == [
        2
    ] * 2500
    assert len(ray_backend.batches(many[:3], [ray_backend.MAX_BATCH_BYTES * 2] * 3, 1)) == 3


def test_an_address_may_follow() -> None:
    for words, expected in (
        ("--cluster -o out", "--cluster local -o out"),
        ("--cluster", "--cluster local"),
        ("--cluster photos -o out", "--cluster local photos -o out"),
        ("--cluster auto photos", "--cluster auto photos"),
        ("--cluster ray://head:10001 photos", "--cluster ray://head:10001 photos"),
        ("--cluster 10.0.0.1:6379", "--cluster 10.0.0.1:6379"),
        ("--cluster=auto photos", "--cluster=auto photos"),
    ):
        assert cluster_words(words.split()) == expected.split()


class InProcess:
    """What `ray_backend.Cluster` does, without Ray."""

    runs = 0

    def __init__(self, address: str, photos: int) -> None:
        assert address == "local"

    def __enter__(self) -> InProcess:
        InProcess.runs += 1
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def machines(self) -> list[tuple[int, int]]:
        return [(2, 0)]

    def run(
        self,
        task: WorkerTask,
        batches: Sequence[ray_backend.RequestBatch],
        workers: int,
        *,
        gpu: bool,
        **_: Any,
    ) -> Iterator[dict[int, Outcome] | str]:
        assert workers * (task.engine.threads or 0) == 2
        assert not gpu
        worker = Worker(task)
        yield worker.engine
        for batch in batches:
            yield worker.stylize(batch)


@pytest.fixture
def no_ray(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ray_backend, "check_installed", lambda: None)
    monkeypatch.setattr(ray_backend, "Cluster", InProcess)
    InProcess.runs = 0
    return here


def test_a_folder_and_what_is_missing_the_next_time(no_ray: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = no_ray
    for i, name in enumerate(("a.jpg", "x/a.png", "x/b.webp", "c.jpg")):
        picture(here / "in" / name, seed=i)
    (here / "in/c.jpg").write_bytes((here / "in/c.jpg").read_bytes()[:300])
    command = ["stylize", "in", "--engine", "torch"]

    def clustered(*more: str) -> tuple[int, str, str]:
        status = main([*command, "-o", "out", "--cluster", *more])
        output = capsys.readouterr()
        return status, output.out, output.err

    left = here / "out/x/.a-s.png.abcdefgh.part"  # by a worker that was killed
    left.parent.mkdir(parents=True)
    left.touch()
    status, names, told = clustered()
    assert main([*command, "-o", "plain"]) == status == 2
    capsys.readouterr()
    assert sorted(names.splitlines()) == ["out/a-s.jpg", "out/x/a-s.png", "out/x/b-s.webp"]
    assert "engine: torch, float32; workers: 2, threads of each: 1" in told
    assert "c.jpg is damaged" in told
    assert told.splitlines()[-1] == f"texturenets: 3 done, 1 failed: {here}/in/c.jpg"
    files = {str(p.relative_to(here / "plain")) for p in (here / "plain").rglob("*") if p.is_file()}
    assert {str(p.relative_to(here / "out")) for p in (here / "out").rglob("*") if p.is_file()} == files | {
        "manifest.jsonl"
    }
    for name in files:
        assert (here / "out" / name).read_bytes() == (here / "plain" / name).read_bytes()

    lines = [json.loads(line) for line in (here / "out/manifest.jsonl").read_text().splitlines()]
    assert lines[0]["options"]["engine"] == "torch"
    assert {line["result"]: line["status"] for line in lines[1:-1]} == {
        "a-s.jpg": "done",
        "c-s.jpg": "failed",
        "x/a-s.png": "done",
        "x/b-s.webp": "done",
    }
    assert (lines[-1]["done"], lines[-1]["failed"]) == (3, 1)

    status, names, told = clustered()
    assert (status, InProcess.runs, len(names.splitlines())) == (2, 1, 3)
    assert told.splitlines()[-1] == f"texturenets: 0 done, 3 skipped, made before, 1 failed: {here}/in/c.jpg"
    picture(here / "in/c.jpg", seed=9)
    (here / "out/x/a-s.png").unlink()
    assert clustered()[2].splitlines()[-1] == "2 done, 2 skipped, made before"
    assert clustered("--size", "20")[2].splitlines()[-1] == "4 done"
    assert clustered("--skip-existing")[2].splitlines()[-1] == "0 done, 4 skipped, made before"
    assert clustered()[2].splitlines()[-1] == "4 done"


def test_photos_of_one_name_become_files_of_two(
    no_ray: Path, memory: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x/k.png", "y/k.png", "y/sub/k.png", "k.png"):
        picture(no_ray / name)
        memory.pipe_file(f"/bucket/{name}", (no_ray / name).read_bytes())

    def written(*words: str) -> list[str]:
        assert main(["stylize", *words, "--engine", "torch", "--quiet"]) == 0
        return capsys.readouterr().out.splitlines()

    inside = ["x/k-s.png", "y/k-s.png", "y/sub/k-s.png"]
    for more in ([], ["--cluster"]):
        assert written("x", "y", "-o", "out", *more) == [f"out/{name}" for name in inside]
        assert written("y/k.png", "k.png", "-o", "flat", *more) == ["flat/k-s-2.png", "flat/k-s.png"]
        assert written("k.png", "y/k.png", "-o", "flat", *more) == ["flat/k-s.png", "flat/k-s-2.png"]
        assert main(["stylize", "k.png", "y/k.png", "-o", "flat", "--skip-existing", *more]) == 2
        assert "k-s.png: rename one of them" in capsys.readouterr().err
    remote = ["memory://bucket/x", "memory://bucket/y", "-o", "memory://bucket/out", "--cluster"]
    assert written(*remote) == [f"memory://bucket/out/{name}" for name in inside]


def test_videos_and_what_cannot_be_read_are_named_and_count(
    no_ray: Path, memory: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {suffix: name for suffix, name in formats.decodable_formats().items() if name != "HEIF"}
    monkeypatch.setattr(formats, "decodable_formats", lambda: known)  # as without the plug-in
    picture(no_ray / "in/a.jpg")
    frames = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(3)]
    frames[0].save(no_ray / "in/moving.gif", save_all=True, append_images=frames[1:])
    (no_ray / "in/photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    (no_ray / "in/clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(64))
    for path in (no_ray / "in").iterdir():
        memory.pipe_file(f"/bucket/in/{path.name}", path.read_bytes())
    for source, output in (("in", "out"), ("memory://bucket/in", "remote")):
        for again in ("", " (as before; it has not changed)"):
            assert main(["stylize", source, "-o", output, "--cluster", "--engine", "torch", "--quiet"]) == 2
            told = capsys.readouterr()
            assert told.out == f"{output}/a-s.jpg\n"
            *lines, summary = told.err.splitlines()
            names = ("clip.mp4", "photo.heic", "moving.gif")
            clip, heic, moving = (line for name in names for line in lines if name in line)
            assert clip.endswith(f"clip.mp4 is a video: --cluster stylizes photos; do it without{again}")
            assert moving.endswith(f"moving.gif is a video: --cluster stylizes photos; do it without{again}")
            assert "photo.heic: HEIC needs pillow-heif" in heic
            assert not heic.endswith("it has not changed)")  # the plug-in may be there the next time
            assert "3 failed" in summary


def test_a_run_that_is_interrupted_keeps_what_is_done(
    no_ray: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(30):
        picture(no_ray / f"in/{i}.png", (8, 8))
    run = InProcess.run

    def interrupted(*words: Any, **more: Any) -> Iterator[Any]:
        for number, row in enumerate(run(*words, **more)):
            if number == 12:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(InProcess, "run", interrupted)
    command = ["stylize", "in", "-o", "out", "--cluster", "--engine", "torch"]
    assert main(command) == 130
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "texturenets: interrupted: 11 of 30 done; the same command continues"
    monkeypatch.setattr(InProcess, "run", run)
    assert main(command) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "19 done, 11 skipped, made before"


def test_from_store_to_store(no_ray: Path, memory: Any, capsys: pytest.CaptureFixture[str]) -> None:
    picture("memory://b/in/x/a.jpg")
    command = [
        "stylize",
        "memory://b/in",
        "-o",
        "memory://b/out",
        "--cluster",
        "--engine",
        "torch",
        "--quiet",
    ]
    assert main(command) == 0
    assert capsys.readouterr().out == "memory://b/out/x/a-s.jpg\n"
    assert memory.exists("/b/out/x/a-s.jpg")
    assert main(command) == 0
    assert InProcess.runs == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["in", "--cluster"], "--output FOLDER"),
        (["in", "-o", "out.jpg", "--cluster"], "-o out/"),
        (["in", "-o", "in/a.jpg", "--cluster"], "is a file"),
        (["in", "-o", "in", "--cluster"], "in/stylized"),
        (["in/x", "-o", "in", "--cluster"], None),
        (["in/a.jpg", "-o", "in", "--cluster"], None),
        (["in/a.jpg", "in/a-s.jpg", "-o", "in", "--cluster"], "would be overwritten"),
        (["in", "-o", "out", "--cluster", "--workers", "3"], "2 cores"),
        (["in", "-o", "out", "--workers", "2"], "--cluster"),
        (["s3://bucket/in", "-o", "out"], "--cluster"),
        (["in", "-o", "nosuch://out", "--cluster"], "nosuch://out"),
        (["in", "-o", "out", "--cluster", "--device", "cuda"], "no GPU"),
        (["in", "-o", "out", "--cluster", "--memory", "much"], "--memory"),
        (["none", "-o", "out", "--cluster"], "none"),
        (["in", "-o", "out", "--cluster", "--rate", "25", "--sheet"], "leave out --rate, --sheet"),
        (["in", "-o", "out", "--cluster", "-s", "s", "-s", "copy.safetensors"], "one style at a time"),
    ],
)
def test_mistakes(
    no_ray: Path, words: list[str], told: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "a-s.jpg", "x/b.jpg"):
        picture(no_ray / "in" / name)
    (no_ray / "copy.safetensors").write_bytes(modelfile.shipped()["s"].read_bytes())
    status = main(["stylize", *words, "--engine", "torch"])
    error = capsys.readouterr().err
    assert status == (2 if told else 0), error
    if told:
        assert told in error
        assert error.count("\n") == 1
        assert not (no_ray / "out").exists()


def test_without_ray_the_extra_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(here / "a.jpg")
    monkeypatch.setattr(ray_backend, "find_spec", lambda _: None)
    assert main(["stylize", "a.jpg", "-o", "out/", "--cluster"]) == 2
    assert "[cluster]'" in capsys.readouterr().err


def test_an_address_where_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UserError, match="nothing answers there"):
            ray_backend.Cluster(address, 1).__enter__()
    with pytest.raises(UserError, match="not an address"):
        ray_backend.Cluster("head", 1).__enter__()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


@pytest.mark.slow
def test_with_ray_a_worker_is_killed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec("ray") is None:  # not imported: it reads its settings then
        pytest.skip("Ray is not installed: pip install 'texturenets[cluster]'")
    count = 120
    for i in range(count):
        picture(here / f"in/{i:03}.png", (64, 64), i)
    killed: list[int] = []

    def kill() -> None:
        while not killed and time.monotonic() < end:
            done = len(list((here / "out").glob("*.png")))
            for status in Path("/proc").glob("[0-9]*/cmdline") if done > count // 4 else ():
                try:
                    if status.read_bytes().startswith(b"ray::MapWorker(MapBatches(_Actor"):
                        killed.append(int(status.parent.name))
                        os.kill(killed[0], signal.SIGKILL)
                        break
                except OSError:
                    continue
            time.sleep(0.02)

    end = time.monotonic() + 300
    thread = threading.Thread(target=kill)
    thread.start()
    status = main(["stylize", "in", "-o", "out", "--cluster", "--engine", "torch", "--workers", "2"])
    end = 0
    thread.join()
    output = capsys.readouterr()
    assert status == 0, output.err
    assert killed
    assert sorted(output.out.splitlines()) == [f"out/{i:03}-s.png" for i in range(count)]
    for i in range(count):
        with Image.open(here / f"out/{i:03}-s.png") as result:
            result.load()
    assert not list((here / "out").glob(".*"))
    assert main(["stylize", "in", "-o", "out", "--cluster", "--engine", "torch"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"0 done, {count} skipped, made before"


def test_ray_is_imported_by_one_module_alone() -> None:
    imports = re.compile(r"^\s*(import|from) ray\b", re.MULTILINE)
    assert imports.search("    import ray.data\n")
    found = [
        path for path in Path(cluster.__file__).parents[1].rglob("*.py") if imports.search(path.read_text())
    ]
    assert [path.name for path in found] == ["ray_backend.py"]


@pytest.mark.parametrize("cut", [0, 100])
def test_a_damaged_model_in_the_cache_is_written_anew(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    far = task(here, path="/nowhere/s.safetensors")
    os.truncate(worker.model_file(far), cut)
    assert worker.model_file(far).read_bytes() == far.model
