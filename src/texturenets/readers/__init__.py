"""Files of pretrained weights, whatever program wrote them, as tensors under canonical names.

The format is recognized by the content. No code in a file is run, and memory use is bounded: there is one reader per
format, which builds only arrays.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from safetensors import SafetensorError, safe_open

from texturenets.errors import UserError
from texturenets.modelfiles.modelfile import harm_of
from texturenets.readers import caffe, compressed, isolated, keras
from texturenets.readers.layouts import LAYERS, shapes
from texturenets.readers.stored import FormatError, Stored, in_memory

WeightsFormat = Literal["safetensors", "torch", "keras", "caffe", "compressed"]

TITLES: Final[dict[WeightsFormat, str]] = {
    "safetensors": "safetensors",
    "torch": "PyTorch state_dict",
    "keras": "Keras HDF5",
    "caffe": "Caffe model",
    "compressed": "compressed SqueezeNet",
}

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
# Exceptions of libraries and readers for damaged files; FormatError is a ValueError.
DAMAGE: Final = (
    SafetensorError,
    struct.error,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    MemoryError,
    RuntimeError,
)


@dataclass(frozen=True)
class Contents:
    """The weights of one network in a file.

    `tensors`: float32 by canonical name, in the order of evaluation, only layers that the file has.
    `metadata`: the texts in a safetensors header, else empty.
    """

    tensors: dict[str, torch.Tensor]
    format: WeightsFormat
    metadata: dict[str, str]


def _safetensors(path: Path) -> dict[str, Stored]:
    def load(name: str) -> torch.Tensor:
        with safe_open(path, "pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
            return tensor.clone()

    with safe_open(path, "pt") as file:
        sizes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return {name: Stored(shape, lambda n=name: load(n)) for name, shape in sizes.items()}  # type: ignore[misc]


def _torch(path: Path) -> dict[str, Stored]:
    return {name: in_memory(torch.from_numpy(a)) for name, a in isolated.read("torch", path).items()}


_READERS: Final[dict[WeightsFormat, Callable[[Path], dict[str, Stored]]]] = {
    "safetensors": _safetensors,
    "torch": _torch,
    "keras": keras.read,
    "caffe": caffe.read,
    "compressed": compressed.read,
}


_CAFFE: Final = (b"\x0a", b"\x12", b"\x1a", b"\x32", b"\x42", b"\xa2\x06")
"""Tags that a Caffe model may begin with, those of NetParameter's fields with a length: `name`, `layers` (V1),
`input`, `state`, `input_shape`, and `layer` (100), which takes two bytes."""


def recognise(path: Path) -> WeightsFormat | None:
    """The format of the file at `path`, by its content; None if it is unknown. Raises UserError if it cannot be
    read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(16)
        if head[:8] == _HDF5:
            return "keras"
        if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8:
            return "safetensors"
        if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
            return "torch"
        if compressed.matches(path):
            return "compressed"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    return "caffe" if head.startswith(_CAFFE) else None


def detect(path: Path) -> WeightsFormat:
    """The format of the file at `path`, by its content. Raises UserError if it is unknown."""
    kind = recognise(path)
    if kind is None:
        known = ", ".join(TITLES.values())
        raise UserError(f"{path}: not a file of weights that is known ({known})")
    return kind


def metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file. Raises UserError if it cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (*DAMAGE, OSError) as error:
        raise _damaged(path, "safetensors", error) from None


def plain(text: str) -> str:
    """`text` in one line, because names in a damaged file may contain any characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]


def _damaged(path: Path, kind: WeightsFormat, error: BaseException) -> UserError:
    if kind == "safetensors" and (harm := harm_of(path)):
        return UserError(f"{path} is {harm}: fetch or copy it again")
    reason = plain(str(error)) or type(error).__name__
    return UserError(f"{path}: damaged or no {TITLES[kind]} file ({reason})")


@dataclass(frozen=True)
class WeightsFile:
    """A file whose arrays are listed but not yet loaded. `arrays`: by their names in the file."""

    path: Path
    format: WeightsFormat
    arrays: dict[str, Stored]

    def networks(self) -> list[str]:
        """The networks that the file may hold, by its shapes: those with most layers in it. Several if ambiguous, as
        for the first blocks of VGG-16 and VGG-19; none if nothing fits.
        """
        counts: dict[str, int] = {}
        for network in LAYERS:
            with contextlib.suppress(UserError):
                counts[network] = len(choose(network, self.arrays))
        most = max(counts.values(), default=0)
        return [network for network, count in counts.items() if count == most]

    def read(self, network: str) -> Contents:
        """The layers of `network` in the file, which may hold only the first ones.

        Raises UserError, in one line, if the file is damaged or holds another network.
        """
        try:
            chosen = choose(network, self.arrays)
            tensors = {name: _load(name, array, shapes(network)[name]) for name, array in chosen.items()}
        except UserError as error:
            raise UserError(f"{self.path}: {plain(str(error))}") from None
        except (*DAMAGE, OSError) as error:
            raise _damaged(self.path, self.format, error) from None
        return Contents(tensors, self.format, metadata(self.path) if self.format == "safetensors" else {})


def open_file(path: Path) -> WeightsFile:
    """The file at `path`. Raises UserError, in one line, if it is damaged or of no known format."""
    kind = detect(path)
    try:
        return WeightsFile(path, kind, _READERS[kind](path))
    except (*DAMAGE, OSError) as error:
        raise _damaged(path, kind, error) from None


def arrays(path: Path) -> dict[str, Stored]:
    """All arrays in the file at `path`, not yet loaded, by their names in the file. Loading one may raise FormatError
    or OSError. Raises UserError as `open_file` does.
    """
    return open_file(path).arrays


def read(path: Path, network: str) -> Contents:
    """The layers of `network` in the file at `path`. Raises UserError as `open_file` and `WeightsFile.read` do."""
    return open_file(path).read(network)


def choose(network: str, stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """The arrays in `stored` that are layers of `network`, by canonical name.

    Knows torchvision's, Caffe's and Keras' names, after any prefix ("module.", "vgg/"); where a file has
    several copies, the one with most layers. Raises UserError if there is none and if shapes differ.
    """
    aliases = {name: layer.key for layer in LAYERS[network] for name in (layer.key, *layer.names)}
    copies: dict[str, dict[str, Stored]] = {}
    for name, array in stored.items():
        stem, dot, part = name.rpartition(".")
        if not dot or part not in ("weight", "bias"):
            continue
        starts = [0, *(i + 1 for i, c in enumerate(stem[:300]) if c in "./")]
        start = next((s for s in starts if stem[s:] in aliases), None)
        if start is not None:
            copies.setdefault(stem[:start], {})[f"{aliases[stem[start:]]}.{part}"] = array
    first = LAYERS[network][0].key
    copies = {prefix: c for prefix, c in copies.items() if {f"{first}.weight", f"{first}.bias"} <= c.keys()}
    if not copies:
        some = ", ".join(list(stored)[:3])[:120] or "nothing"
        raise UserError(f"no layers of {network} in it (it has {some})")
    best = max(copies.values(), key=len)
    chosen: dict[str, Stored] = {}
    for name, shape in shapes(network).items():
        if name not in best:
            continue
        array = best[name]
        if _without_ones(array.shape) != _without_ones(shape):
            raise UserError(
                f"its {name} is {array.shape} where {network} has {shape}: is it another network?"
            )
        chosen[name] = array
    return chosen


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)  # Caffe's old blobs have four dimensions, even biases


def _load(name: str, array: Stored, shape: tuple[int, ...]) -> torch.Tensor:
    tensor = array.load()
    if tensor.is_complex() or not tensor.is_floating_point():
        raise FormatError(f"{name} holds no real numbers")
    tensor = tensor.reshape(shape).to(torch.float32)
    if not bool(torch.isfinite(tensor).all()):
        raise FormatError(f"{name} holds numbers that are not finite")
    return tensor.contiguous()


__all__ = [
    "DAMAGE",
    "LAYERS",
    "TITLES",
    "Contents",
    "WeightsFile",
    "WeightsFormat",
    "arrays",
    "choose",
    "detect",
    "metadata",
    "open_file",
    "plain",
    "read",
    "recognise",
    "shapes",
]
