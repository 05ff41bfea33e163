"""Settings of a process: pages of 2 MB, and threads that wait asleep."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from texturenets.memory import malloc
from texturenets.memory.huge_pages import use_large_pages


@pytest.mark.parametrize(
    ("system", "tunables", "wanted"),
    [
        ("always [madvise] never", "", "glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "a=1", "a=1:glibc.malloc.hugetlb=1"),
        ("always [madvise] never", "glibc.malloc.hugetlb=0", None),
        ("[always] madvise never", "", None),
        ("always madvise [never]", "", None),
    ],
)
def test_the_program_starts_anew_where_pages_have_to_be_asked_for(
    system: str, tunables: str, wanted: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "enabled").write_text(system)
    monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    monkeypatch.setattr(os, "confstr", lambda _: "glibc 2.36")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "texturenets", "a b"])
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    use_large_pages(str(tmp_path / "enabled"))
    assert started == ([[sys.executable, "-m", "texturenets", "a b"]] if wanted else [])
    assert os.environ["GLIBC_TUNABLES"] == (wanted or tunables)


def test_without_openvino_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "enabled").write_text("always [madvise] never")
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    monkeypatch.setattr(os, "confstr", lambda _: "glibc 2.36")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    use_large_pages(str(tmp_path / "enabled"))
    assert started == []


def test_without_such_a_file_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "1")
    monkeypatch.setattr(os, "confstr", lambda _: "glibc 2.36")
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: started.append(words))
    use_large_pages(str(tmp_path / "none"))
    assert started == []
    assert os.environ["GLIBC_TUNABLES"] == ""


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "PASSIVE 10000"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "PASSIVE None"),
        ({"GOMP_SPINCOUNT": "7"}, "PASSIVE 7"),
    ],
)
def test_threads_sleep_after_a_short_spin_unless_told_otherwise(given: dict[str, str], wanted: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    program = "import texturenets, os; print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == wanted


@pytest.mark.parametrize(("given", "wanted"), [(None, "1"), ("2", "2")])
def test_numpy_starts_no_threads_in_the_program(
    given: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", given)
    program = """
import os
import texturenets.__main__ as program
from texturenets import cli

program.use_large_pages = lambda: None
cli.main = lambda: print(os.environ["OPENBLAS_NUM_THREADS"]) or 0
program.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == wanted


def test_the_program_starts_openvino_without_its_converter() -> None:
    pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
    program = """
import sys
import texturenets.__main__ as program
from texturenets import cli

def run():
    import openvino
    print(hasattr(openvino, "Core"), [name for name in sys.modules if name.startswith("openvino.tools.ovc.")])
    return 0

program.use_large_pages, cli.main = lambda: None, run
program.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_the_program_says_what_it_would_anyway() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, "-m", "texturenets", "stylize", "none such.jpg"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "none such.jpg" in done.stderr


PROGRAM = """
import atexit, sys
import texturenets.__main__ as program
from texturenets import cli

def run():
    atexit.register(print, "the others first")
    print("said", end="")
    if sys.argv[1] == "fails":
        raise KeyError("a mistake of ours")
    return int(sys.argv[1])

class Last:
    def __del__(self):
        print("taken apart")

kept, cli.main, program.use_large_pages = Last(), run, lambda: None
sys.exit(program.main())
"""


@pytest.mark.parametrize(
    ("word", "status", "said"),
    [
        ("0", 0, "saidthe others first\n"),
        ("2", 2, "saidthe others first\n"),
        ("fails", 1, "saidthe others first\n"),
    ],
)
def test_the_program_ends_without_being_taken_apart(word: str, status: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stdout.startswith(said)
    assert ("taken apart" in done.stdout) == (word == "fails")
    assert ("a mistake of ours" in done.stderr) == (word == "fails")


@pytest.mark.skipif(malloc._libc() is None, reason="not glibc")
@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").is_dir(), reason="no pages of 2 MB")
def test_the_first_heap_asks_for_large_pages() -> None:
    program = (
        "from texturenets.memory.malloc import prepare_heap; assert prepare_heap(); x = bytes(2**24)\n"
        "print(open('/proc/self/smaps').read())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    areas = re.findall(r"\[heap\]\n.*?VmFlags: ([^\n]*)", done.stdout, re.S)
    assert any("hg" in flags.split() for flags in areas)


def test_without_glibc_the_heap_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc, "_libc", lambda: None)
    assert not malloc.prepare_heap()


@pytest.mark.parametrize(
    ("name", "value"), [("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"), ("MALLOC_TRIM_THRESHOLD_", "131072")]
)
def test_a_users_settings_of_malloc_are_kept(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc, "_set", lambda _: pytest.fail("they are changed"))
    monkeypatch.setenv(name, value)
    assert not malloc.prepare_heap()


def test_little_is_imported_before_the_program_starts_anew() -> None:
    program = "import texturenets.__main__, sys; print('ctypes' in sys.modules, 'platform' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
