"""Learning several paintings with one network: conditional instance normalization (arXiv 1610.07629)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from texturenets.errors import UserError
from texturenets.losses import Loss, Objective, build
from texturenets.losses.content import ContentLoss
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Condition, check_name, styles_of
from texturenets.train import into, style_images
from texturenets.train.configuration import GalleryConfig, StyleConfig
from texturenets.train.data import Batch
from texturenets.train.microbatch import Microbatch
from texturenets.train.setup import Setup
from texturenets.train.style_task import StyleTask
from texturenets.train.task import Forward

LIGHT = 0.5
"""The strength that is learned with the larger content weight."""


class GalleryTask(StyleTask):
    """`train gallery`: each microbatch learns one painting at one strength and one stroke size.

    These conditions take turns, in a new random order for each round.
    """

    def __init__(
        self,
        config: GalleryConfig,
        paintings: Sequence[Path] | Mapping[str, Path],
        content: Path,
        variants: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        """`paintings`: files, whose names become the names of the styles; or a mapping from names of styles.
        `content`: as in `StyleTask`. `variants`: the (strength, stroke) pairs for which each painting is learned,
        instead of those of `config`. Raises UserError as there, and for two paintings of one name."""
        self.sources = dict(paintings) if isinstance(paintings, Mapping) else _by_name(paintings)
        for name in self.sources:
            check_name(name)
        super().__init__(config, list(self.sources.values()), content)
        self.content_factor = config.light
        if variants is None:
            strengths = (1.0,) if config.light == 1 else (1.0, LIGHT)
            strokes = (1.0,) if config.large == 1 else (1.0, config.large)
            variants = [(strength, stroke) for stroke in strokes for strength in strengths]
        self.conditions = tuple(Condition(name, *variant) for name in self.sources for variant in variants)
        self.fixed_kernels = False  # the targets change in each step

    def _objectives(self, setup: Setup) -> list[Objective]:
        full: dict[tuple[str, float], Objective] = {}
        made = []
        for condition in self.conditions:
            key = condition.style, condition.stroke
            if key not in full:
                full[key] = self._full(setup, *key)
            made.append(full[key] if condition.strength == 1 else _lighter(full[key], self.content_factor))
        return made

    def _full(self, setup: Setup, style: str, stroke: float) -> Objective:
        path, size = self.sources[style], round(self.config.style_size * stroke)
        painting = style_images.opaque(style_images.read_painting(path, size), path)
        losses = build(dataclasses.asdict(self.config))  # its own: they hold the painting's targets
        return Objective(setup.networks, losses, [painting.to(self.device)], scales=self.config.pyramid_loss)

    def microbatches(self, batch: Batch, slots: range) -> list[Microbatch]:
        """As `Task`."""
        made = super().microbatches(batch, slots)
        first = batch.step * len(made)
        for i, microbatch in enumerate(made):
            microbatch.condition = self._turn(first + i)
        return made

    def _turn(self, number: int) -> int:
        """The condition that microbatch `number` trains."""
        turn, place = divmod(number, len(self.conditions))
        order = np.random.default_rng((self.config.seed, 5, turn)).permutation(len(self.conditions))
        return int(order[place])

    def validation_microbatches(self) -> list[Microbatch]:
        """Crops of the held-out photos, repeated until each condition has one."""
        crops = [one for microbatch in super().validation_microbatches() for one in _singles(microbatch)]
        count = max(len(crops), len(self.conditions)) if crops else 0
        return [replace(crops[i % len(crops)], condition=i % len(self.conditions)) for i in range(count)]

    def _thumbnails(self, forward: Forward) -> dict[str, str]:
        """As `GeneratorTask`: all of the first validation input, where there is one."""
        made: dict[str, str] = {}
        for one in self.validation_microbatches()[:1]:
            first = one.first()
            for i, condition in enumerate(self.conditions):
                if condition.style not in made:
                    picture = forward(first.photos, first.noise, i).float().cpu()
                    made[condition.style] = modelfile.encode_thumbnail(picture)
        return made


def _by_name(paintings: Sequence[Path]) -> dict[str, Path]:
    """Paintings by the names of their files. Raises UserError for two of one name."""
    names = [path.stem for path in paintings]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"two paintings are called {twice[0]}: rename one, styles are named after their files"
        )
    return dict(zip(names, paintings, strict=True))


def _lighter(objective: Objective, factor: float) -> Objective:
    """The same with `factor` times the content weight."""
    made = copy.copy(objective)
    made.losses = [_weighted(loss, factor) for loss in objective.losses]
    return made


def _weighted(loss: Loss, factor: float) -> Loss:
    return replace(loss, weight=loss.weight * factor) if isinstance(loss, ContentLoss) else loss


def _singles(microbatch: Microbatch) -> list[Microbatch]:
    """Its images one by one."""
    assert microbatch.photos is not None
    return [
        Microbatch(
            1,
            microbatch.photos[i : i + 1],
            [m[i : i + 1] for m in microbatch.noise],
            moved=microbatch.moved and microbatch.moved[i : i + 1],
        )
        for i in range(microbatch.count)
    ]


def style_task(
    config: StyleConfig,
    paintings: Sequence[Path],
    content: Path,
    base: str | None = None,
    losses: Sequence[Loss] = (),
) -> StyleTask:
    """The task of `train style`: with `base` that of training one painting into this model of several styles.

    Raises UserError as `StyleTask`, and for a `base` of one style, a style that it has, several paintings, and
    user-defined losses.
    """
    if base is None:
        return StyleTask(config, paintings, content, losses)
    if losses:
        raise UserError(
            f"`into` {base}: styles are learned as those of the model, without `losses` of your own"
        )
    header = modelfile.read_header(into.find(base))
    rows = header.rows
    if len(paintings) > 1:
        raise UserError(f"`into` takes one painting at a time, and there are {len(paintings)}")
    name = paintings[0].stem
    if name in styles_of(rows):
        raise UserError(f"`into` {base}: it has a style called {name}: rename the painting's file")
    run = header.training.get("run", {})
    options = {key: run[key] for key in ("light", "large") if key in run}
    variants = list(dict.fromkeys((row.strength, row.stroke) for row in rows))
    gallery = GalleryConfig(**dataclasses.asdict(config), **options)
    return GalleryTask(gallery, paintings, content, variants)
