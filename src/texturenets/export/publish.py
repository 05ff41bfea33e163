"""A model file and its page to the Hub."""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from texturenets.errors import UserError
from texturenets.export import model_card
from texturenets.graph import ConversionError
from texturenets.hub import upload
from texturenets.hub.names import SUFFIX, HubName, parse, parse_repo
from texturenets.modelfiles import modelfile


@dataclass(frozen=True)
class PushResult:
    """`name`: what the model is called from now on. `address`: of the repository. `files`: what was sent. `changed`:
    False where the Hub had all of it."""

    name: HubName
    address: str
    files: list[str]
    changed: bool


def publish(
    model: str | Path, repo: str, *, private: bool = False, revision: str | None = None
) -> PushResult:
    """Send `model`, a model file or a shipped name, with a model card to the repository `repo`, "USER/REPO".

    One commit, on the branch `revision`; a style that was trained into a model takes that with it. A README.md
    that is there is replaced.

    Raises UserError before anything is sent for what is no model file, a damaged one, or a name that hf:// cannot
    say; and as `upload.send`.
    """
    name, path = parse_repo(repo), modelfile.find(model)
    files = files_of(path, name, revision)
    called = HubName(name, path.name, revision)
    parse(str(called))  # before anything is sent under a name that nobody could give
    if ":" in path.name:
        raise UserError(f"{path.name}: a colon stands before the styles of a model: rename the file")
    sent = upload.send(
        name, files, f"Upload {path.name} with texturenets", private=private, revision=revision
    )
    return PushResult(called, sent.address, list(files), sent.changed)


def files_of(path: Path, repo: str, revision: str | None = None) -> dict[str, bytes | Path]:
    """What is sent, {name in the repository: content or file}. Raises UserError for a file that is no model."""
    header = modelfile.read_header(path)
    with suppress(ConversionError):  # one that needs its code
        modelfile.read_graph(path)  # reads all weights
    if path.suffix != SUFFIX:
        raise UserError(f"{path} does not end in {SUFFIX}, by which models are found on the Hub: rename it")
    files: dict[str, bytes | Path] = {path.name: path}
    base = modelfile.base_of(path)
    if base is not None and not modelfile.is_shipped(base):
        files[base.name] = base
    files["README.md"] = model_card.card(header, path.name, repo, revision).encode()
    if header.thumbnail:
        files[model_card.THUMBNAIL] = base64.b64decode(header.thumbnail, validate=True)
    return files
