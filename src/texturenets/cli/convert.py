"""`texturenets convert`: networks that other programs published, as model files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from texturenets.cli.arguments import Option
from texturenets.cli.common import warn
from texturenets.errors import UserError
from texturenets.train.configuration import model_file

SUFFIX = ".safetensors"


def convert(
    file: Path,
    /,
    *,
    output: Annotated[Path | None, Option("--output", "-o")] = None,
    name: str | None = None,
    source: str | None = None,
    licence: str | None = None,
    colors_in: str | None = None,
    colors_out: str | None = None,
    generator: str | None = None,
    quiet: bool = False,
) -> None:
    """Convert a network that another program published into a model file.

    Reads texture_nets and fast-neural-style (Torch7 .t7), pytorch/examples (.model, .pth), fast-style-transfer
    (TensorFlow checkpoints, and folders of variables for browsers, with manifest.json), ONNX, and models of earlier
    versions of texturenets. No code in the file is executed. The name of the model file is printed, for `stylize` or
    `sample`; `models show` prints where it came from.

    Parameters
    ----------
    file
        The published file, or the folder with manifest.json.
    output
        Model file to write; an existing one is replaced [default: the file's name with .safetensors, in the current
        folder].
    name
        Name of the model [default: that of the file].
    source
        Origin of the file, stored in the model's header [default: the names of the file and of the program].
    licence
        Licence of the weights, stored in the model's header [default: that in the file, if it states one].
    colors_in
        ONNX only: colour order and range of the network's input: rgb (0 to 1), rgb255 (0 to 255), bgr255,
        caffe (bgr255 minus VGG's mean), imagenet (rgb minus ImageNet's mean, over its standard deviation), signed
        (-1 to 1) [default: what the file says, else rgb255].
    colors_out
        ONNX only: colour order and range of the network's output, by the same names [default: what the file says,
        else rgb255].
    generator
        FILE.py:CLASS: code of a network of your own, which is executed; only for model files of earlier versions made
        with such a network.
    quiet
        Print nothing but the model's name, and errors.
    """
    target = output or Path(
        f"{file.name or file.resolve().name}{SUFFIX}" if file.is_dir() else file.stem + SUFFIX
    )
    if target.is_dir():
        target /= f"{file.stem}{SUFFIX}"
    target = model_file(target)  # before any work
    from texturenets import converters

    made = converters.convert(
        file,
        name=name,
        source=source,
        licence=licence,
        colors_in=colors_in,
        colors_out=colors_out,
        generator=generator,
    )
    if file.exists() and target.exists() and target.samefile(file):
        raise UserError(f"{target} is the file to convert: give the model another name with --output")
    made.save(target)
    if not quiet:
        for note in made.notes:
            warn(f"note: {note}")
        if not made.tested:
            warn(
                f"experimental: no published file of {made.origin} has been at hand to try; look at what it draws"
            )
    print(target)
