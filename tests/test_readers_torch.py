"""Files of PyTorch's: what torch.save wrote comes back, nothing is ever run, and what is absurd ends soon."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import zipfile
from collections import OrderedDict
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from texturenets import readers
from texturenets.errors import UserError
from texturenets.readers import child, isolated


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading program runs here, where torch is imported: for tests of many files. Others start it."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        out, errors = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with redirect_stdout(out), redirect_stderr(errors):
            status = child.main(*command[-2:])
        return subprocess.CompletedProcess(command, status, out.buffer.getvalue(), errors.getvalue().encode())

    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "HDF5_USE_FILE_LOCKING"):
        monkeypatch.setenv(name, "")  # which `main` sets
    monkeypatch.setattr(isolated.subprocess, "run", run)
    monkeypatch.setattr(child, "limit", lambda _: None)


def save(value: Any, path: Path, layout: str, **how: Any) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=layout == "zip", **how)
    return path


def refused(path: Path) -> str:
    """The one line that says why the file is not read."""
    with pytest.raises(UserError) as caught:
        readers.arrays(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_tensors_come_back(tmp_path: Path, layout: str) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    kernels = base.reshape(2, 3, 2, 2)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    wanted = {
        "view": base[1:, 2],
        "turned": kernels.transpose(0, 1),
        "half": kernels.half(),
        "bf16": base[0].bfloat16(),
        "double": base[0].double(),
        "parameter": nn.Parameter(kernels + 1),
        "empty": torch.zeros(0),
    }
    other = {
        "epoch": 3,
        "lr": 1e-3,
        "note": "größer",
        "list": [base[0]],
        "counts": torch.arange(3),
        "base": base,
    }
    path = save({**other, "state_dict": wanted, "module": network.state_dict()}, tmp_path / "a.pth", layout)
    found = readers.arrays(path)
    wanted = {f"state_dict.{name}": tensor for name, tensor in wanted.items()}
    wanted |= {f"module.{name}": tensor for name, tensor in network.state_dict().items() if tensor.ndim}
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].shape == tuple(tensor.shape)
        assert torch.equal(found[name].load(), tensor.float()), name


def test_a_network_is_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    state = OrderedDict(
        [
            ("features.0.weight", torch.randn(64, 3, 3, 3)),
            ("features.0.bias", torch.randn(64)),
            ("classifier.0.weight", torch.randn(10, 5)),
        ]
    )
    contents = readers.read(save(state, tmp_path / "a.safetensors", "zip"), "vgg16")
    assert contents.format == "torch"
    assert list(contents.tensors) == ["features.0.weight", "features.0.bias"]
    assert torch.equal(contents.tensors["features.0.weight"], state["features.0.weight"])


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_a_program_in_the_pickle_is_refused_and_not_run(tmp_path: Path, layout: str) -> None:
    marker = tmp_path / "ran"
    path = save({"w": torch.ones(3), "x": Evil(marker)}, tmp_path / "a.pth", layout)
    text = refused(path)
    assert "system, code that was not run" in text
    assert "model.state_dict()" in text
    assert not marker.exists()
    # the same file does run where it is unpickled, or the test would prove nothing
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.usefixtures("at_once")
def test_whole_modules_and_torchscript_are_refused(tmp_path: Path) -> None:
    path = save(nn.Conv2d(3, 4, 3), tmp_path / "a.pth", "legacy")
    assert "it holds torch.nn.modules.conv.Conv2d, code that was not run" in refused(path)
    torch.jit.save(torch.jit.trace(nn.Conv2d(3, 4, 3), torch.ones(1, 3, 4, 4)), path)
    assert "TorchScript" in refused(path)


@pytest.mark.usefixtures("at_once")
def test_pickles_that_torch_does_not_know(tmp_path: Path) -> None:
    path = save({"w": torch.ones(3)}, tmp_path / "a.pth", "zip", pickle_protocol=4)
    assert "protocol 4" in refused(path)
    path.write_bytes(b"\x80\x02K\x01.")
    assert "magic number" in refused(path)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_damaged_files_are_one_line(tmp_path: Path, layout: str) -> None:
    path = save({"w": torch.ones(1000)}, tmp_path / "a.pth", layout)
    whole = path.read_bytes()
    for cut in (5, len(whole) - 900):
        path.write_bytes(whole[:cut])
        refused(path)
    if layout == "zip":
        at = whole.index(torch.ones(1000).numpy().tobytes())
        path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
        assert "checksum" in refused(path)


def legacy(program: bytes) -> bytes:
    """A file of the older layout around the pickle of its value."""
    head = torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {"little_endian": True}
    return b"".join(pickle.dumps(one, 2) for one in head) + program


def tensor_program(shape: tuple[int, ...], stride: tuple[int, ...], count: int, *more: None) -> bytes:
    """The pickle of {"x": a tensor} that says of itself what the arguments say; `more`: None in the older layout."""
    out = io.BytesIO()

    class Pickler(pickle._Pickler):  # type: ignore[name-defined, misc]
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count, *more) if value == "STORAGE" else None

    class View:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, ("STORAGE", 0, shape, stride, False, OrderedDict())

    Pickler(out, 2).dump({"x": View()})
    return out.getvalue()


def zip_of(program: bytes, path: Path, data: bytes, how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("a/data.pkl", program)
        archive.writestr("a/version", "3\n")
        archive.writestr("a/data/0", data)
    return path


@pytest.mark.usefixtures("at_once")
def test_tensors_stay_inside_their_storage(tmp_path: Path) -> None:
    data, path = torch.arange(4.0).numpy().tobytes(), tmp_path / "a.pth"
    good = readers.arrays(zip_of(tensor_program((2, 1, 1, 2), (1, 1, 1, 2), 4), path, data))
    assert good["x"].load().flatten().tolist() == [0, 2, 1, 3]
    # terabytes of one number
    assert not readers.arrays(zip_of(tensor_program((1 << 40,), (0,), 4), path, data))
    refused(zip_of(tensor_program((5,), (1,), 4), path, data))


@pytest.mark.slow
def test_files_that_want_too_much_end_soon(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(legacy(tensor_program((1 << 30,), (1,), 1 << 30, None)))
    assert "memory" in refused(path)
    loop = b"}q\x00X\x01\x00\x00\x00ah\x00s."
    path.write_bytes(legacy(loop) + pickle.dumps([], 2))
    assert "nested too deeply" in refused(path)
    path.write_bytes(legacy(b"N" * 12_000_000 + b"."))
    assert "took too long" in refused(path)
    with path.open("wb") as stream:
        stream.write(b"\x80\x02")
        stream.truncate(child.MAX_FILE + 1)
    assert "too large" in refused(path)


def test_compressed_bombs_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tensor_program((1 << 20,), (1,), 1 << 20)
    path = zip_of(program, tmp_path / "a.pth", bytes(4 << 20), zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(child, "MAX_FILE", 1 << 20)
    with pytest.raises(ValueError, match="too large"):
        list(child.pytorch(str(path), torch))
