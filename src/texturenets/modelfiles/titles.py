"""Models' names as people write them."""

from __future__ import annotations

import re


def title(name: str) -> str:
    """ "composition_vii" as "Composition VII"."""
    words = re.split(r"[ _-]+", name)
    shown = [word.upper() if re.fullmatch(r"[ivx]+", word) else word for word in words]
    return " ".join([shown[0][:1].upper() + shown[0][1:], *shown[1:]])
