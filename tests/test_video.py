"""Videos through `texturenets stylize`: frames, times, sizes, colours and sound; files that are damaged."""

from __future__ import annotations

import shutil
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from texturenets.networks.residual import Residual

av = pytest.importorskip("av", reason="the extra `video` is not installed")

import tinyvideo  # noqa: E402  needs PyAV

from texturenets import loading, video  # noqa: E402
from texturenets.cli import main  # noqa: E402
from texturenets.cli import video_jobs as cli_jobs  # noqa: E402
from texturenets.modelfiles import modelfile  # noqa: E402
from texturenets.stylize import style as api  # noqa: E402
from texturenets.video.frame import Fit  # noqa: E402
from texturenets.video.numbered import in_order  # noqa: E402
from texturenets.video.reading import Video  # noqa: E402

TINY = Residual(channels=8, blocks=1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a shipped style `plain`."""
    return tiny.working_folder(tmp_path, monkeypatch, {"plain": TINY})


def stylize(*words: str) -> int:
    return main(["stylize", *words, "--engine", "torch"])


def photo(*words: str) -> int:
    """The video as it is, through everything but the network."""
    return stylize(*words, "--strength", "0")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """One line was told, which holds `words`."""
    err = capsys.readouterr().err
    assert err.startswith("texturenets: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err


def nothing_left(folder: Path, *names: str) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_frames_times_size_and_sound_are_the_videos(
    here: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    webm = suffix == ".webm"
    source = tinyvideo.video(
        here / f"clip{suffix}",
        rate=Fraction(30000, 1001),
        codec="libvpx-vp9" if webm else "libx264",
        sound="libopus" if webm else "aac",
        metadata={"title": "A fox"},
    )
    assert photo(source.name) == 0
    result = here / f"clip-plain{suffix}"
    assert capsys.readouterr().out == f"{result.name}\n"
    before, after = tinyvideo.read(source), tinyvideo.read(result)
    assert after[0].shape == before[0].shape
    assert after[1] == before[1]
    assert np.abs(after[0].astype(int) - before[0]).mean() < 3
    assert tinyvideo.packets(result) == tinyvideo.packets(source)  # not encoded anew
    with av.open(str(source)) as a, av.open(str(result)) as b:
        assert b.streams.video[0].average_rate == a.streams.video[0].average_rate
        assert float(b.duration) == pytest.approx(float(a.duration), abs=40000)
        assert b.metadata["title"] == "A fox" or b.metadata["TITLE"] == "A fox"
    nothing_left(here, source.name, result.name)


def test_the_frames_are_the_styles(here: Path) -> None:
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(3))
    assert stylize("clip.mp4", "-o", "frames/%02d.png") == 0
    style = loading.load("plain", engine="torch")
    for i, frame in enumerate(Video(here / "clip.mp4")):
        with Image.open(f"frames/0{i + 1}.png") as made:
            assert np.array_equal(np.asarray(made), style(frame.pixels))
    nothing_left(here / "frames", "01.png", "02.png", "03.png")


def test_frames_of_an_earlier_longer_video_are_pointed_out(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(2))
    assert stylize("clip.mp4", "-o", "frames/%02d.png") == 0
    assert "already" not in capsys.readouterr().err
    shutil.copy("frames/02.png", "frames/03.png")
    assert stylize("clip.mp4", "-o", "frames/%02d.png") == 0
    assert "frames/03.png" in capsys.readouterr().err
    assert Path("frames/03.png").exists()


def test_uneven_times_are_kept(here: Path) -> None:
    times = [0, 40, 50, 170, 171, 600, 640]
    tinyvideo.video(here / "clip.mkv", tinyvideo.frames(len(times)), times=times)
    assert photo("clip.mkv", "-o", "out.mp4") == 0
    assert tinyvideo.read(here / "out.mp4")[1] == [Fraction(t, 1000) for t in times]


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        (
            (0, 1, -1, 0),
            lambda f: np.rot90(f, -1, (1, 2)),
        ),  # a telephone held upright: a quarter to the right
        ((-1, 0, 0, -1), lambda f: np.rot90(f, 2, (1, 2))),
        ((0, -1, 1, 0), lambda f: np.rot90(f, 1, (1, 2))),
        ((-1, 0, 0, 1), lambda f: f[:, :, ::-1]),  # the camera that looks at oneself
    ],
)
def test_a_turned_video_stands_upright(here: Path, matrix: tuple[int, int, int, int], turn: Any) -> None:
    source = tinyvideo.turned(tinyvideo.video(here / "clip.mp4", tinyvideo.frames(3)), matrix)
    stored, _ = tinyvideo.read(source)
    assert photo("clip.mp4", "-o", "out.mp4") == 0
    with av.open("out.mp4") as made:
        raws = list(made.decode(video=0))
    assert [raw.rotation for raw in raws] == [0, 0, 0]
    want = turn(stored)
    got = np.stack([raw.to_ndarray(format="rgb24") for raw in raws])
    assert got.shape == want.shape
    assert np.abs(got.astype(int) - want).mean() < 4


def test_wide_pixels_stay_wide_and_are_made_square_for_pictures(here: Path) -> None:
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(2), aspect=Fraction(4, 3))
    assert photo("clip.mp4", "-o", "out.mp4") == 0
    with av.open("out.mp4") as made:
        assert made.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert made.streams.video[0].width == 48
    assert photo("clip.mp4", "-o", "%d.png") == 0
    with Image.open("1.png") as frame:
        assert frame.size == (64, 32)


def test_colours_come_back_and_are_said(here: Path) -> None:
    """A video that says nothing is taken for BT.709 if large, else for BT.601, as by players; the result says so."""
    for width, matrix in ((1280, 1), (48, 6)):
        flat = np.full((1, 32, width, 3), (200, 40, 30), np.uint8)
        tinyvideo.video(here / "clip.mp4", flat)
        assert photo("clip.mp4", "-o", "out.mp4") == 0
        with av.open("clip.mp4") as source, av.open("out.mp4") as made:
            assert int(source.streams.video[0].codec_context.colorspace) == 2  # unspecified
            assert int(made.streams.video[0].codec_context.colorspace) == matrix
            stored = [next(c.decode(video=0)).to_ndarray() for c in (source, made)]
        assert np.abs(stored[0].astype(int) - stored[1]).max() <= 2  # Y, U and V as they were


def test_odd_sides_become_even(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tinyvideo.video(here / "clip.mkv", tinyvideo.frames(3, (31, 45)), codec="ffv1", pix_fmt="bgr0")
    assert photo("clip.mkv", "-o", "out.mp4") == 0
    refused(capsys, "45 x 31 pixels become 46 x 32")
    frames, _ = tinyvideo.read(here / "out.mp4")
    assert frames.shape[1:3] == (32, 46)
    assert photo("clip.mkv", "-o", "out.webm") == 0  # which holds odd sides
    assert tinyvideo.read(here / "out.webm")[0].shape[1:3] == (31, 45)
    assert photo("clip.mkv", "-o", "small.mp4", "--size", "33") == 0
    assert tinyvideo.read(here / "small.mp4")[0].shape[1:3] == (24, 32)


def test_options_do_what_they_do_to_photos(here: Path) -> None:
    source = tinyvideo.video(here / "clip.mp4", tinyvideo.frames(2))
    second = list(Video(source))[1].pixels
    style = loading.load("plain", engine="torch")
    for number, (words, options) in enumerate(
        [
            (["--strength", "0.5"], {"strength": 0.5}),
            (["--preserve-color"], {"preserve_color": True}),
            (["--stroke", "0.5"], {"stroke": 0.5}),
        ]
    ):
        assert stylize("clip.mp4", "-o", f"{number}-%d.png", *words) == 0
        with Image.open(f"{number}-2.png") as made:
            assert np.array_equal(np.asarray(made), style(second, **options))
    noise = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), np.uint8)
    tinyvideo.video(here / "noise.mp4", noise)
    assert photo("noise.mp4", "-o", "fine.mp4", "--quality", "90") == 0
    assert photo("noise.mp4", "-o", "coarse.mp4", "--quality", "20") == 0
    assert Path("fine.mp4").stat().st_size > 2 * Path("coarse.mp4").stat().st_size


def test_sound_that_the_format_does_not_hold_is_encoded_anew(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tinyvideo.video(here / "clip.mkv", tinyvideo.frames(25), sound="pcm_s16le")
    assert photo("clip.mkv", "-o", "out.mp4") == 0
    refused(capsys, "pcm_s16le", "re-encoded (aac)")
    with av.open("out.mp4") as made:
        heard = np.concatenate([f.to_ndarray()[0] for f in made.decode(audio=0)])
    assert len(heard) == pytest.approx(48000, abs=2048)
    assert np.argmax(np.abs(np.fft.rfft(heard[4096 : 4096 + 24000]))) == 220  # 440 Hz in half a second
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(25), sound="aac")
    assert photo("clip.mp4", "-o", "out.webm") == 0
    with av.open("out.webm") as made:
        assert made.streams.audio[0].codec_context.name == "opus"
    capsys.readouterr()
    assert photo("clip.mp4", "-o", "out.gif") == 0
    refused(capsys, "holds no sound")


def test_a_later_start_is_taken_off(here: Path) -> None:
    late = {"output_ts_offset": "3"}  # as of what was cut out of a broadcast
    tinyvideo.video(here / "clip.ts", tinyvideo.frames(25), sound="aac", options=late)
    assert photo("clip.ts", "-o", "out.mp4") == 0
    _, before = tinyvideo.read(here / "clip.ts")
    _, after = tinyvideo.read(here / "out.mp4")
    assert before[0] > 1
    assert [t - after[0] for t in after] == [t - before[0] for t in before]
    with av.open("clip.ts") as a, av.open("out.mp4") as b:
        offset = [
            Fraction(c.streams.video[0].start_time * c.streams.video[0].time_base)
            - Fraction(c.streams.audio[0].start_time * c.streams.audio[0].time_base)
            for c in (a, b)
        ]
        assert abs(offset[0] - offset[1]) < Fraction(1, 500)
        assert b.start_time < 100000


def test_the_place_is_left_out_unless_asked(here: Path) -> None:
    tinyvideo.video(
        here / "clip.mov", tinyvideo.frames(2), metadata={"location": "+51.5-000.1/", "title": "t"}
    )
    with av.open("clip.mov") as made:
        assert "location" in made.metadata
    assert photo("clip.mov", "-o", "a.mov") == 0
    assert photo("clip.mov", "-o", "b.mov", "--keep-gps") == 0
    with av.open("a.mov") as a, av.open("b.mov") as b:
        assert "location" not in a.metadata
        assert b.metadata["location"] == "+51.5-000.1/"


@pytest.mark.parametrize("options", [{}, {"movflags": "+faststart"}])
def test_a_video_that_was_cut_off_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str], options: dict[str, str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 32, 48, 3), np.uint8)
    source = tinyvideo.video(here / "clip.mp4", noise, options=options)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    assert photo("clip.mp4") == 2
    refused(capsys, "clip.mp4", "cut off")
    nothing_left(here, "clip.mp4")


def test_where_it_was_cut_off_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 32, 48, 3), np.uint8)
    for name, options in (("clip.mkv", {}), ("clip.mp4", {"movflags": "+faststart"})):
        source = tinyvideo.video(here / name, noise, options=options)
        data = source.read_bytes()
        source.write_bytes(data[: len(data) * 6 // 10])
        assert photo(name) == 2
        refused(capsys, "to 1.", " s", "copy it again")  # of two seconds
    nothing_left(here, "clip.mkv", "clip.mp4")


def test_a_video_of_which_nothing_can_be_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tinyvideo.video(here / "clip.mkv", tinyvideo.frames(30))
    source.write_bytes(source.read_bytes()[:1200])
    assert photo("clip.mkv") == 2
    refused(capsys, "clip.mkv", "nothing of it can be read", "copy it again")


def test_damage_in_the_middle_is_told_with_its_time(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 32, 48, 3), np.uint8)
    source = tinyvideo.video(here / "clip.mp4", noise, options={"movflags": "+faststart"})
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20000] = bytes(20000)
    source.write_bytes(data)
    assert photo("clip.mp4") == 2
    refused(capsys, "clip.mp4", "damaged", " s")
    nothing_left(here, "clip.mp4")


@pytest.mark.parametrize("data", [b"", b"no video at all" * 100])
def test_what_is_no_video(here: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    Path("clip.mp4").write_bytes(data)
    assert photo("clip.mp4") == 2
    refused(capsys, "clip.mp4")
    nothing_left(here, "clip.mp4")


def test_sound_alone_is_no_video(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with av.open("song.mp4", "w") as container:
        stream = container.add_stream("aac", rate=48000)
        stream.codec_context.layout = "stereo"
        for frame in tinyvideo._tone(0.2, "fltp"):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert photo("song.mp4") == 2
    refused(capsys, "no animation")


def test_interrupted_nothing_is_left(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tinyvideo.video(here / "clip.mp4", sound="aac")
    calls = 0

    def stylize_frame(*_: Any, **__: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(api.Style, "__call__", lambda self, pixels, **_: stylize_frame() or pixels)
    assert stylize("clip.mp4", "-o", "out.mp4") == 130
    refused(capsys, "interrupted")
    nothing_left(here, "clip.mp4")


def test_a_killed_runs_rest_goes(here: Path) -> None:
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(2))
    Path(".out.mp4.abc.part").touch()
    assert photo("clip.mp4", "-o", "out.mp4") == 0
    nothing_left(here, "clip.mp4", "out.mp4")


def test_what_is_seen_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes that are told before any work is done."""
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(2))
    Image.new("RGB", (24, 18)).save("a.png")
    Path("in").mkdir()
    for number in range(2):
        Image.new("RGB", (24, 18)).save(f"in/{number:04d}.png")
    second = modelfile.ZOO / "second.safetensors"
    second.write_bytes((modelfile.ZOO / "plain.safetensors").read_bytes())
    for words, told in (
        (["clip.mp4", "-o", "out.avi"], ["out.avi", ".mp4"]),
        (["clip.mp4", "-o", "out.png"], ["%05d.png"]),
        (["clip.mp4", "-o", "clip.mp4"], ["overwrite"]),
        (["clip.mp4", "-o", "%d-%d.png"], ["%d-%d.png", "one place"]),
        (["clip.mp4", "-o", "%%04d.png"], ["%%04d.png", "no other %"]),
        (["clip.mp4", "-o", "####.png"], ["####.png is one image", "write %05d"]),
        (["clip.mp4", "-o", "{:04d}.png"], ["{:04d}.png is one image", "write %05d"]),
        (["clip.mp4", "-o", "%04d/a.png"], ["%04d/a.png is one image", "write %05d"]),
        (["clip.mp4", "-o", "%d.xyz"], ["cannot write %d.xyz", "'.xyz' names no image format"]),
        (["clip.mp4", "-o", "%04d.mp4"], ["cannot write %04d.mp4", "'.mp4' names no image format"]),
        (["clip.mp4", "-o", "a/%04d"], ["cannot write a/%04d: it has no suffix"]),
        (["clip.mp4", "-o", "a/%04d.png", "-s", "all"], ["the frames of one video, and there are 2 styles"]),
        (["clip.mp4", "a.png", "-o", "%d.png"], ["%d.png numbers the frames of one video", "2 files"]),
        (["a.png", "-o", "%04d.png"], ["%04d.png numbers the frames of a video", "only 1 image"]),
        (["in", "-o", "%04d.png"], ["only 2 images", "-o stylized/", "-o video.mp4"]),
        (
            ["in/%04d.png", "-o", "video.mp4"],
            ["in/%04d.png: numbered frames", "their folder, in/", "'in/*.png'"],
        ),
        (["clip.mp4", "-o", "%d.png", "--skip-existing"], ["--skip-existing"]),
        (["clip.mp4", "--rate", "24"], ["rate of its own"]),
        (["clip.mp4", "--count", "2"], ["--count 2"]),
        (["a.png", "--rate", "24"], ["--rate 24", "-o video.mp4"]),
        (["a.png", "-o", "video.mp4", "--rate", "0"], ["--rate 0"]),
        (["a.png", "-o", "video.avi"], ["video.avi", ".mp4"]),
        ([], ["nothing to stylize"]),
        (["--webcam", "/dev/nosuchcamera"], ["/dev/nosuchcamera"]),
    ):
        assert photo(*words) == 2, words
        refused(capsys, *told)
    nothing_left(here, "clip.mp4", "a.png", "in")


def test_a_video_of_one_picture_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    for number in range(2):
        Image.new("RGB", (24, 18)).save(f"in/{number:04d}.png")
    assert photo("in/0000.png", "-o", "video.mp4") == 0
    assert "video.mp4 is a video of one image; for all beside it name their folder" in capsys.readouterr().err
    assert len(tinyvideo.read(here / "video.mp4")[0]) == 1


def test_without_pyav(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("clip.mp4").touch()
    monkeypatch.setitem(sys.modules, "av", None)
    assert photo("clip.mp4") == 2
    refused(capsys, "[video]'")


def test_what_the_encoder_does_not_take(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tinyvideo.video(here / "clip.mkv", np.zeros((2, 2, 17000, 3), np.uint8), codec="ffv1", pix_fmt="bgr0")
    assert photo("clip.mkv", "-o", "out.mp4") == 2  # H.264 ends at 16384
    refused(capsys, "out.mp4", "17000 x 2")
    nothing_left(here, "clip.mkv")


def test_several_videos_and_photos(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tinyvideo.video(here / "a.mp4", tinyvideo.frames(2))
    tinyvideo.video(here / "b.avi", tinyvideo.frames(2), codec="mpeg4")
    Path("c.mov").write_bytes(b"broken")
    Image.new("RGB", (24, 18), (9, 99, 200)).save("d.png")
    assert photo("a.mp4", "b.avi", "c.mov", "d.png", "-o", "out/") == 2
    output = capsys.readouterr()
    assert output.out.splitlines() == ["out/a-plain.mp4", "out/b-plain.mp4", "out/d-plain.png"]
    reason, summary = output.err.splitlines()
    assert "cannot read c.mov" in reason
    assert summary == "texturenets: 3 done, 1 failed: c.mov"
    Path("out/a-plain.mp4").write_bytes(b"there already")
    assert photo("a.mp4", "b.avi", "-o", "out/", "--skip-existing") == 0
    assert Path("out/a-plain.mp4").read_bytes() == b"there already"


def test_frames_become_a_video(here: Path) -> None:
    frames = tinyvideo.frames(12)
    for i, pixels in enumerate(frames):
        Path("in").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(f"in/{i + 1}.png")  # 10.png would be sorted before 2.png
    assert photo("in", "-o", "out.mp4", "--rate", "12.5") == 0
    after, times = tinyvideo.read(here / "out.mp4")
    assert np.abs(after.astype(int) - frames).mean() < 4
    assert times == [Fraction(2 * i, 25) for i in range(12)]
    assert photo("in", "-o", "out.webm") == 0
    with av.open("out.webm") as made:
        assert float(made.streams.video[0].average_rate) == pytest.approx(24, rel=0.01)
    Image.fromarray(frames[0, :20]).save("in/13.png")


def test_frames_of_a_video_that_is_there_are_not_opened(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, size in (("1.png", (24, 18)), ("2.png", (30, 18))):
        Path("in").mkdir(exist_ok=True)
        Image.new("RGB", size).save(Path("in") / name)
    Path("video.mp4").write_bytes(b"made before")
    assert stylize("in", "-o", "video.mp4", "--skip-existing") == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("video.mp4\n", "0 done, 1 skipped, made before\n")


def test_frames_of_two_sizes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    Image.new("RGB", (24, 18)).save("in/1.png")
    Image.new("RGB", (24, 20)).save("in/2.png")
    assert photo("in", "-o", "out.mp4") == 2
    refused(capsys, "2.png", "24 x 20", "24 x 18")
    nothing_left(here, "in")


def test_rates() -> None:
    assert cli_jobs._rate(None) == 24
    assert cli_jobs._rate(29.97) == Fraction(30000, 1001)
    assert cli_jobs._rate(23.976) == Fraction(24000, 1001)
    assert cli_jobs._rate(12.5) == Fraction(25, 2)
    assert cli_jobs._rate(30) == 30


def test_counting_order() -> None:
    names = ["f10.png", "f2.png", "f1.png", "g1.png"]
    assert [p.name for p in in_order([Path(n) for n in names])] == ["f1.png", "f2.png", "f10.png", "g1.png"]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_moving_pictures(here: Path, suffix: str) -> None:
    frames = [Image.fromarray(f) for f in tinyvideo.frames(4)]
    durations = [50, 120, 40, 300]
    source = here / f"anim{suffix}"
    lossless = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=durations, loop=3, **lossless)
    assert photo(source.name) == 0
    with Image.open(f"anim-plain{suffix}") as made, Image.open(source) as before:
        assert made.n_frames == 4
        assert made.info["loop"] == before.info["loop"]
        for i in range(4):
            made.seek(i)
            before.seek(i)
            made.load()
            assert made.info["duration"] == durations[i]
            difference = np.asarray(made.convert("RGB")).astype(int) - np.asarray(before.convert("RGB"))
            assert np.abs(difference).mean() < 6
    assert photo(source.name, "-o", "out.mp4") == 0
    assert tinyvideo.read(here / "out.mp4")[1] == [Fraction(t, 1000) for t in (0, 50, 170, 210)]
    assert photo(source.name, "-o", "still.jpg") == 0  # as ever, the first frame
    with Image.open("still.jpg") as still:
        assert getattr(still, "n_frames", 1) == 1


def test_a_moving_picture_keeps_its_opacity(here: Path) -> None:
    frames = []
    for i in range(3):
        rgba = np.dstack([tinyvideo.frames(3)[i], np.full((32, 48), 255, np.uint8)])
        rgba[:10, :, 3] = 0
        frames.append(Image.fromarray(rgba))
    frames[0].save("anim.webp", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    assert photo("anim.webp", "-o", "out.gif") == 0
    with Image.open("out.gif") as made:
        for i in range(3):
            made.seek(i)
            alpha = np.asarray(made.convert("RGBA"))[..., 3]
            assert (alpha[:10] == 0).all()
            assert (alpha[10:] == 255).all()
    assert photo("anim.webp", "-o", "out.mp4") == 0
    first = tinyvideo.read(here / "out.mp4")[0][0]
    assert first[:8].min() > 245  # on white, as a photo is


def test_a_video_becomes_a_moving_picture(here: Path) -> None:
    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(7), rate=15)
    assert photo("clip.mp4", "-o", "out.gif") == 0
    with Image.open("out.gif") as made:
        assert made.n_frames == 7
        assert made.info["loop"] == 0
        total = 0
        for i in range(7):
            made.seek(i)
            total += made.info["duration"]
    assert total == pytest.approx(1000 * 7 / 15, abs=10)  # a GIF counts in hundredths: rounded in sum


def test_a_moving_picture_too_long_for_memory(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from texturenets.memory import budget

    tinyvideo.video(here / "clip.mp4")
    monkeypatch.setattr(budget.Budget, "left", lambda _: 10 * 32 * 48 - 1)
    assert photo("clip.mp4", "-o", "out.gif") == 2
    refused(capsys, "10 frames", ".mp4")
    nothing_left(here, "clip.mp4")


def test_a_cut_off_gif(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), np.uint8)
    frames = [Image.fromarray(f) for f in noise]
    frames[0].save("anim.gif", save_all=True, append_images=frames[1:], duration=100)
    data = Path("anim.gif").read_bytes()
    Path("anim.gif").write_bytes(data[: len(data) * 6 // 10])
    assert photo("anim.gif", "-o", "out.gif") == 2
    refused(capsys, "anim.gif")
    nothing_left(here, "anim.gif")


def test_few_frames_are_in_memory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the video is, and however slow the network."""
    import gc
    import weakref

    from texturenets.video import reading

    tinyvideo.video(here / "clip.mp4", tinyvideo.frames(40))
    refs: list[Any] = []
    most = 0
    plain = Video._pixels

    def pixels(self: Video, raw: Any) -> Any:
        nonlocal most
        made = plain(self, raw)
        refs.append(weakref.ref(made))
        gc.collect(0)
        most = max(most, sum(ref() is not None for ref in refs))
        return made

    monkeypatch.setattr(reading.Video, "_pixels", pixels)
    assert photo("clip.mp4", "-o", "out.mp4") == 0
    assert len(refs) == 40
    assert most <= 5


def test_videos_of_other_formats_become_mp4() -> None:
    assert video.output_suffix(Path("a.AVI")) == ".mp4"
    assert video.output_suffix(Path("a.MOV")) == ".MOV"
    assert Fit(101, even=True)((77, 100)) == (78, 100)
