"""Videos: what is kept, flicker with and without the temporal consistency loss, and memory over a long one.

    accept_video.py [file] [flicker] [memory] [--video VIDEO] [--style wave]

`file`: VIDEO through `texturenets stylize`: as many frames, at the same times, of the same size, and the sound packet
by packet (a tone is added to a video that has none).
`flicker`: two models, `--plain` and `--steady`, made without and with `train style --temporal-weight`; where they are
not given both are trained here, `--steps` from `--style`, the one with `--temporal-weight` and `--content-weight`,
the other with neither. Flicker along the video's optical flow with the loss is to be at most half of that without
(`texturenets evaluate --video`), the judge's style sums on four photos at 512 pixels, averaged, at most 10 % higher.
`memory`: the video repeated to `--minutes`, stylized at `--small` pixels; resident memory in the last quarter of the
time at most 5 % over that in the first, the starting left out.

Without words all three.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from accept_gigapixel import resident
from bars import PHOTOS, ROOT, descriptors, judge, painting, photo, shared, texturenets

from texturenets import loading
from texturenets.evaluation import evaluate_videos

HALF, WORSE, GROWTH = 0.5, 1.10, 1.05
SIZE = 512
PARTS = ("file", "flicker", "memory")


def with_sound(video: Path, out: Path) -> Path:
    """The video as it is where it has sound; else a copy with a tone of two notes."""
    with av.open(str(video)) as source:
        if source.streams.audio:
            return video
        stream = source.streams.video[0]
        seconds = float(stream.duration * stream.time_base)
        with av.open(str(out), "w") as target:
            copy = target.add_stream_from_template(stream, opaque=True)
            tone = target.add_stream("aac", rate=48000)
            tone.codec_context.layout = "stereo"
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    target.mux(packet)
            moments = np.arange(int(seconds * 48000)) / 48000
            wave = (0.2 * np.stack([np.sin(2764.6 * moments), np.sin(4147 * moments)])).astype(np.float32)
            for begin in range(0, wave.shape[1], 1024):
                part = np.ascontiguousarray(wave[:, begin : begin + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = 48000, begin, Fraction(1, 48000)
                target.mux(tone.encode(frame))
            target.mux(tone.encode(None))
    return out


def described(video: Path) -> dict[str, object]:
    """What a video is to have in common with its painting."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
        found: dict[str, object] = {
            "frames": len(times),
            "rate": stream.average_rate,
            "size": (stream.width, stream.height),
            "times": times,
            "seconds": float(stream.duration * stream.time_base),
        }
    with av.open(str(video)) as container:
        audio = container.streams.audio[0]
        found["sound"] = [(p.pts * p.time_base, bytes(p)) for p in container.demux(audio) if p.size]
    return found


def kept(video: Path, style: str, folder: Path) -> bool:
    """Part `file`."""
    source = with_sound(video, folder / "source.mp4")
    out = folder / "out.mp4"
    begun = time.perf_counter()
    texturenets("stylize", source, "-s", style, "-o", out)
    took = time.perf_counter() - begun
    before, after = described(source), described(out)
    for name, value in before.items():
        same = after[name] == value
        shown = len(value) if isinstance(value, list) else value  # type: ignore[arg-type]
        print(f"{'ok    ' if same else 'FAILED'} {name}: {shown}")
    print(f"       {took:.0f} s, {before['frames'] / took:.1f} frames/s", flush=True)  # type: ignore[operator]
    return before == after


def trained(options: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """The two models, without and with the temporal consistency loss."""
    made = []
    steady = (
        "--temporal-weight",
        str(options.temporal_weight),
        "--content-weight",
        str(options.content_weight),
    )
    for name, more in (("plain", ()), ("steady", steady)):
        model = folder / f"{name}.safetensors"
        begun = time.perf_counter()
        texturenets(
            *(
                "train",
                "style",
                painting(options.style),
                "--content",
                shared() / "images/content/train",
                "-o",
                model,
            ),
            *("--init", options.style, "--steps", str(options.steps), *more),
            *(
                *(f"--weights={folder}" for folder in descriptors()),
                "--validate-every",
                "0",
                "--image-size",
                str(options.crop),
            ),
            "--quiet",
        )
        took = time.perf_counter() - begun
        print(f"{name}: {options.steps} steps {' '.join(more)} in {took:.0f} s", flush=True)
        made.append(model)
    return made[0], made[1]


def style_sums(model: Path, style: str, folder: Path) -> dict[str, float]:
    """The judge's style sums, a mean over the photos, by network."""
    rows = []
    for name in PHOTOS:
        out = folder / f"{name}-{model.stem}.png"
        texturenets("stylize", photo(name), "-s", model, "--size", str(SIZE), "-o", out)
        rows.append(judge("style", painting(style), photo(name), out))
    return {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}


def steadier(video: Path, options: argparse.Namespace, folder: Path) -> bool:
    """Part `flicker`."""
    given = (options.plain, options.steady)
    plain, steady = given if all(given) else trained(options, folder)
    figures, sums = [], []
    for model in (plain, steady):
        row = evaluate_videos(loading.load_style(model), [video], size=options.size, frames=options.frames)[0]
        figures.append(row["flicker"])
        sums.append(style_sums(model, options.style, folder))
        print(
            f"{model.stem}: flicker {row['flicker']:.2f}, the video's own {row['flicker of the video']:.2f}, "
            f"{row['compared']:.0%} compared; "
            + ", ".join(f"{key} {value:.3f}" for key, value in sums[-1].items()),
            flush=True,
        )
    ratio = figures[1] / figures[0]
    passed = ratio <= HALF
    print(
        f"{'ok    ' if passed else 'FAILED'} flicker with the loss over that without: {ratio:.2f}, at most {HALF}"
    )
    for key in ("squeezenet", "vgg"):
        worse = sums[1][key] / sums[0][key]
        passed &= worse <= WORSE
        print(
            f"{'ok    ' if worse <= WORSE else 'FAILED'} {key}: {worse:.2f} times, at most {WORSE}",
            flush=True,
        )
    return passed


def repeated(video: Path, minutes: float, out: Path) -> int:
    """The video over and over, its packets copied, to `minutes`; the number of its frames."""
    count, after = 0, Fraction(0)
    with av.open(str(out), "w") as target:
        copy = None
        while after < minutes * 60:
            with av.open(str(video)) as source:
                stream = source.streams.video[0]
                copy = copy or target.add_stream_from_template(stream, opaque=True)
                shift = round(after / stream.time_base)
                for packet in source.demux(stream):
                    if packet.dts is None:
                        continue
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = copy
                    target.mux(packet)
                    count += 1
                after += stream.duration * stream.time_base
    return count


def steady_memory(video: Path, options: argparse.Namespace, folder: Path) -> bool:
    """Part `memory`."""
    source, out = folder / "long.mp4", folder / "long-out.mp4"
    count = repeated(video, options.minutes, source)
    words = [
        "stylize",
        str(source),
        "-s",
        options.style,
        "--size",
        str(options.small),
        "-o",
        str(out),
        "--quiet",
    ]
    begun = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "texturenets", *words], cwd=ROOT)
    sizes = []
    while child.poll() is None:
        sizes.append(resident(child.pid))
        time.sleep(0.2)
    took = time.perf_counter() - begun
    quarter = len(sizes) // 4
    first = statistics.median(sizes[quarter // 2 : quarter])  # after the start
    last = statistics.median(sizes[-quarter:])
    with av.open(str(out)) as container:
        written = sum(1 for packet in container.demux(video=0) if packet.size)
    passed = child.returncode == 0 and written == count and last <= GROWTH * first
    print(
        f"{'ok    ' if passed else 'FAILED'} {count} frames in {took:.0f} s, {written} written; resident "
        f"{first / 1e6:.0f} MB in the first quarter, {last / 1e6:.0f} MB in the last, {max(sizes) / 1e6:.0f} at most",
        flush=True,
    )
    return passed


def main() -> int:
    """Run it; 0 if everything holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="file, flicker, memory")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--style", default="wave")
    parser.add_argument("--plain", type=Path)
    parser.add_argument("--steady", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--crop", type=int, default=256, help="--image-size of the trainings")
    parser.add_argument("--temporal-weight", type=float, default=20.0)
    parser.add_argument(
        "--content-weight", type=float, default=1.2, help="of the training with --temporal-weight"
    )
    parser.add_argument("--size", type=int, help="longer side for the flicker [the video's]")
    parser.add_argument("--frames", type=int, help="for the flicker [all]")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--small", type=int, default=96)
    parser.add_argument("--keep", type=Path, help="folder for what is made")
    options = parser.parse_args()
    parts = options.parts or PARTS
    if strange := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(strange)}")
    video = options.video or shared() / "video/fox.mp4"
    passed = True
    with tempfile.TemporaryDirectory() as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if "file" in parts:
            passed &= kept(video, options.style, folder)
        if "flicker" in parts:
            passed &= steadier(video, options, folder)
        if "memory" in parts:
            passed &= steady_memory(video, options, folder)
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
