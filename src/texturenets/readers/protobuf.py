"""The protobuf wire format, as described at protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

import numpy as np

from texturenets.readers.stored import FormatError

MAX_FIELDS: Final = 200_000  # fields of all messages read from a file; VGG-19 has under 2000

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message: for VARINT `value` is the number, else bytes `start` to `end` of the file."""

    number: int
    wire: int
    value: int
    start: int
    end: int


class Wire:
    """Reads fields from the bytes of a file; reading never passes the end of a message. `runs`: numbers of fields
    that hold one number each and are repeated thousands of times, as old writers stored arrays: such a run is
    returned as one field.
    """

    def __init__(self, data: mmap.mmap | bytes, runs: Collection[int] = ()) -> None:
        self.data = data
        self.runs = runs
        self.fields = 0

    def varint(self, position: int, end: int) -> tuple[int, int]:
        """The integer at `position`, and the position of its end."""
        value = 0
        for i in range(10):
            if position + i >= end:
                break
            byte = self.data[position + i]
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value, position + i + 1
        raise FormatError("a number is cut short")

    def message(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message at `start` to `end`. Raises FormatError if they are invalid."""
        position = start
        while position < end:
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise FormatError("it has too many fields for a network")
            begin = position
            tag, position = self.varint(position, end)
            number, wire = tag >> 3, tag & 7
            if not 1 <= number < 1 << 29:
                raise FormatError("a field without number")
            if wire == VARINT:
                value, position = self.varint(position, end)
                yield Field(number, wire, value, 0, 0)
                continue
            if wire == BYTES:
                length, position = self.varint(position, end)
            elif wire in (FIXED64, FIXED32):
                length = 8 if wire == FIXED64 else 4
                if number in self.runs and position - begin == 1:
                    length = self._unpacked(begin, end, 1 + length) - 1
            else:
                raise FormatError("a field of unknown kind")
            if length > end - position:
                raise FormatError("a field is longer than what holds it")
            yield Field(number, wire, 0, position, position + length)
            position += length

    def _unpacked(self, start: int, end: int, item: int) -> int:
        """Length in bytes of the run of fields of `item` bytes at `start` that share a tag."""
        count = (end - start) // item
        tags = np.frombuffer(self.data, np.uint8, count * item, start)[::item]
        # in growing pieces: most fixed fields stand alone
        done, step = 1, 16
        while done < count:
            piece = tags[done : done + step] == tags[0]
            if not piece.all():
                return (done + int(np.argmin(piece))) * item
            done, step = done + len(piece), step * 4
        return max(count, 1) * item
