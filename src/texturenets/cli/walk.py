"""A film of the way from one sample of a texture to another."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from texturenets import video
from texturenets.cli.common import photo_progress
from texturenets.cli.film import RATE, written
from texturenets.errors import UserError
from texturenets.video.frame import FilmInfo, Frame

if TYPE_CHECKING:
    from texturenets.textures import Array


def film_of(output: str | None, to: int | None) -> Path | None:
    """The film that `output` names, None for images. Raises UserError for one that cannot be made."""
    path = Path(output or "").expanduser()
    if (
        path.suffix.lower() not in video.READ | {".gif", ".apng"}
        or path.is_dir()
        or str(output).endswith("/")
    ):
        return None
    if to is None:
        raise UserError(
            f"--output {output} is a film, and samples do not move: name the seed of another sample, to which its "
            "frames go, as --to 1"
        )
    video.check_output(path, path)
    return path


class Walk:
    """The frames of a film: `pictures` (1, 3, height, width), RGB in [0, 1]."""

    def __init__(self, pictures: Iterator[Array], size: tuple[int, int], count: int) -> None:
        self.pictures, self.trailing = pictures, list[Any]()
        self.info = FilmInfo(size=size, count=count, rate=Fraction(RATE), time_base=Fraction(1, RATE))

    def __iter__(self) -> Iterator[Frame]:
        for number, picture in enumerate(self.pictures):
            pixels = (picture[0] * 255).round().astype(np.uint8).transpose(1, 2, 0)
            yield Frame(np.ascontiguousarray(pixels), number * self.info.time_base, self.info.time_base)

    def close(self) -> None:
        """Nothing to let go of."""


def write(walk: Walk, film: Path, quality: int | None, quiet: bool) -> None:
    """Write it to the file `film`, with a bar. Raises UserError; nothing is then there."""
    with photo_progress(walk.info.count, quiet) as bar, written(walk, film, quality, quiet) as sink:
        task = bar.add_task(film.name, total=walk.info.count)
        for frame in walk:
            sink.write(frame)
            bar.advance(task)
        sink.finish([])
