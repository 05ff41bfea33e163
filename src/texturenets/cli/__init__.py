"""The command line: one file per command, each imported when it is called, and torch later still."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from texturenets._version import __version__
from texturenets.cli import pipes
from texturenets.cli.common import cluster_words, warn
from texturenets.cli.refusals import check_dashes, check_files_given, check_whole, refused
from texturenets.cli.streams import Terminated, drop_output, prepare, terminable
from texturenets.errors import MissingError, UserError, ignore_pillows_warnings, install, reason

app = App(
    name="texturenets",
    help="Stylize photos like a painting, synthesize textures, with feed-forward networks; train such networks.",
    version=f"texturenets {__version__}",
    default_parameter=Parameter(negative=(), negative_iterable=()),
    config=(check_dashes, check_whole, check_files_given),
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
app.command("texturenets.cli.stylize:stylize", sort_key=1)
app.command("texturenets.cli.sample:sample", sort_key=1.5)
app.command("texturenets.cli.train:app", name="train", sort_key=2)
app.command("texturenets.cli.optimize:optimize", sort_key=1.2)
app.command("texturenets.cli.tile:tile", sort_key=1.3)
app.command("texturenets.cli.inpaint:inpaint", sort_key=1.4)
app.command("texturenets.cli.evaluate:evaluate", sort_key=2.7)
app.command("texturenets.cli.cache:cache", sort_key=3)
app.command("texturenets.cli.convert:convert", sort_key=3.5)
app.command("texturenets.cli.models:app", name="models", sort_key=4)
app.command("texturenets.cli.export:export", sort_key=4.5)
app.command("texturenets.cli.push:push", sort_key=4.6)
app.command("texturenets.cli.serve:app", name="serve", sort_key=4.7)
app.command("texturenets.cli.demo:demo", sort_key=5)
_COMPLETION = "--install-completion"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (None: the program's own); returns the exit status.

    0 for success; 2 for a user error, reported in one line on standard error; 130 after Ctrl-C, 143 after SIGTERM,
    and 129 of a training after SIGHUP.
    """
    prepare()
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
        listed = not words or words[0] in app.help_flags
        if (listed or words[0] == _COMPLETION) and _COMPLETION not in app:  # imports for 10 ms
            app.register_install_completion_command(
                _COMPLETION, help="Let the shell (bash, zsh, fish, PowerShell) complete commands and flags."
            )
        if listed:
            for name in app:
                app[name]  # imports the command, whose help the list shows
        status = pipes.run_piped(words, app) if pipes.needs_pipes(words) else app(words)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingError(f"{words[0]} needs PyTorch: {install('train')}") from None
    except CycloptsError as error:
        raise refused(error, words) from None
