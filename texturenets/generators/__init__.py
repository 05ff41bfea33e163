"""Networks that draw. One table, name -> class; each class takes its spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from texturenets.errors import UserError, unknown
from texturenets.generators.arithmetic import flops
from texturenets.generators.custom import build_custom
from texturenets.generators.encoder_decoder import SkipGenerator, SkipUnpoolGenerator
from texturenets.generators.fully_connected import FullyConnectedGenerator
from texturenets.generators.graph import GraphGenerator
from texturenets.generators.johnson import JohnsonGenerator
from texturenets.generators.multiscale import MultiscaleGenerator
from texturenets.generators.pyramid import Pyramid2Generator, PyramidGenerator
from texturenets.generators.residual import ResidualGenerator
from texturenets.specs import Custom, GeneratorSpec

__all__ = ["GENERATORS", "build", "flops"]

GENERATORS: dict[str, Any] = {
    "residual": ResidualGenerator,
    "johnson": JohnsonGenerator,
    "pyramid": PyramidGenerator,
    "pyramid2": Pyramid2Generator,
    "skip": SkipGenerator,
    "skip_noise": SkipGenerator,
    "skip_unpool": SkipUnpoolGenerator,
    "multiscale": MultiscaleGenerator,
    "fully_connected": FullyConnectedGenerator,
    "graph": GraphGenerator,
}


def build(spec: GeneratorSpec, *, custom: Callable[..., Any] | str | None = None) -> nn.Module:
    """The network that `spec` describes, freshly initialised from torch's random state.

    Every generator takes RGB pictures (N, 3, H, W) in [0, 1] and gives the same; its attribute `stride`
    is what height and width must be multiples of, `margin` by how many pixels photos are to be mirrored on
    each side and the picture cut back. Those that take noise (`NoiseFed`, and `graph`) say in
    `noise` which maps, for the second argument, and in `photo` whether they take a photo at all. `custom` is
    for a spec of the user's own code: the user's consent to run it, as "PATH.py:NAME", "PATH.py", an entry
    point's name, or the class or function itself. Without it only an installed entry point is run. Raises
    UserError for an unknown name and for code that is not to be run or fails.
    """
    if isinstance(spec, Custom):
        return build_custom(spec, custom)
    if custom is not None:
        raise UserError(
            f"this model's generator is {spec.name}, which needs no code of your own: leave --generator out"
        )
    if spec.name not in GENERATORS:
        raise unknown("generator", spec.name, GENERATORS)
    network: nn.Module = GENERATORS[spec.name](spec)
    return network
