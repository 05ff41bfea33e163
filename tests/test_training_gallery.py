"""`train gallery` and `train style --into`: several paintings in one network."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import BASE, Studio, call, picture, words

from texturenets import loading
from texturenets.cluster import worker
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.losses import Loss
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Condition
from texturenets.networks import network_files
from texturenets.stylize.options import StylizeOptions
from texturenets.train import network, start
from texturenets.train.configuration import GalleryConfig, StyleConfig, TextureConfig
from texturenets.train.gallery_task import style_task
from texturenets.train.start import train_style
from texturenets.train.trainer_config import TrainerConfig

OPTIONS: dict[str, Any] = {**BASE, "batch_size": 1, "steps": 9, "val_share": 0.4}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    made = Studio(tmp_path_factory.mktemp("gallery"))
    for i, name in enumerate(("sea", "night", "late")):
        picture(made.root / f"{name}.png", seed=200 + i, size=(80, 64), grain=24)
    return made


def train(studio: Studio, verb: str, names: list[str], out: Path, **more: Any) -> tuple[int, str]:
    flags = words({**OPTIONS, **more, "weights": studio.weights, "content": studio.photos, "output": out})
    paintings = [str(studio.root / f"{name}.png") for name in names]
    status, _, error = call("train", verb, *paintings, *flags, "--quiet")
    return status, error


@pytest.fixture(scope="module")
def trained(studio: Studio) -> Path:
    out = studio.root / "gallery.safetensors"
    status, error = train(studio, "gallery", ["sea", "night"], out)
    assert status == 0, error
    return out


def test_each_painting_is_learned_at_two_strengths_and_sizes(trained: Path) -> None:
    rows = modelfile.read_header(trained).rows
    kinds = [(1.0, 1.0), (0.5, 1.0), (1.0, 2.0), (0.5, 2.0)]
    assert rows == tuple(Condition(style, *kind) for style in ("sea", "night") for kind in kinds)
    network, _ = network_files.load(trained)
    table = network.state_dict()["network.entry.norm.bias"]
    assert table.shape == (8, 8)
    assert len(table.unique(dim=0)) == 8  # each had its turn in nine steps
    assert set(modelfile.read_header(trained).thumbnails) == {"sea", "night"}


def test_a_gallery_goes_on_where_it_stopped(studio: Studio) -> None:
    whole, parts = studio.root / "whole.safetensors", studio.root / "parts.safetensors"
    plain = {"checkerboard_weight": 0}  # which depends on the share of the training that is done
    assert train(studio, "gallery", ["sea", "night"], whole, steps=6, **plain)[0] == 0
    assert train(studio, "gallery", ["sea", "night"], parts, steps=3, **plain)[0] == 0
    assert train(studio, "gallery", ["sea", "night"], parts, steps=6, resume=True, **plain)[0] == 0
    states = [
        network_files.load(path.with_suffix(".run") / "last.safetensors")[0].state_dict()
        for path in (whole, parts)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_one_strength_and_size_alone(studio: Studio) -> None:
    out = studio.root / "plain.safetensors"
    assert train(studio, "gallery", ["sea", "night"], out, steps=2, light=1, large=1)[0] == 0
    assert modelfile.read_header(out).rows == (Condition("sea"), Condition("night"))


def test_a_style_is_trained_into_a_gallery(studio: Studio, trained: Path) -> None:
    out = trained.with_name("late.safetensors")
    status, error = train(studio, "style", ["late"], out, into=trained, steps=4)
    assert status == 0, error
    assert out.stat().st_size < trained.stat().st_size
    header = modelfile.read_header(out)
    assert {row.style for row in header.rows} == {"late"}
    assert header.base["name"] == "gallery"
    assert header.training["run"]["learning_rate"] == 0.02  # rows are few, and have few steps
    base, own = (network_files.load(path)[0].state_dict() for path in (trained, out))
    for name, value in own.items():
        if ".norm." in name:
            assert value.shape[0] == 4
            means = base[name].view(2, 4, -1).mean(0)  # where it began
            assert not torch.allclose(value, means, atol=1e-3)
        else:
            assert torch.equal(value, base[name])
    photo = np.asarray(Image.open(studio.photos / "0.png"))
    style = loading.load_style(out, EngineOptions("torch", "cpu"))
    assert style.name == "late"
    assert not np.array_equal(style(photo), loading.load(f"{trained}:sea", engine="torch")(photo))


def test_a_mask_for_a_style_whose_file_has_another_name(studio: Studio, trained: Path) -> None:
    out = trained.with_name("named.safetensors")
    assert train(studio, "style", ["late"], out, into=trained, steps=1)[0] == 0
    photo, result = str(studio.photos / "0.png"), str(studio.root / "masked.png")
    flags = ["--mask", "left-to-right", "--engine", "torch", "-o", result]
    assert call("stylize", photo, "-s", str(out), *flags)[0] == 0


def test_all_weights_may_learn(studio: Studio, trained: Path, tmp_path: Path) -> None:
    """What comes of it is a whole model of the one style, which begins where the rows alone would."""
    before, out = trained.read_bytes(), tmp_path / "late.safetensors"
    status, error = train(studio, "style", ["late"], out, into=trained, steps=4, unfreeze=True)
    assert status == 0, error
    header = modelfile.read_header(out)
    assert {row.style for row in header.rows} == {"late"}
    assert (len(header.rows), header.base) == (4, {})
    assert header.training["run"]["learning_rate"] == 0.002
    base, own = (network_files.load(path)[0].state_dict() for path in (trained, out))
    assert not any(torch.equal(own[name], base[name]) for name in own)
    shared = [name for name in own if ".norm." not in name]
    assert all(torch.allclose(own[name], base[name], atol=0.1) for name in shared)
    assert trained.read_bytes() == before
    assert not (tmp_path / "gallery.safetensors").exists()  # which it does without
    photo = np.asarray(Image.open(studio.photos / "0.png"))
    assert loading.load_style(out, EngineOptions("torch", "cpu"))(photo).shape == photo.shape
    status, error = train(studio, "style", ["late"], out, into=trained, steps=5, resume=True)
    assert status == 2
    assert "--unfreeze true -> false" in error


def test_a_gallery_from_elsewhere_is_put_beside_the_style(
    studio: Studio, trained: Path, tmp_path: Path
) -> None:
    """As one that was fetched into a cache."""
    out = tmp_path / "late.safetensors"
    assert train(studio, "style", ["late"], out, into=trained, steps=1)[0] == 0
    assert (tmp_path / "gallery.safetensors").read_bytes() == trained.read_bytes()
    for path in (out, tmp_path / "late.run" / "last.safetensors"):  # that of a run which was stopped, too
        assert loading.load_style(path, EngineOptions("torch", "cpu")).name == "late"


def test_a_style_without_its_gallery_is_refused(
    studio: Studio, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = trained.with_name("alone.safetensors")
    assert train(studio, "style", ["late"], out, into=trained, steps=1)[0] == 0
    moved = tmp_path / "late.safetensors"
    shutil.copy(out, moved)
    assert modelfile.base_beside(moved) == "gallery"  # not the shipped one of that name
    with pytest.raises(
        UserError, match=r"gallery.safetensors is another one .*: put the gallery.safetensors that"
    ):
        loading.load(moved)
    monkeypatch.setattr(modelfile, "shipped", dict)
    with pytest.raises(UserError, match="which is not here: put gallery"):
        loading.load(moved)
    shutil.copy(studio.root / "alone.safetensors", tmp_path / "gallery.safetensors")
    with pytest.raises(UserError, match="is another one"):
        loading.load(moved)


@pytest.mark.parametrize(
    ("verb", "names", "more", "said"),
    [
        ("gallery", ["sea", "sea"], {}, "two paintings are called sea"),
        ("gallery", ["sea"], {"light": 0.5}, "--light 0.5 is not between 1 and 16"),
        ("style", ["sea"], {"into": "BASE"}, "it has a style called sea"),
        ("style", ["late", "sea"], {"into": "BASE"}, "one painting at a time"),
        ("style", ["late"], {"into": "BASE", "init": "BASE"}, "give one of them"),
        ("style", ["late"], {"into": "BASE", "set": ["channels=16"]}, "its network has channels=8"),
        (
            "style",
            ["late"],
            {"unfreeze": True},
            "--unfreeze trains all weights of the model that --into names",
        ),
        ("gallery", ["sea", "night"], {"into": "BASE"}, "`texturenets train style` takes it"),
        ("style", ["late"], {"init": "BASE"}, "holds several styles"),
        ("gallery", ["late"], {"init": "BASE"}, "holds several styles"),
        ("gallery", ["sea"], {"texture_photos": 2, "batch_size": 2}, "Unknown option: --texture-photos"),
    ],
)
def test_bad_input_is_one_line(
    studio: Studio, trained: Path, *, verb: str, names: list[str], more: dict[str, Any], said: str
) -> None:
    given = {key: trained if value == "BASE" else value for key, value in more.items()}
    status, error = train(studio, verb, names, studio.root / "bad.safetensors", **given)
    assert (status, len(error.splitlines())) == (2, 1), error
    assert said in error


def test_a_gallery_has_no_losses_of_one_style() -> None:
    with pytest.raises(UserError, match="are for a network of one style"):
        GalleryConfig(texture_photos=2, batch_size=2)
    with pytest.raises(UserError, match="are for a network of one style"):
        GalleryConfig(diversity_weight=1, batch_size=2)


def test_a_texture_is_not_trained_into_a_model() -> None:
    trainer = TrainerConfig(into="brick_wall", device="cpu")
    options = TextureConfig()
    with pytest.raises(UserError, match="`into` brick_wall: it does not hold several styles"):
        network.make(network.check(options, trainer, "texture"), options, trainer, torch.device("cpu"))


def test_python_trains_into_a_gallery_too(studio: Studio, trained: Path) -> None:
    options = {**OPTIONS, "steps": 1, "set": (), "style_layers": ("squeezenet1_0:fire2",)}
    fields = {f.name for f in dataclasses.fields(StyleConfig)}
    chosen = {key: value for key, value in options.items() if key in fields}
    config = StyleConfig(**chosen | {"content_layers": ("squeezenet1_0:fire3",)})
    trainer = TrainerConfig(
        into=str(trained), weights=(str(studio.weights),), device="cpu", workers=0, offline=True
    )
    paintings = [studio.root / "late.png"]
    out = trained.with_name("python.safetensors")
    style = train_style(paintings, studio.photos, out, config=config, trainer=trainer)
    assert style.styles == ("late",)
    with pytest.raises(UserError, match="`config` is a GalleryConfig"):
        train_style(paintings, studio.photos, out, config=GalleryConfig(), trainer=trainer)
    with pytest.raises(UserError, match="without `losses` of your own"):
        style_task(config, paintings, studio.photos, str(trained), [MyLoss()])


def test_python_trains_into_a_gallery_for_as_long_as_the_command(
    studio: Studio, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[StyleConfig] = []

    def task(config: StyleConfig, *_: Any) -> None:
        asked.append(config)
        raise UserError("enough")

    monkeypatch.setattr(start, "style_task", task)
    paintings, out = [studio.root / "late.png"], studio.root / "into.safetensors"
    for config, unfreeze in (("default", False), ("default", True), (StyleConfig(steps=7), False)):
        trainer = TrainerConfig(into=str(trained), unfreeze=unfreeze)
        with pytest.raises(UserError, match="enough"):
            train_style(paintings, studio.photos, out, config=config, trainer=trainer)
    given = [(one.steps, one.learning_rate) for one in asked]
    assert given == [(600, 0.02), (600, StyleConfig().learning_rate), (7, StyleConfig().learning_rate)]


def test_a_gallery_is_validated_with_the_temporal_loss(studio: Studio) -> None:
    out = studio.root / "calm.safetensors"
    status, error = train(studio, "gallery", ["sea"], out, steps=1, temporal_weight=1.0, large=1, light=1)
    assert status == 0, error
    lines = [
        json.loads(line) for line in (out.with_suffix(".run") / "records.jsonl").read_text().splitlines()
    ]
    (validation,) = (line["validation"] for line in lines if "validation" in line)
    assert validation["temporal"] > 0


class MyLoss(Loss):
    """Nothing."""

    name = "mine"


@pytest.mark.parametrize("name", ["photo", "a,b", "a=b"])
def test_names_that_no_mixture_could_name(studio: Studio, name: str) -> None:
    shutil.copy(studio.root / "sea.png", studio.root / f"{name}.png")
    status, error = train(studio, "gallery", [name], studio.root / "bad.safetensors")
    assert (status, len(error.splitlines())) == (2, 1)
    assert f"a style cannot be called {name!r}" in error


def test_a_cluster_gets_the_gallery_of_a_style(
    studio: Studio, trained: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path))
    out = trained.with_name("far.safetensors")
    assert train(studio, "style", ["late"], out, into=trained, steps=1)[0] == 0
    task = worker.WorkerTask(
        "far",
        "/elsewhere/far.safetensors",
        out.read_bytes(),
        StylizeOptions(),
        "run",
        base=worker.base_file(out),
    )
    there = worker.model_file(task)
    assert loading.load_style(there, EngineOptions("torch", "cpu")).styles == ("late",)
