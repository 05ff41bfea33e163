"""The user's own network, from a Python file or an installed package's entry point.

It needs no base class: any callable works that returns an `nn.Module` from RGB images (N, 3, H, W) in [0, 1] to
images of the same shape. Optional attributes: `stride`, if height and width must be multiples of a number; `margin`,
if photos must be reflection-padded by some pixels on each side, and the image cropped. A module with noise inputs has
a tuple `noise` of `texturenets.noise.NoiseInput` and is called with (photo, noise maps); with `photo` False it
generates textures from noise, and the photo is None. The code is run where the user names the file or has installed
the package, never because a model file mentions it.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from texturenets import noise
from texturenets.errors import UserError, unknown
from texturenets.graph.grammar import MAX_MARGIN, MAX_STRIDE
from texturenets.networks.registry import SPECS, register, registered_spec
from texturenets.networks.spec import GeneratorSpec

ENTRY_POINTS = "texturenets.networks"
"""The entry point group in which an installed package announces generators of its own."""


@dataclass(frozen=True, kw_only=True)
class Custom(GeneratorSpec):
    """A user's network: a Python file or an installed entry point. `normalization` and `padding` have no effect: all
    arguments of the network are in `options`.
    """

    name: ClassVar[str] = "custom"

    target: str = ""
    """"PATH.py:NAME", the class or function NAME in that file, or the name of an entry point in the group
    texturenets.networks."""
    options: tuple[str, ...] = ()
    """"key=value" each: keyword arguments of the class or function."""
    source: str = ""
    """The version of the code when the model was made: the SHA-256 of the file's text, or the package's version."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.target or (self.target.endswith(".py") and split_target(self.target) is None):
            raise UserError(
                f"generator {self.target or 'custom'!r}: name a class or function in the file, "
                "as in path/to/file.py:MyNet"
            )
        for option in self.options:
            if "=" not in option:
                raise UserError(f"generator option {option!r} is not of the form key=value")


def split_target(target: str) -> tuple[Path, str] | None:
    """The file and the name in "PATH.py:NAME"; None if `target` is not of that form."""
    match = re.fullmatch(r"(.+\.py):([A-Za-z_]\w*)", target)
    return (Path(match[1]), match[2]) if match else None


def installed() -> dict[str, EntryPoint]:
    """The generators that installed packages announce, by name. Does not import them."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def read_source(path: Path) -> tuple[bytes, str]:
    """The text of a generator's file, and its value of `Custom.source`. Raises UserError if unreadable."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"generator file {str(path)!r} cannot be read: {error.strerror}") from None
    return text, "sha256:" + hashlib.sha256(text).hexdigest()


def package_source(point: EntryPoint) -> str:
    """The value of `Custom.source` for an entry point: the name and version of its package."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


GRAPH = "graph"
"""The spec of networks that other programs published: it is read from files and cannot be chosen by name."""


def make_spec(target: str, options: Iterable[str] = ()) -> GeneratorSpec:
    """The spec called `target` with `options` of the form "key=value" applied.

    `target`: a network of this package, or one of the user's own, "PATH.py:NAME" or an installed entry point; then
    all options are its own. Raises UserError for an unknown name, key or value (with the nearest known one).
    """
    if target in SPECS and target != GRAPH:
        return registered_spec(target, options)
    points = installed()
    if target in points:
        return Custom(target=target, options=tuple(options), source=package_source(points[target]))
    if not (target.endswith(".py") or split_target(target)):
        raise unknown("generator", target, {*SPECS, *points} - {Custom.name, GRAPH})
    spec = Custom(target=target, options=tuple(options))
    split = split_target(target)
    return dataclasses.replace(spec, source=read_source(split[0])[1]) if split else spec


def _from_file(path: Path, name: str) -> tuple[Callable[..., Any], str]:
    """The object called `name` in the file, run once, and the text's hash."""
    text, source = read_source(path)
    module = types.ModuleType(f"texturenets_custom_{source[-12:]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up while it runs
    try:
        # The text that was hashed is run: the file is not read a second time.
        exec(compile(text, str(path), "exec"), module.__dict__)
    except Exception as error:
        raise UserError(
            f"generator file {str(path)!r} does not run: {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        known = [
            k
            for k, v in vars(module).items()
            if callable(v) and getattr(v, "__module__", "") == module.__name__
        ]
        raise unknown(f"generator in {path}", name, known)
    return found, source


def load(target: str) -> tuple[Callable[..., Any], str]:
    """The class or function that `target` ("PATH.py:NAME" or an entry point) names, and its value of `Custom.source`.

    Runs that code. Raises UserError if it cannot be found or fails.
    """
    split = split_target(target)
    if split is not None:
        return _from_file(*split)
    points = installed()
    if target not in points:
        raise UserError(
            f"generator {target!r} is not installed: install the package that provides it, "
            "or name a file as path/to/file.py:MyNet"
        )
    try:
        found = points[target].load()
    except Exception as error:
        raise UserError(
            f"generator {target!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return found, package_source(points[target])


def keyword_arguments(options: Iterable[str]) -> dict[str, Any]:
    """ "key=value" texts as keyword arguments: numbers, true, false, none and tuples are converted, other values stay
    text."""
    words = {"true": True, "false": False, "none": None}
    result: dict[str, Any] = {}
    for option in options:
        key, _, text = option.partition("=")
        try:
            result[key] = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            result[key] = text
    return result


def _agreed_target(spec: Custom, custom: str | None) -> str:
    """The target that the user consented to run. Raises UserError without consent."""
    if custom is not None:
        # "net.py" alone takes the name from the spec.
        split = split_target(spec.target)
        return f"{custom}:{split[1]}" if custom.endswith(".py") and split else custom
    if split_target(spec.target) is None:
        return spec.target
    raise UserError(
        f"this model's generator is code of its maker's own ({spec.target!r}), which is not run unasked: "
        f"read that file, then give it as `generator` {spec.target} "
        "(in Python: to texturenets.load, whose result other functions take)"
    )


def _check(network: object, what: str) -> nn.Module:
    """`network`, tried on one small image. Raises UserError if it cannot serve as a generator."""
    if not isinstance(network, nn.Module):
        raise UserError(f"{what} gives a {type(network).__name__}, not a torch.nn.Module")
    stride: object = getattr(network, "stride", 1)
    if not isinstance(stride, int) or not 1 <= stride <= MAX_STRIDE:
        raise UserError(f"{what}: its stride is {stride!r}, not a whole number from 1 to {MAX_STRIDE}")
    margin: object = getattr(network, "margin", 0)
    if not isinstance(margin, int) or not 0 <= margin <= MAX_MARGIN:
        raise UserError(f"{what}: its margin is {margin!r}, not a whole number from 0 to {MAX_MARGIN}")
    network.stride = stride  # type: ignore[assignment]
    size = -(-64 // stride) * stride
    training = network.training
    try:
        # The trial must not change running statistics or the state of the random generator.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            photo = torch.rand(1, 3, size, size)
            # Noise as the engine passes it: noise maps after the photo, or alone.
            maps = noise.draw(getattr(network, "noise", ()), [0], size, size)
            fed = photo if getattr(network, "photo", True) else None
            shape = tuple((network.eval()(fed, maps) if maps else network.eval()(photo)).shape)
    except Exception as error:
        raise UserError(
            f"{what} fails on a {size} x {size} image: {type(error).__name__}: {error}"
        ) from error
    finally:
        network.train(training)
    if shape != (1, 3, size, size):
        raise UserError(f"{what} makes {shape} of an image (1, 3, {size}, {size}); the shape has to stay")
    return network


@register(Custom)
def build_custom(spec: Custom, custom: Callable[..., Any] | str | None = None) -> nn.Module:
    """The network of `spec`, from the code that `custom` names (see `texturenets.networks.build`).

    Warns where the code is not what `spec` recorded. Raises UserError if the user has not agreed to run
    it, or it does not give an image-to-image network.
    """
    if callable(custom):
        what, make, source = f"generator {getattr(custom, '__name__', custom)!r}", custom, spec.source
    else:
        target = _agreed_target(spec, custom)
        what = f"generator {target!r}"
        make, source = load(target)
    if spec.source and source != spec.source:
        warnings.warn(f"{what} has changed since this model was made: its output may differ", stacklevel=2)
    try:
        network = make(**keyword_arguments(spec.options))
    except Exception as error:
        options = " ".join(spec.options) or "no options"
        raise UserError(f"{what} cannot be made with {options}: {type(error).__name__}: {error}") from error
    return _check(network, what)
