"""What threads that wait for each other cost: training and stylizing alone and beside two busy loops.

For `speed.py busy`. Each row is a process of its own, started with what its setting names in the environment, or
with the session option of ONNX Runtime; OpenVINO's threads wait asleep as they come.

    busy.py KIND [--side 1024]    answers each line on its standard input with the seconds that an action took
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from steps import Steps

LOOPS = 2
SPINNING = {"GOMP_SPINCOUNT": "300000"}
"""What libgomp does where nothing is set: so many turns of a loop before a thread sleeps."""
ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}

SETTINGS: dict[str, tuple[str, dict[str, str]]] = {
    "training, threads spin": ("train", SPINNING),
    "training, threads sleep": ("train", ASLEEP),
    "training, ours": ("train", {}),
    "stylize torch, threads spin": ("torch", SPINNING),
    "stylize torch, threads sleep": ("torch", ASLEEP),
    "stylize torch, ours": ("torch", {}),
    "stylize onnx, threads spin": ("onnx-spinning", {}),
    "stylize onnx, ours": ("onnx", {}),
    "stylize openvino": ("openvino", {}),
}
"""By row: the kind of action, and the environment of its process."""


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing but turn in a loop."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


class Child:
    """A process that repeats one action."""

    def __init__(self, kind: str, side: int, environment: dict[str, str]) -> None:
        self.environment = {**os.environ, **environment}
        words = [sys.executable, __file__, kind, "--side", str(side)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment
        )

    ask = Steps.ask

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def measure(side: int, times: int) -> Iterator[tuple[str, float, float]]:
    """Rows: name, median seconds alone, and beside the loops."""
    for name, (kind, environment) in SETTINGS.items():
        child = Child(kind, side, environment)
        try:
            found = []
            for loops in (0, LOOPS):
                with busy(loops):
                    found.append(float(np.median([child.ask("1") for _ in range(times)])))  # type: ignore[arg-type]
        finally:
            child.close()
        yield name, found[0], found[1]


def _stylize(engine: str, side: int) -> Callable[[], Any]:
    from unittest import mock

    from texturenets import engines, noise
    from texturenets.engines.options import EngineOptions
    from texturenets.modelfiles import modelfile

    if engine == "onnx-spinning":
        from texturenets.engines import onnx_engine

        with mock.patch.object(onnx_engine, "SPINNING", "1"):
            made = engines.load(modelfile.find("wave"), EngineOptions("onnx", "cpu"))
    else:
        made = engines.load(modelfile.find("wave"), EngineOptions(engine, "cpu"))
    x = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    maps = noise.draw_arrays(made.io_spec.noise, [0], side, side)
    return lambda: made(x, maps)


def _train(side: int) -> Callable[[], Any]:
    from steps import KINDS

    return KINDS["quick-own"](side // 4, 2, "cpu")


def main() -> None:
    """Answer until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("--side", type=int, default=1024)
    args = parser.parse_args()
    action = _train(args.side) if args.kind == "train" else _stylize(args.kind, args.side)
    for _ in range(2):
        action()
    for _ in sys.stdin:
        start = time.perf_counter()
        action()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
