"""`texturenets evaluate`, with small networks and descriptor networks of random weights."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import texturenets as tn
from texturenets import evaluation, loading, textures
from texturenets.errors import UserError
from texturenets.evaluation import measures, patches
from texturenets.losses import build
from texturenets.modelfiles.modelfile import Header
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual
from texturenets.train import presets
from texturenets.train.configuration import StyleConfig, TextureConfig, from_dict, to_dict
from texturenets.train.trainer_config import TrainerConfig


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    """A painting, photos, small descriptor networks."""
    made = tiny.Studio(tmp_path_factory.mktemp("studio"), photos=3)
    tiny.weights_file(made.weights, "vgg16", until="relu4_3")
    return made


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers that the small descriptor networks have, and small canvases."""
    monkeypatch.setattr(measures, "DIVERSITY_LAYERS", {None: ("squeezenet1_0:fire2", "vgg16:relu1_1")})
    monkeypatch.setattr(textures, "MIN_SAMPLE_SIDE", 32)


@pytest.fixture(scope="module")
def style(studio: tiny.Studio) -> Path:
    """The file of a trained style."""
    return studio.run().model


def evaluate(studio: tiny.Studio, *words: str) -> tuple[int, str, str]:
    return tiny.call(
        "evaluate", *words, "--weights", str(studio.weights), "--offline", "--device", "cpu", "--quiet"
    )


def test_an_exemplar_whose_half_is_too_small_is_measured_all_the_same(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_small(*_: object) -> None:
        raise UserError("an image of 16 x 32 is too small")

    monkeypatch.setattr("texturenets.evaluation.measures.half_losses", too_small)
    words = [str(studio.texture().model), "--against", str(studio.painting), "--samples", "1", "--size", "64"]
    status, output, error = evaluate(studio, *words, "--json")
    assert status == 0, error
    assert "losses" in (found := json.loads(output))
    assert "halves" not in found
    assert evaluate(studio, *words)[0] == 0  # the table, too


def test_a_texture_in_numbers(studio: tiny.Studio) -> None:
    model = studio.texture(style_weight=3).model
    words = [str(model), "--against", str(studio.painting), "--samples", "3", "--size", "64"]
    status, output, error = evaluate(studio, *words, "--optimize", "2", "--max-iterations", "3", "--json")
    assert status == 0, error
    found: dict[str, Any] = json.loads(output)
    layers = ["squeezenet1_0:conv1", "squeezenet1_0:fire2"]
    assert list(found["losses"]) == list(found["halves"]) == layers
    assert found["sums"] == {"squeezenet1_0": pytest.approx(sum(found["losses"].values()))}
    assert set(found["seam"]) == {"x", "y"}
    assert 0 <= found["copied"] <= 1
    for layer, value in found["diversity"].items():
        ratio = found["distance between samples"][layer] / found["distance between optimized samples"][layer]
        assert value == pytest.approx(ratio)
    assert found["iterations"]["max iterations"] == 3
    assert len(found["iterations"]["each"]) == 2
    # The losses are those of the samples that `sample` draws, whatever the weight in training was.
    texture = loading.load(model, "cpu")
    networks, _ = evaluation._descriptors(evaluation.config_of(texture.header), layers, _offline(studio))
    target = _exemplar(studio, texture.header)
    samples = [torch.from_numpy(texture.draw(64, 64, seed)) for seed in (7, 8, 9)]
    assert measures.texture_losses(networks, samples, target, tiny.settings(tuple(layers))) == pytest.approx(
        found["losses"], rel=1e-5
    )
    status, output, _ = evaluate(studio, *words)
    assert status == 0
    for said in (
        "halves of the exemplar",
        "sum of squeezenet1_0",
        "seam: x",
        "copied:",
        "distance between samples",
    ):
        assert said in output


@pytest.mark.usefixtures("few_patches")
def test_the_patch_distance_stands_beside_that_of_the_halves(studio: tiny.Studio) -> None:
    exemplar = tiny.picture(studio.root / "wide.png", seed=7, size=(128, 64), grain=24)
    model = studio.texture(style=exemplar, style_size=0, steps=1).model
    words = [str(model), "--against", str(exemplar), "--samples", "1", "--size", "64"]
    status, output, error = evaluate(studio, *words, "--json", "--seed", "3")
    assert status == 0, error
    found = json.loads(output)
    own, halves = found["patch distance"], found["patch distance of the halves"]
    assert list(own) == list(halves) == ["1", "1/2", "1/4", "1/8", "mean"]
    sample = torch.from_numpy(loading.load(model, "cpu").draw(64, 64, 3))
    target = evaluation.image.read(exemplar).rgb
    assert own == pytest.approx(patches.patch_distance([sample], target, 3))
    assert halves == pytest.approx(patches.patch_distance([target[..., :64]], target[..., 64:], 3))
    assert halves["1"] < own["1"]
    _, output, _ = evaluate(studio, *words, "--seed", "3")
    rows = {line.split("  ")[0]: line.split()[-2:] for line in output.splitlines() if "patch" in line}
    assert rows["patch distance, 1/4"] == [f"{own['1/4']:.1f}", f"{halves['1/4']:.1f}"]
    # too small for four sizes: no line
    _, output, _ = evaluate(studio, *words[:-1], "40")
    assert "patch distance" not in output


def test_a_texture_without_gram_matrices_is_measured_by_them(studio: tiny.Studio) -> None:
    plain = studio.texture(steps=1).model
    model = studio.texture(
        steps=1, style_weight=0, sliced_weight=1, structure_layers="squeezenet1_0:fire2"
    ).model
    for one in (plain, model):
        words = [
            str(one),
            "--against",
            str(studio.painting),
            "--samples",
            "1",
            "--size",
            "48",
            "--optimize",
            "1",
        ]
        status, output, error = evaluate(studio, *words, "--max-iterations", "1", "--json")
        assert status == 0, error
        assert list(json.loads(output)["losses"]) == ["squeezenet1_0:conv1", "squeezenet1_0:fire2"]


def _offline(studio: tiny.Studio) -> evaluation.TrainerConfig:
    return evaluation.TrainerConfig(weights=(str(studio.weights),), offline=True, device="cpu")


def _exemplar(studio: tiny.Studio, header: Header) -> torch.Tensor:
    return evaluation.image.read(studio.painting, longer=evaluation.config_of(header).style_size or None).rgb


def test_a_style_in_numbers(studio: tiny.Studio) -> None:
    model = studio.run().model
    words = [str(model), "--against", str(studio.painting), "--photo", str(studio.photos), "--size", "48"]
    status, output, error = evaluate(studio, *words, "--optimize", "1", "--max-iterations", "2", "--json")
    assert status == 0, error
    found = json.loads(output)
    assert [row["photo"] for row in found["photos"]] == ["0.png", "1.png", "2.png"]
    assert all(row["style"] > 0 and row["content"] > 0 for row in found["photos"])
    assert len(found["iterations"]["each"]) == 3
    first, itself = found["photos"][0], found["photos"][0]["itself"]
    assert itself["structure"] == 0 < first["structure"]
    assert found["means"]["texture"] == pytest.approx(sum(row["texture"] for row in found["photos"]) / 3)
    status, output, _ = evaluate(studio, *words, "--optimize", "1", "--max-iterations", "2")
    assert "L-BFGS iterations needed to reach the model's loss" in output
    assert "unstylized photos" in output
    assert f"{found['means']['structure']:.3f}" in output
    why = "calm, checkerboard, border: measured only if the shorter side has at least 96 pixels: give a larger --size"
    assert why in " ".join(output.split())
    words[-1] = "128"
    assert why not in " ".join(evaluate(studio, *words)[1].split())


def test_a_batch_goes_on_past_a_bad_photo(studio: tiny.Studio, tmp_path: Path) -> None:
    for name in ("0.png", "2.png"):
        shutil.copy(studio.photos / name, tmp_path)
    (tmp_path / "1.png").write_bytes((studio.photos / "1.png").read_bytes()[:200])
    words = [str(studio.run().model), "--against", str(studio.painting), "--size", "48", "--json", "--photo"]
    status, output, error = evaluate(studio, *words, str(tmp_path))
    assert status == 2
    assert [row["photo"] for row in json.loads(output)["photos"]] == ["0.png", "2.png"]
    told, end = error.splitlines()
    assert "1.png is damaged or cut short" in told
    assert end == f"texturenets: 2 done, 1 failed: {tmp_path / '1.png'}"
    status, output, error = evaluate(studio, *words, str(tmp_path / "1.png"))
    assert (status, output, error.count("\n")) == (2, "", 1), error
    assert "1.png is damaged or cut short" in error
    for name in ("0.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    status, output, error = evaluate(studio, *words, str(tmp_path))
    assert (status, json.loads(output)["photos"], error.count("\n")) == (2, [], 4), error
    assert error.splitlines()[-1].startswith("texturenets: 0 done, 3 failed: ")
    status, output, error = evaluate(studio, *[word for word in words if word != "--json"], str(tmp_path))
    assert (status, output, error.count("\n")) == (2, "", 4), error


def test_a_batch_goes_on_past_a_bad_video(studio: tiny.Studio, tmp_path: Path) -> None:
    tinyvideo = pytest.importorskip("tinyvideo", reason="the extra `video` is not installed")
    tinyvideo.video(tmp_path / "good.mp4", tinyvideo.frames(3, (96, 96)))
    (tmp_path / "bad.mp4").write_bytes(b"none")
    videos = [word for name in ("bad", "good") for word in ("--video", str(tmp_path / f"{name}.mp4"))]
    status, output, error = evaluate(studio, str(studio.run().model), *videos, "--json")
    assert status == 2, error
    assert [row["video"] for row in json.loads(output)["videos"]] == ["good.mp4"]
    assert error.splitlines()[-1] == f"texturenets: 1 done, 1 failed: {tmp_path / 'bad.mp4'}"


def test_what_was_measured_is_printed_though_all_others_fail(studio: tiny.Studio, tmp_path: Path) -> None:
    tinyvideo = pytest.importorskip("tinyvideo", reason="the extra `video` is not installed")
    good, bad = studio.photos / "0.png", tmp_path / "bad.png"
    bad.write_bytes(b"none")
    tinyvideo.video(tmp_path / "good.mp4", tinyvideo.frames(3, (96, 96)))
    (tmp_path / "bad.mp4").write_bytes(b"none")
    words = [str(studio.run().model), "--against", str(studio.painting), "--size", "48", "--json"]
    for photo, video in ((good, "bad.mp4"), (bad, "good.mp4")):
        status, output, error = evaluate(
            studio, *words, "--photo", str(photo), "--video", str(tmp_path / video)
        )
        found = json.loads(output)
        assert status == 2
        assert ["0.png"] * (photo == good) == [row["photo"] for row in found["photos"]]
        assert ["good.mp4"] * (photo == bad) == [row["video"] for row in found["videos"]]
        assert error.splitlines()[-1].startswith("texturenets: 1 done, 1 failed: ")


def test_frames_are_checked_before_photos_are_measured(studio: tiny.Studio) -> None:
    model, photos = str(studio.run().model), str(studio.photos)
    words = [model, "--against", str(studio.painting), "--photo", photos, "--video", "a.mp4", "--frames", "1"]
    status, output, error = tiny.call("evaluate", *words)  # without weights, which photos need
    assert (status, output) == (2, "")
    assert "--frames 1 is below 2" in error


def test_counts_and_their_median() -> None:
    assert evaluation._counts([5, 9, 7], 20) == {"each": [5, 9, 7], "max iterations": 20, "median": 7}
    assert evaluation._counts([5, None, 7], 20)["median"] == 7
    assert evaluation._counts([None, None, 7], 20)["median"] == 21


def test_the_config_of_a_model_is_what_its_header_says() -> None:
    spec = Multiscale()
    made = TextureConfig(style_layers=("vgg16:relu1_1",), style_size=99)
    header = Header(name="a", kind="texture", generator=spec, training={"run": to_dict(made)})
    assert evaluation.config_of(header) == made
    later = {"run": {**to_dict(made), "of a later version": 1}}
    assert evaluation.config_of(Header(name="a", kind="texture", generator=spec, training=later)) == made
    assert evaluation.config_of(Header(name="a", kind="texture", generator=spec)) == presets.TEXTURE
    assert evaluation.config_of(Header(name="a", kind="style", generator=Residual())) == presets.DEFAULT
    penalized = StyleConfig(checkerboard_weight=1, tv_weight=1, content_weight=5)
    losses = build(dataclasses.asdict(penalized), evaluation.REPORTED_LOSSES)
    assert {loss.name: loss.weight for loss in losses} == {"style": 1, "content": 5}  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="unknown to this version"):
        from_dict({"of a later version": 1}, TextureConfig)


def test_mistakes_are_one_line(studio: tiny.Studio, tmp_path: Path) -> None:
    texture, style = studio.texture().model, studio.run().model
    for words, says in (
        ([str(texture), "--against", str(studio.painting), "--photo", "x.png"], "this option is for styles"),
        ([str(style), "--against", str(studio.painting)], "--photo FILE"),
        ([str(texture), "--against", str(tmp_path / "no.png")], "no.png"),
        ([str(texture), "--against", str(studio.painting), "--samples", "0"], "--samples 0"),
        ([str(texture), "--against", str(studio.painting), "--size", "0"], "--size 0 is not above 0"),
        ([str(texture), "--against", str(studio.painting), "--optimize", "-1"], "--optimize"),
    ):
        status, output, error = evaluate(studio, *words)
        assert (status, output, error.count("\n")) == (2, "", 1), error
        assert says in error


def test_what_would_change_nothing_is_refused(studio: tiny.Studio) -> None:
    texture, style, painting = str(studio.texture().model), str(studio.run().model), str(studio.painting)
    drawing = [texture, "--against", painting]
    painting_photos = [style, "--against", painting, "--photo", str(studio.photos)]
    samples = f"{style} is a style; this option is for textures"
    for words, says in (
        ([*painting_photos, "--samples", "8"], f"--samples 8 changes nothing: {samples}"),
        ([*painting_photos, "--seed", "0"], f"--seed 0 changes nothing: {samples}"),
        (
            [*painting_photos, "--frames", "9"],
            "--frames 9 changes nothing: it is for videos, and there are none",
        ),
        (
            [*painting_photos, "--max-iterations", "9"],
            "--max-iterations 9 changes nothing: it is for the images that --optimize makes",
        ),
        ([*drawing, "--max-iterations", "9", "--optimize", "0"], "give --optimize as well"),
        ([*drawing, "--frames", "9"], "--frames 9 changes nothing"),
        ([style, "--video", "a.mp4", "--optimize", "1"], "--optimize 1 changes nothing: it is for photos"),
    ):
        status, output, error = evaluate(studio, *words)
        assert (status, output, error.count("\n")) == (2, "", 1), error
        assert says in error


def test_a_picture_that_is_missing_is_told_before_weights_are_looked_for(
    studio: tiny.Studio, tmp_path: Path
) -> None:
    for model, more in (
        (studio.texture().model, []),
        (studio.run().model, ["--photo", str(studio.painting)]),
    ):
        words = ["evaluate", str(model), "--against", "no.png", *more, "--offline"]
        status, output, error = tiny.call(*words)
        assert (status, output, error.count("\n")) == (2, "", 1), error
        assert "no.png" in error


def test_photos_are_files_and_folders_as_for_the_command(studio: tiny.Studio, style: Path) -> None:
    model = loading.load(style, "cpu")
    how = TrainerConfig(weights=(str(studio.weights),), offline=True, device="cpu")
    with pytest.raises(tn.UserError, match="`samples` 'four' is not a whole number"):
        tn.EvaluationOptions(samples="four")  # type: ignore[arg-type]
    options = tn.EvaluationOptions(size=64)
    given: list[Any] = [[studio.photos / "0.png", studio.photos], str(studio.photos / "?.png")]
    for photos in given:
        found = evaluation.evaluate(model, studio.painting, photos, options=options, trainer=how)
        assert [row["photo"] for row in found["photos"]] == ["0.png", "1.png", "2.png"]
    one = evaluation.evaluate(model, studio.painting, studio.photos / "1.png", options=options, trainer=how)
    assert [row["photo"] for row in one["photos"]] == ["1.png"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": 3}, "`model` is of type int: give a style or texture, its name or its model file"),
        ({"model": torch.nn.Identity()}, "`model` is of type Identity: give a style or texture"),
        ({"model": "gone.safetensors"}, "no such model file: gone.safetensors"),
        ({"against": None}, "`against` is of type NoneType: give the file of the painting"),
        ({"against": np.zeros((8, 8, 3))}, "`against` is of type ndarray: give the file of the painting"),
        ({"against": "gone.png"}, "no such file: gone.png"),
        ({"photos": ()}, "is a style: give photos to stylize"),
        ({"photos": "gone/"}, "no such file or folder: gone"),
        ({"photos": ["gone.png"]}, "no such file or folder: gone.png"),
        ({"photos": np.zeros((8, 8, 3))}, "`photos` holds something of type ndarray: give files or folders"),
        ({"photos": [Image.new("RGB", (8, 8))]}, "`photos` holds something of type Image: give files or folders"),
        ({"photos": 3}, "`photos` is of type int: give files or folders"),
        ({"options": {"size": 64}}, "`options` is of type dict: give EvaluationOptions"),
        ({"trainer": "cpu"}, "`trainer` is of type str: give a TrainerConfig"),
    ],
)  # fmt: skip
def test_wrong_arguments_from_python_are_named(
    studio: tiny.Studio, style: Path, wrong: dict[str, Any], said: str
) -> None:
    words: dict[str, Any] = {"model": style, "against": studio.painting, "photos": studio.photos}
    with pytest.raises(UserError, match=re.escape(said)) as found:
        evaluation.evaluate(**{**words, **wrong})
    assert "\n" not in str(found.value)
