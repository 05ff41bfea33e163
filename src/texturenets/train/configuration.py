"""Training options as frozen dataclasses, from which the command line's flags are made. No torch.

The fields' defaults are the preset `default`; `presets` says where others differ.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from texturenets import arguments
from texturenets.errors import UserError
from texturenets.field_docs import with_attributes
from texturenets.files import check_writable
from texturenets.train.min_size import MIN_TRAINING_SIDE

Schedule = Literal["cosine", "step", "constant"]
Optimizer = Literal["muon", "adam"]
Precision = Literal["auto", "float32", "bf16", "fp16"]
Pool = Literal["max", "average"]

VGG_LAYERS = tuple(f"vgg16:relu{n}" for n in ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_3"))
SQUEEZENET_LAYERS = tuple(f"squeezenet1_0:{n}" for n in ("conv1", *(f"fire{i}" for i in range(2, 8))))
TEXTURE_LAYERS = (*VGG_LAYERS, "vgg16:relu5_1", *SQUEEZENET_LAYERS)
"""Layers of the style loss of `train texture` (how they were chosen: docs/measurements.md)."""
STRUCTURE_LAYERS = ("vgg16:relu3_1", "vgg16:relu4_1")
"""Deep enough to see a brick and not only its grain, and small enough to be compared many times per step."""
INTO_STEPS = 600
"""Default number of steps for a style that is added to a model with several styles."""
INTO_LEARNING_RATE = 2e-2
"""Peak learning rate of its rows, which must converge in a minute's hundred steps. The best of 0.002, 0.01, 0.02
and 0.04: `etretat` into the network of `wave`, crops of 128 pixels, validation loss after 50 steps 9.4, 5.0, 4.9 and
5.1, after 100 of the first three 8.1, 4.8 and 4.4; `cezanne`, after 50 of 0.002 and 0.02 7.6 and 6.0."""

STYLE_LAYERS = (*VGG_LAYERS, *(f"squeezenet1_0:fire{i}" for i in (2, 4, 7)))
"""Layers of the style loss of the default preset (how they were chosen: docs/models.md)."""


@with_attributes
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Options common to all trainings: steps, optimizer, precision."""

    image_size: int = 256
    """Side in pixels of the square crops and images that the network is trained on."""
    batch_size: int = 1
    """Batch size: images in a step, over all processes."""
    accumulate: int = 1
    """Split each batch into this many microbatches and accumulate their gradients: less memory, same result."""
    steps: int = 4000
    """Optimizer steps."""
    minutes: float = 0.0
    """Minutes to train for, in place of --steps; the learning rate schedule follows the clock. 0: use --steps."""
    optimizer: Optimizer = "muon"
    """muon, or adam, as in the Texture Networks papers (arXiv 1603.03417 and 1701.02096), which needs more steps."""
    learning_rate: float = 2e-3
    """Peak learning rate of the schedule."""
    schedule: Schedule = "cosine"
    """Learning rate schedule: cosine decay to 1/50 of the peak, step decay, or constant."""
    decay: float = 0.8
    """With --schedule step: factor of each decay (gamma)."""
    decay_every: int = 2000
    """With --schedule step: steps between two decays."""
    warmup: int = 20
    """Warm-up: first steps, over which the learning rate rises from 0."""
    descriptor_padding: bool = True
    """Zero padding in the convolutions of all descriptor networks; without it they are unpadded, and feature maps
    lose pixels at their borders."""
    pool: Pool = "max"
    """Pooling of the descriptor networks."""
    seed: int = 0
    """Random seed; the same seed gives the same result."""
    precision: Precision = "auto"
    """Floating-point precision; auto takes bf16 where the device supports it, else fp16 on a GPU and float32
    on a CPU."""

    def __post_init__(self) -> None:
        """Raises UserError for a value outside its range."""
        check_types(self)
        for name in (
            "image_size",
            "batch_size",
            "accumulate",
            "steps",
            "learning_rate",
            "decay_every",
            "decay",
        ):
            _positive(self, name)
        for name in ("minutes", "warmup", "seed"):
            _not_negative(self, name)
        if self.batch_size % self.accumulate:
            raise UserError(
                f"`batch_size` {self.batch_size} does not divide into `accumulate` {self.accumulate} microbatches"
            )


@with_attributes
@dataclass(frozen=True, kw_only=True)
class TaskConfig(RunConfig):
    """Options common to `train style` and `train texture`: generator, optimizer, losses."""

    generator: str = "residual"
    """Generator (the network that makes the images) to train: one of residual, johnson, multiscale, pyramid,
    pyramid2, skip, skip_noise, skip_unpool, or FILE.py:CLASS for your own."""
    set: tuple[str, ...] = ()
    """Option of the generator, KEY=VALUE; may be given several times. docs/training.md lists the keys."""
    noise_depth: int = 0
    """Channels of noise input; 0: the generator's default, which is 4 for residual."""
    style_size: int = 512
    """Longer side of the style image in pixels; 0 keeps its size. Larger gives larger strokes."""
    style_layers: tuple[str, ...] = STYLE_LAYERS
    """Layers of the style loss, NETWORK:LAYER, separated by commas."""
    style_weight: float = 1.0
    """Weight of the style loss."""
    tv_weight: float = 0.0
    """Weight of the total variation loss; higher values give smoother images."""
    checkerboard_weight: float = 0.2
    """Weight of the penalty on checkerboard artifacts, which strided layers cause, with periods of 2 and 4 pixels; it
    is applied in the second half of the training."""
    loss_scaling: Literal["relative", "paper"] = "relative"  # losses.Scaling, which needs PyTorch
    """relative: style and content losses are divided by the mean square of the target; paper: mean squared
    differences, not relative to the target, and Gram matrices also divided by the number of channels, as in the
    Texture Networks papers."""
    pyramid_loss: int = 1
    """Number of scales of the style and content losses, each half as large as the one before; 1: full size only."""
    pyramid_decay: float = 0.9
    """With --pyramid-loss: weight of each scale, as a factor of that of the one before."""
    normalize_gradients: bool = False
    """Divide the gradient of each style layer by its L1 norm (texture_nets v1)."""
    diversity_weight: float = 0.0
    """Weight of the diversity loss, which rewards differences between the images of a batch; works only in one
    process and with --accumulate 1."""
    diversity_layer: str = "pixels"
    """Where the diversity loss compares images: pixels, or NETWORK:LAYER."""
    sliced_weight: float = 0.0
    """Weight of the sliced Wasserstein loss (arXiv 2006.07229), which compares whole distributions of
    features, in --structure-layers."""
    shifted_weight: float = 0.0
    """Weight of the shifted Gram loss (arXiv 1606.01286), for brick courses, rows and weaves: products of features
    with those up to --max-shift away, in --structure-layers."""
    autocorrelation_weight: float = 0.0
    """Weight of the autocorrelation loss (arXiv 2008.01808), for periods of any length: correlations of each
    feature with itself at all distances, in --structure-layers."""
    patch_weight: float = 0.0
    """Weight of the patch loss (arXiv 2203.11862), against fine hatching and grain: the finest details of the images
    have the distribution of the painting's or exemplar's. 0.3 is plenty."""
    structure_layers: tuple[str, ...] = STRUCTURE_LAYERS
    """Layers of the sliced Wasserstein, shifted Gram and autocorrelation losses, NETWORK:LAYER, separated by
    commas."""
    max_shift: int = 8
    """Largest shift of the shifted Gram loss, in positions of a layer's feature map (8 pixels of the image each at
    relu4_1); shifts are 1, 2, 4, ... up to it."""

    def __post_init__(self) -> None:
        """Raises UserError for a value outside its range."""
        super().__post_init__()
        for name in ("pyramid_loss", "pyramid_decay", "max_shift"):
            _positive(self, name)
        for name in (
            "style_size",
            "style_weight",
            "tv_weight",
            "checkerboard_weight",
            "diversity_weight",
            "sliced_weight",
            "shifted_weight",
            "autocorrelation_weight",
            "patch_weight",
            "noise_depth",
        ):
            _not_negative(self, name)
        others = self.sliced_weight or self.shifted_weight or self.autocorrelation_weight or self.patch_weight
        if not (self.style_weight or others or getattr(self, "content_weight", 0.0)):
            raise UserError("`style_weight` is 0, and no other loss is used: give it a value above 0")
        for name in ("style_layers", "structure_layers"):
            if not getattr(self, name):
                raise UserError(f"`{name}` names no layer; leave it out to use the preset's layers")
        if self.diversity_weight and (self.batch_size < 2 or self.accumulate > 1):
            raise UserError(
                "`diversity_weight` compares the images of a batch: it needs `batch_size` 2 or more, and "
                "`accumulate` 1"
            )

    @property
    def given_options(self) -> tuple[str, ...]:
        """The options of the generator given by the user, KEY=VALUE."""
        return (*self.set, *([f"noise_depth={self.noise_depth}"] if self.noise_depth else []))

    @property
    def generator_options(self) -> tuple[str, ...]:
        """All options of the generator, KEY=VALUE: those that this kind of training sets, then those given by the
        user."""
        return self.given_options

    def may_start_from(self, generator: Mapping[str, Any]) -> bool:
        """Whether a training may start from a model with this `generator` (the entry in its header).

        It must have the generator's name and the options given by the user; its other options are then used.
        """
        given = dict(option.partition("=")[::2] for option in self.given_options)
        return generator["name"] == self.generator and all(
            flag_text(generator.get(key)).lower() == value.lower() for key, value in given.items()
        )


@with_attributes
@dataclass(frozen=True, kw_only=True)
class StyleConfig(TaskConfig):
    """Options of `train style`: a style from a painting and a folder of photos."""

    content_layers: tuple[str, ...] = ("vgg16:relu4_2",)
    """Layers of the content loss."""
    content_weight: float = 2.2
    """Weight of the content loss. Half of the default: strokes dominate; twice the default: objects do."""
    texture_photos: int = 0
    """Compute the style loss only on the first N photos of the folder, which fill half of each batch; the content
    loss is computed on all photos (as in texture_nets v1). 0: both losses on all photos."""
    temporal_weight: float = 0.0
    """Weight of the temporal consistency loss, for videos: noise, shifts and changes of brightness of a photo should
    not change its result."""
    flip: bool = True
    """Mirror half of the photos."""
    val_share: float = 0.05
    """Share of the photos held out for validation, unless the folder has subfolders train/ and val/."""

    def __post_init__(self) -> None:
        """As `TaskConfig`."""
        super().__post_init__()
        for name in ("content_weight", "texture_photos", "temporal_weight"):
            _not_negative(self, name)
        _check_photos(self)
        if self.texture_photos and (self.batch_size % 2 or self.accumulate > 1 or self.diversity_weight):
            raise UserError(
                "`texture_photos` halves the batch: it needs an even `batch_size`, `accumulate` 1 and no "
                "`diversity_weight`"
            )
        if self.texture_photos and not self.content_weight:
            raise UserError(
                "`texture_photos` learns content on all photos: it needs a `content_weight` above 0"
            )

    @property
    def generator_options(self) -> tuple[str, ...]:
        """As in `TaskConfig`; a generator whose photo input is optional gets it (`STYLE_GENERATOR_OPTIONS`)."""
        return (*STYLE_GENERATOR_OPTIONS.get(self.generator, ()), *super().generator_options)


@with_attributes
@dataclass(frozen=True, kw_only=True)
class GalleryConfig(StyleConfig):
    """Options of `train gallery`: several paintings, one network."""

    steps: int = 32000
    """Optimizer steps; the paintings take turns."""
    light: float = 4.0
    """Every painting is also learned with a weaker style, which `stylize --strength 0.5` then uses: with the content
    weight multiplied by this; 1: one strength only."""
    large: float = 2.0
    """Every painting is also learned with larger strokes, its style image enlarged by this factor; 1: one size
    only."""

    def __post_init__(self) -> None:
        """As `TaskConfig`."""
        super().__post_init__()
        for name in ("light", "large"):
            if not 1 <= getattr(self, name) <= 16:
                raise UserError(f"`{name}` {getattr(self, name)} is not between 1 and 16")
        if self.diversity_weight or self.texture_photos:
            raise UserError("`diversity_weight` and `texture_photos` are for a network of one style")
        if self.large > 1 and not self.style_size:
            raise UserError("`large` is a factor of `style_size`: give it in pixels, or `large` 1")


@with_attributes
@dataclass(frozen=True, kw_only=True)
class TextureConfig(TaskConfig):
    """Options of `train texture`: a texture from an exemplar."""

    generator: str = "multiscale"
    """Generator (the network that makes the images) to train: one of multiscale, johnson, pyramid, pyramid2, skip,
    skip_noise, fully_connected, or FILE.py:CLASS for your own."""
    noise_depth: int = 0
    """Channels of noise input; 0: the generator's default, which is 3 for multiscale."""
    style_size: int = 0
    """Longer side of the exemplar in pixels; 0 keeps its size."""
    batch_size: int = 4
    """Batch size: samples in a step, over all processes."""
    steps: int = 600
    """Optimizer steps."""
    learning_rate: float = 5e-3
    """Peak learning rate of the schedule."""
    style_layers: tuple[str, ...] = TEXTURE_LAYERS
    """Layers of the style loss, NETWORK:LAYER, separated by commas."""
    checkerboard_weight: float = 0.0
    """Weight of the penalty on checkerboard artifacts with periods of 2 and 4 pixels; the default generator
    causes few."""
    periodic: bool = True
    """Give the network waves of the exemplar's periods as an input, if it repeats as brick courses and weaves do
    (arXiv 1705.06566): its samples then keep step at any size. With the generator multiscale."""

    @property
    def generator_options(self) -> tuple[str, ...]:
        """As in `TaskConfig`; a generator whose photo input is optional does without it
        (`TEXTURE_GENERATOR_OPTIONS`)."""
        return (*TEXTURE_GENERATOR_OPTIONS.get(self.generator, ()), *super().generator_options)


@with_attributes
@dataclass(frozen=True, kw_only=True)
class PerceptualConfig(RunConfig):
    """Options of `train perceptual`: a small descriptor network, distilled from VGG-16 and SqueezeNet."""

    image_size: int = 128
    """Side in pixels of the square images that features are compared on."""
    batch_size: int = 8
    """Batch size: images in a step, over all processes."""
    variants: int = 4
    """Images made of each crop: itself, and distorted, stylized and adversarial copies. --batch-size must be a
    multiple of it."""
    steps: int = 20000
    """Optimizer steps."""
    learning_rate: float = 1e-4
    """Peak learning rate of the schedule."""
    models: tuple[str, ...] = ("shipped",)
    """Style models that stylize some of the training images: names or files, separated by commas; shipped: all that
    come with the package; none: no stylized images."""
    adversarial_every: int = 4
    """Steps between two batches with adversarial images: one image of each crop is changed until the trained
    network's features are near those of another crop; in every other such batch, under the constraint that the
    teachers' features stay as far from that crop's as before. 0: none."""
    val_share: float = 0.05
    """Share of the images held out for validation, of each folder."""

    def __post_init__(self) -> None:
        """As `RunConfig`."""
        super().__post_init__()
        _positive(self, "variants")
        _not_negative(self, "adversarial_every")
        _check_photos(self)
        if self.batch_size < 2 or self.batch_size % self.variants:
            raise UserError(
                f"`batch_size` {self.batch_size} is not a multiple of `variants` {self.variants}, or is below 2: "
                "images are compared with one another"
            )
        if self.image_size % 8:
            raise UserError(
                f"`image_size` {self.image_size} is no multiple of 8: VGG-16 and SqueezeNet round it differently"
            )
        if self.accumulate > 1:
            raise UserError("`accumulate` splits the batch, whose images are compared with one another")


TEXTURE_GENERATORS = ("multiscale", "pyramid", "pyramid2", "skip", "skip_noise", "johnson", "fully_connected")
PERIODIC_GENERATORS = ("multiscale",)
"""Generators with an option `waves`."""
MATERIAL_GENERATORS = ("multiscale",)
"""Generators that draw as many channels as the maps of a material have."""
# Options of generators that can also stylize photos, when used for textures: only noise as input, and circular
# padding, so that their samples tile. Three channels of noise are those of the reference (texture_train.lua).
TEXTURE_GENERATOR_OPTIONS: dict[str, tuple[str, ...]] = {
    "pyramid": ("photo=false", "noise_depth=3", "padding=circular"),
    "johnson": ("photo=false", "noise_depth=3", "padding=circular"),
}


# Options of generators when used for styles: those with only noise inputs by default get a photo. The default one
# also gets noise, from which strokes can start in smooth areas of the photo, and dilation for a larger receptive
# field (how these were chosen: docs/models.md).
STYLE_GENERATOR_OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("multiscale", "pyramid2", "skip", "skip_noise"), ("photo=true",)),
    "residual": ("dilation=4", "noise_depth=4"),
}


def check_types(config: Any) -> None:
    """Raise UserError for a value of the wrong type, or not among an option's choices.

    Numbers of other libraries (NumPy) become Python's: they are written to the model's header.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        kinds = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        if value is None and type(None) in kinds:
            continue
        kind = kinds[0]
        if get_origin(kind) is Literal:
            if value not in get_args(kind):
                raise UserError(f"`{field.name}` {value!r} is not {' or '.join(get_args(kind))}")
        elif get_origin(kind) is tuple:
            _check_names(field.name, value)
        elif kind is bool:
            arguments.flag(field.name, value)
        elif field.name == "generator" and callable(value):
            name = getattr(value, "__name__", "CLASS")
            raise UserError(
                f"`generator` {arguments.shown(value)} is code: write it into a file and give its name, as "
                f"'FILE.py:{name}'"
            )
        else:
            checked = _CHECKS[kind](field.name, value)
            object.__setattr__(config, field.name, checked)  # the class is frozen


_CHECKS: dict[type, Callable[[str, object], object]] = {
    int: arguments.integer,
    float: arguments.number,
    str: arguments.text,
}


def _check_names(name: str, value: object) -> None:
    if not isinstance(value, tuple | list) or not all(isinstance(one, str) for one in value):
        names = [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else []
        hint = f", as {tuple(names)}" if names else ""
        raise UserError(f"`{name}` {value!r} is not a tuple of names{hint}")


def _check_photos(config: StyleConfig | PerceptualConfig) -> None:
    """Raise UserError if crops are too small, or if the share of photos held out is out of range."""
    if config.image_size < MIN_TRAINING_SIDE:
        raise UserError(f"`image_size` {config.image_size} is too small: the minimum is {MIN_TRAINING_SIDE}")
    if not 0 <= config.val_share < 1:
        raise UserError(f"`val_share` {config.val_share} is not between 0 and 1")


def _positive(config: Any, name: str) -> None:
    if not 0 < getattr(config, name) < math.inf:  # also False for NaN
        raise UserError(f"`{name}` {getattr(config, name)} is not a number above 0")


def _not_negative(config: Any, name: str) -> None:
    if not 0 <= getattr(config, name) < math.inf:
        raise UserError(f"`{name}` {getattr(config, name)} is not a number of at least 0")


R = TypeVar("R", bound=RunConfig)


def flag(name: str) -> str:
    """The command line's flag for the field `name`."""
    return "--" + name.replace("_", "-")


def flag_text(value: Any) -> str:
    """The value of an option in the command line's notation."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(map(flag_text, value)) if isinstance(value, list | tuple) else str(value)


def replaced(output: Path) -> str:
    """A message if the training will replace the existing model file `output`; otherwise ""."""
    return f"{output} exists and will be replaced at the end" if output.exists() else ""


def model_file(out: Path) -> Path:
    """`out`, checked to be a valid name for a model file. Raises UserError unless it ends in .safetensors, and if it
    cannot be written."""
    if out.suffix != ".safetensors":
        raise UserError(f"`output` {out}: the name of a model file must end in .safetensors")
    check_writable(out)
    return out


KINDS: Final[Mapping[str, type[RunConfig]]] = {
    "style": StyleConfig,
    "gallery": GalleryConfig,
    "texture": TextureConfig,
    "perceptual": PerceptualConfig,
}
"""The commands of `train` and their options."""


def kind_of(options: Mapping[str, Any]) -> str | None:
    """The command of `train` that has exactly these options; None if there is none."""
    return next(
        (name for name, kind in KINDS.items() if {f.name for f in dataclasses.fields(kind)} == set(options)),
        None,
    )


def to_dict(config: RunConfig) -> dict[str, Any]:
    """JSON-ready."""
    return dataclasses.asdict(config)


def from_dict(data: Mapping[str, Any], kind: type[R]) -> R:
    """The inverse of `to_dict` for a configuration of `kind`. Raises UserError for fields unknown to this
    version."""
    known = {f.name for f in dataclasses.fields(kind)}
    strange = sorted(set(data) - known)
    if strange:
        raise UserError(f"this training has options unknown to this version: {', '.join(strange)}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return kind(**values)
