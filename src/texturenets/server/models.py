"""The models that the service offers, by name, and a cache of loaded ones."""

from __future__ import annotations

import base64
import functools
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from texturenets.errors import UserError, reason, unknown
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import styles_of
from texturenets.modelfiles.modelfile import Header
from texturenets.server import painting_files
from texturenets.server.settings import check_folder

log = logging.getLogger("texturenets.server")


@dataclass(frozen=True)
class ServedModel:
    """A model file of the catalogue.

    `modified`: its modification time in nanoseconds, -1 for a broken link. `description`: its entry in the JSON that
    /v1/models returns. `thumbnail`: an image file, empty if the header holds none; `thumbnails`: by style, as far as
    the header has them.
    """

    path: Path
    header: Header
    modified: int
    description: dict[str, Any]
    thumbnail: bytes
    thumbnails: Mapping[str, bytes]

    @property
    def styles(self) -> tuple[str, ...]:
        """The names of its styles; for a model with one style the name in the header."""
        return styles_of(self.header.rows) or (self.header.name,)

    @property
    def takes_styles(self) -> bool:
        """Whether further styles can be learned into it: it is complete, of several, and no code of its own."""
        return len(self.styles) > 1 and not self.header.base and not self.header.custom


def read(name: str, path: Path, modified: int) -> ServedModel:
    """Read the header of the model file at `path`.

    Raises UserError, and for a damaged file any exception of the decoders.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a regular file")
    header = modelfile.read_header(path)
    if header.kind == "material":
        raise UserError(
            f"{path} is a material, which is not served: `texturenets sample {path}` draws its maps"
        )
    thumbnail = base64.b64decode(header.thumbnail, validate=True)
    thumbnails = {style: base64.b64decode(data, validate=True) for style, data in header.thumbnails.items()}
    description = {
        "name": name,
        "kind": header.kind,
        "generator": header.generator["name"],
        "licence": header.licence,
        "terms": header.terms,
        "thumbnail": f"/v1/models/{quote(name, safe='')}/thumbnail" if thumbnail else None,
    }
    if len(styles := styles_of(header.rows)) > 1:
        description["styles"] = list(styles)
    invalid = [key for key, value in description.items() if not isinstance(value, str | list | None)]
    if invalid or header.kind not in ("style", "texture"):
        raise UserError(f"{path}: damaged model header ({', '.join(invalid) or 'kind'})")
    json.dumps(
        description, ensure_ascii=False
    ).encode()  # fails now for text that UTF-8 cannot encode (lone surrogates)
    return ServedModel(path, header, modified, description, thumbnail, thumbnails)


@functools.cache
def _is_material(path: Path) -> bool:
    """Whether a shipped file is a material, which is not served. Its header is read once: it does not change."""
    try:
        return modelfile.read_header(path).kind == "material"
    except UserError:  # logged when the model is read
        return False


class Catalogue:
    """The shipped models and those of a folder. The folder is read again at every call; names are never paths."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises UserError if `folder` is not a folder, or cannot be read."""
        if folder is not None:
            check_folder("--models", folder)
        self.folder = folder
        self.folder_missing = False
        self.known: dict[Path, ServedModel] = {}
        self.unusable: dict[Path, int] = {}  # files, with their modification times
        self.lock = threading.Lock()

    def warn_if_empty(self) -> None:
        """Log a warning if the folder holds no model file, as a mistyped name may: models may come later."""
        if self.folder is not None and not self._own():
            fields = {"folder": str(self.folder)}
            log.warning(
                "the folder of --models holds no model file (.safetensors) yet: only the shipped models are served",
                extra={"fields": fields},
            )

    def models(self) -> dict[str, ServedModel]:
        """All models by name, the shipped ones first.

        A file that is not a model, or has the name of a shipped one, is skipped, and logged once as a warning.
        """
        shipped = [path for path in modelfile.shipped().values() if not _is_material(path)]
        files = [*shipped, *self._own()]
        with self.lock:
            self.known = {path: known for path in files if (known := self._known(path))}
            self.unusable = {path: modified for path, modified in self.unusable.items() if path in files}
            return {known.description["name"]: known for known in self.known.values()}

    def _own(self) -> list[Path]:
        """The model files of the folder; none while it is missing, which is logged once."""
        if self.folder is None:
            return []
        try:
            there = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
            found = sorted(path for path in there if path.suffix.lower() == ".safetensors")
        except OSError as error:
            if not self.folder_missing:
                fields = {"folder": str(self.folder), "reason": reason(error)}
                log.error("the service's folder of models is missing", extra={"fields": fields})
            self.folder_missing = True
            return []
        self.folder_missing = False
        return found

    def _known(self, path: Path) -> ServedModel | None:
        try:
            modified = path.stat().st_mtime_ns
        except OSError:
            if not path.is_symlink():  # deleted meanwhile
                return None
            modified = -1
        before = self.known.get(path)
        if before is not None and before.modified == modified:
            return before
        if self.unusable.get(path) == modified:
            return None
        try:
            if modified < 0:
                raise UserError("it is a link that leads to no file")
            if path.suffix != ".safetensors":
                raise UserError("its suffix is not .safetensors: rename the file")
            if modelfile.shipped().get(path.stem, path) != path:
                raise UserError(
                    f"the name {path.stem} is that of a shipped model, which is served: rename the file"
                )
            return read(path.stem, path, modified)
        except Exception as error:  # noqa: BLE001  a bad file must not hide the others
            self._leave_out(
                path,
                modified,
                str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}",
            )
            return None

    def _painting(self, name: str | None) -> dict[str, ServedModel]:
        """A visitor's painting that was learned, which is not listed: {name: model}; empty for other names."""
        path = painting_files.path_of(self.folder, name or "") if self.folder else None
        if path is None or not path.is_file():
            return {}
        with self.lock:
            known = self._known(path)
        return {path.stem: known} if known else {}

    def leave_out(self, known: ServedModel, why: str) -> None:
        """Stop offering a model whose file cannot be loaded, until the file changes."""
        with self.lock:
            self.known.pop(known.path, None)
            self._leave_out(known.path, known.modified, why)

    def _leave_out(self, path: Path, modified: int, why: str) -> None:
        """Remember an unusable file, and log why. Must be called with the lock held."""
        self.unusable[path] = modified
        fields = {"file": ascii(path.name)[1:-1], "reason": ascii(why[:300])[1:-1]}
        log.warning("model left out", extra={"fields": fields})

    def is_unusable(self, name: str) -> bool:
        """Whether the folder held, when it was last read, a file of that name that cannot be used as a model."""
        with self.lock:
            return any(path.stem == name for path in self.unusable)

    def missing(self, kind: str, name: str, known: Iterable[str]) -> UserError:
        """The error for a `name` not among `known`: an unusable file, or an unknown name."""
        if self.is_unusable(name):
            listed = ", ".join(sorted(known)) or "none"
            return UserError(
                f"the model file of {name} cannot be used, as the service's log says; known: {listed}"
            )
        return unknown(kind, name, known)

    def find(self, name: str | None, kind: str) -> tuple[str, ServedModel]:
        """Name and model of the given kind; with `name` None the first of that kind.

        Raises UserError for an unknown name, with the nearest one, and for a model of another kind.
        """
        known = {**self.models(), **self._painting(name)}
        models = {n: k for n, k in known.items() if k.header.kind == kind}
        if name is None and models:
            name = next(iter(models))
        if name in known and name not in models:
            other = known[name].header.kind
            way = f"/v1/stylize?style={name}" if other == "style" else f"/v1/sample?texture={name}"
            raise UserError(f"{name} is a {other}, no {kind}: ask for it by POST {way}")
        if name not in models:
            raise self.missing(kind, str(name or "")[:80], models)
        return name, models[name]


class LoadedModels:
    """A least-recently-used cache of at most `size` loaded models. Not thread-safe: each queue lane has its own."""

    def __init__(self, load: Callable[[Path], Any], size: int) -> None:
        self.load, self.size = load, size
        self.models: OrderedDict[tuple[Path, int], Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self.models)

    def get(self, known: ServedModel) -> Any:
        """The loaded model. An exception of `load` is passed on, and the next call tries again."""
        key = (known.path, known.modified)
        if key not in self.models:
            while len(self.models) >= self.size:
                self.models.popitem(last=False)
            self.models[key] = self.load(known.path)
        self.models.move_to_end(key)
        return self.models[key]
