"""Writes videos through PyAV: frames are encoded, sound is copied unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from texturenets import image
from texturenets.errors import UserError
from texturenets.video import WRITTEN
from texturenets.video.frame import Frame, Pixels, VideoInfo
from texturenets.video.reading import MATRICES, Video, load_av, reason

QUALITY: Final = 65
"""The default of `--quality`: a constant rate factor of 18 with H.264, which is hardly distinguishable from the
original (FFmpeg's own guide to H.264), 22 with VP9."""

_ENCODERS: Final = {"webm": "libvpx-vp9"}
_H264: Final = "libx264"
_MAX_CRF: Final = {"libx264": 51, "libvpx-vp9": 63}  # the largest constant rate factor
# Sound that a format formally allows, but that hardly any player plays.
_UNPLAYABLE: Final = {"mp4": ("pcm_", "vorbis", "wma"), "mov": ("vorbis", "opus", "wma", "flac")}
_SOUND: Final = {"webm": "libopus"}
_AAC: Final = "aac"
_SOUND_RATE: Final = 64_000  # bits per second of a channel, where sound is encoded anew


def even(size: tuple[int, int]) -> tuple[int, int]:
    """The next larger even size (H, W): H.264 stores colours for squares of 2 x 2 pixels."""
    height, width = (side + side % 2 for side in size)
    return height, width


def needs_even(path: Path) -> bool:
    """Whether frames of a video with that name must have even sides."""
    return path.suffix.lower() in WRITTEN and _ENCODERS.get(WRITTEN[path.suffix.lower()], _H264) == _H264


class VideoWriter:
    """A `Sink`: a video at `part`, of the format that the suffix of `path` names.

    Time stamps are those of the frames. Sides that are odd are made even by doubling the last row or column. The
    sound of `source`, if it is a video, is copied packet by packet, or re-encoded if the format does not support it;
    transparent pixels are laid on white; `notes` has messages about that.
    """

    def __init__(
        self, part: Path, path: Path, info: VideoInfo, *, quality: int | None, source: Video | None
    ) -> None:
        """Raises UserError if this PyAV has no encoder for it."""
        self.av, self.path, self.info = load_av(), path, info
        self.notes: list[str] = []
        self.format = WRITTEN[path.suffix.lower()]
        self.encoder = _ENCODERS.get(self.format, _H264)
        options = {"movflags": "+faststart"} if self.format in ("mp4", "mov") else {}
        self.durations: dict[int, int] = {}
        self.offset = source.start if source else Fraction(0)
        self.sound: dict[int, Any] = {}
        self.encoded: dict[int, Any] = {}
        try:
            self.container = self.av.open(str(part), "w", format=self.format, options=options)
        except (self.av.error.FFmpegError, OSError) as error:
            raise UserError(f"cannot write {path}: {reason(error)}") from None
        try:
            self.container.metadata.update(info.metadata)
            self.stream = self._video(quality)
            for stream in source.sound if source else ():
                self._add_sound(stream)
            if source and source.subtitles:
                self.notes.append(f"subtitles of {source.path} are left out")
        except BaseException:
            self.close()
            raise

    def _video(self, quality: int | None) -> Any:
        if self.encoder not in self.av.codec.codecs_available:
            raise UserError(
                f"cannot write {self.path}: this PyAV has no {self.encoder}; take its wheel from PyPI"
            )
        factor = round(_MAX_CRF[self.encoder] * (100 - (quality or QUALITY)) / 100)
        options = {"crf": str(factor)}
        if self.encoder == "libvpx-vp9":
            options |= {"deadline": "good", "cpu-used": "4", "row-mt": "1"}
        stream = self.container.add_stream(self.encoder, rate=self.info.rate, options=options)
        height, width = even(self.info.size) if self.encoder == _H264 else self.info.size
        if (height, width) != self.info.size:
            self.notes.append(
                f"{self.info.size[1]} x {self.info.size[0]} pixels become {width} x {height}: H.264 takes even "
                "sides, the last row or column is there twice"
            )
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p"
        stream.time_base = self.info.time_base
        context, colors = stream.codec_context, self.info.colors
        context.time_base = self.info.time_base
        if self.info.aspect != 1:
            context.sample_aspect_ratio = self.info.aspect
        context.colorspace, context.color_primaries = colors.matrix, colors.primaries
        context.color_trc, context.color_range = colors.transfer, 1  # 1: 16 to 235
        return stream

    def _add_sound(self, stream: Any) -> None:
        name = stream.codec_context.codec.canonical_name
        if not name.startswith(_UNPLAYABLE.get(self.format, ("\0",))):
            try:
                copy = self.container.add_stream_from_template(stream)
            except ValueError:  # the format does not hold it
                pass
            else:
                copy.metadata.update(stream.metadata)
                self.sound[stream.index] = copy
                return
        encoder = _SOUND.get(self.format, _AAC)
        self.notes.append(
            f"the sound ({name}) is re-encoded ({encoder.removeprefix('lib')}): {self.path.suffix} does not hold it"
        )
        context = stream.codec_context
        rate = 48000 if encoder == "libopus" else context.sample_rate
        channels = min(context.channels, 2)
        output = self.container.add_stream(encoder, rate=rate, bit_rate=_SOUND_RATE * channels)
        output.codec_context.layout = "stereo" if channels == 2 else "mono"
        resampler = self.av.AudioResampler(
            output.codec_context.format,
            output.codec_context.layout,
            rate,
            output.codec_context.frame_size or None,
        )
        self.encoded[stream.index] = (output, resampler)

    def write(self, frame: Frame) -> None:
        """Write the next frame. Raises UserError if the disk is full."""
        self._hear(frame.sound)
        self._note_transparency(frame.pixels)
        raw = self.av.VideoFrame.from_ndarray(_padded(_opaque(frame.pixels), self.stream), format="rgb24")
        from av.video.reformatter import ColorRange, Interpolation

        converted = raw.reformat(
            format="yuv420p",
            dst_colorspace=MATRICES[self.info.colors.matrix],
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
        )
        converted.pts = round(frame.time / self.info.time_base)
        converted.time_base = self.info.time_base
        converted.pict_type = 0
        self.durations[converted.pts] = round(frame.duration / self.info.time_base)
        self._mux(self._coded(self.stream, converted))

    def _coded(self, stream: Any, frame: Any) -> list[Any]:
        """The packets that an encoder has ready; `frame` None: all remaining ones."""
        try:
            return list(stream.encode(frame))
        except (self.av.error.FFmpegError, OSError) as error:
            contents = f"{self.stream.width} x {self.stream.height} pixels in {self.path.suffix}"
            raise UserError(f"cannot write {self.path}: {contents}: {reason(error)}") from None

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            if packet.stream is self.stream and packet.pts in self.durations:
                # Only the last frame's duration cannot be derived from the next one's time.
                packet.duration = self.durations.pop(packet.pts)
            try:
                self.container.mux(packet)
            except (self.av.error.FFmpegError, OSError) as error:
                raise UserError(f"cannot write {self.path}: {reason(error)}") from None

    def _hear(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            index, base = packet.stream.index, Fraction(packet.time_base)
            shift = round(self.offset / base)
            if index in self.sound:
                if packet.pts is not None:
                    packet.pts -= shift
                packet.dts -= shift
                packet.stream = self.sound[index]
                self._mux([packet])
            else:
                self._encode(index, [*packet.decode()])

    def _encode(self, index: int, frames: Sequence[Any]) -> None:
        stream, resampler = self.encoded[index]
        for frame in frames:
            if frame is not None and frame.pts is not None:
                frame.pts -= round(self.offset / Fraction(frame.time_base))
            for ready in resampler.resample(frame):
                self._mux(self._coded(stream, ready))

    def _note_transparency(self, pixels: Pixels) -> None:
        note = f"the frames hold {image.laid_on_white_message(self.path)}"
        if pixels.shape[2] == 4 and note not in self.notes and bool((pixels[:, :, 3] < 255).any()):
            self.notes.append(note)

    def finish(self, trailing: list[Any]) -> None:
        """Write the rest of the sound, and the packets that the encoders still hold."""
        self._hear(trailing)
        for index, (stream, _) in self.encoded.items():
            self._encode(index, [None])
            self._mux(self._coded(stream, None))
        self._mux(self._coded(self.stream, None))
        try:
            self.container.close()
        except (self.av.error.FFmpegError, OSError) as error:
            raise UserError(f"cannot write {self.path}: {reason(error)}") from None

    def close(self) -> None:
        """Close the file, complete or not."""
        try:
            self.container.close()
        except (self.av.error.FFmpegError, OSError):  # the error was already raised
            return


def _opaque(pixels: Pixels) -> Pixels:
    """Transparent pixels laid on white."""
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[:, :, 3:].astype(np.uint16)
    mixed = pixels[:, :, :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def _padded(pixels: Pixels, stream: Any) -> Pixels:
    down, right = stream.height - pixels.shape[0], stream.width - pixels.shape[1]
    if down or right:
        pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)
