"""`stylize --steady`: what is blended from frame to frame, and what is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from texturenets.networks.residual import Residual

pytest.importorskip("av", reason="the extra `video` is not installed")
pytest.importorskip("cv2", reason="the extra `video` is not installed")

import tinyvideo

from texturenets.cli import main
from texturenets.errors import UserError
from texturenets.evaluation.flicker import flicker
from texturenets.video import camera
from texturenets.video.optical_flow import OpticalFlow, moved
from texturenets.video.steady import Steady

SIZE = (96, 128)


def texture(seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth colourful noise that a flow can hold on to."""
    height, width = size
    small = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def pan(picture: np.ndarray, count: int, step: int = 2) -> list[np.ndarray]:
    """A window that goes to the right over an image."""
    return [picture[:, step * i : step * i + SIZE[1]].copy() for i in range(count)]


def noisy(frames: list[np.ndarray], sigma: float = 20) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [(f + random.normal(0, sigma, f.shape)).clip(0, 255).astype(np.uint8) for f in frames]


def steadied(steady: float, video: list[np.ndarray], stylized: list[np.ndarray]) -> list[np.ndarray]:
    steady_frame = Steady(steady)
    return [steady_frame(a, b) for a, b in zip(video, stylized, strict=True)]


def test_of_a_still_video_noise_falls_as_an_exponential_mean_does() -> None:
    """Differences of an exponential mean of independent numbers: (1 - S) / sqrt(1 + S) of their own."""
    video = [texture()] * 30
    stylized = noisy([texture(1) // 2 + 64] * 30)
    before, after = (
        flicker(zip(video, s, strict=True))["stylized"] for s in (stylized, steadied(0.6, video, stylized))
    )
    assert after / before < 1 - 0.6
    late = [frames[10:] for frames in (stylized, steadied(0.6, video, stylized))]  # after the first frames
    plain, steady = (flicker(zip(video[10:], frames, strict=True))["stylized"] for frames in late)
    assert steady / plain == pytest.approx((1 - 0.6) / np.sqrt(1 + 0.6), rel=0.1)


def test_a_still_video_converges_to_its_stylized_frame() -> None:
    """Also by less than a step of 8 bits a frame."""
    video = [texture()] * 60
    target = texture(1)
    result = steadied(0.9, video, [255 - target] + [target] * 59)
    assert np.array_equal(result[0], 255 - target)
    assert np.abs(result[-1].astype(int) - target).max() <= 1


def test_the_result_moves_along_with_the_video() -> None:
    """What flickers calms down and what moves stays sharp."""
    painting = pan(texture(1, (96, 260)) // 2 + 64, 40)
    video = pan(texture(0, (96, 260)), 40)
    stylized = noisy(painting)
    result = steadied(0.6, video, stylized)
    inner = np.s_[8:-8, 8:-24]  # at the right edge new pixels come into view
    errors = [np.abs(frame[-1].astype(int) - painting[-1])[inner].mean() for frame in (stylized, result)]
    assert errors[1] < 0.65 * errors[0]
    calm = steadied(0.6, video, painting)
    assert np.abs(calm[-1].astype(int) - painting[-1])[inner].mean() < 2


def test_nothing_goes_over_a_cut() -> None:
    for first, second in (
        (texture(0), texture(5)),
        (np.full((*SIZE, 3), 40, np.uint8), np.full((*SIZE, 3), 190, np.uint8)),  # the flow between them is 0
    ):
        video, stylized = [first, first, second], [texture(1), texture(1), texture(2)]
        result = steadied(0.9, video, stylized)
        apart, moved_by = (
            np.abs(frame.astype(int) - stylized[2]).mean() for frame in (stylized[1], result[2])
        )
        assert moved_by < 0.02 * apart


def test_nothing_sticks_behind_what_moves() -> None:
    """A dark square goes over a ground, and what it uncovers is not painted with it."""
    ground, video = texture(), []
    for i in range(6):
        frame = ground.copy()
        frame[30:60, 20 + 8 * i : 50 + 8 * i] = texture(3, (30, 30)) // 4
        video.append(frame)
    result = steadied(0.8, video, video)
    assert np.abs(result[-1].astype(int) - video[-1])[30:60, 52:60].mean() < 4


def test_a_frame_of_another_size_starts_anew() -> None:
    video = [texture(), texture(0, (60, 66))]
    stylized = [texture(1), texture(2, (60, 66))]
    assert np.array_equal(steadied(0.9, video, stylized)[1], stylized[1])


def test_what_was_transparent_is_not_blended() -> None:
    def with_alpha(pixels: np.ndarray, alpha: int) -> np.ndarray:
        return np.dstack([pixels, np.full(SIZE, alpha, np.uint8)])

    video = [with_alpha(texture(), alpha) for alpha in (0, 255, 255)]
    stylized = [with_alpha(texture(i), alpha) for i, alpha in ((1, 0), (2, 255), (4, 255))]
    result = steadied(0.5, video, stylized)
    assert np.array_equal(result[1], stylized[1])
    assert np.array_equal(result[2][..., 3], stylized[2][..., 3])
    mean = (stylized[1].astype(int) + stylized[2]) / 2
    assert np.abs(result[2] - mean)[8:-8, 8:-8].max() <= 1


def test_sharp_sampling_blurs_less_when_it_is_repeated() -> None:
    flow = np.full((*SIZE, 2), 0.5, np.float32)
    contrast = []
    for sharp in (False, True):
        pixels = noisy([texture()])[0].astype(np.float32)
        for i in range(10):
            pixels = moved(pixels, flow * (-1) ** i, sharp=sharp)
        contrast.append(float(np.abs(np.diff(pixels[20:-20, 20:-20], axis=1)).mean()))
    assert contrast[1] > 1.5 * contrast[0]


@pytest.mark.parametrize("size", [(1, 1), (8, 9), (13, 40), (24, 400), (300, 9)])
def test_flow_between_small_frames(size: tuple[int, int]) -> None:
    """OpenCV's own DIS raises, or reads outside of its arrays."""
    first, second = np.random.default_rng(0).integers(0, 256, (2, *size), np.uint8)
    flow = OpticalFlow().between(first, second)
    assert flow.shape == (*size, 2)
    assert np.isfinite(flow).all()


# ---------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a noisy video, clip.mp4, and a shipped style `plain`."""
    folder = tiny.working_folder(tmp_path, monkeypatch, {"plain": Residual(channels=8, blocks=1)})
    tinyvideo.video(folder / "clip.mp4", np.stack(noisy([texture()] * 5, 10)))
    return folder


def stylize(*words: str) -> int:
    return main(["stylize", *words, "-s", "plain", "--engine", "torch"])


def change(frames: np.ndarray) -> float:
    return float(np.abs(np.diff(frames.astype(int), axis=0)).mean())


def test_a_video_is_steadied(here: Path) -> None:
    assert stylize("clip.mp4", "-o", "plain/%02d.png") == 0
    assert stylize("clip.mp4", "-o", "steady/%02d.png", "--steady", "0.6") == 0
    plain, steady = (
        np.stack([np.asarray(Image.open(path)) for path in sorted((here / name).iterdir())])
        for name in ("plain", "steady")
    )
    assert len(steady) == 5
    assert np.array_equal(steady[0], plain[0])
    assert change(steady) < 0.6 * change(plain)
    assert stylize("clip.mp4", "-o", "small.mp4", "--steady", "0.6", "--size", "64") == 0
    assert tinyvideo.read(here / "small.mp4")[0].shape == (5, 48, 64, 3)


def test_an_animation_is_steadied(here: Path) -> None:
    frames = [Image.fromarray(frame) for frame in noisy([texture()] * 4, 10)]
    frames[0].save("dance.webp", save_all=True, append_images=frames[1:], lossless=True, duration=100)
    made = []
    for steady in ("0", "0.8"):
        assert stylize("dance.webp", "-o", f"{steady}/%d.png", "--steady", steady) == 0
        made.append(change(np.stack([np.asarray(Image.open(f"{steady}/{i}.png")) for i in range(1, 5)])))
    assert made[1] < 0.6 * made[0]


def test_evaluate_measures_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for steady in ("0", "0.6"):
        words = [
            "evaluate",
            "plain",
            "--video",
            "clip.mp4",
            "--steady",
            steady,
            "--json",
            "--engine",
            "torch",
        ]
        assert main(words) == 0
        found.append(json.loads(capsys.readouterr().out)["videos"][0])
    assert found[1]["flicker"] < 0.6 * found[0]["flicker"]
    assert found[1]["flicker of the video"] == found[0]["flicker of the video"]


def test_the_live_image_is_steadied(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    class Window:
        def show(self, pixels: np.ndarray, title: str) -> bool:
            shown.append(pixels)
            return True

        def close(self) -> None:
            pass

    def watch(frames: list[np.ndarray], stylize_frame: object, window: Window, name: str) -> None:
        for frame in frames:
            window.show(stylize_frame(frame), name)  # type: ignore[operator]

    monkeypatch.setattr(camera, "camera", lambda *_: noisy([texture()] * 3, 10))
    monkeypatch.setattr(camera, "TkWindow", lambda _: Window())
    monkeypatch.setattr(camera, "watch", watch)
    assert stylize("--webcam") == 0
    assert stylize("--webcam", "--steady", "0.8") == 0
    assert change(np.stack(shown[3:])) < 0.6 * change(np.stack(shown[:3]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["clip.mp4", "--steady", "1"], "--steady 1.0 is not from 0 (off) to below 1"),
        (["clip.mp4", "--steady", "-0.1"], "--steady -0.1 is not"),
        (["clip.mp4", "--steady", "nan"], "--steady nan is not"),
        (["clip.mp4", "--steady", "much"], "--steady much is not a number"),
        (["a.png", "--steady", "0.6"], "--steady 0.6 is for videos, and here are only photos: leave it out"),
        (["a.png", "-o", "made/", "--steady", "0.6", "--cluster"], "leave out --steady"),
    ],
)
def test_mistakes(here: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    Image.fromarray(texture()).save("a.png")
    assert stylize(*words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == ["a.png", "clip.mp4"]


def test_mistakes_of_evaluate(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(texture()).save("a.png")
    for words, told in (
        (["--video", "clip.mp4", "--steady", "2"], "--steady 2.0 is not"),
        (
            ["--against", "a.png", "--photo", "a.png", "--steady", "0.5"],
            "--steady 0.5 changes nothing: it is for",
        ),
    ):
        assert main(["evaluate", "plain", *words]) == 2
        assert told in capsys.readouterr().err


def test_without_opencv(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert stylize("clip.mp4", "--steady", "0.6") == 2
    assert "[video]'" in capsys.readouterr().err
    assert stylize("clip.mp4") == 0
    with pytest.raises(UserError, match="OpenCV"):
        Steady(0.5)
