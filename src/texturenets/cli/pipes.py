"""`-` on a command line: an image from standard input, a result to standard output, by way of temporary files."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from texturenets.errors import UserError

COMMANDS = ("stylize", "optimize", "sample")  # those that read images or write one
OUTPUT = ("-o", "--output")


def asked(words: Sequence[str]) -> bool:
    """Whether one of `words`, a command line, is `-`."""
    return "-" in words or "--output=-" in words


def run_piped(words: Sequence[str], run: Callable[[Sequence[str]], int]) -> int:
    """`run(words)`, each `-` replaced by a file; returns its exit status.

    `-` after --output is standard output: the result is copied there when it is complete, and names are not printed.
    Every other `-` is standard input, an image. Raises UserError for an input that is no image, and where an output
    would go to a terminal.
    """
    if words[0] not in COMMANDS:
        raise UserError(f"-: standard input and output are for {', '.join(COMMANDS)}: name a file")
    plain = [part for word in words for part in (("--output", "-") if word == "--output=-" else (word,))]
    outputs = {i for i, word in enumerate(plain) if word == "-" and plain[i - 1] in OUTPUT}
    inputs = {i for i, word in enumerate(plain) if word == "-"} - outputs
    if outputs and sys.stdout.isatty():
        raise UserError(
            "--output - writes an image, and standard output is a terminal: send it on, as with > result.png"
        )
    with tempfile.TemporaryDirectory(prefix="texturenets-") as name:
        folder = Path(name)
        if inputs:
            source = _received(folder)
            plain = [str(source) if i in inputs else word for i, word in enumerate(plain)]
        if not outputs:
            return run(plain)
        result = folder / f"stdout{_suffix(plain)}"
        plain = [str(result) if i in outputs else word for i, word in enumerate(plain)]
        try:
            with redirect_stdout(io.StringIO()):
                status = run(plain)
        except UserError as error:
            error.args = (str(error).replace(f"{folder}{os.sep}", ""),)
            raise
        if status == 0:
            _send(result)
        return status


def _received(folder: Path) -> Path:
    """Standard input as a file in `folder`, with the suffix that belongs to what it holds. Raises UserError."""
    from texturenets.image import formats

    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("-: standard input is a terminal: send an image, as with < photo.jpg")
    with (folder / "stdin").open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    path = folder / "stdin"
    if path.stat().st_size == 0:
        raise UserError("-: standard input is empty: send an image, as with < photo.jpg")
    suffix = formats.suffix_within(path)
    if not suffix:
        raise UserError(f"-: standard input is no image that can be read here ({formats.readable()})")
    return path.rename(path.with_suffix(suffix))


def _suffix(words: Sequence[str]) -> str:
    """The suffix of a result: the one that it would have without --output."""
    if words[0] != "stylize":
        return ".png"
    from texturenets import image, video
    from texturenets.cli.outputs import suffix_of

    files = (Path(word) for word in words if image.is_picture(word) or video.is_film(Path(word)))
    first = next((path for path in files if path.is_file()), None)
    if first is None:  # which the command says
        return ".png"
    return video.output_suffix(first) if video.is_film(first) else suffix_of(first)


def _send(result: Path) -> None:
    """Copy a file to standard output. Raises UserError if the command has written several instead."""
    if not result.exists():
        raise UserError("--output - takes one result, and there are several: name a folder")
    with result.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
