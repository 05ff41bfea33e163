"""The flicker figure against what is known of made-up videos."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from texturenets.networks import network_files
from texturenets.networks.residual import Residual

pytest.importorskip("av", reason="the extra `video` is not installed")
pytest.importorskip("cv2", reason="the extra `video` is not installed")

import itertools

import tinyvideo

from texturenets.cli import main
from texturenets.evaluation.flicker import flicker
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build
from texturenets.video.optical_flow import moved, visible


def texture(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Smooth colourful noise that a flow can hold on to."""
    height, width = size
    small = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def pan(
    picture: np.ndarray, count: int = 5, step: int = 3, size: tuple[int, int] = (96, 128)
) -> list[np.ndarray]:
    """A window that goes to the right over an image."""
    return [picture[: size[0], step * i : step * i + size[1]].copy() for i in range(count)]


def test_what_moves_along_with_the_video_does_not_flicker() -> None:
    video, painting = (pan(texture((96, 150), seed)) for seed in (0, 1))
    found = flicker(zip(video, painting, strict=True))
    still = flicker(zip(video, [painting[0]] * 5, strict=True))  # does not follow
    assert found["stylized"] < 2
    assert found["video"] < 2
    assert still["stylized"] > 10 * found["stylized"]
    assert found["compared"] > 0.9


def test_noise_has_the_change_that_is_known_of_it() -> None:
    """Two independent normal numbers differ by 2 sigma / sqrt(pi) on average."""
    random = np.random.default_rng(0)
    video = [texture((96, 128))] * 4
    painting = [np.clip(random.normal(128, 10, (96, 128, 3)), 0, 255).round().astype(np.uint8) for _ in video]
    found = flicker(zip(video, painting, strict=True))
    assert found["stylized"] == pytest.approx(2 * 10 / math.sqrt(math.pi), rel=0.02)
    assert found["video"] == 0
    assert found["compared"] == 1


def test_what_comes_into_view_is_not_compared() -> None:
    """A dark square goes over a ground: what it uncovers changes, and is no flicker."""
    ground = texture((96, 128))
    video = []
    for i in range(4):
        frame = ground.copy()
        frame[30:60, 20 + 12 * i : 50 + 12 * i] = texture((30, 30), 3) // 3
        video.append(frame)
    found = flicker(zip(video, video, strict=True))
    assert found["compared"] < 0.98
    naive = float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(video)]))
    assert found["stylized"] < naive / 4


def test_flow_and_mask() -> None:
    ground = texture((40, 60)).astype(np.float32)
    flow = np.zeros((40, 60, 2), np.float32)
    flow[..., 0] = 5
    assert np.array_equal(moved(ground, flow)[:, :55], ground[:, 5:])
    assert visible(flow, -flow)[:, :55].all()
    assert not visible(flow, -flow)[:, 55:].any()  # leads out of the image
    assert not visible(flow, flow).any()  # does not lead back


def test_one_frame_has_no_flicker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = style(tmp_path)
    clip = tinyvideo.video(tmp_path / "clip.mp4", tinyvideo.frames(1))
    assert main(["evaluate", str(model), "--video", str(clip)]) == 2
    told = f"{clip}: flicker is between frames: the video has no two that can be compared"
    assert told in capsys.readouterr().err


def style(folder: Path) -> Path:
    spec = Residual(channels=8, blocks=1)
    path = folder / "plain.safetensors"
    network_files.save(build(spec), Header(name="plain", kind="style", generator=spec), path)
    return path


def test_evaluate_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = style(tmp_path)
    frames = np.stack(pan(texture((96, 150))))
    clip = tinyvideo.video(tmp_path / "clip.mp4", frames)
    words = ["evaluate", str(model), "--video", str(clip), "--engine", "torch"]
    assert main([*words, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["videos"][0]
    assert row["video"] == "clip.mp4"
    assert row["frames"] == 5
    assert row["flicker"] > row["flicker of the video"] > 0
    assert row["ratio"] == pytest.approx(row["flicker"] / row["flicker of the video"])
    assert main([*words, "--frames", "3", "--size", "64"]) == 0
    shown = capsys.readouterr().out
    assert "clip.mp4" in shown
    assert " 3 " in shown


def test_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = style(tmp_path)
    clip = tinyvideo.video(tmp_path / "clip.mp4", tinyvideo.frames(3))
    for words, told in (
        (["--video", str(tmp_path / "none.mp4")], "no such file"),
        (["--video", str(clip), "--frames", "1"], "--frames 1"),
        ([], "--video VIDEO"),
    ):
        assert main(["evaluate", str(model), *words]) == 2
        assert told in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["evaluate", str(model), "--video", str(clip)]) == 2
    assert "[video]'" in capsys.readouterr().err
