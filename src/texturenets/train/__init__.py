"""Training networks; needs the extra `train`."""

from __future__ import annotations

from importlib.util import find_spec

from texturenets.errors import MissingError, install

NEEDED = {
    "torch": "PyTorch",
    "lightning_fabric": "Lightning Fabric",
    "tensorboard": "TensorBoard",
    "h5py": "h5py",
}


def lacking(what: str = "training") -> str:
    """The reason why this installation cannot train, or do `what`, with the extra's name; "" if it can."""
    missing = [title for name, title in NEEDED.items() if find_spec(name) is None]
    return f"{what} needs {', '.join(missing)}: {install('train')}" if missing else ""


def require(what: str = "training") -> None:
    """Raise MissingError, with the extra's name, if a package that `what` needs is missing."""
    if text := lacking(what):
        raise MissingError(text)
