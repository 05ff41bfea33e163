"""The distillation task: learning the teachers' features, Gram matrices and distances between images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from texturenets.fetch import digest
from texturenets.networks import network_files
from texturenets.perceptual import Descriptor, Descriptors
from texturenets.perceptual.weights import CONVENTIONS, SOURCES, fingerprint
from texturenets.readers.layouts import OWN_MAPS
from texturenets.train import data
from texturenets.train.configuration import PerceptualConfig
from texturenets.train.data import Batch
from texturenets.train.distillation import start
from texturenets.train.distillation.generated import Styles, descend, style_files
from texturenets.train.distillation.images import Groups, ImageFolders
from texturenets.train.distillation.losses import losses
from texturenets.train.distillation.student import NETWORK, TEACHERS, Student
from texturenets.train.microbatch import Microbatch
from texturenets.train.photos import workers_for
from texturenets.train.progress import Progress
from texturenets.train.setup import Setup
from texturenets.train.task import Forward, Provenance, StepResult
from texturenets.train.trainer_config import TrainerConfig

PRUNING_IMAGES = 96
"""Pictures from which the first weights are computed: some ten positions for each unknown of the deepest layers."""
VALIDATION_BATCHES = 4
VALIDATION_STEP = 1 << 40  # other crops and changes than those that are trained on
STYLIZED = 0.5  # share of the changed images that are stylized


class DistillationTask:
    """`train perceptual`: student and teacher get the same groups of images."""

    fixed_kernels = False

    def __init__(self, config: PerceptualConfig, folders: Sequence[Path]) -> None:
        """Raises UserError for folders without images, and for models that are no styles."""
        self.config = config
        self.folders = ImageFolders(folders, config)
        self.models = style_files(config.models)
        self.layers = tuple(made.teacher for made in OWN_MAPS)
        self.unreadable: Sequence[str] = ()
        self.fingerprint: dict[str, Any] = {
            "photos": self.folders.digest,
            "models": {name: digest(Path(path), "sha256") for name, path in self.models.items()},
        }

    def check(self, config: TrainerConfig) -> None:
        """Nothing to check: the network is always the same."""

    def prepare(self, setup: Setup, config: TrainerConfig, resume: bool) -> Student:
        """As `Task`; without `resume` the student begins as VGG-16, pruned, or as the network of `init`.

        Raises UserError for an `init` that is no file of `own`.
        """
        self.device, self.teacher = setup.device, setup.networks
        torch.manual_seed(self.config.seed)
        student = Student().to(self.device)
        if not resume:
            images = self._first_pictures(PRUNING_IMAGES)
            if config.init:
                start.load(student, config.init)
            else:
                network = self.teacher.networks["vgg16"]
                assert isinstance(network, Descriptor)
                start.prune(student, network, images, self.config.seed)
            start.fit_maps(student, self.teacher, images, self.config.seed)
        student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student = student
        self.styles = Styles(list(self.models.values()), self.device)
        self.held_out, self.unreadable = self._held_out()
        return student

    def _held_out(self) -> tuple[list[Tensor], list[str]]:
        """Batches of images that are not trained on, stylized ones among them."""
        files = [list(val) for val in self.folders.val if val]
        if not files:
            return [], []
        config = self.config
        slots = range(config.batch_size)
        groups = Groups(files, config, slots)
        batches = [groups[VALIDATION_STEP + i] for i in range(VALIDATION_BATCHES)]
        images = [self._stylized(batch, slots) for batch in batches]
        return images, [problem for batch in batches for problem in batch.unreadable]

    def batches(self, steps: range, slots: range, workers: int | None) -> Iterator[Batch]:
        """Groups of images, decoded and changed ahead."""
        on_gpu = self.device.type == "cuda"
        made = Groups(self.folders.train, self.config, slots)
        return data.loader(made, steps, workers_for(self.device) if workers is None else workers, on_gpu)

    def _first_pictures(self, count: int) -> Tensor:
        """`count` images or some more, as the training has them: (N, 3, S, S), on the device."""
        slots = range(self.config.batch_size)
        groups = Groups(self.folders.train, self.config, slots)
        batches = -(-count // len(slots))
        return torch.cat([groups[step].photos for step in range(batches)]).to(self.device)

    def microbatches(self, batch: Batch, slots: range) -> list[Microbatch]:
        """The batch, some of it stylized, and now and then some of it adversarial."""
        images = self._stylized(batch, slots)
        every = self.config.adversarial_every
        if every and batch.step % every == every - 1 and self.config.variants > 1:
            self._oppose(images, batch.step // every)
        return [Microbatch(len(images), images, [])]

    def _stylized(self, batch: Batch, slots: range) -> Tensor:
        """The images of `batch` on the device; of each group the first stays as it is."""
        images = batch.photos.to(self.device, copy=True)  # the original images are shown next to them
        for at, slot in enumerate(slots):
            random = np.random.default_rng((self.config.seed, 6, batch.step, slot))
            if slot % self.config.variants and random.random() < STYLIZED:
                whence = images[at - slot % self.config.variants] if random.random() < 0.7 else images[at]
                images[at] = self.styles(whence[None], random)[0]
        return images.contiguous(memory_format=torch.channels_last)

    def _oppose(self, images: Tensor, turn: int) -> None:
        """Change the last image of each group, in place, by the student's gradient: it comes nearer to another
        group's first image, if there is one. In every other turn the teachers' distances must stay."""
        size = self.config.variants
        if len(images) == size:
            return
        for at in range(size - 1, len(images), size):
            goal = (at + 1) % len(images)
            theirs = partial(_by_name, self.teacher) if turn % 2 else None
            images[at] = descend(images[at : at + 1], images[goal : goal + 1], self._mapped, theirs)[0]

    def _mapped(self, x: Tensor) -> dict[str, Tensor]:
        """The student's features in the teacher's space, as `descend` compares them: by the small map."""
        features = self.student(x)
        return {name: self.student.reduced(name, features[name]) for name in features}

    def training_step(self, forward: Forward, microbatch: Microbatch, progress: Progress) -> StepResult:
        """The images and the losses of the student."""
        images = microbatch.photos
        assert images is not None
        with torch.no_grad():
            teacher_features = _by_name(self.teacher, images)
        student_features = forward(images, (), None)
        return images, losses(self.student, student_features, teacher_features, self.config.variants)

    def validation_microbatches(self) -> list[Microbatch]:
        """As `Task`."""
        return [Microbatch(len(images), images, []) for images in self.held_out]

    def validation_step(self, forward: Forward, microbatch: Microbatch) -> StepResult:
        """As `Task`."""
        return self.training_step(forward, microbatch, Progress())

    def example_images(self, batch: Batch, images: Tensor) -> Tensor:
        """The images as they were read and changed, and as the networks saw them."""
        return torch.stack([batch.photos[:4], images])

    def save(self, path: Path, network: nn.Module, forward: Forward, provenance: Provenance) -> None:
        """As `Task`: the weights in half precision, with a header that says what they were distilled from."""
        tensors = self.student.tensors()
        network_files.check_finite(tensors, path)
        network_files.save_whole(tensors, path, _metadata(tensors, provenance))


def _metadata(tensors: dict[str, Tensor], provenance: Provenance) -> dict[str, str]:
    sources, state = [SOURCES[name] for name in TEACHERS], provenance.state
    digests = [state.fingerprint["descriptors_sha256"][name] for name in TEACHERS]
    licences = " and ".join(f"{source.title}, whose weights are {source.licence}" for source in sources)
    return {
        "network": NETWORK,
        "convention": json.dumps(asdict(CONVENTIONS[NETWORK])),
        "source": f"{NETWORK}, distilled from VGG-16 (relu1_2 to relu4_3) and SqueezeNet 1.0 (conv1 to fire7)",
        "fingerprint": fingerprint(tensors),
        "teachers": "; ".join(
            f"{source.title}, weights with the SHA-256 {digest}"
            for source, digest in zip(sources, digests, strict=True)
        ),
        "licence": provenance.config.licence or f"distilled from {licences}",
        "terms": provenance.config.terms,
        "training": json.dumps({**state.fingerprint, "step": state.step, "seconds": round(state.seconds, 1)}),
    }


def _by_name(teacher: Descriptors, images: Tensor) -> dict[str, Tensor]:
    """The teachers' features by their layers, without the networks."""
    return {layer.rpartition(":")[2]: features for layer, features in teacher(images).items()}
