"""The variant of a model's graph that is run: unchanged, for a mixture of its styles, for images that wrap around."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from texturenets.graph import Graph
from texturenets.graph.wrapping import Wrap, wrapped
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Mixture


class Variant(NamedTuple):
    """`mixture`: for a model with several styles; by default the first condition. `wrap`: the axes along which images
    wrap around."""

    mixture: Mixture | None = None
    wrap: Wrap = ""

    def read(self, path: Path, *, weights: bool = True) -> Graph:
        """The graph of the model file at `path`. Raises UserError as `modelfile.read_graph`, and for a network that
        cannot wrap around."""
        graph = modelfile.read_graph(path, weights=weights, mixture=self.mixture)
        return wrapped(graph, self.wrap) if self.wrap else graph


AS_IT_IS = Variant()
