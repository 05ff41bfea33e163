"""What a training run is: frozen data, from which the command line's flags are made. No torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from texturenets.errors import UserError
from texturenets.fielddocs import with_attributes

Schedule = Literal["cosine", "step", "constant"]
Optimizer = Literal["muon", "adam"]
Scaling = Literal["relative", "paper"]
Precision = Literal["auto", "float32", "bf16", "fp16"]
Pool = Literal["max", "average"]

VGG_LAYERS = tuple(f"vgg16:relu{n}" for n in ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3"))
SQUEEZENET_LAYERS = tuple(f"squeezenet1_0:{n}" for n in ("conv1", *(f"fire{i}" for i in range(2, 8))))
PIXELS = "pixels"


@with_attributes
@dataclass(frozen=True, kw_only=True)
class Run:
    """What every run has: the network, the optimizer, the losses against the pictures to learn."""

    generator: str = "residual"
    """Network to train: a name, or FILE.py:CLASS for your own."""
    set: tuple[str, ...] = ()
    """Option of the network, KEY=VALUE; may be given several times."""
    noise_depth: int = 0
    """Channels of noise that the network takes; 0: its own number, none for most that repaint photos."""
    style_size: int = 768
    """Longer side of the picture to learn in pixels; 0 keeps its size. Larger gives larger strokes."""
    image_size: int = 256
    """Side in pixels of the squares that the network draws."""
    batch_size: int = 2
    """Pictures a step, over all processes."""
    accumulate: int = 1
    """Split each batch into this many parts, one after the other: less memory, the same gradient."""
    steps: int = 3000
    """Steps of the optimizer."""
    minutes: float = 0.0
    """Minutes to train for, in place of steps; rates that fall over the run follow the clock. 0: by steps."""
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
    style_weight: float = 1.0
    """Weight of the texture loss."""
    tv_weight: float = 0.0
    """Weight of the total variation: higher, smoother."""
    lattice_weight: float = 0.2
    """Weight of the penalty on grids of 2 and 4 pixels, which strided layers leave; it counts from the middle of the
    run on."""
    scaling: Scaling = "relative"
    """Losses over the learned picture's (photo's) own size, or the papers' plain mean squares."""
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
    diversity_weight: float = 0.0
    """Weight of the diversity loss: what one batch holds is to differ, in one process and one part."""
    diversity_layer: str = PIXELS
    """Where pictures are to differ: pixels, or NETWORK:LAYER."""
    seed: int = 0
    """One seed, one result."""
    precision: Precision = "auto"
    """Of the arithmetic; auto: bf16 where the processor computes in it."""

    def __post_init__(self) -> None:
        """Raises UserError for a value outside its range."""
        check_kinds(self)
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
            "tv_weight",
            "lattice_weight",
            "diversity_weight",
            "minutes",
            "noise_depth",
            "warmup",
            "seed",
        ):
            _not_negative(self, name)
        if self.batch_size % self.accumulate:
            raise UserError(
                f"--batch-size {self.batch_size} does not divide into --accumulate {self.accumulate} parts"
            )
        if not self.style_layers:
            raise UserError("--style-layers names no layer; leave it out for the recipe's own")
        if self.diversity_weight and (self.batch_size < 2 or self.accumulate > 1):
            raise UserError(
                "--diversity-weight compares the pictures of a batch: it wants --batch-size 2 or more, and "
                "--accumulate 1"
            )

    @property
    def settings(self) -> tuple[str, ...]:
        """All options of the network, KEY=VALUE."""
        return (*self.set, *([f"noise_depth={self.noise_depth}"] if self.noise_depth else []))

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers of descriptor networks that the losses look at."""
        space = () if self.diversity_layer == PIXELS or not self.diversity_weight else (self.diversity_layer,)
        return (*self.style_layers, *space)


@with_attributes
@dataclass(frozen=True, kw_only=True)
class StyleRun(Run):
    """Everything that decides what `train style` makes of a painting and a folder of photos."""

    content_layers: tuple[str, ...] = ("squeezenet1_0:fire4",)
    """Layers of the content loss."""
    content_weight: float = 2.4
    """Weight of the content loss: higher, more photo."""
    texture_photos: int = 0
    """Learn texture and content on so many photos, content alone on all (v1's mixed objective); 0: both on all."""
    temporal: float = 0.0
    """Weight of the stability loss, for films: the same picture under small noise, shift and brightness change."""
    flip: bool = True
    """Mirror half of the photos."""
    val_share: float = 0.05
    """Share of the photos held out for validation, where the folder has no val/ of its own."""

    def __post_init__(self) -> None:
        """As `Run`."""
        super().__post_init__()
        for name in ("content_weight", "texture_photos", "temporal"):
            _not_negative(self, name)
        if not 0 <= self.val_share < 1:
            raise UserError(f"--val-share {self.val_share} is not between 0 and 1")
        if self.texture_photos and (self.batch_size % 2 or self.accumulate > 1 or self.diversity_weight):
            raise UserError(
                "--texture-photos halves the batch: it wants an even --batch-size, --accumulate 1 and no "
                "--diversity-weight"
            )
        if self.texture_photos and not self.content_weight:
            raise UserError("--texture-photos learns content on all photos: it wants a --content-weight")

    @property
    def settings(self) -> tuple[str, ...]:
        """As in `Run`; a network that can do with a photo is made so."""
        return (*STYLE_SETTINGS.get(self.generator, ()), *super().settings)

    @property
    def layers(self) -> tuple[str, ...]:
        """As in `Run`, with those of the content loss."""
        return (*super().layers, *self.content_layers)


@with_attributes
@dataclass(frozen=True, kw_only=True)
class TextureRun(Run):
    """Everything that decides what `train texture` makes of an exemplar."""

    generator: str = "multiscale"
    """Network to train: a name, or FILE.py:CLASS for your own."""
    style_size: int = 0
    """Longer side of the exemplar in pixels; 0 keeps its size."""
    batch_size: int = 4
    """Samples a step, over all processes."""
    steps: int = 600
    """Steps of the optimizer."""
    learning_rate: float = 5e-3
    """Of the optimizer, at its highest."""
    lattice_weight: float = 0.0
    """Weight of the penalty on grids of 2 and 4 pixels. Without it the default network is at half the loss after
    100 steps, and its samples hold few."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Options of the network; one that can do without a photo is made so."""
        return (*TEXTURE_SETTINGS.get(self.generator, ()), *super().settings)


TEXTURE_GENERATORS = ("multiscale", "pyramid", "pyramid2", "skip", "skip_noise", "johnson", "fully_connected")
# What the networks that also repaint photos are like where they draw textures: fed with noise alone, and circular,
# so that what they draw tiles. Three channels of noise are the reference's (texture_train.lua).
TEXTURE_SETTINGS: dict[str, tuple[str, ...]] = {
    "pyramid": ("photo=false", "noise_depth=3", "padding=circular"),
    "johnson": ("photo=false", "noise_depth=3", "padding=circular"),
}


# The other way about: those that by default draw from noise alone.
STYLE_SETTINGS: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("multiscale", "pyramid2", "skip", "skip_noise"), ("photo=true",)
)


def check_kinds(run: Any) -> None:
    """Raise UserError for a word that an option does not know, and for a fraction where a whole number belongs."""
    hints = get_type_hints(type(run))
    for field in dataclasses.fields(run):
        value, hint = getattr(run, field.name), hints[field.name]
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise UserError(f"{flag(field.name)} {value!r} is not {' or '.join(get_args(hint))}")
        elif hint is int and (not isinstance(value, int) or isinstance(value, bool)):
            raise UserError(f"{flag(field.name)} {value!r} is not a whole number")
        elif hint is float and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise UserError(f"{flag(field.name)} {value!r} is not a number")
        elif hint is bool and not isinstance(value, bool):
            raise UserError(f"{flag(field.name)} {value!r} is neither True nor False")
        elif get_origin(hint) is tuple and not isinstance(value, tuple | list):
            raise UserError(f"{flag(field.name)} {value!r} is not a tuple of names")


def _not_negative(run: Any, name: str) -> None:
    if not 0 <= getattr(run, name) < math.inf:
        raise UserError(f"{flag(name)} {getattr(run, name)} is below 0 or no number")


R = TypeVar("R", bound=Run)


def flag(name: str) -> str:
    """The command line's flag for the field `name`."""
    return "--" + name.replace("_", "-")


def model_file(out: Path) -> Path:
    """`out`, where a model file may be called so. Raises UserError."""
    if out.suffix != ".safetensors":
        raise UserError(f"--output {out}: a model file ends in .safetensors")
    return out


def to_dict(run: Run) -> dict[str, Any]:
    """JSON-ready."""
    return dataclasses.asdict(run)


def from_dict(data: Mapping[str, Any], kind: type[R]) -> R:
    """The inverse of `to_dict` for a run of `kind`; raises UserError for fields that this version does not know."""
    known = {f.name for f in dataclasses.fields(kind)}
    strange = sorted(set(data) - known)
    if strange:
        raise UserError(f"this run has options that this version does not know: {', '.join(strange)}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return kind(**values)
