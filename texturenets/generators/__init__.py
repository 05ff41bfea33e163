"""Networks that draw. One table, name -> class; each class takes its spec."""

from __future__ import annotations

from typing import Any

from torch import nn

from texturenets.errors import unknown
from texturenets.generators.residual import ResidualGenerator
from texturenets.specs import GeneratorSpec

GENERATORS: dict[str, Any] = {
    "residual": ResidualGenerator,
}


def build(spec: GeneratorSpec) -> nn.Module:
    """The network that `spec` describes, freshly initialised from torch's random state.

    Every generator takes RGB pictures (N, 3, H, W) in [0, 1] and gives the same; its attribute `stride`
    is what height and width must be multiples of. Raises UserError for an unknown name.
    """
    if spec.name not in GENERATORS:
        raise unknown("generator", spec.name, GENERATORS)
    network: nn.Module = GENERATORS[spec.name](spec)
    return network
