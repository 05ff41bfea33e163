"""Batches of crops from a folder of photos. A batch depends only on (seed, step, slot) and the list of files, not on
worker processes or interruptions.
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from texturenets import image
from texturenets.errors import UserError, counted, ignore_pillows_warnings
from texturenets.train.interruption import SIGNALS

# Photos are resized so that the square crop covers between two thirds of their shorter side and all of it: a crop
# of a 12-megapixel photo at its own resolution would show grass or sky and no object.
MAX_SCALE = 1.5
PHOTO_SOURCES = (
    "a few hundred photos of your own will do, or COCO's val2017 "
    "(5,000 photos, 1 GB: http://images.cocodataset.org/zips/val2017.zip, unpacked)"
)
SMALL_SET = 64  # fewer photos than this and the user is warned; docs/training.md measures what it costs

UNFINISHED = (
    ".part",
    ".partial",
    ".crdownload",
    ".download",
    ".tmp",
)  # suffixes of unfinished files


@dataclass(frozen=True)
class Photos:
    """Lists of files: for training, and held out."""

    train: tuple[Path, ...]
    val: tuple[Path, ...]
    digest: str = field(default="")
    """Hash of the sorted relative names and file sizes. Not of the contents: reading a large set takes hours. Nor of
    the times: a copy of a set is the same set."""


def is_photo(path: Path) -> bool:
    """Whether a file looks like a photo, by its name or its first bytes."""
    return image.has_image_suffix(path) or image.suffix_by_content(path) != ""


def _walk(folder: Path) -> Iterator[Path]:
    """All photos below `folder`, sorted, links followed, each real folder once."""
    seen: set[str] = set()
    stack = [folder]
    while stack:
        here = stack.pop()
        real = os.path.realpath(here)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(here.iterdir())
        except OSError as error:
            raise UserError(f"cannot read the folder {here}: {error.strerror}") from None
        for entry in entries:
            if entry.name.startswith(".") or entry.suffix.lower() in UNFINISHED:
                continue
            if entry.is_dir():
                stack.append(entry)
            elif entry.is_file() and is_photo(entry):
                yield entry


def scan(folder: Path, val_share: float = 0.05, seed: int = 0) -> Photos:
    """The photos below `folder`: those of `train/` and `val/` if both exist, else a share is held out.

    Raises UserError for a folder that is missing or holds no photo.
    """
    if folder.is_file():
        what = "is a photo" if is_photo(folder) else "is a file"
        raise UserError(f"`content` {folder} {what}: give the folder that the photos are in")
    if not folder.is_dir():
        raise UserError(f"no such folder of photos: {folder}; {PHOTO_SOURCES}")
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        train, val = sorted(_walk(folder / "train")), sorted(_walk(folder / "val"))
    else:
        files = sorted(_walk(folder))
        # By rank of a hash of the name: a photo added later does not reshuffle the rest.
        ranked = sorted(files, key=lambda p: _rank(seed, p.relative_to(folder)))
        held = min(max(round(len(files) * val_share), int(val_share > 0)), max(0, len(files) - 1))
        chosen = set(ranked[:held])
        train, val = [f for f in files if f not in chosen], [f for f in files if f in chosen]
    if not train:
        raise UserError(
            f"no photo in {folder}: give a folder with JPEG, PNG, WebP or TIFF images in it; {PHOTO_SOURCES}"
        )
    return Photos(tuple(train), tuple(val), _digest(folder, [*train, *val]))


def _rank(seed: int, name: Path) -> bytes:
    return hashlib.sha256(f"{seed}/".encode() + os.fsencode(name)).digest()


def few(photos: int, held_out: int) -> str:
    """A warning about few training photos; "" if there are enough."""
    if not 0 < photos < SMALL_SET:  # without any there is an error
        return ""
    split = f" to train on, and {held_out} held out" if held_out else ""
    them = "these" if photos > 1 else "it"
    return (
        f"only {counted(photos, 'photo')}{split}: the network will overfit to {them} "
        f"(docs/training.md measures by how much; {SMALL_SET} and more are enough)"
    )


def unreadable(files: Sequence[Path]) -> list[str]:
    """The errors of those of `files` that cannot be read; checking many takes a while."""
    problems = []
    for path in files:
        try:
            image.read(path, longer=64)  # a JPEG is decoded at an eighth of its size
        except UserError as error:
            problems.append(str(error))
    return problems


def _digest(folder: Path, files: Sequence[Path]) -> str:
    state = hashlib.sha256()
    for path in files:
        state.update(os.fsencode(path.relative_to(folder).as_posix()) + f"\0{_size(path)}\n".encode())
    return state.hexdigest()


def _size(path: Path) -> int:
    """Size in bytes; 0 for a file that was deleted meanwhile, which is reported when it is read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Order:
    """The order in which `count` items are used in a run: all once per epoch, in a new order in each epoch."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.epoch = -1
        self.order = np.zeros(0, np.int64)

    def __call__(self, place: int) -> int:
        """The index at `place`, counted from 0 over all epochs."""
        epoch, at = divmod(place, self.count)
        # Requests are mostly in order, and shuffling a large set takes a while.
        if epoch != self.epoch:
            self.epoch, self.order = (
                epoch,
                np.random.default_rng((self.seed, 1, epoch)).permutation(self.count),
            )
        return int(self.order[at])


def crop(
    rgb: Tensor, side: int, random: np.random.Generator | None, flip: bool, widest: float = MAX_SCALE
) -> Tensor:
    """A square of `side` pixels of a photo (1, 3, H, W): (3, side, side).

    Random in size (the photo's shorter side is `side` to `widest` times that), place and mirroring; without `random`
    the centre of the largest square. Photos smaller than the square are enlarged.
    """
    shorter = min(rgb.shape[2:])
    target = side
    if random is not None:
        target = round(side * random.uniform(1.0, max(1.0, min(widest, shorter / side))))
    if target != shorter:
        h, w = (max(side, round(n * target / shorter)) for n in rgb.shape[2:])
        rgb = image.resize(rgb, (h, w))
    spare_h, spare_w = rgb.shape[2] - side, rgb.shape[3] - side
    if random is None:
        top, left, mirrored = spare_h // 2, spare_w // 2, False
    else:
        top, left = int(random.integers(spare_h + 1)), int(random.integers(spare_w + 1))
        mirrored = flip and bool(random.integers(2))
    part = rgb[0, :, top : top + side, left : left + side].clamp(0, 1)
    return part.flip(2) if mirrored else part


@dataclass
class Batch:
    """Crops (N, 3, S, S), RGB in [0, 1], of one step, and the files that could not be read for it. `content`: their
    content features by layer, if a cache has them.
    """

    step: int
    photos: Tensor
    unreadable: list[str]
    content: dict[str, Tensor] | None = None

    def pin_memory(self) -> Batch:
        """A copy in page-locked memory, for asynchronous copies to a GPU."""
        content = {k: v.pin_memory() for k, v in self.content.items()} if self.content else None
        return Batch(self.step, self.photos.pin_memory(), self.unreadable, content)


class Crops(Dataset[Batch]):
    """The batches of a run by step. `slots`: the indices in the global batch that this process computes."""

    def __init__(
        self, files: Sequence[Path], *, side: int, batch: int, slots: range, seed: int, flip: bool = True
    ) -> None:
        self.files, self.side, self.batch, self.slots = list(files), side, batch, slots
        self.seed, self.flip = seed, flip
        self.order = Order(len(self.files), seed)

    def __getitem__(self, step: int) -> Batch:
        """The batch of `step`, counted from 0. A file that cannot be read gives way to the next one."""
        crops, unreadable = [], []
        for slot in self.slots:
            index = self.order(step * self.batch + slot)
            random = np.random.default_rng((self.seed, 2, step, slot))
            for offset in range(len(self.files)):
                path = self.files[(index + offset) % len(self.files)]
                try:
                    rgb = image.read(path).rgb
                    break
                except UserError as error:
                    unreadable.append(str(error))
            else:
                raise UserError(
                    f"no photo can be read of the {len(self.files)} to train on; the last: {unreadable[-1]}"
                )
            crops.append(crop(rgb, self.side, random, self.flip))
        # The layout that the networks compute in: turned here once, in the process that reads photos.
        photos = torch.stack(crops).contiguous(memory_format=torch.channels_last)
        return Batch(step, photos, unreadable)


class Joined(Dataset[Batch]):
    """The batches of several sets of crops, one after the other."""

    def __init__(self, parts: Sequence[Dataset[Batch]]) -> None:
        self.parts = list(parts)

    def __getitem__(self, step: int) -> Batch:
        """The batch of `step`, counted from 0."""
        batches = [part[step] for part in self.parts]
        photos = torch.cat([batch.photos for batch in batches])
        return Batch(step, photos, [problem for batch in batches for problem in batch.unreadable])


def _first(batches: list[Batch | UserError]) -> Batch | UserError:
    return batches[0]


PARENT_WATCH = 1.0  # seconds between two checks of a worker whether its parent is alive


def _obey(parent: int) -> None:
    """End this process on a signal of `parent`, or when that has ended; ignore other signals.

    PyTorch's own check is not enough: a worker whose images are not fetched waits forever.
    """
    while os.getppid() == parent:
        if sys.platform == "win32" or sys.platform == "darwin":  # without `sigtimedwait`
            time.sleep(PARENT_WATCH)
        elif (sent := signal.sigtimedwait([signal.SIGTERM], PARENT_WATCH)) and sent.si_pid == parent:
            break
    os._exit(0)


def _worker(parent: int, _: int) -> None:
    ignore_pillows_warnings()
    # Ctrl-C in a terminal and SIGTERM from a scheduler reach every process of the group. A worker that died of it
    # would abort the current step before the run is saved, so only the parent decides when workers end.
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    if sys.platform == "win32":  # no SIGTERM there, and processes keep their parent's number
        return
    mine = set(SIGNALS)
    if sys.platform != "darwin":  # there a worker still ends at any SIGTERM
        mine.discard(signal.SIGTERM)
    threading.Thread(target=_obey, args=(parent,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, mine)


class _Sent(Dataset[Batch | UserError]):
    """`data` with its UserErrors as values, because an exception in a worker arrives only as the text of a
    traceback."""

    def __init__(self, data: Dataset[Batch]) -> None:
        self.data = data

    def __getitem__(self, step: int) -> Batch | UserError:
        try:
            return self.data[step]
        except UserError as error:
            return error


@contextmanager
def _without_main() -> Iterator[None]:
    """New processes do not run the program's own file, which may start a training outside of any function."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _signals_blocked(workers: int) -> Iterator[None]:
    """Block SIGNALS until the workers that are started within have made their choice (`_worker`).

    Windows has no such masks: there Ctrl-C ends a worker that is being started.
    """
    if sys.platform == "win32":
        yield
        return
    if workers:
        resource_tracker.ensure_running()  # else the first process starts it, which unblocks these signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def loader(data: Dataset[Batch], steps: range, workers: int, pin: bool = False) -> Iterator[Batch]:
    """The batches of `steps` in order, decoded ahead by `workers` processes (0: in this one).

    The processes are new ones, not forks: a fork after OpenVINO has computed with AMX tiles crashes, and one of a
    process with threads may wait for a lock forever. They are children of this process. Those of a fork server are
    not: a scheduler's signal would end the server, and with it the workers.
    """
    batches = DataLoader(
        _Sent(data),
        sampler=steps,
        batch_size=1,
        collate_fn=_first,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=pin,
        multiprocessing_context=multiprocessing.get_context("spawn") if workers else None,
        worker_init_fn=functools.partial(_worker, os.getpid()),
        # Else each start changes torch's random state, and a resumed run has one more start.
        generator=torch.Generator(),
    )
    with _without_main(), _signals_blocked(workers):
        running = iter(batches)
    for batch in running:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def validation(files: Sequence[Path], side: int, count: int) -> tuple[Tensor, list[str]]:
    """The centre crops of the first `count` readable photos: (n, 3, side, side); and messages about unreadable
    photos."""
    crops: list[Tensor] = []
    unreadable: list[str] = []
    for path in files:
        if len(crops) == count:
            break
        try:
            crops.append(crop(image.read(path).rgb, side, None, False))
        except UserError as error:
            unreadable.append(str(error))
    return (torch.stack(crops) if crops else torch.zeros(0, 3, side, side)), unreadable
