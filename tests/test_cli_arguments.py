"""Functions as commands: what their signatures say, what a line of words makes of them, and their help."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from texturenets.cli import COMMANDS, main
from texturenets.cli.arguments import Option, arguments_of, described
from texturenets.cli.command_line import Group, environment, help_text, parse
from texturenets.errors import UserError


@dataclasses.dataclass(frozen=True)
class Losses:
    """Fields that become options."""

    weight: Annotated[float | None, Option(help="Weight of a loss.", group="Loss options")] = None
    layers: Annotated[list[str] | None, Option(help="Layers.", group="Loss options")] = None


def draw(
    image: Path,
    /,
    *others: str,
    output: Annotated[str | None, Option("--output", "-o")] = None,
    size: int = 512,
    share: float = 0.5,
    axis: Literal["x", "y"] | None = None,
    masks: list[str] | None = None,
    flip: bool | None = None,
    quiet: bool = False,
    losses: Losses | None = None,
) -> dict[str, Any]:
    """Draw an image.

    Files frames/%05d.png are left alone.

    Parameters
    ----------
    image
        Image to draw on,
        of any format.
    others
        More images.
    output
        Image to write [default: none].
    size
        Pixels.
    """
    return {name: value for name, value in locals().items() if value is not None}


def painted(photo: str | None = None, *, seed: int) -> tuple[str | None, int]:
    """Paint a photo, given in either way."""
    return photo, seed


@environment("TEST_DRAW_")
def served(*, port: int = 1, page: bool = True, hosts: list[str] | None = None) -> tuple[Any, ...]:
    """Serve."""
    if port > 9:
        raise UserError(f"--port {port} is taken")
    return port, page, hosts


ROOT = Group("Programs.", {"draw": draw, "paint": painted, "serve": served})
PLAIN = {"image": Path("a.png"), "others": (), "size": 512, "share": 0.5, "quiet": False}


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("draw a.png", {}),
        ("draw a.png b.png -o out c.png", {"others": ("b.png", "c.png"), "output": "out"}),
        ("draw --size 64.0 a.png --share -1e-3", {"size": 64, "share": -0.001}),
        ("draw a.png --axis y --quiet --quiet", {"axis": "y", "quiet": True}),
        ("draw a.png --masks a --masks b --no-flip", {"masks": ["a", "b"], "flip": False}),
        ("draw a.png --flip -- -b.png --size", {"flip": True, "others": ("-b.png", "--size")}),
        ("draw a.png --layers a --weight 2", {"losses": Losses(2.0, ["a"])}),
    ],
)
def test_words_become_arguments(line: str, changes: dict[str, Any]) -> None:
    assert parse(line.split(), ROOT).run() == PLAIN | changes


def test_by_position_or_by_name() -> None:
    for line in ("paint a.png --seed 3", "paint --seed 3 --photo a.png"):
        assert parse(line.split(), ROOT).run() == ("a.png", 3)
    with pytest.raises(UserError, match=r"^b\.png: unexpected argument"):
        parse(["paint", "--photo", "a.png", "b.png", "--seed", "3"], ROOT)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("draw", "IMAGE is missing: image to draw on, of any format. See `texturenets draw --help`."),
        ("draw a --size 1 --size 2", "--size is given more than once: give it once"),
        ("draw a --size 1.5", "--size 1.5 is not a whole number: pixels"),
        ("draw a --size -5.5", "--size -5.5 is not a whole number: pixels. See `texturenets draw --help`."),
        ("draw a --size inf", "--size inf is not a whole number: pixels"),
        (
            "draw a --quiet=yes",
            "--quiet=yes: this option takes no value: say --quiet. See `texturenets draw",
        ),
        ("draw a --flip=no", "--flip=no: this option takes no value: say --flip or --no-flip"),
        ("draw a --output -o b", "--output needs a value: image to write. See `texturenets draw --help`."),
        (
            "draw a -o -b.png",
            "-o needs a value, and -b.png begins with a dash, as options do: say ./-b.png. See",
        ),
        ("draw a --size -1x", "--size needs a value, and -1x is none: pixels"),
        ("draw a --axis z", "--axis z: choose x or y"),
        ("draw a --axis", "--axis needs a value, x or y. See `texturenets draw --help`."),
        ("draw a --output=", "--output is empty: give it a value, or leave it out"),
        ("draw a \N{EN DASH}size 3", "\N{EN DASH}size begins with a long dash: say --size. See"),
        ("draw a -output b", "-output: this option has two dashes: --output"),
        ("draw a --siz 3", "Unknown option: --siz. Did you mean --size? See `texturenets draw --help`."),
        (
            "draw a --no-flap",
            "Unknown option: --no-flap. Did you mean --no-flip? See `texturenets draw --help`.",
        ),
        ("draw a -2.png", "Unknown option: -2.png. See `texturenets draw --help`."),
        ("--fast", "Unknown option: --fast. See `texturenets --help`."),
        ("drew a", "drew is not a command: did you mean draw? There are draw, paint, serve."),
        ("paint a b --seed 1", "b: unexpected argument. See `texturenets paint --help`."),
    ],
)
def test_words_that_do_not_fit(line: str, told: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(line.split(), ROOT)
    assert str(refused.value).startswith(told)


def test_variables_set_options_and_are_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PORT": "8", "PAGE": "off", "HOSTS": "a b"}.items():
        monkeypatch.setenv(f"TEST_DRAW_{name}", value)
    assert parse(["serve"], ROOT).run() == (8, False, ["a", "b"])
    assert parse(["serve", "--port", "2", "--page"], ROOT).run() == (2, True, ["a", "b"])
    monkeypatch.setenv("TEST_DRAW_PORT", "80")
    with pytest.raises(UserError, match=r"^TEST_DRAW_PORT 80 is taken$"):
        parse(["serve"], ROOT).run()
    with pytest.raises(UserError, match=r"^--port 90 is taken$"):
        parse(["serve", "--port", "90"], ROOT).run()
    monkeypatch.setenv("TEST_DRAW_PAGE", "perhaps")
    with pytest.raises(UserError, match=r"^TEST_DRAW_PAGE perhaps is not yes or no\."):
        parse(["serve"], ROOT)


def test_help_says_what_the_docstring_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    text = help_text(draw, ["draw"])
    assert text.startswith(
        "usage: texturenets draw [OPTIONS] IMAGE [OTHERS...]\n\nDraw an image.\n\nFiles frames/%05d"
    )
    for part in (
        "Image to draw on, of any format.",
        "--output, -o STR",
        "Image to write [default: none].\n",
        "Pixels. [default: 512]",
        "--axis {x,y}",
        "--flip, --no-flip",
        "Loss options:",
        "Pixels. [default: 512]",
        "--help, -h",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 90


def every(group: Group) -> Iterator[Any]:
    for name in group:
        one = group[name]
        yield from every(one) if isinstance(one, Group) else [one]
    if group.default:
        yield group.default


def test_help_says_what_is_required_and_defaults_of_0() -> None:
    assert help_text(painted, ["paint"]).startswith("usage: texturenets paint --seed INT [OPTIONS] [PHOTO]\n")
    shown = {argument.name: argument.help for argument in arguments_of(COMMANDS["stylize"])}
    for name, default in {"seed": "0", "strength": "1.0", "count": "1"}.items():
        assert shown[name].endswith(f" [default: {default}]")
    assert "[default" not in shown["quiet"]


@pytest.mark.parametrize(
    "words", [["--help", "train", "style"], ["train", "-h", "style"], ["train", "style", "-h"]]
)
def test_help_may_stand_anywhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out.startswith("usage: texturenets train style [OPTIONS] IMAGES...\n")


def test_help_on_no_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stylise", "--help"]) == 2
    assert "stylise is not a command: did you mean stylize?" in capsys.readouterr().err


@pytest.mark.parametrize("command", list(every(COMMANDS)), ids=lambda command: command.__name__)
def test_every_argument_has_a_help(command: Any) -> None:
    known = arguments_of(command)
    assert [argument.called for argument in known if not argument.option.help] == []
    assert described(command)[1].keys() <= {argument.name for argument in known}


def test_a_group_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 0
    assert "texturenets train COMMAND" in capsys.readouterr().out
    assert main(["models", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert "Fetch models by name" in shown
