"""Masks in a request: images that say where which style goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from texturenets import image
from texturenets.errors import UserError
from texturenets.server.http_errors import HTTPProblem
from texturenets.stylize.mixing import assigned
from texturenets.stylize.regions import check_shape


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

    def __len__(self) -> int:
        return len(self.masks) + (self.keep is not None)

    def read(self, styles: Sequence[str], size: tuple[int, int], most: int) -> dict[str, image.Picture]:
        """The masks by the names of `styles`, decoded, for a photo of `size` (H, W): none is larger than that.

        `most`: pixels of a file. Raises UserError for what is no mask of that photo.
        """
        read = {}
        for name, data in assigned(styles, self.masks, self.keep).items():
            what = f"the mask of {name}"
            _, stored, _ = image.measure(data, what)
            check_shape(name, stored, size)
            longer = max(size) if max(stored) > max(size) else None
            read[name] = image.from_bytes(data, what, longer=longer, max_pixels=most)
        return read


NO_MASKS = Masks()


def check(styles: Sequence[str], masks: Masks) -> None:
    """Raise HTTPProblem for more masks than `styles`."""
    try:
        assigned(styles, masks.masks, masks.keep)
    except UserError as error:
        raise HTTPProblem(422, str(error)) from None
