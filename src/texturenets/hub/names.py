"""Names of models on the Hub: hf://USER/REPO[/FILE][@REVISION]."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Final, NamedTuple

from texturenets.errors import UserError

FORM: Final = "hf://USER/REPO[/FILE][@REVISION]"
SUFFIX: Final = ".safetensors"  # only these files are fetched: reading them runs no code
REPO: Final = r"\w[\w.-]*/\w[\w.-]*"

_NAME = re.compile(rf"({REPO})(?:/(.+?\{SUFFIX}))?(?:@([^@\s]+))?", re.ASCII)
_OTHER_FILE = re.compile(rf"{REPO}/(.+)", re.ASCII)


class HubName(NamedTuple):
    """A model on the Hub.

    `repo`: "USER/REPO". `file`: its path in the repository; None for the only model in it. `revision`: branch, tag or
    commit; None for the newest.
    """

    repo: str
    file: str | None = None
    revision: str | None = None

    def __str__(self) -> str:
        file = f"/{self.file}" if self.file else ""
        return f"hf://{self.repo}{file}{f'@{self.revision}' if self.revision else ''}"


def is_name(name: object) -> bool:
    """Whether `name` is the name of a model on the Hub."""
    return _text(name).startswith("hf:/")


def _text(name: object) -> str:
    """A name as text; undoes what `Path` changes: it merges the two slashes, and on Windows uses backslashes."""
    return name.as_posix() if isinstance(name, PurePath) else str(name)


def parse(name: str | Path) -> HubName:
    """The parts of a name for which `is_name` is true. Raises UserError for a malformed one."""
    text = "hf://" + _text(name).removeprefix("hf:").lstrip("/")
    body = text.removeprefix("hf://")
    found = _NAME.fullmatch(body)
    repo, file, revision = found.groups() if found else ("", None, None)
    if revision and revision.endswith(SUFFIX) and "/" in revision:
        first, _, rest = revision.rpartition("/")
        raise UserError(f"{text}: the revision comes last: write {HubName(repo, rest, first)}")
    steps = [*(file or "").split("/"), *(revision or "").split("/")]
    if found and not {".", ".."}.intersection(steps) and "" not in (file or "x").split("/"):
        return HubName(repo, file, revision)
    other = _OTHER_FILE.fullmatch(body.partition("@")[0])
    if other and not other[1].endswith(SUFFIX):
        raise UserError(f"{text}: models are {SUFFIX} files, and {other[1]} is none: write {FORM}")
    raise UserError(f"{text} is not a name of a model on the Hub: write {FORM}")


def parse_repo(text: str) -> str:
    """ "USER/REPO" of that, or of hf://USER/REPO. Raises UserError for anything else."""
    repo = text.removeprefix("hf://")
    if not re.fullmatch(REPO, repo, re.ASCII):
        raise UserError(
            f"{text} is not a name of a repository on the Hub: write USER/REPO, for example mona/wave"
        )
    return repo
