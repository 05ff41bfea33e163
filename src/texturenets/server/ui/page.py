"""Builds the Gradio page and mounts it into the service's application."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Mount

from texturenets.server.service import Service
from texturenets.server.ui.store import Store, folder

if TYPE_CHECKING:
    from texturenets.server.trainings import Trainings

AT = "/page"
"""The path of the page; so `/v1/...` has no routes of Gradio."""

STORED_UPLOADS = 64
"""The store holds this many files of the maximum upload size."""

# Gradio reads these when it is imported: it reports usage and asks for newer versions unless told not to.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_TEMP_DIR"] = str(folder() / "files")

import gradio as gr  # noqa: E402

from texturenets.server.ui import gallery  # noqa: E402
from texturenets.server.ui.gradio_guard import GradioGuard  # noqa: E402
from texturenets.server.ui.queued_work import QueuedWork  # noqa: E402
from texturenets.server.ui.sessions import Sessions  # noqa: E402
from texturenets.server.ui.stylize_tab import StylizeTab  # noqa: E402
from texturenets.server.ui.texts import STALE_VALUE  # noqa: E402
from texturenets.server.ui.texture_tab import TextureTab  # noqa: E402
from texturenets.server.ui.theme import CSS, theme  # noqa: E402
from texturenets.server.ui.train_tab import TrainTab  # noqa: E402

log = logging.getLogger("texturenets.server")
SERVER = Path(__file__).parents[1]
SCRIPTS = (("ui/page.js",), ("ui/labels.js",), ("ui/mask.js",), ("page/live.js", "ui/camera.js"))
"""Files of each script of the page, in order."""

HEAD = """
<div id="head"><h1><span class="weave"></span>texturenets</h1>
<p>Photos stylized, textures drawn, styles learned. All of it on this machine.</p></div>
"""


class Page(gr.Blocks):
    """Gradio's page; an invalid value of a component is a client error, without a traceback in the log."""

    async def preprocess_data(self, *words: Any, **more: Any) -> Any:
        """The arguments of the function that an event calls. Raises gradio.Error."""
        try:
            return await super().preprocess_data(*words, **more)
        except gr.Error as error:  # for example, a number below the minimum of its field
            error.print_exception = False
            raise
        except Exception as error:  # pydantic, components and Gradio each raise their own
            if isinstance(error, OSError | MemoryError):  # an error of the machine, not of the sender
                log.exception("page")
            raise gr.Error(STALE_VALUE, print_exception=False) from None


def mount(app: FastAPI, service: Service, trainings: Trainings | None) -> None:
    """Add the page to `app` at AT."""
    store, work = Store(STORED_UPLOADS * service.limits.bytes), QueuedWork()
    gr.set_static_paths([gallery.thumbnail_dir()])
    with Page(title="texturenets", analytics_enabled=False, delete_cache=(60, 3600)) as blocks:
        gr.HTML(HEAD)
        _tabs(blocks, service, store, work, trainings)

        def closed(request: gr.Request) -> None:
            session = request.session_hash or ""
            work.cancel(session)
            store.forget(session)

        blocks.unload(closed)
    blocks.queue(max_size=4 * service.limits.queue, default_concurrency_limit=None, api_open=False)
    gr.mount_gradio_app(
        app,
        blocks,
        AT,
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=True,
        max_file_size=service.limits.bytes,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=theme(),
        css_paths=CSS,
        head=_scripts(),
    )
    gradio_app: Any = next(route.app for route in app.routes if isinstance(route, Mount) and route.path == AT)

    def end_event_streams() -> None:
        """End the responses by which browsers receive events: the server would wait for them at shutdown."""
        gradio_app.stop_event.set()
        blocks._queue.close()

    def forget(session: str) -> None:
        """Delete what Gradio keeps for the session of a closed page."""
        queue = blocks._queue
        for by_session in (queue.pending_messages_per_session, queue.pending_event_ids_session):
            by_session.pop(session, None)
        for by_session in (gradio_app.state_holder.session_data, gradio_app.state_holder.time_last_used):
            by_session.pop(session, None)
        store.forget(session)

    app.state.shutdown_callbacks.append(end_event_streams)
    events = {index for index, function in blocks.fns.items() if function.fn is not None}
    app.add_middleware(
        GradioGuard,
        at=AT,
        store=store,
        store_folder=folder(),
        sessions=Sessions(forget),
        events=events,
        listens=lambda session: session in blocks._queue.pending_messages_per_session,
    )


def _scripts() -> str:
    """The page's scripts as inline HTML: Gradio does not serve files of other folders."""
    parts = ["".join((SERVER / name).read_text("utf-8") for name in names) for names in SCRIPTS]
    return "".join(f'<script type="module">{text}</script>' for text in parts)


def _tabs(
    blocks: gr.Blocks, service: Service, store: Store, work: QueuedWork, trainings: Trainings | None
) -> None:
    """Add the tabs, and the links between them. To be called within `blocks`."""
    with gr.Tabs() as tabs:
        with gr.Tab("Stylize", id="stylize") as first:
            styles = StylizeTab(service, store, work, trainings)
        with gr.Tab("Texture", id="texture") as second:
            textures = TextureTab(service, store, work)
        with gr.Tab("Train", id="train"):
            training = TrainTab(service, store, trainings)
    # Finds models that were trained meanwhile.
    quiet: Any = {"show_progress": "hidden"}
    gr.on([blocks.load, first.select], styles.refresh, styles.style, styles.refreshed, **quiet)
    gr.on([blocks.load, second.select], textures.refresh, textures.texture, textures.refreshed, **quiet)
    if training.watch is None:
        return

    def used(name: str | None) -> tuple[Any, ...]:
        """Switch to the tab for a trained model, and choose the model there."""
        kind, model = training.used(name) or ("", "")
        left = [gr.skip()] * len(styles.refreshed), [gr.skip()] * len(textures.refreshed)
        if kind == "style":
            return gr.update(selected="stylize"), *styles.choose(model), *left[1]
        if kind == "texture":
            return gr.update(selected="texture"), *left[0], *textures.choose(model)
        return gr.skip(), *left[0], *left[1]  # it no longer exists

    places = [tabs, *styles.refreshed, *textures.refreshed]
    training.watch.use.click(used, training.watch.name, places, **quiet)
