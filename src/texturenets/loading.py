"""Models by name or file: styles and textures, ready to be used."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from texturenets import arguments, engines
from texturenets.engines import Engine, devices
from texturenets.engines.bound import BoundEngine
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.graph.conditional import STYLES
from texturenets.graph.wrapping import Wrap
from texturenets.memory import budget
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import PHOTO, Mixture, parse_mix, styles_of, unknown_style
from texturenets.modelfiles.modelfile import Header
from texturenets.modelfiles.variant import AS_IT_IS, Variant
from texturenets.stylize.style import MakeEngine, Style

if TYPE_CHECKING:
    from torch import nn

    from texturenets.textures import Texture


def shipped_styles() -> dict[str, str]:
    """The styles that come with the package, {name: what `load` takes for it}, in alphabetical order: models with one
    style, then the styles of models with several, such as "gallery:wave", except those that also have their own
    model.
    """
    headers, galleries = modelfile.headers(modelfile.shipped())[0], shipped_galleries()
    found = {name: name for name, one in headers.items() if one.kind == "style" and name not in galleries}
    several = {style: f"{name}:{style}" for name, styles in galleries.items() for style in styles}
    return found | {style: several[style] for style in sorted(several) if style not in found}


def shipped_galleries() -> dict[str, tuple[str, ...]]:
    """The models of several styles that come with the package, {name: their styles}."""
    headers = modelfile.headers(modelfile.shipped())[0]
    return {name: styles_of(one.rows) for name, one in headers.items() if one.rows}


def models() -> dict[str, Header]:
    """The shipped models, those that come with the package (not those that `texturenets models get` has fetched), as
    {name: header}, in alphabetical order.

    A header's `kind` is "style", "texture" or "material"; `load` takes the names.
    """
    return modelfile.headers(modelfile.shipped())[0]


def default_style() -> str:
    """The name, for `load`, of the first style that comes with the package. Raises UserError if there is none."""
    styles = shipped_styles()
    if not styles:
        raise _none_shipped("")
    return next(iter(styles.values()))


def find_style(name: str | Path) -> Path:
    """The model file of a style: a shipped name or a file.

    Raises UserError with the nearest name, or, if no style is shipped, with what to do.
    """
    if str(name) in {**modelfile.shipped(), **modelfile.fetched()}:
        return modelfile.find(name, "style")
    # A name, not a file, and no models are shipped: say that, instead of suggesting similar names.
    if _is_bare(str(name)) and not shipped_styles():
        raise _none_shipped(f", so none called {str(name)!r}")
    return modelfile.find(name, "style")


def _is_bare(name: str) -> bool:
    """Whether `name` can be a model's name, and is not a file."""
    path = Path(name)
    return not (path.suffix or path.name != name or _is_file(name))


def _none_shipped(request: str) -> UserError:
    return UserError(
        f"no styles come with this installation{request}: train one with "
        "`texturenets train style IMAGE --content FOLDER` and give its model file"
    )


def load(
    name: str | Path,
    device: str = "auto",
    *,
    engine: str = "auto",
    precision: str = "auto",
    generator: Callable[..., Any] | str | None = None,
    memory: str | int | None = None,
    spool: str | Path | None = None,
) -> Style | Texture:
    """The style, texture or material called `name` (a shipped one, a model file, or hf://USER/REPO), on `device`
    (auto, cpu, cuda, mps).

    A `Style` stylizes photos, a `Texture` draws samples, a `Material`, which is one too, sets of maps.

    `engine` is "torch", "openvino", "onnx", or "auto": the fastest that is installed. `precision` is "float32",
    "bf16", "fp16", as far as the engine has it, or "auto": half precision where the device computes in it, but
    float32 with PyTorch on a processor. In half precision a pixel may differ by some 255ths from float32
    (docs/performance.md). The result's `engine` says which was chosen. Engines do not work after `fork()`: load the
    model in the child process (docs/cluster.md). `generator`: for a model whose network is the user's own code, that
    code, "FILE.py:CLASS" or the class itself, which PyTorch then runs in place of the graph in the model file. Only a
    model without a graph needs it; a warning says if the code has changed since the model was made. Only for styles:
    `memory`, the memory that may be used, in bytes or as "2G"; by default a share of the free memory. `spool`: a
    folder for feature maps that do not fit.

    A name hf://USER/REPO[/FILE][@REVISION] is a model on the Hugging Face Hub, which is fetched once (docs/hub.md).

    Raises UserError for an unknown name, device or engine, an engine that is not installed, a file that is not a
    model, code that must not be run, weights that do not fit in memory, and `memory` or `spool` for a texture.
    """
    arguments.instance("name", name, str | Path, "the name of a shipped model or the path of a model file")
    arguments.text("device", device)
    arguments.text("engine", engine)
    arguments.text("precision", precision)
    arguments.instance("spool", spool, str | Path | None, "the path of a folder")
    if memory is not None and not isinstance(memory, str) and arguments.integer("memory", memory) < 1:
        raise UserError(f"`memory` {memory} is not above 0: give bytes, or text as '2G'")
    if spool is not None and not Path(spool).is_dir():
        raise UserError(f"`spool` {spool} is not a folder: name one that exists")
    options = EngineOptions(engine, device, precision, generator=generator, memory=memory, spool=spool)
    return load_with(name, options)


def load_module(name: str | Path, *, generator: Callable[..., Any] | str | None = None) -> nn.Module:
    """The network of the model called `name` (as in `load`) as a PyTorch module, for use in your own code.

    In float32 and evaluation mode, on the processor, with parameters that get no gradient until
    `requires_grad_(True)`. A style's takes photos (N, 3, H, W), RGB in [0, 1], sides multiples of its stride (4 for
    the shipped styles), and returns images of the same shape, with a gradient; if the network also has noise inputs,
    a list of maps (N, C, H / s, W / s) may follow; the default is that of seed 0. A texture's takes None and that
    list. `load` gives some networks more around a photo and crops it off again: as many reflected pixels on every
    side as the module's attribute `margin` says (16 for the shipped styles), so that strokes at the border are those
    of the inside. For a model of several styles `condition=ROW` follows, a row of its header's `rows`. `generator`:
    as in `load`; without it a network of the user's own code runs from its graph.

    Raises UserError as `load`.
    """
    from texturenets.networks import network_files

    arguments.instance("name", name, str | Path, "the name of a shipped model or the path of a model file")
    return network_files.load(modelfile.find(name), generator)[0]


def load_with(name: str | Path, options: EngineOptions) -> Style | Texture:
    """As `load`, with its options in one object."""
    file, mix = split_name(name)
    path = modelfile.find(file) if modelfile.shipped() else find_style(file)
    header = modelfile.read_header(path)
    kind = header.kind
    if kind != "style":
        for option, value in (("memory", options.memory), ("spool", options.spool)):
            if value is not None:
                raise UserError(
                    f"{option}={value!r}: {name} is a {kind}, whose samples are drawn whole: ask for smaller ones, "
                    "or for tiles"
                )
        if mix:
            raise UserError(
                f"{name}: {path.stem} is a {kind}, which holds no styles: leave out the colon and what follows"
            )
        return load_drawn(path, options)
    return _style(path, header, mix, options)


def load_style(name: str | Path, options: EngineOptions = EngineOptions()) -> Style:
    """As `load`, of a style; raises UserError for a texture too."""
    file, mix = split_name(name)
    path = find_style(file)
    header = modelfile.read_header(path)
    if header.kind != "style":
        called = path.stem if modelfile.is_shipped(path) else name
        raise UserError(
            f"{called} is a {header.kind} model, which generates images from noise and cannot stylize: "
            f"use `texturenets sample {called}`"
        )
    return _style(path, header, mix, options)


def _style(path: Path, header: Header, mix: dict[str, float] | None, options: EngineOptions) -> Style:
    """The style of the model file at `path`, with that header."""
    if mix:
        check_styles(path, mix)
    memory, spool = options.memory, options.spool
    with devices.memory_errors(f"not enough memory for the network of {path}"):
        make = _engines(path, header, options, code_of(path, options))
        return Style(
            make(AS_IT_IS),
            header,
            path,
            memory=budget.parse(memory) if isinstance(memory, str) else memory,
            spool=None if spool is None else Path(spool),
            mix=mix,
            make=make,
        )


def _engines(
    path: Path, header: Header, options: EngineOptions, code: Callable[[], nn.Module] | None
) -> MakeEngine:
    """Functions that return the engine of a style, and for a model with several styles that of a mixture. All
    mixtures without masks share one engine, which gets the weights as an input with each image, so that nothing has
    to be compiled again; the cost is in docs/measurements.md.
    """
    load = functools.partial(engines.load, path, options, code)
    every = Mixture.of_rows(len(header.rows))
    shared: dict[Wrap, Engine] = {}

    def make(variant: Variant) -> Engine:
        if header.rows and code is not None:  # also for a network that cannot be converted to a graph
            raise UserError(
                f"{path} holds several styles, which are run from the graph in it, and by no code: leave `generator` "
                "out, and take `engine` auto"
            )
        if variant.wrap and code is not None:
            raise UserError(
                f"`wrap` {variant.wrap}: it takes the graph of a network, and the network of {header.name} is run by "
                "its own code: leave `wrap` out"
            )
        mixture = variant.mixture
        if not header.rows or (mixture is not None and mixture.stride is not None):
            return load(variant)
        if variant.wrap not in shared:
            shared[variant.wrap] = load(Variant(every, variant.wrap))
        shares = every.components[0] if mixture is None else mixture.components[0]
        return BoundEngine(shared[variant.wrap], {STYLES: np.array(shares, np.float32)[None, :, None, None]})

    return make


def split_name(name: str | Path) -> tuple[str | Path, dict[str, float] | None]:
    """The model's name or file, and the mixture after a colon: "gallery:wave=0.6,udnie=0.4". A style,
    or a mixture, of a shipped model of several may be named without its model, if no model has that name.

    Raises UserError for a weight that is not a number, and for a mixture that names no model.
    """
    text = str(name)
    if model := _gallery_with(text):
        return model, parse_mix(text)
    if "=" in text and _is_mixture(text):
        raise UserError(
            f"{text}: a mixture is of the styles of one model, which `texturenets train gallery` learns: name that "
            f"before a colon, as MODEL:{text}"
        )
    file, colon, words = text.rpartition(":")
    if not words and len(file) > 1 and (_is_file(file) or file in shipped_galleries()):
        known = ", ".join(styles_of(modelfile.read_header(modelfile.find(file)).rows))
        raise UserError(
            f"{text}: name a style after the colon{f', of {known}' if known else ', or leave it out'}"
        )
    if not colon or len(file) < 2 or _is_file(text) or set(words) & set("/\\") or not words:
        return name, None  # a path, as C:\wave.safetensors
    return file, parse_mix(words)


def _is_mixture(words: str) -> bool:
    """Whether it can be a mixture without a model's name."""
    return not (set(words) & set(":/\\") or words.endswith(".safetensors") or _is_file(words))


def _gallery_with(words: str) -> str:
    """The shipped model of several styles that has those of a mixture, as "wave=0.6,udnie=0.4", or one of them where
    others are misspelt; empty without one, and for a model's own name."""
    if not _is_mixture(words) or words in {**modelfile.shipped(), **modelfile.fetched()}:
        return ""
    styles = {word.partition("=")[0].strip() for word in words.split(",")} - {PHOTO}
    several = shipped_galleries()
    whole = [name for name, known in several.items() if styles and styles <= set(known)]
    part = [name for name, known in several.items() if styles & set(known)]
    return next(iter([*whole, *part]), "")


def _is_file(name: str) -> bool:
    with suppress(OSError, ValueError):  # the name may be too long for a file
        return Path(name).is_file()
    return False


def check_styles(path: Path, mix: Mapping[str, float]) -> None:
    """Raise UserError for a style that the model file at `path` does not have."""
    header = modelfile.read_header(path)
    known = styles_of(header.rows) or (header.name,)
    for style in mix:
        if style not in (*known, PHOTO):
            raise unknown_style(path.stem, style, known)


def load_texture(name: str | Path, options: EngineOptions = EngineOptions()) -> Texture:
    """As `load`, of a texture; raises UserError for a style or a material too."""
    if modelfile.read_header(modelfile.find(name, "texture")).kind == "material":
        raise UserError(f"{name} is a material, which draws several maps and not one image: give a texture")
    return load_drawn(name, options)


def load_drawn(name: str | Path, options: EngineOptions = EngineOptions()) -> Texture:
    """As `load`, of a texture or a material; raises UserError for a style too."""
    path = modelfile.find(name, "texture")
    header = modelfile.read_header(path)
    if header.kind == "style":
        raise UserError(
            f"{name} is a style model, which stylizes photos and does not generate images from noise: "
            f"use `texturenets stylize PHOTO -s {name}`"
        )
    from texturenets.materials.material import Material
    from texturenets.textures import Texture

    drawn = Material if header.kind == "material" else Texture
    with devices.memory_errors(f"not enough memory for the network of {path}"):
        return drawn(engines.load(path, options, code_of(path, options)), header, path)


def code_of(path: Path, options: EngineOptions) -> Callable[[], nn.Module] | None:
    """A function that builds the network from its code, if the user names code, or the model has no graph; else None.
    Raises UserError, also for an engine that runs no code."""
    generator, engine = options.generator, options.engine
    if generator is None and modelfile.has_graph(path):
        return None
    header = modelfile.read_header(path)
    if generator is not None and not header.custom:
        raise UserError(
            f"this model's generator is {header.generator['name']}, which needs no code of your own: leave "
            "`generator` out"
        )
    if generator is not None and engine in engines.BACKENDS:
        raise UserError(
            f"`engine` {engine} runs the graph in the model file, and no code: leave `generator` out, or take "
            "`engine` torch"
        )
    devices.require_torch(f"the network of {path}" if generator is None else "`generator`")

    def build() -> nn.Module:
        from texturenets.networks import network_files

        return network_files.load(path, generator)[0]

    return build
