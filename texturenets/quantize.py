"""Networks in 8 bits for OpenVINO, by NNCF: weights, and maps between layers, their ranges taken from photos."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from texturenets import image, noise, sizes
from texturenets.engines import openvino_engine
from texturenets.engines.facts import Facts
from texturenets.errors import UserError, install

PHOTOS: Final = 100
"""Photos that ranges are taken from, at most; benchmarks/eight_bits.py took as many."""

SIDE: Final = 512
"""Their longer side in pixels."""

WORST: Final = 10 / 255
"""Mean difference from float32 above which a network is refused; the shipped styles' are 1.6 to 4.0 of 255."""


@dataclass(frozen=True)
class Cost:
    """Over the photos, how far 8 bits are from float32 (of a range of 1), and what could not be read."""

    photos: int
    mean: float
    most: float
    """The 99.9th percentile."""
    unreadable: tuple[str, ...]


def eight_bits(graph: bytes, facts: Facts, photos: Path) -> tuple[Any, Cost]:
    """The ONNX file `graph` as an `openvino.Model` in 8 bits, and what that costs on the same photos.

    `photos`: a folder (or a file). The first convolution and the last three, at the higher resolutions, stay as they
    are: there steps are seen. Raises UserError without NNCF, for a network that takes no photo, where no photo
    can be read, and where the result differs too much.
    """
    core = openvino_engine.core()
    nncf = load_nncf()
    if not facts.channels:
        raise UserError("--calibrate is for styles: a texture is drawn from noise, not from photos")
    inputs, unreadable = _inputs(photos, facts)
    plain = core.read_model(io.BytesIO(graph))
    small = _quantized(nncf, plain, inputs)
    differences = _differences(core, plain, small, inputs)
    cost = Cost(
        len(inputs), float(differences.mean()), float(np.quantile(differences, 0.999)), tuple(unreadable)
    )
    if not cost.mean <= WORST:
        far = f"{255 * cost.mean:.1f} of 255 on average"
        raise UserError(f"in 8 bits the network differs from float32 by {far}: leave out --calibrate")
    return small, cost


def _quantized(nncf: Any, plain: Any, inputs: Sequence[Any]) -> Any:
    names = [op.get_friendly_name() for op in plain.get_ordered_ops() if op.get_type_name() == "Convolution"]
    outer = {names[0], *names[-3:]}
    with contextlib.redirect_stdout(sys.stderr):  # where its progress belongs
        return nncf.quantize(
            plain.clone(),
            nncf.Dataset(list(inputs), lambda given: given),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            # NNCF gives a convolution whose bias it moves a longer name.
            ignored_scope=nncf.IgnoredScope(
                patterns=[f"^{re.escape(name)}(/.*)?$" for name in sorted(outer)]
            ),
        )


def load_nncf() -> Any:
    """NNCF. Raises UserError where it is not installed."""
    try:
        with openvino_engine.no_telemetry():
            import nncf
    except ImportError:
        raise UserError(f"--calibrate: NNCF is not installed; {install('quantize')}") from None
    nncf.set_log_level(logging.ERROR)
    return nncf


def _inputs(photos: Path, facts: Facts) -> tuple[list[list[NDArray[np.float32]]], list[str]]:
    """What the network is fed with for each photo that can be read, and what is wrong with the others."""
    found: list[list[NDArray[np.float32]]] = []
    unreadable: list[str] = []
    for path in image.expand([str(photos)]):
        if len(found) == PHOTOS:
            break
        try:
            picture = np.asarray(image.read(path, longer=SIDE).pixels)
        except UserError as error:
            unreadable.append(str(error))
            continue
        x, _ = sizes.pad_to_multiple(picture, facts.stride, facts.least, facts.margin)
        found.append([x, *noise.draw_arrays(facts.noise, [0], x.shape[2], x.shape[3])])
    if not found:
        raise UserError(f"--calibrate {photos}: no photo there can be read")
    return found, unreadable


def _differences(core: Any, plain: Any, small: Any, inputs: Sequence[Any]) -> NDArray[np.float32]:
    """Of every fourth photo."""
    runs = [
        core.compile_model(model, "CPU", openvino_engine.compile_options(precision))
        for model, precision in ((plain, "float32"), (small, openvino_engine.choose_precision(core, "auto")))
    ]
    every = []
    for given in inputs[::4]:
        exact, rough = (run(given)[0].clip(0, 1) for run in runs)
        every.append(np.abs(exact - rough).ravel())
    return np.concatenate(every)
