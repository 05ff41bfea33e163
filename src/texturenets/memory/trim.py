"""Returns freed memory to the system: a service runs for weeks, and shares its machine."""

from __future__ import annotations

import ctypes
import functools
import platform
import threading
import time
from typing import Any

# mallopt(3): numbers of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8

MALLOC_ARENAS = 2
"""Heaps of glibc's. By default it has eight for each core, every thread that decodes one of its own, and what is
freed in one is of no use to another."""

OWN_PAGES = 4 * 2**20
"""Bytes from which an array gets pages of its own, which go back when it is freed. By default glibc raises this to 32
MB as arrays are freed, and images end in heaps, between smaller things that stay."""

TRIM_INTERVAL = 10.0
"""Seconds between two calls of malloc_trim, each of which takes milliseconds."""


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def return_freed_memory() -> bool:
    """Configure glibc to do so, before threads are started; False without glibc."""
    libc = _libc()
    if libc is None:
        return False
    settings = ((M_ARENA_MAX, MALLOC_ARENAS), (M_MMAP_THRESHOLD, OWN_PAGES), (M_TRIM_THRESHOLD, OWN_PAGES))
    return all(libc.mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)


def give_back() -> None:
    """Return free memory of the heaps to the system."""
    if (libc := _libc()) is not None:
        libc.malloc_trim(ctypes.c_size_t(0))


class Trim:
    """Called after every image: returns free memory of the heaps, at most once in TRIM_INTERVAL seconds."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.lock = threading.Lock()

    def __call__(self) -> None:
        """Return free memory, if the last time is long enough ago."""
        with self.lock:
            if time.monotonic() - self.last < TRIM_INTERVAL:
                return
            self.last = time.monotonic()
        give_back()
