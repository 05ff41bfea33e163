"""32 clients on loopback with photos of mixed sizes: no wrong or lost answer, throughput, steady memory.

    python benchmarks/accept_service.py                    the bar: 10 minutes
    python benchmarks/accept_service.py --seconds 30       a look

Every answer is compared, byte for byte, with the file that `texturenets stylize` writes. Throughput is that of the
service over that of decode, engine and encode alone, one photo after the other in one process. Memory is the resident
size at the end over that after the first minute (the first third of a shorter run), every size having gone through
at least twice by then; the median of several looks, as photos come and go.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from service import Running, photos, service

CLIENTS = 32


def alone(files: list[Path], style: str, seconds: float) -> float:
    """Photos a second of decode, engine and encode in this process."""
    import texturenets
    from texturenets import image

    loaded = texturenets.load(style)

    def stylize(path: Path) -> None:
        picture = image.from_bytes(path.read_bytes())
        picture.pixels = loaded.stylize(picture.pixels)
        image.to_bytes(path, picture)

    for path in files:  # kernels of every size
        stylize(path)
    done, began = 0, time.perf_counter()
    for path in itertools.cycle(files):
        stylize(path)
        done += 1
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


def ask(  # noqa: PLR0917
    running: Running,
    style: str,
    bodies: list[bytes],
    right: list[bytes],
    seen: Counter[str],
    ends: float = math.inf,
    count: int | None = None,
) -> None:
    """One client: photo after photo until the time is over, or so many."""
    start = threading.get_ident() % len(bodies)
    stop = None if count is None else start + count
    for i in itertools.islice(itertools.cycle(range(len(bodies))), start, stop):
        if time.monotonic() > ends:
            return
        try:
            line = http.client.HTTPConnection(*running.host, timeout=120)
            line.request("POST", f"/v1/stylize?style={style}", bodies[i])
            answer = line.getresponse()
            body = answer.read()
            line.close()
        except OSError:
            seen["lost"] += 1
            continue
        if answer.status != 200:
            seen[f"status {answer.status}"] += 1
        else:
            seen["right" if body == right[i] else "wrong"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--style", default="wave")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photos(folder)
        made = folder / "made"
        words = [
            "-m",
            "texturenets",
            "stylize",
            *map(str, files),
            "-s",
            options.style,
            "-o",
            str(made),
            "--quiet",
        ]
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        right = [(made / f"{p.stem}-{options.style}{p.suffix}").read_bytes() for p in files]
        bodies = [p.read_bytes() for p in files]
        rate = alone(files, options.style, max(5.0, options.seconds / 20))
        with service(folder / "log", "--max-queue", "64", "--max-seconds", "120") as running:
            ask(running, options.style, bodies, right, Counter(), count=2 * len(bodies))  # every size, loaded
            seen: Counter[str] = Counter()
            began = time.monotonic()
            ends = began + options.seconds
            clients = [
                threading.Thread(target=ask, args=(running, options.style, bodies, right, seen, ends))
                for _ in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            looks: list[tuple[float, int]] = []
            while time.monotonic() < ends:
                time.sleep(min(1.0, options.seconds / 60))
                looks.append((time.monotonic() - began, running.resident()))
            for client in clients:
                client.join()
            took = time.monotonic() - began
    first = min(60.0, options.seconds / 3)
    span = options.seconds / 20
    early = statistics.median(size for when, size in looks if first <= when <= first + span)
    late = statistics.median(size for when, size in looks if when >= options.seconds - span)
    share = seen["right"] / took / rate
    growth = late / early - 1
    trace = [f"{size / 2**20:.0f}" for _, size in looks[:: max(1, len(looks) // 20)]]
    print(f"answers: {dict(seen)} in {took:.0f} s")
    print(f"throughput: {seen['right'] / took:.2f}/s, alone {rate:.2f}/s: {share:.0%}")
    print(
        f"memory: {early / 2**20:.0f} MiB after {first:.0f} s, {late / 2**20:.0f} MiB at the end: {growth:+.1%}"
    )
    print(f"memory over the time, MiB: {' '.join(trace)}")
    if set(seen) != {"right"} or share < 0.9 or growth > 0.05:
        sys.exit("short of the bar: right answers alone, 90 % of the throughput, 5 % of growth")


if __name__ == "__main__":
    main()
