"""`load` and `Style`: the same kind back, exactly as large, every image alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import galleries
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import texturenets
from texturenets import image, loading
from texturenets.engines.primitives import Padding
from texturenets.engines.torch_engine import TorchEngine
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import GeneratorSpec, build, network_files
from texturenets.networks.johnson import Johnson
from texturenets.networks.network_files import spec_of
from texturenets.networks.pyramid import Pyramid
from texturenets.networks.residual import Residual
from texturenets.stylize import style as api

TINY = Residual(channels=8, blocks=1)


def save(path: Path, spec: GeneratorSpec = TINY, kind: Any = "style") -> Path:
    network_files.save(build(spec), Header(name=path.stem, kind=kind, generator=spec), path)
    return path


@pytest.fixture
def style(tmp_path: Path) -> api.Style:
    return texturenets.load(save(tmp_path / "tiny.safetensors"), "cpu", engine="torch")


class Fixed(nn.Module):
    """Gives what it was given, after a function; wants multiples of 8 and keeps what it saw."""

    stride = 8

    def __init__(self, function: Any = lambda x: x) -> None:
        super().__init__()
        self.function = function
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape))
        y: Tensor = self.function(x)
        return y


def fixed(function: Any = lambda x: x) -> api.Style:
    header = Header(name="fixed", kind="style", generator=TINY)
    return api.Style(TorchEngine(Fixed(function)), header, Path("fixed.safetensors"))


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 70), (3, 2), (16, 16), (63, 64), (65, 131), (200, 9)]
)
def test_padding_leaves_every_pixel_in_its_place(height: int, width: int) -> None:
    photo = torch.rand(3, height, width)
    style = fixed()
    assert torch.equal(style(photo), photo)
    assert isinstance(style.engine, TorchEngine)
    (shape,) = style.engine.network.seen  # type: ignore[union-attr, misc]
    assert all(side % 8 == 0 and side >= 64 for side in shape[2:])


@pytest.mark.parametrize("spec", [TINY, Pyramid(channels=2), Johnson(channels=4, blocks=1)])
@pytest.mark.parametrize("size", [(1, 1), (5, 33), (67, 90)])
def test_every_generator_gives_back_the_size(
    tmp_path: Path, spec: GeneratorSpec, size: tuple[int, int]
) -> None:
    result = loading.load(save(tmp_path / "a.safetensors", spec))(torch.rand(3, *size))
    assert result.shape == (3, *size)
    assert torch.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize(
    ("mode", "back"),
    [("RGB", "RGB"), ("L", "RGB"), ("RGBA", "RGBA"), ("LA", "RGBA"), ("P", "RGB"), ("1", "RGB")],
)
def test_pil_images(style: api.Style, mode: str, back: str) -> None:
    result = style(Image.new(mode, (21, 14), 1))
    assert isinstance(result, Image.Image)
    assert (result.mode, result.size) == (back, (21, 14))


def test_alpha_is_kept() -> None:
    array = np.random.default_rng(0).integers(0, 256, (12, 17, 4), np.uint8)
    inverted = fixed(lambda x: 1 - x)
    result = inverted(array)
    assert np.array_equal(result[..., 3], array[..., 3])
    assert np.array_equal(result[..., :3], 255 - array[..., :3])
    assert np.array_equal(np.asarray(inverted(Image.fromarray(array))), result)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 1), (9, 11, 3), (9, 11, 4)])
def test_arrays(style: api.Style, dtype: Any, shape: tuple[int, ...]) -> None:
    result = style(np.ones(shape, dtype))
    assert isinstance(result, np.ndarray)
    assert result.dtype == dtype
    assert result.shape == (9, 11, 4 if shape[-1] == 4 else 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 9, 11), (1, 9, 11), (2, 3, 9, 11)])
def test_tensors(style: api.Style, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    result = style(torch.ones(shape, dtype=dtype))
    assert result.dtype == dtype
    assert result.shape == (*shape[:-3], 3, *shape[-2:])


def test_a_batch_is_many_pictures_alone(style: api.Style) -> None:
    batch = torch.rand(3, 3, 40, 30)
    together = style(batch)
    for picture, painted in zip(batch, together, strict=True):
        assert torch.equal(style(picture), painted)


def test_it_is_the_network_of_the_file(style: api.Style) -> None:
    network, _ = network_files.load(style.path)
    photo = torch.rand(1, 3, 64, 96)
    mirrored = nn.functional.pad(photo, (16,) * 4, "reflect")
    with torch.no_grad():  # with gradients, instance normalization rounds otherwise
        expected = network(mirrored)[:, :, 16:-16, 16:-16].clamp(0, 1)
    torch.testing.assert_close(style(photo), expected, rtol=0, atol=1e-5)


def test_strength_is_a_mixture() -> None:
    photo = torch.rand(1, 3, 20, 20)
    style = fixed(lambda x: 1.5 - x)  # partly above 1, where it is clamped first
    full = (1.5 - photo).clamp(0, 1)
    assert torch.equal(style(photo), full)
    assert torch.allclose(style(photo, strength=0.25), 0.75 * photo + 0.25 * full, atol=1e-6)
    assert torch.equal(style(photo, strength=0), photo)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8))
    assert np.array_equal(np.asarray(style(picture, strength=0.0)), np.asarray(picture))


def test_preserve_color_takes_the_photos_hue() -> None:
    photo = torch.tensor([0.6, 0.4, 0.5]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    style = fixed(lambda x: x.mean(1, keepdim=True).expand(-1, 3, -1, -1) + 0.1)  # grey, and lighter
    luminance = 0.299 * 0.6 + 0.587 * 0.4 + 0.114 * 0.5  # ITU-R BT.601
    expected = photo + (0.6 - luminance)
    assert torch.allclose(style(photo, preserve_color=True), expected, atol=1e-5)
    assert torch.allclose(style(photo, preserve_color=True, strength=0.5), (photo + expected) / 2, atol=1e-5)


@pytest.mark.parametrize(("size", "expected"), [(30, (15, 30)), (120, (60, 120))])
def test_size_is_the_longer_side(style: api.Style, size: int, expected: tuple[int, int]) -> None:
    assert style(torch.rand(4, 30, 60), size=size).shape == (4, *expected)
    assert style(Image.new("RGBA", (60, 30)), size=size).size == expected[::-1]


def test_photos_with_a_gradient_are_taken(style: api.Style, recwarn: pytest.WarningsRecorder) -> None:
    assert style(torch.rand(3, 20, 20, requires_grad=True)).shape == (3, 20, 20)
    assert style.stylize(torch.rand(1, 3, 20, 20, requires_grad=True)).shape == (1, 3, 20, 20)
    assert not recwarn.list


def test_results_can_be_trained_on(style: api.Style) -> None:
    weight = torch.ones(3, 20, 20, requires_grad=True)
    (style(torch.rand(3, 20, 20)) * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"strength": 1.1},
        {"strength": -1},
        {"strength": float("nan")},
        {"preserve_color": "no"},
        {"stroke": True},
    ],
)
def test_options_out_of_range(style: api.Style, options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=str(next(iter(options.values())))):
        style(torch.rand(3, 8, 8), **options)


def test_what_is_no_picture(style: api.Style) -> None:
    with pytest.raises(UserError, match=r"no such file: photo.jpg"):
        style("photo.jpg")
    with pytest.raises(UserError, match="0 to 1"):
        style(torch.full((3, 8, 8), 200.0))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
    ],
)
def test_too_little_memory_names_the_way_out(error: BaseException) -> None:
    def fail(_: Tensor) -> Tensor:
        raise error

    with pytest.raises(UserError, match=r"for 90 x 70 pixels.* `size` 45"):
        fixed(fail)(torch.rand(3, 70, 90))


def test_stylize_says_what_it_wants(style: api.Style) -> None:
    photo = np.full((1, 3, 8, 9), 0.5, np.float32)
    wrongs: list[tuple[Any, str]] = [
        (photo[0], r"\(N, 3, H, W\).* not \(3, 8, 9\)"),
        (photo.transpose(0, 2, 3, 1), r"\(N, 3, H, W\).* not \(1, 8, 9, 3\)"),
        (photo[:, :1], r"\(N, 3, H, W\)"),
        (photo[:0], r"\(N, 3, H, W\)"),
        ((255 * photo).astype(np.uint8), r"floats in \[0, 1\].* not .*uint8"),
        (255 * photo, "not 0 to 1; divide it by 255"),
        (photo * np.nan, r"not numbers \(NaN\)"),
        (photo.tolist(), "not list"),
        (None, "not NoneType"),
        (image.Picture(photo), "not Picture"),
    ]
    for wrong, told in wrongs:
        with pytest.raises(UserError, match=told):
            style.stylize(wrong)
        if isinstance(wrong, np.ndarray):
            with pytest.raises(UserError, match=told):
                style.stylize(torch.from_numpy(np.ascontiguousarray(wrong)))


def test_what_the_package_reads_it_takes(style: api.Style, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    read = image.read(tmp_path / "photo.png")
    read.exif = b"Exif"
    made = style(read)
    assert isinstance(made, image.Picture)
    assert made.exif == b"Exif"
    made.exif = None
    image.write(tmp_path / "made.png", made)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "made.png")), style(pixels))
    assert style(read, size=4).size == (4, 4)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.zeros((1, 3, 8, 9)), "of several make a tensor"),
        (np.zeros((8, 9, 3), np.int64), r"astype\(np.uint8\)"),
        (np.zeros((8, 9, 3), np.complex64), "not complex64"),
        (torch.zeros((3, 8, 9), dtype=torch.int64), r"\.byte\(\)"),
        (torch.zeros((3, 8, 9)).to_sparse(), r"\.to_dense\(\)"),
        (np.full((8, 9, 3), np.nan), r"not numbers \(NaN\)"),
        (b"JFIF", "from_bytes"),
    ],
)
def test_hints_for_what_is_no_picture(style: api.Style, wrong: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        style(wrong)


def test_a_device_that_nobody_knows_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="quantum"):
        texturenets.TrainerConfig(device="quantum")
    assert (
        texturenets.TrainerConfig(device="cuda:1").device == "cuda:1"
    )  # whether it is here is seen in training


def test_paths_and_numbers_of_another_type_are_one_line(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (9, 8)).save(photo)
    wrongs: list[tuple[str, Any]] = [
        ("`path` is of type NoneType", lambda: image.read(None)),  # type: ignore[arg-type]
        ("`longer` 'x' is not a whole number", lambda: image.read(photo, longer="x")),  # type: ignore[arg-type]
        ("`longer` 1.5 is not a whole number", lambda: image.read(photo, longer=1.5)),  # type: ignore[arg-type]
        ("`data` is of type str: give the bytes", lambda: image.from_bytes("x")),  # type: ignore[arg-type]
        ("`picture` is of type Image: give a Picture", lambda: image.write(photo, Image.new("RGB", (3, 3)))),  # type: ignore[arg-type]
        (
            "`quality` 'high' is not a whole",
            lambda: image.write(photo, np.zeros((3, 4, 4), "f"), quality="high"),
        ),  # type: ignore[arg-type]
        ("`path` is of type NoneType", lambda: texturenets.convert(None)),  # type: ignore[arg-type]
        ("`spool` is of type int", lambda: texturenets.load("wave", spool=3)),  # type: ignore[arg-type]
        ("`memory` -1 is not above 0", lambda: texturenets.load("wave", memory=-1)),
        ("`memory` 1.5 is not a whole number", lambda: texturenets.load("wave", memory=1.5)),  # type: ignore[arg-type]
        ("`precision` None is not text", lambda: texturenets.load("wave", precision=None)),  # type: ignore[arg-type]
    ]
    for told, call in wrongs:
        with pytest.raises(UserError, match=told):
            call()
    assert image.expand(str(photo)) == [photo]
    config = texturenets.TrainerConfig(init=photo, weights=(tmp_path,))  # type: ignore[arg-type]
    assert (config.init, config.weights) == (str(photo), (str(tmp_path),))


def test_seeds_without_effect_are_told(style: api.Style) -> None:
    photo = np.zeros((8, 9, 3), np.uint8)
    for options in ({"seed": 3}, {"noise_level": 0.5}):
        with pytest.warns(UserWarning, match="tiny takes no noise: `seed` and `noise_level` change nothing"):
            style(photo, **options)  # type: ignore[call-overload]


def test_other_failures_are_not_taken_for_it() -> None:
    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        fixed(fail)(torch.rand(3, 8, 8))


def test_noise_comes_from_the_seed(tmp_path: Path) -> None:
    style = loading.load(save(tmp_path / "a.safetensors", Johnson(channels=4, blocks=1, noise_depth=2)))
    photo = torch.rand(3, 32, 32)
    first = style(photo)
    assert torch.equal(style(photo), first)
    assert torch.equal(style(photo, seed=0), first)
    assert not torch.equal(style(photo, seed=1), first)


@pytest.mark.parametrize("padding", ["reflect", "circular"])
def test_the_picture_is_that_of_the_photo_mirrored_further_out(tmp_path: Path, padding: Padding) -> None:
    spec = Residual(channels=8, blocks=1, padding=padding)
    style = loading.load(save(tmp_path / "a.safetensors", spec), "cpu", engine="torch")
    photo = torch.rand(1, 3, 64, 72)
    assert style.engine.io_spec.margin == (
        16 if padding == "reflect" else 0
    )  # what wraps around has no border
    alone = style.engine(photo).clamp(0, 1)
    mirrored = style.engine(nn.functional.pad(photo, (16,) * 4, "reflect"))[:, :, 16:-16, 16:-16].clamp(0, 1)
    assert not torch.equal(mirrored, alone)
    assert torch.equal(style.stylize(photo), mirrored if padding == "reflect" else alone)


@pytest.mark.parametrize(
    "spec",
    [
        Residual(channels=8, blocks=1, noise_depth=2),
        Pyramid(channels=4, scales=3, noise_depth=2, output="bounded"),
    ],
)
def test_in_pieces_seed_level_and_margin_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: GeneratorSpec
) -> None:
    style = loading.load(save(tmp_path / "a.safetensors", spec), "cpu", engine="torch")
    asked: dict[str, Any] = {"seed": 5, "noise_level": 0.5, "stroke": 2}
    photo = torch.rand(1, 3, 70, 90)
    whole = style.stylize(photo, **asked)
    monkeypatch.setattr(style.tiled, "fits", lambda _: False)
    difference = float((style.stylize(photo, **asked) - whole).abs().max())
    assert difference < 1 / 255
    for other in ({"seed": 6}, {"noise_level": 0.0}, {"stroke": 1}):
        assert (style.stylize(photo, **{**asked, **other}) - whole).abs().max() > 5 * difference


def test_header_and_name(style: api.Style) -> None:
    assert style.name == "tiny"
    assert spec_of(style.header) == TINY
    assert (style.engine.name, style.engine.precision) == ("torch", "float32")


def test_texture_models_are_for_sampling(tmp_path: Path) -> None:
    path = save(tmp_path / "bark.safetensors", kind="texture")
    with pytest.raises(UserError, match=r"texturenets sample .*bark\.safetensors"):
        loading.load_style(path)


def test_shipped_styles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelfile, "ZOO", tmp_path)
    with pytest.raises(UserError, match="texturenets train style"):
        loading.default_style()
    with pytest.raises(UserError, match=r"none called 'wave'.*texturenets train style"):
        loading.load("wave")
    save(tmp_path / "bark.safetensors", kind="texture")
    save(tmp_path / "wave.safetensors")
    save(tmp_path / "udnie.safetensors")
    assert loading.shipped_styles() == {"udnie": "udnie", "wave": "wave"}
    assert loading.default_style() == "udnie"
    assert loading.load("wave").name == "wave"
    with pytest.raises(UserError, match="did you mean 'wave'"):
        loading.load("wav")
    with pytest.raises(UserError, match=r"no such model file: wav\.safetensors"):
        loading.load("wav.safetensors")


def test_styles_of_a_shipped_model_of_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelfile, "ZOO", tmp_path)
    galleries.gallery(tmp_path)[1].rename(tmp_path / "gallery.safetensors")
    assert loading.shipped_styles() == {"udnie": "gallery:udnie", "wave": "gallery:wave"}
    assert loading.default_style() == "gallery:udnie"
    save(tmp_path / "udnie.safetensors")
    assert loading.shipped_styles() == {"udnie": "udnie", "wave": "gallery:wave"}
    assert loading.split_name("wave") == ("gallery", {"wave": 1.0})
    assert loading.split_name("udnie") == ("udnie", None)
    assert loading.split_name("sea") == ("sea", None)
    assert loading.split_name("wave=0.7,udnie=0.3") == ("gallery", {"wave": 0.7, "udnie": 0.3})
    assert loading.split_name("wave,photo") == ("gallery", {"wave": 0.5, "photo": 0.5})
    assert loading.split_name("photo") == ("photo", None)
    assert loading.load("wave").path == tmp_path / "gallery.safetensors"
    with pytest.raises(UserError, match="did you mean 'wave'"):
        loading.load("wav")


def test_unknown_device(tmp_path: Path) -> None:
    path = save(tmp_path / "tiny.safetensors")
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        loading.load(path, "gpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="`device` cpu"):
            loading.load(path, "cuda")


def test_orientation_and_kind_of_a_file_in_memory(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as photo:
        assert fixed()(photo).size == (10, 20)
    assert image.read(tmp_path / "a.jpg").size == (20, 10)


def test_the_engine_can_be_chosen(tmp_path: Path) -> None:
    path = save(tmp_path / "tiny.safetensors")
    style = loading.load(path, engine="openvino", precision="float32")
    assert (style.engine.name, style.engine.precision) == ("openvino", "float32")
    assert "openvino float32" in repr(style)
    with pytest.raises(UserError, match=r"unknown engine 'openvin'.*did you mean 'openvino'"):
        loading.load(path, engine="openvin")
