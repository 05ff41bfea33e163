"""`texturenets push`: upload a model to the Hugging Face Hub."""

from __future__ import annotations

import sys

from texturenets.cli.styles import note_shipped


def push(
    model: str, repo: str, /, *, private: bool = False, revision: str | None = None, quiet: bool = False
) -> None:
    """Upload a model file to the Hugging Face Hub, with a model card.

    It can then be used by its name hf://USER/REPO/FILE: by anybody, with --private only by you and the repository's
    collaborators. The model card, README.md, is made from the model's header: title, licence, training options, terms
    of use of the training images, and thumbnail; an existing one is replaced. The repository is created if it does
    not exist; other files in it stay. Standard output gets the repository's URL, standard error what was uploaded and
    the model's name.

    Parameters
    ----------
    model
        Model file, or shipped name.
    repo
        Repository, as USER/REPO: your user name on the Hub and a repository name.
    private
        Make the repository private: only you and its collaborators can see it.
    revision
        Branch to write to; created if it does not exist [default: main].
    quiet
        Print nothing on standard error but errors.
    """
    from texturenets.export import publish

    note_shipped(model)
    sent = publish.publish(model, repo, private=private, revision=revision)
    if not quiet:
        outcome = f"uploaded {', '.join(sent.files)}" if sent.changed else "already up to date"
        print(f"{outcome}; available as {sent.name}", file=sys.stderr)
    print(sent.address)
