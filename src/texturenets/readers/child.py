"""A separate program that reads the arrays of a file with h5py or torch, under limits, and writes them to standard
output.

A library can crash or loop on a damaged file, so it runs in a process that may die. Started by
`isolated.py` with the library's name and the file's path. Output: one line of JSON, [[name, shape], ...],
then the arrays as little-endian float32 in that order. Status 3: the library is not installed.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

MAX_FILE = 1 << 30  # bytes, also after decompression: VGG-19 with its classifier has 575 MB
MAX_OBJECTS = 2000
MAX_ARRAYS = 10_000
MAX_DEPTH = 8
MAX_NUMBERS = 4 << 20  # elements of one array: VGG's largest convolution has 2.4 million
MAX_TOTAL = 32 << 20
SECONDS = 3.0  # in addition to the time for the file's size: one second was not enough on shared cores
MEMORY = 768 << 20  # bytes in addition to the file's size and the memory at the start

Array = tuple[str, tuple[int, ...], Callable[[], Any]]  # name, shape, and what reads it


def limit(size: int) -> None:
    """Processor time, memory and core dumps are bounded where the system can."""
    if sys.platform == "win32":  # only the parent's timeout applies
        return
    import resource
    import signal

    signal.setitimer(signal.ITIMER_PROF, SECONDS + size / 50e6)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        most = used + size + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (OSError, ValueError):
        return


def hdf5(path: str, h5py: Any) -> Iterator[Array]:
    """Datasets of floats; links out of the file are not followed."""
    with h5py.File(path, "r") as file:
        pending = [(file, 0)]
        seen = 0
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
                elif not (isinstance(child, h5py.Dataset) and child.dtype.kind == "f"):
                    continue
                elif not child.external and not child.is_virtual:
                    yield child.name, child.shape or (), partial(child.__getitem__, ())


def pytorch(path: str, torch: Any) -> Iterator[Array]:
    """Tensors of floats, by their dotted path, as `torch.load` reads them without running code of the file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_size(sum(record.file_size for record in archive.infolist()))
            if damaged := archive.testzip():  # torch does not look at the checksums
                raise ValueError(f"the checksum of its record {damaged} is wrong")
    with open(path, "rb") as stream:  # noqa: PTH123 (torch judges a path by its ending)
        value = torch.load(stream, map_location="cpu", weights_only=True)
    yield from tensors(value, torch)


def tensors(node: Any, torch: Any, path: str = "", depth: int = 0) -> Iterator[Array]:
    """Tensors of floats in `node`, a dictionary, wherever a checkpoint keeps its state_dict."""
    if depth > MAX_DEPTH:
        raise ValueError("its dictionaries are nested too deeply")
    if isinstance(node, dict):
        for key, child in node.items():
            if isinstance(key, (str, int)):
                yield from tensors(child, torch, f"{path}.{key}" if path else f"{key}", depth + 1)
    elif type(node) not in (torch.Tensor, torch.nn.Parameter):
        return
    elif node.is_floating_point() and node.layout == torch.strided and node.device.type == "cpu":
        yield path, tuple(node.shape), lambda: node.detach().to(torch.float32).numpy()


READERS: dict[str, Callable[[str, Any], Iterator[Array]]] = {"h5py": hdf5, "torch": pytorch}


def check_size(size: int) -> None:
    """Raises ValueError for more bytes than networks have."""
    if size > MAX_FILE:
        raise ValueError(f"too large: {size / 1e9:.1f} GB, where at most {MAX_FILE / 1e9:.1f} are read")


def arrays(candidates: Iterator[Array], np: Any) -> Iterator[tuple[str, Any]]:
    """The arrays that may be a layer's weight or bias, loaded."""
    count = total = 0
    for name, shape, load in candidates:
        size = math.prod(shape)
        if len(shape) not in (1, 4) or size > MAX_NUMBERS:
            continue
        count, total = count + 1, total + size
        if count > MAX_ARRAYS or total > MAX_TOTAL:
            raise ValueError("more numbers than a network has")
        yield name, np.ascontiguousarray(load(), dtype="<f4")


def reason(error: Exception) -> str:
    """What is wrong with the file; torch's own texts advise to run what is in it."""
    text = str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return "it takes more memory than a network's weights do"
    if named := re.search(r"GLOBAL (\S+)", text):
        return f"it holds {named[1]}, code that was not run; save only model.state_dict()"
    if "TorchScript" in text:
        return "it holds a TorchScript program, which was not run; save only model.state_dict()"
    if "Unsupported operand 149" in text:
        return "its pickle is of protocol 4 or later, which torch refuses; save it with torch.save's own"
    if text.startswith("Weights only load failed"):
        text = text.split("\n\n")[-2]
    return text or type(error).__name__


def main(library: str, path: str) -> int:
    """Exit status 0; 3 without the library; 4 with a line on standard error where the file cannot be read."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"  # the stacks of threads count as memory
    os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
    try:
        module = importlib.import_module(library)
        import numpy as np
    except ImportError:
        return 3
    try:
        size = Path(path).stat().st_size
        check_size(size)
        limit(size)
        loaded = list(arrays(READERS[library](path, module), np))
    except Exception as error:  # noqa: BLE001 (a library may raise anything)
        sys.stderr.write(" ".join(reason(error).split())[:200])
        return 4
    out = sys.stdout.buffer
    out.write(json.dumps([[name, array.shape] for name, array in loaded]).encode() + b"\n")
    for _, array in loaded:
        out.write(array.data)
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
