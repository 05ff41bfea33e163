"""`texturenets push`: a model to the Hugging Face Hub."""

from __future__ import annotations

import sys

from texturenets.cli.common import Flag
from texturenets.cli.styles import note_shipped


def push(
    model: str, repo: str, /, *, private: Flag = False, revision: str | None = None, quiet: Flag = False
) -> None:
    """Upload a model file to the Hugging Face Hub, with a model card.

    Anybody can then use it by the name that is printed, hf://USER/REPO/FILE. The model card, README.md, is made from
    the model's header: title, licence, recipe, terms and thumbnail; an existing one is replaced. A repository that
    does not exist is created; in one that does, other files stay. Its URL is printed.

    Parameters
    ----------
    model
        Model file, or shipped name.
    repo
        Repository: USER/REPO, your name on the Hub and one for the model.
    private
        Make the repository private: only you and its collaborators can see it.
    revision
        Branch to write to; created if it does not exist [default: main].
    quiet
        Print nothing but the URL, and errors.
    """
    from texturenets.export import publish

    note_shipped(model)
    sent = publish.publish(model, repo, private=private, revision=revision)
    if not quiet:
        outcome = (
            f"uploaded {', '.join(sent.files)}" if sent.changed else "nothing has changed since the last time"
        )
        print(f"{outcome}; its name is now {sent.name}", file=sys.stderr)
    print(sent.address)
