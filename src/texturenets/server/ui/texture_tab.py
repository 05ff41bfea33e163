"""The tab that generates textures."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from texturenets import image
from texturenets.errors import UserError
from texturenets.modelfiles.titles import title
from texturenets.server.http_errors import HTTPProblem, refused
from texturenets.server.service import Service
from texturenets.server.ui import gallery
from texturenets.server.ui.queued_work import QueuedWork, WorkCancelledError
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import error_html, message_html, sentence

SIDES = [256, 512, 1024, 2048]
SHOWN = 1536
"""Longest side in pixels of the preview, whether it shows one tile or 3 x 3."""

NONE = """<div class="empty"><b>There is no texture yet.</b><br>The tab <i>Train</i> learns one from an exemplar,
where the service was started for it; or <code>texturenets train texture bark.jpg</code>,
with the service started as <code>texturenets serve --models FOLDER</code>, its folder.</div>"""


class TextureTab:
    """Builds the tab, within a gradio.Blocks, and answers its events; `refresh` looks for new models."""

    def __init__(self, service: Service, store: Store, work: QueuedWork) -> None:
        self.service, self.store, self.work = service, store, work
        chosen = gallery.valid_choice(service.catalogue, "texture")
        self.none = gr.HTML(NONE, visible=chosen is None)
        with gr.Row(equal_height=False, visible=chosen is not None) as self.all:
            with gr.Column(scale=5, min_width=300):
                self.gallery = gallery.make_gallery(service.catalogue, "texture", chosen)
                side = gr.Radio(SIDES, value=512, label="Size", info="Pixels of a side.", elem_id="side")
                with gr.Row(equal_height=True):
                    seed = gr.Number(0, precision=0, minimum=0, label="Seed", min_width=90, elem_id="seed")
                    other = gr.Number(1, precision=0, minimum=0, label="Other seed", min_width=90)
                    dice = gr.Button("New seeds", min_width=90, elem_id="dice")
                share = gr.Slider(0, 1, 0, step=0.05, label="From the seed to the other", elem_id="share")
                tiles = gr.Checkbox(True, label="Let it tile", elem_id="tiles")
                nine = gr.Checkbox(False, label="Show it 3 x 3", elem_id="nine")
            with gr.Column(scale=6, min_width=300):
                shown = gr.Image(
                    label="Sample",
                    show_label=False,
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="sample",
                )
                with gr.Row():
                    draw = gr.Button("Draw", variant="primary", min_width=90, elem_id="draw")
                    cancel = gr.Button("Cancel", min_width=90)
                    save = gr.DownloadButton(
                        "Download", min_width=90, interactive=False, elem_id="save-sample"
                    )
                message = gr.HTML(
                    message_html("Choose a texture."),
                    padding=False,
                    elem_classes="said",
                    elem_id="said-sample",
                )
        self.texture = gr.State(chosen)
        inputs: list[Any] = [self.texture, side, seed, other, share, tiles, nine]
        outputs = [shown, save, message]
        again: Any = {"show_progress_on": shown, "trigger_mode": "multiple"}
        self.gallery.select(self._chosen, None, self.texture, show_progress="hidden").then(
            self._draw, inputs, outputs, show_progress_on=shown
        )
        changes = [draw.click, *(one.input for one in (side, seed, other, tiles, nine))]
        gr.on(changes, self._draw, inputs, outputs, **again)
        dice.click(_seeds, None, [seed, other, share], show_progress="hidden").then(
            self._draw, inputs, outputs, show_progress_on=shown
        )
        # A dragged slider sends many events: of those that arrive while one is computed only the last is kept.
        again["trigger_mode"] = "always_last"
        share.input(self._draw, inputs, outputs, **again)
        cancel.click(self._cancel, None, None, show_progress="hidden")

    @property
    def refreshed(self) -> list[Any]:
        """The components that `refresh` updates."""
        return [self.none, self.all, self.gallery, self.texture]

    def refresh(self, chosen: str | None) -> tuple[Any, ...]:
        """Show textures that are new; the chosen one stays chosen."""
        shown, now = gallery.update(self.service.catalogue, "texture", chosen)
        there = gallery.valid_choice(self.service.catalogue, "texture") is not None
        return gr.update(visible=not there), gr.update(visible=there), shown, now

    def choose(self, name: str) -> tuple[Any, ...]:
        """As `refresh`, with the texture `name` chosen."""
        return (
            gr.update(visible=False),
            gr.update(visible=True),
            *gallery.choose(self.service.catalogue, "texture", name),
        )

    def _chosen(self, event: gr.EventData) -> str:
        return gallery.clicked(event, gallery.names(self.service.catalogue, "texture"))

    def _cancel(self, request: gr.Request) -> None:
        self.work.cancel(request.session_hash or "", "texture")

    async def _draw(  # noqa: PLR0917  Gradio passes positional arguments
        self,
        texture: str | None,
        side: int,
        seed: float | None,
        other: float | None,
        share: float,
        tiles: bool,
        nine: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio requires this default
    ) -> Any:
        """The preview, the file to download, and the line of text below."""
        session = request.session_hash or ""
        seeds = int(seed or 0), int(other or 0)
        work = self._made(texture, int(side), seeds, share=share, tiles=tiles, nine=nine)
        try:
            data, preview, name = await self.work.follow(
                session, "texture", work, progress, lambda: "drawing"
            )
        except HTTPProblem as problem:
            return gr.skip(), gr.skip(), error_html(sentence(problem))
        except WorkCancelledError as error:
            message = (
                gr.skip()
                if error.replaced
                else message_html("Cancelled. The image shown is the previous one.")
            )
            return gr.skip(), gr.skip(), message
        self.store.spare(session, "sample")
        paths = self.store.put(session, "sample", {"shown.jpg": preview, name: data})
        way = f", {share:.0%} of the way to {seeds[1]}" if share else ""
        message = f"{title(texture or '')}, {side} × {side} pixels, seed {seeds[0]}{way}."
        return str(paths[0]), gr.DownloadButton(value=str(paths[1]), interactive=True), message_html(message)

    async def _made(
        self, texture: str | None, side: int, seeds: tuple[int, int], *, share: float, tiles: bool, nine: bool
    ) -> tuple[bytes, bytes, str]:
        """The sample as a file, its preview, and the file's name. Raises HTTPProblem."""
        service = self.service
        if not all(0 <= seed < 2**63 for seed in seeds):
            raise HTTPProblem(422, "a seed is a whole number from 0 to 2^63")
        with service.queue.slot():
            made, _, name = await service.sample(
                texture,
                height=side,
                width=side,
                seed=seeds[0],
                towards=seeds[1] if share else None,
                share=float(share),
                tileable=bool(tiles),
            )

            def small() -> bytes:
                picture = image.from_bytes(made, longer=min(side, SHOWN // 3 if nine else SHOWN))
                if nine:
                    picture.pixels = np.tile(picture.pixels, (1, 1, 3, 3))
                return image.to_bytes(Path("shown.jpg"), picture, quality=90)

            try:
                return made, await service.queue.in_thread(small), name
            except UserError as error:
                raise refused(error) from None


def _seeds() -> tuple[int, int, float]:
    return random.randrange(10**6), random.randrange(10**6), 0.0
