"""The package as a library: what it offers, how it is typed, and training from Python."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

import texturenets as tn
from texturenets.losses import Features, Loss, Targets
from texturenets.losses.user_losses import UserLoss, check_user_losses
from texturenets.modelfiles import modelfile
from texturenets.networks import build, network_files
from texturenets.networks.residual import Residual
from texturenets.train import checkpoint, start

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("squeezenet1_0:conv1", "squeezenet1_0:fire2")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> tiny.Studio:
    made = tiny.Studio(tmp_path_factory.mktemp("studio"))
    tiny.weights_file(made.weights, "vgg16", until="relu4_3")  # what `evaluate` measures by
    return made


def config(**change: object) -> tn.StyleConfig:
    settings: dict[str, object] = {k: tiny.BASE[k] for k in ("image_size", "style_size", "steps", "warmup")}
    settings |= {"set": ("channels=8", "blocks=1"), "style_layers": LAYERS, "precision": "float32"}
    settings |= {"content_layers": ("squeezenet1_0:fire3",)}
    return tn.StyleConfig(**{**settings, **change})  # type: ignore[arg-type]


def how(studio: tiny.Studio) -> tn.TrainerConfig:
    return tn.TrainerConfig(
        weights=(str(studio.weights),), offline=True, device="cpu", workers=0, save_every=1
    )


def test_every_name_is_there_and_nothing_heavy_before_it_is_used() -> None:
    program = (
        "import sys, texturenets as tn\n"
        "assert not {'torch', 'numpy', 'PIL', 'google.protobuf'} & set(sys.modules), 'heavy'\n"
        "assert set(tn.__all__) <= set(dir(tn))\n"
        "import texturenets.train.presets, texturenets.train.trainer_config\n"
        "assert 'torch' not in sys.modules\n"
        "for name in tn.__all__: getattr(tn, name)\n"
        "import texturenets.converters, texturenets.evaluation, texturenets.train.start\n"
        "assert callable(tn.convert) and callable(tn.evaluate) and callable(tn.train_style)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        tn.lode  # type: ignore[attr-defined]  # noqa: B018


def test_the_fields_of_a_configuration_are_read_from_its_source_when_help_is_shown() -> None:
    program = (
        "import ast, pydoc\n"
        "parse, ast.parse = ast.parse, None\n"
        "import texturenets as tn\n"
        "tn.StyleConfig(), tn.TrainerConfig()\n"
        "ast.parse = parse\n"
        "assert 'steps : int, default 4000\\n    Optimizer steps' in tn.StyleConfig.__doc__, tn.StyleConfig.__doc__\n"
        "assert 'workers' in pydoc.render_doc(tn.TrainerConfig)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SNIPPET = """
import texturenets as tn

def show(record: object) -> bool:
    return False

style = tn.train_style("a.jpg", "photos", "a.safetensors", config=tn.StyleConfig(steps=5), progress=show)
reveal_type(style)
reveal_type(tn.train_texture("a.jpg", "a.safetensors"))
reveal_type(tn.load("wave"))
reveal_type(tn.models())
reveal_type(tn.convert("a.t7"))
reveal_type(tn.evaluate(style, "a.jpg", ["b.jpg"]))
tn.train_style("a.jpg", "photos", "a.safetensors", steps=5)
tn.lode("wave")
"""


@pytest.mark.slow
def test_mypy_sees_the_types(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SNIPPET)
    # With the project's options, so that what mypy knows of the package from before is used, and kept.
    words = [sys.executable, "-m", "mypy", str(tmp_path / "mine.py")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    told = [line.split(": ", 1)[1] for line in done.stdout.splitlines() if "mine.py:" in line]
    revealed = [line.split('"')[1] for line in told if "Revealed" in line]
    assert [name.replace("builtins.", "") for name in revealed] == [
        "texturenets.stylize.style.Style",
        "texturenets.textures.Texture",
        "texturenets.stylize.style.Style | texturenets.textures.Texture",
        "dict[str, texturenets.modelfiles.modelfile.Header]",
        "texturenets.converters.Converted",
        "dict[str, Any]",
    ]
    errors = [line for line in told if line.startswith("error")]
    assert len(errors) == 2, done.stdout
    assert '"steps"' in errors[0]
    assert '"lode"' in errors[1]


def test_an_editable_install_is_a_path_that_type_checkers_follow(tmp_path: Path) -> None:
    """Else setuptools finds packages by a hook at run time, which neither mypy nor editors run."""
    pytest.importorskip("setuptools.command.editable_wheel")
    program = (
        "from setuptools import Distribution; from setuptools.command import editable_wheel as e\n"
        "d = Distribution(); d.parse_config_files(); c = e.editable_wheel(d); c.ensure_finalized()\n"
        "print(type(c._select_strategy('texturenets', 'any', '.')).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["_StaticPth"], done.stderr


def test_a_wheel_holds_nothing_of_an_earlier_build(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    package = tmp_path / "src" / "texturenets"
    left = tmp_path / "build" / "lib" / "texturenets"
    for folder in (package, left):
        folder.mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "src/texturenets/_version.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (package / "__init__.py").touch()
    (left / "renamed_since.py").touch()
    program = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".py")]
    assert sorted(names) == ["texturenets/__init__.py", "texturenets/_version.py"]


def test_a_style_is_trained_from_python_stopped_and_resumed(studio: tiny.Studio, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    steps: list[int] = []

    def second(record: object) -> str | None:
        steps.append(record.step)  # type: ignore[attr-defined]
        return "stop" if len(steps) == 2 else None

    style = tn.train_style(
        studio.painting, studio.photos, out, config=config(steps=3), trainer=how(studio), progress=second
    )
    assert steps == [1, 2]
    assert style.path == tmp_path / "mine.run" / "last.safetensors"
    assert not out.exists()
    style = tn.train_style(
        studio.painting,
        studio.photos,
        out,
        config=config(steps=3),
        trainer=how(studio),
        progress=second,
        resume=True,
    )
    assert steps == [1, 2, 3]
    assert isinstance(style, tn.Style)
    assert style.path == out
    assert style(torch.rand(3, 40, 50)).shape == (3, 40, 50)
    assert (tmp_path / "mine.run" / "records.jsonl").exists()
    others: dict[str, Any] = {
        "config": config(steps=3, content_weight=9.0),
        "trainer": how(studio),
        "resume": True,
    }
    for _ in range(2):  # the first leaves no lock, though its error is still at hand
        with pytest.raises(tn.UserError, match="what changed: `content_weight`") as refused:
            tn.train_style(studio.painting, studio.photos, out, **others)
        assert refused.value.__traceback__ is not None
    with pytest.raises(tn.UserError, match="the name of a model file must end in"):
        tn.train_style(studio.painting, studio.photos, tmp_path / "mine.pt")
    with pytest.raises(tn.UserError, match="did you mean 'paper'"):
        tn.train_style(studio.painting, studio.photos, out, config="papr")


@pytest.mark.usefixtures("few_patches")
def test_a_texture_is_trained_and_models_are_measured_from_python(
    studio: tiny.Studio, tmp_path: Path
) -> None:
    small = tn.TextureConfig(
        set=("channels=6,4,4",), noise_depth=2, image_size=64, style_size=64, steps=1, style_layers=LAYERS
    )
    texture = tn.train_texture(studio.painting, tmp_path / "t.safetensors", config=small, trainer=how(studio))
    assert isinstance(texture, tn.Texture)
    assert texture.sample(64).size == (64, 64)
    model = tn.train_style(
        studio.painting,
        studio.photos,
        tmp_path / "s.safetensors",
        config=config(steps=1),
        trainer=how(studio),
    )
    how_large = tn.EvaluationOptions(size=64)
    found = tn.evaluate(
        model, studio.painting, [studio.photos / "0.png"], options=how_large, trainer=how(studio)
    )
    assert found["photos"][0]["style"] > 0
    with pytest.raises(tn.UserError, match="give photos"):
        tn.evaluate(model.path, studio.painting)
    with pytest.raises(tn.UserError, match="stylizes no photos"):
        tn.evaluate(texture, studio.painting, [studio.photos / "0.png"])


def test_models_are_the_shipped_ones() -> None:
    found = tn.models()
    assert list(found) == list(modelfile.shipped())
    assert {header.kind for header in found.values()} <= {"style", "texture", "material"}


# ----------------------------------------------------------------------------------- losses of one's own


class Brightness(Loss):
    """Images should be as light as their photos; looks at a layer of a network that no other loss takes."""

    name = "brightness"
    layers = ("relu1_1",)  # of VGG-16, where no network is named
    photo_layers = ("vgg16:relu1_2",)

    def __init__(self) -> None:
        self.styles: list[float] = []

    def prepare(self, styles: Iterator[tuple[float, Features]]) -> None:
        for share, style in styles:
            assert set(style.maps[0]) == {"vgg16:relu1_1"}
            self.styles.append(share)

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        assert targets.photos is not None
        assert set(features.maps[0]) >= {*LAYERS, "vgg16:relu1_1"}
        assert "vgg16:relu1_2" in targets.content[0]
        assert self.styles == [1.0]
        means = [x.mean((1, 2, 3)) for x in (features.images, targets.photos)]
        return {"brightness": 5 * (means[0] - means[1]).square().mean()}


def test_a_loss_of_ones_own_is_learned_logged_and_known_by_name(studio: tiny.Studio, tmp_path: Path) -> None:
    plain, mine = tmp_path / "plain.safetensors", tmp_path / "mine.safetensors"
    tn.train_style(studio.painting, studio.photos, plain, config=config(), trainer=how(studio))
    tn.train_style(
        studio.painting, studio.photos, mine, config=config(), trainer=how(studio), losses=[Brightness()]
    )
    lines = [json.loads(line) for line in (tmp_path / "mine.run" / "records.jsonl").read_text().splitlines()]
    assert lines[0]["losses"]["brightness"] > 0
    assert lines[-1]["validation"]["brightness"] > 0
    assert modelfile.read_header(mine).training["losses"] == ["brightness"]
    assert modelfile.read_header(plain).training["losses"] == []
    weights = [network_files.load(path)[0].state_dict() for path in (plain, mine)]
    assert any(not torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    longer = config(steps=3)
    with pytest.raises(tn.UserError, match="what changed: `losses` "):
        tn.train_style(studio.painting, studio.photos, mine, config=longer, trainer=how(studio), resume=True)
    tn.train_style(
        studio.painting,
        studio.photos,
        mine,
        config=longer,
        trainer=how(studio),
        losses=[Brightness()],
        resume=True,
    )
    assert checkpoint.read_state(tmp_path / "mine.run").step == 3


class Given(Loss):
    """Gives what it was made with."""

    def __init__(self, name: str, *values: Any, layers: tuple[str, ...] = ()) -> None:
        self.name, self.values, self.layers = name, values[0] if values else None, layers

    def __call__(self, features: Features, targets: Targets) -> dict[str, Tensor]:
        return self.values(features.images) if callable(self.values) else self.values


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            lambda y: {"mine": y.mean((2, 3))},
            "the loss mine returns a tensor of shape (2, 3), not a tensor with one",
        ),
        (lambda y: y.mean(), "the loss mine returns a tensor of shape (), not a dict"),
        (lambda y: {"mine": 3}, "the loss mine returns 3, not a tensor with one element"),
        (lambda y: {"yours": y.mean()}, "returns the key 'yours': name it mine or mine/..."),
        (lambda y: {"mine": y.detach().mean()}, "mine returns a value that does not require grad"),
    ],
)
def test_values_that_are_no_loss_are_refused(values: Callable[[Tensor], Any], says: str) -> None:
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    with pytest.raises(tn.UserError, match=re.escape(says)):
        UserLoss(Given("mine", values))(Features(images), Targets())


def test_a_loss_that_is_a_module_needs_no_prepare() -> None:
    class Mean(nn.Module):
        name = "mean"

        def forward(self, features: Features, targets: Targets) -> dict[str, Tensor]:
            return {"mean": features.images.mean()}

    (made,) = check_user_losses([Mean()])  # type: ignore[list-item]
    made.prepare(iter(()))
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    assert made(Features(images), Targets())["mean"] == images.mean()


def test_losses_that_will_not_do_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    for losses, says in (
        ([Given("mine"), Given("mine")], "two losses are called mine"),
        ([Given("content")], "two losses are called content"),
        ([Given("")], "Given is not a loss"),
        ([lambda images: images.mean()], "<lambda> is not a loss: derive a class"),
        ([Given("mine", layers=("vgg16:relu9_9",))], "relu"),
        (
            [Given("mine", layers="vgg16:relu3_1")],  # type: ignore[arg-type]
            r"the loss mine: `layers` 'vgg16:relu3_1' is not a tuple of names, as \('vgg16:relu3_1',\)",
        ),
    ):
        with pytest.raises(tn.UserError, match=says):
            tn.train_style("missing.png", tmp_path, tmp_path / "a.safetensors", losses=losses)  # type: ignore[arg-type]


def documented(name: str) -> str:
    """The Python example of docs/training.md that holds `name`."""
    blocks = (ROOT / "docs" / "training.md").read_text().split("```python\n")[1:]
    (found,) = [block.split("```")[0] for block in blocks if name in block]
    return found


def test_the_documented_loss_runs(
    studio: tiny.Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = documented("losses=[")
    (tmp_path / "painting.jpg").write_bytes(studio.painting.read_bytes())
    (tmp_path / "photos").symlink_to(studio.photos)
    monkeypatch.chdir(tmp_path)
    train = tn.train_style

    def small(*words: object, **options: object) -> object:
        asked = options.pop("config")
        chosen = dataclasses.replace(config(), content_weight=asked.content_weight)  # type: ignore[attr-defined]
        return train(*words, **options, config=chosen, trainer=how(studio))  # type: ignore[arg-type]

    monkeypatch.setattr(tn, "train_style", small, raising=False)
    exec(compile(text, "docs/training.md", "exec"), {})
    assert len(modelfile.read_header(tmp_path / "mine.safetensors").training["losses"]) == 1


def test_the_documented_reference_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train_style", "train_texture"):  # whose files are not here: what is given, it takes
        monkeypatch.setattr(tn, name, inspect.signature(getattr(tn, name)).bind, raising=False)
    text = (ROOT / "docs" / "python.md").read_text()
    names: dict[str, Any] = {}
    for block in text.split("```python\n")[1:]:
        exec(compile(block.split("```")[0], "docs/python.md", "exec"), names)
    assert names["stylized"].shape == names["soft"].shape == (96, 128, 3)
    assert names["image"].size == (256, 128)
    assert len(names["four"]) == 4


def test_the_documented_generator_trains_and_paints(studio: tiny.Studio, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(documented("class Mine"))
    result = studio.run(generator=f"{file}:Mine", set=["channels=4"], output=tmp_path / "own.safetensors")
    assert result.status == 0, result.error
    file.unlink()
    style = tn.load(result.model, "cpu")
    assert isinstance(style, tn.Style)
    assert style(torch.rand(3, 65, 70)).shape == (3, 65, 70)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: tn.StyleConfig(optimizer="sgd"), "`optimizer` 'sgd' is not muon or adam"),  # type: ignore[arg-type]
        (lambda: tn.StyleConfig(steps=1.5), "`steps` 1.5 is not a whole number"),  # type: ignore[arg-type]
        (lambda: tn.StyleConfig(learning_rate="0.1"), "is not a number"),  # type: ignore[arg-type]
        (lambda: tn.StyleConfig(flip=1), "neither True nor False"),  # type: ignore[arg-type]
        (lambda: tn.StyleConfig(style_layers="vgg16:relu1_1"), "is not a tuple"),  # type: ignore[arg-type]
        (lambda: tn.StyleConfig(style_layers="relu1_1, relu2_1"), "as ('relu1_1', 'relu2_1')"),  # type: ignore[arg-type]
        (lambda: tn.StyleConfig(generator=Residual), "give its name, as 'FILE.py:Residual'"),  # type: ignore[arg-type]
        (lambda: tn.TrainerConfig(engine="onnx"), "`engine` 'onnx' is not auto or torch"),  # type: ignore[arg-type]
        (lambda: tn.TrainerConfig(save_every=2.5), "is not a whole number"),  # type: ignore[arg-type]
        (lambda: tn.TrainerConfig(workers="2"), "`workers` '2' is not a whole number"),  # type: ignore[arg-type]
    ],
)
def test_what_the_command_line_would_refuse_is_refused(made: Callable[[], object], said: str) -> None:
    with pytest.raises(tn.UserError, match=re.escape(said)):
        made()


def test_several_processes_are_for_the_command_line() -> None:
    left: list[bool] = []
    training: Any = SimpleNamespace(fabric=SimpleNamespace(world_size=2), leave=lambda: left.append(True))
    with pytest.raises(tn.UserError, match="torchrun"):
        start._run(training, None)
    assert left


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: tn.StyleConfig(seed=2**63), "`seed` 9223372036854775808 is too large"),
        (lambda: tn.TrainerConfig(licence=3), "`licence` 3 is not text"),  # type: ignore[arg-type]
        (lambda: tn.TrainerConfig(terms=("a", "b")), "`terms` ('a', 'b') is not text"),  # type: ignore[arg-type]
        (lambda: tn.TrainerConfig(licence="\udcff"), "is not UTF-8"),
        (lambda: tn.TrainerConfig(weights="here"), "as ('here',)"),  # type: ignore[arg-type]
        (lambda: tn.TrainerConfig(init=3), "`init` 3 is not text"),  # type: ignore[arg-type]
        (lambda: tn.convert("missing.t7", name=3), "`name` 3 is not text"),  # type: ignore[arg-type]
        (lambda: tn.convert("missing.t7", licence=4), "`licence` 4 is not text"),  # type: ignore[arg-type]
    ],
)
def test_what_no_model_file_could_hold_is_refused_before_any_work(
    made: Callable[[], object], said: str
) -> None:
    with pytest.raises(tn.UserError, match=re.escape(said)):
        made()


def test_a_header_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    spec = Residual(channels=8, blocks=1)
    for change in ({"licence": 3}, {"training": {"seed": 2**63}}):
        header = modelfile.Header(name="a", kind="style", generator=spec, **change)  # type: ignore[arg-type]
        with pytest.raises(tn.UserError, match="would not be readable when loaded"):
            network_files.save(build(spec), header, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    made = config(steps=np.int64(3), learning_rate=np.float32(0.5))
    assert type(made.steps) is int
    assert type(made.learning_rate) is float


def test_a_model_that_is_replaced_is_warned_of(studio: tiny.Studio, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"precious")
    with pytest.warns(UserWarning, match=r"mine\.safetensors exists and will be replaced at the end"):
        tn.train_style(studio.painting, studio.photos, out, config=config(steps=1), trainer=how(studio))


def test_photos_of_which_none_can_be_read(
    studio: tiny.Studio, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"none")
    with pytest.raises(tn.UserError, match="no photo can be read of the 1"):
        tn.train_style(
            studio.painting,
            tmp_path / "photos",
            tmp_path / "a.safetensors",
            config=config(steps=1),
            trainer=how(studio),
        )
    assert not [str(one.message) for one in recwarn.list if "only 0" in str(one.message)]


def test_the_network_itself(tmp_path: Path) -> None:
    network, photo = tn.load_module("composition_vii"), torch.rand(1, 3, 64, 96)
    style = tn.load("composition_vii", "cpu", engine="torch")
    wide = torch.nn.functional.pad(photo, (16, 16, 16, 16), "reflect")
    torch.testing.assert_close(
        network(wide)[:, :, 16:-16, 16:-16].clamp(0, 1), style(photo), atol=1e-3, rtol=0
    )
    assert not any(weight.requires_grad for weight in network.parameters())
    network.requires_grad_(True)(photo.requires_grad_()).mean().backward()
    assert photo.grad is not None
    assert all(weight.grad is not None for weight in network.parameters())
    texture = tn.load_module("pebble")
    assert texture(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    with pytest.raises(tn.UserError, match="did you mean 'wave'"):
        tn.load_module("wav")


def test_few_and_unreadable_photos_are_warned_of(studio: tiny.Studio, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(studio.photos, photos)
    (photos / "bad.png").write_bytes((photos / "0.png").read_bytes()[:200])
    with pytest.warns(UserWarning, match="overfit") as told:
        tn.train_style(
            studio.painting, photos, tmp_path / "a.safetensors", config=config(steps=1), trainer=how(studio)
        )
    texts = [str(one.message) for one in told]
    assert sum("held out: the network will overfit" in text for text in texts) == 1
    assert sum("bad.png" in text for text in texts) == 1
    assert {one.filename for one in told} == {__file__}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {}}, "`config` is of type dict"),
        ({"config": tn.TextureConfig()}, "`config` is of type TextureConfig"),
        ({"trainer": {}}, "`trainer` is of type dict"),
        ({"progress": 3}, "`progress` is of type int"),
        ({"resume": "no"}, "`resume` 'no' is neither True nor False"),
        ({"losses": Given("mine")}, "`losses` is of type Given"),
        ({"losses": [Brightness]}, "give an instance"),
        ({"paintings": np.zeros((64, 64, 3))}, "`paintings` is of type ndarray"),
    ],
)
def test_arguments_of_another_type_are_refused_in_one_line(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    given = {"paintings": "missing.png", "content": tmp_path, "output": tmp_path / "a.safetensors", **change}
    with pytest.raises(tn.UserError, match=said):
        tn.train_style(**given)


def test_options_of_another_type_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    spec = Residual(channels=8, blocks=1)
    network_files.save(build(spec), modelfile.Header(name="a", kind="style", generator=spec), path)
    style: Any = tn.load(path, "cpu", engine="torch")
    photo = tiny.picture(tmp_path / "a.png", 1)
    assert style(photo).size == (90, 72)
    assert style(str(photo), size=np.int64(32)).size == (32, 26)
    wrong = {"size": "32", "strength": "1", "noise_level": "x", "seed": 1.5, "stroke": "big"}
    for name, value in {**wrong, "size ": 32.5}.items():
        with pytest.raises(tn.UserError, match=name.strip()):
            style(photo, **{name.strip(): value})
    for call in (lambda: tn.load(3), lambda: tn.load(path, 0), lambda: tn.load(path, engine=None)):  # type: ignore[arg-type]
        with pytest.raises(tn.UserError):
            call()
    with pytest.raises(tn.UserError, match="`style_weight` is 0"):
        tn.StyleConfig(style_weight=0, content_weight=0)
