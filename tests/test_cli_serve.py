"""`texturenets serve`: what is wrong with its options is said in one line, before it listens."""

from __future__ import annotations

import errno
import inspect
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

from texturenets.cli import main
from texturenets.cli.serve import serve
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.server import server
from texturenets.server.settings import Limits, Settings, token_from

NOWHERE = ["--host", "no.such.host.invalid"]
OPTIONS = list(inspect.signature(serve).parameters)
GIVEN = {
    "host": "::1", "port": "1", "models": "m", "photos": "p", "preload": "wave udnie", "page": "false",
    "token_file": "t", "public_host": "a.example b.example", "allow_origin": "https://c.example", "allow_frame": "https://d.example",
    "max_bytes": "1K", "max_pixels": "2", "max_side": "3", "max_seconds": "4.5", "max_queue": "5", "max_models": "6",
    "max_trainings": "7", "log_level": "error", "device": "cpu", "engine": "torch", "precision": "float32",
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "70000"], "--port 70000"),
        (["--no-page", "--port", "70000"], "--port 70000"),
        (["--max-bytes", "much"], "--max-bytes 'much'"),
        (["--max-queue", "0"], "--max-queue 0"),
        (["--models", "nowhere", "--port", "0"], "nowhere is not a folder"),
        (["--photos", ".", "--port", "0"], "--models FOLDER"),
        (["--token-file", "nowhere"], "--token-file nowhere: cannot read it: No such file or directory\n"),
        (["--preload"], "--preload needs a value"),
        (["--preload", "wafe", "--port", "0", "--no-page"], "'wave'"),
        (
            ["--engine", "onnx", "--precision", "bf16", "--host", "no.such.host.invalid"],
            "--precision bf16: ONNX",
        ),
        (
            ["--public-host", "https://paint.example/"],
            "--public-host https://paint.example/: give the name alone",
        ),
        (["--public-host", "paint.example:8080"], "--public-host paint.example:8080: give the name alone"),
        (["--public-host", "abc:80"], "--public-host abc:80: give the name alone"),
        (["--allow-origin", "friend.example"], "--allow-origin friend.example: give scheme and host"),
        (["--allow-origin", "https://friend.example/"], "--allow-origin https://friend.example/: give"),
        (["--allow-origin", "https://Friend.example"], "--allow-origin https://Friend.example: give"),
        (["--allow-origin", "https://friend.example:443"], "--allow-origin https://friend.example:443: give"),
        (["--allow-origin", "*"], "--allow-origin *: give"),
        (["--allow-frame", "friend.example"], "--allow-frame friend.example: give scheme and host"),
        (["--allow-frame", "null"], "--allow-frame null: give scheme and host"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid: cannot listen there"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1: cannot listen there"),  # nobody's (RFC 5737)
        (
            ["--host", "a" * 64 + ".example"],
            "aaa.example: cannot listen there",
        ),  # longer than a label of IDNA
        (["--host", "::g"], "--host ::g: cannot listen there"),
        (["--host", "é" * 70], "éé: cannot listen there"),
        (["--max-bytes", "9" * 400], "is not a size"),
        ([*NOWHERE, "--max-side", "300.7"], "--max-side 300.7 is not a whole number"),
        ([*NOWHERE, "--max-pixels", "1.5e999"], "--max-pixels 1.5e999 is not a whole number"),
        ([*NOWHERE, "--port", "80.5"], "--port 80.5 is not a whole number"),
        ([*NOWHERE, "--max-bytes", "10.5"], "--max-bytes 10.5 is not a whole number of bytes"),
        ([*NOWHERE, "--models", ""], "--models is empty"),
        ([*NOWHERE, "--token-file="], "--token-file is empty"),
        ([*NOWHERE, "--preload", "wave", " "], "--preload is empty"),
    ],
)
def test_mistakes_are_told(
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("flag", ["--models", "--photos"])
def test_a_folder_that_cannot_be_read(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("models", "photos"):
        (tmp_path / name).mkdir()
    closed, scandir = tmp_path / flag[2:], os.scandir

    def scan(path: Any = ".") -> Any:  # as for anybody but root
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    words = ["--models", str(tmp_path / "models"), "--photos", str(tmp_path / "photos")]
    monkeypatch.setattr(server.Server, "run", lambda *_, **__: pytest.fail("it serves"))
    assert main(["serve", *words, "--port", "0", "--no-page"]) == 2
    assert capsys.readouterr().err == f"texturenets: {flag} {closed}: cannot read it: Permission denied\n"


def test_a_folder_of_models_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fcntl", reason="locks as Unix has them")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "models" and access(path, mode))
    monkeypatch.setattr(server.Server, "run", lambda *_, **__: pytest.fail("it serves"))
    monkeypatch.chdir(tmp_path)
    for name in ("models", "photos"):
        Path(name).mkdir()
    Path("models/bad.safetensors").write_bytes(b"no model: the log says so, and not before what is wrong")
    assert main(["serve", "--models", "models", "--photos", "photos", "--port", "0", "--no-page"]) == 2
    said = "--models models: trained models go there, and it cannot be written: choose another"
    assert capsys.readouterr() == ("", f"texturenets: {said}\n")


def test_of_a_token_file_little_is_read(tmp_path: Path) -> None:
    """An endless one, as /dev/zero, would take all memory."""
    (tmp_path / "token").write_text("a" * 70_000)
    with pytest.raises(UserError, match="longer than any token"):
        token_from(tmp_path / "token")


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"--port {port}: " in (error := capsys.readouterr().err)
    assert "--host" not in error


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OFFLINE", "maybe", "TEXTURENETS_OFFLINE is 'maybe': 1, true or yes forbid"),
        ("CACHE", __file__, f"TEXTURENETS_CACHE names {__file__}, which is not a folder"),
        ("WEIGHTS", "/none", "TEXTURENETS_WEIGHTS names /none, which is not a folder"),
    ],
)
def test_a_variable_of_no_use_is_told_at_the_start(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "serve", lambda *_: pytest.fail("it serves"))
    monkeypatch.setenv(f"TEXTURENETS_{name}", value)
    assert main(["serve"]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["TOKEN", "MAX_PIXELS", *(f"SERVE_{one.upper()}" for one in GIVEN)])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server, "serve", lambda *_: pytest.fail("it serves"))
    monkeypatch.setenv(f"TEXTURENETS_{name}", value)
    assert main(["serve"]) == 2
    error = capsys.readouterr().err
    assert f"TEXTURENETS_{name} is empty" in error
    assert error.count("\n") == 1


def test_every_option_has_an_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(GIVEN) == set(OPTIONS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").write_text("from-the-file")
    seen: list[tuple[Settings, str]] = []
    monkeypatch.setattr(server, "serve", lambda settings, level: seen.append((settings, level)))
    for name, value in GIVEN.items():
        monkeypatch.setenv(f"TEXTURENETS_SERVE_{name.upper()}", value)
    assert main(["serve"]) == 0
    limits = Limits(bytes=1024, pixels=2, side=3, seconds=4.5, queue=5, models=6, trainings=7)
    assert seen[0] == (
        Settings(
            host="::1",
            port=1,
            hosts=("a.example", "b.example"),
            origins=("https://c.example",),
            frames=("https://d.example",),
            token="from-the-file",
            models=Path("m"),
            photos=Path("p"),
            preload=("wave", "udnie"),
            page=False,
            engine=EngineOptions("torch", "cpu", "float32"),
            limits=limits,
        ),
        "error",
    )
    assert main(["serve", "--port", "9"]) == 0  # the command line has the last word
    assert seen[1][0].port == 9
    monkeypatch.setenv("TEXTURENETS_SERVE_PORT", "tcp://10.0.0.1:80")
    assert main(["serve"]) == 2
    error = capsys.readouterr().err
    assert "TEXTURENETS_SERVE_PORT" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PORT", "70000", []),
        ("MAX_BYTES", "much", []),
        ("MAX_QUEUE", "0", []),
        ("MODELS", "nowhere", ["--port", "0"]),
        ("PHOTOS", ".", ["--port", "0"]),
        ("TOKEN_FILE", "nowhere", []),
        ("PRELOAD", "wafe", ["--port", "0", "--no-page"]),
        ("PUBLIC_HOST", "paint.example:8080", []),
        ("ALLOW_ORIGIN", "friend.example", []),
        ("HOST", "no.such.host.invalid", []),
        ("PRECISION", "bf16", ["--engine", "onnx", *NOWHERE]),
    ],
)
def test_a_wrong_value_of_a_variable_is_the_variables(
    *,
    variable: str,
    value: str,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    name, flag = f"TEXTURENETS_SERVE_{variable}", f"--{variable.lower().replace('_', '-')}"
    monkeypatch.setenv(name, value)
    assert main(["serve", *words]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert flag not in error
    assert error.count("\n") == 1
    monkeypatch.setenv(name, "1")  # the command line has the last word, and is named
    assert main(["serve", *words, flag, value]) == 2
    error = capsys.readouterr().err
    assert flag in error
    assert name not in error


@pytest.mark.parametrize(
    "words",
    [
        ["--preload", "wave", "udnie"],
        ["--preload", "wave", "--preload", "udnie"],
        ["--preload=wave", "--preload=udnie"],
    ],
)
def test_several_models_to_preload(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []
    monkeypatch.setattr(server, "serve", lambda settings, _: seen.append(settings))
    assert main(["serve", *words, "--port", "9"]) == 0
    assert (seen[0].preload, seen[0].port) == (("wave", "udnie"), 9)


def test_the_document_has_all_of_them() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "serve.md").read_text()
    rows = re.findall(r"^\| `--([a-z-]+)` \| `(TEXTURENETS_SERVE_[A-Z_]+)` \|([^|]+)\|", text, re.M)
    assert {option.replace("-", "_") for option, _, _ in rows} == set(OPTIONS)
    defaults = inspect.signature(serve).parameters
    for option, variable, default in rows:
        assert variable == "TEXTURENETS_SERVE_" + option.upper().replace("-", "_")
        value = defaults[option.replace("-", "_")].default
        shown = {"None": "", "True": "yes"}.get(
            str(value), f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
        )
        assert default.strip() == shown, option
