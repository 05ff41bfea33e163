"""Model files of texturenets itself, of format 1: their header held no graph."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open

from texturenets import readers
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import from_dict, network_files

FORMAT = 1


def matches(path: Path) -> bool:
    """Whether `path` is a model file of format 1."""
    if not path.is_file() or readers.recognise(path) != "safetensors":
        return False
    try:
        return bool(json.loads(readers.metadata(path).get("texturenets", "null"))["format"] == FORMAT)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def read(path: Path, custom: str | None) -> tuple[torch.nn.Module, Header, bool]:
    """The network with its weights, the header, and whether the weights are in half precision.

    `custom`: as for `networks.build`, for the code of a user's network, which is run. Raises UserError for a
    damaged header, weights that do not fit the network, and as `networks.build`.
    """
    with safe_open(path, "pt") as file:
        data = modelfile.parse_header(path, file.metadata()["texturenets"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    known = {"name", "kind", "training", "licence", "terms", "source", "thumbnail", "version"}
    try:
        spec = from_dict(data["generator"])
        header = Header(generator=spec, **{key: value for key, value in data.items() if key in known})
        modelfile.check_types(header)
    except (ValueError, KeyError, TypeError, AttributeError, UserError) as error:
        raise UserError(f"{path}: damaged model header ({error})") from None
    half = any(value.dtype == torch.float16 for value in state.values())
    return network_files.build_with_weights(path, spec, state, custom), header, half
