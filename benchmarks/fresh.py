"""Commands, and environments with nothing in them, for the programs that try what users install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "-q")


def run(
    *words: str | Path, check: bool = True, data: bytes = b"", **options: object
) -> subprocess.CompletedProcess[bytes]:
    """A command, fed with `data`; ends the program with its errors if it fails and that is checked."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    settings = {"env": own, **options}
    done = subprocess.run([*map(str, words)], check=False, capture_output=True, input=data, **settings)  # type: ignore[call-overload]
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, words))}:\n{done.stdout.decode()}{done.stderr.decode()}")
    return done  # type: ignore[no-any-return]


def usable(python: str) -> bool:
    """Whether an interpreter is there, and runs."""
    return bool(shutil.which(python)) and not run(python, "--version", check=False).returncode


def environment(folder: Path, python: str | Path, *what: str) -> Path:
    """The `bin` of a new environment in `folder` with `what` installed."""
    run(python, "-m", "venv", folder)
    if what:
        run(folder / "bin/python", *PIP, *what)
    return folder / "bin"


def wheel(folder: Path) -> Path:
    """The package's wheel, made in `folder`."""
    run(
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        folder,
        ROOT,
    )
    (made,) = folder.glob("texturenets-*.whl")
    return made


@contextmanager
def started(
    words: Sequence[str | Path], env: Mapping[str, str], **options: object
) -> Iterator[subprocess.Popen[str]]:
    """A process at work, with its standard output; told to end afterwards."""
    process = subprocess.Popen(
        [*map(str, words)],
        env=dict(env),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **options,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
