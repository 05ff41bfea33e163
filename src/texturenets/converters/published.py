"""What a converter hands back: the published network as a graph, and what is known of where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from texturenets.converters.builder import GraphBuilder
from texturenets.converters.colors import RGB, ChannelOrder


@dataclass(frozen=True)
class Family:
    """A program that published networks. `terms`: those under which it published its own, as it says.

    `tried`: whether a file of this family, published by somebody else, has been run (docs/convert.md); else
    its layout is known from the program alone.
    """

    title: str
    terms: str
    tried: bool


TEXTURE_NETS_V1: Final = Family("texture_nets, first version", "Apache-2.0", tried=True)
TEXTURE_NETS: Final = Family("texture_nets", "Apache-2.0", tried=False)
FAST_NEURAL_STYLE: Final = Family(
    "jcjohnson/fast-neural-style", "free for personal or research use", tried=False
)
PYTORCH_EXAMPLES: Final = Family("pytorch/examples, fast_neural_style", "BSD-3-Clause", tried=True)
ABHISKK: Final = Family("abhiskk/fast-neural-style", "MIT", tried=False)
LENGSTROM_RAW: Final = Family(
    "lengstrom/fast-style-transfer, raw variables", "free for research use, with attribution", tried=True
)
LENGSTROM: Final = Family(
    "lengstrom/fast-style-transfer, checkpoint", "free for research use, with attribution", tried=False
)
ONNX: Final = Family("ONNX", "", tried=True)


@dataclass
class Published:
    """`builder` holds the network as it was published: fed with channels that are `before`, giving `after`.

    `notes`: what a user may want to know. `licence`, `author`: what the file itself says, if anything.
    """

    family: Family
    builder: GraphBuilder
    before: ChannelOrder = RGB
    after: ChannelOrder = RGB
    notes: list[str] = field(default_factory=list)
    licence: str = ""
    author: str = ""
