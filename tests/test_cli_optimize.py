"""`texturenets optimize` on images of 64 pixels, with descriptor networks of random weights."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor

from texturenets import image, optimization
from texturenets.cli import report
from texturenets.cli.optimize import forecast
from texturenets.cli.streams import Terminated
from texturenets.train import presets

STYLE_LAYER = "vgg16:relu1_1"
NOISY = ["--style-layers", f"{STYLE_LAYER},random:conv3"]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two paintings, a photo, and weights."""
    folder = tmp_path_factory.mktemp("studio")
    (folder / "weights").mkdir()
    tiny.weights_file(folder / "weights", "vgg16")
    tiny.weights_file(folder / "weights", "squeezenet1_0")
    tiny.picture(folder / "blots.png", seed=1, size=(64, 64), grain=20)
    tiny.picture(folder / "waves.png", seed=2, size=(64, 48), grain=7)
    tiny.picture(folder / "photo.png", seed=3, size=(64, 40))
    tiny.picture(folder / "square.png", seed=4, size=(64, 64))
    return folder


@pytest.fixture(autouse=True)
def there(studio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))


class Here:
    """The command with everything that it needs."""

    def __init__(self, studio: Path) -> None:
        self.studio = studio
        self.photo = str(studio / "photo.png")

    def words(self, *more: str, styles: tuple[str, ...] = ("blots",)) -> list[str]:
        chosen = [w for name in styles for w in ("--style", str(self.studio / f"{name}.png"))]
        usual = {"--style-layers": STYLE_LAYER, "--steps": "2"}
        if {"--content", self.photo} & {*more} or (more and more[0][0] != "-"):
            usual["--content-layers"] = "vgg16:relu1_2"
        some = [w for flag, value in usual.items() if flag not in more for w in (flag, value)]
        return ["optimize", *chosen, "--weights", str(self.studio / "weights"), "--offline", *some, *more]

    def run(self, *more: str, **options: Any) -> Path:
        """The image written; fails where the command does."""
        status, out, err = tiny.call(*self.words(*more, **options))
        assert status == 0, err
        return Path(out.strip().splitlines()[-1])

    def fail(self, *more: str, **options: Any) -> str:
        """The one line of complaint."""
        return tiny.refused(*self.words(*more, **options))


@pytest.fixture
def here(studio: Path) -> Here:
    return Here(studio)


def rgb(path: Path) -> Tensor:
    return image.read(path).rgb


def test_a_texture_is_named_after_its_exemplar_and_as_large(here: Here) -> None:
    path = here.run(styles=("waves",))
    assert path == Path("waves-texture.png")
    assert rgb(path).shape == (1, 3, 48, 64)
    assert here.run("--size", "70x33", "-o", "made/a.png") == Path("made/a.png")
    assert rgb(Path("made/a.png")).shape == (1, 3, 33, 70)
    assert rgb(here.run("--size", "40")).shape == (1, 3, 40, 40)


def test_a_default_name_is_no_longer_than_file_systems_allow(here: Here, studio: Path) -> None:
    photo = Path(f"{'x' * 250}.png")
    photo.write_bytes((studio / "photo.png").read_bytes())
    assert here.run("--content", str(photo), "--content-layers", "vgg16:relu1_2").is_file()


def test_one_seed_one_picture(here: Here) -> None:
    one, two, other = (
        here.run("--seed", seed, "-o", f"{name}.png").read_bytes()
        for name, seed in zip("abc", "778", strict=True)
    )
    assert one == two != other


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--structure-layers", "relu1_2"],
            "--structure-layers changes nothing without --sliced-weight or --shifted-weight or "
            "--autocorrelation-weight: give that, or leave it out",
        ),
        (["--max-shift", "4"], "--max-shift changes nothing without --shifted-weight"),
        (["--content-layers", ""], "--content-layers is empty: give it a value, or leave it out"),
        (["--style-layers", ","], "--style-layers is empty"),
    ],
    ids=str,
)
def test_layers_and_shifts_without_effect_are_refused(here: Here, flags: list[str], said: str) -> None:
    assert said in here.fail("--content", here.photo, *flags)


@pytest.mark.parametrize("loss", ["sliced", "shifted", "autocorrelation"])
def test_losses_that_see_structure_are_optimized_alone_or_beside_the_others(here: Here, loss: str) -> None:
    layers = ["--structure-layers", "relu1_2"]
    weight = f"--{loss}-weight"
    plain = here.run("-o", "a.png").read_bytes()
    assert here.run("-o", "b.png", *layers, weight, "1").read_bytes() != plain
    alone = ["-o", "c.png", *layers, "--style-weight", "0", weight, "1"]
    totals = []
    for steps in ("1", "15"):
        status, _, err = tiny.call(*here.words(*alone, "--steps", steps))
        assert status == 0, err
        totals.append(float(err.rpartition("loss ")[2].split()[0]))
    assert totals[1] < 0.7 * totals[0]
    assert "relu9_9" in here.fail("--structure-layers", "relu9_9", weight, "1")


def test_the_descriptor_has_its_own_layers_of_structure(here: Here) -> None:
    words = ["optimize", "--style", str(here.studio / "blots.png"), "--steps", "1", "--offline"]
    words += ["--style-weight", "0", "--sliced-weight", "1", "--descriptor", "random"]
    status, _, err = tiny.call(*words)
    assert status == 0, err


def test_it_comes_closer_to_the_exemplar(here: Here) -> None:
    start, end = (rgb(here.run(*NOISY, "--steps", n, "-o", f"{n}.png")) for n in ("1", "30"))

    def roughness(x: Tensor) -> float:
        return float((x[..., 1:] - x[..., :-1]).abs().mean())

    style = roughness(rgb(here.studio / "blots.png"))
    assert abs(roughness(end) - style) < 0.3 * abs(roughness(start) - style)


def test_a_photo_is_stylized_from_itself(here: Here) -> None:
    path = here.run("--content", here.photo)
    assert path == Path("photo-blots-optimized.png")
    made, photo = rgb(path), rgb(Path(here.photo))
    assert made.shape == photo.shape
    near = float((made - photo).abs().mean())
    assert 0 < near < 0.1
    noisy = rgb(here.run("--content", here.photo, "--start", "noise", "-o", "n.png"))
    assert float((noisy - photo).abs().mean()) > 2 * near
    assert rgb(here.run("--content", here.photo, "--size", "32")).shape == (1, 3, 20, 32)
    # The more content weighs, the nearer the photo.
    kept = rgb(here.run("--content", here.photo, "--content-weight", "1000", "-o", "k.png", "--steps", "4"))
    lost = rgb(here.run("--content", here.photo, "--content-weight", "0", "-o", "l.png", "--steps", "4"))
    assert float((kept - photo).square().mean()) < float((lost - photo).square().mean())


def test_start_from_a_file(here: Here) -> None:
    path = here.run("--start", str(here.studio / "waves.png"), "--steps", "1")
    start = image.resize(rgb(here.studio / "waves.png"), (64, 64))
    assert float((rgb(path) - start).abs().mean()) < 0.02
    assert "no such file: nowhere.png" in here.fail("--start", "nowhere.png")


def test_several_styles_by_weight(here: Here) -> None:
    both = ("blots", "waves")
    first = here.run("-o", "1.png").read_bytes()
    assert here.run("--style-blend-weights", "2,0", "-o", "2.png", styles=both).read_bytes() == first
    half = here.run("-o", "3.png", styles=both).read_bytes()
    assert half != first
    assert here.run("--style-blend-weights", "3,3", "-o", "4.png", styles=both).read_bytes() == half
    assert here.run("--style-blend-weights", "1,2", "-o", "5.png", styles=both).read_bytes() not in (
        first,
        half,
    )
    assert "1 number for 2 styles" in here.fail("--style-blend-weights", "1", styles=both)
    assert "--style-blend-weights a,b" in here.fail("--style-blend-weights", "a,b", styles=both)
    assert "not all of them 0" in here.fail("--style-blend-weights", "0,0", styles=both)


def test_luminance_alone_is_transferred(here: Here) -> None:
    made = rgb(
        here.run(
            "--content", here.photo, "--preserve-color", "luminance", "--content-weight", "0", "--steps", "8"
        )
    )
    photo = rgb(Path(here.photo))
    difference = made - photo
    inside = ((made > 0.004) & (made < 0.996)).all(1, keepdim=True).expand_as(made)
    spread = (difference - difference.mean(1, keepdim=True))[inside].abs().max()
    assert float(spread) < 1.1 / 255  # every channel by the same: I and Q of YIQ are the photo's
    assert float(difference.abs().mean()) > 0.005


def test_matched_styles_have_the_photos_colours(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    plain = optimization.synthesize

    def spy(networks: Any, styles: Any, *more: Any, **options: Any) -> Any:
        seen.extend(styles)
        return plain(networks, styles, *more, **options)

    monkeypatch.setattr(optimization, "synthesize", spy)
    here.run("--content", here.photo, "--preserve-color", "match", "--style-size", "64", "--steps", "1")
    expected = optimization.match_color(rgb(here.studio / "blots.png"), rgb(Path(here.photo)))
    torch.testing.assert_close(seen[0], expected)
    assert "--content" in here.fail("--preserve-color", "match")


def test_scales(here: Here) -> None:
    path = here.run("--scales", "2", "--pictures-every", "1", "--steps", "2")
    assert rgb(path).shape == (1, 3, 64, 64)
    pictures = sorted(Path("blots-texture.run/pictures").iterdir())
    assert [p.name for p in pictures] == [f"{i:06d}.png" for i in range(5)]
    assert all(rgb(p).shape == (1, 3, 64, 64) for p in pictures)
    assert pictures[-1].read_bytes() == path.read_bytes()
    assert "--scales 9" in here.fail("--scales", "9")


def test_no_picture_along_the_way_unasked(here: Here) -> None:
    here.run()
    assert [p.name for p in Path().iterdir()] == ["blots-texture.png"]


def test_random_filters_need_no_weights(here: Here, tmp_path: Path) -> None:
    words = [
        "optimize",
        "--style",
        str(here.studio / "blots.png"),
        "--offline",
        "--size",
        "24",
        "--steps",
        "1",
    ]
    status, out, err = tiny.call(*words, "--descriptor", "random")
    assert status == 0, err
    assert rgb(Path(out.strip())).shape == (1, 3, 24, 24)
    alone = tiny.call(*words, "--descriptor", "random", "--style-layers", "conv5", "-o", "a.png")
    named = tiny.call(*words, "--style-layers", "random:conv5", "-o", "b.png")
    assert alone[0] == named[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes() != Path(out.strip()).read_bytes()
    status, _, err = tiny.call(*words, "--descriptor", "randon")
    assert status == 2
    assert "did you mean 'random'" in err


@pytest.mark.parametrize(
    "flags",
    [
        ["--style-layers", "vgg16:relu1_2"],
        ["--tv-weight", "10"],
        ["--checkerboard-weight", "5"],
        ["--loss-scaling", "paper"],
        ["--pyramid-loss", "2"],
        ["--no-descriptor-padding"],
        ["--normalize-gradients", "--line-search", "fixed"],
        ["--line-search", "fixed"],
        ["--style-size", "32"],
        ["--steps", "4"],
    ],
)
def test_every_flag_changes_the_picture(here: Here, flags: list[str]) -> None:
    with_photo = ["--content", str(here.studio / "square.png"), "--start", "noise"]
    plain = here.run(*with_photo, "-o", "plain.png").read_bytes()
    assert here.run(*with_photo, *flags, "-o", "other.png").read_bytes() != plain


@pytest.mark.parametrize(("signal", "ended"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_ctrl_c_and_sigterm_write_what_there_is(
    here: Here, monkeypatch: pytest.MonkeyPatch, signal: type[KeyboardInterrupt], ended: int
) -> None:
    plain, made = optimization.minimize, []

    def interrupted(*arguments: Any, **options: Any) -> Iterator[optimization.IterationRecord]:
        for record in itertools.islice(plain(*arguments, **options), 3):
            made.append(record.image)
            yield record
        raise signal

    monkeypatch.setattr(optimization, "minimize", interrupted)
    status, out, err = tiny.call(*here.words("--steps", "9", "--scales", "2"))
    assert (status, out) == (ended, "blots-texture.png\n")
    assert "stopped after iteration 2 of 18" in err
    expected = image.resize(made[-1], (64, 64))
    torch.testing.assert_close(rgb(Path(out.strip())), expected, atol=0.51 / 255, rtol=0)


def test_off_a_terminal_a_line_tells_the_progress_every_half_minute(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, err = tiny.call(*here.words())
    assert err.startswith("texturenets: blots-texture: at most 2 iterations; Ctrl-C ends it early\n")
    assert "iteration 1 of 2" not in err
    _, _, err = tiny.call(*here.words("--steps", "5", "--scales", "2"))
    assert re.search(r"blots-texture: about \d+ seconds? for 10 iterations on (cpu|cuda)\n", err)
    monkeypatch.setattr(report, "NOTE_INTERVAL", 0.0)
    _, _, err = tiny.call(*here.words())
    assert "texturenets: blots-texture: iteration 1 of 2, loss " in err
    _, _, err = tiny.call(*here.words("--quiet"))
    assert err == ""


def test_the_expected_time_counts_the_pixels_of_the_scales() -> None:
    picture = torch.zeros(1, 3, 8, 8)
    made = optimization.IterationRecord(3, {}, picture, 6, 6.0, scale=1)
    assert forecast(made, 20) == "about 2 minutes for 20 iterations on cpu"
    made = optimization.IterationRecord(4, {}, picture, 6, 6.0)
    assert forecast(made, 20) == "about 30 seconds for 20 iterations on cpu"


def test_a_result_without_any_iteration_is_told(here: Here, studio: Path) -> None:
    exemplar = str(studio / "blots.png")
    status, _, err = tiny.call(*here.words("--start", exemplar))
    assert status == 0
    assert err.splitlines()[1:] == ["no iteration lowers the loss of the start, 0: the start is the result"]


def test_what_cannot_be_written_is_told_before_any_work(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: Any, **__: Any) -> None:
        pytest.fail("it reads the pictures first")

    monkeypatch.setattr(image, "read", work)
    tiny.read_only(monkeypatch)
    assert here.fail("-o", "ro/o.png") == "texturenets: cannot write ro/o.png: Read-only file system\n"


@pytest.mark.parametrize("records", [0, 1])  # the first is the start
def test_ctrl_c_before_the_first_iteration_writes_nothing(
    here: Here, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    plain = optimization.minimize

    def interrupted(*arguments: Any, **options: Any) -> Iterator[optimization.IterationRecord]:
        yield from itertools.islice(plain(*arguments, **options), records)
        raise KeyboardInterrupt

    monkeypatch.setattr(optimization, "minimize", interrupted)
    status, out, err = tiny.call(*here.words())
    assert (status, out) == (130, "")
    assert err.splitlines()[1:] == [
        "texturenets: interrupted: before the first iteration: nothing is written"
    ]
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--steps", "0"], "--steps 0"),
        (["--size", "-5"], "--size -5"),
        (["--size", "0"], "--size 0"),
        (["--size", "3x4x5"], "--size 3x4x5"),
        (["--style-size", "-1"], "--style-size -1"),
        (["--pictures-every", "-1"], "--pictures-every -1"),
        (["--start", "photo"], "--start photo wants a photo"),
        (["--output", "a.gif"], "cannot write a.gif"),
        (["--normalize-gradients"], "--line-search fixed"),
        (["--style-weight", "-1"], "--style-weight -1"),
        (["--style-layers", "vgg16:relu9_1"], "unknown layer of vgg16"),
        (["--preset", "defaut"], "did you mean 'default'"),
        (["--precision", "half"], "precision"),
    ],
)
def test_mistakes_are_one_line(here: Here, flags: list[str], words: str) -> None:
    assert words in here.fail(*flags)
    assert not list(Path().iterdir())


def test_a_photo_keeps_its_shape(here: Here) -> None:
    assert "give only its longer side" in here.fail("--content", here.photo, "--size", "30x30")


def test_the_exemplar_is_not_overwritten(here: Here) -> None:
    style = here.studio / "blots.png"
    before = style.read_bytes()
    assert "would overwrite" in here.fail("-o", str(style))
    assert "would overwrite" in here.fail("--content", here.photo, "-o", here.photo)
    assert style.read_bytes() == before


@pytest.mark.filterwarnings("default")  # transparent pixels are told
@pytest.mark.parametrize("kind", ["small", "flat", "alpha", "grey"])
def test_odd_exemplars(here: Here, kind: str) -> None:
    random = np.random.default_rng(0)
    picture = {
        "small": Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)),
        "flat": Image.new("RGB", (40, 40), (200, 30, 90)),
        "alpha": Image.fromarray(random.integers(0, 256, (40, 40, 4), dtype=np.uint8)),
        "grey": Image.fromarray(random.integers(0, 256, (40, 40), dtype=np.uint8)),
    }[kind]
    picture.save("odd.png")
    words = [
        "--style",
        "odd.png",
        "--weights",
        str(here.studio / "weights"),
        "--offline",
        "--size",
        "32",
        "--steps",
        "2",
    ]
    status, out, err = tiny.call("optimize", *words, *NOISY)
    assert status == 0, err
    with Image.open(out.strip()) as made:
        assert (made.mode, made.size) == ("RGB", (32, 32))


def test_alpha_of_the_photo_is_kept(here: Here) -> None:
    photo = Image.open(here.photo).convert("RGB")
    photo.putalpha(Image.linear_gradient("L").resize(photo.size))
    photo.save("clear.png")
    path = here.run("--content", "clear.png")
    made = image.read(path)
    assert made.alpha is not None
    torch.testing.assert_close(made.alpha, image.read("clear.png").alpha)


@pytest.mark.parametrize(("content", "weight"), [(True, 0.2), (False, 0.7)])
def test_the_penalty_on_grids_has_the_weight_of_trainings(
    here: Here, content: bool, weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    plain = optimization.synthesize

    def watched(networks: Any, styles: Any, settings: Any, *more: Any, **options: Any) -> Any:
        asked.append(settings["checkerboard_weight"])
        return plain(networks, styles, settings, *more, **options)

    monkeypatch.setattr(optimization, "synthesize", watched)
    texture = dataclasses.replace(presets.TEXTURE, checkerboard_weight=0.7)
    monkeypatch.setitem(presets.TEXTURE_PRESETS, "default", texture)
    here.run(*(["--content", here.photo] if content else ["--size", "48"]))
    here.run(
        *(["--content", here.photo] if content else ["--size", "48"]),
        "--checkerboard-weight",
        "3",
        "-o",
        "b.png",
    )
    assert asked == [weight, 3.0]


def test_a_texture_has_the_layers_of_trainings_of_textures(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    texture = dataclasses.replace(presets.TEXTURE, style_layers=("vgg16:relu1_1",))
    monkeypatch.setitem(presets.TEXTURE_PRESETS, "default", texture)
    words = here.words("--size", "48", "-o", "recipe.png")
    at = words.index("--style-layers")
    status, _, err = tiny.call(*words[:at], *words[at + 2 :])
    assert status == 0, err
    named = here.run("--size", "48", "--style-layers", "vgg16:relu1_1", "-o", "named.png")
    assert (rgb(named) == rgb(Path("recipe.png"))).all()


def test_the_first_of_several_pictures_is_told_of(here: Here, tmp_path: Path) -> None:
    frames = [Image.open(here.studio / f"{name}.png").resize((64, 64)) for name in ("blots", "waves")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    status, _, error = tiny.call(*here.words("--content", str(tmp_path / "moving.gif"), "--quiet"))
    assert status == 0
    assert error.startswith(
        f"texturenets: note: {tmp_path}/moving.gif holds several images, of which the first"
    )
    assert error.count("\n") == 1


def test_a_photos_depth_that_is_lost_is_told_of(here: Here) -> None:
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40).save("deep.png")
    status, _, error = tiny.call(*here.words("deep.png", "--quiet", "-o", "made.jpg"))
    assert status == 0
    assert error == "texturenets: note: deep.png holds 16 bits per channel, of which results have 8\n"
    status, _, error = tiny.call(*here.words("deep.png", "--quiet", "-o", "made.png"))
    assert (status, error) == (0, "")  # a PNG keeps them


def test_the_photo_can_be_named_as_for_stylize(here: Here) -> None:
    named = here.run("-o", "named.png", "--content", here.photo)
    placed = here.run("-o", "placed.png", here.photo)
    assert placed.read_bytes() == named.read_bytes()


@pytest.mark.filterwarnings("default")
def test_what_becomes_of_transparency_is_said(here: Here) -> None:
    Image.new("RGBA", (40, 40), (200, 100, 50, 128)).save("clear.png")
    words = here.words("--content", "clear.png", "--size", "32", "--quiet", "-o", "a.png")
    words[2] = "clear.png"
    status, _, err = tiny.call(*words)
    assert (status, err) == (
        0,
        "texturenets: note: clear.png has transparent pixels, which are learned as white\n",
    )
    status, _, err = tiny.call(*here.words("--content", "clear.png", "--size", "32", "-o", "a.jpg"))
    assert status == 0
    assert "note: clear.png holds transparent pixels, which .jpg does not keep: they are laid on white" in err


def test_the_output_may_be_a_folder(here: Here) -> None:
    Path("made").mkdir()
    for folder in ("made", "new/"):
        status, out, _ = tiny.call(*here.words("--quiet", "-o", folder))
        assert (status, Path(out.strip()).parent) == (0, Path(folder))
        assert Path(out.strip()).is_file()


@pytest.mark.parametrize("flag", ["--content-weight", "--content-layers"])
def test_without_a_photo_there_is_nothing_to_compare_content_with(here: Here, flag: str) -> None:
    status, _, error = tiny.call(*here.words(flag, "3" if flag.endswith("weight") else "random:conv1"))
    assert (status, error) == (
        2,
        f"texturenets: {flag} compares with a photo: give one, for example optimize photo.jpg --style painting.jpg\n",
    )
