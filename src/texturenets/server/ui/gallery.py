"""Galleries of models: thumbnails with names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import gradio as gr
from PIL import Image

from texturenets.files import atomic_write
from texturenets.modelfiles.titles import title
from texturenets.server.models import Catalogue
from texturenets.server.ui.store import folder
from texturenets.server.ui.texts import STALE_VALUE

Shown = TypeVar("Shown")


def thumbnail_dir() -> Path:
    """The folder of thumbnails, which stay until the process ends."""
    made = folder() / "static"
    made.mkdir(exist_ok=True)
    return made


def _thumbnail(data: bytes) -> str:
    """The file of a model's thumbnail, or of a plain square if it has none."""
    path = thumbnail_dir() / f"{hashlib.sha256(data).hexdigest()[:24]}.{'jpg' if data else 'png'}"
    if not path.exists():
        with atomic_write(path) as part:
            if data:
                part.write_bytes(data)
            else:
                Image.new("RGB", (192, 192), "#d2c9ba").save(part, "PNG")
    return str(path)


def names(catalogue: Catalogue, kind: Literal["style", "texture"]) -> list[str]:
    """The names of a kind, in the gallery's order: models, and for a model with several styles each style as
    MODEL:STYLE."""
    found = []
    for name, known in catalogue.models().items():
        if known.header.kind == kind:
            found += [f"{name}:{style}" for style in known.styles] if len(known.styles) > 1 else [name]
    return found


def clicked(event: gr.EventData, shown: Sequence[Shown]) -> Shown:
    """The one of `shown` that was clicked. Raises gradio.Error if none was, or if it no longer exists."""
    data = event._data  # not gr.SelectData, whose constructor fails for malformed events
    index = data.get("index") if isinstance(data, dict) else None
    if type(index) is not int or not 0 <= index < len(shown):
        raise gr.Error(STALE_VALUE, print_exception=False)
    return shown[index]


def valid_choice(
    catalogue: Catalogue, kind: Literal["style", "texture"], chosen: str | None = None
) -> str | None:
    """The chosen model, or the first where that is not there; none without models."""
    known = names(catalogue, kind)
    return chosen if chosen in known else next(iter(known), None)


def gallery_items(catalogue: Catalogue, kind: Literal["style", "texture"]) -> list[tuple[str, str]]:
    """The items of the gallery of a kind: (file, caption)."""
    known = catalogue.models()
    items = []
    for name in names(catalogue, kind):
        model, _, style = ("", "", name) if name in known else name.rpartition(":")
        if one := known.get(model or name):
            items.append((_thumbnail(one.thumbnails.get(style, one.thumbnail)), title(style)))
    return items


def make_gallery(catalogue: Catalogue, kind: Literal["style", "texture"], chosen: str | None = None) -> Any:
    """A gallery component of that kind."""
    shown = names(catalogue, kind)
    return gr.Gallery(
        gallery_items(catalogue, kind),
        label="Styles" if kind == "style" else "Textures",
        show_label=False,
        columns=3,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        fit_columns=False,
        selected_index=shown.index(chosen) if chosen in shown else (0 if shown else None),
        buttons=[],
        interactive=False,
        elem_id=f"{kind}s",
        elem_classes="gallery",
    )


def example_gallery(paths: Sequence[Path], name: str, label: str) -> Any:
    """A row of small images to choose from."""
    return gr.Gallery(
        [(str(path), path.stem.capitalize()) for path in paths],
        label=label,
        show_label=True,
        columns=5,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        fit_columns=False,
        buttons=[],
        interactive=False,
        elem_id=name,
        elem_classes=["gallery", "small"],
    )


def update(catalogue: Catalogue, kind: Literal["style", "texture"], chosen: str | None) -> tuple[Any, Any]:
    """Updates of that component with the current models, and of the chosen one. A valid choice is not updated: it may
    have changed since it was read.
    """
    now = valid_choice(catalogue, kind, chosen)
    value = gallery_items(catalogue, kind)
    if now == chosen:
        return gr.update(value=value), gr.skip()
    return choose(catalogue, kind, now)


def choose(catalogue: Catalogue, kind: Literal["style", "texture"], chosen: str | None) -> tuple[Any, Any]:
    """Updates of that component with a model chosen, and the model's name."""
    shown = names(catalogue, kind)
    index = shown.index(chosen) if chosen in shown else None
    return gr.update(value=gallery_items(catalogue, kind), selected_index=index), chosen
