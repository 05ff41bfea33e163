"""Locations of photos and results: paths, and URLs that fsspec supports (s3://, gs://, ...)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from texturenets import image, video
from texturenets.errors import UserError
from texturenets.files import expanded

_CHANGES = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
"""Names that file systems use for an attribute that changes with the file's content; the most reliable first."""


@dataclass(frozen=True)
class Photo:
    """A photo found. `name`: its path or URL. `folder`: its folder relative to `root`. `stamp`: changes when the file
    changes. `bytes`: its size. `root`: path or URL of the folder that was searched; empty for photos given by
    name."""

    name: str
    folder: PurePosixPath
    stamp: str
    bytes: int
    root: str = ""


def is_url(name: str) -> bool:
    """Whether `name` is a URL for fsspec; `file://` counts as a path."""
    return "://" in name and not name.startswith("file://")


def plain(name: str) -> str:
    """The path of a `file://` URL; other names unchanged."""
    return unquote(urlsplit(name).path) if name.startswith("file://") else name


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it. Raises UserError if fsspec has none."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError) as error:  # its text names the package to install, or the protocol
        raise UserError(f"cannot use {url}: {error}") from None
    return fs, str(path)


@contextmanager
def _as_user_errors(message: str) -> Iterator[None]:
    """Turn any error of a file system in the block into a UserError that begins with `message`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # clients of object stores raise many kinds of errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{message}: {reason}") from error


def fetch(url: str, path: Path) -> None:
    """Copy the file at a URL to `path`. Raises UserError if it cannot be read."""
    fs, there = filesystem(url)
    with _as_user_errors(f"cannot read {url}"):
        fs.get_file(there, str(path))


def put(path: Path, url: str) -> None:
    """Copy a file to a URL atomically: an object store shows an object only once its upload is complete.

    On other file systems the data goes to a temporary file that is then renamed. Raises UserError if the URL cannot
    be written.
    """
    fs, there = filesystem(url)
    with _as_user_errors(f"cannot write {url}"):
        if _has_folders(fs):
            fs.makedirs(fs._parent(there), exist_ok=True)
            temporary = f"{fs._parent(there)}/.{there.rsplit('/', 1)[-1]}.{secrets.token_hex(4)}.part"
            try:
                fs.put_file(str(path), temporary)
                fs.mv(temporary, there)
            except BaseException:
                if fs.exists(temporary):
                    fs.rm_file(temporary)
                raise
        else:
            fs.put_file(str(path), there)


def _has_folders(fs: Any) -> bool:
    """Whether this is a real file system, with folders and renaming; False for an object store."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    return bool(protocols & {"sftp", "ssh", "smb", "hdfs", "webhdfs", "arrow_hdfs", "ftp"})


def find(patterns: Sequence[str], output: str, ignored: list[str] | None = None) -> list[Photo]:
    """The photos that `patterns` name: files, globs, folders with the folders in them, URLs of these; each once.

    Videos are included, for a worker to refuse; other files that are not images are appended to `ignored`, as in
    `image.expand`. Hidden files and folders are left out, and so is what lies in `output`. Raises UserError for a
    pattern that matches nothing.
    """
    by_name: dict[str, Photo] = {}
    ignored = [] if ignored is None else ignored
    for pattern in patterns:
        remote = is_url(pattern)
        photos = _remote(pattern, output, ignored) if remote else _local(plain(pattern), output, ignored)
        for photo in photos:
            by_name.setdefault(photo.name, photo)
    return list(by_name.values())


def _local(pattern: str, output: str, ignored: list[str]) -> Iterator[Photo]:
    root = expanded(pattern)
    without = None if is_url(output) else output
    searched = os.path.abspath(root) if root.is_dir() else ""  # noqa: PTH100
    others: list[Path] = []
    paths = image.expand([pattern], recursive=True, without=without, also=video.SUFFIXES, ignored=others)
    ignored.extend(map(str, others))
    for path in paths:
        inside = path.parent.relative_to(root) if searched else Path()
        try:
            info = path.stat()
            stamp, size = f"{info.st_size}-{info.st_mtime_ns}", info.st_size
        except OSError:  # deleted in the meantime; reading it reports that
            stamp, size = "", 0
        yield Photo(os.path.abspath(path), PurePosixPath(inside.as_posix()), stamp, size, searched)  # noqa: PTH100  links stay


def _remote(url: str, output: str, ignored: list[str]) -> Iterator[Photo]:
    fs, path = filesystem(url)
    with _as_user_errors(f"cannot read {url}"):
        folder = bool(fs.isdir(path))
        if folder:
            infos = fs.find(path, detail=True)
        elif any(c in path for c in "*?["):
            infos = fs.glob(path, detail=True)
        else:
            infos = {path: fs.info(path)} if fs.exists(path) else {}
    many, wanted = folder or len(infos) != 1, image.suffixes() | video.SUFFIXES
    without = f"{output.rstrip('/')}/" if is_url(output) else None
    searched = str(fs.unstrip_protocol(path)) if folder else ""
    count = 0
    for name, info in sorted(infos.items()):
        inside = PurePosixPath(name).relative_to(path) if folder else PurePosixPath(PurePosixPath(name).name)
        address = str(fs.unstrip_protocol(name))
        if info.get("type") != "file":
            continue
        if any(part.startswith(".") for part in inside.parts):
            continue
        if without and (
            address.startswith(without) or name.startswith(f"{filesystem(output)[1].rstrip('/')}/")
        ):
            continue
        if many and inside.suffix.lower() not in wanted:
            ignored.extend([address] if image.may_be_image_or_video(inside) else [])
            continue
        count += 1
        changed = next((str(info[key]) for key in _CHANGES if info.get(key)), "")
        size = int(info.get("size") or 0)
        yield Photo(address, inside.parent, f"{size}-{changed}", size, searched)
    if not count:
        raise UserError(f"no images at {url}")


class Folder:
    """The output location: a folder or a URL."""

    def __init__(self, name: str) -> None:
        self.name = plain(name)
        self.remote = is_url(self.name)

    @property
    def path(self) -> Path:
        """As a path, if it is one."""
        return expanded(self.name)

    def at(self, inside: str) -> str:
        """The path or URL of a file in it."""
        if self.remote:
            return f"{self.name.rstrip('/')}/{inside}"
        return os.path.abspath(self.path / inside)  # noqa: PTH100  workers have another current folder; links stay

    def sizes(self) -> dict[str, int]:
        """All files in it, with subfolders: {path relative to it: bytes}."""
        if not self.remote:
            return dict(_walk(self.path, ""))
        fs, path = filesystem(self.name)
        with _as_user_errors(f"cannot read {self.name}"):
            if not fs.exists(path):
                return {}
            infos = fs.find(path, detail=True)
        return {
            str(PurePosixPath(name).relative_to(path)): int(info.get("size") or 0)
            for name, info in infos.items()
        }

    def check(self, photos: Sequence[str], results: Iterable[str]) -> None:
        """Raise UserError if a result would be written into a folder of photos: the next run would stylize it."""
        for pattern in map(plain, photos):
            if is_url(pattern) != self.remote:
                continue
            if self.remote:
                root, inside = pattern.rstrip("/") + "/", self.name.startswith(pattern.rstrip("/") + "/")
            else:
                folder = expanded(pattern)
                if not folder.is_dir():
                    continue
                root, inside = f"{folder.resolve()}{os.sep}", self.path.resolve() != folder.resolve()
                inside = inside and self.path.resolve().is_relative_to(folder.resolve())
            if inside:  # the search for photos leaves out the folder itself
                continue
            here = self.name.rstrip("/") if self.remote else str(self.path.resolve())
            if any(f"{here}/{result}".startswith(root) for result in results):
                raise UserError(
                    f"--output {self.name}: results would lie among the photos of {pattern} and be stylized the "
                    f"next time: give another folder, or one in it, for example -o {pattern.rstrip('/')}/stylized"
                )


def _walk(folder: Path, inside: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from error
    for entry in entries:
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{inside}{entry.name}/")
        else:
            try:
                yield inside + entry.name, entry.stat().st_size
            except OSError:
                continue
