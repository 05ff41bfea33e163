"""Runs that learn to repaint photos like a painting."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from texturenets import data, runs
from texturenets.errors import UserError, counted
from texturenets.losses import Loss
from texturenets.losses import stability as stability_loss
from texturenets.training import cache, setup, stability
from texturenets.training.logistics import Logistics
from texturenets.training.loop import Training
from texturenets.training.parts import Part

VALIDATION_CROPS = 16  # enough for a mean that orders checkpoints; a second of work on two cores


class StyleTraining(Training[runs.StyleRun]):
    """A run of `train style`: fed with crops of photos and, where the network takes it, noise."""

    kind = "style"

    def __init__(
        self,
        run: runs.StyleRun,
        styles: Sequence[Path],
        content: Path,
        out: Path,
        logistics: Logistics | None = None,
        *,
        resume: bool = False,
        progress: Any = None,
        losses: Sequence[Loss] = (),
    ) -> None:
        """`content`: a folder of photos, or a file of `training.cache`. Raises UserError, as `Training`."""
        self.content = content
        self.cached: cache.Facts | None = None
        super().__init__(run, styles, out, logistics, resume=resume, progress=progress, losses=losses)

    def _find_inputs(self) -> None:
        if self.content.is_file() and not data.is_photo(self.content):
            self.cached = cache.read_facts(self.content)
            self.digest, self.count = self.cached.digest, self.cached.train
        else:
            self.photos = data.scan(self.content, self.run.val_share, self.run.seed)
            self.digest, self.count = self.photos.digest, len(self.photos.train)
        if self.run.texture_photos > self.count:
            raise UserError(
                f"--texture-photos {self.run.texture_photos}: the folder holds {counted(self.count, 'photo')}"
            )

    def _inputs_facts(self, described: setup.Described) -> dict[str, Any]:
        if self.cached:
            self._check_cache(self.cached, described)
        return {"photos": self.digest}

    def _check_processes(self, run: runs.Run) -> None:
        super()._check_processes(run)
        if self.fabric.world_size > 1 and isinstance(run, runs.StyleRun) and run.texture_photos:
            raise UserError("--texture-photos halves the batch: run it in one process")

    def _check_network(self) -> None:
        super()._check_network()
        if not getattr(self.network, "photo", True):
            raise UserError(
                f"the generator {self.run.generator} with these options draws from noise and takes no photo: "
                "use `texturenets train texture`, or another --generator"
            )
        if self.run.diversity_weight and not self.noise:
            raise UserError("--diversity-weight wants noise for results to differ by: add --noise-depth 3")
        if self.run.temporal and self.run.image_size < stability.LEAST:
            raise UserError(
                f"--temporal compares the inner part of pictures: --image-size {self.run.image_size} is too small, "
                f"{stability.LEAST} is the least"
            )

    def _check_cache(self, facts: cache.Facts, described: setup.Described) -> None:
        """Raises UserError where the cache was made for other losses than this run's."""
        run, layers = self.run, setup.terms(self.run).content_layers
        descriptor = setup.descriptor_facts(run, layers, described)
        wanted: list[tuple[str, Any, Any]] = [
            ("--content-layers", facts.layers, layers),
            ("--image-size", facts.image_size, run.image_size),
            ("--precision and descriptor", facts.descriptor, descriptor),
            ("--val-share", facts.val_share, run.val_share),
        ]
        for name, has, wants in wanted:
            if has != wants:
                raise UserError(
                    f"{self.content} was made with {name} {has}, this run wants {wants}: give it the same, or "
                    "write it anew"
                )
        if facts.flip != run.flip:
            made, same = ("with", "leave it out here") if facts.flip else ("without", "give --no-flip here")
            raise UserError(f"{self.content} was made {made} mirrored photos: {same} too, or write it anew")
        if run.pyramid_loss > 1:
            raise UserError(
                "--pyramid-loss takes content features at several scales, a cache holds one: use a folder"
            )
        if run.texture_photos:
            raise UserError("--texture-photos chooses among photos: give --content a folder, not a cache")

    def _hold_out(self) -> None:
        if self.cached:
            self.val = cache.validation(self.content, VALIDATION_CROPS)
        else:
            self.val, self.unreadable = data.validation(
                self.photos.val, self.run.image_size, VALIDATION_CROPS
            )

    def _crops(self, batch: int, slots: range, files: Sequence[Path] | None = None) -> Dataset[data.Batch]:
        run = self.run
        if self.cached:
            return cache.CachedCrops(self.content, self.cached, batch=batch, slots=slots, seed=run.seed)
        chosen = self.photos.train if files is None else files
        return data.Crops(chosen, side=run.image_size, batch=batch, slots=slots, seed=run.seed, flip=run.flip)

    def _batches(self, steps: range, slots: range) -> Iterator[data.Batch]:
        run = self.run
        if run.diversity_weight:
            # Neighbours across different photos mean nothing: one photo, as often as the batch is large.
            crops = self._crops(1, range(1))
        elif run.texture_photos:
            half = run.batch_size // 2
            few = self.photos.train[: run.texture_photos]
            crops = data.Joined([self._crops(half, range(half), few), self._crops(half, range(half))])
        else:
            crops = self._crops(run.batch_size, slots)
        card = self.device.type == "cuda"
        workers = self.logistics.workers
        if workers is None:  # a card takes hundreds of photos a second, and decoding one takes 10 ms
            workers = min(8, max(1, (os.cpu_count() or 1) - 1)) if card else 1
        return data.loader(crops, steps, workers, card)

    def _parts(self, batch: data.Batch, slots: range) -> list[Part]:
        photos = batch.photos.to(self.device, non_blocking=True)
        content = {k: self._there(v) for k, v in (batch.content or {}).items()}
        if self.run.diversity_weight:
            photos = photos.expand(len(slots), -1, -1, -1)
            content = {k: v.expand(len(slots), -1, -1, -1) for k, v in content.items()}
        noises = self._training_noise(batch.step, slots)
        disturbed = self._disturbed(photos, [(self.run.seed, 3, batch.step, slot) for slot in slots])
        parts, begin = [], 0
        for x in photos.chunk(self.run.accumulate):
            these = slice(begin, begin + len(x))
            begin += len(x)
            known = [{k: v[these] for k, v in content.items()}] if content else None
            again = disturbed and disturbed.part(these)
            parts.append(Part(len(x), x, [m[these] for m in noises], known, again))
        return parts

    def _disturbed(self, photos: Tensor, keys: Sequence[tuple[int, ...]]) -> stability.Disturbed | None:
        return stability.disturb(photos, keys) if self.run.temporal else None

    def _losses(self, y: Tensor, part: Part) -> dict[str, Tensor]:
        losses = self._still_losses(y, part)
        if part.disturbed is not None:
            again = self._again(dataclasses.replace(part, x=part.disturbed.photos))
            change = stability_loss(y, again, part.disturbed.shifts, stability.BORDER)
            losses["temporal"] = self.run.temporal * change.mean()
        return losses

    def _again(self, part: Part) -> Tensor:
        """What the network makes of other photos, in float32."""
        if self.network.training:
            return self._draw(self.module, part).float()
        with self.fabric.autocast():  # not the wrapped module, which may wait there for the other processes
            return self._draw(self.network, part).float()

    def _still_losses(self, y: Tensor, part: Part) -> dict[str, Tensor]:
        """Those of each picture by itself."""
        assert part.x is not None
        content = part.content or self.objective.content(part.x)
        if not self.run.texture_photos or not self.network.training:
            # The held-out photos differ, so do their pictures.
            return self.objective(y, content, diverse=self.network.training, photos=part.x)  # type: ignore[no-any-return]
        # "...both texture and content losses on a fixed set of 16 images and only content loss on the big number
        # of images" (README of branch texture_nets_v1).
        half = part.count // 2
        losses: dict[str, Tensor] = self.objective(
            y[:half], [{k: v[:half] for k, v in c.items()} for c in content], photos=part.x[:half]
        )
        others = self.objective(
            y[half:],
            [{k: v[half:] for k, v in c.items()} for c in content],
            texture=False,
            photos=part.x[half:],
        )
        for name, value in others.items():
            losses[name] = (losses[name] + value) / 2
        return losses

    def validation_parts(self) -> list[Part]:
        parts, begin = [], 0
        for crops in torch.split(self.val, self.run.batch_size // self.run.accumulate):
            if not len(crops):
                continue
            x = crops.to(self.device)
            places = range(begin, begin + len(x))
            begin += len(x)
            disturbed = self._disturbed(x, [(self.run.seed, 4, place) for place in places])
            parts.append(Part(len(x), x, self._held_noise(places), disturbed=disturbed))
        return parts

    def _shown(self, batch: data.Batch, y: Tensor) -> Tensor:
        return torch.stack([batch.photos[:4].expand_as(y), y])
