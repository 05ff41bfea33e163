"""`texturenets serve`: what is wrong with its options is said in one line, before it listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

from texturenets.cli import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "70000"], "--port 70000"),
        (["--no-page", "--port", "70000"], "--port 70000"),
        (["--max-bytes", "much"], "--max-bytes 'much'"),
        (["--max-queue", "0"], "--max-queue 0"),
        (["--models", "nowhere", "--port", "0"], "nowhere is no folder"),
        (["--photos", ".", "--port", "0"], "--models FOLDER"),
        (["--token-file", "nowhere"], "--token-file nowhere"),
        (["--host", "no.such.host.invalid"], "cannot listen at no.such.host.invalid"),
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


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    assert f"port {port}" in capsys.readouterr().err
