"""A program of its own: the arrays of an HDF5 file to standard output, under limits.

The HDF5 library can crash or loop on a damaged file, so that it runs in a process that may die. Started
by `keras.py` with the file's path as the only argument. Output: one line of JSON, [[path, shape], ...],
then the arrays as little-endian float32 in that order. Status 3: h5py is not installed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

MAX_OBJECTS = 2000
MAX_DEPTH = 8
MAX_NUMBERS = 4 << 20  # of one array: VGG's largest convolution has 2.4 million
MAX_TOTAL = 32 << 20
MEMORY = 768 << 20  # bytes beyond what the program takes at its start


def limit(path: str) -> None:
    """Processor time, memory and core dumps are bounded where the system can."""
    try:
        import resource
        import signal
    except ImportError:  # Windows: the parent's timeout has to do
        return
    signal.setitimer(signal.ITIMER_PROF, 1.0 + Path(path).stat().st_size / 50e6)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    except (OSError, ValueError):
        return


def walk(group: Any, h5py: Any) -> list[Any]:
    """Datasets under `group` that may be a convolution's; links out of the file are not followed."""
    found: list[Any] = []
    pending = [(group, 0)]
    seen = total = 0
    while pending:
        node, depth = pending.pop()
        for name in node:
            seen += 1
            if seen > MAX_OBJECTS or depth > MAX_DEPTH:
                raise ValueError("more groups than a network has")
            if not isinstance(node.get(name, getlink=True), h5py.HardLink):
                continue
            child = node[name]
            if isinstance(child, h5py.Group):
                pending.append((child, depth + 1))
            elif isinstance(child, h5py.Dataset) and child.ndim in (1, 4) and child.dtype.kind == "f":
                if child.external or child.is_virtual or child.size > MAX_NUMBERS:
                    continue
                total += child.size
                if total > MAX_TOTAL:
                    raise ValueError("more numbers than a network has")
                found.append(child)
    return found


def main(path: str) -> int:
    """Exit status 0; 3 without h5py; 4 with a line on standard error where the file cannot be read."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    try:
        import h5py
        import numpy as np
    except ImportError:
        return 3
    limit(path)
    try:
        with h5py.File(path, "r") as file:
            datasets = walk(file, h5py)
            arrays = [np.asarray(d[()], dtype="<f4") for d in datasets]
            header = [[d.name, list(d.shape)] for d in datasets]
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        sys.stderr.write(" ".join(str(error).split())[:200])
        return 4
    out = sys.stdout.buffer
    out.write(json.dumps(header).encode() + b"\n")
    for array in arrays:
        out.write(array.tobytes())
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
