"""Training textures, and styles with noise: the same loop, whatever goes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from texturenets import loading, noise
from texturenets.losses import Objective
from texturenets.networks import network_files
from texturenets.train import checkpoint, data


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    """A few photos, a painting, small descriptor networks."""
    return tiny.Studio(tmp_path_factory.mktemp("studio"), photos=6)


def tensors(result: tiny.Result) -> dict[str, Tensor]:
    return load_file(result.folder / checkpoint.NAME)


def test_a_texture_is_learned_and_drawn(studio: tiny.Studio) -> None:
    result = studio.texture(steps=40, learning_rate=1e-2, image_size=32, style_size=48, licence="CC0-1.0")
    assert result.status == 0, result.error
    totals = [sum(line["losses"].values()) for line in result.records if "losses" in line]
    assert totals[-1] < 0.7 * totals[0]
    header = result.header
    assert (header.kind, header.generator["name"], header.licence) == ("texture", "multiscale", "CC0-1.0")
    assert header.training["styles"] == ["painting.png"]
    assert header.training["step"] == 40
    assert header.thumbnail
    assert loading.load(result.model, "cpu").sample((50, 40)).size == (50, 40)
    validation = [line["validation"] for line in result.records if "validation" in line]
    assert set(validation[-1]) == set(result.losses)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"accumulate": 2, "optimizer": "adam"},
        {"diversity_weight": 0.1},
        {
            "structure_layers": "squeezenet1_0:fire2",
            "sliced_weight": 1,
            "shifted_weight": 1,
            "style_weight": 0,
        },
    ],
    ids=str,
)
def test_resumed_is_as_if_never_interrupted(
    studio: tiny.Studio, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"steps": 5, "schedule": "cosine", "validate_every": 2, **flags}
    whole = studio.texture(**flags)
    assert whole.status == 0, whole.error
    model = studio.root / f"stopped {len(flags)} {flags.get('accumulate')}.safetensors"
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 3)
        assert studio.texture(output=model, **flags).status == 130
    last = studio.texture("--resume", output=model, **flags)
    assert last.status == 0, last.error
    a, b = tensors(last), tensors(whole)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_directions_are_others_in_each_step_and_the_same_in_parts_of_a_batch(studio: tiny.Studio) -> None:
    """At a learning rate of nothing and with noise that does not change, only the directions do."""
    flags = {
        "structure_layers": "squeezenet1_0:conv1",
        "sliced_weight": 1,
        "style_weight": 0,
        "learning_rate": 1e-12,
    }
    with pytest.MonkeyPatch.context() as patch:
        drawn = noise.for_training
        patch.setattr(noise, "for_training", lambda inputs, seed, step, *rest: drawn(inputs, seed, 0, *rest))
        whole, parts = (studio.texture(steps=2, accumulate=n, **flags) for n in (1, 2))
        first, second = (studio.texture(steps=n, accumulate=1, **flags).losses for n in (1, 2))
    assert whole.status == 0, whole.error
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)
    (one,), (mean,) = first.values(), second.values()
    assert one != pytest.approx(mean, rel=1e-4)


def test_parts_of_a_batch_have_its_losses_and_noise_its_seed(studio: tiny.Studio) -> None:
    whole, parts = (studio.texture(steps=1, accumulate=n).losses for n in (1, 2))
    assert parts == pytest.approx(whole, rel=1e-5)
    assert studio.texture(steps=1, seed=1).losses != whole


def test_several_exemplars_are_one_texture(studio: tiny.Studio) -> None:
    other = studio.photos / "0.png"
    both = studio.texture(style=[studio.painting, other], steps=1).losses
    one, two = (studio.texture(steps=1, **s).losses for s in ({}, {"style": other}))
    assert both not in (one, two)


def test_init_starts_from_another_texture(studio: tiny.Studio) -> None:
    first = studio.texture(seed=1)
    after = studio.texture(init=str(first.model), learning_rate=1e-9, steps=1)
    start = network_files.load(first.model)[0].state_dict()
    for name, value in after.weights.items():
        torch.testing.assert_close(value, start[name.removeprefix("network.")], rtol=0, atol=1e-6)


def picture(path: Path, array: np.ndarray, mode: str) -> Path:
    Image.fromarray(array, mode).save(path)
    return path


def test_exemplars_that_will_not_do_are_told_in_one_line(studio: tiny.Studio, tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    cases = [
        (picture(tmp_path / "small.png", random[:8, :8, :3], "RGB"), {"style_size": 0}, "8 x 8 pixels"),
        (picture(tmp_path / "flat.png", np.full_like(random[..., :3], 90), "RGB"), {}, "of one color"),
        (picture(tmp_path / "alpha.png", random, "RGBA"), {}, "transparent"),
        (tmp_path / "missing.png", {}, "missing.png"),
        (studio.painting, {"generator": "residual", "set": []}, "stylizes photos"),
        (studio.painting, {"image_size": 66}, "use 64 or 68"),
        (
            studio.painting,
            {"generator": "fully_connected", "set": ["channels=4,4"], "image_size": 32},
            "no other size",
        ),
        (studio.painting, {"diversity_weight": 1, "accumulate": 2}, "--accumulate 1"),
        (studio.painting, {"batch_size": 1, "diversity_weight": 1}, "--batch-size 2"),
        (studio.painting, {"noise_depth": -1}, "--noise-depth -1"),
        (studio.painting, {"diversity_layer": "vgg16:relu9_9", "diversity_weight": 1}, "relu"),
        (studio.painting, {"preset": "papr"}, "paper"),
    ]
    for exemplar, flags, says in cases:
        result = studio.texture(style=exemplar, **flags)
        assert result.status == 2, says
        assert says in result.error
        assert result.error.count("\n") == 1
        assert not result.model.exists()


def test_grey_and_opaque_exemplars_are_learned(studio: tiny.Studio, tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 4), np.uint8)
    random[..., 3] = 255
    for path in (
        picture(tmp_path / "grey.png", random[..., 0], "L"),
        picture(tmp_path / "opaque.png", random, "RGBA"),
    ):
        result = studio.texture(style=path, steps=1)
        assert result.status == 0, result.error


def test_random_filters_need_no_weights(studio: tiny.Studio) -> None:
    flags = {
        "style_layers": None,
        "weights": None,
        "image_size": 32,
        "style_size": 48,
        "batch_size": 1,
        "steps": 1,
    }
    result = studio.texture("--descriptor", "random", **flags)
    assert result.status == 0, result.error
    assert {n.partition("/")[2] for n in result.losses if n.startswith("style")} == {
        f"random:conv{n}" for n in (3, 5, 7, 11, 15, 23, 37, 55)
    }
    wrong = studio.texture("--descriptor", "vgg18", **flags)
    assert (wrong.status, wrong.error.count("\n")) == (2, 1)


OWN = """
import torch
from torch import nn
from texturenets.noise import NoiseInput, draw


class Mine(nn.Module):
    photo, stride, noise = False, 2, (NoiseInput(2, 2),)

    def __init__(self, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 12, 1))

    def forward(self, x, maps=None):
        maps = draw(self.noise, [0] * len(x), *x.shape[2:]) if maps is None else maps
        return torch.sigmoid(nn.functional.pixel_shuffle(self.layers(maps[0]), 2))
"""


def test_a_generator_of_ones_own_learns_a_texture(studio: tiny.Studio, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    result = studio.texture(generator=f"{file}:Mine", set=["width=6"], noise_depth=None)
    assert result.status == 0, result.error
    out = tmp_path / "own.png"
    words = ["sample", str(result.model), "-o", str(out), "--size", "30x20", "--quiet"]
    status, _, error = tiny.call(*words, "--generator", str(file))
    assert status == 0, error
    file.unlink()
    assert tiny.call(*words)[0] == 0  # without its code, by the graph
    with Image.open(out) as drawn:
        assert drawn.size == (30, 20)


# -------------------------------------------------------------------------------------- styles with noise


def test_a_style_with_noise_has_several_results_of_one_photo(studio: tiny.Studio, tmp_path: Path) -> None:
    for generator, options in (
        ("residual", ["channels=8", "blocks=1"]),
        ("pyramid", ["channels=2", "scales=3"]),
        ("skip_noise", ["channels=4,4"]),
    ):
        result = studio.run(generator=generator, set=options, noise_depth=2)
        assert result.status == 0, result.error
        out = tmp_path / generator
        status, output, error = tiny.call(
            *("stylize", str(studio.photos / "0.png"), "-s", str(result.model), "-o", f"{out}/"),
            *("--count", "3", "--quiet"),
        )
        assert status == 0, error
        files = [Path(line) for line in output.splitlines()]
        assert [f.name[-9:] for f in files] == ["-0000.png", "-0001.png", "-0002.png"]
        assert len({f.read_bytes() for f in files}) == 3
    plain = studio.run(set=["channels=8", "blocks=1", "noise_depth=0"])
    status, _, error = tiny.call(
        "stylize",
        str(studio.photos / "0.png"),
        "-s",
        str(plain.model),
        "-o",
        str(tmp_path / "x.png"),
        "--count",
        "2",
    )
    assert status == 2
    assert "takes no noise" in error


def test_diversity_repeats_one_photo_through_the_batch(studio: tiny.Studio) -> None:
    result = studio.run(noise_depth=2, diversity_weight=0.1, batch_size=3, steps=1)
    assert result.status == 0, result.error
    with Image.open(result.folder / "pictures" / "000001.jpg") as sheet:
        upper = np.asarray(sheet.crop((0, 0, 192, 64))).reshape(64, 3, 64, 3).astype(int)
    assert abs(upper[:, 0] - upper[:, 1]).mean() < 2  # but for JPEG
    refused = studio.run(diversity_weight=0.1, batch_size=3, set=["channels=8", "blocks=1", "noise_depth=0"])
    assert refused.status == 2
    assert "--noise-depth" in refused.error
    # Held-out photos differ: their results' distance would mean nothing.
    validation = next(line["validation"] for line in result.records if "validation" in line)
    assert "diversity" in result.losses
    assert "diversity" not in validation


def test_the_mixed_objective_learns_texture_on_a_few_photos(
    studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    forward = Objective.forward

    def spy(self: Objective, y: Tensor, *more: Any, **how: Any) -> dict[str, Tensor]:
        if y.requires_grad:
            seen.append(("style" not in how.get("without", ()), len(y)))
        return forward(self, y, *more, **how)

    files: list[set[str]] = []
    init = data.Crops.__init__

    def remember(self: data.Crops, chosen: Any, **options: Any) -> None:
        files.append({p.name for p in chosen})
        init(self, chosen, **options)

    monkeypatch.setattr(Objective, "forward", spy)
    monkeypatch.setattr(data.Crops, "__init__", remember)
    result = studio.run(texture_photos=2, batch_size=4, steps=1)
    assert result.status == 0, result.error
    assert seen == [(True, 2), (False, 2)]
    assert len(files[0]) == 2
    assert files[0] < files[1]
    for flags, says in (
        ({"texture_photos": 99}, "holds 5 photos"),
        ({"texture_photos": 1, "batch_size": 3}, "even --batch-size"),
        ({"texture_photos": 1, "content_weight": 0}, "--content-weight"),
    ):
        refused = studio.run(**flags)
        assert refused.status == 2
        assert says in refused.error
