"""A small sample of what benchmarks/accept_fuzz.py does with ten thousand damaged files."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def program() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "accept_fuzz.py"
    spec = importlib.util.spec_from_file_location("accept_fuzz", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["accept_fuzz"] = module
    spec.loader.exec_module(module)
    return module


def test_undamaged_files_are_models(program: ModuleType, tmp_path: Path) -> None:
    for kind, files in program.originals(tmp_path).items():
        for data in files:
            path = tmp_path / f"a.{kind}"
            path.write_bytes(data)
            assert program.attempt(path, kind) == "model"


def test_damaged_files_are_errors_or_models(program: ModuleType, tmp_path: Path) -> None:
    files = program.originals(tmp_path)
    marker = tmp_path / "ran"
    found: Counter[str] = Counter()
    read: Counter[str] = Counter()
    for number in range(100_000, 100_120):
        kind, data = program.case(number, 1, files, str(marker))
        read[kind] += 1
        if kind in ("h5", "pth") and read[kind] > 4:
            continue  # each in a process of its own, which takes its time
        path = tmp_path / f"damaged.{kind}"
        path.write_bytes(data)
        found[program.attempt(path, kind)] += 1
    assert not marker.exists()
    assert found["error"] > 80
    assert found["model"] > 3
