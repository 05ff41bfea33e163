"""Words that a command cannot take: one line says what is wrong with them and what belongs in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import galleries
import pytest
import tiny
from PIL import Image

import texturenets
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import styles_of
from texturenets.networks.residual import Residual
from texturenets.train import configuration

TINY = Residual(channels=8, blocks=1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo and a painting, and two shipped styles, `udnie` and `wave`."""
    work = tiny.working_folder(tmp_path, monkeypatch, {"wave": TINY, "udnie": TINY})
    tiny.picture(work / "photo.jpg", seed=1)
    tiny.picture(work / "painting.jpg", seed=2)
    return work


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("optimize", ["--style is missing: the painting or texture"]),
        ("optimize --style", ["--style needs a value: the painting or texture"]),
        ("train style", ["IMAGES is missing: the painting"]),
        ("evaluate wave photo.jpg", ["photo.jpg: unexpected argument", "say --photo photo.jpg"]),
        ("optimize photo.jpg -s painting.jpg b.jpg", ["b.jpg: unexpected argument", "say --style b.jpg"]),
        ("models wave", ["wave: unexpected argument: say `texturenets models show wave`"]),
        (
            "stylize photo.jpg -o .png",
            ["--output .png is a suffix without a name: give a file, for example -o result.png, or a folder"],
        ),
        ("optimize -s painting.jpg -o sub/.PNG", ["--output sub/.PNG is a suffix without a name"]),
        (
            "stylize photo.jpg -o -bla.png",
            ["-o needs a value, and -bla.png begins with a dash", "say ./-bla.png"],
        ),
        ("models list", ["no list of models is named", "--from", "`texturenets models` says what is here"]),
        ("models get", ["models get: name what is to be fetched"]),
        (
            "models show -",
            ["-: standard input and output are for stylize, optimize, sample, tile, inpaint: name a file"],
        ),
        ("export wave --to onnx -o wave.safetensors", ["give a file that ends in .onnx, or a folder"]),
        ("export wave --to onnx -o w.txt", ["--output w.txt: give a file that ends in .onnx", "-o w/"]),
        ("models shw wave", ["shw: unexpected argument: say `texturenets models show wave`"]),
        ("stylize photo.jpg --preserve-colour", ["Did you mean --preserve-color? See `"]),
        ("stylize photo.jpg --colours", ["Unknown option: --colours. Did you mean --preserve-color? See `"]),
        ("stylize photo.jpg --color", ["Did you mean --preserve-color? See `"]),
        ("stylize photo.jpg --out=a.png", ["Unknown option: --out. Did you mean --output? See `"]),
        ("stylize photo.jpg --styels wave", ["Did you mean --style? See `"]),
        ("stylize photo.jpg --banana", ["Unknown option: --banana. See `"]),
        ("train style a.png --photos b", ["Unknown option: --photos. Did you mean --content? See `"]),
        ("train gallery a.png --lr 1", ["Unknown option: --lr. Did you mean --learning-rate? See `"]),
        (
            "train texture a.png --content-weight 3",
            ["learned only from its image: leave out --content-weight"],
        ),
        (
            "train texture a.png --content photos",
            ["a texture is learned only from its image: leave out --content"],
        ),
        ("train texture a.png --into gallery", ["`texturenets train style` takes it"]),
        ("train gallery a.png --content photos --into gallery", ["`texturenets train style` takes it"]),
        ("stylize photo.jpg --content photos", ["Unknown option: --content"]),
        ("stylize s3://bucket/photo.jpg", ["--cluster", "download"]),
        ("demo photo.jpg", ["photo.jpg: unexpected argument", "say --photo photo.jpg"]),
        ("sample", ["TEXTURE is missing: shipped texture or material, model file, or hf:"]),
        ("cache", ["--content is missing: folder of photos"]),
        ("tile", ["IMAGE is missing: image to make tileable"]),
        ("inpaint --mask photo.jpg", ["IMAGE is missing: image with something to remove"]),
        (
            "stylize photo.jpg -o out.gif",
            [
                "cannot write out.gif: a GIF is written of animations and videos only; of one image make a .png"
            ],
        ),
        (
            "models show photo.jpg",
            ["`texturenets train style photo.jpg --content FOLDER-OF-PHOTOS` makes a model of it"],
        ),
        (
            "optimize -s painting.jpg --preserve-color",
            ["--preserve-color needs a value", "luminance or match"],
        ),
        (
            "optimize -s painting.jpg --preserve-color yes",
            [
                "--preserve-color yes: choose luminance or match",
                "match recolours the style",
            ],
        ),
        ("stylize photo.jpg --engine opnvino", ["unknown engine 'opnvino'; did you mean 'openvino'?"]),
        (
            "stylize photo.jpg --strength 50%",
            ["--strength 50% is not a number, for example 0.5", "strength of the style, 0 to 1"],
        ),
        (
            "stylize photo.jpg --size 400x300",
            ["--size 400x300 is not a whole number", "longer side", "pixels"],
        ),
        ("stylize photo.jpg --size 400.5", ["--size 400.5 is not a whole number"]),
        ("train texture painting.jpg --steps 2.5", ["--steps 2.5 is not a whole number"]),
        (
            "train painting.jpg",
            [
                "`texturenets train style painting.jpg --content FOLDER-OF-PHOTOS`",
                "`texturenets train texture painting.jpg`",
            ],
        ),
        ("photo.jpg", ["`texturenets stylize photo.jpg`"]),
        ("train stile painting.jpg", ["stile", "style, gallery, texture"]),
        ("stylize -s wave udnie", ["udnie is a style", "-s wave -s udnie"]),
        ("stylize photo.jpg -s wave udnie", ["udnie is a style", "-s wave -s udnie"]),
        ("stylize udnie photo.jpg", ["udnie is a style", "-s udnie"]),
        ("optimize -s wave", ["wave is a trained style", "`texturenets stylize PHOTO -s wave`", "image"]),
        ("optimize -s wave photo.jpg", ["`texturenets stylize photo.jpg -s wave`"]),
        ("optimize -s udnie.safetensors", ["no such file"]),
        ("train style wave --content .", ["wave is a trained style", "image"]),
        (
            "stylise photo.jpg",
            ["stylise is not a command: did you mean stylize?", "export, push, serve, demo"],
        ),
        ("stylize photo.jpg -s", ["-s needs a value", "all means every shipped style"]),
        ("sample pebble --frames 4", ["give it with --to-seed"]),
        ("sample pebble --tile-axis x", ["only with --tileable"]),
        ("sample pebble --hold 32", ["give their number with --count"]),
    ],
)
def test_one_line_says_what_belongs_there(here: Path, line: str, told: list[str]) -> None:
    status, out, error = tiny.call(*line.split())
    assert status == 2
    assert out == ""
    assert error.startswith("texturenets: ")
    assert error.count("\n") == 1, error
    for part in told:
        assert part in error


def test_options_may_stand_between_photos(here: Path) -> None:
    status, out, _ = tiny.call(
        "stylize", "photo.jpg", "-s", "wave", "painting.jpg", "--engine", "torch", "-o", "out"
    )
    assert (status, out.split()) == (0, ["out/photo-wave.jpg", "out/painting-wave.jpg"])


@pytest.mark.parametrize("command", ["stylize", "sample", "optimize", "export", "demo", "convert", "cache"])
def test_the_help_says_that_existing_files_are_replaced(command: str) -> None:
    assert " replaced" in tiny.call(command, "--help")[1].replace("│", " ")


def test_a_model_file_in_place_of_a_painting(here: Path) -> None:
    (here / "mine.safetensors").write_bytes((modelfile.ZOO / "wave.safetensors").read_bytes())
    _, _, error = tiny.call("optimize", "-s", "mine.safetensors")
    assert "mine.safetensors is a trained style" in error


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "stylize model.png -s wave",
            "model.png is a model file, not a photo: to stylize with it use -s wave -s model.png",
        ),
        ("stylize folder", "folder/model.png is a .safetensors file, as models are, not an image"),
        ("demo --photo model.png", "model.png is a .safetensors file, as models are, not an image"),
        ("optimize photo.jpg -s model.png", "`texturenets stylize photo.jpg -s model.png`"),
        ("train style model.png --content .", "model.png is a trained style"),
        ("stylize photo.jpg -s picture.safetensors", "--style picture.safetensors is an image"),
        ("sample picture.safetensors", "picture.safetensors is an image"),
    ],
)
def test_models_and_pictures_under_the_names_of_each_other(here: Path, line: str, told: str) -> None:
    model = (modelfile.ZOO / "wave.safetensors").read_bytes()
    (here / "model.png").write_bytes(model)
    (here / "folder").mkdir()
    (here / "folder" / "model.png").write_bytes(model)
    (here / "picture.safetensors").write_bytes((here / "photo.jpg").read_bytes())
    status, out, error = tiny.call(*line.split())
    assert (status, out) == (2, "")
    assert told in error
    assert tiny.call("stylize", "photo.jpg", "-s", "model.png", "-o", "out.png")[0] == 0  # by what is in it
    painted = [
        "optimize",
        "-s",
        "picture.safetensors",
        "--descriptor",
        "random",
        "--steps",
        "1",
        "--size",
        "32",
    ]
    assert tiny.call(*painted, "-o", "drawn.png")[0] == 0


@pytest.mark.parametrize("line", ["sample wave", "models show wave"])
def test_which_of_two_of_one_name_is_taken(here: Path, line: str) -> None:
    model = modelfile.ZOO / "wave.safetensors"
    (here / "wave.safetensors").write_bytes(model.read_bytes())
    _, _, error = tiny.call(*line.split())
    assert "note: wave is the shipped " in error
    assert "wave.safetensors" in error


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.safetensors", b"", "it is empty"),
        ("a.safetensors", b"hello", "not a safetensors file"),
        ("a.safetensors", b"PK\x03\x04" + bytes(99), "`texturenets convert a.safetensors`"),
        ("a.safetensors", b"<!DOCTYPE html><html>", "web page"),
        ("notes.txt", b"hello, this is a text of mine", "not a safetensors file"),
    ],
)
def test_what_a_file_is_that_is_no_model(here: Path, name: str, data: bytes, told: str) -> None:
    (here / name).write_bytes(data)
    _, _, error = tiny.call("stylize", "photo.jpg", "-s", name)
    assert f"{name} is not a texturenets model" in error
    assert told in error
    assert "header too small" not in error
    assert error.count("\n") == 1


def test_a_picture_called_like_a_model(here: Path) -> None:
    Image.new("RGB", (9, 9)).save(here / "a.safetensors", "PNG")
    _, _, error = tiny.call("models", "show", "a.safetensors")
    assert "a.safetensors is not a texturenets model: it is an image" in error


WITHIN = "within a model of several, which `texturenets train gallery` learns (none is shipped)"
ONE_STYLE = "one style with --mask, --keep or --strength"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "-s wave,udnie --mask photo.jpg",
            ["styles go into one image only", WITHIN, "then use -s MODEL:wave,udnie", "-s wave -s udnie"],
        ),
        (
            "-s wave -s udnie --mask photo.jpg -o k/",
            ["a mask is for one result", "wave, udnie", WITHIN, "then use -s MODEL:STYLE,STYLE", ONE_STYLE],
        ),
        ("-s wave -s udnie --keep photo.jpg", [WITHIN, ONE_STYLE]),
        (
            "-s gallery:wave,udnie",
            ["unknown style 'gallery'; known: udnie, wave; MODEL:STYLE is for", WITHIN[9:]],
        ),
        (
            "-s photo,wave --mask photo.jpg",
            ["photo is the unchanged photo", ONE_STYLE, "for example -s wave --mask FILE"],
        ),
        ("-s wave,photo", ["photo is the unchanged photo", "for example -s wave --mask FILE"]),
        ("-s photo -s wave --mask photo.jpg", ["photo is the unchanged photo", ONE_STYLE]),
        ("-s photo", ["photo is the unchanged photo", ONE_STYLE, "MODEL:STYLE,photo"]),
    ],
)
def test_styles_are_combined_within_one_model(here: Path, line: str, told: list[str]) -> None:
    error = tiny.refused("stylize", "photo.jpg", *line.split())
    for part in told:
        assert part in error
    assert "gallery:" not in error
    assert not list(here.glob("photo-*"))


def test_styles_of_a_shipped_gallery_are_mixed_by_their_names(here: Path) -> None:
    galleries.gallery(modelfile.ZOO)[1].rename(modelfile.ZOO / "gallery.safetensors")
    words = ["stylize", "photo.jpg", "--mask", "left-to-right", "--engine", "torch", "--quiet"]
    assert tiny.call(*words, "-s", "wave,udnie", "-o", "made.png")[0] == 0
    assert tiny.call(*words, "-s", "gallery:wave,udnie", "-o", "same.png")[0] == 0
    assert Path("made.png").read_bytes() == Path("same.png").read_bytes()
    told = tiny.refused(*words, "-s", "wave", "-s", "udnie", "-o", "k/")
    assert "as the shipped gallery, or one that `texturenets train gallery` learns" in told
    assert "none is shipped" not in told
    for words in ("wave=0.6,udnei=0.4", "wave,udnei"):
        told = tiny.refused("stylize", "photo.jpg", "-s", words)
        assert "unknown style of gallery 'udnei'; did you mean 'udnie'?" in told


def test_two_styles_of_one_model_are_given_in_one(here: Path) -> None:
    galleries.gallery(here)
    words = (
        "stylize",
        "photo.jpg",
        "-s",
        "tiny.safetensors:wave",
        "-s",
        "tiny.safetensors:udnie",
        "--mask",
        "photo.jpg",
    )
    assert "give the styles in one, for example -s tiny.safetensors:wave,udnie" in tiny.refused(*words)


def test_a_colon_wants_a_style(here: Path) -> None:
    galleries.gallery(here)
    told = tiny.refused("stylize", "photo.jpg", "-s", "tiny.safetensors:")
    assert told == "texturenets: tiny.safetensors:: name a style after the colon, of wave, udnie\n"


def test_a_gallery_that_is_here_is_named_as_a_file(here: Path) -> None:
    galleries.gallery(here)
    error = tiny.refused("stylize", "photo.jpg", "-s", "tiny:wave,udnie")
    assert error == "texturenets: no shipped model is called tiny; for the file here say tiny.safetensors\n"


def test_the_shipped_gallery_has_the_shipped_styles() -> None:  # which the help of `stylize` says
    header = modelfile.read_header(modelfile.ZOO / "gallery.safetensors")
    alone = {
        path.stem
        for path in modelfile.ZOO.glob("*.safetensors")
        if modelfile.read_header(path).kind == "style"
    }
    assert alone - {"gallery"} <= set(styles_of(header.rows))


@pytest.mark.parametrize("command", ["stylize", "export"])
def test_the_help_says_how_one_style_of_several_is_named(command: str) -> None:
    assert "MODEL:STYLE" in tiny.call(command, "--help")[1]


def test_a_mask_is_named_by_its_file(here: Path) -> None:
    tiny.picture(here / "small.png", seed=3, size=(50, 15))
    for flag in ("--mask", "--keep"):
        told = "photo.jpg: the mask small.png has 50 x 15 pixels, of another shape than the photo's 90 x 72: crop"
        assert told in tiny.refused(
            "stylize", "photo.jpg", "-s", "wave", flag, "small.png", "--engine", "torch", "--quiet"
        )


def test_each_photo_that_a_mask_does_not_fit_is_named(here: Path) -> None:
    Image.new("L", (60, 30), 255).save("small.png")
    tiny.picture(here / "wide.png", seed=4, size=(60, 30))
    words = ("photo.jpg", "painting.jpg", "wide.png", "-s", "wave", "--mask", "small.png", "-o", "out/")
    status, out, error = tiny.call("stylize", *words, "--engine", "torch", "--quiet")
    assert (status, out) == (2, "out/wide-wave.png\n")
    for name in ("photo.jpg", "painting.jpg"):
        assert error.count(f"texturenets: {name}: the mask small.png has 60 x 30 pixels") == 1
    assert "wide.png" not in error


def test_a_video_that_a_mask_does_not_fit_is_named(here: Path) -> None:
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    frames[0].save("a.webp", save_all=True, append_images=frames[1:])
    Image.new("L", (60, 30), 255).save("small.png")
    error = tiny.refused(
        "stylize", "a.webp", "-s", "wave", "--mask", "small.png", "--engine", "torch", "--quiet"
    )
    assert "a.webp: the mask small.png has 60 x 30 pixels" in error


@pytest.mark.filterwarnings("default")
def test_a_mask_that_is_scaled_is_named_by_its_file(here: Path) -> None:
    Image.new("L", (45, 36), 255).save("small.png")
    words = ("stylize", "photo.jpg", "-s", "wave", "--keep", "small.png", "--engine", "torch", "--quiet")
    error = tiny.call(*words)[2]
    assert error == "texturenets: note: the mask small.png, 45 x 36, is scaled to the photo's 90 x 72\n"


def test_from_python_a_mask_is_named_by_its_file_or_its_style(here: Path) -> None:
    style: Any = texturenets.load("wave", "cpu", engine="torch")
    mask = Image.open(tiny.picture(here / "small.png", seed=3, size=(50, 15)))
    with pytest.raises(UserError, match=r"^the mask of wave has 50 x 15 pixels"):
        style("photo.jpg", masks={"wave": mask})
    for path in ("small.png", Path("small.png")):
        with pytest.raises(UserError, match=r"^the mask small.png has 50 x 15 pixels"):
            style("photo.jpg", masks={"wave": path})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "stylize -lead.jpg -s wave",
            "-lead.jpg begins with a dash, as options do: for the file of that name say ./-lead.jpg.",
        ),
        ("tile -lead.jpg", "for the file of that name say ./-lead.jpg"),
        (
            "stylize -strange.jpg",
            "--style trange.jpg: no such file; for the photo -strange.jpg say ./-strange.jpg",
        ),
        ("stylize photo.jpg -s range.jpg", "--style range.jpg: no such file\n"),
        ("stylize -gone.jpg -s wave", "Unknown option: -gone.jpg"),
        (
            "stylize -- -lead.jpg -s wave",
            "-s: after -- every word is a photo, and none is called so: options go before --",
        ),
        ("stylize -s wave -- -gone.jpg", "-gone.jpg: after -- every word is a photo"),
        (
            "tile -- photo.jpg -o x.png",
            "-o stands after --, where no word is an option: options go before --",
        ),
    ],
)
def test_files_that_begin_with_a_dash(here: Path, line: str, told: str) -> None:
    tiny.picture(here / "-lead.jpg", seed=1)
    tiny.picture(here / "-strange.jpg", seed=1)
    assert told in tiny.refused(*line.split())
    for words in (["./-lead.jpg"], ["--", "-lead.jpg"], ["--", "-l*.jpg"]):
        status, out, _ = tiny.call("stylize", "-o", "out/", "--engine", "torch", "--quiet", *words)
        assert (status, out) == (0, "out/-lead-udnie.jpg\n")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("photo.jpg", "photo"), ("clip.mp4", "video"), ("clip.MOV", "video"), ("a.gif", "animation")],
)
def test_what_would_be_overwritten_is_called_what_it_is(here: Path, name: str, kind: str) -> None:
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "blue")]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    if kind == "video":
        (here / name).write_bytes(b"frames")
    told = f"--output {name} would overwrite the {kind} itself: give another name"
    assert told in tiny.refused("stylize", name, "-o", name)


def test_a_model_whose_training_was_stopped(here: Path) -> None:
    (here / "cc.run").mkdir()
    model = here / "cc.run" / "last.safetensors"
    model.write_bytes((modelfile.ZOO / "wave.safetensors").read_bytes())
    for words in (["stylize", "photo.jpg", "-s"], ["models", "show"], ["export", "--to", "onnx"]):
        for name in ("cc.safetensors", "cc"):
            error = tiny.refused(*words, name)
            assert (
                "no such model file: cc.safetensors; of its training, cc.run/last.safetensors is the model"
                in error
            )
            assert "so far; the same command with --resume continues it" in error
            assert "did you mean" not in error
    assert tiny.call("stylize", "photo.jpg", "-s", "cc.run/last.safetensors", "--engine", "torch")[0] == 0


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("stylize", ["a name that ends in / or has no suffix", "- writes to standard output"]),
        ("tile", ["a name that ends in / or has no suffix", "- writes to standard output"]),
        ("inpaint", ["a name that ends in / or has no suffix", "- writes to standard output"]),
        ("optimize", ["a name that ends in / or has no suffix", "- writes to standard output"]),
        ("sample", ["- writes one sample to standard output"]),
    ],
)
def test_the_help_says_what_output_may_be(command: str, told: list[str]) -> None:
    text = " ".join(tiny.call(command, "--help")[1].replace("│", " ").split())
    for part in told:
        assert part in text


@pytest.mark.parametrize(
    "line",
    [
        "stylize photo.jpg",
        "tile photo.jpg",
        "sample wave",
        "train texture photo.jpg",
        "export wave --to onnx",
    ],
)
def test_an_empty_output_is_refused(here: Path, line: str) -> None:
    for flag in (["-o", ""], ["--output="], ["--output", " "]):
        error = tiny.refused(*line.split(), *flag)
        assert f"{flag[0].rstrip('=')} is empty: give it a value, or leave it out" in error


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["stylize", ""], "PHOTOS"),
        (["stylize", "photo.jpg", "--keep", ""], "--keep"),
        (["stylize", "photo.jpg", "--spool", ""], "--spool"),
        (["train", "style", "photo.jpg", "--content", ""], "--content"),
        (["tile", ""], "IMAGE"),
    ],
)
def test_an_empty_name_is_not_the_current_folder(here: Path, words: list[str], name: str) -> None:
    before = sorted(here.iterdir())
    assert f"{name} is empty: give it a value" in tiny.refused(*words)
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("command", ["style", "gallery"])
def test_a_folder_of_paintings_has_a_way_out(here: Path, command: str) -> None:
    tiny.picture(here / "paintings" / "a.PNG", seed=1)
    tiny.picture(here / "paintings" / "b.PNG", seed=1)
    tiny.picture(here / "paintings" / "c.jpg", seed=1)
    (here / "empty").mkdir()
    for folder, suffix in (("paintings/", ".PNG"), ("empty", ".jpg")):
        files = Path(folder) / f"*{suffix}"
        error = tiny.refused("train", command, folder, "--content", ".")
        assert (
            f"{Path(folder)} is a folder, not an image: name the images in it, for example {files}" in error
        )


def test_a_folder_that_holds_a_run_already(tmp_path: Path) -> None:
    studio = tiny.Studio(tmp_path)
    made = studio.texture(output=tmp_path / "painting.safetensors")
    assert made.status == 0, made.error
    held = f"texturenets: {made.folder} holds a run"
    assert studio.texture(output=made.model).error == (
        f"{held} already: go on with --resume, give another --output, or remove the folder\n"
    )
    for more in ((), ("--resume",)):
        other = studio.run(*more, output=made.model)
        assert other.status == 2
        assert other.error == f"{held} of `train texture`, and this is `train style`: give another --output\n"
    (made.folder / "checkpoint.safetensors").write_bytes(b"damaged")
    assert "holds a run already: go on with --resume" in studio.run(output=made.model).error


def test_the_kind_of_a_run_is_told_by_its_options() -> None:
    for name, config in configuration.KINDS.items():
        assert configuration.kind_of(configuration.to_dict(config())) == name
    assert configuration.kind_of({}) is None
