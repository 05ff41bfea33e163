"""What `benchmarks/documentation.py` finds in a built site, and `newcomer.py` in the README."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from programs import ROOT, loaded

from texturenets.cli import COMMANDS
from texturenets.cli.command_line import parse


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield
    for name in ("fresh", "newcomer", "documentation"):
        sys.modules.pop(name, None)


@pytest.fixture
def documentation(benchmarks: None) -> ModuleType:
    return loaded(ROOT / "benchmarks/documentation.py", "documentation")


@pytest.fixture
def newcomer(benchmarks: None) -> ModuleType:
    return loaded(ROOT / "benchmarks/newcomer.py", "newcomer")


def test_links_that_lead_nowhere_are_found(documentation: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "guide").mkdir()
    (tmp_path / "a b.png").touch()
    (tmp_path / "guide/index.html").write_text('<h2 id="first">One</h2> <img src="lost.png">')
    links = (
        "guide/",
        "guide/#first",
        "#here",
        "a%20b.png",
        "/guide/",
        "https://example.org/none",
        "mailto:me",
    )
    wrong = ("guide/#second", "#there", "none.css")
    text = "".join(f'<a href="{link}" id="here">x</a>' for link in (*links, *wrong))
    (tmp_path / "index.html").write_text(text)
    lost, count = documentation.broken(tmp_path)
    assert sorted(lost) == ["guide/index.html: lost.png", *sorted(f"index.html: {link}" for link in wrong)]
    assert count == len(links) + len(wrong) - 1


def test_the_first_screen_leads_to_a_picture_a_style_and_a_page(newcomer: ModuleType) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    first = newcomer.first_screen(readme)
    assert first.count("![") == 1
    assert first.count("\n") < 30
    commands = newcomer.commands(readme)
    assert [" ".join(line.split()[:2]) for line in commands] == [
        "pip install",
        "texturenets stylize",
        "pip install",
        "texturenets train",
        "texturenets stylize",
        "texturenets serve",
    ]
    wheel = Path("/tmp/x.whl")
    for line in commands:
        words = newcomer.adapted(line, wheel, 5)
        if words[0] == "pip":
            assert words[-1].startswith("/tmp/x.whl[")
        else:
            parse(words[1:], COMMANDS)
            assert (words[-2:] == ["--steps", "5"]) == (words[1] == "train")
