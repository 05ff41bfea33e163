"""The command line: one file per command, each imported when it is called, and torch later still."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from texturenets._version import __version__
from texturenets.cli import pipes
from texturenets.cli.command_line import ASKED, Group, find, help_text, parse
from texturenets.cli.common import cluster_words, warn
from texturenets.cli.streams import Terminated, drop_output, prepare, terminable
from texturenets.errors import MissingError, UserError, ignore_pillows_warnings, install, reason

COMMANDS = Group(
    "Stylize photos like a painting, synthesize textures, with feed-forward networks; train such networks.",
    {
        "stylize": "texturenets.cli.stylize:stylize",
        "optimize": "texturenets.cli.optimize:optimize",
        "tile": "texturenets.cli.tile:tile",
        "inpaint": "texturenets.cli.inpaint:inpaint",
        "sample": "texturenets.cli.sample:sample",
        "train": "texturenets.cli.train:COMMANDS",
        "evaluate": "texturenets.cli.evaluate:evaluate",
        "cache": "texturenets.cli.cache:cache",
        "convert": "texturenets.cli.convert:convert",
        "models": "texturenets.cli.models:COMMANDS",
        "export": "texturenets.cli.export:export",
        "push": "texturenets.cli.push:push",
        "serve": "texturenets.cli.serve:serve",
        "demo": "texturenets.cli.demo:demo",
    },
)
HELP = {"--help", "-h"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (None: the program's own); returns the exit status.

    0 for success; 2 for a user error, reported in one line on standard error; 130 after Ctrl-C, 143 after SIGTERM,
    and 129 of a training after SIGHUP.
    """
    prepare()
    if {ASKED, "COMP_LINE", "COMP_POINT"} <= os.environ.keys() and arguments is None:
        from texturenets.cli import completion

        completion.complete(COMMANDS)
    words = cluster_words(sys.argv[1:] if arguments is None else arguments)
    try:
        with terminable(), warnings.catch_warnings():
            ignore_pillows_warnings()
            warnings.showwarning = lambda message, *_, **__: warn(f"note: {message}")
            return _run(words)
    except UserError as error:
        warn(error)
        return 2
    except Terminated as error:
        warn(f"terminated: {error}" if str(error) else "terminated")
        return 143  # as a shell reports it: 128 + SIGTERM
    except KeyboardInterrupt as error:
        warn(f"interrupted: {error}" if str(error) else "interrupted")
        return 130
    except BrokenPipeError:
        drop_output()  # the reader, such as `head`, has closed the pipe
        return 141
    except OSError as error:
        if error.filename is not None:
            warn(f"{_short(str(error.filename))}: {reason(error)}")
        else:  # files are written in blocks that name them
            drop_output()
            warn(f"cannot write to standard output: {reason(error)}")
        return 2


def _short(name: str) -> str:
    return name if len(name) < 100 else f"{name[:60]}...{name[-20:]}"


def _run(words: Sequence[str]) -> int:
    """Run a command. Raises UserError, also for one that needs PyTorch if that is not installed."""
    try:
        if words[:1] == ["--version"]:
            print(f"texturenets {__version__}")
            return 0
        if words[:1] and words[0].partition("=")[0] == "--completion":
            if HELP & set(words):
                return int(_called(["--help"]))
            from texturenets.cli import completion

            return completion.print_script([*words[0].split("=")[1:], *words[1:]])
        status = pipes.run_piped(words, _called) if pipes.needs_pipes(words) else _called(words)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingError(f"{words[0]} needs PyTorch: {install('train')}") from None


def _called(words: Sequence[str]) -> Any:
    """Call the command that `words` name, or print its help; returns what the command does."""
    end = words.index("--") if "--" in words else len(words)
    plain = [*(word for word in words[:end] if word not in HELP), *words[end:]]
    command, chain, rest = find(plain, COMMANDS)
    alone = isinstance(command, Group) and not command.default
    if (alone and not rest) or (len(plain) < len(words) and not (alone and rest)):
        print(help_text(command, chain), end="")
        return 0
    return parse(plain, COMMANDS).run()
