"""Uploads a model file and its model card to the Hub."""

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
    """`name`: the name by which the model can now be loaded. `address`: URL of the repository. `files`: names of the
    uploaded files. `changed`: False if the Hub already had all of them."""

    name: HubName
    address: str
    files: list[str]
    changed: bool


def publish(
    model: str | Path, repo: str, *, private: bool = False, revision: str | None = None
) -> PushResult:
    """Upload `model`, a model file or a shipped name, with a model card to the repository `repo`, "USER/REPO".

    Makes one commit, on the branch `revision`. For a style added to an existing model (`--into`), that base model is
    uploaded, too. An existing README.md is replaced.

    Raises UserError before anything is uploaded if `model` is not a model file, is damaged, or has a name that cannot
    be written as hf://...; and as `upload.send` does.
    """
    name, path = parse_repo(repo), modelfile.find(model)
    files = files_of(path, name, revision)
    called = HubName(name, path.name, revision)
    parse(str(called))  # fail before uploading under a name that cannot be parsed back
    if ":" in path.name:
        raise UserError(
            f"{path.name}: file names must not contain a colon, which separates a model from its style: rename the "
            "file"
        )
    sent = upload.send(
        name, files, f"Upload {path.name} with texturenets", private=private, revision=revision
    )
    return PushResult(called, sent.address, list(files), sent.changed)


def files_of(path: Path, repo: str, revision: str | None = None) -> dict[str, bytes | Path]:
    """The files to upload, {name in the repository: content or path}. Raises UserError if `path` is not a model."""
    header = modelfile.read_header(path)
    with suppress(ConversionError):  # a model without a graph has nothing to check
        modelfile.read_graph(path)  # checks all weights
    if path.suffix != SUFFIX:
        raise UserError(f"{path} does not end in {SUFFIX}, the suffix of model files on the Hub: rename it")
    files: dict[str, bytes | Path] = {path.name: path}
    base = modelfile.base_of(path)
    if base is not None and not modelfile.is_shipped(base):
        files[base.name] = base
    files["README.md"] = model_card.card(header, path.name, repo, revision).encode()
    if header.thumbnail:
        files[model_card.THUMBNAIL] = base64.b64decode(header.thumbnail, validate=True)
    return files
