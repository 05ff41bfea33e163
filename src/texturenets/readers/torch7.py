"""Torch7's `.t7`: only arrays and plain records are read from a serialized Lua object.

Layout: File.lua, Tensor.c and DiskFile.c of github.com/torch/torch7. A value begins with its kind; numbers are
doubles, texts have a length, tables and objects a number by which they are referred to again. Classes of tensors and
storages have their own layouts; every other class is a name and one value, kept as a `TorchObject`. No class is
looked up and no function is run: bytecode is skipped.

Binary files have longs of 64 bits, those of 32-bit machines and of Windows of 32; ASCII files have texts.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets.readers.stored import FormatError

MAX_VALUES: Final = 300_000  # a residual network of two hundred layers, with all its buffers, has 20,000
MAX_NESTING: Final = 200  # the deepest published networks have 60
MAX_NAME: Final = 300
MAX_TEXT: Final = 1 << 24
MAX_DIMENSIONS: Final = 16
MAX_ELEMENTS: Final = 1 << 40

# Kinds of values, File.lua
NIL, NUMBER, STRING, TABLE, TORCH, BOOLEAN, FUNCTION, OLD_RECURSIVE, RECURSIVE = range(9)

# By class, without "torch." or "torch.Cuda". A CudaTensor without further name is single precision.
_DTYPES: Final = {
    "": "f4",
    "Float": "f4",
    "Double": "f8",
    "Half": "f2",
    "Byte": "u1",
    "Char": "i1",
    "Short": "i2",
    "Int": "i4",
    "Long": "long",
}
_CLASS: Final = re.compile(r"torch\.(Cuda)?(Float|Double|Half|Byte|Char|Short|Int|Long|)(Tensor|Storage)")
_TOKEN: Final = re.compile(rb"\s*([^\s]+)")

Array = NDArray[Any]


@dataclass(eq=False)
class TorchStorage:
    """A sequence of numbers, not loaded yet. `data` is (count,), read-only, of the type it was saved with."""

    data: Array


@dataclass(eq=False)
class Tensor:
    """A view of a storage: `offset` (from 0) and `stride` in elements."""

    storage: TorchStorage | None
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def array(self) -> Array:
        """The numbers as float32, of `shape`, copied. Raises FormatError if the storage is too short."""
        count = math.prod(self.shape) if self.shape else 0
        if not count:
            return np.zeros(self.shape or (0,), np.float32)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if self.storage is None or count > self.storage.data.size or last >= self.storage.data.size:
            raise FormatError("a tensor reaches beyond its storage")
        data = self.storage.data
        view = np.lib.stride_tricks.as_strided(
            data[self.offset :], self.shape, [s * data.itemsize for s in self.stride], writeable=False
        )
        return view.astype(np.float32)

    def onward(self, count: int) -> Array:
        """`count` numbers of the storage from the start of this tensor, as float32, possibly beyond its end.

        Raises FormatError if the storage ends before.
        """
        if self.storage is None or self.offset + count > self.storage.data.size:
            raise FormatError(f"a storage ends before the {count} numbers that a layer reads of it")
        return self.storage.data[self.offset : self.offset + count].astype(np.float32)


@dataclass(eq=False)
class TorchObject:
    """An object: the name of its class, such as "nn.SpatialConvolution", and its saved value."""

    kind: str
    value: Any = None

    def get(self, key: str, default: Any = None) -> Any:
        """The field `key`, or `default` if there is none."""
        return self.value.get(key, default) if isinstance(self.value, dict) else default


@dataclass(eq=False)
class LuaFunction:
    """A placeholder for a Lua function; its code is not kept."""


@dataclass
class _Binary:
    """Reads numbers from a binary file."""

    data: mmap.mmap | bytes
    long: int  # bytes
    position: int = 0

    def _take(self, count: int) -> int:
        start = self.position
        if not 0 <= count <= len(self.data) - start:
            raise FormatError("it is cut short")
        self.position = start + count
        return start

    def integer(self) -> int:
        start = self._take(4)
        return int.from_bytes(self.data[start : start + 4], "little", signed=True)

    def longs(self, count: int) -> tuple[int, ...]:
        start = self._take(count * self.long)
        return tuple(
            int.from_bytes(self.data[i : i + self.long], "little", signed=True)
            for i in range(start, self.position, self.long)
        )

    def double(self) -> float:
        value: float = struct.unpack_from("<d", self.data, self._take(8))[0]
        return value

    def raw(self, count: int) -> bytes:
        start = self._take(count)
        return self.data[start : start + count]

    def skip(self, count: int) -> None:
        self._take(count)

    @property
    def done(self) -> bool:
        return self.position == len(self.data)

    def numbers(self, dtype: str, count: int) -> Array:
        kind = np.dtype(f"<i{self.long}" if dtype == "long" else f"<{dtype}")
        if count > len(self.data):
            raise FormatError("it is cut short")
        return np.frombuffer(self.data, kind, count, self._take(count * kind.itemsize))


@dataclass
class _Ascii:
    """Reads numbers from an ASCII file."""

    data: mmap.mmap | bytes
    position: int = 0

    def _token(self) -> bytes:
        match = _TOKEN.match(self.data, self.position, min(len(self.data), self.position + 400))
        if match is None:
            raise FormatError("it is cut short")
        self.position = match.end()
        return match[1]

    def integer(self) -> int:
        token = self._token()
        if not re.fullmatch(rb"-?\d{1,19}", token):
            raise FormatError(f"{token[:20]!r} is not a whole number")
        return int(token)

    def longs(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(count))

    def double(self) -> float:
        return float(self._token())

    def _line_end(self) -> None:
        # One line end follows the length of a text; the text itself may begin with another.
        if self.data[self.position : self.position + 1] == b"\n":
            self.position += 1

    def raw(self, count: int) -> bytes:
        self._line_end()
        if not 0 <= count <= len(self.data) - self.position:
            raise FormatError("it is cut short")
        start, self.position = self.position, self.position + count
        return self.data[start : self.position]

    def skip(self, count: int) -> None:
        self.raw(count)

    @property
    def done(self) -> bool:
        return _TOKEN.match(self.data, self.position) is None

    def numbers(self, dtype: str, count: int) -> Array:
        if dtype in ("u1", "i1"):  # DiskFile writes these as raw bytes
            return np.frombuffer(self.raw(count), dtype)
        if count > (len(self.data) - self.position + 1) // 2:  # each has a digit and a space
            raise FormatError("it is cut short")
        kind = np.dtype("i8" if dtype == "long" else dtype)
        parts: list[Array] = []
        while count > 0:
            self._line_end()
            end = self.data.find(b"\n", self.position)
            end = len(self.data) if end < 0 else end
            words = self.data[self.position : end].split()
            if len(words) > count or (not words and end == len(self.data)):
                raise FormatError("a storage has another length than it says")
            self.position = end
            count -= len(words)
            parts.append(np.array(words, np.float64 if kind.kind == "f" else np.int64).astype(kind))
        return np.concatenate(parts) if parts else np.zeros(0, kind)


@dataclass
class _Reader:
    source: _Binary | _Ascii
    values: int = 0
    seen: dict[int, Any] = field(default_factory=dict)

    def value(self, depth: int = 0) -> Any:
        """The next value: None, bool, float, text, dict, or one of the classes above."""
        self.values += 1
        if self.values > MAX_VALUES:
            raise FormatError("it has too many values for a network")
        if depth > MAX_NESTING:
            raise FormatError("it is nested too deeply for a network")
        source = self.source
        kind = source.integer()
        match kind:
            case 0:
                return None
            case 1:
                return source.double()
            case 2:
                return self._text(MAX_TEXT)
            case 3 | 4 | 6 | 7 | 8:
                return self._shared(kind, depth)
            case 5:
                return source.integer() == 1
        raise FormatError(f"a value of the unknown kind {kind}")

    def _shared(self, kind: int, depth: int) -> Any:
        """A value with a number; a repeated one is only its number."""
        index = self.source.integer()
        if index in self.seen:
            return self.seen[index]
        if kind == TABLE:
            return self._table(index, depth)
        return self._object(index, depth) if kind == TORCH else self._function(index, kind, depth)

    def _text(self, limit: int) -> str:
        count = self.source.integer()
        if not 0 <= count <= limit:
            raise FormatError("a text of absurd length")
        return self.source.raw(count).decode("utf-8", "surrogateescape")

    def _table(self, index: int, depth: int) -> dict[Any, Any]:
        table: dict[Any, Any] = {}
        self.seen[index] = table
        count = self.source.integer()
        if not 0 <= count <= MAX_VALUES:
            raise FormatError("a table of absurd length")
        for _ in range(count):
            key, value = self.value(depth + 1), self.value(depth + 1)
            if isinstance(key, float) and key.is_integer():
                key = int(key)
            if isinstance(key, bool | int | float | str):  # other keys that Lua allows are not needed
                table[key] = value
        return table

    def _object(self, index: int, depth: int) -> Any:
        name = self._text(MAX_NAME)
        if re.fullmatch(r"V \d+", name):
            name = self._text(MAX_NAME)
        match = _CLASS.fullmatch(name)
        if match is None:
            record = TorchObject(name)
            self.seen[index] = record
            record.value = self.value(depth + 1)
            return record
        entry: TorchStorage | Tensor
        if match[3] == "Storage":
            (count,) = self.source.longs(1)
            if not 0 <= count < MAX_ELEMENTS:
                raise FormatError("a storage of absurd length")
            entry = TorchStorage(self.source.numbers(_DTYPES[match[2]], count))
            self.seen[index] = entry
            return entry
        entry = self.seen[index] = self._tensor()
        storage = self.value(depth + 1)
        if storage is not None and not isinstance(storage, TorchStorage):
            raise FormatError("a tensor whose storage is something else")
        if storage is None and entry.shape and all(entry.shape):
            raise FormatError("a tensor of numbers without a storage")
        entry.storage = storage
        return entry

    def _tensor(self) -> Tensor:
        count = self.source.integer()
        if not 0 <= count <= MAX_DIMENSIONS:
            raise FormatError("a tensor of absurdly many dimensions")
        shape, stride = self.source.longs(count), self.source.longs(count)
        offset = self.source.longs(1)[0] - 1
        if any(not 0 <= n < MAX_ELEMENTS for n in (*shape, *stride)) or not -1 <= offset < MAX_ELEMENTS:
            raise FormatError("a tensor of absurd shape")
        return Tensor(None, max(offset, 0), shape, stride)

    def _function(self, index: int, kind: int, depth: int) -> LuaFunction:
        function = LuaFunction()
        if kind != FUNCTION:
            self.seen[index] = function
        self.source.skip(self.source.integer())
        self.value(depth + 1)  # what the function refers to
        self.seen[index] = function
        return function


def matches(head: bytes) -> bool:
    """Whether a file that begins with `head` (at least 8 bytes) may be a `.t7`: a table or an object at the top
    level."""
    return (
        head[:4] in (b"\x03\0\0\0", b"\x04\0\0\0")
        or re.match(rb"[34]\n-?\d{1,9}\n", head + b"\n") is not None
    )


def read(path: Path) -> Any:
    """The content of the file at `path`: numbers, texts, dicts, `Tensor`, `TorchObject`, nested; loops are possible.

    Raises FormatError, in one line, if it is not a Torch7 file or damaged, and OSError.
    """
    with path.open("rb") as stream:
        if stream.seek(0, 2) < 8:
            raise FormatError("it is cut short")
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if data[0] in b"34":
        sources: list[_Binary | _Ascii] = [_Ascii(data)]
    else:
        sources = [_Binary(data, 8), _Binary(data, 4)]
    # The file does not state the size of its longs; read with the wrong length, the first tensor has an
    # absurd shape, or the value ends before the file does.
    first: FormatError | None = None
    for source in sources:
        try:
            value = _Reader(source).value()
            if not source.done:
                raise FormatError("it goes on after its end")
            return value
        except FormatError as error:
            first = first or error
        except (ValueError, OverflowError, struct.error) as error:
            first = first or FormatError(str(error))
    raise first or FormatError("it is empty")
