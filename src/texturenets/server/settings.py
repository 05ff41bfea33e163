"""The settings of a service. No web framework, no torch."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError, reason

TOKEN_VARIABLE = "TEXTURENETS_TOKEN"
"""The environment variable with the token; the value of a flag could be seen in the list of processes."""

TOKEN_LENGTH = 2**12
"""Maximum number of characters of a token."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a service.

    `bytes`: of a request body. `pixels`: width times height of a photo and of a result. `side`: longer side of either
    in pixels. `seconds`: time limit of a request, and of its body alone. `queue`: maximum number of requests at a
    time; further ones get status 503. `models`: maximum number of models in memory. `trainings`: maximum number of
    unfinished trainings.
    """

    bytes: int = 32 * 2**20
    pixels: int = 25_000_000
    side: int = 16384
    seconds: float = 60.0
    queue: int = 32
    models: int = 4
    trainings: int = 32

    def __post_init__(self) -> None:
        """Raises UserError for a value that is not above 0."""
        for name in ("bytes", "pixels", "side", "seconds", "queue", "models", "trainings"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"--max-{name} {getattr(self, name)} is not a number above 0")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Address, access, models and limits of a service.

    `hosts`: further host names under which it is reached, for example behind a reverse proxy; requests with other
    names are refused. `origins`: origins whose pages may call the API (CORS); none by default. `frames`: origins
    whose pages may show its page in a frame. `token`: required of every request except health checks. `models`: a
    folder of model files besides the shipped ones; with `photos`, a folder of photos to learn on, it trains models
    into that folder. `preload`: names of models to load before the service reports that it is ready. `page`: whether
    to serve the page.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    token: str | None = None
    models: Path | None = None
    photos: Path | None = None
    preload: tuple[str, ...] = ()
    page: bool = True
    engine: EngineOptions = EngineOptions()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        """Raises UserError for invalid hosts and origins."""
        for name in self.hosts:
            if host_name(f"[{name}]" if ":" in name else name) != name.lower():
                raise UserError(f"--public-host {name}: give the name alone, for example example.org")
        asked = [
            *(("--allow-origin", one) for one in self.origins),
            *(("--allow-frame", one) for one in self.frames),
        ]
        for flag, origin in asked:
            if not _is_origin(origin) or (flag == "--allow-frame" and origin == "null"):
                raise UserError(
                    f"{flag} {origin}: give scheme and host as browsers send them, for example https://example.org"
                )

    def known_hosts(self) -> frozenset[str] | None:
        """Host names that requests may use; None for any: it listens to other machines, and no `hosts` are set."""
        if self.host not in LOOPBACK and not self.hosts:
            return None
        return frozenset(name.lower() for name in (*LOOPBACK, self.host, *self.hosts))


def host_name(text: str) -> str:
    """The host name in a `Host` header, in lower case and without the port; empty for an invalid header."""
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?", text):
        return ""
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:  # not an address in the brackets
        return ""


def _is_origin(text: str) -> bool:
    """Whether a browser sends `text` as `Origin`: in lower case, without a path and the scheme's own port."""
    scheme, _, host = text.partition("://")
    if (scheme, host.rpartition(":")[2]) in (("http", "80"), ("https", "443")):
        return False
    whole = re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and host_name(host) and host == host.lower()
    return text == "null" or bool(whole)


def token_from(file: Path | None) -> str | None:
    """The token: the first line of `file`, else of the environment variable. Raises UserError for an invalid one."""
    if file is not None:
        try:
            with file.open(encoding="utf-8") as stream:
                text = stream.read(TOKEN_LENGTH + 1).strip()  # not more, because it may be endless
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--token-file {file}: cannot read it: {reason(error)}") from None
        source = f"--token-file {file}"
        if len(text) > TOKEN_LENGTH:
            raise UserError(f"{source}: it is longer than any token, of {TOKEN_LENGTH} characters")
    else:
        text, source = os.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
        if not text:
            return None
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,}", text):  # RFC 6750, section 2.1: b64token
        raise UserError(f"{source}: a token is 8 or more letters, digits and . _ ~ + / = -")
    return text


def check_folder(flag: str, folder: Path) -> None:
    """Raise UserError unless `folder`, the value of the option `flag`, is a folder that can be read."""
    if not folder.is_dir():
        raise UserError(f"{flag} {folder} is not a folder")
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise UserError(f"{flag} {folder}: cannot read it: {reason(error)}") from None


def size_in_bytes(text: str, flag: str) -> int:
    """ "32M" as a number; K, M and G count in 1024. Raises UserError, also for a fraction of a byte."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise UserError(f"{flag} {text!r} is not a size: give a number, with K, M or G, for example 32M")
    if "." in match[1] and not match[2]:
        raise UserError(f"{flag} {text} is not a whole number of bytes")
    return int(float(match[1]) * _UNITS[match[2].upper()])
