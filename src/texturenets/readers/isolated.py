"""Arrays of files that a library reads for us: h5py or torch, in a process of its own (`child.py`)."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from texturenets.errors import UserError, install
from texturenets.readers.stored import FormatError

CHILD: Final = Path(__file__).with_name("child.py")
START: Final = 60.0  # seconds for a slow machine to import torch; the child bounds its own processor time


def _run(library: str, path: Path) -> bytes:
    command = [sys.executable, "-P", "-W", "ignore", str(CHILD), library, str(path.resolve())]
    limit = START + path.stat().st_size / 10e6
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=limit, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise FormatError(f"{library} did not come to an end with it") from None
    if done.returncode == 3:
        raise UserError(f"{path} is read by {library}, which is not installed: {install('train')}")
    if done.returncode == 4:
        raise FormatError(done.stderr.decode(errors="replace") or f"{library} refused it")
    if hasattr(signal, "SIGPROF") and done.returncode == -signal.SIGPROF:
        raise FormatError(f"{library} took too long over it")
    if done.returncode:
        raise FormatError(f"{library} failed on it (status {done.returncode})")
    return done.stdout


def read(library: Literal["h5py", "torch"], path: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays of floats with 1 or 4 dimensions in the file, as convolutions and norms have them, by their path.

    Raises FormatError and OSError, and UserError if the library is not installed.
    """
    head, _, body = _run(library, path).partition(b"\n")
    out: dict[str, NDArray[np.float32]] = {}
    position = 0
    for name, shape in json.loads(head):
        count = math.prod(shape)
        flat = np.frombuffer(body, "<f4", count, position)
        out[name] = flat.reshape(shape).astype(np.float32)
        position += 4 * count
    return out
