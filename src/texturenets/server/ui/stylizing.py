"""Stylizes photos for the page: a single one with previews of before and after, several into a zip file."""

from __future__ import annotations

import functools
import shutil
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from texturenets import image
from texturenets.errors import UserError
from texturenets.server.http_errors import HTTPProblem, refused
from texturenets.server.service import Service
from texturenets.server.ui.mix import StyleChoice
from texturenets.server.ui.store import Store
from texturenets.server.ui.texts import sentence
from texturenets.stylize.options import StylizeOptions

PREVIEW_SIDE = 1600
"""Maximum longer side of the previews in pixels; the file to download has the full size."""


@dataclass(frozen=True)
class StylizedPhoto:
    """A stylized photo: the bytes and name of its file, its `size` (W, H), and JPEG previews of before and after."""

    data: bytes
    name: str
    size: tuple[int, int]
    before: bytes
    after: bytes


@dataclass
class StylizedBatch:
    """Several photos and their results, in the folder `folder`.

    `shown`: (preview file, name of the result); `refused`: one message for each photo that could not be stylized.
    """

    photos: Sequence[Path]
    folder: Path
    shown: list[tuple[str, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        """The zip file of the results."""
        return self.folder / "paintings.zip"

    def progress_message(self) -> str:
        """A message such as "painting 2 of 5"."""
        current = min(len(self.photos), len(self.shown) + len(self.refused) + 1)
        return f"painting {current} of {len(self.photos)}"


async def stylize(
    service: Service, path: Path, choice: StyleChoice, options: StylizeOptions
) -> StylizedPhoto:
    """Stylize the photo at `path`; the size of `options` is the largest, smaller photos keep theirs. Raises
    HTTPProblem."""
    with service.queue.slot():
        try:
            data = await service.queue.in_thread(path.read_bytes)
        except OSError:
            raise HTTPProblem(404, "the photo is no longer here: choose it again") from None
        style, masks = await choice.request(service, path)
        result, _, name = await service.stylize(data, style, _not_enlarged(options, data), masks=masks)

        def previews() -> tuple[tuple[int, int], bytes, bytes]:
            _, (height, width), _ = image.probe(result)
            longer = min(PREVIEW_SIDE, max(height, width))
            before, after = (_jpeg(image.from_bytes(file, longer=longer)) for file in (data, result))
            return (width, height), before, after

        try:
            size, before, after = await service.queue.in_thread(previews)
        except UserError as error:
            raise refused(error) from None
    return StylizedPhoto(result, f"{path.stem[:40] or 'photo'}-{name}", size, before, after)


def _not_enlarged(options: StylizeOptions, data: bytes) -> StylizeOptions:
    """`options` for the photo in the file `data`: without a size if that would enlarge it, as on the static page."""
    if options.size is None:
        return options
    try:
        _, size, _ = image.probe(data)
    except UserError:  # the service says what is wrong
        return options
    return replace(options, size=None) if max(size) <= options.size else options


async def stylize_batch(
    service: Service, store: Store, batch: StylizedBatch, choice: StyleChoice, options: StylizeOptions
) -> StylizedBatch:
    """Stylize the photos of `batch` one after the other and add the results to it; refused ones are skipped.

    Raises HTTPProblem if every photo is refused.
    """
    batch.folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(batch.archive, "w", zipfile.ZIP_STORED) as archive:
            for path in batch.photos:
                try:
                    result = await stylize(service, path, choice, options)
                    await service.queue.in_thread(functools.partial(_add, store, batch, archive, result))
                except HTTPProblem as problem:
                    batch.refused.append(sentence(problem, path.name))
        if not batch.shown:
            raise HTTPProblem(422, " ".join(batch.refused))
    except OSError as error:  # the zip file's directory is written when it is closed
        shutil.rmtree(batch.folder, ignore_errors=True)
        raise HTTPProblem(
            503, f"the zip file could not be written ({error.strerror}): try fewer photos"
        ) from None
    except BaseException:  # also when cancelled
        shutil.rmtree(batch.folder, ignore_errors=True)
        raise
    return batch


def new_batch(store: Store, photos: Sequence[Path]) -> StylizedBatch:
    """A batch without results yet, in a new folder."""
    return StylizedBatch(photos, store.folder / uuid.uuid4().hex)


def _add(store: Store, batch: StylizedBatch, archive: zipfile.ZipFile, result: StylizedPhoto) -> None:
    stem, _, suffix = result.name.rpartition(".")
    name, number = result.name, 1
    while name in archive.NameToInfo:
        number += 1
        name = f"{stem}-{number}.{suffix}"
    store.trim(len(result.data))
    try:
        archive.writestr(name, result.data)
        preview = batch.folder / f"{len(batch.shown)}.jpg"
        preview.write_bytes(result.after)
    except OSError as error:
        raise HTTPProblem(503, f"{name} could not be kept ({error.strerror}): try fewer photos") from None
    batch.shown.append((str(preview), name))


def _jpeg(picture: image.Picture) -> bytes:
    return image.to_bytes(Path("preview.jpg"), picture, quality=92)
