"""An image of any size in little memory: peak resident memory, time a megapixel, and what SIGKILL leaves behind.

    python benchmarks/accept_gigapixel.py [--size 16384] [--style wave] [--memory 2500M] [--limit 3] [--photo FILE]
        [--engine openvino]

A photo of SIZE x SIZE pixels (PHOTO enlarged, or drawn) is written as JPEG and stylized into a TIFF by
`texturenets stylize --memory MEMORY`. Printed are the peak of resident memory of the process and its children, added
up every tenth of a second (at most LIMIT GB), the rate at which the disk writes, and the time a megapixel, of the
clock and of the processor, relative to 4096 x 4096 in memory with the same engine (at most 1.5 times by the clock).
Then the same again, killed by SIGKILL in the
middle: nothing may appear under the result's name, the disk must have its space back, and after the next start
nothing of the killed run may be left.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATIO = 1.5
SIDE = 4096  # of the image in memory


@dataclass
class Measured:
    """A run: seconds of the clock (in all, and after it has said what it does) and of the processor, peak bytes
    resident, exit status."""

    clock: float
    working: float
    processor: float
    peak: int
    status: int


def resident(root: int) -> int:
    """Bytes resident of a process and of all that descend from it."""
    page = os.sysconf("SC_PAGE_SIZE")
    parents: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            sizes[int(entry.name)] = int((entry / "statm").read_text().split()[1]) * page
        except (OSError, IndexError):
            continue
        parents.setdefault(int(fields[1]), []).append(int(entry.name))
    total, queue = 0, [root]
    while queue:
        number = queue.pop()
        total += sizes.get(number, 0)
        queue.extend(parents.get(number, []))
    return total


def measured(words: list[str], kill_after: float | None = None) -> Measured:
    """Run a command line, watched; killed `kill_after` seconds after it has announced what it does."""
    before = os.times()
    start = time.perf_counter()
    with tempfile.NamedTemporaryFile("w+") as log:
        child = subprocess.Popen(words, stderr=log)
        peak, announced_at = 0, None
        while child.poll() is None:
            peak = max(peak, resident(child.pid))
            if announced_at is None and " passes, " in Path(log.name).read_text():
                announced_at = time.perf_counter()
            if kill_after is not None and announced_at and time.perf_counter() > announced_at + kill_after:
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
            time.sleep(0.1)
        announced = Path(log.name).read_text().strip()
    print("   ", announced.replace("\n", "\n    "), flush=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    end = time.perf_counter()
    return Measured(end - start, end - (announced_at or start), used, peak, child.returncode)


def make(path: Path, size: int, photo: Path | None) -> None:
    """Write a photo of size x size pixels, strip by strip."""
    import pyvips

    if photo is not None:
        source = pyvips.Image.new_from_file(str(photo))
        side = min(source.width, source.height)
        source = source.crop(0, 0, side, side)
    else:
        random = np.random.default_rng(0)
        source = pyvips.Image.new_from_array(random.integers(0, 256, (size // 16, size // 16, 3), np.uint8))
    source.resize(size / source.width, kernel="cubic").crop(0, 0, size, size).jpegsave(str(path), Q=92)


def in_memory(style: str, engine: str) -> tuple[float, float]:
    """Seconds a megapixel in memory, of the clock and of the processor: the best of three."""
    program = (
        "import sys, time, numpy as np, texturenets as tn\n"
        f"s = tn.load({style!r}, 'cpu', engine={engine!r})\n"
        f"x = np.random.rand(1, 3, {SIDE}, {SIDE}).astype('float32')\n"
        "s.stylize(x)\n"
        "for _ in range(3):\n"
        "    a, b = time.perf_counter(), time.process_time(); s.stylize(x)\n"
        "    print(time.perf_counter() - a, time.process_time() - b)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    rows = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    million = SIDE**2 / 1e6
    return min(row[0] for row in rows) / million, min(row[1] for row in rows) / million


def written(folder: Path, size: int = 2**30) -> float:
    """Bytes a second that the disk takes."""
    part = os.urandom(2**24)
    start = time.perf_counter()
    with (folder / "written").open("wb") as file:
        for _ in range(size // len(part)):
            file.write(part)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    (folder / "written").unlink()
    return size / seconds


def main() -> int:
    """Run it; 0 if everything holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=16384)
    parser.add_argument("--style", default="wave")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--memory", default="2500M")
    parser.add_argument("--limit", type=float, default=3.0, help="GB resident")
    parser.add_argument("--photo", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    passed = True

    def check(holds: bool, text: str) -> None:
        nonlocal passed
        passed &= holds
        print(f"{'ok    ' if holds else 'FAILED'} {text}", flush=True)

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        photo, result = folder / "photo.jpg", folder / "result.tif"
        make(photo, options.size, options.photo)
        program = [
            str(Path(sys.executable).with_name("texturenets")),
            "stylize",
            str(photo),
            "-s",
            options.style,
        ]
        flags = ["--engine", options.engine, "--memory", options.memory, "--spool", name]
        clock, processor = in_memory(options.style, options.engine)
        print(f"in memory: {clock:.3f} s a megapixel, {processor:.3f} s of the processor")
        print(f"the disk writes {written(folder) / 1e6:.0f} MB/s")

        done = measured([*program, *flags, "-o", str(result)])
        millions = options.size**2 / 1e6
        check(done.status == 0 and result.is_file(), f"{options.size} x {options.size} in {done.clock:.0f} s")
        check(
            done.peak <= options.limit * 1e9,
            f"peak resident {done.peak / 1e9:.2f} GB, at most {options.limit:g}",
        )
        slower, ratio = done.clock / millions / clock, done.processor / millions / processor
        print(f"       {done.processor / millions:.3f} s of the processor a megapixel, {ratio:.2f} times")
        check(slower <= RATIO, f"{done.clock / millions:.3f} s a megapixel by the clock, {slower:.2f} times")

        second = folder / "second.tif"
        free = shutil.disk_usage(folder).free
        killed = measured([*program, *flags, "-o", str(second)], kill_after=done.working / 2)
        check(killed.status == -signal.SIGKILL, "killed in the middle")
        check(not second.exists(), "nothing under the result's name")
        left = [path for path in folder.iterdir() if path not in (photo, result)]
        size = sum(path.stat().st_size for path in left)
        check(
            all(path.name.startswith(".") for path in left),
            f"left behind: {[path.name for path in left]}, {size} bytes",
        )
        gone = free - size - shutil.disk_usage(folder).free
        check(gone < 0.1e9, f"space on disk not given back: {max(0, gone) / 1e9:.2f} GB")
        again = measured([*program, "-o", str(second), "--size", "512"])
        left = [path for path in folder.iterdir() if path not in (photo, result, second)]
        check(again.status == 0 and not left, "nothing left after the next start")
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
