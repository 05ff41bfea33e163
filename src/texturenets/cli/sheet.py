"""`texturenets stylize --sheet`: photos and their results, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from texturenets.cli.common import warn
from texturenets.errors import UserError, counted

if TYPE_CHECKING:
    from texturenets.stylize.pipeline import PathPair

NAME = "contact-sheet.jpg"
ROWS = 50  # maximum number of photos on a sheet
CELL = 320  # pixels of an image, at most
ONE_ROW = 6  # images of a single photo in one row, at most


def check(folder: Path, jobs: Sequence[PathPair], videos: int) -> None:
    """Raise UserError if a sheet in `folder` would be empty, or overwrite a photo or a result.

    `videos`: number of videos; a note says that they are not on the sheet.
    """
    if not jobs:
        raise UserError("--sheet shows photos, and there are only videos: leave it out")
    if videos:
        warn(f"--sheet shows photos: {counted(videos, 'video')} {'is' if videos == 1 else 'are'} not on it")
    target = (folder / NAME).resolve()
    if any(target in (photo.resolve(), result.resolve()) for photo, result in jobs):
        raise UserError(
            f"--sheet would overwrite {folder / NAME}: write into another folder, for example -o stylized/"
        )


def write(folder: Path, styles: Sequence[tuple[str, Sequence[PathPair]]]) -> Path | None:
    """Write a sheet of the existing photos and results of each style into `folder`; returns None if there are
    none."""
    from texturenets import image
    from texturenets.image import contact_sheet

    target = folder / NAME
    rows: dict[Path, list[Path]] = {}
    columns = ["photo"]
    for name, (_, jobs) in zip(_numbered([name for name, _ in styles]), styles, strict=True):
        most = 0
        for photo, result in jobs:
            rows.setdefault(photo, []).append(result)
            most = max(most, len(rows[photo]) - len(columns) + 1)
        columns += [name if most == 1 else f"{name} {i}" for i in range(most)]
    whole = {photo: results for photo, results in rows.items() if all(path.exists() for path in results)}
    if not whole:
        warn("--sheet: there is no photo with all of its results")
        return None
    if len(whole) > ROWS:
        warn(f"--sheet shows the first {ROWS} of {len(whole)} photos")
    shown = list(whole.items())[:ROWS]
    pictures = [
        [image.read(path, longer=CELL).pixels_on_white for path in (photo, *results)]
        for photo, results in shown
    ]
    labels = [_label(photo, [other for other, _ in shown]) for photo, _ in shown]
    if len(shown) == 1 and len(columns) > ONE_ROW:
        image.write(target, contact_sheet.folded(pictures[0], columns, ONE_ROW, cell=CELL))
    else:
        image.write(target, contact_sheet.sheet(pictures, columns, labels, cell=CELL))
    return target


def _label(photo: Path, photos: Sequence[Path]) -> str:
    """The photo's name, with as many of its parent folders as make it unique among `photos`."""
    for count in range(1, len(photo.parts) + 1):
        end = photo.parts[-count:]
        if sum(other.parts[-count:] == end for other in photos) == 1:
            return str(Path(*end))
    return str(photo)


def _numbered(names: Sequence[str]) -> list[str]:
    """`names`, with equal ones numbered like results: wave, wave-2."""
    return [f"{name}-{n}" if (n := names[: i + 1].count(name)) > 1 else name for i, name in enumerate(names)]
