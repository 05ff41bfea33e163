"""Models that a service knows, by name, and those of them that are loaded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texturenets import modelfile
from texturenets.errors import UserError, unknown
from texturenets.modelfile import Header


@dataclass(frozen=True)
class Known:
    """A model file of the catalogue, and when it was written."""

    path: Path
    header: Header
    changed: int


class Catalogue:
    """The shipped models and those of a folder, {name: Known}; new files are found, names are never paths."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises UserError where `folder` is none."""
        if folder is not None and not folder.is_dir():
            raise UserError(f"--models {folder} is no folder")
        self.folder = folder
        self.known: dict[str, Known] = {}
        self.lock = threading.Lock()

    def models(self) -> dict[str, Known]:
        """All of them, by name; of two of one name that of the folder. Files that are no models are passed over."""
        files = dict(modelfile.shipped())
        if self.folder is not None:
            files |= {path.stem: path for path in sorted(self.folder.glob("*.safetensors"))}
        with self.lock:
            known: dict[str, Known] = {}
            for name, path in files.items():
                try:
                    changed = path.stat().st_mtime_ns
                    before = self.known.get(name)
                    if before is not None and (before.path, before.changed) == (path, changed):
                        known[name] = before
                    else:
                        known[name] = Known(path, modelfile.read_header(path), changed)
                except (UserError, OSError):
                    continue
            self.known = known
            return dict(known)

    def find(self, name: str | None, kind: str) -> tuple[str, Known]:
        """The model called `name`, None for the first of that kind. Raises UserError with the nearest name."""
        models = {n: k for n, k in self.models().items() if k.header.kind == kind}
        if name is None and models:
            name = next(iter(models))
        if name not in models:
            raise unknown(kind, str(name or "")[:80], models)
        return name, models[name]


class Loaded:
    """At most `most` models, the one longest unused goes first. From any thread; each is loaded by one alone."""

    def __init__(self, load: Callable[[Path], Any], most: int) -> None:
        self.load, self.most = load, most
        self.futures: OrderedDict[tuple[Path, int], Future[Any]] = OrderedDict()
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.futures)

    def get(self, known: Known) -> Any:
        """The model, loaded; raises whatever loading it raises, and tries again next time."""
        key = (known.path, known.changed)
        with self.lock:
            future = self.futures.get(key)
            mine = future is None
            if future is None:
                future = self.futures[key] = Future()
            self.futures.move_to_end(key)
            while len(self.futures) > self.most:
                self.futures.popitem(last=False)
        if mine:
            try:
                future.set_result(self.load(known.path))
            except BaseException as error:  # noqa: BLE001  whoever waits is told
                with self.lock:
                    self.futures.pop(key, None)
                future.set_exception(error)
        return future.result()
