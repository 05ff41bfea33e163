"""Converted Torch7 networks against their modules evaluated one by one, on what another reader reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import layers7
import numpy as np
import published
import pytest
import torch

from texturenets import noise
from texturenets.converters import convert
from texturenets.converters.published import TEXTURE_NETS_V1
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.networks import build, network_files
from texturenets.networks.johnson import Johnson
from texturenets.networks.network_files import spec_of
from texturenets.networks.pyramid import Pyramid

MEAN = torch.tensor([103.939, 116.779, 123.68], dtype=torch.float64)[:, None, None]  # blue, green, red
RANGE = 1e-4  # of the image's range, 0 to 1


def loaded(path: Path, tmp_path: Path) -> tuple[Any, modelfile.Header]:
    """Network and header of the file at `path`, converted, written and read again."""
    convert(path).save(tmp_path / "model.safetensors")
    return network_files.load(tmp_path / "model.safetensors")


def written(value: Any, tmp_path: Path, layout: published.Layout = "binary") -> Path:
    path = tmp_path / "network.t7"
    path.write_bytes(published.t7(value, layout))
    return path


def deprocess(y: torch.Tensor) -> torch.Tensor:
    """BGR, 0 to 255, minus the mean, as RGB in [0, 1]."""
    return (y + MEAN).flip(1) / 255


def check_first_version(path: Path, tmp_path: Path, size: int) -> None:
    """A network of texture_nets' first version, given a photo and noise, against its modules."""
    network, header = loaded(path, tmp_path)
    assert header.training["converted"]["family"] == TEXTURE_NETS_V1.title
    photo = torch.rand(1, 3, size, size)
    noises = noise.draw(network.noise, [7], size, size)
    with torch.no_grad():
        y = network(photo if network.photo else None, noises)
    more = noises[0].shape[1]
    fed = (
        torch.cat([photo, torch.zeros(1, more, size, size)], 1)
        if network.photo
        else torch.zeros(1, 3, size, size)
    )
    wanted = deprocess(layers7.Network(layers7.load(path), iter(noises), own=True)(fed))
    assert header.kind == ("style" if network.photo else "texture")
    torch.testing.assert_close(y.double(), wanted, rtol=0, atol=RANGE * float(wanted.max() - wanted.min()))


@pytest.mark.parametrize(
    "name", ["red-peppers256.o.jpg_model", "pebble.png_model", "starry_style", "mosaic_style"]
)
def test_the_published_networks(shared: Path, tmp_path: Path, name: str) -> None:
    check_first_version(shared / "torch7" / f"{name}.t7", tmp_path, 128)


@pytest.mark.parametrize("photo", [False, True])
@pytest.mark.parametrize("kind", ["GenNoise", "NoiseFill"])
def test_first_version(tmp_path: Path, photo: bool, kind: str) -> None:
    path = written(published.first_texture(photo=photo, kind=kind), tmp_path)
    (note,) = convert(path).notes
    assert spec_of(convert(path).header) == Pyramid(
        padding="circular", activation="leaky_relu", scales=3, channels=4, photo=photo, noise_depth=3
    )
    assert note.startswith("1 normalizations have fewer weights than channels")
    check_first_version(path, tmp_path, 32)


def test_noise_of_its_own_number_of_channels(tmp_path: Path) -> None:
    make = published.Layers7()
    noises = published.Module("nn.GenNoise", {"num_planes": 2, "mult": 0.5})
    both = published.sequence(
        published.sequence(make.conv(3, 4, 1)), published.sequence(noises), kind="nn.Concat", dimension=2
    )
    tree = published.sequence(both, published.pad7(1, "nn.SpatialCircularPadding"), make.conv(6, 3, 3))
    network, _ = loaded(written(tree, tmp_path), tmp_path)
    assert network.noise == (noise.NoiseInput(2, 1, "normal"),)


def test_parameters_that_end_too_early_are_refused(tmp_path: Path) -> None:
    tree = published.first_texture(scales=3)
    coarse = tree.fields["modules"][1].fields["modules"][1]
    bias = coarse.fields["modules"][12].fields["bias"]  # of the first normalization that reads on
    assert bias.shape == (4,)
    short = bias.storage[: bias.offset + 7]
    for module in layers(tree):
        for key in ("weight", "bias"):
            if key in module.fields:
                module.fields[key].storage = short
    with pytest.raises(UserError, match=r"network\.t7: .*a storage ends before the 8 numbers"):
        convert(written(tree, tmp_path))


def layers(tree: published.Module) -> list[published.Module]:
    return [tree, *(m for child in tree.fields.get("modules", {}).values() for m in layers(child))]


@pytest.mark.parametrize("layout", ["binary", "binary32", "ascii"])
@pytest.mark.parametrize("backend", ["nn", "cudnn"])
def test_master_is_our_johnson(tmp_path: Path, layout: published.Layout, backend: str) -> None:
    tree = published.master_johnson(backend=backend)
    converted = convert(written(tree, tmp_path, layout))
    assert spec_of(converted.header) == Johnson(channels=4, blocks=2)
    assert not converted.tested
    network = build(spec_of(converted.header))
    network.load_state_dict(converted.state)
    x = torch.rand(1, 3, 24, 32)
    wanted = deprocess(layers7.Network(layers7.load(written(tree, tmp_path)))(x))
    with torch.no_grad():
        torch.testing.assert_close(network(x).double(), wanted, rtol=0, atol=RANGE)


def test_full_convolutions_of_the_branch_diversity(tmp_path: Path) -> None:
    path = written(published.master_johnson(full=(4, 5, 0)), tmp_path)
    network, header = loaded(path, tmp_path)
    assert spec_of(header) == Johnson(channels=4, blocks=2, upsampling="full4")
    x = torch.rand(1, 3, 16, 24)
    wanted = deprocess(layers7.Network(layers7.load(path))(x))
    with torch.no_grad():
        torch.testing.assert_close(network(x).double(), wanted, rtol=0, atol=RANGE)


def test_noise_beside_the_photo_of_the_branch_diversity(tmp_path: Path) -> None:
    tree = published.master_johnson()
    tree.fields["modules"][2] = published.Layers7(5).conv(6, 4, 9)
    network, header = loaded(written(tree, tmp_path), tmp_path)
    assert spec_of(header) == Johnson(channels=4, blocks=2, noise_depth=3)
    assert network.noise == (noise.NoiseInput(3, 1),)
    x, noises = torch.rand(1, 3, 16, 16), noise.draw(network.noise, [1], 16, 16)
    wanted = deprocess(layers7.Network(layers7.load(tmp_path / "network.t7"))(torch.cat([x, *noises], 1)))
    with torch.no_grad():
        torch.testing.assert_close(network(x, noises).double(), wanted, rtol=0, atol=RANGE)


@pytest.mark.parametrize("preprocessing", ["vgg", "resnet"])
@pytest.mark.parametrize("reflect_start", [True, False])
@pytest.mark.parametrize("instance", [True, False])
def test_fast_neural_style(tmp_path: Path, preprocessing: str, reflect_start: bool, instance: bool) -> None:
    value = published.fast_neural_style(
        preprocessing=preprocessing, reflect_start=reflect_start, instance=instance, nearest=not instance
    )
    path = written(value, tmp_path)
    network, header = loaded(path, tmp_path)
    assert header.training["converted"]["family"] == "jcjohnson/fast-neural-style"
    assert "personal or research use" in header.licence
    x = torch.rand(1, 3, 24, 24)
    if preprocessing == "vgg":
        fed = x.double().flip(1) * 255 - MEAN
    else:
        mean = torch.tensor([0.485, 0.456, 0.406]).double()[:, None, None]
        deviation = torch.tensor([0.229, 0.224, 0.225]).double()[:, None, None]
        fed = (x.double() - mean) / deviation
    y = layers7.Network(layers7.load(path)[b"model"])(fed)
    wanted = deprocess(y) if preprocessing == "vgg" else y * deviation + mean
    with torch.no_grad():
        torch.testing.assert_close(
            network(x).double(), wanted, rtol=0, atol=RANGE * float(wanted.max() - wanted.min())
        )


def test_old_batch_normalization_holds_one_over_the_deviation(tmp_path: Path) -> None:
    make = published.Layers7()
    tree = published.sequence(make.conv(3, 4, 1), make.batch_norm(4, old=True), make.conv(4, 3, 1))
    path = written(tree, tmp_path)
    network, _ = loaded(path, tmp_path)
    x = torch.rand(1, 3, 8, 8)
    wanted = deprocess(layers7.Network(layers7.load(path))(x))
    with torch.no_grad():
        torch.testing.assert_close(network(x).double(), wanted, rtol=0, atol=RANGE)


def test_skip_connections_around_pooling(tmp_path: Path) -> None:
    """models/skip_unpool.lua puts maxima back where the pooling found them."""
    make, window = published.Layers7(), dict.fromkeys(("kW", "kH", "dW", "dH"), 2) | {"padW": 0, "padH": 0}
    pooling = published.Module("nn.SpatialMaxPooling", {**window, "ceil_mode": False})
    deep = published.sequence(
        pooling, make.conv(4, 4, 1), published.Module("nn.SpatialMaxUnpooling", {"pooling": pooling})
    )
    both = published.sequence(published.Module("nn.Identity"), deep, kind="nn.ConcatTable")
    tree = published.sequence(
        make.conv(3, 4, 1), both, published.Module("nn.JoinTable", {"dimension": 2}), make.conv(8, 3, 1)
    )
    network, _ = loaded(written(tree, tmp_path), tmp_path)
    x = torch.rand(1, 3, 8, 8)
    first, inner, last = ((torch.tensor(m.fields["weight"]), torch.tensor(m.fields["bias"])) for m in (
        tree.fields["modules"][1], deep.fields["modules"][2], tree.fields["modules"][4]
    ))  # fmt: skip
    a = torch.conv2d(x, *first)
    pooled, where = torch.nn.functional.max_pool2d(a, 2, return_indices=True)
    back = torch.nn.functional.max_unpool2d(torch.conv2d(pooled, *inner), where, 2)
    wanted = deprocess(torch.conv2d(torch.cat([a, back], 1), *last).double())
    with torch.no_grad():
        torch.testing.assert_close(network(x).double(), wanted, rtol=0, atol=RANGE)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (published.sequence(published.Module("nn.Linear")), "no convolution"),
        (published.sequence(published.Layers7().conv(3, 3, 1), published.Module("nn.Linear")), "nn.Linear"),
        (published.sequence(published.Layers7().conv(3, 8, 1)), "three channels"),
        (published.sequence(published.Layers7().conv(3, 3, 3)), "photo's size"),
        ({"model": 3}, "no network of Torch7"),
        ({"model": published.master_johnson(), "opt": {"preprocessing": "x"}}, "preprocessing 'x'"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path: Path, tree: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        convert(written(tree, tmp_path))
    assert "network.t7" in str(caught.value)


def test_a_weight_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    tree = published.master_johnson()
    tree.fields["modules"][2].fields["bias"][1] = np.nan
    with pytest.raises(UserError, match="not finite"):
        convert(written(tree, tmp_path))
