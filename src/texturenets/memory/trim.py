"""Freed memory goes back to the system: a service runs for weeks, and shares its machine."""

from __future__ import annotations

import ctypes
import functools
import platform
import threading
import time
from typing import Any

# mallopt(3): numbers of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8

ARENAS = 2
"""Heaps of glibc's. By default it has eight for each core, every thread that decodes one of its own, and what is
freed in one is of no use to another."""

OWN_PAGES = 4 * 2**20
"""Bytes from which an array gets pages of its own, which go back when it is freed. By default glibc raises this to 32
MB as arrays are freed, and images end in heaps, between smaller things that stay."""

PAUSE = 10.0
"""Seconds between two times that heaps are looked through for pages to give back; it takes milliseconds."""


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def return_freed_memory() -> bool:
    """Tell glibc so, before threads are started; False where there is none."""
    libc = _libc()
    if libc is None:
        return False
    settings = ((M_ARENA_MAX, ARENAS), (M_MMAP_THRESHOLD, OWN_PAGES), (M_TRIM_THRESHOLD, OWN_PAGES))
    return all(libc.mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in settings)


def give_back() -> None:
    """Give back what lies free in the heaps."""
    if (libc := _libc()) is not None:
        libc.malloc_trim(ctypes.c_size_t(0))


class Trim:
    """Called after every image, gives back what lies free in the heaps, at most once in PAUSE seconds."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.lock = threading.Lock()

    def __call__(self) -> None:
        """Give back, or leave it for later."""
        with self.lock:
            if time.monotonic() - self.last < PAUSE:
                return
            self.last = time.monotonic()
        give_back()
