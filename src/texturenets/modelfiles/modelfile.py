"""One `.safetensors` file a model: weights, in half precision, and a JSON header with everything else. The header
holds the graph (`texturenets.graph`): nothing else is needed to run the network, and reading it does not need torch.
The weights are named as in the network's `state_dict`; names of weights that only the graph has begin with "graph:".
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from texturenets._version import __version__
from texturenets.arguments import check_plain
from texturenets.errors import DamagedError, NoBaseError, UserError, reason, unknown
from texturenets.files import atomic_write, cache_folder
from texturenets.graph import ConversionError, Graph, names_of
from texturenets.graph.conditional import conditioned
from texturenets.hub.names import is_name
from texturenets.image.formats import suffix_of_start
from texturenets.modelfiles import conditions
from texturenets.modelfiles.conditions import Condition, Mixture

if TYPE_CHECKING:
    from torch import Tensor


FORMAT = 2  # version of the header; files with another version are refused
GRAPH_WEIGHT_PREFIX = "graph:"  # begins the names of weights that only the graph has, not the network
CUSTOM = "custom"  # the name of every network that is the user's own code
ZOO = Path(__file__).parent / "zoo"
TYPES = ("F16", "F32", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL")  # of weights
PUBLISHED = {".t7", ".pth", ".pt", ".model", ".onnx", ".ckpt", ".pb"}  # suffixes of other programs' networks


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of a model file: everything except the weights.

    `kind`: "style" stylizes a photo, "texture" draws from noise, "material" draws several maps from noise: `maps`, in
    the order of the output's channels (`texturenets.materials.maps`). `generator`: the spec of the network as plain
    data (`network_files.spec_of` is the inverse); not needed for running the network. `training`: options and results
    of the training. `licence`: of the weights. `terms`: terms of use of the training images. `thumbnail`: a small
    JPEG of the model's result, base64; `thumbnails`: one for each style of a network with several, by name.
    `conditions`: the meaning of the rows of such a network (`modelfiles.conditions`), plain data. `base`: for a style
    that was added to such a network and holds only its rows, the name and hash of that model's file (`base_of`).
    """

    name: str
    kind: Literal["style", "texture", "material"]
    generator: Any
    training: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    terms: str = ""
    source: str = ""
    thumbnail: str = field(default="", repr=False)
    thumbnails: Mapping[str, str] = field(default_factory=dict, repr=False)
    maps: Sequence[str] = ()
    conditions: Sequence[Mapping[str, Any]] = ()
    base: Mapping[str, str] = field(default_factory=dict)
    version: str = __version__

    def __post_init__(self) -> None:
        given, plain = self.generator, self.generator
        if dataclasses.is_dataclass(given) and not isinstance(given, type):
            plain = {"name": getattr(given, "name", None), **dataclasses.asdict(given)}
        if not isinstance(plain, Mapping):
            plain = {}
        if not isinstance(plain.get("name"), str):
            raise UserError("its generator has no name")
        object.__setattr__(self, "generator", json.loads(json.dumps(plain)))  # lists, as from a file
        if isinstance(self.maps, list):
            object.__setattr__(self, "maps", tuple(self.maps))
        if isinstance(self.conditions, list):
            object.__setattr__(self, "conditions", tuple(self.conditions))

    @property
    def rows(self) -> tuple[Condition, ...]:
        """The condition of each row of its normalizations' weights; empty for a network with one style."""
        return conditions.parse(self.conditions)

    @property
    def custom(self) -> bool:
        """Whether the network is the user's own code."""
        return bool(self.generator["name"] == CUSTOM)


def read_header(path: str | Path) -> Header:
    """The header of the model file at `path`, weights unread.

    Raises UserError if it is not a model file of this package, or has another format version.
    """
    data = _read(Path(path))
    known = {f.name for f in dataclasses.fields(Header)}
    try:
        header = Header(**{k: v for k, v in data.items() if k in known})
        check_types(header)
        return header
    except (UserError, ValueError, TypeError) as error:
        raise damaged(path, error) from None


def is_model(path: str | Path) -> bool:
    """Whether a file, whatever its suffix, is a model of this package; one with a damaged header is one too."""
    try:
        return Path(path).is_file() and _metadata(Path(path)) is not None
    except UserError:
        return False


def damaged(path: str | Path, error: Exception) -> DamagedError:
    return DamagedError(f"{path}: damaged model header, or one of a later version: {error}")


def _read(path: Path) -> dict[str, Any]:
    """The JSON of the header."""
    text = _metadata(path)
    if text is None and _is_checkpoint(path):
        raise UserError(
            f"{path} is the checkpoint of a training, and no model: the model is best.safetensors or "
            "last.safetensors beside it"
        )
    if text is None:
        raise UserError(f"{path} holds tensors but no texturenets header; `texturenets convert` may read it")
    data = parse_header(path, text)
    version = data.pop("format")
    if version < FORMAT:
        raise UserError(
            f"{path} has model format {version}, of an earlier version: "
            f"`texturenets convert {path} -o new-{path.name}`"
        )
    if version > FORMAT:
        raise UserError(
            f"{path} has model format {version}; this texturenets {__version__} reads up to {FORMAT}: "
            f"upgrade it (the file was written by {data.get('version', 'a later one')})"
        )
    return data


def read_graph(path: str | Path, *, weights: bool = True, mixture: Mixture | None = None) -> Graph:
    """The graph of the model file at `path` with its weights in float32.

    `weights`: if False, only the header is read. `mixture`: for a model with several styles, the mixture to run; by
    default the first condition. No torch. Raises ConversionError if it has none and needs its code, and UserError as
    `read_header` does, for an invalid graph, and for weights that are missing, do not fit or are not finite.
    """
    base = base_of(path)
    header = _read(base or Path(path))
    data, reason = header.get("graph"), header.get("no_graph")
    if data is None:
        text = " ".join(str(reason or "its network's code").split())[:300]
        reason = "".join(letter for letter in text if letter.isprintable())
        raise ConversionError(f"{path} cannot be taken into a graph", reason)
    try:
        if not isinstance(data, dict):
            raise UserError("its graph is none")
        graph = Graph.from_dict(data)
        rows = conditions.parse((_read(Path(path)) if base else header).get("conditions", ()))
        chosen = mixture or Mixture((tuple(float(i == 0) for i in range(len(rows))),))
        if weights or chosen.stride is not None:  # the style map's inputs come from the weights' shapes
            for file in [base, Path(path)] if base else [Path(path)]:
                graph.weights.update(_weights(file, names_of(graph.nodes)))
        if rows:
            graph = conditioned(graph, chosen.components, chosen.stride)
        if weights:
            graph.check()
    except (UserError, ValueError) as error:
        raise DamagedError(f"{path}: {error}") from None
    return graph


def has_graph(path: str | Path) -> bool:
    """Whether the model file at `path`, or its base model, has a graph; if not, its code is needed to run it.

    Raises UserError as `read_header`."""
    return _read(base_of(path) or Path(path)).get("graph") is not None


def identity(path: Path) -> dict[str, str]:
    """The name and hash by which a style refers to its base model."""
    return {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def base_of(path: str | Path) -> Path | None:
    """The file of the base model of the style at `path`; None for a complete model.

    It is a shipped model, or is next to the style. Raises NoBaseError if it is missing or a different model.
    """
    base = _read(Path(path)).get("base")
    if not base:
        return None
    if not isinstance(base, dict) or not {"name", "sha256"} <= base.keys():
        raise damaged(path, ValueError("it does not say which model it was trained into"))
    name, digest = PurePath(str(base["name"])).name, str(base["sha256"])
    found = [file for file in (shipped().get(name), Path(path).with_name(f"{name}.safetensors")) if file]
    there = [file for file in found if file.is_file()]
    for file in there:
        if identity(file)["sha256"] == digest:
            return file
    wanted = f"{path} holds one style of the model {name} (sha256 {digest[:16]})"
    if there:
        raise NoBaseError(
            f"{wanted}, and {there[-1]} is another one (sha256 {identity(there[-1])['sha256'][:16]}): put the "
            f"{name}.safetensors that it was trained into beside it"
        )
    raise NoBaseError(f"{wanted}, which is not here: put {name}.safetensors beside it")


def base_beside(path: str | Path) -> str | None:
    """The name of the base model that must be next to the style at `path`; None for a complete model, and if the base
    model is shipped. Raises UserError as `read_header`."""
    base = read_header(path).base
    name = PurePath(base.get("name", "")).name
    ours = shipped().get(name)
    return name if name and (ours is None or identity(ours)["sha256"] != base["sha256"]) else None


def is_shipped(path: Path) -> bool:
    """Whether the model file at `path` came with the package."""
    return path.parent == ZOO


def keep_base(path: Path, base: Path) -> None:
    """Copy the base model `base` next to the style at `path`, unless it is shipped. An existing file of that name is
    left. Raises OSError.
    """
    beside = path.with_name(f"{base.stem}.safetensors")
    if not is_shipped(base) and not beside.exists():
        with atomic_write(beside) as temporary:
            temporary.write_bytes(base.read_bytes())


def may_take_noise(path: Path) -> bool:
    """Whether the network of a model file may have noise inputs; True without a graph, because code may have them."""
    try:
        return bool(read_graph(path, weights=False).noise)
    except ConversionError:
        return True


def parse_header(path: Path, text: str) -> dict[str, Any]:
    """Parse the JSON `text` of the header of the file at `path`. Raises UserError for an invalid header."""
    try:
        data: dict[str, Any] = json.loads(text)
        check_plain(data)
        if type(data["format"]) is not int:
            raise ValueError(f"its format is {data['format']!r}")
    except RecursionError:
        raise DamagedError(f"{path}: damaged model header (it is nested too deeply)") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path}: damaged model header ({error})") from None
    return data


def _weights(path: Path, names: set[str]) -> dict[str, NDArray[np.float32]]:
    """Those of the named weights that the file has. Raises UserError for a type that numpy does not support."""
    weights = {}
    with safe_open(path, "np") as file:
        for name in names.intersection(file.keys()):
            kind = file.get_slice(name).get_dtype()
            if kind not in TYPES:
                raise UserError(f"weight {name} is of type {kind}; known are {', '.join(TYPES)}")
            weights[name] = file.get_tensor(name).astype(np.float32)
    return weights


def _is_checkpoint(path: Path) -> bool:
    """Whether a safetensors file is a checkpoint (`texturenets.train.checkpoint`)."""
    with safe_open(path, "np") as file:
        return {"state", "sha256"} <= (file.metadata() or {}).keys()


def _metadata(path: Path) -> str | None:
    """The JSON text of a model file's header, None if there is none. Raises UserError for a file that is missing,
    unreadable, damaged or not of safetensors."""
    if path.exists() and not path.is_file():  # a pipe would wait for somebody to write to it
        raise UserError(f"{path} is not a texturenets model: it is not a regular file")
    try:
        path.name.encode()
        with safe_open(path, "np") as file:  # does not need torch
            text: str | None = (file.metadata() or {}).get("texturenets")
            return text
    except UnicodeEncodeError:
        shown = str(path).encode(errors="backslashreplace").decode()
        raise UserError(f"{shown}: its name is not UTF-8: rename it") from None
    except FileNotFoundError:  # also of a file that may not be read
        told = f"cannot read {path}: permission denied" if path.exists() else f"no such file: {path}"
        raise UserError(told) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    except (SafetensorError, struct.error):
        if harm := harm_of(path):
            raise DamagedError(f"{path} is {harm}: fetch or copy it again") from None
        raise UserError(f"{path} is not a texturenets model: {_diagnosis(path)}") from None


def harm_of(path: Path) -> str:
    """In which way an unreadable safetensors file is damaged; empty for other files."""
    with path.open("rb") as file:
        start = file.read(9)
        length = int.from_bytes(start[:8], "little")  # of the header, which is JSON
        if start[8:] != b"{" or length > 2**27:
            return ""
        try:
            arrays: dict[str, Any] = json.loads(b"{" + file.read(length - 1))
            ends = [one["data_offsets"][1] for name, one in arrays.items() if name != "__metadata__"]
            least = 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            least = 8 + length
    return "cut short" if path.stat().st_size < least else "damaged"


def _diagnosis(path: Path) -> str:
    """A message that says what a file is that is not a safetensors file, and what to do."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        problem = "it is empty: fetch or train it again"
    elif suffix_of_start(start):
        problem = (
            f"it is an image; `texturenets train style {path} --content FOLDER-OF-PHOTOS` makes a model of it"
        )
    elif start.startswith((b"PK\3\4", b"\x80")) or path.suffix.lower() in PUBLISHED:
        problem = f"it looks like another program's network; `texturenets convert {path}` may read it"
    elif b"<html" in start.lower():
        problem = "it is a web page, as a download that failed leaves: fetch the file again"
    else:
        problem = "it is not a safetensors file; `texturenets models` lists the shipped models"
    return problem


def check_types(header: Header) -> None:
    """Raise ValueError for a field whose type is not that of `Header`."""
    for name in ("name", "licence", "terms", "source", "thumbnail", "version"):
        if not isinstance(getattr(header, name), str):
            raise ValueError(f"its {name} is not text")
    if header.kind not in ("style", "texture", "material"):
        raise ValueError(f"its kind is {str(header.kind)[:40]!r}, not style, texture or material")
    if not isinstance(header.maps, tuple) or not all(isinstance(one, str) for one in header.maps):
        raise ValueError("its maps are not a list of names")
    conditions.parse(header.conditions)
    if not isinstance(header.base, dict) or not all(isinstance(one, str) for one in header.base.values()):
        raise ValueError("what it says of the model that it was trained into is not an object of texts")
    if header.base and {"name", "sha256"} - header.base.keys():
        raise ValueError("it does not say which model it was trained into")
    if not isinstance(header.training, dict):
        raise ValueError("what it says of its training is not an object")
    if not isinstance(header.training.get("run", {}), dict):
        raise ValueError("the run that it names is not an object")
    images = header.thumbnails
    if not isinstance(images, dict) or not all(isinstance(one, str) for one in images.values()):
        raise ValueError("its thumbnails are no object of texts")
    for encoded in (header.thumbnail, *images.values()):
        base64.b64decode(encoded, validate=True)


def shipped() -> dict[str, Path]:
    """The models that come with the package: {name: file}."""
    return {p.stem: p for p in sorted(ZOO.glob("[!.]*.safetensors"))}


def fetched_folder() -> Path:
    """The folder to which `texturenets models get` writes models."""
    return cache_folder() / "models"


def fetched() -> dict[str, Path]:
    """The models that `texturenets models get` has fetched: {name: file}; none if there is no home folder."""
    with suppress(UserError):
        return {p.stem: p for p in sorted(fetched_folder().glob("[!.]*.safetensors"))}
    return {}


def headers(models: Mapping[str, Path]) -> tuple[dict[str, Header], list[str]]:
    """The headers of `models`, {name: file}, and for each that cannot be read a line that says why."""
    by_name: dict[str, Header] = {}
    problems: list[str] = []
    for name, path in models.items():
        try:
            by_name[name] = read_header(path)
        except UserError as error:
            problems.append(str(error))
    return by_name, problems


def _no_file(path: Path) -> str:
    """The error message if there is no model file at `path`."""
    import difflib  # rarely needed

    if path.is_dir():
        best = path / "best.safetensors"  # in the folder of a training
        return f"{path} is a folder, and no model file" + (f": say {best}" if best.is_file() else "")
    if so_far := _so_far(path):
        return f"no such model file: {path}; {so_far}"
    there = [file.name for file in path.parent.glob("[!.]*.safetensors")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.8)
    hint = (
        f"did you mean {path.with_name(near[0])}?" if near else "`texturenets models` lists the shipped ones"
    )
    return f"no such model file: {path}; {hint}"


def _so_far(path: Path) -> str:
    """The hint for a missing model file `path` whose training has not ended."""
    last = path.with_suffix(".run") / "last.safetensors"
    if not last.is_file():
        return ""
    return f"of its training, {last} is the model so far; the same command with `resume` continues it"


def find(name: str | Path, kind: Literal["style", "texture", "material"] | None = None) -> Path:
    """The file of a model: a path, the name of a shipped or a fetched one, or hf://USER/REPO, which is fetched.

    Raises UserError with the nearest name, and as `hub.download.fetch`.
    """
    if is_name(name):
        return _fetched(name)
    path = Path(name)
    if path.suffix or path.is_file() or path.name != str(name):  # a folder may well be called "wave"
        if path.is_file():
            return path
        raise UserError(_no_file(path))
    models = {**fetched(), **shipped()}
    if str(name) in models:
        return models[str(name)]
    here = Path(f"{path}.safetensors")
    if here.is_file():
        raise UserError(f"no shipped model is called {path}; for the file here say {here}")
    if so_far := _so_far(here):
        raise UserError(f"no such model file: {here}; {so_far}")
    described = {n: header for n, header in headers(models)[0].items() if kind in (None, header.kind)}
    inside = (style for header in described.values() for style in conditions.styles_of(header.rows))
    raise unknown(kind or "model", str(name), dict.fromkeys([*described, *inside]))


def _fetched(name: str | Path) -> Path:
    """The file of a model on the Hub; its base model is fetched next to it, if the repository has it."""
    from texturenets.hub import download  # huggingface_hub is seldom wanted

    path = download.fetch(name)
    if base := base_beside(path):
        download.fetch_beside(name, path, f"{base}.safetensors")
    return path


def encode_thumbnail(picture: Tensor, longer: int = 160) -> str:
    """Image (1, 3, H, W), RGB in [0, 1], as a small base64 JPEG for a header."""
    from PIL import Image

    array = (picture[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(array)
    image.thumbnail((longer, longer), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return base64.b64encode(buffer.getvalue()).decode()
