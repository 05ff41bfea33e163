"""The four published Torch7 networks, converted: seconds, and the judge's scores of what they draw.

    .venv/bin/python benchmarks/accept_convert.py [--output FOLDER] [--shared FOLDER]

Passes where each file converts in under 5 s of the processor (the whole command, its start included) and the mean
of 16 samples of each texture is at most 10 % above the scores that the judge's notes give for four samples of the
same files. The images, bird.jpg in the two styles among them, stay in the folder to be looked at.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

from texturenets import image, noise
from texturenets.networks import network_files

SECONDS = 5.0
TOLERANCE = 0.10
# File, exemplar, and the scores (squeezenet, vgg) in judge/README.md
TEXTURES = {
    "red-peppers256.o.jpg_model": ("red-peppers256.o.jpg", (0.0795, 0.0339)),
    "pebble.png_model": ("pebble.png", (0.1923, 0.1327)),
}
STYLES = ("starry_style", "mosaic_style")
SEEDS = range(16)


def convert(file: Path, target: Path) -> tuple[float, float]:
    """Seconds that the command takes, of the processor and of the clock."""
    start, before = time.perf_counter(), os.times()
    words = [sys.executable, "-m", "texturenets", "convert", str(file), "-o", str(target), "--quiet"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.perf_counter() - start


def draw(model: Path, folder: Path, size: int = 256) -> list[str]:
    """An image a seed; their names."""
    network, _ = network_files.load(model)
    names = []
    for seed in SEEDS:
        with torch.inference_mode():
            y = network(None, noise.draw(network.noise, [seed], size, size))
        path = folder / f"{model.stem}-{seed:02d}.png"
        image.write(path, image.Picture(y.clamp(0, 1)))
        names.append(str(path))
    return names


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/accept-convert"))
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    good = True
    for name in (*TEXTURES, *STYLES):
        model = options.output / f"{name}.safetensors"
        seconds, clock = convert(options.shared / "torch7" / f"{name}.t7", model)
        good &= seconds < SECONDS
        print(f"{name}: {seconds:.1f} s of the processor, {clock:.1f} s by the clock", flush=True)
    judge = [sys.executable, str(options.shared / "judge" / "judge.py")]
    for name, (exemplar, wanted) in TEXTURES.items():
        samples = draw(options.output / f"{name}.safetensors", options.output)
        words = [*judge, "texture", str(options.shared / "images" / "texture" / exemplar), *samples]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        scores = [float(re.search(rf"{key}\W+([\d.]+)", said)[1]) for key in ("squeezenet", "vgg")]  # type: ignore[index]
        off = [score / want - 1 for score, want in zip(scores, wanted, strict=True)]
        good &= all(value <= TOLERANCE for value in off)
        print(
            f"{exemplar}: squeezenet {scores[0]:.4f} ({off[0]:+.1%}), vgg {scores[1]:.4f} ({off[1]:+.1%})",
            flush=True,
        )
    bird = options.shared / "images" / "content" / "eval" / "bird.jpg"
    for name in STYLES:
        words = ["stylize", str(bird), "-s", str(options.output / f"{name}.safetensors")]
        target = options.output / f"bird-{name}.png"
        subprocess.run(
            [sys.executable, "-m", "texturenets", *words, "-o", str(target)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        print(target)
    print("passed" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
