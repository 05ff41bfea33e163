"""Returns freed memory to the system: a service runs for weeks and shares its machine."""

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
"""Number of glibc's heaps. By default there are eight for each core and each decoding thread uses its own; memory
freed in one heap is not reused by another."""

OWN_PAGES = 4 * 2**20
"""Size in bytes from which an array gets pages of its own, which are returned when it is freed. By default glibc
raises this to 32 MB as arrays are freed; images are then allocated in heaps, between smaller blocks that stay."""

TRIM_INTERVAL = 10.0
"""Seconds between two calls of malloc_trim, each of which takes milliseconds."""


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def configure_malloc() -> bool:
    """Configure glibc's malloc to return freed memory to the system; False without glibc. Call before threads
    start."""
    libc = _libc()
    if libc is None:
        return False
    settings = ((M_ARENA_MAX, MALLOC_ARENAS), (M_MMAP_THRESHOLD, OWN_PAGES), (M_TRIM_THRESHOLD, OWN_PAGES))
    return all(libc.mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)


def release_free_memory() -> None:
    """Return free memory of the heaps to the system."""
    if (libc := _libc()) is not None:
        libc.malloc_trim(ctypes.c_size_t(0))


class PeriodicRelease:
    """Called after every image: releases free memory of the heaps, at most once in TRIM_INTERVAL seconds."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.lock = threading.Lock()

    def __call__(self) -> None:
        """Release free memory, unless that was done less than TRIM_INTERVAL seconds ago."""
        with self.lock:
            if time.monotonic() - self.last < TRIM_INTERVAL:
                return
            self.last = time.monotonic()
        release_free_memory()
