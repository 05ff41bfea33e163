"""ComfyUI nodes: load a style, stylize images, mix two styles, sample a texture.

ComfyUI finds them by NODE_CLASS_MAPPINGS. Its IMAGE is a tensor (B, H, W, C), floats in [0, 1], its MASK (B, H, W).
What a user can put right is raised as the library's UserError, whose one line ComfyUI shows beside the node.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from comfy.model_management import get_torch_device, throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from torch import Tensor

import texturenets as tn
from texturenets.loading import check_styles, split_name

T = TypeVar("T")

STYLE = "TEXTURENETS_STYLE"
MODEL = {
    "default": "",
    "tooltip": "In place of the one above: the whole path of a model file, or hf://USER/REPO on the Hugging Face Hub",
}
SEED = {"default": 0, "min": 0, "max": 2**53 - 1, "control_after_generate": True}


def _shipped(kind: str) -> list[str]:
    """The names of the models of `kind` ("style", "texture") that come with texturenets."""
    return [name for name, header in tn.models().items() if header.kind == kind]


def _chosen(shipped: str, model: str | None) -> str:
    """The model that is meant: the text, without the quotation marks of a path copied on Windows, or the menu."""
    return (model or "").strip().strip('"') or shipped  # of a linked input ComfyUI knows nothing yet


def _changed(name: str) -> int:
    """When the file `name` was last written, in ns, so that a model trained anew is loaded anew; 0 for no file."""
    with suppress(OSError, ValueError, tn.UserError):
        return Path(split_name(name)[0]).stat().st_mtime_ns
    return 0


def _watched(items: Sequence[T]) -> Iterator[T]:
    """`items`, with ComfyUI's progress bar; ends where the user interrupts."""
    bar = ProgressBar(len(items))
    for item in items:
        throw_exception_if_processing_interrupted()
        yield item
        bar.update(1)


class Node:
    """What ComfyUI asks of every node here."""

    CATEGORY = "texturenets"
    DESCRIPTION: str | None

    def __init_subclass__(cls) -> None:
        cls.DESCRIPTION = cls.__doc__


class StyleNode(Node):
    """A node that gives a style."""

    RETURN_TYPES = (STYLE,)
    RETURN_NAMES = ("style",)


class LoadStyle(StyleNode):
    """A style that comes with texturenets, or a model file; of a model of several styles a mixture."""

    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        mix = {"default": "", "tooltip": "Of a model of several styles: which, as wave=0.6,udnie=0.4"}
        return {
            "required": {"style": (_shipped("style"),)},
            "optional": {"model": ("STRING", MODEL), "mix": ("STRING", mix)},
        }

    @classmethod
    def IS_CHANGED(cls, *, style: str, model: str = "", mix: str = "") -> int:
        return _changed(_chosen(style, model))

    def load(self, *, style: str, model: str = "", mix: str = "") -> tuple[tn.Style]:
        name = _chosen(style, model)
        loaded = tn.load(f"{name}:{mix.strip()}" if mix.strip() else name, get_torch_device().type)
        if not isinstance(loaded, tn.Style):
            raise tn.UserError(
                f"{name} is a texture, which cannot stylize images: take the node Sample Texture"
            )
        return (loaded,)


class MixTwoStyles(StyleNode):
    """Two styles of one model as one painting, somewhere between them."""

    FUNCTION = "mix"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        share = {
            "default": 0.5,
            "min": 0.0,
            "max": 1.0,
            "step": 0.05,
            "tooltip": "0: the first, 1: the second",
        }
        name = {"default": "", "tooltip": "A style of the model, or photo"}
        return {
            "required": {
                "style": (STYLE, {"tooltip": "A model of several styles"}),
                "first": ("STRING", name),
                "second": ("STRING", name),
                "share": ("FLOAT", share),
            }
        }

    def mix(self, *, style: tn.Style, first: str, second: str, share: float) -> tuple[tn.Style]:
        check_styles(style.path, {first: 1, second: 1})
        mixed = copy.copy(style)  # with the same network, which stays as it is
        mixed.mix = {first: 1 - share, second: share} if first != second else {first: 1}
        return (mixed,)


class Stylize(Node):
    """Paints each image in the style, exactly as large as it is."""

    FUNCTION = "stylize"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        strength = {
            "default": 1.0,
            "min": 0.0,
            "max": 1.0,
            "step": 0.05,
            "tooltip": "0: the photo, 1: the painting",
        }
        stroke = {
            "default": 1.0,
            "min": 0.0,
            "max": 64.0,
            "step": 0.1,
            "tooltip": "The size of the strokes: 2 doubles it, 0.5 halves it; 0 lets them grow with the image",
        }
        preserve = {"default": False, "tooltip": "Keep the colours of the photo"}
        seed = SEED | {"tooltip": "Another version of the picture, of styles that take noise, as wave"}
        mask = {"tooltip": "White is painted, black stays the photo; of two styles black is the second"}
        return {
            "required": {
                "style": (STYLE,),
                "image": ("IMAGE",),
                "strength": ("FLOAT", strength),
                "stroke": ("FLOAT", stroke),
                "preserve_color": ("BOOLEAN", preserve),
                "seed": ("INT", seed),
            },
            "optional": {"mask": ("MASK", mask)},
        }

    def stylize(
        self, *, style: tn.Style, image: Tensor, stroke: float, mask: Tensor | None = None, **options: Any
    ) -> tuple[Tensor]:
        if mask is not None and len(mask) not in (1, len(image)):
            raise tn.UserError(
                f"{len(mask)} masks for {len(image)} images: give one for all, or one for each"
            )
        style.between = throw_exception_if_processing_interrupted
        stylized = []
        for i in _watched(range(len(image))):
            photo = (
                image[i].movedim(-1, 0).clamp(0, 1)
            )  # resized elsewhere, an image may be a little out of range
            where = {} if mask is None else _regions(style, mask[i % len(mask)])
            stylized.append(style(photo, stroke=stroke or "auto", **where, **options).movedim(0, -1))
        return (torch.stack(stylized),)


def _regions(style: tn.Style, mask: Tensor) -> dict[str, Any]:
    """A style's arguments for a mask (H, W): white is its first style, the second or the photo gets the rest."""
    mix = style.mix or dict.fromkeys(style.styles, 1.0)
    return {"mix": mix, "masks": {next(iter(mix)): mask[None].clamp(0, 1)}}


class SampleTexture(Node):
    """Draws a texture, of any size; every seed is another piece of it."""

    FUNCTION = "sample"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        side = {"default": 512, "min": 1, "max": 16384, "step": 1}
        tileable = {"default": False, "tooltip": "It can be laid beside itself without a seam"}
        count = {"default": 1, "min": 1, "max": 256, "tooltip": "So many, of this seed and those that follow"}
        return {
            "required": {
                "texture": (_shipped("texture"),),
                "width": ("INT", side),
                "height": ("INT", side),
                "seed": ("INT", SEED),
                "tileable": ("BOOLEAN", tileable),
            },
            "optional": {"model": ("STRING", MODEL), "count": ("INT", count)},
        }

    @classmethod
    def IS_CHANGED(cls, *, texture: str, model: str = "", **_: Any) -> int:
        return _changed(_chosen(texture, model))

    def sample(
        self,
        *,
        texture: str,
        width: int,
        height: int,
        seed: int,
        tileable: bool,
        model: str = "",
        count: int = 1,
    ) -> tuple[Tensor]:
        name = _chosen(texture, model)
        loaded = _texture(name, _changed(name))
        seeds = _watched(range(seed, seed + count))
        samples = [torch.from_numpy(loaded.draw(height, width, each, tileable=tileable)) for each in seeds]
        return (torch.cat(samples).movedim(1, -1),)


@functools.lru_cache(maxsize=2)
def _texture(name: str, changed: int) -> tn.Texture:
    """The texture, kept for the next sample. `changed`: when its file was written."""
    loaded = tn.load(name, get_torch_device().type)
    if loaded.header.kind == "material":
        raise tn.UserError(f"{name} is a material, several maps: `texturenets sample {name}` draws them")
    if not isinstance(loaded, tn.Texture):
        raise tn.UserError(f"{name} is a style, which generates nothing by itself: take the node Load Style")
    return loaded


NODE_CLASS_MAPPINGS = {
    "TexturenetsLoadStyle": LoadStyle,
    "TexturenetsMixTwoStyles": MixTwoStyles,
    "TexturenetsStylize": Stylize,
    "TexturenetsSampleTexture": SampleTexture,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "TexturenetsLoadStyle": "Load Style",
    "TexturenetsMixTwoStyles": "Mix Two Styles",
    "TexturenetsStylize": "Stylize",
    "TexturenetsSampleTexture": "Sample Texture",
}
