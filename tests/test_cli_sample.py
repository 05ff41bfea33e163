"""`texturenets sample`: names of files, tiles, sheets, frames, and mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from texturenets import textures
from texturenets.cli import main
from texturenets.modelfiles import modelfile
from texturenets.networks.fully_connected import FullyConnected
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual

TINY = Multiscale(channels=(4, 4, 3), noise_depth=2)
VECTOR = FullyConnected(noise_depth=8, hidden=6, channels=(6, 4))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; two shipped textures, `bark` and `vector`, and a style, `wave`."""
    monkeypatch.setattr(textures, "MIN_SAMPLE_SIDE", 32)  # what is drawn at least, and cut: quicker
    return tiny.working_folder(
        tmp_path,
        monkeypatch,
        {"wave": Residual(channels=8, blocks=0)},
        {"bark": TINY, "vector": VECTOR},
    )


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def sample(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The files that the command prints; it has to succeed."""
    status = main(["sample", *words, "--engine", "torch"])
    output = capsys.readouterr()
    assert status == 0, output.err
    return output.out.splitlines()


def test_one_sample_is_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample(capsys, "bark") == ["bark-0.png"]
    assert pixels("bark-0.png").shape == (256, 256, 3)
    assert sample(capsys, "bark", "-o", "name", "--size", "31x17") == ["name.png"]
    assert pixels("name.png").shape == (17, 31, 3)
    assert sample(capsys, "bark", "-o", "a/b.jpg", "--size", "20", "--quality", "50") == ["a/b.jpg"]
    assert Path("a/b.jpg").read_bytes()[:2] == b"\xff\xd8"
    Path("folder").mkdir()
    assert sample(capsys, "bark", "-o", "folder", "--size", "20") == ["folder/0000.png"]
    assert sample(capsys, "bark", "-o", "new/", "--size", "20") == ["new/0000.png"]


def test_a_network_of_one_size_draws_that(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample(capsys, "vector") == ["vector-0.png"]
    assert pixels("vector-0.png").shape == (16, 16, 3)


def test_several_are_a_folder_and_a_seed_is_one_picture(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three = sample(capsys, "bark", "--count", "3", "--seed", "5", "--size", "40x24", "-o", "some")
    assert three == ["some/0005.png", "some/0006.png", "some/0007.png"]
    sample(capsys, "bark", "--seed", "7", "--size", "40x24", "-o", "one")
    assert Path("one.png").read_bytes() == Path("some/0007.png").read_bytes()
    assert Path("some/0006.png").read_bytes() != Path("some/0005.png").read_bytes()
    sample(
        capsys, "bark", "--count", "3", "--seed", "5", "--size", "40x24", "--batch-size", "2", "-o", "batch"
    )
    for number in range(5, 8):
        alone, together = (pixels(f"{folder}/{number:04}.png").astype(int) for folder in ("some", "batch"))
        assert abs(alone - together).max() <= 1
    assert sample(capsys, "bark", "--count", "2", "--size", "8", "-o", "x.jpg") == [
        "x-0000.jpg",
        "x-0001.jpg",
    ]
    two = sample(capsys, "bark", "--to-seed", "2", "--frames", "2", "--size", "8", "-o", "y.png")
    assert two == ["y-0000.png", "y-0001.png"]


def test_samples_of_another_seed_are_not_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = sample(capsys, "bark", "--count", "2", "--size", "8")
    assert two == ["bark/0000.png", "bark/0001.png"]
    assert sample(capsys, "bark", "--seed", "9", "--size", "8") == ["bark-9.png"]
    assert sample(capsys, "bark", "--seed", "9", "--size", "8", "-o", "bark/") == ["bark/0009.png"]
    two = sample(capsys, "bark", "--seed", "2", "--count", "2", "--size", "8")
    assert two == ["bark/0002.png", "bark/0003.png"]
    assert len(files(here)) == 6


def test_the_picture_that_a_texture_was_learned_from_stays(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bark.png").write_bytes(b"precious")  # as `train texture bark.png` calls its model
    sample(capsys, "bark", "--size", "8")
    assert Path("bark.png").read_bytes() == b"precious"


def test_a_model_with_a_dot_in_its_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bark.v2.safetensors").write_bytes(modelfile.shipped()["bark"].read_bytes())
    assert sample(capsys, "bark.v2.safetensors", "--size", "8") == ["bark.v2-0.png"]
    two = sample(capsys, "bark.v2.safetensors", "--size", "8", "--count", "2")
    assert two == ["bark.v2/0000.png", "bark.v2/0001.png"]


def test_tiles_are_rounded_up_aloud(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = ["--engine", "torch"]
    assert main(["sample", "bark", "--size", "30x32", "--tileable", *torch]) == 0
    output = capsys.readouterr()
    assert output.err == "texturenets: 30x32 cannot tile, 32x32 can (multiples of 4): drawing that\n"
    assert pixels("bark-0.png").shape == (32, 32, 3)
    assert main(["sample", "bark", "--size", "30x32", "--tileable", "--tile-axis", "y", *torch]) == 0
    assert capsys.readouterr().err == ""
    assert pixels("bark-0.png").shape == (32, 30, 3)


def test_held_scales_and_levels(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--size", "24", "--count", "2"]
    sample(capsys, "bark", *common, "-o", "free")
    sample(capsys, "bark", *common, "-o", "held", "--hold", "4,2,1")
    sample(capsys, "bark", *common, "-o", "coarse", "--hold", "4")
    assert np.array_equal(pixels("held/0000.png"), pixels("held/0001.png"))
    assert np.array_equal(pixels("coarse/0000.png"), pixels("free/0000.png"))
    assert not np.array_equal(pixels("coarse/0001.png"), pixels("free/0001.png"))
    sample(capsys, "bark", "--size", "24", "--noise-level", "0", "-o", "flat")
    assert np.ptp(pixels("flat.png"), axis=(0, 1)).max() == 0
    sample(capsys, "bark", "--size", "24", "--noise-level", "4=0,2=0,1=0", "-o", "flat2")
    assert np.array_equal(pixels("flat.png"), pixels("flat2.png"))


def test_a_sheet_has_a_row_for_each_scale(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample(capsys, "bark", "--sheet", "--size", "40", "--count", "3") == ["bark-sheet.png"]
    every = pixels("bark-sheet.png").shape
    assert sample(capsys, "bark", "--sheet", "--size", "40", "--hold", "4", "-o", "held.jpg") == ["held.jpg"]
    one = pixels("held.jpg").shape
    assert every[0] > 3 * one[0] / 1.5 > one[0]
    assert one[1] > every[1]  # 4 in a row, unless told otherwise


def test_a_sheet_goes_into_a_folder_that_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bark", "--sheet", "--size", "40", "--count", "2"]
    assert sample(capsys, *words, "-o", "new/") == ["new/bark-sheet.png"]
    assert sample(capsys, *words, "-o", "new") == ["new/bark-sheet.png"]
    assert sample(capsys, *words, "-o", ".") == ["bark-sheet.png"]


def test_counts_without_end_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "bark", "--count", "100000000000"]) == 2
    assert "--count 100000000000 is above 1000000" in capsys.readouterr().err


def test_frames_go_from_one_seed_to_another(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = sample(capsys, "bark", "--to-seed", "9", "--frames", "3", "--size", "24", "-o", "video")
    assert frames == [f"video/000{i}.png" for i in range(3)]
    for seed, frame in ((0, "video/0000.png"), (9, "video/0002.png")):
        sample(capsys, "bark", "--seed", str(seed), "--size", "24", "-o", "end")
        assert np.array_equal(pixels("end.png"), pixels(frame))


def test_engines(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = sample(capsys, "bark", "--size", "40x24", "-o", "torch")
    for engine in ("openvino", "onnx"):
        words = ["sample", "bark", "--size", "40x24", "--engine", engine, "--precision", "float32"]
        for name in ("once", "again"):
            assert main([*words, "-o", name]) == 0
        assert Path("once.png").read_bytes() == Path("again.png").read_bytes()
        difference = pixels("once.png").astype(int) - pixels(reference[0])
        assert abs(difference).max() <= 1
        assert main([*words, "--count", "3", "-o", "some"]) == 0
        assert Path("once.png").read_bytes() == Path("some/0000.png").read_bytes()
    capsys.readouterr()
    for quiet, said in (([], "engine: "), (["--quiet"], "")):
        assert main(["sample", "bark", "--size", "8", *quiet]) == 0
        assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["bark", "--size", "-5"], "--size"),
        (["bark", "--size=-5x20"], "--size -5x20 is not a size"),
        (["bark", "--size", "0"], "--size 0"),
        (["bark", "--size", "1x2x3"], "640x480"),
        (["bark", "--count", "0"], "--count 0"),
        (["bark", "--batch-size", "0"], "--batch-size 0"),
        (["bark", "--batch-size", "2", "--sheet"], "--batch-size"),
        (["bark", "--count", "2", "--hold", "3"], "scales 4, 2, 1"),
        (["bark", "--count", "2", "--hold", "coarse"], "32,16"),
        (["bark", "--noise-level", "much"], "32=0.5,1=0"),
        (["bark", "--noise-level", "4=-1"], "below 0"),
        (["bark", "--to-seed", "3", "--count", "2"], "--count"),
        (["bark", "--to-seed", "3", "--frames", "1"], "--frames 1"),
        (["bark", "--seed", "3", "--to-seed", "3"], "--to-seed 3 is the seed that the frames come from"),
        (["bark", "--seed", "9" * 30], f"--seed {'9' * 30} is too large: at most 9007199254740992"),
        (["bark", "--seed", "-" + "9" * 30], f"--seed -{'9' * 30} is too small: at least -9007199254740992"),
        (["bark", "--quality", "0"], "--quality 0"),
        (["bark", "bark"], "a second texture goes where a mask says: give --mask"),
        (["bark", "--mask", "left-to-right"], "--mask left-to-right is for several textures"),
        (
            ["bark", "bark", "bark", "--mask", "left-to-right"],
            "1 mask for 3 textures: give --mask 2 or 3 times",
        ),
        (["bark", "--scale", "2,1"], "--scale 2,1: 2 numbers for 1 texture: give one for each"),
        (["bark", "--scale", "big"], "--scale big: give a number, or one for each texture, as 1,0.5"),
        (["bark", "--scale", "40"], "--scale 40 is not between 1/16 and 16"),
        (["bark", "--transition", "8"], "--transition 8 has an effect only with --mask"),
        (["bark", "bark", "--mask", "left-to-right", "--sheet"], "leave out --sheet and --to-seed"),
        (["bark", "bark", "--mask", "none.png"], "no such mask: none.png"),
        (["bark", "wave", "--mask", "left-to-right"], "texturenets stylize PHOTO -s wave"),
        (["bark", "-o", "x.gif"], "gif"),
        (["bark", "--size", "8", "--engine", "onnx", "--precision", "bf16"], "--precision bf16"),
        (["bark", "--engine", "openvino", "--device", "cuda"], "leave out --device cuda"),
        (["wave"], "texturenets stylize PHOTO -s wave"),
        (["brak"], "did you mean 'bark'"),
        (["no.safetensors"], "no such model file"),
        (["vector", "--size", "17"], "16 x 16 pixels and no more"),
        (["vector", "--size", "16", "--tileable"], "cannot tile"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(["sample", *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert files(here) == []


def test_two_textures_and_a_mask(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save("mask.png")
    (made,) = sample(capsys, "bark", "bark", "--mask", "mask.png", "--transition", "0", "--seed", "2")
    assert made == "bark+bark-2.png"
    assert pixels(made).shape == (48, 64, 3)  # the mask's size
    sample(capsys, "bark", "--size", "64x48", "--seed", "2", "-o", "alone.png")
    np.testing.assert_array_equal(pixels(made), pixels("alone.png"))
    lines = sample(
        capsys, "bark", "bark", "--mask", "left-to-right", "--size", "40", "--count", "2", "--json"
    )
    assert [json.loads(line)["texture"] for line in lines] == ["bark+bark"] * 2


def test_one_texture_at_two_scales(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--mask", "left-to-right", "--transition", "0", "--size", "64x48"]
    (made,) = sample(capsys, "bark", "bark", *words, "--scale", "1,0.5", "-o", "made.png")
    for name, scale, column in (("large.png", "1", 0), ("small.png", "0.5", -1)):
        sample(capsys, "bark", "--scale", scale, "--size", "64x48", "-o", name)
        np.testing.assert_array_equal(pixels(made)[:, column], pixels(name)[:, column])
    sample(capsys, "bark", "--scale", "0.5", "--size", "50", "--tileable", "-o", "tile.png")
    assert pixels("tile.png").shape == (50, 50, 3)


def test_the_mask_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (24, 16), 255).save("mask.png")
    before = Path("mask.png").read_bytes()
    assert main(["sample", "bark", "bark", "--mask", "mask.png", "-o", "mask.png"]) == 2
    assert "--output mask.png would overwrite mask.png" in capsys.readouterr().err
    assert Path("mask.png").read_bytes() == before


def test_a_picture_is_no_texture_yet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save("bark.png")
    assert main(["sample", "bark.png"]) == 2
    error = capsys.readouterr().err
    assert "texturenets train texture bark.png" in error
    assert error.count("\n") == 1


def test_a_texture_stylizes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (8, 8)).save("photo.png")
    assert main(["stylize", "photo.png", "-s", "bark"]) == 2
    error = capsys.readouterr().err
    assert "texturenets sample bark" in error
    assert error.count("\n") == 1
    assert files(here) == ["photo.png"]


@pytest.mark.parametrize("name", ["walk.gif", "walk.mp4"])
def test_frames_become_a_video(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    from texturenets import video

    if name == "walk.mp4":
        pytest.importorskip("av")
    words = ["bark", "--seed", "3", "--to-seed", "9", "--frames", "5", "--size", "32"]
    assert sample(capsys, *words, "-o", name) == [name]
    assert files(here) == [name]
    assert video.is_video(Path(name))
    if name == "walk.gif":
        with Image.open(name) as video:
            assert video.n_frames == 5
            assert 40 <= video.info["duration"] <= 50
        last = pixels(sample(capsys, "bark", "--seed", "9", "--size", "32")[0])
        with Image.open(name) as video:
            video.seek(4)
            shown = np.asarray(video.convert("RGB")).astype(int)
        assert np.abs(shown - last).mean() < 8  # 256 colours


def test_a_video_of_one_sample_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x.gif", "x.mp4", "x.apng"):
        assert main(["sample", "bark", "-o", name]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert f"--output {name} is a video" in told
        assert "--to-seed" in told
    assert main(["sample", "bark", "--to-seed", "2", "-o", "x.avi"]) == 2
    assert "known: .mp4" in capsys.readouterr().err
    assert files(here) == []


def test_frames_of_a_longer_run_before_are_told_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample(capsys, "bark", "--size", "32", "--count", "4", "-o", "out")
    assert main(["sample", "bark", "--size", "32", "--count", "2", "-o", "out"]) == 0
    told = "texturenets: out/0002.png is from an earlier run: it and the files after it are not part of this one\n"
    assert told in capsys.readouterr().err
    assert main(["sample", "bark", "--size", "32", "--to-seed", "9", "--frames", "4", "-o", "out"]) == 0
    assert "earlier run" not in capsys.readouterr().err
    sample(capsys, "bark", "--size", "32", "--count", "3", "-o", "x.png")
    assert main(["sample", "bark", "--size", "32", "--count", "2", "-o", "x.png"]) == 0
    assert "x-0002.png is from an earlier run" in capsys.readouterr().err


def test_a_quality_that_changes_nothing_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "bark", "--size", "32", "--quality", "60", "--quiet"]) == 0
    assert capsys.readouterr().err == (
        "texturenets: note: --quality 60 changes nothing in files that end in .png\n"
    )
