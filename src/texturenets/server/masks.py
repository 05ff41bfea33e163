"""Masks in a request: images that say where which style goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from texturenets import image
from texturenets.errors import UserError
from texturenets.server.http_errors import HTTPProblem
from texturenets.stylize.mixing import assigned


@dataclass(frozen=True)
class Masks:
    """The files of a request: `masks` for the styles in their order, `keep` for the photo."""

    masks: Sequence[bytes] = ()
    keep: bytes | None = None

    @classmethod
    def of(cls, files: Mapping[str, Sequence[bytes]]) -> Self:
        """From the files of a form. Raises HTTPProblem for several that say where the photo stays."""
        keep = files.get("keep", ())
        if len(keep) > 1:
            raise HTTPProblem(422, f"{len(keep)} files `keep`: one says where the photo stays")
        return cls(files.get("mask", ()), keep[0] if keep else None)

    def __bool__(self) -> bool:
        return bool(self.masks) or self.keep is not None

    def read(self, styles: Sequence[str], most: int) -> dict[str, image.Picture]:
        """The masks by the names of `styles`, decoded, of at most so many pixels each. Raises UserError."""
        named = assigned(styles, self.masks, self.keep)
        return {
            name: image.from_bytes(data, f"the mask of {name}", max_pixels=most)
            for name, data in named.items()
        }


NO_MASKS = Masks()


def check(styles: Sequence[str], masks: Masks) -> None:
    """Raise HTTPProblem for more masks than `styles`."""
    try:
        assigned(styles, masks.masks, masks.keep)
    except UserError as error:
        raise HTTPProblem(422, str(error)) from None
