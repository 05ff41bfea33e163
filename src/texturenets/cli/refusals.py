"""Error messages for wrong command lines, with what is expected instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import (
    UNSET,
    App,
    Argument,
    ArgumentCollection,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from texturenets.errors import UserError

_KINDS: dict[Any, str] = {int: "a whole number", float: "a number, for example 0.5", bool: "yes or no"}

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


def check_whole(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise CoercionError for a whole number with a fraction, which cyclopts rounds. A `config` of cyclopts."""
    for argument in arguments:
        kinds = {argument.hint, *get_args(argument.hint)}
        for token in argument.tokens:
            if int in kinds and float not in kinds and "." in token.value and not _is_whole(token.value):
                raise CoercionError(argument=argument, token=token, target_type=int)


def _is_whole(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False


def check_dashes(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise UserError for a long option with one dash: -size is read as -s ize. A `config` of cyclopts."""
    names = {name for argument in arguments for name in argument.names}
    for argument in arguments:
        for token in argument.tokens:
            short = token.keyword or ""
            long = f"-{short}{token.value}"
            if len(short) == 2 and long in names:
                raise UserError(f"-{long[2:]}: this option has two dashes: {long}")


def check_given(_: App, __: tuple[str, ...], arguments: Iterable[Argument]) -> None:
    """Raise UserError for an empty option value, for example from an unset shell variable. A `config` of cyclopts."""
    for argument in arguments:
        for token in argument.tokens:
            if not token.value.strip() and token.implicit_value is UNSET:
                raise UserError(
                    f"{token.keyword or argument.name} is empty: give it a value, or leave it out"
                )


_FILES = {
    "--output",
    "--style",
    "--mask",
    "--keep",
    "--into",
    "--init",
    "--spool",
    "--content",
    "--photo",
    "--video",
    "--against",
}
"""Options that name a file, folder or model; so do all words without an option."""


def check_files_given(app: App, words: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise UserError for an empty name of a file, as `check_given`: it would mean the current folder, or nothing. A
    `config` of cyclopts.
    """
    files = [
        one for one in arguments if _FILES & set(one.names) or not any(n.startswith("-") for n in one.names)
    ]
    check_given(app, words, files)


def refused(error: CycloptsError, words: Sequence[str]) -> UserError:
    """The error for a command line, `words`, that cannot be parsed."""
    error.verbose = False
    chain = " ".join(["texturenets", *(error.command_chain or ())])
    unread = isinstance(error, UnknownOptionError | UnusedCliTokensError | MissingArgumentError)
    if unread and (option := _option_after_dashes(words)):
        text = f"{option} stands after --, where no word is an option: options go before --"
    elif isinstance(error, UnusedCliTokensError):
        text = _unexpected(error)
    elif isinstance(error, UnknownCommandError):
        text = _command(error)
    elif isinstance(error, MissingArgumentError):
        text = _missing(error, words)
    elif isinstance(error, CoercionError):
        text = _unlike(error)
    elif isinstance(error, UnknownOptionError) and (
        hint := _OTHERS.get(_command_of(error), {}).get(error.token.keyword or error.token.value)
    ):
        text = hint
    elif isinstance(error, UnknownOptionError) and Path(word := error.token.value).is_file():
        text = f"{word} begins with a dash, as options do: for the file of that name say ./{word}"
    elif isinstance(error, UnknownOptionError):
        text = _unknown_option(error)
    else:
        text = str(error)
    text = text.rstrip().rstrip(".")
    return UserError(f"{text}{'' if text.endswith('?') else '.'} See `{chain} --help`.")


def _unknown_option(error: UnknownOptionError) -> str:
    """The message for an option that there is not, with the one that was probably meant: it has another name, begins
    so, has the word in its name, or is spelt much alike."""
    word = (error.token.keyword or error.token.value).partition("=")[0]
    bare = word.lstrip("-")
    called = _CALLED.get(bare, bare)
    known = [name[2:] for one in error.argument_collection for name in one.names if name.startswith("--")]
    near = [name for name in known if name == called or name.startswith(bare)]
    near += [name for name in known if {called, called.removesuffix("s")} & set(name.split("-"))]
    near += difflib.get_close_matches(bare, known, n=1, cutoff=0.7)
    return f"Unknown option: {word}.{f' Did you mean --{near[0]}?' if near and bare else ''}"


def _option_after_dashes(words: Sequence[str]) -> str | None:
    """The first word after -- that looks like an option and is not a file."""
    after = words[words.index("--") + 1 :] if "--" in words else ()
    return next((word for word in after if word.startswith("-") and not Path(word).exists()), None)


def _command_of(error: CycloptsError) -> str:
    return " ".join(error.command_chain or ())


def _unexpected(error: UnusedCliTokensError) -> str:
    words = error.unused_tokens or []
    if tuple(error.command_chain or ()) == ("models",):
        misspelt = len(words) > 1 and difflib.get_close_matches(words[0], ["show"])
        model = " ".join(words[1:] if misspelt else words)
        return f"{words[0]}: unexpected argument: say `texturenets models show {model}`"
    option = _OPTIONS.get(" ".join(error.command_chain or ()), "")
    text = f"{' '.join(words)}: unexpected argument"
    return f"{text}: say {' '.join(f'{option} {word}' for word in words)}" if option else text


def _command(error: UnknownCommandError) -> str:
    word = (error.unused_tokens or [""])[0]
    if not Path(word).exists():
        return _no_command(error, word)
    if tuple(error.command_chain or ()) == ("train",):
        return (
            f"train what? `texturenets train style {word} --content FOLDER-OF-PHOTOS` learns to stylize photos like "
            f"it, `texturenets train texture {word}` to draw more of it"
        )
    return f"{word} is not a command: `texturenets stylize {word}` stylizes it"


def _no_command(error: UnknownCommandError, word: str) -> str:
    if error.app is None:
        return str(error)
    known = [name for name in error.app if not name.startswith("-")]
    near = difflib.get_close_matches(word, known, n=1)
    return (
        f"{word} is not a command{f'; did you mean {near[0]}?' if near else ''}; there are {', '.join(known)}"
    )


def _missing(error: MissingArgumentError, words: Sequence[str]) -> str:
    argument = error.argument
    assert argument is not None
    name = error.keyword or argument.name
    what = "needs a value" if error.keyword or argument.tokens else "is missing"
    following = words[words.index(name) + 1 :] if name in words else ()
    if following and _NEGATIVE.match(following[0]):
        what = f"needs a value, and {following[0]} is none"
    elif following and _DASHED_FILE.fullmatch(following[0]):
        return f"{name} needs a value, and {following[0]} begins with a dash, as options do: say ./{following[0]}"
    choices = _choices(argument.hint)
    return f"{name} {what}{', ' + choices if choices else ''}{_help(error)}"


def _unlike(error: CoercionError) -> str:
    """The message for a value that a parameter does not accept."""
    argument, token = error.argument, error.token
    if argument is None or token is None:
        return str(error)
    name = token.keyword or argument.name
    given = f"{name} {token.value}"
    if choices := _choices(error.target_type):
        return f"{given}: choose {choices}{_help(error)}"
    kind = _KINDS.get(error.target_type)
    return f"{given} is not {kind}{_help(error)}" if kind else str(error)


def _choices(hint: Any) -> str:
    """`a, b or c` if the type `hint` is a Literal, else an empty string."""
    if get_origin(hint) is Literal:
        words = [str(word) for word in get_args(hint)]
        return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return next((found for inner in get_args(hint) if (found := _choices(inner))), "")


def _help(error: CycloptsError) -> str:
    """The help text of the parameter, up to its default, to be appended to a message."""
    assert error.app is not None
    assert error.argument is not None
    described = error.app.assemble_argument_collection(parse_docstring=True)
    helps = [one.parameter.help for one in described if one.name == error.argument.name]
    text = " ".join(str(helps[0] or "").split()).partition(" [default")[0].rstrip(".") if helps else ""
    text = text.replace("`", "")  # in an error they would turn the word into a flag
    first = text.partition(" ")[0]
    named = first != first.capitalize()  # such as WIDTHxHEIGHT
    return f": {text if named else text[:1].lower() + text[1:]}" if text else ""
