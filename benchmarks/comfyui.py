"""The nodes inside ComfyUI itself: its own server, queue and executor run the workflow that comes with them.

Takes a checkout of ComfyUI and a Python that has its requirements and texturenets. What is asked for is the example
in comfyui/example_workflows/, in the form of ComfyUI's HTTP interface (POST /prompt); then a mask, and a mistake.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fresh
from PIL import Image

NODES = fresh.ROOT / "comfyui"
PHOTO = fresh.ROOT / "src/texturenets/photos/cat.jpg"
PATIENCE = 300  # seconds
Prompt = dict[str, dict[str, Any]]


def prompt(workflow: dict[str, Any], described: dict[str, Any]) -> Prompt:
    """A workflow of the editor as the executor takes it; `described` is the answer of /object_info."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    made: Prompt = {}
    for node in workflow["nodes"]:
        kinds = described[node["type"]]["input"]
        given = iter(node["widgets_values"])
        inputs = {one["name"]: links[one["link"]] for one in node["inputs"] if one["link"] is not None}
        for name, (kind, *options) in {**kinds.get("required", {}), **kinds.get("optional", {})}.items():
            if isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"):
                inputs[name] = next(given)
                if options and options[0].get("control_after_generate"):
                    next(given)
        made[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return made


def asked(address: str, path: str, body: object = None) -> Any:
    """The answer to a request, as JSON; that of a refused one too."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address + path, data), timeout=PATIENCE) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def done(address: str, what: Prompt) -> dict[str, Any]:
    """The history of a prompt, when it has been run."""
    name = asked(address, "/prompt", {"prompt": what})["prompt_id"]
    deadline = time.monotonic() + PATIENCE
    while not (history := asked(address, f"/history/{name}")):
        assert time.monotonic() < deadline, "ComfyUI does not end"
        time.sleep(0.5)
    found: dict[str, Any] = history[name]
    return found


def up(address: str) -> dict[str, Any]:
    """What ComfyUI says of its nodes, as soon as it answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            described: dict[str, Any] = asked(address, "/object_info")
            return described
        except OSError:
            assert time.monotonic() < deadline, "ComfyUI does not start"
            time.sleep(1)


def sizes(folder: Path, history: dict[str, Any]) -> list[tuple[int, int]]:
    """Of the images that a prompt has saved."""
    saved = [image for output in history["outputs"].values() for image in output["images"]]
    return [Image.open(folder / image["subfolder"] / image["filename"]).size for image in saved]


def runs(address: str, folder: Path, keep: Path | None) -> Iterator[str]:
    """The example, then a mask, then a model that is not there."""
    described = up(address)
    workflow = json.loads((NODES / "example_workflows/stylize_and_texture.json").read_text("utf-8"))
    plain = prompt(workflow, described)
    for node in plain.values():
        if node["class_type"] == "LoadImage":
            node["inputs"]["image"] = PHOTO.name
    start = time.monotonic()
    history = done(address, plain)
    assert history["status"]["status_str"] == "success", history["status"]
    made = sizes(folder / "output", history)
    assert sorted(made) == sorted([Image.open(PHOTO).size, (512, 512)]), made
    yield f"the example: {len(plain)} nodes, images of {made}, in {time.monotonic() - start:.0f} s"
    if keep:
        for path in (folder / "output").glob("*.png"):
            shutil.copy(path, keep / f"comfyui-{path.name}")
    solid = {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": made[0][0], "height": made[0][1]}}
    stylize = next(node for node in plain.values() if node["class_type"] == "TexturenetsStylize")
    stylize["inputs"] |= {"mask": ["9", 0], "strength": 0.5, "stroke": 2.0}
    history = done(address, {**plain, "9": solid})
    assert history["status"]["status_str"] == "success", history["status"]
    yield "a mask of ComfyUI's, half the strength, double strokes: painted"
    style = next(node for node in plain.values() if node["class_type"] == "TexturenetsLoadStyle")
    style["inputs"]["model"] = "/none/such.safetensors"
    history = done(address, {**plain, "9": solid})
    (told,) = [
        what["exception_message"] for kind, what in history["status"]["messages"] if kind == "execution_error"
    ]
    yield f"a model that is not there, beside the node: {told.strip()}"


def inside(source: Path, python: Path, keep: Path | None = None) -> Iterator[str]:
    """Start ComfyUI with the nodes as its only custom ones, in a folder of its own, and use them.

    `keep`: a folder for the images.
    """
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        base = Path(name)
        for part in ("input", "output", "temp", "user", "custom_nodes", "models"):
            (base / part).mkdir()
        shutil.copy(PHOTO, base / "input")
        shutil.copytree(NODES, base / "custom_nodes/texturenets_nodes")
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        words = [python, source / "main.py", "--cpu", "--base-directory", base, "--port", port]
        words += ["--database-url", "sqlite:///:memory:"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        with (base / "log").open("w") as log, fresh.started(words, clean, stderr=log):
            version = asked_version(source)
            yield f"ComfyUI {version}, its own server and executor"
            yield from runs(f"http://127.0.0.1:{port}", base, keep)


def asked_version(source: Path) -> str:
    """Of a checkout."""
    return (source / "comfyui_version.py").read_text("utf-8").rpartition("=")[2].strip().strip('"')
