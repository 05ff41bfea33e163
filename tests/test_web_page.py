"""The page for browsers: its arithmetic is the package's (asked of node), and its folder is whole."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from texturenets import image, noise, textures
from texturenets.errors import UserError
from texturenets.export import onnxruntime_web, static_page
from texturenets.graph import IOSpec
from texturenets.image import sizes
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import network_files
from texturenets.networks.residual import Residual
from texturenets.noise import NoiseInput
from texturenets.stylize import style as api

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tasks for core.js to its answers."""
    if shutil.which("node") is None:
        pytest.skip("node is not here, which runs the page's arithmetic without a browser")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(static_page.PAGE / "core.js", folder / "core.mjs")

    def call(*tasks: dict[str, Any]) -> list[Any]:
        (folder / "given.json").write_text(json.dumps(tasks))
        words = ["node", str(TESTS / "core.mjs"), str(folder / "core.mjs")]
        subprocess.run([*words, str(folder / "given.json"), str(folder / "made.json")], check=True)
        answers: list[Any] = json.loads((folder / "made.json").read_text())
        return answers

    return call


def third(x: Any, maps: Any) -> Any:
    """What tests/core.mjs has in place of a network."""
    flat = x.reshape(-1) / np.float32(3)
    if maps:
        flat = flat + np.resize(maps[0].reshape(-1), flat.shape) / np.float32(4)
    return flat.reshape(x.shape)


class Third:
    """An engine of that."""

    name, precision = "third", "float32"

    def __init__(self, io_spec: IOSpec) -> None:
        self.io_spec = io_spec

    def __call__(self, x: Any, noises: Any = (), inputs: Any = None) -> Any:
        return third(x, noises)


def test_the_arithmetic_is_the_packages(ask: Any) -> None:
    random = np.random.default_rng(0)
    inputs = (NoiseInput(3, 4, "uniform"),)
    plain, noisy = IOSpec(stride=8, min_side=16), IOSpec(stride=8, min_side=16, noise=inputs)
    photo = random.integers(0, 256, (5, 70, 4), dtype=np.uint8)
    photo[..., 3] = 255
    small = random.random((1, 3, 3, 5), dtype=np.float32)
    settings: list[tuple[IOSpec, dict[str, Any]]] = [
        (plain, {}),
        (noisy, {"seed": 5}),
        (plain, {"strength": 0.4}),
        (plain, {"strength": 0}),
        (plain, {"preserveColor": True}),
    ]
    waves = ((0.03, 0.0), (-0.08, 0.04))
    maps = [
        ({"seed": 3, "stream": 1, "height": 4, "width": 5}, NoiseInput(6, 1)),
        ({"seed": 2**40 + 7, "stream": 0, "height": 3, "width": 2}, NoiseInput(3, 1, "normal")),
        ({"seed": 2**40 + 7, "stream": 5, "height": 30, "width": 20}, NoiseInput(4, 4, "waves", waves)),
    ]
    answers = ask(
        *({"call": "noise", **place, "input": asdict(one)} for place, one in maps),
        {"call": "pad", "pixels": small.ravel().tolist(), "height": 3, "width": 5, "stride": 8, "least": 20},
        *(
            {
                "call": "stylize",
                "bytes": photo.ravel().tolist(),
                "height": 5,
                "width": 70,
                "io_spec": {**asdict(io_spec), "min_side": max(api.MIN_NETWORK_SIDE, io_spec.min_side)},
                "options": options,
            }
            for io_spec, options in settings
        ),
    )
    for (place, one), drawn in zip(maps, answers[:3], strict=True):
        side = place["height"], place["width"]
        whole = noise.wrapped(one, one.stride * side[0], one.stride * side[1])
        right = noise.array(whole, place["seed"], place["stream"], 0, 0, *side)
        np.testing.assert_allclose(np.array(drawn), right.ravel(), rtol=0, atol=1e-6)
    right, (top, left, _, _) = sizes.pad_to_multiple(small, 8, 20)
    np.testing.assert_array_equal(np.array(answers[3]["data"], np.float32), right.ravel())
    assert answers[3]["box"] == [*right.shape[2:], top, left]
    for (io_spec, options), drawn in zip(settings, answers[4:], strict=True):
        style = api.Style(
            Third(io_spec), Header(name="third", kind="style", generator={"name": "third"}), Path()
        )
        expected = style.stylize(
            image.from_any(photo[..., :3])[0].pixels,
            strength=options.get("strength", 1.0),
            preserve_color=options.get("preserveColor", False),
            seed=options.get("seed", 0),
        )
        there = np.array(drawn, np.float32).reshape(5, 70, 4)[..., :3].transpose(2, 0, 1)
        assert np.abs(there - 255 * expected[0]).max() <= 0.51  # rounded


def test_samples_are_cut_from_what_is_drawn(ask: Any) -> None:
    io_spec = IOSpec(stride=16, channels=0, noise=(NoiseInput(1, 1, "uniform"),))
    task = {"call": "sample", "height": 20, "width": 300, "seed": 9}
    (drawn,) = ask({**task, "io_spec": {**asdict(io_spec), "min_side": textures.MIN_SAMPLE_SIDE}})
    there = np.array(drawn, np.float32).reshape(3, 20, 300)
    np.testing.assert_array_equal(there[1], noise.uniform_array(9, 0, 0, 0, 20, 300, 1)[0])


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_styles_go_where_the_mask_says(ask: Any, keeps: bool, masked: bool) -> None:
    mask = np.random.default_rng(0).random((5, 7), np.float32)
    mix = {"first": 2, "second": 0, "share": 0.25, "keeps": keeps}
    task = {"mix": mix, "mask": mask.ravel().tolist() if masked else None, "height": 5, "width": 7}
    io_spec = {**asdict(IOSpec(stride=4, min_side=8, margin=3)), "min_side": 8}
    (made,) = ask({"call": "styles", "io_spec": io_spec, **task})
    by_region = masked and not keeps
    there = 0.25 * mask if by_region else np.full((5, 7), 0.25, np.float32)
    wanted = np.stack([there, np.zeros_like(there), 1 - there])[None]
    if by_region:
        wanted, _ = sizes.pad_to_multiple(wanted, 4, 8, 3)
    else:
        wanted = wanted[:, :, :1, :1]
    assert made["dims"] == list(wanted.shape)
    np.testing.assert_allclose(made["data"], wanted.ravel(), atol=1e-6)
    kept = mask if masked and keeps else np.zeros_like(mask)
    np.testing.assert_allclose(made["blended"], np.tile(1 - 0.5 * (1 - kept).ravel(), 3), atol=1e-6)


def package(folder: Path) -> Path:
    """A package with the names of ONNX Runtime Web's files."""
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in (*onnxruntime_web.WASM, *onnxruntime_web.WEBGPU):
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def tiny_model(path: Path) -> Path:
    """A small style, written to `path`."""
    from texturenets.modelfiles.modelfile import Header
    from texturenets.networks import build

    spec = Residual(channels=8, blocks=1)
    network_files.save(
        build(spec), Header(name=path.stem, kind="style", generator=spec, licence="CC0-1.0"), path
    )
    return path


def test_the_folder_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tgz = tiny_model(tmp_path / "tiny.safetensors"), package(tmp_path)
    with pytest.raises(UserError, match="hash"):
        static_page.write([model], tmp_path / "page", tgz)
    assert not (tmp_path / "page").exists()
    monkeypatch.setattr(onnxruntime_web, "SHA256", hashlib.sha256(tgz.read_bytes()).hexdigest())
    index = static_page.write([model], tmp_path / "page", tgz)
    page = index.parent
    (shown,) = json.loads((page / "models.json").read_text())
    assert (shown["name"], shown["kind"]) == ("tiny", "style")
    assert (page / shown["file"]).stat().st_size > 1000
    assert "tiny: CC0-1.0" in (page / "LICENSES.txt").read_text()
    for name in json.loads((page / "files.json").read_text()):
        assert name == "./" or (page / name).is_file()
    assert "VERSION" not in (page / "offline.js").read_text()
    for name in ("index.html", *(path.name for path in page.glob("*.js")), "style.css"):
        text = (page / name).read_text()
        assert not re.search(r"https?://", text), name  # nothing from elsewhere
    with pytest.raises(UserError, match="two models"):
        static_page.write([model, model], tmp_path / "page", tgz)


def test_a_second_export_adds_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (tiny_model(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    tgz, page = package(tmp_path), tmp_path / "page"
    monkeypatch.setattr(onnxruntime_web, "SHA256", hashlib.sha256(tgz.read_bytes()).hexdigest())
    static_page.write([one], page, tgz)
    first = (page / "offline.js").read_text()
    with pytest.warns(UserWarning, match="also shows one, exported before"):
        static_page.write([two], page, tgz)
    assert [shown["name"] for shown in json.loads((page / "models.json").read_text())] == ["one", "two"]
    assert {"models/one.onnx", "models/two.onnx"} <= set(json.loads((page / "files.json").read_text()))
    assert "Model one: CC0-1.0" in (page / "LICENSES.txt").read_text()
    assert (page / "offline.js").read_text() != first  # browsers fetch the page anew
    static_page.write([one, two], page, tgz)  # nothing kept, nothing to say
    (page / "models" / "one.onnx").unlink()
    static_page.write([two], page, tgz)
    assert [shown["name"] for shown in json.loads((page / "models.json").read_text())] == ["two"]


@pytest.mark.parametrize("there", ["index.html", "models.json"])
def test_another_page_is_not_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("[1]")
    with pytest.raises(UserError, match="give another folder"):
        static_page.write([tiny_model(tmp_path / "tiny.safetensors")], tmp_path)
    assert (tmp_path / there).read_text() == "[1]"


def test_a_page_of_an_earlier_version_is_not_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tgz, page = tiny_model(tmp_path / "one.safetensors"), package(tmp_path), tmp_path / "page"
    monkeypatch.setattr(onnxruntime_web, "SHA256", hashlib.sha256(tgz.read_bytes()).hexdigest())
    static_page.write([model], page, tgz)
    models = page / "models.json"
    models.write_text(models.read_text().replace('"fixed_size"', '"fixed"'))
    with pytest.raises(UserError, match="was not written by this version"):
        static_page.write([model], page, tgz)
