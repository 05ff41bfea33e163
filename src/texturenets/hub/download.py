"""Fetch models from the Hub, through huggingface_hub and its cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from texturenets.errors import UserError, unknown
from texturenets.fetch import TIMEOUT, offline
from texturenets.hub import library
from texturenets.hub.names import SUFFIX, HubName, parse

MAX_LISTED = 20  # maximum number of files in an error
_COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(name: str | Path) -> Path:
    """The file of the model called `name` (`names.FORM`), in the cache of huggingface_hub.

    A cached file pinned to a commit is used without asking the Hub; other cached files are used only if the network
    cannot be reached, or TEXTURENETS_OFFLINE forbids it. The content of the file is not checked: its reader does
    that.

    Raises UserError for a malformed name, for a file that the Hub does not have or show, without network if nothing
    is in the cache, and if huggingface_hub is not installed.
    """
    wanted = parse(name)
    with library.user_errors(wanted):
        # A name without a file means the commit's only model file: ask the Hub, as the cache may hold just some of
        # them.
        pinned = wanted.file is not None and _COMMIT.fullmatch(wanted.revision or "")
        if pinned and (path := _cached(wanted)):
            return path
        files = _model_files(wanted)
        if files is None:
            path = _cached(wanted)
            assert path is not None
            return path
        return _download(HubName(wanted.repo, _chosen(wanted, files), wanted.revision))


def fetch_other(name: HubName) -> Path:
    """A non-model file of a repository, in the cache of huggingface_hub. Raises UserError as `fetch`."""
    with library.user_errors(name):
        return _download(name, local_files_only=offline())


def fetch_beside(name: str | Path, path: Path, beside: str) -> None:
    """Fetch the model file called `beside` from the folder and the commit of `path`, which `fetch(name)` gave.

    If there is none, do nothing. Raises UserError as `fetch`.
    """
    repo = parse(name).repo
    place = f"/models--{repo.replace('/', '--')}/snapshots/"  # the folder layout of huggingface_hub's cache
    commit, _, file = path.as_posix().rpartition(place)[2].partition("/")
    there = HubName(repo, str(PurePosixPath(file).with_name(beside)), commit)
    with library.user_errors(there):
        if _cached(there) is None and there.file in (_model_files(there) or ()):
            _download(there)


def _download(name: HubName, **more: Any) -> Path:
    options = library.options()
    from huggingface_hub import hf_hub_download

    assert name.file is not None
    return Path(hf_hub_download(name.repo, name.file, revision=name.revision, **options, **more))


def _model_files(name: HubName) -> list[str] | None:
    """The models of a repository; None if the Hub does not list them and the cache has the requested model.

    Raises what huggingface_hub raises. It asks once: hf_hub_download would retry for half a minute, with warnings.
    """
    from huggingface_hub import errors

    try:
        if offline():
            raise errors.OfflineModeIsEnabled("TEXTURENETS_OFFLINE is set")
        info = library.api().model_info(name.repo, revision=name.revision, timeout=TIMEOUT)
    except errors.HfHubHTTPError as error:
        if error.response.status_code < 500 and error.response.status_code != 429:
            raise  # the model is no longer on the Hub, or not open to this user: the cached copy is not used
        if _cached(name) is None:
            raise
        return None
    except (OSError, errors.HTTPError):  # type: ignore[attr-defined]  # no network, or no answer of use
        if _cached(name) is None:
            raise
        return None
    return sorted(file.rfilename for file in info.siblings or () if file.rfilename.endswith(SUFFIX))


def _chosen(name: HubName, files: Sequence[str]) -> str:
    """The one of `files`, the models of a repository, to which `name` refers. Raises UserError if there is none, or
    if `name` names no file and there are several."""
    if name.file is not None and name.file in files:
        return name.file
    if not files:
        raise UserError(f"{name}: {name.repo} holds no {SUFFIX} file, and so no model")
    if name.file is not None:
        raise UserError(f"{name}: {unknown(f'file of {name.repo}', name.file, files)}")
    if len(files) == 1:
        return files[0]
    listed = ", ".join(files[:MAX_LISTED]) + (" ..." if len(files) > MAX_LISTED else "")
    raise UserError(
        f"{name}: {name.repo} holds {len(files)} {SUFFIX} files; name one, for example "
        f"{HubName(name.repo, files[0], name.revision)}: {listed}"
    )


def _cached(name: HubName) -> Path | None:
    """The cached file; without a file in the name, the revision's cached model if there is exactly one; else None."""
    from huggingface_hub import errors, snapshot_download

    try:
        if name.file is not None:
            return _download(name, local_files_only=True)
        folder = Path(snapshot_download(name.repo, revision=name.revision, local_files_only=True))
    except errors.LocalEntryNotFoundError:
        return None
    files = list(folder.rglob(f"*{SUFFIX}"))
    return files[0] if len(files) == 1 else None
