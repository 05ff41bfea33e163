"""The reader of Caffe models, on files written byte by byte after the wire format's description."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from texturenets import readers
from texturenets.errors import UserError
from texturenets.readers import caffe, recognise
from texturenets.readers.stored import FormatError


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def old_blob(array: np.ndarray, *, packed: bool = True) -> bytes:
    sizes = (1,) * (4 - array.ndim) + array.shape
    head = b"".join(number(i, n) for i, n in enumerate(sizes, 1))
    flat = array.astype("<f4").ravel()
    if packed:
        return head + block(5, flat.tobytes())
    return head + b"".join(varint(5 << 3 | 5) + struct.pack("<f", x) for x in flat)


def new_blob(array: np.ndarray, *, double: bool = False) -> bytes:
    dims = b"".join(varint(n) for n in array.shape)
    data = block(8, array.astype("<f8").tobytes()) if double else block(5, array.astype("<f4").tobytes())
    return data + block(7, block(1, dims))


def v1_layer(name: str, *blobs: bytes) -> bytes:
    body = block(2, b"bottom") + block(3, b"top") + block(4, name.encode()) + number(5, 4)
    return block(2, body + b"".join(block(6, b) for b in blobs))


def layer(name: str, *blobs: bytes) -> bytes:
    body = block(1, name.encode()) + block(2, b"Convolution")
    return block(100, body + b"".join(block(7, b) for b in blobs))


def arrays() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(1)
    return draw.standard_normal((64, 3, 3, 3), np.float32), draw.standard_normal(64, np.float32)


@pytest.mark.parametrize("kind", ["v1 packed", "v1 unpacked", "new", "double"])
def test_arrays_come_back(tmp_path: Path, kind: str) -> None:
    weight, bias = arrays()
    make = {
        "v1 packed": lambda: v1_layer("conv1_1", old_blob(weight), old_blob(bias)),
        "v1 unpacked": lambda: v1_layer(
            "conv1_1", old_blob(weight, packed=False), old_blob(bias, packed=False)
        ),
        "new": lambda: layer("conv1_1", new_blob(weight), new_blob(bias)),
        "double": lambda: layer("conv1_1", new_blob(weight, double=True), new_blob(bias, double=True)),
    }[kind]
    path = tmp_path / "a.caffemodel"
    path.write_bytes(block(1, b"VGG") + v1_layer("data") + make() + number(5, 1))
    contents = readers.read(path, "vgg19")
    assert contents.format == "caffe"
    assert np.array_equal(contents.tensors["features.0.weight"].numpy(), weight)
    assert np.array_equal(contents.tensors["features.0.bias"].numpy(), bias)


def test_layer_names_of_both_networks(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    path = tmp_path / "a.caffemodel"
    body = b""
    wanted = {}
    for name, key, shape in (
        ("conv1", "features.0", (64, 3, 3, 3)),
        ("fire2/squeeze1x1", "features.3.squeeze", (16, 64, 1, 1)),
        ("fire2/expand1x1", "features.3.expand1x1", (64, 16, 1, 1)),
        ("fire2/expand3x3", "features.3.expand3x3", (64, 16, 3, 3)),
        ("fire4/squeeze1x1", "features.6.squeeze", (32, 128, 1, 1)),
    ):
        weight = draw.standard_normal(shape, np.float32)
        wanted[key] = weight
        body += layer(name, new_blob(weight), new_blob(weight[:, 0, 0, 0]))
    path.write_bytes(body)
    tensors = readers.read(path, "squeezenet1_1").tensors
    for key, weight in wanted.items():
        assert np.array_equal(tensors[f"{key}.weight"].numpy(), weight)
        assert np.array_equal(tensors[f"{key}.bias"].numpy(), weight[:, 0, 0, 0])
    assert list(tensors)[::2] == [f"{key}.weight" for key in wanted]
    with pytest.raises(UserError, match="another network"):
        readers.read(path, "squeezenet1_0")


@pytest.mark.parametrize(
    "data",
    [
        varint(100 << 3 | 2) + varint(1 << 62),  # a layer of 2^62 bytes
        block(2, b"\x22\xff"),
        layer("conv1_1", block(7, block(1, varint(1 << 62))) + block(5, bytes(8))),  # 2^62 numbers
        layer("conv1_1", number(1, 1 << 39) + number(2, 1 << 39) + block(5, bytes(4))),
        layer("conv1_1", block(5, bytes(7))),
        layer("conv1_1", block(7, block(1, varint(1) * 100)) + block(5, bytes(4))),
        b"\x0b" * 100,
        block(1, b"x") + b"\xff" * 20,
    ],
)
def test_damaged_models(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(data)
    with pytest.raises(FormatError):
        caffe.read(path)


def test_a_megabyte_of_tiny_fields_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    path.write_bytes(block(1, b"x") + number(5, 1) * 2_000_000)
    with pytest.raises(UserError, match="too many"):
        readers.read(path, "vgg16")


def test_random_damage_is_one_line(tmp_path: Path) -> None:
    weight, bias = arrays()
    whole = block(1, b"VGG") + v1_layer("conv1_1", old_blob(weight), old_blob(bias, packed=False))
    path = tmp_path / "a.caffemodel"
    draw = random.Random(3)
    complaints: list[str] = []
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[draw.randrange(60)] = draw.randrange(256)
        path.write_bytes(damaged[: draw.choice([len(whole), draw.randrange(len(whole))])])
        try:
            readers.read(path, "vgg16")
        except UserError as error:
            complaints.append(str(error))
    assert len(complaints) > 100
    assert all(str(path) in text and "\n" not in text for text in complaints)


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    weight, bias = arrays()
    bias[3] = np.nan
    path = tmp_path / "a.caffemodel"
    path.write_bytes(v1_layer("conv1_1", old_blob(weight), old_blob(bias)))
    with pytest.raises(UserError, match="finite"):
        readers.read(path, "vgg16")
    assert torch.isnan(caffe.read(path)["conv1_1.bias"].load()).any()


def test_other_bytes_are_not_taken_for_a_model(tmp_path: Path) -> None:
    """One byte in eight has the wire type of a field with a length; few are fields that a model begins with."""
    path = tmp_path / "a.bin"
    known = []
    for first in range(256):
        path.write_bytes(bytes([first]) * 3)
        if recognise(path) == "caffe":
            known.append(first)
    assert known == [0x0A, 0x12, 0x1A, 0x32, 0x42]
