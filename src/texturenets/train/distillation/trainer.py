"""The trainer of `own`: that of the styles, with another network to begin with and another file to write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texturenets.networks import GeneratorSpec, network_files
from texturenets.perceptual import Descriptor
from texturenets.perceptual.weights import CONVENTIONS, SOURCES, fingerprint
from texturenets.train.distillation.start import prune
from texturenets.train.distillation.student import NETWORK, TEACHER, Student
from texturenets.train.distillation.task import DistillationTask
from texturenets.train.network import Built
from texturenets.train.setup import Setup
from texturenets.train.trainer import Trainer

BEGINNING = 96
"""Pictures from which the first weights are computed: some ten positions for each unknown of the deepest layers."""


class DistillationTrainer(Trainer):
    """As `Trainer`, for a `DistillationTask`."""

    task: DistillationTask

    def _check(self) -> None:
        """Nothing can be wrong with the network: it is always the same."""

    def _build(self, spec: GeneratorSpec | None, setup: Setup, resume: bool) -> Built:
        torch.manual_seed(self.task.config.seed)
        student = Student()
        self.task.device = setup.device
        if not resume:
            teacher = setup.networks.networks[TEACHER]
            assert isinstance(teacher, Descriptor)
            prune(
                student.to(setup.device), teacher, self.task.first_pictures(BEGINNING), self.task.config.seed
            )
        return Built(student.to(setup.device, memory_format=torch.channels_last))  # type: ignore[call-overload]

    def _draw(self, photos: Tensor | None, noise: Sequence[Tensor], condition: int | None) -> Any:
        return self.module(photos)

    def _draw_eval(self, photos: Tensor | None, noise: Sequence[Tensor], condition: int | None) -> Any:
        with torch.no_grad(), self.fabric.autocast():
            return self.network(photos)

    def save_model(self, path: Path) -> None:
        """The weights as they are now, in half precision, with a header that says what they were distilled from.

        Raises UserError where a weight is not finite in half precision.
        """
        assert isinstance(self.network, Student)
        tensors = self.network.tensors()
        network_files.check_finite(tensors, path)
        network_files.save_whole(tensors, path, self._metadata(tensors))

    def _metadata(self, tensors: dict[str, Tensor]) -> dict[str, str]:
        teacher = SOURCES[TEACHER]
        return {
            "network": NETWORK,
            "convention": json.dumps(asdict(CONVENTIONS[NETWORK])),
            "source": f"{NETWORK}, distilled from VGG-16 (relu1_2 to relu4_3)",
            "fingerprint": fingerprint(tensors),
            "teacher": f"{teacher.title}; weights with the SHA-256 {self.fingerprint['descriptors_sha256'][TEACHER]}",
            "licence": self.config.licence or f"distilled from VGG-16, whose weights are {teacher.licence}",
            "terms": self.config.terms,
            "training": json.dumps(
                {**self.fingerprint, "step": self.state.step, "seconds": round(self.state.seconds, 1)}
            ),
        }
