"""`texturenets models`: the available models, their origin and licence; models fetched from a list."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from texturenets.cli.arguments import Option
from texturenets.cli.command_line import Group
from texturenets.cli.common import download_progress, print_json, warn
from texturenets.cli.styles import note_shipped
from texturenets.errors import UserError
from texturenets.modelfiles.conditions import styles_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from texturenets.modelfiles.modelfile import Header

MAX_LIST_VALUES = 20  # longest list that is printed; longer ones (a graph's lines) are shown only with --json

PIPE_WIDTH = 10000  # width of a table in a pipe, so that no line is wrapped

Source = Annotated[str | None, Option("--from")]
AsJson = Annotated[bool, Option("--json")]


def listing(*, as_json: AsJson = False) -> int:
    """List the shipped models, and those that `models get` has fetched; files that cannot be read are reported on
    standard error.

    Parameters
    ----------
    as_json
        Print JSON: a list of objects.
    """
    from texturenets.modelfiles import modelfile

    files = {**modelfile.fetched(), **modelfile.shipped()}
    headers, problems = modelfile.headers(dict(sorted(files.items())))
    for problem in problems:
        warn(problem)
    models = {name: (files[name], header) for name, header in headers.items()}
    if as_json:
        print_json([_described(name, path, header) for name, (path, header) in models.items()])
        return 2 if problems else 0
    if not models:
        if not problems:
            print("no models are shipped with this installation", file=sys.stderr)
        return 2 if problems else 0

    from rich.table import Table

    table = Table("name", "kind", "generator", "size", "licence", box=None, pad_edge=False)
    for name, (path, header) in models.items():
        table.add_row(
            name,
            header.kind,
            header.generator["name"],
            _bytes(path.stat().st_size),
            header.licence or "unknown",
        )
    _print_table(table)
    return 2 if problems else 0


def list_(*, source: Source = None, as_json: AsJson = False) -> None:
    """Show the models that `models get` can fetch, by a list that --from names; those at hand are shown by
    `texturenets models`.

    Parameters
    ----------
    source
        The list: a file, a URL such as https://example.org/models.json, or hf://USER/REPO [default: the environment
        variable TEXTURENETS_MODELS]. No list comes with the package.
    as_json
        Print JSON: a list of objects.
    """
    from texturenets.modelfiles import listed, modelfile

    models = listed.read(listed.chosen(source))
    here = modelfile.fetched()
    if as_json:
        print_json([{**dataclasses.asdict(model), "here": model.name in here} for model in models])
        return
    from rich.table import Table

    table = Table("name", "size", "licence", "", box=None, pad_edge=False)
    for model in models:
        mark = "fetched" if model.name in here else ""
        table.add_row(model.name, _bytes(model.size), model.licence or "unknown", mark)
    _print_table(table)


def get(*names: str, source: Source = None, quiet: bool = False) -> None:
    """Fetch models by name from a list, verified by their hashes; then `stylize -s NAME` finds them.

    The names of the files are printed, one per line; existing files are not fetched again.

    Parameters
    ----------
    names
        Names in the list.
    source
        The list: a file, a URL such as https://example.org/models.json, or hf://USER/REPO [default: the environment
        variable TEXTURENETS_MODELS]. No list comes with the package.
    quiet
        Print no progress bar, and no notes about licences.
    """
    from texturenets.modelfiles import listed, modelfile

    if not names:
        raise UserError(
            "models get: name what is to be fetched; `texturenets models list` says what there is"
        )
    models = listed.read(listed.chosen(source))
    for name in names:
        progress = download_progress(name) if sys.stderr.isatty() and not quiet else None
        path = listed.get(name, models, progress)
        licence = modelfile.read_header(path).licence
        if licence and not quiet:
            warn(f"note: {name} is under the licence {licence}")
        print(path)


def show(model: str, /, *, as_json: AsJson = False, thumbnail: Path | None = None) -> None:
    """Show the header of a model file: generator, training, licence, source.

    Parameters
    ----------
    model
        Shipped name, model file, or hf://USER/REPO.
    as_json
        Print JSON: one object.
    thumbnail
        Write the header's thumbnail, a small example of the model's result, to this file.
    """
    from texturenets.modelfiles import modelfile

    if thumbnail is not None:
        from texturenets import image

        image.output_format(thumbnail)  # before anything is printed
    note_shipped(model)
    path = modelfile.find(model)
    header = modelfile.read_header(path)
    described = _described(path.stem, path, header)
    if as_json:
        print_json(described)
    else:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for key, value in described.items():
            table.add_row(key, _bytes(value) if key == "bytes" else _shown(value))
        _print_table(table)
    if thumbnail is not None:
        _write_thumbnail(header, path, thumbnail)
        print(thumbnail, file=sys.stderr if as_json else sys.stdout)  # standard output stays valid JSON


COMMANDS = Group(
    "List the models that are shipped or fetched, show the header of one, fetch others by name.",
    {"list": list_, "get": get, "show": show},
    default=listing,
)


def _described(name: str, path: Path, header: Header) -> dict[str, Any]:
    """The header without its thumbnail, ready for JSON."""
    return {
        "name": name,
        "title": header.name,
        "kind": header.kind,
        "file": str(path),
        "bytes": path.stat().st_size,
        "styles": list(styles_of(header.rows)),
        "generator": header.generator,
        "training": dict(header.training),
        "licence": header.licence,
        "terms": header.terms,
        "source": header.source,
        "version": header.version,
        "thumbnail": bool(header.thumbnail),
    }


def _write_thumbnail(header: Header, path: Path, target: Path) -> None:
    from PIL import Image

    from texturenets import image

    if not header.thumbnail:
        raise UserError(f"{path} holds no thumbnail")
    try:
        with Image.open(
            io.BytesIO(base64.b64decode(header.thumbnail, validate=True)), formats=["JPEG"]
        ) as small:
            picture, _ = image.from_any(small)
    except (OSError, binascii.Error, ValueError) as error:
        raise UserError(f"{path}: its thumbnail is damaged ({error})") from None
    image.write(target, picture)


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _shown(value: Any) -> str:
    """A value of the header as text: a mapping as lines of "key value", a nested one as "key.inner value"."""
    return "\n".join(_lines(value)) or "-"


def _lines(value: Any, before: str = "") -> list[str]:
    if isinstance(value, dict) and value:
        more = [_lines(inner, f"{before}.{key}" if before else str(key)) for key, inner in value.items()]
        return [line for lines in more for line in lines]
    return [f"{before} {_inline(value) or '-'}".strip()]


def _inline(value: Any) -> str:
    if isinstance(value, list | tuple):
        if len(value) > MAX_LIST_VALUES:
            return f"({len(value)} lines, which --json lists)"
        return ",".join(map(_inline, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _print_table(table: Table) -> None:
    """As wide as the terminal; in a pipe without wrapping and trailing blanks, so that `grep` finds whole lines."""
    from rich.console import Console

    console: Console = Console(highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        console.print(table)
        return
    text = io.StringIO()
    Console(file=text, highlight=False, markup=False, emoji=False, width=PIPE_WIDTH).print(table)
    print("\n".join(line.rstrip() for line in text.getvalue().splitlines()))
