"""Downloads a file: complete and verified, or not at all.

Not done with pooch, which restarts interrupted downloads from zero and supports only one URL and one hash per file,
and no Git blob hashes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from texturenets._version import __version__
from texturenets.errors import DISK_FULL, DiskFullError, UserError, reason
from texturenets.files import temporary_sibling

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all; 0 where the server does not say)."""

TRIES: Final = 4  # tries for one URL, for temporary errors
UNREACHABLE_TRIES: Final = 2  # where there is no way to the host: mostly there is no network at all
TIMEOUT: Final = 30.0  # seconds without data
CHUNK: Final = 1 << 18
MAX_SIZE: Final = 1 << 30
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_WAY: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})

WORDS: Final = {"1": True, "true": True, "yes": True, "": False, "0": False, "false": False, "no": False}
"""Values of TEXTURENETS_OFFLINE, in lower case, and whether they forbid downloads."""

ADDRESSES: Final = ("https://", "http://")
"""Beginnings of URLs that are fetched here."""

pause = time.sleep


def offline() -> bool:
    """Whether TEXTURENETS_OFFLINE forbids downloads. Raises UserError for a value not in `WORDS`."""
    value = os.environ.get("TEXTURENETS_OFFLINE", "")
    try:
        return WORDS[value.strip().lower()]
    except KeyError:
        raise UserError(
            f"TEXTURENETS_OFFLINE is {value!r}: 1, true or yes forbid all fetching; 0, false, no or nothing allow it"
        ) from None


def is_address(text: str) -> bool:
    """Whether `text` is a URL that is fetched here."""
    return text.lower().startswith(ADDRESSES)


def check_allowed(url: str) -> None:
    """Raise UserError if TEXTURENETS_OFFLINE forbids to fetch `url`."""
    if offline():
        raise UserError(f"{url}: nothing is fetched while TEXTURENETS_OFFLINE is set")


def digest(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file: "sha256", "md5", or "git" (its blob's name in a Git repository).

    Raises OSError.
    """
    if algorithm == "git":
        state = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        state = hashlib.new(algorithm, usedforsecurity=algorithm == "sha256")
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            state.update(chunk)
    return state.hexdigest()


def verified(path: Path, digests: Sequence[str]) -> bool:
    """Whether one of `digests` ("sha256:2e0f...", "md5:...", "git:...") is the file's. Raises OSError."""
    return any(
        digest(path, algorithm) == value for algorithm, _, value in (d.partition(":") for d in digests)
    )


class _PassingError(Exception):
    """A temporary error: the next try may succeed."""

    tries = TRIES


class _UnreachableError(_PassingError):
    """There is no way to the host, or its name has no address."""

    tries = UNREACHABLE_TRIES


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A new empty file next to `path` to write to; deleted at the end unless it was moved.

    Raises UserError if the folder cannot be made or written, or if the disk is full.
    """
    folder = path.parent
    try:
        with temporary_sibling(path) as part:
            yield part
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFullError(
                f"no space left in {folder}; free some, or set TEXTURENETS_CACHE to a folder elsewhere"
            ) from None
        raise UserError(
            f"{folder} cannot be written ({error.strerror or error}); set TEXTURENETS_CACHE to a folder that can"
        ) from None


def download(
    urls: Sequence[str],
    part: Path,
    *,
    digests: Sequence[str],
    size: int = 0,
    progress: Progress | None = None,
) -> str:
    """Fetch the first of `urls` that works into `part`, verify it, and return that URL.

    An interrupted transfer is resumed. `size`: bytes of the whole file, if known.
    Raises UserError if no URL works, and, with `part` removed, if the hash is wrong; OSError where
    `part` cannot be written.
    """
    faults: list[str] = []
    for url in urls:
        part.write_bytes(b"")
        fault = _fetch(url, part, size, progress, 2 * size or MAX_SIZE)
        if fault is None:
            if verified(part, digests):
                return url
            fault = f"what came has a wrong hash ({part.stat().st_size} bytes, expected {digests[0]})"
        faults.append(f"{url}: {fault}")
    part.unlink(missing_ok=True)
    raise UserError("; ".join(faults))


def get(url: str, part: Path, *, limit: int, progress: Progress | None = None) -> None:
    """Fetch `url`, a file without known hash and of at most `limit` bytes, into `part`. Raises UserError if that
    fails or the file is larger, OSError if `part` cannot be written.
    """
    fault = _fetch(url, part, 0, progress, limit, resume=False)
    if fault is None and part.stat().st_size > limit:
        fault = f"it is larger than {limit >> 20} MB"
    if fault is not None:
        raise UserError(f"{url}: {fault}")


def split(url: str) -> SplitResult:
    """The parts of a URL. Raises UserError if it is none."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UserError(f"{url} is not a URL: {error}") from None


def _ascii(url: str) -> str:
    """A URL as browsers show it, with any characters and spaces, encoded for HTTP. Raises UserError if it is none."""
    parts = split(url)
    with contextlib.suppress(UnicodeError):
        host = parts.netloc.encode("idna").decode()
        kept = "/%:@!$&'()*+,;=~-._"
        url = urlunsplit((parts.scheme, host, quote(parts.path, kept), quote(parts.query, f"{kept}?"), ""))
    return url


def _fetch(
    url: str, part: Path, size: int, progress: Progress | None, limit: int, *, resume: bool = True
) -> str | None:
    """None if all of `url`, or more than `limit` bytes of it, is in `part`; else what went wrong.

    `resume`: continue where the last try ended; not without a known hash, because the file may have changed.
    """
    fault, url = "", _ascii(url)
    for attempt in range(TRIES):
        if attempt:
            pause(0.5 * 2**attempt)
        if not resume:
            part.write_bytes(b"")
        try:
            _transfer(url, part, size, progress, limit)
        except _PassingError as error:
            fault = f"{error} ({error.tries} tries)"
            if attempt + 1 >= error.tries:
                break
        except urllib.error.HTTPError as error:
            return f"HTTP {error.code} {error.reason}"
        except (urllib.error.URLError, ValueError) as error:
            return " ".join(str(getattr(error, "reason", error)).split())
        else:
            return None
    return fault


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Turn temporary network errors in the block into _PassingError; a full disk is not one."""
    try:
        yield
    except urllib.error.HTTPError as error:
        if error.code in _PASSING:
            raise _PassingError(f"HTTP {error.code} {error.reason}") from None
        raise
    except urllib.error.URLError as error:
        cause = error.reason
        if isinstance(cause, OSError) and (isinstance(cause, socket.gaierror) or cause.errno in _NO_WAY):
            raise _UnreachableError(reason(cause)) from None
        if isinstance(cause, OSError) and "CERTIFICATE" not in str(cause).upper():
            raise _PassingError(reason(cause)) from None
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(reason(error)) from None


def _transfer(url: str, part: Path, size: int, progress: Progress | None, limit: int) -> None:
    done = part.stat().st_size
    request = urllib.request.Request(url, headers={"User-Agent": f"texturenets/{__version__}"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    with _network():
        try:
            response = urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code != 416:  # nothing is left of the range: begin again
                raise
            part.write_bytes(b"")
            raise _PassingError("the server has less than was already fetched") from None
    with response, part.open("r+b") as out:
        if response.status != 206 or not (response.headers["Content-Range"] or "").startswith(
            f"bytes {done}-"
        ):
            done = 0
        out.seek(done)
        out.truncate()
        length = int(response.headers["Content-Length"] or 0)
        total = done + length if length else size
        _copy(response, out, (done, total, limit), progress)


def _copy(
    response: http.client.HTTPResponse,
    out: IO[bytes],
    counts: tuple[int, int, int],
    progress: Progress | None,
) -> None:
    """`counts`: bytes already done, bytes in all or 0, and how many are too many."""
    done, total, limit = counts
    while True:
        with _network():
            chunk = response.read(CHUNK)
        if not chunk:
            break
        out.write(chunk)
        done += len(chunk)
        if done > limit:
            return  # not the expected file
        if progress:
            progress(done, total)
    out.flush()
    if done < total:
        raise _PassingError(f"the connection ended after {done} of {total} bytes")
