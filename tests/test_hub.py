"""Models by hf:// names: fetched from a server that speaks as the Hub does, used everywhere, refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from galleries import gallery

pytest.importorskip("huggingface_hub")

import hubserver
from hubserver import TOKEN, Hub

from texturenets import loading
from texturenets.errors import UserError
from texturenets.hub import library, names
from texturenets.hub.names import HubName
from texturenets.modelfiles import modelfile
from texturenets.networks import build, network_files
from texturenets.networks.pyramid import Pyramid2
from texturenets.networks.residual import Residual
from texturenets.stylize.style import Style
from texturenets.textures import Texture
from texturenets.train.trainer_config import TrainerConfig

TINY = Residual(channels=8, blocks=0)
BARK = Pyramid2(channels=(6, 4, 4), noise_depth=2)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hubserver.serving(monkeypatch, tmp_path / "home") as made:
        yield made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo; the style `wave` is shipped."""
    work = tiny.working_folder(tmp_path, monkeypatch, {"wave": TINY})
    tiny.picture(work / "photo.png", seed=1, size=(32, 24))
    return work


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made(tmp_path_factory.mktemp("style"), "style", TINY)


@pytest.fixture(scope="module")
def texture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made(tmp_path_factory.mktemp("texture"), "texture", BARK)


def made(folder: Path, kind: Any, spec: Any) -> bytes:
    path = folder / "made.safetensors"
    network_files.save(build(spec), modelfile.Header(name="made", kind=kind, generator=spec), path)
    return path.read_bytes()


# ---- Names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://mona/wave", ("mona/wave", None, None)),
        ("hf://mona/wave@v1.0", ("mona/wave", None, "v1.0")),
        ("hf://mona/wave@refs/pr/1", ("mona/wave", None, "refs/pr/1")),
        ("hf://mona/w.a_v-e/a/b.safetensors", ("mona/w.a_v-e", "a/b.safetensors", None)),
        ("hf://mona/wave/a@2x.safetensors@main", ("mona/wave", "a@2x.safetensors", "main")),
    ],
)
def test_a_name_has_parts(text: str, parts: tuple[str, str | None, str | None]) -> None:
    assert names.parse(text) == HubName(*parts)
    assert str(names.parse(text)) == text
    assert names.parse(Path(text)) == HubName(*parts)  # which has one slash for two


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hf://wave", "is not a name of a model"),
        ("hf://", "is not a name of a model"),
        ("hf://mona/wave@", "is not a name of a model"),
        ("hf://mona/wave/../x.safetensors", "is not a name of a model"),
        ("hf://mona/wave@../../x", "is not a name of a model"),
        ("hf://mona/wave/a b", "a b is none"),
        ("hf://mona/wave/weights.bin", "models are .safetensors files, and weights.bin is none"),
        ("hf://mona/wave@v1/a.safetensors", "write hf://mona/wave/a.safetensors@v1"),
    ],
)
def test_a_malformed_name_is_refused(hub: Hub, text: str, said: str) -> None:
    error = tiny.refused("models", "show", text)
    assert said in error
    assert not hub.asked


def test_a_mixture_may_stand_behind_a_name() -> None:
    for name in ("hf://mona/gallery", "hf://mona/gallery/g.safetensors", "hf://mona/gallery@v1"):
        assert loading.split_name(name) == (name, None)
        assert loading.split_name(f"{name}:wave=0.6,udnie=0.4") == (name, {"wave": 0.6, "udnie": 0.4})


# ---- Fetching ------------------------------------------------------------------------------------------


def test_a_style_is_fetched_and_used(hub: Hub, here: Path, style: bytes) -> None:
    hub.repo("mona/sea", {"README.md": b"# Sea", "sea.safetensors": style})
    status, out, error = tiny.call("stylize", "photo.png", "-s", "hf://mona/sea", "--engine", "torch")
    assert (status, out.strip()) == (0, "photo-sea.png"), error
    assert (here / "photo-sea.png").is_file()
    assert "%" not in error  # no progress bars but on terminals
    loaded = loading.load("hf://mona/sea/sea.safetensors", engine="torch")
    assert isinstance(loaded, Style)
    assert modelfile.find("hf://mona/sea").read_bytes() == style
    assert not [asked for asked in hub.asked if "README" in asked]


def test_a_texture_is_fetched_and_drawn(hub: Hub, here: Path, texture: bytes) -> None:
    hub.repo("mona/bark", {"bark.safetensors": texture})
    status, out, error = tiny.call("sample", "hf://mona/bark", "--size", "32", "--engine", "torch")
    assert (status, out.strip()) == (0, "bark-0.png"), error
    assert isinstance(loading.load("hf://mona/bark", engine="torch"), Texture)


def test_models_show_export_and_init_take_the_name(hub: Hub, here: Path, style: bytes) -> None:
    hub.repo("mona/sea", {"sea.safetensors": style})
    status, out, _ = tiny.call("models", "show", "hf://mona/sea", "--json")
    assert status == 0
    assert '"name": "sea"' in out
    status, out, error = tiny.call("export", "hf://mona/sea", "--to", "onnx", "--quiet")
    assert (status, out.strip()) == (0, "sea.onnx"), error
    # Once for the whole training, whatever comes to the repository meanwhile.
    config = TrainerConfig(init="hf://mona/sea")
    assert config.init == str(modelfile.find("hf://mona/sea"))
    assert "file of mona/sea 'see.safetensors'; did you mean 'sea.safetensors'?" in tiny.refused(
        "evaluate", "hf://mona/sea/see.safetensors", "--against", "photo.png"
    )


def test_one_style_of_several(hub: Hub, here: Path) -> None:
    _, path = gallery(here)
    hub.repo("mona/several", {"several.safetensors": path.read_bytes()})
    tiny.call(
        "stylize", "photo.png", "-s", f"{path}:wave=0.6,udnie=0.4", "--engine", "torch", "-o", "file.png"
    )
    words = ("stylize", "photo.png", "-s", "hf://mona/several:wave=0.6,udnie=0.4", "--engine", "torch")
    status, out, error = tiny.call(*words)
    assert (status, out.strip()) == (0, "photo-wave+udnie.png"), error
    assert (here / "photo-wave+udnie.png").read_bytes() == (here / "file.png").read_bytes()
    assert "unknown style" in tiny.refused("stylize", "photo.png", "-s", "hf://mona/several:vawe")


def test_the_model_that_a_style_was_trained_into_comes_along(hub: Hub, here: Path) -> None:
    network, path = gallery(here)
    header = modelfile.Header(
        name="mine",
        kind="style",
        generator=TINY,
        conditions=[{"style": "mine"}, {"style": "mine", "strength": 0.5}, {"style": "mine", "stroke": 2.0}],
        base=modelfile.identity(path),
    )
    network_files.save(network, header, here / "mine.safetensors", "float32")
    files = {f"a/{name}": (here / name).read_bytes() for name in ("mine.safetensors", "tiny.safetensors")}
    hub.repo("mona/mine", files)
    fetched = modelfile.find("hf://mona/mine/a/mine.safetensors")
    assert modelfile.base_of(fetched) == fetched.with_name("tiny.safetensors")
    assert fetched.is_symlink()  # into the cache's blobs, which have other names
    hub.repo("mona/alone", {"mine.safetensors": files["a/mine.safetensors"]})
    assert "put tiny.safetensors beside it" in tiny.refused("stylize", "photo.png", "-s", "hf://mona/alone")


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub, style: bytes, texture: bytes) -> None:
    repo = hub.repo("mona/sea", {"sea.safetensors": style})
    first = repo.refs["main"]
    repo.refs["v1"] = first
    repo.commit({"sea.safetensors": texture})
    assert modelfile.find("hf://mona/sea").read_bytes() == texture
    for revision in ("v1", first):
        assert modelfile.find(f"hf://mona/sea@{revision}").read_bytes() == style
        assert modelfile.find(f"hf://mona/sea/sea.safetensors@{revision}").read_bytes() == style


def test_what_is_in_the_cache_needs_no_server(
    hub: Hub, style: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.repo("mona/sea", {"sea.safetensors": style})
    commit = repo.refs["main"]
    asked = ["hf://mona/sea", "hf://mona/sea/sea.safetensors", f"hf://mona/sea@{commit}"]
    for name in asked:
        modelfile.find(name)
    hub.asked.clear()
    assert modelfile.find(f"hf://mona/sea/sea.safetensors@{commit}").read_bytes() == style
    assert not hub.asked  # not even looked at
    hubserver.stop(hub, monkeypatch)
    for name in asked:
        assert modelfile.find(name).read_bytes() == style
    error = tiny.refused("models", "show", "hf://mona/sea@v2")
    assert "http://127.0.0.1:9 cannot be reached" in error
    assert "look at the network" in error


def test_what_is_no_model_of_ours_is_refused(hub: Hub, here: Path) -> None:
    from safetensors.numpy import save

    hub.repo("mona/bert", {"model.safetensors": save({"a": np.zeros(2)}), "evil.pkl": b"\x80\x04."})
    assert "no texturenets header" in tiny.refused("stylize", "photo.png", "-s", "hf://mona/bert")
    hub.repo("mona/page", {"model.safetensors": b"<html>"})
    assert "it is a web page" in tiny.refused("stylize", "photo.png", "-s", "hf://mona/page")


# ---- What goes wrong -----------------------------------------------------------------------------------


def test_without_a_file_there_has_to_be_one_alone(hub: Hub, style: bytes) -> None:
    hub.repo("mona/two", {"a.safetensors": style, "b/c.safetensors": style})
    error = tiny.refused("models", "show", "hf://mona/two")
    assert (
        "2 .safetensors files; name one, for example hf://mona/two/a.safetensors: a.safetensors, b/c.safetensors"
        in error
    )
    hub.repo("mona/none", {"pytorch_model.bin": b""})
    assert "holds no .safetensors file" in tiny.refused("models", "show", "hf://mona/none")


def test_unknown_names_say_the_nearest(hub: Hub, style: bytes) -> None:
    repo = hub.repo("mona/sea", {"sea.safetensors": style})
    repo.refs["v1.0"] = repo.refs["main"]
    assert "did you mean 'sea.safetensors'?" in tiny.refused(
        "models", "show", "hf://mona/sea/sae.safetensors"
    )
    error = tiny.refused("models", "show", "hf://mona/sea@v1.1")
    assert "unknown revision of mona/sea 'v1.1'; did you mean 'v1.0'?" in error
    error = tiny.refused("models", "show", "hf://mona/see")
    assert "no repository mona/see, or it is private: log in with `hf auth login`" in error
    assert error.endswith("did you mean hf://mona/sea?\n")
    assert "no repository lisa/wave" in tiny.refused("models", "show", "hf://lisa/wave/a.safetensors")


def test_a_private_repository_takes_a_token(hub: Hub, style: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repo("mona/secret", {"sea.safetensors": style}, private=True)
    for name in ("hf://mona/secret", "hf://mona/secret/sea.safetensors"):
        assert "log in with `hf auth login`, or set HF_TOKEN" in tiny.refused("models", "show", name)
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert "the Hub does not know this token" in tiny.refused("models", "show", "hf://mona/secret")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert modelfile.find("hf://mona/secret").read_bytes() == style
    assert "this token may not read it" in tiny.refused("models", "show", "hf://mona/other")
    hub.repo("mona/gated", {"sea.safetensors": style}, gated=True)
    assert f"{hub.address}/mona/gated asks for consent" in tiny.refused("models", "show", "hf://mona/gated")


def test_an_answer_that_is_none(hub: Hub) -> None:
    hub.broken = True
    for name in ("hf://mona/sea", "hf://mona/sea/sea.safetensors"):
        assert "the Hub answers 503, maintenance: try again later" in tiny.refused("models", "show", name)


def test_without_the_library_the_extra_is_named(
    hub: Hub, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for words in (("stylize", "photo.png", "-s", "hf://mona/sea"), ("push", "wave", "mona/wave")):
        error = tiny.refused(*words)
        assert "huggingface_hub" in error
        assert "[hub]" in error
    assert tiny.call("stylize", "photo.png", "-s", "wave", "--engine", "torch")[0] == 0


def test_python_raises_it(hub: Hub) -> None:
    with pytest.raises(UserError, match="no repository mona/sea"):
        loading.load("hf://mona/sea")


# ---- Who does not fetch --------------------------------------------------------------------------------


def test_the_service_fetches_nothing_that_a_request_names(
    hub: Hub, tmp_path: Path, style: bytes, texture: bytes
) -> None:
    pytest.importorskip("fastapi", reason="the extra `web` is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    from webservice import client, photo

    hub.repo("mona/sea", {"sea.safetensors": style})
    hub.repo("mona/bark", {"bark.safetensors": texture})
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "sea.safetensors").write_bytes(style)
    with client(folder) as service:
        assert service.post("/v1/stylize?style=sea", content=photo()).status_code == 200
        for name in (
            "hf://mona/sea",
            "hf://mona/sea/sea.safetensors@main",
            "hf:/mona/sea",
            "hf://mona/sea:wave",
        ):
            answer = service.post("/v1/stylize", params={"style": name}, content=photo())
            assert answer.status_code == 404, answer.text
        assert service.post("/v1/sample", params={"texture": "hf://mona/bark"}).status_code == 404
        assert service.get("/v1/models/hf%3A%2F%2Fmona%2Fsea/thumbnail").status_code == 404
    assert not hub.asked


def test_a_style_of_the_hub_is_no_photo_at_a_url(hub: Hub, here: Path, style: bytes) -> None:
    hub.repo("mona/sea", {"sea.safetensors": style})
    assert (
        tiny.call("stylize", "photo.png", "-s", "hf://mona/sea", "--engine", "torch", "-o", "out.png")[0] == 0
    )
    hub.asked.clear()
    assert "hf://mona/sea is a style, not a photo: use -s wave -s hf://mona/sea" in tiny.refused(
        "stylize", "photo.png", "hf://mona/sea", "-s", "wave"
    )
    assert not hub.asked


@pytest.mark.parametrize(
    "error", [RuntimeError("Task error: reconstruction"), KeyError("id"), TypeError("no")]
)
def test_failed_transfers_are_one_line(error: Exception) -> None:
    name = names.parse("hf://mona/one")
    with (
        pytest.raises(UserError, match=r"hf://mona/one: the transfer failed \(.*\): try again"),
        library.user_errors(name),
    ):
        raise error


def test_an_address_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret@127.0.0.1:9")
    assert library.shown() == "http://127.0.0.1:9"


def test_offline_the_cache_is_used_and_nothing_asked(
    hub: Hub, style: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repo("mona/sea", {"sea.safetensors": style})
    modelfile.find("hf://mona/sea/sea.safetensors")
    hub.asked.clear()
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "1")
    assert modelfile.find("hf://mona/sea/sea.safetensors").read_bytes() == style
    with pytest.raises(UserError, match="TEXTURENETS_OFFLINE forbids a look at the Hub"):
        modelfile.find("hf://mona/other/a.safetensors")
    assert not hub.asked
