"""The library huggingface_hub, imported on first use, and its errors as UserError."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from texturenets._version import __version__
from texturenets.errors import MissingError, UserError, install, reason, unknown
from texturenets.fetch import offline
from texturenets.hub.names import HubName

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
MAX_LISTED = 200  # maximum number of a user's models that are searched for the nearest name


def options() -> dict[str, Any]:
    """Arguments of every call of the library: the URL from HF_ENDPOINT, and the user agent. Raises UserError if
    huggingface_hub is not installed."""
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        raise MissingError(f"hf:// needs the package huggingface_hub: {install('hub')}") from None
    constants.HF_HUB_DISABLE_TELEMETRY = True
    # The library reads the variable when it is imported, which may be before it is set.
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    return {"endpoint": endpoint, "library_name": "texturenets", "library_version": __version__}


def shown() -> str:
    """The URL of the Hub, without a password that HF_ENDPOINT may hold."""
    return re.sub(r"//[^/@]*@", "//", str(options()["endpoint"]))


def api() -> HfApi:
    """The interface of the Hub. Raises UserError if the library is not installed."""
    given = options()
    from huggingface_hub import HfApi

    return HfApi(**given)


@contextmanager
def user_errors(name: HubName) -> Iterator[None]:
    """Turn errors of huggingface_hub in the block into a UserError about `name`, in one line."""
    options()
    from huggingface_hub import errors, utils

    web: Any = errors.HTTPError  # type: ignore[attr-defined]  # of httpx, in later versions of httpx2
    verbosity = utils.logging.get_verbosity()
    utils.logging.set_verbosity(logging.ERROR)  # notes that matter are raised as errors, too
    try:
        with _bars_on_terminals():
            yield
    except errors.LocalEntryNotFoundError as error:
        cause = error.__cause__
        known = isinstance(cause, errors.HfHubHTTPError)
        raise _explained(name, cause) if known else _unreachable(name, cause or error) from None
    except errors.HfHubHTTPError as error:
        raise _explained(name, error) from None
    except (web, errors.OfflineModeIsEnabled, errors.FileMetadataError) as error:
        raise _unreachable(name, error) from None
    except ValueError as error:  # an invalid name or card, or an answer that is not JSON
        raise UserError(f"{name}: {reason(error)}") from None
    except (
        RuntimeError,
        KeyError,
        TypeError,
    ) as error:  # of Xet and LFS, which carry large files; no Hub's answer
        raise UserError(f"{name}: the transfer failed ({reason(error)}): try again") from None
    except OSError as error:
        raise UserError(
            f"{name}: what is fetched cannot be kept ({reason(error)}); HF_HOME names another folder"
        ) from None
    finally:
        utils.logging.set_verbosity(verbosity)


@contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """In the block the library shows progress bars only on a terminal."""
    from huggingface_hub import constants, utils

    bars: Any = utils
    free = constants.HF_HUB_DISABLE_PROGRESS_BARS is None  # the user has not set it
    silent = free and not sys.stderr.isatty() and not bars.are_progress_bars_disabled()
    if silent:
        bars.disable_progress_bars()
    try:
        yield
    finally:
        if silent:
            bars.enable_progress_bars()


def _unreachable(name: HubName, error: BaseException) -> UserError:
    from huggingface_hub import constants

    if offline():
        return UserError(f"{name} is not in the cache, and TEXTURENETS_OFFLINE forbids a look at the Hub")
    if constants.HF_HUB_OFFLINE:
        return UserError(
            f"{name} is not in the cache, and HF_HUB_OFFLINE forbids a look at the Hub: unset it, once"
        )
    return UserError(
        f"{name}: {shown()} cannot be reached ({reason(error)}): look at the network, and try again"
    )


def _explained(name: HubName, error: Any) -> UserError:
    """The UserError for a response of the Hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return UserError(f"{name}: {shown()}/{name.repo} asks for consent: give it there, then {LOGIN}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return _no_repository(name)
    if isinstance(error, errors.RevisionNotFoundError):
        return _no_revision(name)
    status = error.response.status_code
    text = reason(UserError(error.server_message or error.response.reason_phrase))
    meaning = {
        401: f"the Hub does not know this token ({text}): {LOGIN} again",
        403: f"this token may not do that ({text}): {LOGIN}, with one that may",
    }
    return UserError(f"{name}: {meaning.get(status, f'the Hub answers {status}, {text}: try again later')}")


def _no_repository(name: HubName) -> UserError:
    """The error for a missing repository, or one that this user may not see: the Hub does not distinguish them."""
    import difflib  # seldom wanted

    from huggingface_hub import errors, get_token

    hidden = "it is private, and this token may not read it" if get_token() else f"it is private: {LOGIN}"
    text = f"{name}: there is no repository {name.repo}, or {hidden}"
    try:
        others = [
            model.id for model in api().list_models(author=name.repo.partition("/")[0], limit=MAX_LISTED)
        ]
    except (OSError, errors.HTTPError):  # type: ignore[attr-defined]  # the nearest name is of use, not needed
        return UserError(text)
    near = difflib.get_close_matches(name.repo, others, n=1)
    return UserError(f"{text}; did you mean hf://{near[0]}?" if near else text)


def _no_revision(name: HubName) -> UserError:
    from huggingface_hub import errors

    kind, missing = f"revision of {name.repo}", name.revision or "main"
    try:
        refs = api().list_repo_refs(name.repo)
    except (OSError, errors.HTTPError):  # type: ignore[attr-defined]  # the nearest name is of use, not needed
        return UserError(f"{name}: unknown {kind} {missing!r}")
    return UserError(f"{name}: {unknown(kind, missing, [ref.name for ref in (*refs.branches, *refs.tags)])}")
