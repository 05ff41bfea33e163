"""Lists of models that others publish, and fetching of models from them by name, verified by hashes.

A list is a JSON file, whose addresses may be relative to its own (RFC 3986):

    {"models": [{"name": "sea", "addresses": ["sea.safetensors"], "sha256": "2e0f...", "size": 1234567,
                 "licence": "CC-BY-4.0"}]}
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

from texturenets import fetch
from texturenets.errors import UserError, reason, unknown
from texturenets.files import expanded, publish
from texturenets.hub.names import HubName, is_name, parse
from texturenets.modelfiles import modelfile

VARIABLE: Final = "TEXTURENETS_MODELS"
FILE: Final = "models.json"  # name of the list in a repository on the Hub
MAX_LIST_BYTES: Final = 1 << 20  # maximum size of a list

_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
)  # valid as a file name on every system, and never a path


@dataclass(frozen=True)
class ListedModel:
    """A model in a list.

    `addresses`: locations of its file (https://, http://, hf:// or a path), tried in this order. `sha256`: of the
    file, in hexadecimal. `size`: its bytes. `licence`: as stated in the list; the header of the file takes
    precedence.
    """

    name: str
    addresses: tuple[str, ...]
    sha256: str
    size: int
    licence: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for an invalid value."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a name of letters, digits and . _ -")
        if not self.addresses:
            raise ValueError("it has no address")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError("its sha256 is not of 64 hexadecimal digits")
        if type(self.size) is not int or not 0 < self.size < fetch.MAX_SIZE:
            raise ValueError(f"its size is not a number of bytes below {fetch.MAX_SIZE}")


def read(source: str) -> list[ListedModel]:
    """The models of a list: a file, a URL, or hf://USER/REPO[@REVISION], where it is called models.json.

    Raises UserError if it cannot be read or fetched, or is not a list.
    """
    if is_name(source):
        name = parse(source)
        if name.file is not None:
            raise UserError(
                f"{source} is a model: a list is named as {HubName(name.repo, None, name.revision)}"
            )
        return _parsed(
            source, _of_repository(name), lambda file: str(HubName(name.repo, file, name.revision))
        )
    if fetch.is_address(source):
        return _parsed(source, _of_address(source), lambda file: urljoin(source, file))
    path = expanded(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the list of models {source}: {reason(error)}") from None
    return _parsed(source, data, lambda file: str(path.parent / file))


def _of_repository(name: HubName) -> bytes:
    from texturenets.hub import download  # imported only when needed

    return download.fetch_other(HubName(name.repo, FILE, name.revision)).read_bytes()


def _of_address(source: str) -> bytes:
    fetch.check_allowed(source)
    with tempfile.TemporaryDirectory(prefix="texturenets-") as folder:
        part = Path(folder) / FILE
        fetch.get(source, part, limit=MAX_LIST_BYTES)
        return part.read_bytes()


def _parsed(source: str, data: bytes, absolute: Callable[[str], str]) -> list[ListedModel]:
    """`absolute`: function that makes a URL relative to the list's absolute."""
    try:
        models = json.loads(data)["models"]
        if not isinstance(models, list):
            raise ValueError('what it has under "models" is not a list')
        found = [_entry(one, absolute) for one in models]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        missing = f"it lacks {error}" if isinstance(error, KeyError) else reason(error)
        raise UserError(f"{source} is not a list of models: {missing} (docs/hub.md)") from None
    names = [one.name for one in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(
            f"{source} is not a list of models: {twice[0]} is there {names.count(twice[0])} times"
        )
    return found


def _entry(one: dict[str, Any], absolute: Callable[[str], str]) -> ListedModel:
    """A model of the JSON. Raises ValueError, KeyError or TypeError."""
    addresses = [str(a) for a in one["addresses"]]
    whole = [a if fetch.is_address(a) or is_name(a) else absolute(a) for a in addresses]
    return ListedModel(
        str(one["name"]), tuple(whole), str(one["sha256"]).lower(), one["size"], str(one.get("licence", ""))
    )


def get(name: str, models: Sequence[ListedModel], progress: fetch.Progress | None = None) -> Path:
    """The file of the model called `name`, fetched unless it exists; for a style added to a base model (a gallery)
    also that model, if it is among `models`.

    Raises UserError for a name that is not among them or is that of a shipped model, if no address works, and for
    a file that is not the one of the list, or no model.
    """
    known = {model.name: model for model in models}
    if name not in known:
        raise unknown("model of the list", name, known)
    if name in modelfile.shipped():
        raise UserError(
            f"{name} is a shipped model's name, which goes before the list's: use that, or fetch the file"
        )
    model, path = known[name], modelfile.fetched_folder() / f"{name}.safetensors"
    if not (path.is_file() and fetch.verified(path, [f"sha256:{model.sha256}"])):
        with fetch.beside(path) as part:
            _bring(model, part, progress)
            if (size := part.stat().st_size) != model.size:
                raise UserError(
                    f"{name} has {size} bytes, and the list says {model.size}: its entry is wrong"
                )
            modelfile.read_header(part)
            publish(part, path)
    base = modelfile.base_beside(path)
    if base in known and base != name:
        get(base, [one for one in models if one.name != name], progress)  # two may name each other
    return path


def _bring(model: ListedModel, part: Path, progress: fetch.Progress | None) -> None:
    """Fetch the file of `model` to `part`. Raises UserError if none of its addresses gives a file with its hash."""
    digests, faults = [f"sha256:{model.sha256}"], []
    for address in model.addresses:
        try:
            if fetch.is_address(address):
                fetch.check_allowed(address)
                fetch.download([address], part, digests=digests, size=model.size, progress=progress)
                return
            _copy(address, part)
        except UserError as error:
            faults.append(str(error))
            continue
        if fetch.verified(part, digests):
            return
        faults.append(f"{address}: it has a wrong hash (expected {digests[0]})")
    raise UserError(f"{model.name} could not be fetched: {'; '.join(faults)}")


def _copy(address: str, part: Path) -> None:
    """Copy a model on the Hub, or a file, to `part`. Raises UserError if it cannot be fetched or read."""
    path = modelfile.find(address) if is_name(address) else Path(address)
    try:
        shutil.copyfile(path, part)
    except OSError as error:
        raise UserError(f"{address}: {reason(error)}") from None


def chosen(source: str | None) -> str:
    """The list to use: `source`, else that of TEXTURENETS_MODELS. Raises UserError if there is none."""
    found = source or os.environ.get(VARIABLE, "")
    if not found:
        raise UserError(
            "no list of models is named: say which, for example `texturenets models get NAME --from LIST`, or set "
            f"{VARIABLE}: a file, a URL such as https://example.org/models.json, or hf://USER/REPO; `texturenets "
            "models` says what is here"
        )
    return found
