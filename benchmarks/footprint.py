"""Memory of a service: after its start, with a style loaded, and at most while large and small photos come at once.

    python benchmarks/footprint.py [--megapixels 24] [--options --no-page]

The figures of docs/measurements.md, "The service". In a container, or a control group with a namespace of its own,
the service takes less: large images are then stylized piece by piece.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from accept_attack import PAINT, call
from PIL import Image
from service import Running, service


def photo(megapixels: float) -> bytes:
    """A photo's file, of noise that is coarse enough to be small."""
    width = round((megapixels * 1.5e6) ** 0.5)
    values = np.random.default_rng(0).integers(0, 256, (width // 24, width // 16, 3), dtype=np.uint8)
    with tempfile.TemporaryFile() as file:
        Image.fromarray(values).resize((width, width * 2 // 3), Image.Resampling.BICUBIC).save(file, "JPEG")
        file.seek(0)
        return file.read()


def peak(running: Running) -> int:
    """The most bytes that it has held so far (Linux)."""
    lines = Path(f"/proc/{running.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--large", type=int, default=3, help="large photos at once")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[])
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        service(Path(name) / "log", "--max-seconds", "300", *options.options) as running,
    ):
        while call(running, "GET", "/readyz")[0] != 200:
            time.sleep(0.1)
        print(f"after the start {running.resident() / 2**20:.0f} MiB", flush=True)
        small, large = photo(1), photo(options.megapixels)
        call(running, "POST", PAINT, small)
        print(f"with a style loaded {running.resident() / 2**20:.0f} MiB", flush=True)
        seen: Counter[int] = Counter()
        for bodies in ([small] * 8, [large], [large] * options.large + [small] * 8):
            began = time.monotonic()
            threads = [
                threading.Thread(
                    target=lambda body=body: seen.update(
                        [call(running, "POST", PAINT, body, patience=300)[0]]
                    )
                )
                for body in bodies
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            said = f"{sum(body is large for body in bodies)} large, {sum(body is small for body in bodies)} small"
            print(
                f"{said}: {peak(running) / 2**20:.0f} MiB at most, {time.monotonic() - began:.1f} s",
                flush=True,
            )
        time.sleep(11)
        call(running, "POST", PAINT, small)
        print(f"afterwards {running.resident() / 2**20:.0f} MiB; answers {dict(seen)}", flush=True)


if __name__ == "__main__":
    main()
