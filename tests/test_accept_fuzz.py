"""A small sample of what benchmarks/accept_fuzz.py does with ten thousand damaged files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from programs import ROOT, loaded


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return loaded(ROOT / "benchmarks/accept_fuzz.py", "accept_fuzz")


def test_undamaged_files_are_models(program: ModuleType, tmp_path: Path) -> None:
    for kind, files in program.originals(tmp_path).items():
        for data in files:
            path = tmp_path / f"a.{kind}"
            path.write_bytes(data)
            assert program.attempt(path, kind) == "model"


@pytest.mark.slow
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
