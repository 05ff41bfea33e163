"""`tile` and `inpaint` on small pictures, with descriptor networks of random weights."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor

import texturenets as tn
from texturenets import image, optimization, perceptual
from texturenets.errors import UserError
from texturenets.resynthesis import holes, jobs, patches
from texturenets.resynthesis.configuration import of_network
from texturenets.resynthesis.filling import fill
from texturenets.resynthesis.holes import MARGIN, Hole, continued
from texturenets.resynthesis.objective import HoleObjective
from texturenets.resynthesis.priorities import next_window
from texturenets.resynthesis.rectangle import largest_rectangle

LAYERS = ("vgg16:relu1_1", "vgg16:relu1_2")
FLAGS = {"--style-layers": ",".join(LAYERS), "--steps": "3"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    tiny.weights_file(folder, "vgg16")
    tiny.picture(folder / "photo.png", seed=3, size=(72, 56), grain=20)
    mask = Image.new("L", (72, 56))
    mask.paste(255, (30, 20, 44, 34))
    mask.save(folder / "hole.png")
    return folder


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def networks(studio: Path) -> perceptual.Descriptors:
    return perceptual.build(LAYERS, files=[studio / "vgg16_tiny_0.safetensors"], offline=True)


def call(studio: Path, command: str, *more: str) -> tuple[int, str, str]:
    usual = [w for flag, value in FLAGS.items() if flag not in more for w in (flag, value)]
    return tiny.call(command, *more, "--weights", str(studio), "--offline", *usual)


def made(studio: Path, *words: str) -> Path:
    status, out, err = call(studio, *words)
    assert status == 0, err
    return Path(out.strip().splitlines()[-1])


def refused(studio: Path, *words: str) -> str:
    status, out, err = call(studio, *words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    return err


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(np.int64)


def square(
    size: int = 48, hole: tuple[slice, slice] = (slice(18, 30), slice(18, 30)), grain: int = 16
) -> Hole:
    picture = image.resize(optimization.white_noise(1, (grain, grain)), (size, size))
    free = torch.zeros(1, 1, size, size)
    free[:, :, hole[0], hole[1]] = 1
    return Hole(picture, free, picture, 1 - free)


def test_the_middle_half_of_a_tile_stays_and_its_edges_meet(studio: Path) -> None:
    path = made(studio, "tile", str(studio / "photo.png"))
    assert path == Path("photo-tile.png")
    before, after = pixels(studio / "photo.png"), pixels(path)
    assert after.shape == before.shape
    assert (after[14:42, 18:54] == before[14:42, 18:54]).all()
    for axis in (0, 1):
        steps = [np.abs(np.roll(x, -1, axis) - x).mean((1 - axis, 2)) for x in (before, after)]
        assert steps[0][-1] > 2 * steps[0].mean()  # a seam
        assert steps[1][-1] < 1.5 * steps[1].mean()  # and none


@pytest.mark.parametrize("side", [32, 33, 34, 35, 97, 128])
def test_at_least_half_of_each_side_stays(side: int) -> None:
    kept = holes.edges(torch.zeros(1, 3, side, 64)).free[0, 0, :, 32] == 0
    places = kept.nonzero()[:, 0].tolist()
    first = (side - side // 2) // 2
    assert set(range(first, first + side // 2)) <= set(places)
    assert not kept[0]
    assert not kept[-1]


def test_pixels_outside_the_mask_stay(studio: Path) -> None:
    path = made(
        studio, "inpaint", str(studio / "photo.png"), "--mask", str(studio / "hole.png"), "-o", "a.png"
    )
    before, after = pixels(studio / "photo.png"), pixels(path)
    hole = pixels(studio / "hole.png") > 127
    assert (after[~hole] == before[~hole]).all()
    assert (after[hole] != before[hole]).any()


def test_what_was_in_the_hole_leaves_no_trace(studio: Path) -> None:
    photo = Image.open(studio / "photo.png").convert("RGB")
    photo.paste((0, 255, 0), (30, 20, 44, 34))
    photo.save("green.png")
    words = ["--mask", str(studio / "hole.png"), "-o"]
    one = made(studio, "inpaint", str(studio / "photo.png"), *words, "a.png")
    two = made(studio, "inpaint", "green.png", *words, "b.png")
    assert one.read_bytes() == two.read_bytes()


def test_16_bits_alpha_and_exif_come_back(studio: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (40, 48, 3), dtype=np.uint16)
    image.write(
        "deep.png", image.Picture(torch.from_numpy(values / 65535).float().permute(2, 0, 1)[None], bits=16)
    )
    mask = Image.new("L", (48, 40))
    mask.paste(255, (10, 10, 20, 20))
    mask.save("mask.png")
    after = image.read(made(studio, "inpaint", "deep.png", "--mask", "mask.png", "-o", "a.png"))
    known = np.asarray(mask) == 0
    assert after.bits == 16
    assert torch.equal(after.rgb[0, :, known], image.read("deep.png").rgb[0, :, known])

    photo = Image.open(studio / "photo.png").convert("RGBA")
    alpha = Image.new("L", photo.size, 255)
    alpha.paste(90, (28, 18, 46, 36))
    photo.putalpha(alpha)
    exif = Image.Exif()
    exif[0x013B] = "painter"
    photo.save("clear.png", exif=exif)
    path = made(studio, "inpaint", "clear.png", "--mask", str(studio / "hole.png"), "-o", "c.png")
    hole = pixels(studio / "hole.png") > 127
    opacity = pixels(path)[..., 3]
    assert (opacity[hole] == 255).all()  # what is filled can be seen
    assert (opacity[~hole] == np.asarray(alpha)[~hole]).all()
    assert Image.open(path).getexif()[0x013B] == "painter"
    assert "transparent pixels" in refused(studio, "tile", "clear.png")


def test_one_seed_one_picture(studio: Path) -> None:
    words = ["tile", str(studio / "photo.png"), "--seed"]
    one, two = (made(studio, *words, "3", "-o", name).read_bytes() for name in ("a.png", "b.png"))
    assert one == two


def test_json(studio: Path) -> None:
    status, out, _ = call(studio, "tile", str(studio / "photo.png"), "--json", "--quiet")
    found = json.loads(out)
    assert status == 0
    assert (found["status"], found["result"]) == ("done", "photo-tile.png")
    assert found["loss"] >= 0


def test_ctrl_c_writes_what_there_is(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from texturenets.resynthesis import filling

    plain = filling.minimize

    def interrupted(*arguments: Any, **options: Any) -> Iterator[optimization.IterationRecord]:
        yield from itertools.islice(plain(*arguments, **options), 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(filling, "minimize", interrupted)
    status, out, err = call(studio, "tile", str(studio / "photo.png"), "--tv-weight", "1")
    assert (status, out) == (130, "photo-tile.png\n")
    assert "stopped after iteration 1 of 3" in err


@pytest.mark.parametrize("command", ["tile", "inpaint"])
def test_what_cannot_be_written_is_told_before_any_work(
    studio: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def work(*_: Any, **__: Any) -> None:
        pytest.fail("it reads the picture first")

    monkeypatch.setattr(image, "read", work)
    tiny.read_only(monkeypatch)
    mask = ["--mask", str(studio / "hole.png")] if command == "inpaint" else []
    error = refused(studio, command, str(studio / "photo.png"), *mask, "-o", "ro/t.png")
    assert error == "texturenets: cannot write ro/t.png: Read-only file system\n"


def mask_file(size: tuple[int, int], value: int, box: tuple[int, int, int, int] | None = None) -> str:
    mask = Image.new("L", size, value)
    if box:
        mask.paste(255, box)
    mask.save("mask.png")
    return "mask.png"


@pytest.mark.parametrize(
    ("size", "value", "box", "told"),
    [
        ((72, 56), 0, None, "no white pixel"),
        ((72, 56), 255, None, "leaves nothing to learn from"),
        (
            (72, 72),
            0,
            (9, 9, 20, 20),
            "the mask mask.png has 72 x 72 pixels, of another shape than the photo's 72 x 56",
        ),
        ((72, 56), 0, (1, 1, 72, 56), "the known part is too small"),
    ],
)
@pytest.mark.filterwarnings("ignore:the mask mask.png is black")
def test_masks_that_do_not_work(
    studio: Path, size: tuple[int, int], value: int, box: tuple[int, int, int, int] | None, told: str
) -> None:
    mask = mask_file(size, value, box)
    assert told in refused(studio, "inpaint", str(studio / "photo.png"), "--mask", mask)
    assert [p.name for p in Path().iterdir()] == ["mask.png"]


@pytest.mark.parametrize(("value", "told"), [(0, "no white pixel"), (255, "leaves nothing to learn from")])
def test_a_mask_without_a_hole_or_surroundings_is_refused_before_the_work(
    studio: Path, monkeypatch: pytest.MonkeyPatch, value: int, told: str
) -> None:
    monkeypatch.delattr("texturenets.cli.resynthesis._config")  # which loads PyTorch
    mask = mask_file((72, 56), value)
    assert told in refused(studio, "inpaint", str(studio / "photo.png"), "--mask", mask)


@pytest.mark.filterwarnings("default")
def test_a_mask_of_another_size_is_scaled_with_a_note(studio: Path) -> None:
    mask = mask_file((36, 28), 0, (9, 9, 20, 20))
    status, _, err = call(studio, "inpaint", str(studio / "photo.png"), "--mask", mask, "--quiet")
    assert status == 0
    assert "the mask mask.png, 36 x 28, is scaled to the photo's 72 x 56" in err


def test_other_mistakes_are_one_line(studio: Path) -> None:
    photo, hole = str(studio / "photo.png"), str(studio / "hole.png")
    Image.new("RGB", (20, 20)).save("tiny.png")
    assert "20 x 20 pixels is too small to learn from" in refused(studio, "tile", "tiny.png")
    assert "--steps 0" in refused(studio, "tile", photo, "--steps", "0")
    assert "would overwrite" in refused(studio, "tile", photo, "-o", photo)
    assert "would overwrite" in refused(studio, "inpaint", photo, "--mask", hole, "-o", hole)
    assert "--context 0" in refused(studio, "inpaint", photo, "--mask", hole, "--context", "0")
    assert "--scales 9" in refused(studio, "tile", photo, "--scales", "9")
    assert "no such file" in refused(studio, "inpaint", photo, "--mask", "nowhere.png")
    assert "did you mean" in refused(studio, "tile", photo, "--descriptor", "vgg61")


@pytest.mark.parametrize("command", ["tile", "inpaint"])
def test_losses_that_see_structure(studio: Path, command: str) -> None:
    more = ["--mask", str(studio / "hole.png")] if command == "inpaint" else []
    words, layers = [command, str(studio / "photo.png"), *more], ["--structure-layers", "relu1_2"]
    plain = made(studio, *words, "-o", "a.png").read_bytes()
    for loss in ("shifted", "autocorrelation"):
        found = made(studio, *words, *layers, f"--{loss}-weight", "100", "-o", f"{loss}.png").read_bytes()
        assert found != plain, loss


def test_features_tell_which_positions_show_the_hole(networks: perceptual.Descriptors) -> None:
    settings = dataclasses.asdict(dataclasses.replace(of_network(), style_layers=("vgg16:relu1_1",)))
    hole = square()
    made_of = HoleObjective.of(networks, settings, hole)
    seen = torch.zeros(48 + 2 * MARGIN, 48 + 2 * MARGIN)
    seen.view(-1)[made_of.shown[0]["vgg16:relu1_1"]] = 1
    expected = torch.nn.functional.pad(hole.free, (MARGIN,) * 4)
    grown = torch.nn.functional.max_pool2d(expected, 3, 1, 1)[0, 0]  # a kernel of 3
    assert bool((seen <= grown).all())
    assert float((grown - seen).sum()) <= 8  # corners, where one weight of nine sees the hole
    known = made_of.known[0]["vgg16:relu1_1"]
    assert not set(known.tolist()) & set(made_of.shown[0]["vgg16:relu1_1"].tolist())
    assert len(known) == 48 * 48 - int(seen.sum())


def test_the_exemplar_s_statistics_are_those_of_the_known_part_alone(
    networks: perceptual.Descriptors,
) -> None:
    settings = dataclasses.asdict(dataclasses.replace(of_network(), style_layers=LAYERS))
    plain = square()
    other = torch.where(plain.free > 0, torch.rand(1, 3, 48, 48), plain.image)
    targets = [
        HoleObjective.of(networks, settings, hole).losses[0].targets[0]["vgg16:relu1_1"]  # type: ignore[attr-defined]
        for hole in (plain, plain.over(other))
    ]
    torch.testing.assert_close(*targets, rtol=0.02, atol=0.02)


def test_real_parts_cost_little(networks: perceptual.Descriptors) -> None:
    """The hole's own content, which is real, is about what is allowed; noise is not."""
    config = dataclasses.replace(
        of_network(), style_layers=LAYERS, sliced_weight=1.0, structure_layers=LAYERS
    )
    settings = dataclasses.asdict(config)
    hole = square(64, grain=32)
    made_of = HoleObjective.of(networks, settings, hole)
    assert set(made_of.allowed) == {f"{loss}/{layer}" for layer in LAYERS for loss in ("style", "sliced")}
    real, noise = (
        float(sum(made_of(hole.pixels(x)).values())) for x in (hole.image, torch.rand_like(hole.image))
    )
    assert noise > 10 * real + 0.01


def test_the_loss_falls_and_nothing_else_moves(networks: perceptual.Descriptors) -> None:
    settings = dataclasses.asdict(dataclasses.replace(of_network(), style_layers=LAYERS, tv_weight=1.0))
    hole = square(48)
    records = list(fill(networks, settings, hole, steps=3, scales=2))
    at_full = [r for r in records if r.scale == 0]
    assert at_full[-1].loss < at_full[0].loss
    kept = (hole.free == 0).expand(-1, 3, -1, -1)
    assert all(torch.equal(r.image[kept], hole.image[kept]) for r in at_full)


def test_patches_are_the_exemplars_and_close_without_a_seam() -> None:
    place = torch.arange(64.0)
    stripes = (0.5 + 0.4 * torch.sin(place * (2 * torch.pi / 8))).expand(1, 3, 64, 64).contiguous()
    free = torch.zeros(1, 1, 64, 64)
    free[:, :, 20:44, 20:44] = 1
    damaged = torch.where(free > 0, 0.0, stripes)
    filled = patches.start(Hole(damaged, free, damaged, 1 - free), 0)
    torch.testing.assert_close(filled, stripes, atol=0.02, rtol=0)


def test_a_large_picture_is_searched_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "MAX_SEARCH_SIDE", 32)
    hole = square(64)
    filled = patches.start(hole, 0)
    kept = (hole.free == 0).expand(-1, 3, -1, -1)
    assert torch.equal(filled[kept], hole.image[kept])
    assert not torch.equal(filled, hole.image)


def test_a_picture_goes_on_at_its_other_edge() -> None:
    x = torch.rand(1, 3, 40, 50)
    more = continued(x, wraps=True)
    assert torch.equal(more[..., MARGIN:-MARGIN, :MARGIN], x[..., -MARGIN:])
    assert torch.equal(
        continued(x, wraps=False)[..., MARGIN:-MARGIN, :MARGIN], x[..., 1 : MARGIN + 1].flip(3)
    )


def test_the_largest_rectangle() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        mask = random.random((7, 9)) < 0.7
        areas = [
            h * w
            for y, x in itertools.product(range(7), range(9))
            for h, w in itertools.product(range(1, 8 - y), range(1, 10 - x))
            if mask[y : y + h, x : x + w].all()
        ]
        top, left, height, width = largest_rectangle(torch.from_numpy(mask))
        assert mask[top : top + height, left : left + width].all()
        assert height * width == max(areas)


def test_what_is_computed_of_a_large_picture() -> None:
    picture = image.Picture(torch.rand(1, 3, 700, 1500))
    mask = np.zeros((700, 1500), np.uint8)
    mask[10:40, 1000:1100] = 255
    assert jobs.hole(picture, mask, None).box == (0, 794, 512, 512)
    job = jobs.hole(picture, mask, 20)
    assert job.box == (0, 980, 60, 140)
    part = torch.zeros(1, 3, 60, 140)
    whole = job.finished(part).rgb
    assert torch.equal(whole[..., 980:1120][..., :60, :], part)
    assert torch.equal(whole[..., :980], picture.rgb[..., :980])


def test_from_python_the_same_kind_comes_back(studio: Path) -> None:
    photo, hole = Image.open(studio / "photo.png"), Image.open(studio / "hole.png")
    config = dataclasses.replace(of_network(), style_layers=LAYERS)
    how: dict[str, Any] = {
        "config": config,
        "trainer": tn.TrainerConfig(weights=(str(studio),), offline=True, device="cpu"),
    }
    seen: list[int] = []
    tile = tn.tile(photo, steps=2, progress=lambda record: seen.append(record.iteration), **how)
    assert (type(tile), tile.size) == (Image.Image, photo.size)
    assert seen[0] == 0
    array = np.asarray(photo.convert("RGB"))
    filled = tn.inpaint(array, hole, steps=2, **how)
    assert filled.dtype == np.uint8
    assert (filled[np.asarray(hole) == 0] == array[np.asarray(hole) == 0]).all()
    stopped: Tensor = tn.tile(torch.rand(3, 40, 48), steps=9, progress=lambda record: "stop", **how)
    assert stopped.shape == (3, 40, 48)
    with pytest.raises(UserError, match="one at a time"):
        tn.tile(torch.rand(2, 3, 40, 48), **how)
    with pytest.raises(UserError, match="`steps` 0"):
        tn.tile(photo, steps=0, **how)


@pytest.mark.parametrize("command", ["tile", "inpaint"])
def test_of_several_images_the_first_is_taken(studio: Path, command: str) -> None:
    frames = [Image.open(studio / name).convert("RGB") for name in ("photo.png", "hole.png")]
    frames[0].save("a.tif", save_all=True, append_images=frames[1:])
    more = ["--mask", str(studio / "hole.png")] if command == "inpaint" else []
    _, _, err = call(studio, command, "a.tif", *more, "--quiet")
    assert "note: a.tif holds several images, of which the first is taken" in err


def test_the_window_that_an_edge_runs_into_comes_first() -> None:
    picture = torch.full((1, 3, 40, 40), 0.2)
    picture[:, :, 23:] = 0.8
    known = torch.ones(1, 1, 40, 40)
    known[:, :, 10:30, 10:30] = 0
    place, confidence = next_window(picture * known, known, known, 9)
    row, column = place // 40, place % 40
    assert abs(row - 22.5) < 5
    assert column in (10, 29)
    assert 4 / 9 - 0.01 < confidence < 0.6  # at the side of the hole, towards a corner


def test_an_edge_goes_on_through_a_hole() -> None:
    draw = torch.Generator().manual_seed(0)
    picture = 0.2 + 0.05 * torch.rand(1, 3, 96, 120, generator=draw)
    picture[:, :, 53:] += 0.5
    free = torch.zeros(1, 1, 96, 120)
    free[:, :, 30:66, 40:76] = 1
    made = patches.start(Hole(picture, free, picture, 1 - free), 0)
    assert (made[:, :, 30:66, 40:76].mean((0, 1, 3)) - picture.mean((0, 1, 3))[30:66]).abs().max() < 0.05
