"""Windows, as far as another system can tell: what a module needs of one system is asked for under a guard."""

from __future__ import annotations

import ast
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="the extra `web` is not installed")
pytest.importorskip("torch", reason="the extra `train` is not installed")

import texturenets
from texturenets import files, loading, locks, video
from texturenets.cli import outputs
from texturenets.hub import names
from texturenets.modelfiles import modelfile
from texturenets.server import app, server
from texturenets.server.settings import Settings
from texturenets.tiled import spool
from texturenets.train import data

FILES = sorted(Path(texturenets.__file__).parent.rglob("*.py"))
OF_ONE_SYSTEM = {
    *("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"),  # Unix
    *("msvcrt", "nt", "winreg", "winsound", "_winapi"),  # Windows
}


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that importing a module runs on every system."""
    for statement in body:
        if isinstance(statement, ast.If) and "sys.platform" in ast.unparse(statement.test):
            continue
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield statement
        for part in ("body", "orelse", "finalbody"):
            yield from at_import(getattr(statement, part, []))


def test_every_module_can_be_imported_on_every_system() -> None:
    """What a function then calls is for mypy, which `types` runs once for Linux and once for Windows."""
    found = []
    for path in FILES:
        for statement in at_import(ast.parse(path.read_text("utf-8")).body):
            modules = {getattr(statement, "module", None)}
            if isinstance(statement, ast.Import):
                modules = {alias.name for alias in statement.names}
            found += [f"{path}:{statement.lineno}"] if modules & OF_ONE_SYSTEM else []
    assert not found


def text_mode(call: ast.Call) -> bool:
    """Whether a call of `open` opens a text file."""
    modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    modes += [k.value.value for k in call.keywords if k.arg == "mode" and isinstance(k.value, ast.Constant)]
    return not any("b" in str(mode) and len(str(mode)) < 4 for mode in modes)


OTHERS = ("Image", "os", "tarfile", "av", "runner", "queue")  # whose `open` opens no text file


def without_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes a text file in the system's own encoding."""
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    module = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if name == "open":
        return module.rpartition(".")[2] not in OTHERS and text_mode(call)
    return (name == "read_text" and not call.args) or (name == "write_text" and len(call.args) < 2)


def test_text_files_name_their_encoding() -> None:
    """Else Windows reads and writes that of its region."""
    found = []
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        found += [f"{path}:{call.lineno}: {ast.unparse(call)}" for call in calls if without_encoding(call)]
    assert not found


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """Take this system for Windows; the result fills with the calls of `msvcrt.locking`."""
    locked: list[tuple[int, int, int]] = []

    def locking(handle: int, mode: int, count: int) -> None:
        locked.append((os.lseek(handle, 0, os.SEEK_CUR), mode, count))
        if mode == 2 and len(locked) > 1:
            raise PermissionError(13, "Permission denied")

    module = SimpleNamespace(LK_LOCK=1, LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, "msvcrt", module)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(files, "KEEPS_OPEN", False)
    monkeypatch.setattr(locks, "INHERITED", False)
    return locked


def test_a_byte_is_locked_that_nobody_writes(tmp_path: Path, windows: list[tuple[int, int, int]]) -> None:
    with (tmp_path / "lock").open("a+", encoding="utf-8") as file:
        file.write("4711")
        file.flush()
        file.seek(2)
        locks.lock(file)
        assert file.read() == "11"
        with pytest.raises(BlockingIOError):
            locks.lock(file.fileno())
    assert windows == [(locks.FAR, 2, 1)] * 2


def test_a_file_is_closed_before_it_gets_its_name(
    tmp_path: Path, windows: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[int] = set()
    make, close, replace = files.tempfile.mkstemp, os.close, Path.replace

    def made(**options: object) -> tuple[int, str]:
        handle, name = make(**options)  # type: ignore[call-overload]
        opened.add(handle)
        return handle, name

    def closed(handle: int) -> None:
        opened.discard(handle)
        close(handle)

    def moved(part: Path, path: Path) -> Path:
        assert not opened
        return replace(part, path)

    monkeypatch.setattr(files.tempfile, "mkstemp", made)
    monkeypatch.setattr(os, "close", closed)
    monkeypatch.setattr(Path, "replace", moved)
    path = tmp_path / "a.txt"
    with files.atomic_write(path) as part:
        part.write_text("whole", "utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_what_killed_processes_left_goes_after_a_day(
    tmp_path: Path, windows: list[tuple[int, int, int]]
) -> None:
    old, new = tmp_path / ".a.txt.x1.part", tmp_path / ".a.txt.x2.part"
    for file in (old, new):
        file.touch()
    before = time.time() - 2 * files.STALE_SECONDS
    os.utime(old, (before, before))
    files.remove_stale(tmp_path / "a.txt")
    assert not old.exists()
    assert new.exists()


def test_maps_on_disk_without_calls_that_take_an_offset(
    tmp_path: Path, windows: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("preadv", "pwritev"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(spool, "MAX_BYTES_WINDOWS", 5)  # bytes: several calls for an array
    file = spool.SpoolFile(tmp_path)
    values = [np.arange(7, dtype=np.float32), np.arange(3, dtype=np.float32)]
    file.put(values, 12)
    found = [np.zeros(7, np.float32), np.zeros(3, np.float32)]
    file.get(found, 12)
    for one, other in zip(values, found, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(texturenets.UserError, match="cut short"):
        file.get(found, 16)
    file.close()


def test_training_loads_without_masks_of_signals(
    windows: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pthread_sigmask", "SIG_BLOCK", "SIG_SETMASK", "SIG_UNBLOCK"):
        monkeypatch.delattr(signal, name, raising=False)
    assert list(data.loader(["a", "b", "c"], range(1, 3), workers=0)) == ["b", "c"]


def test_a_port_belongs_to_one_program(
    windows: list[tuple[int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    place = server.listen(Settings(port=0))
    assert place.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert not place.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    place.close()


def test_a_service_says_where_it_does_not_train(tmp_path: Path, windows: list[tuple[int, int, int]]) -> None:
    with pytest.raises(texturenets.UserError, match="--photos: a service trains on Linux and macOS alone"):
        app.create(Settings(models=tmp_path, photos=tmp_path, page=False))


class WindowsPath(PureWindowsPath):
    """A path of Windows, where all models are files."""

    def is_file(self) -> bool:
        return self.suffix == ".safetensors"


@pytest.mark.parametrize(
    "file",
    [r"C:\models\gallery.safetensors", "C:/models/gallery.safetensors", r"\\host\x\gallery.safetensors"],
)
def test_drive_letters_are_no_models(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (loading, modelfile):
        monkeypatch.setattr(module, "Path", WindowsPath)
    assert loading.split_name(file) == (file, None)
    assert loading.split_name(f"{file}:wave") == (file, {"wave": 1.0})
    assert loading.split_name(f"{file}:wave=0.6,udnie=0.4") == (file, {"wave": 0.6, "udnie": 0.4})
    path = loading.find_style(file)
    assert (path.stem, str(path)) == ("gallery", str(WindowsPath(file)))


def test_a_path_in_the_current_folder_of_a_drive() -> None:
    assert loading.split_name("C:gallery") == ("C:gallery", None)
    assert loading.split_name("C:gallery.safetensors:wave") == ("C:gallery.safetensors", {"wave": 1.0})


def test_names_on_the_hub_that_have_been_paths() -> None:
    path = PureWindowsPath("hf://mona/sea/night.safetensors@v1")
    assert "\\" in str(path)
    assert names.is_name(path)
    assert names.parse(path) == names.HubName("mona/sea", "night.safetensors", "v1")  # type: ignore[arg-type]


def test_folders_on_several_drives_keep_their_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(_: object) -> str:
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(outputs.os.path, "commonpath", apart)
    monkeypatch.setattr(outputs.os.path, "abspath", str)
    monkeypatch.setattr(outputs, "PurePath", PureWindowsPath)
    roots = [Path(r"C:\photos"), Path(r"D:\photos\old")]
    assert outputs.kept(roots, keep_names=True) == {
        roots[0]: Path("C/photos"),
        roots[1]: Path("D/photos/old"),
    }


@pytest.mark.parametrize("output", ["out/", "out\\"])
def test_a_folder_may_end_in_either_slash(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sep", "\\")
    assert outputs.names_folder(output)
    assert not outputs.names_folder("out")
    assert not video.is_numbered(f"%05d.png{output[-1]}")
