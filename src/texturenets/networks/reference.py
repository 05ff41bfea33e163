"""The networks of the reference program, texture_nets, as specs of this package."""

from __future__ import annotations

from texturenets.networks.encoder_decoder import Skip, SkipNoise, SkipUnpool
from texturenets.networks.johnson import Johnson
from texturenets.networks.pyramid import Pyramid, Pyramid2
from texturenets.networks.spec import GeneratorSpec

REFERENCE: dict[str, GeneratorSpec] = {
    "master/johnson": Johnson(),
    "master/pyramid": Pyramid(),
    "master/skip_unpool": SkipUnpool(),
    "diversity/johnson": Johnson(upsampling="full4"),
    "diversity/johnson_bilinear": Johnson(upsampling="bilinear"),
    "diversity/johnson_in_start": Johnson(input_norm=True, down_padding="zero"),
    "diversity/johnson_small": Johnson(size="small", upsampling="bilinear", down_padding="zero"),
    "diversity/johnson_small_down": Johnson(size="small_down", upsampling="bilinear"),
    "diversity/pyramid": Pyramid(),
    "diversity/skip_unpool": SkipUnpool(),
    "texture_nets_v1/pyramid": Pyramid(
        padding="circular", normalization="batch", activation="leaky_relu", photo=False, noise_depth=3
    ),
    "texture_nets_v1/pyramid2": Pyramid2(normalization="batch"),
    "texture_nets_v1/skip": Skip(normalization="batch"),
    "texture_nets_v1/skip_noise": SkipNoise(normalization="batch"),
}
"""The reference program's model files, "branch/file", as our specs; those of texture_nets_v1 as for textures."""
