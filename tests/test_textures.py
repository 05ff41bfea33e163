"""Textures: exact sizes, one seed one image, tiles that repeat, noise that can be held, levelled and mixed."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import texturenets
from texturenets import loading, noise, textures
from texturenets.engines.onnx_engine import ONNXEngine
from texturenets.engines.openvino_engine import OpenVINOEngine
from texturenets.engines.torch_engine import TorchEngine
from texturenets.errors import DamagedError, UserError
from texturenets.graph.onnx import to_onnx
from texturenets.graph.periodic import wraps_around
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import GeneratorSpec, build, network_files
from texturenets.networks.encoder_decoder import Skip
from texturenets.networks.fully_connected import FullyConnected
from texturenets.networks.graph import GraphSpec as Graph
from texturenets.networks.johnson import Johnson
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.pyramid import Pyramid
from texturenets.networks.residual import Residual
from texturenets.networks.trace import trace
from texturenets.stylize import style as api
from texturenets.textures import Texture

TINY = Multiscale(channels=(4, 4, 3), noise_depth=2)


def texture(spec: GeneratorSpec = TINY, name: str = "bark", seed: int | None = None) -> Texture:
    """`seed`: of the weights."""
    network = build(spec)
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=generator)
    header = Header(name=name, kind="texture", generator=spec)
    return Texture(TorchEngine(trace(network)), header, Path(f"{name}.safetensors"))


def draw(model: Texture, *size: int, **options: Any) -> Tensor:
    return torch.from_numpy(model.draw(*size, **options))


def network(model: Texture) -> torch.nn.Module:
    assert isinstance(model.engine, TorchEngine)
    return model.engine.network


@pytest.mark.parametrize("size", [(31, 17), (1, 1), (256, 256), (300, 257), (40, 400)])
def test_sizes_are_exact(size: tuple[int, int]) -> None:
    picture = texture().sample(size)
    assert isinstance(picture, Image.Image)
    assert (picture.size, picture.mode) == (size, "RGB")


def test_one_seed_is_one_picture_whatever_is_drawn_beside_it() -> None:
    model = texture()
    many = model.sample(48, seed=3, count=3)
    assert [p.tobytes() for p in many] == [model.sample(48, seed=s).tobytes() for s in (3, 4, 5)]
    assert len({p.tobytes() for p in many}) == 3
    assert 0 <= draw(model, 48, 48).min() <= draw(model, 48, 48).max() <= 1


@pytest.mark.parametrize(
    "options", [{}, {"tileable": True}, {"tileable": "x", "noise_level": 0.5}, {"hold": (4,), "held": 3}]
)
@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_batch_draws_what_one_after_the_other_draws(
    options: dict[str, Any], on_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`on_gpu`: the maps are tensors, as where the engine is on a GPU."""
    model = texture(dataclasses.replace(TINY, padding="reflect"))
    expected = [model.draw(48, 40, seed, **options) for seed in (3, 4, 5)]
    if on_gpu:
        monkeypatch.setattr(
            Texture, "_noise", lambda self, seeds, canvas: noise.draw(self.inputs, seeds, *canvas)
        )
    found = list(model.draws(48, 40, (3, 4, 5), batch=2, **options))
    assert [one.shape for one in found] == [(1, 3, 48, 40)] * 3
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(expected), atol=1e-4)


TILING: list[GeneratorSpec] = [
    TINY,
    Pyramid(channels=2, scales=3, photo=False, noise_depth=2, padding="circular"),
    Pyramid(channels=2, scales=3, photo=False, noise_depth=2, padding="circular", upsampling="bilinear"),
    Skip(channels=(4, 6), skip_channels=2, level_noise=1),
    Johnson(channels=3, blocks=1, photo=False, noise_depth=2, padding="circular", upsampling="nearest"),
]


@pytest.mark.parametrize("spec", TILING, ids=lambda s: s.name)
def test_a_tile_beside_itself_is_what_the_network_draws_of_twice_the_noise(spec: GeneratorSpec) -> None:
    model = texture(spec)
    tile = draw(model, 32, 48, seed=1, tileable=True)
    maps = noise.draw(model.inputs, [1], 32, 48)
    with torch.no_grad():
        wide = network(model)(None, [m.repeat(1, 1, 2, 2) for m in maps]).clamp(0, 1)
    torch.testing.assert_close(wide, tile.repeat(1, 1, 2, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", ["reflect", "zero", "replicate"])
def test_what_does_not_wrap_tiles_by_a_margin(padding: Any) -> None:
    # Without normalization nothing but its neighbourhood decides a pixel: as if the network wrapped around.
    plain = dataclasses.replace(TINY, normalization="none", padding=padding)
    model, circular = (
        texture(spec, seed=0) for spec in (plain, dataclasses.replace(plain, padding="circular"))
    )
    for tileable in (True, "x"):
        drawn, expected = (draw(m, 32, 48, seed=1, tileable=tileable) for m in (model, circular))
        if tileable is True:
            # Some processors convolve maps of other sizes by other algorithms: 1e-4 apart, in float32.
            torch.testing.assert_close(drawn, expected, rtol=0, atol=5e-4)
        else:
            assert drawn.shape == (1, 3, 32, 48)


def test_one_axis_alone_tiles() -> None:
    model = texture()
    for axis, dim in (("x", 3), ("y", 2)):
        picture = draw(model, 64, 64, seed=2, tileable=axis)
        steps = {d: (picture - picture.roll(1, d)).abs().mean((0, 1, 5 - d)) for d in (2, 3)}
        smooth, sharp = steps[dim], steps[5 - dim]
        assert smooth[0] < 2.5 * smooth[1:].mean()
        assert not torch.equal(smooth, sharp)
    assert model.canvas(64, 64, "x") == (256, 64)
    assert model.canvas(256, 64, "x") == (260, 64)  # else it would wrap along y too


def test_sizes_that_cannot_tile_are_refused_with_the_nearest_that_can() -> None:
    model = texture()
    with pytest.raises(UserError, match=r"size 33 x 64 cannot tile along x: .* multiple of 4; 36x64 can"):
        model.sample((33, 64), tileable=True)
    assert model.sample((33, 64), tileable="y").size == (33, 64)
    assert model.rounded(30, 33, "y") == "33x32"


def wraps(spec: GeneratorSpec) -> bool:
    return wraps_around(trace(build(spec)).nodes)


def test_networks_that_wrap_around() -> None:
    assert all(wraps(spec) for spec in TILING)
    assert not wraps(dataclasses.replace(TINY, padding="zero"))
    assert not wraps(Johnson(padding="circular"))  # transposed convolutions
    assert not wraps(Johnson(padding="circular", upsampling="nearest", down_padding="zero"))
    lines = (
        "noise channels=2 stride=2",
        "upsample 0 factor=2 mode=nearest",
        "pad 1 amount=1:1:1:1 mode=circular",
    )
    assert wraps(Graph(nodes=(*lines, "conv 2 out=3 kernel=3")))
    other = [line.replace("circular", "zero") for line in lines]
    assert not wraps(Graph(nodes=(*other, "conv 2 out=3 kernel=3")))


def test_a_graph_tiles_too() -> None:
    lines = (
        "noise channels=2 stride=2",
        "upsample 0 factor=2 mode=nearest",
        "pad 1 amount=1:1:1:1 mode=circular",
    )
    model = texture(Graph(nodes=(*lines, "conv 2 out=3 kernel=3")))
    tile = draw(model, 8, 8, tileable=True)
    rolled = noise.draw(model.inputs, [0], 8, 8)[0].roll((2, 2), (2, 3))
    with torch.no_grad():
        moved = network(model)(None, [rolled]).clamp(0, 1)
    torch.testing.assert_close(moved, tile.roll((4, 4), (2, 3)))


ENGINES: list[GeneratorSpec] = [
    *TILING,
    dataclasses.replace(TINY, padding="reflect"),
    FullyConnected(noise_depth=8, hidden=6, channels=(6, 4)),
]


@pytest.mark.parametrize("spec", ENGINES, ids=lambda s: f"{s.name} {s.padding}")
def test_every_engine_draws_the_same(spec: GeneratorSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textures, "MIN_SAMPLE_SIDE", 32)
    reference = texture(spec)
    traced = trace(network(reference))
    data, io_spec = to_onnx(traced), traced.io_spec
    engines = (
        ONNXEngine(data.SerializeToString(), io_spec),
        OpenVINOEngine(data.SerializeToString(), io_spec, "float32"),
    )
    asked: list[dict[str, Any]] = [{"seed": 3, "noise_level": 0.5}]
    if reference.fixed is None:
        asked += [
            {"seed": 3, "tileable": True},
            {"seed": 3, "tileable": "x"},
            {"seed": 4, "hold": reference.scales[:1], "held": 3},
        ]
    for engine in engines:
        model = Texture(engine, reference.header, reference.path)
        for options in asked:
            # 4 x 8: below what a converted graph takes where it wraps around. Elsewhere a map of 1 x 2 pixels would
            # be normalized, which makes of two numbers that hardly differ 1 and -1.
            small = (4, 8) if spec.padding == "circular" else (16, 8)
            for height, width in [(16, 16)] if reference.fixed else [(32, 40), small]:
                drawn = draw(model, height, width, **options)
                assert torch.equal(drawn, draw(model, height, width, **options))
                expected = draw(reference, height, width, **options)
                # The normalization of maps this small multiplies what the engines sum in another order.
                torch.testing.assert_close(drawn, expected, rtol=1e-3, atol=1e-3)


def test_scales_are_held() -> None:
    model = texture()
    assert model.scales == (4, 2, 1)
    base = draw(model, 32, 32, seed=5)
    assert torch.equal(draw(model, 32, 32, seed=9, hold=(4, 2, 1), held=5), base)
    # A tile is the network's own answer, nothing cut off.
    near, far = (draw(model, 32, 32, seed=9, tileable=True, hold=hold, held=5) for hold in ((4, 2), (1,)))
    old, new = (noise.draw(model.inputs, [seed], 32, 32) for seed in (5, 9))
    with torch.no_grad():
        for drawn, mixed in ((near, [*old[:2], new[2]]), (far, [*new[:2], old[2]])):
            torch.testing.assert_close(drawn, network(model)(None, mixed).clamp(0, 1))
    maps = [n.stride for n in model.inputs]
    assert maps == [4, 2, 1]
    first, second, third = model.sample(32, seed=5, count=3, hold=(4,))
    assert first.tobytes() == model.sample(32, seed=5).tobytes()
    assert second.tobytes() != third.tobytes()


def test_levels_of_the_noise() -> None:
    model = texture(dataclasses.replace(TINY, normalization="none"))
    base = draw(model, 32, 32)
    assert torch.equal(draw(model, 32, 32, noise_level={4: 1.0}), base)
    flat = draw(model, 32, 32, noise_level=0)
    assert float(flat.flatten(2).std(2).max()) < 1e-6  # the same everywhere
    assert not torch.equal(draw(model, 32, 32, noise_level={1: 0.5}), base)
    # Uniform noise is levelled about its mean, normal noise about 0.
    for distribution, mean in (("uniform", 0.5), ("normal", 0.0)):
        one = texture(dataclasses.replace(TINY, noise=distribution))  # type: ignore[arg-type]
        maps = noise.draw(one.inputs, [0], 8, 8)
        for m, levelled in zip(maps, one._levelled(maps, 0.5), strict=True):
            torch.testing.assert_close(levelled, (m + mean) / 2)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_between_two_seeds_noise_keeps_its_distribution(distribution: Any) -> None:
    model = texture(dataclasses.replace(TINY, noise=distribution))
    frames = [torch.from_numpy(frame) for frame in model.between(32, 40, 3, 8, 5)]
    assert len(frames) == 5
    torch.testing.assert_close(frames[0], draw(model, 32, 40, seed=3))
    torch.testing.assert_close(frames[-1], draw(model, 32, 40, seed=8))
    steps = [float((a - b).abs().mean()) for a, b in itertools.pairwise(frames)]
    assert min(steps) > 0
    a, b = (noise.draw_arrays([noise.NoiseInput(4, 1, distribution)], [s], 64, 64)[0] for s in (0, 1))
    half = textures._mixed(a, b, np.pi / 4, distribution)
    assert abs(float(half.mean() - a.mean())) < 0.02
    assert abs(float(half.std() / a.std()) - 1) < 0.02
    if distribution == "uniform":
        assert 0 <= half.min() <= half.max() <= 1


def test_waves_move_between_two_seeds_and_keep_their_amplitude() -> None:
    model = texture(dataclasses.replace(TINY, waves=(0.05, 0.0, 0.03, -0.08)))
    one = model.inputs[-1]
    a, b = (noise.draw_arrays([one], [seed], 64, 64)[0] for seed in (0, 1))
    half = textures._mixed(a, b, np.pi / 4, "waves")
    np.testing.assert_allclose(np.hypot(half[:, 0::2], half[:, 1::2]), 1, atol=1e-5)
    assert min(np.abs(half - a).max(), np.abs(half - b).max()) > 0.05
    (kept,) = noise.levelled([a], [one], [0.5])
    assert kept is a
    assert len([*model.between(32, 40, 3, 8, 3)]) == 3


def test_a_network_of_one_size() -> None:
    model = texture(FullyConnected(noise_depth=8, hidden=6, channels=(6, 4, 4)))
    assert model.sample(32).size == (32, 32)
    assert model.sample((20, 9)).size == (20, 9)
    with pytest.raises(UserError, match="draws 32 x 32 pixels and no more"):
        model.sample(33)
    with pytest.raises(UserError, match="cannot tile"):
        model.sample(32, tileable=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": (0, 5)}, "size 0 x 5"),
        ({"size": -4}, "at least 1 pixel"),
        ({"size": 1_000_000}, r"takes some \d+ GiB"),
        ({"hold": (3,)}, r"scale 3: bark takes noise at the scales 4, 2, 1"),
        ({"noise_level": {8: 1.0}}, "scale 8"),
        ({"noise_level": -1}, "noise level -1 at"),
        ({"noise_level": float("nan")}, "noise level nan"),
        ({"tileable": "z"}, "'z' is none of"),
        ({"batch": 0}, "batch 0 is not above 0"),
        ({"batch": "two"}, "`batch` 'two' is not a whole number"),
        ({"noise_level": "half"}, "`noise_level` 'half' is not a number"),
        ({"noise_level": {1: None}}, "`noise_level` None is not a number"),
        ({"hold": 1}, "`hold` is of type int: give a list of scales"),
        ({"hold": "1"}, "`hold` is of type str: give a list of scales"),
        ({"size": 2000, "batch": 10**5, "count": 10**5}, "batch 100000: so many samples of 2000 x 2000"),
    ],
)
def test_mistakes(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        texture().sample(**{"size": 32, **options})
    with pytest.raises(UserError, match="at least 2"):
        list(texture().between(8, 8, 0, 1, 1))
    with pytest.raises(UserError, match=r"share 1\.5"):
        texture().mix(8, 8, 0, 1, 1.5)


def test_arguments_of_another_type() -> None:
    model = texture()
    wrongs: list[tuple[str, Any]] = [
        ("`height` 'a' is not a whole number", lambda: model.draw("a", 8)),  # type: ignore[arg-type]
        ("`width` 8.5 is not a whole number", lambda: model.draw(8, 8.5)),  # type: ignore[arg-type]
        ("`seed` 'a' is not a whole number", lambda: model.draw(8, 8, "a")),  # type: ignore[arg-type]
        ("`held` None is not a whole number", lambda: model.draw(8, 8, hold=[1], held=None)),  # type: ignore[arg-type]
        ("`seeds` is of type int: give a list of", lambda: list(model.draws(8, 8, 3))),  # type: ignore[arg-type]
        ("`frames` 'a' is not a whole number", lambda: list(model.between(8, 8, 0, 1, "a"))),  # type: ignore[arg-type]
        ("`first` 'a' is not a whole number", lambda: list(model.between(8, 8, "a", 1, 2))),  # type: ignore[arg-type]
        ("`share` 'a' is not a number", lambda: model.mix(8, 8, 0, 1, "a")),  # type: ignore[arg-type]
    ]
    for told, call in wrongs:
        with pytest.raises(UserError, match=told):
            call()
    assert model.draw(np.int64(8), 8, np.uint8(3)).shape == (1, 3, 8, 8)  # type: ignore[arg-type]


def test_what_draws_nothing_from_noise_is_no_texture() -> None:
    with pytest.raises(DamagedError, match="takes a photo"):
        texture(Residual(channels=8, blocks=0, noise_depth=1))


def test_load_gives_styles_and_textures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modelfile, "ZOO", tmp_path)
    style = Residual(channels=8, blocks=0)
    for name, kind, spec in (("wave", "style", style), ("bark", "texture", TINY)):
        header = Header(name=name, kind=kind, generator=spec)  # type: ignore[arg-type]
        network_files.save(build(spec), header, tmp_path / f"{name}.safetensors")
    assert isinstance(texturenets.load("wave"), api.Style)
    bark = texturenets.load("bark", engine="torch")
    assert isinstance(bark, Texture)
    assert repr(bark) == "Texture('bark', multiscale, torch float32)"
    for option in ({"memory": "2G"}, {"spool": tmp_path}):
        with pytest.raises(UserError, match=f"{next(iter(option))}=.* bark is a texture"):
            texturenets.load("bark", **option)  # type: ignore[arg-type]
    assert (bark.name, bark.stride, bark.path.name) == ("bark", 4, "bark.safetensors")
    with pytest.raises(UserError, match="texturenets stylize PHOTO -s wave"):
        loading.load_texture("wave")
    with pytest.raises(UserError, match="texturenets sample bark"):
        loading.load_style("bark")


def test_several_results_of_one_photo(tmp_path: Path) -> None:
    spec = Residual(channels=8, blocks=0, noise_depth=2)
    path = tmp_path / "noisy.safetensors"
    network_files.save(build(spec), Header(name="noisy", kind="style", generator=spec), path)
    style = loading.load_style(path)
    photo: Tensor = torch.rand(3, 32, 32)
    one, two = (style(photo, seed=s) for s in (0, 1))
    assert not torch.equal(one, two)
    assert torch.equal(style(photo, seed=0, noise_level=0), style(photo, seed=1, noise_level=0))
    assert not torch.equal(style(photo, noise_level=0.5), one)
    assert style.header.generator["name"] == "residual"
    with pytest.raises(UserError, match="noise level -1"):
        style(photo, noise_level=-1)


def test_what_fits_is_told_by_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    model = texture()
    monkeypatch.setattr(model.engine, "peak", lambda size: 100 * size[0] * size[1])
    monkeypatch.setattr(textures.budget, "free", lambda _: 100 * 300**2)
    assert model.sample(280).size == (280, 280)
    with pytest.raises(UserError, match="at most 300 x 300"):
        model.sample(320)
    with pytest.raises(UserError, match=r"batch 2: .* at most 1"):
        model.sample(280, count=2, batch=2)
