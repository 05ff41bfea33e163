"""What users meet before the program: packages, containers, services; run for real as far as this machine can.

    accept_reach.py [--only release container service] [--dist DIR] [--python python3.12 ...]

release     `python -m build` makes a wheel and a source archive, `twine check` passes them; from each, in an empty
            environment of each Python that is there, a photo is stylized from a pipe, and the models are listed
container   every step of the Dockerfile in an empty folder, with what .dockerignore lets through: no container
            engine is needed, and none is tried; compose.yaml can be read and names only what is there
service     `systemd-analyze verify` of the unit, with the program's path put in

`make release-check` is the first, and leaves the packages in dist/.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "src/texturenets/photos/coffee.jpg"
PYTHONS = ("python3.11", "python3.12", "python3.13")
PATIENCE = 120  # seconds until the service answers


def run(*words: str | Path, check: bool = True, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A command, fed with `data`; ends the program with its errors if it fails and that is checked."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([*map(str, words)], check=False, capture_output=True, env=own, input=data)
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, words))}:\n{done.stdout.decode()}{done.stderr.decode()}")
    return done


def environment(folder: Path, python: str | Path, what: str) -> Path:
    """The `bin` of a new environment in `folder` with `what` installed."""
    run(python, "-m", "venv", folder)
    run(folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", what)
    return folder / "bin"


def uses(binaries: Path) -> None:
    """Stylize a photo from a pipe to a pipe, and list the models."""
    words = ("stylize", "-", "-s", "wave", "-o", "-", "--quiet")
    result = run(binaries / "texturenets", *words, data=PHOTO.read_bytes())
    if not result.stdout.startswith(b"\xff\xd8\xff"):
        sys.exit("what came out of the pipe is no JPEG")
    if b"wave" not in run(binaries / "texturenets", "models").stdout:
        sys.exit("`texturenets models` does not list wave")


def packages(dist: Path) -> list[Path]:
    """The wheel and the source archive, made in `dist` and checked by twine."""
    with tempfile.TemporaryDirectory() as name:
        tools = environment(Path(name) / "tools", sys.executable, "build")
        run(tools / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "twine")
        new = Path(name) / "dist"
        run(tools / "python", "-m", "build", "-o", new, ROOT)
        dist.mkdir(parents=True, exist_ok=True)
        for older in (*dist.glob("texturenets-*.whl"), *dist.glob("texturenets-*.tar.gz")):
            older.unlink()
        made = [Path(shutil.copy(path, dist)) for path in sorted(new.iterdir())]
        run(tools / "twine", "check", "--strict", *made)
    return made


def release(dist: Path, pythons: Sequence[str]) -> Iterator[str]:
    """Packages that install and run."""
    ran = False
    for path in packages(dist):
        yield f"{path.name}, {path.stat().st_size / 1e6:.1f} MB, passes twine"
        for python in pythons:
            if not shutil.which(python) or run(python, "--version", check=False).returncode:
                yield f"  {python}: NOT RUN, it is not here"
                continue
            with tempfile.TemporaryDirectory() as name:
                start = time.monotonic()
                uses(environment(Path(name) / "env", python, str(path)))
                ran = True
            yield f"  {python}: installed and used in {time.monotonic() - start:.0f} s"
    if not ran:
        sys.exit("no Python to try the packages with: name one with --python")


def context(folder: Path) -> None:
    """What .dockerignore lets through, copied into `folder`. It begins with all that is left out: `*`."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for line in lines:
        if line.startswith("!"):
            source = ROOT / line[1:]
            if source.is_dir():
                shutil.copytree(
                    source, folder / line[1:], ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
                )
            else:
                shutil.copy(source, folder / line[1:])


def container() -> Iterator[str]:
    """The steps of the Dockerfile without an engine, and compose.yaml."""
    steps = re.findall(r"^(FROM|ARG|COPY|RUN|USER|VOLUME|EXPOSE|HEALTHCHECK|CMD) (.*)$", dockerfile(), re.M)
    extras = dict(words.split("=") for step, words in steps if step == "ARG")["EXTRAS"]
    (command,) = [words for step, words in steps if step == "CMD"]
    (health,) = [words for step, words in steps if step == "HEALTHCHECK"]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        source.mkdir()
        context(source)
        binaries = environment(Path(name) / "env", sys.executable, f"{source}[{extras}]")
        yield f"COPY and pip install '/source[{extras}]': done in an empty folder"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        program, *words = yaml.safe_load(command)
        cache = {**os.environ, "TEXTURENETS_CACHE": str(Path(name) / "cache"), "PYTHONPATH": ""}
        words[words.index("0.0.0.0")] = "127.0.0.1"
        with subprocess.Popen([binaries / program, *words, "--port", str(port)], env=cache) as service:
            try:
                probe = health.removeprefix("CMD python -c ").strip('"').replace("7860", str(port))
                deadline = time.monotonic() + PATIENCE
                while run(binaries / "python", "-c", probe, check=False).returncode:
                    if time.monotonic() > deadline or service.poll() is not None:
                        sys.exit("the service of the Dockerfile does not answer its HEALTHCHECK")
                    time.sleep(1)
                address = f"http://127.0.0.1:{port}/v1/stylize?style=wave"
                request = urllib.request.Request(address, PHOTO.read_bytes(), {"Content-Type": "image/jpeg"})
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    assert answer.read(3) == b"\xff\xd8\xff"
            finally:
                service.terminate()
        yield f"CMD {' '.join([program, *words])}: answers its HEALTHCHECK and stylizes a photo"
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        arguments = {} if service["build"] == "." else service["build"]["args"]
        assert set(arguments) <= {"EXTRAS"}
        yield f"compose.yaml, {name}: builds with {arguments or 'the default'}"
    yield "NOT RUN: the base image, users and volumes, which need a container engine"


def dockerfile() -> str:
    """Its text, continued lines joined."""
    return (ROOT / "Dockerfile").read_text().replace("\\\n", "")


def service() -> Iterator[str]:
    """The systemd unit."""
    if not shutil.which("systemd-analyze"):
        yield "NOT RUN: systemd-analyze is not here"
        return
    text = (ROOT / "deploy/texturenets.service").read_text()
    with tempfile.TemporaryDirectory() as name:
        unit = Path(name) / "texturenets.service"
        unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.M))
        told = run("systemd-analyze", "verify", unit)
        if told.stderr:
            sys.exit(told.stderr.decode())
    yield "deploy/texturenets.service passes systemd-analyze verify"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=("release", "container", "service"))
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    parser.add_argument("--python", nargs="+", default=PYTHONS)
    asked = parser.parse_args()
    parts = {"release": release(asked.dist, asked.python), "container": container(), "service": service()}
    for name, lines in parts.items():
        if not asked.only or name in asked.only:
            print(name, flush=True)
            for line in lines:
                print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
