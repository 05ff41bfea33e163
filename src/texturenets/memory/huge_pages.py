"""Memory in pages of 2 MB: an image's feature maps take gigabytes, which the system zeroes and hands out page by
page. It is configured before anything else, so this module imports nothing slow.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder

_TUNABLES = "GLIBC_TUNABLES"
_LARGE = "glibc.malloc.hugetlb"


def use_large_pages(system: str = "/sys/kernel/mm/transparent_hugepage/enabled") -> None:
    """Restart this program, with its arguments, so that glibc requests large pages; return if that is useless. Large
    pages are for OpenVINO. ONNX Runtime touches more memory, and waiting for pages of that size takes longer than
    they save (docs/measurements.md). glibc reads its settings only when a process starts. `system`: the file in which
    Linux says whether programs have to request large pages ("madvise"). Settings of the user are kept.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch requests them itself
    tunables = os.environ.get(_TUNABLES, "")
    if _LARGE in tunables or not sys.executable or not _by_glibc() or not PathFinder.find_spec("openvino"):
        return
    try:
        with open(system, encoding="ascii") as file:  # noqa: PTH123  pathlib takes longer than the rest
            if "[madvise]" not in file.read():
                return
        os.environ[_TUNABLES] = ":".join(filter(None, [tunables, f"{_LARGE}=1"]))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:  # no such file, or it cannot be restarted: small pages work, too, but slower
        return


def _by_glibc() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except ValueError:  # another library
        return False
