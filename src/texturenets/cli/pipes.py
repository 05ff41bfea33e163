"""`-` and URLs on a command line: images from standard input and the web, a result to standard output."""

from __future__ import annotations

import io
import itertools
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from texturenets.cli.common import download_progress, not_named, warn
from texturenets.cli.outputs import OneFileError
from texturenets.errors import UserError, cannot_write

COMMANDS = ("stylize", "optimize", "sample", "tile", "inpaint")  # commands that read images or write one
OUTPUT = ("-o", "--output")
MAX_DOWNLOAD_BYTES = 128 << 20  # maximum size of a photo: larger than any camera makes
MARKERS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82"}
"""First and last bytes of JPEG and PNG files (ISO 10918-1, B.1.1.3; PNG specification, 5.2, 11.2.5)."""
MAX_HEADER_BYTES = 1 << 20
"""Bytes in which the index of a file with several images (CIPA DC-007) is searched: it precedes the first image's
pixels."""
_WRITE_MORE = ("--json", "--sheet", "--pictures-every", "--watch")  # flags that write more than one result
_NOT_PHOTOS = (
    "--mask",
    "--keep",
    "-s",
    "--style",
    "--to-style",
    "--into",
    "--spool",
)  # flags whose values are not photos
_SEVERAL = "--output - sends one image, and there are {}: give a folder, for example -o stylized/"
_TAKE_URLS = ("--cluster", "--webcam")  # flags with which URLs are passed on


def needs_pipes(words: Sequence[str]) -> bool:
    """Whether the command line `words` holds `-` or the URL of an image."""
    return "-" in words or "--output=-" in words or bool(_urls(words))


def _urls(words: Sequence[str]) -> set[int]:
    """Which of `words` are URLs of images."""
    if not words or words[0] not in COMMANDS or any(flag in words for flag in _TAKE_URLS):
        return set()
    return {i for i, word in enumerate(words) if _is_address(word)}


def _is_address(word: str) -> bool:
    # Not `fetch.is_address`: this runs at every start, and importing it takes as long as the rest of the command
    # line.
    return word.lower().startswith(("https://", "http://"))


def run_piped(words: Sequence[str], run: Callable[[Sequence[str]], int]) -> int:
    """Call `run(words)` with each `-` and each URL replaced by a temporary file; returns its exit status. `-` after
    --output is standard output: the complete result is copied there, and names are not printed. Every other `-` is an
    image on standard input; where it is the photo, and there is no --output, the result goes to standard output too,
    unless that is a terminal. Raises UserError for an input that is not an image or cannot be fetched, and if an
    image would be written to a terminal.
    """
    if words[0] not in COMMANDS:
        raise UserError(f"-: standard input and output are for {', '.join(COMMANDS)}: name a file")
    plain = [part for word in words for part in (("--output", "-") if word == "--output=-" else (word,))]
    if _sent_on(plain):
        plain += ["--output", "-"]
    outputs = {i for i, word in enumerate(plain) if word == "-" and plain[i - 1] in OUTPUT}
    inputs = {i for i, word in enumerate(plain) if word == "-"} - outputs
    urls = _urls(plain)
    if any(plain[i - 1] in OUTPUT for i in urls):
        raise UserError("--output is a URL: give a file or a folder here")
    if outputs and (more := set(plain) & set(_WRITE_MORE)):
        raise UserError(f"--output - sends one image: leave out {', '.join(sorted(more))}")
    if outputs and (count := _count(plain)) > 1:
        raise UserError(
            f"--output - sends one image, and --count {count} makes {count}: leave it out, or give a folder"
        )
    if outputs and sys.stdout.isatty():
        raise UserError(
            "--output - writes an image, and standard output is a terminal: send it on, for example > result.png"
        )
    with tempfile.TemporaryDirectory(prefix="texturenets-") as name:
        folder = Path(name)
        if inputs:
            source = _received(folder)
            plain = [str(source) if i in inputs else word for i, word in enumerate(plain)]
        plain, lost = _with_fetched(plain, urls, folder)
        outputs = {i for i, word in enumerate(plain) if word == "-"}
        if not outputs:
            return _named(folder, run, plain) or lost
        result = folder / f"stdout{_suffix(plain)}"
        plain = [str(result) if i in outputs else word for i, word in enumerate(plain)]
        try:
            with redirect_stdout(io.StringIO()):
                status = _named(folder, run, plain)
        except OneFileError as error:
            raise UserError(_SEVERAL.format(error.many)) from None
        if result.exists():  # also the result of an interrupted `optimize`
            _send(result)
        elif status == 0:
            raise UserError("--output - takes one result, and there are several: name a folder")
        return status or lost


def _sent_on(words: Sequence[str]) -> bool:
    """Whether the photo comes from standard input, and the result is for the program or file that reads standard
    output."""
    photo = any(
        word == "-" and before not in (*_NOT_PHOTOS, *OUTPUT) for before, word in itertools.pairwise(words)
    )
    told = set(words) & set(_WRITE_MORE) or any(word.startswith(OUTPUT) for word in words)
    return photo and not told and not sys.stdout.isatty()


def _count(words: Sequence[str]) -> int:
    """The value of --count; 1 without it, and for one that is no number, which the command reports."""
    given = [word.removeprefix("--count=") for word in words if word.startswith("--count=")]
    given += [word for before, word in itertools.pairwise(words) if before == "--count"]
    return max((int(word) for word in given if word.isdecimal() and len(word) < 20), default=1)


def _named(folder: Path, run: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
    """Call `run(words)`; its messages do not mention the temporary `folder`."""
    with not_named(folder):
        return run(words)


def _received(folder: Path) -> Path:
    """Save standard input as a file in `folder`, with the suffix of its format. Raises UserError if it is a
    terminal, empty, not an image, or several images."""
    from texturenets.image import formats

    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("-: standard input is a terminal: send an image, for example < photo.jpg")
    path = folder / "stdin"
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    except OSError as error:
        raise cannot_write(path, error) from None
    if path.stat().st_size == 0:
        raise UserError("-: standard input is empty: send an image, for example < photo.jpg")
    suffix = formats.suffix_by_content(path)
    if not suffix:
        raise UserError(
            f"-: standard input is not an image that can be read here ({formats.readable_formats_text()}); name a "
            "video by its file"
        )
    if _holds_several(path):
        raise UserError("-: standard input holds several images: send one, or name their files")
    return path.rename(path.with_suffix(suffix))


def _holds_several(path: Path) -> bool:
    """Whether a JPEG or PNG image in the file directly follows the end of another, as from `cat a.jpg b.jpg`."""
    data = path.read_bytes()
    if b"MPF\0" in data[:MAX_HEADER_BYTES]:  # one photo followed by previews, as cameras write it
        return False
    ends = [end for start, end in MARKERS.items() if data.startswith(start)]
    return any(end + start in data for end in ends for start in MARKERS)


def _with_fetched(words: Sequence[str], urls: set[int], folder: Path) -> tuple[list[str], int]:
    """Fetch the images at the indices `urls` into `folder`; returns `words` with their files, and the minimum exit
    status. A photo that cannot be fetched is reported and left out, if others remain. Raises UserError if none
    remains.
    """
    plain, gone = list(words), set[int]()
    for i in sorted(urls):
        try:
            plain[i] = str(_fetched(words[i], folder / str(i)))
        except UserError as error:
            others = [
                word for j, word in enumerate(words) if j != i and j not in gone and _is_photo(words, j)
            ]
            if words[0] != "stylize" or not _is_photo(words, i) or not others:
                raise
            warn(error)
            gone.add(i)
    return [word for i, word in enumerate(plain) if i not in gone], 2 if gone else 0


def _is_photo(words: Sequence[str], i: int) -> bool:
    """Whether a word names a photo, as far as can be known before parsing."""
    is_file = _is_address(words[i]) or Path(words[i]).exists()
    return i > 0 and is_file and words[i - 1] not in _NOT_PHOTOS + OUTPUT


def _fetched(url: str, folder: Path) -> Path:
    """Fetch the image at a URL to a file in `folder`, under the name in the URL. Raises UserError if it cannot be
    fetched or is not an image."""
    from texturenets import fetch
    from texturenets.image import formats

    fetch.check_allowed(url)
    folder.mkdir()
    name = PurePosixPath(unquote(fetch.split(url).path)).name
    name = re.sub(r'[\0<>:"|?*\\]', "", name).lstrip(".") or "image"  # not allowed in names on Windows
    path = folder / "part"
    progress = download_progress(name) if sys.stderr.isatty() else None
    try:
        fetch.get(url, path, limit=MAX_DOWNLOAD_BYTES, progress=progress)
    except OSError as error:
        raise cannot_write(path, error) from None
    suffix = formats.suffix_by_content(path) or Path(name).suffix
    if not suffix:
        raise UserError(
            f"{url}: the response is not an image that can be read here ({formats.readable_formats_text()})"
        )
    return path.rename(folder / f"{Path(name).stem[:100]}{suffix}")


def _suffix(words: Sequence[str]) -> str:
    """The suffix that the result would have without --output."""
    if words[0] != "stylize":
        return ".png"
    from texturenets import image, video
    from texturenets.cli.outputs import suffix_of

    photos = [word for before, word in itertools.pairwise(words) if before not in _NOT_PHOTOS]
    named = (Path(word) for word in photos if image.has_image_suffix(word) or video.is_video(Path(word)))
    files = [path for path in named if path.is_file()]
    if not files:  # reported by the command
        return ".png"
    if not video.is_video(files[0]):
        return suffix_of(files[0])
    if len(files) > 1:  # else a command would make one video of these images
        raise UserError(_SEVERAL.format(f"{len(files)} files"))
    return video.output_suffix(files[0])


def _send(result: Path) -> None:
    """Copy a file to standard output."""
    with result.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()
