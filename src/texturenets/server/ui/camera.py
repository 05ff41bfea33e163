"""The image of the browser's camera, stylized live by `camera.js` through the HTTP API."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from texturenets.server.ui.mix import Mix, mixed

VIEW = (
    """<canvas id="live" role="img" aria-label="What the camera sees, painted"></canvas><p id="rate"></p>"""
)
START, STOP = "() => window.texturenetsCamera()", "() => window.texturenetsCameraStop()"


class LiveCamera:
    """The live image and its buttons, within a gradio.Blocks: first the view, then `buttons` and `listen`."""

    def __init__(self) -> None:
        gr.HTML(VIEW, padding=False, elem_id="live-view")

    def buttons(self) -> None:
        """Add the buttons."""
        self.start = gr.Button("Camera", min_width=80, elem_id="camera")
        self.stop = gr.Button("Stop", min_width=80, elem_id="camera-stop")

    def listen(self, settings: Sequence[Any], stopped_by: Sequence[Any]) -> None:
        """`settings`: the components of the style, the `Mix`, the size, the strokes, the colours and the strength;
        images are stylized with their current values. `stopped_by`: events that end it, besides that of its
        button."""
        query = gr.HTML(_query(*(one.value for one in settings)), elem_id="live-query")
        self.start.click(None, js=START)
        for event in (self.stop.click, *stopped_by):
            event(None, js=STOP)
        changes = [one.change for one in settings]
        gr.on(changes, _query, list(settings), query, trigger_mode="always_last", show_progress="hidden")


def _query(style: str | None, mix: Mix, _: int, stroke: float | str, colours: bool, strength: float) -> str:
    """An element with the parameters of the HTTP API for camera.js, which chooses the size of live images itself."""
    words = {
        "style": mixed(style, mix) or "",
        "stroke": stroke if stroke == "auto" else f"{float(stroke):g}",
        "preserve_color": "true" if colours else "false",
        "strength": f"{float(strength):g}",
        "format": "jpeg",
    }
    return f'<span data-query="{html.escape(urlencode(words))}"></span>'
