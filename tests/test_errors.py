"""What messages have in common."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from texturenets import errors
from texturenets.cli.common import warn


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
    assert sorted(written) == ["errors.py", "model_card.py"]  # a card is for readers elsewhere


def test_the_nearest_name_is_found_in_capitals_too() -> None:
    assert str(errors.unknown("style", "WAVE", ["udnie", "wave"])).endswith("did you mean 'wave'?")
    assert str(errors.unknown("style", "wawe", ["Wave", "wave"])).endswith("did you mean 'wave'?")
    assert str(errors.unknown("style", "Wawe", ["Wave", "wave"])).endswith("did you mean 'Wave'?")
    assert str(errors.unknown("style", "x", ["udnie", "wave"])).endswith("known: udnie, wave")


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


def texts(tree: ast.Module) -> Iterator[str]:
    """All strings of a module but documentation, with {} where f-strings have values."""
    described = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in joined for part in node.values}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in described | inside
        ):
            yield node.value
    for node in joined:
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def test_messages_below_the_command_line_name_parameters_and_not_flags() -> None:
    """They are raised in calls from Python too. A whole command between backticks is none of them."""
    package = Path(errors.__file__).parent
    programs = {"cli", "server", "cluster"}  # what only commands use
    other = {
        "camera.py",
        "virtual_camera.py",
        "onnxruntime_web.py",
        "model_card.py",
    }  # the command line alone has; flags of npm; a document
    wrong = [
        f"{path.name}: {text}"
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).parts[0] not in programs and path.name not in other
        for text in texts(ast.parse(path.read_text()))
        if re.search(r"(^|[\s(])(--[a-z{]|-o\b)", re.sub(r"`[^`]* [^`]*`", "", text))
    ]
    assert not wrong


def test_the_command_line_shows_parameters_as_flags(capsys: pytest.CaptureFixture[str]) -> None:
    warn("`batch_size` 3 does not divide: `texturenets cache` and `steps` do not help a`b.png")
    said = capsys.readouterr().err
    assert said == (
        "texturenets: --batch-size 3 does not divide: `texturenets cache` and --steps do not help a`b.png\n"
    )
