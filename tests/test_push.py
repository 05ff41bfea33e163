"""`texturenets push`: a model file and its page, in one commit."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from galleries import TINY as GALLERY
from galleries import gallery
from PIL import Image

pytest.importorskip("huggingface_hub")

import hubserver
from hubserver import TOKEN, Hub

from texturenets.errors import UserError
from texturenets.export import model_card, publish
from texturenets.modelfiles import modelfile
from texturenets.networks import build, make_spec, network_files
from texturenets.networks.residual import Residual

TINY = Residual(channels=8, blocks=0)
TRAINING: dict[str, Any] = {
    "run": {
        "style_layers": ["vgg16:relu1_1", "vgg16:relu2_1"],
        "content_layers": ["squeezenet1_0:fire3"],
        "style_weight": 1.0,
        "content_weight": 2.2,
        "tv_weight": 0.0,
        "image_size": 256,
        "style_size": 512,
    },
    "styles": ["the_sea.jpg"],
    "step": 4000,
    "seconds": 3060.0,
    "device": "cpu",
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """One that this user may write to."""
    with hubserver.serving(monkeypatch, tmp_path / "home") as made:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the model `mine`."""
    work = tiny.working_folder(tmp_path, monkeypatch, {"wave": TINY})
    small = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(small, "JPEG")
    save(
        work / "mine.safetensors",
        name="The Sea | <b>",
        training=TRAINING,
        licence="CC-BY-4.0",
        terms="Photos: COCO.",
        thumbnail=base64.b64encode(small.getvalue()).decode(),
    )
    return work


def save(path: Path, **facts: Any) -> None:
    network_files.save(build(TINY), header(**facts), path)


def header(**facts: Any) -> modelfile.Header:
    return modelfile.Header(**{"name": "sea", "kind": "style", "generator": TINY, **facts})


def front(text: str) -> dict[str, Any]:
    """The card's metadata, read as the Hub does."""
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_a_new_repository_gets_the_model_and_its_page(hub: Hub, here: Path) -> None:
    status, out, error = tiny.call("push", "mine.safetensors", "mona/sea")
    assert (status, out) == (0, f"{hub.address}/mona/sea\n"), error
    assert error.splitlines()[-1] == (
        "uploaded mine.safetensors, README.md, thumbnail.jpg; available as hf://mona/sea/mine.safetensors"
    )
    (commit,) = hub.commits
    assert (commit["repo"], commit["branch"]) == ("mona/sea", "main")
    assert list(commit["files"]) == ["mine.safetensors", "README.md", "thumbnail.jpg"]
    assert commit["files"]["mine.safetensors"] == (here / "mine.safetensors").read_bytes()
    assert commit["files"]["thumbnail.jpg"].startswith(b"\xff\xd8")
    assert not hub.repos["mona/sea"].private
    assert modelfile.find("hf://mona/sea").read_bytes() == (here / "mine.safetensors").read_bytes()


def test_the_page_says_what_the_header_says(hub: Hub, here: Path) -> None:
    tiny.call("push", "mine.safetensors", "mona/sea")
    text = hub.commits[0]["files"]["README.md"].decode()
    assert front(text) == {
        "license": "cc-by-4.0",
        "library_name": "texturenets",
        "pipeline_tag": "image-to-image",
        "tags": ["texturenets", "style-transfer", "neural-style"],
    }
    for line in (
        r"# The Sea \| \<b\>",
        "![What it draws](thumbnail.jpg)",
        "    texturenets stylize photo.jpg -s hf://mona/sea/mine.safetensors",
        'style = tn.load("hf://mona/sea/mine.safetensors")',
        r"| painting | the\_sea.jpg |",
        "| steps | 4000 |",
        "| time | 51 minutes (cpu) |",
        "| descriptor networks | vgg16, squeezenet1\\_0 |",
        "| layers of the style | vgg16:relu1\\_1, vgg16:relu2\\_1 |",
        "| weights | style 1.0, content 2.2 |",
        "Licence of the model: CC-BY-4.0.",
        "Photos: COCO.",
    ):
        assert line in text.splitlines()


def test_an_existing_repository_gets_one_commit_more(hub: Hub, here: Path) -> None:
    hub.repo("mona/sea", {"notes.txt": b"kept", "README.md": b"old"})
    assert tiny.call("push", "mine.safetensors", "hf://mona/sea", "--quiet")[2] == ""
    repo = hub.repos["mona/sea"]
    assert len(hub.commits) == 1
    assert sorted(repo.commits[repo.refs["main"]]) == [
        "README.md",
        "mine.safetensors",
        "notes.txt",
        "thumbnail.jpg",
    ]
    status, out, error = tiny.call("push", "mine.safetensors", "mona/sea")
    assert (status, out) == (0, f"{hub.address}/mona/sea\n")
    assert "already up to date" in error
    assert len(hub.commits) == 1


def test_a_branch_and_a_private_repository(hub: Hub, here: Path) -> None:
    status, out, error = tiny.call("push", "mine.safetensors", "mona/sea", "--private", "--revision", "next")
    assert (status, out) == (0, f"{hub.address}/mona/sea/tree/next\n"), error
    repo = hub.repos["mona/sea"]
    assert repo.private
    assert "mine.safetensors" in repo.commits[repo.refs["next"]]
    assert "mine.safetensors" not in repo.commits[repo.refs["main"]]
    assert "hf://mona/sea/mine.safetensors@next" in hub.commits[0]["files"]["README.md"].decode()
    assert tiny.call("push", "mine.safetensors", "mona/sea", "--revision", "next", "--quiet")[0] == 0
    hub.repo("mona/open", {})
    assert "--private: mona/open is there already, and public" in tiny.refused(
        "push", "mine.safetensors", "mona/open", "--private"
    )


def test_what_is_no_model_is_refused_before_anything_is_sent(hub: Hub, here: Path) -> None:
    tiny.picture(here / "photo.png", seed=1, size=(32, 24))
    whole = (here / "mine.safetensors").read_bytes()
    (here / "cut.safetensors").write_bytes(whole[:-100])
    (here / "mine.model").write_bytes(whole)
    for file, said in [
        ("photo.png", "it is an image"),
        ("cut.safetensors", "is cut short"),
        ("mine.model", "rename it"),
        ("none.safetensors", "no such model file"),
    ]:
        assert said in tiny.refused("push", file, "mona/sea")
    for repo in ("sea", "mona/sea/x", "mona/../x", "https://example.org/mona/sea"):
        assert "write USER/REPO" in tiny.refused("push", "mine.safetensors", repo)
    assert not hub.asked


def test_who_may_not_write_is_told(hub: Hub, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.may_write = False
    assert "this token may not do that (write access is needed)" in tiny.refused(
        "push", "mine.safetensors", "mona/sea"
    )
    monkeypatch.delenv("HF_TOKEN")
    hub.asked.clear()
    assert "log in with `hf auth login`, or set HF_TOKEN" in tiny.refused(
        "push", "mine.safetensors", "mona/sea"
    )
    assert not hub.asked
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hubserver.stop(hub, monkeypatch)
    assert "cannot be reached" in tiny.refused("push", "mine.safetensors", "mona/sea")


def test_a_gallery_and_a_style_that_was_trained_into_it(hub: Hub, here: Path) -> None:
    network, path = gallery(here)
    assert tiny.call("push", str(path), "mona/several", "--quiet")[0] == 0
    text = hub.commits[0]["files"]["README.md"].decode()
    assert "2 styles for texturenets in one network, which can be mixed: wave, udnie." in text
    assert "-s hf://mona/several/tiny.safetensors:wave" in text
    rows = [{"style": "mine"}, {"style": "mine", "strength": 0.5}, {"style": "mine", "stroke": 2.0}]
    spec = make_spec("residual", GALLERY)
    facts = header(generator=spec, conditions=rows, base=modelfile.identity(path))
    network_files.save(network, facts, here / "late.safetensors", "float32")
    assert tiny.call("push", "late.safetensors", "mona/late", "--quiet")[0] == 0
    assert list(hub.commits[1]["files"]) == ["late.safetensors", "tiny.safetensors", "README.md"]


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("ODbL-1.0", {"license": "odbl"}),
        ("CC-BY-NC-SA-4.0", {"license": "cc-by-nc-sa-4.0"}),
        ("Ask Mona: no", {"license": "other", "license_name": "ask-mona-no"}),
        ("", {"license": "other"}),
    ],
)
def test_the_licence_as_the_hub_knows_it(said: str, known: dict[str, str]) -> None:
    assert model_card.licence(header(licence=said)) == known
    text = model_card.card(header(licence=said), "a.safetensors", "mona/sea")
    assert {key: value for key, value in front(text).items() if "license" in key} == known


def test_a_texture_has_a_page_of_its_own() -> None:
    text = model_card.card(header(kind="texture", name="bark"), "my bark.safetensors", "mona/bark", "v1")
    assert front(text)["pipeline_tag"] == "unconditional-image-generation"
    assert front(text)["tags"] == ["texturenets", "texture-synthesis"]
    assert "    texturenets sample 'hf://mona/bark/my bark.safetensors@v1' --size 1024" in text
    assert f"tn.load({json.dumps('hf://mona/bark/my bark.safetensors@v1')})" in text


def test_a_header_of_any_kind_has_a_page() -> None:
    odd: dict[str, Any] = {
        "run": {"style_layers": "x", "content_layers": None, "a_weight": [1]},
        "seconds": "long",
    }
    assert "# sea" in model_card.card(header(training=odd), "a.safetensors", "mona/sea")


@pytest.mark.parametrize(
    ("file", "revision", "said"), [("a:b", None, "a colon"), ("a", "feature@2", "hf://")]
)
def test_a_name_that_nobody_could_give_is_refused_before_anything_is_sent(
    hub: Hub, tmp_path: Path, file: str, revision: str | None, said: str
) -> None:
    path = tmp_path / f"{file}.safetensors"
    path.write_bytes(modelfile.shipped()["wave"].read_bytes())
    with pytest.raises(UserError, match=said):
        publish.publish(path, "mona/sea", revision=revision)
    assert not hub.asked
