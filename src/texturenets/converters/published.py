"""The result of a converter: the published network as a graph, and its origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from texturenets.converters.builder import GraphBuilder
from texturenets.converters.colors import RGB, ColorEncoding


@dataclass(frozen=True)
class Origin:
    """The program that wrote a network's file, or only the format if any program may have written it.

    `licence`: licence of the networks that the program's authors published; "" if they published none. `tested`:
    whether a file that they published has been run (docs/convert.md); else its layout is known only from the program.
    """

    title: str
    licence: str
    tested: bool


TEXTURE_NETS_V1: Final = Origin("texture_nets, first version", "Apache-2.0", tested=True)
TEXTURE_NETS: Final = Origin("texture_nets", "Apache-2.0", tested=False)
FAST_NEURAL_STYLE: Final = Origin(
    "jcjohnson/fast-neural-style", "free for personal or research use", tested=False
)
PYTORCH_EXAMPLES: Final = Origin("pytorch/examples, fast_neural_style", "BSD-3-Clause", tested=True)
LENGSTROM_RAW: Final = Origin(
    "lengstrom/fast-style-transfer, raw variables", "free for research use, with attribution", tested=True
)
LENGSTROM: Final = Origin(
    "lengstrom/fast-style-transfer, checkpoint", "free for research use, with attribution", tested=False
)
ONNX: Final = Origin("ONNX", "", tested=True)


@dataclass
class Published:
    """`builder` holds the network as published, with input in `colors_in` and output in `colors_out`. `notes`:
    messages for the user. `licence`, `author`: as stated in the file, if at all.
    """

    origin: Origin
    builder: GraphBuilder
    colors_in: ColorEncoding = RGB
    colors_out: ColorEncoding = RGB
    notes: list[str] = field(default_factory=list)
    licence: str = ""
    author: str = ""
