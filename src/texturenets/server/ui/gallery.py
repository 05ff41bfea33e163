"""Galleries of models: thumbnails with names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import gradio as gr
from PIL import Image, ImageDraw

from texturenets.files import atomic_write
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.titles import title
from texturenets.server import painting_files
from texturenets.server.models import Catalogue
from texturenets.server.ui.store import folder
from texturenets.server.ui.texts import STALE_VALUE

Shown = TypeVar("Shown")
Kind = Literal["style", "texture"]

YOURS, YOUR_PAINTING = "", "Your painting"
"""The tile of the visitor's own painting, the last: what `tiles` has for it, and its caption."""


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


def names(catalogue: Catalogue, kind: Kind) -> list[str]:
    """The names of a kind, in the gallery's order: models, and for a model with several styles each style as
    MODEL:STYLE; of a shipped one without those that also have a model of their own."""
    found = []
    models = catalogue.models()
    for name, known in models.items():
        if known.header.kind != kind:
            continue
        if len(known.styles) == 1:
            found.append(name)
            continue
        also = models if modelfile.is_shipped(known.path) else {}
        found += [f"{name}:{style}" for style in known.styles if style not in also]
    return found


def clicked(event: gr.EventData, shown: Sequence[Shown]) -> Shown:
    """The one of `shown` that was clicked. Raises gradio.Error if none was, or if it no longer exists."""
    data = event._data  # not gr.SelectData, whose constructor fails for malformed events
    index = data.get("index") if isinstance(data, dict) else None
    if type(index) is not int or not 0 <= index < len(shown):
        raise gr.Error(STALE_VALUE, print_exception=False)
    return shown[index]


def tiles(catalogue: Catalogue, kind: Kind, *, yours: bool) -> list[str]:
    """What the gallery's tiles stand for: `names`, and with `yours` YOURS."""
    return [*names(catalogue, kind), *((YOURS,) if yours else ())]


def clicked_tile(event: gr.EventData, shown: Sequence[str]) -> str:
    """As `clicked`, for `tiles` with YOURS, which is found where models came after the page was opened, too."""
    data = event._data if isinstance(event._data, dict) else {}
    value, index = data.get("value"), data.get("index")
    captioned = isinstance(value, dict) and value.get("caption") == YOUR_PAINTING
    there = shown[index] if type(index) is int and 0 <= index < len(shown) else YOURS
    if captioned and title(there.rpartition(":")[2]) != YOUR_PAINTING:  # no model of that name
        return YOURS
    return clicked(event, shown)


def valid_choice(catalogue: Catalogue, kind: Kind, chosen: str | None = None) -> str | None:
    """The chosen model, or the first where that is not there; none without models."""
    known = names(catalogue, kind)
    return chosen if chosen in known or painting_files.is_style(chosen) else next(iter(known), None)


def gallery_items(catalogue: Catalogue, kind: Kind, *, yours: bool = False) -> list[tuple[str, str]]:
    """The items of the gallery of a kind: (file, caption), with `yours` that of the visitor's own painting too."""
    known = catalogue.models()
    items = []
    for name in names(catalogue, kind):
        model, _, style = ("", "", name) if name in known else name.rpartition(":")
        if one := known.get(model or name):
            items.append((_thumbnail(one.thumbnails.get(style, one.thumbnail)), title(style)))
    return [*items, (_plus(), YOUR_PAINTING)] if yours else items


def _plus() -> str:
    """The file of the image of a tile that adds something."""
    path = thumbnail_dir() / "plus.png"
    if not path.exists():
        square = Image.new("RGB", (192, 192), "#d2c9ba")
        drawn = ImageDraw.Draw(square)
        drawn.rectangle((90, 56, 101, 135), "#5c5347")
        drawn.rectangle((56, 90, 135, 101), "#5c5347")
        with atomic_write(path) as part:
            square.save(part, "PNG")
    return str(path)


def _place(shown: Sequence[str], chosen: str | None) -> int | None:
    """The tile that stands for the chosen model."""
    if painting_files.is_style(chosen):
        chosen = YOURS
    return shown.index(chosen) if chosen in shown else None


def make_gallery(catalogue: Catalogue, kind: Kind, chosen: str | None = None, *, yours: bool = False) -> Any:
    """A gallery component of that kind."""
    shown = tiles(catalogue, kind, yours=yours)
    place = _place(shown, chosen)
    return gr.Gallery(
        gallery_items(catalogue, kind, yours=yours),
        label="Styles" if kind == "style" else "Textures",
        show_label=False,
        columns=3,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        fit_columns=False,
        selected_index=0 if place is None and shown else place,
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


def update(catalogue: Catalogue, kind: Kind, chosen: str | None, *, yours: bool = False) -> tuple[Any, Any]:
    """Updates of that component with the current models, and of the chosen one. A valid choice is not updated: it may
    have changed since it was read.
    """
    now = valid_choice(catalogue, kind, chosen)
    if now == chosen:
        return gr.update(value=gallery_items(catalogue, kind, yours=yours)), gr.skip()
    return choose(catalogue, kind, now, yours=yours)


def choose(catalogue: Catalogue, kind: Kind, chosen: str | None, *, yours: bool = False) -> tuple[Any, Any]:
    """Updates of that component with a model chosen, and the model's name."""
    index = _place(tiles(catalogue, kind, yours=yours), chosen)
    return gr.update(value=gallery_items(catalogue, kind, yours=yours), selected_index=index), chosen
