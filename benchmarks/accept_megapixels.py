"""Photos of many megapixels in 8 GB: whole where they fit, and about as fast as with memory without end.

    python benchmarks/accept_megapixels.py [--megapixels 12 24 54] [--photo FILE] [--memory 8G] [--busy] [--runs 1]

A photo (PHOTO enlarged, or drawn) is stylized by `texturenets stylize --memory MEMORY` and by the same program with
`--memory 1000G`, in turn. Printed are the seconds of both, their ratio, and the peaks of resident memory. At most
1.15 times the time on a machine that does nothing else; with `--busy`, beside two processes that turn in a loop, at
most 3 times. What is done in strips is said; that its peak stays below MEMORY is checked, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from busy import LOOPS, busy
from PIL import Image

from texturenets.memory.budget import parse

QUIET, BUSY = 1.15, 3.0
SIZES = {12: (4000, 3000), 24: (6000, 4000), 54: (9000, 6000)}


@dataclass
class Run:
    """Seconds, peak bytes resident, whether it went piece by piece."""

    seconds: float
    peak: int
    strips: bool


def enlarged(photo: Path | None, size: tuple[int, int], path: Path) -> None:
    """A photo of `size` (W, H) as JPEG."""
    if photo is not None:
        source = Image.open(photo).convert("RGB")
    else:
        random = np.random.default_rng(0)
        source = Image.fromarray(random.integers(0, 256, (size[1] // 16, size[0] // 16, 3), np.uint8))
    source.resize(size, Image.Resampling.BICUBIC).save(path, quality=92)


def stylize(photo: Path, style: str, memory: str) -> Run:
    """One run of the program."""
    words = [sys.executable, "-m", "texturenets", "stylize", str(photo), "-s", style, "--memory", memory]
    with tempfile.NamedTemporaryFile("r+") as log:
        start = time.perf_counter()
        child = subprocess.Popen(
            [*words, "-o", str(photo.with_name("out.jpg"))], stdout=subprocess.DEVNULL, stderr=log
        )
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        said = Path(log.name).read_text()
    if status:
        sys.exit(f"{' '.join(words)} failed: {said}")
    return Run(seconds, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024), " passes, " in said)


def main() -> int:
    """Run it; 0 if everything holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=int, nargs="*", choices=[*SIZES], default=[*SIZES])
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--style", default="wave")
    parser.add_argument("--memory", default="8G")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    passed, most = True, BUSY if options.busy else QUIET
    for megapixels in options.megapixels:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            photo = Path(folder) / "photo.jpg"
            enlarged(options.photo, SIZES[megapixels], photo)
            if megapixels == options.megapixels[0]:
                stylize(photo, options.style, "1000G")  # files and caches are warm from here on
            if options.busy:
                stack.enter_context(busy(LOOPS))
            free, bounded = [], []
            for _ in range(options.runs):
                free.append(stylize(photo, options.style, "1000G"))
                bounded.append(stylize(photo, options.style, options.memory))
            a, b = (statistics.median(run.seconds for run in runs) for runs in (free, bounded))
            peak = max(run.peak for run in bounded)
            holds = b <= most * a and peak <= parse(options.memory)
            passed &= holds
            print(
                f"{'ok    ' if holds else 'FAILED'} {megapixels} megapixels{', busy' if options.busy else ''}: "
                f"{b:.1f} s within {options.memory}{', in strips' if bounded[0].strips else ''}, {a:.1f} s without "
                f"end: {b / a:.2f} times (at most {most:g}); peaks {peak / 1e9:.2f} and "
                f"{max(run.peak for run in free) / 1e9:.2f} GB",
                flush=True,
            )
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
