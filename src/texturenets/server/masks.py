"""Masks in a request: images that say where which style goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from texturenets import image
from texturenets.errors import UserError
from texturenets.modelfiles.conditions import check_no_weights
from texturenets.server import uploads
from texturenets.server.http_errors import HTTPProblem
from texturenets.stylize.mixing import assigned
from texturenets.stylize.regions import check_shape


@dataclass(frozen=True)
class Masks:
    """The masks of a request: `masks` for the styles, in their order, `keep` for the photo; files, or names of
    gradients."""

    masks: Sequence[bytes | str] = ()
    keep: bytes | str | None = None

    @classmethod
    def of(cls, files: Mapping[str, Sequence[bytes | str]]) -> Self:
        """The masks in the fields of a form. Raises HTTPProblem for several `keep` files."""
        keep = files.get("keep", ())
        if len(keep) > 1:
            raise HTTPProblem(422, f"{len(keep)} files `keep`: one says where the photo stays")
        return cls(files.get("mask", ()), keep[0] if keep else None)

    def __len__(self) -> int:
        return len(self.masks) + (self.keep is not None)

    def read(self, styles: Sequence[str], size: tuple[int, int], most: int) -> dict[str, image.Picture | str]:
        """The masks by the names of `styles`, decoded and scaled to the photo's `size` (H, W).

        `most`: maximum pixels of a file. Raises UserError for an invalid mask for that photo, and HTTPProblem for an
        animation or a format that the service cannot decode (415), and for too many pixels (413).
        """
        read: dict[str, image.Picture | str] = {}
        for name, data in assigned(styles, self.masks, self.keep).items():
            what = "the file `keep`" if data is self.keep else f"the mask of {name}"
            read[name] = data if isinstance(data, str) else _read(data, what, size, most)
        return read


def _read(data: bytes, what: str, size: tuple[int, int], most: int) -> image.Picture:
    """The mask `data`; `what`: its name in errors."""
    _, stored = uploads.probe(data, what)
    if stored[0] * stored[1] > most:
        raise HTTPProblem(413, f"{what} has {stored[1]} x {stored[0]} pixels: at most {most} are allowed")
    check_shape(what, stored, size)
    longer = max(size) if max(stored) > max(size) else None
    picture = image.from_bytes(data, what, longer=longer, max_pixels=most)
    if picture.size != size:  # scaled here, without the note of the command line
        picture = image.resize_picture(picture, size)
    return picture


NO_MASKS = Masks()


def check(styles: Sequence[str], masks: Masks, name: str) -> None:
    """Raise HTTPProblem for more masks than `styles`, and for masks with weights in the styles' `name`."""
    try:
        assigned(styles, masks.masks, masks.keep)
        if masks:
            check_no_weights(name)
    except UserError as error:
        raise HTTPProblem(422, str(error)) from None
