"""What messages have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from texturenets import errors


def test_an_extra_is_installed_from_where_the_package_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clone = Path(errors.__file__).parents[2]
    monkeypatch.chdir(clone)
    assert errors.install("heif") == "pip install -e '.[heif]'"
    monkeypatch.chdir(tmp_path)
    assert errors.install("heif") == f"pip install -e '{clone}[heif]'"
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "texturenets" / "errors.py"))
    assert errors.install("heif") == "pip install 'texturenets[heif]'"


def test_no_hint_is_written_by_hand() -> None:
    package = Path(errors.__file__).parent
    written = [path.name for path in package.rglob("*.py") if "pip install" in path.read_text()]
    assert written == ["errors.py"]


def test_plural_forms() -> None:
    assert [errors.counted(n, "photo") for n in (0, 1, 2)] == ["0 photos", "1 photo", "2 photos"]
    told = {
        0.2: "1 second",
        2: "2 seconds",
        89: "89 seconds",
        90: "2 minutes",
        3600: "60 minutes",
        7200: "2 hours",
    }
    assert {seconds: errors.duration(seconds) for seconds in told} == told
