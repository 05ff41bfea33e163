"""The tab that repaints a photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from texturenets import image
from texturenets.errors import UserError
from texturenets.web.problems import Problem
from texturenets.web.service import Service
from texturenets.web.ui import gallery
from texturenets.web.ui.store import Store
from texturenets.web.ui.work import Work

SIZES = [("512", 512), ("1024", 1024), ("2048", 2048), ("The photo's own", 0)]
STROKES: list[tuple[str, float | str]] = [
    ("Fine", 0.5),
    ("The style's own", 1),
    ("Broad", 2),
    ("Broader", 4),
    ("In proportion", "auto"),
]
SHOWN = 1600
"""Pixels of the longer side of what the slider compares; what is downloaded has all of its own."""


class StylizeTab:
    """Builds the tab, within a gradio.Blocks, and answers its events."""

    def __init__(self, service: Service, store: Store, work: Work) -> None:
        self.service, self.store, self.work = service, store, work
        chosen = gallery.kept(service.catalogue, "style")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=300):
                photo = gr.Image(
                    label="Photo",
                    show_label=False,
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard", "webcam"],
                    height=300,
                    buttons=[],
                    elem_id="photo",
                    placeholder="Drop a photo here, paste one,\nor take one below",
                )
                self.gallery = gallery.show(service.catalogue, "style", chosen)
            with gr.Column(scale=6, min_width=300):
                slider = gr.ImageSlider(
                    label="Before and after",
                    show_label=False,
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="compared",
                    max_height=560,
                )
                with gr.Row():
                    paint = gr.Button("Paint", variant="primary", min_width=90, elem_id="paint")
                    cancel = gr.Button("Cancel", min_width=90, elem_id="cancel-paint")
                    save = gr.DownloadButton(
                        "Download", min_width=90, interactive=False, elem_id="save-painting"
                    )
                said = gr.Markdown(
                    "Choose a photo and a style.", elem_classes="said", elem_id="said-painting"
                )
                size = gr.Radio(
                    SIZES, value=1024, label="Size", info="Longer side in pixels.", elem_id="size"
                )
                stroke = gr.Radio(
                    STROKES,
                    value=1,
                    label="Strokes",
                    info="In proportion: as in a picture of 512 pixels, however large it is.",
                )
                strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", elem_id="strength")
                colours = gr.Checkbox(False, label="Keep the photo's colours", elem_id="keep")
        self.style = gr.State(chosen)
        inputs = [photo, self.style, size, stroke, strength, colours]
        outputs = [slider, save, said]
        photo.change(self._given, photo, None, show_progress="hidden")
        self.gallery.select(self._chosen, None, self.style, show_progress="hidden").then(
            self._paint, inputs, outputs, show_progress_on=slider
        )
        paint.click(self._paint_or_tell, inputs, outputs, show_progress_on=slider)
        cancel.click(self._cancel, None, None, show_progress="hidden")

    @property
    def refreshed(self) -> list[Any]:
        """The components that `refresh` gives anew."""
        return [self.gallery, self.style]

    def refresh(self, chosen: str | None) -> tuple[Any, ...]:
        """New styles shown, the chosen one kept."""
        chosen = gallery.kept(self.service.catalogue, "style", chosen)
        return gallery.update(self.service.catalogue, "style", chosen), chosen

    def _given(self, photo: str | None, request: gr.Request) -> None:
        """Another photo, or none: the one before is deleted."""
        self.store.keep(request.session_hash or "", "photo", [Path(photo)] if photo else [])

    def _chosen(self, event: gr.SelectData) -> str | None:
        return gallery.named(self.service.catalogue, "style", event.index)

    def _cancel(self, request: gr.Request) -> None:
        self.work.cancel(request.session_hash or "", "stylize")

    async def _paint_or_tell(  # noqa: PLR0917  Gradio passes them by place
        self,
        photo: str | None,
        style: str | None,
        size: int,
        stroke: Any,
        strength: float,
        colours: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  how Gradio wants it
    ) -> Any:
        if not photo:
            raise gr.Error("Choose a photo first.", title="No photo", print_exception=False)
        return await self._paint(photo, style, size, stroke, strength, colours, request, progress)

    async def _paint(  # noqa: PLR0917
        self,
        photo: str | None,
        style: str | None,
        size: int,
        stroke: Any,
        strength: float,
        colours: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Any:
        """The slider, the file to download, and what is said of it."""
        if not photo:
            return gr.skip(), gr.skip(), "Now choose a photo."
        session = request.session_hash or ""
        made = await self.work.follow(
            session,
            "stylize",
            self._made(Path(photo), style, size=size, stroke=stroke, strength=strength, colours=colours),
            progress,
            said="painting",
        )
        before, after, (data, name), (width, height) = made
        paths = self.store.put(session, "painting", {"before.jpg": before, "after.jpg": after, name: data})
        said = f"{gallery.title(style or '')}, {width} × {height} pixels, {len(data) / 2**20:.1f} MB."
        return (str(paths[0]), str(paths[1])), gr.DownloadButton(value=str(paths[2]), interactive=True), said

    async def _made(
        self, photo: Path, style: str | None, *, size: int, stroke: Any, strength: float, colours: bool
    ) -> tuple[bytes, bytes, tuple[bytes, str], tuple[int, int]]:
        """Before and after as small pictures, the file that was made, and its (W, H). Raises Problem."""
        service = self.service
        with service.line.place():
            try:
                data = await service.line.apart(photo.read_bytes)
            except OSError:
                raise Problem(404, "the photo is no longer here: choose it again") from None
            made, _, name = await service.stylize(
                data,
                style,
                size=size or None,
                strength=float(strength),
                preserve_color=bool(colours),
                stroke="auto" if stroke == "auto" else float(stroke),
            )

            def small() -> tuple[bytes, bytes, tuple[int, int]]:
                _, (height, width) = image.measure(made)
                longer = min(SHOWN, max(height, width))
                pair = [_jpeg(image.from_bytes(one, longer=longer)) for one in (data, made)]
                return pair[0], pair[1], (width, height)

            try:
                before, after, shape = await service.line.apart(small)
            except UserError as error:
                raise Problem(422, str(error)) from None
        stem = photo.stem[:40] or "photo"
        return before, after, (made, f"{stem}-{name}"), shape


def _jpeg(picture: image.Picture) -> bytes:
    return image.to_bytes(Path("picture.jpg"), picture, quality=92)
