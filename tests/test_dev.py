"""dev.py, which developers run in place of make."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from programs import ROOT, loaded


@pytest.fixture
def dev() -> ModuleType:
    return loaded(ROOT / "dev.py", "dev")


def test_every_target_of_the_makefile_is_a_command(dev: ModuleType) -> None:
    targets = re.findall(r"^([a-z -]+):(?:  ##.*)?\n\t@\$\(DEV\) \$@", (ROOT / "Makefile").read_text(), re.M)
    said = subprocess.run(
        [sys.executable, ROOT / "dev.py", "help"], capture_output=True, text=True, check=True
    )
    names = " ".join(targets).split()
    assert {"setup", "test", "lint", "types", "unit", "demo"} <= set(names) <= set(dev.commands([]))
    for name in names:
        assert re.search(rf"[ |]{name}\b", said.stdout), name


def test_an_unknown_command_gets_the_list() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "dev.py", "tset"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "dev.py test " in done.stdout


def test_the_larger_files_have_a_process_each(dev: ModuleType, tmp_path: Path) -> None:
    files = [tmp_path / f"test_{i}.py" for i in range(60)]
    for i, file in enumerate(files):
        file.write_bytes(bytes(i))
    found = dev.groups(files)
    shared = [8] * ((60 - dev.LARGER) // 8) + [(60 - dev.LARGER) % 8] * ((60 - dev.LARGER) % 8 > 0)
    assert [len(group) for group in found] == [1] * dev.LARGER + shared
    assert [file for group in found for file in group] == files[::-1]


def test_failures_are_listed_at_the_end(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {
        "a": (0, ".. [100%]\n"),
        "b": (1, "words\nFAILED tests/b.py::test_x - AssertionError\n"),
        "c": (-11, "...\n"),  # it has ended without a word
    }
    monkeypatch.setattr(dev, "tested", lambda group: (group, *told[group[0].stem]))
    files = [Path(f"{name}.py") for name in told]
    monkeypatch.setattr(dev, "groups", lambda _: [[file] for file in files])
    assert dev.unit([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:-1] == ["FAILED tests/b.py::test_x - AssertionError", "status -11: c.py"]
    assert re.fullmatch(r"\d+ files of tests in \d+ min \d\d s: 2 failed", lines[-1])
    del files[1:]
    assert dev.unit([]) == 0
    assert capsys.readouterr().out.endswith(": all passed\n")


def test_files_of_slow_tests_alone_do_not_fail(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "PYTHON", sys.executable)
    for name, body in (
        ("slow", "@pytest.mark.slow\ndef test_a(): pass"),
        ("bad", "def test_a(): assert not 1"),
    ):
        (tmp_path / f"test_{name}.py").write_text(f"import pytest\n{body}\n", "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: of minutes\naddopts = -q\n", "utf-8")
    assert dev.tested([tmp_path / "test_slow.py"])[1] == 0
    files, status, said = dev.tested([tmp_path / "test_bad.py"])
    assert (files, status) == ([tmp_path / "test_bad.py"], 1)
    assert "\nFAILED test_bad.py::test_a" in said


def test_the_environment_is_made_once(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def must(*words: str | Path) -> None:
        ran.append([str(word) for word in words])
        (tmp_path / ".venv").mkdir(exist_ok=True)

    monkeypatch.setattr(dev, "must", must)
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(dev, "STAMP", tmp_path / ".venv/.complete")
    monkeypatch.setenv("INDEX", "https://example.org/simple")
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000, 1000))
    dev.setup()
    dev.setup()
    assert len(ran) == 2
    assert ran[0][:3] == [sys.executable, "-m", "venv"]
    assert ran[1][-2:] == ["-e", f".[{dev.EXTRAS}]"]
    assert "https://example.org/simple" in ran[1]
    (tmp_path / "pyproject.toml").touch()
    os.utime(tmp_path / ".venv/.complete", (2000, 2000))
    dev.setup()
    assert len(ran) == 4
