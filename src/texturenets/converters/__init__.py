"""Converts networks published by other programs: `convert` reads a file, `Converted.save` writes the model.

No code in a file is run: the reader of each format builds only arrays and plain records. One module per format,
listed in `CONVERTERS`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import torch
from torch import nn

from texturenets import arguments, image, readers
from texturenets.converters import format1, known_networks, onnx, pytorch, tensorflow, torch7
from texturenets.converters.colors import COLORS
from texturenets.converters.published import Published
from texturenets.errors import UserError, unknown
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import GeneratorSpec, build, network_files
from texturenets.train.configuration import model_file

__all__ = ["CONVERTERS", "Converted", "Converter", "convert", "detect"]


class Converter(Protocol):
    """The interface of a converter: a module that reads one published format."""

    TITLE: str
    """The common name of the format."""

    def matches(self, path: Path) -> Path | None:
        """The file or folder to read if the content of `path` is of this format; else None. Raises UserError if
        it cannot be read."""

    def read(self, path: Path) -> Published:
        """The network. Raises UserError, or one of `readers.DAMAGE`, for a damaged file, or one without a network."""


CONVERTERS: Final[tuple[Converter, ...]] = (tensorflow, torch7, onnx, pytorch)
"""They are tried in this order."""


@dataclass(frozen=True)
class Converted:
    """A converted network: `network` with its weights, and the header of the model file. `notes`: messages for the
    user. `origin`: the program that wrote the file. `tested`: whether a file published by it has been run; if not,
    its layout is known only from the program's source: check the results.
    """

    header: Header
    network: nn.Module
    origin: str
    tested: bool
    notes: tuple[str, ...] = ()
    precision: Literal["float16", "float32"] = "float32"

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The weights."""
        return self.network.state_dict()

    def save(self, path: str | Path) -> None:
        """Write the model file, in the precision in which it was published. Raises UserError unless `path` ends in
        .safetensors, and if it cannot be written."""
        path = model_file(Path(path))
        network_files.save(self.network, self.header, path, self.precision)


def detect(path: Path) -> tuple[Converter, Path]:
    """The converter of a file by its content, and the file or folder to read: a TensorFlow checkpoint may be named
    without its suffixes. Raises UserError if it cannot be converted.
    """
    try:
        for converter in CONVERTERS:
            if (source := converter.matches(path)) is not None:
                return converter, source
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    kind = readers.recognise(path)
    if kind is None and (image.read_header(path) is not None or image.suffix_by_content(path)):
        raise UserError(
            f"{path} is an image, not a network: `texturenets stylize {path}` stylizes it, `texturenets train style "
            f"{path} --content FOLDER-OF-PHOTOS` makes a model of it"
        )
    if kind is None:
        titles = ", ".join(converter.TITLE for converter in CONVERTERS)
        raise UserError(f"{path}: no published network that is known ({titles})")
    if kind == "safetensors":  # with a header of ours
        raise UserError(f"{path} is a model of texturenets already")
    raise UserError(
        f"{path} is a {readers.TITLES[kind]} file: weights of a descriptor network (`weights`), "
        "no network that draws"
    )


def _read(path: Path, colors_in: str | None, colors_out: str | None, generator: str | None) -> Published:
    converter, source = detect(path)
    if generator is not None:
        raise UserError(
            f"`generator` {generator}: code is only for models of earlier versions of texturenets, and {path} is a "
            f"{converter.TITLE} file: leave `generator` out"
        )
    for name in (colors_in, colors_out):
        if name is not None and converter is not onnx:
            raise UserError(
                f"`colors_in` and `colors_out` are for ONNX files: a {converter.TITLE} file needs none"
            )
        if name is not None and name not in COLORS:
            raise unknown("order of colours", name, COLORS)
    try:
        if converter is onnx:
            spaces = [COLORS[name] if name else None for name in (colors_in, colors_out)]
            return onnx.read(source, *spaces)
        return converter.read(source)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(str(path)) else f"{path}: {readers.plain(text)}") from None
    except (*readers.DAMAGE, OSError) as error:
        reason = readers.plain(str(error)) or type(error).__name__
        raise UserError(f"{path}: damaged or no {converter.TITLE} file ({reason})") from None


def convert(
    path: str | Path,
    *,
    name: str | None = None,
    source: str | None = None,
    licence: str | None = None,
    colors_in: str | None = None,
    colors_out: str | None = None,
    generator: str | None = None,
) -> Converted:
    """Convert a network published by another program: a file, or a folder of raw variables.

    `name`: the model's [the file's]; `source`, `licence`: its origin and its terms of use, for the header.
    `colors_in`, `colors_out`: for ONNX, the colour encoding of the network's input and output, a key of
    `colors.COLORS`. `generator`: FILE.py:CLASS, for a model of texturenets' format 1 whose network is code of the
    user's own, which is run.

    The header's generator is one of this package's if the network is exactly that, else a `Graph`. Raises UserError,
    with the file's name, if it is not such a network, or damaged.
    """
    arguments.instance("path", path, str | Path, "the path of a file or folder")
    path = Path(path)
    for field, value in (("name", name), ("source", source), ("licence", licence)):
        if value is not None:
            arguments.text(field, value)
    if format1.matches(path):
        if colors_in is not None or colors_out is not None:
            raise UserError(
                f"`colors_in` and `colors_out` are for ONNX files: {path} is a model of texturenets, which needs none"
            )
        network, header, half = format1.read(path, generator)
        changed: dict[str, Any] = {"name": name, "source": source, "licence": licence}
        header = dataclasses.replace(header, **{key: value for key, value in changed.items() if value})
        return Converted(header, network, "texturenets", True, precision="float16" if half else "float32")
    published = _read(path, colors_in, colors_out, generator)
    try:
        generator_spec, state = _ours(published)
    except UserError as error:
        raise UserError(f"{path}: {readers.plain(str(error))}") from None
    draws = any(node.operation == "photo" for node in published.builder.nodes)
    program = published.origin
    origin: dict[str, Any] = {"file": path.name, "family": program.title, **_hash(path)}
    if published.notes:
        origin["notes"] = published.notes
    own = f"; {program.title} publishes its own as {program.licence}" if program.licence else ""
    terms = published.licence or f"not said in the file{own}"
    author = f", by {published.author}" if published.author else ""
    header = Header(
        name=name or path.stem,
        kind="style" if draws else "texture",
        generator=generator_spec,
        training={"converted": origin},
        licence=licence or readers.plain(terms),
        source=source or readers.plain(f"{path.name} ({program.title}{author})"),
    )
    network = build(generator_spec)
    network.load_state_dict(state)
    return Converted(header, network, program.title, program.tested, tuple(published.notes))


def _ours(published: Published) -> tuple[GeneratorSpec, dict[str, torch.Tensor]]:
    known = known_networks.recognise(published)
    if known is not None:
        return known
    published.builder.finish(published.colors_out)
    return published.builder.spec(), published.builder.state()


def _hash(path: Path) -> dict[str, str]:
    """The file's SHA-256; "" for a folder."""
    if not path.is_file():
        return {}
    with path.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
