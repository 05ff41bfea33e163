"""What the documents say: commands that can be parsed, files that are there, and a README that is short and plain."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from texturenets.cli import COMMANDS
from texturenets.cli.command_line import parse
from texturenets.cli.common import cluster_words
from texturenets.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
PLACE = re.compile(r"[A-Z]{3,}")  # as IMAGE or FOLDER in a command: not one to be run


def commands(text: str) -> list[str]:
    """The command lines of `texturenets` in a document: indented ones, and those between backticks."""
    text = re.sub(r"\\\n\s*", "", text)
    indented = re.findall(r"^ {4}(?:.*\| )?(texturenets .*)$", text, re.M)
    quoted = re.findall(r"`(?:[^`\n]*\| )?(texturenets [^`\n]+)`", text)
    return [
        re.split(r" +#|\s>\s|\s&$|\s\\?\|\s|\.\.\.", line)[0].replace("\\|", "|").strip()
        for line in indented + quoted
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_can_be_parsed(document: Path) -> None:
    for line in commands(document.read_text()):
        words = shlex.split(line)[1:]
        if not words or words[0].startswith("-") or PLACE.search(line):
            continue
        words = ["stdin" if word == "-" else word for word in cluster_words(words)]
        try:
            parse(words, COMMANDS)
        except UserError as error:  # a sentence may name a command or an option alone
            if not re.search(r" is missing| needs a value", str(error)):
                raise


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if "://" not in target:
            file = target.partition("#")[0]
            assert not file or (document.parent / file).exists(), target


def test_the_site_has_every_document() -> None:
    site = (ROOT / "mkdocs.yml").read_text()
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f": {path.name}\n" not in site] == []


def test_the_readme_is_short_and_plain() -> None:
    assert README.count("\n") <= 150
    first, _, rest = README.partition("## For researchers")
    assert rest
    for word in ("exemplar", "judge", "texture distance", "descriptor", "Gram", "bars"):
        assert word not in first, word
