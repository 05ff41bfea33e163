"""The array-only reader of pickled tensors: what torch.save wrote comes back, nothing is ever run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from texturenets import readers
from texturenets.errors import UserError
from texturenets.readers import pickled
from texturenets.readers.stored import DamagedError, Stored


def save(value: Any, path: Path, layout: str) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=layout == "zip")
    return path


def read(path: Path) -> dict[str, Stored]:
    return pickled.read_zip(path) if zipfile.is_zipfile(path) else pickled.read_legacy(path)


def vgg_start() -> dict[str, torch.Tensor]:
    """The first two convolutions of a VGG with random numbers, and a classifier that is of no use."""
    return OrderedDict(
        [
            ("features.0.weight", torch.randn(64, 3, 3, 3)),
            ("features.0.bias", torch.randn(64)),
            ("features.2.weight", torch.randn(64, 64, 3, 3)),
            ("features.2.bias", torch.randn(64)),
            ("classifier.0.weight", torch.randn(10, 5)),
        ]
    )


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_state_dict_comes_back(tmp_path: Path, layout: str) -> None:
    state = vgg_start()
    found = read(save(state, tmp_path / "a.pth", layout))
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].shape == tuple(tensor.shape)
        assert torch.equal(found[name].load(), tensor)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_views_kinds_and_nesting(tmp_path: Path, layout: str) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    value = {
        "epoch": 3,
        "lr": 1e-3,
        "note": "größer",
        "state_dict": {
            "view": base[1:, 2:5],
            "turned": base.t(),
            "half": base.half(),
            "bf16": base.bfloat16(),
            "double": base.double(),
            "counts": torch.arange(-3, 4),
            "parameter": nn.Parameter(base + 1),
            "scalar": torch.tensor(7.0),
            "empty": torch.zeros(0, 3),
        },
        "module": network.state_dict(),
    }
    found = read(save(value, tmp_path / "a.pth", layout))
    for name, tensor in value["state_dict"].items():  # type: ignore[attr-defined]
        assert torch.equal(found[f"state_dict.{name}"].load(), tensor), name
    for name, tensor in network.state_dict().items():
        assert torch.equal(found[f"module.{name}"].load(), tensor), name


def test_newer_pickle_protocol(tmp_path: Path) -> None:
    state = vgg_start()
    torch.save(state, tmp_path / "a.pth", pickle_protocol=4)
    found = read(tmp_path / "a.pth")
    assert torch.equal(found["features.2.weight"].load(), state["features.2.weight"])


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_program_in_the_pickle_is_refused_and_not_run(tmp_path: Path, layout: str) -> None:
    marker = tmp_path / "ran"
    path = save({**vgg_start(), "x": Evil(marker)}, tmp_path / "a.pth", layout)
    with pytest.raises(UserError, match=r"system.*not run") as caught:
        readers.read(path, "vgg16")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    # the same file does run where it is unpickled, or the test would prove nothing
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_whole_module_is_refused(tmp_path: Path, layout: str) -> None:
    path = save(nn.Conv2d(3, 4, 3), tmp_path / "a.pth", layout)
    with pytest.raises(UserError, match=r"a\.pth"):
        readers.read(path, "vgg16")


def interpret(program: bytes) -> Any:
    return pickled.Interpreter(program).run()


def test_plain_values_as_the_standard_library_reads_them() -> None:
    value = {
        "a": [1, -2, 70000, 1 << 40, -(1 << 70), True, None, 0.25],
        "b": ("x", "ü", (), (1, 2, 3, 4)),
        5: {},
    }
    for protocol in (2, 3, 4, 5):
        assert interpret(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b".",
        b"\x80\x02",
        b"K\x01",
        b"\x80\x02(((((.",
        b"]q\x00h\x05.",  # recalls what it never made
        b"X\xff\xff\xff\x7f.",  # text of 2 GB
        b"\x8d" + struct.pack("<Q", 1 << 62) + b".",  # text of 2^62 bytes
        b"\x8b" + struct.pack("<i", 1 << 30) + b".",  # number of 2^30 bytes
        b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ccollections\nOrderedDict\nK\x01R.",
        b"}]K\x01s.",  # a list as a key
        b"(K\x01d.",
        b"cposix\n" + b"x" * 10000,
        b"\x8c\x02os\x8c\x06system\x93.",
        b"(lq\x00h\x00Q.",
        b"0",
        b"2",
    ],
)
def test_bad_programs(program: bytes) -> None:
    with pytest.raises(DamagedError):
        interpret(program)


def bomb_of_lists() -> bytes:
    """OrderedDict of the same long list, over and over."""
    pair = b"(X\x01\x00\x00\x00aK\x01t"
    body = b"ccollections\nOrderedDict\nq\x01" + b"](" + pair * 20000 + b"eq\x02\x85q\x03"
    return body + b"h\x01h\x03R0" * 200000 + b"."


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"]" * 3_000_000 + b".", id="lists"),
        pytest.param(b"(" * 3_000_000 + b".", id="marks"),
        pytest.param(b"}q\x00" + b"h\x000" * 1_000_000 + b".", id="steps"),
        pytest.param(bomb_of_lists(), id="calls"),
    ],
)
def test_long_programs_end_soon(program: bytes) -> None:
    start = time.process_time()
    with pytest.raises(DamagedError):
        interpret(program)
    assert time.process_time() - start < 2


def zip_of(program: bytes, path: Path, records: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", program)
        for name, data in (records or {}).items():
            archive.writestr(f"a/{name}", data)
    return path


def test_deep_and_looped_dictionaries(tmp_path: Path) -> None:
    loop = b"}q\x00X\x01\x00\x00\x00ah\x00s."
    wide = b"}q\x00" + b"".join(
        # each level holds the one before it twice: 2^40 leaves of 40 dictionaries
        b"}q%cX\x01\x00\x00\x00ah%csX\x01\x00\x00\x00bh%cs" % (i + 1, i, i)
        for i in range(40)
    )
    for program in (loop, wide + b"."):
        with pytest.raises(DamagedError, match="nested"):
            pickled.read_zip(zip_of(program, tmp_path / "a.pth"))


def tensor_program(shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, count: int = 4) -> bytes:
    out = io.BytesIO()

    class Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if value == "STORAGE" else None

    class View:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, ("STORAGE", offset, shape, stride, False, OrderedDict())

    Pickler(out, 2).dump({"x": View()})
    return out.getvalue()


def test_tensors_stay_inside_their_storage(tmp_path: Path) -> None:
    data = {"data/0": torch.arange(4.0).numpy().tobytes()}
    good = pickled.read_zip(zip_of(tensor_program((2, 2), (1, 2)), tmp_path / "good.pth", data))
    assert good["x"].load().tolist() == [[0, 2], [1, 3]]
    for shape, stride, offset, count in (
        ((1 << 40,), (0,), 0, 4),  # terabytes of one number
        ((2, 2), (2, 2), 0, 4),
        ((4,), (1,), 1, 4),
        ((-4,), (1,), 0, 4),
        ((1 << 62,), (1,), 0, 1 << 62),
        ((5,), (1,), 0, 5),  # the record holds four
    ):
        path = zip_of(tensor_program(shape, stride, offset, count), tmp_path / "bad.pth", data)
        with pytest.raises(DamagedError):
            pickled.read_zip(path)["x"].load()


def test_big_endian(tmp_path: Path) -> None:
    data = {"data/0": struct.pack(">4f", 1, 2, 3, 4), "byteorder": b"big"}
    found = pickled.read_zip(zip_of(tensor_program((4,), (1,)), tmp_path / "a.pth", data))
    assert found["x"].load().tolist() == [1, 2, 3, 4]


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    """A zip of zeros that would grow a thousandfold."""
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", tensor_program((1 << 20,), (1,), 0, 1 << 20))
        archive.writestr("a/data/0", bytes(4 << 20))
    with pytest.raises(DamagedError, match="compressed"):
        pickled.read_zip(path)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_damaged_files_are_one_line(tmp_path: Path, layout: str) -> None:
    whole = save(vgg_start(), tmp_path / "a.pth", layout).read_bytes()
    path = tmp_path / "b.pth"
    places = [*range(0, 200, 7), *range(200, len(whole), len(whole) // 60)]
    complaints: list[str] = []
    for i in places:
        flipped = bytearray(whole)
        flipped[i] ^= 0xFF
        for damaged in (whole[:i], bytes(flipped)):
            path.write_bytes(damaged)
            try:
                readers.read(path, "vgg16")
            except UserError as error:
                complaints.append(str(error))
    assert len(complaints) > len(places)
    assert all(str(path) in text and "\n" not in text for text in complaints)
