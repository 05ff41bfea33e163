"""The tab that learns from a picture: the queue of trainings, and what goes on in the one that is looked at."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr

from texturenets.devices import only_cpu
from texturenets.errors import UserError
from texturenets.web import training_routes
from texturenets.web.problems import Problem
from texturenets.web.service import Service
from texturenets.web.ui.store import Store

if TYPE_CHECKING:
    from texturenets.web.trainings import Trainings

Kind = Literal["style", "texture"]

KINDS = [("A style, from a painting", "style"), ("A texture, from an exemplar", "texture")]
TICK = 2.0  # seconds between two looks of the browser
MOST_POINTS = 200  # of a curve
ALL = "All photos"

NONE = """<div class="empty"><b>This service does not train.</b><br>Started with a folder for models and one with
photos to learn on, it does: <code>texturenets serve --models models/ --photos photos/</code></div>"""


class TrainTab:
    """Builds the tab, within a gradio.Blocks, and answers its events; without trainings it says how to have some."""

    def __init__(self, service: Service, store: Store, trainings: Trainings | None) -> None:
        self.service, self.store = service, store
        self.timer = gr.Timer(TICK)
        if trainings is None:
            gr.HTML(NONE)
            return
        self.trainings = trainings
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                picture = gr.Image(
                    label="Painting or exemplar",
                    show_label=False,
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "clipboard", "webcam"],
                    height=240,
                    buttons=[],
                    elem_id="exemplar",
                    placeholder="Drop a painting or an exemplar here",
                )
                name = gr.Textbox(label="Name", max_length=64, elem_id="name", placeholder="mine")
                kind = gr.Radio(KINDS, value="style", label="What to learn", elem_id="kind")
                with gr.Row():
                    preset = gr.Dropdown(
                        list(training_routes.recipes("style")), value="default", label="Preset", min_width=120
                    )
                    steps = gr.Number(
                        training_routes.recipes("style")["default"].steps,
                        precision=0,
                        minimum=1,
                        maximum=training_routes.MOST_STEPS,
                        label="Steps",
                        min_width=120,
                        elem_id="steps",
                    )
                photos = gr.Dropdown(
                    [ALL, *trainings.folders()[1:]], value=ALL, label="Photos to learn on", elem_id="photos"
                )
                estimate = gr.Markdown(self._estimate("style", "default", None), elem_classes="said")
                start = gr.Button("Train", variant="primary", elem_id="train")
            with gr.Column(scale=7, min_width=300):
                table = gr.HTML(elem_id="trainings", elem_classes="trainings")
                with gr.Row(equal_height=True):
                    watched = gr.Dropdown([], label="Look at", interactive=True, elem_id="watched", scale=3)
                    stop = gr.Button("Stop", min_width=90, elem_id="stop")
                    resume = gr.Button("Resume", min_width=90, elem_id="resume")
                grown = gr.Image(
                    label="Photos above, what it makes of them below",
                    type="filepath",
                    interactive=False,
                    buttons=["fullscreen"],
                    elem_id="grown",
                    height=300,
                )
                curves = gr.LinePlot(
                    x="step",
                    y="loss",
                    color="curve",
                    height=260,
                    label="Losses",
                    elem_id="curves",
                    buttons=[],
                )
        seen = gr.State(())
        shown: list[Any] = [table, watched, grown, curves, seen]
        quiet: Any = {"show_progress": "hidden"}
        kind.change(self._of_kind, kind, [preset, steps, photos], **quiet)
        preset.input(self._of_preset, [kind, preset], steps, **quiet)
        gr.on(
            [kind.change, preset.change, steps.change],
            self._estimate,
            [kind, preset, steps],
            estimate,
            **quiet,
        )
        begun = start.click(
            self._start, [picture, name, kind, preset, steps, photos], [watched, picture, name]
        )
        stop.click(self._stop, watched, None, **quiet).then(self._look, [watched, seen], shown, **quiet)
        resume.click(self._resume, watched, None, **quiet).then(self._look, [watched, seen], shown, **quiet)
        begun.then(self._look, [watched, seen], shown, **quiet)
        watched.input(self._look, [watched, seen], shown, **quiet)
        self.timer.tick(self._look, [watched, seen], shown, **quiet)

    # ---- What is asked for

    def _of_kind(self, kind: Kind) -> tuple[Any, Any, Any]:
        known = training_routes.recipes(kind)
        first = next(iter(known))
        return (
            gr.update(choices=list(known), value=first),
            known[first].steps,
            gr.update(visible=kind == "style"),
        )

    def _of_preset(self, kind: Kind, preset: str) -> Any:
        known = training_routes.recipes(kind)
        return known[preset].steps if preset in known else gr.skip()

    def _estimate(self, kind: Kind, preset: str, steps: float | None) -> str:
        """How long it will take, by the clock of the last training of that kind here, or else on such a machine."""
        run = training_routes.recipes(kind).get(preset)
        if run is None:
            return ""
        count = int(steps or run.steps)
        timed = [
            (known.path.parent == self.trainings.folder, known.changed, name, pace)
            for name, known in self.service.catalogue.models().items()
            if known.header.kind == kind and (pace := _pace(known.header.training))
        ]
        if not timed:
            return f"{count} steps. After the first ten it says how long it will take."
        _, _, name, pace = max(timed)
        seconds = pace * count * run.batch_size * run.image_size**2
        return f"{count} steps: about {_duration(seconds)}, by the clock of “{name}”."

    async def _start(  # noqa: PLR0917  Gradio passes them by place
        self, picture: str | None, name: str, kind: Kind, preset: str, steps: float | None, photos: str
    ) -> Any:
        if not picture:
            raise gr.Error("Choose a picture first.", title="No picture", print_exception=False)
        service, path = self.service, Path(picture)
        try:
            with service.line.place():
                data = await service.line.apart(path.read_bytes)
                job = await training_routes.enqueue(
                    service,
                    self.trainings,
                    data,
                    name=name.strip() or path.stem,
                    kind=kind,
                    preset=preset,
                    steps=min(int(steps), training_routes.MOST_STEPS) if steps else None,
                    photos="" if photos == ALL else photos,
                )
        except Problem as problem:
            raise gr.Error(problem.detail, title="That did not work", print_exception=False) from None
        except OSError:
            raise gr.Error("The picture is no longer here: choose it again.", print_exception=False) from None
        self.store.drop(path)  # the training has its own
        return gr.update(choices=self._names(), value=job.name), None, ""

    def _stop(self, name: str | None) -> None:
        self._told(self.trainings.stop, name)

    def _resume(self, name: str | None) -> None:
        self._told(self.trainings.resume, name)

    @staticmethod
    def _told(call: Any, name: str | None) -> None:
        try:
            call(name or "")
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    # ---- What goes on

    def _names(self) -> list[str]:
        return [job.name for job in reversed(self.trainings.jobs())]

    def _look(self, name: str | None, seen: tuple[Any, ...], request: gr.Request) -> tuple[Any, ...]:
        """All that is shown; what has not changed since is left alone, or it would flicker."""
        reports = [self.trainings.report(job) for job in reversed(self.trainings.jobs())]
        names = [report["name"] for report in reports]
        if name not in names:
            at_work = [report["name"] for report in reports if report["at_work"]]
            name = next(iter(at_work or names), None)
        table = _table(reports)
        if name is None:
            return table, gr.skip(), gr.skip(), gr.skip(), seen
        picture, points = self.trainings.picture(name), self.trainings.curves(name)
        try:
            drawn, data = (picture.stat().st_mtime_ns, picture.read_bytes()) if picture else (0, b"")
        except OSError:  # it went in the meantime
            drawn, data = 0, b""
        now = (names, name, drawn, len(points))
        before = tuple(seen) if len(seen) == len(now) else (None,) * len(now)
        same = name == before[1]
        chosen = gr.skip() if same and names == before[0] else gr.update(choices=names, value=name)
        grown = plot = gr.skip()
        if not (same and drawn == before[2]):
            session = request.session_hash or ""
            made = self.store.put(session, "grown", {"grown.jpg": data}) if data else []
            grown = gr.update(value=str(made[0]) if made else None)
        if not (same and len(points) == before[3]):
            plot = _frame(points)
        return table, chosen, grown, plot, now


def _pace(training: Any) -> float:
    """Seconds a pixel of a batch and step, that a model's header tells; 0 where it does not, or of another machine.

    A minute and a half on a graphics card is an hour on two cores.
    """
    try:
        devices = {"cpu"} if only_cpu() else {"cuda", "mps"}
        if training["device"] not in devices or training["processors"] != os.cpu_count():
            return 0.0
        run, step = training["run"], training["step"]
        return float(training["seconds"]) / float(step * run["batch_size"] * run["image_size"] ** 2)
    except (KeyError, TypeError, ValueError, ArithmeticError):  # a step of 10**400 is no float
        return 0.0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"


def _table(reports: list[dict[str, Any]]) -> str:
    """The trainings as rows, the newest first."""
    if not reports:
        return '<div class="empty">No training yet.</div>'
    rows = []
    for report in reports:
        state = "saving" if report["state"] == "stopped" and report["at_work"] else report["state"]
        share = min(100, 100 * report["step"] / max(1, report["steps"]))
        left = report["seconds_left"]
        more = f"{_duration(left)} left" if left is not None and state == "running" else ""
        if report["reason"]:
            more = f'<span class="failed">{html.escape(report["reason"])}</span>'
        rows.append(
            f"<tr><td><b>{html.escape(report['name'])}</b></td><td>{html.escape(report['kind'])}</td>"
            f"<td>{html.escape(state)}</td><td>{report['step']} / {report['steps']}"
            f'<div class="bar"><i style="width:{share:.0f}%"></i></div></td><td>{more}</td></tr>'
        )
    return f"<table><tr><th>Name<th>Kind<th>State<th>Step<th></tr>{''.join(rows)}</table>"


def _frame(points: list[tuple[int, str, float]]) -> Any:
    """The points of the curves, thinned, as LinePlot takes them; None for no points."""
    import pandas as pd

    if not points:
        return None
    steps = sorted({step for step, _, _ in points})
    kept = set(steps[:: max(1, len(steps) // MOST_POINTS)]) | set(steps[-1:])
    return pd.DataFrame([p for p in points if p[0] in kept], columns=["step", "curve", "loss"])
