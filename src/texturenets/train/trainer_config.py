"""Options of the trainer (device, checkpoints, validation, ...) as plain data. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from texturenets.errors import UserError
from texturenets.field_docs import with_attributes
from texturenets.hub.names import is_name
from texturenets.train.configuration import check_types


@with_attributes
@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Options of the trainer. Only `init`, `into` and `unfreeze` change the trained weights; `validate_every` says
    among which steps the best model is chosen, and may change when a run is resumed, as all intervals may."""

    weights: tuple[str, ...] = ()
    """Weights of the descriptor networks: a folder, a file, or NETWORK=FILE; may be given several times."""
    offline: bool = False
    """Never download weights."""
    device: str = "auto"
    """Device to compute on: auto (the fastest one available), cpu, cuda or mps."""
    workers: int | None = None
    """Data loader processes; 0: none. By default 1, and up to 8 with a GPU."""
    save_every: int = 100
    """Steps between two checkpoints."""
    validate_every: int = 250
    """Steps between two validations; the best model is kept."""
    pictures_every: int = 50
    """Steps between two example images, in the folder of the run."""
    snapshot_every: int = 0
    """Steps between two snapshots of the model, kept in addition to the best and the last model; 0: none."""
    init: str | None = None
    """Start from this model's weights: a shipped name, a model file, or hf://USER/REPO; `train perceptual` from a
    file that it made."""
    into: str | None = None
    """Existing model of several styles to add this style to: a shipped name, a model file, or hf://USER/REPO. Only
    the affine parameters of its instance normalizations are trained, the rest is frozen; this takes minutes, and the
    result is a small file that needs that model."""
    unfreeze: bool = False
    """With --into: train all weights of that model's network, for this style alone. The result is a whole model of
    one style; the model that it started from stays as it is."""
    engine: Literal["auto", "torch"] = "auto"
    """What happens to a network of your own (--generator FILE.py:CLASS) that cannot be traced into a graph. auto: it
    is refused before the training; torch: it is trained, and its model runs only with PyTorch and the network's code.
    Other networks are not affected, and training itself always uses PyTorch."""
    licence: str = ""
    """Licence of the model, stored in its header."""
    terms: str = ""
    """Terms of use (licence) of the training images, stored in the model's header."""

    def __post_init__(self) -> None:
        """Paths become text, and models on the Hub, hf://..., files, which are fetched here, once for the training.

        Raises UserError for an invalid choice, for a number below 0, and as `hub.download.fetch`.
        """
        for name in ("init", "into"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))  # the class is frozen
        if isinstance(self.weights, tuple | list):
            files = tuple(str(one) if isinstance(one, Path) else one for one in self.weights)
            object.__setattr__(self, "weights", files)
        check_types(self)
        if self.init and self.into:
            raise UserError("`init` and `into` both say what to start from: give one of them")
        if self.unfreeze and not self.into:
            raise UserError("`unfreeze` trains all weights of the model that `into` names: give that too")
        for name in ("init", "into"):
            if is_name(model := getattr(self, name)):
                from texturenets.modelfiles import modelfile  # numpy, which --help does without

                object.__setattr__(self, name, str(modelfile.find(model)))
        if self.device != "auto":
            from texturenets.engines.devices import check_name  # numpy, which --help does without

            check_name(self.device)
        for name in ("workers", "save_every", "validate_every", "pictures_every", "snapshot_every"):
            if (getattr(self, name) or 0) < 0:
                raise UserError(f"`{name}` {getattr(self, name)} is below 0")

    @property
    def base(self) -> str | None:
        """The base model that the trained style needs next to it: that of `into`, unless all weights are trained."""
        return None if self.unfreeze else self.into
