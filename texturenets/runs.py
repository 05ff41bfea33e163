"""What a training run is: frozen data, from which the command line's flags are made. No torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from texturenets.errors import UserError

Schedule = Literal["cosine", "step", "constant"]
Optimizer = Literal["muon", "adam"]
Scaling = Literal["relative", "paper"]
Precision = Literal["auto", "float32", "bf16", "fp16"]
Pool = Literal["max", "average"]

VGG_LAYERS = tuple(f"vgg16:relu{n}" for n in ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3"))
SQUEEZENET_LAYERS = tuple(f"squeezenet1_0:{n}" for n in ("conv1", *(f"fire{i}" for i in range(2, 8))))


@dataclass(frozen=True, kw_only=True)
class StyleRun:
    """Everything that decides what `train style` makes of a painting and a folder of photos."""

    generator: str = "residual"
    """Network to train: a name, or FILE.py:CLASS for your own."""
    set: tuple[str, ...] = ()
    """Option of the network, KEY=VALUE; may be given several times."""
    style_size: int = 768
    """Longer side of the painting in pixels; 0 keeps its size. Larger gives larger strokes."""
    image_size: int = 256
    """Side of the square crops of photos in pixels."""
    batch_size: int = 2
    """Photos a step, over all processes."""
    accumulate: int = 1
    """Split each batch into this many parts, one after the other: less memory, the same gradient."""
    steps: int = 3000
    """Steps of the optimizer."""
    optimizer: Optimizer = "muon"
    """Muon learns faster here than Adam, the papers' optimizer."""
    learning_rate: float = 2e-3
    """Of the optimizer, at its highest."""
    schedule: Schedule = "cosine"
    """How the rate falls: along a cosine to a fiftieth, in steps, or not at all."""
    decay: float = 0.8
    """Factor of each fall, with `step`."""
    decay_every: int = 2000
    """Steps between two falls, with `step`."""
    warmup: int = 20
    """First steps, over which the rate rises from nothing."""
    style_layers: tuple[str, ...] = VGG_LAYERS + SQUEEZENET_LAYERS
    """Layers of the texture loss, NETWORK:LAYER, separated by commas."""
    content_layers: tuple[str, ...] = ("squeezenet1_0:fire4",)
    """Layers of the content loss."""
    style_weight: float = 1.0
    """Weight of the texture loss: higher, more painting."""
    content_weight: float = 2.0
    """Weight of the content loss: higher, more photo."""
    tv_weight: float = 0.0
    """Weight of the total variation: higher, smoother."""
    lattice_weight: float = 0.1
    """Weight of the penalty on grids of 2 and 4 pixels, which strided layers leave."""
    scaling: Scaling = "relative"
    """Losses over the painting's (photo's) own size, or the papers' plain mean squares."""
    pyramid_loss: int = 1
    """Scales at which the losses are taken, each half as large as the one before."""
    pyramid_decay: float = 0.9
    """Weight of each scale over that of the one before."""
    normalize_gradients: bool = False
    """Divide each texture layer's gradient by its L1 norm (texture_nets v1)."""
    vgg_padding: bool = True
    """Zero padding in the descriptor network's convolutions."""
    pool: Pool = "max"
    """Pooling of the descriptor network."""
    flip: bool = True
    """Mirror half of the photos."""
    val_share: float = 0.05
    """Share of the photos held out for validation, where the folder has no val/ of its own."""
    seed: int = 0
    """One seed, one result."""
    precision: Precision = "auto"
    """Of the arithmetic; auto: bf16 where the processor computes in it."""

    def __post_init__(self) -> None:
        """Raises UserError for a value outside its range."""
        positive = (
            "image_size",
            "batch_size",
            "accumulate",
            "steps",
            "learning_rate",
            "decay_every",
            "pyramid_loss",
            "decay",
            "pyramid_decay",
        )
        for name in positive:
            if not 0 < getattr(self, name) < math.inf:  # nor NaN
                raise UserError(f"{flag(name)} {getattr(self, name)} is not a number above 0")
        for name in (
            "style_size",
            "style_weight",
            "content_weight",
            "tv_weight",
            "lattice_weight",
            "warmup",
            "seed",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{flag(name)} {getattr(self, name)} is below 0 or no number")
        if not 0 <= self.val_share < 1:
            raise UserError(f"--val-share {self.val_share} is not between 0 and 1")
        if self.batch_size % self.accumulate:
            raise UserError(
                f"--batch-size {self.batch_size} does not divide into --accumulate {self.accumulate} parts"
            )
        if not self.style_layers:
            raise UserError("--style-layers names no layer; leave it out for the recipe's own")


def flag(name: str) -> str:
    """The command line's flag for the field `name`."""
    return "--" + name.replace("_", "-")


def to_dict(run: StyleRun) -> dict[str, Any]:
    """JSON-ready."""
    return dataclasses.asdict(run)


def from_dict(data: Mapping[str, Any]) -> StyleRun:
    """The inverse of `to_dict`; raises UserError for fields that this version does not know."""
    known = {f.name for f in dataclasses.fields(StyleRun)}
    strange = sorted(set(data) - known)
    if strange:
        raise UserError(f"this run has options that this version does not know: {', '.join(strange)}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return StyleRun(**values)
