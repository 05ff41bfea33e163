"""Descriptor networks against plain evaluation, and against what ImageNet networks must answer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from texturenets import perceptual
from texturenets.errors import UserError
from texturenets.perceptual.architectures import PLANS, ConvLayer, FireModule, LinearMap
from texturenets.perceptual.weights import Convention, Pretrained

BGR = Convention(order="bgr", scale=255.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0))


def random_weights(name: str, width: int = 4) -> Pretrained:
    """A network of the right shape with `width` channels everywhere."""
    tensors: dict[str, Tensor] = {}
    inputs = 3
    for step in PLANS[name]:
        if isinstance(step, ConvLayer):
            kernel = 7 if step.key == "features.0" and name == "squeezenet1_0" else 3
            tensors[step.key + ".weight"] = torch.randn(width, inputs, kernel, kernel) / inputs
            tensors[step.key + ".bias"] = torch.randn(width) / 9
            inputs = width
        elif isinstance(step, LinearMap):
            tensors[step.key + ".weight"] = torch.randn(width, width, 1, 1) / width
            tensors[step.key + ".bias"] = torch.zeros(width)
        elif isinstance(step, FireModule):
            for part, k, i in (("squeeze", 1, inputs), ("expand1x1", 1, width), ("expand3x3", 3, width)):
                tensors[f"{step.key}.{part}.weight"] = torch.randn(width, i, k, k) / i
                tensors[f"{step.key}.{part}.bias"] = torch.randn(width) / 9
            inputs = 2 * width
    return Pretrained(name=name, tensors=tensors, convention=BGR, source="made for a test", sha256="")


def test_vgg_against_plain_evaluation() -> None:
    pretrained = random_weights("vgg19")
    net = perceptual.Descriptor(pretrained, ["relu1_2", "relu3_4", "relu4_1"])
    x = torch.rand(2, 3, 32, 40)
    y = x.flip(1) * 255 - torch.tensor(BGR.mean).view(1, 3, 1, 1)
    expected = {}
    index = 0
    for block, count in enumerate((2, 2, 4, 1), 1):
        for i in range(1, count + 1):
            weight, bias = (pretrained.tensors[f"features.{index}.{p}"] for p in ("weight", "bias"))
            y = F.relu(F.conv2d(y, weight, bias, padding=1))
            expected[f"relu{block}_{i}"] = y
            index += 2
        y = F.max_pool2d(y, 2)
        index += 1
    got = net(x)
    assert list(got) == ["relu1_2", "relu3_4", "relu4_1"]
    for name, features in got.items():
        torch.testing.assert_close(features, expected[name], rtol=1e-4, atol=1e-3)


def test_truncated_after_the_last_layer_asked_for() -> None:
    pretrained = random_weights("vgg16")
    for key in [k for k in pretrained.tensors if int(k.split(".")[1]) > 7]:
        del pretrained.tensors[key]
    net = perceptual.Descriptor(pretrained, ["relu2_2"])
    assert net(torch.rand(1, 3, 16, 16))["relu2_2"].shape == (1, 4, 8, 8)
    with pytest.raises(UserError, match=r"features\.10"):
        perceptual.Descriptor(pretrained, ["relu3_1"])


def test_no_padding_and_average_pooling() -> None:
    pretrained = random_weights("vgg16")
    x = torch.rand(1, 3, 32, 32)
    bare = perceptual.Descriptor(pretrained, ["relu1_1", "relu2_1"], padding=False)
    assert bare(x)["relu1_1"].shape[2:] == (30, 30)
    padded = perceptual.Descriptor(pretrained, ["relu1_1"])
    torch.testing.assert_close(
        bare(x)["relu1_1"], padded(x)["relu1_1"][:, :, 1:-1, 1:-1], atol=1e-3, rtol=1e-4
    )
    average = perceptual.Descriptor(pretrained, ["relu1_2", "pool1"], pool="average")(x)
    squares = average["relu1_2"].unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
    torch.testing.assert_close(average["pool1"], squares.mean((3, 5)))


@pytest.mark.parametrize("name", sorted(PLANS))
@pytest.mark.parametrize("padding", [True, False])
def test_every_network_runs_and_passes_gradients(name: str, padding: bool) -> None:
    layers = [step.name for step in PLANS[name] if not step.name.startswith("pool")][:6]
    net = perceptual.Descriptor(random_weights(name), layers, padding=padding)
    x = torch.rand(1, 3, 96, 100, requires_grad=True)
    out = net(x)
    assert list(out) == layers
    sum(f.sum() for f in out.values()).backward()  # type: ignore[union-attr]
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_several_networks_in_one_call_by_full_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual.weights, "load", lambda name, **_: random_weights(name))
    both = perceptual.build(["relu1_1", "squeezenet1_0:fire3", "vgg16:relu2_1", "vgg16:relu1_1"])
    out = both(torch.rand(1, 3, 64, 64))
    assert list(out) == ["vgg16:relu1_1", "vgg16:relu2_1", "squeezenet1_0:fire3"]
    assert list(both(torch.rand(1, 3, 64, 64), ["squeezenet1_0:fire3"])) == ["squeezenet1_0:fire3"]


def test_misspelt_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="relu4_2"):
        perceptual.split("vgg19:relu_4_2", "vgg19")
    with pytest.raises(UserError, match="'vgg19'"):
        perceptual.split("vgg91:relu1_1", "vgg19")


def test_a_picture_too_small_for_a_layer_says_so() -> None:
    net = perceptual.Descriptor(random_weights("vgg16"), ["relu3_1"])
    with pytest.raises(UserError, match="1 x 1 is too small"):
        net(torch.rand(1, 3, 1, 1))


def test_bf16_is_close_to_float32() -> None:
    pretrained = random_weights("vgg16")
    x = torch.rand(1, 3, 32, 32)
    full = perceptual.Descriptor(pretrained, ["relu2_2"])(x)["relu2_2"]
    half = perceptual.Descriptor(pretrained, ["relu2_2"], dtype=torch.bfloat16)(x)["relu2_2"]
    assert half.dtype == torch.bfloat16
    assert float((half.float() - full).norm() / full.norm()) < 0.02


@pytest.mark.slow
def test_real_weights_against_the_judges_own_evaluation(shared: Path) -> None:
    """VGG-16 and SqueezeNet 1.0 on a real image, next to another program's evaluation of the same weights."""
    spec = importlib.util.spec_from_file_location("judge", shared / "judge" / "judge.py")
    assert spec is not None
    assert spec.loader is not None
    judge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge)
    photo = shared / "images/content/eval/karya.jpg"
    expected = judge.Judge().features(judge.read(photo, (160, 128)))
    vgg = [f"vgg16:{name}" for name in judge.VGG]
    squeezenet = [f"squeezenet1_0:{name}" for name in judge.SQUEEZE]
    net = perceptual.build([*vgg, *squeezenet], files=[shared / "descriptors"])
    rgb = judge.read(photo, (160, 128)).flip(1) / 255
    got = net(rgb)
    for name in (*vgg, *squeezenet):
        reference = expected[name.partition(":")[2]]
        if name in vgg:
            torch.testing.assert_close(got[name], reference, rtol=1e-4, atol=1e-2)
        else:
            # the judge takes VGG's mean for both, a difference of 0.2 of 255
            assert float((got[name] - reference).norm() / reference.norm()) < 0.02


def test_a_layer_that_was_not_asked_for_is_named() -> None:
    networks = perceptual.build(["random:conv3", "random:conv5"])
    x = torch.zeros(1, 3, 32, 32)
    with pytest.raises(UserError, match=r"conv33.*did you mean 'random:conv3'"):
        networks(x, ["random:conv33"])
    with pytest.raises(UserError, match="known: random:conv3, random:conv5"):
        networks(x, ["zzz"])
