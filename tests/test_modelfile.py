"""One file a model: what goes in comes out, and what is damaged is refused in one line."""

from __future__ import annotations

import base64
import contextlib
import errno
import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from texturenets import converters
from texturenets.engines.executor import GraphNetwork
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.networks import build, make_spec, network_files, to_dict
from texturenets.networks.custom import Custom
from texturenets.networks.pyramid import Pyramid
from texturenets.networks.residual import Residual
from texturenets.networks.trace import trace

SPEC = Residual(channels=8, blocks=1, padding="zero")


@pytest.fixture
def network() -> torch.nn.Module:
    """A small network."""
    return build(SPEC)


def header(**change: Any) -> modelfile.Header:
    facts: dict[str, Any] = {
        "name": "tiny",
        "kind": "style",
        "generator": SPEC,
        "training": {"run": {"steps": 7}, "validation": 0.5},
        "licence": "CC0-1.0",
        "terms": "photos of our own: ä ö ü",
        "source": "painting.jpg",
        "thumbnail": modelfile.encode_thumbnail(torch.rand(1, 3, 40, 60)),
    }
    return modelfile.Header(**{**facts, **change})


@pytest.fixture
def path(network: torch.nn.Module, tmp_path: Path) -> Path:
    """Its model file."""
    made = tmp_path / "tiny.safetensors"
    network_files.save(network, header(), made)
    return made


def rewrite(path: Path, **change: Any) -> Path:
    """The file with other values in its header; None removes one."""
    tensors = load_file(path)
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        data = json.loads(json.loads(file.read(length))["__metadata__"]["texturenets"])
    data = {k: v for k, v in {**data, **change}.items() if v is not None}
    save_file(tensors, path, {"texturenets": json.dumps(data)})
    return path


def test_weights_come_back_in_half_precision_and_the_header_as_it_was(
    network: torch.nn.Module, path: Path
) -> None:
    loaded, found = network_files.load(path)
    assert found == header(thumbnail=found.thumbnail)
    assert not loaded.training
    for name, value in network.state_dict().items():
        half = loaded.state_dict()[name]
        assert half.dtype == torch.float32
        assert torch.equal(half, value.half().float()), name
        assert not torch.equal(value, torch.zeros_like(value)) or torch.equal(half, value)
    assert not any(p.requires_grad for p in loaded.parameters())
    # Two bytes a weight, the header and the graph: nothing else is in there.
    weights = 2 * sum(v.numel() for v in network.state_dict().values())
    assert weights < path.stat().st_size < weights + 8000
    x = torch.rand(1, 3, 32, 32)
    y, z = network.eval()(x), loaded(x)
    assert 0 < (y - z).abs().max() < 0.01


def test_counters_stay_whole_numbers(tmp_path: Path) -> None:
    spec = Residual(channels=8, blocks=1, normalization="batch")
    network = build(spec)
    for _ in range(3):
        network(torch.rand(2, 3, 32, 32))
    network_files.save(network, header(generator=spec), tmp_path / "a.safetensors")
    loaded, _ = network_files.load(tmp_path / "a.safetensors")
    counters = {k: v for k, v in loaded.state_dict().items() if not v.is_floating_point()}
    assert counters
    assert all(v == 3 for v in counters.values())


def test_a_file_of_a_later_format_is_refused_by_name(path: Path) -> None:
    rewrite(path, format=modelfile.FORMAT + 1, version="9.9")
    message = f"{path} has model format {modelfile.FORMAT + 1}; .* written by 9.9"
    with pytest.raises(UserError, match=message):
        modelfile.read_header(path)
    with pytest.raises(UserError, match=message):
        network_files.load(path)


def test_a_file_of_the_first_format_is_refused_and_converted(
    network: torch.nn.Module, path: Path, tmp_path: Path
) -> None:
    before = {name: value.float() for name, value in load_file(path).items()}
    rewrite(path, format=1, graph=None)
    with pytest.raises(
        UserError, match=f"{path} has model format 1, .*: `texturenets convert {path} -o new-{path.name}`$"
    ):
        network_files.load(path)
    made = converters.convert(path, name="again")
    made.save(tmp_path / "new.safetensors")
    loaded, found = network_files.load(tmp_path / "new.safetensors")
    assert (found.name, network_files.spec_of(found), found.licence) == ("again", SPEC, "CC0-1.0")
    assert all(torch.equal(value, before[name]) for name, value in loaded.state_dict().items())
    with pytest.raises(UserError, match="is a model of texturenets already"):
        converters.convert(tmp_path / "new.safetensors")


def test_code_of_ones_own_of_the_first_format_is_run_if_asked(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    path = tmp_path / "a.safetensors"
    network_files.save(
        build(spec := make_spec(f"{file}:Mine"), custom=f"{file}:Mine"), header(generator=spec), path
    )
    rewrite(path, format=1, graph=None)
    with pytest.raises(UserError, match="not run unasked"):
        converters.convert(path)
    assert converters.convert(path, generator=f"{file}:Mine").header.custom


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("format",), "true"),
        (("generator",), "[1]"),
        (("generator",), '{"name": 7}'),
        (("kind",), '"video"'),
        (("name",), r'"\ud800"'),
        (("training", "step"), "1" + 400 * "0"),
        (("training", "validation"), "NaN"),
        (("training", "notes"), 40 * "[" + 40 * "]"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_hostile_header_of_the_first_format_is_refused(
    path: Path, keys: tuple[str, ...], value: str
) -> None:
    bad = changed(rewrite(path, format=1, graph=None), *keys, value=value)
    with pytest.raises(UserError, match="damaged model header") as caught:
        converters.convert(bad)
    assert str(bad) in str(caught.value)


def test_a_damaged_weight_of_the_first_format_is_refused(path: Path) -> None:
    tensors = load_file(rewrite(path, format=1, graph=None))
    name = next(iter(tensors))
    tensors[name].view(-1)[0] = float("nan")
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        text = json.loads(file.read(length))["__metadata__"]["texturenets"]
    save_file(tensors, path, {"texturenets": text})
    with pytest.raises(UserError, match=f"{name} is not finite"):
        converters.convert(path)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float8_e4m3fn, torch.complex64])
def test_a_weight_of_a_type_that_numpy_has_not_is_named(path: Path, kind: torch.dtype) -> None:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        text = json.loads(file.read(length))["__metadata__"]["texturenets"]
    tensors = load_file(path)
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name].to(kind)}, path, {"texturenets": text})
    with pytest.raises(UserError, match=f"{path}: weight {name} is of type .*; known are F16, F32"):
        modelfile.read_graph(path)


def test_a_constant_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    class Rooted(torch.nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 (torch's name)
            return input * (self.bias * 0 - 1).sqrt().view(1, 3, 1, 1)

    graph = trace(Rooted(3, 3, 1))
    own = header(generator=Custom(target="gone.py:Rooted"))
    with pytest.raises(UserError, match="is not finite"):
        network_files.save(GraphNetwork(graph), own, tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_the_graph_and_its_weights_are_read_without_torch(network: torch.nn.Module, path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None; from texturenets.modelfiles import modelfile; "
        f"g = modelfile.read_graph({str(path)!r}); print(len(g.weights), g.io_spec.stride, g.io_spec.min_side)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(network.state_dict())), "4", "4"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"graph": [1]}, "its graph is none"),
        ({"graph": {"nodes": ["photo", "conv 0 out=3 kernel=1 weight=\x1b[2J"]}}, "unprintable"),
        ({"graph": None}, "cannot be taken into a graph: its network's code; `engine` torch runs it$"),
        ({"graph": None, "no_graph": "a\x1b[2J\nb" + 999 * "c"}, r"graph: a\[2J bc{293}; `engine`"),
        ({"graph": {"nodes": ["photo", "jump 0"]}}, "unknown operation 'jump'"),
        ({"graph": {"nodes": ["photo", "conv 0 out=3 kernel=1 weight=gone"]}}, "gone is missing"),
    ],
)
def test_a_damaged_graph_is_refused_with_the_file_named(
    path: Path, change: dict[str, Any], said: str
) -> None:
    rewrite(path, **change)
    with pytest.raises(UserError, match=f"{path}:? .*{said}"):
        modelfile.read_graph(path)


def test_what_a_later_version_says_besides_is_passed_over(path: Path) -> None:
    rewrite(path, mood="melancholic")
    assert modelfile.read_header(path).name == "tiny"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": None}, "damaged model header"),
        ({"format": "one"}, "damaged model header"),
        ({"generator": None}, "damaged model header"),
        ({"generator": [1]}, "damaged model header"),
        ({"generator": {"name": "residuel"}}, "did you mean 'residual'"),
        ({"generator": {"name": "residual", "channels": "many"}}, "channels"),
        ({"generator": {"name": "residual", "channels": 10**9}}, "channels"),
        ({"name": None}, "damaged model header"),
        (
            {"generator": to_dict(Residual(channels=16, blocks=1))},
            "do not fit its residual network",
        ),
        ({"generator": to_dict(Pyramid(channels=2))}, "do not fit its pyramid network"),
    ],
    ids=str,
)
def test_a_damaged_header_is_refused_with_the_file_named(
    path: Path, change: dict[str, Any], said: str
) -> None:
    rewrite(path, **change)
    with pytest.raises(UserError, match=said) as caught:
        network_files.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def stored(path: Path, text: str) -> Path:
    """The file with this text as its header."""
    save_file(load_file(path), path, {"texturenets": text})
    return path


def changed(path: Path, *keys: str, value: str) -> Path:
    """The file with the JSON `value` in its header, under a name or a name in a name."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        data = json.loads(json.loads(file.read(length))["__metadata__"]["texturenets"])
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = "PLACE"
    return stored(path, json.dumps(data).replace('"PLACE"', value))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("format",), "Infinity"),
        (("format",), "NaN"),
        (("format",), "true"),
        (("format",), "1e999"),
        (("name",), "7"),
        (("name",), r'"\ud800"'),
        (("kind",), '"video"'),
        (("kind",), "[]"),
        (("thumbnail",), "[1]"),
        (("thumbnail",), '"no base64"'),
        (("thumbnail",), r'"\udc80"'),
        (("licence",), "{}"),
        (("licence",), r'"free \ud83d"'),
        (("terms",), "1"),
        (("source",), "null"),
        (("version",), "[]"),
        (("training",), "[]"),
        (("training", "run"), "[]"),
        (("training", "step"), "1" + 400 * "0"),
        (("training", "step"), "1" + 5000 * "0"),
        (("training", "validation"), "Infinity"),
        (("training", "notes"), 60000 * "[" + 60000 * "]"),
        (("training", "notes"), 40 * "[" + 40 * "]"),
        (("training", "notes"), r'{"\ud800": 1}'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_every_field_is_what_it_should_be(path: Path, keys: tuple[str, ...], value: str) -> None:
    bad = changed(path, *keys, value=value)
    with pytest.raises(UserError, match="damaged model header") as caught:
        modelfile.read_header(bad)
    assert str(bad) in str(caught.value)
    str(caught.value).encode()


def test_a_header_nested_without_end_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="damaged model header"):
        modelfile.read_header(stored(path, 60000 * "[" + 60000 * "]"))
    with pytest.raises(UserError, match="damaged model header"):
        modelfile.read_header(stored(path, 60000 * '{"a":' + "1" + 60000 * "}"))


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(UserError, match="not a regular file"):
        modelfile.read_header(tmp_path / "pipe.safetensors")
    with pytest.raises(UserError, match="no such model file"):
        modelfile.find(tmp_path / "pipe.safetensors")


def test_a_name_that_is_not_utf_8_is_told(path: Path) -> None:
    odd = path.rename(path.with_name(os.fsdecode(b"\xff.safetensors")))
    with pytest.raises(UserError, match=r"\\udcff.safetensors: its name is not UTF-8") as caught:
        modelfile.read_header(odd)
    str(caught.value).encode()


@pytest.mark.parametrize("text", ["", "nul", "null", "[]", "3", '"x"', "{"])
def test_a_header_that_is_no_object_is_refused(path: Path, text: str) -> None:
    save_file(load_file(path), path, {"texturenets": text})
    with pytest.raises(UserError, match="damaged model header"):
        modelfile.read_header(path)


@pytest.mark.parametrize("name", ["net.t7", "net.pth", "net.onnx"])
def test_networks_of_other_programs_can_be_converted(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\4\0\0\0\1\0\0\0" * 9)  # as Torch7 begins an object
    with pytest.raises(
        UserError, match=rf"another program's network; `texturenets convert .*{name}` may read it"
    ):
        modelfile.read_header(tmp_path / name)


def test_files_cut_short_or_of_another_kind_are_refused(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    cut = tmp_path / "cut.safetensors"
    for length in [0, 1, 7, 8, 9, 100, *range(200, len(whole), len(whole) // 20), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(UserError, match=f"{cut} is (cut short|not a texturenets model)"):
            network_files.load(cut)
    for other in (b"\x89PNG" * 99, bytes(64), b"\xff" * 64, struct.pack("<Q", 2**40) + b"{}"):
        cut.write_bytes(other)
        with pytest.raises(UserError, match="is not a texturenets model"):
            network_files.load(cut)
    save_file({"a": torch.zeros(1)}, cut)
    with pytest.raises(UserError, match="no texturenets header; `texturenets convert`"):
        network_files.load(cut)
    with pytest.raises(UserError, match=r"no such file: .*gone"):
        network_files.load(tmp_path / "gone.safetensors")
    with pytest.raises(UserError, match=str(tmp_path)):
        network_files.load(tmp_path)


def test_single_damaged_bytes_raise_nothing_but_user_errors(path: Path, tmp_path: Path) -> None:
    whole, bad = path.read_bytes(), tmp_path / "bad.safetensors"
    (length,) = struct.unpack("<Q", whole[:8])
    for place in range(0, 8 + length, 41):
        bad.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        with contextlib.suppress(UserError):
            network_files.load(bad)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    network: torch.nn.Module, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(_: object, name: Path, *__: object) -> None:
        Path(name).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("texturenets.networks.network_files.save_file", full)
    for name in (path, path.with_name("new.safetensors")):
        with pytest.raises(UserError, match=f"cannot write {name}: No space left on device"):
            network_files.save(network, header(), name)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_half_precision_does_not_hold_are_refused(
    network: torch.nn.Module, tmp_path: Path, value: float
) -> None:
    with torch.no_grad():
        next(network.parameters()).flatten()[0] = value
    with pytest.raises(
        UserError, match="not finite in half precision: train again with a lower `learning_rate`"
    ):
        network_files.save(network, header(), tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_the_thumbnail_is_a_small_jpeg_of_the_picture() -> None:
    picture = torch.zeros(1, 3, 300, 600)
    picture[:, 0] = 1
    with Image.open(io.BytesIO(base64.b64decode(modelfile.encode_thumbnail(picture)))) as image:
        assert (image.format, image.size) == ("JPEG", (160, 80))
        r, g, b = image.getpixel((90, 40))  # type: ignore[misc]
    assert r > 245
    assert max(g, b) < 10


# -------------------------------------------------------------------------------------------------- find


@pytest.fixture
def zoo(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models, `wave` alone."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    path.rename(folder / "wave.safetensors")
    monkeypatch.setattr(modelfile, "ZOO", folder)
    return folder


def test_find_knows_names_and_files(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert modelfile.shipped() == {"wave": zoo / "wave.safetensors"}
    assert modelfile.find("wave") == zoo / "wave.safetensors"
    (tmp_path / "wave").mkdir()  # a folder of that name is no model
    assert modelfile.find("wave", "style") == zoo / "wave.safetensors"
    (tmp_path / "mine").write_bytes(b"")
    assert modelfile.find("mine") == Path("mine")
    assert modelfile.find(zoo / "wave.safetensors") == zoo / "wave.safetensors"


def test_a_bad_file_among_the_models_is_passed_over(zoo: Path) -> None:
    os.mkfifo(zoo / "pipe.safetensors")
    (zoo / "cut.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="unknown style 'wav'; did you mean 'wave'"):
        modelfile.find("wav", "style")
    found, problems = modelfile.headers(modelfile.shipped())
    assert list(found) == ["wave"]
    assert [problem.split("/")[-1].split()[0] for problem in problems] == [
        "cut.safetensors",
        "pipe.safetensors",
    ]


def test_find_gives_the_nearest_name(zoo: Path) -> None:
    with pytest.raises(UserError, match="unknown style 'wav'; did you mean 'wave'"):
        modelfile.find("wav", "style")
    with pytest.raises(UserError, match="unknown texture 'wave_'; none are there"):
        modelfile.find("wave_", "texture")
    for name, said in (
        ("wave.safetensor", "no such model"),
        ("zoo/wav", "no such model"),
        (zoo, "is a folder"),
    ):
        with pytest.raises(UserError, match=said):
            modelfile.find(name)


# ------------------------------------------------------------------------------- a generator of one's own

CODE = """
from torch import nn


class Mine(nn.Sequential):
    def __init__(self, kernel=3):
        super().__init__(nn.Conv2d(3, 3, kernel, padding=kernel // 2), nn.Sigmoid())
"""


def test_a_model_with_code_of_its_makers_own_needs_consent(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(CODE)
    spec = make_spec(f"{file}:Mine", ["kernel=5"])
    network = build(spec, custom=f"{file}:Mine")
    path = tmp_path / "a.safetensors"
    network_files.save(network, header(generator=spec), path)
    assert network_files.spec_of(modelfile.read_header(path)) == spec  # read without running anything
    x = torch.rand(1, 3, 8, 8)
    assert torch.allclose(
        network_files.load(path)[0](x), network(x), atol=1e-3
    )  # by its graph, without the code
    graph = modelfile.read_graph(path)
    assert graph is not None
    assert set(graph.weights) == {"0.weight", "0.bias"}
    rewrite(path, graph=None)
    with pytest.raises(UserError, match=r"not run unasked: .*`generator`"):
        network_files.load(path)
    moved = file.rename(tmp_path / "elsewhere.py")
    loaded, _ = network_files.load(path, f"{moved}:Mine")
    weight = network.state_dict()["0.weight"]
    assert weight.shape == (3, 3, 5, 5)
    assert torch.equal(loaded.state_dict()["0.weight"], weight.half().float())


def test_consent_for_a_model_that_needs_none_is_a_mistake(path: Path) -> None:
    with pytest.raises(UserError, match="needs no code of your own"):
        network_files.load(path, "mine.py:Mine")


def test_a_model_file_that_is_nearly_named_is_offered(tmp_path: Path) -> None:
    (tmp_path / "mine.run").mkdir()
    with pytest.raises(UserError, match=r"is a folder, and no model file$"):
        modelfile.find(tmp_path / "mine.run")
    for name in ("mine.safetensors", "mine.run/best.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"say .*mine.run/best.safetensors$"):
        modelfile.find(tmp_path / "mine.run")
    with pytest.raises(UserError, match=r"did you mean .*/mine.safetensors\?$"):
        modelfile.find(tmp_path / "mine.safetensor")
    with pytest.raises(UserError, match="lists the shipped ones"):
        modelfile.find(tmp_path / "other.safetensors")


def test_a_header_is_shown_without_its_thumbnail() -> None:
    header = modelfile.Header(name="a", kind="style", generator={"name": "residual"}, thumbnail="/9j/4AAQ")
    assert "4AAQ" not in repr(header)
    assert "residual" in repr(header)


def test_a_file_that_may_not_be_read_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.safetensors").write_bytes(b"x")

    def refused(*_: object) -> None:  # as safetensors reports it
        raise FileNotFoundError

    monkeypatch.setattr(modelfile, "safe_open", refused)
    with pytest.raises(UserError, match=r"cannot read .*secret\.safetensors: permission denied"):
        modelfile.read_header(tmp_path / "secret.safetensors")
    with pytest.raises(UserError, match=r"no such file: .*absent\.safetensors"):
        modelfile.read_header(tmp_path / "absent.safetensors")
