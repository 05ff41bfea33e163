"""Error messages for wrong command lines, with what is expected instead."""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from texturenets.cli.arguments import Argument
from texturenets.cli.common import with_flags
from texturenets.errors import UserError

_NEGATIVE = re.compile(r"-[\d.]")  # taken for an option unless it is a number

_DASHED_FILE = re.compile(r"-[^-].*\.\w+")  # taken for options, and looks like a file

_OPTIONS = {"evaluate": "--photo", "optimize": "--style", "demo": "--photo"}
"""By command, the option that a word without an option was most likely meant for."""


_INTO = "--into adds a style to a model of several: `texturenets train style` takes it"
_OTHERS = {
    "train texture": {
        "--content": "a texture is learned only from its image: leave out --content",
        "--content-weight": "a texture is learned only from its image: leave out --content-weight",
        "--into": _INTO,
    },
    "train gallery": {"--into": _INTO},
}
"""By command, options that only other commands have, and the hint for each."""

_CALLED = {
    "lr": "learning-rate",
    "photos": "content",
    "epochs": "steps",
    "colour": "color",
    "colours": "color",
}
"""What others call an option, and its name here."""


def refused(text: str, chain: Sequence[str]) -> UserError:
    """The error for words after `chain`, the name of a command, that cannot be parsed."""
    text = text.rstrip().rstrip(".")
    command = " ".join(["texturenets", *chain])
    return UserError(f"{text}{'' if text.endswith('?') else '.'} See `{command} --help`.")


def check_dashes(words: Sequence[str], known: Sequence[Argument]) -> None:
    """Raise UserError for a long option with one dash (-size would be read as -s ize), or with the long one that
    editors and web pages put in place of two."""
    names = {name for argument in known for name in argument.names}
    for word in words:
        meant = f"--{word[1:].partition('=')[0]}"
        if word.startswith(("\N{EN DASH}", "\N{EM DASH}")) and meant in names:
            raise UserError(f"{word} begins with a long dash: say {meant}")
        long = f"-{word.partition('=')[0]}"
        if long in names and len(long) > 3:
            raise UserError(f"{word}: this option has two dashes: {long}")


def no_value(error: argparse.ArgumentError, words: Sequence[str], known: Sequence[Argument]) -> str:
    """The message for an option without a value, or for one that takes none."""
    first = str(error.argument_name).partition("/")[0]
    argument = next((one for one in known if first in (*one.names, one.off)), None)
    if argument is None:
        return str(error)
    if argument.kind is bool:
        given = next(
            (word for word in words if word.partition("=")[0] in (*argument.names, argument.off)), first
        )
        either = " or ".join(filter(None, (argument.names[0], argument.off)))
        return f"{given}: this option takes no value: say {either}"
    if option := _option_after_dashes(words):
        return _after_dashes(option)
    followed = itertools.zip_longest(words, words[1:], fillvalue="--")
    name, after = next(
        (pair for pair in followed if pair[0] in argument.names and pair[1][:1] == "-"), (first, "")
    )
    if _DASHED_FILE.fullmatch(after):
        return f"{name} needs a value, and {after} begins with a dash, as options do: say ./{after}"
    none = f", and {after} is none" if _NEGATIVE.match(after) else ""
    return f"{name} needs a value{none}{_expected(argument)}"


def missing(argument: Argument, words: Sequence[str]) -> str:
    """The message for an argument that is not given."""
    if option := _option_after_dashes(words):
        return _after_dashes(option)
    return f"{argument.called} is missing{_expected(argument)}"


def _expected(argument: Argument) -> str:
    return f"{f', {argument.choices}' if argument.choices else ''}{argument.explained}"


def not_taken(
    extra: Sequence[str], words: Sequence[str], known: Sequence[Argument], chain: Sequence[str]
) -> str:
    """The message for words that no argument has taken."""
    if option := _option_after_dashes(words):
        return _after_dashes(option)
    command = " ".join(chain)
    word = extra[0]
    if not word.startswith("-"):
        return _unexpected(extra, command)
    if hint := _OTHERS.get(command, {}).get(word.partition("=")[0]):
        return hint
    if Path(word).is_file():
        return f"{word} begins with a dash, as options do: for the file of that name say ./{word}"
    return _unknown_option(word, known)


def _unknown_option(word: str, known: Sequence[Argument]) -> str:
    """The message for an option that there is not, with the one that was probably meant: it has another name, begins
    so, has the word in its name, or is spelt much alike."""
    import difflib

    word = word.partition("=")[0]
    bare = word.lstrip("-")
    called = _CALLED.get(bare, bare)
    names = [name[2:] for one in known for name in (*one.names, one.off) if name.startswith("--")]
    near = [name for name in names if name == called or name.startswith(bare)]
    near += [name for name in names if {called, called.removesuffix("s")} & set(name.split("-"))]
    near += difflib.get_close_matches(bare, names, n=1, cutoff=0.7)
    return f"Unknown option: {word}.{f' Did you mean --{near[0]}?' if near and bare else ''}"


def _option_after_dashes(words: Sequence[str]) -> str | None:
    """The first word after -- that looks like an option and is not a file."""
    after = words[words.index("--") + 1 :] if "--" in words else ()
    return next((word for word in after if word.startswith("-") and not Path(word).exists()), None)


def _after_dashes(option: str) -> str:
    return f"{option} stands after --, where no word is an option: options go before --"


def _unexpected(words: Sequence[str], command: str) -> str:
    import difflib

    if command == "models":
        misspelt = len(words) > 1 and difflib.get_close_matches(words[0], ["show"])
        model = " ".join(words[1:] if misspelt else words)
        return f"{words[0]}: unexpected argument: say `texturenets models show {model}`"
    option = _OPTIONS.get(command, "")
    text = f"{' '.join(words)}: unexpected argument"
    return f"{text}: say {' '.join(f'{option} {word}' for word in words)}" if option else text


def no_command(word: str, chain: Sequence[str], known: Sequence[str]) -> str:
    """The message for a word in the place of a command that is none."""
    import difflib

    if word.startswith("-"):
        return f"Unknown option: {word}"
    if not word or not Path(word).exists():
        near = difflib.get_close_matches(word, known, n=1)
        meant = f": did you mean {near[0]}? There" if near else ": there"
        return f"{word or 'an empty word'} is not a command{meant} are {', '.join(known)}"
    if list(chain) == ["train"]:
        return (
            f"train what? `texturenets train style {word} --content FOLDER-OF-PHOTOS` learns to stylize photos like "
            f"it, `texturenets train texture {word}` to draw more of it"
        )
    return f"{word} is not a command: `texturenets stylize {word}` stylizes it"


def blaming(text: str, variables: Mapping[str, str]) -> str:
    """An error's text with the environment variable in place of each option that it has set."""
    return re.sub(r"--[a-z]+(-[a-z]+)*", lambda found: variables.get(found[0], found[0]), with_flags(text))
