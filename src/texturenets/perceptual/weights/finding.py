"""Weights in files, folders, the cache or on the network."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file

from texturenets import readers
from texturenets.errors import UserError, WeightsMissingError, install, unknown
from texturenets.fetch import Progress, beside, digest, download, verified
from texturenets.fetch import offline as told_offline
from texturenets.files import cache_folder, expanded, publish, weights_folders
from texturenets.perceptual.weights import registry
from texturenets.perceptual.weights.recognition import (
    convention_of,
    describe,
    fingerprint,
    is_normalised,
    tensor_names,
)
from texturenets.perceptual.weights.registry import CONVENTIONS, SOURCES, Convention
from texturenets.readers import LAYERS


@dataclass(frozen=True)
class Pretrained:
    """Weights of a descriptor network, float32 by torchvision's names, in the order of evaluation.

    They may end before the network does. `source`: a description. `sha256`: of the file from which they were read;
    for the cache, of the original file.
    """

    name: str
    tensors: dict[str, torch.Tensor]
    convention: Convention
    source: str
    sha256: str


def read(path: Path | str, network: str) -> Pretrained:
    """The weights of `network` in one file of any format that `readers` supports.

    Raises UserError for a missing or damaged file, and for one that holds another network.
    """
    path = Path(path)
    if network not in LAYERS:
        raise unknown("descriptor network", network, LAYERS)
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    contents = readers.read(path, network)
    if _other_vgg19(network, contents):
        other = "vgg19" if network == "vgg19_normalised" else "vgg19_normalised"
        raise UserError(f"{path} holds {other}, not {network}; ask for {other}'s layers or give another file")
    return _pretrained(path, network, contents)


def _pretrained(path: Path, network: str, contents: readers.Contents) -> Pretrained:
    convention, original = convention_of(path, network, contents)
    source = describe(path, network, contents, original)
    return Pretrained(network, contents.tensors, convention, source, digest(path, "sha256"))


def _other_vgg19(network: str, contents: readers.Contents) -> bool:
    """Whether these are weights of VGG-19 in the other of its two forms (plain, rescaled) than `network`."""
    return network.startswith("vgg19") and is_normalised(contents.tensors) != (network == "vgg19_normalised")


def check_at_hand(name: str) -> None:
    """Raise UserError, as `load` would, if there is no file of weights of `name` and none may be fetched. Fast: no
    file is read. If fetching is allowed nothing is checked.
    """
    if name not in LAYERS or shipped(name) or not (told_offline() or not SOURCES[name].urls):
        return
    cached = (cache_folder() / f"{name}.safetensors", cache_folder() / SOURCES[name].file)
    if not any(path.is_file() for path in cached) and not any(
        _entries(name, folder) for folder in weights_folders()
    ):
        raise _not_at_hand(name)


def shipped(name: str) -> Path | None:
    """The file of weights of the network `name` that comes with this package; None if there is none."""
    path = registry.SHIPPED_FOLDER / SOURCES[name].file
    return path if not SOURCES[name].urls and path.is_file() else None


def require(pretrained: Pretrained, names: Iterable[str]) -> None:
    """Raise UserError, naming the layer, if one of the tensors `names` is missing."""
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

    `files`: searched first; each is a file, `NETWORK=FILE`, or a folder, whose files are recognized by the beginning
    of their names; one of the folders must hold the weights unless another of `files` does. `last`: the last layer
    wanted (`relu3_3`, `fire4`), else all that the file has. Raises UserError, in one line that says the way out, if
    that fails.
    """
    if name not in LAYERS:
        raise unknown("descriptor network", name, LAYERS)
    wanted = tensor_names(name, last) if last is not None else None
    pretrained = _given(name, files) or _from_environment(name) or _cached_or_fetched(name, offline, progress)
    if wanted is None:
        return pretrained
    require(pretrained, wanted)
    tensors = {key: pretrained.tensors[key] for key in wanted}
    return Pretrained(name, tensors, pretrained.convention, pretrained.source, pretrained.sha256)


def _given(name: str, files: Sequence[Path | str]) -> Pretrained | None:
    without = []
    for file in files:
        network, equals, rest = str(file).partition("=")
        if equals and network in LAYERS:
            if network == name:
                path = expanded(rest)
                return _in_folder(name, path, required=True) if path.is_dir() else read(path, name)
            continue
        path = expanded(file)
        if equals and not path.exists():
            raise unknown("descriptor network", network, LAYERS)
        if path.is_dir():
            pretrained = _in_folder(name, path)
            without.append(path)
        elif (named := network_of(path)) is not None:
            pretrained = read(path, name) if named == name else None
        else:
            pretrained = _nameless(name, path)
        if pretrained is not None:
            return pretrained
    if without and not shipped(name):
        raise UserError(
            f"{_none_in(name, without)}: put one there, or say which network a folder is for, for example `weights` "
            f"NETWORK={without[-1]}; {name} is then looked for in TEXTURENETS_WEIGHTS, the cache and the network"
            f"{_others_in(without)}"
        )
    return None


def _others_in(folders: Sequence[Path]) -> str:
    """The message that losses may use only a network whose weights are in `folders`; "" if there is none."""
    found = [network for network in LAYERS if any(_entries(network, folder) for folder in folders)]
    return f"; or use only what is there: `descriptor` {' or '.join(found)}" if found else ""


def _none_in(name: str, folders: Sequence[Path]) -> str:
    """The message that weights of the network `name` are in none of `folders`, with the expected file name."""
    where = " or ".join(str(folder) for folder in folders)
    return f"no file in {where} whose name begins with {' or '.join(SOURCES[name].prefixes)}"


def _nameless(name: str, path: Path) -> Pretrained | None:
    """The weights in a file whose name names no network: used if its arrays fit `name`; an error if they fit no
    network."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    file = readers.open_file(path)
    fits = file.networks()
    if fits and name not in fits:
        return None
    contents = file.read(name)
    return None if _other_vgg19(name, contents) else _pretrained(path, name, contents)


_SUFFIXES: Final = (".safetensors", ".h5", ".hdf5", ".caffemodel", ".net", ".pth", ".pt")


def network_of(path: Path) -> str | None:
    """The network that the name of a file begins with: the longest that fits; None if none does."""
    stem = path.name.lower()
    fits = [(len(p), network) for network, s in SOURCES.items() for p in s.prefixes if stem.startswith(p)]
    return max(fits)[1] if fits else None


def _entries(name: str, folder: Path) -> list[Path]:
    """Files in `folder` with names for weights of `name`, the best match first."""
    try:
        entries = sorted(
            p
            for p in folder.iterdir()
            if p.suffix.lower() in _SUFFIXES and network_of(p) == name and p.is_file()
        )
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
    published = SOURCES[name].file
    return sorted(entries, key=lambda p: (p.name != published, _SUFFIXES.index(p.suffix.lower())))


def _in_folder(name: str, folder: Path, *, required: bool = False) -> Pretrained | None:
    published = SOURCES[name].file
    for path in _entries(name, folder):
        digests = SOURCES[name].digests
        if path.name == published and digests and not verified(path, digests):
            raise UserError(
                f"{path} is not the published file: its hash is wrong (expected {digests[0]}); "
                f"fetch it again, or give it as {name}={path} to use it all the same"
            )
        return read(path, name)
    if required:
        raise UserError(_none_in(name, [folder]))
    return None


def _from_environment(name: str) -> Pretrained | None:
    for path in weights_folders():
        pretrained = _in_folder(name, path)
        if pretrained is not None:
            return pretrained
    return None


def _cached_or_fetched(name: str, offline: bool, progress: Progress | None) -> Pretrained:
    folder, source = cache_folder(), SOURCES[name]
    cached = folder / f"{name}.safetensors"
    if cached.is_file():
        pretrained = _from_cache(name, cached)
        if pretrained is not None:
            return pretrained
        cached.unlink(missing_ok=True)
    if (folder / source.file).is_file():
        pretrained = _in_folder(name, folder)
        if pretrained is not None:
            return pretrained
    if (ours := shipped(name)) is not None:
        return read(ours, name)
    if offline or told_offline() or not source.urls:
        raise _not_at_hand(name)
    if source.format == "keras" and importlib.util.find_spec("h5py") is None:
        raise UserError(f"the weights of {name} are HDF5, which h5py reads: {install('train')}")
    with beside(cached) as part:
        try:
            download(source.urls, part, digests=source.digests, size=source.size, progress=progress)
        except UserError as error:
            raise WeightsMissingError(
                f"the weights of {name} could not be fetched ({error}), and "
                f"{_where_to_put(name, source.file)}{_instead(name)}"
            ) from None
        sha256 = digest(part, "sha256")
        tensors = readers.read(part, name).tensors
    pretrained = Pretrained(name, tensors, CONVENTIONS[name], source.title, sha256)
    _keep(pretrained, cached)
    return pretrained


def _where_to_put(name: str, file: str) -> str:
    """The message that weights are missing, and where to put `file`, a file name or URL."""
    return (
        f"{_none_in(name, [*weights_folders(), cache_folder()])}: fetch {file} elsewhere and put it in "
        f"{cache_folder()} or a folder that TEXTURENETS_WEIGHTS names"
    )


def _instead(name: str) -> str:
    return (
        f", or give it with `weights` {name}=FILE (in Python trainer=TrainerConfig(weights=('{name}=FILE',))); "
        "`descriptor` random needs none"
    )


def _not_at_hand(name: str) -> UserError:
    if not SOURCES[name].urls:
        file = registry.SHIPPED_FOLDER / SOURCES[name].file
        return UserError(f"{file} is missing, the weights of {name}: install texturenets again")
    return WeightsMissingError(f"offline, and {_where_to_put(name, SOURCES[name].urls[0])}{_instead(name)}")


def _keep(pretrained: Pretrained, path: Path) -> None:
    """Write the cache's file: safetensors, with a header that describes the weights and has their hash."""
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
    """The weights that `_keep` wrote; None if the file is damaged."""
    try:
        contents = readers.read(path, name)
        header = contents.metadata
        if header.get("network") != name or header.get("fingerprint") != fingerprint(contents.tensors):
            return None
        convention, _ = convention_of(path, name, contents)
        return Pretrained(name, contents.tensors, convention, header["source"], header["sha256"])
    except (UserError, KeyError):
        return None
