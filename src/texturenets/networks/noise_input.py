"""Base class of generators with noise inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from texturenets import noise
from texturenets.engines.network import check_photos
from texturenets.noise import NoiseInput


class NoiseFed(nn.Module):
    """A network with noise inputs. `noise`: its noise maps. `photo`: whether a photo is an input. `stride`: height
    and width must be multiples of it. `margin`: pixels by which photos must be reflection-padded on each side, and
    the image cropped, against border artifacts. Noise is an input like any other, so that it is the same in every
    tile, batch and engine (`texturenets.noise.draw` makes it).
    """

    noise: tuple[NoiseInput, ...] = ()
    photo: bool = True
    stride: int = 1
    margin: int = 0

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(channels, height, width) of every noise map for an image of that size."""
        return noise.shapes(self.noise, height, width)

    def noise_maps(self, x: Tensor | None, noises: Sequence[Tensor] | None) -> Sequence[Tensor]:
        """The noise maps to use: `noises`, else those of seed 0 at the size of the photo `x`.

        Raises ValueError if what the network needs is missing, and as `check_photos`.
        """
        check_photos(x, wanted=self.photo)
        if noises is not None:
            if len(noises) != len(self.noise):
                raise ValueError(f"{len(noises)} noise maps for a network that takes {len(self.noise)}")
            return noises
        if not self.noise:
            return []
        if x is None:
            raise ValueError("without a photo the noises have to be given: their size is the image's")
        drawn = noise.draw(self.noise, [0], x.shape[2], x.shape[3], device=x.device)
        return [one.to(x.dtype).expand(x.shape[0], -1, -1, -1) for one in drawn]


def concat_channels(x: Tensor | None, more: Tensor | None) -> Tensor:
    """Photo and noise (N, C, H, W) concatenated, or the only one of them."""
    both = [part for part in (x, more) if part is not None]
    return both[0] if len(both) == 1 else torch.cat(both, 1)
