"""Pretrained weights of the descriptor networks: find, fetch, verify and read them.

`load` looks in the files it is given, then in the folders of TEXTURENETS_WEIGHTS, then in the cache
(TEXTURENETS_CACHE, else XDG_CACHE_HOME or ~/.cache), and else fetches the published file, unless it is
told to stay offline (TEXTURENETS_OFFLINE=1).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from safetensors.torch import save_file

from texturenets import readers
from texturenets.download import Progress, beside, digest, download, verified
from texturenets.errors import UserError, unknown
from texturenets.files import cache_folder, publish
from texturenets.readers import LAYERS

__all__ = [
    "CONVENTIONS",
    "NETWORKS",
    "SOURCES",
    "Convention",
    "Pretrained",
    "Progress",
    "Source",
    "fingerprint",
    "load",
    "read",
    "require",
]

NETWORKS: Final = tuple(LAYERS)


@dataclass(frozen=True)
class Convention:
    """What a network wants of its input: channels in `order`, (x * scale - mean) / std for x in [0, 1].

    `mean` and `std` are in the order of `order`.
    """

    order: Literal["bgr", "rgb"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_ONES: Final = (1.0, 1.0, 1.0)
# The means of the ImageNet training set, as the two groups published them.
_VGG: Final = Convention("bgr", 255.0, (103.939, 116.779, 123.68), _ONES)
_SQUEEZENET: Final = Convention("bgr", 255.0, (104.0, 117.0, 123.0), _ONES)
# torchvision.models, "All pre-trained models expect input images normalized in the same way".
TORCHVISION: Final = Convention("rgb", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

CONVENTIONS: Final[dict[str, Convention]] = {
    "vgg16": _VGG,
    "vgg19": _VGG,
    "vgg19_normalised": _VGG,
    "squeezenet1_0": _SQUEEZENET,
    "squeezenet1_1": _SQUEEZENET,
}
"""How each network was trained by its authors: what the published files of `SOURCES` want."""


@dataclass(frozen=True)
class Source:
    """Where a network's weights are published.

    `digests`: "algorithm:hex", any of which proves the file ("git": its blob's name in a Git repository).
    `size`: bytes, 0 where unknown. `prefixes`: how names of files begin that hold this network.
    """

    title: str
    urls: tuple[str, ...]
    file: str
    digests: tuple[str, ...]
    size: int
    format: readers.Format
    licence: str
    prefixes: tuple[str, ...]


_KERAS: Final = "https://storage.googleapis.com/tensorflow/keras-applications"
_KERAS_OLD: Final = "https://github.com/fchollet/deep-learning-models/releases/download/v0.1"
_RAW: Final = "https://raw.githubusercontent.com"

SOURCES: Final[dict[str, Source]] = {
    # MD5 sums: keras/applications/vgg16.py and vgg19.py.
    "vgg16": Source(
        title="VGG-16, the Oxford group's original weights as published with Keras",
        urls=(
            f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
            f"{_KERAS_OLD}/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        file="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        digests=("md5:6d6bbae143d832006294945121d1f1fc",),
        size=58_889_256,
        format="keras",
        licence="CC BY 4.0",
        prefixes=("vgg16", "vgg_ilsvrc_16_layers"),
    ),
    "vgg19": Source(
        title="VGG-19, the Oxford group's original weights as published with Keras",
        urls=(
            f"{_KERAS}/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
            f"{_KERAS_OLD}/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        file="vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        digests=("md5:253f8cb515780f3b799900260a226db6",),
        size=80_134_624,
        format="keras",
        licence="CC BY 4.0",
        prefixes=("vgg19", "vgg_ilsvrc_19_layers"),
    ),
    # SHA-256: recorded for the first address by nixpkgs' package fast-neural-doodle. The second address is a
    # copy in a repository, at a fixed commit: its blob's name there proves that file.
    "vgg19_normalised": Source(
        title="VGG-19 rescaled to a mean activation of 1 a channel, by Gatys et al. (arXiv 1505.07376)",
        urls=(
            "https://bethgelab.org/media/uploads/deeptextures/vgg_normalised.caffemodel",
            f"{_RAW}/paulu/deepfeatinterp/76b72e0a3b683a8cdeb13ed35b932680dc159ed1"
            "/models/VGG_CNN_19/vgg_normalised.caffemodel",
        ),
        file="vgg_normalised.caffemodel",
        digests=(
            "sha256:2e0fb14efd38e98c6889e288d81a6382a2da1f5716587507e5fc4c46779b0c87",
            "git:ca7ac268742c67ac31284cc23b781108891a9083",
        ),
        size=0,
        format="caffe",
        licence="CC BY 4.0 (Oxford VGG); the rescaled file published for academic and non-commercial use",
        prefixes=("vgg19_normalised", "vgg19_normalized", "vgg_normalised", "vgg_normalized"),
    ),
    "squeezenet1_0": Source(
        title="SqueezeNet 1.0, compressed, by its authors (songhan/SqueezeNet-Deep-Compression)",
        urls=(
            f"{_RAW}/songhan/SqueezeNet-Deep-Compression/fb13faa2cf121ced9999f8a9d538ec6c56084733"
            "/compressed_SqueezeNet.net",
        ),
        file="compressed_SqueezeNet.net",
        digests=("sha256:e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261",),
        size=675_763,
        format="compressed",
        licence="BSD-2-Clause",
        prefixes=("squeezenet1_0", "squeezenet_v1.0", "squeezenet1.0", "compressed_squeezenet"),
    ),
    # SHA-256 and size: Open Model Zoo, models/public/squeezenet1.1/model.yml.
    "squeezenet1_1": Source(
        title="SqueezeNet 1.1, by its authors (DeepScale; forresti/SqueezeNet)",
        urls=(
            f"{_RAW}/forresti/SqueezeNet/a47b6f13d30985279789d08053d37013d67d131b"
            "/SqueezeNet_v1.1/squeezenet_v1.1.caffemodel",
        ),
        file="squeezenet_v1.1.caffemodel",
        digests=(
            "sha256:72b912ace512e8621f8ff168a7d72af55910d3c7c9445af8dfbff4c2ee960142",
            "git:9d2fc33abf653a6e8b2ee6cc63ede0e72ec67f44",
        ),
        size=4_950_080,
        format="caffe",
        licence="BSD-2-Clause",
        prefixes=("squeezenet1_1", "squeezenet_v1.1", "squeezenet1.1"),
    ),
}


@dataclass(frozen=True)
class Pretrained:
    """Weights of a descriptor network, float32 by torchvision's names, in the order of evaluation.

    They may end before the network does. `source`: what they are, in words. `sha256`: of the file that
    they were read from, or were first read from where that is the cache.
    """

    name: str
    tensors: dict[str, torch.Tensor]
    convention: Convention
    source: str
    sha256: str


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes and float32 numbers, whatever file they came in and in whatever order."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4", copy=False)
        state.update(f"{name} {'x'.join(map(str, array.shape))}\n".encode())
        state.update(array.tobytes())
    return state.hexdigest()


@dataclass(frozen=True)
class _Known:
    """Weights that can be recognised in any file: the fingerprint of all layers up to `last`."""

    last: str
    fingerprint: str
    title: str


_KNOWN: Final[dict[str, tuple[_Known, ...]]] = {
    "vgg16": (
        _Known(
            "relu3_3",
            "38b3a5190d485e0da4b79c1c32a44cfbe2582fb82c9758f1e8939aa4704d5e21",
            "VGG-16, the Oxford group's original weights",
        ),
    ),
    "vgg19_normalised": (
        _Known(
            "relu3_4",
            "22bd51594aa0a3789f6d5ae559cfcf4cebae0710437d0e2b9c0c4bf020a16cb6",
            "VGG-19 rescaled to a mean activation of 1 a channel, by Gatys et al.",
        ),
    ),
    # What the published file decodes to.
    "squeezenet1_0": (
        _Known(
            "fire9",
            "7c3783905f9ed422b3c8b7946d84425b863823a91cb7a4eaa293c68fc2a97265",
            SOURCES["squeezenet1_0"].title,
        ),
    ),
    # From the copy in chaosmail/caffejs (branch gh-pages), one file a layer.
    "squeezenet1_1": (
        _Known(
            "fire9",
            "c9463d3dee8e0594084d7db02ca7fab4c571fc4d85f5b9c59da37f95193e062b",
            SOURCES["squeezenet1_1"].title,
        ),
    ),
}


@dataclass(frozen=True)
class _FirstLayer:
    """What tells the authors' weights from others by the first convolution.

    `shares`: mean over filters of |w[:, c]| / |w| for the three input channels, blue first. No factor on a
    filter changes it, so that one row serves VGG-19 and its normalised form. `size`: mean |w|, a range.
    """

    shares: tuple[float, float, float]
    size: tuple[float, float]


_FIRST: Final[dict[str, _FirstLayer]] = {
    "vgg16": _FirstLayer((0.504562, 0.608230, 0.574918), (0.1678, 0.1695)),
    "vgg19": _FirstLayer((0.501978, 0.611890, 0.573450), (0.05, 0.5)),
    "vgg19_normalised": _FirstLayer((0.501978, 0.611890, 0.573450), (0.00915, 0.00925)),
    "squeezenet1_0": _FirstLayer((0.460684, 0.641386, 0.568191), (0.0673, 0.0680)),
    "squeezenet1_1": _FirstLayer((0.437767, 0.607201, 0.586787), (0.1879, 0.1898)),
}
_TOLERANCE: Final = 2e-4  # of a share; VGG-16's and VGG-19's differ by 4e-3


def _recognise(network: str, tensors: Mapping[str, torch.Tensor]) -> Literal["bgr", "rgb"] | None:
    """The channel order of the authors' weights, None where these are others (torchvision's, retrained)."""
    weight = tensors[f"{LAYERS[network][0].key}.weight"].double()
    low, high = _FIRST[network].size
    if not low <= float(weight.abs().mean()) <= high:
        return None
    norms = weight.flatten(2).norm(dim=2)
    shares = (norms / norms.norm(dim=1, keepdim=True).clamp_min(1e-12)).mean(0).tolist()
    for order, found in (("bgr", shares), ("rgb", shares[::-1])):
        if all(abs(a - b) < _TOLERANCE for a, b in zip(found, _FIRST[network].shares, strict=True)):
            return "bgr" if order == "bgr" else "rgb"
    return None


def _normalised(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a VGG-19 is Gatys' rescaled one: its first weights are twenty times smaller than others'."""
    return float(tensors["features.0.weight"].abs().mean()) < 0.03


def _reverse(c: Convention) -> Convention:
    def flip(v: tuple[float, float, float]) -> tuple[float, float, float]:
        return v[2], v[1], v[0]

    return Convention("rgb" if c.order == "bgr" else "bgr", c.scale, flip(c.mean), flip(c.std))


_INPUT: Final = re.compile(r"(BGR|RGB), 0\.\.(255|1), minus mean \(([^()]{5,60})\)")


def _stated(metadata: Mapping[str, str]) -> Convention | None:
    """The convention that a safetensors header states: ours, or the words "BGR, 0..255, minus mean (...)"."""
    if "convention" in metadata:
        data = json.loads(metadata["convention"])
        mean, std = (tuple(float(v) for v in data[key]) for key in ("mean", "std"))
        if data["order"] not in ("bgr", "rgb") or len(mean) != 3 or len(std) != 3 or 0.0 in std:
            raise ValueError("its convention is none")
        return Convention(data["order"], float(data["scale"]), mean, std)
    match = _INPUT.match(metadata.get("input", ""))
    if match:
        mean = tuple(float(v) for v in match[3].split(","))
        if len(mean) == 3:
            return Convention("bgr" if match[1] == "BGR" else "rgb", float(match[2]), mean, _ONES)
    return None


def _convention(path: Path, network: str, contents: readers.Contents) -> tuple[Convention, bool]:
    """The convention of what was read, and whether the weights are the authors'."""
    order = _recognise(network, contents.tensors)
    try:
        stated = _stated(contents.metadata)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: its header is damaged ({error})") from None
    ours = CONVENTIONS[network]
    if stated is not None:
        return stated, order is not None
    if order is not None:
        return (ours if order == ours.order else _reverse(ours)), True
    if contents.format in ("torch", "safetensors"):
        return TORCHVISION, False
    return ours, False


def _describe(path: Path, network: str, contents: readers.Contents, authors: bool) -> str:
    """What the weights are, in words: recognised by their numbers, else by their format."""
    for known in _KNOWN.get(network, ()):
        wanted = _up_to(network, known.last)
        if contents.tensors.keys() >= set(wanted):
            part = {name: contents.tensors[name] for name in wanted}
            if fingerprint(part) == known.fingerprint:
                return f"{known.title} ({path.name})"
    if authors:
        return f"{network}, very likely its authors' weights by the first layer ({path.name})"
    if contents.format == "torch" and network != "vgg19_normalised":
        return f"{network} of {path.name}: trained anew, as torchvision's are; stylizes otherwise than the original"
    return f"{network} of {path.name}: weights of unknown origin"


def _up_to(network: str, last: str) -> list[str]:
    """Tensor names up to the layer `last`: a key ("features.14"), or a name of the papers' ("relu3_3")."""
    layers = LAYERS[network]
    ends = [
        i
        for i, layer in enumerate(layers)
        if last in (layer.key, layer.output, *layer.names) or layer.key.startswith(f"{last}.")
    ]
    if not ends:
        raise unknown(f"layer of {network}", last, [layer.output for layer in layers])
    return [f"{layer.key}.{part}" for layer in layers[: ends[-1] + 1] for part in ("weight", "bias")]


def read(path: Path | str, network: str) -> Pretrained:
    """The weights of `network` in one file of any format that `readers` knows.

    Raises UserError for a missing or damaged file, and for one that holds another network.
    """
    path = Path(path)
    if network not in LAYERS:
        raise unknown("descriptor network", network, LAYERS)
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    contents = readers.read(path, network)
    if network.startswith("vgg19") and _normalised(contents.tensors) != (network == "vgg19_normalised"):
        other = "vgg19" if network == "vgg19_normalised" else "vgg19_normalised"
        raise UserError(f"{path} holds {other}, not {network}; ask for {other}'s layers or give another file")
    convention, authors = _convention(path, network, contents)
    source = _describe(path, network, contents, authors)
    return Pretrained(network, contents.tensors, convention, source, digest(path, "sha256"))


def require(pretrained: Pretrained, names: Iterable[str]) -> None:
    """Raise UserError, naming the layer, where one of the tensors `names` is not there."""
    for name in names:
        if name not in pretrained.tensors:
            key = name.rpartition(".")[0]
            layer = next((x.names[0] for x in LAYERS[pretrained.name] if x.key == key), key)
            last = list(pretrained.tensors)[-1].rpartition(".")[0]
            ends = next((x.names[0] for x in LAYERS[pretrained.name] if x.key == last), last)
            raise UserError(
                f"{pretrained.name}: the weights at hand end at {ends} and lack {layer} ({name}); they are "
                f"{pretrained.source}; use earlier layers, or a file that has them all"
            )


def load(
    name: str,
    *,
    files: Sequence[Path | str] = (),
    offline: bool = False,
    last: str | None = None,
    progress: Progress | None = None,
) -> Pretrained:
    """The weights of the network `name` ("vgg16", "vgg19", "vgg19_normalised", "squeezenet1_0", "..._1").

    `files`: where to look first; each a file, `NETWORK=FILE`, or a folder whose files are told by how their
    names begin. `last`: the last layer wanted (`relu3_3`, `fire4`), else all that the file has.
    Raises UserError, in one line that says the way out, for anything that keeps it from it.
    """
    if name not in LAYERS:
        raise unknown("descriptor network", name, LAYERS)
    wanted = _up_to(name, last) if last is not None else None
    pretrained = _given(name, files) or _from_environment(name) or _cached_or_fetched(name, offline, progress)
    if wanted is None:
        return pretrained
    require(pretrained, wanted)
    tensors = {key: pretrained.tensors[key] for key in wanted}
    return Pretrained(name, tensors, pretrained.convention, pretrained.source, pretrained.sha256)


def _given(name: str, files: Sequence[Path | str]) -> Pretrained | None:
    for file in files:
        network, equals, rest = str(file).partition("=")
        if equals and network in LAYERS:
            if network == name:
                path = Path(rest).expanduser()
                return _in_folder(name, path, required=True) if path.is_dir() else read(path, name)
            continue
        path = Path(file).expanduser()
        if equals and not path.exists():
            raise unknown("descriptor network", network, LAYERS)
        if path.is_dir():
            found = _in_folder(name, path)
        elif (named := network_of(path)) is not None:
            found = read(path, name) if named == name else None
        else:
            found = _nameless(name, path)
        if found is not None:
            return found
    return None


def _nameless(name: str, path: Path) -> Pretrained | None:
    """A file whose name says nothing: used where its arrays fit, an error where they fit no network."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    fits = readers.networks(path)
    if fits and name not in fits:
        return None
    found = readers.read(path, name)
    if name.startswith("vgg19") and _normalised(found.tensors) != (name == "vgg19_normalised"):
        return None
    return read(path, name)


_SUFFIXES: Final = (".safetensors", ".h5", ".hdf5", ".caffemodel", ".net", ".pth", ".pt")


def network_of(path: Path) -> str | None:
    """The network that the name of a file begins with: the longest that fits; None where none does."""
    stem = path.name.lower()
    fits = [(len(p), network) for network, s in SOURCES.items() for p in s.prefixes if stem.startswith(p)]
    return max(fits)[1] if fits else None


def _in_folder(name: str, folder: Path, *, required: bool = False) -> Pretrained | None:
    try:
        entries = sorted(
            p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and network_of(p) == name
        )
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
    published = SOURCES[name].file
    entries.sort(key=lambda p: (p.name != published, _SUFFIXES.index(p.suffix.lower())))
    for path in entries:
        if not path.is_file():
            continue
        if path.name == published and not verified(path, SOURCES[name].digests):
            raise UserError(
                f"{path} is not the published file: its hash is wrong (expected {SOURCES[name].digests[0]}); "
                f"fetch it again, or give it as {name}={path} to use it all the same"
            )
        return read(path, name)
    if required:
        raise UserError(
            f"{folder}: no file in it whose name begins with {' or '.join(SOURCES[name].prefixes)}"
        )
    return None


def _from_environment(name: str) -> Pretrained | None:
    for folder in os.environ.get("TEXTURENETS_WEIGHTS", "").split(os.pathsep):
        if not folder:
            continue
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise UserError(f"TEXTURENETS_WEIGHTS names {folder}, which is no folder")
        found = _in_folder(name, path)
        if found is not None:
            return found
    return None


def _offline() -> bool:
    return os.environ.get("TEXTURENETS_OFFLINE", "").lower() not in ("", "0", "false", "no")


def _cached_or_fetched(name: str, offline: bool, progress: Progress | None) -> Pretrained:
    folder, source = cache_folder(), SOURCES[name]
    cached = folder / f"{name}.safetensors"
    if cached.is_file():
        found = _from_cache(name, cached)
        if found is not None:
            return found
        cached.unlink(missing_ok=True)
    if (folder / source.file).is_file():
        found = _in_folder(name, folder)
        if found is not None:
            return found
    by_hand = f"put it in {folder}, or give it with --weights {name}=FILE"
    if offline or _offline():
        raise UserError(
            f"offline, and no weights of {name} here: fetch {source.urls[0]} elsewhere and {by_hand}"
        )
    if source.format == "keras" and importlib.util.find_spec("h5py") is None:
        raise UserError(f"the weights of {name} are HDF5, which h5py reads: pip install 'texturenets[train]'")
    with beside(cached) as part:
        try:
            download(source.urls, part, digests=source.digests, size=source.size, progress=progress)
        except UserError as error:
            raise UserError(
                f"the weights of {name} could not be fetched ({error}); get {source.file} and {by_hand}"
            ) from None
        sha256 = digest(part, "sha256")
        tensors = readers.read(part, name).tensors
    pretrained = Pretrained(name, tensors, CONVENTIONS[name], source.title, sha256)
    _keep(pretrained, cached)
    return pretrained


def _keep(pretrained: Pretrained, path: Path) -> None:
    """Write the cache's file: safetensors, with a header that says what it is and proves its numbers."""
    header = {
        "network": pretrained.name,
        "convention": json.dumps(asdict(pretrained.convention)),
        "source": pretrained.source,
        "sha256": pretrained.sha256,
        "fingerprint": fingerprint(pretrained.tensors),
        "licence": SOURCES[pretrained.name].licence,
    }
    with beside(path) as part:
        save_file(pretrained.tensors, part, header)
        publish(part, path)


def _from_cache(name: str, path: Path) -> Pretrained | None:
    """The weights that `_keep` wrote; None where the file is damaged."""
    try:
        contents = readers.read(path, name)
        header = contents.metadata
        if header.get("network") != name or header.get("fingerprint") != fingerprint(contents.tensors):
            return None
        convention, _ = _convention(path, name, contents)
        return Pretrained(name, contents.tensors, convention, header["source"], header["sha256"])
    except (UserError, KeyError):
        return None
