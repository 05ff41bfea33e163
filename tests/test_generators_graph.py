"""The graph generator: its grammar, its refusals, and its operations against PyTorch's own."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F

from texturenets import noise
from texturenets.engines.executor import GraphNetwork
from texturenets.errors import UserError
from texturenets.graph import Node, line, parse, parse_node, shapes
from texturenets.graph.grammar import text_of
from texturenets.networks import build
from texturenets.networks.graph import GraphSpec as Graph
from texturenets.noise import NoiseInput


def graph(*lines: str) -> GraphNetwork:
    network = build(Graph(nodes=lines))
    assert isinstance(network, GraphNetwork)
    return network.eval()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["photo", "convv 0 out=3 kernel=1"], "did you mean 'conv'"),
        (["photo", "conv 1 out=3 kernel=1"], "is not an earlier node"),
        (["photo", "conv 0 out=3 kernal=1"], "did you mean 'kernel'"),
        (["photo", "conv 0 out=3"], "kernel is missing"),
        (["photo", "conv 0 out=3 kernel=three"], "invalid literal"),
        (["photo", "conv 0 out=99999 kernel=1"], "not between 1 and 8192"),
        (["photo", "conv 0 out=3 kernel=3"], "photo's size"),
        (["photo", "conv 0 out=4 kernel=1"], "three channels"),
        (["photo", "pad 0 amount=1:1:1 mode=zero"], "four numbers"),
        (["photo", "pad 0 amount=1:1:1:1 mode=mirror"], "unknown mode 'mirror'"),
        (["photo", "upsample 0 factor=2", "add 0 1"], "different sizes"),
        (["photo", "concat 0 0", "add 0 1"], "different numbers of channels"),
        (["photo", "concat 0"], "1 sources, not 2 to 64"),
        (["photo", "relu 0 0"], "2 sources"),
        (["photo", "conv 0 out=4 kernel=1 groups=2"], "are not divisible into"),
        (["photo", "unpool 0 0"], "not a 2 x 2 max_pool"),
        (["photo", *["conv 0 out=8000 kernel=64"] * 2], "more than 100000000 weights"),
        ([""], "unknown operation"),
        ([], "not between 1 and"),
        (["photo"] * 2001, "2001 nodes"),
        (["x" * 1001], "too long"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(lines: list[str], reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        Graph(nodes=tuple(lines))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_stride_that_no_picture_has_is_refused() -> None:
    down = [f"conv {i} out=1 kernel=2 stride=2" for i in range(70)]
    up = [f"deconv {i} out=3 kernel=2 stride=2" for i in range(70, 140)]
    with pytest.raises(UserError, match=f"multiples of {2**70} pixels; the maximum"):
        parse(["photo", *down, *up], unnamed=True)


def test_sizes_are_known_before_anything_is_built() -> None:
    parsed = parse(
        [
            "photo",
            "pad 0 amount=4:5:6:7 mode=zero",
            "conv 1 out=8 kernel=3 stride=4 dilation=2",
            "deconv 2 out=5 kernel=4 stride=4 crop=2:3:1:6",
            "crop 3 amount=0:3:0:3",
            "conv 0 out=3 kernel=1",
        ],
        unnamed=True,
    )
    x = torch.rand(1, 3, 24, 40)
    for node, layer in zip(parsed[1:5], _layers(parsed)[1:5], strict=True):
        x = layer(x)
        want = (node.channels, node.scale * 24 + node.extra_rows, node.scale * 40 + node.extra_columns)
        assert tuple(x.shape[1:]) == want
    assert parsed[2].scale == Fraction(1, 4)
    assert shapes.stride(parsed) == 4


def _layers(parsed: tuple[Node, ...]) -> list[torch.nn.Module]:
    from texturenets.engines.executor import _layer

    return [_layer(node, parsed[node.sources[0]].channels if node.sources else 0) for node in parsed]


def test_lines_are_written_as_they_are_read() -> None:
    text = line("leaky_relu", [7], slope=0.30000001192092896)
    assert float(text.split("slope=")[1]) == 0.30000001192092896
    assert line("conv", [3], out=8, kernel=3, stride=1, dilation=1, groups=1) == "conv 3 out=8 kernel=3"
    assert line("pad", [1], amount=(1, 2, 3, 4), mode="zero") == "pad 1 amount=1:2:3:4"
    assert line("upsample", [1], factor=2, mode="bilinear") == "upsample 1 factor=2 mode=bilinear"


def test_operations() -> None:
    network = graph(
        "photo",
        "pad 0 amount=0:1:2:1 mode=reflect",
        "conv 1 out=6 kernel=2",
        "crop 2 amount=0:0:0:2",
        "norm 3 eps=0.001",
        "leaky_relu 4 slope=0.2",
        "max_pool 5 kernel=2 stride=2",
        "affine 6",
        "unpool 7 6",
        "deconv 6 out=6 kernel=4 stride=2 crop=1:1:0:2",
        "upsample 6 factor=2 mode=bilinear_corners",
        "mul 8 9",
        "add 10 11",
        "prelu 12",
        "linear 13 by=2 add=-0.5",
        "clamp 14 low=-1 high=0.75",
        "concat 0 15",
        "conv 16 out=3 kernel=1",
        "sigmoid 17",
    )
    x = torch.rand(2, 3, 8, 10)
    weights = {name: torch.randn_like(value) for name, value in network.state_dict().items()}
    network.load_state_dict(weights)

    def w(i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return weights[f"layers.{i}.weight"], weights[f"layers.{i}.bias"]

    a = F.conv2d(F.pad(x, (2, 1, 0, 1), mode="reflect"), *w(2))[..., :-2]
    mean, variance = a.mean((2, 3), keepdim=True), a.var((2, 3), unbiased=False, keepdim=True)
    scale, shift = (v[:, None, None] for v in w(4))
    a = F.leaky_relu((a - mean) / (variance + 0.001).sqrt() * scale + shift, 0.2)
    pooled, indices = F.max_pool2d(a, 2, return_indices=True)
    scale, shift = (v[:, None, None] for v in w(7))
    unpooled = F.max_unpool2d(pooled * scale + shift, indices, 2)
    transposed = F.conv_transpose2d(pooled, *w(9), stride=2)[:, :, 1:-1, :-2]
    up = F.interpolate(pooled, scale_factor=2.0, mode="bilinear", align_corners=True)
    b = up + unpooled * transposed
    b = torch.where(b > 0, b, b * weights["layers.13.weight"][:, None, None])
    b = (2 * b - 0.5).clamp(-1, 0.75)
    want = torch.sigmoid(F.conv2d(torch.cat([x, b], 1), *w(17)))
    torch.testing.assert_close(network(x), want, rtol=1e-4, atol=1e-5)


NOISY = (
    "noise channels=2 stride=4",
    "upsample 0 factor=4",
    "noise channels=1 stride=1 distribution=normal scale=0.5",
    "concat 1 2",
)


def test_noise_is_an_input() -> None:
    network = graph(*NOISY)
    assert network.noise == (NoiseInput(2, 4), NoiseInput(1, 1, "normal"))
    assert network.stride == 4
    assert not network.photo
    assert network.noise_shapes(8, 12) == [(2, 2, 3), (1, 8, 12)]
    maps = noise.draw(network.noise, [3, 4], 8, 12)
    y = network(None, maps)
    assert torch.equal(y[:, :2, 4:8, 0:4], maps[0][:, :, 1:2, :1].expand(2, 2, 4, 4))
    assert torch.equal(y[:, 2:], maps[1] / 2)
    same = network(torch.rand(1, 3, 8, 12))
    assert torch.equal(same, network(None, noise.draw(network.noise, [0], 8, 12)))


def test_what_the_network_needs_is_asked_for() -> None:
    with pytest.raises(ValueError, match="noises have to be given"):
        graph(*NOISY)(None)
    with pytest.raises(ValueError, match="1 noise maps for a network that takes 2"):
        graph(*NOISY)(None, [torch.zeros(1, 2, 2, 2)])
    with pytest.raises(ValueError, match="stylizes photos"):
        graph("photo", "relu 0")(None, [])


def test_circular_padding_by_unequal_amounts() -> None:
    network = graph("photo", "pad 0 amount=2:1:0:1 mode=circular", "crop 1 amount=1:2:1:0")
    x = torch.arange(60.0).reshape(1, 3, 4, 5)
    torch.testing.assert_close(network(x), torch.roll(x, (1, -1), (2, 3)), rtol=0, atol=0)


def test_few_rows_do_not_change_how_columns_are_mirrored() -> None:
    network = graph("photo", "pad 0 amount=0:0:1:4 mode=reflect", "crop 1 amount=0:0:0:5")
    x = torch.arange(3 * 3 * 28.0).reshape(1, 3, 3, 28)
    padded = torch.nn.functional.pad(x, (1, 4, 0, 0), mode="reflect")
    torch.testing.assert_close(network(x), padded[..., :28], rtol=0, atol=0)
    beyond = graph("photo", "pad 0 amount=0:0:0:4 mode=reflect", "crop 1 amount=0:0:4:0")
    torch.testing.assert_close(
        beyond(x), torch.nn.functional.pad(x, (0, 4, 0, 0), mode="reflect")[..., 4:], rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("channels=2 distribution=waves", "two channels for each"),
        ("channels=2 waves=0.1:0", "two channels for each"),
        ("channels=2 distribution=waves waves=0.1:0,0:0.1", "two channels for each"),
        ("channels=2 distribution=waves waves=0:nan", "waves=0:nan is not two numbers from -0.5 to 0.5"),
        ("channels=2 distribution=waves waves=0.6:0", "not two numbers from -0.5 to 0.5"),
        ("channels=2 distribution=waves waves=0.1", "could not convert"),
    ],
)
def test_waves_that_cannot_be(settings: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        parse([f"noise stride=4 {settings}"])


def test_waves_are_read_as_they_are_written() -> None:
    waves = ((0.034552845528455285, 2.9e-05), (-0.1, 0.0))
    text = line("noise", channels=4, stride=4, distribution="waves", waves=waves)
    node = parse_node(text, [])
    assert node.settings["waves"] == waves
    assert text_of(node) == text
