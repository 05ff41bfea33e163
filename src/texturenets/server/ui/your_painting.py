"""The part of the page in which a visitor's painting is learned, in a minute, as one more style."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import gradio as gr

from texturenets.server.http_errors import HTTPProblem
from texturenets.server.paintings import NO_BASE, LearningProgress, Paintings
from texturenets.server.service import Service
from texturenets.server.ui.pictures import PictureInput, Uploads
from texturenets.server.ui.queued_work import QueuedWork, WorkCancelledError
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import error_html, message_html, sentence

MAX_MINUTES = 10
POLL_SECONDS = 1.0
HINT = (
    "A painting that you choose is learned once, in a minute, and is kept: the next photo takes no training. "
    "More minutes bring it nearer to the painting."
)
LEARNED = "Learned: photos are stylized like your painting."
LEFT = "It is learned further, and kept: choose the same painting and Learn it again to use it."


class YourPainting:
    """Builds that part within a gradio.Blocks, hidden until `panel` is shown. `learned`, a gradio.State, holds the
    session's painting as a style of the service, empty before."""

    def __init__(self, service: Service, store: Store, work: QueuedWork, paintings: Paintings) -> None:
        self.work, self.paintings = work, paintings
        self.learned = gr.State("")
        with gr.Column(visible=False, elem_id="your-painting") as self.panel:
            self.hint = gr.HTML(message_html(HINT), padding=False, elem_classes="said")
            self.picture = PictureInput(service, store, "painting", 1, label="Your painting", height=200)
            self.minutes = gr.Slider(1, MAX_MINUTES, 1, step=1, label="Minutes", elem_id="minutes")
            with gr.Row():
                self.begin = gr.Button("Learn it", variant="primary", min_width=80, elem_id="learn")
                self.cancel = gr.Button("Do not wait", min_width=80, elem_id="cancel-learn")
            self.message = gr.HTML("", padding=False, elem_classes="said", elem_id="said-learning")

    def listen(self, style: Any) -> None:
        """`style`: the component that holds the chosen style; it becomes the painting when that is learned."""
        self.picture.listen(self.message)
        self.begin.click(
            self._learn,
            [self.picture.gallery, self.picture.uploads, self.minutes],
            [style, self.learned, self.message],
            show_progress_on=self.picture.gallery,
        )
        self.cancel.click(self._cancel, None, None, show_progress="hidden")

    def shown(self, *, visible: bool) -> tuple[Any, Any]:
        """Updates of `panel` and `hint`, which says in a line what is missing."""
        hint = message_html(HINT) if not visible or self.paintings.base() else error_html(NO_BASE)
        return gr.update(visible=visible), hint

    def _cancel(self, request: gr.Request) -> None:
        self.work.cancel(request.session_hash or "", "painting")

    async def _learn(
        self,
        shown: list[tuple[str, Any]] | None,
        uploads: Uploads,
        minutes: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  how Gradio wants it
    ) -> tuple[Any, Any, Any]:
        """Returns the style, `learned` and the message. `shown`: the value of the picture's gallery."""
        if not shown:
            return gr.skip(), gr.skip(), error_html("Choose a painting first.")
        path = self.picture.newest(shown, uploads)
        now = [LearningProgress(0.0, "getting ready")]
        session = request.session_hash or ""
        try:
            job = self._learned(path, float(minutes), now)
            style = await self.work.follow(
                session, "painting", job, progress, lambda: now[-1].text, share=lambda: now[-1].share
            )
        except HTTPProblem as problem:
            return gr.skip(), gr.skip(), error_html(sentence(problem, path.name))
        except WorkCancelledError as error:
            return gr.skip(), gr.skip(), gr.skip() if error.replaced else message_html(LEFT)
        return style, style, message_html(LEARNED)

    async def _learned(self, path: Path, minutes: float, now: list[LearningProgress]) -> str:
        """Learn the painting at `path`, or wait for it; returns the style. `now` is given its progress.

        Raises HTTPProblem."""
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError:
            raise HTTPProblem(404, "the painting is no longer here: choose it again") from None
        name = await self.paintings.begin(data, minutes)
        while state := await asyncio.to_thread(self.paintings.progress, name):
            now[:] = [state]
            await asyncio.sleep(POLL_SECONDS)
        return self.paintings.style(name)
