"""`texturenets stylize`: photos and videos in a learned style."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from texturenets.cli.arguments import Option
from texturenets.cli.batch import BatchRun, carry_out, planned
from texturenets.cli.common import (
    Device,
    EngineName,
    NetworkCode,
    PrecisionFlag,
    check_quality,
    warn,
)
from texturenets.cli.paintings import learned
from texturenets.cli.styles import ChosenStyle, check_no_style, find_styles, within_model
from texturenets.cli.watch import watching
from texturenets.errors import UserError

if TYPE_CHECKING:
    from texturenets.engines.options import EngineOptions
    from texturenets.graph.wrapping import Wrap
    from texturenets.stylize.options import StylizeOptions
    from texturenets.stylize.style import Style


def stylize(
    *photos: str,  # not a list, so that options may stand between the photos
    style: Annotated[list[str] | None, Option("--style", "-s")] = None,
    output: Annotated[str | None, Option("--output", "-o")] = None,
    size: int | None = None,
    quality: int | None = None,
    strength: float = 1.0,
    mask: list[str] | None = None,
    keep: str | None = None,
    to_style: str | None = None,
    steady: float = 0.0,
    into: str | None = None,
    minutes: float | None = None,
    preserve_color: bool = False,
    skip_existing: bool = False,
    sheet: bool = False,
    keep_gps: bool = False,
    stroke: str = "1",
    tileable: bool = False,
    wrap: Literal["x", "y", "xy"] | None = None,
    seed: int = 0,
    noise_level: float = 1.0,
    count: int = 1,
    rate: float | None = None,
    webcam: bool = False,
    virtual_camera: bool = False,
    device: Device = "auto",
    engine: EngineName = "auto",
    precision: PrecisionFlag = "auto",
    memory: str | None = None,
    spool: str | None = None,
    generator: NetworkCode = None,
    cluster: str | None = None,
    workers: int | None = None,
    watch: bool = False,
    as_json: Annotated[bool, Option("--json")] = False,
    quiet: bool = False,
) -> int:
    """Stylize photos and videos in the style of a painting.

    The names of the results are printed, one per line. A photo or video that cannot be read or written is reported
    and the others are still processed; the exit status is then 2.

    Parameters
    ----------
    photos
        Photos, videos, glob patterns like "*.jpg", and folders, which are searched with all their subfolders;
        URLs such as https://example.org/photo.jpg; - for a photo from standard input.
    style
        A shipped style, a style fetched with `texturenets models get`, a model file, or
        hf://USER/REPO[/FILE][@REVISION] on the Hugging Face Hub. May be given several times, for a result in each;
        `all` means every shipped style. STYLE,STYLE is a mixture of shipped styles in equal parts,
        STYLE=0.6,STYLE=0.4 a mixture with weights. For another model with several styles, as `texturenets train
        gallery` makes them, MODEL:STYLE is one of them, MODEL:STYLE,STYLE a mixture. A painting, such as
        painting.jpg, is first learned, into the model of several styles that --into names: that takes a minute, and
        its result is kept for the next photo [default: the first style that `texturenets models` lists]. For better
        styles from your own painting see `texturenets train style`, or `texturenets optimize`, which needs no
        training.
    output
        For one photo, the file to write, whose suffix chooses the format; or a folder: one that exists, a name that
        ends in / or has no suffix. Subfolders of the input are kept; for several
        input folders their names are kept, too (x/k.jpg and y/k.jpg become x/k-STYLE.jpg and y/k-STYLE.jpg). Results
        that would have the same name are numbered (k-STYLE-2.jpg); the numbers do not depend on the order of the
        arguments. Existing files are replaced [default: PHOTO-STYLE in the current folder, in the photo's format if
        it can be written]. frames/%05d.png writes the frames of a video, video.mp4 makes a video of images, - writes
        to standard output.
    size
        Longer side of the result in pixels; the aspect ratio is kept [default: as large as the photo].
    quality
        1 to 100, for JPEG, WebP, AVIF and HEIC [default: 95; AVIF and HEIC 90] and videos [default: 65].
    strength
        Strength of the style, 0 to 1: blends the stylized image with the photo; 0 is the photo. A model
        that was trained at several strengths (train gallery) interpolates between them, and blends with the photo
        only below the lowest of them.
    mask
        Image that says where the style goes: white where it is, black where the photo stays. With several styles of
        one model, -s MODEL:STYLE,STYLE, a single mask puts the first where it is white and the second where it is
        black; or give one mask for each. One of the styles may be photo, the unchanged photo: -s MODEL:STYLE,photo.
        The names left-to-right and top-to-bottom stand for gradient masks.
    keep
        Image that says where the photo stays as it is: white there, black elsewhere.
    to_style
        For videos: the style, or the mixture, of the last frame, such as udnie or wave=0.2,udnie=0.8; the frames
        between change evenly from --style to it.
    steady
        For videos that flicker: share of the previous frame's result in each frame, 0 (off) to below 1; it is moved
        along the video's own optical flow. 0.6 is a good value.
    into
        Model of several styles to which a painting given as --style is added: a name, a model file, or
        hf://USER/REPO [default: gallery, which is shipped]. This needs PyTorch, and takes as long as --minutes says.
        It is trained on up to 16 of the photos to stylize and three that come with the package; the result, some kB,
        is kept in the cache folder (~/.cache/texturenets, or TEXTURENETS_CACHE), for the next photo.
    minutes
        Minutes for learning a painting [default: 1].
    preserve_color
        Keep the photo's colours.
    skip_existing
        Skip results that exist, even if they were written with other options. An error if two results would have the
        same name.
    sheet
        Also write contact-sheet.jpg next to the results: one row for each photo, one column for each style.
    keep_gps
        Also copy the GPS position. EXIF, resolution (dpi), texts of PNGs and comments of JPEGs are copied anyway,
        as far as the output's format holds them; XMP is not.
    stroke
        Size of the strokes: 2 doubles it, 0.5 halves it, auto scales it with the image, so that a preview of
        512 pixels looks like the large result.
    tileable
        For images that tile seamlessly in both directions: results do too. Short for --wrap xy.
    wrap
        Axes along which the images wrap around: x for 360 degree panorama photos, whose left and right edge meet;
        xy for tiles.
    seed
        For styles that also take noise: random seed of the first result.
    noise_level
        For styles that also take noise: factor on the noise, 1 as in training, 0 for none.
    count
        For styles that also take noise: number of results for each photo, with seeds --seed, --seed + 1, ...; they
        are numbered by their seeds: PHOTO-STYLE-0000, PHOTO-STYLE-0001, ...
    rate
        Frames per second of a video made of images [default: 24].
    webcam
        Stylize the camera's image live, in a window, until it is closed; in place of photos a camera may be
        named, for example /dev/video2. --size is the longer side [default: 480].
    virtual_camera
        With --webcam: no window, but a camera that video calls can choose, until Ctrl-C.
    memory
        Memory that the program may use, for example 2G or 900M [default: a share of the free memory]. A photo that
        needs more is stylized in strips, with the same result; feature maps that do not fit are kept on disk
        meanwhile.
    spool
        Folder for feature maps that do not fit in memory [default: the system's folder for temporary files].
    cluster
        Run in many processes, with Ray: on this machine if no value is given, or on the cluster at an address (auto,
        ray://HOST:PORT, HOST:PORT). Photos and --output, a folder, may then be URLs such as s3://BUCKET/photos/.
        Finished results are listed in manifest.jsonl in that folder; the next run writes only the missing ones.
    workers
        With --cluster: number of processes, each with its own engine [default: one for each core or GPU].
    watch
        Keep running and stylize every photo and video that comes into the folders, or changes there, until Ctrl-C.
        Files with a newer result are skipped; one that fails is tried again when it changes.
    as_json
        Instead of the names, print one JSON object per line: status (done, skipped or failed), result, source, style
        and seed, or source and error.
    quiet
        Print neither a progress bar nor which engine is used; print a summary only if files have failed.
    """
    check_quality(quality)

    from texturenets.engines.options import EngineOptions
    from texturenets.stylize import style as api
    from texturenets.stylize.options import StylizeOptions
    from texturenets.stylize.stroke import parse

    options = StylizeOptions(size, quality, strength, preserve_color, keep_gps, seed, noise_level)
    options = replace(options, stroke=parse(stroke), wrap=_axes(wrap, tileable=tileable), steady=steady)
    api.check_options(size, strength, noise_level)
    _check_steady(steady)
    styles = find_styles(style, photos, into, minutes)
    check_no_style(photos, style)
    options = _mixed(options, styles, to_style, mask, keep)
    _note_noise(styles, options)
    _check_spool(spool)
    how = EngineOptions(engine, device, precision, None, generator, memory, spool)
    load = functools.partial(_loaded, photos=() if webcam else photos, how=how, quiet=quiet)
    batch = BatchRun(count, rate, skip_existing, sheet, engine == "auto", quiet, as_json, watch)
    flags = {
        "--output": output,
        "--quality": quality,
        "--keep-gps": keep_gps,
        "--to-style": to_style,
        **batch.flags,
        "--cluster": cluster,
        "--workers": workers,
    }
    if webcam:
        _refuse("--webcam shows the live image and writes no file", flags)
        from texturenets.cli.webcam import show

        chosen = _only(styles, "--webcam")
        options = replace(options, mix=chosen.mix)
        return show(functools.partial(load, chosen), photos, options, quiet, virtual=virtual_camera)
    _refuse("--virtual-camera sends the live image (--webcam)", {"--virtual-camera": virtual_camera})
    if not photos:
        raise UserError("there is nothing to stylize: name photos, folders or videos; see --help")
    if cluster or workers is not None or any("://" in name for name in (*photos, output or "")):
        from texturenets.cli.cluster import ClusterRun, run

        of_videos = {flag: flags[flag] for flag in ("--rate", "--sheet", "--to-style")}
        _refuse("--cluster stylizes only photos", {"--steady": steady or None, **of_videos})
        _refuse("--cluster reads no masks", {"--mask": mask or None, "--keep": keep})
        _refuse("--cluster lists its results in manifest.jsonl", {"--json": as_json, "--watch": watch})
        chosen = _only(styles, "--cluster")
        chosen = replace(chosen, model=learned(chosen, photos, device, quiet=quiet))
        settings = ClusterRun(chosen, replace(options, mix=chosen.mix), count, how)
        return run(settings, photos, output, cluster, workers, skip_existing=skip_existing, quiet=quiet)
    paintings = [str(one.painting) for one in styles if one.painting]
    read = [*(mask or ()), *([keep] if keep else []), *paintings]
    plan = functools.partial(planned, photos, output, styles, options, masks=read)
    if watch:
        without = ("--rate", "--sheet", "--count", "--skip-existing")
        _refuse("--watch goes on without end", {flag: flags[flag] for flag in without})
        return watching(photos, output, plan, batch, load)
    return carry_out(plan(batch), load, batch)


def _loaded(style: ChosenStyle, photos: Sequence[str], how: EngineOptions, *, quiet: bool) -> Style:
    """A style, learned first if it is given as a painting."""
    from texturenets import loading

    return loading.load_style(learned(style, photos, how.device, quiet=quiet), options=how)


def _mixed(
    options: StylizeOptions,
    styles: Sequence[ChosenStyle],
    to: str | None,
    mask: list[str] | None,
    keep: str | None,
) -> StylizeOptions:
    """`options` with the mixture at the end of a video, or with masks."""
    if to is not None and (mask or keep):
        raise UserError(
            "--to-style changes the style along a video, and a mask within an image: give one of them"
        )
    if to is not None:
        return replace(options, mix_end=_end(to, _only(styles, "--to-style")))
    if mask or keep:
        from texturenets.cli.masks import masks_of

        return replace(options, masks=masks_of(styles, mask, keep))
    for one in styles:
        if len(one.styles) > 1 and len({weight for _, weight in one.styles}) == 1:
            names = [name for name, _ in one.styles]
            warn(
                f"note: {' and '.join(names)} are mixed in equal parts; {names[0]}=0.7 says how much of one, --mask "
                "where each goes"
            )
    return options


def _check_steady(steady: float) -> None:
    if steady:  # else what is imported here would make every start longer
        from texturenets.video.steady import check_steady

        check_steady(steady)


def _check_spool(spool: str | None) -> None:
    if spool is not None and not Path(spool).is_dir():
        raise UserError(f"--spool {spool} is not a folder: name one that exists")


def _note_noise(styles: Sequence[ChosenStyle], options: StylizeOptions) -> None:
    """Print for which styles a seed or a noise level changes nothing."""
    from texturenets.modelfiles import modelfile
    from texturenets.stylize import style as api

    if options.seed != 0 or options.noise_level != 1:
        for one in styles:
            noisy = modelfile.may_take_noise(one.model)
            api.note_noise(one.model.stem, options.seed, options.noise_level, takes_noise=noisy)


def _end(words: str, style: ChosenStyle) -> dict[str, float]:
    """The mixture at the end of a video. Raises UserError for styles that are not in the model."""
    from texturenets import loading
    from texturenets.modelfiles.conditions import parse_mix

    mix = parse_mix(words.rpartition(":")[2])
    if style.painting is not None:
        raise UserError(
            f"--to-style {words}: {style.painting} is learned alone, and a video goes from style to style "
            f"{within_model()}; then use -s MODEL:STYLE --to-style STYLE"
        )
    if style.mix is None:
        raise UserError(
            f"--to-style {words}: {style.name} is a model of one style: a video goes from style to style "
            f"{within_model()}; then use -s MODEL:STYLE --to-style STYLE"
        )
    loading.check_styles(style.model, mix)
    return mix


def _axes(wrap: Wrap | None, *, tileable: bool) -> Wrap:
    """The axes that --wrap and --tileable name. Raises UserError if they disagree."""
    if tileable and wrap not in (None, "xy"):
        raise UserError(f"--tileable wraps around in both directions, --wrap {wrap} in one: give one of them")
    return "xy" if tileable else wrap or ""


def _refuse(why: str, flags: Mapping[str, Any]) -> None:
    """Raise UserError for given flags that would have no effect."""
    given = [name for name, value in flags.items() if value is not None and value is not False]
    if given:
        raise UserError(f"{why}: leave out {', '.join(given)}")


def _only(styles: Sequence[ChosenStyle], flag: str) -> ChosenStyle:
    if len(styles) > 1:
        raise UserError(f"{flag} takes one style at a time, and there are {len(styles)}: give one --style")
    return styles[0]
