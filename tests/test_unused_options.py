"""Options that change nothing beside the others, on the command line and in Python."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import tiny

import texturenets as tn
from texturenets.train import presets
from texturenets.train.unused_options import check_used


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    return tiny.Studio(tmp_path_factory.mktemp("studio"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decay": 0.5}, "`decay` changes nothing without `schedule` step"),
        ({"decay_every": 7}, "`decay_every` changes nothing without `schedule` step"),
        ({"diversity_layer": "relu1_1"}, "`diversity_layer` changes nothing without `diversity_weight`"),
        ({"max_shift": 500}, "`max_shift` changes nothing without `shifted_weight`"),
        ({"pyramid_decay": 0.5}, "`pyramid_decay` changes nothing without `pyramid_loss` 2 or more"),
        ({"structure_layers": ("relu1_1",)}, "`structure_layers` changes nothing without `sliced_weight` or"),
        ({"content_layers": ()}, "`content_layers` names no layer: give one, or `content_weight` 0"),
        ({"style_layers": ("relu1_1", "vgg16:relu1_1")}, "`style_layers` names vgg16:relu1_1 twice"),
        (
            {"noise_depth": 2, "set": ("noise_depth=1",)},
            "`noise_depth` and `set` noise_depth=... say the same",
        ),
    ],
    ids=str,
)
def test_python_refuses_what_changes_nothing(options: dict[str, Any], said: str) -> None:
    with pytest.raises(tn.UserError, match=re.escape(said)):
        tn.train_style("missing.jpg", "photos", "a.safetensors", config=tn.StyleConfig(**options))


def test_what_has_an_effect_is_taken() -> None:
    for preset in (*presets.STYLE_PRESETS.values(), *presets.TEXTURE_PRESETS.values()):
        check_used(preset)
    check_used(tn.StyleConfig(schedule="step", decay=0.5, pyramid_loss=2, pyramid_decay=0.5))
    check_used(tn.StyleConfig(content_layers=(), content_weight=0, set=("noise_depth=1",)))
    # what a preset has set and another option makes idle was not given
    check_used(dataclasses.replace(presets.PAPER_TEXTURE, schedule="cosine"), ["schedule"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"diversity_layer": "relu1_1"}, "--diversity-layer changes nothing without --diversity-weight"),
        ({"pyramid_decay": 0.5}, "--pyramid-decay changes nothing without --pyramid-loss 2 or more"),
        (
            {"noise_depth": 2, "set": ["noise_depth=1"]},
            "--noise-depth and --set noise_depth=... say the same",
        ),
        (
            {"descriptor": "vgg19"},
            "--descriptor vgg19 changes nothing beside --style-layers and --content-layers: leave it out",
        ),
    ],
    ids=str,
)
def test_the_command_line_refuses_what_changes_nothing(
    studio: tiny.Studio, flags: dict[str, Any], said: str
) -> None:
    result = studio.run(**flags)
    assert result.status == 2
    assert said in result.error


def test_a_descriptor_network_beside_the_layers_of_one_loss_is_taken(studio: tiny.Studio) -> None:
    layers = {"style_layers": None, "content_layers": "squeezenet1_0:fire3"}
    error = studio.run(descriptor="vgg20", **layers).error
    assert "vgg20" in error
    assert "changes nothing" not in error
    both = {"sliced_weight": 1.0, "descriptor": "vgg19"}  # which compares its structure layers
    assert "changes nothing" not in studio.run(**both).error
