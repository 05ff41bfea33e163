"""A folder of photos into batches."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor

from texturenets.errors import UserError
from texturenets.train import data


def plain(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (12, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def names(paths: tuple[Path, ...], folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in paths)


# ------------------------------------------------------------------------------------------------- scan


def test_scan_is_recursive_and_takes_photos_alone(tmp_path: Path) -> None:
    for name in ("a.jpg", "B.PNG", "deep/er/c.webp", "deep/d.tif"):
        plain(tmp_path / name, (9, 9, 9))
    plain(tmp_path / "x.png", (1, 2, 3)).rename(tmp_path / "wrong.extension")
    plain(tmp_path / "x.jpg", (1, 2, 3)).rename(tmp_path / "none")
    for name in (".hidden.jpg", ".git/e.jpg", "y.jpg"):
        plain(tmp_path / name, (0, 0, 0))
    (tmp_path / "y.jpg").rename(tmp_path / "still_coming.jpg.part")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "empty").write_bytes(b"")
    photos = data.scan(tmp_path, val_share=0)
    found = ["B.PNG", "a.jpg", "deep/d.tif", "deep/er/c.webp", "none", "wrong.extension"]
    assert names(photos.train, tmp_path) == found
    assert photos.val == ()


def test_scan_follows_links_without_loops(tmp_path: Path) -> None:
    inside, outside = tmp_path / "photos", tmp_path / "elsewhere"
    plain(inside / "a.jpg", (0, 0, 0))
    plain(outside / "b.jpg", (0, 0, 0))
    (inside / "link").symlink_to(outside)
    (inside / "again").symlink_to(outside)  # the same folder: its photos count once
    (inside / "loop").symlink_to(inside)
    (outside / "back").symlink_to(inside)
    (inside / "c.jpg").symlink_to(outside / "b.jpg")
    (inside / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    photos = data.scan(inside, val_share=0)
    assert len(photos.train) == 3
    assert Counter(p.name for p in photos.train) == {"a.jpg": 1, "b.jpg": 1, "c.jpg": 1}


def test_train_and_val_folders_are_used_where_both_are_there(tmp_path: Path) -> None:
    for name in ("train/a.jpg", "train/more/b.jpg", "val/c.jpg", "d.jpg"):
        plain(tmp_path / name, (0, 0, 0))
    photos = data.scan(tmp_path)
    assert names(photos.train, tmp_path) == ["train/a.jpg", "train/more/b.jpg"]
    assert names(photos.val, tmp_path) == ["val/c.jpg"]
    (tmp_path / "val" / "c.jpg").unlink()
    (tmp_path / "val").rmdir()
    photos = data.scan(tmp_path, val_share=0)
    assert names(photos.train, tmp_path) == ["d.jpg", "train/a.jpg", "train/more/b.jpg"]


def test_a_share_is_held_out_and_stays_so_when_photos_come(tmp_path: Path) -> None:
    for i in range(20):
        plain(tmp_path / f"{i:02}.png", (0, 0, 0))
    photos = data.scan(tmp_path, val_share=0.2)
    assert (len(photos.train), len(photos.val)) == (16, 4)
    assert not set(photos.train) & set(photos.val)
    assert data.scan(tmp_path, val_share=0.2) == photos
    assert data.scan(tmp_path, val_share=0.2, seed=1).val != photos.val
    plain(tmp_path / "new.png", (0, 0, 0))
    more = data.scan(tmp_path, val_share=0.2)
    assert len(set(more.val) & set(photos.val)) >= 3
    assert len(data.scan(tmp_path, val_share=0.001).val) == 1  # some, if any is asked for


def test_a_single_photo_is_trained_on(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", (0, 0, 0))
    photos = data.scan(tmp_path, val_share=0.5)
    assert (len(photos.train), len(photos.val)) == (1, 0)


def test_digest_is_of_the_sizes_and_not_of_the_times(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", (0, 0, 0))
    plain(tmp_path / "b.png", (0, 0, 0))
    digest = data.scan(tmp_path).digest
    os.utime(tmp_path / "a.png", (1, 1))
    assert data.scan(tmp_path).digest == digest
    plain(tmp_path / "a.png", (0, 0, 0), (200, 100))
    assert data.scan(tmp_path).digest != digest


def test_digest_is_of_the_names_and_not_of_the_place(tmp_path: Path) -> None:
    first = tmp_path / "first"
    for name in ("a.png", "b/c.png", "d.png"):
        plain(first / name, (0, 0, 0))
    digest = data.scan(first).digest
    moved = first.rename(tmp_path / "second")
    assert data.scan(moved).digest == digest
    assert data.scan(moved, val_share=0.6).digest != digest  # other photos are held out
    (moved / "d.png").rename(moved / "e.png")
    assert data.scan(moved).digest != digest


def test_folders_without_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder of photos: .*gone"):
        data.scan(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"no photo in .*JPEG.*COCO's val2017"):
        data.scan(tmp_path)
    with pytest.raises(UserError, match=r"no such folder of photos: .*COCO's val2017"):
        data.scan(tmp_path / "gone")
    photo = plain(tmp_path / "a.png", (0, 0, 0))
    with pytest.raises(UserError, match=r"a.png is a photo: give the folder"):
        data.scan(photo)
    with pytest.raises(UserError, match=r"notes.txt is a file: give the folder"):
        data.scan(tmp_path / "notes.txt")


# ------------------------------------------------------------------------------------------------- crop


def ramp(h: int, w: int) -> Tensor:
    """A photo whose red says the row and green the column, (1, 3, h, w)."""
    rows = torch.arange(h)[:, None].expand(h, w) / 255
    columns = torch.arange(w)[None].expand(h, w) / 255
    return torch.stack([rows, columns, torch.zeros(h, w)])[None].float()


def test_without_randomness_it_is_the_centre_of_the_largest_square() -> None:
    rgb = ramp(20, 50)
    assert torch.equal(data.crop(rgb, 20, None, True), rgb[0, :, :, 15:35])
    tall = ramp(51, 20)
    assert torch.equal(data.crop(tall, 20, None, True), tall[0, :, 15:35])


@pytest.mark.parametrize("size", [(20, 50), (7, 90), (1, 1), (33, 32)])
def test_photos_smaller_than_the_crop_are_enlarged(size: tuple[int, int]) -> None:
    for random in (None, np.random.default_rng(0)):
        part = data.crop(ramp(*size), 64, random, True)
        assert part.shape == (3, 64, 64)
        assert 0 <= part.min() <= part.max() <= 1
        # The shorter side is seen whole: nothing was squashed and nothing cut from it.
        axis = 0 if size[0] <= size[1] else 1
        span = (part[axis].max() - part[axis].min()) * 255
        assert abs(span - (min(size) - 1)) <= 0.6


def test_random_crops_lie_all_over_at_several_scales_and_half_are_mirrored() -> None:
    rgb, random = ramp(150, 200), np.random.default_rng(0)
    crops = [data.crop(rgb, 50, random, True) for _ in range(300)]
    mirrored = [bool(c[1, 25, 0] > c[1, 25, -1]) for c in crops]
    assert 110 < sum(mirrored) < 190
    # The crop shows 50 / target of the shorter side, with target between 50 and 75.
    spans = np.array([float(c[0, -1].mean() - c[0, 0].mean()) * 255 for c in crops])
    assert spans.min() < 105
    assert spans.max() > 143
    assert (spans > 150 * 50 / 75 * 0.97 - 2).all()
    assert (spans <= 150).all()
    left = [float(c[1].min()) * 255 for c in crops]
    assert min(left) < 10
    assert max(left) > 60
    assert not any(bool(c[1, 25, 0] > c[1, 25, -1]) for c in [data.crop(rgb, 50, random, False)] * 20)


# ------------------------------------------------------------------------------------------------ batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven photos of some detail."""
    made = tmp_path_factory.mktemp("photos")
    for i in range(7):
        tiny.picture(made / f"{i}.png", seed=i)
    return made


def crops(folder: Path, **change: object) -> data.Crops:
    settings = {"side": 48, "batch": 4, "slots": range(4), "seed": 3}
    return data.Crops(sorted(folder.iterdir()), **{**settings, **change})  # type: ignore[arg-type]


def test_a_batch_depends_on_seed_step_and_slot_alone(folder: Path) -> None:
    batches = crops(folder)
    forward = [batches[i].photos for i in range(3)]
    backward = [crops(folder)[i].photos for i in reversed(range(3))][::-1]
    assert all(map(torch.equal, forward, backward))
    assert not torch.equal(crops(folder, seed=4)[1].photos, forward[1])
    assert not torch.equal(forward[0], forward[1])
    halves = [crops(folder, slots=range(a, a + 2))[2].photos for a in (0, 2)]  # two processes
    assert torch.equal(torch.cat(halves), forward[2])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_the_place_to_start_change_nothing(folder: Path, workers: int) -> None:
    alone = [b.photos for b in data.loader(crops(folder), range(6), 0)]
    helped = list(data.loader(crops(folder), range(2, 6), workers))
    assert [b.step for b in helped] == [2, 3, 4, 5]
    assert all(torch.equal(b.photos, alone[b.step]) for b in helped)


def test_every_photo_comes_once_an_epoch_in_a_new_order(tmp_path: Path) -> None:
    colours = [(40 * i, 0, 0) for i in range(6)]
    for i, colour in enumerate(colours):
        plain(tmp_path / f"{i}.png", colour)
    batches = data.Crops(sorted(tmp_path.iterdir()), side=8, batch=4, slots=range(4), seed=0)
    seen = [round(float(p[0].mean()) * 255 / 40) for step in range(9) for p in batches[step].photos]
    epochs = [seen[i : i + 6] for i in range(0, 36, 6)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4, 5] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 3


def test_crops_come_channels_last_as_networks_take_them(tmp_path: Path) -> None:
    plain(tmp_path / "a.png", (1, 2, 3))
    batches = data.Crops([tmp_path / "a.png"], side=8, batch=2, slots=range(2), seed=0)
    assert batches[0].photos.is_contiguous(memory_format=torch.channels_last)


def test_the_order_of_an_epoch_is_drawn_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    permutation = np.random.Generator.permutation

    class Counting:
        def __init__(self, key: tuple[int, ...]) -> None:
            self.made = make(key)

        def permutation(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            drawn.append(count)
            return permutation(self.made, count)

    make = np.random.default_rng
    order = data.Order(1000, 0)
    monkeypatch.setattr(np.random, "default_rng", Counting)
    places = [order(place) for place in range(2500)]
    assert drawn == [1000] * 3
    assert sorted(places[:1000]) == sorted(places[1000:2000]) == list(range(1000))
    monkeypatch.undo()
    batches = crops(folder)
    epoch = np.random.default_rng((3, 1, 0)).permutation(7)
    assert [batches.order(place) for place in range(7)] == epoch.tolist()


def test_flip_can_be_left_out(folder: Path) -> None:
    kept, some = crops(folder, flip=False), crops(folder)
    pairs = [(a, b) for i in range(6) for a, b in zip(kept[i].photos, some[i].photos, strict=True)]
    same = [torch.equal(a, b) for a, b in pairs]
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in pairs)
    assert 4 < sum(same) < 20


def test_unreadable_photos_give_way_to_the_next_and_are_named(tmp_path: Path) -> None:
    for i in range(3):
        tiny.picture(tmp_path / f"{i}.png", seed=i)
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    batches = data.Crops(sorted(tmp_path.iterdir()), side=48, batch=3, slots=range(3), seed=0)
    batch = batches[0]
    assert batch.photos.shape == (3, 3, 48, 48)
    assert len(batch.unreadable) == 1
    assert "1.png is damaged or cut short" in batch.unreadable[0]
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "2.png").unlink()
    with pytest.raises(UserError, match="no photo can be read of the 3 to train on"):
        batches[0]


def test_errors_of_a_worker_are_still_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    batches = data.Crops([tmp_path / "a.png"], side=8, batch=1, slots=range(1), seed=0)
    with pytest.raises(UserError, match="no photo can be read of the 1 to train on") as caught:
        next(data.loader(batches, range(1), 1))
    assert "\n" not in str(caught.value)


def test_validation_crops_are_the_first_readable_photos(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    files = [tmp_path / "bad.jpg", *sorted(folder.iterdir())]
    crops, unreadable = data.validation(files, 32, 3)
    assert crops.shape == (3, 3, 32, 32)
    assert len(unreadable) == 1
    assert "bad.jpg" in unreadable[0]
    with Image.open(folder / "0.png") as image:  # 90 x 72
        small = image.resize((40, 32), Image.Resampling.BICUBIC).crop((4, 0, 36, 32))
    reference = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1) / 255
    assert (crops[0] - reference).abs().mean() < 0.02
    assert data.validation([], 32, 3)[0].shape == (0, 3, 32, 32)


def test_workers_outlive_the_signals_of_a_terminal(folder: Path) -> None:
    before = {number: signal.signal(number, lambda *_: None) for number in data.SIGNALS}
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("this system does not list a process's children")
    old = set(children.read_text().split())
    try:
        batches = data.loader(crops(folder), range(12), 2)
        next(batches)
        workers = [int(p) for p in set(children.read_text().split()) - old]
        assert len(workers) == 2
        for worker in workers:
            # From another process, as a terminal or a scheduler does it: the parent's word counts.
            subprocess.run(["kill", "-INT", str(worker)], check=True)
            subprocess.run(["kill", "-TERM", str(worker)], check=True)
        time.sleep(0.1)
        assert [b.step for b in batches] == list(range(1, 12))
        del batches
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(data.SIGNALS) == set()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_worker_ends_whose_parent_was_killed_before_it_was_ready(folder: Path, tmp_path: Path) -> None:
    """It waited for ever, and held standard output."""
    program = tmp_path / "mine.py"
    program.write_text(
        "import multiprocessing, os, signal, sys, threading\n"
        "from pathlib import Path; from texturenets.train import data\n"
        "def kill():\n"
        "    while not multiprocessing.active_children(): pass\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "threading.Thread(target=kill).start()\n"
        "crops = data.Crops(sorted(Path(sys.argv[1]).iterdir()), side=8, batch=1, slots=range(1), seed=0)\n"
        "for _ in data.loader(crops, range(10**6), 1): pass\n"
    )
    words = [sys.executable, str(program), str(folder)]
    done = subprocess.run(words, timeout=60, check=False, stdout=subprocess.PIPE)
    assert done.returncode == -signal.SIGKILL


def test_workers_are_no_forks_and_do_not_run_the_program_again(folder: Path, tmp_path: Path) -> None:
    """A fork after OpenVINO has computed with AMX tiles crashes."""
    program = tmp_path / "mine.py"
    program.write_text(
        "import sys, os; from pathlib import Path; from texturenets.train import data\n"
        "print('started', flush=True)\n"
        "os.fork = None\n"
        "crops = data.Crops(sorted(Path(sys.argv[1]).iterdir()), side=8, batch=1, slots=range(1), seed=0)\n"
        "print(sum(len(batch.photos) for batch in data.loader(crops, range(5), 2)))\n"
        "assert sys.modules['__main__'].crops is crops\n"
    )
    done = subprocess.run(
        [sys.executable, str(program), str(folder)], timeout=60, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "started\n5\n"), done.stderr


def test_a_program_that_fails_in_the_middle_ends_with_its_workers(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from texturenets.train import data\n"
        "crops = data.Crops(sorted(Path(sys.argv[1]).iterdir()), side=8, batch=1, slots=range(1), seed=0)\n"
        "batches = data.loader(crops, range(1000), 1)\n"
        "next(batches)\n"
        "raise SystemExit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], timeout=60, check=False)
    assert done.returncode == 7


def test_one_photo_is_always_left_to_train_on(tmp_path: Path) -> None:
    for i in range(10):
        (tmp_path / f"{i}.jpg").touch()
    assert len(data.scan(tmp_path, val_share=0.96).train) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    for name in (b"caf\xe9.jpg", b"b.jpg"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    assert len(data.scan(tmp_path).train) == 1
