"""Damaged files of every format that is read: a clear error or a valid model each time, and nothing worse.

    .venv/bin/python benchmarks/accept_fuzz.py [--count 10000] [--seed 0] [--first N]

Small files of every format are made, then damaged: bits flipped, cut short, pieces repeated, removed or swapped,
numbers of absurd size written over, loops, deep nesting, compressed bombs, programs in pickles. Each is read in a
child process as `texturenets convert`, `stylize` and `--weights` read it. It fails where the child dies, a file
takes more than 2 s of the processor, memory grows by more than 1 GB, an exception other than UserError comes out,
its text is not one line, a model comes out that cannot run, or a program in a file was run. (Processor and memory of
the processes in which torch and h5py read are bounded by `readers/child.py`.)

`--first` skips cases, to go on in pieces: case N is the same whatever was run before it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from texturenets.networks import network_files
from texturenets.networks.johnson import Johnson
from texturenets.networks.network_files import spec_of
from texturenets.networks.residual import Residual

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import published

from texturenets import converters, readers
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.networks import build
from texturenets.networks.operation_count import flops

SECONDS: Final = 2.0
BYTES: Final = 1 << 30
PATIENCE: Final = 300.0  # s of the clock after which a silent child counts as hung, on a busy machine too
# How many of every twenty files are of which format. For PyTorch's and HDF5 a process is started for each.
MIX: Final = ("t7",) * 10 + ("pth",) + ("safetensors",) * 3 + ("caffemodel",) * 2 + ("onnx",) * 3 + ("h5",)
NUMBERS: Final = (1 << 62, (1 << 63) - 1, -1, 0, 1 << 31, (1 << 31) - 1, 1 << 40, -(1 << 63))


class Bomb:
    """Runs a program where it is unpickled."""

    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def originals(folder: Path) -> dict[str, list[bytes]]:
    """Undamaged files, by format."""
    layouts: tuple[published.Layout, ...] = ("binary", "binary32", "ascii")
    trees = [published.master_johnson(2, 1), published.first_texture(2, 4), published.fast_neural_style()]
    trees += [published.first_texture(2, 4, photo=True, kind="NoiseFill")]
    made = {"t7": [published.t7(tree, layout) for tree in trees for layout in layouts]}

    state = published.transformer_net(2, 1, old=True)
    made["pth"] = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
        made["pth"].append(buffer.getvalue())

    target = folder / "model.safetensors"
    for generator in (Residual(channels=4, blocks=1), Johnson(channels=2, blocks=1)):
        network_files.save(
            build(generator), modelfile.Header(name="a", kind="style", generator=generator), target
        )
        made.setdefault("safetensors", []).append(target.read_bytes())
    texture = folder / "texture.t7"
    texture.write_bytes(made["t7"][3])
    converters.convert(texture).save(target)
    made["safetensors"].append(target.read_bytes())

    made["onnx"] = [published.onnx_chain()]
    made["caffemodel"] = [_caffe(layer, blob) for layer, blob in (((100, 1, 7), 7), ((2, 4, 6), 0))]
    made["h5"] = [_keras(folder / "weights.h5")]
    return made


def _caffe(fields: tuple[int, int, int], shape_field: int) -> bytes:
    layer_field, name_field, blob_field = fields
    blobs = []
    for shape in ((64, 3, 3, 3), (64,)):
        sizes = list(enumerate(shape, 1))  # four fields, as old files have them
        if shape_field:
            sizes = [(shape_field, published.message(*((1, n) for n in shape)))]
        blobs.append((blob_field, published.message(*sizes, (5, np.zeros(shape, "<f4").tobytes()))))
    layer = published.message((name_field, "conv1_1"), *blobs)
    return published.message((1, "VGG"), (layer_field, layer))


def _keras(path: Path) -> bytes:
    import h5py

    with h5py.File(path, "w") as file:
        group = file.create_group("block1_conv1")
        group["block1_conv1_W_1:0"] = np.zeros((3, 3, 3, 64), np.float32)
        group["block1_conv1_b_1:0"] = np.zeros(64, np.float32)
    return path.read_bytes()


def special(kind: str, chance: random.Random, marker: str) -> bytes:
    """A file that is malicious rather than damaged."""
    match kind:
        case "t7":
            return _special_t7(chance)
        case "pth":
            return _special_pickle(chance, marker)
        case "safetensors":
            return _special_safetensors(chance)
        case "onnx":
            inner = b""
            for _ in range(chance.choice([10, 5000])):
                inner = published.message((chance.choice([1, 5, 7]), inner))
            return published.message((1, 7), (7, inner))
        case "caffemodel":
            return b"\x12" + published.varint(chance.choice(NUMBERS)) + bytes(chance.randrange(2000))
    return b"\x89HDF\r\n\x1a\n" + chance.randbytes(chance.randrange(2000))


def _special_pickle(chance: random.Random, marker: str) -> bytes:
    buffer = io.BytesIO()
    bad = {**published.transformer_net(1, 0), "x": Bomb(marker)}
    choice = chance.randrange(4)
    if choice == 3:  # lists in lists, and tuples of tuples that double
        return b"\x80\x02" + chance.choice([b"]" * 200_000, b")" + b"2\x86" * 60]) + b"."
    if choice == 2:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a/data.pkl", pickle.dumps(Bomb(marker)))
            archive.writestr("a/data/0", bytes(1 << 26))
    else:
        torch.save(bad, buffer, _use_new_zipfile_serialization=bool(choice))
    return buffer.getvalue()


def _special_safetensors(chance: random.Random) -> bytes:
    header = chance.choice(
        [
            b'{"__metadata__":{"texturenets":' + b"[" * 100_000,
            json.dumps({"a": {"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 16]}}).encode(),
            json.dumps(_header(channels=1024, blocks=100)).encode(),
            json.dumps(_graph(chance)).encode(),
        ]
    )
    length = chance.choice([len(header), len(header), 1 << 62, (1 << 64) - 1])
    return struct.pack("<Q", length) + header + bytes(16)


def _header(**fields: int) -> dict[str, Any]:
    generator = {"name": "residual", "normalization": "instance", "padding": "reflect", **fields}
    text = {"name": "a", "kind": "style", "generator": generator, "format": 1}
    return {"__metadata__": {"texturenets": json.dumps(text)}}


def _graph(chance: random.Random) -> dict[str, Any]:
    lines = ["photo", *(f"conv {i} out=8192 kernel={chance.choice([1, 9, 64])}" for i in range(30))]
    text = {"name": "a", "kind": "style", "generator": {"name": "graph", "nodes": lines}, "format": 1}
    return {"__metadata__": {"texturenets": json.dumps(text)}}


def _special_t7(chance: random.Random) -> bytes:
    layout: published.Layout = chance.choice(["binary", "binary32", "ascii"])
    match chance.randrange(5):
        case 0:  # a container in itself
            tree = published.sequence(Layers.conv(3, 3, 1))
            tree.fields["modules"][2] = tree
            return published.t7(tree, layout)
        case 1:  # modules that are the same twice, and again twice: 2^40 of them
            tree = Layers.conv(3, 3, 1)
            for _ in range(40):
                tree = published.sequence(tree, tree)
            return published.t7(tree, layout)
        case 2:  # nesting without end
            writer = published.Torch7Writer(layout)
            for i in range(chance.choice([150, 250, 30_000])):
                writer.whole(3)
                writer.whole(i + 1)
                writer.whole(1)
                writer.write(1)
            return bytes(writer.out)
        case 3:  # one storage that is every layer's
            conv = Layers.conv(256, 256, 3)
            return published.t7(published.sequence(Layers.conv(3, 256, 3), *[conv] * 1500), layout)
        case _:  # a function, and a table that is a key of itself
            return published.t7({"model": published.Code(b"\x1bLuaR" * 10, {1: published.Code()})}, layout)


Layers = published.Layers7()


def damage(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to three kinds of damage."""
    body = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 3])):
        if len(body) < 8:
            break
        # Half of it where the structure is: at the beginning, for most formats.
        reach = len(body) if chance.random() < 0.5 else min(len(body), 600)
        at = chance.randrange(reach)
        match chance.randrange(8):
            case 0:
                for _ in range(chance.choice([1, 1, 4, 64])):
                    body[chance.randrange(reach)] ^= 1 << chance.randrange(8)
            case 1:
                del body[at:]
            case 2:
                body[at : at + 8] = struct.pack("<q", chance.choice(NUMBERS))
            case 3:
                body[at : at + 4] = struct.pack(
                    "<i", chance.choice([-1, 0, 1, 2, 3, 4, 8, 255, (1 << 31) - 1])
                )
            case 4:
                del body[at : at + chance.randrange(1, 40)]
            case 5:
                piece = body[at : at + chance.randrange(1, 400)]
                body[at:at] = bytes(piece) * chance.choice([1, 2, 50])
            case 6:
                body[at:at] = chance.randbytes(chance.randrange(1, 40))
            case 7:
                other = chance.randrange(len(body))
                body[at : at + 16], body[other : other + 16] = body[other : other + 16], body[at : at + 16]
    return bytes(body)


def case(number: int, seed: int, files: dict[str, list[bytes]], marker: str) -> tuple[str, bytes]:
    """Format and content of a case: the same for the same number and seed."""
    chance = random.Random(f"{seed}:{number}")
    kind = MIX[number % len(MIX)]
    if chance.random() < 0.05:
        return kind, special(kind, chance, marker)
    return kind, damage(chance.choice(files[kind]), chance)


def attempt(path: Path, kind: str) -> str:
    """Read a file as the program does: "error", or "model" for what came out whole. Raises what comes out."""
    outcome = "error"
    try:
        if kind in ("t7", "pth", "onnx"):
            made = converters.convert(path)
            network = build(spec_of(made.header))
            network.load_state_dict(made.state)
            run(network)
            outcome = "model"
        elif kind == "safetensors":
            network, _ = network_files.load(path)
            run(network)
            outcome = "model"
        else:
            readers.read(path, "vgg16")
            outcome = "model"
    except UserError as error:
        text = str(error)
        if "\n" in text or path.name not in text or len(text) > 1000:
            raise AssertionError(f"the error is not one line that names the file: {text[:200]!r}") from None
    return outcome


def run(network: torch.nn.Module) -> None:
    """One pass without numbers: every shape is worked out, nothing is computed."""
    for parameter in network.parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise AssertionError("a weight is not finite")
    stride = int(getattr(network, "stride", 1))
    if stride <= 256:
        size = stride * max(1, 64 // stride)
        flops(network, size, size)


def child(options: argparse.Namespace) -> int:
    """Run cases `first` up to `count`, a line of JSON each."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        marker = str(folder / "ran")
        files = originals(folder)
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for number in range(options.first, options.count):
            kind, data = case(number, options.seed, files, marker)
            path = folder / f"damaged.{kind}"
            path.write_bytes(data)
            start, trouble, outcome = time.process_time(), "", ""
            try:
                outcome = attempt(path, kind)
            except Exception as error:  # noqa: BLE001 (that is what is looked for)
                trouble = f"{type(error).__name__}: {error}"[:300]
            seconds = time.process_time() - start
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - base
            if seconds > SECONDS:
                trouble = trouble or f"took {seconds:.1f} s"
            if grown > BYTES:
                trouble = trouble or f"took {grown >> 20} MiB"
            if Path(marker).exists():
                trouble = "a program in the file was run"
            line = {"case": number, "kind": kind, "outcome": outcome, "trouble": trouble, "seconds": seconds}
            print(json.dumps({**line, "grown": grown}), flush=True)
            if grown > BYTES // 2:
                return 0  # a fresh process counts from nothing
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="the case to stop before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options)
    outcomes: Counter[str] = Counter()
    slowest, largest, bad, number = 0.0, 0, 0, options.first
    while number < options.count:
        words = [sys.executable, __file__, "--child", "--first", str(number), "--count", str(options.count)]
        process = subprocess.Popen([*words, "--seed", str(options.seed)], stdout=subprocess.PIPE)
        for line in _lines(process):
            found = json.loads(line)
            number = found["case"] + 1
            outcomes[f"{found['kind']} {found['outcome'] or 'trouble'}"] += 1
            slowest, largest = max(slowest, found["seconds"]), max(largest, found["grown"])
            if found["trouble"]:
                bad += 1
                print(f"case {found['case']} ({found['kind']}): {found['trouble']}", flush=True)
            if number % 1000 == 0:
                print(f"{number} done", flush=True)
        if process.wait() != 0:
            bad += 1
            print(f"case {number}: the process ended with {process.returncode}", flush=True)
            number += 1
    for name, count in sorted(outcomes.items()):
        print(f"{name:24} {count}")
    print(f"slowest {slowest:.2f} s of the processor, most memory {largest >> 20} MiB, {bad} in trouble")
    print("FAILED" if bad else "passed")
    return 1 if bad else 0


def _lines(process: subprocess.Popen[bytes]) -> Any:
    """What a child prints, until it ends or says nothing for too long, when it is killed."""
    import selectors

    assert process.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    while True:
        if not selector.select(PATIENCE):
            process.kill()
            return
        line = process.stdout.readline()
        if not line:
            return
        yield line


if __name__ == "__main__":
    sys.exit(main())
