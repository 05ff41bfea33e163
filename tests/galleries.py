"""A tiny model of two styles, one of them at two strengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from texturenets.modelfiles import modelfile
from texturenets.networks import build, make_spec, network_files
from texturenets.networks.conditional import ConditionalNetwork

TINY = ("channels=8", "blocks=1", "noise_depth=2")
ROWS: list[dict[str, Any]] = [{"style": "wave"}, {"style": "wave", "strength": 0.5}, {"style": "udnie"}]


def gallery(path: Path, *settings: str) -> tuple[ConditionalNetwork, Path]:
    """A tiny network of three conditions with weights of its own in each row, and its model file."""
    torch.manual_seed(0)
    spec = make_spec("residual", (*TINY, *settings))
    network = ConditionalNetwork(build(spec), 3).eval()
    with torch.no_grad():
        for name in network.rows:
            network.network.get_parameter(name).normal_(1.0 if name.endswith("weight") else 0.0, 0.5)
    header = modelfile.Header(name="tiny", kind="style", generator=spec, conditions=ROWS)
    network_files.save(network, header, path / "tiny.safetensors", "float32")
    return network, path / "tiny.safetensors"
