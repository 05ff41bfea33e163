"""Tensors out of PyTorch's pickled files, without unpickling.

A pickle is a program for a small stack machine. This interpreter knows the instructions that build
dictionaries, lists, tuples, texts, numbers and tensors, and a closed table of the names that a file of
tensors may mention. It imports nothing and calls nothing that a file names; anything else is an error.

Two layouts of `torch.save`: the zip archive (PyTorch 1.6 and later: `data.pkl` and one record for each
storage) and the older stream of pickles with the storages at its end. The instructions are documented in
the standard library's `pickletools`.
"""

from __future__ import annotations

import math
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from texturenets.readers.stored import DamagedError, Stored

MAX_PICKLE: Final = 1 << 22  # bytes; a state_dict of a thousand tensors has 0.1 MB
MAX_STEPS: Final = 300_000
MAX_NESTING: Final = 16  # dictionaries in dictionaries that `state` looks into
MAX_VALUES: Final = 100_000
MAX_NAME: Final = 300

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C  # torch/serialization.py
LEGACY_PROTOCOL: Final = 1001

STORAGES: Final = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class GlobalName:
    """A name that a file mentions, from the closed table: it stands for itself and is never imported."""

    name: str


@dataclass(frozen=True)
class PickledStorage:
    """A run of `count` numbers somewhere else in the file."""

    dtype: torch.dtype
    key: str
    count: int


@dataclass(frozen=True)
class View:
    """A tensor as the pickle describes it: strides and offset in elements of its storage."""

    storage: PickledStorage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Mark:
    """Where a run of values on the stack begins."""


_MARK: Final = _Mark()
_KNOWN: Final = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
        "torch.device",
        *(f"torch.{name}" for name in STORAGES),
    }
)


def _lookup(module: str, name: str) -> GlobalName:
    full = f"{module}.{name}"
    if full not in _KNOWN:
        raise DamagedError(f"it mentions {full[:80]!r}, which no file of tensors needs; it was not run")
    return GlobalName(full)


def _int(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 48:
        raise DamagedError(f"{what} is no sensible whole number")
    return value


def _ints(value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list)) or len(value) > 8:
        raise DamagedError(f"{what} is no list of whole numbers")
    return tuple(_int(v, what) for v in value)


def _view(arguments: tuple[Any, ...]) -> View:
    if len(arguments) < 4 or not isinstance(arguments[0], PickledStorage):
        raise DamagedError("a tensor without storage")
    storage, offset = arguments[0], _int(arguments[1], "an offset")
    shape, stride = _ints(arguments[2], "a shape"), _ints(arguments[3], "a stride")
    if len(shape) != len(stride):
        raise DamagedError("a tensor's shape and stride differ in length")
    last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    # A shape larger than its storage (stride 0) would make gigabytes of a few bytes.
    count = math.prod(shape)
    if count > storage.count or (count and last >= storage.count):
        raise DamagedError("a tensor reaches beyond its storage")
    return View(storage, offset, shape, stride)


def _reduce(function: Any, arguments: Any) -> Any:
    if not isinstance(function, GlobalName) or not isinstance(arguments, tuple):
        raise DamagedError("it calls what is no name")
    match function.name:
        case "collections.OrderedDict":
            if not arguments:
                return {}
            items = arguments[0]  # as Python 2 wrote them
            if len(arguments) == 1 and isinstance(items, list) and all(_is_pair(item) for item in items):
                return {_key(item[0]): item[1] for item in items}
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
            return _view(arguments)
        case "torch._utils._rebuild_parameter":
            if arguments and isinstance(arguments[0], View):
                return arguments[0]
        case "torch.Size":
            if len(arguments) == 1:
                return _ints(arguments[0], "a size")
        case "torch.device":
            return None
    raise DamagedError(f"it calls {function.name} with unusual arguments")


def _is_pair(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2


def _key(value: Any) -> str | int:
    if type(value) is int or (type(value) is str and len(value) <= MAX_NAME):
        return value
    raise DamagedError("a dictionary whose keys are no short texts")


def _storage(reference: Any) -> PickledStorage:
    """The meaning of a persistent reference: ("storage", type, key, device, count[, view])."""
    if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
        raise DamagedError("it is a whole pickled program, not a state_dict; save model.state_dict() instead")
    kind, key = reference[1], reference[2]
    if not isinstance(kind, GlobalName) or type(key) is not str:
        raise DamagedError("a storage without type or key")
    dtype = STORAGES.get(kind.name.removeprefix("torch."))
    if dtype is None:
        raise DamagedError(f"{kind.name} is no type of storage")
    if len(reference) == 6 and reference[5] is not None:
        raise DamagedError("storages that are views of others are not supported; save the state_dict anew")
    return PickledStorage(dtype, key, _int(reference[4], "a storage's length"))


class Interpreter:
    """Runs one pickle after another out of `data`, from `position` on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.steps = 0

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise DamagedError("the pickle is cut short")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 256)
        if end < 0:
            raise DamagedError("a name has no end")
        return self._take(end + 1 - self.position)[:-1].decode()

    def run(self) -> Any:
        """The value that the next pickle builds: nested dicts, lists, tuples, texts, numbers and `View`s.

        Raises DamagedError for anything else. `position` is left behind the pickle.
        """
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        while True:
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise DamagedError("the pickle is too long for a file of tensors")
            code = self._take(1)
            if code == b".":
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise DamagedError(f"pickle instruction {code!r} is not one that tensors need")
            step(self)

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise DamagedError("the pickle takes from an empty stack")
        return self.stack.pop()

    def _top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise DamagedError(f"the pickle fills what is no {kind.__name__}")
        return self.stack[-1]

    def _since_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                values = self.stack[i + 1 :]
                del self.stack[i:]
                self.steps += len(values) // 8  # work in proportion, so that it counts
                return values
        raise DamagedError("the pickle has no mark where it needs one")

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _put(self, index: int) -> None:
        if not self.stack:
            raise DamagedError("the pickle remembers what is not there")
        self.memo[index] = self.stack[-1]

    def _get(self, index: int) -> None:
        if index not in self.memo:
            raise DamagedError("the pickle recalls what it never made")
        self.stack.append(self.memo[index])

    def _fill(self, values: list[Any]) -> None:
        target = self._top(dict)
        if len(values) % 2:
            raise DamagedError("a dictionary with a key and no value")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_key(key)] = value

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._fill([key, value])

    def _append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def _dict(self) -> None:
        values = self._since_mark()
        self.stack.append({})
        self._fill(values)

    def _global(self) -> None:
        module = self._line()
        self.stack.append(_lookup(module, self._line()))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise DamagedError("a name that is no text")
        self.stack.append(_lookup(module, name))

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        if isinstance(arguments, tuple):
            self.steps += sum(len(a) for a in arguments[:8] if isinstance(a, list))
        self.stack.append(_reduce(function, arguments))

    def _build(self) -> None:
        # What a state_dict carries beside its tensors (`_metadata`) is of no use here.
        self._pop()
        self._top(dict)

    def _extend(self) -> None:
        values = self._since_mark()
        self._top(list).extend(values)

    def _set_items(self) -> None:
        values = self._since_mark()
        self._fill(values)

    def _text(self, form: str) -> None:
        self.stack.append(self._take(self._number(form)).decode("utf-8", "surrogatepass"))

    def _bytes(self, form: str) -> None:
        self.stack.append(self._take(self._number(form)))

    def _long(self, form: str) -> None:
        count = self._number(form)
        if not 0 <= count <= 64:
            raise DamagedError("a whole number of absurd length")
        self.stack.append(int.from_bytes(self._take(count), "little", signed=True))

    def _drop(self) -> None:
        if not self.stack:
            raise DamagedError("the pickle drops what is not there")
        self.stack.pop()

    def _drop_to_mark(self) -> None:
        self._since_mark()

    def _repeat(self) -> None:
        self.stack.append(self._top(object))


_STEPS: Final[dict[bytes, Callable[[Interpreter], None]]] = {
    b"\x80": lambda i: i._number("<B"),  # PROTO
    b"\x95": lambda i: i._number("<Q"),  # FRAME
    b"(": lambda i: i._push(_MARK),
    b"0": Interpreter._drop,
    b"1": Interpreter._drop_to_mark,
    b"2": Interpreter._repeat,
    b"N": lambda i: i._push(None),
    b"\x88": lambda i: i._push(True),
    b"\x89": lambda i: i._push(False),
    b"J": lambda i: i._push(i._number("<i")),
    b"K": lambda i: i._push(i._number("<B")),
    b"M": lambda i: i._push(i._number("<H")),
    b"\x8a": lambda i: i._long("<B"),
    b"\x8b": lambda i: i._long("<i"),
    b"G": lambda i: i._push(i._number(">d")),
    b"X": lambda i: i._text("<I"),
    b"\x8c": lambda i: i._text("<B"),
    b"\x8d": lambda i: i._text("<Q"),
    b"U": lambda i: i._text("<B"),  # Python 2 text
    b"T": lambda i: i._text("<I"),
    b"C": lambda i: i._bytes("<B"),
    b"B": lambda i: i._bytes("<I"),
    b"]": lambda i: i._push([]),
    b"a": Interpreter._append,
    b"e": Interpreter._extend,
    b"l": lambda i: i._push(i._since_mark()),
    b")": lambda i: i._push(()),
    b"t": lambda i: i._push(tuple(i._since_mark())),
    b"\x85": lambda i: i._tuple(1),
    b"\x86": lambda i: i._tuple(2),
    b"\x87": lambda i: i._tuple(3),
    b"}": lambda i: i._push({}),
    b"d": Interpreter._dict,
    b"s": Interpreter._set_item,
    b"u": Interpreter._set_items,
    b"c": Interpreter._global,
    b"\x93": Interpreter._stack_global,
    b"R": Interpreter._call,
    b"b": Interpreter._build,
    b"Q": lambda i: i._push(_storage(i._pop())),
    b"q": lambda i: i._put(i._number("<B")),
    b"r": lambda i: i._put(i._number("<I")),
    b"\x94": lambda i: i._put(len(i.memo)),
    b"h": lambda i: i._get(i._number("<B")),
    b"j": lambda i: i._get(i._number("<I")),
}

Fetch = Callable[[PickledStorage], bytes]


def _tensor(view: View, fetch: Fetch, swap: bool) -> torch.Tensor:
    data = bytearray(fetch(view.storage))
    size = view.storage.dtype.itemsize
    if len(data) != view.storage.count * size:
        raise DamagedError("a storage is shorter than its tensor")
    if not view.storage.count or not math.prod(view.shape):
        return torch.zeros(view.shape, dtype=view.storage.dtype)
    if swap and size > 1:
        data = bytearray(np.frombuffer(data, f"u{size}").byteswap().tobytes())
    flat = torch.frombuffer(data, dtype=view.storage.dtype)
    return flat.as_strided(view.shape, view.stride, view.offset).clone()


def _collect(value: Any, fetch: Fetch, swap: bool) -> dict[str, Stored]:
    """All tensors under `value` by their dotted path, wherever a checkpoint keeps its state_dict."""
    out: dict[str, Stored] = {}
    visited = 0
    pending: list[tuple[str, Any, int]] = [("", value, 0)]
    while pending:
        path, node, depth = pending.pop()
        visited += 1
        if visited > MAX_VALUES or depth > MAX_NESTING or len(path) > 1000:
            raise DamagedError("its dictionaries are nested too deeply")
        if isinstance(node, View):
            out[path] = Stored(node.shape, lambda v=node: _tensor(v, fetch, swap))  # type: ignore[misc]
        elif isinstance(node, dict):
            dot = f"{path}." if path else ""
            pending.extend((f"{dot}{key}", child, depth + 1) for key, child in node.items())
            if len(pending) > MAX_VALUES:
                raise DamagedError("its dictionaries are nested too deeply")
    return out


def _big_endian(order: bytes) -> bool:
    return order.strip() == b"big"


def _swap(big: bool) -> bool:
    return big != (sys.byteorder == "big")


def _record(path: Path, info: zipfile.ZipInfo) -> bytes:
    """The bytes of one stored record; by hand, for opening the archive anew parses its whole directory."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        if not 0 <= info.header_offset <= size - 30:
            raise DamagedError("a record lies beyond the end")
        stream.seek(info.header_offset)
        header = stream.read(30)
        if header[:4] != b"PK\x03\x04":
            raise DamagedError("a record without header")
        start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
        if start + info.file_size > size:
            raise DamagedError("a record is cut short")
        stream.seek(start)
        data = stream.read(info.file_size)
    if zlib.crc32(data) != info.CRC:
        raise DamagedError("a record's checksum is wrong")
    return data


def read_zip(path: Path) -> dict[str, Stored]:
    """{dotted name: tensor} of a zip archive by `torch.save`. Raises DamagedError, BadZipFile, OSError."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if "data.pkl" not in records:
        raise DamagedError("a zip archive without data.pkl: no state_dict saved by PyTorch")

    def record(name: str, limit: int) -> bytes:
        info = records.get(name)
        if info is None:
            raise DamagedError(f"its record {name[:40]!r} is missing")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise DamagedError("its records are compressed, as PyTorch never writes them")
        if info.file_size > limit:
            raise DamagedError(f"its record {name[:40]!r} is larger than it can be")
        return _record(path, info)

    swap = _swap("byteorder" in records and _big_endian(record("byteorder", 16)))

    def fetch(storage: PickledStorage) -> bytes:
        return record(f"data/{storage.key}", storage.count * storage.dtype.itemsize)

    value = Interpreter(record("data.pkl", MAX_PICKLE)).run()
    return _collect(value, fetch, swap)


def read_legacy(path: Path) -> dict[str, Stored]:
    """{dotted name: tensor} of a stream by `torch.save` before 1.6. Raises DamagedError, OSError."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        interpreter = Interpreter(stream.read(MAX_PICKLE))
    if interpreter.run() != LEGACY_MAGIC:
        raise DamagedError("a pickle that PyTorch did not write")
    if interpreter.run() != LEGACY_PROTOCOL:
        raise DamagedError("a version of PyTorch's old layout that is not known")
    system = interpreter.run()
    if not isinstance(system, dict):
        raise DamagedError("its header is missing")
    big = system.get("little_endian", True) is False
    value = interpreter.run()
    keys = interpreter.run()
    if not isinstance(keys, list) or len(keys) > MAX_VALUES:
        raise DamagedError("its list of storages is missing")
    views = _storages(value)
    places: dict[str, tuple[int, int]] = {}
    position = interpreter.position
    with path.open("rb") as stream:
        for key in keys:
            if type(key) is not str or key not in views:
                raise DamagedError("it holds a storage that no tensor uses")
            stream.seek(position)
            raw = stream.read(8)
            # The count is in the byte order of the machine that wrote it.
            count = int.from_bytes(raw, "big" if big else "little")
            length = count * views[key].dtype.itemsize
            if len(raw) < 8 or count != views[key].count or position + 8 + length > size:
                raise DamagedError("a storage is cut short")
            places[key] = (position + 8, length)
            position += 8 + length

    def fetch(storage: PickledStorage) -> bytes:
        if storage.key not in places:
            raise DamagedError("a tensor's storage is missing")
        start, length = places[storage.key]
        with path.open("rb") as stream:
            stream.seek(start)
            return stream.read(length)

    return _collect(value, fetch, _swap(big))


def _storages(value: Any) -> dict[str, PickledStorage]:
    found: dict[str, PickledStorage] = {}
    pending, visited = [value], 0
    while pending:
        node = pending.pop()
        visited += 1
        if visited > MAX_VALUES or len(pending) > MAX_VALUES:
            raise DamagedError("its dictionaries are nested too deeply")
        if isinstance(node, View):
            found[node.storage.key] = node.storage
        elif isinstance(node, dict):
            pending.extend(node.values())
    return found
