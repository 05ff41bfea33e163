"""Training through the command line at next to no cost: small images, cut-off descriptor networks, two steps."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from texturenets.cli import main
from texturenets.modelfiles import modelfile
from texturenets.networks import GeneratorSpec, build, network_files
from texturenets.readers import LAYERS, shapes
from texturenets.train.trainer import Trainer

# Random weights are enough to see a flag at work; the networks end where the tests' layers do.
NETWORKS = {"vgg16": "relu1_2", "vgg19": "relu1_2", "squeezenet1_0": "fire4"}

# Two steps of a network of a few thousand weights, in this process, on the processor, in float32.
BASE: dict[str, Any] = {
    "set": ["channels=8", "blocks=1"],
    "image_size": 64,
    "style_size": 64,
    "batch_size": 2,
    "steps": 2,
    "warmup": 0,
    "schedule": "constant",
    "style_layers": "squeezenet1_0:conv1,squeezenet1_0:fire2",
    "content_layers": "squeezenet1_0:fire3",
    "precision": "float32",
    "device": "cpu",
    "workers": 0,
    "offline": True,
}

# Of these, what `cache` takes: it starts no data loader.
CACHE: dict[str, Any] = {k: v for k, v in BASE.items() if k != "workers"}

# The same for textures.
TEXTURE: dict[str, Any] = {
    **{k: v for k, v in BASE.items() if k != "content_layers"},
    "set": ["channels=6,4,4"],
    "noise_depth": 2,
}


def settings(style_layers: tuple[str, ...], **change: Any) -> dict[str, Any]:
    """Of the losses: relative style losses on these layers with weight 1, and nothing else."""
    plain: dict[str, Any] = {
        "content_layers": (),
        "style_weight": 1.0,
        "content_weight": 1.0,
        "tv_weight": 0.0,
        "checkerboard_weight": 0.0,
        "loss_scaling": "relative",
        "pyramid_loss": 1,
        "pyramid_decay": 0.9,
        "normalize_gradients": False,
        "diversity_weight": 0.0,
        "diversity_layer": "pixels",
        "sliced_weight": 0.0,
        "shifted_weight": 0.0,
        "autocorrelation_weight": 0.0,
        "patch_weight": 0.0,
        "structure_layers": style_layers,
        "max_shift": 8,
        "seed": 0,
    }
    return {"style_layers": style_layers, **plain, **change}


def weights_file(folder: Path, network: str, seed: int = 0, until: str = "") -> Path:
    """A .safetensors file with random weights for the first layers of `network`, under its canonical names.

    `until`: the last of them, in place of that in NETWORKS.
    """
    random = torch.Generator().manual_seed(seed)
    keys = [layer.key for layer in LAYERS[network]]
    last = [layer.key for layer in LAYERS[network] if layer.output == (until or NETWORKS[network])][-1]
    wanted = keys[: keys.index(last) + 1]
    tensors = {}
    for name, shape in shapes(network).items():
        if name.rpartition(".")[0] in wanted:
            # He et al., arXiv 1502.01852: activations keep their size from layer to layer.
            scale = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) == 4 else 0.1
            tensors[name] = torch.randn(shape, generator=random) * scale
    path = folder / f"{network}_tiny_{seed}.safetensors"
    save_file(tensors, path)
    return path


def working_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    styles: Mapping[str, GeneratorSpec],
    textures: Mapping[str, GeneratorSpec] | None = None,
) -> Path:
    """An empty folder, which is the current one; these models, by name, are all that is shipped."""
    zoo, work = tmp_path / "zoo", tmp_path / "work"
    for kind, models in (("style", styles), ("texture", textures or {})):
        for name, spec in models.items():
            header = modelfile.Header(name=name, kind=kind, generator=spec)  # type: ignore[arg-type]
            network_files.save(build(spec), header, zoo / f"{name}.safetensors")
    monkeypatch.setattr(modelfile, "ZOO", zoo)
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def picture(path: Path, seed: int, size: tuple[int, int] = (90, 72), grain: int = 9) -> Path:
    """A smooth colourful image of `size` (W, H), written to `path`."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (grain, grain, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@dataclass
class Result:
    """What a run of the command line left behind."""

    status: int
    error: str  # what it wrote to standard error
    output: str  # and to standard output
    model: Path

    @property
    def folder(self) -> Path:
        """The folder of the run, beside the model."""
        return self.model.with_suffix(".run")

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of records.jsonl."""
        return [json.loads(line) for line in (self.folder / "records.jsonl").read_text().splitlines()]

    @property
    def losses(self) -> dict[str, float]:
        """Losses by name, the mean over all steps (of fewer than ten)."""
        found: dict[str, float] = next(line["losses"] for line in self.records if "losses" in line)
        return found

    @property
    def weights(self) -> dict[str, Tensor]:
        """The network after the last step, in float32."""
        tensors = load_file(self.folder / "checkpoint.safetensors")
        return {k: v for k, v in tensors.items() if k.startswith("network.")}

    @property
    def header(self) -> modelfile.Header:
        """The header of the model file."""
        return modelfile.read_header(self.model)


def call(*words: str) -> tuple[int, str, str]:
    """The command line in this process: exit status, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(words)
    finally:
        torch.set_num_threads(threads)
    return status, out.getvalue(), err.getvalue()


def refused(*words: str) -> str:
    """The one line that the command line says of these words, which it refuses."""
    status, out, error = call(*words)
    assert (status, out) == (2, "")
    assert error.startswith("texturenets: ")
    assert error.count("\n") == 1, error
    return error


def stop_at(patch: pytest.MonkeyPatch, step: int) -> None:
    """Runs end after `step`, as Ctrl-C ends them."""
    check = Trainer._check_losses

    def stopping(self: Trainer, at: int, *more: Any) -> None:
        check(self, at, *more)
        self.stop = at == step

    patch.setattr(Trainer, "_check_losses", stopping)


def read_only(patch: pytest.MonkeyPatch) -> None:
    """No file can be made from here on, not even by root."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    patch.setattr(tempfile, "mkstemp", fail)


def write_protected(patch: pytest.MonkeyPatch, path: Path) -> None:
    """The file `path` is write-protected from here on, also for root, whom its permissions do not keep off."""
    access = os.access
    patch.setattr(os, "access", lambda p, mode: Path(p) != path and access(p, mode))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether the tensors of both are the same to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def words(flags: dict[str, Any]) -> list[str]:
    """Flags as words: {"image_size": 64, "flip": False, "set": ["a=1"]} as --image-size 64 --no-flip --set a=1."""
    made: list[str] = []
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            made.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            for each in value if isinstance(value, list) else [value]:
                made.append(f"--{flag}={each}")
    return made


class Studio:
    """A folder with all that a training run needs; `run` trains in it, each run under its own name."""

    def __init__(self, folder: Path, photos: int = 6) -> None:
        self.root = folder
        self.weights = folder / "weights"
        self.weights.mkdir()
        for network in NETWORKS:
            weights_file(self.weights, network)
        self.photos = folder / "photos"
        for i in range(photos):
            picture(self.photos / f"{i}.png", seed=i)
        self.painting = picture(folder / "painting.png", seed=100, size=(80, 64), grain=24)
        self.count = 0

    def run(self, *more: str, **flags: Any) -> Result:
        """`train style` with BASE and `flags` over it, None to leave one out; `more` words at the end.

        `style` and `content` replace the painting and the photos, `output` the model's name.
        """
        style, content = flags.pop("style", self.painting), flags.pop("content", self.photos)
        return self._run(["style", str(style), "--content", str(content)], {**BASE, **flags}, more)

    def texture(self, *more: str, **flags: Any) -> Result:
        """`train texture` with TEXTURE and `flags` over it, as `run`; `style` may be a list of exemplars."""
        style = flags.pop("style", self.painting)
        exemplars = style if isinstance(style, list) else [style]
        return self._run(["texture", *map(str, exemplars)], {**TEXTURE, **flags}, more)

    def _run(self, start: list[str], flags: dict[str, Any], more: tuple[str, ...]) -> Result:
        self.count += 1
        model = Path(flags.pop("output", self.root / f"run{self.count}.safetensors"))
        settings = {"weights": [str(self.weights)], **flags}
        chosen = {k: v for k, v in settings.items() if v is not None}
        start = ["train", *start, "-o", str(model), "--quiet"]
        before = os.environ.get("TEXTURENETS_CACHE")
        os.environ["TEXTURENETS_CACHE"] = str(self.root / "cache")  # never the user's own
        try:
            status, output, error = call(*start, *words(chosen), *more)
        finally:
            if before is None:
                del os.environ["TEXTURENETS_CACHE"]
            else:
                os.environ["TEXTURENETS_CACHE"] = before
        return Result(status, error, output, model)
