"""What is computed in which pass, what is kept on disk meanwhile, and in which tiles. No torch.

A normalization needs the statistics of its whole source, so the source has to have been through before the
normalization can begin. Every pass therefore ends where statistics do: pass p computes the sources of the
normalizations that pass p + 1 is the first to need; the last one computes the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from texturenets.errors import UserError
from texturenets.graph import Node
from texturenets.outofcore.regions import POINTWISE, Region, Size, map_size, merge, wanted

INPUTS: Final = ("photo", "noise")

# What disk and arithmetic cost, for the choice between keeping a map and computing it again: a byte moved at
# 300 MB/s (`dd conv=fdatasync` on the disk of a virtual machine gave 312) against a multiply-add at 50 G/s, of two
# cores. They are guesses about a machine that is not known; a wrong one costs time, not correctness.
BYTE: Final = 1 / 300e6
MULTIPLY: Final = 1 / 50e9
FLOAT: Final = 1 / 4e9  # a number read, changed and written in memory


@dataclass
class Network:
    """The nodes that lead to the picture, in a form that planning takes.

    `sources[i]` are the nodes whose maps node i reads; for an unpooling the map that was pooled stands in for
    the pool itself.
    """

    nodes: Sequence[Node]
    picture: Size
    sources: list[tuple[int, ...]] = field(init=False)
    sizes: list[Size] = field(init=False)

    def __post_init__(self) -> None:
        self.sources = [
            (n.sources[0], self.nodes[n.sources[1]].sources[0]) if n.operation == "unpool" else n.sources
            for n in self.nodes
        ]
        self.sizes = [map_size(node, self.picture) for node in self.nodes]
        # The first pass in which a node's map is needed; of a normalization, its statistics before it.
        self.late = self._late()

    @property
    def last(self) -> int:
        """The node of the picture."""
        return len(self.nodes) - 1

    @property
    def passes(self) -> int:
        """How many."""
        return self._depth() + 1

    def is_norm(self, i: int) -> bool:
        """Whether node i waits for statistics."""
        return self.nodes[i].operation == "norm"

    def is_input(self, i: int) -> bool:
        """Whether node i is given."""
        return self.nodes[i].operation in INPUTS

    def _depth(self) -> int:
        depth: list[int] = []
        for i, sources in enumerate(self.sources):
            depth.append(max((depth[s] for s in sources), default=0) + self.is_norm(i))
        return depth[self.last]

    def _late(self) -> list[int]:
        never = 1 << 30
        late = [never] * len(self.nodes)
        late[self.last] = self._depth()
        for i in reversed(range(len(self.nodes))):
            for source in self.sources[i]:
                late[source] = min(late[source], late[i] - self.is_norm(i))
        return late

    def measured(self, number: int) -> list[int]:
        """The nodes whose statistics pass `number` gathers."""
        reachable = (i for i in range(len(self.nodes)) if self.late[i] < 1 << 30)
        return sorted(
            {self.sources[i][0] for i in reachable if self.is_norm(i) and self.late[i] - 1 == number}
        )

    def part(self, i: int, tile: Region) -> Region:
        """The part of node i's map that belongs to `tile` of the picture: tiles that share out the one share
        out the other. Edges of tiles are multiples of the network's stride."""
        scale = self.nodes[i].scale
        height, width = self.sizes[i]

        def side(a: int, b: int, whole: int, size: int) -> tuple[int, int]:
            low = min(int(a * scale), size)
            return low, size if b >= whole else min(int(b * scale), size)

        top, bottom = side(tile.top, tile.bottom, self.picture[0], height)
        left, right = side(tile.left, tile.right, self.picture[1], width)
        return Region(top, bottom, left, right)


@dataclass
class Pass:
    """One pass: what it computes (`targets`), measures and writes, and what it reads.

    `ready` are the maps on disk that it may read.
    """

    number: int
    targets: tuple[int, ...]
    measured: tuple[int, ...]
    written: tuple[int, ...]
    read: frozenset[int]
    ready: frozenset[int]


@dataclass
class Step:
    """A node to compute in a tile: in which regions, from which regions of which sources."""

    node: int
    regions: list[Region]
    sources: list[list[list[Region]]]  # by region, by source
    last_use: list[int]  # of maps that nobody reads after this


def passes(network: Network, kept: frozenset[int]) -> list[Pass]:
    """The passes, where the maps `kept` are written to disk when they are first computed."""
    made: list[Pass] = []
    written: set[int] = set()
    for number in range(network.passes):
        measured = network.measured(number)
        targets = list(measured)
        if number == network.passes - 1:
            targets.append(network.last)
        visited, read = _closure(network, targets, written)
        new = sorted(visited & kept)
        made.append(
            Pass(
                number,
                tuple(sorted({*targets, *new})),
                tuple(measured),
                tuple(new),
                frozenset(read),
                frozenset(written),
            )
        )
        written |= set(new)
    useful = {i for one in made for i in one.read}
    return [_without(one, set(one.written) - useful, network.last) for one in made]


def _without(one: Pass, useless: set[int], last: int) -> Pass:
    """A pass that does not write what no later one reads."""
    if not useless:
        return one
    targets = tuple(i for i in one.targets if i not in useless or i in one.measured or i == last)
    return replace(one, targets=targets, written=tuple(i for i in one.written if i not in useless))


def _closure(network: Network, targets: Iterable[int], written: set[int]) -> tuple[set[int], set[int]]:
    """The nodes to be computed for `targets`, and those that are read from disk."""
    visited: set[int] = set()
    read: set[int] = set()
    queue = list(targets)
    while queue:
        i = queue.pop()
        if i in visited or i in read or network.is_input(i):
            continue
        if i in written:
            read.add(i)
        else:
            visited.add(i)
            queue.extend(network.sources[i])
    return visited, read


def steps(network: Network, targets: Mapping[int, Region], ready: frozenset[int]) -> list[Step]:
    """What is to be computed, in this order, for regions of some maps; what is in `ready` is read."""
    asked: dict[int, list[Region]] = {i: [region] for i, region in targets.items() if region.area}
    found: list[Step] = []
    for i in range(max(asked, default=-1), -1, -1):
        if i not in asked:
            continue
        regions = merge(asked[i])
        if network.is_input(i) or i in ready:
            found.append(Step(i, regions, [], []))
            continue
        node, sources = network.nodes[i], network.sources[i]
        sizes = [network.sizes[s] for s in sources]
        needed = [wanted(node, region, sizes) for region in regions]
        for by_source in needed:
            for source, pieces in zip(sources, by_source, strict=True):
                asked.setdefault(source, []).extend(pieces)
        found.append(Step(i, regions, needed, []))
    found.reverse()
    seen: set[int] = set()
    for step in reversed(found):
        sources = network.sources[step.node] if step.sources else ()
        step.last_use = [s for s in dict.fromkeys(sources) if s not in seen]
        seen.update(sources)
    return found


def multiplications(network: Network, i: int) -> int:
    """Multiply-adds for a pixel of the map of node i."""
    node = network.nodes[i]
    kernel = math.prod(node.settings.get("kernel", (1, 1)))
    if node.operation == "conv":
        return int(
            node.channels * network.nodes[node.sources[0]].channels * kernel // node.settings["groups"]
        )
    if node.operation == "deconv":
        inputs = network.nodes[node.sources[0]].channels
        return int(node.channels * inputs * kernel // node.settings["stride"] ** 2)
    return 0


def seconds(network: Network, work: Sequence[Step]) -> float:
    """About how long `work` takes, reading aside."""
    total = 0.0
    for step in work:
        area = sum(region.area for region in step.regions)
        if step.sources:
            channels = network.nodes[step.node].channels
            total += area * (multiplications(network, step.node) * MULTIPLY + channels * FLOAT)
    return total


def peak(network: Network, work: Sequence[Step]) -> int:
    """The most bytes that the maps of `work` take at once, in float32."""
    used = {s for step in work if step.sources for s in network.sources[step.node]}
    live: dict[int, int] = {}
    most = 0
    for step in work:
        channels = network.nodes[step.node].channels
        made = 4 * channels * sum(region.area for region in step.regions)
        extra = 0
        if network.nodes[step.node].operation in ("conv", "deconv"):
            # The library may copy its input into a layout of its own.
            extra = max((live.get(s, 0) for s in network.sources[step.node]), default=0)
        elif not step.sources:
            extra = made // 2  # as read, in half precision
        most = max(most, sum(live.values()) + made + extra)
        if step.node in used:
            live[step.node] = made
        for gone in step.last_use:
            live.pop(gone, None)
    return most


# ---- What to keep ------------------------------------------------------------------------------------


def costs(network: Network, kept: frozenset[int], exact: frozenset[int] = frozenset()) -> float:
    """About how many seconds the whole picture takes if the maps `kept` are kept."""
    height, width = network.picture
    rows = min(height, 256)
    tile = Region(0, rows, 0, min(width, 4096))
    # In the middle where there is one: at the edges a tile needs less.
    down = (height - rows) // 2 // 256 * 256
    tile = Region(tile.top + down, tile.bottom + down, tile.left, tile.right)
    tiles = height * width / tile.area
    total = 0.0
    for one in passes(network, kept):
        targets = {i: network.part(i, tile) for i in one.targets}
        work = steps(network, targets, one.ready)
        total += tiles * seconds(network, work)
        for step in work:
            if step.node in one.ready:
                area = sum(region.area for region in step.regions)
                total += tiles * BYTE * size_of(network, step.node, exact, area)
        for i in one.written:
            total += BYTE * size_of(network, i, exact)
    return total


def size_of(network: Network, i: int, exact: frozenset[int], area: int | None = None) -> int:
    """Bytes of node i's map on disk, or of `area` pixels of it."""
    height, width = network.sizes[i]
    pixels = height * width if area is None else area
    return pixels * network.nodes[i].channels * (4 if i in exact else 2)


def disk(network: Network, plan: Sequence[Pass], exact: frozenset[int]) -> int:
    """The most bytes on disk at once."""
    last_read = {i: one.number for one in plan for i in one.read}
    held: set[int] = set()
    most = 0
    for one in plan:
        held |= set(one.written)
        most = max(most, sum(size_of(network, i, exact) for i in held))
        held = {i for i in held if last_read.get(i, -1) > one.number}
    return most


def choose(network: Network, exact: frozenset[int] = frozenset()) -> frozenset[int]:
    """Which maps to keep on disk: those for which that is quicker than to compute them again.

    Starts with everything that more than one pass needs and takes away, then adds, one map at a time, as long
    as the whole gets quicker.
    """
    kept = frozenset(_crossing(network))
    best = costs(network, kept, exact)
    candidates = sorted(kept, key=lambda i: -size_of(network, i, exact))
    for i in candidates:
        cost = costs(network, kept - {i}, exact)
        if cost <= best:
            kept, best = kept - {i}, cost
    return kept


def _crossing(network: Network) -> Iterator[int]:
    """The maps that are computed in one pass and needed in another too.

    Of a chain of operations on single pixels only the first: it costs little to go on from there.
    """
    for i in range(len(network.nodes)):
        if network.is_input(i) or network.late[i] >= 1 << 30:
            continue
        source = network.sources[i][0]
        cheap = network.nodes[i].operation in POINTWISE and len(network.sources[i]) == 1
        if cheap and not network.is_input(source):
            continue
        users = [u for u in range(len(network.nodes)) if i in network.sources[u]]
        if any(network.late[u] > network.late[i] or network.is_norm(u) for u in _behind(network, users)):
            yield i


def _behind(network: Network, users: Sequence[int]) -> Iterator[int]:
    """`users`, and through operations on single pixels those who use them."""
    for user in users:
        yield user
        if network.nodes[user].operation in POINTWISE and len(network.sources[user]) == 1:
            yield from _behind(network, [u for u in range(len(network.nodes)) if user in network.sources[u]])


# ---- Tiles -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiling:
    """Tiles of `height` x `width` pixels of the picture, and the bytes that one of them takes."""

    height: int
    width: int
    memory: int


def tiling(network: Network, one: Pass, stride: int, memory: int) -> Tiling:
    """The tiles for a pass: the quickest whose maps take at most `memory` bytes.

    Raises UserError where not even the smallest do.
    """
    found: list[tuple[float, Tiling]] = []
    smallest = 1 << 62
    for width in _halved(network.picture[1], stride):
        for height in _halved(network.picture[0], stride):
            tile = Tiling(height, width, memory_of(network, one, height, width, stride))
            smallest = min(smallest, tile.memory)
            if tile.memory <= memory:
                found.append((slowness(network, one, tile, stride), tile))
                break  # a lower one of this width has more to compute twice
    if not found:
        raise UserError(
            f"not enough memory even for small pieces: {max(0, memory) / 1e6:.0f} MB are left for them beside the "
            f"program itself, and {smallest / 1e6 + 1:.0f} MB are needed; give more with --memory"
        )
    return min(found, key=lambda pair: pair[0])[1]


def _halved(side: int, stride: int) -> list[int]:
    sides = [side]
    while sides[-1] > max(stride, 16):
        sides.append(-(-sides[-1] // 2 // stride) * stride)
    return sides


def _middle(network: Network, height: int, width: int, stride: int) -> Region:
    """A tile of that size with as much of the picture around it as there is."""
    top = (network.picture[0] - height) // 2 // stride * stride
    left = (network.picture[1] - width) // 2 // stride * stride
    return Region(top, top + height, left, left + width)


def _work(network: Network, one: Pass, height: int, width: int, stride: int) -> list[Step]:
    tile = _middle(network, height, width, stride)
    return steps(network, {i: network.part(i, tile) for i in one.targets}, one.ready)


def memory_of(network: Network, one: Pass, height: int, width: int, stride: int) -> int:
    """Bytes that a tile of that size takes in a pass."""
    return peak(network, _work(network, one, height, width, stride))


def slowness(network: Network, one: Pass, tile: Tiling, stride: int) -> float:
    """Seconds a pixel, a millisecond a tile for all that is not arithmetic included."""
    work = _work(network, one, tile.height, tile.width, stride)
    return (seconds(network, work) + 1e-3) / (tile.height * tile.width)


def tiles(picture: Size, tile: Tiling) -> Iterator[Region]:
    """All tiles of the picture, row by row."""
    for top in range(0, picture[0], tile.height):
        for left in range(0, picture[1], tile.width):
            bottom, right = min(top + tile.height, picture[0]), min(left + tile.width, picture[1])
            yield Region(top, bottom, left, right)
