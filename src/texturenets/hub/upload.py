"""Uploads files to a repository on the Hub, in one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from texturenets.errors import UserError
from texturenets.fetch import TIMEOUT
from texturenets.hub import library
from texturenets.hub.names import HubName


@dataclass(frozen=True)
class Committed:
    """The result of a commit: the URL of the repository, and whether anything changed."""

    address: str
    changed: bool


def send(
    repo: str,
    files: Mapping[str, bytes | Path],
    message: str,
    *,
    private: bool = False,
    revision: str | None = None,
) -> Committed:
    """Write `files`, {path in the repository: content or file}, to `repo`, "USER/REPO", in one commit.

    A missing repository is created, `private` or public; so is the branch `revision`. Other files in it stay.

    Raises UserError if there is no token or it may not write, if `private` is set and the repository is public, if
    the Hub cannot be reached, and if huggingface_hub is not installed.
    """
    name = HubName(repo, None, revision)
    api = library.api()
    from huggingface_hub import CommitOperationAdd, get_token

    if get_token() is None:
        raise UserError(f"{name}: to send something there, {library.LOGIN}")
    with library.user_errors(name):
        _prepare(name, private)
        before = api.model_info(repo, revision=revision, timeout=TIMEOUT).sha
        additions = [CommitOperationAdd(path, content) for path, content in files.items()]
        commit = api.create_commit(repo, additions, commit_message=message, revision=revision)
        address = f"{library.shown()}/{repo}{f'/tree/{revision}' if revision else ''}"
        return Committed(address, commit.oid != before)


def _prepare(name: HubName, private: bool) -> None:
    """Create the repository and its branch, if they do not exist."""
    from huggingface_hub.errors import RepositoryNotFoundError

    api = library.api()
    try:
        public = not api.model_info(name.repo, timeout=TIMEOUT).private
    except RepositoryNotFoundError:
        api.create_repo(name.repo, private=private or None)  # None: the account's default
    else:
        if private and public:
            raise UserError(
                f"`private`: {name.repo} is there already, and public: leave it out, or make the repository private "
                "in its settings first"
            )
    if name.revision:
        api.create_branch(name.repo, branch=name.revision, exist_ok=True)
