"""A folder by many workers: nothing is lost, doubled or half written, and handing it out costs little.

    accept_cluster.py [--count 20000] [--rounds 3] [--measured 1200] [--style wave] [--keep FOLDER]

1. `--count` photos of 256 x 256 in folders, ten of them damaged, through `stylize --cluster` on this machine. Midway
   one worker's process is killed. Every good photo must have exactly one valid result, the report must name the ten,
   and a second run must do nothing.
2. `--measured` photos, by the plain loop and by the cluster in turn, `--rounds` times each. What is compared is the
   time from the first result that is there to the last one, per photo: without the start of either.

`--count 0` leaves out the first part, `--rounds 0` the second.

Photos are crops of the training images, some mirrored, scaled by 0.8 to 1.25. They and the results go into a
temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bars import ROOT, shared, texturenets
from PIL import Image, ImageOps

SIDE, DAMAGED, MOST = 256, 10, 0.15
WORKER = b"ray::MapWorker(MapBatches(_Actor"  # what Ray calls the process of a worker


def make(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """`count` photos in folders of a thousand."""
    draw = random.Random(seed)
    sources = sorted((shared() / "images/content/train").glob("*.jpg"))
    pictures = [Image.open(path).convert("RGB") for path in sources]
    made = []
    for i in range(count):
        picture = draw.choice(pictures)
        side = min(round(SIDE / draw.uniform(0.8, 1.25)), *picture.size)
        left, top = (draw.randint(0, length - side) for length in picture.size)
        crop = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        path = folder / f"{i // 1000:02}" / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        (ImageOps.mirror(crop) if draw.random() < 0.5 else crop).save(path, quality=90)
        made.append(path)
    return made


def damage(photos: list[Path], seed: int = 1) -> set[Path]:
    """Cut ten files, fill them with something else, or empty them."""
    chosen = random.Random(seed).sample(photos, DAMAGED)
    for number, path in enumerate(chosen):
        data = path.read_bytes()
        path.write_bytes((data[: len(data) // 2], b"not an image", b"")[number % 3])
    return set(chosen)


def command(photos: Path, output: Path, style: str, *more: str) -> list[str]:
    """The words of a run."""
    return ["stylize", str(photos), "-s", style, "-o", str(output), *more]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """The program, running; what it prints goes into files of `folder`: a pipe that nobody reads would stop it."""
    with (folder / "printed").open("w") as printed, (folder / "told").open("w") as told:
        return subprocess.Popen(
            [sys.executable, "-m", "texturenets", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=printed,
            stderr=told,
            text=True,
        )


def kill_a_worker(children_of: int) -> int:
    """SIGKILL to the process of one worker of the run `children_of`; 0 where there is none."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
    for pid in parents:
        above = pid
        while above in parents and above != children_of:
            above = parents[above]
        try:
            if above == children_of and Path(f"/proc/{pid}/cmdline").read_bytes().startswith(WORKER):
                os.kill(pid, signal.SIGKILL)
                return pid
        except OSError:
            continue
    return 0


def results(output: Path) -> list[Path]:
    """The images in a folder, those begun too."""
    return [path for path in output.rglob("*") if path.is_file() and path.suffix != ".jsonl"]


def valid(path: Path) -> bool:
    """Whether a file is a whole image of the right size."""
    try:
        with Image.open(path) as picture:
            picture.load()
            return picture.size == (SIDE, SIDE)
    except OSError:
        return False


def part_one(folder: Path, count: int, style: str) -> bool:
    """The run with a killed worker."""
    photos = make(folder / "in", count)
    bad = damage(photos)
    output = folder / "out"
    words = command(folder / "in", output, style, "--cluster", "--workers", "2")
    began = time.monotonic()
    process = start(folder, *words)
    killed = 0
    manifest = output / "manifest.jsonl"
    while process.poll() is None and not killed:
        time.sleep(0.5)
        if manifest.is_file() and manifest.read_bytes().count(b'"done"') >= count // 2:
            killed = kill_a_worker(process.pid)
    process.wait()
    printed, told = ((folder / name).read_text() for name in ("printed", "told"))
    if not manifest.is_file():
        sys.exit(told.strip())
    print(f"{count} photos in {time.monotonic() - began:.0f} s, worker {killed} killed midway", flush=True)

    expected = {
        output / path.parent.name / f"{path.stem}-{style}.jpg": path for path in photos if path not in bad
    }
    found = results(output)
    whole = sum(map(valid, found))
    named = {path for path in bad if str(path) in told.splitlines()[-1]}
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    done = [line["result"] for line in lines if line.get("status") == "done"]
    checks = {
        "a worker was killed": killed > 0,
        "exit status is 2": process.returncode == 2,
        f"{len(expected)} results and nothing else": sorted(found) == sorted(expected),
        "all of them valid": whole == len(found),
        "each once in the manifest": len(done) == len(set(done)) == len(expected),
        "each once on standard output": sorted(printed.splitlines()) == sorted(map(str, expected)),
        f"the last line names the {DAMAGED} damaged": named == bad,
    }
    before = {path: path.stat().st_mtime_ns for path in found}
    size, began = manifest.stat().st_size, time.monotonic()
    again = texturenets(*words, check=False)
    took = time.monotonic() - began
    checks["the second run does nothing"] = (
        {path: path.stat().st_mtime_ns for path in results(output)} == before
        and manifest.stat().st_size == size
        and f"0 done, {len(expected)} there already" in again.stderr
    )
    for what, good in checks.items():
        print(f"  {'yes' if good else 'NO ':4}{what}")
    print(f"  the second run took {took:.1f} s", flush=True)
    if not all(checks.values()):
        print(told[-2000:], again.stderr[-500:])
    return all(checks.values())


def rate(words: list[str], output: Path) -> float:
    """Seconds a photo of a run, from its first results to its last."""
    process = start(output.parent, *words, "--quiet")
    if process.wait():
        sys.exit((output.parent / "told").read_text())
    times = sorted(path.stat().st_mtime for path in results(output))
    skipped = len(times) // 20  # both have come up to speed
    return (times[-1] - times[skipped]) / (len(times) - 1 - skipped)


def part_two(folder: Path, count: int, rounds: int, style: str) -> bool:
    """The cluster against the plain loop."""
    make(folder / "few", count, seed=2)
    seconds: dict[str, list[float]] = {"plain": [], "cluster": []}
    for number in range(rounds):
        for name, more in (("plain", ()), ("cluster", ("--cluster", "--workers", "2"))):
            output = folder / f"{name}-{number}"
            seconds[name].append(rate(command(folder / "few", output, style, *more), output))
            print(f"  {name:8} {1000 * seconds[name][-1]:7.1f} ms a photo", flush=True)
    plain, cluster = (statistics.median(seconds[name]) for name in ("plain", "cluster"))
    over = cluster / plain - 1
    print(
        f"medians {1000 * plain:.1f} and {1000 * cluster:.1f} ms: overhead {100 * over:+.1f} % (at most 15)"
    )
    return over <= MOST


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measured", type=int, default=1200)
    parser.add_argument("--style", default="wave")
    parser.add_argument(
        "--keep", type=Path, help="a folder for photos and results [default: a temporary one]"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="accept-cluster-") as temporary:
        folder = options.keep or Path(temporary)
        good = not options.count or part_one(folder, options.count, options.style)
        if options.rounds:
            good &= part_two(folder, options.measured, options.rounds, options.style)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
