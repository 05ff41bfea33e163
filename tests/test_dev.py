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
