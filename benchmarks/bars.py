"""What the acceptance programs share: where the reference material lies, how to call the program and the judge."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
PHOTOS = ("chicago", "hoovertowernight", "tubingen", "stata")


def shared() -> Path:
    """The folder of reference material beside the checkout; ends the program where it is missing."""
    if not SHARED.is_dir():
        sys.exit(f"this bar needs the reference material, which is not at {SHARED}")
    return SHARED


def descriptors() -> tuple[str, ...]:
    """Folders with weights of the descriptor networks, for `--weights`; VGG-16 to its deep layers first."""
    return (str(shared() / "descriptors/full"), str(shared() / "descriptors"))


def photo(name: str) -> Path:
    """The judged photo of that name."""
    return shared() / "images/content/eval" / f"{name}.jpg"


def painting(style: str | Path) -> Path:
    """The painting of a style, by the name of its model file; ends the program where there is none."""
    stem = Path(style).stem
    found = next((shared() / "images/style").glob(f"{stem}.*"), None)
    if found is None:
        sys.exit(
            f"{style}: no painting {stem}.* in {shared() / 'images/style'}; a model file is named after its own"
        )
    return found


def texturenets(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One call of the command line, its output caught; with `check` a failed one ends the program with its error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "texturenets", *map(str, words)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(command[2:])}: {done.stderr.strip()}")
    return done


RENAMED = {"flat": "calm"}
"""The judge's words, and those of `texturenets evaluate`."""


def judge(*words: str | Path) -> dict[str, float]:
    """One line of the judge's, as numbers by name."""
    command = [sys.executable, str(shared() / "judge/judge.py"), *map(str, words)]
    line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.findall(r"(\w+)\s+(-?[\d.]+)(?=\s|$)", line)
    return {RENAMED.get(name, name): float(value) for name, value in found}


def shipped(kind: str) -> dict[str, Path]:
    """The files of the shipped models of that kind by name; none that holds several styles."""
    from texturenets.modelfiles import modelfile

    files = modelfile.shipped()
    headers, _ = modelfile.headers(files)
    return {name: files[name] for name, one in headers.items() if one.kind == kind and not one.rows}


def of_models(kind: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose argument `models` names shipped models or model files; all shipped ones of `kind` by default."""
    from texturenets.errors import UserError
    from texturenets.modelfiles import modelfile

    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def known(name: str) -> str:
        try:
            modelfile.read_header(modelfile.find(name, kind))
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return name

    parser.add_argument("models", nargs="*", default=list(shipped(kind)), metavar=kind, type=known)
    return parser


MEASURES = ("squeezenet", "vgg", "deep", "structure")


def published() -> dict[tuple[str, str], dict[str, float]]:
    """(style, photo) to `MEASURES` and `calm` of other programs' networks, from the judge's tables."""
    text = (shared() / "judge/README.md").read_text()
    header = re.search(r"^\| style \|(.+)\|$", text, re.M)
    assert header, "the judge's table of styles has another form"
    names = [cell.strip() for cell in header[1].strip("|").split("|")]
    scores: dict[tuple[str, str], dict[str, float]] = {}
    for style, cells in re.findall(r"^\| (\w+) \|((?: [\d.]+ / [\d.]+ / [\d.]+ \|)+)$", text, re.M):
        for name, cell in zip(names, cells.split("|"), strict=False):
            squeezenet, vgg, _ = map(float, cell.split("/"))
            scores[style, name] = {"squeezenet": squeezenet, "vgg": vgg}
    for style, cells in re.findall(r"^\| (\w+), lengstrom \|(.+)\|$", text, re.M):
        columns = [map(float, cell.split(",")) for cell in cells.split("|")]
        for name, values in zip(PHOTOS, zip(*columns, strict=True), strict=True):
            scores[style, name] |= dict(zip(("deep", "structure", "calm"), values, strict=True))
    return scores
