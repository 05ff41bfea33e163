"""Arguments of the public functions, checked: what is wrong is one line that names the argument and its value."""

from __future__ import annotations

import math
import numbers
from typing import Any

from texturenets.errors import UserError, shortened

WIDEST = 2**53  # whole numbers, either way: what every reader of JSON holds
DEEPEST = 16  # objects within one another in a header
LONGEST = 120  # characters of a value in an error


def integer(name: str, value: object) -> int:
    """`value`, also one of NumPy's whole numbers, as an int. Raises UserError for what is none, or too large to be
    written down in a header."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise UserError(f"`{name}` {shown(value)} is not a whole number")
    whole = int(value)
    if whole > WIDEST:
        raise UserError(f"`{name}` {whole} is too large: at most {WIDEST}")
    if whole < -WIDEST:
        raise UserError(f"`{name}` {whole} is too small: at least {-WIDEST}")
    return whole


def number(name: str, value: object) -> float:
    """`value`, also one of NumPy's numbers, as an int or a float. Raises UserError for what is none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise UserError(f"`{name}` {shown(value)} is not a number")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def flag(name: str, value: object) -> bool:
    """`value`, True or False. Raises UserError for anything else, as "no", which counts as true elsewhere."""
    if not isinstance(value, bool):
        raise UserError(f"`{name}` {shown(value)} is neither True nor False")
    return value


def text(name: str, value: object) -> str:
    """`value`. Raises UserError for what is no text, or holds half a character."""
    if not isinstance(value, str):
        raise UserError(f"`{name}` {shown(value)} is no text: put it in quotation marks")
    try:
        check_plain(value)
    except ValueError:
        raise UserError(f"`{name}` {value!r} is not UTF-8") from None
    return value


def instance(name: str, value: object, kinds: Any, wanted: str) -> None:
    """Raise UserError unless `value` is one of `kinds`, which `wanted` says in words."""
    if not isinstance(value, kinds):
        raise UserError(f"`{name}` is of type {type(value).__name__}: give {wanted}")


def shown(value: object) -> str:
    """`value` as Python writes it, in one line, of which what is long is cut."""
    return shortened(" ".join(repr(value).split()), LONGEST)


def check_plain(value: object, depth: int = 0) -> None:
    """Raise ValueError where JSON holds what not everybody can write down again: in a table, a page, other JSON."""
    if depth > DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            check_plain(key, depth + 1)
            check_plain(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_plain(inner, depth + 1)
    elif isinstance(value, str):
        value.encode()  # half a surrogate pair is no character
    elif isinstance(value, int) and abs(value) > WIDEST:
        raise ValueError(f"a number of {value.bit_length()} bits is in it")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is in it, which is no number")


def stops(answer: object) -> bool:
    """Whether what a function `progress` returned ends the work: the text "stop" and nothing else, as progress bars
    and prints return values of their own."""
    return isinstance(answer, str) and answer == "stop"
