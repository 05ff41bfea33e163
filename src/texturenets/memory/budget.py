"""Available memory, and how much of it a run may use."""

from __future__ import annotations

import math
import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from texturenets.errors import UserError

if TYPE_CHECKING:
    import torch

SHARE: Final = 0.75
"""Share of the free memory that a run may use by default; the rest is left to other programs."""

SPARE: Final = 32 * 2**20
"""Bytes added to the value that an error message suggests: processes differ by less than 1 MB, and a running one
grows by some 28 MB from run to run."""

RESERVE: Final = 160 * 2**20
"""Bytes for everything but feature maps: buffers of libraries, decoders and encoders, fragmentation."""

KEPT: Final = 80 * 2**20
"""The part of RESERVE that a process keeps in use after a network has run in it: libraries' buffers, which then count
as used memory. Measured on a CPU: 60 MB with OpenVINO, 60 to 110 with PyTorch."""

_UNITS: Final = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse(text: str) -> int:
    """Bytes of "2G", "1.5GB", "900M" or "900 MiB", in powers of 1024. Raises UserError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if match is None or float(match[1]) <= 0:
        raise UserError(f"`memory` {text!r} is not an amount of memory: give it as 2G or 900M")
    return int(float(match[1]) * _UNITS[match[2]])


def amount(size: int) -> str:
    """`size` bytes, rounded up by a few percent at most, as text that `parse` takes: "310M", "1450M", "10.5G"."""
    mib = size / 2**20
    if mib > 10_000:
        return f"{math.ceil(mib / 512) / 2:g}G"
    step = 10 if mib < 1000 else 50
    return f"{step * math.ceil(mib / step)}M"


def resident() -> int:
    """Bytes of this process that are in memory. On Linux without psutil, whose import takes 16 ms of every start."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  pathlib takes longer than the rest
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):
        import psutil

        return int(psutil.Process().memory_info().rss)


def _group_limit() -> int | None:
    """The remaining memory of this process's control group (container), if it has a limit. Without psutil, which only
    knows the whole machine.
    """
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = Path("/sys/fs/cgroup")
        try:
            most = (folder / limit).read_text("ascii").strip()
            if most.isdigit() and int(most) < 2**60:
                return max(0, int(most) - int((folder / used).read_text("ascii")))
        except (OSError, ValueError):
            continue
    return None


def free(device: torch.device | None = None) -> int:
    """Free memory of a device in bytes; None is the CPU's memory."""
    if device is not None and device.type == "cuda":
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    here, limit = _available(), _group_limit()
    return here if limit is None else min(here, limit)


def _available() -> int:
    """Memory that the system can provide without swapping. On Linux without psutil, as in `resident`."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  pathlib takes longer than the rest
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        import psutil

        return int(psutil.virtual_memory().available)


class Budget(NamedTuple):
    """The memory of a run: `total` bytes of the whole process, or of tensors on `device` if that is a GPU."""

    total: int
    device: torch.device | None = None

    @classmethod
    def of(cls, memory: int | None = None, device: torch.device | None = None) -> Budget:
        """`memory` bytes, or by default a share of the free memory."""
        return cls(memory if memory is not None else _taken(device) + int(SHARE * free(device)), device)

    def needed(self, size: int) -> str:
        """The value of `memory` that leaves `size` bytes for feature maps, as text."""
        return f"`memory` {amount(SPARE + _taken(self.device) + _reserve(self.device) + size)}"

    def left(self) -> int:
        """Bytes for feature maps: the total without used and reserved memory; at least 0."""
        return max(0, self.total - _taken(self.device) - _reserve(self.device))


_has_run = False


def note_run() -> None:
    """Record that a network has run in this process: the buffers that libraries keep need not be reserved again."""
    global _has_run  # noqa: PLW0603  of the process, as the memory is
    _has_run = True


def _reserve(device: torch.device | None) -> int:
    return RESERVE - KEPT if _has_run and (device is None or device.type == "cpu") else RESERVE


def _taken(device: torch.device | None) -> int:
    if device is not None and device.type == "cuda":
        import torch

        return int(torch.cuda.memory_allocated(device))
    return resident()
