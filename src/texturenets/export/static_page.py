"""A page that runs models in the browser: a folder for any file server."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from texturenets import export, textures
from texturenets.errors import UserError
from texturenets.export import onnxruntime_web
from texturenets.files import atomic_write
from texturenets.graph import IOSpec
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import styles_of
from texturenets.modelfiles.modelfile import Header
from texturenets.modelfiles.titles import title
from texturenets.stylize import style


class PageModel(TypedDict):
    """What models.json tells the page of a model. `styles`: {name: title} if the network has several styles."""

    name: str
    title: str
    kind: str
    file: str
    thumbnail: str
    licence: str
    terms: str
    styles: dict[str, str]
    io_spec: dict[str, Any]


IO_SPEC_KEYS = {field.name for field in dataclasses.fields(IOSpec)}
PAGE = Path(__file__).parents[1] / "server" / "page"


def described(header: Header, io_spec: IOSpec, name: str) -> PageModel:
    """The entry of a model in models.json."""
    min_side = style.MIN_NETWORK_SIDE if header.kind == "style" else textures.MIN_SAMPLE_SIDE
    return {
        "name": name,
        "title": title(name),
        "kind": header.kind,
        "file": f"models/{name}.onnx",
        "thumbnail": f"data:image/jpeg;base64,{header.thumbnail}" if header.thumbnail else "",
        "licence": header.licence,
        "terms": header.terms,
        "styles": {style: title(style) for style in styles_of(header.rows)} if io_spec.inputs else {},
        "io_spec": {**dataclasses.asdict(io_spec), "min_side": max(min_side, io_spec.min_side)},
    }


def write(
    models: Sequence[Path],
    folder: Path,
    package: Path | None = None,
) -> Path:
    """Write the page with `models` into `folder` and return its index.html, which is written last.

    Models of an earlier export into `folder` stay on the page; a warning names them. `package`: as for
    `onnxruntime_web.files`. Raises UserError for two models of one name, a folder that holds another page, and
    whatever keeps a model from being converted.
    """
    names = [path.stem for path in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two models are called {twice[0]}: give one of the files another name")
    shown = [model for model in _exported(folder) if model["name"] not in names]
    if shown:
        earlier = ", ".join(model["name"] for model in shown)
        warnings.warn(
            f"the page in {folder} also shows {earlier}, exported before; to make a page without them, give another "
            "folder",
            stacklevel=2,
        )
    contents = {model["file"]: (folder / model["file"]).read_bytes() for model in shown}
    for path in models:
        header = modelfile.read_header(path)
        if header.kind == "material":
            raise UserError(f"{path} is a material, and the page shows images: leave it out")
        graph, io_spec = export.converted(path, export.chosen_variant(path, None))
        model = export.onnx_model(graph, export.metadata(header, io_spec))
        contents[f"models/{path.stem}.onnx"] = model.SerializeToString()
        shown.append(described(header, io_spec, path.stem))
    notices = [
        f"Model {model['name']}: {model['licence'] or 'licence unknown'}. {model['terms']}".strip()
        for model in shown
    ]
    contents["models.json"] = json.dumps(shown).encode()
    contents["LICENSES.txt"] = "\n\n".join([*notices, onnxruntime_web.LICENCE]).encode()
    contents |= {f"ort/{name}": data for name, data in onnxruntime_web.files(package).items()}
    contents |= {path.name: path.read_bytes() for path in sorted(PAGE.iterdir()) if path.is_file()}
    # Offline the page needs the CPU runtime (WebAssembly); that for WebGPU is cached on first use.
    needed = [
        "./",
        *(name for name in contents if name not in {f"ort/{file}" for file in onnxruntime_web.WEBGPU}),
    ]
    contents["files.json"] = json.dumps(needed).encode()
    version = hashlib.sha256(b"".join(name.encode() + data for name, data in sorted(contents.items())))
    contents["offline.js"] = contents["offline.js"].replace(b"VERSION", version.hexdigest()[:16].encode())
    index = contents.pop("index.html")
    for name, data in {**contents, "index.html": index}.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(data)
    return folder / "index.html"


def _exported(folder: Path) -> list[PageModel]:
    """The models of the page in `folder`; none if there is no page. Raises UserError for a page that this version did
    not write."""
    try:
        models = json.loads((folder / "models.json").read_bytes())
        for model in models:
            if (
                model.keys() != PageModel.__annotations__.keys()
                or model["io_spec"].keys() != IO_SPEC_KEYS
                or model["file"] != f"models/{Path(model['name']).name}.onnx"
            ):
                raise ValueError
    except FileNotFoundError:
        if not (folder / "index.html").exists():
            return []
        raise UserError(f"{folder} holds another page, index.html: give another folder") from None
    except (ValueError, TypeError, AttributeError):
        raise UserError(
            f"{folder / 'models.json'} was not written by this version: give another folder"
        ) from None
    return [model for model in models if (folder / model["file"]).is_file()]
