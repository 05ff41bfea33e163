"""What `texturenets tile` and `texturenets inpaint` share: flags, networks, progress, the result."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from texturenets.cli.arguments import Option
from texturenets.cli.common import download_progress, warn
from texturenets.cli.flags import given, optional_flags, user_chose_networks, with_descriptor
from texturenets.cli.optimize import check_numbers, check_output, report, run_with_progress
from texturenets.cli.outputs import fitted, folder_of
from texturenets.files import expanded, remove_stale
from texturenets.resynthesis.configuration import NETWORK, STEPS, ResynthesisConfig, of_network
from texturenets.train.trainer_config import TrainerConfig
from texturenets.train.unused_options import check_used

if TYPE_CHECKING:
    from torch import Tensor

    from texturenets.image import Picture
    from texturenets.resynthesis.jobs import Job

LossFlags: Any = optional_flags(
    ResynthesisConfig,
    "Loss options",
    (
        "style_layers",
        "style_weight",
        "tv_weight",
        "sliced_weight",
        "shifted_weight",
        "autocorrelation_weight",
        "structure_layers",
        "max_shift",
        "loss_scaling",
        "pyramid_loss",
        "pyramid_decay",
        "descriptor_padding",
        "pool",
        "seed",
        "precision",
    ),
)
TrainerFlags: Any = optional_flags(TrainerConfig, "Run options", ("weights", "offline", "device"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Flags of the optimization and of the output."""

    steps: Annotated[int, Option(help="Iterations of L-BFGS at each scale.")] = STEPS
    scales: Annotated[
        int,
        Option(
            help="Number of sizes, coarse to fine: each is twice the one before, the last is the size of the result."
        ),
    ] = 1
    line_search: Annotated[
        Literal["strong_wolfe", "fixed"],
        Option(
            help="Line search of L-BFGS: strong_wolfe, or fixed (always full steps), which is faster and less stable."
        ),
    ] = "strong_wolfe"
    descriptor: Annotated[
        str | None,
        Option(
            help="Network whose features the losses use, at its default layers: a pretrained one, for example vgg19; "
            "own (small, comes with the package; one that `train perceptual` made is given with --weights "
            f"own=FILE); or random (untrained filters, no download) [default: {NETWORK}]."
        ),
    ] = None
    pictures_every: Annotated[
        int,
        Option(
            help="Iterations between two intermediate images, in a folder NAME.run beside the result; 0: none."
        ),
    ] = 0
    as_json: Annotated[
        bool,
        Option(
            "--json",
            help="Print a JSON object in place of the name: status, result, loss and iterations.",
        ),
    ] = False
    quiet: Annotated[bool, Option(help="No progress bar.")] = False


def resynthesize(
    source_path: Path,
    output: str | None,
    kind: str,
    prepare: Callable[[Picture], Job],
    *,
    check: Callable[[], object] | None = None,
    inputs: Sequence[Path] = (),
    options: Options | None,
    losses: Any,
    trainer: Any,
) -> int:
    """Replace the part of the image `source_path` that `prepare` chooses, and write the result; returns the exit
    status. `kind`: last part of the result's name. `inputs`: other input files, which the result must not overwrite.
    `check`: called before PyTorch is loaded; it raises UserError for inputs that do not work.
    """
    flags = options or Options()
    check_numbers(flags.steps, None, flags.pictures_every)
    out = _out(source_path, output, kind)
    check_output(out, [source_path, *inputs])
    if check is not None:
        check()
    changes = given(losses, ResynthesisConfig)
    chosen = user_chose_networks(flags.descriptor, "default", changes)
    config = _config(flags.descriptor, changes)
    check_used(config, changes)
    trainer_config = TrainerConfig(**given(trainer, TrainerConfig))

    from texturenets import image
    from texturenets.engines.devices import memory_errors
    from texturenets.resynthesis.calls import set_up_for
    from texturenets.resynthesis.filling import fill

    source = image.read(source_path)
    job = prepare(source)
    _note(source_path, out, source)
    remove_stale(out)
    bar = None if flags.quiet or not sys.stderr.isatty() else download_progress()
    used, setup = set_up_for(config, trainer_config, chosen=chosen, say=warn, progress=bar)

    def write(path: Path, part: Tensor) -> None:
        image.write(path, job.finished(part))

    with memory_errors("out of memory: use a smaller image, or fewer layers"):
        records = fill(
            setup.networks,
            dataclasses.asdict(used),
            job.hole.to(setup.device),
            steps=flags.steps,
            scales=flags.scales,
            line_search=flags.line_search,
        )
        last, status = run_with_progress(
            records,
            flags.steps * flags.scales,
            out,
            quiet=flags.quiet,
            pictures_every=flags.pictures_every,
            write=lambda path, part: write(path, image.resize(part, job.box[2:])),
        )
    write(out, image.resize(last.image, job.box[2:]))
    return report(out, last, flags.steps * flags.scales, flags.quiet, status=status, as_json=flags.as_json)


def _out(source_path: Path, output: str | None, kind: str) -> Path:
    """The file of the result: `output`, or a file with the default name in that folder or the current one."""
    folder = folder_of([source_path], output)
    if folder is None:
        return expanded(str(output))
    return folder / fitted(source_path.stem, f"-{kind}.png")


def _config(descriptor: str | None, changes: dict[str, Any]) -> ResynthesisConfig:
    """The loss settings: those of `descriptor`, by default NETWORK, with `changes`. Layers are NETWORK:LAYER."""
    from texturenets import perceptual

    fields = with_descriptor(changes, descriptor, ResynthesisConfig, bare=True)
    config = dataclasses.replace(of_network(NETWORK), **fields)
    layers: dict[str, Any] = {
        name: perceptual.full_names(getattr(config, name), descriptor or NETWORK)
        for name in ("style_layers", "structure_layers")
    }
    return dataclasses.replace(config, **layers)


def _note(source_path: Path, out: Path, source: Picture) -> None:
    """Print notes about properties of the image that the result does not keep."""
    from texturenets import image

    lost_by_stylizing = image.lost_by_stylizing(source, image.kept_bits(out, source.bits))
    for what in (*lost_by_stylizing, *image.lost_by_format(out, source)):
        warn(f"note: {source_path} holds {what}")
    if out.suffix.lower() in image.lossy_suffixes():
        warn(f"note: {out.suffix} is lossy: pixels that stay are changed a little; .png keeps them")
