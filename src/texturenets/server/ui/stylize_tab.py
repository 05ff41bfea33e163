"""The tab that stylizes photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from texturenets.server.http_errors import HTTPProblem
from texturenets.server.paintings import Paintings
from texturenets.server.service import Service
from texturenets.server.ui import examples, gallery, stylizing
from texturenets.server.ui.camera import LiveCamera
from texturenets.server.ui.mix import Mix, PaintedMask, StyleChoice
from texturenets.server.ui.mix_and_mask import MixAndMask
from texturenets.server.ui.pictures import PictureInput, Uploads
from texturenets.server.ui.queued_work import QueuedWork, WorkCancelledError
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import error_html, message_html, sentence
from texturenets.server.ui.your_painting import YourPainting
from texturenets.stylize.options import StylizeOptions

if TYPE_CHECKING:
    from texturenets.server.trainings import Trainings

SIZES = [("512", 512), ("1024", 1024), ("2048", 2048), ("The photo's own", 0)]
STROKES: list[tuple[str, float | str]] = [
    ("Fine", 0.5),
    ("The style's own", 1),
    ("Broad", 2),
    ("Broader", 4),
    ("In proportion", "auto"),
]
MAX_PHOTOS = 24
"""Maximum number of photos stylized at once."""

FIRST_HINT = "Choose a photo, or one of the examples; then a style."
SCROLL_TO_RESULTS = "() => window.texturenetsSeen('results')"
"""JavaScript (page.js): on a phone the results are below the visible part of the page."""

QUIET: Any = {"show_progress": "hidden"}


class StylizeTab:
    """Builds the tab, within a gradio.Blocks, and handles its events."""

    def __init__(
        self, service: Service, store: Store, work: QueuedWork, trainings: Trainings | None = None
    ) -> None:
        """Without `trainings` visitors have no painting of their own learned."""
        self.service, self.store, self.work = service, store, work
        self.paintings = Paintings(service, trainings) if trainings else None
        chosen = gallery.valid_choice(service.catalogue, "style")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=300):
                tries = self._input(chosen)
            with gr.Column(scale=6, min_width=300):
                with gr.Column(elem_id="results"):
                    paint, cancel = self._results()
                self._options()
                self.blend = MixAndMask(service, store, self.photos, chosen)
        self.style = gr.State(chosen)
        chosen_styles = [self.style, self.blend.mix]
        uploads = [self.photos.uploads, self.photos.refused]
        self.inputs = [*uploads, *chosen_styles, self.blend.mask, *self.options]
        self.outputs = [self.slider, self.several, self.save, self.message]
        self._listen(tries, paint, cancel)
        self.camera.listen([*chosen_styles, *self.options], (paint.click, self.photos.uploads.change))

    def _input(self, chosen: str | None) -> gr.Gallery:
        """Add the input for photos and the gallery of styles; returns the gallery of example photos."""
        self.photos = PictureInput(self.service, self.store, "photo", MAX_PHOTOS, label="Photos", height=300)
        tries: gr.Gallery = gallery.example_gallery(examples.photos(), "examples", "Or try one of these")
        yours = self.paintings is not None
        self.gallery = gallery.make_gallery(self.service.catalogue, "style", chosen, yours=yours)
        self.yours = (
            YourPainting(self.service, self.store, self.work, self.paintings) if self.paintings else None
        )
        return tries

    def _results(self) -> tuple[gr.Button, gr.Button]:
        """Add the results and the buttons; returns the buttons Paint and Cancel."""
        self.slider = gr.ImageSlider(
            label="Before and after",
            show_label=False,
            type="filepath",
            interactive=False,
            buttons=["fullscreen"],
            elem_id="compared",
            max_height=560,
        )
        self.several = gr.Gallery(
            label="Paintings",
            show_label=False,
            columns=3,
            height="auto",
            object_fit="contain",
            buttons=[],
            interactive=False,
            visible=False,
            elem_id="paintings",
            elem_classes="gallery",
        )
        self.camera = LiveCamera()
        self.message = gr.HTML(
            message_html(FIRST_HINT), padding=False, elem_classes="said", elem_id="said-painting"
        )
        with gr.Row(elem_id="buttons"):
            paint = gr.Button("Paint", variant="primary", min_width=80, elem_id="paint")
            self.camera.buttons()
            cancel = gr.Button("Cancel", min_width=80, elem_id="cancel-paint")
            self.save = gr.DownloadButton(
                "Download", min_width=80, interactive=False, elem_id="save-painting"
            )
        return paint, cancel

    def _listen(self, tries: gr.Gallery, paint: gr.Button, cancel: gr.Button) -> None:
        """Connect the components' events with the methods below."""
        self.photos.listen(self.message)
        tries.select(self._example, None, [self.photos.gallery, self.photos.uploads], **QUIET)
        if self.yours is None:
            self.gallery.select(self._chosen, None, self.style, **QUIET)
        else:
            self.yours.listen(self.style)
            panel = [self.style, self.yours.panel, self.yours.hint]
            self.gallery.select(self._chosen_or_yours, self.yours.learned, panel, **QUIET)
        self.blend.listen(self.style, self.message)
        again: Any = {"show_progress_on": self.slider, "trigger_mode": "multiple"}
        for one in (self.photos.uploads, self.style):
            one.change(self._again, self.inputs, self.outputs, **again).then(None, js=SCROLL_TO_RESULTS)
        for one in (self.blend.mix, self.blend.mask):
            one.change(self._again, self.inputs, self.outputs, **again)
        paint.click(self._stylize, self.inputs, self.outputs, **again).then(None, js=SCROLL_TO_RESULTS)
        gr.on([one.input for one in self.options[:-1]], self._again, self.inputs, self.outputs, **again)
        # A dragged slider sends many events: those during a run start one more run, with the last value.
        again["trigger_mode"] = "always_last"
        self.options[-1].change(self._again, self.inputs, self.outputs, **again)
        cancel.click(self._cancel, None, None, **QUIET)

    def _options(self) -> None:
        size = gr.Radio(
            SIZES,
            value=1024,
            label="Size",
            info="Longer side in pixels, at most: a smaller photo is not enlarged.",
            elem_id="size",
        )
        stroke = gr.Radio(
            STROKES,
            value=1,
            label="Strokes",
            info="In proportion: as in an image of 512 pixels, however large it is.",
            elem_id="stroke",
        )
        strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", elem_id="strength")
        colours = gr.Checkbox(False, label="Keep the photo's colours", elem_id="keep")
        self.options: list[Any] = [size, stroke, colours, strength]

    @property
    def refreshed(self) -> list[Any]:
        """The components that `refresh` updates."""
        return [self.gallery, self.style]

    def refresh(self, chosen: str | None) -> tuple[Any, ...]:
        """Updates of these components with the current styles; the chosen one stays chosen."""
        return gallery.update(self.service.catalogue, "style", chosen, yours=self.yours is not None)

    def choose(self, name: str) -> tuple[Any, ...]:
        """As `refresh`, with the style `name` chosen."""
        return gallery.choose(self.service.catalogue, "style", name, yours=self.yours is not None)

    def _example(self, event: gr.EventData, request: gr.Request) -> tuple[Any, Uploads]:
        return self.photos.example(gallery.clicked(event, examples.photos()), request)

    def _chosen(self, event: gr.EventData) -> str:
        return gallery.clicked(event, gallery.names(self.service.catalogue, "style"))

    def _chosen_or_yours(self, learned: str, event: gr.EventData) -> tuple[Any, Any, Any]:
        """As `_chosen`, with the tile of the visitor's own painting: the style, and updates of what learns it."""
        assert self.yours is not None
        chosen = gallery.clicked_tile(event, gallery.tiles(self.service.catalogue, "style", yours=True))
        if chosen == gallery.YOURS:
            return learned or gr.skip(), *self.yours.shown(visible=True)
        return chosen, *self.yours.shown(visible=False)

    def _cancel(self, request: gr.Request) -> None:
        self.work.cancel(request.session_hash or "", "stylize")

    async def _again(  # noqa: PLR0917  Gradio passes positional arguments
        self,
        photos: Uploads,
        refused: tuple[str, ...],
        style: str | None,
        mix: Mix,
        mask: PaintedMask,
        size: int,
        stroke: Any,
        colours: bool,
        strength: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  how Gradio wants it
    ) -> tuple[Any, ...]:
        """An option was changed: one photo is stylized again; for several the page says that results are outdated."""
        if not photos:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        if len(photos) > 1:
            self._cancel(request)
            message = message_html(f"{len(photos)} photos: Paint stylizes them as chosen.") + error_html(
                *refused
            )
            return gr.skip(), gr.update(elem_classes=["gallery", "stale"]), gr.skip(), message
        options = size, stroke, colours, strength
        return await self._stylize(photos, refused, style, mix, mask, *options, request, progress)

    async def _stylize(  # noqa: PLR0917
        self,
        photos: Uploads,
        refused: tuple[str, ...],
        style: str | None,
        mix: Mix,
        mask: PaintedMask,
        size: int,
        stroke: Any,
        colours: bool,
        strength: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        """Updates of the before/after slider, the gallery of several results, the download button and the message.

        `refused`: messages about photos that could not be read.
        """
        nothing = (gr.skip(), gr.skip(), gr.skip())
        if not photos:
            return *nothing, error_html("Choose a photo first, or one of the examples.")
        options = StylizeOptions(
            size=size or None,
            strength=float(strength),
            preserve_color=bool(colours),
            stroke="auto" if stroke == "auto" else float(stroke),
        )
        chosen = StyleChoice(style, mix, mask)
        paths = [Path(path) for _, path in photos]
        session = request.session_hash or ""
        try:
            if len(paths) == 1:
                work = stylizing.stylize(self.service, paths[0], chosen, options)
                result = await self.work.follow(session, "stylize", work, progress, lambda: "painting")
                return self._one(session, result, chosen.caption(), refused)
            batch = stylizing.new_batch(self.store, paths)
            job = stylizing.stylize_batch(self.service, self.store, batch, chosen, options)
            await self.work.follow(session, "stylize", job, progress, batch.progress_message)
            return self._many(session, batch, chosen.caption(), refused)
        except HTTPProblem as problem:
            return *nothing, error_html(sentence(problem, "the photo" if len(paths) > 1 else paths[0].name))
        except WorkCancelledError as error:
            return *nothing, gr.skip() if error.replaced else message_html(
                "Cancelled. The image shown is the previous one."
            )

    def _one(
        self, session: str, result: stylizing.StylizedPhoto, caption: str, refused: tuple[str, ...]
    ) -> tuple[Any, ...]:
        self.store.spare(session, "stylized")
        files = {"before.jpg": result.before, "after.jpg": result.after, result.name: result.data}
        paths = [str(path) for path in self.store.put(session, "stylized", files)]
        width, height = result.size
        megabytes = len(result.data) / 2**20
        return (
            gr.update(value=(paths[0], paths[1]), visible=True),
            gr.update(value=None, visible=False),
            gr.update(value=paths[2], interactive=True),
            message_html(f"{caption}, {width} × {height} pixels, {megabytes:.1f} MB.") + error_html(*refused),
        )

    def _many(
        self, session: str, batch: stylizing.StylizedBatch, caption: str, refused: tuple[str, ...]
    ) -> tuple[Any, ...]:
        shown = batch.shown
        self.store.spare(session, "stylized")
        self.store.replace(session, "stylized", [*(Path(path) for path, _ in shown), batch.archive])
        megabytes = batch.archive.stat().st_size / 2**20
        count = f"{len(shown)} of {len(batch.photos)} photos"
        done = f"{caption}, {count}, {megabytes:.1f} MB as a zip."
        return (
            gr.update(value=None, visible=False),
            gr.update(value=shown, visible=True, elem_classes=["gallery"], selected_index=None),
            gr.update(value=str(batch.archive), interactive=True),
            message_html(done) + error_html(*refused, *batch.refused),
        )
