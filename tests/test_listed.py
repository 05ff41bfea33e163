"""Models fetched by name from a list: a file, a URL, a repository on the Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hubserver
import pytest
import tiny
from fileserver import serving

from texturenets import fetch, loading
from texturenets.cli import main
from texturenets.errors import UserError
from texturenets.modelfiles import listed, modelfile
from texturenets.modelfiles.modelfile import Header
from texturenets.networks import build, network_files
from texturenets.networks.residual import Residual

TINY = Residual(channels=8, blocks=0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo and a cache of its own; the style `wave` is shipped."""
    work = tiny.working_folder(tmp_path, monkeypatch, {"wave": TINY})
    tiny.picture(work / "photo.png", seed=1, size=(32, 24))
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(listed.VARIABLE, raising=False)
    monkeypatch.delenv("TEXTURENETS_OFFLINE", raising=False)
    return work


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What somebody publishes: the style `sea`, and a list of it."""
    made = tmp_path / "published"
    made.mkdir()
    header = Header(name="sea", kind="style", generator=TINY, licence="CC-BY-4.0")
    network_files.save(build(TINY), header, made / "sea.safetensors")
    write(made)
    return made


def entry(folder: Path, **changes: Any) -> dict[str, Any]:
    data = (folder / "sea.safetensors").read_bytes()
    facts = {"name": "sea", "addresses": ["sea.safetensors"], "licence": "CC-BY-4.0"}
    return {**facts, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), **changes}


def write(folder: Path, **changes: Any) -> str:
    """The list; its path."""
    path = folder / "models.json"
    path.write_text(json.dumps({"models": [entry(folder, **changes)]}), "utf-8")
    return str(path)


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """The address at which `folder` is served."""
    with serving(folder) as address:
        yield address


def test_a_style_is_fetched_by_name_and_used(
    here: Path, web: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(listed.VARIABLE, f"{web}/models.json")
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[::3] == ["sea", "CC-BY-4.0"]
    assert main(["stylize", "photo.png", "-s", "sea"]) == 2
    assert "unknown style 'sea'" in capsys.readouterr().err
    assert main(["models", "get", "sea"]) == 0
    out, err = capsys.readouterr()
    path = modelfile.fetched_folder() / "sea.safetensors"
    assert out == f"{path}\n"
    assert err == "texturenets: note: sea is under the licence CC-BY-4.0\n"
    assert [file.name for file in path.parent.iterdir()] == ["sea.safetensors"]
    assert main(["stylize", "photo.png", "-s", "sea", "--quiet"]) == 0
    assert (here / "photo-sea.png").is_file()
    assert loading.load_style("sea").name == "sea"
    capsys.readouterr()
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["here"] is True
    assert main(["models"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["name", "sea", "wave"]


def test_what_is_here_is_not_fetched_again(
    here: Path, web: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = listed.read(f"{web}/models.json")
    path = listed.get("sea", models)
    monkeypatch.setattr(fetch, "download", lambda *_, **__: pytest.fail("it is fetched"))
    assert listed.get("sea", models) == path
    path.write_bytes(b"damaged")
    monkeypatch.undo()
    monkeypatch.setenv("TEXTURENETS_CACHE", str(path.parents[1]))
    listed.get("sea", models)
    assert path.read_bytes() == (folder / "sea.safetensors").read_bytes()


def test_a_list_that_is_a_file(here: Path, folder: Path) -> None:
    assert listed.get("sea", listed.read(str(folder / "models.json"))).is_file()


def test_addresses_are_tried_in_turn(here: Path, web: str, folder: Path) -> None:
    source = write(
        folder, addresses=["away.safetensors", f"{web}/away.safetensors", f"{web}/sea.safetensors"]
    )
    assert listed.get("sea", listed.read(source)).is_file()


def test_another_file_is_not_kept(here: Path, web: str, folder: Path) -> None:
    for address in ("sea.safetensors", f"{web}/sea.safetensors"):
        models = listed.read(write(folder, addresses=[address], sha256="0" * 64))
        with pytest.raises(UserError, match=r"^sea could not be fetched: .*wrong hash"):
            listed.get("sea", models)
        assert list(modelfile.fetched_folder().iterdir()) == []


def test_a_wrong_size_is_told(here: Path, folder: Path) -> None:
    models = listed.read(write(folder, size=5))
    with pytest.raises(UserError, match=r"^sea has \d+ bytes, and the list says 5: its entry is wrong$"):
        listed.get("sea", models)
    assert list(modelfile.fetched_folder().iterdir()) == []


def test_what_is_no_model_is_not_kept(here: Path, folder: Path) -> None:
    (folder / "sea.safetensors").write_bytes(b"words")
    with pytest.raises(UserError, match="is not a texturenets model"):
        listed.get("sea", listed.read(write(folder)))
    assert list(modelfile.fetched_folder().iterdir()) == []


def test_names_that_the_list_does_not_have(here: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"^unknown model of the list 'see'; did you mean 'sea'\?$"):
        listed.get("see", listed.read(str(folder / "models.json")))
    with pytest.raises(UserError, match=r"^wave is a shipped model's name"):
        listed.get("wave", listed.read(write(folder, name="wave")))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "../sea"}, "'../sea' is not a name"),
        ({"sha256": "12"}, "its sha256 is not of 64"),
        ({"size": "12"}, "its size is not a number of bytes"),
        ({"addresses": []}, "it has no address"),
    ],
)
def test_damaged_lists(here: Path, folder: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=r"models\.json is not a list of models: ") as error:
        listed.read(write(folder, **changes))
    assert told in str(error.value)


def test_what_is_no_list(here: Path, folder: Path) -> None:
    path = folder / "models.json"
    for text in ("", "[]", "{}", '{"models": [{}]}', "[" * 5000):
        path.write_text(text, "utf-8")
        with pytest.raises(UserError, match=r"is not a list of models: \S"):
            listed.read(str(path))
    path.write_text(json.dumps({"models": [entry(folder)] * 2}), "utf-8")
    with pytest.raises(UserError, match="sea is there 2 times"):
        listed.read(str(path))
    with pytest.raises(UserError, match=r"cannot read the list of models away\.json: No such file"):
        listed.read("away.json")


def test_offline(here: Path, web: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = listed.read(write(folder, addresses=[f"{web}/sea.safetensors"]))
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "1")
    with pytest.raises(UserError, match="nothing is fetched while TEXTURENETS_OFFLINE is set"):
        listed.read(f"{web}/models.json")
    with pytest.raises(UserError, match="nothing is fetched while TEXTURENETS_OFFLINE is set"):
        listed.get("sea", models)


def test_files_with_any_name_are_fetched(here: Path, web: str, folder: Path) -> None:
    for name in ("my sea.safetensors", "mér.safetensors"):
        (folder / name).write_bytes((folder / "sea.safetensors").read_bytes())
        write(folder, addresses=[name])
        path = listed.get("sea", listed.read(f"{web}/models.json"))
        assert path.read_bytes() == (folder / "sea.safetensors").read_bytes()
        path.unlink()


def test_a_model_that_names_itself_as_its_base_is_fetched_once(
    here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelfile, "base_beside", lambda _: "sea")
    assert listed.get("sea", listed.read(str(folder / "models.json"))).is_file()


def test_a_style_of_a_gallery_brings_the_gallery(
    here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = modelfile.read_header

    def header(path: Path) -> Header:
        found = plain(path)
        if path.stem == "sea" or path.name.startswith(".sea"):
            return Header(**{**vars(found), "base": {"name": "gallery", "sha256": "0" * 64}})
        return found

    monkeypatch.setattr(modelfile, "read_header", header)
    both = [entry(folder), entry(folder, name="gallery")]
    (folder / "models.json").write_text(json.dumps({"models": both}), "utf-8")
    path = listed.get("sea", listed.read(str(folder / "models.json")))
    assert (path.parent / "gallery.safetensors").is_file()


def test_a_list_on_the_hub(
    here: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    with hubserver.serving(monkeypatch, tmp_path / "home") as hub:
        hub.repo("mona/styles", {file.name: file.read_bytes() for file in folder.iterdir()})
        assert main(["models", "get", "sea", "--from", "hf://mona/styles", "--quiet"]) == 0
        assert capsys.readouterr() == (f"{modelfile.fetched_folder() / 'sea.safetensors'}\n", "")
        assert main(["models", "get", "sea", "--from", "hf://mona/away"]) == 2
        assert "there is no repository mona/away" in capsys.readouterr().err
        hub.repo("mona/empty", {"README.md": b""})
        assert main(["models", "get", "sea", "--from", "hf://mona/empty"]) == 2
        assert capsys.readouterr().err.count("\n") == 1
