"""The examples of adding a loss: given from Python, or put into the package with a field for its weight."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

import texturenets as tn
from texturenets import losses, perceptual
from texturenets.losses import Features, Loss, LossSettings, Targets
from texturenets.losses.user_losses import check_user_losses
from texturenets.train.style_task import StyleTask
from texturenets.train.trainer import Trainer


class ColorLoss(Loss):
    """Images have the mean color of the painting: the file `losses/color.py`, under the decorator `register`."""

    name = "color"

    def __init__(self, weight: float) -> None:
        self.weight = weight

    @classmethod
    def from_settings(cls, settings: LossSettings) -> ColorLoss | None:
        weight = settings.get("color_weight", 0.0)
        return cls(weight) if weight else None

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        self.color = sum(share * style.images.mean((2, 3)) for share, style in styles)

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        return {"color": self.weight * (features.images.mean((2, 3)) - self.color).square().mean()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithColor(tn.StyleConfig):
    """The one line elsewhere: a field in `train/configuration.py`, from which a flag is made."""

    color_weight: float = 0.0
    """Weight of the color loss."""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    return tiny.Studio(tmp_path_factory.mktemp("studio"))


SMALL: dict[str, object] = {
    **{k: tiny.BASE[k] for k in ("image_size", "style_size", "steps", "warmup", "precision")},
    "set": ("channels=8", "blocks=1"),
    "style_layers": ("squeezenet1_0:conv1",),
    "content_layers": ("squeezenet1_0:fire3",),
}


def trainer_config(studio: tiny.Studio) -> tn.TrainerConfig:
    return tn.TrainerConfig(weights=(str(studio.weights),), offline=True, device="cpu", workers=0)


def logged(folder: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    found: dict[str, float] = next(line["losses"] for line in lines if "losses" in line)
    return found


def test_a_loss_is_given_from_python(studio: tiny.Studio, tmp_path: Path) -> None:
    tn.train_style(
        studio.painting,
        studio.photos,
        tmp_path / "a.safetensors",
        config=tn.StyleConfig(**SMALL),  # type: ignore[arg-type]
        trainer=trainer_config(studio),
        losses=[ColorLoss(0.5)],
    )
    assert logged(tmp_path / "a.run")["color"] > 0


@pytest.fixture
def registered() -> Iterator[None]:
    """As the decorator does it."""
    losses.register(ColorLoss)
    yield
    losses.LOSSES.remove(ColorLoss)


def test_a_loss_of_ones_own_may_compare_with_the_style() -> None:
    class Mine(ColorLoss):
        name = "mine"
        compares_style = True

    wrapped = check_user_losses([ColorLoss(1.0), Mine(1.0)])
    assert [loss.compares_style for loss in wrapped] == [False, True]


@pytest.mark.usefixtures("registered")
def test_a_loss_in_the_package_is_one_file_and_one_field(studio: tiny.Studio, tmp_path: Path) -> None:
    def train(weight: float) -> dict[str, float]:
        out = tmp_path / f"{weight}.safetensors"
        config = WithColor(**SMALL, color_weight=weight)  # type: ignore[arg-type]
        trainer = Trainer(StyleTask(config, [studio.painting], studio.photos), out, trainer_config(studio))
        for _ in trainer:
            pass
        trainer.leave()
        assert tn.load(trainer.finish(), "cpu").header.training["run"]["color_weight"] == weight
        return logged(trainer.folder)

    without, once, twice = (train(weight) for weight in (0.0, 0.5, 1.0))
    assert set(once) == {*without, "color"}
    assert twice["color"] == pytest.approx(2 * once["color"], rel=0.05)


def test_each_loss_of_the_package_is_registered_once_and_has_its_own_name() -> None:
    names = [loss.name for loss in losses.LOSSES]
    assert sorted(names) == [
        "autocorrelation",
        "checkerboard",
        "content",
        "diversity",
        "patches",
        "shifted",
        "sliced",
        "style",
        "temporal",
        "tv",
    ]


def test_all_losses_look_at_features_that_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many losses take a layer, images go through the descriptor networks once a scale."""
    passes: list[tuple[int, tuple[str, ...]]] = []

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor, layers: tuple[str, ...], tap: Any = None) -> dict[str, Tensor]:
            passes.append((x.shape[2], tuple(layers)))
            return {layer: x if tap is None else tap(layer, x) for layer in layers}

    monkeypatch.setitem(perceptual.LAYERS, "t", ("a", "b"))
    settings = tiny.settings(
        ("t:a", "t:b"), content_layers=("t:b",), diversity_weight=1.0, diversity_layer="t:b", pyramid_loss=2
    )
    photos, images = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    objective = losses.Objective.from_settings(Spy(), settings, [torch.rand(1, 3, 8, 8)])  # type: ignore[arg-type]
    targets = objective.targets(photos)
    passes.clear()
    assert len(objective(images, targets)) == 4 + 2 + 1
    assert passes == [(8, ("t:b", "t:a")), (4, ("t:b", "t:a"))]
