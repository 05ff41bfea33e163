"""The tab that trains models: its form. `watch` shows the trainings."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr

from texturenets.engines.devices import only_cpu
from texturenets.errors import duration
from texturenets.modelfiles.titles import title
from texturenets.server import training_routes
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.service import Service
from texturenets.server.ui import gallery
from texturenets.server.ui.pictures import PictureInput, Uploads
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import error_html, message_html, sentence
from texturenets.server.ui.watch import QUIET, Watch
from texturenets.train import lacking
from texturenets.train.configuration import TaskConfig
from texturenets.train.presets import STARTS

if TYPE_CHECKING:
    from texturenets.server.models import ServedModel
    from texturenets.server.trainings import Trainings

ModelKind = Literal["style", "texture"]

KINDS = [("A style, from a painting", "style"), ("A texture, from an exemplar", "texture")]
PRESETS = {
    "default": "Ours",
    "quick": "Quick",
    "paper": "The paper's",
    "readme": "The reference's README",
}
ALL, NOTHING = "All photos", "Nothing"

NONE = """<div class="empty"><b>This service does not train.</b><br>{first}Started with a folder for models and one
with photos to learn on, it does: <code>texturenets serve --models models/ --photos photos/</code></div>"""


class TrainTab:
    """Builds the tab, within a gradio.Blocks, and answers its events; `watch` is None without trainings."""

    def __init__(self, service: Service, store: Store, trainings: Trainings | None) -> None:
        self.service = service
        self.watch: Watch | None = None
        if trainings is None:
            wanted = html.escape(lacking(), quote=False)
            gr.HTML(NONE.format(first=f"{wanted[0].upper()}{wanted[1:]}<br>" if wanted else ""))
            return
        self.trainings = trainings
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=300):
                self.picture = PictureInput(
                    service, store, "exemplar", 1, label="Painting or exemplar", height=240
                )
                self._form()
            with gr.Column(scale=7, min_width=300):
                self.watch = watch = Watch(store, trainings)
        self.picture.listen(watch.message)
        kind, preset, steps, start, *rest = self.fields
        photos, weight, _ = rest
        of_kind = [preset, photos, weight]
        of_preset = [steps, start, *rest[1:]]
        kind.change(self._of_kind, kind, of_kind, **QUIET).then(
            self._of_preset, [kind, preset], of_preset, **QUIET
        )
        preset.input(self._of_preset, [kind, preset], of_preset, **QUIET)
        asked = [kind, preset, steps]
        gr.on([kind.change, preset.change, steps.change], self._estimate, asked, self.estimate, **QUIET)
        begun = self.begin.click(
            self._start,
            [self.picture.gallery, self.picture.uploads, self.name, *self.fields],
            [watch.name, self.name, watch.message],
            show_progress_on=watch.message,
        )
        begun.then(watch.refresh, watch.inputs, watch.outputs, **QUIET)

    def _form(self) -> None:
        first = training_routes.presets("style")["default"]
        self.name = gr.Textbox(
            label="Name", max_length=64, elem_id="name", placeholder="that of the image's file"
        )
        kind = gr.Radio(KINDS, value="style", label="What to learn", elem_id="kind")
        with gr.Row():
            preset = gr.Dropdown(
                _presets("style"),
                value="default",
                label="Recipe",
                min_width=120,
                elem_id="preset",
            )
            steps = gr.Number(
                first.steps,
                minimum=1,
                maximum=training_routes.MAX_STEPS,
                label="Steps",
                min_width=120,
                elem_id="steps",
            )
        start = gr.Dropdown(
            self._starts("style", "default"),
            value=NOTHING,
            label="Start from",
            info="What another one has learned saves most of the steps: Quick does so.",
            elem_id="start",
        )
        with gr.Accordion("More", open=False, elem_id="more"):
            photos = gr.Dropdown(
                [ALL, *self.trainings.folders()[1:]], value=ALL, label="Photos to learn on", elem_id="photos"
            )
            weight = gr.Number(
                getattr(first, "content_weight", None),
                minimum=0,
                label="Content weight",
                info="Higher: more photo, less painting.",
                elem_id="weight",
            )
            size = gr.Number(
                first.style_size,
                minimum=0,
                label="Size of the image",
                info="Its longer side in pixels. Larger: broader strokes; 0: its own.",
                elem_id="style-size",
            )
        self.fields: list[Any] = [kind, preset, steps, start, photos, weight, size]
        self.estimate = gr.Markdown(self._estimate("style", "default", None), elem_id="estimate")
        self.begin = gr.Button("Train", variant="primary", elem_id="train")

    # ---- Inputs

    def _of_kind(self, kind: ModelKind) -> tuple[Any, Any, Any]:
        style = kind == "style"
        presets = gr.update(choices=_presets(kind), value="default")
        return presets, gr.update(visible=style), gr.update(visible=style)

    def _of_preset(self, kind: ModelKind, preset: str) -> tuple[Any, ...]:
        run = _preset(kind, preset)
        if run is None:
            return (gr.skip(),) * 4
        return (
            run.steps,
            gr.update(choices=self._starts(kind, preset), value=STARTS.get(preset, NOTHING)),
            getattr(run, "content_weight", None),
            run.style_size,
        )

    def _starts(self, kind: ModelKind, preset: str) -> list[tuple[str, str]]:
        """The models whose weights the training can start from: those with the same network."""
        run = _preset(kind, preset)
        if run is None:
            return [(NOTHING, NOTHING)]
        known = self.service.catalogue.models()
        names = [
            name
            for name in gallery.names(self.service.catalogue, kind)
            if name in known and run.may_start_from(known[name].header.generator)
        ]
        return [(NOTHING, NOTHING), *((title(name), name) for name in names)]

    def _estimate(self, kind: ModelKind, preset: str, steps: float | None) -> str:
        """A message with the estimated time, from the last training of this kind in the service's folder.

        Without one, from the fastest training on such a machine, because others may have shared it.
        """
        run = _preset(kind, preset)
        if run is None:
            return ""
        if refused := _not_whole("Steps", steps):
            return refused
        count = int(steps or run.steps)
        timed = _clock(self.service.catalogue.models(), kind, self.trainings.folder)
        if not timed:
            return f"{count} steps. After the first ten it says how long it will take."
        name, pace = timed
        seconds = pace * count * run.batch_size * run.image_size**2
        return f"{count} steps: about {duration(seconds)} from its start, by the time of the training of “{name}”."

    async def _start(  # noqa: PLR0917  Gradio passes positional arguments
        self,
        shown: list[tuple[str, Any]] | None,
        uploads: Uploads,
        name: str,
        kind: ModelKind,
        preset: str,
        steps: float | None,
        start: str | None,
        photos: str,
        weight: float | None,
        size: float | None,
    ) -> tuple[Any, Any, Any]:
        """Returns the training to show, the name in the form, and the message. The image stays, for another try.

        `shown`: the value of the picture's gallery.
        """
        if not shown:
            return gr.skip(), gr.skip(), error_html("Choose an image first.")
        if refused := _not_whole("Steps", steps) or _not_whole("Size of the image", size):
            return gr.skip(), gr.skip(), error_html(refused)
        service, path = self.service, self.picture.newest(shown, uploads)
        changes = {
            "content_weight": weight if kind == "style" else None,
            "style_size": None if size is None else int(size),
        }
        try:
            with service.queue.slot():
                data = await service.queue.in_thread(path.read_bytes)
                job = await training_routes.enqueue(
                    service,
                    self.trainings,
                    data,
                    name=name.strip() or self._free(path.stem),
                    kind=kind,
                    preset=preset,
                    steps=min(int(steps), training_routes.MAX_STEPS) if steps else None,
                    photos="" if photos == ALL or kind == "texture" else photos,
                    start="" if start == NOTHING else start,
                    changes={key: value for key, value in changes.items() if value is not None},
                )
        except HTTPProblem as problem:
            return gr.skip(), gr.skip(), error_html(sentence(problem, path.name))
        except OSError:
            return gr.skip(), gr.skip(), error_html("The image is no longer here: choose it again.")
        names = [one.name for one in reversed(self.trainings.jobs())]
        message = message_html(
            f"{job.name} is queued; the table shows its progress. It continues when this page is closed."
        )
        return gr.update(choices=names, value=job.name), "", message

    def _free(self, stem: str) -> str:
        """An unused name, derived from that of a file."""
        base = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[:56] or "mine"
        taken = {job.name for job in self.trainings.jobs()} | set(self.service.catalogue.models())
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        return name

    def used(self, name: str | None) -> tuple[ModelKind, str] | None:
        """Kind and name of a model that a training has made; None if it has made none."""
        known = self.service.catalogue.models().get(name or "")
        return (known.header.kind, str(name)) if known and known.header.kind != "material" else None


def _not_whole(label: str, number: float | None) -> str:
    """The error message for a number with a fraction, which Gradio would round; else empty."""
    return f"{label} {number:g}: give a whole number." if number is not None and number % 1 else ""


def _presets(kind: ModelKind) -> list[tuple[str, str]]:
    """The choices, as (label, name)."""
    return [(PRESETS.get(name, name), name) for name in training_routes.presets(kind)]


def _preset(kind: ModelKind, preset: str) -> TaskConfig | None:
    return training_routes.presets(kind).get(preset)


def _clock(models: Mapping[str, ServedModel], kind: ModelKind, folder: Path) -> tuple[str, float] | None:
    """The model whose training is used for the estimate: its name, and its seconds per pixel of a batch and step."""
    timed = []
    for name, known in models.items():
        if known.header.kind == kind and (pace := _pace(known.header.training)):
            here = known.path.parent == folder
            timed.append((here, known.modified if here else 0, -pace, name))
    if not timed:
        return None
    _, _, pace, name = max(timed)
    return name, -pace


def _pace(training: Any) -> float:
    """Seconds a pixel of a batch and step, that a model's header tells; 0 where it does not, or of another machine.

    A minute and a half on a GPU is an hour on two cores.
    """
    try:
        devices = {"cpu"} if only_cpu() else {"cuda", "mps"}
        if training["device"] not in devices or training["processors"] != os.cpu_count():
            return 0.0
        run, step = training["run"], training["step"]
        return float(training["seconds"]) / float(step * run["batch_size"] * run["image_size"] ** 2)
    except (KeyError, TypeError, ValueError, ArithmeticError):  # a step of 10**400 is not a float
        return 0.0
