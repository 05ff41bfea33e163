"""`texturenets export`: models for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from texturenets.cli.arguments import Option
from texturenets.cli.outputs import free_folder, names_folder
from texturenets.cli.styles import note_shipped
from texturenets.errors import UserError
from texturenets.files import expanded


def export(
    models: list[str],
    /,
    *,
    to: Literal["onnx", "openvino", "web"],
    output: Annotated[str | None, Option("--output", "-o")] = None,
    generator: str | None = None,
    runtime: Path | None = None,
    quiet: bool = False,
) -> None:
    """Export models to other formats, and compare the output of each file with PyTorch's, if PyTorch is installed.

    The exported network takes any batch size; height and width have to be multiples of its stride: 4 for the
    shipped styles, 32 for the shipped textures. The metadata of an ONNX file holds the stride and example code that
    pads and crops photos of other sizes (see docs/performance.md). The names of the files are printed, one per
    line.
    `--to web` writes a page that any file server can host and that runs the models in the browser: photos do not
    leave it.

    Parameters
    ----------
    models
        Shipped names, model files, or hf://USER/REPO. A model with several styles is exported with all its styles,
        and the mixture weights as an input; MODEL:STYLE, or a mixture, MODEL:STYLE=0.6,STYLE=0.4, exports only that
        style or mixture (not for web).
    to
        Format: onnx, one file; openvino, a description (.xml) and its weights (.bin); web, a folder.
    output
        File for one model, or a folder: one that exists, or a name that ends in / or has no suffix; existing files
        are replaced. With --to web, models are added to an existing page
        [default: the current folder].
    generator
        FILE.py:CLASS: code of a network of your own, executed by PyTorch instead of the graph in the model file; the
        exported file is compared with it.
    runtime
        With --to web: the npm package onnxruntime-web as a file (.tgz) [default: downloaded once with npm].
    quiet
        Do not print the comparison.
    """
    from texturenets import export as exports

    for name in models:
        note_shipped(name)
    if to == "web":
        from texturenets.export import static_page

        if generator is not None:
            raise UserError(
                f"--generator {generator}: --to web takes the graph in the model file, and no code"
            )
        if output is None or Path(output).is_file():
            raise UserError("--to web writes a folder: name one, with --output FOLDER")
        print(static_page.write([_whole_model(name) for name in models], Path(output), runtime))
        return
    if runtime is not None:
        raise UserError(f"--runtime is for --to web, not --to {to}")
    suffix = exports.suffix(to)
    for name, out in _plan([_stem_of(name) for name in models], models, output, suffix):
        done = exports.export(name, to, out, generator)
        if not quiet:
            compared = (
                f"{_stem_of(name)}: {done.accepted_sizes}; differs from {done.reference} by at most "
                f"{done.difference:.1e}, at {len(done.sizes)} sizes"
            )
            print(compared, file=sys.stderr)
        for file in done.files:
            print(file, flush=True)


def _whole_model(name: str) -> Path:
    """The file of a model for the page. Raises UserError for a style or mixture of it, and if there is no such
    model."""
    from texturenets import loading
    from texturenets.modelfiles import modelfile

    file, mix = loading.split_name(name)
    path = modelfile.find(file)
    if mix:
        raise UserError(
            f"{name}: one style, or one mixture, goes to onnx and openvino; --to web takes the whole model, with all "
            f"its styles: say {file}"
        )
    return path


def _stem_of(name: str) -> str:
    """The exported file's name without suffix: the model file's, followed by -STYLE if one of its styles is exported.

    Raises UserError if there is no such model.
    """
    from texturenets import loading
    from texturenets.modelfiles import modelfile

    file, mix = loading.split_name(name)
    stem = modelfile.find(file).stem
    return f"{stem}-{'+'.join(mix)}" if mix else stem


def _plan(stems: list[str], models: list[str], output: str | None, suffix: str) -> list[tuple[str, Path]]:
    """Pairs of a model and its output file, named by `stems`. Raises UserError if two output files would be the
    same."""
    folder = Path() if output is None else expanded(output)
    if output is not None and not folder.is_dir() and not names_folder(output):
        if folder.suffix == suffix and len(models) > 1:
            raise UserError(
                f"--output {output} is one file, and there are {len(models)} models: give a folder, for example "
                f"-o {folder.with_suffix('')}/"
            )
        if folder.suffix == suffix:
            return [(models[0], folder)]
        if folder.suffix or folder.is_file():
            raise UserError(
                f"--output {output}: give a file that ends in {suffix}, or a folder, for example -o "
                f"{free_folder(folder)}"
            )
    plan = [(name, folder / f"{stem}{suffix}") for name, stem in zip(models, stems, strict=True)]
    for i, (name, out) in enumerate(plan):
        if any(out == other for _, other in plan[:i]):
            raise UserError(
                f"{name} would become {out}, as another model does: export it alone, with --output"
            )
    return plan
