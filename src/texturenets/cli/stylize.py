"""`texturenets stylize`: photos and films repainted."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from texturenets.cli.batch import carry_out, planned
from texturenets.cli.common import Device, EngineName, Flag, Precision, complain
from texturenets.cli.outputs import may_take_noise
from texturenets.cli.styles import check_no_style, find_styles
from texturenets.errors import UserError


def stylize(
    photos: list[str] | None = None,
    /,
    *,
    style: Annotated[list[str] | None, Parameter(name=["--style", "-s"], negative_iterable=())] = None,
    output: Annotated[str | None, Parameter(name=["--output", "-o"])] = None,
    size: int | None = None,
    quality: int | None = None,
    strength: float = 1.0,
    preserve_color: Flag = False,
    skip_existing: Flag = False,
    sheet: Flag = False,
    keep_gps: Flag = False,
    stroke: str = "1",
    seed: int = 0,
    noise_level: float = 1.0,
    count: int = 1,
    rate: float | None = None,
    webcam: Flag = False,
    device: Device = "auto",
    engine: EngineName = "auto",
    precision: Precision = "auto",
    memory: str | None = None,
    spool: str | None = None,
    generator: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    quiet: Flag = False,
) -> int:
    """Repaint photos and films in the style of a painting.

    The names of the results are printed, one a line. A photo or film that cannot be read or written is reported
    and the others are done; the exit status is then 2.

    Parameters
    ----------
    photos
        Photos, films, patterns like "*.jpg", and folders, whose pictures and films are taken, those of the folders in
        them too.
    style
        Shipped style or model file; may be given several times, and all stands for the shipped ones [default: the
        first style that `texturenets models` lists]. A painting becomes one with `texturenets train style`; without
        training there is `texturenets optimize`.
    output
        File to write for one photo, whose suffix chooses the format; or a folder: one that is there, or a
        name that ends in /, or any name for several photos; what comes out of a folder lies in it as in that
        one [default: PHOTO-STYLE in the current folder, in
        the photo's own format where it can be written]. A film becomes its frames with frames/%05d.png, and
        pictures become a film with film.mp4.
    size
        Longer side of the result in pixels, the shape kept [default: as large as the photo].
    quality
        1 to 100, for JPEG, WebP, AVIF and HEIC [default: 95; AVIF and HEIC 90] and films [default: 65].
    strength
        From 0, the photo, to 1, the full style: mixes the two pixel by pixel.
    preserve_color
        Keep the photo's colours.
    skip_existing
        Leave alone what has been written before, with whatever options.
    sheet
        Also write contact-sheet.jpg beside the results: a photo a row, a style a column.
    keep_gps
        Copy the place where the photo was taken, too, with the rest of its metadata.
    stroke
        Size of the strokes: 2 doubles it, 0.5 halves it, auto keeps it relative to the picture, so that one of
        512 pixels foretells a poster.
    seed
        For styles that also take noise: of the first result.
    noise_level
        For styles that also take noise: how strong it is, 1 as in training, 0 for none.
    count
        For styles that also take noise: results of each photo, with seeds from --seed on, their numbers in their
        names.
    rate
        Frames a second of a film that pictures become [default: 24].
    webcam
        Show what the camera sees, repainted, in a window, until it is closed; in place of photos a camera may be
        named, as /dev/video2. --size says how large [default: 480].
    device
        Where to compute; auto takes the fastest that is here.
    engine
        What runs the network: torch, openvino or onnx; auto takes the fastest that is installed for
        the device and says which.
    precision
        What it computes in; auto takes half precision where the device has it, but PyTorch on a processor
        computes in float32.
    memory
        What the program may take, as 2G or 900M [default: a share of what is free]. A photo that needs more is
        repainted piece by piece, with the same result; what does not fit is kept on disk meanwhile.
    spool
        A folder for that, on a disk with room [default: where the system keeps temporary files].
    generator
        FILE.py:CLASS: the network's code, for a model trained with one of your own; it is run.
    cluster
        Have many processes do it, with Ray: alone, on this machine; with an address (auto, ray://HOST:PORT,
        HOST:PORT), on that cluster. Photos and --output, a folder, may then be URLs, as s3://BUCKET/photos/. What was
        done stands in manifest.jsonl in the output, and the next run does what is missing.
    workers
        With --cluster: processes, each with an engine of its own [default: one a core or graphics card].
    quiet
        No progress bar and no summary.
    """
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"--quality {quality} is not between 1 and 100")

    from texturenets import loading
    from texturenets.stylize import style as api
    from texturenets.stylize.memory_limits import StylizeOptions
    from texturenets.stylize.stroke import parse

    options = StylizeOptions(
        size, quality, strength, preserve_color, keep_gps, seed, noise_level, parse(stroke)
    )
    api.check_options(size, strength, noise_level)
    models = find_styles(style, photos or [])
    check_no_style(photos or [], style)
    if seed != 0 or noise_level != 1:
        for model in models:
            if not may_take_noise(model):
                complain(f"note: {model.stem} takes no noise: --seed and --noise-level change nothing")
    load = functools.partial(
        loading.load_style,
        device=device,
        engine=engine,
        precision=precision,
        generator=generator,
        memory=memory,
        spool=spool,
    )
    told: dict[str, Any] = {
        "--output": output,
        "--quality": quality,
        "--skip-existing": skip_existing,
        "--keep-gps": keep_gps,
        "--count": count if count != 1 else None,
        "--rate": rate,
        "--sheet": sheet,
        "--cluster": cluster,
        "--workers": workers,
    }
    if webcam:
        from texturenets.cli.webcam import show

        _refuse("--webcam shows the live picture, and keeps nothing", told)
        return show(functools.partial(load, _only(models, "--webcam")), photos or [], options, quiet)
    if not photos:
        raise UserError("there is nothing to repaint: name photos, folders or films; see --help")
    if cluster or workers is not None or any("://" in name for name in (*photos, output or "")):
        from texturenets.cli.cluster import Run, run

        _refuse("--cluster repaints photos alone", {name: told[name] for name in ("--rate", "--sheet")})
        model = _only(models, "--cluster")
        asked_of = Run(model, options, count, device, engine, precision, generator, memory, spool)
        return run(asked_of, photos, output, cluster, workers, skip_existing=skip_existing, quiet=quiet)
    plan = planned(photos, output, models, options, count=count, rate=rate)
    return carry_out(
        plan, load, skip_existing=skip_existing, say_engine=engine == "auto", quiet=quiet, sheet=sheet
    )


def _refuse(why: str, flags: Mapping[str, Any]) -> None:
    """Raise UserError for flags that are given and would do nothing."""
    given = [name for name, value in flags.items() if value is not None and value is not False]
    if given:
        raise UserError(f"{why}: leave out {', '.join(given)}")


def _only(models: Sequence[Path], flag: str) -> Path:
    if len(models) > 1:
        raise UserError(f"{flag} takes one style at a time, and there are {len(models)}: give one --style")
    return models[0]
