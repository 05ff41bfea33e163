"""Small videos, made through PyAV: a coloured square that goes over a smooth ground, and a tone."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


def frames(count: int = 10, size: tuple[int, int] = (32, 48)) -> Frames:
    """(count, H, W, 3): red grows to the right, green downwards; a blue square goes two pixels right a frame."""
    height, width = size
    made = np.zeros((count, height, width, 3), np.uint8)
    made[..., 0] = np.linspace(40, 200, width)[None, None]
    made[..., 1] = np.linspace(60, 180, height)[None, :, None]
    for i in range(count):
        left = 2 * i % (width - 8)
        made[i, 8:16, left : left + 8] = (20, 40, 220)
    return made


def video(
    path: Path,
    pictures: Frames | None = None,
    *,
    rate: Fraction | int = 25,
    times: Sequence[int] | None = None,
    codec: str = "libx264",
    sound: str | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """A video of `pictures`; `times` in thousandths of a second, else by `rate`.

    `sound`: its codec; a tone of 440 Hz.
    """
    pictures = frames() if pictures is None else pictures
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=rate, options={"crf": "4"} if codec != "mpeg4" else {})
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        tone = container.add_stream(sound, rate=48000) if sound else None
        if tone is not None:
            tone.codec_context.layout = "stereo"
            for frame in _tone(len(pictures) / float(rate), tone.codec_context.format.name):
                container.mux(tone.encode(frame))
            container.mux(tone.encode(None))
        for i, pixels in enumerate(pictures):
            raw = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                raw.pts, raw.time_base = times[i], Fraction(1, 1000)
            else:
                raw.pts, raw.time_base = i, 1 / Fraction(rate)
            container.mux(stream.encode(raw))
        container.mux(stream.encode(None))
    return path


def _tone(seconds: float, form: str) -> list[av.AudioFrame]:
    count = int(seconds * 48000)
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(count) / 48000)
    made = []
    for begin in range(0, count, 1024):
        part = wave[begin : begin + 1024]
        if form.startswith("s16"):
            data = np.repeat((part * 32767).astype(np.int16), 2)[None]
            frame = av.AudioFrame.from_ndarray(data, format="s16", layout="stereo")
        else:
            data = np.stack([part, part]).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, begin, Fraction(1, 48000)
        made.append(frame)
    return made


def turned(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The MP4 at `path` with (a, b, c, d) in the display matrix of its track, as a telephone writes it."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # ISO/IEC 14496-12, section 8.3.2, version 0
    a, b, c, d = (n * 65536 for n in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def read(path: Path) -> tuple[Frames, list[Fraction]]:
    """The frames of a video, and their times."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        raws = list(container.decode(stream))
        return np.stack([r.to_ndarray(format="rgb24") for r in raws]), [r.pts * r.time_base for r in raws]


def packets(path: Path, kind: str = "audio") -> list[bytes]:
    """The packets of the first stream of that kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [bytes(p) for p in container.demux(stream) if p.size]
