"""Which published weights a file holds, recognised by their values, and the preprocessing that they need.

Files of the same architecture look alike, but the original Caffe weights take BGR in 0..255 minus a mean, and
torchvision's take normalized RGB. The values of the first convolution tell them apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch

from texturenets import readers
from texturenets.errors import UserError, unknown
from texturenets.perceptual.weights.registry import CONVENTIONS, ONES, SOURCES, TORCHVISION, Convention
from texturenets.readers import LAYERS


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over sorted names, shapes and float32 values: independent of file format and tensor order."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False)
        state.update(f"{name} {'x'.join(map(str, array.shape))}\n".encode())
        state.update(array.tobytes())
    return state.hexdigest()


@dataclass(frozen=True)
class _KnownWeights:
    """Published weights, recognised in a file of any format by the fingerprint of all layers up to `last`."""

    last: str
    fingerprint: str
    title: str


_KNOWN_WEIGHTS: Final[dict[str, tuple[_KnownWeights, ...]]] = {
    "vgg16": (
        _KnownWeights(
            "relu3_3",
            "38b3a5190d485e0da4b79c1c32a44cfbe2582fb82c9758f1e8939aa4704d5e21",
            "VGG-16, the Oxford group's original weights",
        ),
    ),
    "vgg19_normalised": (
        _KnownWeights(
            "relu3_4",
            "22bd51594aa0a3789f6d5ae559cfcf4cebae0710437d0e2b9c0c4bf020a16cb6",
            "VGG-19 rescaled to a mean activation of 1 a channel, by Gatys et al.",
        ),
    ),
    # The published file, decompressed.
    "squeezenet1_0": (
        _KnownWeights(
            "fire9",
            "7c3783905f9ed422b3c8b7946d84425b863823a91cb7a4eaa293c68fc2a97265",
            SOURCES["squeezenet1_0"].title,
        ),
    ),
    # From the copy in chaosmail/caffejs (branch gh-pages), one file per layer.
    "squeezenet1_1": (
        _KnownWeights(
            "fire9",
            "c9463d3dee8e0594084d7db02ca7fab4c571fc4d85f5b9c59da37f95193e062b",
            SOURCES["squeezenet1_1"].title,
        ),
    ),
}


@dataclass(frozen=True)
class _FirstLayer:
    """Statistics of the original weights w (O, 3, k, k) of the first convolution.

    `channel_norms`: for blue, green and red, the mean over filters of norm(w[o, c]) / norm(w[o]), L2 norms. Scaling a
    filter does not change them, so VGG-19 and its normalised form have the same. `mean_abs`: the range in which the
    mean of abs(w) lies.
    """

    channel_norms: tuple[float, float, float]
    mean_abs: tuple[float, float]


_FIRST_LAYERS: Final[dict[str, _FirstLayer]] = {
    "vgg16": _FirstLayer((0.504562, 0.608230, 0.574918), (0.1678, 0.1695)),
    "vgg19": _FirstLayer((0.501978, 0.611890, 0.573450), (0.05, 0.5)),
    "vgg19_normalised": _FirstLayer((0.501978, 0.611890, 0.573450), (0.00915, 0.00925)),
    "squeezenet1_0": _FirstLayer((0.460684, 0.641386, 0.568191), (0.0673, 0.0680)),
    "squeezenet1_1": _FirstLayer((0.437767, 0.607201, 0.586787), (0.1879, 0.1898)),
}

_TOLERANCE: Final = 2e-4  # of a channel norm; VGG-16's and VGG-19's differ by 4e-3


def _original_order(network: str, tensors: Mapping[str, torch.Tensor]) -> Literal["bgr", "rgb"] | None:
    """The channel order if these are the original authors' weights; None for others (torchvision's, retrained)."""
    weight = tensors[f"{LAYERS[network][0].key}.weight"].double()
    low, high = _FIRST_LAYERS[network].mean_abs
    if not low <= float(weight.abs().mean()) <= high:
        return None
    norms = weight.flatten(2).norm(dim=2)
    measured = (norms / norms.norm(dim=1, keepdim=True).clamp_min(1e-12)).mean(0).tolist()
    for order, values in (("bgr", measured), ("rgb", measured[::-1])):
        if all(
            abs(a - b) < _TOLERANCE for a, b in zip(values, _FIRST_LAYERS[network].channel_norms, strict=True)
        ):
            return "bgr" if order == "bgr" else "rgb"
    return None


def is_normalised(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether the VGG-19 in `tensors` is Gatys' rescaled one, whose first weights are 20 times smaller."""
    return float(tensors["features.0.weight"].abs().mean()) < 0.03


def _reverse(c: Convention) -> Convention:
    """`c` for weights whose input channels are in the opposite order."""

    def flip(v: tuple[float, float, float]) -> tuple[float, float, float]:
        return v[2], v[1], v[0]

    return Convention("rgb" if c.order == "bgr" else "bgr", c.scale, flip(c.mean), flip(c.std))


_INPUT: Final = re.compile(r"(BGR|RGB), 0\.\.(255|1), minus mean \(([^()]{5,60})\)")


def _header_convention(metadata: Mapping[str, str]) -> Convention | None:
    """The convention in a safetensors header, None without one.

    Read from the key `convention` (JSON, as this package writes it) or `input` ("BGR, 0..255, minus mean (...)").
    Raises ValueError, KeyError, TypeError or RecursionError for a damaged header.
    """
    if "convention" in metadata:
        data = json.loads(metadata["convention"])
        mean, std = (tuple(float(v) for v in data[key]) for key in ("mean", "std"))
        if data["order"] not in ("bgr", "rgb") or len(mean) != 3 or len(std) != 3 or 0.0 in std:
            raise ValueError("its convention is not valid")
        return Convention(data["order"], float(data["scale"]), mean, std)
    match = _INPUT.match(metadata.get("input", ""))
    if match:
        mean = tuple(float(v) for v in match[3].split(","))
        if len(mean) == 3:
            return Convention("bgr" if match[1] == "BGR" else "rgb", float(match[2]), mean, ONES)
    return None


def convention_of(path: Path, network: str, contents: readers.Contents) -> tuple[Convention, bool]:
    """The input convention of the weights read from `path`, and whether they are the original authors'.

    The header comes first, then the values of the first layer, then the format: PyTorch and safetensors files of
    other weights are taken for torchvision's. Raises UserError for a damaged header.
    """
    order = _original_order(network, contents.tensors) if network in _FIRST_LAYERS else None
    try:
        stated = _header_convention(contents.metadata)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: its header is damaged ({error})") from None
    original = CONVENTIONS[network]
    if stated is not None:
        return stated, order is not None
    if order is not None:
        return (original if order == original.order else _reverse(original)), True
    if contents.format in ("torch", "safetensors") and network in _FIRST_LAYERS:
        return TORCHVISION, False
    return original, False


def describe(path: Path, network: str, contents: readers.Contents, original: bool) -> str:
    """A description of the weights for logs and model headers: title and file name.

    `original`: whether `convention_of` took them for the original authors'.
    """
    for known in _KNOWN_WEIGHTS.get(network, ()):
        names = tensor_names(network, known.last)
        tensors = {name: contents.tensors[name] for name in names if name in contents.tensors}
        if len(tensors) == len(names) and fingerprint(tensors) == known.fingerprint:
            return f"{known.title} ({path.name})"
    if network not in _FIRST_LAYERS:
        return f"{readers.plain(contents.metadata.get('source', network))} ({path.name})"
    if original:
        return f"{network}, very likely its authors' weights by the first layer ({path.name})"
    if contents.format == "torch" and network != "vgg19_normalised":
        return f"{network} of {path.name}: trained anew, as torchvision's are; stylizes otherwise than the original"
    return f"{network} of {path.name}: weights of unknown origin"


def tensor_names(network: str, last: str) -> list[str]:
    """The names of all weights and biases up to and including the layer `last`.

    `last`: a torchvision key ("features.14") or the papers' name ("relu3_3"). Raises UserError for an unknown layer.
    """
    layers = LAYERS[network]
    ends = [
        i
        for i, layer in enumerate(layers)
        if last in (layer.key, layer.output, *layer.names) or layer.key.startswith(f"{last}.")
    ]
    if not ends:
        raise unknown(f"layer of {network}", last, [layer.output for layer in layers])
    return [f"{layer.key}.{part}" for layer in layers[: ends[-1] + 1] for part in ("weight", "bias")]
