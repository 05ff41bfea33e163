"""Visitors' paintings: learned into a model of several styles by a training of minutes, and kept by their bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from texturenets.errors import counted, duration
from texturenets.modelfiles import modelfile
from texturenets.server import painting_files, training_routes
from texturenets.server.http_errors import HTTPProblem
from texturenets.server.service import Service

if TYPE_CHECKING:
    from texturenets.server.trainings import Trainings

NO_BASE = (
    "This takes a model of several styles, and there is none: put one into the service's folder of models, as "
    "`texturenets train gallery` makes it."
)


class LearningProgress(NamedTuple):
    """How far the training of a painting is: its `share`, 0 to 1, and a text for visitors."""

    share: float
    text: str


class Paintings:
    """The paintings of a service. They are trained in the queue of `trainings`, one at a time."""

    def __init__(self, service: Service, trainings: Trainings) -> None:
        self.service, self.trainings, self.files = service, trainings, trainings.files

    def base(self) -> str | None:
        """The name of the model into which paintings are learned: the first of several styles in the service's folder
        of models, else the shipped one; None without any."""
        models = self.service.catalogue.models()
        several = [name for name, one in models.items() if one.header.kind == "style" and one.takes_styles]
        own = [name for name in several if not modelfile.is_shipped(models[name].path)]
        return next(iter([*own, *several]), None)

    async def begin(self, data: bytes, minutes: float) -> str:
        """Put a painting, an image's file, in the queue, unless it is kept or there already; returns its name.

        One whose training was stopped or has failed is resumed. Raises HTTPProblem, also without a model to learn it
        into.
        """
        service = self.service
        with service.queue.slot():
            base = await service.queue.in_thread(self.base)
            if base is None:
                raise HTTPProblem(503, NO_BASE)
            path = service.catalogue.models()[base].path
            name: str = await service.queue.in_thread(lambda: painting_files.name_of(data, path, minutes))
            if self.is_kept(name) or await service.queue.in_thread(lambda: self._takes_up(name)):
                return name
            try:
                await training_routes.enqueue(
                    service,
                    self.trainings,
                    data,
                    name=name,
                    kind="style",
                    preset="default",
                    minutes=minutes,
                    into=base,
                )
            except HTTPProblem as problem:  # another visitor brought the same painting in the same moment
                if problem.status != 409 or self.files.read(name) is None:
                    raise
        return name

    def _takes_up(self, name: str) -> bool:
        """Whether there is a training of a painting, which waits, runs or is resumed."""
        job = self.files.read(name)
        if job is None or (job.state == "failed" and not self.files.last_checkpoint_stamp(name)):
            return False
        self.trainings.resume(name)
        return True

    def is_kept(self, name: str) -> bool:
        """Whether a painting is learned."""
        return self._path(name).is_file()

    def style(self, name: str) -> str:
        """The learned painting as a style of the service."""
        return f"{name}:{painting_files.STYLE}"

    def progress(self, name: str) -> LearningProgress | None:
        """How far a painting's training is; None when it is learned. Raises HTTPProblem if it failed or was ended."""
        job = None if self.is_kept(name) else self.files.read(name)
        if job is None or job.state == "done":
            if self.is_kept(name):
                return None
            raise HTTPProblem(404, "its training was removed; learn it again")
        report = self.trainings.reports.of(job)
        if job.state == "failed":
            raise HTTPProblem(503, f"it was not learned: {report['reason'].removeprefix('texturenets: ')}")
        if job.state == "stopped":
            raise HTTPProblem(409, "its training was stopped; learn it again to resume")
        if not report["at_work"]:
            before = [one for one in self.trainings.jobs() if one.state in ("queued", "running")]
            count = sum(one.order < job.order for one in before)
            return LearningProgress(
                0.0, f"waiting for {counted(count, 'training')} before it" if count else "getting ready"
            )
        if not report["step"]:
            return LearningProgress(0.0, "getting ready")
        share = min(1.0, report["seconds"] / (60 * job.minutes))
        return LearningProgress(share, f"learning your painting, {duration(report['seconds_left'])} left")

    def _path(self, name: str) -> Path:
        return self.files.model(name)
