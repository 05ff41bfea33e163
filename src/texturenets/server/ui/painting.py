"""Stylize photos for the page: one as a pair to compare, several as one file."""

from __future__ import annotations

import functools
import shutil
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from texturenets import image
from texturenets.errors import UserError
from texturenets.server.http_errors import HTTPProblem, refused
from texturenets.server.service import Service
from texturenets.server.ui.mix import Chosen
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import sentence
from texturenets.stylize.options import StylizeOptions

SHOWN = 1600
"""Pixels of the longer side of what is shown; what is downloaded has all of its own."""


@dataclass(frozen=True)
class Painted:
    """A photo that was stylized: its file's bytes and name, (W, H), and small images of before and after."""

    data: bytes
    name: str
    size: tuple[int, int]
    before: bytes
    after: bytes


@dataclass
class PaintedBatch:
    """Several photos and their results, kept in the folder `place`.

    `shown`: (preview file, name of the result); `refused`: one message for each photo that could not be stylized.
    """

    photos: Sequence[Path]
    place: Path
    shown: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        """The zip file."""
        return self.place / "paintings.zip"

    def said(self) -> str:
        """The progress message, as "painting 2 of 5"."""
        return (
            f"painting {min(len(self.photos), len(self.shown) + len(self.refused) + 1)} of {len(self.photos)}"
        )


async def paint(service: Service, path: Path, chosen: Chosen, options: StylizeOptions) -> Painted:
    """Stylize the photo at `path`. Raises HTTPProblem."""
    with service.queue.place():
        try:
            data = await service.queue.in_thread(path.read_bytes)
        except OSError:
            raise HTTPProblem(404, "the photo is no longer here: choose it again") from None
        style, masks = await chosen.request(service, path)
        made, _, name = await service.stylize(data, style, options, masks=masks)

        def small() -> tuple[tuple[int, int], bytes, bytes]:
            _, (height, width), _ = image.measure(made)
            longer = min(SHOWN, max(height, width))
            before, after = (_jpeg(image.from_bytes(one, longer=longer)) for one in (data, made))
            return (width, height), before, after

        try:
            size, before, after = await service.queue.in_thread(small)
        except UserError as error:
            raise refused(error) from None
    return Painted(made, f"{path.stem[:40] or 'photo'}-{name}", size, before, after)


async def paint_all(
    service: Service, store: Store, batch: PaintedBatch, chosen: Chosen, options: StylizeOptions
) -> PaintedBatch:
    """Stylize the photos of `batch` one after the other and add the results to it; refused ones are skipped.

    Raises HTTPProblem if every photo is refused.
    """
    batch.place.mkdir(parents=True)
    try:
        with zipfile.ZipFile(batch.archive, "w", zipfile.ZIP_STORED) as archive:
            for path in batch.photos:
                try:
                    made = await paint(service, path, chosen, options)
                    await service.queue.in_thread(functools.partial(_add, store, batch, archive, made))
                except HTTPProblem as problem:
                    batch.refused.append(sentence(problem, path.name))
        if not batch.shown:
            raise HTTPProblem(422, " ".join(batch.refused))
    except OSError as error:  # the end of the zip file
        shutil.rmtree(batch.place, ignore_errors=True)
        raise HTTPProblem(
            503, f"the zip file could not be kept ({error.strerror}): try fewer photos"
        ) from None
    except BaseException:  # cancelled too
        shutil.rmtree(batch.place, ignore_errors=True)
        raise
    return batch


def batch_of(store: Store, photos: Sequence[Path]) -> PaintedBatch:
    """One with nothing made yet, in a folder of its own."""
    return PaintedBatch(photos, store.folder / uuid.uuid4().hex)


def _add(store: Store, batch: PaintedBatch, archive: zipfile.ZipFile, made: Painted) -> None:
    stem, _, suffix = made.name.rpartition(".")
    name, number = made.name, 1
    while name in archive.NameToInfo:
        number += 1
        name = f"{stem}-{number}.{suffix}"
    store.trim(len(made.data))
    try:
        archive.writestr(name, made.data)
        shown = batch.place / f"{len(batch.shown)}.jpg"
        shown.write_bytes(made.after)
    except OSError as error:
        raise HTTPProblem(503, f"{name} could not be kept ({error.strerror}): try fewer photos") from None
    batch.shown.append((str(shown), name))


def _jpeg(picture: image.Picture) -> bytes:
    return image.to_bytes(Path("picture.jpg"), picture, quality=92)
