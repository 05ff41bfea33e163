"""Every flag of the Torch7 program has its row in docs/flags.md; every flag of ours does what it says."""

from __future__ import annotations

import dataclasses
import pydoc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

from texturenets.cli import COMMANDS
from texturenets.cli.arguments import arguments_of
from texturenets.cli.command_line import find
from texturenets.errors import UserError
from texturenets.losses.total_variation import reference_variation
from texturenets.modelfiles import modelfile
from texturenets.networks import make_spec, network_files
from texturenets.networks.custom import Custom
from texturenets.networks.network_files import spec_of
from texturenets.networks.pyramid import Pyramid
from texturenets.networks.reference import REFERENCE
from texturenets.perceptual.weights import finding
from texturenets.train import data, presets
from texturenets.train.configuration import StyleConfig, TaskConfig, TextureConfig
from texturenets.train.trainer_config import TrainerConfig

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "flags.md"

# ------------------------------------------------------------------------------- the Torch7 program's flags

VGG = "data/pretrained/VGG_ILSVRC_19_layers"
STYLE_LAYERS = "relu1_1,relu2_1,relu3_1,relu4_1"
# As they stand in the Lua files: {section of the document: {flag: default}}.
_TRAIN: dict[str, object] = {
    "content_layers": "relu4_2",
    "style_layers": STYLE_LAYERS,
    "learning_rate": 1e-3,
    "num_iterations": 50000,
    "save_every": 1000,
    "batch_size": 1,
    "image_size": 256,
    "content_weight": 1,
    "style_weight": 1,
    "tv_weight": 0,
    "style_image": "",
    "style_size": 256,
    "mode": "style",
    "checkpoints_path": "data/checkpoints/",
    "model": "pyramid",
    "vgg_no_pad": "false",
    "normalization": "instance",
    "proto_file": f"{VGG}_deploy.prototxt",
    "model_file": f"{VGG}.caffemodel",
    "backend": "cudnn",
    "dataset": "style",
    "data": "",
    "manualSeed": 0,
    "nThreads": 4,
    "cpu": False,
    "display_port": 8000,
}
MASTER = {**_TRAIN, "gpu": 0, "pyramid_loss": 1, "pyramid_decay": 0.9}
LUA: dict[str, dict[str, object]] = {
    "train.lua, branch master": MASTER,
    "test.lua, branch master": {
        "input_image": "",
        "image_size": 0,
        "model_t7": "",
        "save_path": "stylized.jpg",
        "cpu": False,
        "gpu": 0,
    },
    "texture_train.lua, branch texture_nets_v1": {
        "texture_layers": f"{STYLE_LAYERS},relu5_1",
        "texture": "data/texture/red-peppers256.o.jpg",
        "learning_rate": 1e-1,
        "num_iterations": 1500,
        "batch_size": 16,
        "image_size": 256,
        "noise_depth": 3,
        "gpu": 0,
        "tmp_path": "data/out/",
        "model_name": "",
        "normalize_gradients": "false",
        "vgg_no_pad": "false",
        "proto_file": f"{VGG}_deploy.prototxt",
        "model_file": f"{VGG}.caffemodel",
        "backend": "nn",
        "circular_padding": "true",
    },
    "texture_sample.lua, branch texture_nets_v1": {
        "noise_depth": 3,
        "model": "",
        "sample_size": 256,
        "save_path": ".",
    },
    "stylization_train.lua, branch texture_nets_v1": {
        "style_layers": f"{STYLE_LAYERS},relu5_1",
        "content_layers": "relu4_2",
        "content_weight": 6e-1,
        "style_weight": 1e3,
        "style_image": "data/textures/red-peppers256.o.jpg",
        "train_hdf5": "data/256.hdf5",
        "train_images_path": "path/to/imagenet_val",
        "learning_rate": 1e-1,
        "num_iterations": 3000,
        "batch_size": 4,
        "image_size": 256,
        "noise_depth": 3,
        "gpu": 0,
        "tmp_path": "data/out/",
        "model_name": "",
        "normalize_gradients": "false",
        "vgg_no_pad": "false",
        "proto_file": f"{VGG}_deploy.prototxt",
        "model_file": f"{VGG}.caffemodel",
        "backend": "cudnn",
        "circular_padding": "true",
        "fix_batch": False,
    },
    "stylization_process.lua, branch texture_nets_v1": {
        "input_image": "",
        "image_size": 0,
        "model": "",
        "noise_depth": 3,
        "gpu": 0,
        "save_path": "stylized.png",
    },
    "scripts/extract4_2.lua, branch texture_nets_v1": {
        "images_path": "path/to/imagenet_val",
        "save_to": "data/256.hdf5",
        "resize_to": 256,
        "vgg_no_pad": False,
        "gpu": 0,
        "backend": "nn",
        "proto_file": f"{VGG}_deploy.prototxt",
        "model_file": f"{VGG}.caffemodel",
    },
    "train.lua, branch diversity": {
        **_TRAIN,
        "add_noise": False,
        "pairwise_loss": "false",
        "pairwise_weight": 10000,
    },
    "test.lua, branch diversity": {
        "input_image": "",
        "image_size": 0,
        "model_t7": "",
        "save_path": "stylized.jpg",
        "cpu": False,
        "eval": "false",
    },
}

# Which field of a run stands for a flag of train.lua, and what its default is there in our terms.
FIELDS = {
    "content_layers": "content_layers",
    "style_layers": "style_layers",
    "learning_rate": "learning_rate",
    "num_iterations": "steps",
    "batch_size": "batch_size",
    "image_size": "image_size",
    "content_weight": "content_weight",
    "style_weight": "style_weight",
    "tv_weight": "tv_weight",
    "style_size": "style_size",
    "model": "generator",
    "manualSeed": "seed",
    "pyramid_loss": "pyramid_loss",
    "pyramid_decay": "pyramid_decay",
}
# What is fixed in train.lua: optim.adam with a rate times 0.8 each 2000 steps, MSECriterion, max pooling with
# zero padding, no mirroring (datasets/style.lua), no gradient normalization left (src/texture_loss.lua).
FIXED = {
    "minutes": 0.0,  # it goes by steps alone
    "set": (),
    "accumulate": 1,
    "optimizer": "adam",
    "schedule": "step",
    "decay": 0.8,
    "decay_every": 2000,
    "warmup": 0,
    "checkerboard_weight": 0.0,
    "loss_scaling": "paper",
    "normalize_gradients": False,
    "descriptor_padding": True,
    "pool": "max",
    "diversity_weight": 0.0,
    "diversity_layer": "pixels",
    "sliced_weight": 0.0,
    "shifted_weight": 0.0,
    "autocorrelation_weight": 0.0,
    "patch_weight": 0.0,
    "structure_layers": ("vgg16:relu3_1", "vgg16:relu4_1"),  # of no loss there
    "max_shift": 8,
    "noise_depth": 0,
    "texture_photos": 0,
    "temporal_weight": 0.0,
    "flip": False,
    "precision": "float32",
}
ADVISED = {  # the README's "these parameters work for me"
    "style_size": 600,
    "image_size": 512,
    "model": "johnson",
    "batch_size": 4,
    "learning_rate": 1e-2,
    "style_weight": 10,
    "style_layers": "relu1_2,relu2_2,relu3_2,relu4_2",
    "content_layers": "relu4_2",
}


# ----------------------------------------------------------------------------------------------- the document


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table in the document, without the backquotes around single values."""

    there: str
    here: str
    default: str
    remarks: str


def document() -> dict[str, dict[str, Row]]:
    """{section: {flag: row}} of the tables in docs/flags.md."""
    sections: dict[str, dict[str, Row]] = {}
    rows: dict[str, Row] = {}
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("## "):
            rows = sections[line[3:]] = {}
        elif line.startswith("| `-"):
            flag, there, _, here, default, remarks = (c.strip() for c in line.strip("|").split("|"))
            name = flag.strip("`")[1:]
            assert name not in rows, f"{name} has two rows"
            rows[name] = Row(there.strip("`"), here.strip("`"), default.strip("`"), remarks)
    return {title: rows for title, rows in sections.items() if rows}


TABLES = document()


def known(*command: str) -> set[str]:
    """Every --flag of a command of ours."""
    found: Any = find(command, COMMANDS)[0]
    return {name for argument in arguments_of(found) for name in (*argument.names, argument.off)}


def command_of(section: str) -> tuple[str, ...]:
    """The command of ours that a section of the document is about."""
    if "extract" in section:
        return ("cache",)
    if "texture_" in section.partition(",")[0]:
        return ("train", "texture") if "train" in section else ("sample",)
    return ("train", "style") if "train" in section else ("stylize",)


def test_the_document_has_every_flag_of_every_program_and_no_other() -> None:
    assert {title: set(rows) for title, rows in TABLES.items()} == {t: set(f) for t, f in LUA.items()}


@pytest.mark.parametrize("section", LUA)
def test_defaults_there_are_as_written(section: str) -> None:
    words = {"off": False, "empty": "", "VGG-19's": None, "red peppers": None}
    for flag, row in TABLES[section].items():
        there, said = LUA[section][flag], words.get(row.there, row.there)
        if said is None:
            assert str(there).startswith(VGG) or "peppers" in str(there)
        elif isinstance(there, int | float) and not isinstance(there, bool):
            assert float(said) == there, flag
        else:
            assert said == there, flag


# Python 3.11 does not say in which module a made dataclass is, and the parser then sees none of its fields.


@pytest.mark.parametrize("section", LUA)
def test_every_counterpart_exists_and_what_has_none_says_why(section: str) -> None:
    flags = known(*command_of(section))
    for flag, row in TABLES[section].items():
        if row.here == "none":
            assert row.remarks, flag
        elif not row.here.startswith("--"):
            assert row.here in ("IMAGE", "PHOTO", "TEXTURE")
        for ours in re.findall(r"--[a-z][a-z-]*", row.here + row.remarks.partition("TensorBoard's:")[0]):
            assert ours in flags | {"--help"}, f"{flag}: {ours}"


@pytest.mark.parametrize("section", [s for s in LUA if "train" in s])
def test_defaults_here_are_those_of_the_default_preset(section: str) -> None:
    textures = "texture" in command_of(section)
    run: TaskConfig = presets.TEXTURE if textures else presets.DEFAULT
    how = TrainerConfig()
    for flag, row in TABLES[section].items():
        name = row.here.partition(" ")[0][2:].replace("-", "_")
        if name == "style_layers":
            assert row.default.startswith(f"{len(run.style_layers)} layers")
        elif name == "workers":
            assert (how.workers, row.default) == (None, "by the device")
        elif name == "snapshot_every":
            assert row.default == str(getattr(how, name)), flag
        elif name == "set":
            spec = make_spec(run.generator, run.generator_options)
            key = row.here.split()[1].partition("=")[0]
            assert row.default == getattr(spec, key), flag
        elif name == "normalize_gradients":
            assert row.default == ("on" if run.normalize_gradients else "off")
        elif name == "no_descriptor_padding":
            assert row.default == ("padded" if run.descriptor_padding else "not padded")
        elif name in {f.name for f in dataclasses.fields(run)}:
            value = getattr(run, name)
            assert row.default == (",".join(value) if isinstance(value, tuple) else str(value)), flag


# ------------------------------------------------------------------------------------------------ the presets


def in_our_terms(flag: str, value: object) -> object:
    """A default of train.lua as a value of the run's field."""
    if flag.endswith("_layers"):
        return tuple(f"vgg19:{layer}" for layer in str(value).split(","))
    return value


@pytest.mark.parametrize(
    ("name", "lua"),
    [("paper", {**MASTER, "model": "johnson"}), ("readme", {**MASTER, **ADVISED})],
    ids=["paper", "readme"],
)
def test_presets_are_the_programs_defaults_field_by_field(name: str, lua: dict[str, object]) -> None:
    # "paper" departs in the generator, and in nothing else; the document says so.
    wanted = {FIELDS[flag]: in_our_terms(flag, value) for flag, value in lua.items() if flag in FIELDS}
    wanted |= FIXED
    run = dataclasses.asdict(presets.style_preset(name))
    assert set(run) - set(wanted) == {"val_share"}  # the program holds nothing out and validates nothing
    assert {k: v for k, v in run.items() if k in wanted} == wanted
    assert make_spec(run["generator"], run["set"]) == REFERENCE["master/johnson"]


V1 = {  # which field stands for a flag of texture_train.lua, where it is not the one above
    "texture_layers": "style_layers",
    "noise_depth": None,  # the generator's own
    "normalize_gradients": "normalize_gradients",
}


@pytest.mark.parametrize(
    ("name", "advised"),
    [("paper", {}), ("readme", {"batch_size": 15, "descriptor_padding": False, "normalize_gradients": True})],
    ids=["paper", "readme"],
)
def test_presets_for_textures_are_the_programs_defaults_field_by_field(
    name: str, advised: dict[str, object]
) -> None:
    lua = LUA["texture_train.lua, branch texture_nets_v1"]
    wanted: dict[str, object] = {
        field: in_our_terms(flag, value)
        for flag, value in lua.items()
        if (field := V1.get(flag, FIELDS.get(flag))) and value != "false"
    }
    # What is fixed there: a rate times 0.8 each 300 steps, all else as in train.lua; the exemplar at its own size.
    fixed = {k: v for k, v in FIXED.items() if k not in ("flip", "texture_photos", "temporal_weight", "set")}
    wanted |= {**fixed, "decay_every": 300, "style_size": 0, "style_weight": 1.0, "tv_weight": 0.0, "seed": 0}
    wanted |= {"pyramid_loss": 1, "pyramid_decay": 0.9, "periodic": True, **advised}  # for multiscale alone
    run = presets.texture_preset(name)
    fields = dataclasses.asdict(run)
    assert set(fields) - set(wanted) == {"generator", "set"}
    assert {k: v for k, v in fields.items() if k in wanted} == wanted
    assert make_spec(run.generator, run.generator_options) == REFERENCE["texture_nets_v1/pyramid"]


def test_total_variation_of_the_presets_has_the_gradient_of_the_lua_file() -> None:
    y = torch.rand(2, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    reference_variation(y).sum().backward()
    # The program's image is 255 times ours, mean and channel order aside: so is its gradient to ours.
    p, g = (255 * y).detach(), torch.zeros_like(y)
    for i in range(4):
        for j in range(5):
            for di, dj in ((0, 1), (1, 0)):
                difference = p[:, :, i, j] - p[:, :, i + di, j + dj]
                g[:, :, i, j] += difference
                g[:, :, i + di, j + dj] -= difference
    assert y.grad is not None
    torch.testing.assert_close(y.grad, 255 * g, rtol=1e-12, atol=0)


# -------------------------------------------------------------------------------------- one test a flag: a run


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    """Where the runs of this file happen."""
    return tiny.Studio(tmp_path_factory.mktemp("studio"))


Run = Callable[..., tiny.Result]


def once(make: Run) -> Run:
    """`make`, done once for the same flags; the run has to succeed."""
    done: dict[str, tiny.Result] = {}

    def run(**flags: Any) -> tiny.Result:
        key = repr(sorted(flags.items()))
        if key not in done:
            done[key] = make(**flags)
            assert done[key].status == 0, done[key].error
        return done[key]

    return run


@pytest.fixture(scope="module")
def trained(studio: tiny.Studio) -> Run:
    """`train style`, once for the same flags."""
    return once(studio.run)


@pytest.fixture(scope="module")
def drawn(studio: tiny.Studio) -> Run:
    """`train texture`, once for the same flags."""
    return once(studio.texture)


def losses(start: str) -> Callable[[tiny.Result], dict[str, float]]:
    """What of a run to look at: its losses whose names begin so."""
    return lambda result: {k: v for k, v in result.losses.items() if k.startswith(start)}


def rate(result: tiny.Result) -> float:
    """The learning rate of the last step, over the preset's."""
    preset: TaskConfig = presets.TEXTURE if result.header.kind == "texture" else presets.DEFAULT
    found: float = result.records[0]["learning_rate"] / preset.learning_rate
    return found


def network(result: tiny.Result) -> list[float]:
    """Sums of the network's weights after the last step."""
    return [float(t.double().sum()) for t in result.weights.values()]


def first_pictures(result: tiny.Result) -> tuple[tuple[int, int], bytes]:
    """The photos of the first step, above what was made of them."""
    with Image.open(result.folder / "pictures" / "000001.jpg") as image:
        upper = image.crop((0, 0, image.width, image.height // 2))
        return upper.size, upper.tobytes()


def size_of_pictures(result: tiny.Result) -> tuple[int, int]:
    """Of all samples of the first step beside each other: width and height."""
    with Image.open(result.folder / "pictures" / "000001.jpg") as image:
        return image.size


def width(result: tiny.Result) -> int:
    return first_pictures(result)[0][0]


def names(result: tiny.Result) -> set[str]:
    return set(result.losses)


def said(pattern: str) -> Callable[[tiny.Result], str]:
    """What of a run to look at: a part of what it wrote to standard error."""
    return lambda result: "".join(re.findall(pattern, result.error))


def files(pattern: str) -> Callable[[tiny.Result], list[str]]:
    """What of a run to look at: names of files in its folder, its own name left out."""
    return lambda result: sorted(
        p.name.replace(result.model.stem, "NAME") for p in result.folder.glob(pattern)
    )


def trained_with(key: str) -> Callable[[tiny.Result], object]:
    """What of a run to look at: an entry of the model's header."""
    return lambda result: result.header.training[key]


@dataclasses.dataclass(frozen=True)
class Change:
    """`flags` against none, both with `beside`; `sees` looks at either, and may be told what it then sees."""

    sees: Callable[[tiny.Result], Any]
    flags: dict[str, Any]
    beside: dict[str, Any] = dataclasses.field(default_factory=dict)
    then: Any = None


ONE = {"steps": 1}
NOISY = {"noise_depth": 2}
DEEP = {"structure_layers": "vgg16:relu1_2"}  # where the tests' networks end
STYLE: dict[str, Change] = {
    "generator": Change(
        lambda r: r.header.generator["name"],
        {"generator": "pyramid", "set": ["channels=1", "scales=2"]},
        then="pyramid",
    ),
    "set": Change(lambda r: len(r.weights), {"set": ["channels=8", "blocks=0"]}),
    "style_size": Change(losses("style"), {"style_size": 48}, ONE),
    "image_size": Change(width, {"image_size": 48}, then=96),
    "batch_size": Change(width, {"batch_size": 3}, then=192),
    "steps": Change(trained_with("step"), {"steps": 3}, then=3),
    "learning_rate": Change(network, {"learning_rate": 0.01}),
    # A cosine from 1 to a fiftieth over two steps: half-way at the second.
    "schedule": Change(rate, {"schedule": "cosine"}, then=pytest.approx(0.51)),
    "decay": Change(rate, {"decay": 0.3}, {"schedule": "step", "decay_every": 1}, then=pytest.approx(0.3)),
    "decay_every": Change(rate, {"decay_every": 1}, {"schedule": "step"}, then=pytest.approx(0.8)),
    "warmup": Change(rate, {"warmup": 4}, then=pytest.approx(0.5)),
    "style_layers": Change(
        lambda r: names(r) - {"checkerboard"},
        {"style_layers": "vgg16:relu1_1,squeezenet1_0:fire2"},
        then={"style/vgg16:relu1_1", "style/squeezenet1_0:fire2", "content/squeezenet1_0:fire3"},
    ),
    "content_layers": Change(
        lambda r: {n for n in names(r) if n.startswith("content")},
        {"content_layers": "squeezenet1_0:fire2,vgg19:relu1_1"},
        then={"content/squeezenet1_0:fire2", "content/vgg19:relu1_1"},
    ),
    "style_weight": Change(losses("style"), {"style_weight": 3}, ONE),
    "content_weight": Change(losses("content"), {"content_weight": 0}, ONE, then={}),
    "tv_weight": Change(lambda r: "tv" in names(r), {"tv_weight": 1}, then=True),
    "optimizer": Change(network, {"optimizer": "adam"}),
    "checkerboard_weight": Change(
        lambda r: "checkerboard" in names(r), {"checkerboard_weight": 0}, then=False
    ),
    "loss_scaling": Change(losses("style"), {"loss_scaling": "paper"}, ONE),
    "pyramid_loss": Change(lambda r: any("@1" in n for n in names(r)), {"pyramid_loss": 2}, then=True),
    "pyramid_decay": Change(losses("style"), {"pyramid_decay": 0.5}, {"pyramid_loss": 2, **ONE}),
    "normalize_gradients": Change(network, {"normalize_gradients": True}),
    "descriptor_padding": Change(losses("style"), {"descriptor_padding": False}, ONE),
    "pool": Change(losses("style"), {"pool": "average"}, ONE),
    "noise_depth": Change(
        lambda r: r.header.generator["noise_depth"],
        {"noise_depth": 2},
        then=2,
    ),
    "diversity_weight": Change(lambda r: "diversity" in names(r), {"diversity_weight": 1}, NOISY, then=True),
    "diversity_layer": Change(
        losses("diversity"),
        {"diversity_layer": "squeezenet1_0:fire2"},
        {"diversity_weight": 1, **NOISY, "steps": 1},
    ),
    "sliced_weight": Change(
        lambda r: "sliced/vgg16:relu1_2" in names(r), {"sliced_weight": 1, **DEEP}, then=True
    ),
    "patch_weight": Change(lambda r: "patches" in names(r), {"patch_weight": 1}, then=True),
    "shifted_weight": Change(
        lambda r: "shifted/vgg16:relu1_2" in names(r), {"shifted_weight": 1, **DEEP}, then=True
    ),
    "autocorrelation_weight": Change(
        lambda r: "autocorrelation/vgg16:relu1_2" in names(r),
        {"autocorrelation_weight": 1, **DEEP},
        then=True,
    ),
    "max_shift": Change(losses("shifted"), {"max_shift": 1}, {**DEEP, "shifted_weight": 1, "steps": 1}),
    "texture_photos": Change(losses("style"), {"texture_photos": 1}, {"steps": 1}),
    "temporal_weight": Change(lambda r: "temporal" in names(r), {"temporal_weight": 1}, then=True),
    "flip": Change(first_pictures, {"flip": False}),
    "val_share": Change(said("only . photos"), {"val_share": 0.5}, then="only 3 photos"),
    "seed": Change(network, {"seed": 1}),
    "precision": Change(trained_with("precision"), {"precision": "bf16"}, then="bf16"),
}
ALONE = {
    "accumulate",
    "minutes",
    "structure_layers",
}  # have tests of their own, below and in test_training.py

TRAINER: dict[str, Change] = {
    "save_every": Change(lambda r: sum("losses" in line for line in r.records), {"save_every": 1}, then=2),
    "validate_every": Change(
        lambda r: [line["step"] for line in r.records if "validation" in line],
        {"validate_every": 1},
        then=[1, 2],
    ),
    "pictures_every": Change(
        files("pictures/0*.jpg"),
        {"pictures_every": 2},
        {"steps": 3},
        then=["000001.jpg", "000002.jpg", "000003.jpg"],
    ),
    "snapshot_every": Change(
        files("*-*.safetensors"), {"snapshot_every": 2}, then=["NAME-000002.safetensors"]
    ),
    "licence": Change(lambda r: r.header.licence, {"licence": "CC0-1.0"}, then="CC0-1.0"),
    "terms": Change(lambda r: r.header.terms, {"terms": "photos of mine"}, then="photos of mine"),
}
TRAINER_ALONE = {"weights", "offline", "device", "workers", "init", "into", "unfreeze", "engine"}


# Of a texture: what is common is seen at the same things.
TEXTURE: dict[str, Change] = {
    **{f.name: STYLE[f.name] for f in dataclasses.fields(TaskConfig) if f.name not in ALONE},
    "generator": Change(
        lambda r: spec_of(r.header),
        {"generator": "pyramid", "set": ["channels=1", "scales=2"]},
        then=Pyramid(channels=1, scales=2, photo=False, noise_depth=2, padding="circular"),
    ),
    "set": Change(lambda r: len(r.weights), {"set": ["channels=6,4"]}),
    "noise_depth": Change(
        lambda r: r.header.generator["noise_depth"],
        {"noise_depth": 3},
        then=3,
    ),
    "style_layers": Change(
        lambda r: names(r) - {"checkerboard"},
        {"style_layers": "vgg16:relu1_1,squeezenet1_0:fire2"},
        then={"style/vgg16:relu1_1", "style/squeezenet1_0:fire2"},
    ),
    "image_size": Change(size_of_pictures, {"image_size": 48}, then=(96, 48)),
    "batch_size": Change(size_of_pictures, {"batch_size": 3}, then=(192, 64)),
    "checkerboard_weight": Change(
        lambda r: "checkerboard" in names(r), {"checkerboard_weight": 1}, then=True
    ),
    "diversity_weight": Change(lambda r: "diversity" in names(r), {"diversity_weight": 1}, then=True),
    "diversity_layer": Change(
        losses("diversity"),
        {"diversity_layer": "squeezenet1_0:fire2"},
        {"diversity_weight": 1, "steps": 1},
    ),
}


def test_every_field_has_its_test() -> None:
    assert {f.name for f in dataclasses.fields(TextureConfig)} == TEXTURE.keys() | ALONE | {
        "periodic"
    }  # test_train_waves.py
    assert {f.name for f in dataclasses.fields(StyleConfig)} == STYLE.keys() | ALONE
    assert {f.name for f in dataclasses.fields(TrainerConfig)} == TRAINER.keys() | TRAINER_ALONE


@pytest.mark.parametrize("name", [*STYLE, *TRAINER])
def test_the_flag_changes_the_result(name: str, trained: Run) -> None:
    change = (STYLE | TRAINER)[name]
    before, after = trained(**change.beside), trained(**change.beside, **change.flags)
    assert change.sees(before) != change.sees(after)
    if change.then is not None:
        assert change.sees(after) == change.then


@pytest.mark.parametrize("name", TEXTURE)
def test_the_flag_changes_the_texture(name: str, drawn: Run) -> None:
    change = TEXTURE[name]
    before, after = drawn(**change.beside), drawn(**change.beside, **change.flags)
    assert change.sees(before) != change.sees(after)
    if change.then is not None:
        assert change.sees(after) == change.then


def test_structure_layers_are_those_of_each_loss_that_sees_structure(trained: Run, drawn: Run) -> None:
    losses = ("sliced", "shifted", "autocorrelation")
    weights = {f"{loss}_weight": 1 for loss in losses}
    for run in (trained, drawn):
        found = names(run(structure_layers="vgg16:relu1_1,squeezenet1_0:fire2", **weights, **ONE))
        layers = {name.partition("/")[2] for name in found if name.startswith(losses)}
        assert layers == {"vgg16:relu1_1", "squeezenet1_0:fire2"}
        assert len([name for name in found if name.startswith(losses)]) == 6


def test_the_same_flags_give_the_same_result(studio: tiny.Studio, trained: Run) -> None:
    assert network(studio.run()) == network(trained())
    assert studio.run().losses == trained().losses


def test_weights_multiply_the_losses_of_the_first_step(trained: Run) -> None:
    before, after = (trained(**ONE, **more).losses for more in ({}, {"style_weight": 3}))
    for name, value in before.items():
        assert after[name] == pytest.approx(3 * value if name.startswith("style") else value, rel=1e-5)


def test_pyramid_decay_multiplies_the_second_scale(trained: Run) -> None:
    before, after = (trained(**ONE, pyramid_loss=2, **more).losses for more in ({}, {"pyramid_decay": 0.45}))
    for name, value in before.items():
        assert after[name] == pytest.approx(value / 2 if "@1" in name else value, rel=1e-5)


def test_normalized_gradients_leave_the_loss_as_it_is(trained: Run) -> None:
    plain, normalized = (trained(**ONE, normalize_gradients=on) for on in (False, True))
    assert normalized.losses == pytest.approx(plain.losses, rel=1e-5)
    assert network(normalized) != network(plain)


def test_accumulate_splits_the_batch_and_keeps_the_gradient(
    studio: tiny.Studio, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from texturenets.losses import Objective

    sizes: list[int] = []
    forward = Objective.forward

    def spy(self: Objective, y: torch.Tensor, *rest: Any, **how: bool) -> dict[str, torch.Tensor]:
        if y.requires_grad:  # not validation's
            sizes.append(len(y))
        return forward(self, y, *rest, **how)

    monkeypatch.setattr(Objective, "forward", spy)
    split = studio.run(accumulate=2, **ONE)
    assert sizes == [1, 1]
    assert split.losses == pytest.approx(trained(**ONE).losses, rel=1e-5)


def test_the_weights_can_be_a_folder_a_file_or_a_networks_file(studio: tiny.Studio, trained: Run) -> None:
    file = studio.weights / "squeezenet1_0_tiny_0.safetensors"
    other = tiny.weights_file(studio.root, "squeezenet1_0", seed=1)
    expected = trained(**ONE).losses
    for given in (str(file), f"squeezenet1_0={file}", f"squeezenet1_0={studio.weights}"):
        assert trained(**ONE, weights=[given]).losses == expected
    # One network's file does not serve the other's layers; a second one does.
    mixed = trained(
        **ONE,
        style_layers="vgg16:relu1_1",
        weights=[f"squeezenet1_0={file}", f"vgg16={studio.weights / 'vgg16_tiny_0.safetensors'}"],
    )
    assert mixed.losses["content/squeezenet1_0:fire3"] == expected["content/squeezenet1_0:fire3"]
    assert trained(**ONE, weights=[f"squeezenet1_0={other}"]).losses != expected


def test_offline_fetches_nothing(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(urls: tuple[str, ...], *_: Any, **__: Any) -> None:
        asked.append(urls)
        raise UserError("no network in tests")

    monkeypatch.setattr(finding, "download", download)
    offline = studio.run(weights=None)
    assert (offline.status, asked) == (2, [])
    assert "offline" in offline.error
    online = studio.run(weights=None, offline=False)
    assert online.status == 2
    assert len(asked) == 1
    assert "no network in tests" in online.error


def test_device_is_where_it_runs(studio: tiny.Studio, trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trained().header.training["device"] == "cpu"
    refused = studio.run(device="cuda")
    assert refused.status == 2
    assert "--device cpu" in refused.error
    assert not refused.model.exists()


def test_workers_decode_the_same_photos(
    studio: tiny.Studio, trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    loader = data.DataLoader

    def spy(*arguments: Any, **options: Any) -> Any:
        asked.append(options["num_workers"])
        return loader(*arguments, **options)

    monkeypatch.setattr(data, "DataLoader", spy)
    two = studio.run(workers=2)
    assert asked == [2]
    assert network(two) == network(trained())


def test_init_starts_from_that_models_weights(studio: tiny.Studio, trained: Run) -> None:
    first = trained(seed=1)
    after = trained(init=str(first.model), learning_rate=1e-9, **ONE)
    start = network_files.load(first.model)[0].state_dict()
    for name, value in after.weights.items():
        torch.testing.assert_close(value, start[name.removeprefix("network.")], rtol=0, atol=1e-6)
    assert after.losses != trained(learning_rate=1e-9, **ONE).losses
    other = studio.run(init=str(first.model), set=["channels=8", "blocks=2"])
    assert other.status == 2
    assert "blocks=1" in other.error


# ------------------------------------------------------------------------- the command's own, and what it refuses


def test_content_style_and_output_are_taken(studio: tiny.Studio, trained: Run) -> None:
    for i in range(3):
        tiny.picture(studio.root / "others" / f"{i}.png", seed=50 + i)
    assert trained(content=studio.root / "others").losses != trained().losses
    assert losses("style")(trained(style=studio.photos / "0.png")) != losses("style")(trained())
    named = trained(output=studio.root / "deep" / "named.safetensors")
    assert named.output.splitlines()[-1] == str(named.model)
    assert named.header.name == "named"


def test_several_paintings_make_one_style(studio: tiny.Studio, trained: Run) -> None:
    model = studio.root / "both.safetensors"
    flags = {**tiny.BASE, **ONE, "weights": [str(studio.weights)]}
    status, _, error = tiny.call(
        *("train", "style", str(studio.painting), str(studio.photos / "0.png")),
        *("--content", str(studio.photos), "-o", str(model), *tiny.words(flags)),
    )
    assert status == 0, error
    both = losses("style")(tiny.Result(status, error, "", model))
    one, other = (losses("style")(trained(**ONE, **s)) for s in ({}, {"style": studio.photos / "0.png"}))
    assert both not in (one, other)


def test_preset_is_where_the_flags_start_from(trained: Run) -> None:
    run = trained(preset="readme", style_weight=None).header.training["run"]
    readme = presets.README
    assert (run["loss_scaling"], run["style_weight"]) == (readme.loss_scaling, readme.style_weight)
    assert run["style_size"] == tiny.BASE["style_size"]


def test_resume_goes_on_and_refuses_another_run(studio: tiny.Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = studio.run(steps=3)
    stopped = studio.root / "stopped.safetensors"
    from texturenets.train.trainer import Trainer

    save = Trainer.save

    def stop(self: Trainer) -> Path:
        if self.state.step == 1:
            self.stop = True  # as Ctrl-C does
        return save(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", stop)
        first = studio.run(steps=3, save_every=1, output=stopped)
    assert first.status == 130
    assert not stopped.exists()
    assert "--resume" in studio.run(steps=3, output=stopped).error
    changed = studio.run("--resume", steps=3, style_weight=2, flip=False, output=stopped)
    assert changed.status == 2
    assert "--style-weight 1.0 -> 2.0, --flip true -> false" in changed.error
    # Where and how it runs may change.
    on = studio.run("--resume", steps=3, workers=1, save_every=5, output=stopped)
    assert on.status == 0, on.error
    assert network(on) == network(whole)


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        ({"image_size": 66}, "use 64 or 68"),
        ({"generator": "multiscale", "set": ["channels=3,3", "photo=false"]}, "train texture"),
        ({"set": ["chanels=8"]}, "channels"),
        ({"style_layers": "squeezenet1_0:conv11"}, "conv1"),
        ({"style_layers": "squeezenet1_0:conv1,vgg66:relu1_1"}, "vgg16"),
        ({"style_layers": ""}, "--style-layers"),
        ({"weights": ["squeeznet1_0=x"]}, "squeezenet1_0"),
        ({"learning_rate": "nan"}, "--learning-rate"),
        ({"pyramid_decay": -1}, "--pyramid-decay"),
        ({"workers": -1}, "--workers"),
        ({"val_share": 1}, "--val-share"),
        ({"batch_size": 2, "accumulate": 3}, "--accumulate"),
        ({"schedule": "linear"}, "cosine"),
        ({"preset": "papr"}, "paper"),
        ({"init": "nix.safetensors"}, "nix.safetensors"),
        ({"output": "model.png"}, ".safetensors"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_mistakes_are_told_in_one_line(studio: tiny.Studio, flags: dict[str, Any], hint: str) -> None:
    result = studio.run(**flags)
    assert result.status == 2
    assert result.error.count("\n") == 1
    assert hint in result.error
    assert not result.model.exists()


def test_a_generator_of_ones_own_is_trained(studio: tiny.Studio, trained: Run) -> None:
    file = studio.root / "mine.py"
    file.write_text(
        "from torch import nn\n\n\nclass Mine(nn.Sequential):\n    def __init__(self, kernel=3):\n"
        "        super().__init__(nn.Conv2d(3, 3, kernel, padding=kernel // 2), nn.Sigmoid())\n"
    )
    spec = spec_of(trained(generator=f"{file}:Mine", set=["kernel=5"]).header)
    assert isinstance(spec, Custom)
    assert spec.options == ("kernel=5",)


def test_what_no_graph_can_hold_is_told_before_a_step_is_done(studio: tiny.Studio, trained: Run) -> None:
    file = studio.root / "sorting.py"
    file.write_text(
        "from torch import nn\n\n\nclass Sorting(nn.Conv2d):\n    def __init__(self, **_):\n"
        "        super().__init__(3, 3, 1)\n        self.stride = 1\n\n    def forward(self, x):\n"
        "        return nn.functional.conv2d(x, self.weight, self.bias).sort(dim=3).values\n"
    )
    refused = studio.run(generator=f"{file}:Sorting", steps=1)
    assert refused.status == 2
    assert refused.error.endswith(
        "network Sorting cannot be taken into a graph: the step 'sort' at Sorting; --engine torch runs it\n"
    )
    assert not refused.model.exists()
    made = trained(generator=f"{file}:Sorting", engine="torch", steps=1)
    with pytest.raises(UserError, match="the step 'sort' at Sorting"):
        modelfile.read_graph(made.model)


@pytest.mark.parametrize("normalization", ["instance", "batch"])
@pytest.mark.parametrize("padding", ["replicate", "circular"])
def test_options_of_the_generator_change_what_it_learns(
    trained: Run, normalization: str, padding: str
) -> None:
    plain = {"generator": "johnson", "set": ["channels=2", "blocks=1"]}
    chosen = [*plain["set"], f"normalization={normalization}", f"padding={padding}"]
    same = (normalization, padding) == ("instance", "replicate")  # johnson's own
    before, after = trained(**plain, **ONE), trained(generator="johnson", set=chosen, **ONE)
    assert (before.losses == after.losses) is same


# ------------------------------------------------------------------------------------- stylize: flags of test.lua


@pytest.fixture(scope="module")
def photo(studio: tiny.Studio) -> Path:
    """A photo of 90 x 72 pixels."""
    return studio.photos / "0.png"


def stylize(photo: Path, out: Path, style: Path, **flags: Any) -> Image.Image:
    """`texturenets stylize`, which has to succeed; the image written."""
    words = ["stylize", str(photo), "-s", str(style), "-o", str(out), "--quiet", *tiny.words(flags)]
    status, output, error = tiny.call(*words)
    assert (status, output) == (0, f"{out}\n"), error
    with Image.open(out) as image:
        image.load()
        return image


def test_stylize_takes_photo_style_output_and_size(trained: Run, photo: Path, tmp_path: Path) -> None:
    one, other = trained().model, trained(seed=1).model
    first = stylize(photo, tmp_path / "first.png", one)
    assert (first.size, first.format) == ((90, 72), "PNG")
    assert stylize(photo, tmp_path / "again.png", one, device="cpu").tobytes() == first.tobytes()
    assert stylize(photo, tmp_path / "other.png", other).tobytes() != first.tobytes()
    assert stylize(photo.with_name("1.png"), tmp_path / "photo.png", one).tobytes() != first.tobytes()
    assert stylize(photo, tmp_path / "small.jpg", one, size=45).size == (45, 36)  # the shape kept
    assert (tmp_path / "small.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_stylize_refuses_a_device_that_is_not_there(
    trained: Run, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "out.png"
    words = ("stylize", str(photo), "-s", str(trained().model), "-o", str(out), "--device", "cuda")
    status, _, error = tiny.call(*words)
    assert status == 2
    assert "--device cpu" in error
    assert not out.exists()


# ------------------------------------------------------------------------------------ cache: flags of extract4_2.lua


def cached(studio: tiny.Studio, out: Path, **flags: Any) -> dict[str, Any]:
    """`texturenets cache`, which has to succeed: {info and shapes of what was written}."""
    import h5py

    from texturenets.train.feature_cache import read_info

    settings = {"content": studio.photos, "weights": [str(studio.weights)], **tiny.BASE, **flags}
    del settings["workers"]  # of no use here, so that the command does not offer it
    status, output, error = tiny.call("cache", "-o", str(out), "--quiet", *tiny.words(settings))
    assert (status, output) == (0, f"{out}\n"), error
    info = dataclasses.asdict(read_info(out))
    with h5py.File(out, "r") as file:
        features = {k: v for k, v in file["train"].items() if k != "photos"}
        sums = {k: float(v[:].astype(float).sum()) for k, v in features.items()}
        return {**info, "shape": file["train/photos"].shape, "sums": sums}


def test_the_flags_of_cache_change_what_is_written(studio: tiny.Studio, tmp_path: Path) -> None:
    def write(**flags: Any) -> dict[str, Any]:
        return cached(studio, tmp_path / f"{len(list(tmp_path.iterdir()))}.h5", **flags)

    base = write()
    assert base["shape"] == (5, 3, 64, 64)
    assert write() == base
    assert write(image_size=48)["shape"] == (5, 3, 48, 48)
    assert write(crops_per_photo=2)["shape"] == (10, 3, 64, 64)
    assert write(content_layers="squeezenet1_0:conv1")["layers"] == ("squeezenet1_0:conv1",)
    assert write(descriptor_padding=False)["sums"] != base["sums"]
    other = tiny.weights_file(studio.root, "squeezenet1_0", seed=2)
    assert write(weights=[f"squeezenet1_0={other}"])["sums"] != base["sums"]
    few = studio.root / "few"
    for i in range(3):
        tiny.picture(few / f"{i}.png", seed=i)
    assert write(content=few)["shape"][0] == 2


def test_training_takes_the_cache_and_refuses_one_of_other_settings(
    studio: tiny.Studio, tmp_path: Path
) -> None:
    out = tmp_path / "cache.h5"
    cached(studio, out)
    assert studio.run(content=out).status == 0
    for flags in (
        {"image_size": 48},
        {"descriptor_padding": False},
        {"content_layers": "squeezenet1_0:conv1"},
    ):
        refused = studio.run(content=out, **flags)
        assert refused.status == 2
        assert "write it again" in refused.error


@pytest.mark.parametrize("kind", [StyleConfig, TextureConfig, TrainerConfig])
def test_help_in_python_lists_the_fields(kind: type) -> None:
    shown = pydoc.render_doc(kind, renderer=pydoc.plaintext)
    for field in dataclasses.fields(kind):
        assert f" {field.name} : " in shown
    assert "Peak learning rate of the schedule." in shown or kind is TrainerConfig


def test_cache_offers_no_options_of_the_trainer_but_those_of_its_networks() -> None:
    of_trainer = {"--" + f.name.replace("_", "-") for f in dataclasses.fields(TrainerConfig)}
    assert of_trainer & known("cache") == {"--weights", "--offline", "--device"}
