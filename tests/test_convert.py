"""Networks of PyTorch, TensorFlow and ONNX programs, converted, against the same computed with plain operations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from texturenets.converters import Converted, convert, detect
from texturenets.errors import UserError
from texturenets.networks import build, network_files
from texturenets.networks.graph import GraphSpec as Graph
from texturenets.networks.johnson import Johnson
from texturenets.networks.network_files import spec_of

TRANSFORMER = Johnson(
    channels=4, blocks=2, padding="reflect", upsampling="nearest", decoder_norm=True, exit_kernel=9
)


def draw(converted: Converted, x: Tensor) -> Tensor:
    network = build(spec_of(converted.header)).eval()
    network.load_state_dict(converted.state)
    with torch.no_grad():
        y: Tensor = network(x)
    return y


def transformer_net(s: dict[str, Tensor], x: Tensor, blocks: int = 2) -> Tensor:
    """TransformerNet's forward, after neural_style/transformer_net.py of pytorch/examples."""

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = s[f"{name}.conv2d.weight"]
        amount = weight.shape[2] // 2
        return F.conv2d(F.pad(x, (amount,) * 4, "reflect"), weight, s[f"{name}.conv2d.bias"], stride)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.instance_norm(x, weight=s[f"{name}.weight"], bias=s[f"{name}.bias"])

    for i, stride in ((1, 1), (2, 2), (3, 2)):
        x = F.relu(norm(conv(x, f"conv{i}", stride), f"in{i}"))
    for i in range(1, blocks + 1):
        y = F.relu(norm(conv(x, f"res{i}.conv1"), f"res{i}.in1"))
        x = norm(conv(y, f"res{i}.conv2"), f"res{i}.in2") + x
    for i in (1, 2):
        x = F.relu(norm(conv(F.interpolate(x, scale_factor=2.0), f"deconv{i}"), f"in{i + 3}"))
    return conv(x, "deconv3")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("layout", ["zip", "legacy", "safetensors"])
def test_pytorch_examples_is_our_johnson(tmp_path: Path, old: bool, layout: str) -> None:
    state, path = published.transformer_net(old=old), tmp_path / "candy.pth"
    if layout == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=layout == "zip")
    converted = convert(path)
    assert spec_of(converted.header) == TRANSFORMER
    assert converted.header.kind == "style"
    x = torch.rand(1, 3, 24, 32)
    wanted = transformer_net(state, x * 255) / 255
    torch.testing.assert_close(draw(converted, x), wanted, rtol=0, atol=1e-4 * float(wanted.std()) * 4)


def test_a_prefix_does_not_matter(tmp_path: Path) -> None:
    state = {f"module.{k}": v for k, v in published.transformer_net().items()}
    torch.save({"epoch": 2, "state_dict": state}, tmp_path / "a.pth")
    assert spec_of(convert(tmp_path / "a.pth").header) == TRANSFORMER


@pytest.mark.parametrize("name", ["in5.bias", "res2.conv1.conv2d.bias"])
def test_a_state_with_something_missing_is_refused(tmp_path: Path, name: str) -> None:
    state = published.transformer_net()
    del state[name]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"a\.pth: its {name} is missing"):
        convert(tmp_path / "a.pth")


def fast_style_transfer(v: dict[str, Any], x: Tensor, blocks: int = 2) -> Tensor:
    """net() of src/transform.py of lengstrom/fast-style-transfer; "SAME" as TensorFlow defines it."""
    arrays = [torch.from_numpy(v["Variable" if i == 0 else f"Variable_{i}"]) for i in range(len(v))]
    layers = iter([arrays[i : i + 3] for i in range(0, len(arrays), 3)])

    def norm(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, (2, 3), unbiased=False, keepdim=True)
        return (x - mean) / (variance + 1e-3).sqrt() * scale[:, None, None] + shift[:, None, None]

    def conv(x: Tensor, stride: int = 1) -> Tensor:
        kernel, shift, scale = next(layers)
        sides = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel.shape[0] - size, 0)
            sides += [total // 2, total - total // 2]
        return norm(F.conv2d(F.pad(x, sides), kernel.permute(3, 2, 0, 1), stride=stride), shift, scale)

    def deconv(x: Tensor) -> Tensor:
        # The gradient of the convolution that would make x of a map twice as large
        kernel, shift, scale = next(layers)
        large = torch.zeros(1, kernel.shape[2], 2 * x.shape[2], 2 * x.shape[3], requires_grad=True)
        with torch.enable_grad():
            small = F.conv2d(F.pad(large, (0, 1, 0, 1)), kernel.permute(3, 2, 0, 1), stride=2)
            (y,) = torch.autograd.grad(small, large, x)
        return norm(y, shift, scale)

    for stride in (1, 2, 2):
        x = F.relu(conv(x, stride))
    for _ in range(blocks):
        x = x + conv(F.relu(conv(x)))
    x = F.relu(deconv(F.relu(deconv(x))))
    return torch.tanh(conv(x)) * 150 + 255 / 2


@pytest.mark.parametrize("layout", ["raw", "v1", "v2"])
def test_fast_style_transfer(tmp_path: Path, layout: str) -> None:
    variables = published.fast_style_transfer()
    extra = {**variables, "beta1_power": np.zeros(1, np.float32), "Variable/Adam": variables["Variable"]}
    if layout == "raw":
        path = published.raw_variables(tmp_path / "wave", extra)
    elif layout == "v1":
        path = tmp_path / "wave.ckpt"
        path.write_bytes(published.checkpoint_v1(extra))
    else:
        path = published.checkpoint_v2(tmp_path / "wave.ckpt", extra)
        (tmp_path / "wave.ckpt.meta").write_bytes(b"a graph")
    converted = convert(path)
    assert converted.header.name == "wave"
    assert converted.tested == (layout == "raw")
    assert isinstance(spec_of(converted.header), Graph)
    x = torch.rand(1, 3, 24, 16)
    wanted = fast_style_transfer(variables, x * 255) / 255
    torch.testing.assert_close(draw(converted, x), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ('{"Variable": {"filename": "../secret", "shape": [1]}}', "not a file of the folder"),
        ('{"Variable": {"filename": "a", "shape": [4611686018427387904]}}', "impossible shape"),
        ('{"Variable": {"filename": "a", "shape": [3]}}', "another length"),
        ('{"Variable": 3}', "lists no variables"),
        ("{", "not JSON"),
        ('{"Variable": {"filename": "a", "shape": [2]}}', "not those of fast-style-transfer"),
    ],
)
def test_a_bad_manifest_is_refused(tmp_path: Path, manifest: str, words: str) -> None:
    (tmp_path / "a").write_bytes(bytes(8))
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(UserError, match=words):
        convert(tmp_path)


def test_onnx_chain(tmp_path: Path) -> None:
    path = tmp_path / "style.onnx"
    path.write_bytes(published.onnx_chain())
    converted = convert(path)
    assert "does not say what its colours are" in converted.notes[0]
    random = np.random.default_rng(0)

    def conv(x: Tensor, inputs: int, out: int, kernel: int, stride: int = 1) -> Tensor:
        weight = torch.tensor(random.standard_normal((out, inputs, kernel, kernel)) * 0.2).float()
        bias = torch.tensor(random.standard_normal(out) * 0.1).float()
        return F.conv2d(F.pad(x, (kernel // 2,) * 4, "reflect"), weight, bias, stride)

    def norm(x: Tensor) -> Tensor:
        weight = torch.tensor(1 + 0.3 * random.standard_normal(x.shape[1])).float()
        return F.instance_norm(x, weight=weight, bias=torch.zeros(x.shape[1]))

    x = torch.rand(1, 3, 16, 24)
    y = F.relu(norm(conv(x * 255, 3, 4, 5)))
    y = F.relu(norm(conv(y, 4, 8, 3, 2)))
    y = norm(conv(y, 8, 8, 3)) + y
    y = torch.tanh(conv(F.interpolate(y, scale_factor=2.0), 8, 3, 5)) * 150 + 127.5
    torch.testing.assert_close(draw(converted, x), y / 255, rtol=0, atol=1e-4)


def one(tmp_path: Path, graph: published.OnnxWriter, last: str, size: int = 0, **texts: str) -> Path:
    path = tmp_path / "one.onnx"
    path.write_bytes(graph.model(last, size, {k.replace("_", "."): v for k, v in texts.items()}))
    return path


def test_onnx_of_core_ml_says_its_colours_and_licence(tmp_path: Path) -> None:
    graph = published.OnnxWriter()
    scaled = graph.add("ImageScaler", "photo", bias=[-103.9, -116.8, -123.7], scale=1.0)
    path = one(
        tmp_path, graph, graph.add("Affine", scaled, alpha=0.5, beta=100.0), license="free", author="me"
    )
    converted = convert(path)
    assert (converted.header.licence, converted.notes) == ("free", ())
    assert "by me" in converted.header.source
    x = torch.rand(1, 3, 4, 4)
    blue_first = x.flip(1) * 255 + torch.tensor([-103.9, -116.8, -123.7])[:, None, None]
    torch.testing.assert_close(draw(converted, x), (blue_first * 0.5 + 100).flip(1) / 255, rtol=0, atol=1e-5)


def test_onnx_deconvolution_with_an_output_shape_and_a_crop(tmp_path: Path) -> None:
    graph, random = published.OnnxWriter(), torch.Generator().manual_seed(0)
    weight, bias = torch.randn(3, 3, 3, 3, generator=random), torch.randn(3, generator=random)
    small = graph.add("AveragePool", "photo", kernel_shape=[2, 2], strides=[2, 2])
    names = graph.array(weight.numpy()), graph.array(bias.numpy())
    large = graph.add("ConvTranspose", small, *names, strides=[2, 2], output_shape=[18, 18], auto_pad="VALID")
    path = one(tmp_path, graph, graph.add("Crop", large, border=[1, 1, 1, 1]), size=16)
    x = torch.rand(1, 3, 16, 16)
    wanted = F.conv_transpose2d(F.avg_pool2d(x * 255, 2), weight, bias, 2, output_padding=1)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(draw(convert(path), x), wanted / 255, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("colours", ["rgb", "rgb255", "bgr255", "caffe", "imagenet", "signed"])
def test_onnx_colours_as_asked_for(tmp_path: Path, colours: str) -> None:
    graph = published.OnnxWriter()
    path = one(tmp_path, graph, graph.add("Identity", graph.add("Relu", "photo")))
    x = torch.rand(1, 3, 4, 4)
    y = draw(convert(path, colors_in="rgb", colors_out=colours), x)
    mean = torch.tensor([123.68, 116.779, 103.939])[:, None, None]
    imagenet = (torch.tensor([[0.229, 0.224, 0.225], [0.485, 0.456, 0.406]])[..., None, None]).unbind()
    wanted = {
        "rgb": x,
        "rgb255": x / 255,
        "bgr255": x.flip(1) / 255,
        "caffe": (x.flip(1) + mean) / 255,
        "imagenet": x * imagenet[0] + imagenet[1],
        "signed": x / 2 + 0.5,
    }
    torch.testing.assert_close(y, wanted[colours], rtol=1e-5, atol=1e-5)


def test_onnx_shuffles_channels_into_pixels_in_both_orders(tmp_path: Path) -> None:
    x, weight = torch.rand(1, 3, 4, 4), torch.randn(12, 3, 1, 1)
    y = F.conv2d(F.avg_pool2d(x, 2), weight)
    depth_first = y.reshape(1, 4, 3, 2, 2).transpose(1, 2).flatten(1, 2)
    wanted = {"CRD": F.pixel_shuffle(y, 2), "DCR": F.pixel_shuffle(depth_first, 2)}
    for mode in ("CRD", "DCR"):
        graph = published.OnnxWriter()
        small = graph.add("AveragePool", "photo", kernel_shape=[2, 2], strides=[2, 2])
        made = graph.add("Conv", small, graph.array(weight.numpy()), kernel_shape=[1, 1])
        path = one(tmp_path, graph, graph.add("DepthToSpace", made, blocksize=2, mode=mode))
        found = draw(convert(path, colors_in="rgb", colors_out="rgb"), x)
        torch.testing.assert_close(found, wanted[mode], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("where", "rounding", "repeats"),
    [
        ("half_pixel", "round_prefer_floor", True),
        ("pytorch_half_pixel", "round_prefer_ceil", True),
        ("asymmetric", "floor", True),
        ("asymmetric", "round_prefer_floor", True),
        ("asymmetric", "round_prefer_ceil", False),
        ("asymmetric", "ceil", False),
        ("half_pixel", "floor", False),
        ("align_corners", "round_prefer_floor", False),
    ],
)
def test_onnx_enlargements_that_do_not_repeat_are_refused(
    tmp_path: Path, where: str, rounding: str, repeats: bool
) -> None:
    graph = published.OnnxWriter()
    scales = graph.array(np.array([1, 1, 2, 2], np.float32))
    settings = {"mode": "nearest", "coordinate_transformation_mode": where, "nearest_mode": rounding}
    small = graph.add("AveragePool", "photo", kernel_shape=[2, 2], strides=[2, 2])
    path = one(tmp_path, graph, graph.add("Resize", small, "", scales, **settings))
    if repeats:
        x = torch.rand(1, 3, 4, 6)
        wanted = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0)
        torch.testing.assert_close(draw(convert(path, colors_in="rgb", colors_out="rgb"), x), wanted)
    else:
        with pytest.raises(UserError, match=f"places pixels as {where}, {rounding}"):
            convert(path)


def test_an_old_linear_enlargement_is_refused(tmp_path: Path) -> None:
    graph = published.OnnxWriter()
    small = graph.add("AveragePool", "photo", kernel_shape=[2, 2], strides=[2, 2])
    path = one(tmp_path, graph, graph.add("Upsample", small, mode="linear", scales=[1.0, 1.0, 2.0, 2.0]))
    with pytest.raises(UserError, match="places pixels as asymmetric"):
        convert(path)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("Gather", {}, "its Gather is not an operation that is known"),
        ("Crop", {"border": [1, 1, 1]}, "Crop to a size of its own"),
        ("AveragePool", {"kernel_shape": [2, 3]}, "not square"),
        ("Concat", {"axis": 2}, "joins something else"),
        ("Upsample", {"scales": [1.0, 1.0, 1.5, 1.5]}, "not a whole number"),
        ("Relu", {}, "no order of colours|unknown order of colours"),
    ],
)
def test_what_onnx_cannot_be(tmp_path: Path, kind: str, settings: dict[str, Any], words: str) -> None:
    graph = published.OnnxWriter()
    path = one(tmp_path, graph, graph.add(kind, "photo", **settings))
    with pytest.raises(UserError, match=words):
        convert(path, colors_in="rgbx" if kind == "Relu" else None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (published.onnx_chain()[:-50], "damaged or no ONNX file .its bytes are no ONNX model"),
        (published.message((1, 7)), "it holds no graph"),
        (published.message((7, published.message((1, b"")) * 6000)), "too many operations"),
        # data_location: EXTERNAL
        (
            published.message((7, published.message((5, published.message((2, 1), (14, 1)))))),
            "in other files",
        ),
        (
            published.message((7, published.message((5, published.message((1, 3), (2, 1), (9, bytes(8))))))),
            "reshape",
        ),
        (
            published.message((7, published.message((5, published.message((1, 1), (2, 8), (6, "a")))))),
            "unknown type 8",
        ),
    ],
    ids=["cut", "empty", "nodes", "external", "shape", "texts"],
)
def test_broken_onnx_files_are_one_clear_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"a.onnx: .*{words}") as caught:
        convert(path)
    assert "\n" not in str(caught.value)


def test_large_onnx_files_are_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 27) + 1)
    with pytest.raises(UserError, match=r"a.onnx: it is larger than 128 MiB"):
        convert(path)


def test_onnx_arrays_of_old_files_are_lists_of_numbers(tmp_path: Path) -> None:
    graph, weight = published.OnnxWriter(), np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1)
    half = weight.astype(np.float16).view(np.uint16)
    bits = b"".join(published.varint(int(n)) for n in half.flat)
    dims = [(1, n) for n in weight.shape]
    graph.arrays += [
        published.message(*dims, (2, 1), (8, "single"), (4, weight.tobytes())),
        published.message(*dims, (2, 10), (8, "half"), (5, bits)),
    ]
    y = graph.add("Conv", graph.add("Conv", "photo", "single"), "half")
    x = torch.rand(1, 3, 4, 4)
    wanted = F.conv2d(F.conv2d(x, torch.tensor(weight)), torch.tensor(weight))
    found = draw(convert(one(tmp_path, graph, y), colors_in="rgb", colors_out="rgb"), x)
    torch.testing.assert_close(found, wanted)


def test_an_onnx_licence_that_is_no_utf_8_is_kept_in_one_line(tmp_path: Path) -> None:
    graph = published.OnnxWriter()
    path = one(tmp_path, graph, graph.add("Relu", "photo"))
    path.write_bytes(
        path.read_bytes() + published.message((14, published.message((1, "license"), (2, b"\xa9 me"))))
    )
    licence = convert(path).header.licence
    assert "me" in licence
    assert licence.isprintable()


def test_weights_that_fit_in_all_and_not_each_are_refused(tmp_path: Path) -> None:
    graph = published.OnnxWriter()
    scale, shift = graph.array(np.ones(4, np.float32)), graph.array(np.ones(2, np.float32))
    path = one(tmp_path, graph, graph.add("InstanceNormalization", "photo", scale, shift))
    with pytest.raises(UserError, match="a norm layer whose weight has 4 elements where it takes 3"):
        convert(path)


def test_colours_are_for_onnx_alone(tmp_path: Path) -> None:
    torch.save(published.transformer_net(), tmp_path / "a.pth")
    with pytest.raises(UserError, match="needs none"):
        convert(tmp_path / "a.pth", colors_out="rgb")


def test_the_header_says_where_the_network_is_from(tmp_path: Path) -> None:
    torch.save(published.transformer_net(), tmp_path / "candy.pth")
    header = convert(tmp_path / "candy.pth").header
    assert header.source == "candy.pth (pytorch/examples, fast_neural_style)"
    assert "BSD-3-Clause" in header.licence
    assert header.licence.startswith("not said in the file")
    origin = header.training["converted"]
    assert origin["file"] == "candy.pth"
    assert len(origin["sha256"]) == 64
    with pytest.raises(UserError, match=r"x\.pth: the name of a model file must end in \.safetensors"):
        convert(tmp_path / "candy.pth").save(tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()
    given = convert(tmp_path / "candy.pth", name="Candy", source="example.org", licence="MIT").header
    assert (given.name, given.source, given.licence) == ("Candy", "example.org", "MIT")


def test_the_model_file_keeps_single_precision(tmp_path: Path) -> None:
    torch.save(published.transformer_net(), tmp_path / "a.pth")
    converted = convert(tmp_path / "a.pth")
    converted.save(tmp_path / "a.safetensors")
    network, header = network_files.load(tmp_path / "a.safetensors")
    assert header == converted.header
    for name, value in network.state_dict().items():
        assert torch.equal(value, converted.state[name])


def test_what_is_no_published_network(tmp_path: Path) -> None:
    def refused(path: Path, words: str) -> None:
        with pytest.raises(UserError, match=words) as caught:
            detect(path)
        assert str(path) in str(caught.value)

    model = tmp_path / "ours.safetensors"
    save_file({"a": torch.zeros(1)}, model, {"texturenets": "{}"})
    refused(model, "a model of texturenets already")
    for words in range(300):  # until the length of the header begins as ONNX files do
        save_file({"a": torch.zeros(1)}, model, {"texturenets": "{}", "more": " " * words})
        if model.read_bytes()[:1] == b"\x08":
            break
    assert model.read_bytes()[:1] == b"\x08"
    refused(model, "a model of texturenets already")
    refused(tmp_path, "a folder without manifest.json")
    refused(tmp_path / "none.t7", "no such file")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    refused(tmp_path / "a.h5", "weights of a descriptor network")
    (tmp_path / "a.txt").write_text("hello, this is a text and no network")
    refused(tmp_path / "a.txt", "a.txt")


def test_blocks_after_a_gap_are_not_left_out(tmp_path: Path) -> None:
    state = published.transformer_net(blocks=3)
    for missing in ("res2.conv1.conv2d.weight", "res1.conv1.conv2d.weight"):
        torch.save({k: v for k, v in state.items() if k != missing}, tmp_path / "cut.pth")
        with pytest.raises(UserError, match="fits no TransformerNet of pytorch/examples"):
            convert(tmp_path / "cut.pth")
