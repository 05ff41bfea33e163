"""What a converter hands back: the published network as a graph, not yet in our colours."""

from __future__ import annotations

from dataclasses import dataclass, field

from texturenets.convert.builder import Builder, Colours


@dataclass
class Published:
    """`builder` holds the network as it was published; its last map becomes RGB in [0, 1] by `colours`.

    `family` is the program that wrote the file, `notes` what a user may want to know.
    """

    family: str
    builder: Builder
    colours: Colours
    notes: list[str] = field(default_factory=list)
