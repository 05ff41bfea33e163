"""Formats by suffix, and the images that path arguments name."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from texturenets.errors import UserError, install, reason
from texturenets.files import expanded
from texturenets.image import deep, exr
from texturenets.image.picture import StrPath

if TYPE_CHECKING:
    from mimetypes import MimeTypes

# Pillow's name of a format by suffix. Files are recognised by their content; suffixes choose what is
# taken from a folder, and the format of what is written.
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".exr": "EXR",
}

_PLUGINS = {"WEBP": "WebP"}  # plug-ins whose name differs from the format's

_WRITTEN = {
    "JPEG",
    "PNG",
    "WEBP",
    "TIFF",
    "AVIF",
    "HEIF",
    "BMP",
    "EXR",
}  # GIF has 256 colours, PPM no profile


# Suffixes of common files that are not images and that `mimetypes` does not know: they are skipped without a note.
_BESIDE = {
    ".db", ".ini", ".cfg", ".xmp", ".aae", ".lnk", ".url", ".log", ".md", ".yaml", ".yml", ".toml", ".jsonl",
    ".tmp", ".bak", ".safetensors", ".pt", ".pth", ".onnx",
}  # fmt: skip

_SIGNATURES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    exr.START: ".exr",
}
_BRANDS = {
    b"WEBP": ".webp",
    b"avif": ".avif",
    b"avis": ".avif",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), ".heic"),
}


@functools.cache
def _types() -> MimeTypes:
    """Only Python's own types: with those of the system, results would depend on the machine."""
    from mimetypes import MimeTypes

    return MimeTypes()


@functools.cache
def can_decode(name: str) -> bool:
    """Whether the installed Pillow and plug-ins decode the format `name`; imports the plug-in."""
    if name == "EXR":  # by its own package, not Pillow
        return exr.installed()
    if name == "HEIF":
        try:
            import pillow_heif
        except ImportError:
            return False
        pillow_heif.register_heif_opener()
    else:
        with suppress(ImportError):
            import_module(f"PIL.{_PLUGINS.get(name, name.capitalize())}ImagePlugin")
        if name == "TIFF" and name in Image.OPEN:
            deep.declare_tiff_modes()
    return name in Image.OPEN


def decodable_formats() -> dict[str, str]:
    """{suffix: format} for the formats that this installation decodes."""
    return {suffix: name for suffix, name in _FORMATS.items() if can_decode(name)}


def readable_formats_text() -> str:
    """The formats that this installation decodes, for a message: "JPEG, PNG"."""
    return ", ".join(dict.fromkeys(decodable_formats().values()))


def open_image(file: IO[bytes]) -> Image.Image:
    """The image in `file`, not decoded yet, told apart by its content. Raises what Pillow raises.

    Most are JPEG, and importing plug-ins for others takes longer than reading a small photo.
    """
    can_decode("JPEG")  # else Pillow imports all plug-ins
    try:
        return Image.open(file, formats=["JPEG"])
    except UnidentifiedImageError:
        file.seek(0)
        return Image.open(file, formats=sorted(set(decodable_formats().values()) - {"EXR"}))


def suffixes() -> set[str]:
    """The suffixes of images, in lower case with their dot; HEIC also without pillow-heif, so that the error can name
    it."""
    return set(_FORMATS)


def has_image_suffix(path: StrPath) -> bool:
    """Whether the suffix of `path` is that of an image, as in `suffixes`. Does not look at the file."""
    return Path(path).suffix.lower() in _FORMATS


def suffix_by_content(path: Path) -> str:
    """The suffix for a file's format, judged by its first bytes; "" if it is not an image."""
    try:
        with path.open("rb") as file:
            return suffix_of_start(file.read(12))
    except OSError:
        return ""


def suffix_of_start(start: bytes) -> str:
    """The suffix of the format that a file's first bytes, at least 12, belong to; "" for none."""
    if start[:4] == b"RIFF" or start[4:8] == b"ftyp":  # audio and video files begin so, too
        return _BRANDS.get(start[8:12], "")
    if start[:2] == b"BM" and start[6:10] == bytes(4):  # many texts begin with these two letters
        return ".bmp"
    return next((suffix for begin, suffix in _SIGNATURES.items() if start.startswith(begin)), "")


def is_image_file(path: Path) -> bool:
    """Whether a file is an image by its suffix or, where it has none, by its first bytes."""
    return has_image_suffix(path) or (not path.suffix and path.is_file() and suffix_by_content(path) != "")


def output_format(path: StrPath) -> str:
    """Pillow's name of the format that `write` would use for `path`.

    Raises UserError for a suffix that is not written here: call it before the work, not after.
    """
    suffix = Path(path).suffix.lower()
    name = _FORMATS.get(suffix, "")
    if name in _WRITTEN and can_decode(name):
        return name
    if name == "HEIF":
        raise UserError(f"cannot write {path}: HEIC needs pillow-heif ({install('heif')})")
    if name == "EXR":
        exr.require(path, "write")
    if suffix in (".apng", ".gif"):
        kind = "a GIF" if suffix == ".gif" else "an APNG"
        raise UserError(
            f"cannot write {path}: {kind} is written of animations and videos only; of one image make a .png"
        )
    written = ", ".join(s for s, n in decodable_formats().items() if n in _WRITTEN)
    what = (
        f"the suffix {suffix!r} names no image format that is written here" if suffix else "it has no suffix"
    )
    raise UserError(f"cannot write {path}: {what}; writable: {written}")


def expand(
    patterns: StrPath | Sequence[StrPath],
    *,
    recursive: bool = False,
    without: StrPath | None = None,
    also: Collection[str] = (),
    ignored: list[Path] | None = None,
    empty: bool = False,
    missing: dict[str, UserError] | None = None,
) -> list[Path]:
    """The files that `patterns` name: files, globs (`**` too) and folders, in this order, each file once.

    A folder stands for the images directly in it; with `recursive` also for those in its subfolders, except hidden
    ones and `without`. A glob stands for the images among its matches. Images are recognized by suffix (also those of
    `also`), or by the first bytes of a file without suffix; sorted, without hidden files. A file given by name is
    included whatever its suffix. Readability is not checked: `read` reports it. Files in folders and of globs that
    are left out but may be images (raw photos, unsupported formats) are appended to `ignored`. Raises UserError for a
    pattern or (unless `empty`) a folder without images, and for a folder that cannot be read; with `missing` the
    error is put there, by the pattern, unless there is no other file.
    """
    others: dict[Path, None] = {}
    patterns = [patterns] if isinstance(patterns, str | os.PathLike) else patterns
    wanted = {*_FORMATS, *also}
    files: dict[Path, None] = {}
    errors: dict[str, UserError] = {}
    for pattern in patterns:
        try:
            found = _matches(expanded(pattern), wanted, others, recursive, without)
        except UserError as error:
            errors[str(pattern)] = error
            continue
        if not found and not empty:
            errors[str(pattern)] = UserError(
                f"no images in the folder {pattern}; looked for {', '.join(_FORMATS)}"
            )
        files.update(dict.fromkeys(found))
    if errors and (missing is None or not files):
        raise next(iter(errors.values()))
    if missing is not None:
        missing.update(errors)
    if ignored is not None:
        ignored.extend(path for path in others if path not in files)
    return list(files)


def _matches(
    path: Path, wanted: Collection[str], others: dict[Path, None], recursive: bool, without: StrPath | None
) -> list[Path]:
    """The files that one pattern names; none for a folder without images. Raises UserError for a folder that cannot
    be read and for a pattern without matches."""
    if path.is_dir():
        return _pictures(_below(path, without) if recursive else _entries(path), wanted, others)
    if path.exists():  # checked before globs: a file may be called "photo [1].jpg"
        return [path]
    import glob

    if not glob.has_magic(str(path)):
        raise UserError(f"no such file or folder: {path}")
    matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207  absolute too
    found = _pictures(matches, wanted, others)
    if not found:
        raise UserError(f"no images match {path}; looked for {', '.join(_FORMATS)}")
    return found


def _entries(folder: Path) -> Iterator[Path]:
    try:
        return iter(list(folder.iterdir()))  # read completely, so that errors are raised here
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {reason(error)}") from None


def _below(folder: Path, without: StrPath | None) -> Iterator[Path]:
    """The files in `folder` and in the folders in it, but for hidden folders and `without`; a folder that links lead
    to again counts once."""
    excluded = None if without is None else expanded(without).resolve()

    def unreadable(error: OSError) -> None:
        raise UserError(f"cannot read the folder {error.filename}: {reason(error)}")

    seen = {folder.resolve()}
    for here, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        parent = Path(here)
        inside = {f: (parent / f).resolve() for f in sorted(folders) if not f.startswith(".")}
        folders[:] = [f for f, real in inside.items() if real != excluded and real not in seen]
        seen.update(inside.values())
        yield from (parent / name for name in files)


def _pictures(paths: Iterator[Path], wanted: Collection[str], others: dict[Path, None]) -> list[Path]:
    """Those of `paths` to take; `others` gets skipped files that may be images or videos."""
    # Broken links and special files are taken too: reading them reports the error.
    mine = sorted(p for p in paths if not p.name.startswith(".") and not p.is_dir())
    taken = {p: p.suffix.lower() in wanted or is_image_file(p) for p in mine}
    others.update(dict.fromkeys(p for p in mine if not taken[p] and may_be_image_or_video(p)))
    return [p for p in mine if taken[p]]


def may_be_image_or_video(path: PurePath) -> bool:
    """Whether a file that is left out may be an image or video: by its suffix, or because that is unknown."""
    suffix = path.suffix.lower()
    kind, packed = _types().guess_type(f"file{suffix}")
    unknown = kind is None and packed is None and suffix not in _BESIDE
    return suffix != "" and (unknown or (kind or "").startswith(("image/", "video/")))
