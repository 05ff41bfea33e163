"""Checks of the public functions' arguments: errors of one line that name the argument and its value."""

from __future__ import annotations

import math
import numbers
from typing import Any

from texturenets.errors import UserError, shortened

MAX_INTEGER = 2**53  # of either sign: what every JSON parser represents exactly
MAX_DEPTH = 16  # of nested objects in a header
MAX_SHOWN = 120  # characters of a value in an error message


def integer(name: str, value: object) -> int:
    """`value`, an int or an integer of NumPy's, as an int. Raises UserError for anything else, and beyond
    `MAX_INTEGER`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise UserError(f"`{name}` {shown(value)} is not a whole number")
    whole = int(value)
    if whole > MAX_INTEGER:
        raise UserError(f"`{name}` {whole} is too large: at most {MAX_INTEGER}")
    if whole < -MAX_INTEGER:
        raise UserError(f"`{name}` {whole} is too small: at least {-MAX_INTEGER}")
    return whole


def number(name: str, value: object) -> float:
    """`value`, a number of Python's or NumPy's, as an int or a float. Raises UserError for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise UserError(f"`{name}` {shown(value)} is not a number")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def flag(name: str, value: object) -> bool:
    """`value`, True or False. Raises UserError for anything else, for example "no", which is true in an `if`."""
    if not isinstance(value, bool):
        raise UserError(f"`{name}` {shown(value)} is neither True nor False")
    return value


def text(name: str, value: object) -> str:
    """`value`, a str. Raises UserError for anything else, and for lone surrogates, which UTF-8 cannot encode."""
    if not isinstance(value, str):
        raise UserError(f"`{name}` {shown(value)} is not text: put it in quotation marks")
    try:
        check_plain(value)
    except ValueError:
        raise UserError(f"`{name}` {value!r} is not UTF-8") from None
    return value


def instance(name: str, value: object, kinds: Any, wanted: str) -> None:
    """Raise UserError unless `value` is an instance of `kinds`; `wanted`: what to give instead, for the message."""
    if not isinstance(value, kinds):
        raise UserError(f"`{name}` is of type {type(value).__name__}: give {wanted}")


def shown(value: object) -> str:
    """The `repr` of `value` in one line, shortened."""
    return shortened(" ".join(repr(value).split()), MAX_SHOWN)


def check_plain(value: object, depth: int = 0) -> None:
    """Raise ValueError for JSON values that other programs may not be able to represent; the messages say which."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        for key, inner in value.items():
            check_plain(key, depth + 1)
            check_plain(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            check_plain(inner, depth + 1)
    elif isinstance(value, str):
        value.encode()  # fails for lone surrogates
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError(f"a number of {value.bit_length()} bits is in it")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is in it, which is not a number")


def stops(answer: object) -> bool:
    """Whether the return value of a callback `progress` asks to stop: the string "stop" does.

    Other values are ignored, as progress bars return values of their own (tqdm's `update` returns True). Raises
    UserError for any other string, which is a typing error.
    """
    if isinstance(answer, str) and answer != "stop":
        raise UserError(f"`progress` returned {shown(answer)}: return the string 'stop' to end, else nothing")
    return isinstance(answer, str)
