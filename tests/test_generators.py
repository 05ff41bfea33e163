"""Every generator: shapes, gradients, independence in a batch; the reference's against its description."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from networks import as_rgb
from torch import Tensor, nn

from texturenets import noise
from texturenets.engines.primitives import Padding
from texturenets.errors import UserError
from texturenets.field_docs import field_docs
from texturenets.networks import SPECS, GeneratorSpec, build, from_dict, make_spec, to_dict
from texturenets.networks.custom import Custom
from texturenets.networks.encoder_decoder import Skip, SkipNoise, SkipUnpool
from texturenets.networks.fully_connected import FullyConnected
from texturenets.networks.graph import GraphSpec as Graph
from texturenets.networks.johnson import Johnson
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.operation_count import flops
from texturenets.networks.pyramid import Pyramid, Pyramid2
from texturenets.networks.reference import REFERENCE
from texturenets.networks.residual import Residual
from texturenets.networks.spec import Normalization
from texturenets.train.configuration import TEXTURE_GENERATORS, StyleConfig, TextureConfig

TINY: dict[str, GeneratorSpec] = {
    "residual": Residual(channels=32, blocks=1),
    "johnson": Johnson(channels=3, blocks=1),
    "pyramid": Pyramid(channels=3, scales=3),
    "skip_unpool": SkipUnpool(channels=(4, 6), skip_channels=2),
    "pyramid2": Pyramid2(channels=(6, 4, 3), noise_depth=2),
    "skip": Skip(channels=(4, 6), skip_channels=2),
    "skip_noise": SkipNoise(channels=(4, 6), skip_channels=2),
    "multiscale": Multiscale(channels=(8, 6, 4), noise_depth=2),
    "fully_connected": FullyConnected(noise_depth=8, hidden=6, channels=(6, 4)),
    "graph": Graph(
        nodes=("photo", "conv 0 out=4 kernel=2 stride=2", "elu 1", "deconv 2 out=3 kernel=2 stride=2")
    ),
}
OPTIONS: list[GeneratorSpec] = [
    *(
        Johnson(channels=3, blocks=1, size=size, upsampling=upsampling)
        for size in ("standard", "small", "small_down")
        for upsampling in ("full", "full4", "bilinear", "nearest")
    ),
    Johnson(channels=3, blocks=0, input_norm=True, down_padding="zero", output="bounded"),
    Johnson(channels=3, blocks=1, upsampling="nearest", decoder_norm=True, exit_kernel=9),
    Johnson(channels=3, blocks=1, upsampling="full", decoder_norm=False),
    Johnson(channels=3, blocks=1, noise_depth=3),
    Johnson(channels=3, blocks=1, size="small_down", padding="circular"),
    Pyramid(channels=2, scales=2, upsampling="bilinear", output="bounded"),
    SkipUnpool(channels=(4,), skip_channels=1, output="bounded"),
    SkipUnpool(channels=(4, 6, 8), skip_channels=2, noise_depth=1),
    Residual(channels=32, blocks=1, noise_depth=2),
    Johnson(channels=3, blocks=1, photo=False, noise_depth=3, upsampling="nearest"),
    Pyramid(channels=2, scales=3, noise_depth=2, activation="leaky_relu"),
    Pyramid(channels=2, scales=3, photo=False, noise_depth=3, noise="normal"),
    Pyramid2(channels=(6, 4), photo=True, upsampling="bilinear"),
    Skip(channels=(4, 6), photo=True, noise_depth=0, level_noise=1, upsampling="bilinear"),
    Multiscale(channels=(6, 4, 4), noise_depth=2, waves=(0.05, 0.0, 0.02, -0.1)),
    FullyConnected(noise_depth=8, hidden=6, channels=(6, 4), upsampling="bilinear", output="bounded"),
]
CASES = [
    dataclasses.replace(spec, normalization=norm, padding=padding)
    for spec, norm, padding in itertools.product(TINY.values(), get_args(Normalization), get_args(Padding))
] + OPTIONS


def label(spec: GeneratorSpec) -> str:
    """What sets `spec` apart, for a test's name."""
    return "-".join(str(v) for v in to_dict(spec).values() if isinstance(v, str | bool))


def photo(network: nn.Module, count: int, height: int, width: int) -> Tensor:
    """Random images, `height` and `width` in strides; of a network of one size, in that."""
    stride = network.stride
    assert isinstance(stride, int)
    if hasattr(network, "size"):
        height = width = 1
    return torch.rand(count, 3, height * stride, width * stride, dtype=torch.float64)


def fed(network: nn.Module, x: Tensor) -> list[list[Tensor]]:
    """The maps of noise for images like `x`, as the second argument of the network; none where it takes none."""
    inputs = getattr(network, "noise", ())
    drawn = noise.draw(inputs, list(range(len(x))), x.shape[2], x.shape[3])
    return [[m.double() for m in drawn]] if inputs else []


def test_the_tables_agree() -> None:
    assert set(TINY) == set(SPECS) - {Custom.name}
    for name, cls in SPECS.items():
        assert cls.name == name


@pytest.mark.parametrize("spec", CASES, ids=label)
def test_every_generator(spec: GeneratorSpec) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(spec)))) == spec
    network = build(spec).double()
    x = photo(network, 2, 4, 3)
    maps = fed(network, x)
    one, other = ([[m[i : i + 1] for m in some] for some in maps] for i in (0, 1))
    y = network(x, *maps)
    assert y.shape == (2, 3, *x.shape[2:])

    (y * torch.rand_like(y)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A shift before a normalization makes no difference, so only the last bias has to move then.
        if spec.normalization == "none" or not name.endswith("bias") or name.startswith("exit"):
            assert parameter.grad.abs().max() > 1e-9, name

    if spec.normalization != "batch":
        torch.testing.assert_close(network(x[:1], *one), y[:1], rtol=1e-9, atol=1e-9)
    network.eval()
    with torch.no_grad():
        both = network(x, *maps)
        torch.testing.assert_close(network(x[1:], *other), both[1:], rtol=1e-9, atol=1e-9)
        smallest = network(photo(network, 1, 1, 1))
    assert smallest.shape[2:] == (network.stride, network.stride)
    assert smallest.isfinite().all()


@pytest.mark.parametrize("spec", [*REFERENCE.values(), Residual()], ids=label)
@pytest.mark.parametrize("padding", ["reflect", "circular"])
def test_a_16_x_16_picture_passes_at_full_width(spec: GeneratorSpec, padding: Any) -> None:
    network = build(dataclasses.replace(spec, padding=padding)).eval()
    size = -(-16 // int(network.stride)) * int(network.stride)  # type: ignore[arg-type]
    with torch.no_grad():
        y = network(torch.rand(1, 3, size, size))
    assert y.shape == (1, 3, size, size)
    assert y.isfinite().all()


def test_options_do_what_they_say() -> None:
    def parameters(**options: Any) -> int:
        return sum(p.numel() for p in build(Johnson(channels=4, blocks=2, **options)).parameters())

    plain = parameters()
    assert parameters(input_norm=True) == plain + 6
    assert parameters(noise_depth=3) == plain + 4 * 3 * 81
    assert parameters(decoder_norm=False) == plain - 2 * 8 - 2 * 4
    assert parameters(exit_kernel=9) == plain + 4 * 3 * (81 - 9)
    assert parameters(normalization="none") < plain
    bounded = build(Johnson(channels=4, blocks=0, output="bounded"))
    with torch.no_grad():
        y = bounded(torch.rand(1, 3, 8, 8) * 1e4)
    assert 0 <= y.min() <= y.max() <= 1


def test_batch_normalization_uses_running_statistics_afterwards() -> None:
    network = build(Johnson(channels=3, blocks=1, normalization="batch"))
    for _ in range(3):
        network(torch.rand(4, 3, 16, 16))
    network.eval()
    with torch.no_grad():
        dark, light = torch.rand(1, 3, 16, 16) * 0.1, torch.rand(1, 3, 16, 16)
        torch.testing.assert_close(network(torch.cat([dark, light]))[:1], network(dark), rtol=1e-4, atol=1e-4)


# The reference's networks, worked out from the description of its files in float64, layer by layer.


def replicated(x: Tensor, amount: int) -> Tensor:
    """Replication padding by clamped indices."""
    rows = torch.arange(-amount, x.shape[2] + amount).clamp(0, x.shape[2] - 1)
    columns = torch.arange(-amount, x.shape[3] + amount).clamp(0, x.shape[3] - 1)
    return x[:, :, rows][:, :, :, columns]


def normalized(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Instance normalization, biased variance, eps 1e-5."""
    mean = x.mean((2, 3), keepdim=True)
    variance = (x - mean).square().mean((2, 3), keepdim=True)
    return (x - mean) / (variance + 1e-5) ** 0.5 * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def johnson_by_hand(file: str, x: Tensor, weights: Iterator[Tensor], blocks: int) -> Tensor:
    """The network of a reference file; `weights` in the order in which the file adds its layers."""

    def conv(x: Tensor, pad: int, stride: int = 1, zeros: int = 0) -> Tensor:
        return F.conv2d(replicated(x, pad), next(weights), next(weights), stride, zeros)

    def norm(x: Tensor) -> Tensor:
        return normalized(x, next(weights), next(weights))

    def full(x: Tensor) -> Tensor:
        if file == "diversity/johnson":
            return F.conv_transpose2d(replicated(x, 2), next(weights), next(weights), 2, 5)
        return F.conv_transpose2d(x, next(weights), next(weights), 2, 1, 1)

    zeros = file in ("diversity/johnson_in_start", "diversity/johnson_small")
    if file == "diversity/johnson_in_start":
        x = norm(x)
    if file == "diversity/johnson_small_down":
        p = replicated(x, 1)
        windows = [
            p[:, :, i : i + x.shape[2] : 4, j : j + x.shape[3] : 4] for i in range(4) for j in range(4)
        ]
        x = torch.stack(windows).mean(0)
    x = norm(conv(x, 4)).relu()
    if file != "diversity/johnson_small_down":
        for _ in range(2):
            x = norm(conv(x, 0, 2, 1) if zeros else conv(x, 1, 2)).relu()
    for _ in range(blocks):
        x = x + norm(conv(norm(conv(x, 1)).relu(), 1))
    for _ in range(2):
        if file in ("master/johnson", "diversity/johnson", "diversity/johnson_in_start"):
            x = norm(full(x)).relu()
        else:
            # Each output pixel lies a quarter of a pixel beside its source: weights 3/4 and 1/4.
            for dim in (2, 3):
                edge = replicated(x, 1).narrow(5 - dim, 1, x.shape[5 - dim])
                n = x.shape[dim]
                before, after = edge.narrow(dim, 0, n), edge.narrow(dim, 2, n)
                x = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], dim + 1).flatten(
                    dim, dim + 1
                )
            x = conv(x, 1).relu()
    return as_rgb(conv(x, 1))


@pytest.mark.parametrize("file", [f for f in REFERENCE if "johnson" in f])
def test_johnson_is_the_references(file: str) -> None:
    spec = REFERENCE[file]
    assert isinstance(spec, Johnson)
    assert (spec.channels, spec.blocks) == (32, 5)
    network = build(dataclasses.replace(spec, channels=4, blocks=2)).double()
    for parameter in network.parameters():  # shifts start at zero and would hide a mistake
        nn.init.normal_(parameter, std=0.3)
    x = torch.rand(2, 3, 16, 12, dtype=torch.float64)
    weights = iter([p.detach() for p in network.parameters()])
    with torch.no_grad():
        torch.testing.assert_close(network(x), johnson_by_hand(file, x, weights, 2), rtol=1e-9, atol=1e-9)
    assert next(weights, None) is None, "parameters that the reference does not have"


@pytest.mark.parametrize(
    ("file", "widths"),
    [
        ("master/johnson", [32, 64, *[128] * 11, 64, 32, 3]),
        ("diversity/johnson", [32, 64, *[128] * 11, 64, 32, 3]),
        ("diversity/johnson_bilinear", [32, 64, *[128] * 11, 64, 32, 3]),
        ("diversity/johnson_in_start", [32, 64, *[128] * 11, 64, 32, 3]),
        ("diversity/johnson_small", [32, 64, 64, *[64] * 10, 64, 32, 3]),
        ("diversity/johnson_small_down", [64, *[64] * 10, 64, 32, 3]),
        ("master/skip_unpool", None),
    ],
)
def test_widths_are_the_references(file: str, widths: list[int] | None) -> None:
    network = build(REFERENCE[file])
    convs = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    if widths is None:
        assert sorted(set(convs)) == [3, 4, 16, 32, 64, 128]
        assert len(convs) == 4 * 6 + 3 + 1
    else:
        assert convs == widths


def test_pyramid_is_the_references() -> None:
    network = build(Pyramid(scales=3, channels=2)).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    w = {k: v.detach() for k, v in network.named_parameters()}

    def block(x: Tensor, name: str) -> Tensor:
        for i, pad in enumerate((1, 1, 0)):
            x = F.conv2d(
                replicated(x, pad), w[f"{name}.{i}.conv.conv.weight"], w[f"{name}.{i}.conv.conv.bias"]
            )
            x = normalized(x, w[f"{name}.{i}.norm.weight"], w[f"{name}.{i}.norm.bias"]).relu()
        return x

    x = torch.rand(2, 3, 12, 8, dtype=torch.float64)
    current = None
    for level, ratio in enumerate((4, 2, 1)):
        small = x.view(2, 3, 12 // ratio, ratio, 8 // ratio, ratio).mean((3, 5))
        mine = block(small, f"blocks.{level}")
        if current is not None:
            join = f"joins.{level - 1}"
            coarse = current.repeat_interleave(2, 2).repeat_interleave(2, 3)
            coarse = normalized(coarse, w[f"{join}.coarse_norm.weight"], w[f"{join}.coarse_norm.bias"])
            mine = normalized(mine, w[f"{join}.fine_norm.weight"], w[f"{join}.fine_norm.bias"])
            mine = block(torch.cat([coarse, mine], 1), f"{join}.block")
        current = mine
    assert current is not None
    expected = as_rgb(F.conv2d(current, w["exit.conv.weight"], w["exit.conv.bias"]))
    with torch.no_grad():
        torch.testing.assert_close(network(x), expected, rtol=1e-9, atol=1e-9)


def test_skip_unpool_is_the_references() -> None:
    network = build(SkipUnpool(channels=(3, 5), skip_channels=2)).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    w = {k: v.detach() for k, v in network.named_parameters()}

    def step(x: Tensor, name: str, pad: int, slope: float = 0.01) -> Tensor:
        x = F.conv2d(replicated(x, pad), w[f"{name}.conv.conv.weight"], w[f"{name}.conv.conv.bias"])
        x = normalized(x, w[f"{name}.norm.weight"], w[f"{name}.norm.bias"])
        return torch.where(x > 0, x, slope * x)

    def level(x: Tensor, name: str, inner: bool) -> Tensor:
        past = normalized(
            step(x, f"{name}.skip", 0), w[f"{name}.skip_norm.weight"], w[f"{name}.skip_norm.bias"]
        )
        pooled, indices = F.max_pool2d(step(x, f"{name}.before", 1), 2, return_indices=True)
        deep = step(pooled, f"{name}.deep.0", 1)
        if inner:
            deep = step(level(deep, f"{name}.deep.1", False), f"{name}.deep.2", 1, slope=1)
        deep = F.max_unpool2d(deep, indices, (2, 2))
        deep = normalized(deep, w[f"{name}.deep_norm.weight"], w[f"{name}.deep_norm.bias"])
        x = torch.cat([past, deep], 1)
        for i, pad in enumerate((1, 1, 0)):
            x = step(x, f"{name}.after.{i}", pad)
        return x

    x = torch.rand(2, 3, 8, 12, dtype=torch.float64)
    drawn = F.conv2d(level(x, "levels", True), w["exit.conv.weight"], w["exit.conv.bias"])
    with torch.no_grad():
        torch.testing.assert_close(network(x), as_rgb(x + drawn), rtol=1e-9, atol=1e-9)


def johnson_arithmetic(doubling: tuple[int, int], exit_kernel: int) -> int:
    """Multiply-adds of a standard johnson at 512 x 512; `doubling`: pixels that each of the two works on."""
    full, half, quarter = 512**2, 256**2, 128**2
    encoder = 81 * 3 * 32 * full + 9 * 32 * 64 * half + 9 * 64 * 128 * quarter
    blocks = 10 * 9 * 128 * 128 * quarter
    decoder = 9 * 128 * 64 * doubling[0] + 9 * 64 * 32 * doubling[1]
    return encoder + blocks + decoder + exit_kernel**2 * 32 * 3 * full


def test_arithmetic_by_hand() -> None:
    assert flops(nn.Conv2d(3, 5, 3, 2, 1), 8, 8) == 4 * 4 * 9 * 3 * 5
    assert flops(nn.ConvTranspose2d(3, 5, 3, 2, 1, 1), 8, 8) == 8 * 8 * 9 * 3 * 5
    assert flops(nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3, 7)), 8, 8) == 21
    assert flops(Functional(), 8, 8) == 64 * 9 * 9
    assert flops(build(Johnson()), 512, 512) == johnson_arithmetic((128**2, 256**2), 3)
    network = build(Johnson(noise_depth=3))
    state = {k: v.clone() for k, v in network.state_dict().items()}
    assert flops(network, 16, 16) == flops(build(Johnson()), 16, 16) + 256 * 81 * 3 * 32
    assert network.training
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())


class Functional(nn.Module):
    """A convolution that is no module."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the same."""
        return F.conv2d(x, torch.ones(3, 3, 3, 3, device=x.device), padding=1)


def test_the_default_network_needs_at_most_a_quarter_of_johnsons_arithmetic() -> None:
    # Johnson as the paper and most programs have it: 9 x 9 at the exit, convolutions after upsampling.
    johnson = build(Johnson(upsampling="nearest", decoder_norm=True, exit_kernel=9, padding="reflect"))
    arithmetic = flops(johnson, 512, 512)
    assert arithmetic == johnson_arithmetic((256**2, 512**2), 9)
    assert arithmetic / 1e9 == pytest.approx(40.3, abs=0.05)
    assert flops(build(make_spec("residual")), 512, 512) <= arithmetic / 4


# The user's own networks.

NET = """
from dataclasses import dataclass
from pathlib import Path

import torch

Path(__file__).with_suffix(".ran").touch()


@dataclass
class Settings:
    width: int = 4


class Net(torch.nn.Module):
    stride = 2

    def __init__(self, width=4, kind="plain", deep=False):
        super().__init__()
        self.settings, self.kind, self.deep = Settings(width), kind, deep
        self.a = torch.nn.Conv2d(3, width, 3, 2, 1)
        self.norm = torch.nn.BatchNorm2d(width)
        self.b = torch.nn.ConvTranspose2d(width, 3, 2, 2)

    def forward(self, x):
        return self.b(self.norm(self.a(x)))


class Draws(torch.nn.Module):
    photo, stride = False, 2

    def __init__(self):
        super().__init__()
        from texturenets.noise import NoiseInput

        self.noise = (NoiseInput(3, 1), NoiseInput(3, 2))

    def forward(self, x, maps):
        assert x is None
        return maps[0] + torch.nn.functional.interpolate(maps[1], scale_factor=2.0)


def small():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1))


def shrinks():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3))


def no_network():
    return 7


def odd_stride():
    net = small()
    net.stride = 0
    return net


NUMBER = 3
"""


@pytest.fixture
def net_file(tmp_path: Path) -> Path:
    """A file with networks of a user's own."""
    file = tmp_path / "net.py"
    file.write_text(NET)
    return file


def test_a_network_of_the_users_own(net_file: Path) -> None:
    spec = make_spec(f"{net_file}:Net", ["width=6", "kind=wide", "deep=true"])
    assert isinstance(spec, Custom)
    spec_again = from_dict(json.loads(json.dumps(to_dict(spec))))
    torch.manual_seed(1)
    network = build(spec_again, custom=spec.target)
    after = torch.rand(3)
    assert network.stride == 2
    assert (network.a.out_channels, network.kind, network.deep) == (6, "wide", True)  # type: ignore[union-attr, comparison-overlap]
    assert network.training
    # Trying the network out used no random numbers up and left its statistics alone.
    assert network.norm.num_batches_tracked == 0  # type: ignore[union-attr]
    torch.manual_seed(1)
    type(network)(6)
    assert torch.equal(torch.rand(3), after)
    assert build(make_spec(f"{net_file}:small"), custom=f"{net_file}:small").stride == 1
    # One that draws from noise is given no photo.
    assert build(make_spec(f"{net_file}:Draws"), custom=f"{net_file}:Draws").photo is False


def test_code_of_a_model_is_not_run_unasked(net_file: Path) -> None:
    spec = make_spec(f"{net_file}:Net")
    with pytest.raises(UserError, match=re.escape(f"give it as `generator` {net_file}:Net")):
        build(spec)
    assert not net_file.with_suffix(".ran").exists()
    build(spec, custom=str(net_file))
    assert net_file.with_suffix(".ran").exists()


def test_a_file_that_has_changed_warns(net_file: Path) -> None:
    spec = make_spec(f"{net_file}:Net")
    net_file.write_text(NET + "\n# changed\n")
    with pytest.warns(UserWarning, match="has changed since"):
        build(spec, custom=f"{net_file}:Net")


def test_the_function_itself_will_do() -> None:
    spec = Custom(target="net.py:anything", options=("kernel_size=3", "padding=1"))
    network = build(spec, custom=lambda **options: nn.Sequential(nn.Conv2d(3, 3, **options)))
    assert network(torch.rand(1, 3, 5, 7)).shape == (1, 3, 5, 7)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("Nett", (), "did you mean 'Net'"),
        ("NUMBER", (), "unknown generator in"),
        ("Net", ("wdth=3",), "cannot be made with wdth=3: TypeError"),
        ("shrinks", (), "the shape has to stay"),
        ("no_network", (), "gives a int, not a torch.nn.Module"),
        ("odd_stride", (), "its stride is 0"),
    ],
)
def test_mistakes_in_a_network_of_the_users_own(
    net_file: Path, name: str, options: tuple[str, ...], says: str
) -> None:
    target = f"{net_file}:{name}"
    with pytest.raises(UserError, match=re.escape(says)):
        build(Custom(target=target, options=options), custom=target)


def test_files_that_do_not_run_and_needless_files(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def Net(:\n")
    with pytest.raises(UserError, match="does not run: SyntaxError"):
        build(make_spec(f"{broken}:Net"), custom=f"{broken}:Net")
    with pytest.raises(UserError, match="needs no code of your own"):
        build(Residual(), custom=f"{broken}:Net")
    with pytest.raises(UserError, match="'nets-r-us' is not installed"):
        build(Custom(target="nets-r-us"))


def test_a_network_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_r_us.py").write_text(
        "from torch import nn\ndef make(k=3):\n    return nn.Sequential(nn.Conv2d(3, 3, k, padding=k // 2))\n"
    )
    info = tmp_path / "nets_r_us-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nets-r-us\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[texturenets.networks]\ntilenet = nets_r_us:make\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = make_spec("tilenet", ["k=5"])
    assert spec == Custom(target="tilenet", options=("k=5",), source="nets-r-us 1.2")
    assert "nets_r_us" not in sys.modules
    network = build(spec)
    assert next(network.parameters()).shape == (3, 3, 5, 5)
    with pytest.raises(UserError, match="did you mean 'tilenet'"):
        make_spec("tilnet")


def test_the_guide_and_the_help_name_every_generator_and_key() -> None:
    """Both are written by hand: help imports no PyTorch."""
    text = (Path(__file__).parents[1] / "docs" / "training.md").read_text("utf-8")
    section = text.partition("## Generators and their keys")[2].partition("\n## ")[0]
    common = section.partition("| generator |")[0]
    style, texture = (field_docs(cls)["generator"] for cls in (StyleConfig, TextureConfig))
    for name in SPECS.keys() - {"custom", "graph"}:
        (row,) = [
            line
            for line in section.splitlines()
            if line.startswith("|") and f"`{name}`" in line.split("|")[1]
        ]
        keys = {field.name for field in dataclasses.fields(SPECS[name])}
        assert {key for key in keys if f"`{key}`" not in row + common} == set()
        assert set(re.findall(r"`(\w+)`", row.split("|")[4])) <= keys
        assert (name in re.findall(r"\w+", style)) == ("texture" not in row.split("|")[3])
        assert (name in re.findall(r"\w+", texture)) == (name in TEXTURE_GENERATORS)
