"""Steps of training, each kind in a process of its own, as a user would run it: for `speed.py train`.

Settings that one program makes for its process, such as what is done with freed memory, must not help the other one,
and while one is timed there is no other. A process answers each line on its standard input with a line: for a number,
the seconds a step took in the mean over as many; for "flops", the multiplications and additions of a step.

    steps.py KIND [--side 256] [--batch 4] [--device cpu]
"""

from __future__ import annotations

import argparse
import atexit
import dataclasses
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peer
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from texturenets import image
from texturenets.memory.malloc import keep_freed_memory
from texturenets.readers import shapes
from texturenets.train.configuration import StyleConfig
from texturenets.train.presets import style_preset, with_descriptor
from texturenets.train.style_task import StyleTask
from texturenets.train.trainer import Trainer
from texturenets.train.trainer_config import TrainerConfig

WARM = 8  # steps on a GPU, more than those that pass before one is captured as a CUDA graph


class Steps:
    """A process that makes steps of one kind."""

    def __init__(self, kind: str, side: int, batch: int, device: str) -> None:
        words = [
            sys.executable,
            __file__,
            kind,
            "--side",
            str(side),
            "--batch",
            str(batch),
            "--device",
            device,
        ]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, words: str) -> float:
        """What it answers."""
        there, back = self.process.stdin, self.process.stdout
        assert there is not None
        assert back is not None
        try:
            there.write(f"{words}\n")
            there.flush()
            answer = back.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            sys.exit(f"the process {self.process.args} ended with {self.process.wait()}")
        return float(answer)

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def _peer(side: int, batch: int, device: str) -> Callable[[], Any]:
    return peer.Training(batch, side, device).step


def _peer_bf16(side: int, batch: int, device: str) -> Callable[[], Any]:
    training = peer.Training(batch, side, device)
    training.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training.vgg.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training.photos = training.photos.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16):
            training.step()

    return step


def _peer_memory(side: int, batch: int, device: str) -> Callable[[], Any]:
    keep_freed_memory()
    return _peer(side, batch, device)


def _peer_bf16_memory(side: int, batch: int, device: str) -> Callable[[], Any]:
    keep_freed_memory()
    return _peer_bf16(side, batch, device)


def _ours(precision: str, own: bool, side: int, batch: int, device: str) -> Callable[[], Any]:
    return _steps(_config(precision, own, side, batch), device)


def _quick(network: str, side: int, batch: int, device: str) -> Callable[[], Any]:
    """`--preset quick --descriptor NETWORK`."""
    config = with_descriptor(style_preset("quick"), network)
    return _steps(dataclasses.replace(config, image_size=side, batch_size=batch, steps=10**6), device)


def _steps(config: StyleConfig, device: str) -> Callable[[], Any]:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    steps = iter(_training(Path(folder.name), config, device))
    return lambda: next(steps)


def _config(precision: str, own: bool, side: int, batch: int) -> StyleConfig:
    """The peer's network, layers and batch; `own`: layers of the descriptor network `own`, not VGG-16's."""
    layers = [f"own:map_relu{n}" if own else f"vgg16:relu{n}" for n in ("1_2", "2_2", "3_3", "4_3")]
    return dataclasses.replace(
        style_preset("paper"),
        generator="johnson",
        set=("upsampling=nearest", "decoder_norm=true", "exit_kernel=9", "padding=reflect"),
        style_layers=tuple(layers),
        content_layers=(layers[1],),
        image_size=side,
        batch_size=batch,
        precision=precision,
        pool="max",
        steps=10**6,
    )


def _training(folder: Path, config: StyleConfig, device: str) -> Trainer:
    """Our trainer, on noise."""
    photos, side = folder / "photos", config.image_size
    random = np.random.default_rng(0)
    for i in range(12):
        image.write(photos / f"{i}.jpg", random.random((3, side + 40, side + 60), np.float32))
    image.write(folder / "style.jpg", random.random((3, side, side), np.float32))
    wanted = [f"features.{i}." for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)]
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5
        for name, shape in shapes("vgg16").items()
        if name.startswith(tuple(wanted))
    }
    save_file(weights, folder / "vgg16.safetensors")
    how = TrainerConfig(
        weights=(f"vgg16={folder / 'vgg16.safetensors'}",),
        offline=True,
        save_every=0,
        validate_every=0,
        pictures_every=0,
        device=device,
    )
    task = StyleTask(config, [folder / "style.jpg"], photos)
    return Trainer(task, folder / "out.safetensors", how, callbacks=())


KINDS: dict[str, Callable[[int, int, str], Callable[[], Any]]] = {
    "peer": _peer,
    "peer-memory": _peer_memory,
    "peer-bf16": _peer_bf16,
    "peer-bf16-memory": _peer_bf16_memory,
    "ours-float32": functools.partial(_ours, "float32", False),
    "ours-auto": functools.partial(_ours, "auto", False),
    "ours-own": functools.partial(_ours, "auto", True),
    "quick-vgg16": functools.partial(_quick, "vgg16"),
    "quick-own": functools.partial(_quick, "own"),
}


def main() -> None:
    """Answer until the input ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    def finish() -> None:
        if args.device == "cuda":
            torch.cuda.synchronize()

    step = KINDS[args.kind](args.side, args.batch, args.device)
    for _ in range(WARM if args.device == "cuda" else 2):
        step()
    for line in sys.stdin:
        if line.strip() == "flops":
            with FlopCounterMode(display=False) as counter:
                step()
            answer = float(counter.get_total_flops())
        else:
            finish()
            start = time.perf_counter()
            for _ in range(int(line)):
                step()
            finish()
            answer = (time.perf_counter() - start) / int(line)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
