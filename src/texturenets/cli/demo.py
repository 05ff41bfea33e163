"""`texturenets demo`: every shipped style on a few photos, and a contact sheet of it all."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from texturenets.cli.arguments import Option
from texturenets.cli.common import Device, note_ignored, photo_progress, warn
from texturenets.cli.outputs import check_inputs
from texturenets.errors import UserError

if TYPE_CHECKING:
    from texturenets.image import Picture
    from texturenets.stylize.style import Style

# Shipped with the package (`photos/LICENSES.txt`).
PHOTOS = [
    str(Path(__file__).parents[1] / "photos" / f"{name}.jpg") for name in ("coffee", "cat", "astronaut")
]


def demo(
    *,
    photo: list[str] | None = None,
    output: Annotated[Path, Option("--output", "-o")] = Path("demo"),
    size: int = 1024,
    device: Device = "auto",
    quiet: bool = False,
) -> int:
    """Stylize photos with every shipped style, and lay the results out on a contact sheet.

    Parameters
    ----------
    photo
        Photo, pattern or folder; may be given several times [default: coffee, cat and astronaut, three photos
        in the public domain].
    output
        Folder for the images and contact-sheet.jpg; existing ones are replaced.
    size
        Longer side in pixels; larger photos are reduced to it.
    quiet
        Print no progress bar, and no notes about ignored files.
    """
    from texturenets import image, loading
    from texturenets.arrays import to_numpy
    from texturenets.engines.options import EngineOptions
    from texturenets.image import contact_sheet
    from texturenets.stylize import style as api

    api.check_options(size, 1.0)
    loading.default_style()  # says so if there is none
    load = functools.cache(functools.partial(loading.load_style, options=EngineOptions(device=device)))
    styles: dict[str, tuple[Style, dict[str, float] | None]] = {}
    for name, shipped in loading.shipped_styles().items():
        model, mix = loading.split_name(shipped)
        styles[name] = load(str(loading.find_style(model))), mix  # a model with several styles is loaded once
    ignored: list[Path] = []
    files = image.expand(photo or PHOTOS, ignored=ignored)
    photos, failed = _read(files, ignored, size, list(styles), quiet)

    target = output / "contact-sheet.jpg"
    results = [
        output / f"{label}{name}.jpg" for label, _ in photos for name in ("", *(f"-{one}" for one in styles))
    ]
    check_inputs([target, *results], files)

    rows, labels = [], []
    bar = photo_progress(len(photos) * len(styles), quiet)
    with bar:
        task = bar.add_task("demo", total=len(photos) * len(styles))
        for label, picture in photos:
            row = [picture.pixels_on_white]
            image.write(output / f"{label}.jpg", picture)
            for name, (style, mix) in styles.items():
                made = style.stylize(to_numpy(picture.pixels), mix=mix)
                result = picture.with_pixels(made, picture.transparency)
                row.append(result.pixels_on_white)
                image.write(output / f"{label}-{name}.jpg", result)
                bar.advance(task)
            rows.append(row)
            labels.append(label)
    image.write(target, contact_sheet.sheet(rows, ["photo", *styles], labels))
    print(target)
    return 2 if failed else 0


def _read(
    files: Sequence[Path], ignored: list[Path], size: int, styles: Sequence[str], quiet: bool
) -> tuple[list[tuple[str, Picture]], int]:
    """Photos, no larger than `size`, by names for which all results in `styles` have names of their own; and how many
    cannot be read. `ignored`: as for `note_ignored`."""
    from texturenets import image

    result: dict[str, Picture] = {}
    errors: list[UserError] = []
    taken: set[str] = set()
    for path in files:
        name, number = path.stem, 1
        while taken & {name, *(f"{name}-{one}" for one in styles)}:
            number += 1
            name = f"{path.stem}-{number}"
        taken |= {name, *(f"{name}-{one}" for one in styles)}
        try:
            result[name] = _fitted(image.read(path), size)
        except UserError as error:
            errors.append(error)
    if not result and len(errors) == 1:
        raise errors[0]  # it says all there is to say
    for each in errors:
        warn(each)
    if not quiet:
        note_ignored(ignored)
    if not result:
        raise UserError("no photo can be read")
    return list(result.items()), len(errors)


def _fitted(picture: Picture, size: int) -> Picture:
    from texturenets import image
    from texturenets.image import sizes

    if max(picture.size) <= size:
        return picture
    return image.resize_picture(picture, sizes.fit_longer(picture.size, size))
