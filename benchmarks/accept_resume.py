"""A run killed at random moments, resumed each time, against the same run left alone; and two processes against one.

    accept_resume.py [--kills 20] [--steps 150] [--seed 0]

The default network and losses with a worker process, mirrored and scaled crops, the precision that this machine
takes by itself, and content features from a cache. After every SIGKILL no file may be broken and at most one save
interval lost; the end is to be equal to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from bars import ROOT, descriptors, shared, texturenets
from safetensors.torch import load_file

from texturenets.networks import network_files
from texturenets.train import checkpoint

SAVE_EVERY = 5
GRADIENTS = 1e-6


def command(out: Path, content: Path, steps: int, *more: str) -> list[str]:
    """The words of one run."""
    return [
        *(
            "train",
            "style",
            str(shared() / "images/style/wave.jpg"),
            "--content",
            str(content),
            "-o",
            str(out),
        ),
        *("--steps", str(steps), "--image-size", "128", "--style-size", "256", "--workers", "1"),
        *("--save-every", str(SAVE_EVERY), "--validate-every", "40", "--pictures-every", "10"),
        *(f"--weights={folder}" for folder in descriptors()),
        *("--offline", "--quiet", *more),
    ]


def whole(folder: Path) -> int:
    """The step that the checkpoint of `folder` holds, -1 for none; raises where any file there is broken."""
    for path in folder.glob("*.safetensors"):
        load_file(path)
        if path.name != checkpoint.NAME:
            network_files.load(path)
    return checkpoint.read_state(folder).step if (folder / checkpoint.NAME).exists() else -1


def last_logged(folder: Path) -> int:
    """The last step that the log tells of."""
    steps = [0]
    if (folder / "records.jsonl").exists():
        for line in (folder / "records.jsonl").read_text().splitlines():
            try:
                steps.append(int(json.loads(line)["step"]))
            except ValueError:
                continue  # cut off by the kill
    return max(steps)


def killed(out: Path, words: list[str], kills: int, draw: random.Random) -> None:
    """Run `words` to the end through `kills` SIGKILLs at random moments."""
    folder, environment = out.with_suffix(".run"), {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = 0
    while True:
        resume = ["--resume"] if (folder / checkpoint.NAME).exists() else []
        if folder.exists() and not resume:  # killed before the first checkpoint: the folder may be there
            assert whole(folder) == -1
        process = subprocess.Popen(
            [sys.executable, "-m", "texturenets", *words, *resume],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        before = whole(folder) if resume else 0
        if done < kills:
            limit = time.monotonic() + 120
            target = before + draw.randint(0, 2 * SAVE_EVERY)  # of steps, then a moment within one
            while process.poll() is None and time.monotonic() < limit:
                state = whole_quietly(folder)
                if state >= target - target % SAVE_EVERY:
                    break
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 1.5))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                done += 1
                step, logged = whole(folder), last_logged(folder)
                lost = max(0, logged - max(step, 0))
                print(f"kill {done}: checkpoint of step {step}, log up to {logged}", flush=True)
                assert lost <= SAVE_EVERY, f"{lost} steps lost"
                continue
        _, error = process.communicate()
        assert process.returncode == 0, error
        assert done == kills, f"the run ended after {done} kills: raise --steps"
        return


def whole_quietly(folder: Path) -> int:
    """The checkpoint's step, -1 while there is none."""
    try:
        return checkpoint.read_state(folder).step
    except Exception:  # noqa: BLE001 (any error means: not yet)
        return -1


def gradients(folder: Path, processes: int) -> dict[str, torch.Tensor]:
    """The gradient of one step of 4 photos in float32, by `processes` processes: by one in two halves, as two compute
    it. The sums of the whole batch round otherwise, by 2.5e-6 of the gradient's norm."""
    out = folder / f"gradient-{processes}.safetensors"
    words = command(
        folder / f"gradient-{processes}-model.safetensors",
        shared() / "images/content/train",
        1,
        "--batch-size",
        "4",
        "--precision",
        "float32",
        "--accumulate",
        str(2 // processes),
    )
    start = (
        [sys.executable]
        if processes == 1
        else [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}")
        ]
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*start, str(ROOT / "benchmarks/gradients.py"), str(out), *words],
        env=environment,
        check=True,
        capture_output=True,
    )
    return load_file(out)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        one, two = gradients(folder, 1), gradients(folder, 2)
        flat = [torch.cat([g[k].double().flatten() for k in one]) for g in (one, two)]
        away = float((flat[0] - flat[1]).norm() / flat[0].norm())
        print(f"two processes against one: {away:.2e} relative (bar {GRADIENTS:.0e})", flush=True)
        cache = folder / "photos.h5"
        texturenets(
            "cache",
            "--content",
            shared() / "images/content/train",
            "-o",
            cache,
            "--crops-per-photo",
            "2",
            "--image-size",
            "128",
            *(f"--weights={folder}" for folder in descriptors()),
            "--offline",
            "--quiet",
        )
        left, interrupted = folder / "left-alone.safetensors", folder / "interrupted.safetensors"
        texturenets(*command(left, cache, options.steps))
        words = command(interrupted, cache, options.steps)
        killed(interrupted, words, options.kills, random.Random(options.seed))
        same = True
        for path in (Path("best.safetensors"), Path("last.safetensors"), Path(checkpoint.NAME)):
            a, b = (load_file(model.with_suffix(".run") / path) for model in (left, interrupted))
            equal = a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
            same &= equal
            print(f"{path}: {'equal to the bit' if equal else 'DIFFERENT'}")
    return 0 if same and away <= GRADIENTS else 1


if __name__ == "__main__":
    sys.exit(main())
