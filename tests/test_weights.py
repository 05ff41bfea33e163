"""Pretrained weights: where they are looked for, how they are fetched, what is said when they cannot be had."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import os
import socket
import threading
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from texturenets import fetch, readers
from texturenets.errors import UserError
from texturenets.perceptual import weights
from texturenets.perceptual.weights import finding, recognition

# The first tensors of the shared files, by hand: {network: (file, last layer, number of tensors)}
SHARED = {
    "vgg16": ("vgg16_blocks123_caffe.safetensors", "relu3_3", 14),
    "vgg19_normalised": ("vgg19_normalised_blocks123_caffe.safetensors", "relu3_4", 16),
    "squeezenet1_0": ("squeezenet1_0_caffe.safetensors", "fire9", 50),
    "squeezenet1_1": ("squeezenet1_1_caffe.safetensors", "fire9", 50),
}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, no environment and no address but the tests' own."""
    for name in ("TEXTURENETS_WEIGHTS", "TEXTURENETS_OFFLINE", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "pause", lambda seconds: None)
    nowhere = {n: replace(s, urls=("http://127.0.0.1:9/" + s.file,)) for n, s in finding.SOURCES.items()}
    monkeypatch.setattr(finding, "SOURCES", nowhere)


def start_of(network: str, layers: int = 2, scale: float = 1.0) -> dict[str, torch.Tensor]:
    names = list(readers.shapes(network).items())[: 2 * layers]
    return {name: torch.randn(shape) * scale for name, shape in names}


def write(path: Path, network: str = "vgg16", **how: Any) -> dict[str, torch.Tensor]:
    tensors = start_of(network, **how)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return tensors


# --- what they are ---


def test_layouts_are_the_published_architectures() -> None:
    """Numbers of convolutions and parameters of the papers' tables (without the classifiers)."""

    def count(network: str) -> tuple[int, int]:
        shapes = readers.shapes(network).values()
        return len(shapes) // 2, sum(torch.Size(s).numel() for s in shapes)

    assert count("vgg16") == (13, 14_714_688)  # keras.applications, include_top=False
    assert count("vgg19") == count("vgg19_normalised") == (16, 20_024_384)
    assert count("squeezenet1_0") == (25, 735_424)
    assert count("squeezenet1_1") == (25, 722_496)
    assert list(readers.shapes("vgg19"))[-2] == "features.34.weight"
    assert list(readers.shapes("vgg16"))[-2] == "features.28.weight"


def test_fingerprint_by_hand() -> None:
    tensors = {"b": torch.tensor([1.0, -2.0]), "a": torch.tensor([[0.5]], dtype=torch.float64)}
    text = b"a 1x1\n" + bytes.fromhex("0000003f") + b"b 2\n" + bytes.fromhex("0000803f000000c0")
    assert weights.fingerprint(tensors) == hashlib.sha256(text).hexdigest()
    turned = {"b": torch.tensor([[1.0, 0.0], [-2.0, 0.0]])[:, 0], "a": torch.tensor([[0.5]])}
    assert weights.fingerprint(turned) == weights.fingerprint(tensors)
    assert weights.fingerprint({**tensors, "b": torch.tensor([[1.0, -2.0]])}) != weights.fingerprint(tensors)


@pytest.mark.parametrize("network", SHARED)
def test_shared_weights_are_recognised(shared: Path, network: str) -> None:
    file, last, count = SHARED[network]
    found = weights.load(network, files=[shared / "descriptors"], last=last)
    raw = load_file(shared / "descriptors" / file)
    assert tiny.same(found.tensors, {name: raw[name] for name in found.tensors})
    assert len(found.tensors) == count == len(raw)
    mean = (103.939, 116.779, 123.68) if network.startswith("vgg") else (104, 117, 123)
    assert found.convention == weights.Convention("bgr", 255, mean, (1, 1, 1))
    known = recognition._KNOWN_WEIGHTS[network][0]
    assert found.source == f"{known.title} ({file})"
    assert weights.fingerprint(found.tensors) == known.fingerprint
    assert found.sha256 == hashlib.sha256((shared / "descriptors" / file).read_bytes()).hexdigest()


def test_plain_vgg19_is_not_taken_from_the_normalised_file(shared: Path) -> None:
    folder = shared / "descriptors"
    with pytest.raises(UserError, match=r"no file in .*vgg19"):
        weights.load("vgg19", files=[folder], offline=True)
    with pytest.raises(UserError, match="holds vgg19_normalised"):
        weights.load("vgg19", files=[f"vgg19={folder / SHARED['vgg19_normalised'][0]}"])


@pytest.mark.parametrize("network", ["vgg16", "squeezenet1_1"])
def test_order_of_channels_is_told_by_the_numbers(shared: Path, tmp_path: Path, network: str) -> None:
    """The authors' weights turned to RGB, as torchvision's "features" file has them, and without a header."""
    tensors = load_file(shared / "descriptors" / SHARED[network][0])
    torch.save(tensors, tmp_path / "bgr.pth")
    tensors["features.0.weight"] = tensors["features.0.weight"].flip(1).contiguous()
    torch.save(tensors, tmp_path / "rgb.pth")
    ours = weights.CONVENTIONS[network]
    bgr = weights.read(tmp_path / "bgr.pth", network)
    rgb = weights.read(tmp_path / "rgb.pth", network)
    assert bgr.convention == ours
    assert rgb.convention == weights.Convention("rgb", 255, ours.mean[::-1], (1, 1, 1))
    assert "authors' weights" in rgb.source


def test_others_weights_in_torchvisions_names_are_torchvisions(tmp_path: Path) -> None:
    torch.save(start_of("vgg19"), tmp_path / "vgg19-dcbb9e9d.pth")
    found = weights.load("vgg19", files=[tmp_path])
    assert found.convention == weights.Convention("rgb", 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert "trained anew" in found.source
    assert "vgg19-dcbb9e9d.pth" in found.source


def test_header_states_the_convention(tmp_path: Path) -> None:
    said = {"input": "RGB, 0..1, minus mean (0.5, 0.25, 0.125)"}
    save_file(start_of("vgg16"), tmp_path / "vgg16.safetensors", said)
    found = weights.read(tmp_path / "vgg16.safetensors", "vgg16").convention
    assert found == weights.Convention("rgb", 1, (0.5, 0.25, 0.125), (1, 1, 1))
    bad = {"convention": json.dumps({"order": "gbr", "scale": 1, "mean": [0, 0, 0], "std": [1, 1, 1]})}
    save_file(start_of("vgg16"), tmp_path / "vgg16.safetensors", bad)
    with pytest.raises(UserError, match="header"):
        weights.read(tmp_path / "vgg16.safetensors", "vgg16")


# --- where they are ---


def test_order_of_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = write(tmp_path / "cache" / "vgg16.other.safetensors")
    listed = write(tmp_path / "two" / "VGG16_any.safetensors")
    given = write(tmp_path / "given" / "vgg16.safetensors")
    write(tmp_path / "given" / "vgg19.safetensors", "vgg19")
    (tmp_path / "one").mkdir()
    with pytest.raises(UserError, match="offline"):
        weights.load("squeezenet1_0", files=[f"vgg16={tmp_path / 'given'}"], offline=True)
    assert tiny.same(weights.load("vgg16", files=[tmp_path / "given"]).tensors, given)
    monkeypatch.setenv("TEXTURENETS_WEIGHTS", os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two")]))
    assert tiny.same(weights.load("vgg16", offline=True).tensors, listed)
    assert tiny.same(weights.load("vgg16", files=[tmp_path / "given"]).tensors, given)
    monkeypatch.setenv("TEXTURENETS_WEIGHTS", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"gone.*not a folder"):
        weights.load("vgg16")
    assert cached


def test_a_folder_that_is_given_holds_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = write(tmp_path / "elsewhere" / "vgg16.safetensors")
    write(tmp_path / "other" / "squeezenet1_0.safetensors", "squeezenet1_0")
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("TEXTURENETS_WEIGHTS", str(tmp_path / "elsewhere"))
    for files in (["empty"], ["other", "empty"]):
        with pytest.raises(UserError, match=r"no file in .*empty whose name.*vgg16.*TEXTURENETS_WEIGHTS"):
            weights.load("vgg16", files=[tmp_path / name for name in files])
    with pytest.raises(
        UserError, match=r"the network; or use only what is there: `descriptor` squeezenet1_0$"
    ):
        weights.load("vgg16", files=[tmp_path / "other"])
    found = weights.load("vgg16", files=[f"squeezenet1_0={tmp_path / 'other'}"])
    assert tiny.same(found.tensors, elsewhere)
    found = weights.load("vgg16", files=[tmp_path / "empty", tmp_path / "elsewhere"])
    assert tiny.same(found.tensors, elsewhere)


def test_files_by_name_and_by_content(tmp_path: Path) -> None:
    a = write(tmp_path / "mine.safetensors")
    b = write(tmp_path / "other.safetensors", "squeezenet1_1")
    files = [tmp_path / "other.safetensors", tmp_path / "mine.safetensors"]
    assert tiny.same(weights.load("vgg16", files=files).tensors, a)
    assert tiny.same(weights.load("squeezenet1_1", files=files).tensors, b)
    assert tiny.same(weights.load("vgg16", files=[f"vgg16={files[1]}"]).tensors, a)
    with pytest.raises(UserError, match="did you mean 'vgg16'"):
        weights.load("vgg16", files=[f"vg16={files[1]}"])
    with pytest.raises(UserError, match="no such file"):
        weights.load("vgg16", files=[tmp_path / "vgg16-gone.pth"])
    both = torch.randn(64, 3, 3, 3), torch.randn(64)  # the first layer of three networks
    save_file({"features.0.weight": both[0], "features.0.bias": both[1]}, tmp_path / "one.safetensors")
    assert tiny.same(
        weights.load("vgg19", files=[tmp_path / "one.safetensors"]).tensors,
        {"features.0.weight": both[0], "features.0.bias": both[1]},
    )
    save_file({"elsewhere.weight": both[0]}, tmp_path / "none.safetensors")
    with pytest.raises(UserError, match=r"no layers of vgg16.*elsewhere"):
        weights.load("vgg16", files=[tmp_path / "none.safetensors"])
    with pytest.raises(UserError, match="did you mean 'vgg16'"):
        weights.load("vg16")


def test_a_file_whose_name_says_nothing_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    read = readers._READERS["safetensors"]
    monkeypatch.setitem(readers._READERS, "safetensors", lambda path: [opened.append(path), read(path)][1])
    path = tmp_path / "mine.safetensors"
    tensors = write(path)
    assert tiny.same(weights.load("vgg16", files=[path]).tensors, tensors)
    assert opened == [path]


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("vgg_normalised.caffemodel", "vgg19_normalised"),
        ("vgg19_normalised_blocks123_caffe.safetensors", "vgg19_normalised"),
        ("vgg19-dcbb9e9d.pth", "vgg19"),
        ("VGG_ILSVRC_16_layers.caffemodel", "vgg16"),
        ("vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "vgg16"),
        ("squeezenet_v1.1.caffemodel", "squeezenet1_1"),
        ("squeezenet1_0-b66bff10.pth", "squeezenet1_0"),
        ("compressed_SqueezeNet.net", "squeezenet1_0"),
        ("vgg13.pth", None),
    ],
)
def test_networks_by_the_names_of_files(name: str, network: str | None) -> None:
    assert weights.network_of(Path(name)) == network


def test_layers_that_a_file_lacks_are_named(tmp_path: Path) -> None:
    write(tmp_path / "vgg16.safetensors", layers=3)
    found = weights.load("vgg16", files=[tmp_path], last="relu1_2")
    assert list(found.tensors) == [f"features.{i}.{p}" for i in (0, 2) for p in ("weight", "bias")]
    with pytest.raises(
        UserError, match=r"end at conv2_1 and lack conv2_2 \(features\.7\.weight\).*vgg16\.safet"
    ):
        weights.load("vgg16", files=[tmp_path], last="relu3_3")
    with pytest.raises(UserError, match="lack conv3_1"):
        weights.require(found, ["features.0.weight", "features.10.bias"])
    weights.require(found, found.tensors)
    with pytest.raises(UserError, match="did you mean 'relu3_3'"):
        weights.load("vgg16", files=[tmp_path], last="relu33")


def test_offline_says_what_from_where_and_whereto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def message(**how: Any) -> str:
        with pytest.raises(UserError) as caught:
            weights.load("squeezenet1_0", **how)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    text = message(offline=True)
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "1")
    assert message() == text
    for part in (
        "http://127.0.0.1:9/compressed_SqueezeNet.net",
        str(tmp_path / "cache"),
        "squeezenet1_0=FILE",
        "TEXTURENETS_WEIGHTS",
        "`descriptor` random",
    ):
        assert part in text
    (tmp_path / "searched").mkdir()
    monkeypatch.setenv("TEXTURENETS_WEIGHTS", str(tmp_path / "searched"))
    assert str(tmp_path / "searched") in message()
    assert not (tmp_path / "cache").exists()


# --- fetching ---


@dataclass
class Server:
    """What the test's server gives: `data`, in part where `cut` says so, and what was asked of it."""

    data: bytes
    url: str = ""
    cut: list[int] = field(default_factory=list)  # how many bytes the next answers stop after
    statuses: list[int] = field(default_factory=list)  # of the next answers
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves a safetensors file of squeezenet1_1's first layers as that network's published file."""
    tensors = start_of("squeezenet1_1", 4)
    save_file(tensors, tmp_path / "published")
    state = Server((tmp_path / "published").read_bytes())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            state.asked.append(asked)
            if state.statuses and (status := state.statuses.pop(0)) != 200:
                self.send_error(status)
                return
            start = int(asked[6:-1]) if asked and state.ranges else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(state.data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.data) - 1}/{len(state.data)}")
            self.end_headers()
            end = start + state.cut.pop(0) if state.cut else None
            self.wfile.write(state.data[start:end])

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        state.url = f"http://127.0.0.1:{running.server_port}/file"
        source = replace(
            finding.SOURCES["squeezenet1_1"],
            urls=(state.url,),
            digests=("sha256:" + hashlib.sha256(state.data).hexdigest(),),
            size=len(state.data),
        )
        monkeypatch.setitem(finding.SOURCES, "squeezenet1_1", source)
        yield state
        running.shutdown()


def leftovers(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "cache").iterdir())


def test_words_that_forbid_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, forbids in {"1": True, "YES": True, "true": True, "": False, "0": False, "No": False}.items():
        monkeypatch.setenv("TEXTURENETS_OFFLINE", word)
        assert fetch.offline() is forbids
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "maybe")
    with pytest.raises(UserError, match="TEXTURENETS_OFFLINE is 'maybe': 1, true or yes forbid all fetching"):
        fetch.offline()


def test_fetched_once_then_cached(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = weights.load("squeezenet1_1", progress=lambda done, whole: seen.append((done, whole)))
    assert tiny.same(found.tensors, load_file(tmp_path / "published"))
    assert found.sha256 == hashlib.sha256(server.data).hexdigest()
    assert found.convention == weights.CONVENTIONS["squeezenet1_1"]
    assert seen[-1] == (len(server.data), len(server.data))
    assert leftovers(tmp_path) == ["squeezenet1_1.safetensors"]
    again = weights.load("squeezenet1_1", offline=True)
    assert tiny.same(again.tensors, found.tensors)
    assert replace(again, tensors={}) == replace(found, tensors={})
    assert len(server.asked) == 1


def test_damaged_cache_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    found = weights.load("squeezenet1_1")
    cached = tmp_path / "cache" / "squeezenet1_1.safetensors"
    data = bytearray(cached.read_bytes())
    data[-1] ^= 1
    for damaged in (bytes(data), bytes(data[:100]), b""):
        cached.write_bytes(damaged)
        assert tiny.same(weights.load("squeezenet1_1").tensors, found.tensors)
    assert len(server.asked) == 4
    cached.write_bytes(b"")
    with pytest.raises(UserError, match="offline"):
        weights.load("squeezenet1_1", offline=True)


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_transfers_go_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.cut, server.ranges = [1000, 2000], ranges
    assert tiny.same(weights.load("squeezenet1_1").tensors, load_file(tmp_path / "published"))
    starts = ["bytes=1000-", "bytes=3000-"] if ranges else ["bytes=1000-", "bytes=2000-"]
    assert server.asked == [None, *starts]
    assert leftovers(tmp_path) == ["squeezenet1_1.safetensors"]


def test_passing_faults_are_tried_again(server: Server) -> None:
    server.statuses = [503, 429, 200]
    weights.load("squeezenet1_1")
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "cause", [socket.gaierror(socket.EAI_AGAIN, "no name"), OSError(errno.ENETUNREACH, "no way")]
)
def test_without_a_way_to_the_host_it_is_given_up_soon(
    monkeypatch: pytest.MonkeyPatch, cause: OSError
) -> None:
    waits: list[float] = []

    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError(cause)

    monkeypatch.setattr(fetch.urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(fetch, "pause", waits.append)
    with pytest.raises(UserError, match=r"\(2 tries\)"):
        weights.load("squeezenet1_1")
    assert len(waits) == fetch.UNREACHABLE_TRIES - 1


def test_no_end_of_faults(server: Server, tmp_path: Path) -> None:
    server.cut = [10] * 20
    with pytest.raises(UserError, match=r"could not be fetched.*squeezenet_v1\.1\.caffemodel.*cache"):
        weights.load("squeezenet1_1")
    assert len(server.asked) == fetch.TRIES
    server.asked.clear()
    server.statuses = [404]
    with pytest.raises(UserError, match="404"):
        weights.load("squeezenet1_1")
    assert len(server.asked) == 1
    assert leftovers(tmp_path) == []


def test_wrong_hash_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.data = bytes(len(server.data))
    with pytest.raises(UserError, match="wrong hash") as caught:
        weights.load("squeezenet1_1")
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


def test_second_address(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    source = finding.SOURCES["squeezenet1_1"]
    server.statuses = [404, 200]
    monkeypatch.setitem(finding.SOURCES, "squeezenet1_1", replace(source, urls=source.urls * 2))
    weights.load("squeezenet1_1")
    assert len(server.asked) == 2


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="refused"):
        weights.load("squeezenet1_0")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("where", ["download", "cache"])
def test_full_disk_leaves_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetch, "_copy", full) if where == "download" else monkeypatch.setattr(
        finding, "save_file", full
    )
    with pytest.raises(UserError, match=r"no space left in .*cache"):
        weights.load("squeezenet1_1")
    assert leftovers(tmp_path) == []


def test_cache_that_cannot_be_made(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="TEXTURENETS_CACHE"):
        weights.load("squeezenet1_1")


def test_published_file_put_in_the_cache_by_hand(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "squeezenet_v1.1.caffemodel"
    path.parent.mkdir()
    path.write_bytes(server.data)
    assert tiny.same(weights.load("squeezenet1_1", offline=True).tensors, load_file(tmp_path / "published"))
    path.write_bytes(server.data[:-1])
    with pytest.raises(UserError, match=r"hash is wrong.*squeezenet1_1="):
        weights.load("squeezenet1_1", offline=True)
    assert path.exists()


def test_digests(tmp_path: Path) -> None:
    """The name of Git's blob "hello\\n" and the sums of that text are well known."""
    path = tmp_path / "a"
    path.write_bytes(b"hello\n")
    assert fetch.digest(path, "git") == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert fetch.digest(path, "md5") == "b1946ac92492d2347c6235b4d2611184"
    assert fetch.verified(path, ["md5:0", "git:ce013625030ba8dba906f756967f9e9ca394464a"])
    assert not fetch.verified(path, ["sha256:0"])


def test_strange_names_in_a_file_stay_one_line(tmp_path: Path) -> None:
    save_file({"a\nb\u2028c.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError) as caught:
        readers.read(tmp_path / "a.safetensors", "vgg16")
    assert str(caught.value).splitlines() == [str(caught.value)]
    assert "a b c.weight" in str(caught.value)
