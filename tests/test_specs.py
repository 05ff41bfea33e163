"""Specs: plain data, checked on entry, with an error that helps."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from texturenets.errors import UserError
from texturenets.networks import SPECS, from_dict, make_spec, to_dict
from texturenets.networks.custom import Custom, split_target
from texturenets.networks.encoder_decoder import SkipUnpool
from texturenets.networks.johnson import Johnson
from texturenets.networks.reference import REFERENCE
from texturenets.networks.registry import registered_spec

UNLIKE_DEFAULTS: dict[str, list[str]] = {
    "graph": ["nodes=photo,conv 0 out=3 kernel=1"],
    "residual": ["channels=32", "blocks=3", "padding=circular", "normalization=batch"],
    "johnson": [
        "upsampling=nearest",
        "size=small",
        "channels=16",
        "blocks=2",
        "input_norm=true",
        "down_padding=zero",
        "decoder_norm=yes",
        "exit_kernel=9",
        "output=bounded",
        "noise_depth=3",
    ],
    "pyramid": ["scales=4", "channels=6", "upsampling=bilinear", "output=bounded", "padding=zero"],
    "pyramid2": ["channels=8,6", "upsampling=bilinear", "activation=relu", "photo=true", "noise_depth=2"],
    "skip": ["channels=8,6", "skip_channels=2", "level_noise=1", "noise=normal", "padding=zero"],
    "skip_noise": ["channels=8", "level_noise=3", "photo=true"],
    "multiscale": ["channels=8,6", "blocks=3", "noise=uniform", "photo=true", "upsampling=nearest"],
    "fully_connected": ["noise_depth=8", "hidden=6", "channels=8,6", "upsampling=bilinear", "noise=normal"],
    "skip_unpool": ["channels=8,16", "skip_channels=2", "noise_depth=1", "normalization=none"],
    "custom": ["target=net.py:Net", "options=width=8,kind=wide"],
}


@pytest.mark.parametrize("name", sorted(SPECS))
def test_a_spec_survives_json(name: str) -> None:
    make_one = registered_spec if name == "graph" else make_spec
    spec = make_one(name, UNLIKE_DEFAULTS[name])
    again = from_dict(json.loads(json.dumps(to_dict(spec))))
    assert again == spec
    assert type(again) is type(spec)
    for setting in UNLIKE_DEFAULTS[name]:
        key = setting.partition("=")[0]
        if name != "custom":
            assert getattr(spec, key) != getattr(make_one(name), key), f"{setting} changed nothing"


def test_settings_become_values_of_their_types() -> None:
    spec = make_spec("johnson", ["exit_kernel=9", "decoder_norm=no", "input_norm=1", "down_padding=none"])
    assert isinstance(spec, Johnson)
    assert (spec.exit_kernel, spec.decoder_norm, spec.input_norm, spec.down_padding) == (9, False, True, None)
    unpool = make_spec("skip_unpool", ["channels=8,16,32"])
    assert isinstance(unpool, SkipUnpool)
    assert unpool.channels == (8, 16, 32)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("graph", [], "unknown generator 'graph'"),
        ("jonson", [], "unknown generator 'jonson'; did you mean 'johnson'"),
        ("johnson", ["upsamplin=full"], "'upsamplin'; did you mean 'upsampling'"),
        (
            "johnson",
            ["upsampling=bilinar"],
            "upsampling of the johnson generator 'bilinar'; did you mean 'bilinear'",
        ),
        ("johnson", ["channels=many"], "channels='many' is not a whole number"),
        ("johnson", ["channels=0"], "channels=0 is not between 1 and 256"),
        ("johnson", ["input_norm=perhaps"], "is not true or false"),
        ("johnson", ["down_padding=mirror"], "reflect, replicate"),
        ("johnson", ["exit_kernel=5"], "exit_kernel of the johnson generator '5'; known: 3, 9"),
        ("johnson", ["blocks"], "not of the form key=value"),
        ("skip_unpool", ["channels="], "channels needs at least one number"),
        ("skip_unpool", ["channels=8,-1"], "channels=-1 is not between"),
        ("pyramid", ["photo=false"], "without a photo it needs noise"),
        ("pyramid", ["scales=1"], "scales=1 is not between 2 and 8"),
        ("custom", [], "path/to/file.py:MyNet"),
        ("net.py", [], "path/to/file.py:MyNet"),
        ("nowhere/net.py:Net", [], "'nowhere/net.py' cannot be read: No such file"),
        ("nowhere/net.py:Net", ["width"], "not of the form key=value"),
    ],
)
def test_mistakes_on_the_command_line(name: str, settings: list[str], says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)) as caught:
        make_spec(name, settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "unknown generator"),
        ({"name": "residul"}, "did you mean 'residual'"),
        ({"name": ["residual"]}, "unknown generator"),
        ({"name": "residual", "chanels": 3}, "did you mean 'channels'"),
        ({"name": "residual", "channels": "64"}, "channels='64' is not a whole number"),
        ({"name": "residual", "channels": True}, "channels=True is not a whole number"),
        ({"name": "residual", "channels": 10**9}, "is not between"),
        ({"name": "residual", "padding": "reflct"}, "did you mean 'reflect'"),
        ({"name": "residual", "padding": ["reflect"]}, "unknown padding"),
        ({"name": "johnson", "input_norm": 1}, "input_norm=1 is not true or false"),
        ({"name": "johnson", "decoder_norm": "yes"}, "is not true or false or none"),
        ({"name": "johnson", "exit_kernel": "9"}, "unknown exit_kernel"),
        ({"name": "skip_unpool", "channels": 16}, "is not a list"),
        ({"name": "skip_unpool", "channels": [16, 1.5]}, "is not a list, each a whole number"),
        ({"name": "custom", "target": "net.py:Net", "options": ["width"]}, "key=value"),
    ],
)
def test_mistakes_in_a_header(data: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        from_dict(data)


def test_a_file_of_the_users_own_is_recorded_and_not_run(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("raise SystemExit('run')\n")
    spec = make_spec(f"{file}:Net", ["width=8"])
    assert isinstance(spec, Custom)
    assert spec.target == f"{file}:Net"
    assert spec.options == ("width=8",)
    assert spec.source == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()


def test_files_and_names_are_told_apart() -> None:
    assert split_target("a/b.py:Net") == (Path("a/b.py"), "Net")
    assert split_target("C:/a/b.py:Net") == (Path("C:/a/b.py"), "Net")
    for target in ("a/b.py", "net", "b.py:not a name", ".py:Net", ""):
        assert split_target(target) is None


def test_the_table_of_the_reference_holds_every_file() -> None:
    files = {key.partition("/")[2] for key in REFERENCE}
    johnsons = {"johnson", "johnson_bilinear", "johnson_in_start", "johnson_small", "johnson_small_down"}
    assert files == johnsons | {"pyramid", "skip_unpool", "pyramid2", "skip", "skip_noise"}
    for key, spec in REFERENCE.items():
        v1 = key.startswith("texture_nets_v1")
        assert spec.padding == ("circular" if v1 else "replicate")
        assert spec.normalization == ("batch" if v1 else "instance")
