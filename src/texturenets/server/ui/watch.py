"""The trainings on the page: a table of all, and the example images, curves and buttons of one."""

from __future__ import annotations

import html
import itertools
import re
from typing import TYPE_CHECKING, Any

import gradio as gr

from texturenets.errors import UserError, counted, duration
from texturenets.server.http_errors import HTTPProblem, refused
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import error_html, message_html, sentence

if TYPE_CHECKING:
    from texturenets.server.trainings import Trainings

POLL_SECONDS = 2.0  # between two updates by the browser
MAX_POINTS = 200  # points of a curve
COLOURS = ("#2f857f", "#e0a458", "#c8553d", "#4a7fb0", "#8a6fb5", "#6f9e4c", "#b5678f", "#8c8273")
QUIET: Any = {"show_progress": "hidden"}


class Watch:
    """Builds this part of the tab, within a gradio.Blocks; `refresh` updates what has changed."""

    def __init__(self, store: Store, trainings: Trainings) -> None:
        self.store, self.trainings = store, trainings
        self.timer = gr.Timer(POLL_SECONDS)
        self.table = gr.HTML(padding=False, elem_id="trainings", elem_classes="trainings")
        with gr.Row(equal_height=False, visible=False, elem_id="chosen") as self.chosen:
            self.name = gr.Dropdown(
                [], label="Look at", interactive=True, elem_id="watched", scale=3, min_width=180
            )
            self.use = gr.Button("Use it now", variant="primary", visible=False, min_width=90, elem_id="use")
            self.stop = gr.Button("Stop", visible=False, min_width=90, elem_id="stop")
            self.resume = gr.Button("Resume", visible=False, min_width=90, elem_id="resume")
        self.message = gr.HTML("", padding=False, elem_classes="said", elem_id="said-training")
        self.grown = gr.Image(
            label="Photos above, what it makes of them below",
            type="filepath",
            interactive=False,
            buttons=["fullscreen"],
            elem_id="grown",
            height=300,
            visible=False,
        )
        self.curves = gr.LinePlot(
            x="step",
            y="loss",
            color="curve",
            height=300,
            label="Losses",
            color_map={"": COLOURS[0]},
            colors_in_legend=[],
            elem_id="curves",
            buttons=[],
            visible=False,
        )
        self.legend = gr.HTML("", padding=False, elem_id="legend")
        seen = gr.State(())
        self.inputs: list[Any] = [self.name, seen]
        self.outputs: list[Any] = [
            self.table,
            self.chosen,
            self.name,
            self.use,
            self.stop,
            self.resume,
            self.grown,
            self.curves,
            self.legend,
            seen,
        ]
        for button, call in ((self.stop, self._stop), (self.resume, self._resume)):
            button.click(call, self.name, self.message, **QUIET).then(
                self.refresh, self.inputs, self.outputs, **QUIET
            )
        self.name.input(self.refresh, self.inputs, self.outputs, **QUIET)
        self.timer.tick(self.refresh, self.inputs, self.outputs, **QUIET)

    def _stop(self, name: str | None) -> Any:
        return self._call(self.trainings.stop, name, "It saves what it has learned, and ends.")

    def _resume(self, name: str | None) -> Any:
        return self._call(self.trainings.resume, name, "It goes on when its turn comes.")

    @staticmethod
    def _call(call: Any, name: str | None, success: str) -> Any:
        try:
            call(name or "")
        except HTTPProblem as problem:
            return error_html(sentence(problem))
        except UserError as error:
            return error_html(sentence(refused(error)))
        return message_html(success)

    def refresh(self, name: str | None, seen: tuple[Any, ...], request: gr.Request) -> tuple[Any, ...]:
        """Updates of all components; those that have not changed are skipped, as they would flicker."""
        reports = {
            one["name"]: one for one in map(self.trainings.reports.of, reversed(self.trainings.jobs()))
        }
        names = list(reports)
        if name not in names:
            at_work = [report["name"] for report in reports.values() if report["at_work"]]
            name = next(iter(at_work or names), None)
        table = _table(list(reports.values()))
        if name is None:
            return table, *[gr.skip()] * 8, seen
        report = reports[name]
        picture, points = self.trainings.reports.picture(name), self.trainings.reports.curves(name)
        try:
            drawn, data = (picture.stat().st_mtime_ns, picture.read_bytes()) if picture else (0, b"")
        except OSError:  # it was deleted in the meantime
            drawn, data = 0, b""
        state = report["state"], report["at_work"]
        now = (names, name, drawn, len(points))
        before = tuple(seen) if len(seen) == len(now) else (None,) * len(now)
        same = name == before[1]
        chosen = gr.skip() if same and names == before[0] else gr.update(choices=names, value=name)
        use, stop, resume = (gr.update(visible=one) for one in _choices(*state))
        grown = plot = legend = gr.skip()
        if not (same and drawn == before[2]):
            session = request.session_hash or ""
            self.store.spare(session, "grown")
            made = self.store.put(session, "grown", {"grown.jpg": data}) if data else []
            grown = gr.update(value=str(made[0]) if made else None, visible=bool(made))
        if not (same and len(points) == before[3]):
            frame = _frame(points)
            curves = [] if frame is None else list(dict.fromkeys(frame["curve"]))
            colours = dict(zip(curves, itertools.cycle(COLOURS), strict=False))
            plot = gr.update(value=frame, visible=bool(points), color_map=colours or None)
            legend = _legend(colours)
        return table, gr.update(visible=True), chosen, use, stop, resume, grown, plot, legend, now


def _choices(state: str, at_work: bool) -> tuple[bool, bool, bool]:
    """Which buttons to show: use, stop, resume."""
    return state == "done", state in ("queued", "running"), state in ("stopped", "failed") and not at_work


def _table(reports: list[dict[str, Any]]) -> str:
    """The trainings as rows, the newest first."""
    if not reports:
        return '<div class="empty">No training yet.</div>'
    rows = []
    for report in reports:
        state = "saving" if report["state"] == "stopping" else report["state"]
        by_steps = report["step"], report["steps"]
        done, whole = (report["seconds"], 60 * report["minutes"]) if report["minutes"] else by_steps
        share = min(100, 100 * done / max(1, whole))
        steps = f"{report['step']} / {report['steps']}" if report["steps"] else f"{report['step']}"
        left = report["seconds_left"]
        more = f"{duration(left)} left" if left is not None and state == "running" else ""
        reason = html.escape(report["reason"].removeprefix("texturenets: "))
        why = f'<tr><td colspan="5" class="wrong">{reason}</td></tr>' if reason else ""
        why += _skipped(**report["photos_skipped"])
        rows.append(
            f"<tr><td><b>{html.escape(report['name'])}</b></td><td>{html.escape(report['kind'])}</td>"
            f"<td>{html.escape(state)}</td><td>{steps}"
            f'<div class="bar"><i style="width:{share:.0f}%"></i></div></td><td>{more}</td></tr>{why}'
        )
    return f"<table><tr><th>Name<th>Kind<th>State<th>Step<th></tr>{''.join(rows)}</table>"


def _skipped(count: int, first: list[str]) -> str:
    """A row that says which photos cannot be read; none where all can."""
    if not count:
        return ""
    more = f" and {count - len(first)} more" if count > len(first) else ""
    message = f"{counted(count, 'photo')} skipped: {', '.join(first)}{more}"
    return f'<tr><td colspan="5">{html.escape(message)}</td></tr>'


def _legend(colours: dict[str, str]) -> str:
    """The names of all curves; the plot's own legend does not fit into it."""
    named = (
        f'<span><i style="background:{one}"></i>{html.escape(name)}</span>' for name, one in colours.items()
    )
    return f'<div class="legend">{"".join(named)}</div>'


def _frame(points: list[tuple[int, str, float]]) -> Any:
    """The points of the curves, thinned, as LinePlot takes them; None for no points.

    A run may have twenty losses, one for each layer, too many for a legend: those of one network are added up.
    """
    import pandas as pd

    if not points:
        return None
    steps = sorted({step for step, _, _ in points})
    kept = set(steps[:: max(1, len(steps) // MAX_POINTS)]) | set(steps[-1:])
    sums: dict[tuple[int, str], float] = {}
    for step, key, value in points:
        if step in kept:
            sums[step, _curve(key)] = sums.get((step, _curve(key)), 0.0) + value
    return pd.DataFrame([(*at, value) for at, value in sums.items()], columns=["step", "curve", "loss"])


def _curve(key: str) -> str:
    """The name of the curve for a loss: "style, vgg16" for "style/vgg16:relu1_1@2"."""
    return re.sub(r"^([^/]+)/([^:@]+).*$", r"\1, \2", key)
