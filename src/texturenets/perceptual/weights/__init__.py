"""Pretrained weights of the descriptor networks: find, fetch, verify and read them.

`load` searches the given files, then in the folders of TEXTURENETS_WEIGHTS, then in the cache (TEXTURENETS_CACHE,
else XDG_CACHE_HOME or ~/.cache), and else fetches the published file, unless downloads are forbidden
(TEXTURENETS_OFFLINE=1). The weights of `own` are part of the package; others that are given, or in such a folder,
come first.
"""

from typing import Final

from texturenets.fetch import Progress
from texturenets.perceptual.weights.finding import (
    Pretrained,
    check_at_hand,
    load,
    network_of,
    read,
    require,
    shipped,
)
from texturenets.perceptual.weights.recognition import fingerprint
from texturenets.perceptual.weights.registry import CONVENTIONS, SOURCES, Convention, WeightsSource
from texturenets.readers import LAYERS

NETWORKS: Final = tuple(LAYERS)

__all__ = [
    "CONVENTIONS",
    "NETWORKS",
    "SOURCES",
    "Convention",
    "Pretrained",
    "Progress",
    "WeightsSource",
    "check_at_hand",
    "fingerprint",
    "load",
    "network_of",
    "read",
    "require",
    "shipped",
]
