"""What an image takes of memory by each engine, beside what `Engine.peak` says: for `speed.py memory`.

peaks.py NETWORK ENGINE PRECISION [--side 1024]    a process of its own: bytes a pixel measured, and estimated
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from texturenets.networks import make_spec, network_files

NETWORKS: dict[str, dict[str, Any]] = {
    "residual": {},
    "johnson": {},
    "pyramid": {},
    "skip": {"photo": True},
    "multiscale": {"photo": True},
    "skip_unpool": {},
}
ENGINES = (
    ("openvino", "bf16"),
    ("openvino", "float32"),
    ("onnx", "float32"),
    ("torch", "float32"),
    ("torch", "bf16"),
)
NEAR = 0.2
"""How far an estimate may be from what is measured."""


def measure(names: list[str], side: int) -> Iterator[tuple[str, str, float, float]]:
    """Rows: network, engine and precision, bytes a pixel measured and estimated."""
    for name in names:
        for engine, precision in ENGINES:
            words = [sys.executable, __file__, name, engine, precision, "--side", str(side)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}, {engine} {precision}: {done.stderr.splitlines()[-1:]}", file=sys.stderr)
                continue
            measured, estimated = map(float, done.stdout.split())
            yield name, f"{engine} {precision}", measured, estimated


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def _one(name: str, engine: str, precision: str, side: int) -> tuple[float, float]:
    import torch

    from texturenets import engines, noise
    from texturenets.engines.options import EngineOptions
    from texturenets.modelfiles import modelfile
    from texturenets.networks import build

    torch.manual_seed(0)
    spec = type(make_spec(name))(**NETWORKS[name])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        network_files.save(build(spec), modelfile.Header(name=name, kind="style", generator=spec), path)
        made = engines.load(path, EngineOptions(engine, "cpu", precision))
    io_spec = made.io_spec

    def run(side: int) -> tuple[int, int]:
        """Bytes that an image takes beside what is given, and its pixels."""
        side = -(-max(side, io_spec.min_side) // io_spec.stride) * io_spec.stride
        x = np.random.default_rng(0).random((1, 3, side, side), np.float32)
        maps = noise.draw_arrays(io_spec.noise, [0], side, side)
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
        made(x, maps)
        return _status("VmHWM") - before, side

    run(256)  # kernels are compiled
    measured, side = run(side)
    return measured / side**2, made.peak((side, side)) / side**2


def main() -> None:
    """One measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("engine")
    parser.add_argument("precision")
    parser.add_argument("--side", type=int, default=1024)
    args = parser.parse_args()
    print(*_one(args.network, args.engine, args.precision, args.side))


if __name__ == "__main__":
    main()
