"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from texturenets import files
from texturenets.errors import UserError


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_it_appears_at_the_end_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    with files.atomic_write(path) as part:
        part.write_text("new")
        assert part.parent == path.parent  # elsewhere the rename might not be one
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["c.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("old")

    def write() -> None:
        with files.atomic_write(path) as part:
            part.write_text("half")
            raise KeyError("x")

    with pytest.raises(KeyError):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_full_disk_is_told_in_one_line(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    path = tmp_path / "c.txt"
    with (
        pytest.raises(UserError, match=f"^cannot write {path}: {os.strerror(number)}$"),
        files.atomic_write(path),
    ):
        pass
    assert names(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="file is a file, not a folder"),
        files.atomic_write(tmp_path / "file" / "x"),
    ):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="Is a directory"), files.atomic_write(tmp_path / "folder"):
        pass
    assert names(tmp_path) == ["file", "folder"]


def test_what_cannot_be_written_is_told_before_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    files.check_writable(tmp_path / "new" / "one" / "x.png")
    for name, said in [
        ("file/x.png", "file is a file, not a folder"),
        ("file/new/x.png", "file is a file, not a folder"),
        ("folder", "Is a directory"),
        ("x" * 300, "File name too long"),
    ]:
        with pytest.raises(UserError, match=f"^cannot write {tmp_path / name}: .*{said}$"):
            files.check_writable(tmp_path / name)
    tiny.read_only(monkeypatch)
    with pytest.raises(UserError, match=f"^cannot write {tmp_path}/x.png: Read-only file system$"):
        files.check_writable(tmp_path / "x.png")
    assert names(tmp_path) == ["file", "folder"]


def test_a_write_protected_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.txt"
    path.write_text("old")
    tiny.write_protected(monkeypatch, path)
    with pytest.raises(UserError, match=rf"^cannot write {path}: it is write-protected; give another name"):
        files.check_writable(path)
    with pytest.raises(UserError, match="write-protected"), files.atomic_write(path) as part:
        part.write_text("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.txt"]


def test_a_link_stays_and_the_file_behind_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link.txt", tmp_path / "folder" / "target.txt"
    target.write_text("old")
    link.symlink_to(target)
    with files.atomic_write(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert names(tmp_path) == ["folder", "link.txt"]


def test_a_name_that_begins_with_a_tilde_need_not_be_a_user() -> None:
    assert files.expanded("~nobody-of-that-name/a.jpg") == Path("~nobody-of-that-name/a.jpg")
    assert files.expanded("~/a.jpg") == Path.home() / "a.jpg"


def test_rights_are_those_of_any_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, pathlib\nos.umask(0o027)\nfrom texturenets import files\n"
        "os.umask = None  # what all threads share is left alone from here on\n"
        "with files.atomic_write(pathlib.Path('x')): pass"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_the_longest_name_that_a_file_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120 + ".jpg")  # 244 bytes of 255
    with files.atomic_write(path) as part:
        part.write_text("x")
    assert path.read_text() == "x"


def test_remove_stale_removes_what_a_killed_writer_left_and_nothing_else(tmp_path: Path) -> None:
    path, other = tmp_path / "a.txt", tmp_path / "b.txt"
    program = "import os, pathlib, sys\nfrom texturenets import files\n" + (
        "with files.temporary_sibling(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    for one in (path, other):
        subprocess.run([sys.executable, "-c", program, one], check=False)
    assert len(names(tmp_path)) == 2
    with files.temporary_sibling(path) as mine:
        files.remove_stale(path)
        assert mine.exists()  # somebody is writing it
        assert len(names(tmp_path)) == 2
        (tmp_path / "kept.part").write_text("")  # not hidden: nobody's but the user's
        (tmp_path / ".hidden").write_text("")
        os.mkfifo(tmp_path / ".pipe.part")
        files.remove_stale(tmp_path)
        assert names(tmp_path) == [mine.name, ".hidden", ".pipe.part", "kept.part"]
    files.remove_stale(tmp_path / "gone" / "x")


def test_a_file_that_is_swept_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, made = files._lock, []

    def late(handle: int, **how: bool) -> bool:
        if not made:
            made.extend(tmp_path.iterdir())
            made[0].unlink()
        return lock(handle, **how)

    monkeypatch.setattr(files, "_lock", late)
    with files.atomic_write(tmp_path / "x") as part:
        assert part != made[0]
        part.write_text("x")
    assert names(tmp_path) == ["x"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is not a regular file"):
        files.opened(tmp_path / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        files.opened(Path("/dev/zero"))
    (tmp_path / "x").write_bytes(b"x")
    with files.opened(tmp_path / "x") as file:
        assert file.read() == b"x"


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEXTURENETS_CACHE", str(tmp_path / "cache"))
    assert files.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("TEXTURENETS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.cache_folder() == tmp_path / "xdg" / "texturenets"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / ".cache" / "texturenets"


def test_what_killed_writers_of_many_files_have_left(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    mine = [tmp_path / ".a.jpg.12345678.part", tmp_path / "x" / ".b.jpg.12345678.part"]
    others = [tmp_path / ".c.jpg.12345678.part", tmp_path / "a.jpg", tmp_path / "x" / ".b.jpg"]
    for path in mine + others:
        path.touch()
    files.remove_all_stale([tmp_path / "a.jpg", tmp_path / "x" / "b.jpg", tmp_path / "none" / "d.jpg"])
    assert [path.exists() for path in mine + others] == [False, False, True, True, True]
