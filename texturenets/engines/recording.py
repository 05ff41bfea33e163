"""Networks as the operations that they consist of, by `torch.fx`, with the layers of `texturenets.layers` whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from texturenets import layers
from texturenets.engines.facts import ConversionError, Facts
from texturenets.engines.torch_engine import facts_of
from texturenets.generators import fully_connected
from texturenets.generators import graph as graph_generator
from texturenets.generators.tracing import Tracer

_WHOLE_FUNCTIONS = (
    layers.pad,
    layers.channels_last,
    layers.max_pool,
    layers.max_unpool,
    graph_generator.crop,
    fully_connected.as_vectors,
)
_WHOLE_MODULES = (
    layers.InstanceNorm,
    layers.OutputScale,
    graph_generator.Affine,
    graph_generator.Pad,
    graph_generator.Deconv,
)


def record(network: nn.Module) -> fx.GraphModule:
    """The operations of `network`, in their order. Raises UserError where they depend on the numbers."""
    try:
        recorded = fx.GraphModule(network, Tracer(_WHOLE_FUNCTIONS, _WHOLE_MODULES).trace(network))
        recorded.graph.eliminate_dead_code()
        recorded.recompile()
        return recorded
    except Exception as error:  # the network's own code runs here, on what are no tensors
        reason = " ".join(str(error).split())[:200]
        raise ConversionError(
            f"the network {type(network).__name__} cannot be written down as a graph: {reason}; use --engine torch"
        ) from error


def facts(network: nn.Module) -> Facts:
    """What the converted `network` takes, with the smallest side for which no map is mirrored twice."""
    plain = facts_of(network)
    recorded = record(network)
    side = plain.stride
    while side <= 4096:
        recorder = _Pads(recorded)
        try:
            recorder.run(*(torch.zeros(shape) for shape in shapes(plain, side)))
        except (RuntimeError, ValueError):  # a map became smaller than a window
            pass
        else:
            if recorder.fits:
                break
        side += plain.stride
    return replace(plain, least=side)


class _Pads(fx.Interpreter):
    """Runs the network and finds out whether every reflected or repeated map is larger than its border."""

    fits = True

    def _check(self, x: Tensor, amount: int, mode: str) -> None:
        if min(x.shape[2:]) < amount + (mode == "reflect") and mode in ("reflect", "circular"):
            self.fits = False

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """As it is, noting paddings."""
        if target is layers.pad:
            self._check(*args, **kwargs)
        return super().call_function(target, args, kwargs)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """As it is, noting paddings."""
        module = self.fetch_attr(target)
        if isinstance(module, graph_generator.Pad):
            self._check(args[0], max(module.sides), module.mode)
        if isinstance(module, nn.Conv2d):
            self._check(args[0], max(module._reversed_padding_repeated_twice), module.padding_mode)
        return super().call_module(target, args, kwargs)


def shapes(known: Facts, side: int) -> list[tuple[int, int, int, int]]:
    """Of a network's inputs for one picture of `side` x `side` pixels."""
    photo = [(1, known.channels, side, side)] if known.channels else []
    return photo + [(1, n.channels, side // n.stride, side // n.stride) for n in known.noise]
