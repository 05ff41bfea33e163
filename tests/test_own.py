"""The project's own descriptor network: its plan, its distillation, and where it takes VGG-16's place."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from programs import ROOT, loaded
from safetensors.torch import load_file
from torch import Tensor

import texturenets as tn
from texturenets import image, perceptual, readers
from texturenets.errors import UserError
from texturenets.losses.gram import gram
from texturenets.modelfiles import modelfile
from texturenets.networks import build
from texturenets.networks.conditional import ConditionalNetwork
from texturenets.networks.residual import Residual
from texturenets.perceptual import weights
from texturenets.perceptual.weights import registry
from texturenets.readers.layouts import OWN_MAPS
from texturenets.train import data, presets, processes
from texturenets.train.configuration import PerceptualConfig, StyleConfig
from texturenets.train.distillation import images, losses, start, task
from texturenets.train.distillation.changes import CHANGES, change
from texturenets.train.distillation.generated import Styles, descend, style_files
from texturenets.train.distillation.student import Student

OWN_WEIGHT = presets.LAYERS["own"].style_weight

FLAGS: dict[str, Any] = {
    "image_size": 32,
    "batch_size": 4,
    "variants": 2,
    "steps": 2,
    "warmup": 0,
    "precision": "float32",
    "models": "none",
    "device": "cpu",
    "workers": 0,
    "offline": True,
    "val_share": 0.3,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures in `photos` and `paintings`, and weights of VGG-16 up to relu4_3 that are random."""
    folder = tmp_path_factory.mktemp("own")
    for i in range(4):
        tiny.picture(folder / "photos" / f"{i}.png", seed=i)
    for i in range(2):
        tiny.picture(folder / "paintings" / f"{i}.png", seed=50 + i, grain=20)
    (folder / "weights").mkdir()
    tiny.weights_file(folder / "weights", "vgg16", until="relu4_3")
    tiny.weights_file(folder / "weights", "squeezenet1_0", until="fire7")
    return folder


@pytest.fixture(autouse=True)
def _few_beginnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "PRUNING_IMAGES", 4)


def train(place: Path, out: Path, *more: str, **flags: Any) -> tuple[int, str, str]:
    """`train perceptual` on the folders of `place`."""
    given = {**FLAGS, "weights": [str(place / "weights")], **flags}
    folders = [str(place / "photos"), str(place / "paintings")]
    return tiny.call("train", "perceptual", *folders, "-o", str(out), *tiny.words(given), *more)


@pytest.fixture(scope="module")
def own(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of `own`, after two steps."""
    out = tmp_path_factory.mktemp("trained") / "own.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "PRUNING_IMAGES", 4)
        status, output, error = train(place, out, "--quiet")
    assert status == 0, error
    assert output.strip() == str(out)
    return out


# ------------------------------------------------------------------------------------------- the network


def test_it_is_as_small_as_it_is_to_be(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = loaded(ROOT / "benchmarks/perceptual.py", "benchmark_perceptual")
    theirs, ours = benchmark.arithmetic("vgg16", "relu4_3"), benchmark.arithmetic("own", "map_relu4_3")
    # Simonyan and Zisserman, table 1: multiplications of a pixel, by hand.
    assert theirs == 27 * 64 + 6 * 9 * 64 * 64 + 3 * 9 * 64 * 128 / 4
    assert 7 * ours <= theirs
    assert own.stat().st_size <= 2_000_000


def test_its_maps_are_beside_the_network(own: Path) -> None:
    made = perceptual.build(["own:map_relu1_2", "own:conv2_1"], files=[own], offline=True)
    x = torch.rand(1, 3, 16, 18)
    t = {name: tensor.float() for name, tensor in load_file(own).items()}
    y = x.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    for key in ("own1_1", "own1_2"):
        y = F.relu(F.conv2d(y, t[f"{key}.weight"], t[f"{key}.bias"], padding=1))
    mapped = F.conv2d(y, t["map_relu1_2.weight"])
    after = F.relu(F.conv2d(F.max_pool2d(y, 2), t["own2_1.weight"], t["own2_1.bias"], padding=1))
    got = made(x)
    torch.testing.assert_close(got["own:map_relu1_2"], mapped, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(got["own:conv2_1"], after, rtol=1e-4, atol=1e-2)
    assert list(made(x, ["own:conv2_1"])) == ["own:conv2_1"]


def test_a_tap_on_a_map_does_not_go_on_through_the_network(own: Path) -> None:
    made = perceptual.build(["own:map_relu1_2", "own:conv2_1"], files=[own], offline=True)
    x = torch.rand(1, 3, 16, 16)
    tapped = made(x, tap=lambda name, f: 0 * f if "map" in name else f)
    assert not tapped["own:map_relu1_2"].any()
    torch.testing.assert_close(tapped["own:conv2_1"], made(x)["own:conv2_1"])


def test_the_file_has_the_distances_of_the_mapped_features() -> None:
    student = Student()
    for module in student.matrices.values():
        torch.nn.init.normal_(module.weight)
    x = torch.rand(2, 3, 24, 24)
    tensors = student.tensors()
    for name, features in student(x).items():
        mapped = student.mapped(name, features)
        before = student.before_maps(x)[next(m.after for m in OWN_MAPS if m.layer == name)]
        weight = tensors[f"map_{name}.weight"].float()
        small = F.conv2d(before, weight, stride=weight.shape[-1])
        a, b = gram(mapped), gram(small)
        want, got = ((m[0] - m[1]).square().sum() for m in (a, b))
        torch.testing.assert_close(got, want, rtol=2e-2, atol=0)
        torch.testing.assert_close(
            (small[0] - small[1]).square().sum(), (mapped[0] - mapped[1]).square().sum(), rtol=2e-2, atol=0
        )
        torch.testing.assert_close(student.mapped_gram(name, gram(features)), a, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(student.reduced(name, features), small, rtol=2e-2, atol=2.0)


def test_every_map_stands_for_a_layer_of_a_teacher() -> None:
    for made in OWN_MAPS:
        assert perceptual.split(made.teacher, "none") == tuple(made.teacher.split(":"))
        assert ("own", made.name) == perceptual.split(made.name, "own")
    style, content = presets.layers_of("own")
    assert style == tuple(f"own:{made.name}" for made in OWN_MAPS if made.layer != "relu4_2")
    assert content == ("own:map_relu4_2",)


# ------------------------------------------------------------------------------------------- its beginning


def test_channels_are_chosen_that_predict_the_others() -> None:
    random = torch.Generator().manual_seed(0)
    two = torch.randn(500, 2, generator=random)
    rows = torch.stack([two[:, 0], 3 * two[:, 0], two[:, 1], two[:, 0] - two[:, 1]], 1)
    chosen = start.choose(rows.T @ rows / 500, 2)
    left = rows - rows[:, chosen] @ torch.linalg.lstsq(rows[:, chosen], rows).solution
    assert float(left.abs().max()) < 1e-4


def test_weights_that_can_be_found_are_found() -> None:
    random = torch.Generator().manual_seed(0)
    inputs = torch.rand(4, 3, 20, 20, generator=random)
    wanted = torch.nn.Conv2d(3, 5, 3, padding=1)
    found = torch.nn.Conv2d(3, 5, 3, padding=1)
    with torch.no_grad():
        start._fit(found, inputs, wanted(inputs), random)
        torch.testing.assert_close(found(inputs), wanted(inputs), rtol=0, atol=0.02)


def test_a_pruned_student_is_nearer_than_a_random_one(place: Path) -> None:
    teacher = perceptual.build([made.teacher for made in OWN_MAPS], files=[place / "weights"])
    x = torch.rand(6, 3, 32, 32)
    theirs = {layer.rpartition(":")[2]: f for layer, f in teacher(x).items()}
    student = Student()
    before = losses.losses(student, student(x), theirs, 1)
    network = teacher.networks["vgg16"]
    assert isinstance(network, perceptual.Descriptor)
    start.prune(student, network, x)
    start.fit_maps(student, teacher, x)
    after = losses.losses(student, student(x), theirs, 1)
    for name in ("features/relu1_2", "features/relu2_2", "features/relu3_3", "gram/conv1", "gram/fire3"):
        assert after[name] < 0.5 * before[name]


def test_a_distillation_can_start_from_an_earlier_one(place: Path, own: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    status, _, error = train(place, out, "--quiet", steps=1, init=own, learning_rate=1e-12)
    assert status == 0, error
    before, after = load_file(own), load_file(out)
    for name in before:
        if not name.startswith("map_"):
            torch.testing.assert_close(after[name], before[name])
    assert json.loads(readers.metadata(out)["training"])["init"].startswith("own ")
    status, _, error = train(place, out, "--quiet", steps=1, init=place / "weights" / "vgg16.safetensors")
    assert status == 2
    assert len(error.strip().splitlines()) == 1


# ------------------------------------------------------------------------------------------- its losses


def features(count: int = 4) -> tuple[Student, dict[str, Tensor], dict[str, Tensor]]:
    """A student, its features of some pictures, and the teacher's, which are these mapped."""
    student = Student()
    for module in student.matrices.values():
        torch.nn.init.normal_(module.weight)
    x = torch.rand(count, 3, 16, 16)
    own = student(x)
    return student, own, {name: student.mapped(name, f).detach() for name, f in own.items()}


def test_losses_of_a_perfect_student_are_zero() -> None:
    student, own, theirs = features()
    found = losses.losses(student, own, theirs, 2)
    assert {name.partition("/")[0] for name in found} == {"features", "gram", "pairs", "content"}
    assert "features/relu3_3" in found
    assert "features/fire3" not in found  # their positions are not the same
    assert max(float(value.detach()) for value in found.values()) < 1e-4


def test_the_error_of_features_is_that_of_the_maps() -> None:
    student, own, theirs = features()
    theirs = {name: f + torch.randn_like(f) for name, f in theirs.items()}
    found = losses.losses(student, own, theirs, 2)
    for name, target in theirs.items():
        if f"features/{name}" not in found:
            continue
        error = (student.mapped(name, own[name]) - target).square().mean()
        variance = target.var((0, 2, 3), correction=0).mean()
        torch.testing.assert_close(found[f"features/{name}"], error / variance, rtol=1e-3, atol=1e-4)


def test_pairs_compare_logarithms_of_distances() -> None:
    wanted = torch.tensor([[0.0], [1.0], [4.0]])
    twice = losses.log_error(2 * wanted, wanted)
    assert float(twice) == pytest.approx(
        np.log(4) - 0.25, rel=0.02
    )  # linear from 0.5 on, where the square has slope 1
    little = losses.log_error(1.1 * wanted, wanted)
    assert float(little) == pytest.approx(np.log(1.21) ** 2, rel=0.02)
    assert float(losses.log_error(wanted, wanted)) == 0
    assert float(losses.log_error(wanted, wanted, 1)) == 0
    assert float(losses.log_error(0 * wanted, 0 * wanted)) == 0


def test_content_is_compared_within_a_photo_only() -> None:
    student, own, theirs = features(4)
    shifted = {name: torch.cat([f[:2], 3 + 2 * f[2:]]) for name, f in theirs.items()}
    # Between the groups all is otherwise; within the second, distances are four times those of the student.
    found = losses.losses(student, own, shifted, 2)
    assert float(found["content/relu4_2"].detach()) == pytest.approx((np.log(4) - 0.25) / 2, rel=0.05)


# ------------------------------------------------------------------------------------------- its pictures


def test_changes_are_of_the_seed_and_stay_pictures() -> None:
    picture = torch.rand(3, 32, 32)
    for one in CHANGES:
        a, b = (one(picture, np.random.default_rng(3)) for _ in range(2))
        assert torch.equal(a, b)
        assert a.shape == picture.shape
        assert a.isfinite().all()
        assert not torch.equal(a, picture)
    made = change(picture, np.random.default_rng(1))
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def config(**change: Any) -> PerceptualConfig:
    """Of small images."""
    return PerceptualConfig(**{"image_size": 32, "batch_size": 4, "variants": 2, "val_share": 0.0, **change})


def test_groups_are_of_the_step_and_folders_take_turns(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = images.ImageFolders([place / "photos", place / "paintings"], config())
    assert folders.count == 6
    read = []
    real = image.read
    monkeypatch.setattr(images.image, "read", lambda path: read.append(path) or real(path))  # type: ignore[func-returns-value]
    whole = images.Groups(folders.train, config(), range(4))[7].photos
    assert [path.parent.name for path in read] == ["photos", "paintings"]
    assert whole.shape == (4, 3, 32, 32)
    halves = [images.Groups(folders.train, config(), slots)[7].photos for slots in (range(2), range(2, 4))]
    assert torch.equal(whole, torch.cat(halves))
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, images.Groups(folders.train, config(), range(4))[8].photos)


def test_a_file_that_cannot_be_read_gives_way(tmp_path: Path) -> None:
    tiny.picture(tmp_path / "a.png", seed=1)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    folders = images.ImageFolders([tmp_path], config())
    batch = images.Groups(folders.train, config(), range(4))[0]
    assert batch.photos.shape == (4, 3, 32, 32)
    assert all("b.png" in problem for problem in batch.unreadable)
    with pytest.raises(UserError, match="is a file: give the folder"):
        images.ImageFolders([tmp_path / "a.png"], config())
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match="none of 1 image in"):
        images.Groups(images.ImageFolders([tmp_path], config()).train, config(), range(4))[0]


def test_styles_paint_and_spoil_by_the_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = Residual(channels=8, blocks=1, noise_depth=2)
    tiny.working_folder(tmp_path, monkeypatch, {"stroke": spec})
    files = style_files(("shipped",))
    assert list(files) == ["stroke"]
    assert style_files(("none",)) == {}
    styles = Styles(list(files.values()), torch.device("cpu"))
    picture = torch.rand(1, 3, 32, 32)
    made = [styles(picture, np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4)]
    assert torch.equal(made[0], made[1])
    assert len({float(one.sum()) for one in made}) == 4
    assert all(one.shape == picture.shape for one in made)
    assert torch.equal(Styles([], torch.device("cpu"))(picture, np.random.default_rng(0)), picture)


def test_adversarial_pictures_come_nearer_for_the_student() -> None:
    student = Student()
    begin, goal = torch.rand(1, 3, 24, 24), (torch.rand(1, 3, 24, 24) > 0.5).float()

    def reduced(x: Tensor) -> dict[str, Tensor]:
        return {name: student.reduced(name, f) for name, f in student(x).items()}

    def far(x: Tensor) -> float:
        a, b = reduced(x), reduced(goal)
        return float(sum((gram(a[n]) - gram(b[n])).square().mean() / gram(b[n]).square().mean() for n in a))

    made = descend(begin, goal, reduced, None)
    assert far(made) < far(begin)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    # Where both networks are the same one there is nothing to fall apart.
    same = descend(begin, goal, reduced, reduced)
    assert abs(far(same) - far(begin)) < abs(far(made) - far(begin))


# ------------------------------------------------------------------------------------------- its training


def test_its_file_says_what_it_is(own: Path) -> None:
    tensors, said = load_file(own), readers.metadata(own)
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    assert said["network"] == "own"
    assert "VGG-16" in said["teachers"]
    assert said["teachers"].count("SHA-256") == 2
    assert "CC BY 4.0" in said["licence"]
    assert "BSD" in said["licence"]
    run = json.loads(said["training"])
    assert run["step"] == 2
    assert run["run"]["variants"] == 2
    found = weights.load("own", files=[own])
    assert found.convention == weights.CONVENTIONS["vgg16"]
    assert found.source == said["source"] + " (own.safetensors)"
    assert said["fingerprint"] == weights.fingerprint(found.tensors)


def test_terms_of_the_pictures_are_in_the_header(place: Path, tmp_path: Path) -> None:
    status, _, error = train(place, tmp_path / "a.safetensors", "--quiet", steps=1, terms="research use")
    assert status == 0, error
    assert readers.metadata(tmp_path / "a.safetensors")["terms"] == "research use"


def test_a_resumed_run_is_the_run(place: Path, tmp_path: Path) -> None:
    more = {"steps": 4, "adversarial_every": 2, "schedule": "constant"}
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    assert train(place, once, "--quiet", **more)[0] == 0
    assert train(place, twice, "--quiet", **{**more, "steps": 2})[0] == 0
    status, _, error = train(place, twice, "--quiet", "--resume", **more)
    assert status == 0, error
    a, b = (load_file(path.with_suffix(".run") / "last.safetensors") for path in (once, twice))
    for name, tensor in a.items():
        torch.testing.assert_close(tensor.float(), b[name].float(), rtol=1e-3, atol=1e-4)
    records = [
        json.loads(line) for line in (once.with_suffix(".run") / "records.jsonl").read_text().splitlines()
    ]
    assert any("validation" in line for line in records)
    assert (once.with_suffix(".run") / "pictures" / "latest.jpg").exists()
    status, _, error = train(place, twice, "--quiet", "--resume", **{**more, "variants": 4})
    assert status == 2
    assert "--variants 2 -> 4" in error


def test_ctrl_c_saves_and_resume_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.safetensors"
    real = images.Groups.__getitem__

    def interrupted(self: images.Groups, step: int) -> data.Batch:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, step)

    monkeypatch.setattr(images.Groups, "__getitem__", interrupted)
    status, _, error = train(place, out, steps=50)
    assert status == 130
    assert "--resume continues" in error
    monkeypatch.setattr(images.Groups, "__getitem__", real)
    status, output, error = train(place, out, "--resume", steps=3)
    assert status == 0, error
    assert output.strip() == str(out)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"variants": 3}, "--batch-size 4 is not a multiple of --variants 3"),
        ({"image_size": 16}, "--image-size 16 is too small"),
        ({"image_size": 100}, "--image-size 100 is no multiple of 8"),
        ({"models": "no_such_style"}, "no_such_style"),
        ({"val_share": 1.5}, "--val-share 1.5 is not between 0 and 1"),
        ({"learning_rate": 0}, "--learning-rate 0"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    place: Path, tmp_path: Path, flags: dict[str, Any], said: str
) -> None:
    status, _, error = train(place, tmp_path / "a.safetensors", "--quiet", **flags)
    assert status == 2
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_it_is_trained_in_one_process() -> None:
    processes.check_whole_batch(config(), 1)
    with pytest.raises(UserError, match="train it in one process"):
        processes.check_whole_batch(config(), 2)


def test_without_folders_or_with_a_wrong_name(place: Path, tmp_path: Path) -> None:
    assert tiny.call("train", "perceptual")[0] == 2
    status, _, error = train(place, tmp_path / "a.pt")
    assert status == 2
    assert "must end in .safetensors" in error


# ------------------------------------------------------------------------------------------- its use


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    """A place to train in."""
    return tiny.Studio(tmp_path_factory.mktemp("studio"))


WITHOUT_LAYERS: dict[str, Any] = {"style_layers": None, "content_layers": None, "checkerboard_weight": 0.0}


def test_a_style_is_trained_with_it(studio: tiny.Studio, own: Path) -> None:
    result = studio.run(descriptor="own", weights=[str(own)], **WITHOUT_LAYERS)
    assert result.status == 0, result.error
    assert set(result.losses) == {
        *(f"style/{layer}" for layer in presets.layers_of("own")[0]),
        "content/own:map_relu4_2",
    }
    run = result.header.training["run"]
    assert run["style_weight"] == OWN_WEIGHT
    given = studio.run(descriptor="own", weights=[str(own)], style_weight=1.5, **WITHOUT_LAYERS)
    assert given.header.training["run"]["style_weight"] == 1.5


def test_without_its_file_the_installation_is_incomplete(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry, "SHIPPED_FOLDER", tmp_path)
    result = studio.run(descriptor="own", **{**WITHOUT_LAYERS, "weights": []})
    assert result.status == 2
    assert (
        f"{tmp_path / 'own.safetensors'} is missing, the weights of own: install texturenets" in result.error
    )


def test_its_file_is_found_in_folders(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "SHIPPED_FOLDER", tmp_path / "nothing")
    with pytest.raises(UserError, match="is missing, the weights of own"):
        weights.check_at_hand("own")
    found = weights.load("own", files=[own.parent])
    assert found.name == "own"
    monkeypatch.setenv("TEXTURENETS_WEIGHTS", str(own.parent))
    weights.check_at_hand("own")
    assert weights.load("own").sha256 == found.sha256
    nameless = tmp_path / "mine.safetensors"
    nameless.write_bytes(own.read_bytes())
    assert weights.load("own", files=[nameless]).sha256 == found.sha256
    short = {k: v for k, v in found.tensors.items() if k[:4] == "own1" or k[:9] in ("map_relu1", "map_conv1")}
    part = weights.Pretrained("own", short, found.convention, "a part", "")
    with pytest.raises(UserError, match="end at map_conv1 and lack own2_1"):
        perceptual.Descriptor(part, ["map_relu2_2"])


def test_optimize_and_evaluate_with_it(
    studio: tiny.Studio, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = str(studio.photos / "0.png")
    out = tmp_path / "made.png"
    more = ["--steps", "2", "--size", "48", "--weights", str(own), "--offline", "--quiet", "-o", str(out)]
    status, _, error = tiny.call(
        "optimize", "--content", photo, "--style", str(studio.painting), "--descriptor", "own", *more
    )
    assert status == 0, error
    assert out.exists()
    spec = Residual(channels=8, blocks=1)
    tiny.working_folder(tmp_path, monkeypatch, {"stroke": spec})
    words = ["--photo", photo, "--size", "64", "--weights", str(own), "--offline", "--json", "--quiet"]
    status, output, error = tiny.call(
        "evaluate", "stroke", "--against", str(studio.painting), "--descriptor", "own", *words
    )
    assert status == 0, error
    found = json.loads(output)
    assert {"own:map_relu1_2", "own:map_relu4_3", "texture", "structure"} <= set(found["means"])
    status, _, error = tiny.call(
        "evaluate", "stroke", "--against", str(studio.painting), "--descriptor", "vgg19", *words
    )
    assert status == 2
    assert "unknown descriptor network that measures 'vgg19'; did you mean 'vgg16'" in error


# ------------------------------------------------------------------------------------------- in VGG-16's place


@pytest.fixture
def ships(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if the file came with the package, on a machine without a network and with an empty cache."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "own.safetensors").write_bytes(own.read_bytes())
    monkeypatch.setattr(registry, "SHIPPED_FOLDER", package)
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "empty"))
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "1")
    monkeypatch.delenv("TEXTURENETS_WEIGHTS", raising=False)
    return package


ALONE: dict[str, Any] = {**WITHOUT_LAYERS, "weights": []}
LINE = "weights are missing, so own is used"


def test_a_style_is_trained_with_what_ships(studio: tiny.Studio, ships: Path) -> None:
    assert weights.shipped("own") == ships / "own.safetensors"
    result = studio.run(**ALONE)
    assert result.status == 0, result.error
    assert sum(LINE in line for line in result.error.splitlines()) == 1
    assert "--descriptor vgg16 insists" in result.error
    run = result.header.training["run"]
    assert run["style_layers"] == list(presets.layers_of("own")[0])
    assert run["style_weight"] == OWN_WEIGHT
    again = studio.run("--resume", output=result.model, steps=3, **ALONE)
    assert again.status == 0, again.error
    assert LINE not in again.error


def test_a_run_with_it_goes_on_where_the_weights_have_come(
    studio: tiny.Studio, ships: Path, place: Path
) -> None:
    """VGG-16 is there by now, but the run was begun with `own`."""
    result = studio.run(**ALONE)
    files = [str(place / "weights"), str(studio.weights)]
    again = studio.run("--resume", output=result.model, steps=3, **{**ALONE, "weights": files})
    assert again.status == 0, again.error


def test_who_names_a_network_gets_it(studio: tiny.Studio, ships: Path) -> None:
    for flags in (
        {**ALONE, "descriptor": "vgg16"},
        {**ALONE, "style_layers": "vgg16:relu1_2"},
        {**ALONE, "preset": "paper"},
    ):
        result = studio.run(**flags)
        assert result.status == 2
        assert LINE not in result.error
        assert "offline, and no file in" in result.error


def test_a_broken_file_is_no_missing_one(studio: tiny.Studio, ships: Path, tmp_path: Path) -> None:
    (tmp_path / "vgg16.safetensors").write_bytes(b"nothing")
    result = studio.run(**{**ALONE, "weights": [str(tmp_path / "vgg16.safetensors")]})
    assert result.status == 2
    assert LINE not in result.error


def test_textures_and_optimize_too(studio: tiny.Studio, ships: Path, tmp_path: Path) -> None:
    flags = {k: v for k, v in ALONE.items() if k != "content_layers"}
    result = studio.texture(**flags)
    assert result.status == 0, result.error
    assert LINE in result.error
    assert set(result.losses) == {f"style/{layer}" for layer in presets.layers_of("own")[0]}
    out = tmp_path / "made.png"
    words = ["--style", str(studio.painting), "--steps", "1", "--size", "48", "--quiet", "-o", str(out)]
    status, _, error = tiny.call("optimize", *words)
    assert status == 0, error
    assert LINE in error
    assert out.exists()


def test_the_service_does_not_refuse_what_it_can_train(
    ships: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi")
    from texturenets.server import training_routes

    training_routes._check_weights(presets.DEFAULT, "default")
    with pytest.raises(training_routes.HTTPProblem, match="weights"):  # only the default falls back
        training_routes._check_weights(presets.DEFAULT, "paper")


@pytest.mark.parametrize(
    ("weight", "kept"),
    [(StyleConfig().style_weight, OWN_WEIGHT), (7.0, 7.0), (0.0, 0.0)],
)
def test_a_weight_of_ones_own_stays_with_another_network(weight: float, kept: float) -> None:
    config = StyleConfig(style_weight=weight)
    assert presets.with_descriptor(config, "own").style_weight == kept


def test_pictures_are_stylized_at_any_size_in_any_style_of_a_gallery(tmp_path: Path) -> None:
    network = ConditionalNetwork(build(Residual(channels=8, blocks=1)), 2)
    for name in network.rows:  # in the second style the picture is grey
        network.network.get_parameter(name).data[1] = 0.0
    styles = Styles([], torch.device("cpu"))
    styles.networks = [network.eval()]
    picture = torch.rand(1, 3, 37, 50)
    made = [styles(picture, np.random.default_rng(seed)) for seed in range(12)]
    assert all(one.shape == picture.shape for one in made)
    assert len({round(float(one.std()), 3) for one in made}) > 2


def test_only_styles_stylize_pictures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`models` pebble takes no photo: name styles"):
        style_files(("pebble",))


def test_from_python_a_warning_says_it(studio: tiny.Studio, ships: Path, tmp_path: Path) -> None:
    stop = {"trainer": tn.TrainerConfig(workers=0, device="cpu"), "progress": lambda record: "stop"}
    with pytest.warns(UserWarning, match="own is used"):
        tn.train_style(studio.painting, studio.photos, tmp_path / "a.safetensors", **stop)  # type: ignore[arg-type]
    header = modelfile.read_header(tmp_path / "a.run" / "last.safetensors")
    assert header.training["run"]["content_layers"] == ["own:map_relu4_2"]
    with pytest.raises(UserError, match="offline"):
        tn.train_style(
            studio.painting,
            studio.photos,
            tmp_path / "b.safetensors",
            config=StyleConfig(steps=1),
            **stop,  # type: ignore[arg-type]
        )


# ------------------------------------------------------------------------------------------- the benchmark


def test_without_a_network_a_style_is_trained_from_the_package_alone(
    studio: tiny.Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty cache, nothing said of being offline, and every socket refused."""
    waits: list[float] = []

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("texturenets.fetch.pause", waits.append)
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "empty"))
    for name in ("TEXTURENETS_WEIGHTS", "TEXTURENETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    result = studio.run(**{**ALONE, "offline": None})
    assert result.status == 0, result.error
    assert LINE in result.error
    assert "could not be fetched" in result.error
    assert sum(waits) <= 2  # seconds
    assert result.header.training["run"]["style_layers"] == list(presets.layers_of("own")[0])
