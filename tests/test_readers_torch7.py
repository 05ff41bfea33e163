"""The reader of `.t7` files: what Torch7 wrote comes back, and nothing that is damaged costs more than an error."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest

from texturenets.readers import torch7
from texturenets.readers.stored import FormatError
from texturenets.readers.torch7 import LuaFunction, Tensor, TorchObject

LAYOUTS = ["binary", "binary32", "ascii"]


def read(tmp_path: Path, value: Any, layout: published.Layout = "binary") -> Any:
    (tmp_path / "a.t7").write_bytes(published.t7(value, layout))
    return torch7.read(tmp_path / "a.t7")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_come_back(tmp_path: Path, layout: published.Layout) -> None:
    numbers = np.arange(24, dtype=np.float32) / 7
    value = {
        "a": 1.5, "b": True, "c": None, "text": "größer\nals", 1: {2: 3},
        "module": published.Module("nn.Thing", {"x": 4}), "code": published.Code(upvalues={1: 2}),
        "view": published.View(numbers, 5, (3, 4)),
    }  # fmt: skip
    found = read(tmp_path, value, layout)
    assert {key: found[key] for key in ("a", "b", "c", "text", 1)} == {
        "a": 1.5, "b": True, "c": None, "text": "größer\nals", 1: {2: 3.0},
    }  # fmt: skip
    assert isinstance(found["module"], TorchObject)
    assert (found["module"].kind, found["module"].get("x")) == ("nn.Thing", 4.0)
    assert isinstance(found["code"], LuaFunction)
    assert isinstance(found["view"], Tensor)
    np.testing.assert_array_equal(found["view"].array(), numbers[5:17].reshape(3, 4))
    np.testing.assert_array_equal(found["view"].onward(19), numbers[5:])
    with pytest.raises(FormatError, match="ends before"):
        found["view"].onward(20)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_comes_twice_is_one_and_loops_are_kept(tmp_path: Path, layout: published.Layout) -> None:
    shared: dict[Any, Any] = {"a": 1}
    shared["self"] = shared
    found = read(tmp_path, {"x": shared, "y": shared}, layout)
    assert found["x"] is found["y"]
    assert found["x"]["self"] is found["x"]


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "a.t7"
    path.write_bytes(data)
    return path


def tensor(
    kind: str, view: tuple[tuple[int, ...], tuple[int, ...], int], storage: bytes, count: int
) -> bytes:
    """A table with one tensor of class `kind` in it, by hand; `view`: its shape, strides and offset from 1."""
    shape, stride, offset = view
    writer = published.Torch7Writer()
    for number in (3, 1, 1, 1):  # a table, its number, one entry, whose key is a number
        writer.whole(number)
    writer.double(1.0)
    writer.whole(4)
    writer.whole(2)
    writer.object(f"torch.{kind}Tensor")
    writer.whole(len(shape))
    writer.longs(shape)
    writer.longs(stride)
    writer.longs((offset,))
    writer.whole(4)
    writer.whole(3)
    writer.object(f"torch.{kind}Storage")
    writer.longs((count,))
    return bytes(writer.out) + storage


@pytest.mark.parametrize(
    ("kind", "code"),
    [("Float", "f"), ("Double", "d"), ("Cuda", "f"), ("CudaDouble", "d"), ("Half", "e"), ("Byte", "B"),
     ("Char", "b"), ("Short", "h"), ("Int", "i"), ("Long", "q"), ("CudaHalf", "e")],
)  # fmt: skip
def test_every_type_of_number(tmp_path: Path, kind: str, code: str) -> None:
    data = tensor(kind, ((2, 2), (1, 2), 2), struct.pack(f"<5{code}", 9, 1, 2, 3, 4), 5)
    found = torch7.read(write(tmp_path, data))[1]
    np.testing.assert_array_equal(found.array(), np.array([[1, 3], [2, 4]], np.float32))


@pytest.mark.parametrize(
    ("shape", "stride", "offset", "count"),
    [
        ((1 << 20, 1 << 20), (0, 0), 1, 4),  # gigabytes of four numbers
        ((2, 2), (2, 1), 2, 4),
        ((2,), (1 << 39,), 1, 4),
        ((1 << 62,), (1,), 1, 4),
        ((2,), (-1,), 1, 4),
        ((2,), (1,), 1 << 62, 4),
        ((2,), (1,), 1, 1 << 62),
        ((2,), (1,), 1, -1),
    ],
)
def test_a_tensor_beyond_its_storage(
    tmp_path: Path, shape: tuple[int, ...], stride: tuple[int, ...], offset: int, count: int
) -> None:
    path = write(tmp_path, tensor("Float", (shape, stride, offset), bytes(16), count))
    with pytest.raises(FormatError):
        torch7.read(path)[1].array()


def test_nesting_without_end(tmp_path: Path) -> None:
    writer = published.Torch7Writer()
    for i in range(100_000):
        writer.whole(3)
        writer.whole(i + 1)
        writer.whole(1)
        writer.write(1)
    with pytest.raises(FormatError, match="nested too deeply"):
        torch7.read(write(tmp_path, bytes(writer.out)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cut_short_anywhere(tmp_path: Path, layout: published.Layout) -> None:
    data = published.t7({"m": published.Module("nn.A", {"w": np.ones(3)}), "t": "text"}, layout)
    for end in range(0, len(data) - 2, 3):
        with pytest.raises(FormatError):
            torch7.read(write(tmp_path, data[:end]))


def test_what_begins_like_one(tmp_path: Path) -> None:
    assert torch7.matches(published.t7({}))
    assert torch7.matches(published.t7(published.Module("nn.A"), "ascii"))
    assert not torch7.matches(b"PK\x03\x04" + bytes(20))
    assert not torch7.matches(b"3 blind mice, see how they run")
