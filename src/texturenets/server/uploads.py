"""Checks image files in a request before they are decoded."""

from __future__ import annotations

from texturenets import image
from texturenets.errors import MissingError
from texturenets.server.bodies import ANIMATED
from texturenets.server.http_errors import HTTPProblem


def probe(data: bytes, what: str, instead: str = "") -> tuple[str, tuple[int, int]]:
    """Format and (H, W) of an image file, which errors call `what`; `instead`: hint for animations. Raises UserError
    if it is not an image, and HTTPProblem (415) for an animation and for a format whose optional decoder is missing.
    """
    try:
        kind, size, several = image.probe(data, what)
    except MissingError:  # its text is for the operator
        name = image.suffix_of_start(data[:16])[1:].upper()
        detail = f"cannot read {what}: this service lacks what decodes {name}; send JPEG, PNG or WebP"
        raise HTTPProblem(415, detail) from None
    if several and kind in ANIMATED:
        raise HTTPProblem(415, f"{what} is an animation: send one image{instead}")
    return kind, size
