"""Names of result files: all different, and none that would overwrite a photo."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from texturenets.errors import UserError

if TYPE_CHECKING:
    from texturenets.stylize.pipeline import PathPair

LONGEST = 250
"""Bytes of a file's name, of the 255 that file systems take: the rest is for the numbers of several results."""


def plan_of(
    photos: Sequence[Path],
    output: str | None,
    style: str,
    roots: Sequence[Path] = (),
    several_of: Callable[[Sequence[PathPair]], list[PathPair]] = list,
    *,
    films: Collection[Path] = (),
    styles: int = 1,
    taken: dict[str, PurePath] | None = None,
    skip_existing: bool = False,
) -> list[PathPair]:
    """Photos and their result files, all different: [(photo, result)].

    The folders inside each of `roots` are kept in the output, as `_kept` says. `several_of` turns one result for
    each photo into several. `films`: those of `photos` that are films.
    `styles`: number of styles, each with a plan of its own; `taken`, `skip_existing`: as for `names`, over all plans.

    Raises UserError before any work is done: where `output` is one file for several photos, is of a format
    that is not written, or where a result would overwrite a photo; and as `names`.
    """
    from texturenets import image, video

    def suffix(photo: PurePath) -> str:
        return video.output_suffix(photo) if photo in films else suffix_of(photo)

    folder = folder_of(photos, output, styles, "files" if films else "photos")
    if folder is None:
        assert output is not None
        results = [Path(output).expanduser()]
    else:
        folders = _kept([root for root in roots if root.is_dir()], keep_names=output is not None)
        inside = [(_inside(photo, folders), photo) for photo in photos]
        results = [folder / name for name in names(inside, style, suffix, taken, skip_existing=skip_existing)]

    jobs = several_of(list(zip(photos, results, strict=True)))
    sources = {(info.st_dev, info.st_ino): photo for photo in photos if (info := _stat(photo))}
    for photo, result in jobs:
        if photo in films:
            video.check_output(result, photo)
        else:
            image.output_format(result)
        info = _stat(result)
        hit = sources.get((info.st_dev, info.st_ino)) if info else None
        if hit == photo:
            raise UserError(f"--output {output} would overwrite the photo itself: give another name")
        if hit is not None:
            raise UserError(
                f"the result of {photo} would overwrite {hit}, which is among the photos: "
                "write into another folder, as with -o stylized/"
            )
    return jobs


def names(
    photos: Iterable[tuple[PurePath, PurePath]],
    style: str,
    suffix: Callable[[PurePath], str] | None = None,
    taken: dict[str, PurePath] | None = None,
    *,
    skip_existing: bool = False,
) -> list[str]:
    """Names of results in an output folder, all different, for [(folder inside it, photo)].

    Those that would be the same are numbered in the order of the photos. `suffix` gives the suffix of a result,
    `suffix_of` by default. `taken`: the photo of each name in use, case-folded; the new ones are added.

    Raises UserError where names would be numbered and `skip_existing` is true: with other photos beside it the same
    photo has another number, and the result that exists may be another's.
    """
    results = []
    taken = {} if taken is None else taken
    for inside, photo in photos:
        end, number = (suffix or suffix_of)(photo), 1
        name = str(inside / _fitted(photo.stem, f"-{style}{end}"))
        other = taken.get(name.casefold())  # many file systems ignore case: "A.jpg" is "a.jpg"
        if skip_existing and other is not None:
            both = f"{other} and {photo}" if other != photo else f"{photo} in two styles called {style}"
            raise UserError(
                f"--skip-existing goes by the names of results, and those of {both} would both be {name}: rename "
                "one of them, or leave --skip-existing out"
            )
        while name.casefold() in taken:
            number += 1
            name = str(inside / _fitted(photo.stem, f"-{style}-{number}{end}"))
        taken[name.casefold()] = photo
        results.append(name)
    return results


def _fitted(stem: str, end: str) -> str:
    """`stem` and `end`, the stem shortened to the length that file systems allow."""
    room = LONGEST - len(os.fsencode(end))
    while stem and len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + end


def _kept(folders: Sequence[Path], *, keep_names: bool) -> dict[Path, Path]:
    """What is kept in the output of the path of each of `folders`: what they do not share, of a single one nothing.

    So photos of the same name in two folders have results of different names, whichever photos there are. Without
    `keep_names` nothing is kept: in the current folder the results would lie among the photos.
    """
    if not folders or not keep_names:
        return dict.fromkeys(folders, Path())
    absolute = {root: os.path.abspath(root) for root in folders}  # noqa: PTH100  without following links
    shared = os.path.commonpath(absolute.values())
    return {root: Path(os.path.relpath(path, shared)) for root, path in absolute.items()}


def _inside(photo: Path, folders: Mapping[Path, Path]) -> Path:
    """The folder of `photo` in the output: what is kept of its root among `folders`, and its path in that."""
    for root, kept in folders.items():
        if photo.is_relative_to(root):
            return kept / photo.relative_to(root).parent
    return Path()


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def folder_of(
    photos: Sequence[Path], output: str | None, styles: int = 1, what: str = "photos"
) -> Path | None:
    """The folder that results go into; None where `output` is a file for the one result."""
    from texturenets import image, video

    if output is None:
        return Path()
    path = Path(output).expanduser()
    if output.endswith(("/", os.sep)) and path.is_file():
        raise UserError(f"--output {output}: {path} is a file: give a folder, as with -o {free_folder(path)}")
    if path.is_dir() or output.endswith(("/", os.sep)):
        return path
    if len(photos) == styles == 1 and path.suffix:
        return None
    if path.is_file() or path.suffix.lower() in image.suffixes() | video.READ:
        many = f"{styles} styles" if len(photos) == 1 else f"{len(photos)} {what}"
        raise UserError(
            f"--output {output} is one file, and there are {many}: give a folder, as with -o {free_folder(path)}"
        )
    return path


def free_folder(path: Path) -> str:
    """The name of a folder beside the file `path`, called like it where no file is called so."""
    folder = path.with_suffix("")
    while folder.exists() and not folder.is_dir():
        folder = folder.with_name(f"{folder.name}-results")
    return f"{folder}/"


def suffix_of(photo: PurePath) -> str:
    """The photo's own suffix where that can be written, else one that loses as little.

    One without a suffix, whose file is here, has that of what is in it.
    """
    from texturenets import image

    named = photo
    if not photo.suffix and isinstance(photo, Path):
        named = photo.with_suffix(image.suffix_within(photo))
    try:
        image.output_format(named)
        return named.suffix
    except UserError:
        lossless = {".gif", ".ppm", ".pgm"}
        return ".png" if named.suffix.lower() in lossless else ".jpg"


def several(jobs: Sequence[PathPair], count: int, model: Path) -> list[PathPair]:
    """`count` results of each photo for one, numbered. Raises UserError where they would all be the same."""
    if count < 1:
        raise UserError(f"--count {count} is not above 0")
    if count == 1:
        return list(jobs)
    from texturenets.modelfiles import modelfile

    if not modelfile.may_take_noise(model):
        raise UserError(
            f"--count {count}: {model.stem} takes no noise, all results of a photo would be the same"
        )
    return [(photo, numbered(result, i)) for photo, result in jobs for i in range(count)]


def numbered(result: Path, i: int) -> Path:
    """The name of one of several results for one: a.png becomes a-0000.png, a-0001.png, ..."""
    return result.with_name(f"{result.stem}-{i:04d}{result.suffix}")
