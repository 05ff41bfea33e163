"""Videos in `texturenets stylize`: which inputs become which video, and stylizing one video after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from texturenets import video
from texturenets.cli.common import photo_progress, warn
from texturenets.cli.report import Report, ThrottledNote
from texturenets.cli.tiled import follow
from texturenets.errors import UserError, counted, naming
from texturenets.files import atomic_write, check_unprotected, expanded, remove_all_stale, remove_stale

if TYPE_CHECKING:
    from fractions import Fraction

    from texturenets.stylize.options import StylizeOptions
    from texturenets.stylize.style import Style
    from texturenets.video.frame import FrameSource, Pixels, Sink

RATE = 24
"""Default frames per second of a video made of images: as in cinema."""


class VideoJob(NamedTuple):
    """A video to write: its input, a video or images, and its result, a file or a pattern of numbered frames."""

    sources: tuple[Path, ...]
    result: Path | str
    rate: Fraction | None = None  # frame rate of images that become a video

    @property
    def name(self) -> str:
        """Its name in the progress bar."""
        return Path(self.result).name if self.rate else self.sources[0].name

    def json_fields(self, style: str, seed: int) -> dict[str, object]:
        """The fields of its JSON object, for a result in `style`."""
        many = len(self.sources) > 1
        return {
            **({"sources": len(self.sources)} if many else {"source": str(self.sources[0])}),
            "style": style,
            "seed": seed,
        }


def among(found: Sequence[Path], output: str | None) -> set[Path]:
    """The videos and animated images among the files `found`, except those to be written as a still image."""
    return {
        path for path in found if video.is_video(path) and not (len(found) == 1 and _to_still(path, output))
    }


def whole_output(
    found: Sequence[Path], videos: Collection[Path], output: str | None, *, ordered: bool, rate: float | None
) -> VideoJob | None:
    """The one video for `output`: images that become one video, or one video that becomes numbered frames. None if
    every file has its own result. `ordered`: the images are those of a folder or pattern, to be taken in counting
    order. Raises UserError before any work is done.
    """
    if output is not None and video.is_numbered(output):
        _check_numbered(output, found, videos)
        _check_rate(rate, videos)
        return VideoJob(tuple(videos), output)
    pictures = [path for path in found if path not in videos]
    if output is None or not pictures or not _is_video_name(output, pictures):
        _check_rate(rate, videos)
        return None
    from texturenets.video.numbered import in_order

    path = expanded(output)
    video.check_output(path, path)
    return VideoJob(tuple(in_order(pictures) if ordered else pictures), path, _rate(rate))


def check_frames(names: Sequence[str]) -> None:
    """Raise UserError for input frames named by a pattern such as %05d.png, as in FFmpeg."""
    for name in names:
        if video.is_numbered(name) and not expanded(name).exists():
            raise UserError(
                f"{name}: numbered frames are read from their folder, {Path(name).parent}/, or from a pattern like "
                f"'{Path(name).parent}/*{Path(name).suffix}', in counting order"
            )


def _check_numbered(output: str, found: Sequence[Path], videos: Collection[Path]) -> None:
    """Raise UserError if `output`, a pattern of numbered frames, does not fit the files."""
    from texturenets import image

    video.check_numbered(output)
    if not videos:
        raise UserError(
            f"--output {output} numbers the frames of a video, and there is none, only "
            f"{counted(len(found), 'image')}: give a folder, for example -o stylized/, or a video to make, for "
            "example -o video.mp4"
        )
    if len(found) > 1:
        raise UserError(
            f"--output {output} numbers the frames of one video, and there are {len(found)} files"
        )
    image.output_format(output)


def _check_rate(rate: float | None, videos: Collection[Path]) -> None:
    if rate is not None:
        own = f"; {min(videos)} has a rate of its own" if videos else ", for example -o video.mp4"
        raise UserError(f"--rate {rate:g} is for images that become a video{own}")


def _is_video_name(output: str, found: Sequence[Path]) -> bool:
    """Whether images under this name become the frames of one video."""
    path = expanded(output)
    suffix = path.suffix.lower()
    return not path.is_dir() and (suffix in video.READ or (suffix == ".gif" and len(found) > 1))


def _to_still(photo: Path, output: str | None) -> bool:
    """Whether an animated image is to be written in a format without animation."""
    from texturenets import image

    if output is None or photo.suffix.lower() not in video.MOVING or video.is_numbered(output):
        return False
    suffix = Path(output).suffix.lower()
    moves = suffix in (".gif", ".webp", ".apng") or {suffix, photo.suffix.lower()} <= {".png", ".apng"}
    return suffix in image.suffixes() and not moves


def check_sizes(jobs: Sequence[VideoJob]) -> None:
    """Raise UserError for images of different sizes that are to become one video."""
    of_images = [job for job in jobs if job.rate]
    if of_images:
        from texturenets.video import numbered

        for job in of_images:
            numbered.check_sizes(job.sources)


def carry_out(
    jobs: Sequence[VideoJob], loaded: Style, options: StylizeOptions, report: Report, style: str
) -> None:
    """Stylize one video after the other and report each; `style`: the name of the style."""
    follow(loaded, report.quiet, bar=False)
    for job in jobs:
        try:
            if isinstance(job.result, Path):
                check_unprotected(job.result)
            _stylize(loaded, job, options, report.quiet)
        except UserError as error:
            report.failure(job.sources[0], error, {"style": style})
        else:
            report.result(job.result, job.json_fields(style, options.seed))
            if job.rate and len(job.sources) == 1 and not report.quiet:
                warn(f"note: {job.result} is a video of one image; for all beside it name their folder")


def _stylize(style: Style, job: VideoJob, options: StylizeOptions, quiet: bool) -> None:
    """Stylize one video. Raises UserError if it cannot be read or written; then no file is left."""
    from texturenets.video.stylization import frame_stylizer, stylize_video

    with _opened(job, options) as source, written(source, job.result, options.quality, quiet) as sink:
        if options.mix_end and source.info.count < 1:
            raise UserError(
                f"{job.name}: it does not say how many frames it has, which `--to-style` needs: leave it out"
            )
        bar, note = photo_progress(source.info.count, quiet, "frames"), ThrottledNote()
        with bar:
            task = bar.add_task(job.name, total=source.info.count)

            def progress(number: int) -> None:
                bar.update(task, completed=number)
                if bar.disable and not quiet:
                    note(f"{job.name}: {number} of {source.info.count} frames")

            stylize_frame = frame_stylizer(style, options, source.info.count)

            def named(pixels: Pixels) -> Pixels:
                with naming(job.sources[0]):
                    return stylize_frame(pixels)

            done = stylize_video(source, sink, named, progress)
            bar.update(task, completed=done, total=done)


@contextmanager
def _opened(job: VideoJob, options: StylizeOptions) -> Iterator[FrameSource]:
    from texturenets.video.animated_image import AnimatedImage
    from texturenets.video.frame import Fit
    from texturenets.video.numbered import Frames
    from texturenets.video.reading import Video
    from texturenets.video.writing import needs_even

    to_video = isinstance(job.result, Path) and job.result.suffix.lower() in video.WRITTEN
    fit = Fit(options.size, even=isinstance(job.result, Path) and needs_even(job.result), square=not to_video)
    source: FrameSource
    if job.rate:
        source = Frames(job.sources, job.rate, fit)
    elif job.sources[0].suffix.lower() in video.READ:
        source = Video(job.sources[0], fit, sound=to_video, keep_gps=options.keep_gps)
    else:
        source = AnimatedImage(job.sources[0], fit)
    with closing(source):
        yield source


def _rate(rate: float | None) -> Fraction:
    """Frame rate of a video made of images; 29.97 and the like become the exact NTSC rates, as 30000/1001."""
    from fractions import Fraction

    per_second = RATE if rate is None else rate
    if not 0.01 <= per_second <= 1000:  # also for NaN
        raise UserError(f"--rate {per_second:g} is not a number of frames per second between 0.01 and 1000")
    whole_number = round(per_second * 1.001)
    if abs(per_second - whole_number / 1.001) < 0.005 and abs(per_second - round(per_second)) > 0.005:
        return Fraction(whole_number * 1000, 1001)
    return Fraction(per_second).limit_denominator(1000)


@contextmanager
def written(source: FrameSource, result: Path | str, quality: int | None, quiet: bool) -> Iterator[Sink]:
    """A sink that writes the frames of `source` to `result`: a video, which appears when it is complete, or numbered
    images.
    """
    from texturenets.video.animated_image import MovingWriter
    from texturenets.video.numbered import NumberedWriter
    from texturenets.video.reading import Video
    from texturenets.video.writing import VideoWriter

    if isinstance(result, str):
        frames = NumberedWriter(result, quality=quality)
        remove_all_stale(frames.path(number) for number in range(1, source.info.count + 1))
        yield frames
        older = frames.path(frames.number + 1)
        if older.exists() and not quiet:
            warn(f"{older} is from an earlier run: it and the files after it are not part of this one")
        return
    remove_stale(result)
    read = source if isinstance(source, Video) else None
    sink: Sink
    with atomic_write(result) as part:
        if result.suffix.lower() in video.WRITTEN:
            sink = VideoWriter(part, result, source.info, quality=quality, source=read)
            notes = sink.notes
        else:
            sink = MovingWriter(part, result, source.info, quality=quality)
            notes = []
        shown = 0 if quiet else len(notes)
        for note in notes[:shown]:
            warn(note)
        if read and read.silent and not quiet:
            warn(f"{result} holds no sound: that of {read.path} is left out")
        with closing(sink):
            yield sink
        for note in notes[shown:] if not quiet else ():  # notes that reading the frames added
            warn(note)
