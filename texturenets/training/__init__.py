"""Training networks: what it takes is the extra `train`."""

from __future__ import annotations

from importlib.util import find_spec

from texturenets.errors import UserError, install

NEEDED = {"lightning_fabric": "Lightning Fabric", "tensorboard": "TensorBoard", "h5py": "h5py"}


def require() -> None:
    """Raise UserError, with the extra's name, where a package is missing that training takes."""
    missing = [title for name, title in NEEDED.items() if find_spec(name) is None]
    if missing:
        raise UserError(f"training needs {', '.join(missing)}: {install('train')}")
