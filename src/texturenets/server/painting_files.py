"""The files of visitors' paintings, in the folder of models, apart from its models:

    paintings/BASE/painting-BASE-KEY.safetensors    the style that was learned, some kB
    paintings/BASE/NAME.safetensors                 the model into which it was learned, unless that is shipped

BASE is the start of that model's SHA-256; KEY is a hash of the painting's bytes and of the minutes.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from pathlib import Path
from typing import Final

from texturenets.modelfiles import modelfile

STYLE: Final = "painting"
"""The name of the style in such a file: what a visitor calls a file is nobody else's business."""

MAX_KEPT = 256
"""Maximum number of files kept; beyond it the oldest go."""

_NAME = re.compile(r"painting-([0-9a-f]{8})-[0-9a-f]{24}")


def name_of(painting: bytes, base: Path, minutes: float) -> str:
    """The name of a painting, an image's file, that is learned into the model file `base` in `minutes`."""
    digest = hashlib.sha256(painting).hexdigest()
    key = hashlib.sha256(f"{modelfile.FORMAT} {float(minutes)} {digest}".encode()).hexdigest()
    return f"painting-{modelfile.identity(base)['sha256'][:8]}-{key[:24]}"


def path_of(folder: Path, name: str) -> Path | None:
    """The file of the painting called `name` in the folder of models; None for other names."""
    match = _NAME.fullmatch(name)
    return folder / "paintings" / match[1] / f"{name}.safetensors" if match else None


def is_style(name: str | None) -> bool:
    """Whether a style of the service is a learned painting."""
    return bool(_NAME.fullmatch((name or "").partition(":")[0]))


def trim(folder: Path) -> None:
    """Delete the oldest files of paintings in the folder of models beyond MAX_KEPT."""
    with contextlib.suppress(OSError):  # another service deletes too
        found = (folder / "paintings").glob("*/painting-*.safetensors")
        for path in sorted(found, key=lambda path: path.stat().st_mtime)[:-MAX_KEPT]:
            path.unlink()
