"""Videos read through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from texturenets.errors import UserError, install
from texturenets.video.frame import NATIVE, ColorSpace, Fit, Frame, Pixels, VideoInfo

WITH_DURATION: Final = ("mov,mp4", "matroska", "avi", "flv", "asf")
"""Formats whose files state their duration; for others FFmpeg estimates it."""

# ITU-T H.273, table 4, to the numbers of libswscale (swscale.h, SWS_CS_*)
MATRICES: Final = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
# Metadata keys of the place where a video was made: names of QuickTime, Android and others.
_PLACES = ("location", "gps", "iso6709", "xyz")
# Metadata keys that FFmpeg sets itself, or that describe only the old file.
_OWN_METADATA = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
# From this size on players assume BT.709 if a video does not state its colour space, below BT.601 (mpv and VLC).
_HD = (1280, 720)


def load_av() -> Any:
    """PyAV. Raises UserError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise UserError(f"videos need PyAV: {install('video')} ({str(error).splitlines()[0]})") from None
    return av


def reason(error: Exception) -> str:
    """The message of a PyAV error, shortened."""
    return str(getattr(error, "strerror", None) or error).strip() or type(error).__name__


@dataclass
class _Scan:
    """The result of reading a file without decoding it."""

    count: int
    rate: Fraction


class Video:
    """A `FrameSource`: the first video stream of a file, and its sound as packets.

    The file is read through once without decoding (at the disk's speed), so that one that ends too early is refused
    before any work is done. Frames are turned and mirrored by the display matrix.
    """

    def __init__(self, path: Path, fit: Fit = NATIVE, *, sound: bool = True, keep_gps: bool = False) -> None:
        """Raises UserError for a file that cannot be used."""
        self.av, self.path = load_av(), path
        self.waiting: list[Any] = []
        self.trailing: list[Any] = []
        self.container = self._open()
        try:
            self.video = self._stream(self.container)
            self.sound = [s for s in self.container.streams.audio if sound and s.codec_context is not None]
            self.subtitles = len(self.container.streams.subtitles)
            self.silent = bool(self.container.streams.audio) and not sound
            scan = self._scan()
            self.video.thread_type = "AUTO"
            start = self.container.start_time or 0
            self.start = Fraction(max(0, start), self.av.time_base)
            self._frames = self._decoded()
            self._first = next(self._frames, None)
            if self._first is None:
                raise UserError(f"{path} holds no frame that can be decoded")
            self._describe(scan, fit, keep_gps)
        except BaseException:
            self.container.close()
            raise

    def _describe(self, scan: _Scan, fit: Fit, keep_gps: bool) -> None:
        assert self._first is not None
        raw, context = self._first, self.video.codec_context
        self.plain = bool(raw.format.is_rgb)
        self.turn = Orientation.of(raw)
        stored = (int(raw.height), int(raw.width))
        aspect = Fraction(self.video.sample_aspect_ratio or 1)
        self.stored = fit(stored, aspect)
        aspect = Fraction(1) if fit.square else aspect
        self.info = VideoInfo(
            size=self.stored[::-1] if self.turn.swapped else self.stored,
            count=scan.count,
            rate=scan.rate,
            time_base=Fraction(self.video.time_base),
            aspect=1 / aspect if self.turn.swapped else aspect,
            colors=_colors(context, stored, self.plain),
            metadata={
                key: value
                for key, value in self.container.metadata.items()
                if key not in _OWN_METADATA and (keep_gps or not any(p in key.lower() for p in _PLACES))
            },
        )

    def _open(self) -> Any:
        if not self.path.exists():
            raise UserError(f"no such file: {self.path}")
        if self.path.is_dir():
            raise UserError(f"{self.path} is a folder, not a video")
        if not self.path.is_file():
            raise UserError(
                f"{self.path} is not a regular file but a pipe, socket or device: save it as a file first"
            )
        try:
            return self.av.open(str(self.path), metadata_errors="replace")
        except (self.av.error.FFmpegError, OSError) as error:
            size = self.path.stat().st_size
            why = "it is empty" if size == 0 else f"cut off, damaged, or no video ({reason(error)})"
            raise UserError(f"cannot read {self.path}: {why}; copy it again from where it came") from None

    def _stream(self, container: Any) -> Any:
        for stream in container.streams.video:
            picture = self.av.stream.Disposition.attached_pic
            if stream.codec_context is not None and not stream.disposition & picture:
                return stream
        raise UserError(f"{self.path} holds no animation that can be decoded here")

    def _scan(self) -> _Scan:
        """Raises UserError if the file ends before its stated duration."""
        container = self._open()
        try:
            video = self._stream(container)
            followed = [video, *container.streams.audio]
            ends: dict[int, Fraction] = {}
            count, broken = 0, ""
            try:
                for packet in container.demux(*followed):
                    if packet.dts is None and packet.pts is None:
                        continue
                    if packet.is_corrupt:
                        broken = "it is damaged there"
                        break
                    if packet.stream is video and not packet.is_discard:
                        count += 1
                    end = (
                        (packet.pts if packet.pts is not None else packet.dts) + (packet.duration or 0)
                    ) * packet.time_base
                    index = packet.stream.index
                    ends[index] = max(ends.get(index, end), end)
            except (self.av.error.FFmpegError, OSError) as error:
                broken = reason(error)
            self._check_end(container, video, ends, broken)
            rate = Fraction(video.average_rate or video.guessed_rate or 25)
            return _Scan(count, rate)
        finally:
            container.close()

    def _check_end(self, container: Any, video: Any, ends: dict[int, Fraction], broken: str) -> None:
        seen = ends.get(video.index, Fraction(0))
        start = Fraction(container.start_time or 0, self.av.time_base)
        if broken:
            raise self._cut(seen, broken)
        if not container.format.name.startswith(WITH_DURATION):
            return
        rate = Fraction(video.average_rate or 25)
        slack = max(Fraction(1, 10), 2 / rate)
        if video.duration:
            first = (video.start_time or 0) * video.time_base
            declared, reached = first + video.duration * video.time_base, seen
        elif container.duration:
            declared = start + Fraction(container.duration, self.av.time_base)
            reached = max(ends.values(), default=Fraction(0))
        else:
            return
        if declared - reached > slack:
            raise self._cut(seen, f"of {float(declared):.1f} s that it says it has")

    def _cut(self, seen: Fraction, why: str) -> UserError:
        if round(float(seen), 1) <= 0:
            return UserError(
                f"{self.path} is cut off or damaged: nothing of it can be read, {why}; copy it again "
                "from where it came"
            )
        return UserError(
            f"{self.path} is cut off or damaged: it can be read to {float(seen):.1f} s, {why}; "
            "copy it again from where it came, or cut it before that with another program"
        )

    def _decoded(self) -> Iterator[Any]:
        """Decoded frames; packets of sound on the way go to `waiting`."""
        time = Fraction(0)
        try:
            for packet in self.container.demux(self.video, *self.sound):
                if packet.stream is not self.video:
                    if packet.dts is not None:
                        self.waiting.append(packet)
                    continue
                for raw in packet.decode():
                    if raw.pts is not None:
                        time = raw.pts * self.video.time_base
                    if raw.is_corrupt:
                        raise self._cut(time, "it is damaged there")
                    yield raw
        except (self.av.error.FFmpegError, OSError) as error:
            raise self._cut(time, reason(error)) from None

    def __iter__(self) -> Iterator[Frame]:
        base = Fraction(self.video.time_base)
        step = max(1, round(1 / self.info.rate / base))
        last: int | None = None
        raw = self._first
        self._first = None
        while raw is not None:
            stamp = raw.pts
            if stamp is None:
                stamp = 0 if last is None else last + step
            if last is not None and stamp <= last:  # two frames with the same time: no format supports that
                stamp = last + 1
            last = stamp
            sound, self.waiting = self.waiting, []
            duration = (raw.duration or step) * base
            yield Frame(self._pixels(raw), stamp * base - self.start, duration, sound)
            raw = next(self._frames, None)
        self.trailing, self.waiting = self.waiting, []

    def _pixels(self, raw: Any) -> Pixels:
        from av.video.reformatter import ColorRange, Interpolation

        height, width = self.stored
        matrix = None if self.plain else MATRICES[self.info.colors.matrix]
        converted = raw.reformat(
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=matrix,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
        )
        return self.turn(converted.to_ndarray())

    def close(self) -> None:
        """Close the file."""
        self.container.close()


def _colors(context: Any, size: tuple[int, int], rgb: bool) -> ColorSpace:
    """The colour space of a video; if it states none, what players assume."""
    if rgb:
        return ColorSpace()
    matrix = int(context.colorspace)
    if matrix not in MATRICES:
        matrix = 1 if size[1] >= _HD[0] or size[0] >= _HD[1] else 6
    return ColorSpace(matrix, int(context.color_primaries), int(context.color_trc))


@dataclass(frozen=True)
class Orientation:
    """How a stored frame is turned upright: transpose, then mirror."""

    swapped: bool = False
    left_right: bool = False
    upside_down: bool = False

    @classmethod
    def of(cls, raw: Any) -> Orientation:
        """Orientation from a frame's display matrix: x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2)."""
        from av.sidedata.sidedata import Type

        data = raw.side_data.get(Type.DISPLAYMATRIX)
        if data is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def __call__(self, pixels: Pixels) -> Pixels:
        """Pixels (H, W, C) as stored to upright ones."""
        if self.swapped:
            pixels = pixels.transpose(1, 0, 2)
        if self.left_right:
            pixels = pixels[:, ::-1]
        if self.upside_down:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)
