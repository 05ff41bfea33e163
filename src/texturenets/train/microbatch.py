"""The inputs of one forward pass: a batch, or a microbatch of it (gradient accumulation)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from texturenets.train.temporal_consistency import Moved


@dataclass
class Microbatch:
    """Inputs of the network, on the device.

    `count`: N. `photos` (N, 3, H, W), RGB in [0, 1], None for textures; `noise`: maps (N, C, h, w), empty without
    noise inputs. `content`: features of the photos by layer for each scale of the loss pyramid, if a cache has them.
    `moved`: a microbatch of shifted photos, for the temporal consistency loss. `condition`: index of the condition
    (style, strength, stroke size) that is trained; None for a network with one style. `slot`: the place of its first
    image in the batch.
    """

    count: int
    photos: Tensor | None
    noise: list[Tensor]
    content: list[dict[str, Tensor]] | None = None
    moved: Moved | None = None
    condition: int | None = None
    slot: int = 0

    def tensors(self) -> Iterator[Tensor]:
        """All but the moved photos, in a fixed order."""
        if self.photos is not None:
            yield self.photos
        yield from self.noise
        for maps in self.content or []:
            yield from maps.values()

    def clone(self) -> Microbatch:
        """A copy with its own tensors in the same memory format, without `moved` and `condition`."""
        content = [{k: v.clone() for k, v in maps.items()} for maps in self.content or []] or None
        photos = None if self.photos is None else self.photos.clone()
        return Microbatch(self.count, photos, [m.clone() for m in self.noise], content)

    def first(self) -> Microbatch:
        """The inputs of its first image."""
        photos = None if self.photos is None else self.photos[:1]
        return Microbatch(1, photos, [m[:1] for m in self.noise], condition=self.condition)


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """x (N, C, H, W) on `device`, channels_last, as the network's outputs: another memory format changes the order of
    summation and so the last bits."""
    return x.to(device, non_blocking=True, memory_format=torch.channels_last)
