"""Where the command line's output goes, names that are no text or too long, and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from texturenets.cli import main
from texturenets.cli.streams import Terminated, terminable
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.residual import Residual

SLOWLY = """
import sys, time
from texturenets.stylize import style as api
original = api.Style._run_network
def slowly(*words, **more):
    time.sleep(0.2)
    return original(*words, **more)
api.Style._run_network = slowly
from texturenets.cli import main
sys.exit(main())
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a style `s.safetensors` and a photo `ü.png`."""
    spec = Residual(channels=8, blocks=0)
    header = Header(name="s", kind="style", generator=spec, licence="grüß")
    network_files.save(build(spec), header, tmp_path / "s.safetensors")
    photo(tmp_path / "ü.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 24, 3), np.uint8)).save(path, "PNG")


def program(words: str, output: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run by a shell, with `output` as redirection."""
    line = f"exec {sys.executable} -m texturenets {words} {output}"
    return subprocess.run(
        ["/bin/sh", "-c", line], env=os.environ | environment, capture_output=True, check=False
    )


STYLIZE = "stylize ü.png -s s.safetensors --engine torch -o out/"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [STYLIZE, "models", "models show s.safetensors --json", ""])
def test_a_full_disk_behind_standard_output(here: Path, words: str) -> None:
    done = program(words, "> /dev/full")
    assert done.stderr == b"texturenets: cannot write to standard output: No space left on device\n"
    assert done.returncode == 2


def test_closed_streams(here: Path) -> None:
    done = program(STYLIZE, ">&-")
    assert (done.returncode, done.stderr) == (0, b"")
    with Image.open("out/ü-s.png") as result:
        result.load()
    done = program("stylize none.png", "2>&-")
    assert (done.returncode, done.stdout) == (2, b"")


def test_output_that_takes_no_umlauts(here: Path) -> None:
    for encoding, name in (("ascii", rb"out/\xfc-s.png"), ("latin-1", "out/ü-s.png".encode("latin-1"))):
        done = program(STYLIZE, "", PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stdout, done.stderr) == (0, name + b"\n", b"")
    done = program("models show s.safetensors --json", "", PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["licence"] == "grüß"


def test_a_name_that_is_no_text(here: Path) -> None:
    (here / "ü.png").rename(os.fsdecode(b"\xff.png"))
    done = program("stylize *.png -s s.safetensors --engine torch -o out/", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out/\xff-s.png\n", b"")


@pytest.mark.parametrize("length", [254, 300])
def test_names_that_no_file_has(here: Path, length: int, capsys: pytest.CaptureFixture[str]) -> None:
    name = "x" * length
    for words in (
        ["stylize", name],
        ["stylize", "ü.png", "-s", name],
        ["stylize", "ü.png", "-s", "s.safetensors", "-o", f"{name}.png"],
        ["sample", name],
        ["models", "show", f"{name}.safetensors"],
        ["optimize", "--style", name],
        ["evaluate", name],
        ["export", name, "--to", "onnx"],
        ["convert", name],
    ):
        assert main(words) == 2, words
        error = capsys.readouterr().err
        assert error.count("\n") == 1, (words, error)
        assert "xxx" in error


def test_a_result_whose_name_would_be_too_long(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x" * 250, "ü" * 125, "ü" * 124 + "x"):
        photo(here / f"in/{name}.png")
    assert main(["stylize", "in", "-s", "s.safetensors", "--engine", "torch", "-o", "out"]) == 0
    results = capsys.readouterr().out.splitlines()
    assert sorted(results) == sorted(str(path.relative_to(here)) for path in (here / "out").iterdir())
    assert len(results) == 3
    assert all(name.endswith(".png") and "-s" in name for name in results)


def test_a_folder_is_ended_by_sigterm(here: Path) -> None:
    for i in range(40):
        photo(here / f"in/{i}.png")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            SLOWLY,
            "stylize",
            "in",
            "-s",
            "s.safetensors",
            "--engine",
            "torch",
            "-o",
            "out",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    names = [process.stdout.readline() for _ in range(3)]
    process.terminate()
    rest, error = process.communicate(timeout=60)
    results = [path.name for path in (here / "out").iterdir()]
    assert process.returncode == 143
    assert (
        error
        == f"texturenets: terminated: {len(results)} of 40 done; the same command with --skip-existing continues\n"
    )
    assert sorted(Path(name.strip()).name for name in [*names, *rest.splitlines()]) == sorted(results)
    assert 3 <= len(results) < 40


def test_what_a_killed_run_left_in_a_folder_goes(here: Path) -> None:
    photo(here / "in/x/a.png")
    photo(here / "in/b.png")
    left = here / "out/x/.a-s.png.abcdefgh.part"
    left.parent.mkdir(parents=True)
    left.touch()
    assert main(["stylize", "in", "-s", "s.safetensors", "--engine", "torch", "-o", "out", "--quiet"]) == 0
    assert sorted(path.name for path in (here / "out").rglob("*.*")) == ["a-s.png", "b-s.png"]


def test_sigterm_within_a_library_that_wraps_it() -> None:
    """As Python does in __set_name__ of a class, and pydantic in its schemas."""

    def wrapped() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise RuntimeError("cannot build it") from error

    with pytest.raises(Terminated), terminable():
        wrapped()
    with pytest.raises(RuntimeError), terminable():
        raise RuntimeError("something else")
