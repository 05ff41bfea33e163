"""Saves networks (`nn.Module`) to model files, and loads them from there, for training."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from texturenets.arguments import check_plain
from texturenets.engines.executor import GraphNetwork
from texturenets.errors import DISK_FULL, DamagedError, UserError, shortened
from texturenets.files import atomic_write
from texturenets.graph import ConversionError, Graph
from texturenets.modelfiles.modelfile import (
    CUSTOM,
    FORMAT,
    GRAPH_WEIGHT_PREFIX,
    Header,
    base_of,
    check_types,
    damaged,
    read_graph,
    read_header,
)
from texturenets.networks import GeneratorSpec, build, from_dict
from texturenets.networks.conditional import ConditionalNetwork, with_first_condition
from texturenets.networks.custom import Custom
from texturenets.networks.trace import trace
from texturenets.networks.trace_code import trace_code


def spec_of(header: Header) -> GeneratorSpec:
    """The spec from which a model's network was built. Raises UserError for a generator unknown to this version."""
    return from_dict(header.generator)


def save_whole(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file atomically. Raises UserError with the reason."""
    written: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, value in tensors.items():
        tensor = value.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        # A shared layer has two names for one tensor, which safetensors does not allow: copy it.
        written[name] = tensor.clone() if place in places else tensor
        places.add(place)
    with atomic_write(path) as temporary:
        try:
            save_file(written, temporary, dict(metadata))
        except SafetensorError as error:  # also raised for OS errors
            found = re.search(r"\(os error (\d+)\)", str(error))
            if found and int(found[1]) in DISK_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise UserError(f"cannot write {path}: {error}") from None


def check_finite(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise UserError if a weight of the file `path` is not finite in its precision."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            half = "half" if tensor.dtype == torch.float16 else "single"
            raise UserError(
                f"{path}: weight {name} is not finite in {half} precision: train again with a lower `learning_rate`"
            )


def save(
    network: nn.Module, header: Header, path: str | Path, precision: Literal["float16", "float32"] = "float16"
) -> None:
    """Write `network` with `header` to `path`, its weights in `precision`, atomically.

    For a `ConditionalNetwork`, writes the wrapped network; the header's `conditions` describe its rows. If the header
    names a `base`, writes only the rows.

    A user's network that cannot be traced is written without a graph, with the reason, and needs its code to run.
    Raises UserError if the file cannot be written, a weight is not finite in that precision, or `read_header` would
    refuse the header.
    """
    try:
        check_types(header)
        check_plain(dataclasses.asdict(header))
    except ValueError as error:
        raise UserError(f"{path}: the header would not be readable when loaded: {error}") from None
    dtype: torch.dtype = getattr(torch, precision)
    row_names = None
    traced = network
    if isinstance(network, ConditionalNetwork):
        row_names = set(network.rows) if header.base else None
        traced, network = with_first_condition(network.network), network.network
    graph, reason = (None, None) if row_names else _traced(traced, header)
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        if row_names is not None and name not in row_names:
            continue  # the base has it
        stored = value.to(dtype) if value.is_floating_point() else value
        tensors[name] = stored
    check_finite(tensors, path)
    data = {**dataclasses.asdict(header), "format": FORMAT, "graph": None, "no_graph": reason}
    if graph is not None:
        graph.check()
        tensors |= {k: torch.tensor(v) for k, v in graph.weights.items() if k.startswith(GRAPH_WEIGHT_PREFIX)}
        data["graph"] = graph.to_dict()
    save_whole(tensors, Path(path), {"texturenets": json.dumps(data)})


def _traced(network: nn.Module, header: Header) -> tuple[Graph | None, str | None]:
    """The graph of `network`; None and the reason if it is a user's code that cannot be traced."""
    try:
        return trace_code(network) if header.custom else trace(network), None
    except ConversionError as error:
        if not header.custom:
            raise
        return None, error.reason


def load(path: str | Path, custom: Callable[..., Any] | str | None = None) -> tuple[nn.Module, Header]:
    """Network (float32, evaluation mode, CPU) and header of the model file at `path`.

    `custom`: the code of a user's network; passing it is consent to run it (accepted forms: see `build`). Without it
    the network runs from its graph. Raises UserError as `read_header` does, if code is needed and none is passed, and
    if weights do not fit.
    """
    header = read_header(path)
    if header.custom and custom is None:
        with suppress(ConversionError):
            return GraphNetwork(read_graph(path)).eval().requires_grad_(False), header
    try:
        spec = spec_of(header)
    except UserError as error:
        raise damaged(path, error) from None
    state: dict[str, Tensor] = {}
    base = base_of(path)
    for one in [base, Path(path)] if base else [Path(path)]:
        with safe_open(one, "pt") as file:
            keys = [k for k in file.keys() if not k.startswith(GRAPH_WEIGHT_PREFIX)]  # noqa: SIM118 (not a mapping)
            state |= {k: file.get_tensor(k) for k in keys}
    network = build_with_weights(path, spec, state, custom, len(header.rows))
    return network.requires_grad_(False), header


def build_with_weights(
    path: str | Path,
    spec: GeneratorSpec,
    state: Mapping[str, Tensor],
    custom: Callable[..., Any] | str | None,
    count: int = 0,
) -> nn.Module:
    """The network of `spec` with the weights `state` of the file at `path`: float32, evaluation mode.

    `custom`: as in `build`. `count`: number of conditions; 0 for a network of one style.

    Raises UserError for weights that do not fit or are not finite.
    """
    if spec.name != CUSTOM:
        _check_shapes(path, spec, _shapes(state), count)
    network = build(spec, custom=custom)
    made = ConditionalNetwork(network, count) if count else network
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise DamagedError(f"{path}: its weight {name} is not finite: the file is damaged")
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = _difference(_shapes(network.state_dict()), _shapes(state)) or str(error)
        if isinstance(spec, Custom):
            named = spec.target if custom is None else getattr(custom, "__name__", custom)
            raise UserError(
                f"{path} was made with {spec.target}, and its weights do not fit {named}: {_short(reason)}. "
                "Give the code that it was made with"
            ) from None
        raise _misfit(path, spec, reason) from None
    return made.eval()


def _check_shapes(
    path: str | Path, generator: GeneratorSpec, shapes: Mapping[str, tuple[int, ...]], count: int
) -> None:
    """Raise DamagedError unless the weights of `generator` have the shapes `shapes`.

    Uses the meta device, which allocates nothing: a damaged header may describe a network larger than memory.
    """
    with torch.device("meta"):
        network = build(generator)
        if count:
            ConditionalNetwork(network, count)
        wanted = _shapes(network.state_dict())
    if reason := _difference(wanted, shapes):
        raise _misfit(path, generator, reason)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _difference(wanted: Mapping[str, tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The first weight whose shape in the file (`shapes`) differs from that in the network; "" if all agree."""
    for name in [*wanted, *shapes]:
        if wanted.get(name) != shapes.get(name):
            in_file = f"{shapes[name]} in the file" if name in shapes else "absent from the file"
            in_network = f"{wanted[name]} in the network" if name in wanted else "absent from the network"
            return f"{name} is {in_file} and {in_network}"
    return ""


def _misfit(path: str | Path, generator: GeneratorSpec, reason: str) -> DamagedError:
    return DamagedError(f"{path}: its weights do not fit its {generator.name} network: {_short(reason)}")


def _short(reason: str) -> str:
    return shortened(" ".join(reason.split()), 200)
