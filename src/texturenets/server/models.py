"""Models that a service knows, by name, and those of them that are loaded."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from texturenets.errors import UserError, reason, unknown
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.modelfile import Header

log = logging.getLogger("texturenets.server")


@dataclass(frozen=True)
class ServedModel:
    """A model file of the catalogue. `changed`: when it was written; `described`: what the interface says of it."""

    path: Path
    header: Header
    changed: int
    described: dict[str, Any]
    thumbnail: bytes


def read(name: str, path: Path, changed: int) -> ServedModel:
    """The model file at `path`. Raises whatever a file of somebody else's makes of the readers."""
    if not path.is_file():
        raise UserError(f"{path} is no regular file")
    header = modelfile.read_header(path)
    thumbnail = base64.b64decode(header.thumbnail, validate=True)
    described = {
        "name": name,
        "kind": header.kind,
        "generator": header.generator["name"],
        "licence": header.licence,
        "terms": header.terms,
        "thumbnail": f"/v1/models/{quote(name, safe='')}/thumbnail" if thumbnail else None,
    }
    strange = [key for key, value in described.items() if not isinstance(value, str | None)]
    if strange or header.kind not in ("style", "texture"):
        raise UserError(f"{path}: damaged model header ({', '.join(strange) or 'kind'})")
    json.dumps(described, ensure_ascii=False).encode()  # as it will be sent: not with half a character
    return ServedModel(path, header, changed, described, thumbnail)


class Catalogue:
    """The shipped models and those of a folder, {name: ServedModel}; new files are found, names are never paths."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises UserError where `folder` is none."""
        if folder is not None and not folder.is_dir():
            raise UserError(f"--models {folder} is no folder")
        self.folder = folder
        self.away = False
        self.known: dict[Path, ServedModel] = {}
        self.bad: dict[Path, int] = {}  # and when they were written
        self.lock = threading.Lock()

    def models(self) -> dict[str, ServedModel]:
        """All of them, by name.

        Files that are no models, or have the name of a shipped one, are passed over, with a line in the log the first
        time.
        """
        files = [*modelfile.shipped().values(), *self._own()]
        with self.lock:
            self.known = {path: known for path in files if (known := self._known(path))}
            self.bad = {path: changed for path, changed in self.bad.items() if path in files}
            return {known.described["name"]: known for known in self.known.values()}

    def _own(self) -> list[Path]:
        """The model files of the folder; none while it is away, which the log says once."""
        if self.folder is None:
            return []
        try:
            found = sorted(p for p in self.folder.iterdir() if p.suffix.lower() == ".safetensors")
        except OSError as error:
            if not self.away:
                fields = {"folder": str(self.folder), "reason": reason(error)}
                log.error("the models' folder is away", extra={"fields": fields})
            self.away = True
            return []
        self.away = False
        return found

    def _known(self, path: Path) -> ServedModel | None:
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            if not path.is_symlink():  # it went
                return None
            changed = 0
        before = self.known.get(path)
        if before is not None and before.changed == changed:
            return before
        if self.bad.get(path) == changed:
            return None
        try:
            if not changed:
                raise UserError("it is a link that leads to no file")
            if path.suffix != ".safetensors":
                raise UserError("its suffix is not .safetensors: rename the file")
            if modelfile.shipped().get(path.stem, path) != path:
                raise UserError(
                    f"the name {path.stem} is that of a shipped model, which is served: rename the file"
                )
            return read(path.stem, path, changed)
        except Exception as error:  # noqa: BLE001  one bad file is not to keep the others from being offered
            self.bad[path] = changed
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            fields = {"file": ascii(path.name)[1:-1], "reason": ascii(said[:300])[1:-1]}
            log.warning("model passed over", extra={"fields": fields})
            return None

    def pass_over(self, known: ServedModel, why: str) -> None:
        """Leave out a model whose file turned out to be of no use, until it changes."""
        with self.lock:
            self.known.pop(known.path, None)
            self.bad[known.path] = known.changed
        fields = {"file": ascii(known.path.name)[1:-1], "reason": ascii(why[:300])[1:-1]}
        log.warning("model passed over", extra={"fields": fields})

    def missing(self, kind: str, name: str, known: Iterable[str]) -> UserError:
        """The error for a name that is not among those `known`, which says so where its file is passed over."""
        if any(path.stem == name for path in self.bad):
            listed = ", ".join(sorted(known)) or "none"
            return UserError(
                f"the model file of {name} cannot be used, as the service's log says; known: {listed}"
            )
        return unknown(kind, name, known)

    def find(self, name: str | None, kind: str) -> tuple[str, ServedModel]:
        """The model called `name`, None for the first of that kind.

        Raises UserError with the nearest name, and for one of another kind.
        """
        known = self.models()
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


class Loaded:
    """At most `most` models, the one longest unused goes first. For one thread, a lane's engine."""

    def __init__(self, load: Callable[[Path], Any], most: int) -> None:
        self.load, self.most = load, most
        self.models: OrderedDict[tuple[Path, int], Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self.models)

    def get(self, known: ServedModel) -> Any:
        """The model, loaded; raises whatever loading it raises, and tries again next time."""
        key = (known.path, known.changed)
        if key not in self.models:
            while len(self.models) >= self.most:
                self.models.popitem(last=False)
            self.models[key] = self.load(known.path)
        self.models.move_to_end(key)
        return self.models[key]
