"""A new user's path: the commands of the README's first screen, run as they stand in an empty folder.

What differs from the README, and is said: the folder of the source, `.`, is its wheel; the training ends after a few
steps; the page takes a free port.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import fresh
from PIL import Image

PATIENCE = 180  # seconds until the page is there


@dataclass(frozen=True)
class Material:
    """What the user brings: a photo, a painting, photos to learn from, folders of weights (else fetched)."""

    photo: Path
    painting: Path
    photos: Path
    weights: tuple[Path | str, ...] = ()


def first_screen(readme: str) -> str:
    """What stands before the first heading of the second rank."""
    return readme.partition("\n## ")[0]


def commands(readme: str) -> list[str]:
    """The commands of the first screen, without what is said behind `#`."""
    found = re.findall(r"^ {4}(\S.*)$", first_screen(readme), re.M)
    return [re.split(r"\s+#", line)[0] for line in found]


def lay_out(folder: Path, material: Material) -> None:
    """The user's files, under the README's names."""
    for name, path in (("photo.jpg", material.photo), ("painting.jpg", material.painting)):
        shutil.copy(path, folder / name)
    shutil.copytree(material.photos, folder / "photos")


def surroundings(binaries: Path, home: Path, material: Material) -> dict[str, str]:
    """Environment variables: this machine's for pip, and nothing that was kept before."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TEXTURENETS", "XDG"))}
    made = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(home), "TEXTURENETS_CACHE": str(home / "cache")}
    if material.weights:
        made["TEXTURENETS_WEIGHTS"] = os.pathsep.join(map(str, material.weights))
    return {**kept, "PIP_CONSTRAINT": str(fresh.ROOT / "constraints.txt"), **made}


def adapted(command: str, wheel: Path, steps: int) -> list[str]:
    """A command of the README's as it is run here."""
    words = [re.sub(r"^\.(?=\[|$)", str(wheel), word) for word in shlex.split(command)]
    return [*words, "--steps", str(steps)] if words[1:2] == ["train"] else words


def page(words: list[str], env: Mapping[str, str], folder: Path) -> None:
    """Start the service, and open its page."""
    with fresh.started([*words, "--port", "0", "--log-level", "warning"], env, cwd=folder) as service:
        assert service.stdout is not None
        address = service.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}/", timeout=PATIENCE) as answer:
            assert "texturenets" in answer.read().decode()


def checked(folder: Path, words: list[str]) -> None:
    """A stylized photo is where the README says, and as large as the photo."""
    style = Path(words[words.index("-s") + 1]).stem
    with Image.open(folder / "photo.jpg") as photo, Image.open(folder / f"photo-{style}.jpg") as made:
        assert made.size == photo.size


def path(material: Material, python: str | Path, steps: int) -> Iterator[str]:
    """Each command with its seconds, then what a picture, a style of one's own and a page took."""
    asked = commands((fresh.ROOT / "README.md").read_text("utf-8"))
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "empty", Path(name) / "home"
        folder.mkdir()
        home.mkdir()
        wheel = fresh.wheel(Path(name) / "wheel")
        env = surroundings(fresh.environment(Path(name) / "env", python), home, material)
        lay_out(folder, material)
        for command in asked:
            words, start = adapted(command, wheel, steps), time.monotonic()
            if words[1] == "serve":
                page(words, env, folder)
            else:
                fresh.run(*words, env=env, cwd=folder)
            spent.append(time.monotonic() - start)
            if words[1] == "stylize":
                checked(folder, words)
            yield f"{spent[-1]:6.1f} s  {command}"
    picture, style, served = spent[:2], spent[2:5], spent[5:]
    yield f"a picture of one's own photo: {len(picture)} commands, {sum(picture):.0f} s"
    yield f"one's own style, {steps} steps of its training: {len(style)} commands, {sum(style):.0f} s"
    yield f"a page: {len(served)} command, {sum(served):.0f} s"
