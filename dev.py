"""What developers run, on every system, from a fresh clone, with nothing but Python 3.11 or later.

    python dev.py setup          make .venv with texturenets in it
    python dev.py test           lint, types, all fast tests: what runs on every change
    python dev.py lint | types | unit | slow-tests
    python dev.py demo           stylize photos with every shipped style; ends with a contact sheet
    python dev.py release-check  packages in dist/: made, checked, installed and used in empty environments
    python dev.py acceptance     the long bars, one after the other; each alone: accept NAME, as accept sizes
    python dev.py docs           the documentation site, in build/site
    python dev.py clean          remove everything that this program made

Words after unit, slow-tests, accept, release-check and demo go to what they run: `dev.py accept sizes --count 20`,
`dev.py unit tests/test_files.py -k cache`, `dev.py demo --photo one.jpg`. The environment variable INDEX names a
package index to ask besides pip's own: PyTorch from PyPI is, on Linux, 3 GB for NVIDIA GPUs, and a tenth of that for
the processor alone with INDEX=https://download.pytorch.org/whl/cpu. EXTRAS names the package's extras that are
installed, in place of its own list: EXTRAS=all,dev.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if sys.platform == "win32" else "bin")
PYTHON = BIN / ("python.exe" if sys.platform == "win32" else "python")
STAMP = VENV / ".complete"
EXTRAS = os.environ.get("EXTRAS") or "openvino,train,video,web,large,heif,hub,dev"

AT_ONCE = 4  # processes of tests: with three, those that wait leave two cores idle a quarter of the time
VARIABLES = {**os.environ, "OMP_NUM_THREADS": "1"}
# Tests start hundreds of programs: one that may not keep what it compiled compiles the package each time.
VARIABLES.pop("PYTHONDONTWRITEBYTECODE", None)


def call(*words: str | Path) -> int:
    """Run a command in the root of the project; returns its exit status."""
    return subprocess.run([*map(str, words)], cwd=ROOT, check=False).returncode


def must(*words: str | Path) -> None:
    """Run a command; end with its status if it fails."""
    if status := call(*words):
        sys.exit(status)


def program(name: str) -> list[str | Path]:
    """The start of a command that runs a module of the environment."""
    return [PYTHON, "-m", name]


def setup() -> None:
    """Make .venv, unless it is newer than what says what belongs there."""
    sources = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    newest = max(path.stat().st_mtime for path in sources)
    if STAMP.exists() and STAMP.stat().st_mtime > newest and STAMP.read_text("utf-8") == EXTRAS:
        return
    must(sys.executable, "-m", "venv", VENV)
    index = os.environ.get("INDEX")
    more = ["--extra-index-url", index] if index else []
    pip = [*program("pip"), "--disable-pip-version-check", "install", "-q"]
    must(*pip, "-c", "constraints.txt", *more, "-e", f".[{EXTRAS}]")
    STAMP.write_text(EXTRAS, "utf-8")


def lint() -> int:
    """Style and format."""
    return call(*program("ruff"), "check", ".") or call(*program("ruff"), "format", "--check", ".")


def types() -> int:
    """Types, and that every call is there on Windows: the stubs know which system has which."""
    windows = [*program("mypy"), "--platform", "win32", "--cache-dir", ".mypy_cache/win32"]
    return call(*program("mypy")) or call(*windows)


def unit(names: list[str]) -> int:
    """The fast tests, a file in one of AT_ONCE processes. With names or flags one process, which gets them."""
    # What is in one file shares fixtures that take long to make. Files are given out in the order of
    # tests/conftest.py, not by their count of tests.
    share = names or ["--numprocesses", str(AT_ONCE), "--dist", "loadfile", "--no-loadscope-reorder"]
    words = [*program("pytest"), "-m", "not slow", *share]
    return subprocess.run([*map(str, words)], cwd=ROOT, env=VARIABLES, check=False).returncode


def test() -> int:
    """Lint, and if that is well types and the fast tests at the same time."""
    if status := lint():
        return status
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(types)
        status = unit([])
    if other.result():
        print("the types are wrong, as said above")
    return status or other.result()


def bars() -> list[str]:
    """Names of the long bars: a program benchmarks/accept_NAME.py is one."""
    return [path.stem.removeprefix("accept_") for path in sorted((ROOT / "benchmarks").glob("accept_*.py"))]


def accept(name: str, words: list[str]) -> int:
    """One of the long bars."""
    if name not in bars():
        print(f"no bar is called {name!r}; there are {', '.join(bars())}", file=sys.stderr)
        return 2
    return call(PYTHON, f"benchmarks/accept_{name}.py", *words)


def acceptance() -> int:
    """All of them, after the slow tests; the first that fails ends it."""
    return call(*program("pytest"), "-m", "slow") or next(filter(None, (accept(n, []) for n in bars())), 0)


def docs() -> int:
    """The documentation site."""
    must(*program("pip"), "install", "-q", "mkdocs>=1.6,<2", "mkdocstrings-python>=2,<3")
    must(*program("mkdocs"), "build", "--strict")
    return call(
        *program("texturenets"), "export", "composition_vii", "udnie", "--to", "web", "-o", "build/site/demo"
    )


def clean() -> int:
    """Remove everything that this program made."""
    made = [".venv", "build", "dist", "demo", ".mypy_cache", ".ruff_cache"]
    caches = [path for path in ROOT.rglob("__pycache__") if ".venv" not in path.parts]
    for path in [*(ROOT / name for name in made), *ROOT.glob("src/*.egg-info"), *caches]:
        shutil.rmtree(path, ignore_errors=True)
    return 0


def commands(rest: list[str]) -> dict[str, Callable[[], int]]:
    """What each command does with the words that follow it."""
    return {
        "setup": lambda: 0,
        "lint": lint,
        "types": types,
        "unit": lambda: unit(rest),
        "test": test,
        "slow-tests": lambda: call(*program("pytest"), "-m", "slow", *rest),
        "accept": lambda: accept((rest or [""])[0], rest[1:]),
        "acceptance": acceptance,
        "release-check": lambda: call(PYTHON, "benchmarks/accept_reach.py", "--only", "release", *rest),
        "demo": lambda: call(*program("texturenets"), "demo", "-o", "demo", *rest),
        "docs": docs,
        "clean": clean,
    }


def main(words: list[str]) -> int:
    """Run a command line; returns its exit status."""
    command, rest = (words[0], words[1:]) if words else ("help", [])
    found = commands(rest)
    if command not in found:
        print(__doc__)
        return 0 if command in ("help", "-h", "--help") else 2
    if command != "clean":
        setup()
    return found[command]()


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (it says so)
        sys.exit("texturenets needs Python 3.11 or later: run this with one, as python3.12 dev.py setup")
    sys.exit(main(sys.argv[1:]))
