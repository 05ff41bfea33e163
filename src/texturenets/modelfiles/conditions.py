"""Networks of several styles: conditional instance normalization (Dumoulin et al., arXiv 1610.07629). No torch.

All styles share the convolutions. A style consists of the scales and shifts of the normalizations. These have a row
for each *condition*: a style at one strength and one stroke size. A mixture of styles is a mixture of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple, Self

from texturenets import arguments
from texturenets.errors import UserError, unknown

MAX_CONDITIONS = 1024

PHOTO = "photo"
"""The name of the photo itself in a mixture of styles."""

NO_WEIGHTS = "with masks, styles have no weights: a mask's grey says how much of a style there is"


class Condition(NamedTuple):
    """The meaning of a row: a style, the `strength` for which it was learned (1 is full), its stroke size."""

    style: str
    strength: float = 1.0
    stroke: float = 1.0


class Mixture(NamedTuple):
    """What a network with several styles computes: one or several components, each a mixture of its rows.

    `components`: for each the share of every row; shares may sum to anything. `stride`: None for a single component,
    whose rows are mixed before the network runs. Else the network has another input, the style map, with the share of
    each component at each position: one channel for each component, at 1 / `stride` of the image's resolution, or one
    pixel for stride 0.
    """

    components: tuple[tuple[float, ...], ...]
    stride: int | None = None

    @classmethod
    def of_rows(cls, count: int) -> Self:
        """Each of `count` rows as a separate component, with the same shares everywhere."""
        return cls(tuple(tuple(float(i == j) for j in range(count)) for i in range(count)), stride=0)


def parse(data: object) -> tuple[Condition, ...]:
    """The conditions that the header of a model file lists; none for a network of one style.

    Raises ValueError for an invalid list, and UserError for an invalid name.
    """
    if not isinstance(data, list | tuple) or len(data) > MAX_CONDITIONS:
        raise ValueError("its conditions are no list")
    found = []
    for one in data:
        if not isinstance(one, Mapping) or not isinstance(one.get("style"), str):
            raise ValueError("a condition names no style")
        check_name(one["style"])
        numbers = [one.get(key, 1.0) for key in ("strength", "stroke")]
        if not all(isinstance(n, int | float) and 0 < n < math.inf for n in numbers):
            raise ValueError(f"a condition of {one['style'][:40]} has no strength or stroke above 0")
        found.append(Condition(one["style"], *map(float, numbers)))
    if len(set(found)) < len(found):
        raise ValueError("a condition comes twice")
    return tuple(found)


def check_name(style: str) -> None:
    """Raise UserError for a name of a style that could not be written in a mixture."""
    if not style.strip() or style != style.strip() or set(style) & set(",=:/\\") or style == PHOTO:
        raise UserError(
            f"a style cannot be called {style[:40]!r}: {PHOTO} is the photo itself, and a name in a mixture has no "
            "comma, equals sign, colon, slash or blank at its ends; rename the painting's file"
        )


def styles_of(conditions: Iterable[Condition]) -> tuple[str, ...]:
    """The names of the styles, each once."""
    return tuple(dict.fromkeys(condition.style for condition in conditions))


def learned(conditions: Iterable[Condition], axis: str) -> tuple[float, float]:
    """Smallest and largest "strength" or "stroke" for which the styles were learned."""
    values = [getattr(condition, axis) for condition in conditions]
    return min(values), max(values)


def shares(
    conditions: Sequence[Condition], mix: Mapping[str, float], strength: float = 1.0, stroke: float = 1.0
) -> tuple[float, ...]:
    """The share of each condition in a mixture of styles, {name: weight}, at a strength and a stroke size.

    Between two strengths, or two stroke sizes, that were learned, their rows are mixed linearly (of stroke sizes, by
    their logarithms); beyond them the nearest is taken. Raises UserError for an unknown style.
    """
    row = dict.fromkeys(conditions, 0.0)
    for style, weight in mix.items():
        of_style = [condition for condition in conditions if condition.style == style]
        if not of_style:
            raise unknown("style of this model", style, styles_of(conditions))
        across = _between(strength, {c.strength for c in of_style})
        along = _between(math.log(stroke), {math.log(c.stroke): c.stroke for c in of_style})
        for condition in of_style:
            row[condition] += (
                weight * across.get(condition.strength, 0.0) * along.get(math.log(condition.stroke), 0.0)
            )
    return tuple(row.values())


def unknown_style(model: str, style: str, known: Sequence[str]) -> UserError:
    """The error for a `style` that `model` does not have; it has the `known` ones."""
    if len(known) == 1:
        return UserError(
            f"{model} holds one style, {known[0]}, and no {style!r}: for several, and mixtures of them, train a "
            "model with `texturenets train gallery`, then say MODEL:STYLE=WEIGHT,..."
        )
    return unknown(f"style of {model}", style, (*known, PHOTO))


def _between(value: float, known: Iterable[float]) -> dict[float, float]:
    """The shares of the two of `known` between which `value` lies."""
    values = sorted(known)
    value = min(max(value, values[0]), values[-1])
    high = next(i for i, one in enumerate(values) if one >= value)
    if values[high] == value:
        return {values[high]: 1.0}
    low, top = values[high - 1], values[high]
    return {low: (top - value) / (top - low), top: (value - low) / (top - low)}


def parse_mix(words: str) -> dict[str, float]:
    """Parse a mixture, such as "wave=0.6,udnie=0.4" or "wave", with weights that sum to 1.

    Raises UserError for a weight that is not a number, weights of some styles only, and as `checked_mix`.
    """
    mix: dict[str, float] = {}
    parts = words.split(",")
    for word in parts:
        if "=" in words and "=" not in word and len(parts) > 1:
            raise UserError(f"{words}: {word.strip()} has no weight: give each style one, or none of them")
        style, equals, weight = (part.strip() for part in word.partition("="))
        if style in mix:
            raise UserError(f"{words}: {style} comes twice")
        try:
            mix[style] = float(weight) if equals else 1.0
        except ValueError:
            raise UserError(f"{words}: the weight {weight!r} of {style} is not a number") from None
    return checked_mix(mix)


def check_no_weights(name: str) -> None:
    """Raise UserError if the name of a style, "MODEL:STYLE=0.6,STYLE=0.4", gives weights, also equal ones: for use
    with masks."""
    if "=" in name.rpartition(":")[2]:
        raise UserError(NO_WEIGHTS)


def between(first: Mapping[str, float], last: Mapping[str, float], share: float) -> dict[str, float]:
    """The mixture that interpolates between `first` and `last`, by `share` (0 to 1)."""
    names = dict.fromkeys((*first, *last))
    mix = {name: (1 - share) * first.get(name, 0.0) + share * last.get(name, 0.0) for name in names}
    return {name: weight for name, weight in mix.items() if weight}


def checked_mix(mix: Mapping[str, Any]) -> dict[str, float]:
    """`mix` with weights that sum to 1. Raises UserError for weights below 0, and if all are 0."""
    for style, weight in mix.items():
        if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 <= float(weight) < math.inf:
            raise UserError(f"weight {arguments.shown(weight)} of {style} is not a number of at least 0")
    total = float(sum(mix.values()))
    if not total:
        raise UserError(f"the weights of {', '.join(mix) or 'no style'} sum to 0: give one above 0")
    return {style: float(weight) / total for style, weight in mix.items() if weight}
