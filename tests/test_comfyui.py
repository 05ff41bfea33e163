"""The nodes for ComfyUI: loaded from their folder as ComfyUI does, with stand-ins for the two modules of its own."""

from __future__ import annotations

import inspect
import json
import os
import sys
import tomllib
import types
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from galleries import gallery
from programs import loaded
from torch import Tensor

import texturenets as tn
from texturenets.errors import UserError
from texturenets.modelfiles import modelfile
from texturenets.networks import GeneratorSpec, build, network_files
from texturenets.networks.multiscale import Multiscale
from texturenets.networks.residual import Residual

FOLDER = Path(__file__).resolve().parents[1] / "comfyui"
WORKFLOW = json.loads((FOLDER / "example_workflows/stylize_and_texture.json").read_text())
NODES = ("TexturenetsLoadStyle", "TexturenetsMixTwoStyles", "TexturenetsStylize", "TexturenetsSampleTexture")


class StoppedError(Exception):
    """What ComfyUI raises where the user stops a run."""


class Comfy:
    """What the nodes tell ComfyUI, and ask it."""

    def __init__(self) -> None:
        self.bars: list[list[int]] = []
        self.stop_after: int | None = None

    def bar(self, total: int) -> Any:
        steps = [total]
        self.bars.append(steps)
        return types.SimpleNamespace(update=steps.append)

    def check(self) -> None:
        if self.stop_after is not None and len(self.bars[-1]) > self.stop_after:
            raise StoppedError


@pytest.fixture
def comfy(monkeypatch: pytest.MonkeyPatch) -> Comfy:
    stand_in = Comfy()
    management = types.ModuleType("comfy.model_management")
    management.throw_exception_if_processing_interrupted = stand_in.check  # type: ignore[attr-defined]
    management.get_torch_device = lambda: torch.device("cpu")  # type: ignore[attr-defined]
    utils = types.ModuleType("comfy.utils")
    utils.ProgressBar = stand_in.bar  # type: ignore[attr-defined]
    for name, module in (
        ("", types.ModuleType("comfy")),
        (".model_management", management),
        (".utils", utils),
    ):
        monkeypatch.setitem(sys.modules, f"comfy{name}", module)
    return stand_in


@pytest.fixture
def nodes(comfy: Comfy) -> Any:
    return loaded(FOLDER / "__init__.py", "/custom_nodes/texturenets_nodes")


STYLE = Residual(channels=8, blocks=1, noise_depth=2)
TEXTURE = Multiscale(channels=(4, 4, 3), noise_depth=2)


def save(path: Path, kind: Literal["style", "texture"], spec: GeneratorSpec) -> str:
    network = build(spec)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    network_files.save(network, modelfile.Header(name=path.stem, kind=kind, generator=spec), path)
    return str(path)


@pytest.fixture
def style_file(tmp_path: Path) -> str:
    return save(tmp_path / "one.safetensors", "style", STYLE)


@pytest.fixture
def texture_file(tmp_path: Path) -> str:
    return save(tmp_path / "bark.safetensors", "texture", TEXTURE)


def load(nodes: Any, file: str | Path, mix: str = "") -> tn.Style:
    style: tn.Style = nodes.LoadStyle().load(style="wave", model=str(file), mix=mix)[0]
    return style


def stylize(nodes: Any, style: tn.Style, image: Tensor, **options: Any) -> Tensor:
    plain = {"strength": 1.0, "stroke": 1.0, "preserve_color": False, "seed": 0}
    result: Tensor = nodes.Stylize().stylize(style=style, image=image, **{**plain, **options})[0]
    return result


def by_library(style: tn.Style, image: Tensor, **options: Any) -> Tensor:
    """The same by the library, from (B, H, W, C) to (B, H, W, C)."""
    return style(image.movedim(-1, 1), **options).movedim(1, -1)


@pytest.mark.parametrize("name", NODES)
def test_a_node_has_the_interface_that_comfyui_asks_for(nodes: Any, name: str) -> None:
    node = nodes.NODE_CLASS_MAPPINGS[name]
    inputs = node.INPUT_TYPES()
    given = {**inputs["required"], **inputs.get("optional", {})}
    assert set(inputs) <= {"required", "optional", "hidden"}
    assert all(isinstance(declared, tuple) for declared in given.values())
    assert isinstance(node.RETURN_TYPES, tuple)
    assert node.CATEGORY == "texturenets"
    assert node.DESCRIPTION
    assert nodes.NODE_DISPLAY_NAME_MAPPINGS[name]
    function = inspect.signature(getattr(node(), node.FUNCTION))
    function.bind(**given)
    function.bind(**inputs["required"])  # an optional input may be left unlinked
    if hasattr(node, "IS_CHANGED"):
        inspect.signature(node.IS_CHANGED).bind(**given)


def test_all_nodes_are_those_and_have_names(nodes: Any) -> None:
    assert tuple(nodes.NODE_CLASS_MAPPINGS) == tuple(nodes.NODE_DISPLAY_NAME_MAPPINGS) == NODES


def test_the_menus_hold_what_is_shipped(nodes: Any) -> None:
    styles = nodes.LoadStyle.INPUT_TYPES()["required"]["style"][0]
    textures = nodes.SampleTexture.INPUT_TYPES()["required"]["texture"][0]
    assert dict.fromkeys(styles, "style") | dict.fromkeys(textures, "texture") == {
        name: header.kind for name, header in tn.models().items() if header.kind != "material"
    }


def test_a_batch_is_painted_as_by_the_library(nodes: Any, comfy: Comfy, style_file: str) -> None:
    image = torch.rand(2, 48, 70, 3)
    result = stylize(nodes, load(nodes, style_file), image, strength=0.7, preserve_color=True, seed=3)
    wanted = by_library(tn.load(style_file), image, strength=0.7, preserve_color=True, seed=3)
    assert result.shape == image.shape
    assert torch.equal(result, wanted)
    assert comfy.bars == [[2, 1, 1]]


@pytest.mark.parametrize(("stroke", "wanted"), [(2.0, 2), (0.0, "auto")])
def test_strokes(nodes: Any, style_file: str, stroke: float, wanted: Any) -> None:
    image = torch.rand(1, 80, 600, 3)
    result = stylize(nodes, load(nodes, style_file), image, stroke=stroke)
    assert torch.equal(result, by_library(tn.load(style_file), image, stroke=wanted))


def test_an_image_a_little_out_of_range_is_painted(nodes: Any, style_file: str) -> None:
    image = torch.rand(1, 64, 64, 3) * 1.2 - 0.1
    style = load(nodes, style_file)
    assert torch.equal(stylize(nodes, style, image), by_library(style, image.clamp(0, 1)))


def test_each_image_has_its_mask_or_all_have_one(nodes: Any, style_file: str) -> None:
    image, masks = torch.rand(2, 64, 64, 3), torch.rand(2, 64, 64)
    style = load(nodes, style_file)
    result = stylize(nodes, style, image, mask=masks)
    for i in range(2):
        assert torch.equal(
            result[i], by_library(style, image[i : i + 1], masks={style.styles[0]: masks[i][None]})[0]
        )
    assert torch.equal(stylize(nodes, style, image, mask=masks[:1])[0], result[0])
    black = stylize(nodes, style, image, mask=torch.zeros(1, 64, 64))
    assert torch.equal(black, image)


def test_a_mask_of_another_size_is_scaled_and_of_another_shape_refused(nodes: Any, style_file: str) -> None:
    image, mask = torch.rand(1, 64, 64, 3), torch.rand(1, 32, 32)
    style = load(nodes, style_file)
    with pytest.warns(UserWarning, match="is scaled to the photo's 64 x 64"):
        result = stylize(nodes, style, image, mask=mask)
    with pytest.warns(UserWarning, match="is scaled"):
        assert torch.equal(result, by_library(style, image, masks={style.styles[0]: mask}))
    with pytest.raises(UserError, match="of another shape than the photo's"):
        stylize(nodes, style, torch.rand(1, 64, 96, 3), mask=mask)


def test_a_number_of_masks_that_fits_no_batch_is_refused(nodes: Any, style_file: str) -> None:
    with pytest.raises(UserError, match="2 masks for 3 images: give one for all, or one for each"):
        stylize(nodes, load(nodes, style_file), torch.rand(3, 64, 64, 3), mask=torch.rand(2, 64, 64))


def test_a_mixture_is_the_librarys(nodes: Any, tmp_path: Path) -> None:
    _, file = gallery(tmp_path)
    image, mix = torch.rand(1, 64, 64, 3), {"wave": 0.6, "udnie": 0.4}
    wanted = by_library(tn.load(file), image, mix=mix)
    assert torch.equal(stylize(nodes, load(nodes, file, "wave=0.6,udnie=0.4"), image), wanted)
    several = load(nodes, file)
    (mixed,) = nodes.MixTwoStyles().mix(style=several, first="wave", second="udnie", share=0.4)
    assert torch.equal(stylize(nodes, mixed, image), wanted)
    with pytest.raises(UserError, match="holds several styles: say which, of wave, udnie"):
        stylize(nodes, several, image)  # which the mixture has left as it was


@pytest.mark.parametrize(("share", "alone"), [(0.0, "wave"), (1.0, "udnie")])
def test_the_ends_of_the_slider_are_the_two_styles(
    nodes: Any, tmp_path: Path, share: float, alone: str
) -> None:
    _, file = gallery(tmp_path)
    image = torch.rand(1, 64, 64, 3)
    (mixed,) = nodes.MixTwoStyles().mix(style=load(nodes, file), first="wave", second="udnie", share=share)
    assert torch.equal(stylize(nodes, mixed, image), by_library(tn.load(file), image, mix={alone: 1}))
    (same,) = nodes.MixTwoStyles().mix(style=load(nodes, file), first=alone, second=alone, share=share)
    assert torch.equal(stylize(nodes, same, image), stylize(nodes, mixed, image))


def test_a_mask_divides_an_image_among_two_styles(nodes: Any, tmp_path: Path) -> None:
    _, file = gallery(tmp_path)
    image, mask = torch.rand(1, 64, 64, 3), torch.rand(1, 64, 64)
    wanted = by_library(tn.load(file), image, mix={"udnie": 1, "wave": 1}, masks={"udnie": mask})
    assert torch.equal(stylize(nodes, load(nodes, file, "udnie,wave"), image, mask=mask), wanted)
    with pytest.raises(UserError, match="with masks, styles have no weights"):
        stylize(nodes, load(nodes, file, "wave=0.6,udnie=0.4"), image, mask=mask)


def test_a_style_that_a_model_does_not_have_is_told_where_it_is_named(nodes: Any, tmp_path: Path) -> None:
    _, file = gallery(tmp_path)
    with pytest.raises(UserError, match="unknown style of tiny 'wav'; did you mean 'wave'"):
        nodes.MixTwoStyles().mix(style=load(nodes, file), first="wav", second="udnie", share=0.5)


@pytest.mark.parametrize("tileable", [False, True])
def test_samples_are_the_librarys(nodes: Any, comfy: Comfy, texture_file: str, tileable: bool) -> None:
    texture = tn.load(texture_file)
    assert isinstance(texture, tn.Texture)
    (result,) = nodes.SampleTexture().sample(
        texture="pebble", model=texture_file, width=96, height=64, seed=5, count=2, tileable=tileable
    )
    assert result.shape == (2, 64, 96, 3)
    for i in range(2):
        wanted = torch.from_numpy(texture.draw(64, 96, 5 + i, tileable=tileable))
        assert torch.equal(result[i], wanted[0].movedim(0, -1))
    assert comfy.bars == [[2, 1, 1]]


def test_a_size_that_cannot_tile_is_told_with_one_that_can(nodes: Any, texture_file: str) -> None:
    with pytest.raises(UserError, match="is not a multiple of"):
        nodes.SampleTexture().sample(
            texture="pebble", model=texture_file, width=65, height=64, seed=0, tileable=True
        )


def test_a_style_is_no_texture(nodes: Any, style_file: str, texture_file: str) -> None:
    with pytest.raises(
        UserError, match="is a texture, which cannot stylize images: take the node Sample Texture"
    ):
        load(nodes, texture_file)
    with pytest.raises(
        UserError, match="is a style, which generates nothing by itself: take the node Load Style"
    ):
        nodes.SampleTexture().sample(
            texture="pebble", model=style_file, width=64, height=64, seed=0, tileable=False
        )


def test_a_path_copied_with_quotation_marks_is_that_path(nodes: Any, style_file: str) -> None:
    assert load(nodes, f' "{style_file}" ').path == Path(style_file)


def test_a_name_on_the_hub_is_given_to_the_library(nodes: Any, style_file: str, monkeypatch: Any) -> None:
    asked, style = [], tn.load(style_file)
    monkeypatch.setattr(tn, "load", lambda name, device: asked.append(name) or style, raising=False)
    load(nodes, "hf://someone/gallery")
    load(nodes, "hf://someone/gallery", "wave=0.6,udnie=0.4")
    assert asked == ["hf://someone/gallery", "hf://someone/gallery:wave=0.6,udnie=0.4"]


def test_a_model_trained_anew_is_loaded_anew(nodes: Any, style_file: str, texture_file: str) -> None:
    """Also while ComfyUI runs: it asks IS_CHANGED; a texture is kept between samples by the node itself."""
    before = nodes.LoadStyle.IS_CHANGED(style="wave", model=style_file)
    os.utime(style_file, ns=(1, 1))
    assert nodes.LoadStyle.IS_CHANGED(style="wave", model=style_file) != before
    assert nodes.LoadStyle.IS_CHANGED(style="wave") == nodes.LoadStyle.IS_CHANGED(style="wave", mix="wave")
    call = {
        "texture": "pebble",
        "model": texture_file,
        "width": 64,
        "height": 64,
        "seed": 0,
        "tileable": False,
    }
    (first,) = nodes.SampleTexture().sample(**call)
    save(Path(texture_file), "texture", TEXTURE)
    (second,) = nodes.SampleTexture().sample(**call)
    assert not torch.equal(first, second)


def test_an_interrupted_run_ends_before_the_next_image(nodes: Any, comfy: Comfy, style_file: str) -> None:
    comfy.stop_after = 1
    with pytest.raises(StoppedError):
        stylize(nodes, load(nodes, style_file), torch.rand(3, 64, 64, 3))
    assert comfy.bars == [[3, 1]]


def test_it_is_interrupted_between_the_sizes_of_large_strokes(
    nodes: Any, style_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(nodes, "throw_exception_if_processing_interrupted", lambda: calls.append(1))
    style = load(nodes, style_file)
    for stroke, count in ((1.0, 1), (2.0, 2)):
        calls.clear()
        stylize(nodes, style, torch.rand(1, 64, 64, 3), stroke=stroke)
        assert len(calls) == count


def test_the_example_holds_a_value_for_every_widget(nodes: Any) -> None:
    """In the order of the inputs; a seed is followed by what happens to it after a run."""
    types_of = {link[0]: link[5] for link in WORKFLOW["links"]}
    for node in WORKFLOW["nodes"]:
        if node["type"] not in nodes.NODE_CLASS_MAPPINGS:
            continue
        declared = nodes.NODE_CLASS_MAPPINGS[node["type"]]
        inputs = declared.INPUT_TYPES()
        given = list(node["widgets_values"])
        for kind, *options in ({**inputs["required"], **inputs.get("optional", {})}).values():
            if isinstance(kind, list):
                assert given.pop(0) in kind
            elif kind in ("INT", "FLOAT", "STRING", "BOOLEAN"):
                assert type(given.pop(0)) is type(options[0]["default"])
                if options[0].get("control_after_generate"):
                    assert given.pop(0) == "fixed"
        assert given == []
        for linked in node["inputs"]:
            assert linked["link"] is None or types_of[linked["link"]] == linked["type"]


def test_the_registry_is_told_of_the_package() -> None:
    told = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    assert (
        told["project"]["dependencies"]
        == (FOLDER / "requirements.txt").read_text().split()
        == ["texturenets"]
    )
    assert told["project"]["version"] == tn.__version__
    assert told["tool"]["comfy"]["DisplayName"] == "texturenets"
