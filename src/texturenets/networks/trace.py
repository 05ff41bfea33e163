"""Traces a network to a graph by running its `forward` symbolically.

`torch.fx` runs the network on proxies that record every step, and every step becomes a line of `texturenets.graph`. A
new generator of known layers needs no change here; `trace_layers` translates modules, `trace_calls` functions and
methods.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, fx, nn

from texturenets.engines import primitives
from texturenets.engines.executor import GraphNetwork
from texturenets.engines.network import declared, is_fixed
from texturenets.errors import UserError
from texturenets.graph import ConversionError, Graph, parse_node
from texturenets.graph.grammar import MAX_MARGIN, text_of
from texturenets.graph.shapes import FULL_SIZE
from texturenets.modelfiles.modelfile import GRAPH_WEIGHT_PREFIX
from texturenets.networks import layers, trace_layers
from texturenets.networks.fully_connected import as_vectors
from texturenets.networks.trace_calls import Calls, is_in_place
from texturenets.networks.trace_values import TracedMap
from texturenets.noise import NoiseInput

# Modules and functions that are one step of the trace; their inner operations are not traced.
_FORWARDS = {kind.forward for kind in (primitives.InstanceNorm, layers.OutputScale, GraphNetwork)}
_FUNCTIONS = (
    primitives.pad,
    primitives.max_pool,
    primitives.max_unpool,
    primitives.channels_last,
    as_vectors,
)


class _Proxy(fx.Proxy):
    """Proxy of a feature map; records `y += x` as an in-place step, which plain torch.fx turns into `y = y + x`."""

    def _in_place(self, function: Callable[..., Any], other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    def __iadd__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.iadd, other)

    def __isub__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.isub, other)

    def __imul__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.imul, other)

    def __itruediv__(self, other: Any) -> fx.Proxy:
        return self._in_place(operator.itruediv, other)


class Tracer(fx.Tracer):
    """Records a network; its inputs are called "photo", if it has that input, and "noise0", "noise1", ..."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=_FUNCTIONS)
        # Else `pad` in a function of `layers` is one step only once a module of `layers` has been called.
        self._autowrap_search.append(layers)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The proxy of the feature map of `node`."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether `m` is one operation: not a layer whose `forward` is the user's own."""
        forward = type(m).forward
        known = forward.__module__.startswith(("torch.nn.", "torch.ao.nn."))
        return forward in _FORWARDS or (known and not isinstance(m, nn.Sequential))

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """The inputs by their names, as the network's `photo` and `noise` say."""
        takes_photo, count = getattr(self.root, "photo", True), len(getattr(self.root, "noise", ()))
        photo = self.create_proxy("placeholder", "photo", (), {}) if takes_photo else None
        noises = [self.create_proxy("placeholder", f"noise{i}", (), {}) for i in range(count)]
        return root_fn, [self.root, photo, *([noises] if noises else [])]


def trace(network: nn.Module) -> Graph:
    """The graph of `network` in evaluation mode, its weights named as in the network's `state_dict`. Raises
    ConversionError, which names the operation, if it cannot be converted.
    """
    with evaluating(network):
        recorder = _GraphRecorder(network)
        if isinstance(network, GraphNetwork):
            recorder.graph_module(network)
        else:
            for step in _steps(network):
                recorder.take(step)
    return recorder.graph


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """In the block, `network` is in evaluation mode. Afterwards its state is restored: fx attaches tensors created by
    the code to the network."""
    modes = {module: module.training for module in network.modules()}
    before = set(vars(network))
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for name in set(vars(network)) - before:
            delattr(network, name)


def _steps(network: nn.Module) -> list[fx.Node]:
    """The inputs, and the steps that lead to the image."""
    tracer = Tracer()
    try:
        steps = list(tracer.trace(network).nodes)
    except Exception as error:  # the network's code runs here, on proxies instead of tensors
        reason = " ".join(str(error).split())[:200]
        place = _place_in(network, tracer.module_stack)
        raise refusal(network, f"its code at {place} cannot be read step by step: {reason}") from error
    needed: set[fx.Node] = set()
    for step in reversed(steps):
        if step.op in ("placeholder", "output") or step in needed or is_in_place(step, network):
            needed.update((step, *step.all_input_nodes))
    return [step for step in steps if step in needed]


def _place_in(network: nn.Module, stack: Mapping[str, Any] | None) -> str:
    """The innermost module being called, by its name in `network`: "body.2 (Block)"."""
    if not stack:
        return type(network).__name__
    name, kind = list(stack.values())[-1]
    return f"{name} ({kind.__name__})"


def refusal(network: nn.Module, reason: str) -> ConversionError:
    """The error for a network that cannot be converted to a graph."""
    return ConversionError(f"the network {type(network).__name__} cannot be taken into a graph", reason)


class _GraphRecorder:
    """Turns the steps of a trace into nodes."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        stride, margin = declared(network, "stride", 1), declared(network, "margin", 0)
        if not 0 <= margin <= MAX_MARGIN:
            raise refusal(network, f"its margin of {margin} pixels is not between 0 and {MAX_MARGIN}")
        self.graph = Graph(margin=margin, multiple=stride, fixed_size=is_fixed(network))
        state = network.state_dict(keep_vars=True)
        self._names = {id(value): name for name, value in state.items()}
        self._places = {_place(value): name for name, value in state.items()}
        self._extra: dict[tuple[Any, ...], str] = {}
        self._kept: list[Tensor] = []  # keeps tensors that are named by their address alive
        self.calls = Calls(self)
        self._known: dict[fx.Node, Any] = {}  # for every step the number of its node, or another value

    def add(
        self,
        operation: str,
        *sources: int,
        weights: Mapping[str, Tensor | None] | None = None,
        **settings: Any,
    ) -> TracedMap:
        """Append a node; returns its number. Raises UserError if its settings or inputs are not those of the
        operation."""
        named = {role: value for role, value in (weights or {}).items() if value is not None}
        names = {role: self._name(value) for role, value in named.items()}
        return TracedMap(self.graph.add(operation, sources, names, **settings))

    def channels(self, x: TracedMap) -> int:
        """The number of channels of a feature map."""
        return self.graph.nodes[x].channels

    def has_fixed_size(self, x: TracedMap) -> bool:
        """Whether a feature map has one pixel, whatever the size of the image."""
        node, side = self.graph.nodes[x], self.graph.multiple if self.graph.fixed_size else 0
        return node.scale * side + node.extra_rows == 1 and node.extra_rows == node.extra_columns

    def ratio(self, large: TracedMap, small: TracedMap) -> Any:
        """The factor by which `large` is larger than `small` at every image size; None if there is none."""
        a, b = self.graph.nodes[large], self.graph.nodes[small]
        factor = a.scale / b.scale if b.scale else None
        if (
            factor is None
            or a.extra_rows != b.extra_rows * factor
            or a.extra_columns != b.extra_columns * factor
        ):
            return None
        return factor

    def _name(self, value: Tensor) -> str:
        """The name of a weight, which is added to the graph."""
        name = self._names.get(id(value)) or self._places.get(_place(value))
        if name is None:
            # not a weight of the network: a constant, or computed from several weights
            name = self._extra.setdefault(_place(value), f"{GRAPH_WEIGHT_PREFIX}{len(self._extra)}")
            self._kept.append(value)
        self.graph.weights[name] = value.detach().float().cpu().numpy()
        return name

    def graph_module(
        self, network: GraphNetwork, photo: TracedMap | None = None, noises: Sequence[TracedMap] = ()
    ) -> TracedMap:
        """Add the nodes of a `GraphNetwork`, which are already nodes; `photo` and `noises`, if given, replace its
        inputs."""
        number: list[int] = []
        given = iter(noises)
        for node, layer in zip(network.nodes, network.layers, strict=True):
            if node.operation == "photo" and photo is not None:
                number.append(photo)
            elif node.operation == "noise" and noises:
                number.append(self.add("linear", next(given), by=node.settings["scale"]))
            else:
                tensors = dict((*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)))
                weights: dict[str, Tensor | None] = {role: tensors[role] for role in node.weights}
                sources = [number[s] for s in node.sources]
                number.append(self.add(node.operation, *sources, weights=weights, **node.settings))
        return TracedMap(number[-1])

    def take(self, step: fx.Node) -> None:
        """Record one step. Raises UserError if it cannot be recorded."""
        arguments: Any = fx.node.map_arg(step.args, lambda n: self._known[n])
        options: Any = fx.node.map_arg(step.kwargs, lambda n: self._known[n])
        place = _place_in(self.network, step.meta.get("nn_module_stack"))
        try:
            made = self._known[step] = self._taken(step, arguments, options)
        except UserError as error:
            raise refusal(self.network, f"{error} at {place}") from None
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            name = getattr(step.target, "__name__", step.target)
            raise refusal(self.network, f"the step {name} with these options ({reason}) at {place}") from None
        if arguments and isinstance(arguments[0], TracedMap) and is_in_place(step, self.network):
            # All other references to that feature map now mean the changed one.
            for other, value in self._known.items():
                if isinstance(value, TracedMap) and value == arguments[0]:
                    self._known[other] = made

    def _taken(self, step: fx.Node, arguments: Any, options: Any) -> Any:  # noqa: PLR0911 (one a kind)
        match step.op:
            case "placeholder":
                return self._input(str(step.target))
            case "get_attr":
                return operator.attrgetter(str(step.target))(self.network)
            case "call_module":
                module = self.network.get_submodule(str(step.target))
                if isinstance(module, GraphNetwork):
                    return self.graph_module(module, *arguments)
                return trace_layers.take(self.calls, module, *arguments, **options)
            case "output":
                return self._output(arguments[0])
        if not _has_map((arguments, options)):  # only of weights
            function = step.target if callable(step.target) else getattr(type(arguments[0]), str(step.target))
            return function(*arguments, **options)
        return self.calls.function(step.target, arguments, options)

    def _input(self, name: str) -> TracedMap:
        if name == "photo":
            return self.add("photo")
        inputs: Any = getattr(self.network, "noise", ())
        noise: NoiseInput = inputs[int(name.removeprefix("noise"))]
        return self.add(
            "noise",
            channels=noise.channels,
            stride=noise.stride,
            distribution=noise.distribution,
            waves=noise.waves,
        )

    def _output(self, x: Any) -> None:
        """The image has to come last."""
        if not isinstance(x, TracedMap):
            raise UserError("what it gives back is not a map")
        nodes = self.graph.nodes
        if x != len(nodes) - 1:
            self.add("linear", x)
        if nodes[-1].size != FULL_SIZE:
            node = nodes[-1]
            raise UserError(f"its image has {node.scale} H {node.extra_rows:+} rows where the photo has H")
        for number, node in enumerate(nodes):  # checks that a reader of the file will make
            parse_node(text_of(node), nodes[:number])


def _has_map(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_map, value))
    if isinstance(value, dict):
        return any(map(_has_map, value.values()))
    return isinstance(value, TracedMap) or hasattr(value, "of_map")


def _place(value: Tensor) -> tuple[Any, ...]:
    """The address of a tensor in memory; views of the whole tensor in the same order have the same address."""
    return value.data_ptr(), value.numel(), None if value.is_contiguous() else value.stride()
