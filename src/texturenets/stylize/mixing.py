"""Which styles of a model are used for an image, at which strength and stroke size, and where. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from texturenets import arguments
from texturenets.errors import UserError, counted
from texturenets.modelfiles.conditions import (
    NO_WEIGHTS,
    PHOTO,
    Condition,
    Mixture,
    checked_mix,
    learned,
    shares,
    styles_of,
    unknown_style,
)
from texturenets.modelfiles.modelfile import Header
from texturenets.stylize.regions import Array, regions
from texturenets.stylize.stroke import Stroke

M = TypeVar("M")


class Selection(NamedTuple):
    """Which variant of the network is run for a call, and how its result is used. `mixture`: the styles; None for a
    network with one style. `stroke`: the remaining factor for coarse-to-fine stylization, if strokes of that size
    were not learned. `stylized`: the share of the stylized image in the result, a number or (1, 1, H, W); the rest is
    the photo. `styles`: the style map (1, components, H, W), if the network has that input.
    """

    mixture: Mixture | None
    stroke: Stroke
    stylized: float | Array
    styles: Array | None = None


def check_mixture(mix: object, masks: object) -> None:
    """Raise UserError for a `mix` or `masks` that is of the wrong type or names no styles, as `choose` takes them."""
    for field, given, wanted in (
        ("mix", mix, "weights by the names of styles, for example {'wave': 0.6, 'udnie': 0.4}"),
        ("masks", masks, "images by the names of styles, for example {'wave': 'mask.png'}"),
    ):
        arguments.instance(field, given, Mapping | None, wanted)
        for name in given if isinstance(given, Mapping) else ():
            arguments.text(field, name)


def choose(
    header: Header,
    mix: Mapping[str, float] | None,
    masks: Mapping[str, Any] | None,
    *,
    strength: float = 1.0,
    stroke: Stroke = 1,
    size: tuple[int, int],
) -> Selection:
    """The selection for a photo of `size` (H, W) in `Style.stylize`. `mix`: weights of styles; "photo" may be among
    them. `masks`: images by the names of styles, white where the style is. Raises UserError for styles that the model
    does not have, and for invalid weights and masks.
    """
    rows = header.rows
    names = styles_of(rows) or (header.name,)
    for name in (*(mix or ()), *(masks or ())):
        if name not in (*names, PHOTO):
            raise unknown_style("this model", name, names)
    if not mix and len(names) == 1:
        mix = {names[0]: 1.0}
    if not mix and not set(masks or ()) - {PHOTO}:
        raise UserError(f"{header.name} holds several styles: say which, of {', '.join(names)}")
    if masks:
        if len(set((mix or {}).values())) > 1:
            raise UserError(NO_WEIGHTS)
        where = regions(_among(mix, masks), masks, size)
        stylized: float | Array = 1 - where.photo
        weights: list[dict[str, float]] = [{name: 1.0} for name in where.styles]
    else:
        plain = checked_mix(mix or {})
        stylized = 1 - plain.pop(PHOTO, 0.0)
        weights = [checked_mix(plain) if plain else {names[0]: 1.0}]
    if not rows:
        return Selection(None, stroke, strength * stylized)
    drawn = [row for row in rows if any(row.style in weight for weight in weights)]
    at, mixed = _strength(drawn, strength)
    size_of_strokes, rest = _stroke(drawn, stroke)
    components = tuple(shares(rows, weight, at, size_of_strokes) for weight in weights)
    if len(components) == 1:
        return Selection(Mixture(components), rest, mixed * stylized)
    return Selection(Mixture(components, stride=1), rest, mixed * stylized, where.shares)


def assigned(styles: Sequence[str], masks: Sequence[M], keep: M | None = None) -> dict[str, M]:
    """`masks` assigned to `styles` in their order, by name; `keep` is the mask of the photo.

    Raises UserError for more masks than styles, and two masks for the photo.
    """
    if keep is not None and PHOTO in styles:
        raise UserError(f"`keep` is the mask of {PHOTO}, which is among the styles: give it as `mask`")
    if len(masks) > len(styles):
        raise UserError(
            f"{counted(len(masks), 'mask')} for {counted(len(styles), 'style')}: {', '.join(styles)}"
        )
    kept = {} if keep is None else {PHOTO: keep}
    return kept | dict(zip(styles, masks, strict=False))


def _among(mix: Mapping[str, float] | None, masks: Mapping[str, Any]) -> tuple[str, ...]:
    """The styles that masks divide an image among; the photo is one where it has a mask, or nothing else is left."""
    styles = tuple(mix) if mix else tuple(name for name in masks if name != PHOTO)
    return (*styles, PHOTO) if PHOTO not in styles and (PHOTO in masks or len(styles) == 1) else styles


def _strength(rows: list[Condition], strength: float) -> tuple[float, float]:
    """The strength for the network, and the share of its image in the result. Below the smallest learned strength the
    result is blended with the photo: the network cannot reproduce a photo.
    """
    least, _ = learned(rows, "strength")
    return max(strength, least), min(1.0, strength / least)


def _stroke(rows: list[Condition], stroke: Stroke) -> tuple[float, Stroke]:
    """The stroke size for the network, and the factor by which coarse-to-fine stylization enlarges it."""
    if stroke == "auto":
        return 1.0, stroke
    least, largest = learned(rows, "stroke")
    drawn = min(max(stroke, least), largest)
    return drawn, stroke / drawn
