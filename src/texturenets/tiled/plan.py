"""Plans which nodes each pass over a large image computes, and which feature maps stay on disk. No torch.

A normalization needs the statistics of its whole source before it can compute its first row. So there are several
passes over the image, and every pass ends at the feature maps whose statistics the next one needs. For instance:

    pass 0    photo -> conv1                            conv1's statistics are gathered, and it is written to disk
    pass 1    conv1 (read) -> norm1 -> relu -> conv2    conv2's likewise
    pass 2    conv2 (read) -> norm2 -> relu -> conv3    the image

A pass goes from strip to strip. A feature map that is cheap to compute is not written; the next pass computes it
again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from texturenets.graph import Node
from texturenets.tiled.rows import ELEMENTWISE, Interval, Size, map_size, merge, wanted

INPUTS: Final = ("photo", "noise", "input")
NEED_STATISTICS: Final = ("norm", "global_pool")
"""Operations that need statistics of a whole feature map."""
REARRANGING: Final = ("crop", "pad", "shuffle", "unshuffle")
"""Operations that only rearrange elements."""

MIN_MULTIPLICATIONS: Final = 400
"""A convolution's feature map is kept on disk if each of its elements takes at least this many multiply-adds; cheaper
ones are computed again by the pass that needs them. An element has two bytes: at 300 MB/s it is written and read in
13 ns, in which two cores with bf16 instructions compute some 1,500 multiply-adds; while the system's cache of files
suffices, it is faster than that. So the widest feature maps of the default generator, 16 channels computed from 32
(288 multiply-adds), are computed again, and those of 64 channels are kept: `benchmarks/accept_gigapixel.py` measures
the outcome."""

_NEVER: Final = 1 << 30


@dataclass
class PlannedNetwork:
    """The nodes of a network for an image of `size` (H, W), and the data needed for planning.

    `sources[i]`: the nodes whose feature maps node i reads; for an unpooling the feature map that was pooled, instead
    of the pool. `sizes[i]`: height and width of node i's feature map. `first_use[i]`: the first pass that needs it.
    """

    nodes: Sequence[Node]
    size: Size
    sources: list[tuple[int, ...]] = field(init=False)
    sizes: list[Size] = field(init=False)
    first_use: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.sources = [
            (n.sources[0], self.nodes[n.sources[1]].sources[0]) if n.operation == "unpool" else n.sources
            for n in self.nodes
        ]
        self.sizes = [map_size(node, self.size) for node in self.nodes]
        self.first_use = self._first_uses()

    @property
    def last(self) -> int:
        """The node of the image."""
        return len(self.nodes) - 1

    @property
    def num_passes(self) -> int:
        """The number of passes."""
        return self.first_use[self.last] + 1

    def waits(self, i: int) -> bool:
        """Whether node i waits for statistics."""
        return self.nodes[i].operation in NEED_STATISTICS

    def is_given(self, i: int) -> bool:
        """Whether node i needs no rows of other feature maps: it is an input, or computed only from statistics."""
        return self.nodes[i].operation in (*INPUTS, "global_pool")

    def is_elementwise(self, i: int) -> bool:
        """Whether node i is elementwise, with one source."""
        return self.nodes[i].operation in ELEMENTWISE and len(self.sources[i]) == 1

    def _first_uses(self) -> list[int]:
        depth: list[int] = []
        for i, sources in enumerate(self.sources):
            depth.append(max((depth[s] for s in sources), default=0) + self.waits(i))
        first_use = [_NEVER] * len(self.nodes)
        first_use[self.last] = depth[self.last]
        for i in reversed(range(len(self.nodes))):
            for source in self.sources[i]:
                first_use[source] = min(first_use[source], first_use[i] - self.waits(i))
        return first_use

    def measured(self, number: int) -> set[int]:
        """The nodes whose statistics pass `number` gathers."""
        return {
            self.sources[i][0]
            for i in range(len(self.nodes))
            if self.waits(i) and self.first_use[i] < _NEVER and self.first_use[i] - 1 == number
        }

    def rows_of(self, i: int, strip: Interval) -> Interval:
        """The rows of node i's feature map that belong to `strip` of the image.

        The edges of `strip` are multiples of the stride. Strips that partition the image also partition each feature
        map.
        """
        scale, height = self.nodes[i].scale, self.sizes[i][0]
        low = min(int(strip[0] * scale), height)
        return low, height if strip[1] >= self.size[0] else min(int(strip[1] * scale), height)

    def num_elements(self, i: int) -> int:
        """How many elements node i's feature map has."""
        return self.nodes[i].channels * math.prod(self.sizes[i])


@dataclass(frozen=True)
class ImagePass:
    """One run over the image: the feature maps that it computes (`targets`), those of them whose statistics it
    gathers, those that it writes to disk, and those that it reads.

    `on_disk`: the feature maps on disk that it may read.
    """

    targets: tuple[int, ...]
    measured: tuple[int, ...]
    written: tuple[int, ...]
    read: frozenset[int]
    on_disk: frozenset[int]


@dataclass
class NodeStep:
    """A node to compute for a strip: which rows, from which rows of which sources (none where it is given or
    read)."""

    node: int
    rows: list[Interval]
    sources: list[list[list[Interval]]]  # by interval of `rows`, by source


def plan_passes(network: PlannedNetwork) -> list[ImagePass]:
    """The passes, in their order."""
    stored = frozenset(i for i in _crossing(network) if _worth(network, i))
    planned: list[ImagePass] = []
    written: set[int] = set()
    for number in range(network.num_passes):
        measured = network.measured(number)
        targets = measured | ({network.last} if number == network.num_passes - 1 else set())
        visited, read = _closure(network, targets, written)
        new = visited & stored
        computed = tuple(sorted(targets | new))
        read_and_on_disk = frozenset(read), frozenset(written)
        planned.append(ImagePass(computed, tuple(sorted(measured)), tuple(sorted(new)), *read_and_on_disk))
        written |= new
    useful = {i for image_pass in planned for i in image_pass.read}
    return [_without(image_pass, set(image_pass.written) - useful, network.last) for image_pass in planned]


def _without(image_pass: ImagePass, useless: set[int], last: int) -> ImagePass:
    """`image_pass` without writing the feature maps in `useless`, which no later pass reads."""
    targets = tuple(
        i for i in image_pass.targets if i not in useless or i in image_pass.measured or i == last
    )
    return replace(
        image_pass, targets=targets, written=tuple(i for i in image_pass.written if i not in useless)
    )


def _closure(network: PlannedNetwork, targets: Iterable[int], written: set[int]) -> tuple[set[int], set[int]]:
    """The nodes to be computed for `targets`, and those that are read from disk."""
    visited: set[int] = set()
    read: set[int] = set()
    queue = list(targets)
    while queue:
        i = queue.pop()
        if i in visited or i in read or network.is_given(i):
            continue
        if i in written:
            read.add(i)
        else:
            visited.add(i)
            queue.extend(network.sources[i])
    return visited, read


def _crossing(network: PlannedNetwork) -> Iterator[int]:
    """The feature maps that are computed in one pass and also needed in another. Of a chain of elementwise operations
    only the first: computing the rest from there is cheap.
    """
    for i in range(len(network.nodes)):
        if network.is_given(i) or network.first_use[i] >= _NEVER or network.is_elementwise(i):
            continue
        users = [u for u in range(len(network.nodes)) if i in network.sources[u]]
        if any(
            network.first_use[u] > network.first_use[i] or network.waits(u)
            for u in _users_through_elementwise(network, users)
        ):
            yield i


def _users_through_elementwise(network: PlannedNetwork, users: Sequence[int]) -> Iterator[int]:
    """`users`, and the nodes that use them through elementwise operations."""
    for user in users:
        yield user
        if network.is_elementwise(user):
            yield from _users_through_elementwise(
                network, [u for u in range(len(network.nodes)) if user in network.sources[u]]
            )


def _worth(network: PlannedNetwork, i: int) -> bool:
    """Whether reading the feature map of node i is faster than computing it again."""
    while network.nodes[i].operation in REARRANGING:
        i = network.sources[i][0]
    if network.nodes[i].operation in ("conv", "deconv"):
        return multiplications(network, i) >= MIN_MULTIPLICATIONS
    return network.nodes[i].operation in ("add", "mul")  # residual blocks go on from it: else all begin again


def multiplications(network: PlannedNetwork, i: int) -> int:
    """Multiply-adds for an element of the feature map of node i."""
    node = network.nodes[i]
    if node.operation not in ("conv", "deconv"):
        return 0
    inputs = network.nodes[node.sources[0]].channels // node.settings.get("groups", 1)
    count = inputs * math.prod(node.settings["kernel"])
    return int(count // node.settings["stride"] ** 2 if node.operation == "deconv" else count)


def plan_steps(network: PlannedNetwork, image_pass: ImagePass, strip: Interval) -> list[NodeStep]:
    """What pass `image_pass` computes, in this order, for `strip` (rows of the image)."""
    parts = {i: network.rows_of(i, strip) for i in image_pass.targets}
    requested: dict[int, list[Interval]] = {i: [rows] for i, rows in parts.items() if rows[1] > rows[0]}
    computed: list[NodeStep] = []
    for i in range(max(requested, default=-1), -1, -1):
        if i not in requested:
            continue
        rows = merge(requested[i])
        needed: list[list[list[Interval]]] = []
        if not network.is_given(i) and i not in image_pass.on_disk:
            sources = network.sources[i]
            nodes, sizes = [network.nodes[s] for s in sources], [network.sizes[s][0] for s in sources]
            needed = [wanted(network.nodes[i], interval, nodes, sizes) for interval in rows]
            for by_source in needed:
                for source, pieces in zip(sources, by_source, strict=True):
                    requested.setdefault(source, []).extend(pieces)
        computed.append(NodeStep(i, rows, needed))
    return computed[::-1]


def effort(network: PlannedNetwork, steps: Sequence[NodeStep]) -> int:
    """Multiply-adds of `steps`, and the elements that they move, counted as several multiply-adds each."""
    total = 0
    for step in steps:
        each = network.nodes[step.node].channels * network.sizes[step.node][1]
        elements = each * sum(high - low for low, high in step.rows)
        total += elements * ((multiplications(network, step.node) if step.sources else 0) + 8)
    return total


def strips(height: int, rows: int, stride: int) -> list[Interval]:
    """`height` rows in strips of at most `rows`, all but the last equal, whose edges are multiples of `stride`."""
    count = -(-height // rows)
    each = -(-height // (count * stride)) * stride
    return [(low, min(low + each, height)) for low in range(0, height, each)]


def last_reads(plan: Sequence[ImagePass]) -> dict[int, int]:
    """The number of the last pass that reads each feature map, by node. After it the space of that feature map is
    free."""
    return {i: number for number, image_pass in enumerate(plan) for i in image_pass.read}


def disk(network: PlannedNetwork, plan: Sequence[ImagePass], bytes_each: int, slack: float = 0.0) -> int:
    """Maximum number of bytes on disk at once, with `bytes_each` per element.

    Rows of a feature map are freed when no later strip reads them, and those that the pass writes take their place.
    `slack`: the share of the image between a row that is read and the last row before it that is freed.
    """
    last_read = last_reads(plan)
    held: set[int] = set()
    most = 0.0
    for number, image_pass in enumerate(plan):
        freed = sum(network.num_elements(i) for i in held if last_read[i] == number)
        stay = sum(network.num_elements(i) for i in held if last_read[i] > number)
        written = sum(network.num_elements(i) for i in image_pass.written)
        most = max(most, stay + min(freed + written, max(freed, written) + slack * (freed + written)))
        held = {i for i in held | set(image_pass.written) if last_read[i] > number}
    return int(bytes_each * most)
