"""Memory in pages of 2 MB: an image's maps are gigabytes, which the system hands over, zeroed, page by page.

It is done before anything else, so nothing is imported here that takes time.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

_TUNABLES = "GLIBC_TUNABLES"
_LARGE = "glibc.malloc.hugetlb"


def use_large_pages(system: str = "/sys/kernel/mm/transparent_hugepage/enabled") -> None:
    """Start this program anew, with its arguments, for glibc to ask for large pages; return where that is of no use.

    They are for OpenVINO. ONNX Runtime touches more memory, and waits longer for the system to make room for pages of
    that size than it saves (docs/measurements.md). glibc reads its settings when a process starts, and no later.
    `system`: where Linux says whether a program has to ask ("madvise"). What the user has set stays.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch asks by itself
    tunables = os.environ.get(_TUNABLES, "")
    if _LARGE in tunables or not sys.executable or not _by_glibc() or not PathFinder.find_spec("openvino"):
        return
    try:
        with open(system, encoding="ascii") as file:  # noqa: PTH123  pathlib takes longer than the rest
            if "[madvise]" not in file.read():
                return
        os.environ[_TUNABLES] = ":".join(filter(None, [tunables, f"{_LARGE}=1"]))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:  # no such file, or nothing can be started: small pages do as well, slower
        return


def _by_glibc() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except ValueError:  # another library
        return False
