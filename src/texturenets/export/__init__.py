"""Exports models to ONNX files and OpenVINO IR, with metadata, and checks the result."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets import engines, loading, noise
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError, unknown
from texturenets.export import style_input
from texturenets.files import atomic_write, new_folders
from texturenets.graph import ConversionError, IOSpec
from texturenets.graph.conditional import STYLES
from texturenets.modelfiles import modelfile
from texturenets.modelfiles.conditions import Mixture, shares, styles_of
from texturenets.modelfiles.variant import AS_IT_IS, Variant
from texturenets.noise import NoiseInput

if TYPE_CHECKING:
    from google.protobuf.message import Message

TOLERANCE = 1e-3
"""Maximum difference from the reference for 999 of 1000 values, on a range of 1: a quarter of an 8-bit step."""


@dataclass(frozen=True)
class Exported:
    """The files written. `difference`: largest difference between the first of them and `reference` over all `sizes`.
    `accepted_sizes`: the heights and widths that the network accepts, in words.
    """

    files: list[Path]
    accepted_sizes: str
    reference: str
    sizes: list[tuple[int, int, int]]
    difference: float


Runner = Callable[[list[Any]], Any]


def _taken(io_spec: IOSpec) -> str:
    """The heights and widths that a network accepts, in words."""
    if io_spec.fixed_size:
        return f"height and width are {io_spec.stride}"
    return f"height and width are multiples of {io_spec.stride} and at least {io_spec.min_side}"


def metadata(header: modelfile.Header, io_spec: IOSpec) -> dict[str, str]:
    """The metadata of an exported file."""
    pictures = (
        f"{'maps' if header.maps else 'RGB'}, float32, 0 to 1, (batch, {io_spec.outputs}, height, width)"
    )
    entries = {
        "name": header.name,
        "kind": header.kind,
        "licence": header.licence or "unknown",
        "terms": header.terms,
        "source": header.source,
        "texturenets": header.version,
        "generator": json.dumps(header.generator),
        "pixels": f"in and out: {pictures}; the output is to be clamped to 0 and 1",
        "sizes": _taken(io_spec),
    }
    if header.maps:
        entries["maps"] = f"channels of the output: {', '.join(header.maps)}"
    if io_spec.margin:
        entries["margin"] = (
            f"for a border like the rest, reflection-pad photos by {io_spec.margin} pixels on each side and crop the "
            "image by as many"
        )
    for i, spec in enumerate(io_spec.noise):
        place = f"height / {spec.stride}, width / {spec.stride}"
        drawn = _waves(spec) if spec.waves else f"{spec.distribution} numbers"
        entries[f"noise{i}"] = f"{drawn}, (batch, {spec.channels}, {place})"
    for other in io_spec.inputs:
        if other.name == STYLES:
            names = styles_of(header.rows)
            entries |= {STYLES: ", ".join(names), f"input {STYLES}": style_input.described(names)}
            continue
        place = f"height / {other.stride}, width / {other.stride}" if other.stride else "1, 1"
        entries[f"input {other.name}"] = f"(batch, {other.channels}, {place})"
    return {key: value for key, value in entries.items() if value}


def _waves(spec: NoiseInput) -> str:
    """The waves of an input, in words."""
    each = " and ".join(f"{down:.6g} {right:.6g}" for down, right in spec.waves)
    return (
        f"sine and cosine of waves with random phases, of {each} cycles a pixel down and to the right, rounded to "
        "whole cycles in the image"
    )


def onnx_model(graph: bytes, entries: Mapping[str, str]) -> Message:
    """The ONNX file `graph` with its metadata; a style map may also be one set of weights for the whole image."""
    from texturenets.graph.onnx_messages import ModelProto, set_metadata

    model, entries = ModelProto.FromString(graph), dict(entries)
    if STYLES in entries:
        style_input.constant_too(model)
        entries[f"input {STYLES}"] += "; or (batch, styles, 1, 1), the same everywhere"
    set_metadata(model, entries)
    return model


def _write_onnx(
    graph: bytes, entries: dict[str, str], io_spec: IOSpec, out: Path
) -> tuple[list[Path], Runner]:
    from texturenets.export.snippet import snippet

    model = onnx_model(graph, entries)
    model.doc_string = snippet(io_spec, out.name, entries.get(STYLES, ""))
    with atomic_write(out) as part:
        part.write_bytes(model.SerializeToString())
    return [out], _runner(out)


def _write_openvino(graph: bytes, entries: dict[str, str], _: IOSpec, out: Path) -> tuple[list[Path], Runner]:
    from texturenets.engines import openvino_engine

    core = openvino_engine.core()
    return _save_openvino(core.read_model(io.BytesIO(graph)), entries, out), _openvino_runner(core, out)


def _save_openvino(model: Any, entries: dict[str, str], out: Path) -> list[Path]:
    import openvino

    for key, value in entries.items():
        model.set_rt_info(value, ["texturenets", key])
    weights = out.with_suffix(".bin")
    with tempfile.TemporaryDirectory() as folder:  # OpenVINO writes only files with these suffixes
        temporary = Path(folder) / "model.xml"
        openvino.save_model(model, temporary, compress_to_fp16=True)  # model files hold half precision anyway
        for path in (weights, out):
            with atomic_write(path) as part:
                part.write_bytes(temporary.with_suffix(path.suffix).read_bytes())
    return [weights, out]


Write = Callable[[bytes, dict[str, str], IOSpec, Path], tuple[list[Path], Runner]]

FORMATS: Final[dict[str, tuple[str, Write]]] = {
    "onnx": (".onnx", _write_onnx),
    "openvino": (".xml", _write_openvino),
}
"""By name of the format: the suffix, and a function that writes the file and returns a function that runs it."""


def suffix(to: str) -> str:
    """File suffix of the format `to`. Raises UserError for an unknown one."""
    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    return FORMATS[to][0]


def chosen_variant(path: Path, mix: Mapping[str, float] | None) -> Variant:
    """Which variant of the model file at `path` to export: for a model with several styles the mixture `mix`, or all
    styles, each as one component of the style map, at full strength and its default stroke size. Raises UserError for
    styles that the model does not have.
    """
    rows = modelfile.read_header(path).rows
    if not rows:
        if mix:
            loading.check_styles(path, mix)
        return AS_IT_IS
    names = styles_of(rows)
    if not mix and len(names) > 1:
        return Variant(Mixture(tuple(shares(rows, {name: 1.0}) for name in names), stride=1))
    return Variant(Mixture((shares(rows, mix or {names[0]: 1.0}),)))


def converted(path: Path, variant: Variant = AS_IT_IS) -> tuple[bytes, IOSpec]:
    """`engines.convert`; the UserError for a network that cannot be converted says what can be done instead."""
    try:
        return engines.convert(path, variant=variant)
    except ConversionError as error:
        raise UserError(
            f"{path} cannot be exported: {error.reason}; only PyTorch runs it, in stylize, sample and "
            "texturenets.load with `engine` torch"
        ) from None


def export(
    model: str | Path, to: str, out: str | Path, generator: Callable[..., Any] | str | None = None
) -> Exported:
    """Write `model`, a shipped name or a model file, as `to`, a key of `FORMATS`, to the file `out`, and compare it
    with PyTorch.

    A model of several styles gets an input `styles` for their weights at each pixel, (N, S, H, W); in ONNX they may
    also be the same everywhere, (N, S, 1, 1). "MODEL:STYLE" or a mixture exports only that.

    Without PyTorch it is compared with ONNX Runtime, which runs the graph without passes.

    The batch is free, height and width are multiples of the network's stride. OpenVINO has two files: `out` is the
    description, the weights are next to it. `generator`: as in `texturenets.load`.

    Raises UserError for an unknown format, a name with another suffix than the format's, for a network that cannot be
    converted, if OpenVINO is needed and not
    installed, and if the output of the written file differs from the reference; then no file
    is left, nor a folder that was made for it.
    """
    out = Path(out)
    if out.suffix != suffix(to):
        raise UserError(f"`out` {out}: the name of a file for {to} must end in {suffix(to)}")
    file, mix = loading.split_name(model)
    path = modelfile.find(file)
    header, variant = modelfile.read_header(path), chosen_variant(path, mix)
    graph, io_spec = converted(path, variant)
    with new_folders(out.parent):
        files, run = FORMATS[to][1](graph, metadata(header, io_spec), io_spec, out)
        try:
            name, reference = _reference(path, generator, variant)
            sizes, difference = _compare(path, io_spec, run, name, reference, constant=to == "onnx")
        except UserError:
            for file in files:
                file.unlink(missing_ok=True)
            raise
    return Exported(files, _taken(io_spec), name, sizes, difference)


def _reference(
    path: Path, generator: Callable[..., Any] | str | None, variant: Variant
) -> tuple[str, engines.Engine]:
    """What exported files are compared with."""
    if generator is not None or find_spec("torch") is not None:
        options = EngineOptions("torch", "cpu", "float32", generator=generator)
        return "PyTorch", engines.load(path, options, loading.code_of(path, options), variant)
    from texturenets.engines.onnx_engine import ONNXEngine

    model, io_spec = engines.convert(path, apply_passes=False, variant=variant)
    return "ONNX Runtime", ONNXEngine(model, io_spec)


def _compare(
    path: Path, io_spec: IOSpec, run: Runner, name: str, reference: engines.Engine, *, constant: bool
) -> tuple[list[tuple[int, int, int]], float]:
    """The (batch, height, width) tried, and the largest difference from `reference`, called `name`. `constant`: also
    try style weights that are the same for all pixels.
    """
    # From two pixels per side at the coarsest scale: one pixel normalized is nothing but rounding errors.
    step, least = io_spec.stride, max(io_spec.min_side, 2 * io_spec.stride)
    sizes = [
        (1, least, least),
        (1, least + step, least + 2 * step),
        (2, least + 3 * step, least),
        (1, 2 * least, 3 * least),
        (3, least, 4 * least + step),
    ]
    if io_spec.fixed_size:
        sizes = [(batch, step, step) for batch in range(1, 6)]
    largest = 0.0
    for seed, (batch, height, width) in enumerate(sizes):
        photo = _uniform(seed, (batch, io_spec.channels, height, width))
        maps = noise.draw_arrays(io_spec.noise, range(batch), height, width)
        named = {
            spec.name: _uniform(seed, (batch, spec.channels, *spec.size(height, width)))
            for spec in io_spec.inputs
        }
        given = dict(named)
        if constant and STYLES in named and seed % 2:
            given[STYLES] = named[STYLES][:, :, :1, :1].copy()
            named[STYLES] = np.broadcast_to(given[STYLES], named[STYLES].shape).copy()
        inputs = [*([photo] if io_spec.channels else []), *maps, *given.values()]
        expected = reference(photo if io_spec.channels else None, maps, named)
        difference = np.abs(run(inputs) - expected)
        largest = max(largest, float(difference.max()))
        # A different choice in a max pooling may change single values; nothing else may.
        if not np.quantile(difference, 0.999) <= TOLERANCE:
            raise UserError(
                f"{path}: what was exported differs from {name}'s by {difference.max():.3g} at {width} x {height}"
            )
    return sizes, largest


def _uniform(seed: int, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
    batch, channels, height, width = shape
    return noise.uniform_array(seed, 0, 0, 0, height, width, batch * channels).reshape(shape)


def _runner(path: Path) -> Runner:
    """Runs the ONNX file at `path`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [argument.name for argument in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


def _openvino_runner(core: Any, path: Path) -> Runner:
    from texturenets.engines.openvino_engine import compile_options

    compiled = core.compile_model(core.read_model(path), "CPU", compile_options("float32"))
    return lambda inputs: compiled(inputs)[0]
