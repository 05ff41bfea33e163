"""`-` for standard input and output, results as JSON, folders that are watched, completion in a shell."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny
from fileserver import serving
from PIL import Image

from texturenets import fetch, loading
from texturenets.cli import main, pipes
from texturenets.cli.streams import Terminated
from texturenets.engines.options import EngineOptions
from texturenets.errors import UserError
from texturenets.networks.pyramid import Pyramid2
from texturenets.networks.residual import Residual
from texturenets.stylize.style import Style

TINY = Residual(channels=8, blocks=0)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a photo; two styles and a texture are shipped."""
    textures = {"peas": Pyramid2(channels=(4, 4), noise_depth=2)}
    work = tiny.working_folder(tmp_path, monkeypatch, {"wave": TINY, "plain": TINY}, textures)
    tiny.picture(work / "photo.jpg", seed=1)
    return work


def run(*words: str) -> int:
    return main([*words, "--engine", "torch", "--quiet"])


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# ---- standard input and output -------------------------------------------------------------------------


def test_through_a_pipe_comes_what_a_file_would_hold(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("stylize", "photo.jpg", "-s", "wave", "-o", "there.jpg") == 0
    assert capsysbinary.readouterr().out == b"there.jpg\n"
    feed(monkeypatch, Path("photo.jpg").read_bytes())
    assert run("stylize", "-", "-s", "wave", "-o", "-") == 0
    assert capsysbinary.readouterr().out == Path("there.jpg").read_bytes()
    assert sorted(path.name for path in here.iterdir()) == ["photo.jpg", "there.jpg"]


@pytest.mark.filterwarnings("ignore:the mask photo.png is in colour")
def test_a_file_to_standard_output_keeps_its_format(
    here: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    Image.open("photo.jpg").save("photo.png")
    assert run("stylize", "-s", "wave", "--output=-", "photo.png") == 0
    assert Image.open(io.BytesIO(capsysbinary.readouterr().out)).format == "PNG"
    assert run("stylize", "-s", "wave", "--keep", "photo.png", "photo.jpg", "-o", "-") == 0
    assert Image.open(io.BytesIO(capsysbinary.readouterr().out)).format == "JPEG"


def test_standard_input_to_a_file_of_the_usual_name(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    feed(monkeypatch, Path("photo.jpg").read_bytes())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run("stylize", "-", "-s", "wave") == 0
    assert capsys.readouterr().out == "stdin-wave.jpg\n"


@pytest.mark.filterwarnings("ignore:the mask .* is in colour")
def test_without_a_name_the_result_goes_on_through_the_pipe(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    photo = Path("photo.jpg").read_bytes()
    feed(monkeypatch, photo)
    assert run("stylize", "-", "-s", "wave") == 0
    assert Image.open(io.BytesIO(capsysbinary.readouterr().out)).format == "JPEG"
    assert [path.name for path in here.iterdir()] == ["photo.jpg"]
    for words, made in (("- -o there.jpg", "there.jpg"), ("photo.jpg --keep -", "photo-wave.jpg")):
        feed(monkeypatch, photo)
        assert run("stylize", *words.split(), "-s", "wave") == 0
        assert capsysbinary.readouterr().out.decode() == f"{made}\n"
    feed(monkeypatch, photo)
    assert run("stylize", "-", "-s", "wave", "--json") == 0
    assert json.loads(capsysbinary.readouterr().out)["result"] == "stdin-wave.jpg"


def test_a_sample_to_standard_output(here: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run("sample", "peas", "--size", "32", "-o", "-") == 0
    assert Image.open(io.BytesIO(capsysbinary.readouterr().out)).size == (32, 32)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("stylize - -s wave -o -", "-: standard input is not an image that can be read here (JPEG,"),
        (
            "stylize photo.jpg photo.jpg -s all -o -",
            "--output - sends one image, and there are 2 styles: give a folder, for example -o stylized/\n",
        ),
        (
            "stylize photo.jpg other.jpg -s wave -o -",
            "--output - sends one image, and there are 2 photos: give a folder, for example -o stylized/\n",
        ),
        ("stylize clip.mp4 photo.jpg -s wave -o -", "--output - sends one image, and there are 2 files"),
        ("stylize . -s wave --output=-", "--output - sends one image, and there are 2 photos"),
        (
            "sample peas --size 32 --count 2 -o -",
            "--output - sends one image, and --count 2 makes 2: leave it",
        ),
        (
            "stylize photo.jpg -s wave --count=3 -o -",
            "--output - sends one image, and --count 3 makes 3: leave",
        ),
        ("stylize photo.jpg -s wave --json -o -", "--output - sends one image: leave out --json"),
        (
            "export wave --to onnx -o -",
            "-: standard input and output are for stylize, optimize, sample, tile, inpaint",
        ),
    ],
)
def test_what_cannot_be_piped(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, line: str, told: str
) -> None:
    feed(monkeypatch, b"hello, I am a text")
    if "clip.mp4" in line:
        Path("clip.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    tiny.picture(here / "other.jpg", seed=2)
    assert main([*line.split(), "--quiet"]) == 2
    out, error = capsys.readouterr()
    assert not out
    assert told in error
    assert error.count("\n") == 1


def test_several_images_in_one_pipe(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    tiny.picture(here / "other.png", seed=2)
    Image.open("photo.jpg").save("photo.png")
    for first, second in (("photo.jpg", "other.png"), ("photo.png", "photo.jpg"), ("photo.jpg", "photo.jpg")):
        feed(monkeypatch, Path(first).read_bytes() + Path(second).read_bytes())
        assert run("stylize", "-", "-s", "wave", "-o", "-") == 2
        out, error = capsys.readouterr()
        assert (out, error) == (
            "",
            "texturenets: -: standard input holds several images: send one, or name their files\n",
        )


@pytest.mark.parametrize(
    ("data", "told"), [(b"", "-: standard input is empty"), (b"\xff\xd8\xff!", "stdin.jpg")]
)
def test_standard_input_that_is_no_image(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, data: bytes, told: str
) -> None:
    feed(monkeypatch, data)
    assert run("stylize", "-", "-s", "wave", "-o", "-") == 2
    out, error = capsys.readouterr()
    assert not out
    assert told in error
    assert error.count("\n") == 1


# ---- addresses -----------------------------------------------------------------------------------------


@pytest.fixture
def web(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that has the files of the working folder."""
    monkeypatch.setattr(fetch, "pause", lambda _: None)

    with serving(here) as address:
        yield address


def test_a_photo_at_an_address(here: Path, web: str, capsys: Capture) -> None:
    assert run("stylize", "photo.jpg", "-s", "wave", "-o", "there.jpg") == 0
    Path("b c.jpg").write_bytes(Path("photo.jpg").read_bytes())
    Path("ä.jpg").write_bytes(Path("photo.jpg").read_bytes())
    addresses = [f"{web}/{name}" for name in ("photo.jpg", "b%20c.jpg?size=9", "ä.jpg")]
    assert run("stylize", *addresses, "-s", "wave") == 0
    assert capsys.readouterr().out.split("\n")[1:-1] == ["photo-wave.jpg", "b c-wave.jpg", "ä-wave.jpg"]
    assert Path("photo-wave.jpg").read_bytes() == Path("there.jpg").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("{web}/gone.jpg", "{web}/gone.jpg: HTTP 404"),
        ("{web}/page", "{web}/page: the response is not an image that can be read here (JPEG,"),
        ("{web}/page.jpg", "page.jpg is not an image"),
        ("photo.jpg -o {web}/x.jpg", "--output is a URL: give a file or a folder here"),
        ("http://127.0.0.1:9/photo.jpg", "http://127.0.0.1:9/photo.jpg: "),
    ],
)
def test_addresses_that_give_no_photo(here: Path, web: str, capsys: Capture, words: str, told: str) -> None:
    Path("page").write_text("<html>no image</html>")
    Path("page.jpg").write_text("<html>no image</html>")
    assert run("stylize", *words.format(web=web).split(), "-s", "wave") == 2
    out, error = capsys.readouterr()
    assert not out
    assert told.format(web=web) in error
    assert error.count("\n") == 1


def test_a_photo_that_cannot_be_had_does_not_stop_the_others(here: Path, web: str, capsys: Capture) -> None:
    assert (
        run("stylize", f"{web}/gone.jpg", "photo.jpg", f"{web}/photo.jpg", "-s", "wave", "-o", "made/") == 2
    )
    out, error = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert error.startswith(f"texturenets: {web}/gone.jpg: HTTP 404")
    assert run("stylize", f"{web}/gone.jpg", f"{web}/none.jpg", "-s", "wave") == 2
    assert run("stylize", "photo.jpg", "-s", "wave", "--mask", f"{web}/gone.jpg") == 2
    assert not capsys.readouterr().out


@pytest.mark.filterwarnings("default")
def test_a_note_names_a_fetched_mask_by_its_name(here: Path, web: str, capsys: Capture) -> None:
    assert run("stylize", "photo.jpg", "-s", "wave", "--mask", f"{web}/photo.jpg") == 0
    assert "note: the mask photo.jpg is in colour" in capsys.readouterr().err


def test_what_is_too_large_is_not_fetched_whole(
    here: Path, web: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(pipes, "MAX_DOWNLOAD_BYTES", 1 << 20)
    Path("large.jpg").write_bytes(bytes(3 << 20))
    assert run("stylize", f"{web}/large.jpg", "-s", "wave") == 2
    assert capsys.readouterr().err == f"texturenets: {web}/large.jpg: it is larger than 1 MB\n"


def test_offline_nothing_is_fetched(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("TEXTURENETS_OFFLINE", "1")
    assert run("stylize", "http://127.0.0.1:9/photo.jpg", "-s", "wave") == 2
    assert "nothing is fetched while TEXTURENETS_OFFLINE is set" in capsys.readouterr().err


# ---- for programs --------------------------------------------------------------------------------------


def test_results_as_json(here: Path, capsys: Capture) -> None:
    Path("bad.jpg").write_bytes(b"none")
    assert run("stylize", "photo.jpg", "bad.jpg", "-s", "all", "-o", "out/", "--json", "--sheet") == 2
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    done = [one for one in told if one["status"] == "done"]
    assert done == [
        {
            "status": "done",
            "result": "out/photo-plain.jpg",
            "source": "photo.jpg",
            "style": "plain",
            "seed": 0,
        },
        {"status": "done", "result": "out/photo-wave.jpg", "source": "photo.jpg", "style": "wave", "seed": 0},
        {"status": "done", "result": "out/contact-sheet.jpg"},
    ]
    failed = [one for one in told if one["status"] == "failed"]
    assert [(one["source"], one["style"]) for one in failed] == [("bad.jpg", "plain"), ("bad.jpg", "wave")]
    assert all(one["error"].startswith("bad.jpg") for one in failed)
    assert run("stylize", "photo.jpg", "-s", "wave", "-o", "out/", "--json", "--skip-existing") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "skipped"


def test_samples_as_json(here: Path, capsys: Capture) -> None:
    assert (
        run("sample", "peas", "--size", "32", "--count", "2", "--seed", "5", "-o", "many.png", "--json") == 0
    )
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"status": "done", "result": f"many-000{seed}.png", "texture": "peas", "seed": seed}
        for seed in (5, 6)
    ]


# ---- folders that are watched --------------------------------------------------------------------------


class Clock:
    """In place of sleeping: the next of some actions at each look, and Ctrl-C after the last."""

    def __init__(self, *actions: Callable[[], object] | None) -> None:
        self.actions = list(actions)

    def __call__(self, _: float) -> None:
        if not self.actions:
            raise KeyboardInterrupt
        if action := self.actions.pop(0):
            action()


def watching(monkeypatch: pytest.MonkeyPatch, *actions: Callable[[], object] | None) -> int:
    monkeypatch.setattr(time, "sleep", Clock(*actions))
    return run("stylize", "in", "-s", "wave", "-o", "out", "--watch")


def test_what_comes_into_a_folder_is_stylized_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    Path("in").mkdir()

    def come(name: str, seed: int = 2) -> Callable[[], object]:
        return lambda: tiny.picture(here / "in" / name, seed=seed)

    status = watching(monkeypatch, come("a.jpg"), None, None, come("sub/b.png"), None, None)
    assert status == 0
    assert capsys.readouterr().out.split() == ["out/a-wave.jpg", "out/sub/b-wave.png"]
    # Begun again: what is there stays, what was changed is made anew, a bad file is told of once.
    first = Path("out/a-wave.jpg").read_bytes()
    bad = here / "in" / "c.jpg"

    def change() -> None:
        tiny.picture(here / "in" / "a.jpg", seed=3)
        os.utime(here / "in" / "a.jpg", (time.time() + 9, time.time() + 9))
        bad.write_bytes(b"none")

    assert watching(monkeypatch, change, None, None, None) == 2
    told = capsys.readouterr()
    assert told.out.split() == ["out/a-wave.jpg"]
    assert Path("out/a-wave.jpg").read_bytes() != first
    assert told.err.count("in/c.jpg is not an image") == 1


def test_a_file_that_still_grows_is_waited_for(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    whole = Path("photo.jpg").read_bytes()
    target = here / "in" / "photo.jpg"
    target.parent.mkdir()
    target.write_bytes(whole[:200])

    def grow(until: int) -> Callable[[], object]:
        return lambda: target.write_bytes(whole[:until])

    assert watching(monkeypatch, grow(400), grow(len(whole)), None, None) == 0
    told = capsys.readouterr()
    assert told.out.split() == ["out/photo-wave.jpg"]
    assert not told.err


def test_what_could_not_be_begun_is_taken_at_the_next_look(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    tiny.picture(here / "in" / "a.jpg", seed=1)
    tiny.picture(here / "in" / "a.bmp", seed=2)
    tiny.picture(here / "in" / "a.ppm", seed=2)  # would have the name of no other: numbered
    load, failures = loading.load_style, [UserError("not enough memory")] * 2

    def loading_fails(path: Path, options: EngineOptions) -> Style:
        if failures:
            raise failures.pop()
        return load(path, options)

    monkeypatch.setattr(loading, "load_style", loading_fails)
    assert watching(monkeypatch, *[None] * 5) == 0
    told = capsys.readouterr()
    assert sorted(told.out.split()) == ["out/a-wave.bmp", "out/a-wave.jpg", "out/a-wave.png"]
    assert told.err.count("not enough memory") == 1


def test_a_watch_ends_by_sigterm_with_its_status(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in").mkdir()

    def end() -> None:
        raise Terminated

    assert watching(monkeypatch, end) == 143


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("photo.jpg -o out --watch", "--watch looks into folders, and photo.jpg is none"),
        ("in --watch", "--watch needs a folder for the results"),
        ("in -o photo.jpg --watch", "--output photo.jpg is a file"),
        ("in -o out.jpg --watch", "--output out.jpg is a file"),
        ("in -o out --watch --skip-existing", "leave out --skip-existing"),
        ("in -o in --watch", "--watch would stylize its own results"),
        ("in -o out --watch --sheet", "leave out --sheet"),
        ("in -o out --watch --cluster", "leave out --watch"),
        ("--webcam --watch", "leave out --watch"),
    ],
)
def test_what_cannot_be_watched(here: Path, capsys: Capture, words: str, told: str) -> None:
    tiny.picture(here / "in" / "a.png", seed=1)
    assert main(["stylize", *words.split(), "-s", "wave"]) == 2
    assert told in capsys.readouterr().err


# ---- completion ----------------------------------------------------------------------------------------


def answers(line: str) -> list[str]:
    """What the program says to the shell's script after Tab at the end of `line`."""
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    with tempfile.NamedTemporaryFile() as file:
        asked["_ARGCOMPLETE_STDOUT_FILENAME"] = file.name
        subprocess.run([sys.executable, "-m", "texturenets"], env=os.environ | asked, check=True)
        return [word.strip() for word in file.read().decode().split("\n")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("texturenets sty", "stylize"),
        ("texturenets train te", "texture"),
        ("texturenets stylize --preserve", "--preserve-color"),
        ("texturenets train texture --no-per", "--no-periodic"),
        ("texturenets stylize photo.jpg --wrap ", "xy"),
        ("texturenets models sh", "show"),
        ("texturenets --vers", "--version"),
        ("texturenets --completion fi", "fish"),
        ("texturenets stylize photo.jpg --hel", "--help"),
    ],
)
def test_completion_knows_commands_flags_and_choices(line: str, told: str) -> None:
    assert told in answers(line)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_shell_has_its_script(shell: str, capsys: Capture) -> None:
    assert main(["--completion", shell]) == 0
    assert "COMP_LINE" in capsys.readouterr().out


def test_completion_has_its_help(capsys: Capture) -> None:
    assert main(["--completion", "--help"]) == 0
    assert "--completion SHELL" in capsys.readouterr().out


def test_a_shell_that_is_not_known(capsys: Capture) -> None:
    for words, told in (
        (["--completion"], "bash, zsh, fish or powershell"),
        (["--completion", "bsh"], "'bash'"),
    ):
        assert main(words) == 2
        assert told in capsys.readouterr().err
