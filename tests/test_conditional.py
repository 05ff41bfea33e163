"""Networks of several styles: rows of scales and shifts, mixtures of them, and the style map."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tiny
import torch
from galleries import ROWS, TINY, gallery
from PIL import Image

from texturenets import engines, loading
from texturenets.cli import main
from texturenets.engines.options import EngineOptions
from texturenets.errors import DamagedError, UserError
from texturenets.modelfiles import conditions, modelfile
from texturenets.modelfiles.conditions import Condition, Mixture
from texturenets.modelfiles.variant import Variant
from texturenets.networks import make_spec, network_files
from texturenets.networks.conditional import ConditionalNetwork
from texturenets.networks.residual import Residual
from texturenets.stylize import large
from texturenets.stylize.options import StylizeOptions
from texturenets.stylize.style import Style
from texturenets.tiled.tiled_style import TiledStyle


def drawn(
    network: ConditionalNetwork, x: np.ndarray, maps: list[np.ndarray], shares: list[float]
) -> np.ndarray:
    """What the network draws with a mixture of its rows, put in place of the first."""
    mixed = copy.deepcopy(network)
    with torch.no_grad():
        for name in mixed.rows:
            table = mixed.network.get_parameter(name)
            table[0] = torch.tensor(shares) @ table
        y: np.ndarray = mixed(torch.from_numpy(x), [torch.from_numpy(m) for m in maps]).numpy()
    return y


def inputs() -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(0)
    return random.random((1, 3, 32, 48), np.float32), [random.standard_normal((1, 2, 8, 12), np.float32)]


@pytest.mark.parametrize("engine", ["torch", "onnx", "openvino"])
def test_a_mixture_is_what_the_network_draws_with_these_shares(tmp_path: Path, engine: str) -> None:
    network, path = gallery(tmp_path)
    x, maps = inputs()
    for shares in ([0.0, 0.0, 1.0], [0.5, 0.25, 0.25]):
        ready = engines.load(
            path, EngineOptions(engine, "cpu", "float32"), variant=Variant(Mixture((tuple(shares),)))
        )
        assert np.allclose(ready(x, maps), drawn(network, x, maps, shares), atol=1e-4)
    first = engines.load(path, EngineOptions(engine, "cpu", "float32"))
    assert np.allclose(first(x, maps), drawn(network, x, maps, [1.0, 0.0, 0.0]), atol=1e-4)


@pytest.mark.parametrize("engine", ["torch", "onnx", "openvino"])
@pytest.mark.parametrize("stride", [0, 1])
def test_a_style_map_of_one_mixture_everywhere_is_that_mixture(
    tmp_path: Path, engine: str, stride: int
) -> None:
    network, path = gallery(tmp_path)
    x, maps = inputs()
    mixture = Mixture(((1.0, 0.0, 0.0), (0.0, 0.5, 0.5)), stride)
    ready = engines.load(path, EngineOptions(engine, "cpu", "float32"), variant=Variant(mixture))
    size = (32, 48) if stride else (1, 1)
    for second in (0.0, 0.3, 1.0):
        styles = np.stack([np.full(size, 1 - second), np.full(size, second)])[None].astype(np.float32)
        shares = [1 - second, 0.5 * second, 0.5 * second]
        y = ready(x, maps, {"styles": styles})
        assert np.allclose(y, drawn(network, x, maps, shares), atol=1e-4)


def test_by_region_each_side_has_its_style(tmp_path: Path) -> None:
    """Of styles that differ in the last normalization alone, whose statistics are so the same in both images."""
    network, path = gallery(tmp_path)
    with torch.no_grad():
        for name in network.rows:
            if not name.startswith("up2."):
                table = network.network.get_parameter(name)
                table[1:] = table[0]
    network_files.save(network, modelfile.read_header(path), path, "float32")
    x, maps = inputs()
    variant = Variant(Mixture(((1, 0, 0), (0, 0, 1)), 1))
    ready = engines.load(path, EngineOptions("torch", "cpu"), variant=variant)
    styles = np.zeros((1, 2, 32, 48), np.float32)
    styles[:, 0, :, :24], styles[:, 1, :, 24:] = 1, 1
    both = ready(x, maps, {"styles": styles})
    wave, udnie = (drawn(network, x, maps, shares) for shares in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]))
    assert not np.allclose(wave, udnie, atol=0.05)
    assert np.allclose(
        both[..., :23], wave[..., :23], atol=1e-4
    )  # the last convolution reaches one pixel further
    assert np.allclose(both[..., 25:], udnie[..., 25:], atol=1e-4)


def test_a_saved_network_can_be_trained_on(tmp_path: Path) -> None:
    network, path = gallery(tmp_path)
    loaded, header = network_files.load(path)
    assert isinstance(loaded, ConditionalNetwork)
    assert header.rows == (Condition("wave"), Condition("wave", 0.5), Condition("udnie"))
    state = loaded.state_dict()
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_conditions_that_are_none_are_refused(tmp_path: Path) -> None:
    network, _ = gallery(tmp_path)
    spec = make_spec("residual", TINY)
    wrong: list[list[dict[str, Any]]] = [
        [{"strength": 1.0}] * 3,
        [{"style": "a", "stroke": 0}] * 3,
        [{"style": "a"}] * 3,
    ]
    for rows in wrong:
        header = modelfile.Header(name="tiny", kind="style", generator=spec, conditions=rows)
        with pytest.raises(UserError):
            network_files.save(network, header, tmp_path / "bad.safetensors")


def test_other_rows_than_conditions_are_damage(tmp_path: Path) -> None:
    network, _ = gallery(tmp_path)
    header = modelfile.Header(
        name="tiny", kind="style", generator=make_spec("residual", TINY), conditions=ROWS[:2]
    )
    network_files.save(network, header, tmp_path / "bad.safetensors")
    with pytest.raises(DamagedError, match="3 rows where the model has 2 conditions"):
        modelfile.read_graph(tmp_path / "bad.safetensors")


def test_shares_between_what_was_learned() -> None:
    rows = [Condition("a", s, k) for s in (1.0, 0.5) for k in (1.0, 4.0)] + [Condition("b")]
    assert conditions.shares(rows, {"a": 1}) == (1, 0, 0, 0, 0)
    assert conditions.shares(rows, {"a": 1}, 0.75) == (0.5, 0, 0.5, 0, 0)
    assert conditions.shares(rows, {"a": 1}, 0.1, 2) == pytest.approx((0, 0, 0.5, 0.5, 0))
    assert conditions.shares(rows, {"a": 0.5, "b": 0.5}, 1, 9) == (0, 0.5, 0, 0, 0.5)
    with pytest.raises(UserError, match="unknown style of this model"):
        conditions.shares(rows, {"c": 1})


def test_weights_are_normalized_or_refused() -> None:
    assert conditions.checked_mix({"a": 3, "b": 1, "c": 0}) == {"a": 0.75, "b": 0.25}
    for bad in ({"a": -1.0}, {"a": float("nan")}, {"a": 0}, {}, {"a": True}):
        with pytest.raises(UserError):
            conditions.checked_mix(bad)


def style_of(path: Path, **options: Any) -> Style:
    made = loading.load_style(path, EngineOptions("torch", "cpu", "float32", **options))
    assert isinstance(made, Style)
    return made


def photo(height: int = 64, width: int = 80) -> np.ndarray:
    return np.random.default_rng(1).random((height, width, 3), np.float32)


def test_a_style_of_a_gallery_is_named_behind_a_colon(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    wave, udnie = loading.load(f"{path}:wave"), loading.load(f"{path}:udnie")
    assert (wave.name, udnie.name) == ("wave", "udnie")
    both = loading.load(f"{path}:wave=3,udnie=1")
    assert both.mix == {"wave": 0.75, "udnie": 0.25}
    x = photo()
    assert np.allclose(both(x), style_of(path)(x, mix={"wave": 3, "udnie": 1}), atol=0.03)
    assert not np.allclose(wave(x), udnie(x), atol=0.1)
    with pytest.raises(UserError, match="several styles: say which, of wave, udnie"):
        loading.load(path)(x)
    with pytest.raises(UserError, match="did you mean 'udnie'"):
        loading.load(f"{path}:udni")
    with pytest.raises(UserError, match="sum to 0"):
        loading.load(f"{path}:udnie=0")


def test_strength_goes_by_what_was_learned_and_then_to_the_photo(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    style, x = style_of(path), photo()
    light = style(x, mix={"wave": 1}, strength=0.5)
    assert np.array_equal(style(x, mix={"wave": 1}, strength=0), x)
    assert np.allclose(style(x, mix={"wave": 1}, strength=0.25), (light + x) / 2, atol=1e-5)
    full = style(x, mix={"wave": 1})
    assert not np.allclose(light, (full + x) / 2, atol=0.05)


def test_a_mask_keeps_the_photo_where_it_is_black(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    style, x = style_of(path), photo()
    mask = np.zeros((64, 80), np.float32)
    mask[:, :40] = 1
    mask[:, 40] = 0.5
    full, kept = style(x, mix={"wave": 1}), style(x, mix={"wave": 1}, masks={"wave": mask})
    assert np.allclose(kept[:, :40], full[:, :40], atol=1e-5)
    assert np.array_equal(kept[:, 41:], x[:, 41:])
    assert np.allclose(kept[:, 40], (full[:, 40] + x[:, 40]) / 2, atol=1e-5)
    named = style(x, mix={"wave": 1, "photo": 1}, masks={"photo": 1 - mask})
    assert np.allclose(named, kept, atol=1e-5)


def test_masks_may_be_flags_and_have_no_channels(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    style, x = style_of(path), photo()
    white = np.zeros((64, 80), bool)
    white[:, 40:] = True
    wanted = style(x, mix={"wave": 1}, masks={"wave": white.astype(np.float32)})
    for mask in (
        white,
        torch.from_numpy(white),
        torch.from_numpy(white).float(),
        torch.from_numpy(white)[None],
    ):
        assert np.array_equal(style(x, mix={"wave": 1}, masks={"wave": mask}), wanted)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, torch.uint8, torch.int64], ids=str)
def test_masks_of_whole_numbers_0_and_1_are_refused(tmp_path: Path, kind: Any) -> None:
    _, path = gallery(tmp_path)
    style, x = style_of(path), photo()
    mask: Any = torch.ones(64, 80, dtype=kind) if isinstance(kind, torch.dtype) else np.ones((64, 80), kind)
    with pytest.raises(
        UserError, match=r"the mask of wave: its whole numbers are 0 and 1.*multiply it by 255"
    ):
        style(x, mix={"wave": 1}, masks={"wave": mask})
    if str(kind).endswith("uint8'>"):
        style(x, mix={"wave": 1}, masks={"wave": mask * 0})  # black: the photo


def test_masks_that_are_likely_not_meant_are_told_of(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    style, x = style_of(path), photo()
    red = np.zeros((64, 80, 3), np.uint8)
    red[:, :40, 0] = 255
    cut_out = np.concatenate(
        [(255 * x).astype(np.uint8), red[..., :1]], 2
    )  # the photo without its background
    mask = tmp_path / "mask.png"
    for painted in (red, cut_out):
        Image.fromarray(painted).save(mask)
        with pytest.warns(UserWarning, match="mask.png is in colour: its brightness counts"):
            style(x, mix={"wave": 1}, masks={"wave": mask})
    Image.new("L", (80, 64)).save(mask)
    with pytest.warns(UserWarning, match="mask.png is black, so there is nothing of wave: paint white where"):
        style(x, mix={"wave": 1}, masks={"wave": mask})
    with pytest.warns(UserWarning, match="mask.png is black, so nothing of the photo is kept: paint white"):
        style(x, mix={"wave": 1}, masks={"photo": mask})


def test_masks_of_two_styles(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    style, x = style_of(path), photo()
    everywhere = np.ones((64, 80), np.float32)
    assert np.allclose(
        style(x, mix={"wave": 1, "udnie": 1}, masks={"wave": everywhere}),
        style(x, mix={"wave": 1}),
        atol=1e-4,
    )
    with pytest.raises(UserError, match="of another shape than the photo's 80 x 64"):
        style(x, mix={"wave": 1, "udnie": 1}, masks={"wave": np.ones((64, 64), np.float32)})
    with pytest.warns(UserWarning, match="is scaled"):
        style(x, mix={"wave": 1, "udnie": 1}, masks={"wave": np.ones((32, 40), np.float32)})
    with pytest.raises(UserError, match="not among the styles"):
        style(x, mix={"wave": 1}, masks={"udnie": everywhere})


@pytest.mark.parametrize("stroke", [1, 2])
def test_strips_of_a_masked_image_equal_the_whole(
    tmp_path: Path, stroke: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = gallery(tmp_path)
    x = photo(256, 200)
    mask = np.linspace(0, 1, 200, dtype=np.float32)[None].repeat(256, 0)
    request: dict[str, Any] = {"mix": {"wave": 1, "udnie": 1}, "masks": {"wave": mask}, "stroke": stroke}
    whole = style_of(path)(x, **request)
    made = style_of(path, spool=tmp_path)
    monkeypatch.setattr(TiledStyle, "fits", lambda *_: False)
    told: list[str] = []
    made.tiled.announce = told.append
    assert np.allclose(made(x, **request), whole, atol=1e-3)
    assert told


def command(*words: object) -> int:
    return main(
        [str(word) for word in ("stylize", *words, "--engine", "torch", "--device", "cpu", "--quiet")]
    )


def test_the_command_line_takes_mixtures_and_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = gallery(tmp_path)
    monkeypatch.chdir(tmp_path)
    Image.fromarray((photo() * 255).astype(np.uint8)).save("a.png")
    mask = np.zeros((64, 80), np.uint8)
    mask[:, 40:] = 255
    Image.fromarray(mask).save("right.png")
    assert command("a.png", "-s", f"{path}:wave", "-s", f"{path}:wave=0.6,udnie=0.4") == 0
    whole, mixed = (np.asarray(Image.open(f"a-{name}.png")) for name in ("wave", "wave+udnie"))
    assert not np.array_equal(whole, mixed)
    before = np.asarray(Image.open("a.png"))
    assert command("a.png", "-s", f"{path}:wave", "--keep", "right.png", "-o", "kept.png") == 0
    kept = np.asarray(Image.open("kept.png"))
    assert np.array_equal(kept[:, 40:], before[:, 40:])
    assert np.abs(kept[:, :40].astype(int) - whole[:, :40]).max() <= 1
    assert command("a.png", "-s", f"{path}:wave,photo", "--mask", "right.png", "-o", "other.png") == 0
    other = np.asarray(Image.open("other.png"))
    assert np.array_equal(other[:, :40], before[:, :40])
    assert command("a.png", "-s", f"{path}:wave,photo", "--mask", "right.png", "-o", "right.png") == 2
    assert command("a.png", "-s", f"{path}:wave", "--keep", "right.png", "-o", "./right.png") == 2
    assert np.array_equal(np.asarray(Image.open("right.png")), mask)
    assert command("a.png", "-s", f"{path}:wave,photo", "--mask", "left-to-right", "-o", "fade.png") == 0
    fade = np.asarray(Image.open("fade.png")).astype(int)
    assert np.abs(fade[:, :2] - whole[:, :2]).max() <= 10
    assert np.array_equal(fade[:, -1], before[:, -1])
    assert command("a.png", "-s", f"{path}:wave,photo", "--mask", "top-to-bottom", "-o", "fall.png") == 0
    assert np.array_equal(np.asarray(Image.open("fall.png"))[-1], before[-1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["-s", "MODEL"],
            "this model holds several styles; say which, for example -s MODEL:wave: wave, udnie",
        ),
        (["-s", "MODEL:wive"], "unknown style of tiny 'wive'; did you mean 'wave'?"),
        (["-s", "MODEL:wave=x"], "the weight 'x' of wave is not a number"),
        (["-s", "MODEL:wave=-1,udnie=1"], "weight -1.0 of wave is not a number of at least 0"),
        (["-s", "MODEL:wave=3,udnie=1", "--mask", "a.png"], "with masks, styles have no weights"),
        (["-s", "MODEL:wave=.6,udnie=.6", "--mask", "a.png"], "with masks, styles have no weights"),
        (["-s", "MODEL:wave=1", "--keep", "a.png"], "with masks, styles have no weights"),
        (["-s", "MODEL:wave", "--to-style", "udnie", "--mask", "a.png"], "give one of them"),
        (["-s", "MODEL:wave", "--mask", "none.png"], "no such mask: none.png"),
        (["-s", "MODEL:wave", "--mask", "a.png", "--mask", "a.png"], "2 masks for 1 style: wave"),
        (["-s", "MODEL:wave", "-s", "MODEL:udnie", "--mask", "a.png"], "a mask is for one result"),
    ],
)
def test_bad_mixtures_and_masks_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, words: list[str], said: str
) -> None:
    _, path = gallery(tmp_path)
    monkeypatch.chdir(tmp_path)
    Image.fromarray((photo() * 255).astype(np.uint8)).save("a.png")
    assert command("a.png", *(word.replace("MODEL", str(path)) for word in words)) == 2
    error = capsys.readouterr().err
    assert said.replace("MODEL", str(path)) in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.glob("a-*")) == []


def test_a_video_goes_from_one_style_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    _, path = gallery(tmp_path)
    monkeypatch.chdir(tmp_path)
    still = Image.fromarray((photo() * 255).astype(np.uint8))
    frames = [still, still.transpose(Image.Transpose.ROTATE_180), still]
    frames[0].save("video.webp", save_all=True, append_images=frames[1:], lossless=True, duration=100)
    still.save("a.png")
    assert command("video.webp", "-s", f"{path}:wave", "--to-style", "udnie", "-o", "made/%02d.png") == 0
    for number, style in ((1, "wave"), (2, "wave=0.5,udnie=0.5"), (3, "udnie")):
        still.transpose(Image.Transpose.ROTATE_180).save("a.png") if number == 2 else still.save("a.png")
        assert command("a.png", "-s", f"{path}:{style}", "-o", f"{style}.png") == 0
        frame, alone = (
            np.asarray(Image.open(name)).astype(int) for name in (f"made/{number:02d}.png", f"{style}.png")
        )
        assert np.abs(frame - alone).max() <= 1
    capsys.readouterr()
    assert command("a.png", "-s", f"{path}:wave", "--to-style", "udnie") == 2
    assert "here are only photos" in capsys.readouterr().err
    assert command("video.webp", "-s", f"{path}:wave", "--to-style", "udni") == 2
    assert "did you mean 'udnie'" in capsys.readouterr().err


def test_a_model_of_one_style_says_what_mixtures_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    tiny.working_folder(tmp_path, monkeypatch, {"wave": Residual(channels=8, blocks=0)})
    one = Image.fromarray((photo() * 255).astype(np.uint8))
    one.save("a.png")
    one.save("video.webp", save_all=True, append_images=[one.transpose(Image.Transpose.ROTATE_180)])
    unnamed = (
        "wave=0.5,udnie=0.5: a mixture is of the styles of one model, which `texturenets train gallery` learns: name "
        "that before a colon, as MODEL:wave=0.5,udnie=0.5"
    )
    holds = (
        "wave holds one style, wave, and no 'udnie': for several, and mixtures of them, train a model with "
        "`texturenets train gallery`, then say MODEL:STYLE=WEIGHT,..."
    )
    video = (
        "--to-style udnie: wave is a model of one style: a video goes from style to style within a model of several, "
        "which `texturenets train gallery` learns (none is shipped); then use -s MODEL:STYLE --to-style STYLE"
    )
    for words, said in (
        (["a.png", "-s", "wave=0.5,udnie=0.5"], unnamed),
        (["a.png", "-s", "wave:wave=0.5,udnie=0.5"], holds),
        (["video.webp", "-s", "wave", "--to-style", "udnie"], video),
    ):
        assert command(*words) == 2
        assert capsys.readouterr().err == f"texturenets: {said}\n"
    with pytest.raises(UserError, match="name that before a colon"):
        loading.load("wave=0.5,udnie=0.5")
    with pytest.raises(UserError, match="this model holds one style, wave, and no 'udnie'"):
        style_of(Path("wave"))(photo(), mix={"udnie": 1})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mix": "wave"}, "`mix` is of type str: give weights by the names of styles, for example {'wave': 0.6"),
        ({"mix": ["wave"]}, "`mix` is of type list: give weights by the names of styles"),
        ({"mix": np.ones((2, 2))}, "`mix` is of type ndarray: give weights"),
        ({"mix": {3: 1}}, "`mix` 3 is not text: put it in quotation marks"),
        ({"mix": {"wave": "a"}}, "weight 'a' of wave is not a number of at least 0"),
        ({"mix": {"wave": np.ones((64, 80))}}, "of wave is not a number of at least 0"),
        ({"mix": object(), "strength": 0}, "`mix` is of type object: give weights"),
        ({"masks": np.ones((64, 80))}, "`masks` is of type ndarray: give images by the names of styles, for example"),
        ({"masks": "a.png"}, "`masks` is of type str: give images by the names of styles"),
        ({"masks": {None: np.ones((64, 80))}}, "`masks` None is not text"),
        ({"masks": {"wave": 3}}, "the mask of wave: an image is a PIL image, a numpy array, a torch tensor"),
        ({"strength": np.ones((64, 80))}, "is not a number"),
    ],
)  # fmt: skip
def test_wrong_mixtures_and_masks_from_python_are_named(
    tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    _, path = gallery(tmp_path)
    style = style_of(path)
    with pytest.raises(UserError, match=re.escape(said)) as found:
        style(photo(), **{"mix": {"wave": 1}, **wrong})
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 300


def test_weights_are_of_any_type_of_number(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    style, x = style_of(path), photo()
    numpys = style(x, mix={"wave": np.float32(3), "udnie": np.int64(1)})
    assert np.array_equal(numpys, style(x, mix={"wave": 3, "udnie": 1}))


def test_a_mask_of_the_photo_alone_is_refused_and_a_transparent_one_is_black(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    style, x = style_of(path), photo()
    with pytest.raises(UserError, match="name a style"):
        style(x, mix={"photo": 1}, masks={"photo": np.ones((64, 80), np.float32)})
    clear = Image.new("RGBA", (80, 64), (255, 255, 255, 0))
    assert np.array_equal(style(x, mix={"wave": 1}, masks={"wave": clear}), x)


def test_equal_parts_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    _, path = gallery(tmp_path)
    monkeypatch.chdir(tmp_path)
    Image.fromarray((photo() * 255).astype(np.uint8)).save("a.png")
    Image.new("L", (80, 64), 128).save("half.png")
    assert command("a.png", "-s", f"{path}:wave,udnie", "-o", "even.png") == 0
    assert "note: wave and udnie are mixed in equal parts; wave=0.7 says" in capsys.readouterr().err
    for words in (("-s", f"{path}:wave,udnie", "--mask", "half.png"), ("-s", f"{path}:wave=0.6,udnie=0.4")):
        assert command("a.png", *words, "-o", "other.png") == 0
        assert capsys.readouterr().err == ""


def test_one_style_of_a_gallery_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, path = gallery(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["export", f"{path}:udnie", "--to", "onnx", "--quiet"]) == 0
    x, maps = inputs()
    session = onnxruntime.InferenceSession("tiny-udnie.onnx")
    (y,) = session.run(None, {"photo": x, "noise0": maps[0]})
    assert np.allclose(y, drawn(network, x, maps, [0.0, 0.0, 1.0]), atol=1e-4)


def test_a_broken_mask_is_told_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    _, path = gallery(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray((photo() * 255).astype(np.uint8)).save(name)
    Path("mask.png").write_bytes(Path("a.png").read_bytes()[:200])
    assert command("a.png", "b.png", "-s", f"{path}:wave", "--mask", "mask.png") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    long = ",".join(f"style{i}=0.1" for i in range(40))
    assert command("a.png", "-s", f"{path}:{long}") == 2
    assert "unknown style of tiny 'style0'" in capsys.readouterr().err
    assert command("a.png", "-s", f"{path}:wave=0.3,wave=0.5") == 2
    assert "wave comes twice" in capsys.readouterr().err


def test_masks_of_a_photo_larger_than_memory_have_to_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = gallery(tmp_path)
    style = style_of(path, spool=tmp_path)
    source, result = tmp_path / "a.png", tmp_path / "out.png"
    Image.fromarray((photo(256, 200) * 255).astype(np.uint8)).save(source)
    mask = np.linspace(0, 1, 200, dtype=np.float32)[None].repeat(256, 0)
    options = StylizeOptions(mix={"wave": 1, "udnie": 1}, masks={"wave": mask})
    whole = style(np.asarray(Image.open(source)), mix=options.mix, masks=options.masks)
    large.stylize(style, source, result, options)
    assert np.abs(np.asarray(Image.open(result)).astype(int) - whole).max() <= 1
    monkeypatch.setattr(large, "_MASK_BYTES", 10**9)
    with pytest.raises(UserError, match="neither do its masks"):
        large.stylize(style, source, result, options)


def test_code_of_ones_own_runs_no_gallery(tmp_path: Path) -> None:
    _, path = gallery(tmp_path)
    header = modelfile.read_header(path)
    with pytest.raises(UserError, match="run from the graph in it, and by no code"):
        loading._engines(path, header, EngineOptions("torch", "cpu"), torch.nn.Identity)(Variant())


def test_a_texture_holds_no_styles() -> None:
    with pytest.raises(UserError, match="which holds no styles"):
        loading.load("brick_wall:wave")
