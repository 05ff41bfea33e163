"""A service with tiny models, without a network: its application is called in this process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from galleries import gallery
from PIL import Image
from tiny import BASE, Studio, words

from texturenets.engines.options import EngineOptions
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import GeneratorSpec, build, network_files
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual
from texturenets.server.app import create
from texturenets.server.settings import Limits, Settings

TINY = Residual(channels=8, blocks=1)
GRAIN = Multiscale(channels=(4, 4, 3), noise_depth=2)


def model(folder: Path, name: str = "tiny", kind: Any = "style", spec: GeneratorSpec | None = None) -> Path:
    """A model file with random weights; `spec`: another network than the tiny one of that kind."""
    path = folder / f"{name}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    spec = spec or (TINY if kind == "style" else GRAIN)
    network_files.save(build(spec), Header(name=name, kind=kind, generator=spec), path)
    return path


def photo(width: int = 48, height: int = 32, form: str = "PNG", seed: int = 0) -> bytes:
    """A photo's file."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, form)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    """The image in a file's bytes."""
    return Image.open(io.BytesIO(data))


def client(
    folder: Path,
    load: Callable[[Path], Any] | None = None,
    limits: dict[str, Any] | None = None,
    **settings: Any,
) -> TestClient:
    """To be entered with `with`: then the service runs. `folder` holds its models."""
    settings.setdefault("page", False)  # which takes a while to build
    chosen = Settings(
        models=folder, engine=EngineOptions("torch", "cpu"), limits=Limits(**(limits or {})), **settings
    )
    app, _ = create(chosen, load)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def trainer(studio: Studio, folder: Path, **flags: Any) -> list[str]:
    """A command in place of `texturenets train` that makes every training a tiny one."""
    small = {**BASE, "weights": str(studio.weights), "save_every": 4, "pictures_every": 2, **flags}
    del small["steps"]
    script = folder / "train.py"
    script.write_text(
        "import sys\n\nimport torch\n\nfrom texturenets.cli import main\n\ntorch.set_num_threads(1)\n"
        "asked = {word.partition('=')[0] for word in sys.argv}\n"
        f"small = [word for word in {words(small)!r} if word.partition('=')[0] not in asked]\n"
        "sys.exit(main(['train', *sys.argv[1:], *small]))\n"
    )
    return [sys.executable, str(script)]


def models_folder(factory: pytest.TempPathFactory, plain: str = "plain") -> Path:
    """A new folder with `galleries.gallery`, and a model of one style called `plain`."""
    made = factory.mktemp("models")
    gallery(made)
    model(made, plain)
    return made
