"""Names of result files: unique, and never overwriting a photo."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from texturenets.errors import UserError
from texturenets.files import check_unprotected, expanded

if TYPE_CHECKING:
    from texturenets.stylize.pipeline import PathPair

MAX_NAME_BYTES = 234
"""Maximum bytes of a file name; file systems allow 255, the rest is for the 64-bit seed of one of several results."""


class OneFileError(UserError):
    """`--output` names one file, but there are several results; `many`: their number, such as "2 photos"."""

    def __init__(self, output: str, many: str, folder: str) -> None:
        super().__init__(
            f"--output {output} is one file, and there are {many}: give a folder, for example -o {folder}"
        )
        self.many = many


def plan_of(
    photos: Sequence[Path],
    output: str | None,
    styles: Sequence[str],
    roots: Sequence[Path] = (),
    seeds: Sequence[int] = (0,),
    *,
    videos: Collection[Path] = (),
    skip_existing: bool = False,
    inputs: Sequence[Path] = (),
) -> list[list[PathPair]]:
    """For each of `styles`, the photos and their result files: [(photo, result)]. All result files are different.
    Subfolders of `roots` are kept in the output, see `kept`. `videos`: those of `photos` that are videos. `seeds`:
    see `several`; `skip_existing`: see `names`. `inputs`: other files that are read.

    Raises UserError, before any work is done, if `output` is one file for several photos or has a format that is not
    written, or if a result would overwrite an input; and as `names` does.
    """
    from texturenets import video

    def suffix(photo: PurePath) -> str:
        return video.output_suffix(photo) if photo in videos else suffix_of(photo)

    folder = folder_of(photos, output, len(styles), "files" if videos else "photos")
    if folder is None:
        assert output is not None
        results = [[expanded(output)]]
    else:
        folders = kept([root for root in roots if root.is_dir()], keep_names=output is not None)
        inside = [(_inside(photo, folders), photo) for photo in photos]
        found = names(inside, styles, suffix, skip_existing=skip_existing)
        results = [[folder / name for name in of_style] for of_style in found]

    jobs = [several(list(zip(photos, of_style, strict=True)), seeds) for of_style in results]
    every = [job for of_style in jobs for job in of_style]
    _check_results(every, output, videos)
    check_inputs([result for _, result in every], inputs)
    return jobs


def _check_results(jobs: Sequence[PathPair], output: str | None, videos: Collection[Path]) -> None:
    """Raise UserError if a format is not written, or a result would overwrite a photo."""
    from texturenets import image, video

    photos = dict.fromkeys(photo for photo, _ in jobs)
    sources = {(info.st_dev, info.st_ino): photo for photo in photos if (info := _stat(photo))}
    for photo, result in jobs:
        if photo in videos:
            video.check_output(result, photo)
        else:
            image.output_format(result)
        info = _stat(result)
        hit = sources.get((info.st_dev, info.st_ino)) if info else None
        if hit == photo:
            kind = _kind(photo, videos)
            raise UserError(f"--output {output} would overwrite the {kind} itself: give another name")
        if hit is not None:
            raise UserError(
                f"the result of {photo} would overwrite {hit}, which is among the {_kind(hit, videos)}s: "
                "write into another folder, for example -o stylized/"
            )


def check_inputs(results: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raise UserError if one of `results` is a file among `inputs`."""
    read = {(info.st_dev, info.st_ino): path for path in inputs if (info := _stat(path))}
    for result in results:
        info = _stat(result)
        if info and (hit := read.get((info.st_dev, info.st_ino))):
            raise UserError(f"--output {result} would overwrite {hit}, which is read: give another name")


def check_results(results: Sequence[Path], inputs: Sequence[Path]) -> None:
    """`check_inputs`; also raise UserError if one of `results` is write-protected."""
    check_inputs(results, inputs)
    check_unprotected(*results)


def _kind(photo: Path, videos: Collection[Path]) -> str:
    """The word for a file to be stylized, in messages."""
    from texturenets import video

    if photo not in videos:
        return "photo"
    return "video" if photo.suffix.lower() in video.READ else "animation"


def names(
    photos: Sequence[tuple[PurePath, PurePath]],
    styles: Sequence[str],
    suffix: Callable[[PurePath], str] | None = None,
    *,
    skip_existing: bool = False,
) -> list[list[str]]:
    """For each of `styles`, names of results in an output folder for [(folder inside it, photo)], all different.

    If names would be the same, one stays as it is and the others are numbered. The numbering depends only on the
    photos, not on their order on the command line: photos with the suffix of their result come first, then those in
    the fewest subfolders, then by path. A numbered name is never the unnumbered name of another result. `suffix`
    gives the suffix of a result, `suffix_of` by default. Raises UserError if names would be numbered and
    `skip_existing` is true: a photo's number depends on the other photos, so an existing result may belong to another
    photo.
    """
    ends = [(suffix or suffix_of)(photo) for _, photo in photos]

    def rank(i: int) -> tuple[bool, int, str]:
        photo = photos[i][1]
        path = os.path.abspath(photo)  # noqa: PTH100  without following links
        return photo.suffix != ends[i], path.count(os.sep), path

    def name(style: str, i: int, number: str = "") -> str:
        inside, photo = photos[i]
        return str(inside / fitted(photo.stem, f"-{style}{number}{ends[i]}"))

    results = [[""] * len(photos) for _ in styles]
    taken: dict[
        str, PurePath
    ] = {}  # by names in lower case: many file systems treat "A.jpg" and "a.jpg" as one
    unnamed = []
    for i in sorted(range(len(photos)), key=rank):
        for k, style in enumerate(styles):
            results[k][i] = name(style, i)
            if (key := results[k][i].casefold()) in taken:
                if skip_existing:
                    raise _same(taken[key], photos[i][1], style, results[k][i])
                unnamed.append((k, i))
            taken.setdefault(key, photos[i][1])
    for k, i in unnamed:
        number = 1
        while results[k][i].casefold() in taken:
            number += 1
            results[k][i] = name(styles[k], i, f"-{number}")
        taken[results[k][i].casefold()] = photos[i][1]
    return results


def _same(one: PurePath, other: PurePath, style: str, name: str) -> UserError:
    both = f"{one} and {other}" if one != other else f"{one} in two styles called {style}"
    return UserError(
        f"--skip-existing goes by the names of results, and those of {both} would both be {name}: rename "
        "one of them, or leave --skip-existing out"
    )


def fitted(stem: str, end: str) -> str:
    """`stem` + `end`. A stem that is longer than file systems allow is shortened, and a hash of the whole stem keeps
    it apart from others that begin the same, also from those of another run.
    """
    if len(os.fsencode(stem + end)) <= MAX_NAME_BYTES:
        return stem + end
    end = f"-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{end}"
    while stem and len(os.fsencode(stem + end)) > MAX_NAME_BYTES:
        stem = stem[:-1]
    return stem + end


def names_folder(output: str) -> bool:
    """Whether `output` ends like a folder name."""
    return output.endswith(("/", os.sep))


def kept(folders: Sequence[Path], *, keep_names: bool) -> dict[Path, Path]:
    """The part of the path of each of `folders` that is kept in the output: the part that they do not share; nothing
    for a single folder.

    So photos of the same name in two folders always have results of different names. Without `keep_names` nothing is
    kept: in the current folder the results would be among the photos.
    """
    if not folders or not keep_names:
        return dict.fromkeys(folders, Path())
    absolute = {root: os.path.abspath(root) for root in folders}  # noqa: PTH100  without following links
    try:
        shared = os.path.commonpath(absolute.values())
    except ValueError:  # Windows: folders on several drives; their letters are kept
        parts = {root: PurePath(path).parts for root, path in absolute.items()}
        return {root: Path(*(part.strip(":/\\") for part in path)) for root, path in parts.items()}
    return {root: Path(os.path.relpath(path, shared)) for root, path in absolute.items()}


def _inside(photo: Path, folders: Mapping[Path, Path]) -> Path:
    """The folder of `photo` in the output: the kept part of its root (one of `folders`), and its path within that."""
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
    """The folder for the results; None if `output` is a file for the only result."""
    from texturenets import image, video

    if output is None:
        return Path()
    path = expanded(output)
    check_named(output)
    if names_folder(output) and path.is_file():
        raise UserError(
            f"--output {output}: {path} is a file: give a folder, for example -o {free_folder(path)}"
        )
    if path.is_dir() or names_folder(output):
        return path
    if len(photos) == styles == 1 and path.suffix:
        return None
    if path.is_file() or path.suffix.lower() in image.suffixes() | video.READ:
        many = f"{styles} styles" if len(photos) == 1 else f"{len(photos)} {what}"
        raise OneFileError(output, many, free_folder(path))
    return path


def check_named(output: str) -> None:
    """Raise UserError for an `output` that is only a suffix, such as .png: it would be a hidden file or folder."""
    from texturenets import image, video

    name = PurePath(output).name
    if (
        name.lower() in image.suffixes() | video.READ
        and not names_folder(output)
        and not Path(output).is_dir()
    ):
        raise UserError(
            f"--output {output} is a suffix without a name: give a file, for example -o result{name}, or a folder"
        )


def free_folder(path: Path) -> str:
    """The name of a folder next to the file `path`: the same name without suffix, if that is free."""
    folder = path.with_suffix("")
    while folder.exists() and not folder.is_dir():
        folder = folder.with_name(f"{folder.name}-results")
    return f"{folder}/"


def suffix_of(photo: PurePath) -> str:
    """The photo's suffix if that format can be written, else the suffix of a format that loses as little. For a file
    without suffix, the suffix of its content's format.
    """
    from texturenets import image

    named = photo
    if not photo.suffix and isinstance(photo, Path):
        named = photo.with_suffix(image.suffix_by_content(photo))
    try:
        image.output_format(named)
        return named.suffix
    except UserError:
        lossless = {".gif", ".ppm", ".pgm"}
        return ".png" if named.suffix.lower() in lossless else ".jpg"


MAX_COUNT: Final = 1_000_000
"""Results of one command, whose names are all made before the first: more take more memory than names are worth."""


def check_number(flag: str, number: int) -> None:
    """Raise UserError if `number`, the value of `flag`, is below 1 or too large."""
    if number < 1:
        raise UserError(f"{flag} {number} is not above 0")
    if number > MAX_COUNT:
        raise UserError(
            f"{flag} {number} is above {MAX_COUNT}: call the program several times, with other seeds"
        )


def check_count(count: int, models: Sequence[Path], noise_level: float) -> None:
    """Raise UserError if `count` is below 1, or if all results of a photo would be the same."""
    check_number("--count", count)
    from texturenets.modelfiles import modelfile

    if count > 1 and noise_level == 0:
        raise UserError(
            f"--count {count}: without noise (--noise-level 0) all results of a photo would be the same"
        )
    for model in models if count > 1 else ():
        if not modelfile.may_take_noise(model):
            raise UserError(
                f"--count {count}: {model.stem} takes no noise, all results of a photo would be the same"
            )


def several(jobs: Sequence[PathPair], seeds: Sequence[int]) -> list[PathPair]:
    """One result of each photo for each of `seeds`, numbered by the seed; not numbered for a single seed."""
    if len(seeds) == 1:
        return list(jobs)
    return [(photo, numbered(result, seed)) for photo, result in jobs for seed in seeds]


def numbered(result: Path, i: int) -> Path:
    """The name of result `i`: a.png becomes a-0000.png, a-0001.png, ..."""
    return result.with_name(f"{result.stem}-{i:04d}{result.suffix}")
