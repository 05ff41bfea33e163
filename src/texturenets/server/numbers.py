"""Numbers in the URL of a request, written as digits: other notations that Python accepts, such as 1_0, are
refused."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


def _written(form: str, error: Literal["int_parsing", "float_parsing"]) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(form, value):
            raise PydanticCustomError(error, "not a number")
        return value

    return BeforeValidator(check)


WHOLE = _written(r"-?[0-9]+", "int_parsing")
"""To be put into Annotated[int, ...]."""

DECIMAL = _written(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)", "float_parsing")
"""To be put into Annotated[float, ...]: no exponents, infinities or NaN."""
